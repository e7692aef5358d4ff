"""Turns messages of any source into published days: builds the book, counts its faults, cuts by UTC day.

Shared by importers and by the recorder of live sessions. Each day but the first begins with the full book left by
the day before, so that any day can be replayed alone. Stretches without a known book are the day's gaps. Nothing is
visible in the lake before `publish`.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.schema import BBO_SCHEMA, BOOK_SCHEMA, DAY_NS, EventKind
from market_maker.storage.lake import Lake, PublishedDay, StagedDay, day_of

_FOR_EVER = 2**63 - 1
Level = tuple[int, int, int]
"""(side, price_ticks, qty_lots)."""


class BookSide:
    """The levels of one side with the best price at hand; `sign` is +1 for bids."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, int] = {}
        self._heap: list[int] = []

    def set(self, price_ticks: int, qty_lots: int) -> None:
        """Set a level; 0 removes it."""
        if qty_lots:
            if price_ticks not in self.levels:
                heapq.heappush(self._heap, -self.sign * price_ticks)
            self.levels[price_ticks] = qty_lots
        else:
            self.levels.pop(price_ticks, None)

    def best(self) -> tuple[int, int]:
        """Return (price_ticks, qty_lots) of the best level, (0, 0) without one."""
        while self._heap:
            price = -self.sign * self._heap[0]
            if price in self.levels:
                return price, self.levels[price]
            heapq.heappop(self._heap)
        return 0, 0

    def clear(self) -> None:
        """Remove every level."""
        self.levels.clear()
        self._heap.clear()


@dataclass(slots=True)
class BookQuality:
    """Faults of the book, counted at the ends of messages."""

    messages: int = 0
    crossed: int = 0
    locked: int = 0


