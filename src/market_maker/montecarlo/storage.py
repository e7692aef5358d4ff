"""Results of simulated runs in the database, beside those of backtests: the same rows, files, report page and events."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.result import RunResult
from market_maker.backtest.service import run_data
from market_maker.backtest.storage import COMPLETED, save_result, tell
from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.montecarlo.engine import SimulationConfig
from market_maker.storage.database import Connection, fetch
from market_maker.storage.reference import Strategy

SIMULATION = "SIMULATION"
"""What `kind` of a run's configuration says; a run without one is a backtest."""


async def save_run(
    connection: Connection,
    strategy: Strategy,
    config: SimulationConfig,
    seed: int,
    result: RunResult,
    root: Path,
    ts: int,
) -> UUID:
    """Write one seed's result as a completed run of a strategy, in the caller's transaction; return the run's id.

    Parameters
    ----------
    root : folder of results, in which each run has one of its own
    ts : now, ns UTC
    """
    run_id = new_id()
    rows = await fetch(
        connection,
        "INSERT INTO backtest_runs (run_id, strategy_id, pair_id, status, configuration, progress, events_per_second,"
        " eta_seconds, error, attempts, cancel_requested, heartbeat_ts, created_ts, started_ts, finished_ts, version)"
        " VALUES (%s, %s, %s, %s, %s, 1, NULL, 0, NULL, 1, false, %s, %s, %s, %s, 1) RETURNING *",
        (
            run_id,
            strategy.strategy_id,
            strategy.pair_id,
            COMPLETED,
            Jsonb(run_configuration(config, seed)),
            ts,
            ts,
            ts,
            ts,
        ),
    )
    content = await save_result(connection, rows[0], result, root / str(run_id), ts)
    extra = {
        "summary": content["summary"],
        "digest": result.digest(),
        "coverage": content["reproducibility"]["coverage"],
        "quote": config.run.instrument.quote,
        "result": f"/api/v1/backtest/runs/{run_id}/result",
    }
    await tell(connection, EventType.BACKTEST_COMPLETED, (run_id, 1), ts, run_data(rows[0]) | extra)
    return run_id


def run_configuration(config: SimulationConfig, seed: int) -> dict[str, Any]:
    """Return how a run was done, in the shape of a backtest's with `kind` and the scenarios."""
    run = config.run
    return {
        "kind": SIMULATION,
        "start_ts": str(run.start_ts),
        "end_ts": str(run.end_ts),
        "entry_latency_ns": run.entry_latency_ns,
        "response_latency_ns": run.response_latency_ns,
        "balance": str(run.balance),
        "fill_model": run.fill_model.name,
        "sample_interval_ns": run.sample_interval_ns,
        "seed": seed,
        "allow_gaps": run.allow_gaps,
        "execution": run.execution.to_json(),
        "band": False,
        "record_orders": run.records_orders,
        "scenarios": [each.to_json() for each in config.scenarios],
    }
