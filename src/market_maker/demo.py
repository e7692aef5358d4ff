"""`make demo`: the whole thing in one go, against a service process of its own, over REST like any user.

A market runs, orders are placed and cancelled, a stretch is recorded into the lake, a strategy is backtested on it
(or on a file of the user's own), the risk of the resulting position is assessed.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from market_maker.api.schemas import BookView, PairView
from market_maker.bootstrap import data_dir_of, open_store
from market_maker.client import Client, local_service
from market_maker.domain.errors import DataError
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.units import format_instant
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.service import MarketDataService
from market_maker.settings import Settings

RECORDED_S = 8.0
_FAST = {
    "simulator.market_update_interval": "50ms",
    "simulator.price_deviation": "0.00005",
    "simulator.execution_delay": "20ms",
    "backtest.execution_delay": "20ms",
}
_say = partial(Console(highlight=False).print, soft_wrap=True)


def run(settings: Settings, data: Path | None) -> None:
    """Run the demo and print what happens and where to look."""
    started = time.perf_counter()
    home = data_dir_of(settings)
    state = settings.model_copy(update={"data_dir": home / "demo" if settings.database_url is None else home})
    imported = None if data is None else asyncio.run(_import(state, data))
    given = state.model_dump(mode="json", exclude_none=True, include={"database_url", "rabbitmq_url", "data_dir"})
    with local_service({**given, **_FAST}) as url, Client(url) as client:
        _say(f"[bold]1. A service[/] at {url} on {_stores(state)}, ready after {time.perf_counter() - started:.1f} s")
        recorded = _trade_and_record(client)
        pair_id, first_ts, last_ts = imported or recorded
        position_id = _backtest(client, pair_id, first_ts, last_ts)
        _assess(client, position_id)
        _say(f"\n[bold]Done[/] in {time.perf_counter() - started:.1f} s. Everything is kept in {state.data_dir}.")
    _say(
        "Next: [bold]make serve[/], then http://127.0.0.1:8000/openapi (endpoints), /metrics, /health; README.md shows"
    )
    _say("each mode by example. Your own recording: [bold]make demo DATA=path/to/file[/]")


def _stores(settings: Settings) -> str:
    database = "embedded PostgreSQL" if settings.database_url is None else "the given PostgreSQL"
    return database + (", in-process bus" if settings.rabbitmq_url is None else ", the given RabbitMQ")


async def _import(settings: Settings, path: Path) -> tuple[UUID, int, int]:
    """Import the user's file; return its pair and range. A recording from the future is moved, and told."""
    _say(f"[bold]0. Your file[/] {path.name}:")
    async with open_store(settings) as store:
        service = MarketDataService(store.database, store.reference, store.lake, store.clock)
        with Progress() as bars:
            task = bars.add_task("import", total=None)

            def note(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            try:
                imported = await service.import_data([path], progress=note)
            except DataError as error:
                if "--offset-negative-latency" not in error.detail:
                    raise
                _say(f"   {error.detail}\n   The demo imports it with that repair.")
                options = ImportOptions(repairs=Repairs(offset_negative_latency=True))
                imported = await service.import_data([path], options, progress=note)
        pair = await store.reference.pair(imported.pair_ids[0])
        days = await service.get_catalogue(pair.instrument)
    rows = sum(day["rows"] for day in days)
    first_ts, last_ts = min(int(day["first_ts"]) for day in days), max(int(day["last_ts"]) for day in days)
    verdict = f"{imported.report['importer']}, quality {imported.report['verdict']}"
    _say(f"   {verdict}: {rows:,} rows from {format_instant(first_ts)} to {format_instant(last_ts)} are in the lake")
    return pair.instrument.pair_id, first_ts, last_ts


def _trade_and_record(client: Client) -> tuple[UUID, int, int]:
    """Place and cancel orders on the running market while it is recorded; return pair and recorded range."""
    session = next(item for item in client.get_sessions().items if item.pair_id == DEFAULT_PAIR_ID)
    if session.recording:
        client.change_session(session.session_id, recording=False)
    client.change_session(session.session_id, recording=True)
    deadline = time.monotonic() + RECORDED_S
    book = client.get_order_book(DEFAULT_PAIR_ID, depth=3)
    _say("\n[bold]2. A synthetic market[/] runs; its book:")
    _say(_book_table(book))
    _trade(client, book.bids[0].price)
    with Progress() as bars:
        task = bars.add_task("   recording the market", total=RECORDED_S)
        while (left := deadline - time.monotonic()) > 0:
            bars.update(task, completed=RECORDED_S - left)
            time.sleep(0.1)
        bars.update(task, completed=RECORDED_S)
    client.change_session(session.session_id, recording=False)
    days = [day for day in client.get_catalogue(pair_id=DEFAULT_PAIR_ID).items if day.kind == "book"]
    newest = max(days, key=lambda day: int(day.last_ts))
    last_ts = int(newest.last_ts)
    first_ts = max(int(newest.first_ts), last_ts - int((RECORDED_S - 1) * 1e9))
    _say(f"   {newest.rows:,} events of {newest.day} are in the lake")
    return DEFAULT_PAIR_ID, first_ts, last_ts


def _trade(client: Client, price: Decimal) -> None:
    """Place a buy that rests, cancel it, and trade at the market."""
    far = (price * Decimal("0.99")).quantize(Decimal("0.01"))
    placed = client.place_order(DEFAULT_PAIR_ID, "BUY", "0.1", far, wait=True)
    canceled = client.cancel_order(placed.order_id, wait=True)
    filled = client.place_order(DEFAULT_PAIR_ID, "BUY", "0.1", wait=True)
    _say(f"   BUY 0.1 at {far}: {placed.status}, then {canceled.status}")
    _say(f"   BUY 0.1 at the market: {filled.status} at {filled.average_price}")


def _backtest(client: Client, pair_id: UUID, first_ts: int, last_ts: int) -> UUID:
    """Backtest a market-making strategy on the recorded range; return the id of the resulting position."""
    pair = client.get_pair(pair_id)
    _say(f"\n[bold]3. A backtest[/] of inventory_skew on {pair.venue} {pair.symbol}:")
    strategy = client.add_strategy("demo", "inventory_skew", pair_id, _parameters(client, pair))
    run = client.run_backtest(strategy.strategy_id, format_instant(first_ts), format_instant(last_ts))
    with Progress() as bars:
        task = bars.add_task("   replay", total=100)
        while run.status in ("PENDING", "RUNNING"):
            time.sleep(0.1)
            run = client.get_run(run.run_id)
            bars.update(task, completed=run.progress_percent)
    if run.status != "COMPLETED":
        raise DataError(f"the backtest ended {run.status}: {run.error}")
    result = client.get_backtest_results(strategy.strategy_id).items[0]
    summary = result.summary
    _say(f"   {summary['orders']} orders, {summary['fills']} fills, net P&L {summary['net_pnl']} {pair.quote}")
    parts = f"spread {summary['spread_capture']}, inventory {summary['inventory_pnl']}, fees {summary['fees']}"
    _say(f"   ({parts}), largest drawdown {summary['max_drawdown']}, digest {result.digest[:12]}")
    held = client.get_positions(pair_id=pair_id, limit=1000).items
    return next(item.position_id for item in held if item.strategy_id == strategy.strategy_id)


def _parameters(client: Client, pair: PairView) -> dict[str, Any]:
    """Return parameters that suit the pair: half a basis point of half-spread, quotes worth about 500 of quote currency."""
    if pair.is_simulated:
        price = client.get_order_book(pair.pair_id, depth=1).bids[0].price
    else:
        days = client.get_catalogue(pair_id=pair.pair_id).items
        first, last = (format_instant(int(edge)) for edge in (days[0].first_ts, days[-1].last_ts))
        price = client.get_bars(pair.pair_id, first, last, interval="1m").items[0].close
    ticks = max(1, round(price * Decimal("0.00005") / pair.tick_size))
    lots = max(1, round(500 / price / pair.lot_size))
    return {"half_spread_ticks": ticks, "order_lots": lots, "max_inventory_lots": 20 * lots}


def _assess(client: Client, position_id: UUID) -> None:
    """Assess the risk of the position that the backtest left, and of the one that the order at the market left."""
    _say("\n[bold]4. The risk[/], VaR and expected shortfall at 95 % over 1d:")
    held = client.get_positions(pair_id=DEFAULT_PAIR_ID, limit=1000).items
    manual = next(item.position_id for item in held if item.strategy_id is None)
    for name, position in (("the backtest", position_id), ("the orders", manual)):
        risk = _assessed(client, position)
        _say(
            f"   position of {name}: {risk.quantity} at {risk.mark_price}: VaR {risk.value_at_risk:f},"
            f" ES {risk.expected_shortfall:f} ({risk.method}, {risk.observations} returns of"
            f" {risk.sampling_interval}, times {risk.scaling:.1f})"
        )


def _assessed(client: Client, position_id: UUID) -> Any:
    """Return the risk of a position; a market that has only just begun is given a minute to have prices enough."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return client.assess_risk(position_id, confidence_level="0.95", time_horizon="1d")
        except DataError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1.0)


def _book_table(book: BookView) -> Table:
    table = Table("bid amount", "bid", "ask", "ask amount", box=None, padding=(0, 2))
    for bid, ask in zip(book.bids, book.asks, strict=False):
        table.add_row(*(str(value) for value in (bid.quantity, bid.price, ask.price, ask.quantity)))
    return table
