"""The job queue in PostgreSQL (procrastinate): a job names a run or a sweep; its row says all else."""

from __future__ import annotations

from uuid import UUID

from market_maker.storage.database import Connection

QUEUE = "backtests"
TASK = "run_backtest"
SWEEP_TASK = "run_sweep"


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
