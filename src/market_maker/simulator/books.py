"""What of a simulated market's book everybody sees: snapshots for users, levels for recordings."""

from __future__ import annotations

import numpy as np

from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.order import Side
from market_maker.matching.codes import Phase
from market_maker.simulator.exchange import FrozenBook, SimulatedExchange
from market_maker.venue.venue import phase_name


class Books:
    """Snapshots of the present instant by depth, made once however often they are asked for."""

    def __init__(self) -> None:
        self._instant: tuple[SimulatedExchange, FrozenBook | None, int] | None = None
        self._by_depth: dict[int, BookSnapshot] = {}

    def get(self, exchange: SimulatedExchange, depth: int) -> BookSnapshot:
        """Return the best `depth` levels of both sides."""
        instant = (exchange, exchange.frozen, exchange.market.book.phase if exchange.frozen else exchange.book_sequence)
        if instant != self._instant:
            self._instant = instant
            self._by_depth.clear()
        found = self._by_depth.get(depth)
        if found is None:
            found = self._by_depth[depth] = snapshot(exchange, depth)
        return found


def snapshot(exchange: SimulatedExchange, depth: int) -> BookSnapshot:
    """Return the best `depth` levels of both sides; in a gap of the feed those of the last book before it."""
    instrument, market, frozen = exchange.instrument, exchange.market, exchange.frozen

    def levels(rows: list[tuple[int, int]]) -> tuple[Level, ...]:
        return tuple(Level(instrument.ticks_to_price(price), instrument.lots_to_qty(lots)) for price, lots in rows)

    def side(which: Side) -> tuple[Level, ...]:
        return levels([(price, lots) for price, lots, _ in market.depth(which, depth).tolist()])

    phase = market.book.phase
    is_call = phase in (Phase.PRE_OPEN, Phase.CLOSING_AUCTION, Phase.VOLATILITY_AUCTION)
    found = market.book.indicative() if is_call and frozen is None else None
    indicative = None if found is None else levels([found])[0]
    if frozen is not None:
        return BookSnapshot(
            pair_id=instrument.pair_id,
            ts=frozen.ts,
            sequence=frozen.sequence,
            bids=levels(frozen.bids[:depth]),
            asks=levels(frozen.asks[:depth]),
            is_stale=True,
            phase=phase_name(phase),
        )
    return BookSnapshot(
        pair_id=instrument.pair_id,
        ts=exchange.last_ts,
        sequence=exchange.book_sequence,
        bids=side(Side.BUY),
        asks=side(Side.SELL),
        phase=phase_name(phase),
        indicative=indicative,
    )


def public_levels(exchange: SimulatedExchange, side: Side) -> dict[int, int]:
    """Return price (ticks) -> displayed lots of everything that is surely there.

    An order with an execution probability below 1 may rest where it crosses the other side; it is left out, so that a
    recorded book is never crossed.
    """
    book = exchange.market.book
    levels = {price: lots for price, lots, _ in exchange.market.depth(side, book.open_orders + 1).tolist()}
    orders, details = book.state.orders[:-1], book.state.details[:-1]
    number = 0 if side is Side.BUY else 1
    uncertain = (orders["leaves_lots"] > 0) & (orders["order_id"] > 0) & (orders["book"] == number)
    uncertain &= (orders["detailed"] != 0) & (details["miss_e9"] != 0)
    for slot in np.flatnonzero(uncertain).tolist():
        price = -int(side) * int(orders["rank"][slot])
        levels[price] -= int(orders["shown_lots"][slot])
        if levels[price] == 0:
            del levels[price]
    return levels
