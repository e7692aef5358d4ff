"""Public dumps of Binance: aggTrades, trades, klines, bookTicker and the futures order book (T_DEPTH, S_DEPTH) as CSV.

Owns what these files leave unsaid: whether they have a header, which market they are of, the unit of their times (ms, µs
since 2025), and the rule of the order book (pu = last_update_id of the update before). The rows keep the file's order: where
the venue has interleaved two stretches, ids that run backward are counted, and the import sorts when it is told to.
Source: github.com/binance/binance-public-data, README and issues (#12, #177, #246, #267, #283, #339, #386).
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.bars import interval_s_of, without_repeats
from market_maker.market_data.clears import with_clears
from market_maker.market_data.columns import (
    DECIMAL,
    TRUE_FALSE,
    UNITS_NS,
    Dtype,
    TimeColumn,
    codes,
    read_csv,
    refuse_where,
)
from market_maker.market_data.contracts import coin_margined_multiplier
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, bars_table
from market_maker.market_data.source import Source

NAME = "binance_dump"
VERSION = "1"
TITLE = "Binance public dump (data.binance.vision): aggTrades, trades, klines, bookTicker, T_DEPTH"

_FILE = re.compile(
    r"([A-Z0-9]+(?:_[A-Z0-9]+)?)-(?:aggTrades|trades|bookTicker|bookDepth|([0-9]+(?:s|m|h|d|w|mo)))-[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?"
    r"(?: ?\([0-9]+\))?\.csv"
)
_TAR = re.compile(r"[A-Z0-9_]+_[ST]_DEPTH_.*\.tar")
_COIN_MARGINED = re.compile(r"[A-Z0-9]+USD_(PERP|[0-9]{6})")
_PAIR = re.compile(r"([A-Z0-9]+?)(USDT|USDC|FDUSD|BUSD|TUSD|USD|BTC|ETH|BNB|EUR|TRY)(_(?:PERP|[0-9]{6}))?")
_NUMBER = r"[0-9]+(?:\.[0-9]*)?"
_TIME = "[0-9]{13,19}"
_BOOLEAN = "(?:true|false|True|False)"
_QUOTES_OF_OLD_FUTURES = {"USDT", "BUSD"}
_HEADERS_SINCE_NS = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) * 10**9
"""Files of futures have a header since 2022; this leaves the year to those who are not sure of the month."""

_AGG_TRADES: dict[str, Dtype] = {
    "agg_trade_id": pl.Int64, "price": DECIMAL, "quantity": DECIMAL, "first_trade_id": pl.String,
    "last_trade_id": pl.String, "transact_time": pl.Int64, "is_buyer_maker": pl.String, "is_best_match": pl.String,
}  # fmt: skip
_TRADES: dict[str, Dtype] = {
    "id": pl.Int64, "price": DECIMAL, "qty": DECIMAL, "quote_qty": pl.String, "time": pl.Int64,
    "is_buyer_maker": pl.String, "is_best_match": pl.String,
}  # fmt: skip
_KLINES: dict[str, Dtype] = {
    "open_time": pl.Int64, "open": DECIMAL, "high": DECIMAL, "low": DECIMAL, "close": DECIMAL, "volume": DECIMAL,
    "close_time": pl.Int64, "quote_volume": pl.String, "count": pl.Int64, "taker_buy_volume": pl.String,
    "taker_buy_quote_volume": pl.String, "ignore": pl.String,
}  # fmt: skip
_BOOK_TICKER: dict[str, Dtype] = {
    "update_id": pl.Int64, "best_bid_price": DECIMAL, "best_bid_qty": DECIMAL, "best_ask_price": DECIMAL,
    "best_ask_qty": DECIMAL, "transaction_time": pl.Int64, "event_time": pl.Int64,
}  # fmt: skip
_DEPTH: dict[str, Dtype] = {
    "symbol": pl.String, "timestamp": pl.Int64, "first_update_id": pl.Int64, "last_update_id": pl.Int64,
    "side": pl.String, "update_type": pl.String, "price": DECIMAL, "qty": DECIMAL, "pu": pl.Int64,
}  # fmt: skip
_SIDES = {"b": 1, "a": -1}
_UPDATE_TYPES = {"snap": 1, "set": 0}


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of file: its columns in order, and what its first line looks like with and without a header."""

    kind: str
    columns: dict[str, Dtype]
    needed: tuple[str, ...]
    header: re.Pattern[str]
    row: re.Pattern[str] | None = None


