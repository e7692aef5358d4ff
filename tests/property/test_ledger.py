"""Random orders, prices, fees and cancels: the ledger is exact to the last tick-lot (R9)."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import OrderStatus, Side, TimeInForce
from venue_builders import ACCOUNT, DELAY, PAIR, Desk

FEES = ["-0.0005", "0", "0.00033333", "0.001"]


def storm(seed: int, orders: int, maker_fee: str, taker_fee: str) -> Desk:
    """Let so many random orders and takers meet; draws are those of `seed`."""
    from decimal import Decimal

    chance = random.Random(seed)
    desk = Desk("1e12", maker_fee=Decimal(maker_fee), taker_fee=Decimal(taker_fee))
    desk.market.uniform = chance.random  # type: ignore[method-assign]
    made = []
    for _ in range(orders):
        what, side, price = chance.random(), chance.choice(list(Side)), chance.randint(9_900, 10_100)
        if what < 0.2:
            desk.quote(side, price, chance.randint(1, 50))
        elif what < 0.3:
            desk.venue.take_as_market(side, None, chance.randint(1, 80), desk.ts)
        elif what < 0.4 and desk.venue.orders:
            order = chance.choice(made)
            if order.status.is_open:
                desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "")
        elif what < 0.42:
            desk.venue.transfer(desk.position, side, price, chance.randint(1, 30), desk.ts)
        else:
            changes = {
                "time_in_force": chance.choice([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
                "execution_probability": chance.choice([1.0, 1.0, 0.6]),
            }
            made.append(desk.place(side, price, chance.randint(1, 60), **changes))
        if chance.random() < 0.5:
            desk.arrive()
    desk.arrive()
    desk.made = made  # type: ignore[attr-defined]
    return desk


def check_ledger(desk: Desk) -> None:
    ours, market = desk.position, desk.venue.position_for(MARKET_ACCOUNT_ID, None)
    for field in ("qty_lots", "cash_tick_lots", "fees_tick_lots"):
        assert getattr(ours, field) + getattr(market, field) == 0, field
    for position in (ours, market):
        assert position.cash_tick_lots + position.cost_tick_lots == position.realised_tick_lots
    fills = desk.venue.changes.fills
    assert ours.fees_tick_lots == sum(fill.fee_tick_lots for fill in fills)
    by_order: dict[object, list[int]] = {}
    for fill in fills:
        by_order.setdefault(fill.order_id, []).append(fill.qty_lots)
    reserved = {Side.BUY: 0, Side.SELL: 0}
    for order in desk.made:  # type: ignore[attr-defined]
        assert order.cum_qty_lots == sum(by_order.get(order.order_id, []))
        assert (order.status is OrderStatus.FILLED) == (order.cum_qty_lots == order.qty_lots)
        reserved[order.side] += order.price_ticks * order.leaves_lots
    exposure = desk.funds[ACCOUNT].pairs[PAIR]
    assert (exposure.buy_notional, exposure.sell_notional) == (reserved[Side.BUY], reserved[Side.SELL])
    assert exposure.qty_lots == ours.qty_lots
    assert exposure.result_tick_lots == ours.realised_tick_lots - ours.fees_tick_lots
    resting = [order.owner for side in Side for order in desk.venue.book.orders(side) if order.owner is not None]
    assert {order.order_id for order in resting} == set(desk.venue.orders)
    assert all(order.leaves_lots == desk.venue.book.get(order.priority).leaves_lots for order in resting)  # type: ignore[union-attr]


@given(st.integers(0, 2**32), st.integers(1, 80), st.sampled_from(FEES), st.sampled_from(FEES))
def test_after_any_storm_the_ledger_is_exact(seed: int, orders: int, maker_fee: str, taker_fee: str) -> None:
    check_ledger(storm(seed, orders, maker_fee, taker_fee))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_after_a_million_orders_the_ledger_is_exact(seed: int) -> None:
    storms = int(os.environ.get("MM_TEST_LEDGER_STORMS", "1000"))
    for number in range(storms):
        check_ledger(storm(seed + number, 1700, FEES[number % 4], FEES[number // 4 % 4]))  # 1,000 of them are orders
