"""The commands `risk ...`: figures, tests of models, limits and the kill switch of a service that runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market_maker.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.console import Console

    from market_maker.client import Client

app = typer.Typer(no_args_is_help=True, help="Risk figures, limits and the kill switch of a service that runs.")

LOCAL = "http://127.0.0.1:8000"
Url = Annotated[str, typer.Option("--url", envvar="MARKET_MAKER_URL", help="where the service is")]
Key = Annotated[str | None, typer.Option("--api-key", envvar="MARKET_MAKER_API_KEY", help="where it has keys")]
Position = Annotated[str, typer.Argument(help="id of a position")]


@app.command()
def assess(
    position_id: Position,
    model: Annotated[str, typer.Option(help="VaR or ExpectedShortfall")] = "VaR",
    method: Annotated[str, typer.Option(help="HISTORICAL, NORMAL, EWMA, GARCH, ...")] = "HISTORICAL",
    confidence: Annotated[str | None, typer.Option(help="such as 0.99")] = None,
    horizon: Annotated[str | None, typer.Option(help="such as 1d")] = None,
    scope: Annotated[str, typer.Option(help="POSITION, ACCOUNT, STRATEGY, BOOK")] = "POSITION",
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Compute and keep the figures of a position, or of what it is a part of."""
    wishes: dict[str, Any] = {"risk_model": model, "method": method, "scope": scope}
    with _client(url, api_key) as client:
        found = client.assess_risk(position_id, confidence_level=confidence, time_horizon=horizon, **wishes)
    print(
        f"VaR {found.value_at_risk} ES {found.expected_shortfall} at {found.confidence_level} over {found.time_horizon}"
        f" ({found.method}, {found.observations} returns of {found.sampling_interval}, scaled by {found.scaling:.4g})"
    )


@app.command()
def report(
    position_id: Position,
    to: Annotated[Path | None, typer.Option(help="file; default: risk-<id>.html")] = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Write the risk page of a position: one HTML file that opens without a network."""
    target = to or Path(f"risk-{position_id}.html")
    if not target.parent.is_dir():
        raise InvalidRequest.of("--to", str(target), "a file in a folder that exists")
    with _client(url, api_key) as client:
        target.write_text(client.get_risk_report(position_id), "utf-8")
    print(f"report: {target}")


@app.command("test")
def judge(
    position_id: Position,
    method: Annotated[list[str] | None, typer.Option(help="repeatable; default: HISTORICAL, NORMAL, EWMA")] = None,
    window: Annotated[int, typer.Option(help="observations for each forecast")] = 250,
    interval: Annotated[str | None, typer.Option(help="of the observations, such as 1m")] = None,
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Judge methods by what happened to the pair of a position."""
    methods: Any = method or []
    with _client(url, api_key) as client:
        found = client.test_risk_models(position_id, methods=methods, window=window, interval=interval)
    rows = []
    for each in found.models:
        if "reason" in each:
            rows.append((each["method"], "", "", "", each["reason"]))
            continue
        p_value = "" if each["adjusted_p_value"] is None else f"{each['adjusted_p_value']:.3g}"
        beyond = f"{each['exceptions']} of {each['observations']}"
        rows.append((each["method"], each["light"], beyond, p_value, ", ".join(each["reasons"])))
    _show(("method", "light", "beyond", "p-value", "against it"), rows)


@app.command()
def limits(url: Url = LOCAL, api_key: Key = None) -> None:
    """Show the limits with their last values and what they hold back."""
    with _client(url, api_key) as client:
        found = client.get_limits().items
    rows = [
        (str(each.limit_id), each.kind, each.scope, str(each.value), str(each.threshold), each.state, each.hold)
        for each in found
    ]
    _show(("limit_id", "kind", "scope", "value", "threshold", "state", "hold"), rows)


@app.command("kill-switch")
def kill_switch(
    to: Annotated[str, typer.Argument(help="engage or release")],
    reason: Annotated[str, typer.Option(help="for the audit trail")],
    url: Url = LOCAL,
    api_key: Key = None,
) -> None:
    """Cancel every open order and refuse new ones until it is released, also over a restart."""
    if to not in {"engage", "release"}:
        raise InvalidRequest.of("TO", to, "engage, release")
    with _client(url, api_key) as client:
        found = client.set_kill_switch(to == "engage", reason)
    print(f"{'engaged' if found.engaged else 'released'}; {found.orders_ended} orders ended")


@contextmanager
def _client(url: str, api_key: str | None) -> Iterator[Client]:
    from market_maker.client import Client  # HTTP is loaded by those who ask a service

    with Client(url, api_key, attempts=1) as client:
        yield client


def _show(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Column, Table

    console = _console()
    table = Table(*(Column(name, no_wrap=name == names[0]) for name in names), box=None)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _console() -> Console:
    from rich.console import Console

    plain = Console()
    return plain if plain.is_terminal else Console(width=250)
