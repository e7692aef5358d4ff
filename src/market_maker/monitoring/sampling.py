"""Figures that somebody has to go and read: how late the event loop is, how the database pool is used, health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from market_maker.monitoring.metrics import Metrics

INTERVAL_S = 0.5
HEALTH_S = 10.0


async def sample_for_ever(
    metrics: Metrics,
    pool: Callable[[], Mapping[str, int]],
    check_health: Callable[[], Awaitable[object]],
    *,
    interval_s: float = INTERVAL_S,
    health_s: float = HEALTH_S,
) -> None:
    """Observe every `interval_s` how late the event loop comes back, and show the figures of `pool`.

    A loop that a computation holds up for a second shows it in the histogram: requests waited as long. Every `health_s`
    the checks of health are made, so that their gauges are true although nobody asks /health.
    """
    checking = asyncio.create_task(_check_for_ever(check_health, health_s))
    loop = asyncio.get_running_loop()
    states = {state: metrics.database_pool.labels(state) for state in pool()}
    try:
        while True:
            due = loop.time() + interval_s
            await asyncio.sleep(interval_s)
            metrics.event_loop_lag_seconds.observe(max(0.0, loop.time() - due))
            for state, number in pool().items():
                states[state].set(number)
    finally:
        checking.cancel()


async def _check_for_ever(check_health: Callable[[], Awaitable[object]], health_s: float) -> None:
    while True:
        await check_health()
        await asyncio.sleep(health_s)
