"""NASDAQ TotalView-ITCH 5.0: the whole market's orders of a day, each message after its length in two bytes.

Streamed: of the instruments that are wanted, every order is followed from its entry to its end. Executions of displayed
orders are a TRADE, whose aggressor is the other side, and the order's FILL; trades with hidden orders and crosses are
PRINT. Executions marked as not printable change the book and are no trade: their cross is told separately. A replacement
ends one order and enters another behind all others. The date is in the file's name alone, times are New York's.
Source: NASDAQ TotalView-ITCH 5.0 specification (lengths and fields of messages), nasdaqtrader.com.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.importers.itch50 import kernel
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import NO_LEVEL, RAW_COLUMNS, EventKind
from market_maker.market_data.source import BLOCK_BYTES, Source

NAME = "itch50"
VERSION = "1"
TITLE = "NASDAQ TotalView-ITCH 5.0"

PRICE_UNIT = Decimal("0.0001")
ROWS_ROOM = 1_000_000
TABLE_ROOM = 1 << 16
SYMBOLS_MAX = 50
"""A file with more instruments is imported by names only: a whole market is some hundred million rows."""
SHOWN = 20
DAY_NS = 86_400_000_000_000
_ZONE = ZoneInfo("America/New_York")
_NAMES = (
    re.compile(r"(?P<day>[0-9]{8})\.(?P<venue>NASDAQ|BX|PSX)_ITCH_?50", re.IGNORECASE),
    re.compile(r"(?P<venue>S)(?P<day>[0-9]{6})-v50", re.IGNORECASE),
)
_COUNTS = {
    kernel.UNKNOWN: "unknown_references", kernel.NON_PRINTABLE: "non_printable_executions", kernel.BROKEN: "broken_trades",
    kernel.HALTS: "halts_and_pauses", kernel.EMPTY_CROSSES: "empty_crosses", kernel.HIDDEN: "hidden_executions",
    kernel.CROSSES: "crosses", kernel.OVERSIZED: "changes_of_more_than_is_left",
}  # fmt: skip
_FAULTS = {
    kernel.BAD_TYPE: "is no type of message of ITCH 5.0",
    kernel.BAD_LENGTH: "has another length than its type",
    kernel.BAD_VALUE: "has no shares, no side, or an order number beyond 63 bits",
    kernel.DUPLICATE: "adds an order that is in the book already",
}


def recognises(source: Source) -> bool:
    """Return whether the first bytes are messages, each of the length of its type, and the first is a system event."""
    head = source.head()
    at = messages = 0
    while at + 3 <= len(head):
        length = int.from_bytes(head[at : at + 2], "big")
        if length == 0:
            break
        if kernel.LENGTHS[head[at + 2]] != length or (not messages and head[at + 2] != ord("S")):
            return False
        at, messages = at + 2 + length, messages + 1
    return messages > 0


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield the orders and prints of the wanted instruments as `orders`."""
    day, venue = _day(source, options)
    market = _Market(source, options, notes, day, options.venue or venue)
    rest = b""
    with source.open() as stream:
        while not market.ended and (data := stream.read(BLOCK_BYTES)):
            block = rest + data
            done = 0
            while True:
                done, is_full = market.take(block, done)
                if not is_full:
                    break
                yield from market.batches()
            rest = block[done:]
    if rest and not market.ended:
        raise source.error(market.messages + 1, None, "the file ends inside this message")
    yield from market.batches()
    market.tell()


def _day(source: Source, options: ReadOptions) -> tuple[date, str]:
    """Return day and venue by the name, or the day that was given."""
    for pattern in _NAMES:
        if found := pattern.match(source.name):
            venue = "nasdaq" if found["venue"].upper() in {"S", "NASDAQ"} else f"nasdaq-{found['venue'].lower()}"
            for written in ("%m%d%Y", "%Y%m%d") if len(found["day"]) == 8 else ("%m%d%y",):
                try:
                    day = datetime.strptime(found["day"], written).replace(tzinfo=UTC).date()
                except ValueError:
                    continue
                if day.year >= 1990:
                    return options.date or day, venue
    if options.date is None:
        raise source.error(
            None, None,
            f"the messages hold no date, nor does the name {shorten(source.name)}: give the date of the day, or name the file as"
            " NASDAQ does, such as 01302019.NASDAQ_ITCH50 or S013019-v50.txt",
        )  # fmt: skip
    return options.date, "nasdaq"


