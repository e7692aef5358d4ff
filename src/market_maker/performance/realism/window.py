"""A window of a market, as realism is measured on it: quotes, trades, depth, order events and lives of orders, as arrays.

Owns the shapes and what a window must keep, and how it is made of level rows and of order rows. Knows no lake and no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.units import NS_PER_SECOND
from market_maker.market_data.stretch import frozen
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.realism import kernel
from market_maker.performance.realism.compiled import compiled_realism

ROWS_MAX = 50_000_000
"""Rows of a window: some 10 GB of memory at most."""
SAMPLE_NS = NS_PER_SECOND
"""Depth and spread are sampled once a second."""


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Equally many rows, times first and never decreasing, all int64."""

    ts: Int64

    def __post_init__(self) -> None:
        for field in fields(self):
            values = np.ascontiguousarray(np.asarray(getattr(self, field.name), dtype=np.int64))
            object.__setattr__(self, field.name, values)
            if len(values) != len(self.ts):
                raise DataError(f"{field.name}: {len(values)} rows, but {len(self.ts)} times; give one for each")
        if np.any(np.diff(self.ts) < 0):
            raise DataError(f"{type(self).__name__}: times go backwards; sort the rows by time")


@dataclass(frozen=True, slots=True, eq=False)
class Quotes(_Columns):
    """Best prices (ticks) and quantities (lots) from `ts` (ns) on, (n,) each; price 0: that side is empty."""

    bid_ticks: Int64
    bid_lots: Int64
    ask_ticks: Int64
    ask_lots: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Trades(_Columns):
    """Public prints, (n,) each; side of the aggressor: 1 buys, -1 sells, 0 unknown."""

    price_ticks: Int64
    lots: Int64
    side: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Depth(_Columns):
    """Quantities at sampled instants.

    bid_lots, ask_lots : (n, levels) int64, best level first, 0 beyond the last level
    """

    bid_lots: Int64
    ask_lots: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Events(_Columns):
    """Every limit order, cancel and market order, (n,) each.

    kind : `kernel.LIMIT`, `CANCEL` or `MARKET`
    side : 1 for an order that buys, -1 sells
    price_ticks : of the order; of a market order that of the print
    lots : quantity added, taken away or traded
    level : index of the level on its side of the book from 1 (of a market order: on the other side), 0 unknown
    mid_half_ticks : best bid + best ask before the event, 0 unknown
    """

    kind: Int64
    side: Int64
    price_ticks: Int64
    lots: Int64
    level: Int64
    mid_half_ticks: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Lives(_Columns):
    """Orders that were added in the window, (n,) each; `ts` is when, ns; 0: it has not happened by the end.

    filled_ts, gone_ts : first fill, and the end
    how : `kernel.OPEN`, `WAS_FILLED` or `WAS_CANCELED`
    """

    filled_ts: Int64
    gone_ts: Int64
    how: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Metaorders(_Columns):
    """Large orders that an agent worked off in pieces, (n,) each; `ts` is the start, ns, and `end_ts` the last piece."""

    end_ts: Int64
    side: Int64
    lots: Int64


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of one market.

    Parameters
    ----------
    name : for tables
    start_ts, end_ts : [start, end), ns
    quotes : from the start on
    trades : none where the data have none
    depth, events, lives, metaorders : None where the data cannot tell them
    gaps : (from, until) ns, where nothing was recorded; no mid is known there
    missing : why something is None, by the name of the field, in words

    Raises
    ------
    DataError
        Columns of different lengths, times that go backwards, an empty window.
    """

    name: str
    start_ts: int
    end_ts: int
    quotes: Quotes
    trades: Trades
    depth: Depth | None = None
    events: Events | None = None
    lives: Lives | None = None
    metaorders: Metaorders | None = None
    gaps: tuple[tuple[int, int], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.end_ts <= self.start_ts:
            raise DataError(
                f"a window from {self.start_ts} to {self.end_ts} is empty; its end must lie after its start"
            )

    def why_not(self, field: str) -> str:
        """Return why a field is None."""
        return dict(self.missing).get(field, f"the data have no {field}")

    def mids(self, step_ns: int) -> Float64:
        """Return ln(mid) at the end of each whole interval of `step_ns`, and at the start: (intervals + 1,); NaN unknown.

        The mid is that of the last quote at or before the instant.
        """
        at = self.start_ts + step_ns * np.arange((self.end_ts - self.start_ts) // step_ns + 1, dtype=np.int64)
        quotes = self.quotes
        place = np.searchsorted(quotes.ts, at, side="right") - 1
        if not len(quotes.ts):
            return np.full(len(at), np.nan)
        bid, ask = quotes.bid_ticks[place], quotes.ask_ticks[place]
        is_known = (place >= 0) & (bid > 0) & (ask > 0)
        for begin, end in self.gaps:
            is_known &= (at < begin) | (at >= end)
        found = np.full(len(at), np.nan)
        found[is_known] = np.log(0.5 * (bid[is_known] + ask[is_known]))
        return found

    @cached_property
    def market_orders(self) -> Trades:
        """Prints of one instant and one known side as one order; its price is that of the last print."""
        trades = self.trades
        keep = trades.side != 0
        ts, price, lots, side = (column[keep] for column in (trades.ts, trades.price_ticks, trades.lots, trades.side))
        if not len(ts):
            return Trades(ts, price, lots, side)
        begins = np.flatnonzero(np.append(True, (ts[1:] != ts[:-1]) | (side[1:] != side[:-1])))
        ends = np.append(begins[1:], len(ts)) - 1
        return Trades(ts[begins], price[ends], np.add.reduceat(lots, begins), side[begins])


class LevelRows(NamedTuple):
    """Rows of a book by level in their order, (n,) each: ns, ticks, lots, and codes as in `kernel`."""

    ts: Int64
    price_ticks: Int64
    lots: Int64
    code: NDArray[np.int8]


def window_of(
    rows: LevelRows,
    *,
    name: str,
    start_ts: int,
    end_ts: int,
    has_levels: bool = True,
    lives: Lives | None = None,
    gaps: Sequence[tuple[int, int]] = (),
    missing: Sequence[tuple[str, str]] = (),
) -> Window:
    """Return the window of level rows: what a recording of a book, or a simulated one, comes to.

    Parameters
    ----------
    rows : from a picture of the whole book on, at or before the start; at most ROWS_MAX
    has_levels : False: the rows are best quotes alone, which tell neither limit orders nor cancels
    lives, gaps, missing : as of a `Window`

    Raises
    ------
    InvalidRequest
        Too many rows.
    DataError
        As of a `Window`.
    """
    ts, price, lots = (frozen(column, np.int64) for column in rows[:3])
    code = frozen(rows.code, np.int8)
    if len(ts) > ROWS_MAX:
        raise InvalidRequest.of("range", f"{len(ts):,} rows", f"{ROWS_MAX:,} rows or fewer: take fewer days")
    n = len(ts)
    rank, counts, prices = ranks_of(price, code)
    room = max(1, int(counts.max()))
    samples = max(0, -(-(end_ts - start_ts) // SAMPLE_NS))
    quotes = np.empty((n + 1, kernel.QUOTE_COLUMNS), np.int64)
    events = np.empty((n, kernel.EVENT_COLUMNS), np.int64)
    trade_rows, sampled = np.empty(n, np.int64), np.empty(samples, np.int64)
    depth, numbers = np.zeros((samples, 2 * kernel.LEVELS), np.int64), np.zeros(kernel.COUNTS, np.int64)
    compiled_realism().walk(
        ts, price, lots, code, frozen(rank, np.int64), frozen(counts, np.int64), frozen(prices, np.int64), np.zeros((2, room), np.int64), np.zeros((2, room), np.int64), start_ts,
        end_ts, SAMPLE_NS, quotes, events, trade_rows, sampled, depth, numbers,
    )  # fmt: skip
    shown = quotes[: numbers[kernel.QUOTES]].T
    at = trade_rows[: numbers[kernel.TRADES]]
    kept = slice(0, numbers[kernel.SAMPLES])
    levels = kernel.LEVELS if has_levels else 1
    told = dict(missing)
    if not has_levels:
        told.setdefault("events", "best quotes alone tell neither limit orders nor cancels")
    return Window(
        name, start_ts, end_ts, Quotes(*shown), Trades(ts[at], price[at], lots[at], np.sign(code[at])),
        depth=Depth(sampled[kept], depth[kept, :levels], depth[kept, kernel.LEVELS : kernel.LEVELS + levels]),
        events=Events(*events[: numbers[kernel.EVENTS]].T) if has_levels else None,
        lives=lives, gaps=tuple(gaps), missing=tuple(told.items()),
    )  # fmt: skip


def ranks_of(price: Int64, code: NDArray[np.int8]) -> tuple[Int64, Int64, Int64]:
    """Return the rank of each row's level, the ranks of both sides, and the price of each rank; see `kernel`."""
    rank = np.full(len(price), -1, np.int64)
    sides = []
    for sign in (1, -1):
        rows = np.flatnonzero(code == sign * kernel.LEVEL_ROW)
        known, places = np.unique(price[rows] * -sign, return_inverse=True)
        rank[rows] = places
        # A buyer's trade takes from the asks.
        trades = np.flatnonzero(code == -sign * kernel.TRADE_ROW)
        if len(known):
            keys = price[trades] * -sign
            found = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            rank[trades] = np.where(known[found] == keys, found, -1)
        sides.append(known * -sign)
    counts = np.array([len(side) for side in sides], np.int64)
    prices = np.zeros((2, max(1, int(counts.max()))), np.int64)
    for s, side in enumerate(sides):
        prices[s, : len(side)] = side
    return rank, counts, prices


