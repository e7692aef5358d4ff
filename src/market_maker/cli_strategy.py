"""The commands `strategy ...`: kinds, strategies that are kept, a new one; and those that run on a service's markets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Show kinds of strategy, list and add strategies, run them live.")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
Url = Annotated[str, typer.Option(envvar="MARKET_MAKER_URL", help="address of the running service")]
ApiKey = Annotated[
    str | None, typer.Option(envvar="MARKET_MAKER_API_KEY", help="a key of scope trade, where the service asks for one")
]
_URL = "http://127.0.0.1:8000"
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as strategy_files=my_maker.py")]


@app.callback()
def strategy() -> None:
    """Show kinds of strategy, list and add strategies, run them on a service's simulated markets."""


@app.command()
def kinds(
    kind: Annotated[str | None, typer.Argument(help="show the parameters of this one")] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Show the kinds of strategy that can be run, or the parameters of one."""
    from rich.console import Console
    from rich.table import Column, Table

    from market_maker.strategies.contract import add_strategy_file, find_strategy, strategy_names

    for file in load_settings(config, overrides=setting or []).strategy_files:
        add_strategy_file(file)
    if kind is None:
        table = Table(Column("kind", no_wrap=True), "", box=None)
        for name in strategy_names():
            table.add_row(name, find_strategy(name).summary)
    else:
        found = find_strategy(kind)
        table = Table(
            Column("parameter", no_wrap=True), "default", "from", "to", "unit", "", box=None, title=found.summary
        )
        for each in found.parameters:
            limits = [f"{value:g}" for value in (each.default, each.minimum, each.maximum)]
            table.add_row(each.name, *limits, each.unit, each.description)
    Console().print(table)


@app.command("list")
def list_strategies(config: Config = None, setting: Set = None) -> None:
    """List the strategies that are kept, oldest first."""
    asyncio.run(_list(load_settings(config, overrides=setting or [])))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="a name of your choice")],
    kind: Annotated[str, typer.Argument(help="one of `market-maker strategy kinds`")],
    pair: Annotated[str, typer.Argument(help="id of a pair, or venue/symbol")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE (repeatable); the others have defaults")] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Add a strategy and print its id, for backtest, sweep, optimise and orders."""
    if not 1 <= len(name) <= 100:
        raise InvalidRequest.of("NAME", shorten(name), "1 to 100 characters")
    values = parse_parameters(param or [])
    print(asyncio.run(_add(load_settings(config, overrides=setting or []), name, kind, pair, values)))


@app.command()
def run(
    strategy: Annotated[str, typer.Argument(help="name or id of a strategy, see `strategy list`")],
    account: Annotated[
        str | None, typer.Option(help="id of the account that trades (default: the default account)")
    ] = None,
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """Let a strategy trade on its pair's simulated market of a running service, and print the id of the run."""
    from market_maker.cli_names import strategy_of
    from market_maker.client import Client

    with Client(url, api_key) as client:
        print(client.run_strategy(strategy_of(client, strategy), account_id=account).run_id)


@app.command()
def stop(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="id of a run, see `strategy runs`")],
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """Stop a strategy on a running service; its orders are cancelled."""
    from market_maker.client import Client

    with Client(url, api_key) as client:
        found = client.stop_strategy(run_id)
    print(f"{found.name} is {found.state}: net {found.pnl.net:f}, {found.fills} fills, inventory {found.inventory:f}")


@app.command()
def runs(
    strategy: Annotated[str | None, typer.Option(help="only those of this strategy, by its name or id")] = None,
    url: Url = _URL,
    api_key: ApiKey = None,
) -> None:
    """List the runs of strategies on a running service's simulated markets, newest first."""
    from rich.console import Console
    from rich.table import Table

    from market_maker.cli_names import strategy_of
    from market_maker.client import Client

    with Client(url, api_key) as client:
        wanted = None if strategy is None else strategy_of(client, strategy)
        found = client.get_strategy_runs(strategy_id=wanted).items
    plain = Console()
    console = plain if plain.is_terminal else Console(width=250)
    names = ("run", "strategy", "kind", "state", "inventory", "net", "spread", "fees", "fills", "wakes", "error")
    table = Table(*names, box=None)
    for each in found:
        table.add_row(
            str(each.run_id), each.name, each.kind, each.state, f"{each.inventory:f}", f"{each.pnl.net:f}",
            f"{each.pnl.spread:f}", f"{each.pnl.fees:f}", str(each.fills), str(each.wakes), each.error or "",
        )  # fmt: skip
    console.print(table)


def parse_parameters(words: Sequence[str]) -> dict[str, int | float]:
    """Return the values of NAME=VALUE; whole numbers are integers; InvalidRequest for anything else."""
    values: dict[str, int | float] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            value = Decimal(text.strip())
        except InvalidOperation:
            raise InvalidRequest.of("--param", word, "NAME=VALUE with a number") from None
        if not name or name in values or not value.is_finite() or abs(value) >= Decimal(10) ** 18:
            raise InvalidRequest.of("--param", word, "NAME=VALUE with a finite number below 1e18, each name once")
        values[name] = int(value) if value == value.to_integral_value() else float(value)
    return values


async def _list(settings: Settings) -> None:
    from rich.console import Console
    from rich.table import Table

    from market_maker.bootstrap import open_store  # the database is opened by those who need it

    async with open_store(settings) as store:
        pairs = {pair.instrument.pair_id: pair.instrument for pair in store.reference.pairs()}
        plain = Console()
        console = plain if plain.is_terminal else Console(width=250)
        table = Table("strategy_id", "name", "kind", "pair", "parameters", box=None)
        for each in store.reference.strategies():
            where = pairs[each.pair_id]
            told = ", ".join(f"{name} {value:g}" for name, value in each.parameters.items())
            table.add_row(str(each.strategy_id), each.name, each.kind, f"{where.venue}/{where.symbol}", told)
        console.print(table)


async def _add(settings: Settings, name: str, kind: str, pair: str, values: dict[str, int | float]) -> str:
    from market_maker.bootstrap import open_store
    from market_maker.strategies.contract import find_strategy

    async with open_store(settings) as store:
        whole = dict(find_strategy(kind).validate(values, "--param"))
        pair_id = (await store.reference.pair_named(pair)).instrument.pair_id
        made = await store.reference.add_strategy(name, kind, whole, pair_id, store.clock.now_ns())
        return str(made.strategy_id)
