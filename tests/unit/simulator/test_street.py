"""The rolling window of a running market against a market that is watched from outside, and what of it is kept."""

from __future__ import annotations

import random

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.domain.order import Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.simulator.realism import simulated_window
from market_maker.simulator.street import Street, street_levels
from unit.simulator.test_exchange import trade_at_random
from venue_builders import START, an_exchange


def test_without_own_orders_it_is_the_window_of_the_market() -> None:
    watched, twin = an_exchange(), an_exchange()
    street = Street(watched, 10**6)
    for second in range(1, 61):
        watched.advance_to(START + second * NS_PER_SECOND)
    mine = street.taken(1 << 62).window()
    duration_ns = watched.market.clock_ts - twin.market.clock_ts
    theirs = simulated_window(twin.market, duration_ns, "x")
    for name in ("quotes", "trades", "events", "lives", "depth"):
        for field in getattr(theirs, name).__slots__:
            assert np.array_equal(getattr(getattr(mine, name), field), getattr(getattr(theirs, name), field)), (
                name,
                field,
            )
    assert len(mine.trades.ts) > 10


@pytest.mark.parametrize("seed", [1, 2])
def test_own_orders_are_not_in_it_but_their_trades_are(seed: int) -> None:
    exchange = an_exchange()
    street = Street(exchange, 10**6)
    ts = START
    for _ in range(6):
        ts = trade_at_random(exchange, seed, ts, ts + 5 * NS_PER_SECOND)
    exchange.advance_to(ts + NS_PER_SECOND)
    assert exchange.changes.fills
    window = street.taken(1 << 62).window()
    assert window.trades.lots.sum() == sum(trade.qty_lots for trade in exchange.changes.prints)
    for (side, levels), price, lots in zip(
        street_levels(exchange.market),
        (window.quotes.bid_ticks[-1], window.quotes.ask_ticks[-1]),
        (window.quotes.bid_lots[-1], window.quotes.ask_lots[-1]),
        strict=True,
    ):
        best = levels[-1] if side is Side.BUY else levels[0]
        assert [price, lots] == best.tolist()


def test_it_is_bounded_and_as_long_as_was_asked_for() -> None:
    exchange = an_exchange()
    street = Street(exchange, 40_000)
    for second in range(1, 61):
        exchange.advance_to(START + second * NS_PER_SECOND)
    whole = street.taken(1 << 62)
    assert 35_000 <= sum(map(len, whole.parts)) <= 40_200
    assert whole.window().events is not None
    some = street.taken(2 * NS_PER_SECOND)
    assert whole.start_ts < some.start_ts <= exchange.market.clock_ts - 2 * NS_PER_SECOND


def test_a_market_that_has_just_begun_has_none() -> None:
    with pytest.raises(DataError, match="less than a second"):
        Street(an_exchange(), 1_000).taken(1).window()


def test_levels_of_the_street() -> None:
    exchange = an_exchange()
    for side, levels in street_levels(exchange.market):
        shown = exchange.market.depth(side, 10_000)[:, :2]
        assert sorted(map(tuple, levels.tolist())) == sorted(map(tuple, shown.tolist()))
    trade_at_random(exchange, random.Random(1).randrange(9), START, START + 3 * NS_PER_SECOND)
    own = {(order.side, order.price_ticks) for order in exchange.venue.orders.values() if order.priority}
    for side, levels in street_levels(exchange.market):
        whole = dict(exchange.market.depth(side, 10_000)[:, :2].tolist())
        for price, lots in levels.tolist():
            assert lots == whole[price] or ((side, price) in own and lots < whole[price])


def test_it_says_why_it_begins_where_it_does() -> None:
    """After a restart it began anew and did not say so: who held it against an earlier one compared other hours."""
    exchange = an_exchange()
    street = Street(exchange, 40_000)
    exchange.advance_to(START + NS_PER_SECOND)
    exchange.advance_to(START + 2 * NS_PER_SECOND)
    assert street.taken(1 << 62).begins == "SESSION"
    later = Street(exchange, 40_000)
    for second in range(3, 61):
        exchange.advance_to(START + second * NS_PER_SECOND)
        if second == 4:
            assert later.taken(1 << 62).begins == "RESTART"
    assert street.taken(1 << 62).begins == later.taken(1 << 62).begins == "KEPT"
    assert street.taken(NS_PER_SECOND).begins == "ASKED"
