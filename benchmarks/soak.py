"""Does memory stay bounded? Idle readers, readers that never read, and orders, for as long as you like.

Readers are like browsers that were left open: ten read and do nothing, ten never read. The service must send the latter
away, and its memory must not grow once it is warm. Hours are the clock's, or those of a market that runs up to 100 times as
fast. Prints the median of memory in each of 24 parts, what it grew by after the first part, and one JSON line; the exit code
is 1 if it grew. Medians, because a measurement of realism or a checkpoint takes some tens of MB for a moment.

    python benchmarks/soak.py --quick                    # 40 s
    python benchmarks/soak.py --simulated-hours 24       # a quarter of an hour at speed 100
    python benchmarks/soak.py --hours 24
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version

import httpx
import numpy as np
import psutil

from market_maker import DEFAULT_PAIR_ID
from market_maker.client import AsyncClient, local_service

READERS = 10
PARTS = 24
WARM_SHARE = 0.3
GROWTH_MB_MAX = 15.0
"""By the line, from warm to the end: a twentieth of the process, which the allocator needs to settle in a short run."""
SETTINGS = {"simulator.execution_delay": "5ms", "backtest.workers": "0", "simulator.realism_interval": "60s"}
"""Realism is measured within the warming part: the first time loads what it needs, once."""


@dataclass
class Seen:
    """What was seen of the service: (seconds, resident MB), messages read, connections that were closed on us."""

    memory: list[tuple[float, float]]
    simulated_s: float = 0.0
    messages: int = 0
    closed: int = 0
    orders: int = 0


async def read_for_ever(port: int, seen: Seen, *, reads: bool) -> None:
    """Hold a connection to the stream, again and again; without `reads` take nothing from its socket."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /api/v1/stream?books={DEFAULT_PAIR_ID} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        with contextlib.suppress(OSError):
            while reads and await reader.read(65_536):
                seen.messages += 1
            if not reads:
                reader._transport.pause_reading()  # type: ignore[attr-defined]  # noqa: SLF001  (a page that hangs)
                while not _is_closed(port, writer):  # noqa: ASYNC110  (what is not read does not tell)
                    await asyncio.sleep(1.0)
        seen.closed += 1
        writer.close()
        await asyncio.sleep(0.5)


def _is_closed(port: int, writer: asyncio.StreamWriter) -> bool:
    """Return whether the service has given up a connection that nobody reads."""
    own = writer.get_extra_info("sockname")[1]
    for connection in psutil.Process().net_connections("tcp"):
        if connection.laddr.port == own and connection.raddr and connection.raddr.port == port:
            return connection.status != psutil.CONN_ESTABLISHED
    return True


async def place_for_ever(url: str, seen: Seen, per_second: float) -> None:
    """Place and cancel orders at a steady rate."""
    async with AsyncClient(url) as client:
        while True:
            order = await client.place_order(DEFAULT_PAIR_ID, "BUY", "0.001", price="40000.00")
            await client.cancel_order(order.order_id)
            seen.orders += 1
            await asyncio.sleep(1 / per_second)


@dataclass(frozen=True)
class Length:
    """How long it lasts: until the clock has gone on by `seconds`, or the market, `speed` times as fast, by so many."""

    seconds: float
    speed: float | None = None

    @property
    def wall_s(self) -> float:
        """The time that it takes at least."""
        return self.seconds / (self.speed or 1.0)

    @property
    def step_s(self) -> float:
        """The market's update interval, in its own time."""
        return 0.05 if self.speed is None else 1.0


async def watch(url: str, process: psutil.Process, seen: Seen, length: Length) -> str:
    """Note memory until the time is over; return the last metrics."""
    started, every, spent = time.monotonic(), max(0.5, length.wall_s / 400), 0.0
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        session = (await client.get("/api/v1/simulator/sessions")).json()["items"][0]
        path, first = f"/api/v1/simulator/sessions/{session['session_id']}", session["step"]
        if length.speed is not None:
            (await client.patch(path, json={"speed": length.speed})).raise_for_status()
        while spent < length.seconds:
            seen.memory.append((time.monotonic() - started, process.memory_info().rss / 1e6))
            await asyncio.sleep(every)
            steps = (await client.get(path)).json()["step"] - first
            seen.simulated_s = steps * length.step_s
            spent = time.monotonic() - started if length.speed is None else seen.simulated_s
        return (await client.get("/metrics")).text


