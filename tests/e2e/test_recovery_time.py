"""Recovery with a full book: 100,000 open orders are back within ten seconds of a kill (R5)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import psycopg
import pytest

from e2e.conftest import MakeService
from e2e.ledger import count, faults_of_ledger
from e2e.order_load import ORDERS
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker.matching.book import new_commands
from market_maker.matching.codes import Command, EventKind
from market_maker.venue.market.market import SyntheticMarket

FIRST_ORDER_S = 10.0
_COPIES = """
    WITH sample AS (SELECT * FROM simulated_orders WHERE client_order_id = 'sample'),
    made AS (
        INSERT INTO simulated_orders
        SELECT (overlay(s.order_id::text placing lpad(to_hex(n), 12, '0') from 25))::uuid, s.pair_id, s.account_id,
            s.strategy_id, s.position_id, 'copy-' || n, s.side, s.order_type, s.time_in_force, s.post_only,
            s.price_ticks - n %% 5000, s.qty_lots, s.execution_probability, s.price_impact, s.created_ts, s.arrival_ts,
            s.expire_ts, s.status, s.reject_reason, s.cum_qty_lots, s.value_tick_lots,
            s.priority + 1000000 + n, s.cancel_arrival_ts, s.updated_ts, s.version, s.stop_ticks, s.display_lots,
            s.self_trade, s.triggered, s.amend_arrival_ts, s.amend_price_ticks, s.amend_qty_lots, s.amend_stop_ticks,
            s.amend_refusal
        FROM sample s, generate_series(1, %(copies)s) AS n RETURNING order_id, client_order_id
    ),
    told AS (
        INSERT INTO events (stream_id, event_id, aggregate_id, sequence, type, ts, body)
        SELECT e.stream_id, gen_random_uuid(), made.order_id, e.sequence, e.type, e.ts, e.body
        FROM made, events e, sample s WHERE e.aggregate_id = s.order_id
        ORDER BY made.order_id, e.sequence
    )
    SELECT count(*) FROM made
"""


async def place(service: ServiceProcess, key: str) -> int:
    body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.00001"}
    return (await service.request("POST", ORDERS, {**body, "client_order_id": key})).status


def fill_market(connection: psycopg.Connection[Any], copies: int) -> None:
    """Put the copies into the market's memory too, as if it had been written after they had arrived."""
    sample = connection.execute(
        "SELECT pair_id, priority, price_ticks, qty_lots FROM simulated_orders WHERE client_order_id = 'sample'"
    ).fetchone()
    assert sample is not None
    pair_id, priority, price_ticks, qty_lots = sample
    row = connection.execute(
        "SELECT session_id, c.market FROM market_checkpoints c JOIN sessions USING (session_id) WHERE pair_id = %s",
        (pair_id,),
    ).fetchone()
    assert row is not None
    (session_id, checkpoint) = row
    market = SyntheticMarket.load(checkpoint)
    number = np.arange(1, copies + 1)
    commands = new_commands(copies)
    commands["kind"], commands["side"], commands["owner"], commands["qty_lots"] = Command.NEW, 1, 1, qty_lots
    commands["order_id"] = priority + 1_000_000 + number
    commands["price_ticks"] = price_ticks - number % 5000
    events = market.execute(commands)
    assert (events["kind"] == EventKind.ACCEPTED).all()
    connection.execute("UPDATE market_checkpoints SET market = %s WHERE session_id = %s", (market.dump(), session_id))


async def recovery(make_service: MakeService, dsn: str, copies: int) -> float:
    """Return the seconds from the start after a kill to the first acknowledged order, with `copies` open orders."""
    service = make_service(dsn)
    await service.start()
    assert await place(service, "sample") == 201
    for _ in range(200):
        if count(dsn, "SELECT count(*) FROM simulated_orders WHERE status = 1"):
            break
        await asyncio.sleep(0.02)
    service.kill()
    with psycopg.connect(dsn) as connection:
        connection.execute(_COPIES, {"copies": copies})
        fill_market(connection, copies)
        # the relay is not what is measured here
        connection.execute(
            "INSERT INTO relay_cursors SELECT stream_id, max(position) FROM events GROUP BY stream_id"
            " ON CONFLICT (stream_id) DO UPDATE SET published_position = excluded.published_position"
        )
        connection.execute(
            "UPDATE sessions SET market = jsonb_set(market::jsonb, '{priority}', '2000000')::text WHERE pair_id = %s",
            (DEFAULT_PAIR,),
        )
    service.spawn()
    while True:
        try:
            assert await place(service, "first") == 201
            break
        except OSError:
            assert time.monotonic() < service.started_at + 60
            await asyncio.sleep(0.02)
    seconds = time.monotonic() - service.started_at
    assert (await service.session())["open_orders"] == copies + 2
    assert faults_of_ledger(dsn) == []
    assert service.faults() == []
    assert "not as it had been committed" not in service.log.read_text(encoding="utf-8")
    print(f"\nfirst order {seconds:.2f} s after the start with {copies} open orders")
    return seconds


async def test_a_thousand_open_orders_are_back_at_once(make_service: MakeService, database_dsn: str) -> None:
    assert await recovery(make_service, database_dsn, 1_000) <= FIRST_ORDER_S


@pytest.mark.slow
async def test_a_hundred_thousand_open_orders_are_back_in_time(make_service: MakeService, database_dsn: str) -> None:
    assert await recovery(make_service, database_dsn, 100_000) <= FIRST_ORDER_S
