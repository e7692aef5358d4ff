"""What the service measures of itself without being asked."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time

from market_maker.monitoring.health import CheckResult, Health, State
from market_maker.monitoring.metrics import Metrics
from market_maker.monitoring.sampling import sample_for_ever


async def test_a_loop_that_is_held_up_pool_and_health_show_without_being_asked() -> None:
    metrics = Metrics()
    health = Health(metrics)
    health.register("disk", lambda: CheckResult(State.DEGRADED, "nearly full"))
    sampling = asyncio.create_task(
        sample_for_ever(metrics, lambda: {"size": 3, "waiting": 2}, health.readiness, interval_s=0.01)
    )
    await asyncio.sleep(0.05)
    time.sleep(0.3)  # noqa: ASYNC251  (this is the fault that the figure is there for)
    await asyncio.sleep(0.05)
    sampling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sampling

    def value(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(f"market_maker_{name}", labels) or 0.0

    assert value("event_loop_lag_seconds_count") > 3
    late = value("event_loop_lag_seconds_count") - value("event_loop_lag_seconds_bucket", le="0.25")
    assert late == 1
    assert value("database_pool", state="size") == 3
    assert value("database_pool", state="waiting") == 2
    assert value("health_state", check="disk") == 1


def test_workers_are_counted_while_they_live_and_their_time_stays() -> None:
    metrics = Metrics()

    def value(name: str) -> float:
        found = metrics.registry.get_sample_value(f"market_maker_workers_{name}")
        assert found is not None
        return found

    assert value("count") == value("resident_memory_bytes") == value("cpu_seconds_total") == 0
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE) as worker:
        metrics.resources.watch_worker(worker.pid)
        deadline = time.monotonic() + 20
        while value("cpu_seconds_total") < 0.2 and time.monotonic() < deadline:
            time.sleep(0.02)
        used = value("cpu_seconds_total")
        assert used >= 0.2
        assert value("count") == 1
        assert value("resident_memory_bytes") > 1_000_000
        worker.kill()
        worker.wait()
    metrics.resources.forget_worker(worker.pid)
    assert value("count") == value("resident_memory_bytes") == 0
    assert used <= value("cpu_seconds_total") < used + 0.5