class Assembly:
    """Collects messages of one instrument in order of receive time.

    `derives_bbo`: write the best quotes of the built book as the "bbo" file, for sources without their own.
    """

    def __init__(self, lake: Lake, instrument: Instrument, *, derives_bbo: bool) -> None:
        self.bids, self.asks = BookSide(1), BookSide(-1)
        self.quality = BookQuality()
        self._lake, self._instrument, self._derives_bbo = lake, instrument, derives_bbo
        self._staged: list[StagedDay] = []
        self._day_end = 0
        self._last_ts = self._message_ts = 0
        # Closed gaps, and the instant from which on the book is not known (0: it is known).
        self._gaps: list[tuple[int, int]] = []
        self._lost_ts = 0
        self._quoted: tuple[int, ...] = ()
        self._start_day()

    def snapshot(self, exch_ts: int, local_ts: int, sequence: int, levels: Iterable[Level]) -> None:
        """Replace the book; call `end_message` afterwards."""
        self.start_book(exch_ts, local_ts, sequence)
        self.fill_book(exch_ts, local_ts, sequence, levels)

    def start_book(self, exch_ts: int, local_ts: int, sequence: int, *, after_silence: bool = False) -> None:
        """Begin a book that is known from here on; what went before without one is a gap.

        With `after_silence` nothing is known of the time since the last row either.
        """
        if after_silence and not self._lost_ts:
            self._lost_ts = self._last_ts + 1
        for book in (self.bids, self.asks):
            book.clear()
        self._clear(exch_ts, local_ts, sequence)
        if self._lost_ts < local_ts:
            self._gaps.append((self._lost_ts, local_ts))
        self._lost_ts, self._quoted = 0, ()

    def fill_book(self, exch_ts: int, local_ts: int, sequence: int, levels: Iterable[Level]) -> None:
        """Add levels to a book just begun; call `end_message` after the last part."""
        self._advance(exch_ts, local_ts)
        self._apply(EventKind.SNAPSHOT, exch_ts, local_ts, sequence, levels)

    def depth(self, exch_ts: int, local_ts: int, sequence: int, levels: Iterable[Level]) -> None:
        """Change levels; call `end_message` after the last part of a message."""
        self._advance(exch_ts, local_ts)
        self._apply(EventKind.DEPTH, exch_ts, local_ts, sequence, levels)

    def lose_book(self, exch_ts: int, local_ts: int, sequence: int) -> None:
        """Remove the whole book, because messages are missing since the last one: a gap until the next snapshot."""
        self._lost_ts = self._lost_ts or self._message_ts + 1
        self._clear(exch_ts, local_ts, sequence)

    def _clear(self, exch_ts: int, local_ts: int, sequence: int) -> None:
        self._advance(exch_ts, local_ts)
        for side, book in ((1, self.bids), (-1, self.asks)):
            book.clear()
            self._row(exch_ts, local_ts, EventKind.CLEAR, side, 0, 0, sequence)

    def end_message(self, exch_ts: int, local_ts: int) -> None:
        """Judge the book: only here is it whole."""
        (bid, bid_lots), (ask, ask_lots) = self.bids.best(), self.asks.best()
        self._message_ts = local_ts
        self.quality.messages += 1
        if bid and ask:
            self.quality.crossed += bid > ask
            self.quality.locked += bid == ask
            quote = (bid, bid_lots, ask, ask_lots)
            if self._derives_bbo and quote != self._quoted:
                self._quoted = quote
                self._quote(exch_ts, local_ts, *quote, 0)

    def trade(self, exch_ts: int, local_ts: int, side: int, price_ticks: int, qty_lots: int, sequence: int) -> None:
        """Add a public print; `side` is the aggressor's."""
        self._advance(exch_ts, local_ts)
        self._row(exch_ts, local_ts, EventKind.TRADE, side, price_ticks, qty_lots, sequence)

    def bbo(self, exch_ts: int, local_ts: int, bid: int, bid_lots: int, ask: int, ask_lots: int, sequence: int) -> None:
        """Add best quotes of the source."""
        self._advance(exch_ts, local_ts)
        self._quote(exch_ts, local_ts, bid, bid_lots, ask, ask_lots, sequence)

    def publish(self) -> tuple[PublishedDay, ...]:
        """Make every collected day visible, each in one step; DataError when there is nothing."""
        self._finish_day()
        if not self._staged:
            raise DataError("zero events; nothing was published")
        days = tuple(self._lake.publish(staged) for staged in self._staged)
        self._staged.clear()
        return days

    def discard(self) -> None:
        """Remove what was written for days that are not going to be published."""
        for staged in self._staged:
            self._lake.discard(staged)
        self._staged.clear()

    def _apply(self, kind: int, exch_ts: int, local_ts: int, sequence: int, levels: Iterable[Level]) -> None:
        for side, price_ticks, qty_lots in levels:
            (self.bids if side > 0 else self.asks).set(price_ticks, qty_lots)
            self._row(exch_ts, local_ts, kind, side, price_ticks, qty_lots, sequence)

    def _advance(self, exch_ts: int, local_ts: int) -> None:
        if local_ts < self._last_ts:
            raise DataError(f"receive time {local_ts} is earlier than the row before it ({self._last_ts})")
        if not self._last_ts:
            self._lost_ts = local_ts
        self._last_ts = local_ts
        if local_ts < self._day_end:
            return
        if self._day_end:
            self._finish_day()
            self._start_day()
            if self.bids.levels or self.asks.levels:
                self._carry(exch_ts, local_ts)
        self._day_end = (local_ts // DAY_NS + 1) * DAY_NS

    def _carry(self, exch_ts: int, local_ts: int) -> None:
        for side in (1, -1):
            self._row(exch_ts, local_ts, EventKind.CLEAR, side, 0, 0, 0)
        for side, book in ((1, self.bids), (-1, self.asks)):
            for price_ticks in sorted(book.levels, reverse=side > 0):
                self._row(exch_ts, local_ts, EventKind.SNAPSHOT, side, price_ticks, book.levels[price_ticks], 0)
        self._carried = len(self._book["kind"])
        self._quoted = ()

    def _row(self, exch_ts: int, local_ts: int, kind: int, side: int, price: int, lots: int, sequence: int) -> None:
        self._book["exch_ts"].append(exch_ts)
        self._book["local_ts"].append(local_ts)
        self._book["kind"].append(kind)
        self._book["side"].append(side)
        self._book["price_ticks"].append(price)
        self._book["qty_lots"].append(lots)
        self._book["sequence"].append(sequence)

    def _quote(self, *values: int) -> None:
        exch_ts, local_ts, bid, bid_lots, ask, ask_lots, sequence = values
        for column, value in zip(
            self._bbo.values(), (exch_ts, local_ts, bid, bid_lots, ask, ask_lots, sequence), strict=True
        ):
            column.append(value)

    def _start_day(self) -> None:
        self._book: dict[str, array[int]] = {
            name: array("b" if dtype is pl.Int8 else "q") for name, dtype in BOOK_SCHEMA.items()
        }
        self._bbo: dict[str, array[int]] = {name: array("q") for name in BBO_SCHEMA}
        self._carried = 0

    def _finish_day(self) -> None:
        frames = {
            "book": pl.DataFrame(
                {name: pl.Series(name, values, dtype=BOOK_SCHEMA[name]) for name, values in self._book.items()}
            ),
            "bbo": pl.DataFrame(
                {name: pl.Series(name, values, dtype=BBO_SCHEMA[name]) for name, values in self._bbo.items()}
            ),
        }
        if not any(frame.height for frame in frames.values()):
            return
        pair = self._instrument
        staged = self._lake.stage(
            venue=pair.venue,
            symbol=pair.symbol,
            day=day_of(self._day_end - 1),
            tick_size=pair.tick_size,
            lot_size=pair.lot_size,
            frames=frames,
            carried_rows=self._carried,
            gaps=[*self._gaps, (self._lost_ts, _FOR_EVER)] if self._lost_ts else self._gaps,
        )
        self._staged.append(staged)