_SHAPES = (
    _Shape(
        "aggTrades", _AGG_TRADES, ("agg_trade_id", "price", "quantity", "transact_time", "is_buyer_maker"),
        re.compile("agg_trade_id,price,quantity,.*transact_time,is_buyer_maker.*"),
        re.compile(rf"[0-9]+,{_NUMBER},{_NUMBER},-?[0-9]+,-?[0-9]+,{_TIME},{_BOOLEAN}(,{_BOOLEAN})?"),
    ),
    _Shape(
        "trades", _TRADES, ("id", "price", "qty", "time", "is_buyer_maker"),
        re.compile("id,price,qty,(quote_?qty|base_?qty),time,is_?buyer_?maker.*"),
        re.compile(rf"[0-9]+,{_NUMBER},{_NUMBER},{_NUMBER},{_TIME},{_BOOLEAN}(,{_BOOLEAN})?"),
    ),
    _Shape(
        "klines", _KLINES, ("open_time", "open", "high", "low", "close", "volume", "close_time", "count"),
        re.compile("open_time,open,high,low,close,volume,close_time,.*"),
        re.compile(rf"{_TIME}(,{_NUMBER}){{5}},{_TIME},{_NUMBER},[0-9]+,{_NUMBER},{_NUMBER},{_NUMBER}"),
    ),
    _Shape(
        "bookTicker", _BOOK_TICKER, tuple(_BOOK_TICKER)[:-1],
        re.compile("update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time.*"),
        re.compile(rf"[0-9]+(,{_NUMBER}){{4}},{_TIME},{_TIME}"),
    ),
    _Shape("depth", _DEPTH, tuple(_DEPTH), re.compile("symbol,timestamp,first_update_id,last_update_id,side,update_type,.*")),
    _Shape("bookDepth", {}, (), re.compile("timestamp,percentage,depth,notional")),
)  # fmt: skip
_ALIASES = {"isbuyermaker": "is_buyer_maker"}


@dataclass(frozen=True, slots=True)
class _File:
    """What is known of a file before its first row is read.

    `columns` are those to parse; `best_match`: it has the column that only the spot market has.
    """

    source: Source
    options: ReadOptions
    notes: Notes
    shape: _Shape
    has_header: bool
    columns: dict[str, Dtype]
    best_match: bool

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the rows."""
        return read_csv(self.source, self.columns, header=self.has_header, aliases=_ALIASES)

    def symbol(self) -> str:
        """Return the symbol that the user or the name of the file says."""
        found = _FILE.fullmatch(self.source.name)
        if not (self.options.symbol or found):
            raise self.source.error(
                None, None, "its name does not begin with the symbol as Binance's own names do (BTCUSDT-trades-2024-08-08.zip);"
                " give the symbol",
            )  # fmt: skip
        return self.options.symbol or found[1]  # type: ignore[index]

    def stream(self, symbol: str, table: str, first_ns: int, unit: str | None) -> Stream:
        """Return the stream, and note what the symbol says of the instrument."""
        market = self._market(symbol, first_ns, unit)
        label = lake_name(symbol)
        if pair := _PAIR.fullmatch(symbol):
            contract = {"spot": "SPOT", "usdm": "LINEAR", "coinm": "INVERSE"}.get(market or "")
            facts = {"base": pair[1], "quote": pair[2]} | ({"contract_type": contract} if contract else {})
            if contract == "INVERSE":
                facts["multiplier"] = coin_margined_multiplier(pair[1])
            self.notes.instruments[label] = facts
        return Stream(self.options.venue or f"binance-{market}", label, table)

    def _market(self, symbol: str, first_ns: int, unit: str | None) -> str | None:
        """Return spot, usdm or coinm; None: something else, by the user's word."""
        folder = self.source.path.parent.as_posix()
        for part, name in (("/futures/um", "usdm"), ("/futures/cm", "coinm"), ("/data/spot", "spot")):
            if f"{part}/" in f"{folder}/":
                return name
        if self.options.venue is not None:
            return self.options.venue.removeprefix("binance-") if self.options.venue.startswith("binance-") else None
        if _COIN_MARGINED.fullmatch(symbol):
            return "coinm"
        if self.best_match:
            return "spot"
        if self.shape.kind != "klines" or self.has_header or "_" in symbol:
            return "usdm"
        pair = _PAIR.fullmatch(symbol)
        if unit != "ms" or first_ns >= _HEADERS_SINCE_NS or (pair and pair[2] not in _QUOTES_OF_OLD_FUTURES):
            return "spot"
        raise self.source.error(
            None, None, f"klines of {shorten(symbol)} before 2023 without a header may be of the spot or of the USD-M market;"
            " give the venue: binance-spot or binance-usdm",
        )  # fmt: skip


