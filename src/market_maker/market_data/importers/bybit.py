"""Public dumps of Bybit: order books (JSON lines of snapshots and deltas) and trades (CSV, derivatives and spot).

Owns the venue's rule of books: a snapshot, or any message with u = 1, replaces the book; each delta has the u of the message
before and one more, else messages are missing. There are no receive times: the time of matching (`cts`, in older files the time
of sending `ts`) stands for both. Times of trades are seconds as decimal text and never pass through a float.
Source: Bybit API documentation v5, websocket "Orderbook"; public.bybit.com.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.columns import DECIMAL, TS_MAX, TS_MIN, Dtype, TimeColumn, codes, read_csv, refuse_where
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import Rows, lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind
from market_maker.market_data.source import Source

NAME = "bybit"
VERSION = "1"
TITLE = "Bybit public dump: order book (JSON lines) and trades (CSV)"

BATCH_ROWS = 1_000_000
_MS_NS = 1_000_000
_BOOK = re.compile(r'\{\s*"topic"\s*:\s*"orderbook\.([0-9]+)\.([A-Za-z0-9-]+)"')
_TRADES = re.compile("timestamp,symbol,side,size,price,tickdirection(,.*)?")
_SPOT_TRADES = re.compile("id,timestamp,price,volume,side(,.*)?")
_SPOT_FILE = re.compile(r"([A-Z0-9]+)_[0-9]{4}-[0-9]{2}(-[0-9]{2})?\.csv")
_LINEAR, _INVERSE = (
    re.compile("([A-Z0-9]+?)(USDT|USDC|PERP)(-.*)?"),
    re.compile("([A-Z0-9]+?)(USD)([FGHJKMNQUVXZ][0-9]{2})?"),
)
_SPOT = re.compile("([A-Z0-9]+?)(USDT|USDC|USDE|BTC|ETH|EUR|BRL|DAI|MNT|TRY)")
_ONLY_DERIVATIVES = 500
"""Depth that only books of derivatives have."""
_SIDES = {"Buy": 1, "Sell": -1, "buy": 1, "sell": -1}
_NS = pl.Series([10**9], dtype=pl.Int128)

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Levels = list[tuple[str, str]]


class _Data(msgspec.Struct, gc=False):
    """The levels of a message."""

    s: str
    u: Number
    b: Levels = []
    a: Levels = []


class _Message(msgspec.Struct, gc=False):
    """A snapshot or a delta of a book."""

    type: Literal["snapshot", "delta"]
    ts: Number
    data: _Data
    cts: Number = 0


def recognises(source: Source) -> bool:
    """Return whether the first line is a message of an order book or the header of trades."""
    line = source.first_line()
    return _BOOK.match(line) is not None or _is_trades(line)


def _is_trades(line: str) -> bool:
    header = line.lower()
    return _TRADES.fullmatch(header) is not None or _SPOT_TRADES.fullmatch(header) is not None


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield order books as `book`, trades as `trades`."""
    line = source.first_line()
    if found := _BOOK.match(line):
        market = _market(source, options, found[2], "derivatives" if int(found[1]) == _ONLY_DERIVATIVES else None)
        yield from _read_book(source, options, notes, market)
    elif _TRADES.fullmatch(line.lower()):
        yield from _read_trades(source, options, notes)
    elif _SPOT_TRADES.fullmatch(line.lower()):
        yield from _read_spot_trades(source, options, notes)
    else:
        if not line:
            # Of a file that is damaged at once this tells the damage.
            deque(source.blocks(), 0)
        raise source.error(
            1, None, f"{shorten(line)!r} is neither a message of an order book nor the header of trades of Bybit"
        )


def _market(source: Source, options: ReadOptions, symbol: str, known: str | None) -> str:
    """Return spot or derivatives: as the file says, the user, or the folders of the venue's archive."""
    if known is not None:
        return known
    folders = {part.lower() for part in Path(source.path).parts[:-1]}
    if options.venue is not None:
        return "spot" if options.venue.endswith("spot") else "derivatives"
    if "spot" in folders:
        return "spot"
    if folders & {"linear", "inverse"}:
        return "derivatives"
    raise source.error(
        None, None, f"this book of {shorten(symbol)} may be of the spot or of the derivatives market; give the venue: bybit-spot or"
        " bybit",
    )  # fmt: skip


