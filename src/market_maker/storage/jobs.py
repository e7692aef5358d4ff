"""The job queue in PostgreSQL (procrastinate): a job names a run or a sweep; its row says all else."""

from __future__ import annotations

from uuid import UUID

from market_maker.storage.database import Connection, Database, fetch

QUEUE = "backtests"
TASK = "run_backtest"
SWEEP_TASK = "run_sweep"

_HAS_WORK = """
    SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE queue_name = %s AND status IN ('todo', 'doing'))
        OR EXISTS (SELECT 1 FROM backtest_runs WHERE status IN ('PENDING', 'RUNNING'))
        OR EXISTS (SELECT 1 FROM backtest_sweeps WHERE status IN ('PENDING', 'RUNNING')) AS has_work
"""


async def has_work(database: Database) -> bool:
    """Return whether a run or a sweep is queued or under way, at whomever's."""
    async with database.transaction() as connection:
        return bool((await fetch(connection, _HAS_WORK, (QUEUE,)))[0]["has_work"])


async def defer_run(connection: Connection, run_id: UUID) -> None:
    """Queue the job of a run in the caller's transaction: run and job exist both or not at all."""
    await _defer(connection, TASK, f"run {run_id}", "run_id", run_id)


async def defer_sweep(connection: Connection, sweep_id: UUID) -> None:
    """Queue the job of a sweep in the caller's transaction: sweep and job exist both or not at all."""
    await _defer(connection, SWEEP_TASK, f"sweep {sweep_id}", "sweep_id", sweep_id)


async def _defer(connection: Connection, task: str, lock: str, name: str, value: UUID) -> None:
    """Queue a job by the queue's own SQL function, so that the API needs neither its client nor a second connection."""
    await connection.execute(
        "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(%s, %s, 0, NULL, %s, jsonb_build_object(%s::text, %s::text), NULL)"
        "::procrastinate_job_to_defer_v1])",
        (QUEUE, task, lock, name, str(value)),
    )
