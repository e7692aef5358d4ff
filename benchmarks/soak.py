"""Does memory stay bounded? Idle readers, readers that never read, and orders, for as long as you like.

Readers are like browsers that were left open: some read, some never do. The service must send the latter away, and its
memory must not grow once it is warm. Prints memory over time, the slope after the first part, and one JSON line.

    python benchmarks/soak.py --quick          # 40 s
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
WARM_SHARE = 0.2
SETTINGS = {"simulator.market_update_interval": "50ms", "simulator.execution_delay": "5ms", "backtest.workers": "0"}


@dataclass
class Seen:
    """What was seen of the service: (seconds, resident MB), messages read, connections that were closed on us."""

    memory: list[tuple[float, float]]
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


async def watch(url: str, process: psutil.Process, seen: Seen, seconds: float) -> str:
    """Note memory until the time is over; return the last metrics."""
    started, every = time.monotonic(), max(0.5, seconds / 400)
    while (now := time.monotonic() - started) < seconds:
        seen.memory.append((now, process.memory_info().rss / 1e6))
        await asyncio.sleep(every)
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/metrics")).text


async def soak(url: str, process: psutil.Process, seconds: float, per_second: float) -> tuple[Seen, str]:
    """Let everybody do his part for so long; return what was seen, and the metrics at the end."""
    port, seen = int(url.rpartition(":")[2]), Seen([])
    tasks = [asyncio.create_task(read_for_ever(port, seen, reads=number % 2 == 0)) for number in range(2 * READERS)]
    tasks.append(asyncio.create_task(place_for_ever(url, seen, per_second)))
    metrics = await watch(url, process, seen, seconds)
    broken = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not broken, broken[0].exception()
    return seen, metrics


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="40 seconds (default: 10 minutes)")
    parser.add_argument("--hours", type=float, help="for how long")
    parser.add_argument("--orders", type=float, default=50.0, help="placed and cancelled a second")
    given = parser.parse_args()
    seconds = given.hours * 3600 if given.hours else 40.0 if given.quick else 600.0
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    with local_service(SETTINGS) as url:
        process = next(
            child for child in psutil.Process().children(recursive=True)
            if child.pid not in children and "serve" in child.cmdline()
        )  # fmt: skip
        seen, metrics = asyncio.run(soak(url, process, seconds, given.orders))
    warm = np.array([sample for sample in seen.memory if sample[0] >= WARM_SHARE * seconds])
    slope = float(np.polyfit(warm[:, 0] / 60, warm[:, 1], 1)[0])
    evicted = sum(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("market_maker_stream_evictions_total")
    )
    print(
        f"{platform.machine()}, Python {platform.python_version()}, market-maker {version('market-maker')}, {seconds:.0f} s"
    )
    print(f"memory {seen.memory[0][1]:.0f} MB at first, {warm[0][1]:.0f} MB warm, {warm[-1][1]:.0f} MB at the end")
    print(f"slope after the first {WARM_SHARE:.0%}: {slope:+.2f} MB a minute")
    print(f"{seen.orders} orders placed and cancelled, {seen.messages} reads, {evicted:.0f} readers sent away")
    print(json.dumps({
        "benchmark": "soak", "seconds": seconds, "rss_mb_warm": round(warm[0][1], 1), "rss_mb_end": round(warm[-1][1], 1),
        "rss_mb_per_minute": round(slope, 3), "evictions": evicted, "orders": seen.orders,
    }))  # fmt: skip
    sys.exit(0 if given.quick or slope < 1.0 else 1)


if __name__ == "__main__":
    main()
