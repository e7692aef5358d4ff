"""What is known of a recorded day's rows, stored beside them: best prices after each row, and where its level is kept.

Owns the stored form, how it is made, and from which row on it is right when other days went before. A day's columns stand by
themselves: they begin with an empty book and number the day's own pages of levels. Knows no run and no order.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.compiled import compiled_kernel
from market_maker.backtest.ladder import kernel as ladder_kernel
from market_maker.backtest.ladder.kernel import FIRST_PAGE, IN_USE, MID, PAGE_MASK, PAGE_SHIFT, Ladder, new_ladder
from market_maker.backtest.state import FOREVER
from market_maker.market_data.replay import CLEAR_ROW, LEVEL_ROW, PAGES, TRADE_ROW, StoredDay
from market_maker.market_data.stretch import Rows

FORM = 1
"""Version of the stored form; the rules by which a ladder follows rows are told by their source."""
BUILD_ROWS = 1 << 18

_lock = threading.Lock()
"""So that runs beside each other do not make the same columns."""


class Columns(NamedTuple):
    """What a `state.Stretch` has besides its rows."""

    quotes: NDArray[np.int64]
    slots: NDArray[np.int32]
    specials: NDArray[np.int64]
    trades: NDArray[np.int64]


class Book(NamedTuple):
    """What a ladder that follows rows remembers of them.

    levels : (n, 3) int64, side index, tick and lots, by side and tick
    ends : (3,) int64, best bid and best ask (0 without one) and the last mid in half ticks
    """

    levels: NDArray[np.int64]
    ends: NDArray[np.int64]


class Layout:
    """Where books keep the pages of their levels: those of bids by price, then those of asks.

    Parameters
    ----------
    pages : of one or more days, by `replay.PAGES`
    """

    def __init__(self, pages: Sequence[Mapping[str, NDArray[np.int64]]]) -> None:
        self.sides = [np.unique(np.concatenate([day[name] for day in pages])) for name in PAGES]
        used = np.concatenate(self.sides)
        self._first, self._pages = (int(used.min()), int(np.ptp(used)) + 1) if len(used) else (0, 1)
        self.pool = max(1, len(used))

    def ladder(self) -> Ladder:
        """Return an empty ladder whose pages all have their places."""
        ladder = new_ladder(self._first, self._pages, self.pool)
        place = 0
        for s, pages in enumerate(self.sides):
            ladder.table[s, pages - self._first] = np.arange(place, place + len(pages))
            place += len(pages)
        ladder.extent[IN_USE] = place
        return ladder

    def ladder_of(self, book: Book) -> Ladder:
        """Return a ladder that goes on from a book."""
        ladder = self.ladder()
        side, tick, lots = book.levels.T
        places = ladder.table[side, (tick >> PAGE_SHIFT) - self._first].astype(np.int64)
        ladder.quantity[(places << PAGE_SHIFT) | (tick & PAGE_MASK)] = lots
        np.add.at(ladder.occupied, places, 1)
        ladder.best[:] = book.ends[:2]
        ladder.extent[MID] = book.ends[2]
        return ladder

    def places_of(self, day: Layout) -> NDArray[np.int32] | None:
        """Return the place of each of a day's places, the last one for rows of no level; None when they are the same."""
        places = np.zeros(day.pool + 1, np.int32)
        place = before = 0
        for pages, own in zip(self.sides, day.sides, strict=True):
            places[place : place + len(own)] = before + np.searchsorted(pages, own)
            place, before = place + len(own), before + len(pages)
        places[day.pool] = self.pool
        return None if np.array_equal(places, np.arange(self.pool + 1)) else places


@dataclass(frozen=True, slots=True)
class DayColumns:
    """The columns of all rows of a day, memory-mapped.

    places : of the day's layout; specials and trades count the rows of the whole day
    opening, closing : the book after the rows that repeat what the day before has left, and after all rows
    settled : from this row on the columns are right whatever went before, if the day is replayed from its first row
    """

    columns: Columns
    places: Layout
    opening: Book
    closing: Book
    settled: int

    def part(self, start: int, stop: int, places: NDArray[np.int32] | None) -> Columns:
        """Return the columns of some rows; `places` as `Layout.places_of` returns them."""
        quotes, slots, specials, trades = self.columns
        part = slots[start:stop]
        if places is not None:
            part = (places[part >> PAGE_SHIFT] << PAGE_SHIFT) | (part & PAGE_MASK)
        if start > 0 or stop < len(quotes):
            specials, trades = _within(specials, start, stop), _within(trades, start, stop)
        return Columns(quotes[start:stop], part, specials, trades)

    def fits_from(self, skip: int, book: Book) -> int:
        """Return the row from which on the columns are right when rows from `skip` on follow a book; their number if never."""
        if is_same(book, self.opening if skip else no_book()):
            return skip
        return len(self.columns.slots) if skip else self.settled


