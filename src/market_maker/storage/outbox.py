"""Event rows that await the relay, written in the transaction whose state they describe.

Inside a stream the order of positions is the order of commits, because a stream has one writer at a time;
so one cursor per stream is enough to publish everything once and in order. Knows nothing of buses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader

Connection = psycopg.AsyncConnection[Any]

EVENT_COLUMNS = ("stream_id", "event_id", "aggregate_id", "sequence", "type", "ts", "body")
"""The columns that a writer gives; `position` comes from the table."""

COPY_EVENTS = f"COPY events ({', '.join(EVENT_COLUMNS)}) FROM STDIN"
"""For ``cursor.copy(COPY_EVENTS)`` and ``copy.write_row(row(...))``."""

SERVICE_STREAM = "service"
"""The stream that all low-rate writers share."""


class OutboxEvent(msgspec.Struct, frozen=True, gc=False):
    """One fact to publish.

    Parameters
    ----------
    event_id : identity by which consumers recognise a repetition
    aggregate_id : what the fact is about (order, run, position)
    sequence : 1, 2, 3, ... without a gap per aggregate
    type : the routing key
    ts : when it happened, ns UTC
    body : the whole JSON envelope, published as it is
    """

    event_id: UUID
    aggregate_id: UUID
    sequence: int
    type: str
    ts: int
    body: str


class OutboxRow(NamedTuple):
    """One row awaiting publication; texts as they travel: `event_id` in hexadecimal with hyphens."""

    stream_id: int
    position: int
    ts: int
    event_id: str
    type: str
    body: bytes


class OutboxDepth(NamedTuple):
    """How many rows await publication, and the instant of the oldest (ns UTC; None without any)."""

    rows: int
    oldest_ts: int | None


def row(stream_id: int, event: OutboxEvent) -> tuple[int, UUID, UUID, int, str, int, str]:
    """Return `event` as a row in the order of `EVENT_COLUMNS`."""
    return (stream_id, event.event_id, event.aggregate_id, event.sequence, event.type, event.ts, event.body)


async def ensure_stream(connection: Connection, name: str) -> int:
    """Return the id of the stream `name`, made when missing."""
    for _ in range(2):  # a row that another transaction has just inserted shows only in the next statement
        cursor = await connection.execute(
            "WITH made AS (INSERT INTO event_streams (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING "
            "RETURNING stream_id) SELECT stream_id FROM made UNION ALL "
            "SELECT stream_id FROM event_streams WHERE name = %(name)s LIMIT 1",
            {"name": name},
        )
        found = await cursor.fetchone()
        if found is not None:
            return int(found[0])
    raise AssertionError(f"stream {name} neither inserted nor found: the caller's isolation is not READ COMMITTED")


async def append(connection: Connection, stream_id: int, events: Sequence[OutboxEvent]) -> None:
    """Append `events` to a stream that has several writers, in the caller's transaction.

    The stream stays locked until that transaction ends, so that positions become visible in order.
    """
    assert not connection.autocommit or connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS, (
        "append needs a transaction: without it the lock ends before the rows are in"
    )
    await connection.execute("SELECT 1 FROM event_streams WHERE stream_id = %s FOR UPDATE", (stream_id,))
    await append_copy(connection, stream_id, events)


async def append_copy(connection: Connection, stream_id: int, events: Sequence[OutboxEvent]) -> None:
    """Append `events` without a lock: only for the one writer of the stream, whose transactions are serial."""
    if not events:
        return
    async with connection.cursor() as cursor, cursor.copy(COPY_EVENTS) as copy:
        for event in events:
            await copy.write_row(row(stream_id, event))


async def fetch_unpublished(connection: Connection, stream_id: int, limit: int) -> list[OutboxRow]:
    """Return at most `limit` rows of one stream that await publication, in order."""
    return await _fetch(connection, "WHERE s.stream_id = %(stream_id)s", {"limit": limit, "stream_id": stream_id})


async def fetch_unpublished_all(connection: Connection, limit: int) -> list[OutboxRow]:
    """Return at most `limit` rows of each stream that await publication, in order inside each stream."""
    return await _fetch(connection, "", {"limit": limit})


async def mark_published(connection: Connection, stream_id: int, position: int) -> None:
    """Record that the stream is published up to and including `position`."""
    await mark_published_all(connection, {stream_id: position})


async def mark_published_all(connection: Connection, positions: Mapping[int, int]) -> None:
    """Record for several streams up to which position they are published; never moves back."""
    await connection.execute(
        "INSERT INTO relay_cursors (stream_id, published_position) "
        "SELECT * FROM unnest(%s::integer[], %s::bigint[]) ON CONFLICT (stream_id) DO UPDATE "
        "SET published_position = greatest(relay_cursors.published_position, excluded.published_position)",
        (list(positions), list(positions.values())),
    )


async def depth(connection: Connection) -> OutboxDepth:
    """Count the rows that await publication; costs an index scan over them."""
    cursor = await connection.execute(
        "SELECT coalesce(sum(waiting.n), 0)::bigint, min(waiting.oldest) FROM event_streams s "
        "LEFT JOIN relay_cursors c USING (stream_id) CROSS JOIN LATERAL (SELECT count(*) AS n, min(e.ts) AS oldest "
        "FROM events e WHERE e.stream_id = s.stream_id AND e.position > coalesce(c.published_position, 0)) waiting"
    )
    found = await cursor.fetchone()
    assert found is not None, "an aggregate always gives a row"
    return OutboxDepth(rows=found[0], oldest_ts=found[1])


async def prune(connection: Connection, older_than_ts: int, *, limit: int = 10_000) -> int:
    """Delete at most `limit` published rows that happened before `older_than_ts`; return how many.

    Call it again while it returns `limit`: many small transactions disturb nobody.
    """
    cursor = await connection.execute(
        "DELETE FROM events e USING (SELECT o.stream_id, o.position FROM relay_cursors c JOIN events o "
        "ON o.stream_id = c.stream_id AND o.position <= c.published_position WHERE o.ts < %(ts)s "
        "ORDER BY o.stream_id, o.position LIMIT %(limit)s) gone "
        "WHERE e.stream_id = gone.stream_id AND e.position = gone.position",
        {"ts": older_than_ts, "limit": limit},
    )
    return cursor.rowcount


class _BytesLoader(Loader):
    """Leaves a text column as the bytes that came over the wire: the relay passes bodies on unread."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class _AsciiLoader(Loader):
    """Gives an id as text without making an object of it."""

    def load(self, data: Buffer) -> str:
        return str(data, "ascii")


_FETCH = (
    "SELECT s.stream_id, e.position, e.ts, e.event_id, e.type::varchar, e.body FROM event_streams s "
    "LEFT JOIN relay_cursors c USING (stream_id) CROSS JOIN LATERAL (SELECT * FROM events o "
    "WHERE o.stream_id = s.stream_id AND o.position > coalesce(c.published_position, 0) "
    "ORDER BY o.position LIMIT %(limit)s) e {where} ORDER BY s.stream_id, e.position"
)


async def _fetch(connection: Connection, where: str, parameters: dict[str, int]) -> list[OutboxRow]:
    async with connection.cursor() as cursor:
        cursor.adapters.register_loader("text", _BytesLoader)
        cursor.adapters.register_loader("uuid", _AsciiLoader)
        await cursor.execute(_FETCH.format(where=where).encode(), parameters, prepare=True)
        return [OutboxRow._make(values) for values in await cursor.fetchall()]
