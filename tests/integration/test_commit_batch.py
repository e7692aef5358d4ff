"""A batch of the simulated exchange on a real PostgreSQL: every kind of row comes back as written, all or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import RejectReason
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID, new_id
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, Side, TimeInForce
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.domain.units import Money, parse_money
from market_maker.messaging.topics import new_event
from market_maker.storage import outbox
from market_maker.storage.database import Database
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import (
    WRITER_SETTINGS,
    Batch,
    IdempotencyKey,
    commit_batch,
    find_keys,
    get_order,
    get_positions,
    get_simulated_prices,
    get_trades,
)

AWKWARD = 'say "hi" \\ back\\nslash\ttab\nline µ€ \u2028 {1,2} \\N'


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    database = Database(database_dsn)
    await database.open()
    balance: Money = parse_money("100000 USDT")
    await ReferenceData(database).seed(balance, SystemClock().now_ns())
    yield database
    await database.close()


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[outbox.Connection]:
    connection = await database.connect()
    await connection.execute(WRITER_SETTINGS)
    yield connection
    await connection.close()


def an_order(**changes: object) -> Order:
    order = Order(
        order_id=new_id(), pair_id=DEFAULT_PAIR_ID, account_id=DEFAULT_ACCOUNT_ID, strategy_id=None, position_id=new_id(),
        client_order_id=None, side=Side.SELL, order_type=OrderType.LIMIT, time_in_force=TimeInForce.GTD, post_only=True,
        price_ticks=2**40, qty_lots=2**22, execution_probability=0.1, price_impact=1e-7, created_ts=2**62, arrival_ts=2**62 + 1,
        expire_ts=2**62 + 2, updated_ts=2**62, version=1,
    )  # fmt: skip
    return replace(order, **changes)  # type: ignore[arg-type]


def an_event(order: Order, text: str = "") -> outbox.OutboxEvent:
    data = {"text": text}
    return new_event(type="simulator.order.received", aggregate_id=order.order_id, sequence=1, ts=1, data=data)


async def test_every_row_comes_back_as_it_was_written(database: Database, connection: outbox.Connection) -> None:
    stream = await outbox.ensure_stream(connection, "pair")
    position = PositionState(new_id(), DEFAULT_PAIR_ID, DEFAULT_ACCOUNT_ID, None, -5, -(2**62), 7, -8, 9, 2**70, 10, 1)
    order = an_order(client_order_id=AWKWARD, position_id=position.position_id)
    refused = an_order(
        status=OrderStatus.REJECTED,
        reject_reason=RejectReason.INSUFFICIENT_BALANCE,
        arrival_ts=0,
        value_tick_lots=2**80,
    )
    fill = Fill(
        new_id(), order.order_id, DEFAULT_PAIR_ID, DEFAULT_ACCOUNT_ID, None, position.position_id, Side.BUY, Liquidity.MAKER, 3, 4, -5, 6
    )  # fmt: skip
    key = IdempotencyKey(DEFAULT_ACCOUNT_ID, AWKWARD, bytes(range(256)), order.order_id, 1)
    events = [an_event(order, AWKWARD), an_event(refused), an_event(order, "the last")]
    batch = Batch(
        stream_id=stream, new_orders=[order, refused], fills=[fill], positions=[position], keys=[key],
        prices=[(DEFAULT_PAIR_ID, 100, 2**50)], events=events,
    )  # fmt: skip
    await commit_batch(connection, batch)
    assert await get_order(database, order.order_id) == order
    assert await get_order(database, refused.order_id) == refused
    assert await get_trades(database, order_id=order.order_id) == [fill]
    assert await get_positions(database, position_id=position.position_id) == [position]
    assert await get_simulated_prices(database, DEFAULT_PAIR_ID, 0, 1000) == [(100, 2**50)]
    [found] = await find_keys(connection, [(DEFAULT_ACCOUNT_ID, AWKWARD)])
    assert (found["body_hash"], found["order_id"]) == (bytes(range(256)), order.order_id)
    rows = await outbox.fetch_unpublished(connection, stream, 10)
    assert [row.body.decode() for row in rows] == [event.body for event in events]
    assert [row.event_id for row in rows] == [str(event.event_id) for event in events]


async def test_changes_and_further_statements_are_in_the_same_transaction(
    database: Database, connection: outbox.Connection
) -> None:
    stream = await outbox.ensure_stream(connection, "pair")
    order = an_order()
    await commit_batch(connection, Batch(stream_id=stream, new_orders=[order]))
    filled = replace(
        order, status=OrderStatus.FILLED, cum_qty_lots=order.qty_lots, value_tick_lots=2**70, priority=5,
        cancel_arrival_ts=6, updated_ts=7, version=2,
    )  # fmt: skip
    rename = ("UPDATE accounts SET name = %s WHERE account_id = %s", ("renamed", DEFAULT_ACCOUNT_ID))
    await commit_batch(connection, Batch(stream_id=stream, changed_orders=[filled], statements=[rename]))
    assert await get_order(database, order.order_id) == filled
    assert await database.fetch_one("SELECT name FROM accounts WHERE account_id = %s", (DEFAULT_ACCOUNT_ID,)) == {
        "name": "renamed"
    }
    again = Batch(
        stream_id=stream, new_orders=[an_order(), order], statements=[(rename[0], ("twice", DEFAULT_ACCOUNT_ID))]
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        await commit_batch(connection, again)
    assert await get_order(database, again.new_orders[0].order_id) is None
    assert await database.fetch_one("SELECT count(*) AS n FROM accounts WHERE name = 'twice'") == {"n": 0}


async def test_a_writer_does_not_scan_the_orders(connection: outbox.Connection) -> None:
    """The statement is prepared while the tables are empty, and keeps its plan when they are full."""
    query = """
        EXPLAIN UPDATE simulated_orders AS o SET status = u.status
        FROM json_to_recordset('[]') AS u(order_id uuid, status smallint) WHERE o.order_id = u.order_id
    """
    cursor = await connection.execute(query)
    plan = "\n".join([row[0] for row in await cursor.fetchall()])
    assert "simulated_orders_pkey" in plan, plan
    assert "Seq Scan on simulated_orders" not in plan, plan
