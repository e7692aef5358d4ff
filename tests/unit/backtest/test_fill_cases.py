"""When an own order fills: the acceptance cases, by hand. Book: bid 100 x 100, ask 101 x 100 lots (ticks and lots)."""

from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from market_maker.backtest.result import FillModel
from market_maker.backtest.session import ReplaySession
from market_maker.domain.errors import InvalidRequest, NotFound, RejectReason
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Liquidity, OrderStatus, OrderType, Side, TimeInForce
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(
    UUID(int=1), "test", "A-B", "A", "B", Decimal(1), Decimal(1),
    maker_fee=Decimal("0.0001"), taker_fee=Decimal("0.001"),
)  # fmt: skip
DEPTH, TRADE = 1, 2
BUY, SELL, GTC, IOC = Side.BUY, Side.SELL, TimeInForce.GTC, TimeInForce.IOC


def session(events, *, model=FillModel.PARTIAL, **options):
    """Rows are (time after T0, kind, side, price, lots); the book comes first, an empty instant last."""
    rows = [(0, DEPTH, 1, 100, 100), (0, DEPTH, -1, 101, 100), *events, (1000, DEPTH, 1, 50, 1)]
    frame = pl.DataFrame(
        [(T0 + t, T0 + t, kind, side, price, lots, 0) for t, kind, side, price, lots in rows],
        schema=BOOK_SCHEMA,
        orient="row",
    )
    return ReplaySession(feed_of(frame), PAIR, fill_model=model, start_ts=T0, **options)


def limit(replay, side, price, lots, tif=GTC, post_only=False):
    return replay.submit(side, OrderType.LIMIT, tif, price, lots, post_only)


def filled(replay, order_id):
    return [(f.price_ticks, f.qty_lots) for f in replay.fills() if f.order_id == order_id]


@pytest.mark.parametrize("model", list(FillModel))
def test_500_sold_at_our_bid_with_100_ahead_fills_our_1(model):
    replay = session([(10, TRADE, -1, 100, 500)], model=model)
    order = limit(replay, BUY, 100, 1)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 1)]
    assert replay.order(order).status is OrderStatus.FILLED
    assert replay.fills()[0].liquidity is Liquidity.MAKER


@pytest.mark.parametrize("model", list(FillModel))
def test_a_trade_through_our_bid_fills_it(model):
    replay = session([(10, TRADE, -1, 99, 1)], model=model)
    order = limit(replay, BUY, 100, 7)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 7)]


@pytest.mark.parametrize("model", list(FillModel))
def test_a_small_trade_with_100_ahead_does_not(model):
    replay = session([(10, TRADE, -1, 100, 1), (20, DEPTH, 1, 100, 99)], model=model)
    order = limit(replay, BUY, 100, 1)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == []
    assert replay.order(order).status is OrderStatus.NEW


def test_ask_coming_down_with_5_then_6_fills_5_then_1():
    replay = session([(10, DEPTH, -1, 100, 5), (20, DEPTH, -1, 100, 6)])
    order = limit(replay, BUY, 100, 10)
    replay.run_until(T0 + 15)
    assert filled(replay, order) == [(100, 5)]
    assert replay.order(order).leaves_lots == 5
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 5), (100, 1)]


def test_two_own_takers_of_80_against_100_fill_80_and_20():
    replay = session([])
    first, second = (replay.submit(BUY, OrderType.MARKET, IOC, 0, 80) for _ in range(2))
    replay.run_until(T0 + 100)
    assert (filled(replay, first), filled(replay, second)) == ([(101, 80)], [(101, 20)])
    assert replay.order(second).status is OrderStatus.EXPIRED
    assert replay.order(second).reason is RejectReason.NO_LIQUIDITY
    assert replay.order(second).cum_qty_lots == 20


FINE = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal("0.1"), Decimal("0.001"))
BOTH, LIMIT, MARKET = tuple(FillModel), OrderType.LIMIT, OrderType.MARKET


@pytest.mark.parametrize(
    ("events", "orders", "fills", "models"),
    [
        ([(TRADE, -1, "100.0", "500")], [(LIMIT, "1")], [["1"]], BOTH),
        ([(TRADE, -1, "99.9", "0.001")], [(LIMIT, "1")], [["1"]], BOTH),
        ([(TRADE, -1, "100.0", "0.001")], [(LIMIT, "1")], [[]], BOTH),
        ([(DEPTH, -1, "100.0", "5"), (DEPTH, -1, "100.0", "6")], [(LIMIT, "10")], [["5", "1"]], (FillModel.PARTIAL,)),
        ([], [(MARKET, "80"), (MARKET, "80")], [["80"], ["20"]], (FillModel.PARTIAL,)),
    ],
    ids=["500 at our bid", "through our bid", "0.001 with 100 ahead", "ask of 5 then 6", "two takers of 80"],
)
def test_the_acceptance_cases_in_the_units_of_a_venue(events, orders, fills, models):
    """The same with ticks of 0.1 and lots of 0.001, where 0.001 is one lot and 100 are a hundred thousand."""
    book = [(DEPTH, 1, "100.0", "100"), (DEPTH, -1, "101.0", "100")]
    rows = [(0, *row) for row in book] + [(10 * (i + 1), *row) for i, row in enumerate(events)]
    frame = pl.DataFrame(
        [
            (T0 + t, T0 + t, kind, side, FINE.price_to_ticks(Decimal(price)), FINE.qty_to_lots(Decimal(qty)), 0)
            for t, kind, side, price, qty in [*rows, (1000, DEPTH, 1, "50.0", "1")]
        ],
        schema=BOOK_SCHEMA,
        orient="row",
    )
    for model in models:
        replay = ReplaySession(feed_of(frame), FINE, fill_model=model, start_ts=T0)
        ids = [
            replay.submit(BUY, kind, IOC if kind is MARKET else GTC, FINE.price_to_ticks(Decimal("100.0")),
                          FINE.qty_to_lots(Decimal(qty)))
            for kind, qty in orders
        ]  # fmt: skip
        replay.run_until(T0 + 100)
        price = Decimal("101.0") if orders[0][0] is MARKET else Decimal("100.0")
        for order_id, expected in zip(ids, fills, strict=True):
            found = [(FINE.ticks_to_price(ticks), FINE.lots_to_qty(lots)) for ticks, lots in filled(replay, order_id)]
            assert found == [(price, Decimal(qty)) for qty in expected]


