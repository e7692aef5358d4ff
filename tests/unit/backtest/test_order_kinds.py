"""Kinds of orders, changes of them, and what the venue asks of funds, by hand. Book: bid 100 x 100, ask 101 x 100 lots."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from market_maker.backtest.fee_models import Contract, Tier, flat, per_quantity, tiered
from market_maker.backtest.latency_models import recorded
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.session import ReplaySession
from market_maker.backtest.state import Note
from market_maker.domain.errors import InvalidRequest, RejectReason
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.order import OrderStatus, OrderType, Side, TimeInForce
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(
    UUID(int=1), "test", "A-B", "A", "B", Decimal(1), Decimal(1), maker_fee=Decimal(0), taker_fee=Decimal(0)
)
DEPTH, TRADE = 1, 2
BUY, SELL, GTC, IOC = Side.BUY, Side.SELL, TimeInForce.GTC, TimeInForce.IOC
FOK, GTD = TimeInForce.FOK, TimeInForce.GTD


def session(events, *, pair=PAIR, **options):
    """Rows are (time after T0, kind, side, price, lots); the book comes first, an empty instant last."""
    rows = [(0, DEPTH, 1, 100, 100), (0, DEPTH, -1, 101, 100), *events, (1000, DEPTH, 1, 50, 1)]
    frame = pl.DataFrame(
        [(T0 + t, T0 + t, kind, side, price, lots, 0) for t, kind, side, price, lots in rows],
        schema=BOOK_SCHEMA,
        orient="row",
    )
    return ReplaySession(feed_of(frame), pair, start_ts=T0, **options)


def limit(replay, side, price, lots, tif=GTC, **options):
    return replay.submit(side, OrderType.LIMIT, tif, price, lots, **options)


def filled(replay, order_id):
    return [(f.price_ticks, f.qty_lots) for f in replay.fills() if f.order_id == order_id]


def test_fill_or_kill_takes_all_or_nothing():
    replay = session([(10, DEPTH, -1, 102, 40)])
    replay.run_until(T0 + 20)
    # 100 at 101 and 40 at 102: 141 up to 102 are too many, 140 are not; 101 alone has 100.
    orders = [limit(replay, BUY, 102, 141, FOK), limit(replay, BUY, 101, 101, FOK), limit(replay, BUY, 102, 140, FOK)]
    replay.run_until(T0 + 100)
    assert [filled(replay, order) for order in orders] == [[], [], [(101, 100), (102, 40)]]
    assert replay.order(orders[0]).reason is RejectReason.CANNOT_FILL_COMPLETELY
    assert [replay.order(order).status for order in orders] == [
        OrderStatus.EXPIRED, OrderStatus.EXPIRED, OrderStatus.FILLED,
    ]  # fmt: skip
    resting = limit(replay, BUY, 99, 1, FOK)
    replay.run_until(T0 + 200)
    assert replay.order(resting).reason is RejectReason.TIME_IN_FORCE


def test_an_order_good_till_a_date_ends_then_and_not_before():
    replay = session([(50, TRADE, -1, 100, 101), (60, TRADE, -1, 99, 9)])
    first, second = (limit(replay, BUY, 100, 1, GTD, expire_ts=T0 + till) for till in (50, 59))
    late = limit(replay, BUY, 90, 1, GTD, expire_ts=T0)
    replay.run_until(T0 + 49)
    assert replay.order(first).status is OrderStatus.NEW
    replay.run_until(T0 + 100)
    # The trade of the instant comes before its ends: the first order fills at 50, the second ended at 59.
    assert (filled(replay, first), filled(replay, second)) == ([(100, 1)], [])
    assert replay.order(second).status is OrderStatus.EXPIRED
    assert (replay.order(late).status, replay.order(late).reason) == (OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE)


def test_an_order_that_shrinks_keeps_its_place_and_one_that_grows_loses_it():
    events = [(10, DEPTH, 1, 100, 150), (30, TRADE, -1, 100, 104), (40, TRADE, -1, 100, 47)]
    shrinks, grows = session(events), session(events)
    orders = [limit(replay, BUY, 100, 5) for replay in (shrinks, grows)]
    for replay, order, qty in ((shrinks, orders[0], 3), (grows, orders[1], 6)):
        replay.run_until(T0 + 20)
        replay.amend(order, 100, qty)
        replay.run_until(T0 + 35)
    # 100 stood ahead: 104 reach 4 of us, and we want 3. Behind the 150 that were displayed then, nothing reaches us.
    assert (filled(shrinks, orders[0]), filled(grows, orders[1])) == ([(100, 3)], [])
    grows.run_until(T0 + 100)
    # 150 ahead less 104 less 47: the last trade reaches 1 lot.
    assert filled(grows, orders[1]) == [(100, 1)]
    assert grows.order(orders[1]).qty_lots == 6


def test_an_amend_to_another_price_takes_or_rests_there():
    replay = session([])
    order = limit(replay, BUY, 99, 5)
    replay.run_until(T0 + 10)
    replay.amend(order, 100, 7)
    replay.run_until(T0 + 20)
    found = replay.order(order)
    assert (found.price_ticks, found.qty_lots, found.queue_ahead_lots) == (100, 7, 100)
    replay.amend(order, 101, 120)
    replay.run_until(T0 + 30)
    assert filled(replay, order) == [(101, 100)]
    found = replay.order(order)
    assert (found.status, found.leaves_lots, found.price_ticks) == (OrderStatus.PARTIALLY_FILLED, 20, 101)
    replay.amend(order, 101, 100)
    replay.run_until(T0 + 40)
    assert replay.order(order).status is OrderStatus.CANCELED, "what is filled already ends it"


def test_an_amend_that_is_refused_leaves_the_order_as_it_was():
    replay = session([(50, TRADE, -1, 100, 101)], balance=Decimal(1000))
    order = limit(replay, BUY, 100, 2, post_only=True)
    replay.run_until(T0 + 10)
    replay.amend(order, 101, 2)
    replay.run_until(T0 + 20)
    assert (replay.order(order).price_ticks, replay.order(order).reason) == (100, RejectReason.POST_ONLY_WOULD_TAKE)
    replay.amend(order, 100, 11)
    replay.run_until(T0 + 30)
    assert (replay.order(order).qty_lots, replay.order(order).reason) == (2, RejectReason.INSUFFICIENT_BALANCE)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 1)], "its place was kept"
    with pytest.raises(InvalidRequest):
        replay.amend(order, 0, 1)


def test_an_amend_and_a_fill_in_flight_race_by_arrival():
    events = [(50, TRADE, -1, 100, 103)]
    late, early = session(events, entry_latency_ns=30), session(events, entry_latency_ns=30)
    orders = [limit(replay, BUY, 100, 3) for replay in (late, early)]
    for replay, order, at in ((late, orders[0], 21), (early, orders[1], 19)):
        replay.run_until(T0 + at + 10)
        replay.run_until(T0 + at + 10)
        replay.amend(order, 99, 3) if at == 19 else None
        replay.run_until(T0 + 40)
    replay = early
    # The change arrives at 59, after the trade of 50: there is nothing left to change.
    replay.run_until(T0 + 200)
    assert (filled(replay, orders[1]), replay.order(orders[1]).price_ticks) == ([(100, 3)], 100)


@pytest.mark.parametrize(("model", "fills"), [
    (QueueModel.FRONT, [(100, 7)]), (QueueModel.RISK_AVERSE, [(100, 5)]), (QueueModel.BACK, []),
])  # fmt: skip
def test_the_band_of_assumptions_about_a_trade_at_our_price(model, fills):
    replay = session([(10, TRADE, -1, 100, 105), (20, TRADE, -1, 100, 2)][:1], queue_model=model)
    order = limit(replay, BUY, 100, 7)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == fills


@pytest.mark.parametrize("model", [QueueModel.FRONT, QueueModel.RISK_AVERSE, QueueModel.BACK])
def test_a_trade_through_and_a_crossing_level_fill_under_every_assumption(model):
    for event in ((10, TRADE, -1, 99, 1), (10, DEPTH, -1, 100, 50)):
        replay = session([event], queue_model=model)
        order = limit(replay, BUY, 100, 7)
        replay.run_until(T0 + 100)
        assert filled(replay, order) == [(100, 7)]


def test_fifo_needs_a_feed_of_orders():
    with pytest.raises(InvalidRequest) as error:
        session([], queue_model=QueueModel.FIFO)
    assert "queue_model" in str(error.value)


def test_a_counterparty_that_is_never_there_and_one_that_is_there_at_times():
    trades = [(10 + i, TRADE, -1, 99, 1) for i in range(200)]
    never = session(trades)
    order = limit(never, BUY, 100, 1, execution_probability=0.0)
    taker = limit(never, BUY, 101, 1, execution_probability=0.0)
    gone = limit(never, BUY, 101, 1, IOC, execution_probability=0.0)
    never.run_until(T0 + 500)
    assert never.fills() == []
    assert never.order(order).status is OrderStatus.NEW
    assert never.order(taker).status is OrderStatus.NEW, "an incoming limit order that misses rests"
    assert never.order(gone).reason is RejectReason.NOT_THERE

    counts = []
    for seed in (1, 1, 2):
        replay = session([(10 + i, TRADE, -1, 99, 1) for i in range(1)], seed=seed, balance=Decimal(10**9))
        orders = [limit(replay, BUY, 100, 1, execution_probability=0.25) for _ in range(400)]
        replay.run_until(T0 + 100)
        counts.append([len(filled(replay, own)) for own in orders])
    assert counts[0] == counts[1] != counts[2]
    # 400 draws of 0.25: 100 with a standard deviation of 8.7.
    assert all(60 < sum(found) < 140 for found in counts)


def test_leverage_carries_exposure_and_a_cash_account_sells_what_it_has():
    plain, levered = session([], balance=Decimal(1000)), session([], balance=Decimal(1000), leverage=3)
    for replay, fits in ((plain, False), (levered, True)):
        order = limit(replay, BUY, 100, 30)
        replay.run_until(T0 + 10)
        assert (replay.order(order).status is OrderStatus.NEW) is fits
    cash = session([(20, TRADE, -1, 99, 9)], cash_account=True)
    short = limit(cash, SELL, 105, 1)
    bought = limit(cash, BUY, 100, 4)
    cash.run_until(T0 + 30)
    assert cash.order(short).reason is RejectReason.INSUFFICIENT_BALANCE
    assert filled(cash, bought) == [(100, 4)]
    fits, more = limit(cash, SELL, 105, 3), limit(cash, SELL, 106, 2)
    cash.run_until(T0 + 40)
    assert cash.order(fits).status is OrderStatus.NEW
    assert cash.order(more).status is OrderStatus.REJECTED, "3 of the 4 are promised already"


def test_fees_by_quantity_by_order_and_by_tier():
    contract = Contract.of(PAIR)
    by_quantity = session([], fees=per_quantity(contract, PAIR.lot_size, Decimal(0), Decimal("0.5")))
    by_order = session([(5, DEPTH, -1, 102, 100)], fees=flat(contract, Decimal(-1), Decimal(7), per_order=True))
    tiers = [Tier(Decimal(0), Decimal(0), Decimal("0.01")), Tier(Decimal(1010), Decimal(0), Decimal("0.001"))]
    by_tier = session([], fees=tiered(contract, tiers, at_midnight=False, start_ts=T0))
    by_order.run_until(T0 + 6)
    limit(by_quantity, BUY, 101, 9)
    limit(by_order, BUY, 102, 150)
    for lots in (10, 10):
        limit(by_tier, BUY, 101, lots)
    for replay in (by_quantity, by_order, by_tier):
        replay.run_until(T0 + 20)
    # 9 x 0.5 = 4.5, halves up: 5. Two fills of one order: 7 once. 1010 x 1 % = 10.1: 10, then 1010 x 0.1 % = 1.01: 1.
    assert [replay.fees_tick_lots for replay in (by_quantity, by_order, by_tier)] == [5, 7, 11]


def test_an_inverse_contract_is_settled_in_its_base_currency():
    """100 contracts of 1 dollar bought at 100 and sold at 125 earn 100/100 - 100/125 = 0.2 coins."""
    pair = replace(PAIR, contract_type=ContractType.INVERSE, tick_size=Decimal(1), lot_size=Decimal(1))
    replay = session(
        [(10, TRADE, -1, 99, 1), (20, DEPTH, 1, 100, 0), (30, DEPTH, 1, 125, 100), (30, DEPTH, -1, 101, 0),
         (30, DEPTH, -1, 126, 100)],
        pair=pair, balance=Decimal(2),
    )  # fmt: skip
    bought = limit(replay, BUY, 100, 100)
    too_much = limit(replay, BUY, 90, 1000)
    replay.run_until(T0 + 40)
    assert filled(replay, bought) == [(100, 100)]
    assert replay.order(too_much).reason is RejectReason.INSUFFICIENT_BALANCE, "1000 / 90 = 11.1 coins"
    # At a mid of 125.5: 2 + 100/100 - 100/125.5 = 2.2031872509...
    assert abs(replay.equity() - (3 - Decimal(100) / Decimal("125.5"))) < Decimal("1e-9")
    limit(replay, SELL, 125, 100, IOC)
    replay.run_until(T0 + 50)
    assert replay.position_lots == 0
    assert abs(replay.equity() - Decimal("2.2")) < Decimal("1e-9")


def test_a_request_that_is_lost_is_told_after_its_latency_and_never_reaches_the_venue():
    rows = np.array([[T0, 0, T0 + 40], [T0 + 200, T0 + 205, T0 + 210], [T0 + 300, 0, T0 + 330]], np.int64)
    replay = session([(60, TRADE, -1, 99, 9)], latency=recorded(rows))
    lost = limit(replay, BUY, 100, 1)
    replay.run_until(T0 + 39)
    assert replay.order(lost).status is OrderStatus.PENDING_NEW
    replay.run_until(T0 + 90)
    assert (replay.order(lost).status, replay.order(lost).reason) == (
        OrderStatus.REJECTED,
        RejectReason.LOST_ON_THE_WAY,
    )
    assert replay.fills() == []


def test_the_log_tells_decisions_and_events_of_orders():
    replay = session([(30, TRADE, -1, 100, 101)], logs_orders=True, entry_latency_ns=5, response_latency_ns=7)
    order = limit(replay, BUY, 100, 3)
    replay.run_until(T0 + 20)
    replay.amend(order, 100, 2)
    replay.run_until(T0 + 40)
    replay.cancel(order)
    replay.run_until(T0 + 100)
    found = [
        (int(entry["ts"]) - T0, Note(int(entry["note"])).name, int(entry["leaves_lots"])) for entry in replay.log()
    ]
    assert found == [
        (0, "NEW_SENT", 3), (5, "RESTED", 3), (20, "AMEND_SENT", 3), (25, "AMENDED", 2), (30, "FILLED", 1),
        (40, "CANCEL_SENT", 1), (45, "CANCELED", 1),
    ]  # fmt: skip
    assert {int(entry["best_bid_ticks"]) for entry in replay.log()} == {100}


def test_an_executed_order_moves_the_market_and_all_later_prices_for_good():
    """10 % impact of a whole order: of 20 wanted 10 are there at 101, half of it moves the mid of 100.5 by 5.025 ticks."""
    events = [(0, DEPTH, -1, 101, 10), (20, DEPTH, 1, 99, 50), (30, TRADE, 1, 101, 4), (40, DEPTH, -1, 101, 7)]
    replay = session(events)
    taker = limit(replay, BUY, 101, 20, IOC, price_impact=0.1)
    replay.run_until(T0 + 10)
    assert filled(replay, taker) == [(101, 10)]
    # 0.5 x 10 % x 100.5 = 5.025 ticks: the book is 5 ticks higher, ours alone.
    assert replay.book(1) == ([(105, 100)], [(106, 10)])
    rests = limit(replay, SELL, 106, 3)
    replay.run_until(T0 + 25)
    assert replay.book(2)[0] == [(105, 100), (104, 50)], "later rows are displaced as well"
    assert replay.order(rests).queue_ahead_lots == 10
    replay.run_until(T0 + 35)
    assert filled(replay, rests) == [], "the trade at 101 is one at 106 now: 4 of the 10 ahead"
    replay.run_until(T0 + 50)
    assert replay.book(1)[1] == [(106, 7)]
    assert replay.equity() == Decimal(100_000) - 1010 + 10 * Decimal("105.5")


def test_a_market_that_an_own_order_moves_reaches_other_own_orders():
    replay = session([])
    sell = limit(replay, SELL, 103, 7)
    replay.run_until(T0 + 10)
    limit(replay, BUY, 101, 100, IOC, price_impact=0.03)
    replay.run_until(T0 + 20)
    # 3 % of 100.5 = 3.015: the bid of 100 is at 103, and takes our offer there.
    assert filled(replay, sell) == [(103, 7)]


def test_impact_that_decays_is_half_after_its_half_life():
    replay = session([(100, DEPTH, 1, 90, 1)], impact_half_life_ns=50)
    limit(replay, BUY, 101, 100, IOC, price_impact=0.08)
    replay.run_until(T0 + 1)
    assert replay.book(1)[0] == [(108, 100)], "8 % of 100.5 is 8.04"
    for at, bid in ((50, 104), (100, 102), (150, 101), (400, 100)):
        # An order that arrives lets the venue value the push anew.
        replay.run_until(T0 + at)
        limit(replay, BUY, 1, 1)
        replay.run_until(T0 + at)
        assert replay.book(1)[0] == [(bid, 100)]


def test_a_sale_moves_the_market_down_and_zero_impact_nowhere():
    down, still = session([]), session([])
    limit(down, SELL, 100, 50, IOC, price_impact=0.02)
    limit(still, SELL, 100, 50, IOC)
    for replay, bid in ((down, 98), (still, 100)):
        replay.run_until(T0 + 10)
        assert replay.book(1)[0] == [(bid, 100)]