def lives_of(columns: Any, *, start_ts: int, end_ts: int) -> Lives:
    """Return the lives of orders that are added in [start, end).

    Parameters
    ----------
    columns : mapping of (n,) arrays `ts`, `kind`, `side`, `price_ticks`, `qty_lots`, `order_id`, as in a table of orders
    """
    ts, price, qty = (frozen(columns[name], np.int64) for name in ("ts", "price_ticks", "qty_lots"))
    kind, side = (frozen(columns[name], np.int8) for name in ("kind", "side"))
    ids, order = np.unique(np.asarray(columns["order_id"]), return_inverse=True)
    orders = np.zeros((len(ts) + 1, kernel.ORDER_COLUMNS), np.int64)
    state = np.zeros((max(1, len(ids)), 4), np.int64)
    count = compiled_realism().live(ts, kind, side, price, qty, frozen(order, np.int64), orders, state)
    found = orders[:count]
    found = found[(found[:, kernel.O_ADDED] >= start_ts) & (found[:, kernel.O_ADDED] < end_ts)]
    for column, value in ((kernel.O_FILLED, 0), (kernel.O_GONE, 0)):
        late = found[:, column] >= end_ts
        found[late, column] = value
        if column == kernel.O_GONE:
            found[late, kernel.O_HOW] = kernel.OPEN
    return Lives(*(found[:, column] for column in range(kernel.ORDER_COLUMNS)))
