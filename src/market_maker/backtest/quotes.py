"""What is known of a feed's rows before any run: best prices after each, and where the book keeps each level.

The recorded market does not react, so no run needs to find them again: with these columns a replay keeps a book of
quantities alone, and a row costs one store. Owns following the rows with a whole ladder, and keeping the columns (20 bytes
per row, once where both streams have the same rows) as long as its rows live.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.compiled import compiled_kernel
from market_maker.backtest.ladder.kernel import Ladder, new_ladder
from market_maker.backtest.state import FOREVER, Stretch
from market_maker.market_data.replay import LEVEL_ROW, TRADE_ROW, Feed, ReplayDay
from market_maker.market_data.stretch import Rows

KEEP_ROWS_MAX = 1 << 24
"""Columns of a longer feed are found anew by each run, stretch by stretch, so that memory stays bounded."""


class _Columns(NamedTuple):
    quotes: NDArray[np.int64]
    slots: NDArray[np.int32]
    specials: NDArray[np.int64]
    trades: NDArray[np.int64]


class _Known(NamedTuple):
    rows: tuple[weakref.ref[Any], ...]
    exchange_ladder: Ladder
    exchange: list[_Columns]
    local_ladder: Ladder
    local: list[_Columns]


_lock = threading.Lock()
_kept: dict[object, _Known] = {}


class Quotes:
    """The two streams of a feed with the columns that are known of them.

    `exchange_ladder` and `local_ladder` are the ladders that followed the streams: a book shares their places.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._known = _known(feed) if feed.events <= KEEP_ROWS_MAX else None
        if self._known is None:
            self.exchange_ladder, self.local_ladder = new_ladder(*feed.pages), new_ladder(*feed.pages)
        else:
            self.exchange_ladder, self.local_ladder = self._known.exchange_ladder, self._known.local_ladder

    def exchange(self) -> Iterator[Stretch]:
        """Yield the venue's stream."""
        known = None if self._known is None else self._known.exchange
        return _stretches(self._feed.exchange(), known, self.exchange_ladder)

    def local(self) -> Iterator[Stretch]:
        """Yield the receiver's stream."""
        known = None if self._known is None else self._known.local
        return _stretches(self._feed.local(), known, self.local_ladder)


def _stretches(parts: Iterator[Rows], known: Sequence[_Columns] | None, ladder: Ladder) -> Iterator[Stretch]:
    for rows, columns in zip(parts, known, strict=True) if known is not None else _followed(parts, ladder):
        yield Stretch(rows.ts, rows.price_ticks, rows.qty_lots, rows.code, *columns)


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
        venue = [columns for _, columns in _followed(iter(exchange), venue_ladder)]
        seen_ladder, seen = venue_ladder, venue
        if len(exchange) != len(local) or not all(map(_same_rows, exchange, local)):
            seen_ladder = new_ladder(*feed.pages)
            seen = [columns for _, columns in _followed(iter(local), seen_ladder)]
        rows = tuple(weakref.ref(found, _forgetting(key)) for found in objects)
        _kept[key] = _Known(rows, venue_ladder, venue, seen_ladder, seen)
        return _kept[key]


def _forgetting(key: object) -> Callable[[Any], None]:
    def forget(_: Any) -> None:
        _kept.pop(key, None)

    return forget


def _followed(parts: Iterator[Rows], ladder: Ladder) -> Iterator[tuple[Rows, _Columns]]:
    kernel = compiled_kernel()
    sealed = kernel.seal_ladder(ladder)
    for rows in parts:
        n = len(rows.ts)
        quotes, slots = np.empty((n, 2), np.int64), np.empty(n, np.int32)
        kernel.follow(sealed, rows, quotes, slots)
        kinds = np.abs(rows.code)
        special = (kinds != LEVEL_ROW) & (kinds != TRADE_ROW)
        yield rows, _Columns(quotes, slots, _places(special), _places(kinds == TRADE_ROW))


def _places(wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.append(np.flatnonzero(wanted), FOREVER).astype(np.int64)


def _same_rows(one: Rows, other: Rows) -> bool:
    """Return whether two stretches are the same memory but for the times."""
    return len(one.ts) == len(other.ts) and all(
        getattr(one, name).ctypes.data == getattr(other, name).ctypes.data
        for name in ("price_ticks", "qty_lots", "code")
    )
