"""A book by order as rows of a replay: each level row is the change of one order, each trade row the execution of one.

Owns what an order's place in its queue is, and which trades its fills belong to; the rules stand in `kernel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.market_data.feed import kernel
from market_maker.market_data.feed.kernel import FREE, GONE, NOBODY, TRADE_ROW, rehash
from market_maker.market_data.feed.rows import DayRows, Int64s, venue_times
from market_maker.market_data.schema import EventKind
from market_maker.market_data.stretch import frozen

CHUNK_ROWS = 1 << 20


def rows_of_orders(
    frame: pl.DataFrame, carried_rows: int, *, fills_trade: bool
) -> tuple[DayRows, dict[str, NDArray[Any]]]:
    """Return the rows, and the orders of both ends of the day.

    An order took its place when it was added, or changed to another price or a larger size; one that shrinks keeps it.
    Orders that are known from a snapshot alone have 0: they stand ahead of everybody. So does what a level holds beside its
    known orders, and so do the orders that the day before has left: these have -1 less the row in which they come, so that
    their places can be found there. A trade of which no resting order is known has `kernel.NOBODY`.

    A trade has executed the orders that its fills name; where the source tells these by what has become of the order
    (CME by Databento), those that are canceled or changed in the event of the trade, at its price.

    Source: price-time priority of the venues whose orders are recorded (NASDAQ TotalView-ITCH 5.0, order executed, cancel
    and replace messages; CME Globex, order modification and loss of priority).

    Parameters
    ----------
    fills_trade : whether a FILL is a trade of its own, because no TRADE tells of any

    Returns
    -------
    rows
    columns : `carried_ids`, the ids of the carried rows; `left_ids` and `left_joined` of the orders that the day leaves
    """
    whole = _messages(frame)
    events = np.flatnonzero(whole.begins)
    book = _Book(fills_trade=fills_trade)
    begin, parts, carried = 0, [], 0
    while begin < frame.height:
        end = carried_rows if begin < carried_rows else begin + CHUNK_ROWS
        if end > carried_rows:
            # An event is never cut; what was carried is no part of the one after it.
            at = int(np.searchsorted(events, end))
            end = int(events[at]) if at < len(events) else frame.height
        rows = kernel.Messages(*(column[begin:end] for column in whole))
        out = book.apply(rows, is_carried=end == carried_rows)
        out[:, :2] += begin
        parts.append(out)
        carried = len(out) if end == carried_rows else carried
        begin = end
    out = np.concatenate(parts)
    del parts
    # Received in the order of the rows that they tell; written in the venue's.
    if bool((out[1:, 0] < out[:-1, 0]).any()):
        out = out[np.argsort(out[:, 0], kind="stable")]
    row, code, joined = out[:, 0], out[:, 2].astype(np.int8), out[:, 5].copy()
    found = DayRows(
        whole.local_ts[row], whole.exch_ts[row], out[:, 3].copy(), out[:, 4].copy(), code,
        _ranks(out[:, 1].copy(), code, joined), joined, carried,
    )  # fmt: skip
    return found, {"carried_ids": whole.order_id[:carried_rows].copy(), **book.left()}


def _messages(frame: pl.DataFrame) -> kernel.Messages:
    told, local_ts = frame["exch_ts"].to_numpy(), frame["local_ts"].to_numpy()
    exch_ts = venue_times(told, local_ts)
    # What happened at one time of the venue is one event, received together or not.
    begins = np.ones(frame.height, np.bool_)
    begins[1:] = (exch_ts[1:] != exch_ts[:-1]) | ((told[1:] <= 0) & (local_ts[1:] != local_ts[:-1]))
    kind, side, price, quantity, order_id = (
        frame[name].to_numpy() for name in ("kind", "side", "price_ticks", "qty_lots", "order_id")
    )
    left = np.where((kind == EventKind.TRADE) & (side != 0), quantity, 0)
    # Read-only, whether they share memory with the frame or not: the kernel is compiled for one of both.
    return kernel.Messages(
        exch_ts=frozen(exch_ts, np.int64), local_ts=frozen(local_ts, np.int64), begins=frozen(begins, np.bool_),
        kind=frozen(kind, np.int8), side=frozen(side, np.int8), price=frozen(price, np.int64),
        quantity=frozen(quantity, np.int64), order_id=frozen(order_id, np.int64), left=left,
    )  # fmt: skip


def _ranks(rank: Int64s, code: NDArray[np.int8], joined: Int64s) -> Int64s:
    """Return ranks by which no trade overtakes another, so that both streams have them in one order.

    Rather a trade comes before its turn than after the level that shows what it has taken.
    """
    is_trade = np.abs(code) == TRADE_ROW
    known = np.flatnonzero(is_trade & (joined != NOBODY))
    rank[known] = np.minimum.accumulate(rank[known][::-1])[::-1]
    rank[is_trade] = np.maximum.accumulate(rank[is_trade])
    return rank


class _Book:
    """The book by order behind levels, with room made where the kernel stops for want of it."""

    def __init__(self, *, fills_trade: bool) -> None:
        state = np.zeros(kernel.STATE_SIZE, np.int64)
        state[kernel.FILLS_TRADE] = fills_trade
        self._book = kernel.Book(
            ids=np.full(1024, FREE, np.int64), orders=np.zeros((1024, kernel.ORDER_FIELDS), np.int64),
            prices=np.zeros((2, 256), np.int64), lots=np.zeros((2, 256), np.int64), counts=np.zeros(2, np.int64), state=state,
            open_rows=np.zeros(kernel.OPEN_MAX, np.int64),
        )  # fmt: skip

    def apply(self, rows: kernel.Messages, *, is_carried: bool) -> Int64s:
        """Return the rows (`kernel.ROW_FIELDS`) that whole events come to."""
        n = len(rows.kind)
        out = np.empty((2 * n, kernel.ROW_FIELDS), np.int64)
        state = self._book.state
        state[kernel.ROWS] = state[kernel.AHEAD] = 0
        state[kernel.CARRIED] = is_carried
        at = 0
        while True:
            at = kernel.levels_of_orders(at, rows, self._book, out)
            if at == n:
                found: Int64s = out[: state[kernel.ROWS]].copy()
                return found
            self._make_room()

    def left(self) -> dict[str, NDArray[Any]]:
        """Return the orders that are in the book, by id."""
        lives = np.flatnonzero(self._book.ids > GONE)
        lives = lives[np.argsort(self._book.ids[lives])]
        return {"left_ids": self._book.ids[lives], "left_joined": self._book.orders[lives, kernel.JOINED]}

    def _make_room(self) -> None:
        book = self._book
        prices, lots = with_room(book.prices, book.lots, book.counts)
        ids, orders = book.ids, book.orders
        if 2 * (book.state[kernel.USED] + 1) > len(ids):
            live = int((ids > GONE).sum())
            size = len(ids) * (2 if 4 * live > len(ids) else 1)
            ids, orders = np.full(size, FREE, np.int64), np.zeros((size, kernel.ORDER_FIELDS), np.int64)
            book.state[kernel.USED] = rehash(book.ids, book.orders, ids, orders)
        self._book = book._replace(ids=ids, orders=orders, prices=prices, lots=lots)


def with_room(prices: Int64s, lots: Int64s, counts: Int64s) -> tuple[Int64s, Int64s]:
    """Return levels with room for two more on each side."""
    if counts.max() + 2 <= prices.shape[1]:
        return prices, lots
    room = np.zeros_like(prices)
    return np.hstack([prices, room]), np.hstack([lots, room])