def no_book() -> Book:
    """Return what a ladder remembers before the first row."""
    return Book(np.zeros((0, 3), np.int64), np.zeros(3, np.int64))


def is_same(one: Book, other: Book) -> bool:
    """Return whether the same rows lead on from both to the same columns: the last mid matters only while a side is empty."""
    ends = slice(2 if one.ends[:2].all() else 3)
    return np.array_equal(one.levels, other.levels) and np.array_equal(one.ends[ends], other.ends[ends])


def book_of(ladder: Ladder) -> Book:
    """Return what a ladder remembers; it must not be displaced."""
    levels = []
    for s in range(2):
        pages = np.flatnonzero(ladder.table[s] >= 0)
        page, offset = np.nonzero(ladder.quantity[:-1].reshape(-1, PAGE_MASK + 1)[ladder.table[s, pages]])
        tick = ((pages[page] + ladder.extent[FIRST_PAGE]) << PAGE_SHIFT) + offset
        slot = (ladder.table[s, pages[page]].astype(np.int64) << PAGE_SHIFT) + offset
        levels.append(np.column_stack([np.full(len(tick), s), tick, ladder.quantity[slot]]))
    return Book(np.concatenate(levels), np.array([*ladder.best, ladder.extent[MID]], np.int64))


def follow(ladder: Ladder, rows: Rows) -> Columns:
    """Return the columns of rows that a ladder applies."""
    kernel = compiled_kernel()
    n = len(rows.ts)
    quotes, slots = np.empty((n, 2), np.int64), np.empty(n, np.int32)
    kernel.follow(kernel.seal_ladder(ladder), rows, quotes, slots)
    kinds = np.abs(rows.code)
    special = (kinds != LEVEL_ROW) & (kinds != TRADE_ROW)
    return Columns(quotes, slots, _ended(np.flatnonzero(special)), _ended(np.flatnonzero(kinds == TRADE_ROW)))


def make_columns(day: StoredDay) -> None:
    """Store the columns of a day if they are not stored yet."""
    for stream in ("exchange", "local"):
        if not day.has_derived(_name_of(day, stream)):
            columns_of(day, stream)


def columns_of(day: StoredDay, stream: str) -> DayColumns:
    """Return the columns of a day's stream (`exchange` or `local`), which are made when they are not stored yet."""
    name = _name_of(day, stream)
    with _lock:
        found = day.derived(name, lambda: _parts_of(day, stream))
    plain = {key: np.asarray(values) for key, values in found.items()}
    opening, closing = (Book(plain[key], plain["ends"][i]) for i, key in enumerate(("opening", "closing")))
    columns = Columns(*(plain[key] for key in Columns._fields))
    return DayColumns(columns, Layout([day.pages]), opening, closing, int(plain["settled"][0]))


def _name_of(day: StoredDay, stream: str) -> str:
    return f"quotes{'-local' if stream == 'local' and not day.has_one_order else ''}-{_rules()}"


def _parts_of(day: StoredDay, stream: str) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the stored columns in parts; memory is that of one part."""
    ladder = Layout([day.pages]).ladder()
    opening, settled = no_book(), day.rows
    edges = sorted({*range(0, day.rows, BUILD_ROWS), day.carried, day.rows})
    is_cleared = False
    for (start, stop), rows in zip(pairwise(edges), day.parts(stream, edges), strict=True):
        if start == day.carried:
            opening = book_of(ladder)
        columns = follow(ladder, rows)
        if start == 0:
            is_cleared = _begins_cleared(rows)
        if is_cleared and settled == day.rows:
            known = np.flatnonzero((columns.quotes > 0).all(axis=1))
            settled = start + int(known[0]) + 1 if len(known) else settled
        yield columns._asdict() | {
            "specials": columns.specials[:-1] + start, "trades": columns.trades[:-1] + start
        }  # fmt: skip
        day.release(start, stop)
    closing = book_of(ladder)
    if day.carried == day.rows:
        opening = closing
    end = np.array([FOREVER], np.int64)
    yield {
        "specials": end, "trades": end, "opening": opening.levels, "closing": closing.levels,
        "ends": np.array([opening.ends, closing.ends]), "settled": np.array([settled]),
    }  # fmt: skip


def _begins_cleared(rows: Rows) -> bool:
    """Return whether both sides are cleared before anything is set: then nothing is left of an earlier book but its mid.

    With the first row that leaves both sides with a best price the mid is known anew.
    """
    first = rows.code[np.abs(rows.code) != TRADE_ROW][:2]
    return sorted(first.tolist()) == [-CLEAR_ROW, CLEAR_ROW]


@cache
def _rules() -> str:
    """Return what stored columns depend on besides the day: their form, and the rules of the ladder."""
    return f"{FORM}-{hashlib.sha256(inspect.getsource(ladder_kernel).encode()).hexdigest()[:16]}"


def _ended(places: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(places, FOREVER)


def _within(places: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    first, last = np.searchsorted(places, [start, stop])
    return _ended(places[first:last] - start)
