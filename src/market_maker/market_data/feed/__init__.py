"""A day's tables as rows of a replay: levels, trades and clears, whichever of the tables the book is in.

Owns what each table means for a replay, how trades of a table of their own come between, which rows are not shown, and what
no replay may be made of. Every quantity stays a whole number of lots. Knows no lake, no range of a run and no orders of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.market_data.feed import kernel
from market_maker.market_data.feed.kernel import CLEAR_ROW, LEVEL_ROW, NOBODY, TRADE_ROW
from market_maker.market_data.feed.orders import rows_of_orders, with_room
from market_maker.market_data.feed.rows import DayRows, Int64s, concatenated, venue_times
from market_maker.market_data.schema import EventKind
from market_maker.market_data.sessions import SessionState, session_stretches
from market_maker.market_data.sources import PAGE_SHIFT, SOURCES, source_of

SPAN_PAGES_MAX = 1 << 16
"""A day whose levels span more pages has orders that are meant never to trade; see `_without_far_levels`."""
FAR = 16
CROSSED_MAX = 1 / 3
"""Share of instants in which a side comes to stand through the other one, above which a feed is refused."""
OPENING_ROWS_MAX = 100_000
"""Changes that an opening may take; a book that is crossed after these is shown as it is."""
INT_MAX = 2**62
_KINDS = {"orders": (2, 3, 4, 5, 6, 7, 8, 9), "book": (1, 2, 3, 4, 5), "trades": (2, 5)}


@dataclass(frozen=True, slots=True)
class _Quotes:
    """The last best quotes of each instant."""

    local_ts: Int64s
    bid: Int64s
    ask: Int64s


def prepare(tables: Mapping[str, pl.DataFrame], *, carried_rows: int = 0, venue: str = "") -> dict[str, NDArray[Any]]:
    """Return the columns of the prepared form of one day.

    Trades are those of the book's own table when it has any, else those of the table `trades`.

    Receive order is that of the tables; trades of a table of their own come before the rows of the book of their instant.
    The venue's order sorts by exch_ts, stable, after each source that has an order of its own (all rows by order; of a book
    by level, its depth and its trades; other trades) was made monotone by a running maximum: inside one source the venue's
    sequence is the order, whatever the stamps say.

    Parameters
    ----------
    tables : in one pair of steps, by name: one of `SOURCES`, and perhaps `trades`
    carried_rows : leading rows of it that repeat what the day before has left
    venue : for its timetable

    Raises
    ------
    DataError
        A row that no replay may have, which is named; or no row that a replay can show.
    """
    table = source_of(tables)
    if table is None:
        raise DataError(f"a replay needs one of the tables {', '.join(SOURCES)}")
    frame = tables[table]
    check(table, frame)
    has_trades = table != "bbo" and bool((frame["kind"] == EventKind.TRADE).any())
    fills_trade = table == "orders" and not has_trades and bool((frame["kind"] == EventKind.FILL).any())
    apart = None if has_trades or fills_trade else tables.get("trades")
    if apart is not None:
        check("trades", apart)
    quotes = None
    others: dict[str, NDArray[Any]] = {}
    if table == "orders":
        rows, others = rows_of_orders(frame, carried_rows, fills_trade=fills_trade)
    elif table == "book":
        rows = _rows_of_book(frame, carried_rows)
    else:
        rows, quotes = _rows_of_quotes(frame)
    if apart is not None:
        rows = _merged(rows, _rows_of_trades(apart, quotes))
    if rows.carried:
        rows.exch_ts[: rows.carried] = rows.exch_ts.min()
    rows = _shown(_without_far_levels(rows), venue)
    _refuse_crossed(rows, table, local_ts=frame["local_ts"].to_numpy())
    if not len(rows.code):
        raise DataError(f"{table}: no row that a replay can show, only prints beside the book or rows of a pre-opening")
    # Whether the table of trades is in it, and how many rows repeat what the day before has left.
    return _columns(rows) | others | {"marks": np.array([apart is not None, rows.carried], np.int64)}


def check(table: str, frame: pl.DataFrame) -> None:
    """Raise DataError for the first row, counted from 1, that no replay may have."""
    local_ts = frame["local_ts"].to_numpy()
    backward = np.flatnonzero(local_ts[1:] < local_ts[:-1]) + 1
    if len(backward):
        raise _refused(
            table, int(backward[0]), f"receive time {local_ts[backward[0]]} is earlier than the row before it"
        )
    if table == "bbo":
        for name in ("bid_price_ticks", "bid_qty_lots", "ask_price_ticks", "ask_qty_lots"):
            _refuse(table, frame, name, (pl.col(name) < 0) | (pl.col(name) > INT_MAX), f"0 to {INT_MAX}")
        return
    _refuse(table, frame, "kind", ~pl.col("kind").is_in(_KINDS[table]), f"one of {_KINDS[table]}")
    is_clear = pl.col("kind") == EventKind.CLEAR
    is_trade = pl.col("kind").is_in([EventKind.TRADE, EventKind.PRINT])
    _refuse(table, frame, "side", ~pl.col("side").is_in([-1, 1]) & ~is_trade, "+1 or -1")
    _refuse(table, frame, "side", ~pl.col("side").is_in([-1, 0, 1]), "+1 or -1, 0 for a trade without an aggressor")
    _refuse(table, frame, "qty_lots", (pl.col("qty_lots") < 0) | (pl.col("qty_lots") > INT_MAX), f"0 to {INT_MAX}")
    names_price = ~is_clear & (pl.col("qty_lots") > 0)
    if table == "orders":
        # An order that leaves is known by its id.
        names_price &= ~pl.col("kind").is_in([EventKind.CANCEL, EventKind.FILL])
    names_price &= pl.col("kind") != EventKind.PRINT
    bad = names_price & ((pl.col("price_ticks") < 1) | (pl.col("price_ticks") > INT_MAX))
    _refuse(table, frame, "price_ticks", bad, "at least 1 tick: a replay has no prices of nothing or less")


def _refuse(table: str, frame: pl.DataFrame, column: str, rule: pl.Expr, allowed: str) -> None:
    bad = frame.select(rule.fill_null(value=True)).to_series()
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise _refused(table, row, f"{column} {frame[column][row]} is not allowed ({allowed})")


def _refused(table: str, row: int, what: str) -> DataError:
    return DataError(f"{table} row {row + 1}: {what}")


# --- one table after the other ----------------------------------------------------------------------------------------


def _rows_of_book(frame: pl.DataFrame, carried_rows: int) -> DayRows:
    """Depth, snapshots, clears and trades as they stand; prints beside the book and trades of no side are left out."""
    kind, side = frame["kind"].to_numpy(), frame["side"].to_numpy()
    code = np.array([0, LEVEL_ROW, TRADE_ROW, CLEAR_ROW, LEVEL_ROW, 0], np.int8)[kind]
    code = code * np.where(side >= 0, 1, -1).astype(np.int8)
    local_ts = frame["local_ts"].to_numpy()
    exch_ts = frame["exch_ts"].to_numpy().copy()
    is_trade = (kind == EventKind.TRADE) | (kind == EventKind.PRINT)
    for source in (is_trade, ~is_trade):
        exch_ts[source] = venue_times(exch_ts[source], local_ts[source])
    price, quantity = frame["price_ticks"].to_numpy(), frame["qty_lots"].to_numpy()
    rows = DayRows(local_ts, exch_ts, price, quantity, code, np.zeros(len(kind), np.int8), carried=carried_rows)
    left_out = (kind == EventKind.PRINT) | ((kind == EventKind.TRADE) & (side == 0))
    return rows.take(~left_out) if left_out.any() else rows


def _rows_of_quotes(frame: pl.DataFrame) -> tuple[DayRows, _Quotes]:
    """Best quotes as a book of one level: the last ones of an instant, of which what changed; what is gone goes first."""
    local_ts = frame["local_ts"].to_numpy()
    exch_ts = venue_times(frame["exch_ts"].to_numpy(), local_ts)
    is_last = np.ones(len(local_ts), np.bool_)
    is_last[:-1] = (local_ts[1:] != local_ts[:-1]) | (exch_ts[1:] != exch_ts[:-1])
    kept = np.flatnonzero(is_last)
    local_ts, exch_ts = local_ts[kept], exch_ts[kept]
    sides = []
    for side in ("bid", "ask"):
        price, quantity = (frame[f"{side}_{name}"].to_numpy()[kept] for name in ("price_ticks", "qty_lots"))
        sides.append((price, np.where(price > 0, quantity, 0)))
    masks, prices, quantities = [], [], []
    for price, quantity in sides:
        before, before_lots = (np.concatenate([[0], column[:-1]]) for column in (price, quantity))
        moved = price != before
        masks += [(before_lots > 0) & (moved | (quantity == 0)), (quantity > 0) & (moved | (quantity != before_lots))]
        prices += [before, price]
        quantities += [np.zeros_like(quantity), quantity]
    # Both removals of an instant, then what is new.
    order = (0, 2, 1, 3)
    row, change = np.nonzero(np.column_stack([masks[k] for k in order]))
    price, quantity = np.empty(len(row), np.int64), np.empty(len(row), np.int64)
    for place, k in enumerate(order):
        chosen = change == place
        price[chosen], quantity[chosen] = prices[k][row[chosen]], quantities[k][row[chosen]]
    code = np.array([LEVEL_ROW, -LEVEL_ROW, LEVEL_ROW, -LEVEL_ROW], np.int8)[change]
    # The time before may have left other quotes.
    row, clear = np.concatenate([[0, 0], row]), np.zeros(2, np.int64)
    rows = DayRows(
        local_ts[row], exch_ts[row], np.concatenate([clear, price]), np.concatenate([clear, quantity]),
        np.concatenate([np.array([CLEAR_ROW, -CLEAR_ROW], np.int8), code]), np.zeros(len(row), np.int8),
    )  # fmt: skip
    shown = [np.where(lots > 0, price, 0) for price, lots in sides]
    return rows, _Quotes(local_ts, *shown)


def _rows_of_trades(frame: pl.DataFrame, quotes: _Quotes | None) -> DayRows:
    """Trades of a table of their own; those without an aggressor have the side that the quotes before them tell, or none.

    At or above the ask it was a buyer's, at or below the bid a seller's; between them it met nothing that was displayed.
    """
    trades = frame.filter(pl.col("kind") == EventKind.TRADE)
    side, price = trades["side"].to_numpy().copy(), trades["price_ticks"].to_numpy()
    local_ts = trades["local_ts"].to_numpy()
    if quotes is not None:
        at = np.searchsorted(quotes.local_ts, local_ts, side="left") - 1
        bid, ask = (np.where(at >= 0, column[at], 0) for column in (quotes.bid, quotes.ask))
        told = ((ask > 0) & (price >= ask)).astype(np.int8) - ((bid > 0) & (price <= bid)).astype(np.int8)
        side = np.where(side == 0, told, side)
    exch_ts = venue_times(trades["exch_ts"].to_numpy(), local_ts)
    rows = DayRows(
        local_ts, exch_ts, price, trades["qty_lots"].to_numpy(), np.sign(side).astype(np.int8) * np.int8(TRADE_ROW),
        np.zeros(len(side), np.int8),
    )  # fmt: skip
    return rows.take(side != 0)


# --- all rows of the day ----------------------------------------------------------------------------------------------


def _merged(book: DayRows, trades: DayRows) -> DayRows:
    """Return both by receive time, trades of an instant first: what they took is missing in what the book shows then."""
    carried = book.carried
    # Whom they executed is not known.
    rows = concatenated([trades, book], joined=NOBODY, carried=carried)
    rows.rank[:] = np.repeat(np.array([0, 1], np.int8), [len(trades.code), len(book.code)])
    repeated = slice(len(trades.code), len(trades.code) + carried)
    rows.rank[repeated] = -1
    if carried:
        rows.local_ts[repeated] = rows.local_ts.min()
    return rows.take(np.lexsort((rows.rank, rows.local_ts)))


def _without_far_levels(rows: DayRows) -> DayRows:
    """Leave out levels at more than 16 times the median price, where a few of them make a book wider than can be laid out."""
    shown = (np.abs(rows.code) == LEVEL_ROW) & (rows.quantity > 0)
    prices = rows.price[shown]
    if not len(prices) or int(np.ptp(prices)) >> PAGE_SHIFT < SPAN_PAGES_MAX:
        return rows
    far = shown & (rows.price > FAR * max(1, int(np.median(prices))))
    return replace(rows.take(~far), carried=rows.carried - int(far[: rows.carried].sum()))


def _shown(rows: DayRows, venue: str) -> DayRows:
    """Return the rows with a book that is empty while orders are collected for an opening.

    In a pre-opening nothing matches and bids stand above asks: the book is shown, whole, once the opening has matched them.
    """
    closed = _pre_openings(rows, venue)
    if not closed:
        return rows
    book = _Follower(rows)
    parts: list[DayRows] = []
    at, carried = 0, rows.carried
    for begin, end in closed:
        changes = np.flatnonzero(np.abs(rows.code[begin:end]) != TRADE_ROW) + begin
        if not len(changes):
            continue
        book.follow(at, begin)
        parts += [rows.take(slice(at, begin)), book.clears(int(changes[0]))]
        book.follow(begin, end)
        at = book.uncrossed(end)
        if at < len(rows.code):
            parts.append(book.whole(at))
        carried = 0 if begin < carried else carried
    parts.append(rows.take(slice(at, len(rows.code))))
    return concatenated(parts, carried=carried)


def _pre_openings(rows: DayRows, venue: str) -> list[tuple[int, int]]:
    """Return the rows [from, until) of each pre-opening, by the venue's clock."""
    if not len(rows.code):
        return []
    clock = np.maximum.accumulate(rows.exch_ts)
    stretches = session_stretches(venue, int(clock[0]), int(clock[-1]) + 1, (SessionState.PRE_OPEN,))
    places = np.searchsorted(clock, stretches)
    return [(int(begin), int(end)) for begin, end in places if begin < end]


