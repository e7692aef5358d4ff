"""What happens to an order: each type, time in force and reason, with its arithmetic beside it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from market_maker.domain.errors import RejectReason
from market_maker.domain.events import EventType
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Liquidity, OrderStatus, Side, TimeInForce
from venue_builders import DELAY, START, Desk

BUY, SELL = Side.BUY, Side.SELL
S, R, T = OrderStatus, RejectReason, TimeInForce


def a_desk(**instrument: Any) -> Desk:
    """A market of 9,990 bid and 10,010 offered, ten lots each, and five more a step away."""
    desk = Desk(**instrument)
    for side, price, lots in [(BUY, 9_990, 10), (BUY, 9_980, 5), (SELL, 10_010, 10), (SELL, 10_020, 5)]:
        desk.quote(side, price, lots)
    return desk


@pytest.mark.parametrize(
    ("price", "lots", "changes", "status", "filled", "reason"),
    [
        (9_995, 3, {}, S.NEW, 0, None),
        (10_010, 3, {}, S.FILLED, 3, None),
        (10_010, 12, {}, S.PARTIALLY_FILLED, 10, None),
        (10_020, 12, {}, S.FILLED, 12, None),
        (0, 12, {}, S.FILLED, 12, None),
        (0, 20, {}, S.EXPIRED, 15, R.NO_LIQUIDITY),
        (0, 15, {"time_in_force": T.FOK}, S.FILLED, 15, None),
        (0, 16, {"time_in_force": T.FOK}, S.EXPIRED, 0, R.CANNOT_FILL_COMPLETELY),
        (10_010, 12, {"time_in_force": T.IOC}, S.EXPIRED, 10, R.NO_LIQUIDITY),
        (9_995, 3, {"time_in_force": T.IOC}, S.EXPIRED, 0, R.NO_LIQUIDITY),
        (10_010, 10, {"time_in_force": T.FOK}, S.FILLED, 10, None),
        (10_010, 11, {"time_in_force": T.FOK}, S.EXPIRED, 0, R.CANNOT_FILL_COMPLETELY),
        (10_009, 3, {"post_only": True}, S.NEW, 0, None),
        (10_010, 3, {"post_only": True}, S.REJECTED, 0, R.POST_ONLY_WOULD_TAKE),
        (9_995, 3, {"time_in_force": T.GTD, "expire_ts": START + 10 * DELAY}, S.NEW, 0, None),
        (9_995, 3, {"time_in_force": T.GTD, "expire_ts": START + 2}, S.EXPIRED, 0, R.TIME_IN_FORCE),
        (10_010, 3, {"time_in_force": T.GTD, "expire_ts": START + 2}, S.FILLED, 3, None),
    ],
)
def test_arrival(
    price: int, lots: int, changes: dict[str, Any], status: OrderStatus, filled: int, reason: RejectReason | None
) -> None:
    desk = a_desk()
    order = desk.put(BUY, price, lots, **changes)
    assert (order.status, order.cum_qty_lots, order.reject_reason) == (status, filled, reason)
    assert (order.order_id in desk.venue.orders) == status.is_open
    assert desk.position.qty_lots == filled


def test_an_order_is_nowhere_until_it_arrives() -> None:
    desk = a_desk()
    order = desk.place(BUY, 10_010, 3)
    desk.venue.process_due(order.arrival_ts - 1)
    assert order.status is S.PENDING_NEW
    assert desk.venue.next_due_ts() == order.arrival_ts
    desk.venue.process_due(order.arrival_ts)
    assert order.status is S.FILLED
    assert desk.venue.next_due_ts() is None


def test_a_taker_gets_the_prices_of_the_book_and_the_market_the_other_side() -> None:
    desk = a_desk()
    order = desk.put(BUY, 10_020, 12)
    fills = desk.venue.changes.fills
    assert [(fill.price_ticks, fill.qty_lots, fill.liquidity) for fill in fills] == [
        (10_010, 10, Liquidity.TAKER), (10_020, 2, Liquidity.TAKER),
    ]  # fmt: skip
    # 0.05 % of 100,100 and of 20,040 tick-lots: 50.05 and 10.02, each rounded
    assert [fill.fee_tick_lots for fill in fills] == [50, 10]
    assert order.value_tick_lots == 10_010 * 10 + 10_020 * 2
    market = desk.venue.position_for(MARKET_ACCOUNT_ID, None)
    assert market.qty_lots == -12
    assert market.cash_tick_lots == -desk.position.cash_tick_lots == order.value_tick_lots
    assert market.fees_tick_lots == -desk.position.fees_tick_lots == -60


def test_a_maker_is_filled_in_its_turn_and_gets_the_rebate() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_990, 4)
    desk.venue.take_as_market(SELL, None, 10, desk.ts)  # ten stood there before us
    assert order.cum_qty_lots == 0
    desk.venue.take_as_market(SELL, None, 3, desk.ts)
    assert (order.status, order.cum_qty_lots) == (S.PARTIALLY_FILLED, 3)
    desk.venue.take_as_market(SELL, None, 1, desk.ts)
    assert order.status is S.FILLED
    # -0.01 % of 29,970 and of 9,990: -2.997 and -0.999, each rounded
    assert [fill.fee_tick_lots for fill in desk.venue.changes.fills] == [-3, -1]
    assert {fill.liquidity for fill in desk.venue.changes.fills} == {Liquidity.MAKER}


def test_two_of_our_orders_trade_with_each_other() -> None:
    desk = Desk()
    maker, taker = desk.put(SELL, 10_000, 5), desk.put(BUY, 10_000, 5)
    assert maker.status is taker.status is S.FILLED
    assert desk.position.qty_lots == 0
    assert {fill.trade_id for fill in desk.venue.changes.fills} == {desk.venue.changes.prints[0].trade_id}
    assert len(desk.venue.changes.prints) == 1


@pytest.mark.parametrize(("draw", "filled", "status"), [(0.79, 3, S.FILLED), (0.8, 0, S.NEW)])
def test_a_taker_meets_the_book_with_its_probability(draw: float, filled: int, status: OrderStatus) -> None:
    desk = a_desk()
    desk.market.draws = [draw]
    order = desk.put(BUY, 10_010, 3, execution_probability=0.8)
    assert (order.cum_qty_lots, order.status) == (filled, status)
    assert desk.market.draws == []  # one draw for one opportunity


@pytest.mark.parametrize("time_in_force", [T.IOC, T.FOK])
def test_nobody_there_ends_an_immediate_order(time_in_force: TimeInForce) -> None:
    desk = a_desk()
    desk.market.draws = [0.9]
    order = desk.put(BUY, 10_010, 3, execution_probability=0.5, time_in_force=time_in_force)
    assert (order.status, order.reject_reason) == (S.EXPIRED, R.NOT_THERE)


def test_a_maker_that_is_not_there_is_passed_over_and_keeps_its_place() -> None:
    desk = Desk()
    desk.market.draws = [0.9]  # drawn on arrival, where nothing stood against it
    order = desk.put(BUY, 9_990, 4, execution_probability=0.5)
    desk.quote(BUY, 9_990, 10)
    desk.market.draws = [0.7]
    desk.venue.take_as_market(SELL, None, 5, desk.ts)
    assert order.cum_qty_lots == 0
    desk.market.draws = [0.3]
    desk.venue.take_as_market(SELL, None, 5, desk.ts)
    assert order.cum_qty_lots == 4  # still before the five that are left of the market's


def test_probability_zero_never_trades() -> None:
    desk = a_desk()
    desk.market.draws = [0.0]
    assert desk.put(BUY, 10_010, 3, execution_probability=0.0).status is S.NEW


def test_impact_moves_the_reference_by_its_share_of_the_order() -> None:
    desk = a_desk()
    desk.put(BUY, 10_010, 20, price_impact=0.01)  # 10 of 20: phi x w = 0.01 x 0.5
    assert desk.market.moves == [0.01 * 10 / 20]
    desk.put(SELL, 9_990, 8, price_impact=0.01)  # first our own bid at 10,010, both sides with an impact
    assert desk.market.moves[1:] == [0.01 * 8 / 20, -0.01 * 8 / 8]


def test_a_cancel_takes_as_long_as_an_order() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_990, 4)
    desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "wish")
    desk.venue.request_cancel(order, desk.ts, desk.ts + 2 * DELAY, "again")  # a second wish changes nothing
    requested = [event for event in desk.venue.changes.events if event.type == EventType.ORDER_CANCEL_REQUESTED]
    assert len(requested) == 1
    desk.venue.take_as_market(SELL, None, 12, desk.ts + 1)  # meanwhile two of ours are hit
    desk.arrive()
    assert (order.status, order.cum_qty_lots) == (S.CANCELED, 2)
    assert desk.levels(BUY) == [(9_980, 5)]
    assert desk.venue.next_due_ts() is None


def test_a_cancel_may_overtake_nothing() -> None:
    desk = a_desk()
    order = desk.place(BUY, 10_010, 3)
    desk.venue.request_cancel(order, desk.ts, order.arrival_ts, "wish")
    desk.arrive()
    assert order.status is S.FILLED  # it arrived first


def test_a_dated_order_ends_on_its_date() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_995, 3, time_in_force=T.GTD, expire_ts=START + 3 * DELAY)
    assert desk.venue.next_due_ts() == START + 3 * DELAY
    desk.venue.process_due(START + 3 * DELAY)
    assert (order.status, order.reject_reason) == (S.EXPIRED, R.TIME_IN_FORCE)
    assert desk.levels(BUY)[0] == (9_990, 10)


@pytest.mark.parametrize("story", ["fill", "cancel", "expire", "reject"])
def test_events_of_an_order_are_numbered_without_a_gap(story: str) -> None:
    desk = a_desk()
    if story == "fill":
        order = desk.put(BUY, 10_020, 12)
    elif story == "reject":
        order = desk.put(BUY, 10_010, 1, post_only=True)
    elif story == "expire":
        order = desk.put(BUY, 10_010, 12, time_in_force=T.IOC)
    else:
        order = desk.put(BUY, 9_990, 4)
        desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "")
        desk.arrive()
    events = [event for event in desk.venue.changes.events if event.aggregate_id == order.order_id]
    assert [event.sequence for event in events] == list(range(1, order.version + 1))
    told = msgspec.to_builtins(events[-1].data)
    assert (told["status"], told["version"]) == (order.status.name, order.version)
    trades = [event for event in desk.venue.changes.events if event.type == EventType.TRADE_EXECUTED]
    assert [event.sequence for event in trades] == list(range(1, len(trades) + 1))


def test_a_restored_order_stands_where_it_stood() -> None:
    desk = a_desk()
    first, second = desk.put(BUY, 9_995, 3), desk.put(BUY, 9_995, 4)
    desk.venue.request_cancel(second, desk.ts, desk.ts + DELAY, "")
    again = Desk()
    again.venue.add_position(desk.position)
    for order in (first, second):
        again.venue.restore(order)
    assert [order.priority for order in again.venue.book.orders(BUY)] == [first.priority, second.priority]
    exposures = [each.funds[order.account_id].pairs[order.pair_id] for each in (desk, again) for order in (first,)]
    assert exposures[0] == exposures[1]
    again.venue.process_due(desk.ts + DELAY)
    assert second.status is S.CANCELED
    assert again.levels(BUY) == [(9_995, 3)]
