"""The outbox on a real PostgreSQL: order, locks, cursors, pruning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.messaging.topics import decode, envelope_data, new_event
from market_maker.storage import outbox


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[outbox.Connection]:
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as made:
        yield made


def some_events(number: int, first_ts: int = 1) -> list[outbox.OutboxEvent]:
    aggregate = new_id()
    return [
        new_event(
            type=EventType.ORDER_FILLED,
            aggregate_id=aggregate,
            sequence=n + 1,
            ts=first_ts + n,
            data={"n": n, "text": "µ"},
        )
        for n in range(number)
    ]


async def test_rows_come_back_in_order_and_as_they_were_written(connection: outbox.Connection) -> None:
    stream = await outbox.ensure_stream(connection, "pair one")
    events = some_events(3)
    async with connection.transaction():
        await outbox.append_copy(connection, stream, events)
    rows = await outbox.fetch_unpublished(connection, stream, 10)
    assert [row.event_id for row in rows] == [str(event.event_id) for event in events]
    assert [row.type for row in rows] == ["simulator.order.filled"] * 3
    assert [row.ts for row in rows] == [1, 2, 3]
    assert [row.body.decode() for row in rows] == [event.body for event in events]
    assert envelope_data(decode(rows[2].body)) == {"n": 2, "text": "µ"}


async def test_a_cursor_per_stream_tells_what_is_left(connection: outbox.Connection) -> None:
    one = await outbox.ensure_stream(connection, "one")
    two = await outbox.ensure_stream(connection, "two")
    assert one == await outbox.ensure_stream(connection, "one")
    for stream in (one, two, one):
        async with connection.transaction():
            await outbox.append(connection, stream, some_events(2, first_ts=10 * stream))
    rows = await outbox.fetch_unpublished_all(connection, 3)
    assert [row.stream_id for row in rows] == [one] * 3 + [two] * 2
    assert await outbox.depth(connection) == (6, 10 * one)
    await outbox.mark_published_all(connection, {one: rows[2].position, two: rows[4].position})
    left = await outbox.fetch_unpublished_all(connection, 10)
    assert [row.stream_id for row in left] == [one]
    await outbox.mark_published(connection, one, rows[0].position)  # never back
    assert await outbox.fetch_unpublished_all(connection, 10) == left
    await outbox.mark_published(connection, one, left[0].position)
    assert await outbox.depth(connection) == (0, None)


async def test_writers_of_a_shared_stream_wait_for_each_other(connection: outbox.Connection, database_dsn: str) -> None:
    """Without the lock the later transaction could commit first and its rows be passed by the cursor."""
    stream = await outbox.ensure_stream(connection, outbox.SERVICE_STREAM)
    first, second = some_events(1), some_events(1)
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as other:

        async def write_second() -> None:
            async with other.transaction():
                await outbox.append(other, stream, second)

        async with connection.transaction():
            await outbox.append(connection, stream, first)
            writing = asyncio.create_task(write_second())
            await asyncio.sleep(0.1)
            assert not writing.done()
        await writing
    rows = await outbox.fetch_unpublished(connection, stream, 10)
    assert [row.event_id for row in rows] == [str(first[0].event_id), str(second[0].event_id)]


async def test_append_needs_a_transaction(connection: outbox.Connection) -> None:
    with pytest.raises(AssertionError, match="transaction"):
        await outbox.append(connection, 1, some_events(1))


async def test_what_is_rolled_back_was_never_news(connection: outbox.Connection) -> None:
    stream = await outbox.ensure_stream(connection, "one")
    async with connection.transaction(force_rollback=True):
        await outbox.append_copy(connection, stream, some_events(5))
    assert await outbox.fetch_unpublished(connection, stream, 10) == []


async def test_prune_deletes_only_old_published_rows(connection: outbox.Connection) -> None:
    stream = await outbox.ensure_stream(connection, "one")
    async with connection.transaction():
        await outbox.append_copy(connection, stream, some_events(10, first_ts=100))
    rows = await outbox.fetch_unpublished(connection, stream, 10)
    assert await outbox.prune(connection, 1_000) == 0  # nothing is published
    await outbox.mark_published(connection, stream, rows[5].position)
    assert await outbox.prune(connection, 104, limit=3) == 3
    assert await outbox.prune(connection, 104, limit=3) == 1  # 100..103 in all
    assert await outbox.prune(connection, 1_000) == 2  # 104 and 105; the rest awaits publication
    assert [row.ts for row in await outbox.fetch_unpublished(connection, stream, 10)] == [106, 107, 108, 109]
