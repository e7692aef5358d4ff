"""The commands `pair ...`: the pairs that are kept, one with its changes, and the correction of its terms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.domain.units import format_instant
from market_maker.settings import Settings, load_settings

if TYPE_CHECKING:
    from market_maker.domain.instrument import Instrument

app = typer.Typer(no_args_is_help=True, help="List pairs, show one, correct its fees or its contract.")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as database_url=postgresql://...")]
Name = Annotated[str, typer.Argument(metavar="PAIR", help="id of a pair, or venue/symbol")]
_TEXTS = ("contract_type", "base", "quote")


@app.callback()
def pair() -> None:
    """List pairs, show one with its changes, correct what an import or a typing error made wrong."""


@app.command("list")
def list_pairs(config: Config = None, setting: Set = None) -> None:
    """List the pairs that are kept, oldest first."""
    asyncio.run(_list(load_settings(config, overrides=setting or [])))


@app.command()
def show(name: Name, config: Config = None, setting: Set = None) -> None:
    """Show a pair's terms, and what was changed of them."""
    asyncio.run(_show(load_settings(config, overrides=setting or []), name))


@app.command()
def change(
    name: Name,
    maker_fee: Annotated[
        str | None, typer.Option(help="fraction of the value, such as 0.0002; negative: rebate")
    ] = None,
    taker_fee: Annotated[str | None, typer.Option(help="fraction of the value, such as 0.0005")] = None,
    contract_type: Annotated[str | None, typer.Option(help="SPOT, LINEAR or INVERSE")] = None,
    contract_multiplier: Annotated[
        str | None, typer.Option(help="what one unit of quantity stands for, such as 50 for ES")
    ] = None,
    base: Annotated[str | None, typer.Option(help="base currency")] = None,
    quote: Annotated[str | None, typer.Option(help="quote currency")] = None,
    tick_size: Annotated[str | None, typer.Option(help="smallest step of price")] = None,
    lot_size: Annotated[str | None, typer.Option(help="smallest step of quantity")] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Change terms of a pair; runs and markets on their way keep those they began with.

    Fees: while no simulated market of the pair runs. Contract and currencies: while there are no orders, markets or positions
    of accounts in the pair; positions that backtests left in it go. Tick and lot: while, beside that, no day is recorded.
    """
    given = {
        "maker_fee": maker_fee, "taker_fee": taker_fee, "contract_type": contract_type,
        "contract_multiplier": contract_multiplier, "base": base, "quote": quote, "tick_size": tick_size, "lot_size": lot_size,
    }  # fmt: skip
    changes = {field: _value(field, text) for field, text in given.items() if text is not None}
    if not changes:
        options = ", ".join(f"--{field.replace('_', '-')}" for field in given)
        raise InvalidRequest.of("PAIR", name, f"at least one of {options} beside it")
    asyncio.run(_change(load_settings(config, overrides=setting or []), name, changes))


def _value(field: str, text: str) -> str | Decimal:
    if field in _TEXTS:
        from market_maker.storage.lake import check_name  # with data frames, which are not loaded for help

        check_name(field, text)
        return text
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise InvalidRequest.of(field, shorten(text), "a decimal number") from None


def _terms(instrument: Instrument) -> dict[str, str]:
    return {
        "contract": instrument.contract_type.value,
        "multiplier": f"{instrument.contract_multiplier:f}",
        "tick": f"{instrument.tick_size:f}",
        "lot": f"{instrument.lot_size:f}",
        "maker fee": f"{instrument.maker_fee:f}",
        "taker fee": f"{instrument.taker_fee:f}",
        "currencies": f"{instrument.base}/{instrument.quote}",
    }


async def _list(settings: Settings) -> None:
    from rich.console import Console
    from rich.table import Table

    from market_maker.bootstrap import open_store  # the database is opened by those who need it

    async with open_store(settings) as store:
        plain = Console()
        console = plain if plain.is_terminal else Console(width=250)
        table = Table(
            "pair", "id", *("contract", "multiplier", "tick", "lot", "maker fee", "taker fee", "currencies"), box=None
        )
        for each in store.reference.pairs():
            one = each.instrument
            table.add_row(f"{one.venue}/{one.symbol}", str(one.pair_id), *_terms(one).values())
        console.print(table)


async def _show(settings: Settings, name: str) -> None:
    from market_maker.bootstrap import open_store
    from market_maker.storage.pair_changes import get_changes

    async with open_store(settings) as store:
        found = (await store.reference.pair_named(name)).instrument
        _print(found)
        for each in await get_changes(store.database, found.pair_id):
            for field, values in each["changes"].items():
                who = "" if each["by"] is None else f" by {each['by']}"
                print(f"{format_instant(int(each['ts']))}  {field}: {values['from']} -> {values['to']}{who}")


def _print(instrument: Instrument) -> None:
    print(f"{instrument.venue}/{instrument.symbol}  {instrument.pair_id}")
    for term, value in _terms(instrument).items():
        print(f"  {term:<11} {value}")


async def _change(settings: Settings, name: str, changes: Mapping[str, Any]) -> None:
    from market_maker.bootstrap import open_store
    from market_maker.monitoring.logs import bind_user

    bind_user()
    async with open_store(settings) as store:
        found = await store.reference.pair_named(name)
        changed = await store.reference.change_pair(found.instrument.pair_id, changes, store.clock.now_ns())
        _print(changed.instrument)
        if changed == found:
            print("nothing is new: the pair was so before")
