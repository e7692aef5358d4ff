"""Metrics of runs and sweeps: sets are counted once however often progress is told, and the queue is as the database has it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from market_maker.backtest.observation import count_jobs_for_ever, observe_backtests
from market_maker.domain.errors import Unavailable
from market_maker.domain.ids import new_id
from market_maker.messaging.bus import Message
from market_maker.messaging.topics import encode
from market_maker.monitoring.metrics import Metrics


class OneReader:
    """A bus that hands messages to the one who asked for them."""

    def __init__(self) -> None:
        self.handler: Callable[[Message], Awaitable[None]] | None = None

    async def subscribe(
        self, _: None, handler: Callable[[Message], Awaitable[None]], patterns: tuple[str, ...]
    ) -> None:
        assert patterns == ("backtest.#",)
        self.handler = handler

    async def tell(self, kind: str, **data: Any) -> None:
        assert self.handler is not None
        body = encode(event_id=new_id(), type=kind, aggregate_id=new_id(), sequence=1, ts=1, data=data)
        await self.handler(Message(kind, body.encode(), str(new_id())))


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"market_maker_{name}", labels) or 0.0


async def observed() -> tuple[OneReader, Metrics]:
    bus, metrics = OneReader(), Metrics()
    await observe_backtests(bus, metrics)  # type: ignore[arg-type]
    return bus, metrics


async def test_sets_of_a_sweep_are_counted_once_and_those_known_before_not_at_all() -> None:
    bus, metrics = await observed()
    sweep = {"sweep_id": "one", "known": 5}
    await bus.tell("backtest.sweep.queued", **sweep, done=0)
    await bus.tell("backtest.sweep.started", **sweep, done=5)
    await bus.tell("backtest.sweep.progress", **sweep, done=20)
    await bus.tell("backtest.sweep.progress", **sweep, done=20)  # at least once
    await bus.tell("backtest.sweep.progress", sweep_id="two", known=0, done=7)
    assert value(metrics.registry, "sweep_sets_total") == 15 + 7
    await bus.tell("backtest.sweep.completed", **sweep, done=30)
    await bus.tell("backtest.sweep.failed", sweep_id="two", known=0, done=7)
    await bus.tell("backtest.sweep.canceled", sweep_id="three", known=0, done=0)
    assert value(metrics.registry, "sweep_sets_total") == 25 + 7
    for outcome in ("completed", "failed", "canceled"):
        assert value(metrics.registry, "sweeps_total", outcome=outcome) == 1


async def test_runs_are_counted_by_how_they_ended() -> None:
    bus, metrics = await observed()
    run = {"started_ts": "1000000000", "finished_ts": "3000000000"}
    done = {"summary": {"turnover": "12.5", "maker_share": 0.25}, "quote": "USDT", "coverage": 0.5, "events": 40}
    await bus.tell("backtest.progress", **run)
    await bus.tell("backtest.completed", **run, **done)
    await bus.tell("backtest.failed", started_ts=None, finished_ts=None)
    assert value(metrics.registry, "backtests_total", outcome="completed") == 1
    assert value(metrics.registry, "backtests_total", outcome="failed") == 1
    assert value(metrics.registry, "backtest_events_total") == 40
    assert value(metrics.registry, "virtual_volume_total", mode="backtest", currency="USDT") == 12.5
    assert value(metrics.registry, "operation_seconds_sum", mode="backtest", operation="run") == pytest.approx(2.0)
    assert value(metrics.registry, "backtest_quality", measure="maker_share") == 0.25


class Answers:
    """A database that answers one after the other, the last for ever."""

    def __init__(self, *answers: list[dict[str, Any]] | Exception) -> None:
        self.answers = list(answers)
        self.asked = asyncio.Event()

    async def fetch(self, query: str) -> list[dict[str, Any]]:
        assert "backtest_sweeps" in query
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if len(self.answers) == 1:
            self.asked.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def counted(*answers: list[dict[str, Any]] | Exception) -> Metrics:
    database, metrics = Answers(*answers), Metrics()
    task = asyncio.create_task(count_jobs_for_ever(database, metrics, interval_s=0.001))  # type: ignore[arg-type]
    await asyncio.wait_for(database.asked.wait(), 5)
    await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return metrics


async def test_the_queue_is_as_the_database_has_it() -> None:
    waiting = [{"kind": "run", "status": "PENDING", "number": 3}, {"kind": "sweep", "status": "RUNNING", "number": 1}]
    metrics = await counted([], waiting)
    assert value(metrics.registry, "backtest_jobs", kind="run", state="pending") == 3
    assert value(metrics.registry, "backtest_jobs", kind="sweep", state="running") == 1
    metrics = await counted(waiting, [])
    assert value(metrics.registry, "backtest_jobs", kind="run", state="pending") == 0


async def test_a_database_that_is_away_leaves_the_last_figures() -> None:
    metrics = await counted([{"kind": "run", "status": "PENDING", "number": 3}], Unavailable("away"))
    assert value(metrics.registry, "backtest_jobs", kind="run", state="pending") == 3