def test_an_exact_fill_ends_the_order_and_the_run_goes_on():
    replay = session([(10, TRADE, -1, 100, 103), (20, TRADE, -1, 100, 50)])
    exact, behind = limit(replay, BUY, 100, 3), limit(replay, BUY, 100, 4)
    replay.run_until(T0 + 15)
    assert (filled(replay, exact), filled(replay, behind)) == ([(100, 3)], [])
    replay.run_until(T0 + 100)
    assert filled(replay, behind) == [(100, 4)]
    assert replay.position_lots == 7


def test_partial_fills_reach_position_cash_and_fee():
    replay = session([(10, TRADE, -1, 100, 103), (20, TRADE, -1, 100, 2)])
    order = limit(replay, BUY, 100, 10)
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 3), (100, 2)]
    assert (replay.position_lots, replay.cash_tick_lots) == (5, -500)
    # 300 x 0.0001 = 0.03 and 200 x 0.0001 = 0.02 tick-lots round to 0.
    assert replay.fees_tick_lots == 0
    assert replay.order(order).leaves_lots == 5


def test_depth_alone_never_fills_and_cancels_ahead_move_us_up():
    replay = session([(10, DEPTH, 1, 100, 3), (20, TRADE, -1, 100, 4)])
    order = limit(replay, BUY, 100, 1)
    replay.run_until(T0 + 15)
    assert filled(replay, order) == []
    replay.run_until(T0 + 100)
    assert filled(replay, order) == [(100, 1)]


def test_post_only_that_would_take_is_refused_and_ioc_leaves_nothing():
    replay = session([])
    post, now = limit(replay, BUY, 101, 1, post_only=True), limit(replay, BUY, 101, 150, IOC)
    replay.run_until(T0 + 100)
    assert replay.order(post).reason is RejectReason.POST_ONLY_WOULD_TAKE
    assert replay.order(post).status is OrderStatus.REJECTED
    assert filled(replay, now) == [(101, 100)]
    assert (replay.order(now).status, replay.order(now).reason) == (OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE)


def test_fill_and_cancel_in_flight_race_by_arrival():
    events = [(50, TRADE, -1, 100, 500)]
    late, early = session(events, entry_latency_ns=30), session(events, entry_latency_ns=30)
    orders = [limit(replay, BUY, 100, 1) for replay in (late, early)]
    for replay, order, cancel_at in ((late, orders[0], 21), (early, orders[1], 19)):
        replay.run_until(T0 + cancel_at)
        replay.cancel(order)
        replay.run_until(T0 + 200)
    # The cancel reaches the venue at 51 and at 49; the trade is at 50.
    assert late.order(orders[0]).status is OrderStatus.FILLED
    assert early.order(orders[1]).status is OrderStatus.CANCELED
    assert early.position_lots == 0


def test_response_latency_hides_the_fill_for_a_while():
    replay = session([(10, TRADE, -1, 100, 500)], response_latency_ns=25)
    order = limit(replay, BUY, 100, 1)
    replay.run_until(T0 + 34)
    assert (replay.position_lots, replay.order(order).status) == (0, OrderStatus.NEW)
    replay.run_until(T0 + 35)
    assert (replay.position_lots, replay.order(order).status) == (1, OrderStatus.FILLED)


def test_an_order_without_funds_is_rejected_at_the_edge():
    replay = session([], balance=Decimal(1000))
    enough, too_much = limit(replay, BUY, 50, 20), limit(replay, BUY, 50, 1)
    replay.run_until(T0 + 100)
    assert replay.order(enough).status is OrderStatus.NEW
    assert replay.order(too_much).reason is RejectReason.INSUFFICIENT_BALANCE
    hedge = limit(replay, SELL, 200, 5)
    replay.run_until(T0 + 200)
    assert replay.order(hedge).status is OrderStatus.NEW, "the other side does not add to the worst case"


def test_the_session_answers_plainly():
    replay = session([])
    assert replay.book(5) == ([(100, 100)], [(101, 100)])
    assert replay.equity() == Decimal(100_000)
    with pytest.raises(NotFound):
        replay.cancel(99)
    with pytest.raises(InvalidRequest):
        replay.submit(BUY, OrderType.LIMIT, TimeInForce.GTD, 100, 1)
    with pytest.raises(InvalidRequest):
        replay.submit(BUY, OrderType.LIMIT, GTC, 100, 0)
    with pytest.raises(InvalidRequest):
        replay.run_until(T0 - 1)
    replay.run_until(T0 + 1000)
    assert replay.exhausted
