"""LOBSTER: a day's messages and the order book after each of them, two CSV files in one zip.

The messages name orders, but only inside the window of the best levels; the provider's order book rows are the truth. So
the result is a book by order in which each price may have one anonymous order besides (id `kernel.ANONYMOUS` + ...): what
rested before the file begins, or was entered outside the window. It is set anew whenever a level enters the window or
differs, so that the best levels of the book are the provider's after every message. Deeper ones are as last seen.
Source: the readme inside the provider's sample files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.market_data.columns import DECIMAL, Dtype, read_csv
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.importers.lobster import kernel
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS
from market_maker.market_data.source import Source

NAME = "lobster"
VERSION = "1"
TITLE = "LOBSTER messages and order book (NASDAQ)"

PRICE_UNIT = Decimal("0.0001")
DAY_S = 86_400
_NS, _HALF_NS = pl.Series([10**9], dtype=pl.Int128), pl.Series([5 * 10**8], dtype=pl.Int128)
_ZONE = ZoneInfo("America/New_York")
_FILE = re.compile(r"(.+)_([0-9]{4}-[0-9]{2}-[0-9]{2})_[0-9]+_[0-9]+_(message|orderbook)_([0-9]{1,3})\.csv")
_MESSAGE: dict[str, Dtype] = {
    "time": DECIMAL, "type": pl.Int64, "order_id": pl.Int64, "size": pl.Int64, "price": pl.Int64, "direction": pl.Int64,
}  # fmt: skip
_COUNTS = {
    kernel.REMOVED: "references_to_orders_taken_out", kernel.SIZES: "references_of_another_size",
    kernel.DUPLICATES: "duplicate_orders", kernel.ENTERED: "levels_set_on_entering_the_window",
    kernel.DIFFERING: "levels_set_inside_the_window", kernel.HALTS: "halts",
}  # fmt: skip
ROWS_ROOM = 500_000


@dataclass(frozen=True, slots=True)
class _Day:
    """The two files of a symbol's day, or the one that is there."""

    symbol: str
    day: str
    depth: int
    message: str | None
    orderbook: str | None


