"""Metrics of backtests and sweeps, from their events: the work is done in other processes, whose counters nobody scrapes.

How many wait and run is counted in the database, so that it is right after a restart, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from typing import Any

from market_maker.domain.errors import Unavailable
from market_maker.domain.events import EventType
from market_maker.messaging.bus import Bus, Message, Subscription
from market_maker.messaging.topics import decode, envelope_data
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.storage.database import Database

COUNT_S = 2.0
"""Seconds between two counts of open jobs."""
_RUNS = {
    EventType.BACKTEST_COMPLETED.value: "completed",
    EventType.BACKTEST_FAILED.value: "failed",
    EventType.BACKTEST_CANCELED.value: "canceled",
}
_SWEEPS = {
    EventType.SWEEP_COMPLETED.value: "completed",
    EventType.SWEEP_FAILED.value: "failed",
    EventType.SWEEP_CANCELED.value: "canceled",
}
_SWEEP_NEWS = {*_SWEEPS, EventType.SWEEP_STARTED.value, EventType.SWEEP_PROGRESS.value}
_COUNT_OPEN = """
    SELECT 'run' AS kind, status, count(*) AS number FROM backtest_runs
    WHERE status IN ('PENDING', 'RUNNING') GROUP BY status
    UNION ALL
    SELECT 'sweep', status, count(*) FROM backtest_sweeps WHERE status IN ('PENDING', 'RUNNING') GROUP BY status
"""


async def observe_backtests(bus: Bus, metrics: Metrics) -> Subscription:
    """Count ended runs and sweeps, their volume, duration and sets, and show the quality of the last completed run."""
    done: dict[str, int] = {}
    # From the start, at zero: Prometheus sees no increase in a series that begins with its first failure.
    for outcome in _RUNS.values():
        metrics.backtests.labels(outcome)
    for outcome in _SWEEPS.values():
        metrics.sweeps.labels(outcome)

    async def on_event(message: Message) -> None:
        envelope = decode(message.body)
        if envelope.type in _RUNS:
            _note_run(metrics, envelope_data(envelope), _RUNS[envelope.type])
        elif envelope.type in _SWEEP_NEWS:
            _note_sweep(metrics, envelope_data(envelope), _SWEEPS.get(envelope.type), done)

    return await bus.subscribe(None, on_event, ("backtest.#",))


def _note_run(metrics: Metrics, run: dict[str, Any], outcome: str) -> None:
    metrics.backtests.labels(outcome).inc()
    if run["started_ts"] and run["finished_ts"]:
        seconds = (int(run["finished_ts"]) - int(run["started_ts"])) / 1e9
        metrics.operation_seconds.labels(Mode.BACKTEST, "run").observe(seconds)
    if outcome == "completed":
        summary = run["summary"]
        metrics.backtest_events.inc(run.get("events", 0))  # a worker of an older version does not tell
        metrics.virtual_volume.labels(Mode.BACKTEST, run["quote"]).inc(float(Decimal(summary["turnover"])))
        metrics.backtest_quality.labels("coverage").set(run["coverage"])
        metrics.backtest_quality.labels("maker_share").set(summary["maker_share"] or 0.0)


def _note_sweep(metrics: Metrics, sweep: dict[str, Any], outcome: str | None, done: dict[str, int]) -> None:
    """Count the sets that are new since a sweep was last heard of; `done` remembers the sweeps under way."""
    before = done.get(sweep["sweep_id"], sweep["known"])
    metrics.sweep_sets.inc(max(0, sweep["done"] - before))
    done[sweep["sweep_id"]] = max(before, sweep["done"])
    if outcome is not None:
        metrics.sweeps.labels(outcome).inc()
        del done[sweep["sweep_id"]]


async def count_jobs_for_ever(database: Database, metrics: Metrics, interval_s: float = COUNT_S) -> None:
    """Show every `interval_s` how many backtests and sweeps wait and run; while the database is away, the last figures."""
    gauges = {
        (kind, state): metrics.backtest_jobs.labels(kind, state.lower())
        for kind in ("run", "sweep")
        for state in ("PENDING", "RUNNING")
    }
    while True:
        with contextlib.suppress(Unavailable):
            found = {(row["kind"], row["status"]): row["number"] for row in await database.fetch(_COUNT_OPEN)}
            for key, gauge in gauges.items():
                gauge.set(found.get(key, 0))
        await asyncio.sleep(interval_s)