class _Follower:
    """The book behind rows of a replay, as they pass."""

    def __init__(self, rows: DayRows) -> None:
        self._rows = rows
        self._prices, self._lots = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64)
        self._counts = np.zeros(2, np.int64)

    def follow(self, begin: int, end: int) -> None:
        """Apply rows."""
        columns = (self._rows.code, self._rows.price, self._rows.quantity)
        while begin < end:
            begin = kernel.follow(begin, end, *columns, self._prices, self._lots, self._counts)
            self._prices, self._lots = with_room(self._prices, self._lots, self._counts)

    def uncrossed(self, begin: int) -> int:
        """Follow until bids are below asks; return the change of the book from `begin` on that the following stopped before.

        What is inserted there stands before a change of the book, so that both streams have it in the same place.
        """
        changes = np.flatnonzero(np.abs(self._rows.code[begin:]) != TRADE_ROW) + begin
        for at in changes[:OPENING_ROWS_MAX].tolist():
            self.follow(begin, at)
            begin = at
            bids, asks = self._counts.tolist()
            # Asks lie under the negative of their price.
            if not bids or not asks or self._prices[0, bids - 1] + self._prices[1, asks - 1] < 0:
                return begin
        return begin if len(changes) > OPENING_ROWS_MAX else len(self._rows.code)

    def clears(self, at: int) -> DayRows:
        """Return a clear of both sides with the times of row `at`."""
        return self._inserted(at, [CLEAR_ROW, -CLEAR_ROW], [0, 0], [0, 0])

    def whole(self, at: int) -> DayRows:
        """Return every level with the times of row `at`."""
        code, price, quantity = [], [], []
        for s, sign in ((0, 1), (1, -1)):
            n = int(self._counts[s])
            code += [sign * LEVEL_ROW] * n
            price += (sign * self._prices[s, :n][::-1]).tolist()
            quantity += self._lots[s, :n][::-1].tolist()
        return self._inserted(at, code, price, quantity)

    def _inserted(self, at: int, code: list[int], price: list[int], quantity: list[int]) -> DayRows:
        n = len(code)
        rows = self._rows
        return DayRows(
            np.full(n, rows.local_ts[at]), np.full(n, rows.exch_ts[at]), np.array(price, np.int64),
            np.array(quantity, np.int64), np.array(code, np.int8), np.full(n, rows.rank[at]),
        )  # fmt: skip


