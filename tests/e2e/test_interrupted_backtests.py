"""Backtests whose worker or service is killed end all the same: completed, or failed as interrupted (R6)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from e2e.conftest import MakeService
from e2e.service_process import DEFAULT_PAIR, DEFAULT_STRATEGY, ServiceProcess
from market_maker.domain.units import format_instant

ENDED = {"COMPLETED", "FAILED", "CANCELED"}
NONE_OPEN_S = 60.0


async def recorded(service: ServiceProcess, seconds: float) -> tuple[int, int]:
    """Record a stretch of the running market into the lake; return its first and last instant."""
    session = await service.session()
    path = f"/api/v1/simulator/sessions/{session['session_id']}"
    assert (await service.request("PATCH", path, {"recording": True})).status == 200
    await asyncio.sleep(seconds)
    assert (await service.request("PATCH", path, {"recording": False})).status == 200
    with psycopg.connect(service.dsn) as connection:
        row = connection.execute("SELECT min(first_ts), max(last_ts) FROM market_data_days").fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def queue_runs(service: ServiceProcess, span: tuple[int, int], runs: int) -> list[str]:
    wish = {
        "strategy_id": DEFAULT_STRATEGY, "pair_id": DEFAULT_PAIR, "allow_gaps": True,
        "start_date": format_instant(span[0]), "end_date": format_instant(span[1]),
    }  # fmt: skip
    answers = [await service.request("POST", "/api/v1/backtest", {**wish, "seed": seed}) for seed in range(runs)]
    assert {answer.status for answer in answers} == {202}, answers
    return [answer.content["run_id"] for answer in answers]


async def states(service: ServiceProcess, run_ids: list[str]) -> list[dict[str, object]]:
    return [await service.get(f"/api/v1/backtest/runs/{run_id}") for run_id in run_ids]


async def seized(service: ServiceProcess, run_ids: list[str]) -> psutil.Process:
    """Return the worker, held still at a moment when it is in the middle of a run."""
    worker = None
    with psycopg.connect(service.dsn, autocommit=True) as connection:
        for _ in range(20_000):
            worker = worker or worker_of(service)
            row = connection.execute("SELECT count(*) FROM backtest_runs WHERE status = 'RUNNING'").fetchone()
            if worker is not None and row is not None and row[0]:
                worker.suspend()
                row = connection.execute("SELECT count(*) FROM backtest_runs WHERE status = 'RUNNING'").fetchone()
                if row is not None and row[0]:
                    return worker
                worker.resume()
            await asyncio.sleep(0.002)
    raise AssertionError(f"no run was seen under way: {await states(service, run_ids)}")


def worker_of(service: ServiceProcess) -> psutil.Process | None:
    for child in psutil.Process(service.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # One that has ended, or that nobody has waited for yet.
            if "worker" in child.cmdline():
                return child
    return None


async def none_open(service: ServiceProcess, run_ids: list[str], since: float) -> list[dict[str, object]]:
    while time.monotonic() < since + NONE_OPEN_S:
        runs = await states(service, run_ids)
        if all(run["status"] in ENDED for run in runs):
            return runs
        await asyncio.sleep(0.2)
    raise AssertionError([run for run in await states(service, run_ids) if run["status"] not in ENDED])


@pytest.mark.parametrize(
    "victim", [pytest.param("worker", marks=pytest.mark.slow), pytest.param("service", marks=pytest.mark.slow), "both"]
)
@pytest.mark.timeout(240)
async def test_no_run_is_stuck_after_a_kill(
    make_service: MakeService, database_dsn: str, service_folder: Path, victim: str
) -> None:
    service = make_service(database_dsn, MM_BACKTEST__WORKERS="1")
    await service.start()
    span = await recorded(service, 2.0)
    run_ids = await queue_runs(service, span, 4)
    worker = await seized(service, run_ids)
    killed = time.monotonic()
    if victim in ("service", "both"):
        service.kill()
    if victim in ("worker", "both"):
        worker.kill()
    else:
        worker.resume()
    if victim in ("service", "both"):
        await service.start()
    runs = await none_open(service, run_ids, killed)
    seconds = time.monotonic() - killed
    if victim != "worker":
        for _ in range(100):  # the worker of the killed service does not stay behind
            if not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("a worker outlives its service")
    print(f"\n{victim} killed: all {len(runs)} runs ended {seconds:.1f} s later: {[run['status'] for run in runs]}")
    for run in runs:
        assert run["status"] == "COMPLETED" or "interrupted" in str(run["error"]), run
    digests = {
        result["digest"] for result in (await service.get(f"/api/v1/backtest/results/{DEFAULT_STRATEGY}"))["items"]
    }
    assert len(digests) == sum(run["status"] == "COMPLETED" for run in runs)  # seeds differ, none is written twice


@pytest.mark.timeout(120)
async def test_a_worker_without_work_ends_and_the_next_run_finds_another(
    make_service: MakeService, database_dsn: str
) -> None:
    service = make_service(database_dsn, MM_BACKTEST__WORKERS="1", MM_BACKTEST__WORKER_IDLE="1s")
    await service.start()
    first = await until_worker(service, there=True)
    assert first is not None
    await until_worker(service, there=False)
    await asyncio.sleep(1.0)
    assert worker_of(service) is None  # it is not missed while nothing is queued
    run_ids = await queue_runs(service, await recorded(service, 2.0), 1)
    queued = time.monotonic()
    runs = await none_open(service, run_ids, queued)
    assert [run["status"] for run in runs] == ["COMPLETED"], runs
    await until_worker(service, there=False)
    await queue_runs(service, await recorded(service, 1.0), 1)
    third = await until_worker(service, there=True)
    assert third is not None
    assert third.pid != first.pid


async def until_worker(service: ServiceProcess, *, there: bool) -> psutil.Process | None:
    """Return the worker once there is one, or nothing once there is none."""
    for _ in range(300):
        worker = worker_of(service)
        if (worker is not None) == there:
            return worker
        await asyncio.sleep(0.1)
    raise AssertionError(f"a worker is {'missing' if there else 'still there'}")
