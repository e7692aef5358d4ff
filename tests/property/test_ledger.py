"""Random orders, prices, fees and cancels: the ledger is exact to the last tick-lot (R9)."""

from __future__ import annotations

import os
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.venue.venue import open_orders_of
from venue_builders import ACCOUNT, DELAY, PAIR, Desk

FEES = ["-0.0005", "0", "0.00033333", "0.001"]


def wishes(chance: random.Random, price: int, lots: int) -> dict[str, object]:
    """Return the rest of a random order of any type."""
    changes: dict[str, object] = {
        "time_in_force": chance.choice([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK]),
        "execution_probability": chance.choice([1.0, 1.0, 0.6]),
        "self_trade": chance.choice(list(SelfTradePrevention)),
    }
    if chance.random() < 0.2:
        kind = chance.choice([OrderType.STOP, OrderType.STOP_LIMIT])
        changes |= {"order_type": kind, "stop_ticks": price + chance.randint(-50, 50)}
    elif changes["time_in_force"] is TimeInForce.GTC and chance.random() < 0.3:
        changes["display_lots"] = chance.randint(1, lots)
    return changes


def amend(desk: Desk, order: Order, chance: random.Random) -> None:
    """Ask for another price, quantity or both, if the order can still change."""
    if order.status.is_open and not order.amend_arrival_ts:
        price = chance.choice([0, chance.randint(9_900, 10_100)]) if order.order_type.has_price else 0
        desk.venue.request_amend(
            order, desk.ts, desk.ts + DELAY, "", price=price, lots=chance.choice([0, chance.randint(1, 60)]), stop=0
        )


def storm(seed: int, orders: int, maker_fee: str, taker_fee: str) -> Desk:
    """Let so many random orders and takers meet; draws are those of `seed`."""
    chance = random.Random(seed)
    desk = Desk("1e12", seed=seed, maker_fee=Decimal(maker_fee), taker_fee=Decimal(taker_fee))
    made = []
    desk.transferred = []  # type: ignore[attr-defined]
    for _ in range(orders):
        what, side, price = chance.random(), chance.choice(list(Side)), chance.randint(9_900, 10_100)
        if what < 0.2:
            desk.quote(side, price, chance.randint(1, 50))
        elif what < 0.3:
            desk.take(side, chance.randint(1, 80))
        elif what < 0.4 and desk.venue.orders:
            order = chance.choice(made)
            if order.status.is_open:
                desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "")
        elif what < 0.41:
            amount = Decimal(chance.randint(-(10**9), 10**9)).scaleb(-chance.randint(0, 12))
            desk.funds[ACCOUNT].transferred += amount
            desk.transferred.append(amount)  # type: ignore[attr-defined]
        elif what < 0.43:
            desk.venue.transfer(desk.position, side, price, chance.randint(1, 30), desk.ts)
        elif what < 0.5 and desk.venue.orders:
            amend(desk, chance.choice(made), chance)
        else:
            lots = chance.randint(1, 60)
            rest = wishes(chance, price, lots)
            made.append(desk.place(side, 0 if rest.get("order_type") is OrderType.STOP else price, lots, **rest))
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
    tick_lot = exposure.tick_lot
    moved = sum(desk.transferred, Decimal("1e12"))  # type: ignore[attr-defined]
    assert desk.funds[ACCOUNT].balance() == moved + exposure.result_tick_lots * tick_lot
    held = ours.qty_lots * 10_000
    worst = max(abs(held + reserved[Side.BUY]), abs(held - reserved[Side.SELL]))
    desk.funds[ACCOUNT].marks[PAIR] = 10_000
    assert desk.funds[ACCOUNT].reserved() == worst * tick_lot
    desk.market.check_invariants()
    told = [event for event in desk.venue.changes.events if event.type.startswith("simulator.order")]
    open_orders = open_orders_of(desk.market.state.orders)
    leaves = dict(zip(open_orders["order_id"].tolist(), open_orders["leaves_lots"].tolist(), strict=True))
    assert leaves == {order.priority: order.leaves_lots for order in desk.venue.orders.values()}
    for order in desk.made:  # type: ignore[attr-defined]
        events = [event for event in told if event.aggregate_id == order.order_id]
        assert [event.sequence for event in events] == list(range(1, order.version + 1))


@given(st.integers(0, 2**32), st.integers(1, 80), st.sampled_from(FEES), st.sampled_from(FEES))
def test_after_any_storm_the_ledger_is_exact(seed: int, orders: int, maker_fee: str, taker_fee: str) -> None:
    check_ledger(storm(seed, orders, maker_fee, taker_fee))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_after_a_million_orders_the_ledger_is_exact(seed: int) -> None:
    storms = int(os.environ.get("MM_TEST_LEDGER_STORMS", "1000"))
    for number in range(storms):
        check_ledger(storm(seed + number, 1700, FEES[number % 4], FEES[number // 4 % 4]))  # 1,000 of them are orders
