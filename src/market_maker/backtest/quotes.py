"""What is known of a feed's rows before any run: best prices after each, and where the book keeps each level.

The recorded market does not react, so no run needs to find them again: with these columns a replay keeps a book of
quantities alone, and a row costs one store. Owns which columns a feed's rows have: those of recorded days are stored beside
them (`day_columns`, 20 bytes per row); those of rows in memory are found once and kept as long as the rows live.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from market_maker.backtest.day_columns import Columns, Layout, book_of, columns_of, follow, make_columns, no_book
from market_maker.backtest.ladder.kernel import Ladder, new_ladder
from market_maker.backtest.state import Stretch
from market_maker.market_data.replay import Feed, ReplayDay, StoredDay
from market_maker.market_data.stretch import Rows, not_before

KEEP_ROWS_MAX = 1 << 24
"""Columns of a longer feed in memory are found anew by each run, stretch by stretch, so that memory stays bounded."""
SLICE_ROWS = 1 << 18
"""Recorded days that do not stay open, or whose levels have other places in the book of all days, come in slices."""


class _Known(NamedTuple):
    rows: tuple[weakref.ref[Any], ...]
    exchange_ladder: Ladder
    exchange: list[Columns]
    local_ladder: Ladder
    local: list[Columns]


_lock = threading.Lock()
_kept: dict[object, _Known] = {}


class Quotes:
    """The two streams of a feed with the columns that are known of them.

    `exchange_ladder` and `local_ladder` tell the places that the columns name: a book shares them.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._known: _Known | None = None
        self._recorded: _Recorded | None = None
        days = [day for day in feed.days if isinstance(day, StoredDay)]
        if len(days) == len(feed.days):
            self._recorded = _Recorded(days)
            self.exchange_ladder = self.local_ladder = self._recorded.layout.ladder()
        elif feed.events <= KEEP_ROWS_MAX:
            self._known = _known(feed)
            self.exchange_ladder, self.local_ladder = self._known.exchange_ladder, self._known.local_ladder
        else:
            self.exchange_ladder, self.local_ladder = new_ladder(*feed.pages), new_ladder(*feed.pages)

    def exchange(self) -> Iterator[Stretch]:
        """Yield the venue's stream."""
        if self._recorded is not None:
            return self._recorded.stream("exchange")
        known = None if self._known is None else self._known.exchange
        return _stretches(self._feed.exchange(), known, self.exchange_ladder)

    def local(self) -> Iterator[Stretch]:
        """Yield the receiver's stream."""
        if self._recorded is not None:
            return self._recorded.stream("local")
        known = None if self._known is None else self._known.local
        return _stretches(self._feed.local(), known, self.local_ladder)

    def release(self, number: int, stop: int) -> None:
        """Let go of the memory in which the rows before `stop` of a stretch of the receiver's stream, counted from 0, were seen.

        Who needs them again finds them again. Does nothing for rows that are in no file.
        """
        if self._recorded is not None:
            self._recorded.release(number, stop)


def _stretch(rows: Rows, columns: Columns) -> Stretch:
    return Stretch(rows.ts, rows.price_ticks, rows.qty_lots, rows.code, *columns, rows.joined_ts)


# --- recorded days ----------------------------------------------------------------------------------------------------


class _Recorded:
    """Recorded days with the columns that are stored beside them."""

    def __init__(self, days: Sequence[StoredDay]) -> None:
        self.layout = Layout([day.pages for day in days])
        self._days = days
        self._begun: list[tuple[StoredDay, int]] = []
        # Here, not in the middle of a run.
        for day in days:
            make_columns(day)

    def stream(self, name: str) -> Iterator[Stretch]:
        """Yield a stream, day by day or in slices; memory in which rows were seen is let go of."""
        passed: deque[tuple[StoredDay, int]] = deque()
        book, reached = no_book(), -(2**63)
        for day in self._days:
            if day.skip == day.rows:
                continue
            stored = columns_of(day, name)
            places = self.layout.places_of(stored.places)
            fits = stored.fits_from(day.skip, book)
            ladder = self.layout.ladder_of(book) if fits > day.skip else None
            step = SLICE_ROWS if places is not None or not day.stays_open else day.rows
            edges = sorted({*range(day.skip, fits, step), *range(fits, day.rows, step), day.rows})
            for (start, stop), part in zip(pairwise(edges), day.parts(name, edges), strict=True):
                columns = follow(ladder, part) if ladder and start < fits else stored.part(start, stop, places)
                rows = not_before(part, reached)
                reached = int(rows.ts[-1])
                if name == "local":
                    self._begun.append((day, start))
                yield _stretch(rows, columns)
                passed.append((day, stop))
                # Who asks for the next one goes on with the last one.
                if len(passed) > 1:
                    before, end = passed.popleft()
                    before.release(0, end)
            book = book_of(ladder) if ladder and fits == day.rows else stored.closing

    def release(self, number: int, stop: int) -> None:
        """Let go of the memory in which the rows before `stop` of a stretch of the receiver's stream were seen."""
        day, first = self._begun[number]
        day.release(0, first + stop)


# --- rows in memory ---------------------------------------------------------------------------------------------------


def _stretches(parts: Iterator[Rows], known: Sequence[Columns] | None, ladder: Ladder) -> Iterator[Stretch]:
    if known is None:
        yield from (_stretch(rows, follow(ladder, rows)) for rows in parts)
    else:
        yield from (_stretch(rows, columns) for rows, columns in zip(parts, known, strict=True))


def _known(feed: Feed) -> _Known:
    """Return the columns of both streams; kept until something of the feed's rows is gone."""
    objects = [
        found for day in feed.days for found in ((*day.exchange, *day.local) if isinstance(day, ReplayDay) else (day,))
    ]
    # Numbers of objects that live are theirs alone.
    key = (feed.pages, tuple(day.skip for day in feed.days), tuple(map(id, objects)))
    with _lock:
        known = _kept.get(key)
        if known is not None and all(row() is not None for row in known.rows):
            return known
        exchange, local = list(feed.exchange()), list(feed.local())
        venue_ladder = new_ladder(*feed.pages)
        venue = [follow(venue_ladder, rows) for rows in exchange]
        seen_ladder, seen = venue_ladder, venue
        if len(exchange) != len(local) or not all(map(_same_rows, exchange, local)):
            seen_ladder = new_ladder(*feed.pages)
            seen = [follow(seen_ladder, rows) for rows in local]
        rows = tuple(weakref.ref(found, _forgetting(key)) for found in objects)
        _kept[key] = _Known(rows, venue_ladder, venue, seen_ladder, seen)
        return _kept[key]


def _forgetting(key: object) -> Callable[[Any], None]:
    def forget(_: Any) -> None:
        _kept.pop(key, None)

    return forget


def _same_rows(one: Rows, other: Rows) -> bool:
    """Return whether two stretches are the same memory but for the times."""
    return len(one.ts) == len(other.ts) and all(
        getattr(one, name).ctypes.data == getattr(other, name).ctypes.data
        for name in ("price_ticks", "qty_lots", "code")
    )