def _stream(options: ReadOptions, notes: Notes, symbol: str, market: str, table: str) -> Stream:
    """Return the stream, and note what the symbol says."""
    label = lake_name(options.symbol or symbol)
    kinds = (("SPOT", _SPOT),) if market == "spot" else (("LINEAR", _LINEAR), ("INVERSE", _INVERSE))
    for contract, pattern in kinds:
        if found := pattern.fullmatch(symbol):
            # BTCPERP is a pair with USDC.
            quote = "USDC" if found[2] == "PERP" else found[2]
            notes.instruments[label] = {"base": found[1], "quote": quote, "contract_type": contract}
    return Stream(options.venue or ("bybit-spot" if market == "spot" else "bybit"), label, table)


def _read_book(source: Source, options: ReadOptions, notes: Notes, market: str) -> Iterator[Batch]:
    decoder = msgspec.json.Decoder(_Message)
    book: _Book | None = None
    stream: Stream | None = None
    for row, line in source.lines():
        try:
            message = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise source.error(row, None, f"not a message of an order book: {shorten(str(error))}") from error
        if book is None or stream is None:
            stream, book = _stream(options, notes, message.data.s, market, "book"), _Book(source, message.data.s)
        book.take(row, message)
        if book.rows.height >= BATCH_ROWS:
            yield Batch(stream, book.rows.take().select(RAW_COLUMNS["book"]))
    if book is not None and stream is not None:
        if book.rows.height:
            yield Batch(stream, book.rows.take().select(RAW_COLUMNS["book"]))
        book.tell(stream.symbol, notes)


class _Book:
    """The rows of a book, and what the next message must be."""

    def __init__(self, source: Source, symbol: str) -> None:
        self.rows = Rows(source, ("price", "qty"), _ms_to_ns)
        self._source, self._symbol = source, symbol
        self._last = 0
        self._has_matching_times: bool | None = None
        self._was_synced = self._synced = False
        self._continues: int | None = None
        self._counts: Counter[str] = Counter()

    def take(self, row: int, message: _Message) -> None:
        """Take the next message."""
        data = message.data
        if data.s != self._symbol:
            raise self._source.error(row, "s", f"{shorten(data.s)!r} in a book of {shorten(self._symbol)}")
        ms = self._time(row, message)
        if message.type == "snapshot" or data.u == 1:
            self._counts["snapshots"] += 1
            self._clear(ms, row, data.u, last=not (data.b or data.a))
            self._levels(ms, row, data, EventKind.SNAPSHOT)
            self._synced = self._was_synced = True
        else:
            if self._last and data.u <= self._last:
                self._counts["duplicates"] += 1
                return
            self._counts["deltas"] += 1
            if self._last and data.u != self._last + 1:
                self._counts["sequence_gaps"] += 1
                self._clear(ms, row, data.u - 1, last=True)
                self._synced = False
            if not self._last:
                self._continues = data.u - 1
            self._levels(ms, row, data, EventKind.DEPTH)
        self._last = data.u

    def tell(self, label: str, notes: Notes) -> None:
        """Write the counts, and how the book begins and ends."""
        for name, number in self._counts.items():
            notes.count(name, number, label)
        name = self._source.path.name
        if self._continues is not None:
            notes.continues[label] = self._continues
            notes.warnings.append(
                f"{name}: the book of {label} begins without a snapshot, after update {self._continues}: it is known only if the"
                " file before, which ends with that update, is imported first (or is there already)"
            )
        if self._was_synced and not self._synced:
            notes.count("ends_without_book", 1, label)
            notes.warnings.append(
                f"{name}: the book of {label} is unknown from its last sequence gap to the end, because no snapshot follows"
            )

    def _time(self, row: int, message: _Message) -> int:
        if self._has_matching_times is None:
            self._has_matching_times = message.cts > 0
        if self._has_matching_times != (message.cts > 0):
            raise self._source.error(row, "cts", "a time of matching in some messages and not in others")
        ms = message.cts or message.ts
        if not TS_MIN <= ms * _MS_NS <= TS_MAX:
            raise self._source.error(row, "cts" if message.cts else "ts", f"{ms} is no time in milliseconds")
        return ms

    def _clear(self, ms: int, row: int, sequence: int, *, last: bool) -> None:
        for side in (1, -1):
            self.rows.texts.extend(("0", "0"))
            self.rows.add(ms, ms * _MS_NS, row, 1, EventKind.CLEAR, side, sequence, int(last and side < 0))

    def _levels(self, ms: int, row: int, data: _Data, kind: EventKind) -> None:
        for side, levels, last in ((1, data.b, not data.a), (-1, data.a, True)):
            if levels:
                self.rows.texts.extend(chain.from_iterable(levels))
                self.rows.add(ms, ms * _MS_NS, row, len(levels), kind, side, data.u, int(last))


