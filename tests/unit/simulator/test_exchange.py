"""One pair's whole market: the same seed and commands give the same market, also across a restart (R7, R10)."""

from __future__ import annotations

import copy
import random
from typing import Any
from uuid import UUID

import pytest

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Order, OrderType, Side, TimeInForce
from market_maker.simulator.exchange import SimulatedExchange
from venue_builders import ACCOUNT, DELAY, PAIR, START, an_exchange

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
            price_ticks=0 if is_market else mid + chance.randint(-20, 20),
            qty_lots=chance.randint(1, 10_000),
            execution_probability=chance.choice([1.0, 0.7]),
            price_impact=chance.choice([0.0, 0.001]),
            created_ts=ts,
            arrival_ts=ts + DELAY,
        )
        exchange.venue.accept(order, "")
    return ts


def restarted(exchange: SimulatedExchange) -> SimulatedExchange:
    """Return a new exchange made of what the database would hold."""
    again = an_exchange(seed=exchange.session.seed)
    again.session.sequence = exchange.venue.session_sequence
    for position in exchange.venue.positions.values():
        again.venue.add_position(copy.copy(position))
    orders = [copy.copy(order) for order in exchange.venue.orders.values()]
    random.Random(1).shuffle(orders)  # rows come in any order
    again.load_market(exchange.dump_market(), orders)
    return again


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
    assert exchanges[0].dump_market() == exchanges[1].dump_market()
    assert exchanges[0].state_hash() == exchanges[1].state_hash()


def test_another_seed_gives_another_market() -> None:
    first, second = an_exchange(seed=1), an_exchange(seed=2)
    for exchange in (first, second):
        exchange.advance_to(START + 5 * INTERVAL)
    assert first.dump_market() != second.dump_market()


@pytest.mark.parametrize("seed", range(5))
def test_a_restart_changes_nothing(seed: int) -> None:
    exchange = an_exchange()
    last = trade_at_random(exchange, seed, START, START + 20 * INTERVAL)
    again = restarted(exchange)
    assert again.state_hash() == exchange.state_hash()
    assert again.dump_market() == exchange.dump_market()
    funds = [each.venue.funds[ACCOUNT].pairs[PAIR] for each in (exchange, again)]
    assert funds[0] == funds[1]
    exchange.take_changes()
    for each in (exchange, again):  # and both go on alike
        trade_at_random(each, seed + 100, last, last + 20 * INTERVAL)
    assert facts(again) == facts(exchange)
    assert again.state_hash() == exchange.state_hash()


def test_the_hash_tells_every_difference() -> None:
    exchange = an_exchange()
    trade_at_random(exchange, 1, START, START + 10 * INTERVAL)
    seen = {exchange.state_hash()}
    position = exchange.venue.position_for(ACCOUNT, None)
    position.cash_tick_lots += 1
    seen.add(exchange.state_hash())
    order = next(iter(exchange.venue.book.orders(Side.BUY)))
    exchange.venue.book.reduce(order, 1)
    seen.add(exchange.state_hash())
    exchange.market.draws += 1
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


def test_after_a_standstill_the_market_goes_on_from_now() -> None:
    exchange = an_exchange()
    exchange.advance_to(START + INTERVAL)
    steps = exchange.market.step
    exchange.advance_to(START + 1000 * INTERVAL)
    assert exchange.market.step - steps <= 3
    assert exchange.next_due_ts() > START + 1000 * INTERVAL - 1


def test_a_given_trade_fills_what_rests_and_prints_the_rest() -> None:
    exchange = an_exchange()
    exchange.advance_to(START)
    bid = exchange.venue.book.best(Side.BUY)
    assert bid is not None
    standing = dict(exchange.venue.book.levels(Side.BUY, 1000))[bid]
    exchange.take_changes()
    exchange.execute_trade(Side.SELL, bid, standing + 7, START + 1)
    prints = exchange.changes.prints
    assert sum(each.qty_lots for each in prints) == standing + 7
    assert (prints[-1].price_ticks, prints[-1].qty_lots) == (bid, 7)
    best = exchange.venue.book.best(Side.BUY)
    assert best is not None
    assert best < bid


def test_the_market_is_never_crossed_and_shows_both_sides() -> None:
    exchange = an_exchange()
    for step in range(200):
        exchange.advance_to(START + step * INTERVAL)
        bid, ask = exchange.venue.book.best(Side.BUY), exchange.venue.book.best(Side.SELL)
        assert bid is not None
        assert ask is not None
        assert bid < ask
