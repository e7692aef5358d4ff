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

import numpy as np

from market_maker.client import AsyncClient, StreamEvent, local_service

SETTINGS = {"simulator.execution_delay": "100ms", "backtest.workers": "0", "simulator.realism_interval": "0s"}
STRATEGY = {"half_spread_ticks": 20, "order_lots": 10, "max_inventory_lots": 100, "interval_ns": 100_000_000}


async def add_markets(client: AsyncClient, first: int, count: int) -> list[str]:
    """Start markets, each with a strategy; return the ids of their strategies."""
    found = []
    for number in range(first, first + count):
        pair = await client.add_pair(f"L{number}-USDT", f"L{number}", "USDT", tick_size="0.01", lot_size="0.001")
        await client.start_session(pair.pair_id, initial_price="100", seed=number)
        strategy = await client.add_strategy(f"live {number}", "inventory_skew", pair.pair_id, STRATEGY)
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
    async with client.stream(["simulator.order.received"]) as stream:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                message = await asyncio.wait_for(stream.receive(), left)
                if isinstance(message, StreamEvent) and message.data["strategy_id"] in strategies:
                    ages.append((time.time_ns() - int(message.time)) / 1e6)
    return np.array(ages)


async def run(url: str, seconds: float) -> list[dict[str, float]]:
    """Measure with more and more markets, without and with other orders."""
    rows, strategies = [], set[str]()
    async with AsyncClient(url) as client:
        default = str((await client.get_sessions()).items[0].pair_id)
        for markets in (1, 5, 10):
            strategies |= set(await add_markets(client, len(strategies), markets - len(strategies)))
            for per_second in (0.0, 200.0):
                task = asyncio.create_task(place_for_ever(client, per_second, default)) if per_second else None
                ages = await measure(client, strategies, seconds)
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                p50, p95, p99 = np.percentile(ages, [50, 95, 99]) if len(ages) else (np.nan,) * 3
                rows.append({"markets": markets, "rest_per_s": per_second, "orders": len(ages),
                             "p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1), "p99_ms": round(float(p99), 1)})  # fmt: skip
                print(f"{markets:3d} markets, {per_second:4.0f} orders/s by REST: {len(ages):6d} orders, p50 {p50:5.0f} ms, "
                      f"p95 {p95:5.0f} ms, p99 {p99:5.0f} ms", flush=True)  # fmt: skip
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="5 seconds each")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    given = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, market-maker {version('market-maker')}")
    with (
        tempfile.TemporaryDirectory(prefix="live-latency-", ignore_cleanup_errors=True) as name,
        local_service({**SETTINGS, "data_dir": name}) as url,
    ):
        rows = asyncio.run(run(url, 5.0 if given.quick else given.seconds))
    print(json.dumps({"benchmark": "live_latency", "rows": rows}))


if __name__ == "__main__":
    main()
