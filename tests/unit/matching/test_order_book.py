"""The matching engine's rules by example; the plain reference covers their combinations (tests/differential)."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side, TimeInForce
from market_maker.matching.book import Events, OrderBook, TradingRules, new_commands
from market_maker.matching.codes import Cause, Command, EngineOrderType, EventKind, LiquidityCode, Phase, SelfTrade
from market_maker.matching.state import CACHE_LINE

BUY, SELL = Side.BUY, Side.SELL
ACCEPTED, FILLED, EXPIRED = EventKind.ACCEPTED, EventKind.FILLED, EventKind.EXPIRED
IOC, FOK, GTD = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD
MARKET, STOP, STOP_LIMIT = EngineOrderType.MARKET, EngineOrderType.STOP, EngineOrderType.STOP_LIMIT


def told(events: Events) -> list[tuple[str, int, int, int]]:
    """Return kind, order id, quantity and what is left of each event."""
    return [
        (EventKind(int(e["kind"])).name, int(e["order_id"]), int(e["qty_lots"]), int(e["leaves_lots"])) for e in events
    ]


def fills(events: Events) -> list[tuple[int, int, int]]:
    """Return order id, price and quantity of each fill."""
    rows = events[events["kind"] == FILLED]
    return [(int(e["order_id"]), int(e["price_ticks"]), int(e["qty_lots"])) for e in rows]


def only_cause(events: Events) -> Cause:
    assert len(events) == 1, told(events)
    return Cause(int(events[0]["cause"]))


def a_book(*orders: tuple[int, Side, int, int], rules: TradingRules | None = None, **options: int) -> OrderBook:
    """Return a book with (order id, side, price, lots) resting in it."""
    book = OrderBook(rules, **options)  # type: ignore[arg-type]
    for order_id, side, price, lots in orders:
        book.place(side, price_ticks=price, qty_lots=lots, order_id=order_id)
    return book


ASKS = ((1, SELL, 101, 5), (2, SELL, 100, 3), (3, SELL, 100, 4), (4, SELL, 102, 9))


@pytest.mark.parametrize(
    ("limit", "lots", "expected"),
    [
        (100, 2, [(2, 100, 2)]),  # the first at the best price
        (100, 5, [(2, 100, 3), (3, 100, 2)]),  # then the second there
        (100, 50, [(2, 100, 3), (3, 100, 4)]),  # never above the limit
        (101, 9, [(2, 100, 3), (3, 100, 4), (1, 101, 2)]),  # the better price first, though it came later
        (99, 1, []),
    ],
)
def test_better_prices_first_then_first_come(limit: int, lots: int, expected: list[tuple[int, int, int]]) -> None:
    events = a_book(*ASKS).place(BUY, price_ticks=limit, qty_lots=lots, order_id=9)
    assert [fill for fill in fills(events) if fill[0] != 9] == expected
    assert sum(lots for order_id, _, lots in fills(events) if order_id == 9) == sum(fill[2] for fill in expected)


def test_both_sides_of_a_trade_are_told() -> None:
    book = a_book((1, SELL, 100, 3))
    events = book.place(BUY, price_ticks=105, qty_lots=5, order_id=2, owner=4)
    assert told(events) == [("ACCEPTED", 2, 5, 5), ("FILLED", 2, 3, 2), ("FILLED", 1, 3, 0)]
    taker, maker = events[1], events[2]
    assert (taker["liquidity"], maker["liquidity"]) == (LiquidityCode.TAKER, LiquidityCode.MAKER)
    assert taker["match_id"] == maker["match_id"] == 1
    assert taker["price_ticks"] == maker["price_ticks"] == 100  # the resting order's price
    assert (taker["owner"], maker["owner"]) == (4, 0)
    assert events["sequence"].tolist() == [2, 3, 4]
    assert book.depth(BUY, 5).tolist() == [[105, 2, 1]]
    assert (book.best(BUY), book.best(SELL)) == (105, None)


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ({"price_ticks": 101, "time_in_force": IOC}, Cause.TIME_IN_FORCE),
        ({"price_ticks": 101, "time_in_force": FOK}, Cause.CANNOT_FILL_COMPLETELY),
        ({"order_type": MARKET}, Cause.NO_LIQUIDITY),
        ({"order_type": MARKET, "time_in_force": FOK}, Cause.CANNOT_FILL_COMPLETELY),
    ],
)
def test_what_never_rests_expires(options: dict[str, int], end: Cause) -> None:
    book = a_book((1, SELL, 100, 3), (2, SELL, 101, 4))
    events = book.place(BUY, qty_lots=20, order_id=3, **options)  # type: ignore[arg-type]
    assert events[-1]["kind"] == EXPIRED
    assert events[-1]["cause"] == end
    # Fill or kill trades nothing: 7 of 20 were there. The others took all 7.
    assert book.traded_lots == (0 if end is Cause.CANNOT_FILL_COMPLETELY else 7)
    assert book.best(BUY) is None


def test_fill_or_kill_fills_when_it_can_hidden_quantity_included() -> None:
    book = OrderBook()
    book.place(SELL, price_ticks=100, qty_lots=10, display_lots=2, order_id=1)
    events = book.place(BUY, price_ticks=100, qty_lots=10, order_id=2, time_in_force=FOK)
    assert sum(lots for order_id, _, lots in fills(events) if order_id == 2) == 10


def test_an_iceberg_renews_at_the_back_of_the_queue() -> None:
    book = OrderBook()
    book.place(SELL, price_ticks=100, qty_lots=10, display_lots=4, order_id=1)
    book.place(SELL, price_ticks=100, qty_lots=3, order_id=2)
    assert book.depth(SELL, 1).tolist() == [[100, 7, 2]]  # 4 displayed of 10, and 3
    events = book.place(BUY, price_ticks=100, qty_lots=9, order_id=9)
    assert [fill for fill in fills(events) if fill[0] != 9] == [(1, 100, 4), (2, 100, 3), (1, 100, 2)]
    assert book.depth(SELL, 1).tolist() == [[100, 2, 1]]  # 2 of the renewed 4; 2 more are hidden
    restated = events[events["kind"] == EventKind.RESTATED]
    assert restated["cause"].tolist() == [Cause.DISPLAY_REFRESH]
    book.check_invariants()


def test_post_only_is_rejected_if_it_would_take() -> None:
    book = a_book((1, SELL, 100, 3))
    assert only_cause(book.place(BUY, price_ticks=100, qty_lots=1, post_only=True)) is Cause.POST_ONLY_WOULD_TAKE
    assert told(book.place(BUY, price_ticks=99, qty_lots=1, order_id=5, post_only=True)) == [("ACCEPTED", 5, 1, 1)]
    amended = book.amend(5, price_ticks=100)
    assert (EventKind(int(amended[0]["kind"])), only_cause(amended)) == (EventKind.REFUSED, Cause.POST_ONLY_WOULD_TAKE)


@pytest.mark.parametrize(
    ("change", "queue"),
    [
        ({"qty_lots": 2}, [1, 2]),  # shrunk: keeps its place
        ({"qty_lots": 6}, [2, 1]),  # grown: to the back
        ({"price_ticks": 101, "qty_lots": 2}, [2, 1]),  # another price: the order at 100 is now first
    ],
)
def test_only_shrinking_keeps_the_place(change: dict[str, int], queue: list[int]) -> None:
    book = a_book((1, SELL, 100, 5), (2, SELL, 100, 5))
    book.amend(1, **change)
    events = book.place(BUY, order_type=MARKET, qty_lots=50, order_id=9)
    assert [order_id for order_id, _, _ in fills(events) if order_id != 9] == queue


def test_an_amended_order_may_trade_and_total_quantity_counts() -> None:
    book = a_book((1, SELL, 100, 5), (2, BUY, 99, 8))
    book.place(SELL, price_ticks=99, qty_lots=3, order_id=3)  # 3 of order 2 are executed
    assert only_cause(book.amend(2, qty_lots=3)) is Cause.QTY_EXECUTED
    events = book.amend(2, price_ticks=100, qty_lots=9)  # 9 - 3 = 6 open, of which 5 trade
    assert told(events) == [("AMENDED", 2, 9, 6), ("FILLED", 2, 5, 1), ("FILLED", 1, 5, 0)]


def test_only_the_owner_or_the_venue_cancels() -> None:
    book = OrderBook()
    book.place(BUY, price_ticks=10, qty_lots=1, order_id=1, owner=3)
    assert only_cause(book.cancel(1, owner=4)) is Cause.UNKNOWN_ORDER
    assert told(book.cancel(1)) == [("CANCELED", 1, 1, 0)]
    assert only_cause(book.cancel(1)) is Cause.UNKNOWN_ORDER


def test_mass_actions() -> None:
    book = OrderBook()
    for order_id, side, owner in ((1, BUY, 3), (2, SELL, 3), (3, BUY, 4), (4, BUY, 3)):
        book.place(side, price_ticks=50 - side, qty_lots=1, order_id=order_id, owner=owner)
    assert [row[1] for row in told(book.cancel_all(3, BUY))] == [1, 4]
    assert [row[1] for row in told(book.suspend(3))] == [2]
    assert only_cause(book.place(BUY, price_ticks=5, qty_lots=1, owner=3)) is Cause.OWNER_SUSPENDED
    book.release(3)
    assert told(book.place(BUY, price_ticks=5, qty_lots=1, owner=3, order_id=8)) == [("ACCEPTED", 8, 1, 1)]
    assert [row[1] for row in told(book.cancel_all())] == [3, 8]
    assert book.open_orders == 0


@pytest.mark.parametrize(
    ("mode", "expected", "left"),
    [
        (SelfTrade.NONE, [("FILLED", 2, 3, 4), ("FILLED", 1, 3, 0)], 4),
        (SelfTrade.CANCEL_NEWEST, [("CANCELED", 2, 7, 0)], 0),
        (SelfTrade.CANCEL_OLDEST, [("CANCELED", 1, 3, 0)], 7),
        (SelfTrade.CANCEL_BOTH, [("CANCELED", 1, 3, 0), ("CANCELED", 2, 7, 0)], 0),
        (SelfTrade.DECREMENT, [("RESTATED", 2, 3, 4), ("CANCELED", 1, 3, 0)], 4),  # 7 - 3 = 4 stay, nothing trades
    ],
)
def test_self_trade_prevention(mode: SelfTrade, expected: list[tuple[str, int, int, int]], left: int) -> None:
    book = OrderBook()
    book.place(SELL, price_ticks=100, qty_lots=3, order_id=1, owner=5)
    events = book.place(BUY, price_ticks=100, qty_lots=7, order_id=2, owner=5, self_trade=mode)
    assert told(events)[1:] == expected
    assert book.depth(BUY, 1)[:, 1].sum() == left


def test_the_anonymous_flow_may_trade_with_itself() -> None:
    book = a_book((1, SELL, 100, 3))
    events = book.place(BUY, price_ticks=100, qty_lots=3, order_id=2, self_trade=SelfTrade.CANCEL_BOTH)
    assert fills(events) == [(2, 100, 3), (1, 100, 3)]


def test_stops_wait_for_their_price_and_set_each_other_off() -> None:
    book = a_book((1, SELL, 100, 1), (2, SELL, 101, 1), (3, SELL, 103, 1), (4, SELL, 104, 5))
    book.place(BUY, order_type=STOP, stop_ticks=101, qty_lots=1, order_id=10)
    book.place(BUY, order_type=STOP_LIMIT, stop_ticks=103, price_ticks=103, qty_lots=2, order_id=11)
    book.place(BUY, price_ticks=100, qty_lots=1, order_id=20)  # trades at 100: reaches nobody
    assert book.open_orders == 5
    events = book.place(BUY, price_ticks=101, qty_lots=1, order_id=21)
    # 101 sets off order 10, which trades at 103 and sets off 11, which finds 104 above its limit and rests.
    assert [row[:2] for row in told(events)] == [
        ("ACCEPTED", 21), ("FILLED", 21), ("FILLED", 2), ("TRIGGERED", 10), ("FILLED", 10), ("FILLED", 3), ("TRIGGERED", 11),
    ]  # fmt: skip
    assert book.depth(BUY, 1).tolist() == [[103, 2, 1]]


def test_a_stop_that_is_reached_already_acts_at_once() -> None:
    book = a_book((1, SELL, 100, 1), (2, BUY, 90, 5))
    book.place(BUY, price_ticks=100, qty_lots=1)
    events = book.place(SELL, order_type=STOP, stop_ticks=100, qty_lots=2, order_id=7)
    assert [row[0] for row in told(events)] == ["ACCEPTED", "TRIGGERED", "FILLED", "FILLED"]


def test_orders_end_in_the_order_of_their_ends() -> None:
    book = OrderBook()
    for order_id, expire_ts in ((1, 30), (2, 10), (3, 20), (4, 10)):
        book.place(BUY, price_ticks=5, qty_lots=1, order_id=order_id, time_in_force=GTD, expire_ts=expire_ts)
    events = book.advance_to(20)
    assert events["order_id"].tolist() == [2, 4, 3]
    assert events["ts"].tolist() == [10, 10, 20]
    assert set(events["cause"].tolist()) == {Cause.EXPIRE_TIME}
    late = book.place(BUY, price_ticks=5, qty_lots=1, time_in_force=GTD, expire_ts=20)
    assert only_cause(late) is Cause.INVALID_EXPIRY
    assert only_cause(book.advance_to(19)) is Cause.INVALID_TIME


AUCTIONS = [
    # Volume decides: at 101, 30 can trade, elsewhere fewer.
    ([(BUY, 102, 20), (BUY, 101, 10), (SELL, 100, 15), (SELL, 101, 15)], 0, 101, 30),
    # Alike in volume: at 100 and 101 10 trade, but 12 are bid at 100; 101 leaves nobody out.
    ([(BUY, 101, 10), (BUY, 100, 2), (SELL, 100, 10)], 0, 101, 10),
    # Alike in both: any of 100 .. 104 trades 10; the nearest to the reference.
    ([(BUY, 104, 10), (SELL, 100, 10)], 103, 103, 10),
    ([(BUY, 104, 10), (SELL, 100, 10)], 200, 104, 10),
    # Without reference and last price: the middle.
    ([(BUY, 104, 10), (SELL, 100, 10)], 0, 102, 10),
]


@pytest.mark.parametrize(("orders", "reference", "price", "volume"), AUCTIONS)
def test_the_price_of_an_auction(orders: list[tuple[Side, int, int]], reference: int, price: int, volume: int) -> None:
    book = OrderBook(phase=Phase.PRE_OPEN)
    if reference:
        book.set_reference(reference)
    for side, limit, lots in orders:
        assert told(book.place(side, price_ticks=limit, qty_lots=lots))[0][0] == "ACCEPTED"
    events = book.enter(Phase.CONTINUOUS)
    assert {row[1] for row in fills(events)} == {price}
    assert set(events[:-1]["liquidity"].tolist()) == {LiquidityCode.AUCTION}
    assert (events[-1]["kind"], events[-1]["liquidity"]) == (EventKind.PHASE_CHANGED, Phase.CONTINUOUS)
    assert (events[-1]["price_ticks"], events[-1]["qty_lots"]) == (price, volume)
    assert int(book.state.head["reference_ticks"][0]) == price
    book.check_invariants()


@pytest.mark.parametrize(
    ("phase", "options", "cause"),
    [
        (Phase.PRE_OPEN, {"order_type": MARKET}, Cause.WRONG_PHASE),
        (Phase.CLOSING_AUCTION, {"price_ticks": 5, "time_in_force": IOC}, Cause.WRONG_PHASE),
        (Phase.VOLATILITY_AUCTION, {"price_ticks": 5, "post_only": True}, Cause.WRONG_PHASE),
        (Phase.HALT, {"price_ticks": 5}, Cause.WRONG_PHASE),
        (Phase.CLOSED, {"price_ticks": 5}, Cause.WRONG_PHASE),
        (Phase.HALT, {"price_ticks": 5, "order_type": STOP_LIMIT, "stop_ticks": 6}, Cause.WRONG_PHASE),
    ],
)
def test_what_a_phase_does_not_take(phase: Phase, options: dict[str, int], cause: Cause) -> None:
    assert only_cause(OrderBook(phase=phase).place(BUY, qty_lots=1, **options)) is cause  # type: ignore[arg-type]


def test_a_halt_takes_cancels_and_nothing_else() -> None:
    book = a_book((1, BUY, 10, 1))
    book.enter(Phase.HALT)
    assert only_cause(book.amend(1, qty_lots=1)) is Cause.WRONG_PHASE
    assert told(book.cancel(1)) == [("CANCELED", 1, 1, 0)]


def test_a_trade_outside_the_band_becomes_an_auction() -> None:
    rules = TradingRules(static_band_ticks=3, volatility_auction_ns=100)
    book = a_book((1, SELL, 102, 1), (2, SELL, 104, 1), rules=rules)
    book.set_reference(100)
    events = book.place(BUY, price_ticks=104, qty_lots=5, order_id=9)
    # 102 is within 100 +- 3, 104 is not: what is left waits for the auction, and the book is crossed meanwhile.
    assert [row[:2] for row in told(events)] == [("ACCEPTED", 9), ("FILLED", 9), ("FILLED", 1), ("PHASE_CHANGED", 0)]
    assert book.phase is Phase.VOLATILITY_AUCTION
    assert (book.best(BUY), book.best(SELL)) == (104, 104)
    assert len(book.advance_to(99)) == 0
    ended = book.advance_to(150)
    assert fills(ended) == [(9, 104, 1), (2, 104, 1)]
    assert set(ended["ts"].tolist()) == {100}
    assert (book.phase, book.clock_ts) == (Phase.CONTINUOUS, 150)


def test_the_dynamic_band_follows_the_last_price() -> None:
    book = a_book((1, SELL, 100, 1), (2, SELL, 102, 1), (3, SELL, 104, 1), rules=TradingRules(dynamic_band_ticks=2))
    for price in (100, 102, 104):  # each within 2 of the last one
        book.place(BUY, price_ticks=price, qty_lots=1)
    assert (book.phase, book.last_ticks) == (Phase.CONTINUOUS, 104)
    book.place(SELL, price_ticks=101, qty_lots=1)
    book.place(BUY, order_type=MARKET, qty_lots=1)  # 101 is 3 away
    assert book.phase is Phase.VOLATILITY_AUCTION


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"price_ticks": 102, "qty_lots": 4}, Cause.PRICE_STEP),
        ({"price_ticks": 100, "qty_lots": 3}, Cause.QTY_STEP),
        ({"price_ticks": 100, "qty_lots": 102}, Cause.INVALID_QTY),
        ({"price_ticks": 100, "qty_lots": 0}, Cause.INVALID_QTY),
        ({"price_ticks": 0, "qty_lots": 4}, Cause.INVALID_PRICE),
        ({"price_ticks": 100, "qty_lots": 2}, Cause.NOTIONAL_MIN),  # 200 < 300
        ({"price_ticks": 125, "qty_lots": 4}, Cause.PRICE_COLLAR),  # 25 from 100
        ({"price_ticks": 100, "qty_lots": 4, "owner": 5000}, Cause.UNKNOWN_OWNER),
        ({"price_ticks": 100, "qty_lots": 4, "order_id": -1}, Cause.INVALID_ORDER_ID),
        ({"price_ticks": 100, "qty_lots": 4, "stop_ticks": 5}, Cause.INVALID_STOP),
        ({"price_ticks": 100, "qty_lots": 4, "display_lots": 6}, Cause.INVALID_DISPLAY),
        ({"price_ticks": 100, "qty_lots": 4, "order_id": 77}, Cause.DUPLICATE_ORDER_ID),
    ],
)
def test_filters(options: dict[str, int], cause: Cause) -> None:
    rules = TradingRules(price_step_ticks=5, lot_step=2, qty_lots_max=100, notional_min=300, collar_ticks=20)
    book = OrderBook(rules)
    book.set_reference(100)
    book.place(BUY, price_ticks=100, qty_lots=4, order_id=77)
    assert only_cause(book.place(BUY, **options)) is cause  # type: ignore[arg-type]


def test_a_market_order_trades_no_further_than_the_collar() -> None:
    book = a_book((1, SELL, 100, 1), (2, SELL, 121, 1), rules=TradingRules(collar_ticks=20))
    book.set_reference(100)
    events = book.place(BUY, order_type=MARKET, qty_lots=2, order_id=3)
    assert fills(events) == [(3, 100, 1), (1, 100, 1)]
    assert events[-1]["cause"] == Cause.PRICE_COLLAR


def test_an_uncertain_counterparty() -> None:
    """With probability 0 nobody ever trades with the order: takers pass it over and it keeps its place."""
    book = OrderBook()
    book.place(SELL, price_ticks=100, qty_lots=5, order_id=1, execution_probability=0.0)
    book.place(SELL, price_ticks=100, qty_lots=5, order_id=2)
    events = book.place(BUY, price_ticks=100, qty_lots=7, order_id=3)
    assert fills(events) == [(3, 100, 5), (2, 100, 5)]
    ioc = book.place(BUY, price_ticks=100, qty_lots=7, order_id=4, time_in_force=IOC, execution_probability=0.0)
    assert (ioc[-1]["kind"], ioc[-1]["cause"]) == (EXPIRED, Cause.NOT_THERE)
    book.check_invariants()


def test_executions_are_missed_as_often_as_asked() -> None:
    book = OrderBook(TradingRules(seed=3))
    trials, missed = 2_000, 0
    for _ in range(trials):
        book.place(SELL, price_ticks=100, qty_lots=1, order_id=1, execution_probability=0.7)
        missed += len(fills(book.place(BUY, price_ticks=100, qty_lots=1, time_in_force=IOC))) == 0
        book.cancel_all()
    # Binomial: 600 expected, standard deviation sqrt(2000 x 0.3 x 0.7) = 20.5.
    assert abs(missed - 600) < 4 * 20.5


def test_price_impact_adds_up_to_the_executed_part() -> None:
    book = a_book((1, SELL, 100, 3))
    book.place(BUY, price_ticks=100, qty_lots=4, order_id=2, price_impact=0.01)
    # 3 of 4 executed: 0.01 x 3/4 = 7.5e-3.
    assert int(book.state.head["impact_e12"][0]) == 7_500_000_000


def test_far_prices_many_orders_and_growth() -> None:
    book = OrderBook(orders=2, pages=2, events=9)
    prices = [1, 1_000, 10**6, 10**9, 10**12, 5, 10**12 - 1]
    commands = new_commands(len(prices) * 100)
    commands["kind"] = Command.NEW
    commands["side"], commands["qty_lots"] = 1, 1
    commands["price_ticks"] = np.tile(prices, 100)
    commands["order_id"] = np.arange(1, len(commands) + 1)
    book.execute(commands)
    book.check_invariants()
    assert book.depth(BUY, 10).tolist() == [[price, 100, 100] for price in sorted(prices, reverse=True)]
    swept = book.place(SELL, order_type=MARKET, qty_lots=1_000)
    assert len(fills(swept)) == 2 * len(commands)
    book.check_invariants()
    # Grown or new, records that fill a cache line do not straddle two.
    for state in (book.state, OrderBook().state):
        assert [array.ctypes.data % CACHE_LINE for array in (state.orders, state.levels, state.events)] == [0, 0, 0]


def test_ids_may_be_any_and_may_come_again() -> None:
    book = OrderBook()
    ids = [1, 2**62, 17, 2**40 + 1, 1 << 20]
    for order_id in ids:
        book.place(BUY, price_ticks=10, qty_lots=1, order_id=order_id)
    assert told(book.place(BUY, price_ticks=10, qty_lots=1))[0][1] == -1
    for order_id in [*ids, -1]:
        assert told(book.cancel(order_id)) == [("CANCELED", order_id, 1, 0)]
    assert told(book.place(BUY, price_ticks=10, qty_lots=1, order_id=17)) == [("ACCEPTED", 17, 1, 1)]


def test_the_documented_example_runs() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "concepts" / "matching.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


def test_the_example_of_the_class_runs() -> None:
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    tests = [each for each in finder.find(OrderBook, globs={"OrderBook": OrderBook, "Side": Side}) if each.examples]
    assert tests
    assert sum(runner.run(each).failed for each in tests) == 0


def test_rules_and_commands_are_checked_at_the_door() -> None:
    with pytest.raises(InvalidRequest, match="collar_ticks"):
        TradingRules(collar_ticks=-1)
    with pytest.raises(InvalidRequest, match="qty_lots_max"):
        TradingRules(qty_lots_max=2**41)
    with pytest.raises(InvalidRequest, match="commands"):
        OrderBook().execute(np.zeros(3, np.int64))
    with pytest.raises(InvalidRequest, match="execution_probability"):
        OrderBook().place(BUY, qty_lots=1, price_ticks=1, execution_probability=1.5)
    with pytest.raises(InvalidRequest, match="events"):
        OrderBook(events=8)
