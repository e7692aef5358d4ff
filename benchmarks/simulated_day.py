"""Ten pairs live through a simulated day in the whole service. Its memory must not grow.

Each pair has a market of its own that runs many times as fast as the clock, a strategy that trades on it, and orders by REST. Prints
resident memory of the service and the size of its database at each simulated hour, what the memory grew by from warm to the
end (a line through the medians of the hours: a measurement of realism takes some tens of MB for a moment), and one JSON line;
the exit code is 1 if it grew. The database may grow: its rows are kept by age of the clock (`event_retention`), of which a fast
day has little.

    python benchmarks/simulated_day.py --hours 1
    python benchmarks/simulated_day.py                 # 24 hours at speed 100: a quarter of an hour, if the machine keeps up
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from uuid import UUID

import numpy as np
import psutil
import psycopg

from market_maker.client import AsyncClient, local_service

WARM_SHARE = 0.25
LOOKS = 20
GROWTH_MB_MAX = 25.0
"""From warm to the end: less than a twentieth of the process, and what the allocator needs to settle."""
SETTINGS = {"simulator.execution_delay": "100ms", "backtest.workers": "0", "event_retention": "1h",
            "simulator.realism_interval": "60s"}  # fmt: skip
"""Realism is measured within the warming part: the first time loads what it needs, once."""
STRATEGY = {"half_spread_ticks": 20, "order_lots": 10, "max_inventory_lots": 100, "interval_ns": 5_000_000_000}


@dataclass
class Market:
    """One pair: its id, its session, and how far it has got, in simulated seconds."""

    pair_id: UUID
    session_id: UUID
    seconds: int = 0


@dataclass
class Seen:
    """What was seen: (simulated hours, seconds, resident MB, MB of the database), orders placed."""

    hours: list[tuple[float, float, float, float]] = field(default_factory=list)
    orders: int = 0


async def begin(client: AsyncClient, count: int, speed: float) -> list[Market]:
    """Start the markets, each with a strategy of its own account."""
    markets = []
    for number in range(count):
        pair = await client.add_pair(f"DAY{number}-USDT", f"DAY{number}", "USDT", tick_size="0.01", lot_size="0.001")
        session = await client.start_session(pair.pair_id, initial_price="100", seed=number, speed=speed)
        account = await client.add_account(f"day {number}", "100000000 USDT")
        strategy = await client.add_strategy(f"day {number}", "inventory_skew", pair.pair_id, STRATEGY)
        await client.run_strategy(strategy.strategy_id, account_id=account.account_id)
        markets.append(Market(pair.pair_id, session.session_id))
    return markets


async def place_for_ever(client: AsyncClient, markets: list[Market], seen: Seen, per_second: float) -> None:
    """Place and cancel orders far from the market, one pair after the other."""
    while True:
        for market in markets:
            order = await client.place_order(market.pair_id, "BUY", "1", price="20.00")
            await client.cancel_order(order.order_id)
            seen.orders += 1
            await asyncio.sleep(1 / per_second)


def database_mb(database_url: str | None) -> float:
    """Return the size of the database in MB; 0 for that of the service itself, which is not looked into."""
    if database_url is None:
        return 0.0
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return int(found[0]) / 1e6


async def day(url: str, process: psutil.Process, given: argparse.Namespace) -> Seen:
    """Let the markets run for so many simulated hours; return what was seen twenty times in each."""
    seen, started, next_h = Seen(), time.monotonic(), 0.0
    async with AsyncClient(url, attempts=5) as client:
        markets = await begin(client, given.pairs, given.speed)
        task = asyncio.create_task(place_for_ever(client, markets, seen, given.orders))
        while True:
            steps = {each.session_id: each.step for each in (await client.get_sessions()).items}
            for market in markets:
                market.seconds = steps[market.session_id]  # one a second: the market's update interval
            hours = min(market.seconds for market in markets) / 3600
            if hours >= next_h:
                spent, memory = time.monotonic() - started, process.memory_info().rss / 1e6
                seen.hours.append((hours, spent, memory, database_mb(given.database_url)))
                if round(next_h * LOOKS) % LOOKS == 0:
                    print(
                        f"hour {hours:5.2f}: {spent:6.0f} s, {memory:5.0f} MB, database {seen.hours[-1][3]:6.0f} MB",
                        flush=True,
                    )
                next_h += 1 / LOOKS
            if hours >= given.hours or time.monotonic() - started > given.seconds_max:
                break
            if task.done():
                task.result()
            await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        runs = (await client.get_strategy_runs()).items
        assert {run.state for run in runs} == {"RUNNING"}, [run.error for run in runs]
        print(f"{sum(run.fills for run in runs)} fills, {sum(run.orders_placed for run in runs)} orders of strategies")
    return seen


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--speed", type=float, default=100.0, help="of the markets beside the clock, up to 100")
    parser.add_argument("--orders", type=float, default=20.0, help="by REST a second")
    parser.add_argument("--seconds-max", type=float, default=7200.0, help="end then, wherever it is")
    parser.add_argument("--database-url", help="an empty database whose size is told (default: the service's own)")
    given = parser.parse_args()
    settings = SETTINGS if given.database_url is None else {**SETTINGS, "database_url": given.database_url}
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    with (
        tempfile.TemporaryDirectory(prefix="simulated-day-", ignore_cleanup_errors=True) as name,
        local_service({**settings, "data_dir": name}) as url,
    ):
        process = next(
            child for child in psutil.Process().children(recursive=True)
            if child.pid not in children and "serve" in child.cmdline()
        )  # fmt: skip
        seen = asyncio.run(day(url, process, given))
    last_h = seen.hours[-1][0]
    samples = np.array(seen.hours)[:, [0, 2]]
    medians = [np.median(part, axis=0) for part in np.array_split(samples, max(1, round(last_h)))]
    warm = np.array([median for median in medians if median[0] >= WARM_SHARE * last_h])
    slope = float(np.polyfit(*warm.T, 1)[0]) if len(warm) > 2 else 0.0
    grown = slope * (warm[-1][0] - warm[0][0])
    print(f"{platform.machine()}, Python {platform.python_version()}, market-maker {version('market-maker')}")
    print(
        f"{given.pairs} pairs, {last_h:.2f} simulated hours in {seen.hours[-1][1]:.0f} s; {seen.orders} orders by REST"
    )
    print(f"memory {warm[0][1]:.0f} MB warm, {warm[-1][1]:.0f} MB at the end: {grown:+.1f} MB by the fitted line")
    print(json.dumps({
        "benchmark": "simulated_day", "pairs": given.pairs, "hours": round(last_h, 2), "seconds": round(seen.hours[-1][1]),
        "rss_mb_warm": round(warm[0][1], 1), "rss_mb_end": round(warm[-1][1], 1), "grown_mb": round(grown, 1),
        "database_mb": round(seen.hours[-1][3]), "orders": seen.orders,
    }))  # fmt: skip
    sys.exit(1 if last_h >= 1 and grown > GROWTH_MB_MAX else 0)


if __name__ == "__main__":
    main()
