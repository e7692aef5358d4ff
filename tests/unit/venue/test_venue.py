"""What happens to an order: each type, time in force and reason, with its arithmetic beside it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from market_maker.domain.errors import Conflict, RejectReason
from market_maker.domain.events import EventType
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, Side, TimeInForce
from market_maker.domain.order import SelfTradePrevention as Prevention
from market_maker.matching.kernel import mixed
from market_maker.venue.funds import AccountFunds
from market_maker.venue.venue import open_orders_of
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
        (10_010, 3, {"time_in_force": T.GTD, "expire_ts": START + 2}, S.EXPIRED, 0, R.TIME_IN_FORCE),
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
    desk.take(SELL, 10)  # ten stood there before us
    assert order.cum_qty_lots == 0
    desk.take(SELL, 3)
    assert (order.status, order.cum_qty_lots) == (S.PARTIALLY_FILLED, 3)
    desk.take(SELL, 1)
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


def is_missed(seed: int, draw: int, probability: float) -> bool:
    """Tell whether a counterparty is not there in a draw, counted from 1."""
    return mixed(seed, draw) % 10**9 < round(10**9 * (1.0 - probability))


@pytest.mark.parametrize("seed", range(8))
def test_a_taker_meets_the_book_with_its_probability(seed: int) -> None:
    desk = a_desk(seed=seed)
    order = desk.put(BUY, 10_010, 3, execution_probability=0.5)
    expected = (0, S.NEW) if is_missed(seed, 1, 0.5) else (3, S.FILLED)
    assert (order.cum_qty_lots, order.status) == expected


@pytest.mark.parametrize("time_in_force", [T.IOC, T.FOK])
def test_nobody_there_ends_an_immediate_order(time_in_force: TimeInForce) -> None:
    desk = a_desk()
    order = desk.put(BUY, 10_010, 3, execution_probability=0.0, time_in_force=time_in_force)
    assert (order.status, order.reject_reason) == (S.EXPIRED, R.NOT_THERE)


def test_a_maker_that_is_not_there_is_passed_over_and_keeps_its_place() -> None:
    seed = next(seed for seed in range(100) if is_missed(seed, 1, 0.5) and not is_missed(seed, 2, 0.5))
    desk = Desk(seed=seed)
    order = desk.put(BUY, 9_990, 4, execution_probability=0.5)  # nothing to draw for: nobody stands against it
    desk.quote(BUY, 9_990, 10)
    desk.take(SELL, 5)
    assert order.cum_qty_lots == 0
    desk.take(SELL, 5)
    assert order.cum_qty_lots == 4  # still before the five that are left of the market's


def test_probability_zero_never_trades() -> None:
    desk = a_desk()
    assert desk.put(BUY, 10_010, 3, execution_probability=0.0).status is S.NEW


def test_impact_moves_the_reference_by_its_share_of_the_order() -> None:
    desk = a_desk()
    desk.put(BUY, 10_010, 20, price_impact=0.01)  # 10 of 20: phi x w = 0.01 x 0.5
    assert desk.market.impact_e12 == 5 * 10**9
    desk.put(SELL, 9_990, 8, price_impact=0.01)  # meets our own bid at 10,010, both sides with an impact
    assert desk.market.impact_e12 == (5 + 4 - 10) * 10**9


def test_a_cancel_takes_as_long_as_an_order() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_990, 4)
    desk.venue.request_cancel(order, desk.ts, desk.ts + DELAY, "wish")
    desk.venue.request_cancel(order, desk.ts, desk.ts + 2 * DELAY, "again")  # a second wish changes nothing
    requested = [event for event in desk.venue.changes.events if event.type == EventType.ORDER_CANCEL_REQUESTED]
    assert len(requested) == 1
    desk.take(SELL, 12)  # meanwhile two of ours are hit
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


def reloaded(desk: Desk) -> Desk:
    """Return a desk made of what a restart would find: the engine's memory, orders and positions."""
    again = Desk()
    again.market.state = desk.market.state
    again.market._take_over(desk.market.state)
    again.venue.add_position(desk.position)
    again.venue.priority = desk.venue.priority
    for order in desk.venue.orders.values():
        again.venue.restore(order)
    again.ts = desk.ts
    return again


def test_a_restored_order_stands_where_it_stood() -> None:
    desk = a_desk()
    first, second = desk.put(BUY, 9_995, 3), desk.put(BUY, 9_995, 4)
    desk.venue.request_cancel(second, desk.ts, desk.ts + DELAY, "")
    again = reloaded(desk)
    assert again.venue.reconcile(open_orders_of(again.market.state.orders), again.ts) == 0
    assert again.venue.changes.commands == []
    assert again.venue.owners == desk.venue.owners
    exposures = [each.funds[first.account_id].pairs[first.pair_id] for each in (desk, again)]
    assert exposures[0] == exposures[1]
    again.take(SELL, 4)
    assert (first.status, second.cum_qty_lots) == (S.FILLED, 1)
    again.venue.process_due(desk.ts + DELAY)
    assert second.status is S.CANCELED
    assert again.levels(BUY)[0] == (9_990, 10)


