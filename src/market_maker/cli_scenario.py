"""The commands `scenario ...`: what can happen to a market, and to let it happen in a service that runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market_maker.cli_names import session_of
from market_maker.cli_strategy import parse_parameters
from market_maker.domain.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from market_maker.client import Client

app = typer.Typer(no_args_is_help=True, help="Start and stop scenarios in the markets of a service that runs.")

LOCAL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option("--url", envvar="MARKET_MAKER_URL", help="where the service is")]
Key = Annotated[str | None, typer.Option("--api-key", envvar="MARKET_MAKER_API_KEY", help="where it has keys")]
Session = Annotated[
    str | None,
    typer.Option(
        "--session", help="the market: its pair as symbol or venue/symbol, or the session's id (default: the only one)"
    ),
]


@app.callback()
def scenario() -> None:
    """Start and stop scenarios in the markets of a service that runs."""


@app.command("list")
def list_scenarios(
    name: Annotated[str | None, typer.Argument(help="show the parameters of this one")] = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Show the scenarios that there are and those of each market, or the parameters of one."""
    from rich.console import Console
    from rich.table import Column, Table

    plain = Console()
    console = plain if plain.is_terminal else Console(width=250)
    with _client(url, api_key) as client:
        kinds = {kind.name: kind for kind in client.get_scenario_kinds().items}
        if name is not None:
            if name not in kinds:
                raise InvalidRequest.of("NAME", name, ", ".join(kinds))
            table = Table(Column("parameter", no_wrap=True), "default", "from", "to", "unit", "", box=None)
            for word, told in kinds[name].parameters["properties"].items():
                limits = [f"{told[each]:g}" for each in ("default", "minimum", "maximum")]
                table.add_row(word, *limits, told["unit"], told["description"])
            console.print(table)
            return
        table = Table(Column("scenario", no_wrap=True), "", box=None)
        for kind in kinds.values():
            table.add_row(kind.name, kind.summary)
        console.print(table)
        symbols = {pair.pair_id: f"{pair.venue}/{pair.symbol}" for pair in client.get_pairs().items}
        table = Table(
            "market", "session_id", "mode", "scenario_id", "scenario", "state", "phase", "runs", "every", box=None
        )
        for session in client.get_sessions().items:
            for each in session.scenarios:
                words = (each.name, each.state, each.phase or "", str(each.runs), each.repeats_every or "")
                market = symbols.get(session.pair_id, str(session.pair_id))
                table.add_row(market, str(session.session_id), session.mode, str(each.scenario_id), *words)
        if table.row_count:
            console.print(table)


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="one of `market-maker scenario list`")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE (repeatable); the others have defaults")] = None,
    starts_in: Annotated[str | None, typer.Option("--in", help="start so much later, such as 10s")] = None,
    every: Annotated[str | None, typer.Option("--every", help="start again at this distance, such as 5m")] = None,
    session: Session = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Start a scenario in a market and print its id."""
    with _client(url, api_key) as client:
        values = {word: float(value) for word, value in parse_parameters(param or []).items()}
        made = client.start_scenario(
            session_of(client, session), name, parameters=values, starts_in=starts_in, repeats_every=every
        )
        print(made.scenario_id)


@app.command()
def stop(
    scenario_id: Annotated[str, typer.Argument(help="id that `start` printed")],
    session: Session = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Stop a scenario that is to come or under way."""
    with _client(url, api_key) as client:
        if session is not None:
            wanted = session_of(client, session)
        else:
            found = [each for each in client.get_sessions().items if _has(each, scenario_id)]
            if not found:
                raise NotFound.of("scenario", "SCENARIO_ID", scenario_id)
            wanted = found[0].session_id
        stopped = client.stop_scenario(wanted, scenario_id)
        print(f"{stopped.name} {stopped.state}")


@contextmanager
def _client(url: str, api_key: str | None) -> Iterator[Client]:
    from market_maker.client import Client  # HTTP is loaded by those who ask a service

    with Client(url, api_key, attempts=1) as client:
        yield client


def _has(session: Any, scenario_id: str) -> bool:
    return any(str(each.scenario_id) == scenario_id.lower() for each in session.scenarios)