def recognises(source: Source) -> bool:
    """Return whether the first line is a header or a row of these dumps; or the name that of an archive of T_DEPTH."""
    line = source.first_line()
    return _shape_of(line) is not None or _TAR.fullmatch(source.name) is not None


def _shape_of(line: str) -> tuple[_Shape, bool] | None:
    for shape in _SHAPES:
        if shape.header.fullmatch(line.lower()):
            return shape, True
        if shape.row is not None and shape.row.fullmatch(line):
            return shape, False
    return None


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield trades as `trades`, klines as `bars_<n>s`, bookTicker as `bbo`, the order book as `book`."""
    line = source.first_line()
    if _TAR.fullmatch(source.name):
        raise source.error(None, None, "an archive of several files; unpack it and import the files of depth together")
    found = _shape_of(line)
    if found is None:
        if not line:
            # Of a file that is damaged at once this tells the damage.
            deque(source.blocks(), 0)
        raise source.error(
            1, None, f"{shorten(line)!r} is the first line of no aggTrades, trades, klines, bookTicker or T_DEPTH file"
        )
    shape, has_header = found
    if shape.kind == "bookDepth":
        raise source.error(
            None, None, "bookDepth is no order book: it has the quantity within some percent of the price, every half minute;"
            " import T_DEPTH or a recording",
        )  # fmt: skip
    fields = [field.strip() for field in line.lower().split(",")]
    columns = {name: dtype for name, dtype in shape.columns.items() if name in shape.needed}
    if not has_header:
        columns = dict(list(shape.columns.items())[: len(fields)])
    best_match = "is_best_match" in columns or "is_best_match" in fields or "isbestmatch" in fields
    file = _File(source, options, notes, shape, has_header, columns, best_match)
    readers: dict[str, Callable[[_File], Iterator[Batch]]] = {
        "aggTrades": _trades, "trades": _trades, "klines": _klines, "bookTicker": _book_ticker, "depth": _depth,
    }  # fmt: skip
    yield from readers[shape.kind](file)


class _Ids:
    """Watches the venue's ids of rows: in order and without holes they are when nothing is wrong with a file."""

    def __init__(self) -> None:
        self.rows = self.reversals = self.duplicates = 0
        self._least = self._most = self._previous = 0

    def add(self, ids: NDArray[np.int64]) -> None:
        """Take the ids of more rows."""
        if not self.rows:
            self._least = self._most = int(ids[0])
            self._previous = self._least - 1
        steps = np.diff(ids, prepend=self._previous)
        self.rows += len(ids)
        self.reversals += int((steps < 0).sum())
        self.duplicates += int((steps == 0).sum())
        self._least, self._most = min(self._least, int(ids.min())), max(self._most, int(ids.max()))
        self._previous = int(ids[-1])

    def tell(self, file: _File, label: str, *, contiguous: bool) -> None:
        """Write the counts; `contiguous`: the venue leaves no number out."""
        file.notes.count("rows_with_the_id_of_the_row_before", self.duplicates, label)
        if contiguous:
            file.notes.count("missing_ids", max(0, self._most - self._least + 1 - self.rows), label)
        if self.reversals:
            file.notes.count("id_reversals", self.reversals, label)
            file.notes.warnings.append(
                f"{file.source.path.name}: the ids of {label} run backward {self.reversals} times: Binance has put stretches of the"
                " file in the wrong order; sort it (--sort)"
            )


def _trades(file: _File) -> Iterator[Batch]:
    is_aggregate = file.shape.kind == "aggTrades"
    number, quantity, time = ("agg_trade_id", "quantity", "transact_time") if is_aggregate else ("id", "qty", "time")
    symbol, times, ids = file.symbol(), TimeColumn(file.source, time), _Ids()
    label, stream, empty = lake_name(symbol), None, 0
    for frame in file.frames():
        refuse_where(file.source, frame, "price", frame["price"] <= 0, "is no price of a trade")
        refuse_where(file.source, frame, quantity, frame[quantity] < 0, "is negative")
        side = 1 - 2 * codes(file.source, frame, "is_buyer_maker", TRUE_FALSE)
        ns = times.ns(frame)
        stream = stream or file.stream(symbol, "trades", int(ns[0]), times.unit)
        ids.add(frame[number].to_numpy())
        rows = frame.select(
            exch_ts=ns, local_ts=ns, kind=pl.lit(int(EventKind.TRADE), pl.Int8), side=side, price="price",
            qty=pl.col(quantity), sequence=pl.col(number), row="row",
        )  # fmt: skip
        traded = rows["qty"] > 0
        if not traded.all():
            # As in the stream: a number that was given away and nothing traded.
            empty += rows.height - int(traded.sum())
            rows = rows.filter(traded)
        yield Batch(stream, rows)
    file.notes.count(file.shape.kind, ids.rows, label)
    file.notes.count("skipped_empty_trades", empty, label)
    ids.tell(file, label, contiguous=True)


