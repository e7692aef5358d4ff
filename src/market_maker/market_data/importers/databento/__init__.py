"""Databento's DBN files, versions 1 to 3: orders, quotes, ten levels, trades, bars; several instruments in one file.

The metadata at the head is the library's to decode. Records are of one size per type and the same in all three versions,
so that runs of them are read as columns; anything else in a file is counted and left out. T and F say what traded and
change no book: a C or M follows. The book is whole where a record has the flag LAST. A snapshot clears by itself.
Source: databento.com/docs (DBN encoding, schemas and conventions) and the structures of github.com/databento/dbn.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import databento_dbn
import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.columns import TS_MAX, TS_MIN
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.importers.databento.records import (
    ACTIONS,
    BAD_TS_RECV,
    DTYPES,
    INTERVALS_S,
    LAST,
    MAYBE_BAD_BOOK,
    MBO,
    MBP_1,
    NO_ROW,
    SIDES,
    SNAPSHOT,
    SUPPORTED,
    SYMBOL_MAPPING,
    TRADES,
    UNDEFINED_PRICE,
    UNDEFINED_SIZE,
    WRONG,
    Records,
    ends_of,
    print_kinds,
    run_of,
    side_of,
    symbols_of,
)  # fmt: skip
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import DECIMAL, NO_LEVEL, RAW_COLUMNS, EventKind, bars_table, kind_of
from market_maker.market_data.source import BLOCK_BYTES, Source

NAME = "databento"
VERSION = "1"
TITLE = "Databento DBN"

VERSION_MAX = 3
METADATA_BYTES_MAX = 64 << 20
HELD_RECORDS = 1_000_000
"""Records of an instrument that wait for the end of their message; beyond these the file marks none."""
PRICE_UNIT, ONE = Decimal("0.000000001"), Decimal(1)


def recognises(source: Source) -> bool:
    """Return whether the file begins as DBN does."""
    head = source.head(size=8)
    return len(head) == 8 and head[:3] == b"DBN" and 0 < head[3] < 32


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield mbo as `orders`, level 1 as `bbo` and `trades`, ten levels as `book` with its trades, ohlcv as `bars_<n>s`."""
    with source.open() as stream:
        prefix = stream.read(8)
        if not 0 < prefix[3] <= VERSION_MAX:
            raise source.error(None, None, f"DBN version {prefix[3]} is not known; versions 1 to {VERSION_MAX} are")
        length = int.from_bytes(prefix[4:8], "little")
        if length > METADATA_BYTES_MAX:
            raise source.error(None, None, f"its metadata would have {length} bytes")
        head = prefix + stream.read(length)
        try:
            metadata = databento_dbn.Metadata.decode(head)
        except (ValueError, databento_dbn.DBNError) as error:
            raise source.error(None, None, f"its metadata cannot be decoded: {shorten(str(error))}") from error
        reader = _Reader(source, options, notes, metadata, head)
        rest = b""
        while data := stream.read(BLOCK_BYTES):
            block = rest + data
            done = yield from reader.block(block)
            rest = block[done:]
    if rest:
        raise source.error(reader.row, None, f"the file ends inside this record, {len(rest)} bytes after its beginning")
    yield from reader.finish()


@dataclass(slots=True)
class _Feed:
    """What is kept of an instrument (of a publisher) between two blocks."""

    label: str
    tail: Records | None = None
    tail_rows: NDArray[np.int64] | None = None
    in_snapshot: bool = False
    levels: Records | None = None
    last_ts: int = 0


