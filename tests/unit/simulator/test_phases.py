"""Phases and rules of a running market: auctions with our orders in them, interruptions, and what a restart finds."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from market_maker.domain.errors import Conflict, InvalidRequest
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Order, OrderStatus, SelfTradePrevention, Side
from market_maker.matching.book import OrderBook
from market_maker.matching.codes import EventKind, Phase
from market_maker.simulator.books import snapshot
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.session import SessionRules
from market_maker.simulator.validation import session_rules
from unit.simulator.test_exchange import an_order, facts, log_of, restarted, trade_at_random
from venue_builders import DELAY, START, Desk, an_exchange, an_instrument

SECOND = 1_000_000_000


def phases(exchange: SimulatedExchange) -> list[tuple[str, bool]]:
    return [
        (event.data["phase"], event.data["interruption"])
        for event in exchange.changes.events
        if event.type == "simulator.session.phase_changed"
    ]


@pytest.mark.parametrize("seed", range(60))
def test_the_indicative_price_is_what_the_auction_trades(seed: int) -> None:
    chance = random.Random(seed)
    book = OrderBook(phase=Phase.PRE_OPEN)
    if chance.random() < 0.5:
        book.set_reference(chance.randint(90, 110))
    for number in range(1, chance.randint(2, 30)):
        lots = chance.randint(1, 50)
        display = chance.choice([0, 0, max(1, lots // 3)])
        price = chance.randint(95, 105)
        book.place(
            chance.choice(list(Side)), qty_lots=lots, price_ticks=price, order_id=number, display_lots=display, owner=1
        )
    told = book.indicative()
    events = book.enter(Phase.CONTINUOUS)
    (changed,) = events[events["kind"] == EventKind.PHASE_CHANGED].tolist()
    assert (changed[8], changed[9]) == (told or (0, 0))
    assert book.indicative() is None


def test_our_orders_trade_in_an_opening_auction_and_the_ledger_is_exact() -> None:
    desk = Desk()
    desk.venue.enter_phase(Phase.PRE_OPEN, desk.ts)
    buy = desk.put(Side.BUY, 10_010, 30)
    sell = desk.put(Side.SELL, 9_990, 10)
    desk.quote(Side.SELL, 10_000, 15)
    market = desk.put(Side.BUY, 0, 5)
    assert (market.status, market.reject_reason) == (OrderStatus.REJECTED, "WRONG_PHASE")
    assert [order.status for order in (buy, sell)] == [OrderStatus.NEW] * 2
    found = desk.market.indicative()
    assert found is not None
    assert found[1] == 25
    desk.venue.enter_phase(Phase.CONTINUOUS, desk.ts)
    assert (sell.status, buy.status, buy.leaves_lots) == (OrderStatus.FILLED, OrderStatus.PARTIALLY_FILLED, 5)
    prints = desk.venue.changes.prints
    assert sorted(trade.qty_lots for trade in prints) == [10, 15]
    assert {trade.price_ticks for trade in prints} == {found[0]}
    fills = desk.venue.changes.fills
    assert sorted(fill.qty_lots for fill in fills) == [10, 10, 15]
    positions = desk.venue.positions.values()
    assert sum(position.qty_lots for position in positions) == 0
    assert sum(position.cash_tick_lots for position in positions) == 0
    assert desk.venue.position_for(MARKET_ACCOUNT_ID, None).qty_lots == -15
    ends = [event.data for event in desk.venue.changes.events if event.type == "simulator.session.phase_changed"]
    assert [(each["phase"], each["auction_amount"]) for each in ends] == [("PRE_OPEN", None), ("CONTINUOUS", "0.025")]


def test_a_halt_takes_cancels_alone() -> None:
    desk = Desk()
    resting = desk.put(Side.BUY, 9_900, 10)
    desk.venue.enter_phase(Phase.HALT, desk.ts)
    assert desk.put(Side.BUY, 9_900, 10).reject_reason == "WRONG_PHASE"
    desk.venue.request_cancel(resting, desk.ts, desk.ts + DELAY, "")
    desk.arrive()
    assert resting.status is OrderStatus.CANCELED


def test_a_market_goes_through_a_day() -> None:
    exchange = an_exchange(first_phase=Phase.PRE_OPEN)
    exchange.begin()
    exchange.advance_to(START + SECOND)
    assert exchange.changes.prints == []
    assert snapshot(exchange, 5).phase == "PRE_OPEN"
    top = exchange.market.book.best(Side.SELL)
    assert top is not None
    mine = resting(exchange, START + SECOND, Side.BUY, top + 20, 5_000)
    exchange.advance_to(START + SECOND + 2 * DELAY)
    shown = snapshot(exchange, 5)
    assert shown.indicative is not None
    exchange.venue.enter_phase(Phase.CONTINUOUS, exchange.last_ts)
    assert mine.cum_qty_lots > 0
    prices = {trade.price_ticks for trade in exchange.changes.prints}
    assert {exchange.instrument.ticks_to_price(price) for price in prices} == {shown.indicative.price}
    traded = len(exchange.changes.prints)
    exchange.advance_to(START + 3 * SECOND)
    assert len(exchange.changes.prints) > traded
    exchange.venue.enter_phase(Phase.CLOSING_AUCTION, exchange.last_ts)
    exchange.advance_to(START + 4 * SECOND)
    exchange.venue.enter_phase(Phase.CLOSED, exchange.last_ts)
    book = exchange.market.depth(Side.BUY, 50).tolist()
    exchange.advance_to(START + 5 * SECOND)
    assert exchange.market.depth(Side.BUY, 50).tolist() == book, "nobody trades"
    with pytest.raises(Conflict, match="CLOSED"):
        exchange.execute_trade(Side.BUY, 10_000, 1, START + 5 * SECOND)
    assert [name for name, _ in phases(exchange)] == ["PRE_OPEN", "CONTINUOUS", "CLOSING_AUCTION", "CLOSED"]


def resting(exchange: SimulatedExchange, ts: int, side: Side, price: int, lots: int) -> Order:
    order = an_order(exchange, ts)
    order.order_type, order.time_in_force = type(order.order_type)(0), type(order.time_in_force)(0)
    order.side, order.price_ticks, order.qty_lots = side, price, lots
    exchange.venue.accept(order, "")
    return order


def test_a_trade_out_of_the_band_interrupts_and_the_auction_ends_by_itself() -> None:
    exchange = an_exchange(
        balance="1000000000", rules=SessionRules(dynamic_band_ticks=120, volatility_auction_ns=SECOND)
    )
    exchange.begin()
    checkpoint = exchange.market.dump()
    exchange.advance_to(START + SECOND)
    exchange.take_changes()
    exchange.advance_to(START + 2 * SECOND)
    top = exchange.market.book.best(Side.SELL)
    assert top is not None
    resting(exchange, START + 2 * SECOND, Side.BUY, top + 2_000, 10_000_000)
    log = log_of(exchange)
    before = exchange.market.clock_ts
    exchange.advance_to(START + 2 * SECOND + 2 * DELAY)
    assert phases(exchange) == [("VOLATILITY_AUCTION", True)]
    exchange.advance_to(START + 4 * SECOND)
    assert phases(exchange)[1] == ("CONTINUOUS", False)
    assert exchange.market.clock_ts > before
    assert checkpoint
    assert log


@pytest.mark.parametrize("seed", [1, 2])
def test_a_restart_in_an_auction_changes_nothing(seed: int) -> None:
    exchange = an_exchange(first_phase=Phase.PRE_OPEN, rules=SessionRules(collar_ticks=300, notional_min=1_000))
    exchange.begin()
    exchange.venue.position_for(MARKET_ACCOUNT_ID, None)  # made now: its id is drawn
    checkpoint = exchange.market.dump()
    exchange.take_changes()
    last = trade_at_random(exchange, seed, START, START + SECOND)
    again = restarted(exchange, checkpoint, log_of(exchange))
    assert again.state_hash() == exchange.state_hash()
    assert snapshot(again, 5) == snapshot(exchange, 5)
    exchange.take_changes()
    for each in (exchange, again):
        each.venue.enter_phase(Phase.CONTINUOUS, each.last_ts)
        trade_at_random(each, seed + 7, last, last + SECOND)
    assert facts(exchange) == facts(again)
    assert exchange.state_hash() == again.state_hash()


def test_filters_of_a_session_refuse_and_go_with_the_reference_price() -> None:
    exchange = an_exchange(rules=SessionRules(collar_ticks=50, notional_min=100_000))
    exchange.begin()
    far = resting(exchange, START + 1, Side.BUY, 9_000, 1_000)
    small = resting(exchange, START + 2, Side.BUY, 9_990, 1)
    fine = resting(exchange, START + 3, Side.BUY, 9_960, 1_000)
    exchange.advance_to(START + 2 * DELAY)
    assert (far.reject_reason, small.reject_reason) == ("PRICE_COLLAR", "NOTIONAL_MIN")
    assert fine.reject_reason is None
    exchange.market.jump(-0.1)
    exchange.advance_to(START + SECOND)
    again = resting(exchange, START + SECOND, Side.BUY, exchange.market.reference_ticks - 10, 1_000)
    exchange.advance_to(START + SECOND + 2 * DELAY)
    assert again.reject_reason is None, "the collar is around the reference price of the last step"


def test_rules_are_read_exactly() -> None:
    instrument = an_instrument()
    rules = session_rules(
        {
            "price_collar": Decimal("500.00"), "min_notional": Decimal("10.000001"), "volatility_auction_ns": SECOND,
            "self_trade_prevention": SelfTradePrevention.DECREMENT,
        },
        instrument,
    )  # fmt: skip
    # A tick-lot is 0.01 x 0.001 = 0.00001 USDT: 10.000001 / 0.00001 = 1000000.1 and up.
    assert rules == SessionRules(50_000, 1_000_001, 0, 0, SECOND, int(SelfTradePrevention.DECREMENT))
    assert session_rules({}, instrument) == SessionRules()
    for wrong, field in (
        ({"price_collar": Decimal("0.001")}, "rules.price_collar"), ({"static_band": Decimal(-1)}, "rules.static_band"),
        ({"min_notional": Decimal(0)}, "rules.min_notional"),
        ({"volatility_auction_ns": 10**15}, "rules.volatility_auction"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            session_rules(wrong, instrument)
        assert caught.value.errors[0].field == field
