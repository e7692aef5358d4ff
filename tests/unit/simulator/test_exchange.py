"""One pair's whole market: the same seed and commands give the same market, also across a restart (R7, R10)."""

from __future__ import annotations

import copy
import itertools
import random
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.simulator.exchange import LOOK_NS, SOON_NS, SimulatedExchange, replayed
from market_maker.simulator.market_memory import market_digest
from market_maker.venue.commands import ROW_BYTES
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.venue import open_orders_of
from venue_builders import ACCOUNT, DELAY, PAIR, START, a_session, an_exchange, an_instrument, some_funds

INTERVAL = 50_000_000


def trade_at_random(exchange: SimulatedExchange, seed: int, start: int, end: int) -> int:
    """Place and cancel at random instants in (start, end); return the last instant."""
    chance = random.Random(seed)
    ts = start
    while (ts := ts + chance.randrange(1, INTERVAL // 2)) < end:
        exchange.advance_to(ts)
        mid = exchange.market.reference_ticks
        position = exchange.venue.position_for(ACCOUNT, None)
        if chance.random() < 0.2 and exchange.venue.orders:
            order = exchange.venue.orders[chance.choice(sorted(exchange.venue.orders))]
            exchange.venue.request_cancel(order, ts, ts + DELAY, "")
            continue
        is_market = chance.random() < 0.2
        order = Order(
            order_id=UUID(int=(7 << 76) | (2 << 62) | ts),
            pair_id=PAIR,
            account_id=ACCOUNT,
            strategy_id=None,
            position_id=position.position_id,
            client_order_id=None,
            side=chance.choice(list(Side)),
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            time_in_force=TimeInForce.IOC if is_market else TimeInForce.GTC,
            post_only=False,
            price_ticks=0 if is_market else mid + chance.randint(-40, 40),
            qty_lots=chance.randint(1, 10_000),
            execution_probability=chance.choice([1.0, 0.7]),
            price_impact=chance.choice([0.0, 0.001]),
            created_ts=ts,
            arrival_ts=ts + DELAY,
            self_trade=chance.choice(list(SelfTradePrevention)),
        )
        exchange.venue.accept(order, "")
    return ts


def restarted(exchange: SimulatedExchange, checkpoint: bytes, log: list[bytes]) -> SimulatedExchange:
    """Return a new exchange made of what the database would hold."""
    session = copy.copy(exchange.session)
    session.sequence, session.market = exchange.venue.session_sequence, exchange.dump_state()
    again, fault = SimulatedExchange.load(an_instrument(), session, some_funds(), checkpoint=checkpoint, log=log)
    assert fault == ""
    for position in exchange.venue.positions.values():
        again.venue.add_position(copy.copy(position))
    orders = [copy.copy(order) for order in exchange.venue.orders.values()]
    random.Random(1).shuffle(orders)  # rows come in any order
    assert again.restore_orders(orders) == 0
    return again


def log_of(exchange: SimulatedExchange) -> list[bytes]:
    """Return what the market's log holds of the changes so far, as of two commits."""
    rows = exchange.changes.commands
    return [b"".join(rows[: len(rows) // 3]), b"".join(rows[len(rows) // 3 :])]


def facts(exchange: SimulatedExchange) -> list[Any]:
    changes = exchange.changes
    return [
        [(event.type, event.sequence, event.ts) for event in changes.events],
        [(fill.trade_id, fill.order_id, fill.price_ticks, fill.qty_lots, fill.fee_tick_lots) for fill in changes.fills],
        changes.mids,
    ]


def same_position_ids(*exchanges: SimulatedExchange) -> None:
    """Give positions made in different runs the same identities."""
    for exchange in exchanges:
        for number, account in enumerate((ACCOUNT, MARKET_ACCOUNT_ID)):
            position = exchange.venue.position_for(account, None)
            del exchange.venue.positions[position.position_id]
            position.position_id = UUID(int=number)
            exchange.venue.positions[position.position_id] = position


def test_the_same_seed_and_commands_give_the_same_market() -> None:
    exchanges = [an_exchange(), an_exchange()]
    same_position_ids(*exchanges)
    for exchange in exchanges:
        trade_at_random(exchange, 3, START, START + 40 * INTERVAL)
    assert len(exchanges[0].changes.fills) > 50
    assert facts(exchanges[0]) == facts(exchanges[1])
    assert exchanges[0].dump_state() == exchanges[1].dump_state()
    assert exchanges[0].market.dump() == exchanges[1].market.dump()
    assert exchanges[0].changes.commands == exchanges[1].changes.commands
    assert exchanges[0].state_hash() == exchanges[1].state_hash()


def test_another_seed_gives_another_market() -> None:
    first, second = an_exchange(seed=1), an_exchange(seed=2)
    for exchange in (first, second):
        exchange.advance_to(START + 5 * INTERVAL)
    assert first.market.dump() != second.market.dump()


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_changes_nothing(seed: int) -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    checkpoint = exchange.market.dump()
    last = trade_at_random(exchange, seed, START + INTERVAL, START + 20 * INTERVAL)
    again = restarted(exchange, checkpoint, log_of(exchange))
    assert again.state_hash() == exchange.state_hash()
    assert again.dump_state() == exchange.dump_state()
    assert again.market.dump() == exchange.market.dump()
    funds = [each.venue.funds[ACCOUNT].pairs[PAIR] for each in (exchange, again)]
    assert funds[0] == funds[1]
    exchange.take_changes()
    for each in (exchange, again):  # and both go on alike
        trade_at_random(each, seed + 100, last, last + 20 * INTERVAL)
    assert facts(again) == facts(exchange)
    assert again.state_hash() == exchange.state_hash()


def test_a_log_done_twice_gives_the_same_bytes() -> None:
    exchange = an_exchange()
    begin = exchange.market.dump()
    trade_at_random(exchange, 9, START, START + 30 * INTERVAL)
    log, end_ts = log_of(exchange), exchange.market.clock_ts
    assert sum(len(rows) for rows in log) > 50 * ROW_BYTES
    again = [replayed(SyntheticMarket.load(begin), log, end_ts).dump() for _ in range(2)]
    assert again == [exchange.market.dump()] * 2


@pytest.mark.parametrize("checkpoint", [None, b"", b"nonsense"])
def test_a_market_that_cannot_be_read_begins_anew_with_the_orders_that_are_open(checkpoint: bytes | None) -> None:
    exchange = an_exchange()
    trade_at_random(exchange, 5, START, START + 20 * INTERVAL)
    session = copy.copy(exchange.session)
    session.sequence, session.market = exchange.venue.session_sequence, exchange.dump_state()
    again, fault = SimulatedExchange.load(an_instrument(), session, some_funds(), checkpoint=checkpoint, log=[b"lost"])
    assert fault
    assert again.market.reference_ticks == exchange.market.reference_ticks
    orders = [copy.copy(order) for order in exchange.venue.orders.values()]
    for position in exchange.venue.positions.values():
        again.venue.add_position(copy.copy(position))
    arrived = [order for order in orders if order.priority]
    assert len(arrived) > 3
    assert again.restore_orders(orders) == len(arrived)
    held = open_orders_of(again.market.book.state.orders)
    assert len(held) == len([order for order in again.venue.orders.values() if order.priority])
    again.advance_to(START + 40 * INTERVAL)
    assert again.step > 10


def test_the_hash_tells_every_difference() -> None:
    exchange = an_exchange()
    trade_at_random(exchange, 1, START, START + 10 * INTERVAL)
    seen = {exchange.state_hash()}
    position = exchange.venue.position_for(ACCOUNT, None)
    position.cash_tick_lots += 1
    seen.add(exchange.state_hash())
    exchange.market.book.place(Side.BUY, price_ticks=1, qty_lots=1)
    seen.add(exchange.state_hash())
    exchange.market.flow.head["draws"] += 1
    seen.add(exchange.state_hash())
    assert len(seen) == 4


def test_things_happen_in_order_of_time_and_the_market_moves_first() -> None:
    exchange = an_exchange()
    trade_at_random(exchange, 2, START, START + 3 * INTERVAL)
    exchange.take_changes()
    exchange.advance_to(START + 60 * INTERVAL)
    times = [event.ts for event in exchange.changes.events]
    assert times == sorted(times)
    steps = [ts for ts, _ in exchange.changes.mids]
    assert steps == sorted(set(steps))


def test_one_long_step_is_the_same_as_many_short_ones() -> None:
    whole, parts = an_exchange(), an_exchange()
    same_position_ids(whole, parts)
    trade_at_random(whole, 4, START, START + 2 * INTERVAL)
    trade_at_random(parts, 4, START, START + 2 * INTERVAL)
    for exchange in (whole, parts):
        exchange.advance_to(START + 2 * INTERVAL)
    whole.advance_to(START + 3 * INTERVAL - 1)
    for ts in range(START + 2 * INTERVAL, START + 3 * INTERVAL, INTERVAL // 10):
        parts.advance_to(ts)
    parts.advance_to(START + 3 * INTERVAL - 1)
    assert facts(whole) == facts(parts)
    assert whole.state_hash() == parts.state_hash()


def test_after_a_standstill_the_market_goes_on_from_where_it_was() -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    clock_ts = exchange.market.clock_ts
    exchange.advance_to(START + 1000 * INTERVAL)
    assert exchange.market.clock_ts == clock_ts
    exchange.advance_to(START + 1001 * INTERVAL)
    assert exchange.market.clock_ts == clock_ts + INTERVAL
    assert START + 1000 * INTERVAL < exchange.changes.mids[-1][0] <= START + 1001 * INTERVAL


def test_a_short_pause_is_not_caught_up_with_and_orders_of_the_pause_come_first() -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    clock_ts, resumed = exchange.market.clock_ts, START + 9 * INTERVAL
    exchange.stand_still()
    trade = an_order(exchange, START + 3 * INTERVAL)
    exchange.venue.accept(trade, "")
    exchange.advance_to(resumed)
    assert exchange.market.clock_ts == clock_ts
    exchange.advance_to(resumed + DELAY - 1)
    assert trade.status is OrderStatus.PENDING_NEW, "its way begins when the market goes on"
    exchange.advance_to(resumed + INTERVAL)
    assert (trade.status, trade.updated_ts) == (OrderStatus.FILLED, resumed + DELAY)


def an_order(exchange: SimulatedExchange, ts: int) -> Order:
    """Return a market order for one lot, accepted at `ts`."""
    position = exchange.venue.position_for(ACCOUNT, None)
    return Order(
        order_id=UUID(int=(7 << 76) | (2 << 62) | ts), pair_id=PAIR, account_id=ACCOUNT, strategy_id=None,
        position_id=position.position_id, client_order_id=None, side=Side.BUY, order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC, post_only=False, price_ticks=0, qty_lots=1, execution_probability=1.0,
        price_impact=0.0, created_ts=ts, arrival_ts=exchange.arrival_ts(ts),
    )  # fmt: skip


@pytest.mark.parametrize("speed", [0.1, 2.5, 100.0])
def test_a_market_runs_as_fast_as_it_is_told(speed: float) -> None:
    exchange = an_exchange(speed=speed)
    exchange.advance_to(START + INTERVAL)
    assert exchange.market.clock_ts - START == round(INTERVAL * speed)
    exchange.set_speed(1.0)
    before = exchange.market.clock_ts
    exchange.advance_to(START + 2 * INTERVAL)
    assert exchange.market.clock_ts - before == INTERVAL
    mids = [ts for ts, _ in exchange.changes.mids]
    assert mids == sorted(set(mids))
    assert all(START <= ts <= START + 2 * INTERVAL for ts in mids)


def test_a_paused_market_goes_on_by_steps() -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    exchange.stand_still()
    clock_ts, ts = exchange.market.clock_ts, START + 2 * INTERVAL
    order = an_order(exchange, START + INTERVAL + 1)
    exchange.venue.accept(order, "")
    exchange.step_by(20 * INTERVAL, ts)
    assert exchange.market.clock_ts == clock_ts + 20 * INTERVAL
    assert exchange.step == 21
    assert order.status is OrderStatus.FILLED
    assert START + INTERVAL < exchange.changes.mids[-1][0] <= ts
    assert len({mid_ts for mid_ts, _ in exchange.changes.mids}) == 21
    exchange.advance_to(ts + INTERVAL)
    assert exchange.market.clock_ts == clock_ts + 20 * INTERVAL, "time begins with the next look"


@pytest.mark.parametrize("pause_ns", [1, 60 * 10**9])
@pytest.mark.parametrize(("step_ns", "arrives"), [(DELAY - 1, False), (DELAY, True), (20 * INTERVAL, True)])
def test_a_way_is_as_long_in_a_step_as_ever(pause_ns: int, step_ns: int, arrives: bool) -> None:
    """It was measured by the clock: who stepped by seconds, and fast, waited many of them for an order to arrive."""
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    exchange.stand_still()
    placed_ts = START + INTERVAL + pause_ns
    order = an_order(exchange, placed_ts)
    exchange.venue.accept(order, "")
    exchange.step_by(step_ns, placed_ts + 1_000)
    assert (order.status is not OrderStatus.PENDING_NEW) is arrives


def stepped_log(step_ns: int, pauses_ns: list[int]) -> tuple[bytes, bytes, list[bytes], int]:
    """Give a paused market the same commands at the same instants of its time, in steps of a length and after pauses.

    Returns the event log without instants of the clock, the market's memory, its own log, and the number of fills.
    """
    exchange = an_exchange()
    same_position_ids(exchange)
    exchange.advance_to(START + INTERVAL)
    exchange.stand_still()
    chance, clock, pauses = random.Random(5), START + INTERVAL, itertools.cycle(pauses_ns)
    orders: list[Order] = []
    for number in range(60):
        clock += next(pauses)
        order = an_order(exchange, clock)
        order.order_id = UUID(int=(7 << 76) | (2 << 62) | number)
        order.side, order.qty_lots = chance.choice(list(Side)), chance.randint(1, 5_000)
        if chance.random() < 0.7:
            order.order_type, order.time_in_force = OrderType.LIMIT, TimeInForce.GTC
            order.price_ticks = 10_000 + chance.randint(-60, 60)
        orders.append(order)
        exchange.venue.accept(order, "")
        if number % 5 == 4 and (resting := chance.choice(orders)).status.is_open:
            exchange.venue.request_cancel(resting, clock, exchange.arrival_ts(clock), "")
        if number % 7 == 6 and (resting := chance.choice(orders)).status.is_open and resting.order_type.has_price:
            exchange.venue.request_amend(
                resting, clock, exchange.arrival_ts(clock), "", price=resting.price_ticks - 3, lots=0, stop=0
            )
        # DELAY // 2 of the market's time until the next command: every way is longer than a step.
        for _ in range(DELAY // 2 // step_ns):
            clock += next(pauses)
            exchange.step_by(step_ns, clock)
    log = [
        (event.type, event.aggregate_id, event.sequence, without_clock(msgspec.to_builtins(event.data)))
        for event in exchange.changes.events
    ]
    return (
        msgspec.json.encode(log),
        market_digest(exchange.market),
        exchange.changes.commands,
        len(exchange.changes.fills),
    )


def without_clock(data: Any) -> Any:
    """Return the content of an event without instants of the clock, and without ids that derive from them."""
    if not isinstance(data, dict):
        return data
    return {
        key: without_clock(value)
        for key, value in data.items()
        if key not in ("trade_id", "ts", "created_ts", "updated_ts")
    }


def test_the_log_of_a_stepped_market_is_the_same_for_every_length_of_steps() -> None:
    """Ways of orders were measured by the clock over steps shorter than they are: logs differed from run to run."""
    whole = stepped_log(DELAY // 2, [1_000])
    assert whole[3] > 10
    for step_ns, pauses in ((DELAY // 4, [7_777]), (DELAY // 100, [1, 10**9, 500]), (DELAY // 2, [20 * 10**9, 3])):
        assert stepped_log(step_ns, pauses) == whole


def test_a_given_trade_fills_what_rests_and_prints_the_rest() -> None:
    exchange = an_exchange()
    exchange.advance_to(START)
    (bid, standing, _) = exchange.market.depth(Side.BUY, 1)[0].tolist()
    exchange.take_changes()
    exchange.execute_trade(Side.SELL, bid, standing + 7, START + 1)
    prints = exchange.changes.prints
    assert sum(each.qty_lots for each in prints) == standing + 7
    assert (prints[-1].price_ticks, prints[-1].qty_lots) == (bid, 7)
    best = exchange.market.book.best(Side.BUY)
    assert best is not None
    assert best < bid


def test_a_given_trade_comes_after_what_happened_before_it() -> None:
    exchange, second = an_exchange(), 1_000_000_000
    exchange.advance_to(START + second)
    exchange.execute_trade(Side.SELL, 10_000, 7, START + 4 * second)
    exchange.advance_to(START + 6 * second)
    times = [each.ts for each in exchange.changes.prints]
    assert START + 4 * second in times
    assert len(times) > 10
    assert times == sorted(times)


def test_the_market_is_never_crossed_and_shows_both_sides() -> None:
    exchange = an_exchange()
    for step in range(200):
        exchange.advance_to(START + step * INTERVAL)
        bid, ask = exchange.market.book.best(Side.BUY), exchange.market.book.best(Side.SELL)
        assert bid is not None
        assert ask is not None
        assert bid < ask
        assert exchange.book_sequence >= step


@pytest.mark.parametrize(
    ("price", "tick", "lot", "deviation", "interval_ns"),
    [
        ("50000", "0.01", "0.00001", 0.001, 10**9), ("50000", "0.01", "0.00001", 0.0, 10**9),
        ("50000", "0.01", "0.00001", 0.5, 10**6), ("0.00001", "0.00001", "1", 0.001, 10**9),
        ("1", "0.01", "1000", 0.001, 3_600 * 10**9), ("3000", "0.01", "0.000000000001", 0.0002, 5 * 10**7),
    ],
)  # fmt: skip
def test_any_instrument_has_a_market_that_moves(
    price: str, tick: str, lot: str, deviation: float, interval_ns: int
) -> None:
    instrument = an_instrument(tick_size=Decimal(tick), lot_size=Decimal(lot))
    session = a_session(
        price_deviation=deviation, market_update_interval_ns=interval_ns,
        initial_price_ticks=instrument.price_to_ticks(Decimal(price)),
    )  # fmt: skip
    exchange = SimulatedExchange(instrument, session, some_funds())
    for second in range(1, 61):
        exchange.advance_to(START + second * 10**9)
        for side in Side:
            assert exchange.market.book.best(side) is not None
    assert len(exchange.changes.prints) > 3


class Watcher:
    """An agent that looks after each event, or at an instant."""

    def __init__(self, watches: bool, next_ts: int) -> None:
        self.watches = watches
        self._next_ts = next_ts

    def next_ts(self) -> int:
        return self._next_ts


@pytest.mark.parametrize("watches", [True, False])
def test_a_market_is_looked_after_when_an_agent_looks_at_it(watches: bool) -> None:
    """Ten times a second it was: what a strategy did when it was woken was heard of a tenth of a second later."""
    exchange = an_exchange(market_update_interval_ns=10**12)
    exchange.advance_to(START + INTERVAL)
    nothing = exchange.next_due_ts()
    head = exchange.market.flow.head[0]
    wake_ts = int(min(head["next_ts"], head["step_ts"])) if watches else START + INTERVAL + 7_000_000
    exchange.agents.append(Watcher(watches, wake_ts if not watches else 1 << 62))
    assert exchange.next_due_ts() == max(exchange.time.wall_at(wake_ts), START + INTERVAL + SOON_NS) < nothing
    # Of one that runs a hundred times as fast every look would be a commit; its looks are bounded as before.
    exchange.session.speed = 100.0
    assert exchange.next_due_ts() == START + INTERVAL + LOOK_NS


def test_what_was_on_its_way_by_the_clock_goes_its_way_by_the_market() -> None:
    """A state of an earlier version: the clock may be hours ahead of a market that was paused."""
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    order = an_order(exchange, START + INTERVAL)
    exchange.venue.accept(order, "")
    order.arrival_ts = exchange.market.clock_ts + 3_600 * 10**9
    session = copy.copy(exchange.session)
    state = msgspec.json.decode(exchange.dump_state())
    del state["market_ends"], state["looked"]
    session.sequence, session.market = exchange.venue.session_sequence, msgspec.json.encode(state).decode()
    again, fault = SimulatedExchange.load(
        an_instrument(), session, some_funds(), checkpoint=exchange.market.dump(), log=[]
    )
    assert fault == ""
    for position in exchange.venue.positions.values():
        again.venue.add_position(copy.copy(position))
    mine = copy.copy(order)
    again.restore_orders([mine])
    again.advance_to(START + 2 * INTERVAL)
    again.advance_to(START + 2 * INTERVAL + DELAY)
    assert mine.status is OrderStatus.FILLED


def test_an_order_of_a_strategy_ends_by_the_market_and_one_of_a_user_by_the_clock() -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    exchange.stand_still()
    ts = START + INTERVAL
    orders = [an_order(exchange, ts), an_order(exchange, ts)]
    for number, order in enumerate(orders):
        order.order_id = UUID(int=(7 << 76) | (2 << 62) | number)
        order.order_type, order.time_in_force, order.price_ticks = OrderType.LIMIT, TimeInForce.GTD, 5_000
    orders[0].expire_ts = ts + 10**9
    exchange.venue.accept(orders[0], "")
    market_end = exchange.market.clock_ts + 10**9
    orders[1].expire_ts = exchange.expiry_ts(market_end)
    exchange.venue.accept(orders[1], "", market_end=market_end)
    exchange.step_by(10**9 - 1, ts + 10**6)
    assert [order.status for order in orders] == [OrderStatus.NEW, OrderStatus.NEW]
    kept = restarted(exchange, exchange.market.dump(), [])
    mine = {order.order_id: order for order in kept.venue.orders.values()}
    exchange.step_by(1, ts + 2 * 10**6)
    assert [order.status for order in orders] == [OrderStatus.NEW, OrderStatus.EXPIRED]
    kept.step_by(1, ts + 2 * 10**6)
    assert [mine[order.order_id].status for order in orders] == [OrderStatus.NEW, OrderStatus.EXPIRED]
    exchange.step_by(1, ts + 2 * 10**9)
    assert orders[0].status is OrderStatus.EXPIRED