class _Market:
    """The kernel's memory, and which instruments are wanted."""

    def __init__(self, source: Source, options: ReadOptions, notes: Notes, day: date, venue: str) -> None:
        self.ended = False
        self._source, self._options, self._notes, self._venue = source, options, notes, venue
        noon = datetime.combine(day, time(12), _ZONE)
        # Twelve hours before noon, so that no change of clocks matters.
        self._midnight_ns = int(noon.timestamp()) * 1_000_000_000 - DAY_NS // 2
        self._symbols: dict[int, str] = {}
        self._wanted = np.zeros(1 << 16, np.bool_)
        self._ids = np.zeros(TABLE_ROOM, np.int64)
        self._orders = np.zeros((TABLE_ROOM, kernel.ORDER_FIELDS), np.int64)
        self._state = np.zeros(kernel.STATE_SIZE, np.int64)
        self._rows = np.zeros((ROWS_ROOM, kernel.ROW_FIELDS), np.int64)
        self._begun: set[int] = set()
        self._previous_ns = 0

    @property
    def messages(self) -> int:
        """Messages read so far."""
        return int(self._state[kernel.MESSAGES])

    def take(self, block: bytes, start: int) -> tuple[int, bool]:
        """Take the messages of a block from a byte on; return the byte after them, and whether rows are to be fetched."""
        data = np.frombuffer(block, np.uint8)
        at = start
        while True:
            at = kernel.advance(
                data, at, self._wanted, kernel.LENGTHS, self._ids, self._orders, self._state, self._rows
            )  # fmt: skip
            reason = int(self._state[kernel.REASON])
            if reason == kernel.DIRECTORY:
                self._directory(int.from_bytes(block[at + 3 : at + 5], "big"), block[at + 13 : at + 21])
                at += 2 + int(kernel.LENGTHS[ord("R")])
            elif reason == kernel.ROOM:
                if 2 * (int(self._state[kernel.USED]) + 2) > len(self._ids):
                    self._make_room()
                else:
                    return at, True
            elif reason in _FAULTS:
                raise self._source.error(
                    self.messages + 1, None, f"message {block[at + 2 : at + 3]!r} {_FAULTS[reason]}"
                )
            else:
                self.ended = reason == kernel.ENDED
                return at, False

    def batches(self) -> Iterator[Batch]:
        """Yield the rows so far by instrument."""
        rows = self._rows[: int(self._state[kernel.ROWS])]
        if not len(rows):
            return
        ns = rows[:, kernel.TS]
        bad = ns >= DAY_NS
        if bad.any():
            at = int(np.argmax(bad))
            raise self._source.error(int(rows[at, kernel.MESSAGE]), "timestamp", f"{ns[at]} is no nanosecond of a day")
        self._notes.count("receive_time_reversals", int((np.diff(ns, prepend=self._previous_ns) < 0).sum()))
        self._previous_ns = int(ns[-1])
        locates = rows[:, kernel.LOCATE]
        order = np.argsort(locates, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(locates[order]) != 0))
        for part in np.split(order, starts[1:]):
            yield self._batch(int(locates[part[0]]), rows[part])
        self._state[kernel.ROWS] = 0

    def tell(self) -> None:
        """Write the counts, and what a reader should know."""
        if not self._begun:
            wanted = f" of {', '.join(self._options.symbols)}" if self._options.symbols else ""
            raise self._source.error(None, None, f"no order or print{wanted} in it")
        missing = set(self._options.symbols) - set(self._symbols.values())
        if missing:
            self._notes.warnings.append(f"{self._source.path.name}: it has no instrument {', '.join(sorted(missing))}")
        self._notes.count("messages", self.messages)
        for place, name in _COUNTS.items():
            self._notes.count(name, int(self._state[place]))
        if broken := int(self._state[kernel.BROKEN]):
            self._notes.warnings.append(
                f"{self._source.path.name}: {broken} trades were broken later by the exchange; they are still in the result"
            )

    def _directory(self, locate: int, stock: bytes) -> None:
        symbol = stock.decode("ascii", "replace").strip()
        self._symbols[locate] = symbol
        self._wanted[locate] = self._options.wants(symbol)
        if not self._options.symbols and len(self._symbols) > SYMBOLS_MAX:
            shown = ", ".join(sorted(self._symbols.values())[:SHOWN])
            raise self._source.error(
                None,
                None,
                f"it holds more than {SYMBOLS_MAX} instruments ({shown}, ...): name those to import (symbols)",
            )
        if self._options.symbol and int(self._wanted.sum()) > 1:
            raise self._source.error(None, None, "one name was given, but several instruments are to be imported")

    def _batch(self, locate: int, rows: NDArray[np.int64]) -> Batch:
        label = lake_name(self._options.symbol or self._symbols[locate])
        if locate not in self._begun:
            self._begun.add(locate)
            self._notes.instruments[label] = {"base": self._symbols[locate], "quote": "USD", "contract_type": "SPOT"}
            rows = np.concatenate([_empty_book(rows[0]), rows])
        message = rows[:, kernel.MESSAGE]
        last = np.ones(len(rows), np.bool_)
        last[:-1] = message[1:] != message[:-1]
        last |= rows[:, kernel.KIND] == EventKind.SNAPSHOT
        ts = self._midnight_ns + rows[:, kernel.TS]
        frame = pl.DataFrame({
            "exch_ts": ts, "local_ts": ts, "kind": rows[:, kernel.KIND].astype(np.int8),
            "side": rows[:, kernel.SIDE].astype(np.int8), "price": rows[:, kernel.PRICE].copy(),
            "qty": rows[:, kernel.QUANTITY].copy(), "sequence": rows[:, kernel.MATCH].copy(),
            "order_id": rows[:, kernel.ORDER_ID].copy(), "last": last, "row": message.copy(),
        }).select(RAW_COLUMNS["orders"])  # fmt: skip
        self._notes.count("rows", len(rows), label)
        return Batch(Stream(self._venue, label, "orders"), frame, PRICE_UNIT, Decimal(1))

    def _make_room(self) -> None:
        live = int((self._ids > 0).sum())
        size = len(self._ids) * (2 if 4 * live > len(self._ids) else 1)
        ids, orders = np.zeros(size, np.int64), np.zeros((size, kernel.ORDER_FIELDS), np.int64)
        self._state[kernel.USED] = kernel.rehash(self._ids, self._orders, ids, orders)
        self._ids, self._orders = ids, orders


def _empty_book(first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows before the first one of an instrument: a day begins with a book that is known to be empty."""
    rows = np.zeros((3, kernel.ROW_FIELDS), np.int64)
    for name in (kernel.LOCATE, kernel.TS, kernel.MESSAGE):
        rows[:, name] = first[name]
    rows[:, kernel.KIND] = int(EventKind.CLEAR), int(EventKind.CLEAR), int(EventKind.SNAPSHOT)
    rows[:, kernel.SIDE] = 1, -1, NO_LEVEL[0]
    return rows