def test_what_the_engine_does_not_hold_is_placed_again_and_what_nobody_knows_is_canceled() -> None:
    desk = a_desk()
    kept, lost, unknown = (desk.put(BUY, price, 5) for price in (9_995, 9_994, 9_993))
    desk.put(SELL, 9_995, 2)  # two of the first are filled
    again = reloaded(desk)
    del again.venue.numbered[unknown.priority], again.venue.orders[unknown.order_id]
    again.market.cancel(lost.priority)
    held = open_orders_of(again.market.state.orders).copy()
    assert again.venue.reconcile(held, again.ts) == 2
    assert again.levels(BUY)[:3] == [(9_995, 3), (9_994, 5), (9_990, 10)]
    again.venue.request_amend(kept, again.ts, again.ts + DELAY, "", price=0, lots=4, stop=0)
    again.venue.request_amend(lost, again.ts, again.ts + DELAY, "", price=0, lots=3, stop=0)
    again.arrive()
    assert again.levels(BUY)[:2] == [(9_995, 2), (9_994, 3)]


def test_an_order_placed_again_after_fills_counts_them_when_it_is_amended() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_995, 5)
    desk.take(SELL, 2)
    desk.market.cancel(order.priority)
    again = reloaded(desk)
    assert again.venue.reconcile(open_orders_of(again.market.state.orders), again.ts) == 1
    twice = reloaded(again)  # and this survives another restart
    assert twice.venue.reconcile(open_orders_of(twice.market.state.orders), twice.ts) == 0
    twice.venue.request_amend(order, twice.ts, twice.ts + DELAY, "", price=0, lots=4, stop=0)
    twice.arrive()
    assert (order.qty_lots, order.leaves_lots) == (4, 2)
    assert twice.levels(BUY)[0] == (9_995, 2)


# ---------------------------------------------------------------------- stops, icebergs, self-trades, amendments


def told(desk: Desk, order: Order) -> list[str]:
    """Return the names of an order's events."""
    events = [event for event in desk.venue.changes.events if event.aggregate_id == order.order_id]
    return [event.type.rpartition(".")[2] for event in events]


@pytest.mark.parametrize(
    ("order_type", "price", "left", "status"),
    [(OrderType.STOP, 0, 0, S.FILLED), (OrderType.STOP_LIMIT, 10_020, 0, S.FILLED), (OrderType.STOP_LIMIT, 10_010, 1, S.PARTIALLY_FILLED)],
)  # fmt: skip
def test_a_stop_waits_for_its_price(order_type: OrderType, price: int, left: int, status: OrderStatus) -> None:
    desk = a_desk()
    order = desk.put(BUY, price, 10, order_type=order_type, stop_ticks=10_010, time_in_force=T.GTC)
    assert (order.status, order.triggered) == (S.NEW, False)
    assert desk.levels(BUY)[0] == (9_990, 10), "a stop is in no book"
    desk.take(BUY, 1)  # at 10,010, where nine are left: the stop takes them and, if it may, one of the next five
    assert (order.status, order.triggered, order.leaves_lots) == (status, True, left)
    assert told(desk, order)[:3] == ["received", "accepted", "triggered"]


def test_a_stop_whose_price_has_been_reached_acts_at_once() -> None:
    desk = a_desk()
    desk.take(BUY, 1)
    order = desk.put(BUY, 0, 2, order_type=OrderType.STOP, stop_ticks=10_000, time_in_force=T.GTC)
    assert (order.status, order.cum_qty_lots) == (S.FILLED, 2)
    assert told(desk, order) == ["received", "triggered", "filled"]


def test_an_iceberg_shows_a_part_and_goes_to_the_back_with_the_next() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_995, 10, display_lots=4)
    desk.quote(BUY, 9_995, 3)
    assert desk.levels(BUY)[0] == (9_995, 7)
    desk.take(SELL, 5)  # four of ours, then one of the market's
    assert (order.cum_qty_lots, order.leaves_lots) == (4, 6)
    desk.take(SELL, 2)
    assert order.cum_qty_lots == 4
    desk.take(SELL, 1)
    assert order.cum_qty_lots == 5


