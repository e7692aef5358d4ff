"""Throws away what nobody needs any more, a little at a time: published events, old idempotency keys, old mids."""

from __future__ import annotations

import asyncio

import structlog

from market_maker.domain.clock import Clock
from market_maker.domain.errors import Unavailable
from market_maker.domain.units import DAY_NS
from market_maker.storage import outbox
from market_maker.storage.database import Database

KEY_AGE_NS = 2 * DAY_NS
"""Idempotency keys are promised for 24 hours."""

PRICE_AGE_NS = 31 * DAY_NS
"""Risk looks back 30 days."""

_PAUSE_S = 60.0
_ROWS = 10_000
_log = structlog.get_logger("storage")


async def prune(database: Database, now_ts: int, event_age_ns: int) -> int:
    """Delete up to 10,000 rows of each kind that are too old; return how many went.

    Events go only when they have been published; orders, trades and positions never go.
    """
    async with database.transaction() as connection:
        gone = await outbox.prune(connection, now_ts - event_age_ns, limit=_ROWS)
        keys = await connection.execute(
            "DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM idempotency_keys WHERE created_ts < %s LIMIT %s))",
            (now_ts - KEY_AGE_NS, _ROWS),
        )
        prices = await connection.execute(
            "DELETE FROM simulated_prices WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM simulated_prices WHERE ts < %s LIMIT %s))",
            (now_ts - PRICE_AGE_NS, _ROWS),
        )
    return gone + keys.rowcount + prices.rowcount


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
