"""SQL of strategies that run on simulated markets: the row of a run, written with the market's own transaction."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.storage.database import Connection, Database, fetch, page

COLUMNS = (
    "run_id, strategy_id, account_id, pair_id, session_id, name, kind, parameters, state, error, started_ts, ended_ts,"
    " updated_ts, sequence"
)
_SAVE = f"""
INSERT INTO strategy_runs ({COLUMNS}, progress, memory, is_watched)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s)
ON CONFLICT (run_id) DO UPDATE SET
    state = excluded.state, error = excluded.error, ended_ts = excluded.ended_ts, updated_ts = excluded.updated_ts,
    sequence = excluded.sequence, progress = excluded.progress, memory = excluded.memory, is_watched = excluded.is_watched
"""


class RunRow(Protocol):
    """A run, with a field for each column."""

    run_id: UUID
    strategy_id: UUID
    account_id: UUID
    pair_id: UUID
    session_id: UUID
    name: str
    kind: str
    parameters: dict[str, Any]
    state: str
    error: str
    started_ts: int
    ended_ts: int
    updated_ts: int
    sequence: int


def saved(run: RunRow, progress: str, memory: bytes, *, is_watched: bool) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that writes a run; `progress` is JSON text, `memory` the strategy's own."""
    return _SAVE, (
        run.run_id, run.strategy_id, run.account_id, run.pair_id, run.session_id, run.name, run.kind, Jsonb(run.parameters),
        run.state, run.error, run.started_ts, run.ended_ts, run.updated_ts, run.sequence, progress, memory, is_watched,
    )  # fmt: skip


async def load_watched(connection: Connection, session_id: UUID) -> list[dict[str, Any]]:
    """Return the runs that take part in a session's market, oldest first."""
    query = (
        f"SELECT {COLUMNS}, progress, memory FROM strategy_runs WHERE session_id = %s AND is_watched ORDER BY run_id"
    )
    return await fetch(connection, query, (session_id,))


async def get_runs(
    database: Database,
    *,
    run_id: UUID | None = None,
    strategy_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return runs, newest first, from below the id `after`, without what their strategies remember."""
    query = f"""
        SELECT {COLUMNS}, progress FROM strategy_runs
        WHERE run_id < %(before)s
          AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
          AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
        ORDER BY run_id DESC LIMIT %(limit)s
    """
    return await database.fetch(query, {"run_id": run_id, "strategy_id": strategy_id, **page(after, limit)})