def _refuse_crossed(rows: DayRows, table: str, local_ts: Int64s) -> None:
    """Raise DataError where bids and asks stand through each other again and again: sides are swapped, or the build is wrong.

    A level that was left behind crosses once; of two sides that overlap, about every other row does.
    """
    prices, lots, counts = np.zeros((2, 256), np.int64), np.zeros((2, 256), np.int64), np.zeros(2, np.int64)
    figures = np.zeros(kernel.FIGURES_SIZE, np.int64)
    at = 0
    while at < len(rows.code):
        at = kernel.judge(at, rows.local_ts, rows.code, rows.price, rows.quantity, prices, lots, counts, figures)
        prices, lots = with_room(prices, lots, counts)
    crossed, instants = int(figures[kernel.CROSSED]), int(figures[kernel.INSTANTS])
    if crossed > CROSSED_MAX * instants:
        row = int(np.searchsorted(local_ts, rows.local_ts[figures[kernel.FIRST_CROSSED]]))
        raise _refused(
            table, row, f"bids stand at or above asks, as they come to do in {crossed} of {instants} instants with a change of"
            " the book: a replay needs a book that is not crossed throughout",
        )  # fmt: skip


def _columns(rows: DayRows) -> dict[str, NDArray[Any]]:
    """Return the prepared form: a second set of columns only where the venue's order is another one.

    `joined_ts` is in the venue's order, too.
    """
    columns: dict[str, NDArray[Any]] = {
        "local_ts": rows.local_ts, "price_ticks": rows.price, "qty_lots": rows.quantity, "code": rows.code,
    }  # fmt: skip
    later = rows.exch_ts[1:] > rows.exch_ts[:-1]
    same = (rows.exch_ts[1:] == rows.exch_ts[:-1]) & (rows.rank[1:] >= rows.rank[:-1])
    order: Any = slice(None)
    if bool(np.all(later | same)):
        columns["exch_ts"] = rows.exch_ts
    else:
        order = np.lexsort((rows.rank, rows.exch_ts))
        columns |= {
            "exch_ts": rows.exch_ts[order], "exch_price_ticks": rows.price[order],
            "exch_qty_lots": rows.quantity[order], "exch_code": rows.code[order],
        }  # fmt: skip
    if rows.joined is not None:
        columns["joined_ts"] = rows.joined[order]
    for name, wanted in (("bid_pages", LEVEL_ROW), ("ask_pages", -LEVEL_ROW)):
        columns[name] = np.unique(rows.price[(rows.code == wanted) & (rows.quantity > 0)] >> PAGE_SHIFT)
    return columns
