"""The last events of a running market as a rolling window of realism: what its invented participants did, and all trades.

Own orders are left out, as in the tape of a simulated run: the book is that of the street, the trades are everybody's. Bounded:
whole segments are forgotten, each of which begins with the book as it stood.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.domain.order import Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.matching.book import Events
from market_maker.matching.codes import EventKind, LiquidityCode
from market_maker.performance.realism.window import Window
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.realism import frame_of, window_of_events
from market_maker.venue.market.market import SyntheticMarket

SEGMENTS = 8
Standing = list[tuple[Side, NDArray[np.int64]]]


@dataclass(slots=True)
class Segment:
    """A stretch of the market: its begin, ns of the market's time, the street's book then, and the first `count` events.

    One block of memory: parts of all sizes that live for hours would leave holes that nothing else fits into.
    """

    start_ts: int
    standing: Standing
    events: Events = field(default_factory=lambda: np.zeros(0))
    count: int = 0


class Street:
    """The rolling window of one market.

    Parameters
    ----------
    exchange : to be watched from now on
    events_max : how many events of the engine are kept, some 80 bytes each
    """

    def __init__(self, exchange: SimulatedExchange, events_max: int) -> None:
        self._market = exchange.market
        self._name = f"{exchange.instrument.venue}/{exchange.instrument.symbol}"
        self._segment_max = max(1, events_max // SEGMENTS)
        self._segments: deque[Segment] = deque(maxlen=SEGMENTS)
        self._first_is = "RESTART" if exchange.market.clock_ts > exchange.session.created_ts else "SESSION"
        self._begin()
        exchange.venue.watchers.append(self._watch)

    def _begin(self) -> None:
        self._segments.append(Segment(self._market.clock_ts, street_levels(self._market)))

    def _watch(self, events: Events) -> None:
        segment = self._segments[-1]
        start, end = segment.count, segment.count + len(events)
        if end > len(segment.events):
            # At its begin, and when a commit goes beyond what was meant to be the end.
            whole = np.empty(max(end, self._segment_max), events.dtype)
            whole[:start] = segment.events[:start]
            segment.events = whole
        segment.events[start:end] = events
        segment.count = end
        if end >= self._segment_max:
            if len(self._segments) == SEGMENTS:
                self._first_is = "KEPT"
            self._begin()

    def taken(self, least_ns: int) -> Taken:
        """Return the events of at least the last `least_ns` of the market's time, or of all that is kept. Copies nothing."""
        end_ts = self._market.clock_ts
        chosen: list[Segment] = []
        for segment in reversed(self._segments):
            chosen.insert(0, segment)
            if segment.start_ts <= end_ts - least_ns:
                break
        # Events are only ever added behind those that are there.
        parts = [segment.events[: segment.count] for segment in chosen if segment.count]
        is_whole = chosen[0] is self._segments[0]
        begins = self._first_is if is_whole else "ASKED"
        return Taken(self._name, chosen[0].start_ts, end_ts, chosen[0].standing, parts, is_whole, begins)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of a rolling window, all of it or the end; `window` may be called in another thread.

    `begins` says why it begins where it does: SESSION, RESTART (what was before is not kept), KEPT (older events are
    forgotten), ASKED (no more was asked for).
    """

    name: str
    start_ts: int
    end_ts: int
    standing: Standing
    parts: list[Events]
    is_whole: bool
    begins: str

    def window(self) -> Window:
        """Return it as a window.

        Raises
        ------
        DataError
            Less than a second, or nothing has happened.
        """
        if self.end_ts - self.start_ts < NS_PER_SECOND or not self.parts:
            raise DataError(f"{self.name}: the market has been watched for less than a second; wait a little")
        events = np.concatenate(self.parts)
        is_trade = (events["kind"] == int(EventKind.FILLED)) & (events["liquidity"] == int(LiquidityCode.TAKER))
        kept = events[(events["order_id"] < 0) | is_trade]
        frame: pl.DataFrame = frame_of(kept)
        return window_of_events(frame, self.standing, name=self.name, start_ts=self.start_ts, end_ts=self.end_ts)


def street_levels(market: SyntheticMarket) -> Standing:
    """Return price and lots of all levels of both sides, without own orders."""
    orders, found = market.book.state.orders[:-1], list[tuple[Side, NDArray[np.int64]]]()
    for number, side in enumerate((Side.BUY, Side.SELL)):
        rows = orders[(orders["order_id"] < 0) & (orders["leaves_lots"] > 0) & (orders["book"] == number)]
        prices, place = np.unique(-int(side) * rows["rank"], return_inverse=True)
        lots = np.zeros(len(prices), np.int64)
        np.add.at(lots, place, rows["leaves_lots"])
        found.append((side, np.stack([prices, lots], axis=1).astype(np.int64)))
    return found
