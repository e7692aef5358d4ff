"""Health: the worst check decides, a check that hangs or raises is a finding."""

from __future__ import annotations

import asyncio
import time

import pytest

from market_maker.domain.errors import Unavailable
from market_maker.monitoring.health import OK, CheckResult, Health, State
from market_maker.monitoring.metrics import Metrics

DEGRADED = CheckResult(State.DEGRADED, "slow", "look")
DOWN = CheckResult(State.DOWN, "gone", "start it")


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ([], State.OK),
        ([OK, OK], State.OK),
        ([OK, DEGRADED], State.DEGRADED),
        ([DOWN, DEGRADED, OK], State.DOWN),
    ],
)
async def test_the_worst_check_decides(results: list[CheckResult], state: State) -> None:
    health = Health()
    for number, result in enumerate(results):
        health.register(f"check {number}", lambda result=result: result)
    assert (await health.readiness()).state is state


async def test_a_report_tells_reason_and_action() -> None:
    metrics = Metrics()
    health = Health(metrics)
    health.register("loop", lambda: OK)
    health.register("disk", lambda: DEGRADED)
    assert (await health.readiness()).as_dict() == {
        "state": "degraded",
        "checks": {"loop": {"state": "ok"}, "disk": {"state": "degraded", "reason": "slow", "action": "look"}},
    }
    assert metrics.registry.get_sample_value("market_maker_health_state", {"check": "disk"}) == 1


async def test_a_check_that_hangs_is_down_in_time_and_the_others_are_asked_meanwhile() -> None:
    health = Health()
    for number in range(3):
        health.register(f"hangs {number}", lambda: asyncio.sleep(60, OK), timeout_s=0.05)
    started = time.monotonic()
    report = await health.readiness()
    assert report.state is State.DOWN
    assert "0.05 s" in report.checks["hangs 0"].reason
    assert time.monotonic() - started < 1.0


async def test_a_check_that_raises_is_a_finding_without_secrets() -> None:
    async def raises() -> CheckResult:
        raise Unavailable("cannot reach postgresql://user:s3cret@host/db")

    health = Health()
    health.register("database", raises)
    health.register("broker", raises, worst=State.DEGRADED)
    report = await health.readiness()
    assert report.checks["database"] == CheckResult(State.DOWN, "cannot reach postgresql://user:***@host/db")
    assert report.checks["broker"].state is State.DEGRADED


async def test_worst_caps_what_a_check_says() -> None:
    health = Health()
    health.register("broker", lambda: DOWN, worst=State.DEGRADED)
    assert (await health.readiness()).checks["broker"] == CheckResult(State.DEGRADED, "gone", "start it")


async def test_liveness_asks_only_its_own_checks() -> None:
    health = Health()
    health.register("database", lambda: DOWN)
    health.register("loop of a pair", lambda: OK, liveness=True)
    assert list((await health.liveness()).checks) == ["loop of a pair"]
    assert (await health.liveness()).state is State.OK
