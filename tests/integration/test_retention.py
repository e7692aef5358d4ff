"""Old rows go, and only those that nobody needs."""

from uuid import uuid4

from market_maker.domain.units import DAY_NS
from market_maker.storage.database import Database
from market_maker.storage.outbox import OutboxEvent, append_copy, ensure_stream, mark_published
from market_maker.storage.retention import KEY_AGE_NS, PRICE_AGE_NS, prune

NOW = 100 * DAY_NS


def event(ts: int) -> OutboxEvent:
    return OutboxEvent(uuid4(), uuid4(), 1, "simulator.order.received", ts, "{}")


async def test_only_old_rows_that_nobody_needs_are_deleted(database_dsn: str) -> None:
    database = Database(database_dsn)
    await database.open()
    async with database.transaction() as connection:
        published = await ensure_stream(connection, "published")
        await append_copy(connection, published, [event(NOW - 2 * DAY_NS), event(NOW - 1)])
        position = (await (await connection.execute("SELECT max(position) FROM events")).fetchone() or [0])[0]
        await mark_published(connection, published, position)
        waiting = await ensure_stream(connection, "waiting")
        await append_copy(connection, waiting, [event(NOW - 2 * DAY_NS)])
        for age in (KEY_AGE_NS + 1, KEY_AGE_NS - 1):
            await connection.execute(
                "INSERT INTO idempotency_keys VALUES (%s, %s, '', %s, %s)", (uuid4(), "key", uuid4(), NOW - age)
            )
        pair_id = uuid4()
        await connection.execute(
            "INSERT INTO pairs VALUES (%s, 'v', 's', 'B', 'Q', 1, 1, 'LINEAR', 0, 0, NULL, 0)", (pair_id,)
        )
        for age in (PRICE_AGE_NS + 1, PRICE_AGE_NS - 1):
            await connection.execute("INSERT INTO simulated_prices VALUES (%s, %s, 2)", (pair_id, NOW - age))
    assert await prune(database, NOW, DAY_NS) == 3
    assert await prune(database, NOW, DAY_NS) == 0
    counts = await database.fetch_one(
        "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM idempotency_keys) AS keys,"
        " (SELECT count(*) FROM simulated_prices) AS prices"
    )
    assert counts == {"events": 2, "keys": 1, "prices": 1}
    await database.close()
