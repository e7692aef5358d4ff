"""Measures how late an order of a live strategy is: from the change of the market that wakes it to the order's event at a reader.

A market is looked after ten times a second; a strategy on it is woken at the market's own instants, and its orders bear them and
reach the venue after the execution delay of the market's time, whatever the clock has done meanwhile. What is measured here is
how long after such an instant the outside world hears of the order: the wait for the look, the strategy, the commit, the relay,
the WebSocket. Markets run at the clock's pace; beside them orders come by REST.

    python benchmarks/live_latency.py --quick
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from market_maker.client import AsyncClient, StreamEvent, local_service

SETTINGS = {"simulator.execution_delay": "100ms", "backtest.workers": "0", "simulator.realism_interval": "0s"}
STRATEGY = {"half_spread_ticks": 20, "order_lots": 10, "max_inventory_lots": 100, "interval_ns": 100_000_000}
BY_TIMER, BY_BOOK = "inventory_skew", "follow_the_bid"
FOLLOW = '''
"""Keeps one bid twenty ticks below the best one, whenever a best price changes."""

from market_maker.strategies.actions import amend, place
from market_maker.strategies.contract import StrategyKind
from market_maker.strategies.parameters import INTERVAL

KIND = StrategyKind("follow_the_bid", "One bid below the best.", (INTERVAL,), "follow_the_bid:on_wake", wakes_on=("book",))


def on_wake(view, params, memory, actions):
    price = view.best_bid_ticks - 20
    if price <= 0:
        return
    if view.orders.size == 0:
        place(actions, 1, 0, 0, 0, price, 10)
    elif view.orders[0]["price_ticks"] != price:
        amend(actions, view.orders[0]["order_id"], price, 10)
'''
"""A strategy that is woken by the book; its kind's name is that of its file."""


async def add_markets(client: AsyncClient, kind: str, first: int, count: int) -> list[str]:
    """Start markets, each with a strategy; return the ids of their strategies."""
    found = []
    for number in range(first, first + count):
        pair = await client.add_pair(f"L{number}-USDT", f"L{number}", "USDT", tick_size="0.01", lot_size="0.001")
        await client.start_session(pair.pair_id, initial_price="100", seed=number)
        values = STRATEGY if kind == BY_TIMER else {}
        strategy = await client.add_strategy(f"live {number}", kind, pair.pair_id, values)
        account = await client.add_account(f"live {number}", "100000000 USDT")
        await client.run_strategy(strategy.strategy_id, account_id=account.account_id)
        found.append(str(strategy.strategy_id))
    return found


async def place_for_ever(client: AsyncClient, per_second: float, pair_id: str) -> None:
    """Place and cancel orders far from the market."""
    while True:
        started = time.monotonic()
        order = await client.place_order(pair_id, "BUY", "0.001", price="20000.00")
        await client.cancel_order(order.order_id)
        await asyncio.sleep(max(0.0, 2 / per_second - (time.monotonic() - started)))


async def measure(client: AsyncClient, strategies: set[str], seconds: float) -> np.ndarray:
    """Return the ages in ms at which orders of strategies are heard of."""
    ages = []
    async with client.stream(["simulator.order.received", "simulator.order.amend_requested"]) as stream:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                message = await asyncio.wait_for(stream.receive(), left)
                if isinstance(message, StreamEvent) and message.data["strategy_id"] in strategies:
                    ages.append((time.time_ns() - int(message.time)) / 1e6)
    return np.array(ages)


async def run(url: str, kind: str, seconds: float) -> list[dict[str, float | str]]:
    """Measure strategies of a kind with more and more markets, without and with other orders."""
    rows, strategies = list[dict[str, float | str]](), set[str]()
    async with AsyncClient(url) as client:
        default = str((await client.get_sessions()).items[0].pair_id)
        for markets in (1, 5, 10):
            strategies |= set(await add_markets(client, kind, len(strategies), markets - len(strategies)))
            for per_second in (0.0, 200.0):
                task = asyncio.create_task(place_for_ever(client, per_second, default)) if per_second else None
                ages = await measure(client, strategies, seconds)
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                p50, p95, p99 = np.percentile(ages, [50, 95, 99]) if len(ages) else (np.nan,) * 3
                rows.append({"kind": kind, "markets": markets, "rest_per_s": per_second, "orders": len(ages),
                             "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1), "p99_ms": round(float(p99), 1)})  # fmt: skip
                print(f"{kind}, {markets:3d} markets, {per_second:4.0f} orders/s by REST: {len(ages):6d} orders, p50 {p50:5.0f} ms, "
                      f"p95 {p95:5.0f} ms, p99 {p99:5.0f} ms", flush=True)  # fmt: skip
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="3 seconds each")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    given = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, market-maker {version('market-maker')}")
    rows: list[dict[str, float | str]] = []
    for kind in (BY_TIMER, BY_BOOK):
        with tempfile.TemporaryDirectory(prefix="live-latency-", ignore_cleanup_errors=True) as name:
            file = Path(name) / f"{BY_BOOK}.py"
            file.write_text(FOLLOW, encoding="utf-8")
            with local_service({**SETTINGS, "data_dir": name, "strategy_files": str(file)}) as url:
                rows += asyncio.run(run(url, kind, 3.0 if given.quick else given.seconds))
    print(json.dumps({"benchmark": "live_latency", "rows": rows}))


if __name__ == "__main__":
    main()
