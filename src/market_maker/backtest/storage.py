"""Rows of finished backtests: one place that writes them and reads them back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.result import RunResult
from market_maker.backtest.several_run import SeveralRun
from market_maker.domain.events import Event, EventType
from market_maker.messaging.topics import outbox_event
from market_maker.storage.database import Connection, Database, page
from market_maker.storage.outbox import SERVICE_STREAM, append, ensure_stream

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"
"""The states of runs and of sweeps."""


def report_path(run_id: UUID) -> str:
    """Return where the service shows the report of a completed run."""
    return f"/api/v1/backtest/runs/{run_id}/report"


async def tell(
    connection: Connection, kind: EventType, aggregate: tuple[UUID, int], ts: int, data: dict[str, Any], cause: str = ""
) -> None:
    """Append an event to the outbox in the caller's transaction.

    Parameters
    ----------
    aggregate : what it is about, and its version, which numbers its events
    cause : correlation id; default: the aggregate's
    """
    stream = await ensure_stream(connection, SERVICE_STREAM)
    event = Event(kind, *aggregate, ts, cause or str(aggregate[0]), data)
    await append(connection, stream, [outbox_event(event)])


async def save_result(
    connection: Connection, run: dict[str, Any], result: RunResult | SeveralRun, folder: Path, ts: int
) -> dict[str, Any]:
    """Write a result's columns into `folder` and its row into the caller's transaction; return it as JSON values."""
    files = await asyncio.to_thread(result.write, folder)
    content = result.to_json()
    await connection.execute(
        "INSERT INTO backtest_results VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            run["run_id"],
            run["strategy_id"],
            Jsonb(content["summary"]),
            Jsonb(content["reproducibility"]),
            result.digest(),
            str(folder),
            Jsonb(files),
            ts,
        ),
    )
    return content


async def get_results(
    database: Database, strategy_id: UUID, *, after: UUID | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the results of a strategy's completed runs as JSON values, newest first."""
    query = """
        SELECT b.run_id, b.strategy_id, b.summary, b.reproducibility, b.digest, b.created_ts, r.configuration, r.pair_id
        FROM backtest_results AS b JOIN backtest_runs AS r USING (run_id)
        WHERE b.strategy_id = %(strategy_id)s AND b.run_id < %(before)s ORDER BY b.run_id DESC LIMIT %(limit)s
    """
    rows = await database.fetch(query, {"strategy_id": strategy_id, **page(after, limit)})
    return [
        {
            "run_id": str(row["run_id"]),
            "strategy_id": str(row["strategy_id"]),
            "pair_id": str(row["pair_id"]),
            "kind": row["configuration"].get("kind", "BACKTEST"),
            "start_ts": row["configuration"]["start_ts"],
            "end_ts": row["configuration"]["end_ts"],
            "summary": row["summary"],
            "reproducibility": row["reproducibility"],
            "digest": row["digest"],
            "created_ts": str(row["created_ts"]),
            "report": report_path(row["run_id"]),
        }
        for row in rows
    ]