def recognises(source: Source) -> bool:
    """Return whether the file, or a member of the zip, has a name as LOBSTER gives them and rows to match."""
    for member in source.members or (source.path.name,):
        found = _FILE.fullmatch(PurePosixPath(member).name.removesuffix(".gz"))
        if found:
            fields = source.first_line(member if source.members else None).split(",")
            return len(fields) == (6 if found[3] == "message" else 4 * int(found[4]))
    return False


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield each day of the zip as `orders`, seeded from the first row of its order book."""
    for day in _days(source):
        if options.wants(day.symbol):
            yield from _read_day(source, day, options, notes)


def _days(source: Source) -> list[_Day]:
    parts: dict[tuple[str, str, int], dict[str, str]] = {}
    for member in source.members or (source.path.name,):
        if found := _FILE.fullmatch(PurePosixPath(member).name):
            parts.setdefault((found[1], found[2], int(found[4])), {})[found[3]] = member
    if not parts:
        raise source.error(None, None, "no file named <ticker>_<date>_<start>_<end>_message_<levels>.csv in it")
    days = [_Day(*key, files.get("message"), files.get("orderbook")) for key, files in sorted(parts.items())]
    for day in days:
        if day.message is None or day.orderbook is None:
            raise source.error(
                None, None,
                f"the message or the orderbook file of {day.symbol} {day.day} is not in it: put both of the day into one zip"
                " and import that",
            )  # fmt: skip
    return days


def _read_day(source: Source, day: _Day, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    assert day.message is not None
    label = lake_name(options.symbol or day.symbol)
    stream = Stream(options.venue or "nasdaq", label, "orders")
    midnight_ns = _midnight_ns(source, day)
    model = _Model(source, day)
    total = backward = finer = previous = 0
    for messages, book in _pairs(source, day):
        # 10^-18 s, of which all beyond a nanosecond is how the provider's arithmetic printed it.
        exact = messages["time"].to_physical()
        ns = ((exact + _HALF_NS) // _NS).cast(pl.Int64).to_numpy()
        finer += int((exact % _NS != 0).sum())
        backward += int((np.diff(ns, prepend=previous) < 0).sum())
        previous = int(ns[-1])
        total += len(ns)
        for rows in model.take(messages, book):
            at = rows[:, 0]
            frame = _frame(rows, midnight_ns + ns[np.maximum(at, 0)], messages["row"].to_numpy()[np.maximum(at, 0)])
            yield Batch(stream, frame, PRICE_UNIT, Decimal(1))
    if not total:
        raise source.error(None, None, f"{day.message} is empty")
    notes.instruments[label] = {"base": day.symbol, "quote": "USD", "contract_type": "SPOT"}
    notes.count("messages", total, label)
    notes.count("receive_time_reversals", backward, label)
    notes.count("times_rounded_to_ns", finer, label)
    model.tell(label, notes)


def _frame(rows: NDArray[np.int64], ts: NDArray[np.int64], row: NDArray[np.int64]) -> pl.DataFrame:
    message = rows[:, 0]
    last = np.ones(len(message), np.bool_)
    last[:-1] = message[1:] != message[:-1]
    return pl.DataFrame({
        "exch_ts": ts, "local_ts": ts, "kind": rows[:, 1].astype(np.int8), "side": rows[:, 2].astype(np.int8),
        "price": rows[:, 3], "qty": rows[:, 4], "sequence": np.zeros(len(rows), np.int64), "order_id": rows[:, 5],
        "last": last, "row": row,
    }).select(RAW_COLUMNS["orders"])  # fmt: skip


def _midnight_ns(source: Source, day: _Day) -> int:
    """Return the local midnight that times count from: twelve hours before noon, so that no change of clocks matters."""
    try:
        noon = datetime.combine(date.fromisoformat(day.day), time(12), _ZONE)
    except ValueError as error:
        raise source.error(None, None, f"{day.day} in the name of {day.message} is no day") from error
    return (int(noon.astimezone(UTC).timestamp()) - DAY_S // 2) * 1_000_000_000


def _pairs(source: Source, day: _Day) -> Iterator[tuple[pl.DataFrame, NDArray[np.int64]]]:
    """Yield messages and as many rows of the order book, in step."""
    columns = {
        f"{side}_{what}_{level}": pl.Int64
        for level in range(1, day.depth + 1)
        for side in ("ask", "bid")
        for what in ("price", "size")
    }
    books = read_csv(source, columns, header=False, member=day.orderbook)
    book, known = pl.DataFrame(schema=columns), 0
    for messages in read_csv(source, _MESSAGE, header=False, member=day.message):
        _check(source, messages)
        done = 0
        while done < messages.height:
            if not book.height:
                book = next(books, book).select(*columns)
            n = min(book.height, messages.height - done)
            if not n:
                raise source.error(
                    int(messages["row"][done]),
                    None,
                    f"the message file goes on after the {known} rows of the orderbook file",
                )
            yield messages.slice(done, n), book.head(n).to_numpy(order="c")
            book = book.slice(n)
            done += n
            known += n
    if book.height or next(books, None) is not None:
        raise source.error(known + 1, None, f"the orderbook file goes on after the {known} rows of the message file")


def _check(source: Source, frame: pl.DataFrame) -> None:
    """Refuse messages that mean nothing; the rules are the readme's."""
    kind, halt = pl.col("type"), pl.col("type") == kernel.HALT
    order = kind <= kernel.EXECUTE
    rules = (
        ("type", ~kind.is_between(kernel.SUBMIT, kernel.HALT), "is none of the types 1 to 7"),
        ("time", (pl.col("time") < 0) | (pl.col("time") >= DAY_S), "is no second of a day"),
        ("direction", ~pl.col("direction").is_in([1, -1]), "is neither 1 nor -1"),
        ("size", ~halt & ~pl.col("size").is_between(1, 1 << 40), "is no number of shares"),
        ("price", ~halt & ~pl.col("price").is_between(1, 1 << 40), "is no price"),
        ("order_id", order & ~pl.col("order_id").is_between(1, kernel.ANONYMOUS - 1), "is no id of an order"),
    )
    found = frame.select(*(rule.any().alias(name) for name, rule, _ in rules)).row(0, named=True)
    for name, rule, what in rules:
        if found[name]:
            bad = frame.filter(rule).row(0, named=True)
            raise source.error(bad["row"], name, f"{bad[name]} {what}")