def _ms_to_ns(stamps: list[int | str | None], rows: NDArray[np.int64]) -> NDArray[np.int64]:  # noqa: ARG001 - checked before
    return np.array(stamps, np.int64) * _MS_NS


def _read_trades(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    columns: dict[str, Dtype] = {
        "timestamp": DECIMAL, "symbol": pl.String, "side": pl.String, "size": DECIMAL, "price": DECIMAL,
    }  # fmt: skip
    stream: Stream | None = None
    symbol = ""
    trades = finer = 0
    for frame in read_csv(source, columns, header=True):
        if stream is None:
            symbol = str(frame["symbol"][0])
            stream = _stream(options, notes, symbol, "derivatives", "trades")
        refuse_where(source, frame, "symbol", frame["symbol"] != symbol, f"in a file of {shorten(symbol)}")
        seconds = frame["timestamp"]
        bad = (seconds < TS_MIN // 10**9) | (seconds > TS_MAX // 10**9)
        refuse_where(source, frame, "timestamp", bad, "is no time between 1979 and 2096 in seconds")
        exact = seconds.to_physical()
        ns = (exact // _NS).cast(pl.Int64)
        finer += int((exact % _NS != 0).sum())
        trades += frame.height
        yield Batch(
            stream,
            _trade_rows(source, notes, stream.symbol, frame, ns, "size", pl.zeros(frame.height, pl.Int64, eager=True)),
        )
    if stream is not None:
        notes.count("trades", trades, stream.symbol)
        notes.count("times_cut_to_ns", finer, stream.symbol)


def _read_spot_trades(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    columns: dict[str, Dtype] = {
        "id": pl.Int64, "timestamp": pl.Int64, "price": DECIMAL, "volume": DECIMAL, "side": pl.String,
    }  # fmt: skip
    found = _SPOT_FILE.fullmatch(source.name)
    if not (options.symbol or found):
        raise source.error(
            None, None, "its name does not begin with the symbol as BTCUSDT_2022-11-10.csv.gz does; give the symbol"
        )
    stream = _stream(options, notes, found[1] if found else str(options.symbol), "spot", "trades")
    times = TimeColumn(source, "timestamp")
    trades = 0
    for frame in read_csv(source, columns, header=True):
        trades += frame.height
        yield Batch(stream, _trade_rows(source, notes, stream.symbol, frame, times.ns(frame), "volume", frame["id"]))
    notes.count("trades", trades, stream.symbol)


def _trade_rows(
    source: Source, notes: Notes, label: str, frame: pl.DataFrame, ns: pl.Series, quantity: str, number: pl.Series
) -> pl.DataFrame:  # fmt: skip
    refuse_where(source, frame, "price", frame["price"] <= 0, "is no price of a trade")
    refuse_where(source, frame, quantity, frame[quantity] < 0, "is negative")
    rows = frame.select(
        exch_ts=ns, local_ts=ns, kind=pl.lit(int(EventKind.TRADE), pl.Int8), side=codes(source, frame, "side", _SIDES),
        price="price", qty=pl.col(quantity), sequence=number, row="row",
    )  # fmt: skip
    kept = rows.filter(pl.col("qty") > 0)
    notes.count("skipped_empty_trades", rows.height - kept.height, label)
    return kept


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