async def soak(url: str, process: psutil.Process, length: Length, per_second: float) -> tuple[Seen, str]:
    """Let everybody do his part for so long; return what was seen, and the metrics at the end."""
    port, seen = int(url.rpartition(":")[2]), Seen([])
    tasks = [asyncio.create_task(read_for_ever(port, seen, reads=number % 2 == 0)) for number in range(2 * READERS)]
    tasks.append(asyncio.create_task(place_for_ever(url, seen, per_second)))
    metrics = await watch(url, process, seen, length)
    broken = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not broken, broken[0].exception()
    return seen, metrics


def length_of(given: argparse.Namespace) -> Length:
    """Return how long it is to last, as the command line says."""
    if given.simulated_hours:
        return Length(given.simulated_hours * 3600, given.speed)
    return Length(given.hours * 3600 if given.hours else 40.0 if given.quick else 600.0)


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="40 seconds (default: 10 minutes)")
    parser.add_argument("--hours", type=float, help="for how long")
    parser.add_argument("--simulated-hours", type=float, help="for how long in the market's own time")
    parser.add_argument(
        "--speed", type=float, default=100.0, help="of the market, with --simulated-hours (default: 100)"
    )
    parser.add_argument("--orders", type=float, default=20.0, help="placed and cancelled a second")
    return parser.parse_args()


def medians(memory: list[tuple[float, float]]) -> list[float]:
    """Return the median of memory in each of `PARTS` equal parts of the time; parts without a sample are left out."""
    place = [min(PARTS - 1, int(PARTS * at / memory[-1][0])) for at, _ in memory]
    parts = [[mb for where, (_, mb) in zip(place, memory, strict=True) if where == part] for part in range(PARTS)]
    return [float(np.median(part)) for part in parts if part]


def main() -> None:
    """Run and print."""
    given = arguments()
    length = length_of(given)
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    interval = f"{length.step_s * 1e3:g}ms"
    with local_service({**SETTINGS, "simulator.market_update_interval": interval}) as url:
        process = next(
            child for child in psutil.Process().children(recursive=True)
            if child.pid not in children and "serve" in child.cmdline()
        )  # fmt: skip
        seen, metrics = asyncio.run(soak(url, process, length, given.orders))
    seconds = seen.memory[-1][0]
    parts = medians(seen.memory)
    warm = parts[int(WARM_SHARE * len(parts)) :]
    grown = float(np.polyfit(np.arange(len(warm)), warm, 1)[0]) * (len(warm) - 1) if len(warm) > 1 else 0.0
    evicted = sum(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("market_maker_stream_evictions_total")
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, market-maker {version('market-maker')}")
    print(f"{seconds:.0f} s, {seen.simulated_s / 3600:.2f} hours of the market")
    print(f"memory in MB, medians of {len(parts)} parts: {' '.join(f'{part:.0f}' for part in parts)}")
    print(f"growth after the first {WARM_SHARE:.0%}, by a line through them: {grown:+.1f} MB")
    print(f"{seen.orders} orders placed and cancelled, {seen.messages} reads, {evicted:.0f} readers sent away")
    print(json.dumps({
        "benchmark": "soak", "seconds": round(seconds, 1), "simulated_hours": round(seen.simulated_s / 3600, 2),
        "rss_mb_warm": round(warm[0], 1), "rss_mb_end": round(warm[-1], 1), "grown_mb": round(grown, 2),
        "evictions": evicted, "orders": seen.orders,
    }))  # fmt: skip
    sys.exit(0 if given.quick or grown < GROWTH_MB_MAX else 1)


if __name__ == "__main__":
    main()
