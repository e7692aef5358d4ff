"""Event arrays of hftbacktest 2.x (npz or npy): depth, snapshots, clears, trades and best quotes of one instrument.

Owns their flags: only rows valid for the local clock are taken, since a row may be there once for each clock. Prices and
quantities are binary floats in these files, taken as the decimals they were made from (`floats`). The array says neither venue nor
symbol. Its converters may have shifted receive times so that no latency is negative. A clear is one of the whole side, also
where it has a price to clear up to.
Source: hftbacktest documentation, "Data"; py-hftbacktest/hftbacktest/types.py.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.columns import TimeColumn
from market_maker.market_data.floats import Floats
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import BLOCK_BYTES, EXPANSION_MAX, Source

NAME = "hftbacktest"
VERSION = "1"
TITLE = "hftbacktest 2.x event array (npz)"

HELD_ROWS = 1_000_000
"""Trades before the first row of a book wait for it up to this many; then they are told as trades without a book."""

_FIELDS = {"ev": ("<u8", "<i8"), "exch_ts": ("<i8",), "local_ts": ("<i8",), "px": ("<f8",), "qty": ("<f8",)}
_HEADER_BYTES = 1 << 14
_COLUMNS_OF_VERSION_1 = 6
_EXCHANGE, _LOCAL, _BUY, _SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT, _BEST, _ADD, _FILL = 1, 2, 3, 4, 5, 10, 13
_KINDS = np.array([0, EventKind.DEPTH, EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT], np.int8)
_FILE = re.compile(r"([A-Za-z0-9]+(?:_(?:PERP|perp|[0-9]{6}))?)[_-][0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[._-].*)?")

Array = NDArray[Any]


def recognises(source: Source) -> bool:
    """Return whether the array `data` (or the only one) has the fields of an event, or is one of version 1."""
    member = _member(source)
    if source.members and member is None:
        return False
    try:
        shape, dtype, _ = _header(source.head(member, _HEADER_BYTES))
    except ValueError:
        return False
    return _is_version_1(shape, dtype) or _is_events(shape, dtype)


def _member(source: Source) -> str | None:
    arrays = [name for name in source.members if name.endswith(".npy")]
    return "data.npy" if "data.npy" in arrays else arrays[0] if len(arrays) == 1 else None


def _header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type of an array and the bytes of its header; ValueError when it is none."""
    stream = io.BytesIO(head)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"version {version} of the array format")
    try:
        shape, _, dtype = readers[version](stream)
    except (SyntaxError, TypeError, KeyError, OverflowError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"a header that is none: {error}") from error
    return shape, dtype, stream.tell()