class _Reader:
    """Records of a file by type and instrument."""

    def __init__(self, source: Source, options: ReadOptions, notes: Notes, metadata: Any, head: bytes) -> None:
        self.row = 1
        self._source, self._options, self._notes, self._head = source, options, notes, head
        self._venue = options.venue or metadata.dataset.lower().replace(".", "-")
        self._is_futures_only = metadata.dataset == "GLBX.MDP3" and options.venue is None
        self._is_tbbo = str(metadata.schema) == "tbbo"
        self._schema = metadata.schema
        self._extra = 8 if metadata.ts_out else 0
        self._symbols = symbols_of(metadata)
        self._feeds: dict[tuple[int, int, str], _Feed] = {}
        self._publishers: dict[str, int] = {}
        self._unmapped: set[int] = set()

    def block(self, data: bytes) -> Generator[Batch, None, int]:
        """Yield the rows of the whole records of a block; return how many bytes these are."""
        at = 0
        while at + 16 <= len(data):
            size, rtype = 4 * data[at], data[at + 1]
            dtype = DTYPES.get(rtype)
            if size < 16 or (dtype is not None and size != dtype.itemsize + self._extra):
                raise self._source.error(
                    self.row, None, f"a record of type {rtype} and {size} bytes is no record of DBN"
                )
            if at + size > len(data):
                break
            if dtype is None:
                self._other(rtype, data[at : at + size])
                at, self.row = at + size, self.row + 1
                continue
            n = run_of(data, at, size)
            records: Records = np.ndarray(n, dtype, data, at, (size,))
            yield from self._take(rtype, records, np.arange(self.row, self.row + n, dtype=np.int64))
            at, self.row = at + n * size, self.row + n
        return at

    def finish(self) -> Iterator[Batch]:
        """Yield what waits for the end of a message that does not come."""
        for (rtype, _, _), feed in self._feeds.items():
            if feed.tail is not None and len(feed.tail):
                records, rows = feed.tail, feed.tail_rows
                feed.tail = None
                assert rows is not None
                if not feed.in_snapshot and not (records["flags"][-1] & SNAPSHOT):
                    self._notes.count("unfinished_messages", 1, feed.label)
                yield from self._book(rtype, records, rows, feed)
        if not self._feeds:
            wanted = f" of {', '.join(self._options.symbols)}" if self._options.symbols else ""
            raise self._source.error(None, None, f"no record of {SUPPORTED}{wanted} in it (its schema: {self._schema})")
        if self._is_futures_only:
            for label in {feed.label for feed in self._feeds.values()}:
                facts = {"base": label, "quote": "USD", "contract_type": "LINEAR", "quantity": "contracts"}
                self._notes.instruments[label] = facts
        if self._unmapped:
            shown = ", ".join(map(str, sorted(self._unmapped)[:20]))
            self._notes.warnings.append(
                f"{self._source.path.name}: it names no symbol for {len(self._unmapped)} instruments ({shown}), which keep"
                " their numbers as names"
            )

    def _other(self, rtype: int, record: bytes) -> None:
        self._notes.count(f"skipped_records_of_type_{rtype}")
        if rtype != SYMBOL_MAPPING:
            return
        # Files of live data tell their symbols in such records.
        decoder = databento_dbn.DBNDecoder()
        try:
            decoder.write(self._head + record)
            mapping = next(item for item in decoder.decode() if isinstance(item, databento_dbn.SymbolMappingMsg))
        except (ValueError, databento_dbn.DBNError, StopIteration) as error:
            raise self._source.error(self.row, None, f"a symbol mapping that cannot be decoded: {error}") from error
        self._symbols[mapping.instrument_id] = [(0, TS_MAX, mapping.stype_out_symbol)]

    def _take(self, rtype: int, records: Records, rows: NDArray[np.int64]) -> Iterator[Batch]:
        for part, feed in self._parts(rtype, records):
            chosen, numbers = (records, rows) if part is None else (records[part], rows[part])
            if rtype in INTERVALS_S:
                yield self._bars(rtype, chosen, numbers, feed)
                continue
            self._count(chosen, feed)
            if rtype == TRADES:
                yield from self._prints(chosen, numbers, feed)
            elif rtype == MBP_1:
                yield from self._quotes(chosen, numbers, feed)
            else:
                yield from self._whole_messages(rtype, chosen, numbers, feed)

    def _parts(self, rtype: int, records: Records) -> Iterator[tuple[NDArray[np.int64] | None, _Feed]]:
        """Yield where the records of each instrument, publisher and symbol are (None: everywhere), and its feed."""
        keys = records["instrument_id"].astype(np.int64) << 16 | records["publisher_id"]
        is_single = bool((keys == keys[0]).all())
        order = np.arange(len(keys)) if is_single else np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
        for begin, end in zip(starts, np.append(starts[1:], len(keys)), strict=True):
            part = order[begin:end]
            instrument, publisher = int(keys[part[0]]) >> 16, int(keys[part[0]]) & 0xFFFF
            if instrument not in self._symbols:
                self._unmapped.add(instrument)
            names = self._symbols.get(instrument) or [(0, TS_MAX, str(instrument))]
            if len({name for _, _, name in names}) == 1:
                names = [(0, TS_MAX, names[0][2])]
            for since, until, symbol in sorted(names):
                chosen = part
                if len(names) > 1:
                    ts = records["ts_event" if rtype in INTERVALS_S else "ts_recv"][part]
                    chosen = part[(ts >= since) & (ts < until)]
                if len(chosen) and self._options.wants(symbol):
                    whole = is_single and len(chosen) == len(keys)
                    yield None if whole else chosen, self._feed(rtype, publisher, symbol)

    def _feed(self, rtype: int, publisher: int, symbol: str) -> _Feed:
        feed = self._feeds.get((rtype, publisher, symbol))
        if feed is None:
            if self._options.symbol and any(other != symbol for _, _, other in self._feeds):
                raise self._source.error(
                    self.row, None, f"a second symbol, {shorten(symbol)!r}, but one name was given for the file"
                )
            label = lake_name(self._options.symbol or symbol)
            first = self._publishers.setdefault(symbol, publisher)
            if publisher != first:
                # Each publisher has a book of its own.
                label = lake_name(f"{label}.p{publisher}")
                self._notes.warnings.append(
                    f"{self._source.path.name}: {symbol} comes from several publishers; that of number {publisher} is {label}"
                )
            feed = self._feeds[rtype, publisher, symbol] = _Feed(label)
        return feed

    def _count(self, records: Records, feed: _Feed) -> None:
        flags = records["flags"]
        live = (flags & SNAPSHOT) == 0
        ts = records["ts_recv"].astype(np.int64)
        backward = int((ts[1:] < ts[:-1]).sum()) + int(ts[0] < feed.last_ts)
        feed.last_ts = int(ts[-1])
        counts = {
            "records": len(records), "snapshot_records": len(records) - int(live.sum()),
            "receive_time_reversals": backward,
            "bad_receive_times": int(((flags & BAD_TS_RECV) != 0)[live].sum()),
            "maybe_bad_book": int(((flags & MAYBE_BAD_BOOK) != 0).sum()),
        }  # fmt: skip
        for name, number in counts.items():
            self._notes.count(name, number, feed.label)

    def _batch(self, feed: _Feed, table: str, columns: dict[str, Any]) -> Batch:
        frame = pl.DataFrame(columns).select(RAW_COLUMNS[kind_of(table)])
        return Batch(
            Stream(self._venue, feed.label, table), frame, PRICE_UNIT, None if kind_of(table) == "bars" else ONE
        )

    def _times(self, records: Records, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return both times; a snapshot's orders are old and its receive time is made up: it says nothing of latency."""
        exch_ts = records["ts_event"].astype(np.int64)
        exch_ts[(exch_ts < 0) | ((records["flags"] & SNAPSHOT) != 0)] = 0
        return {"exch_ts": exch_ts, "local_ts": self._valid_ts(records, rows, "ts_recv")}

    def _valid_ts(self, records: Records, rows: NDArray[np.int64], column: str) -> NDArray[np.int64]:
        ts = records[column].astype(np.int64)
        self._refuse(~((ts >= TS_MIN) & (ts <= TS_MAX)), records, rows, column, "is no time between 1979 and 2096")
        return ts

    def _refuse(
        self, bad: NDArray[np.bool_], records: Records, rows: NDArray[np.int64], column: str, what: str
    ) -> None:
        if bad.any():
            at = int(np.argmax(bad))
            value = records[column][at]
            shown = repr(chr(value)) if column in {"action", "side"} else str(value)
            raise self._source.error(int(rows[at]), column, f"{shown} {what}")

    def _checked_kinds(self, records: Records, rows: NDArray[np.int64]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        kinds, sides = ACTIONS[records["action"]], SIDES[records["side"]]
        self._refuse(kinds == WRONG, records, rows, "action", "is none of A, C, M, R, T, F, N")
        self._refuse(sides == WRONG, records, rows, "side", "is none of A, B, N")
        needed = (kinds == EventKind.ADD) | (kinds == EventKind.MODIFY) | (kinds == EventKind.TRADE)
        self._refuse(needed & (records["price"] == UNDEFINED_PRICE), records, rows, "price", "is the undefined price")
        needed |= kinds == EventKind.CANCEL
        self._refuse(needed & (records["size"] == UNDEFINED_SIZE), records, rows, "size", "is the undefined size")
        return kinds, sides

    def _prints(self, records: Records, rows: NDArray[np.int64], feed: _Feed) -> Iterator[Batch]:
        kinds, sides = self._checked_kinds(records, rows)
        is_trade = kinds == EventKind.TRADE
        if not is_trade.any():
            return
        traded, numbers, side = records[is_trade], rows[is_trade], sides[is_trade]
        self._notes.count("trades", int((side != 0).sum()), feed.label)
        self._notes.count("prints_without_aggressor", int((side == 0).sum()), feed.label)
        yield self._batch(feed, "trades", {
            **self._times(traded, numbers), "kind": print_kinds(side), "side": side,
            "price": traded["price"].astype(np.int64), "qty": traded["size"].astype(np.int64),
            "sequence": traded["sequence"].astype(np.int64), "row": numbers,
        })  # fmt: skip

    def _quotes(self, records: Records, rows: NDArray[np.int64], feed: _Feed) -> Iterator[Batch]:
        if not self._is_tbbo:
            # A trade's record shows the quotes before its effect, which the records after it tell.
            states = records["action"] != ord("T")
            inside = np.zeros(len(records), np.bool_)
            inside[:-1] = records["ts_event"][1:] == records["ts_event"][:-1]
            inside &= states & ((records["flags"] & LAST) == 0)
            self._notes.count("states_inside_messages", int(inside.sum()), feed.label)
            states &= ~inside
        else:
            states = np.ones(len(records), np.bool_)
        shown, numbers = records[states], rows[states]
        if len(shown):
            level = shown["levels"][:, 0]
            columns: dict[str, Any] = self._times(shown, numbers)
            for side in ("bid", "ask"):
                price, size = side_of(level, side)
                columns |= {f"{side}_price": price, f"{side}_qty": size}
            self._notes.count("quotes", len(shown), feed.label)
            columns |= {"sequence": shown["sequence"].astype(np.int64), "row": numbers}
            yield self._batch(feed, "bbo", columns)
        yield from self._prints(records, rows, feed)

    def _bars(self, rtype: int, records: Records, rows: NDArray[np.int64], feed: _Feed) -> Batch:
        columns: dict[str, Any] = {"local_ts": self._valid_ts(records, rows, "ts_event")}
        for name in ("open", "high", "low", "close"):
            self._refuse(records[name] == UNDEFINED_PRICE, records, rows, name, "is the undefined price")
            columns[name] = records[name].astype(np.int64)
        columns |= {"trades": np.full(len(rows), -1, np.int64), "row": rows}
        columns["volume"] = pl.Series(records["volume"].astype(np.uint64)).cast(DECIMAL)
        self._notes.count("bars", len(records), feed.label)
        return self._batch(feed, bars_table(INTERVALS_S[rtype]), columns)

    def _whole_messages(self, rtype: int, records: Records, rows: NDArray[np.int64], feed: _Feed) -> Iterator[Batch]:
        """Yield messages that have come to their end; what is after the last end waits for the next block."""
        if feed.tail is not None and len(feed.tail):
            assert feed.tail_rows is not None
            records, rows = np.concatenate([feed.tail, records]), np.concatenate([feed.tail_rows, rows])
        ends = np.flatnonzero(ends_of(records))
        done = int(ends[-1]) + 1 if len(ends) else 0
        if len(records) - done > HELD_RECORDS:
            self._notes.count("records_without_end_of_message", len(records) - done, feed.label)
            done = len(records)
        feed.tail, feed.tail_rows = records[done:].copy(), rows[done:]
        if done:
            yield from self._book(rtype, records[:done], rows[:done], feed)

    def _book(self, rtype: int, records: Records, rows: NDArray[np.int64], feed: _Feed) -> Iterator[Batch]:
        ends = ends_of(records)
        # The end of the file ends a snapshot.
        ends[-1] |= (records["flags"][-1] & SNAPSHOT) != 0
        kinds, sides = self._checked_kinds(records, rows)
        if rtype == MBO:
            self._refuse(
                ((kinds == EventKind.ADD) | (kinds == EventKind.MODIFY)) & (sides == 0), records, rows, "side",
                "is no side of the book",
            )  # fmt: skip
            self._refuse(records["order_id"] >= 2**63 - 8, records, rows, "order_id", "does not fit into 63 bits")
            index, columns = self._order_rows(records, kinds, sides, feed)
        else:
            index, columns = _level_rows(records, kinds, sides, feed)
        for name, kind in (("trades", EventKind.TRADE), ("prints_without_aggressor", EventKind.PRINT)):
            self._notes.count(name, int((columns["kind"] == kind).sum()), feed.label)
        if not len(index):
            return
        message: NDArray[np.int64] = (np.cumsum(ends) - ends)[index]
        last = np.ones(len(index), np.bool_)
        last[:-1] = message[1:] != message[:-1]
        last[-1] = ends[index[-1] :].any()
        times = self._times(records, rows)
        yield self._batch(feed, "orders" if rtype == MBO else "book", {
            "exch_ts": times["exch_ts"][index], "local_ts": times["local_ts"][index], **columns,
            "sequence": records["sequence"].astype(np.int64)[index], "last": last, "row": rows[index],
        })  # fmt: skip

    def _order_rows(
        self, records: Records, kinds: NDArray[np.int8], sides: NDArray[np.int8], feed: _Feed
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Return the record of each row, and the columns that are of orders alone."""
        snapshot = (records["flags"] & SNAPSHOT) != 0
        before = np.append(feed.in_snapshot, snapshot[:-1])
        feed.in_snapshot = bool(snapshot[-1])
        is_reset = kinds == EventKind.CLEAR
        clears = is_reset | (snapshot & ~before)
        # Outside of a snapshot, a clear leaves a book that is known to be empty.
        copies = 2 * clears + ((kinds != NO_ROW) & ~(is_reset & snapshot))
        index = np.repeat(np.arange(len(records)), copies)
        place = np.arange(len(index)) - np.repeat(np.cumsum(copies) - copies, copies)
        is_clear = clears[index] & (place < 2)
        is_empty = is_reset[index] & ~is_clear
        kinds = np.where(is_reset, np.int8(EventKind.SNAPSHOT), kinds)
        kinds = np.where(snapshot & (kinds == EventKind.ADD), np.int8(EventKind.SNAPSHOT), kinds)
        kinds = np.where((kinds == EventKind.TRADE) & (sides == 0), np.int8(EventKind.PRINT), kinds)
        is_print = (kinds == EventKind.TRADE) | (kinds == EventKind.PRINT)
        price = np.where(records["price"] == UNDEFINED_PRICE, 0, records["price"])
        self._notes.count("clears", int(clears.sum()), feed.label)
        self._notes.count("fills_told_by_their_cancels", int((records["action"] == ord("F")).sum()), feed.label)
        no_order = is_clear | is_empty
        side = np.where(is_empty, np.int8(NO_LEVEL[0]), sides[index])
        return index, {
            "kind": np.where(is_clear, np.int8(EventKind.CLEAR), kinds[index]),
            "side": np.where(is_clear, np.where(place == 0, 1, -1).astype(np.int8), side),
            "price": np.where(no_order, 0, price[index]),
            "qty": np.where(no_order, 0, records["size"].astype(np.int64)[index]),
            "order_id": np.where(no_order | is_print[index], 0, records["order_id"].astype(np.int64)[index]),
        }


def _level_rows(
    records: Records, kinds: NDArray[np.int8], sides: NDArray[np.int8], feed: _Feed
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Return the record of each row, and the changes of ten levels from record to record, after the trades of each."""
    is_first = feed.levels is None
    levels = records["levels"] if feed.levels is None else np.concatenate([feed.levels[None], records["levels"]])
    feed.levels = records["levels"][-1].copy()
    traded = np.flatnonzero(kinds == EventKind.TRADE)
    aggressor = sides[traded]
    parts: list[tuple[Records, int, Records, Records, Records, Records]]
    parts = [(traded, 0, print_kinds(aggressor), aggressor, records["price"][traded], records["size"][traded])]
    if is_first:
        # The first record shows a whole book.
        clear = np.array([0])
        for place, side in enumerate((1, -1)):
            parts.append((clear, 1 + place, _many(EventKind.CLEAR, clear), _many(side, clear), clear, clear))
        if not any(_side_has_levels(records[:1], name) for name in ("bid", "ask")):
            parts.append((clear, 5, _many(EventKind.SNAPSHOT, clear), _many(NO_LEVEL[0], clear), clear, clear))
    for side, name in ((1, "bid"), (-1, "ask")):
        price, size = side_of(levels, name)
        if is_first:
            price, size = (np.concatenate([np.zeros_like(column[:1]), column]) for column in (price, size))
        was_there, is_same = np.zeros(price[1:].shape, np.bool_), np.zeros(price[1:].shape, np.bool_)
        for i in range(price.shape[1]):
            same_price = (price[:-1] == price[1:, i : i + 1]) & (size[:-1] > 0) & (size[1:, i : i + 1] > 0)
            was_there |= same_price
            is_same[:, i] = (same_price & (size[:-1] == size[1:, i : i + 1])).any(axis=1)
        gone, at = np.nonzero((size[:-1] > 0) & ~was_there)
        parts.append((gone, 3, _many(EventKind.DEPTH, gone), _many(side, gone), price[gone, at], np.zeros_like(gone)))
        new, at = np.nonzero((size[1:] > 0) & ~is_same)
        kind = (
            np.where(new == 0, np.int8(EventKind.SNAPSHOT), np.int8(EventKind.DEPTH))
            if is_first
            else _many(EventKind.DEPTH, new)
        )
        parts.append((new, 4, kind, _many(side, new), price[1:][new, at], size[1:][new, at]))
    index = np.concatenate([part[0] for part in parts])
    order = np.lexsort((np.concatenate([np.full(len(part[0]), part[1]) for part in parts]), index))
    kind, sides, price, quantity = (np.concatenate([part[i] for part in parts])[order] for i in (2, 3, 4, 5))
    columns = {"kind": kind, "side": sides, "price": price.astype(np.int64), "qty": quantity.astype(np.int64)}
    return index[order], columns


def _side_has_levels(records: Records, name: str) -> bool:
    return bool(side_of(records["levels"], name)[1].any())


def _many(value: int, like: NDArray[np.int64]) -> NDArray[np.int8]:
    return np.full(len(like), value, np.int8)
