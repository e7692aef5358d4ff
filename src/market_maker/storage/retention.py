"""Throws away what nobody needs any more, a little at a time: published events, old idempotency keys, old mids.

This goes by itself. Orders that have ended, runs and assessments go only when an operator asks for it (`market-maker db prune`);
fills and positions never go: a position is the sum of its fills.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from market_maker.domain.clock import Clock
from market_maker.domain.errors import InvalidRequest, Unavailable
from market_maker.domain.units import DAY_NS, format_duration
from market_maker.storage import outbox
from market_maker.storage.database import Connection, Database

KEY_AGE_NS = 2 * DAY_NS
"""Idempotency keys are promised for 24 hours."""

PRICE_AGE_NS = 31 * DAY_NS
"""Risk looks back 30 days."""


@dataclass(frozen=True, slots=True)
class Ages:
    """How old what goes must be, ns; None keeps all of it. Raises InvalidRequest for orders that a repeated key may name."""

    events_ns: int
    orders_ns: int | None = None
    runs_ns: int | None = None
    assessments_ns: int | None = None

    def __post_init__(self) -> None:
        if self.orders_ns is not None and self.orders_ns < KEY_AGE_NS:
            allowed = f"{KEY_AGE_NS // DAY_NS}d or more: a repeated key must find its order"
            raise InvalidRequest.of("orders", format_duration(self.orders_ns), allowed)


class Gone(NamedTuple):
    """What one small transaction deleted: rows, and the folders of results that nothing names any more."""

    rows: int
    folders: list[str]


_OLD_ASSESSMENT = (
    "as_of_ts < %(ts)s AND EXISTS (SELECT 1 FROM risk_metrics newer"
    " WHERE newer.position_id = risk_metrics.position_id AND newer.metrics_id > risk_metrics.metrics_id)"
)
"""The newest of a position stays: its risk page shows it."""
_COUNT = {
    "events": (
        "SELECT count(*) FROM relay_cursors c JOIN events o ON o.stream_id = c.stream_id AND o.position <= c.published_position"
        " WHERE o.ts < %(ts)s"
    ),
    "idempotency keys": "SELECT count(*) FROM idempotency_keys WHERE created_ts < %(ts)s",
    "prices": "SELECT count(*) FROM simulated_prices WHERE ts < %(ts)s",
    "ended orders": "SELECT count(*) FROM simulated_orders WHERE status > 2 AND updated_ts < %(ts)s",
    "runs": (
        "SELECT count(*) FROM backtest_runs WHERE status NOT IN ('PENDING', 'RUNNING')"
        " AND coalesce(finished_ts, created_ts) < %(ts)s"
    ),
    "assessments": f"SELECT count(*) FROM risk_metrics WHERE {_OLD_ASSESSMENT}",
}
"""How many rows of each kind are old."""

_PAUSE_S = 60.0
_ROWS = 10_000
_log = structlog.get_logger("storage")


async def prune(database: Database, now_ts: int, event_age_ns: int) -> int:
    """Delete up to 10,000 rows of each kind that are too old; return how many went.

    Events go only when they have been published; orders, trades and positions never go.
    """
    ages = Ages(event_age_ns)
    async with database.connection() as connection:
        deleted = [await delete_old(connection, kind, ages, now_ts) for kind in kinds_of(ages)]
    return sum(gone.rows for gone in deleted if gone is not None)


async def prune_for_ever(database: Database, clock: Clock, event_age_ns: int) -> None:
    """Prune once a minute, at once again while there is much."""
    while True:
        try:
            gone = await prune(database, clock.now_ns(), event_age_ns)
        except Unavailable:
            gone = 0
        if gone:
            _log.debug("old rows deleted", rows=gone)
        if gone < _ROWS:
            await asyncio.sleep(_PAUSE_S)


def kinds_of(ages: Ages) -> list[str]:
    """Return the kinds of rows that go."""
    asked = {"ended orders": ages.orders_ns, "runs": ages.runs_ns, "assessments": ages.assessments_ns}
    return [kind for kind in _COUNT if kind not in asked or asked[kind] is not None]


def _limit_of(kind: str, ages: Ages, now_ts: int) -> int:
    age_ns = {
        "events": ages.events_ns, "idempotency keys": KEY_AGE_NS, "prices": PRICE_AGE_NS, "ended orders": ages.orders_ns,
        "runs": ages.runs_ns, "assessments": ages.assessments_ns,
    }[kind]  # fmt: skip
    assert age_ns is not None, kind
    return now_ts - age_ns


async def count_old(connection: Connection, kind: str, ages: Ages, now_ts: int) -> int:
    """Return how many rows of a kind `delete_old` would delete."""
    cursor = await connection.execute(_COUNT[kind], {"ts": _limit_of(kind, ages, now_ts)})
    found = await cursor.fetchone()
    assert found is not None
    return int(found[0])


async def delete_old(connection: Connection, kind: str, ages: Ages, now_ts: int) -> Gone | None:
    """Delete at most 10,000 old rows of a kind in a transaction of their own; None when there were none."""
    ts = _limit_of(kind, ages, now_ts)
    folders: list[str] = []
    async with connection.transaction():
        if kind == "events":
            rows = await outbox.prune(connection, ts, limit=_ROWS)
        elif kind == "runs":
            rows, folders = await _delete_runs(connection, ts)
        else:
            cursor = await connection.execute(_DELETE[kind], {"ts": ts, "limit": _ROWS})
            rows = cursor.rowcount
    return Gone(rows, folders) if rows else None


_DELETE = {
    "idempotency keys": (
        "DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM idempotency_keys WHERE created_ts < %(ts)s LIMIT %(limit)s))"
    ),
    "prices": (
        "DELETE FROM simulated_prices WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM simulated_prices WHERE ts < %(ts)s LIMIT %(limit)s))"
    ),
    "ended orders": (
        "DELETE FROM simulated_orders WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM simulated_orders WHERE status > 2 AND updated_ts < %(ts)s LIMIT %(limit)s))"
    ),
    "assessments": (
        "DELETE FROM risk_metrics WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM risk_metrics WHERE {_OLD_ASSESSMENT} LIMIT %(limit)s))"
    ),
}


async def _delete_runs(connection: Connection, ts: int) -> tuple[int, list[str]]:
    cursor = await connection.execute(
        "SELECT run_id FROM backtest_runs WHERE status NOT IN ('PENDING', 'RUNNING')"
        " AND coalesce(finished_ts, created_ts) < %s LIMIT %s FOR UPDATE SKIP LOCKED",
        (ts, _ROWS),
    )
    runs = [row[0] for row in await cursor.fetchall()]
    cursor = await connection.execute("DELETE FROM backtest_results WHERE run_id = ANY(%s) RETURNING folder", (runs,))
    folders = [row[0] for row in await cursor.fetchall()]
    await connection.execute("DELETE FROM backtest_runs WHERE run_id = ANY(%s)", (runs,))
    return len(runs), folders
