"""The job queue in PostgreSQL (procrastinate): a job names a run; the run's row says all else."""

from __future__ import annotations

from uuid import UUID

from market_maker.storage.database import Connection

QUEUE = "backtests"
TASK = "run_backtest"


async def defer_run(connection: Connection, run_id: UUID) -> None:
    """Queue the job of a run in the caller's transaction: run and job exist both or not at all.

    Calls the queue's own SQL function, so that the API needs neither its client nor a second connection.
    """
    await connection.execute(
        "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(%s, %s, 0, NULL, %s, jsonb_build_object('run_id', %s::text), NULL)"
        "::procrastinate_job_to_defer_v1])",
        (QUEUE, TASK, f"run {run_id}", str(run_id)),
    )