def _book_ticker(file: _File) -> Iterator[Batch]:
    symbol, times, ids = file.symbol(), TimeColumn(file.source, "transaction_time"), _Ids()
    label, stream = lake_name(symbol), None
    for frame in file.frames():
        ns = times.ns(frame)
        stream = stream or file.stream(symbol, "bbo", int(ns[0]), times.unit)
        ids.add(frame["update_id"].to_numpy())
        names = {raw: f"best_{raw}" for raw in ("bid_price", "bid_qty", "ask_price", "ask_qty")}
        for name in names.values():
            refuse_where(file.source, frame, name, frame[name] < 0, "is negative")
        yield Batch(stream, frame.select(exch_ts=ns, local_ts=ns, **names, sequence="update_id", row="row"))
    file.notes.count("bookTicker", ids.rows, label)
    ids.tell(file, label, contiguous=False)


def _klines(file: _File) -> Iterator[Batch]:
    source, notes, symbol = file.source, file.notes, file.symbol()
    label, stream, bars, interval_ns = lake_name(symbol), None, 0, 0
    times, closes = TimeColumn(source, "open_time"), TimeColumn(source, "close_time")
    moved = other = duplicates = 0
    before: pl.DataFrame | None = None
    for frame in file.frames():
        for name in ("open", "high", "low", "close", "volume"):
            refuse_where(source, frame, name, frame[name] < 0, "is negative")
        found = without_repeats(source, frame, before, "open_time")
        before = frame.tail(1)
        duplicates += frame.height - found.height
        if not found.height:
            continue
        ns = times.ns(found)
        # The close time is that of the last ms (µs) of the interval.
        length = closes.ns(found) - ns + UNITS_NS[closes.unit or "ms"]
        if stream is None:
            interval_ns = _interval_ns(source, found, length)
            stream = file.stream(symbol, bars_table(interval_ns // 10**9), int(ns[0]), times.unit)
        bars += found.height
        other += int((length != interval_ns).sum())
        moved += int(((found["volume"] == 0) & (found["high"] != found["low"])).sum())
        yield Batch(stream, found.with_columns(local_ts=ns, trades="count").select(RAW_COLUMNS["bars"]))
    notes.count("klines", bars, label)
    notes.count("duplicates", duplicates, label)
    notes.count("bars_of_another_length", other, label)
    if moved:
        notes.warnings.append(
            f"{source.path.name}: {moved} bars of {label} moved without volume, as those of mark and index prices do: these are no"
            " trades"
        )


def _interval_ns(source: Source, frame: pl.DataFrame, length: pl.Series) -> int:
    """Return the length that most bars of the first block have; it must be the one in the name, if that says one."""
    interval_ns = int(length.rename("length").value_counts(sort=True)["length"][0])
    found = _FILE.fullmatch(source.name)
    named_s = interval_s_of(found[2]) if found and found[2] else interval_ns // 10**9
    if named_s is None:
        raise source.error(None, None, "bars of a month have no one length; import those of a day")
    row = int(frame["row"][0])
    if found and found[2] and named_s * 10**9 != interval_ns:
        raise source.error(row, "close_time", f"bars of {interval_ns / 1e9:g} s in a file that is named {found[2]}")
    if interval_ns <= 0 or interval_ns % 10**9:
        raise source.error(row, "close_time", f"bars of {interval_ns / 1e9:g} s; whole seconds are needed")
    return interval_ns


def _depth(file: _File) -> Iterator[Batch]:
    book: _DepthBook | None = None
    stream = None
    times = TimeColumn(file.source, "timestamp")
    for frame, following in pairwise(chain(file.frames(), (None,))):
        assert frame is not None
        ns = times.ns(frame)
        if stream is None or book is None:
            symbol = str(frame["symbol"][0])
            stream = file.stream(file.options.symbol or symbol, "book", int(ns[0]), times.unit)
            book = _DepthBook(file.source, symbol)
        rows = book.take(frame, ns, following)
        if rows.height:
            yield Batch(stream, rows)
    if book is not None and stream is not None:
        book.tell(stream.symbol, file.notes)


class _DepthBook:
    """Messages of an order book: rows of one last_update_id. Watches that each continues the one before.

    The venue's rule for futures: pu is the last_update_id of the update before; the first one after a snapshot has
    pu <= last_update_id of the snapshot, and one that the snapshot contains is left out.
    """

    def __init__(self, source: Source, symbol: str) -> None:
        self._source, self._symbol = source, symbol
        self._key = (-1, False)
        self._last_update, self._after_snapshot, self._kept = -1, False, True
        self._counts: Counter[str] = Counter()
        self._continues: int | None = None

    def take(self, frame: pl.DataFrame, ns: pl.Series, following: pl.DataFrame | None) -> pl.DataFrame:
        """Return rows in the raw form; `following`: the rows after them, None at the end."""
        source = self._source
        refuse_where(source, frame, "symbol", frame["symbol"] != self._symbol, f"in a file of {shorten(self._symbol)}")
        refuse_where(source, frame, "qty", frame["qty"] < 0, "is negative")
        refuse_where(source, frame, "price", frame["price"] <= 0, "is no price of a level")
        refuse_where(source, frame, "last_update_id", frame["last_update_id"] < 0, "is no number of an update")
        side = codes(source, frame, "side", _SIDES)
        snap = codes(source, frame, "update_type", _UPDATE_TYPES).to_numpy() == 1
        number, pu = frame["last_update_id"].to_numpy(), frame["pu"].to_numpy()
        starts = np.empty(frame.height, np.bool_)
        starts[0] = (int(number[0]), bool(snap[0])) != self._key
        starts[1:] = (number[1:] != number[:-1]) | (snap[1:] != snap[:-1])
        self._key = (int(number[-1]), bool(snap[-1]))
        at = np.flatnonzero(starts)
        kept_messages, gap = self._judge(number[at], pu[at], snap[at])
        message = np.cumsum(starts)
        kept = np.concatenate([[self._kept], kept_messages])[message]
        self._kept = bool(kept[-1])
        ends = np.append(starts[1:], following is None or self._key != _key_of(following))
        rows = frame.select(
            exch_ts=ns, local_ts=ns, kind=pl.Series(np.where(snap, EventKind.SNAPSHOT, EventKind.DEPTH).astype(np.int8)),
            side=side, price="price", qty="qty", sequence="last_update_id", last=pl.Series(ends), row="row",
        )  # fmt: skip
        # Both sides are cleared before a snapshot, and where updates are missing. Of the latter the number is the one that is
        # missing last: a snapshot of another file that is not older makes the book known again.
        begins = np.flatnonzero((kept_messages & snap[at]) | gap)
        places = at[begins]
        if not kept.all():
            rows, places = rows.filter(pl.Series(kept)), np.cumsum(kept)[places] - 1
        return with_clears(rows, places, gap[begins], np.where(gap[begins], pu[at][begins], number[at][begins]))

    def _judge(
        self, number: NDArray[np.int64], pu: NDArray[np.int64], snap: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which messages count, and before which of these updates are missing."""
        if not len(number):
            return np.empty(0, np.bool_), np.empty(0, np.bool_)
        if self._last_update < 0 and not snap[0]:
            self._continues = int(pu[0])
        before = np.maximum.accumulate(np.append([self._last_update], number))[:-1]
        kept = np.where(snap, number >= before, number > before)
        # Whether what the book stands at before a message is a snapshot's number.
        newest = np.maximum.accumulate(np.where(kept, np.arange(1, len(number) + 1), 0))
        from_snapshot = np.append([self._after_snapshot], snap)[np.append([0], newest)]
        gap = kept & ~snap & (before >= 0) & (pu != before) & ~(from_snapshot[:-1] & (pu < before))
        self._last_update = max(int(before[-1]), int(number[-1]))
        self._after_snapshot = bool(from_snapshot[-1])
        for name, mask in (
            ("snapshots", kept & snap), ("snapshots_ignored", ~kept & snap), ("updates", kept & ~snap),
            ("duplicates", ~kept & ~snap & ~from_snapshot[:-1]), ("sequence_gaps", gap),
            ("updates_before_snapshot_dropped", ~kept & ~snap & from_snapshot[:-1]),
        ):  # fmt: skip
            self._counts[name] += int(mask.sum())
        return kept, gap

    def tell(self, label: str, notes: Notes) -> None:
        """Write the counts, and how the file begins."""
        for name, number in self._counts.items():
            notes.count(name, number, label)
        if self._continues is not None:
            notes.continues[label] = max(0, self._continues)
            notes.warnings.append(
                f"{self._source.path.name}: the book of {label} begins without a snapshot, after update {self._continues}: it is known"
                " only if the file with its snapshots is imported together with it (or is there already)"
            )


def _key_of(frame: pl.DataFrame) -> tuple[int, bool]:
    return int(frame["last_update_id"][0]), frame["update_type"][0] == "snap"


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
