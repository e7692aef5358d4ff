"""The book of one instrument from rows of the normal form: by level or by order, over columns.

The typed face of the kernel beside it: makes room where the kernel stops for want of it, and gives whole levels back.
Knows no source format and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.market_data.book import kernel
from market_maker.market_data.schema import BOOK_SCHEMA, NO_LEVEL, ORDERS_SCHEMA, EventKind
from market_maker.market_data.stretch import frozen


@dataclass(frozen=True, slots=True)
class Applied:
    """What rows did to the book.

    states : (n,) int8, `kernel.NO_BOOK`, `SOUND`, `LOCKED` or `CROSSED` at the ends of messages that changed it, else 0
    dropped : (n,) bool, changes of levels of a book that was not known
    quote_rows : (m,) int64, rows after which the best quotes had changed
    quotes : (m, 4) int64, bid ticks, bid lots, ask ticks, ask lots after these rows; 0 for an empty side
    quote_before : the quotes before the first row
    """

    states: NDArray[np.int8]
    dropped: NDArray[np.bool_]
    quote_rows: NDArray[np.int64]
    quotes: NDArray[np.int64]
    quote_before: tuple[int, int, int, int]


class Book:
    """A book that rows are applied to, in their order.

    Parameters
    ----------
    by_order : rows carry order ids (L3); otherwise levels (L2)
    first_ts : since when the recording should know the book, ns; without a snapshot at once there is a gap from here on
    """

    def __init__(self, *, by_order: bool, first_ts: int = 0) -> None:
        self.by_order = by_order
        self._prices, self._lots = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
        self._counts = np.zeros(2, np.int64)
        self._book = np.zeros(kernel.BOOK_SIZE, np.int64)
        self._book[kernel.LOST_TS] = first_ts
        self._quote = np.zeros(4, np.int64)
        self._last_sequence = 0
        self._gaps = np.zeros((64, 2), np.int64)
        self._ids = np.full(1024 if by_order else 1, kernel.FREE, np.int64)
        self._orders = np.zeros((len(self._ids), 4), np.int64)

    @property
    def known(self) -> bool:
        """Whether the book is known: it began with a snapshot (or an order) and no message is missing since."""
        return bool(self._book[kernel.KNOWN])

    @property
    def last_sequence(self) -> int:
        """The venue's number of the last row that changed the book, 0 without one."""
        return self._last_sequence

    @property
    def unknown_orders(self) -> int:
        """Cancels and fills of orders that were never added."""
        return int(self._book[kernel.UNKNOWN_CANCELS] + self._book[kernel.UNKNOWN_FILLS])

    @property
    def duplicate_adds(self) -> int:
        """Orders added a second time while they were in the book."""
        return int(self._book[kernel.DUPLICATE_ADDS])

    def gaps(self, until_ts: int) -> list[tuple[int, int]]:
        """Return the times [from, until) without a known book, ns; the last one, when it is not known now, to `until_ts`."""
        found = [(int(a), int(b)) for a, b in self._gaps[: self._book[kernel.GAPS]]]
        if not self.known and self._book[kernel.LOST_TS] < until_ts:
            found.append((int(self._book[kernel.LOST_TS]), until_ts))
        return found

    def lose(self, ts: int) -> None:
        """Say that messages may be missing from `ts` on: the book is unknown until the next snapshot."""
        if self.known:
            self._book[kernel.KNOWN], self._book[kernel.LOST_TS], self._book[kernel.CLEAR_TS] = 0, ts, 0

    def apply(self, frame: pl.DataFrame) -> Applied:
        """Apply rows (`BOOK_SCHEMA` or `ORDERS_SCHEMA` and `last`: the book is whole after the row)."""
        # Read-only whether polars lends its memory or copies: one type for the compiler, compiled once.
        ts = frozen(frame["local_ts"].to_numpy(), np.int64)
        n = len(ts)
        states, dropped = np.zeros(n, np.int8), np.zeros(n, np.bool_)
        quote_rows, quotes = np.empty(n, np.int64), np.empty((n, 4), np.int64)
        before = tuple(int(value) for value in self._quote)
        self._book[kernel.QUOTES] = 0
        columns = [frozen(frame[name].to_numpy(), np.int8) for name in ("kind", "side")]
        columns += [frozen(frame[name].to_numpy(), np.int64) for name in ("price_ticks", "qty_lots")]
        last = frozen(frame["last"].to_numpy(), np.bool_)
        results = (states, dropped, quote_rows, quotes)
        at = 0
        while True:
            if self.by_order:
                at = kernel.apply_orders(  # type: ignore[call-arg]
                    at, ts, *columns, frozen(frame["order_id"].to_numpy(), np.int64), last, self._ids, self._orders, self._prices,
                    self._lots, self._counts, self._book, self._quote, *results, self._gaps,
                )  # fmt: skip
            else:
                at = kernel.apply_levels(  # type: ignore[call-arg]
                    at, ts, *columns, last, self._prices, self._lots, self._counts, self._book, self._quote, *results,
                    self._gaps,
                )  # fmt: skip
            if at == n:
                break
            self._make_room()
        of_book = np.flatnonzero((columns[0] != EventKind.TRADE) & (columns[0] != EventKind.PRINT))
        if len(of_book):
            self._last_sequence = int(frame["sequence"][int(of_book[-1])])
        m = int(self._book[kernel.QUOTES])
        return Applied(states, dropped, quote_rows[:m], quotes[:m], before)  # type: ignore[arg-type]

    def levels(self, side: int, depth: int | None = None) -> list[tuple[int, int]]:
        """Return (price ticks, lots) of a side, best first."""
        s = 0 if side > 0 else 1
        count = int(self._counts[s])
        first = 0 if depth is None else max(0, count - depth)
        sign = 1 if s == 0 else -1
        prices, lots = self._prices[s, first:count][::-1] * sign, self._lots[s, first:count][::-1]
        return list(zip(prices.tolist(), lots.tolist(), strict=True))

    def orders(self) -> pl.DataFrame:
        """Return the orders in the book, by side and price, first in the queue first: side, price_ticks, qty_lots, order_id."""
        live = np.flatnonzero(self._ids > kernel.GONE)
        live = live[np.lexsort((self._orders[live, 3], -self._orders[live, 1], self._orders[live, 0]))]
        side = np.where(self._orders[live, 0] == 0, 1, -1).astype(np.int8)
        return pl.DataFrame(
            {
                "side": side,
                "price_ticks": self._orders[live, 1] * side,
                "qty_lots": self._orders[live, 2],
                "order_id": self._ids[live],
            }
        )

    def snapshot(self, exch_ts: int, local_ts: int) -> pl.DataFrame:
        """Return the whole book as rows: a clear of both sides, then every level (order) as SNAPSHOT."""
        schema: dict[str, Any] = dict(ORDERS_SCHEMA if self.by_order else BOOK_SCHEMA)
        if self.by_order:
            rest = self.orders()
            if not rest.height:
                rest = pl.DataFrame([(*NO_LEVEL, 0)], schema=rest.columns, orient="row")
        else:
            levels = [(side, price, lots) for side in (1, -1) for price, lots in self.levels(side)]
            rest = pl.DataFrame(levels or [NO_LEVEL], schema=["side", "price_ticks", "qty_lots"], orient="row")
        clears = pl.DataFrame({"side": [1, -1], "price_ticks": [0, 0], "qty_lots": [0, 0]} | (
            {"order_id": [0, 0]} if self.by_order else {}
        ))  # fmt: skip
        kinds = [int(EventKind.CLEAR)] * 2 + [int(EventKind.SNAPSHOT)] * rest.height
        columns = {name: pl.col(name).cast(schema[name]) for name in clears.columns}
        both = pl.concat([clears.select(**columns), rest.select(**columns)])
        return both.with_columns(
            exch_ts=pl.lit(exch_ts, pl.Int64), local_ts=pl.lit(local_ts, pl.Int64), sequence=pl.lit(self._last_sequence, pl.Int64),
            kind=pl.Series(kinds, dtype=pl.Int8),
        ).select(*schema, last=pl.int_range(pl.len()) == pl.len() - 1)  # fmt: skip

    def _make_room(self) -> None:
        if self._book[kernel.GAPS] == len(self._gaps):
            self._gaps = np.concatenate([self._gaps, np.zeros_like(self._gaps)])
            return
        capacity = self._prices.shape[1]
        if self._counts.max() + 2 > capacity:
            room = np.zeros((2, capacity), np.int64)
            self._prices, self._lots = np.hstack([self._prices, room]), np.hstack([self._lots, room])
        if 2 * (self._book[kernel.USED] + 1) > len(self._ids):
            live = int((self._ids > kernel.GONE).sum())
            size = len(self._ids) * (2 if 4 * live > len(self._ids) else 1)
            ids, orders = np.full(size, kernel.FREE, np.int64), np.zeros((size, 4), np.int64)
            self._book[kernel.USED] = kernel.rehash(self._ids, self._orders, ids, orders)
            self._ids, self._orders = ids, orders


def warm_up() -> None:
    """Compile the kernels of books, or read them from the cache."""
    for by_order in (False, True):
        rows = Book(by_order=by_order).snapshot(1, 1)
        Book(by_order=by_order).apply(rows)