@pytest.mark.parametrize(
    ("choice", "resting", "incoming", "leaves"),
    [
        (Prevention.NONE, S.FILLED, S.PARTIALLY_FILLED, (0, 3)),
        (Prevention.CANCEL_NEWEST, S.NEW, S.CANCELED, (5, 0)),
        (Prevention.CANCEL_OLDEST, S.CANCELED, S.NEW, (0, 8)),
        (Prevention.CANCEL_BOTH, S.CANCELED, S.CANCELED, (0, 0)),
        (Prevention.DECREMENT, S.CANCELED, S.NEW, (0, 3)),
    ],
)
def test_an_account_does_not_trade_with_itself(
    choice: Prevention, resting: OrderStatus, incoming: OrderStatus, leaves: tuple[int, int]
) -> None:
    desk = a_desk()
    first, second = desk.put(SELL, 10_000, 5), desk.put(BUY, 10_000, 8, self_trade=choice)
    assert (first.status, second.status) == (resting, incoming)
    assert (first.leaves_lots, second.leaves_lots) == leaves
    assert (len(desk.venue.changes.prints) == 1) == (choice is Prevention.NONE)
    for order in (first, second):
        assert order.reject_reason is (R.SELF_TRADE if order.status is S.CANCELED else None)
    exposure = desk.funds[first.account_id].pairs[first.pair_id]
    assert (exposure.buy_notional, exposure.sell_notional) == (10_000 * leaves[1], 10_000 * leaves[0])


def test_another_account_may_trade_with_us() -> None:
    desk = a_desk()
    other = UUID(int=77)
    desk.funds[other] = AccountFunds(other, Decimal(10**6))
    theirs = desk.venue.position_for(other, None)
    desk.put(SELL, 10_000, 5, account_id=other, position_id=theirs.position_id)
    ours = desk.put(BUY, 10_000, 5, self_trade=Prevention.CANCEL_NEWEST)
    assert (ours.status, theirs.qty_lots, desk.position.qty_lots) == (S.FILLED, -5, 5)


def test_an_order_that_shrinks_keeps_its_place_and_one_that_grows_does_not() -> None:
    desk = a_desk()
    first, second = desk.put(BUY, 9_995, 4), desk.put(BUY, 9_995, 4)
    desk.venue.request_amend(first, desk.ts, desk.ts + DELAY, "", price=0, lots=3, stop=0)
    assert first.qty_lots == 4, "an amendment takes as long as an order"
    desk.arrive()
    desk.take(SELL, 3)
    assert (first.status, first.qty_lots, second.cum_qty_lots) == (S.FILLED, 3, 0)
    third = desk.put(BUY, 9_995, 1)
    desk.venue.request_amend(second, desk.ts, desk.ts + DELAY, "", price=0, lots=5, stop=0)
    desk.arrive()
    desk.take(SELL, 1)
    assert (third.status, second.cum_qty_lots) == (S.FILLED, 0)
    assert told(desk, second) == ["received", "accepted", "amend_requested", "amended"]


def test_an_amended_price_may_trade_at_once() -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_995, 4)
    desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", price=10_010, lots=0, stop=0)
    with pytest.raises(Conflict, match="on its way"):
        desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", price=10_011, lots=0, stop=0)
    desk.arrive()
    assert (order.status, order.price_ticks, order.cum_qty_lots) == (S.FILLED, 10_010, 4)
    exposure = desk.funds[order.account_id].pairs[order.pair_id]
    assert exposure.buy_notional == 0


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"price": 0, "lots": 2, "stop": 0}, R.QTY_EXECUTED),
        ({"price": 9_000, "lots": 0, "stop": 5}, R.REFUSED_BY_VENUE),
    ],
)
def test_an_amendment_that_cannot_be_is_refused_and_changes_nothing(wish: dict[str, int], reason: RejectReason) -> None:
    desk = a_desk()
    order = desk.put(BUY, 9_995, 4)
    desk.take(SELL, 2)
    desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", **wish)
    desk.arrive()
    assert (order.amend_refusal, order.qty_lots, order.price_ticks) == (reason, 4, 9_995)
    assert told(desk, order)[-1] == "amend_refused"
    assert order.amend_arrival_ts == 0


def test_an_amendment_that_overtakes_its_order_is_refused_and_another_may_follow() -> None:
    """Sent after a latency spike, it found no order at the venue and was lost: neither refused nor told, asked for for ever."""
    desk = a_desk()
    order = desk.place(BUY, 9_995, 4)
    desk.venue.request_amend(order, desk.ts, desk.ts + DELAY // 2, "", price=9_990, lots=0, stop=0)
    desk.venue.process_due(desk.ts + DELAY // 2)
    assert (order.amend_refusal, order.amend_arrival_ts, order.status) == (R.UNKNOWN_ORDER, 0, S.PENDING_NEW)
    desk.arrive()
    assert told(desk, order) == ["received", "amend_requested", "amend_refused", "accepted"]
    desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", price=9_990, lots=0, stop=0)
    desk.arrive()
    assert (order.amend_refusal, order.price_ticks) == (None, 9_990)


def test_nobody_amends_beyond_his_means() -> None:
    desk = Desk(balance="1000")  # ten lots of 0.001 at 100.00 are 1.00
    order = desk.put(BUY, 10_000, 10)
    with pytest.raises(Conflict, match="afford"):
        desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", price=0, lots=10_001, stop=0)
    desk.venue.request_amend(order, desk.ts, desk.ts + DELAY, "", price=0, lots=10_000, stop=0)
    desk.arrive()
    assert order.qty_lots == 10_000