class _Model:
    """The kernel's memory, and room for more of it."""

    def __init__(self, source: Source, day: _Day) -> None:
        self._source, self._day = source, day
        self._levels = np.zeros((2, 1024, kernel.LEVEL_FIELDS), np.int64)
        self._orders = np.zeros((1 << 16, kernel.ORDER_FIELDS), np.int64)
        self._order_ids = np.zeros(1 << 16, np.int64)
        self._ids, self._slots = np.zeros((2, 1 << 17), np.int64)
        self._edges = np.full(2, 1 << 62, np.int64)
        self._state = np.zeros(kernel.STATE_SIZE, np.int64)
        self._rows = np.zeros((0, kernel.ROW_FIELDS), np.int64)

    def take(self, messages: pl.DataFrame, book: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield the rows (n, ROW_FIELDS) of messages and the provider's book after each of them."""
        columns = messages.select("type", "order_id", "size", "price", "direction").to_numpy(order="c")
        done = 0
        while done < len(columns):
            before = done
            done = kernel.advance(
                done, columns, book, self._levels, self._orders, self._order_ids, self._ids, self._slots, self._edges,
                self._state, self._rows,
            )  # fmt: skip
            if done < 0:
                at = kernel.LADDER_FAULT - done
                raise self._source.error(
                    int(messages["row"][at]), None,
                    f"this row of {self._day.orderbook} is no ladder of prices, best first, and sizes",
                )  # fmt: skip
            if done < len(columns):
                written = int(self._state[kernel.ROWS])
                if written:
                    yield self._rows[:written]
                self._make_room(grow=done == before and not written)
        yield self._rows[: int(self._state[kernel.ROWS])]
        self._state[kernel.ROWS] = 0
        self._rows = np.zeros((ROWS_ROOM, kernel.ROW_FIELDS), np.int64)

    def tell(self, label: str, notes: Notes) -> None:
        """Write the counts, and what a reader should know of this book."""
        unknown_cancels, unknown_fills = (
            int(self._state[place]) for place in (kernel.UNKNOWN_CANCELS, kernel.UNKNOWN_FILLS)
        )
        notes.count("unknown_references", unknown_cancels + unknown_fills, label)
        notes.count("unknown_cancels", unknown_cancels, label)
        notes.count("unknown_executions", unknown_fills, label)
        for place, name in _COUNTS.items():
            notes.count(name, int(self._state[place]), label)
        name = self._source.path.name
        if self._day.depth == 1:
            notes.warnings.append(
                f"{name}: one level of {label} is no book by order: most of what rests is anonymous, and nothing is known"
                " behind the best prices"
            )
        if halts := int(self._state[kernel.HALTS]):
            notes.warnings.append(f"{name}: trading of {label} was halted or resumed {halts} times")

    def _make_room(self, *, grow: bool) -> None:
        state = self._state
        if state[kernel.ORDERS] == len(self._orders):
            self._orders = np.concatenate([self._orders, np.zeros_like(self._orders)])
            self._order_ids = np.concatenate([self._order_ids, np.zeros_like(self._order_ids)])
        if 2 * (state[kernel.ORDERS] + 1) > len(self._ids):
            ids, slots = np.zeros((2, 2 * len(self._ids)), np.int64)
            kernel.rehash(self._ids, self._slots, ids, slots)
            self._ids, self._slots = ids, slots
        if max(state[kernel.BIDS], state[kernel.ASKS]) + 2 * self._day.depth + 4 > self._levels.shape[1]:
            self._levels = np.concatenate([self._levels, np.zeros_like(self._levels)], axis=1)
        needed = int(state[kernel.LIVE] + state[kernel.BIDS] + state[kernel.ASKS]) + 6 * self._day.depth + 16
        self._rows = np.zeros((max(ROWS_ROOM, 2 * needed), kernel.ROW_FIELDS), np.int64)
        state[kernel.ROWS] = 0
        assert not grow or len(self._rows) >= needed


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