def _is_version_1(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" and len(shape) == 2 and shape[1] == _COLUMNS_OF_VERSION_1


def _is_events(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return len(shape) == 1 and not dtype.hasobject and all(name in (dtype.names or ()) for name in _FIELDS)


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield depth with its trades as `book` (without any depth: `trades`), best quotes as `bbo`."""
    events = _Events(source)
    held: list[_Piece] = []
    has_book = False
    streams: dict[str, Stream] = {}
    for chunk, following in pairwise(chain(_chunks(source), (None,))):
        assert chunk is not None
        streams = streams or _streams(source, options)
        if (quotes := events.quotes(chunk)) is not None:
            yield quotes.batch(streams["bbo"])
        if (piece := events.book(chunk, following)) is not None:
            has_book = has_book or bool((piece.frame["kind"] != EventKind.TRADE).any())
            held.append(piece)
        if has_book or sum(piece.frame.height for piece in held) >= HELD_ROWS:
            yield from (piece.batch(streams["book" if has_book else "trades"]) for piece in held)
            held = []
    yield from (piece.batch(streams["trades"]) for piece in held)
    if streams:
        events.tell(streams["book"].symbol, notes)


def _streams(source: Source, options: ReadOptions) -> dict[str, Stream]:
    """Return the streams by table; the venue is the user's word, the symbol that or in the file's name."""
    found = _FILE.fullmatch(source.path.name.removesuffix(".npz").removesuffix(".npy"))
    symbol = options.symbol or (found[1].upper() if found else None)
    if symbol is None:
        raise source.error(None, None, "nothing says the symbol; give it, or name the file <symbol>_<yyyymmdd>.npz")
    if options.venue is None:
        raise source.error(None, None, f"events of {shorten(symbol)} do not say their venue; give the venue")
    return {table: Stream(options.venue, lake_name(symbol), table) for table in ("book", "trades", "bbo")}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows and what their prices and quantities are multiples of."""

    frame: pl.DataFrame
    price_unit: Decimal
    qty_unit: Decimal

    def batch(self, stream: Stream) -> Batch:
        """Return the rows as a batch of a stream."""
        return Batch(stream, self.frame.select(RAW_COLUMNS[stream.table]), self.price_unit, self.qty_unit)


class _Chunk:
    """Some events, and the row of the first one."""

    def __init__(self, events: Array, row: int) -> None:
        self.events, self.row = events, row
        self.flags = events["ev"].astype(np.int64)
        self.code = self.flags & 255
        self.is_local = (self.flags & _LOCAL) != 0
        self.is_known = (self.code >= _DEPTH) & (self.code <= _BEST)

    def of_book(self) -> NDArray[np.int64]:
        """Return the places of rows of a book and of trades."""
        return np.flatnonzero(self.is_local & self.is_known & (self.code != _BEST))


def _chunks(source: Source) -> Iterator[_Chunk]:
    """Yield the array piece by piece, so that no size that it states is believed."""
    member = _member(source)
    try:
        shape, dtype, start = _header(source.head(member, _HEADER_BYTES))
    except ValueError as error:
        # Of a file that is damaged at once this tells the damage.
        deque(source.blocks(member), 0)
        raise source.error(None, None, f"no array of events: {shorten(str(error))}") from error
    if _is_version_1(shape, dtype):
        raise source.error(
            None, None, "an array of hftbacktest 1.x (six columns of floats); convert it with hftbacktest's own"
            " hftbacktest.data.utils.migration2, or import what it was made from",
        )  # fmt: skip
    if not _is_events(shape, dtype):
        raise source.error(None, None, f"an array of {shorten(str(dtype))} has no fields {', '.join(_FIELDS)}")
    for name, wanted in _FIELDS.items():
        if dtype[name].str not in wanted:
            raise source.error(None, name, f"is of type {dtype[name].str}; {wanted[0]} is needed")
    count, size = shape[0], dtype.itemsize
    if count * size > max(1 << 26, EXPANSION_MAX * source.size):
        raise source.error(None, None, f"it states {count} events, more than a file of {source.size} bytes can hold")
    with source.open(member) as stream:
        stream.read(start)
        for first in range(0, count, BLOCK_BYTES // size):
            data = stream.read(min(BLOCK_BYTES // size, count - first) * size)
            if len(data) < min(BLOCK_BYTES // size, count - first) * size:
                raise source.error(
                    first + len(data) // size + 1, None, f"the file is cut off here: it states {count} events"
                )
            yield _Chunk(np.frombuffer(data, dtype), first + 1)
        if stream.read(1):
            raise source.error(count, None, f"the file goes on after the {count} events that it states")


class _Events:
    """From events to rows: which count, and what their floats are."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._price, self._qty = Floats(source, "px"), Floats(source, "qty")
        self._exch, self._local = TimeColumn(source, "exch_ts"), TimeColumn(source, "local_ts")
        self._counts: Counter[str] = Counter()
        self._best = np.zeros((2, 2))

    def book(self, chunk: _Chunk, following: _Chunk | None) -> _Piece | None:
        """Return the rows of a book and the trades; `following`: the events after these."""
        by_order = chunk.is_local & (chunk.code >= _ADD) & (chunk.code <= _FILL)
        if by_order.any():
            raise self._source.error(
                chunk.row + int(np.argmax(by_order)), "ev",
                "an event of single orders (L3), which are not read from these files; import what the file was made from",
            )  # fmt: skip
        of_exchange = chunk.is_known & ~chunk.is_local & ((chunk.flags & _EXCHANGE) != 0)
        self._counts["skipped_rows_of_the_exchange_clock"] += int(of_exchange.sum())
        self._counts["skipped_rows_of_no_clock"] += int((chunk.is_known & ~chunk.is_local & ~of_exchange).sum())
        self._counts["skipped_other_events"] += int((~chunk.is_known).sum())
        at = chunk.of_book()
        if not len(at):
            return None
        side = self._sides(chunk, at)
        code = chunk.code[at]
        self._refuse_without_side(chunk, at[(side == 0) & ((code == _DEPTH) | (code == _SNAPSHOT))])
        both = (code == _CLEAR) & (side == 0)
        if both.any():
            # A clear of no side is one of both.
            at, code, side = (np.repeat(values, 1 + both) for values in (at, code, side))
            bids = np.flatnonzero((code == _CLEAR) & (side == 0))[::2]
            side[bids], side[bids + 1] = 1, -1
        for name, wanted in (("depth", _DEPTH), ("trades", _TRADE), ("clears", _CLEAR), ("snapshot_levels", _SNAPSHOT)):
            self._counts[name] += int((code == wanted).sum())
        frame = self._timed(chunk, at)
        clear, rows, local = code == _CLEAR, chunk.row + at, chunk.events["local_ts"][at]
        ends = np.append(local[1:] != local[:-1], not _goes_on(int(local[-1]), following))
        frame = frame.with_columns(
            kind=pl.Series(_KINDS[code]), side=pl.Series(side), sequence=pl.lit(0, pl.Int64), last=pl.Series(ends),
            price=pl.Series(self._price.whole(np.where(clear, 0.0, chunk.events["px"][at]), rows)),
            qty=pl.Series(self._qty.whole(np.where(clear, 0.0, chunk.events["qty"][at]), rows)),
        )  # fmt: skip
        return _Piece(frame, self._price.unit, self._qty.unit)

    def quotes(self, chunk: _Chunk) -> _Piece | None:
        """Return best quotes: each event is one side, so the other is the last one known; one row a receive time."""
        at = np.flatnonzero(chunk.is_local & (chunk.code == _BEST))
        if not len(at):
            return None
        self._counts["best_quotes"] += len(at)
        side = self._sides(chunk, at)
        self._refuse_without_side(chunk, at[side == 0])
        local = chunk.events["local_ts"][at]
        ends = np.append(local[1:] != local[:-1], True)
        rows = (chunk.row + at)[ends]
        columns: dict[str, Array] = {}
        for i, (name, sign) in enumerate((("bid", 1), ("ask", -1))):
            newest = np.maximum.accumulate(np.where(side == sign, np.arange(1, len(at) + 1), 0))
            for j, (what, field) in enumerate((("price", "px"), ("qty", "qty"))):
                values = np.append([self._best[i, j]], chunk.events[field][at])[newest]
                columns[f"{name}_{what}"] = values[ends]
                self._best[i, j] = values[-1]
        n = len(rows)
        twice = np.concatenate([rows, rows])
        prices = self._price.whole(np.concatenate([columns["bid_price"], columns["ask_price"]]), twice)
        quantities = self._qty.whole(np.concatenate([columns["bid_qty"], columns["ask_qty"]]), twice)
        frame = self._timed(chunk, at[ends]).with_columns(
            bid_price=pl.Series(prices[:n]), ask_price=pl.Series(prices[n:]), bid_qty=pl.Series(quantities[:n]),
            ask_qty=pl.Series(quantities[n:]), sequence=pl.lit(0, pl.Int64),
        )  # fmt: skip
        return _Piece(frame, self._price.unit, self._qty.unit)

    def tell(self, label: str, notes: Notes) -> None:
        """Write the counts, and whether the book can be known at all."""
        for name, number in self._counts.items():
            notes.count(name, number, label)
        for floats, what in ((self._price, "prices"), (self._qty, "quantities")):
            notes.count(f"{what}_beside_a_decimal", floats.moved, label)
            if sentence := floats.told(what):
                notes.warnings.append(sentence)
        name = self._source.path.name
        if self._counts["depth"] and not self._counts["snapshot_levels"]:
            notes.warnings.append(f"{name}: no snapshot of {label}: its book is unknown")
        if self._counts["skipped_rows_of_the_exchange_clock"] and not (
            self._counts["depth"]
            + self._counts["trades"]
            + self._counts["snapshot_levels"]
            + self._counts["best_quotes"]
        ):
            notes.warnings.append(f"{name}: its rows are valid for the exchange's clock only: nothing was received")

    def _timed(self, chunk: _Chunk, at: NDArray[np.int64]) -> pl.DataFrame:
        frame = pl.DataFrame({
            "exch_ts": chunk.events["exch_ts"][at], "local_ts": chunk.events["local_ts"][at], "row": chunk.row + at,
        })  # fmt: skip
        unstamped = frame["local_ts"] <= 0
        if unstamped.any():
            raise self._source.error(
                int(frame["row"][int(unstamped.arg_max() or 0)]), "local_ts",
                "an event without a time, as in a snapshot of the end of a day: import the day itself",
            )  # fmt: skip
        known = frame.with_columns(exch_ts=pl.when(pl.col("exch_ts") > 0).then("exch_ts"))
        return frame.with_columns(exch_ts=self._exch.ns(known).fill_null(0), local_ts=self._local.ns(frame))

    def _sides(self, chunk: _Chunk, at: NDArray[np.int64]) -> NDArray[np.int8]:
        buy, sell = (chunk.flags[at] & _BUY) != 0, (chunk.flags[at] & _SELL) != 0
        if (buy & sell).any():
            raise self._source.error(chunk.row + int(at[int(np.argmax(buy & sell))]), "ev", "an event of both sides")
        return np.where(buy, 1, np.where(sell, -1, 0)).astype(np.int8)

    def _refuse_without_side(self, chunk: _Chunk, at: NDArray[np.int64]) -> None:
        if len(at):
            raise self._source.error(chunk.row + int(at[0]), "ev", "an event of a book without a side")


def _goes_on(local_ts: int, following: _Chunk | None) -> bool:
    """Return whether the first row of a book in the next events has the same receive time."""
    if following is None:
        return False
    at = following.of_book()
    return len(at) > 0 and int(following.events["local_ts"][at[0]]) == local_ts


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
