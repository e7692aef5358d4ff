"""Bars and trades as ccxt returns and freqtrade stores them: Feather (Arrow), JSON and CSV.

Bars are `[ms, open, high, low, close, volume]`, trades `[ms, id, type, side, price, amount, cost]`, of which `side` is the
taker's. Owns names of files (ETH_BTC-5m.feather, BTC_USDT_USDT-1h-futures.feather), times as ms or text in UTC, and the
floats of Feather, taken as the decimals they were made from (`floats`). An interval without trades is a missing row. Candles of
mark and index prices and of funding are no bars of trades and refused.
Source: ccxt manual, "OHLCV structure", "Trade structure"; freqtrade, freqtrade/data/history/datahandlers.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from market_maker.domain.errors import shorten
from market_maker.market_data.bars import interval_s_of, without_repeats
from market_maker.market_data.columns import DECIMAL, Dtype, TimeColumn, codes, read_csv, refuse_where
from market_maker.market_data.floats import Floats
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.parquet import exact_decimals
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, bars_table
from market_maker.market_data.source import BLOCK_BYTES, EXPANSION_MAX, LINE_BYTES_MAX, Source

NAME = "freqtrade"
VERSION = "1"
TITLE = "ccxt and freqtrade: OHLCV and trades in Feather, JSON and CSV"

FEATHER_ROWS = 500_000
FIRST_ROWS = 1000
"""Bars that say how long each is."""
_ARROW = b"ARROW1\x00\x00"
_NUMBERS = ("open", "high", "low", "close", "volume")
_BARS = ("timestamp", *_NUMBERS)
_TRADES = ("timestamp", "id", "type", "side", "price", "amount", "cost")
_FEATHER_BARS = (b"date", b"open", b"high", b"low", b"close", b"volume")
_FEATHER_TRADES = (b"timestamp", b"side", b"price", b"amount", b"cost")
_NUMBER = r"-?[0-9.]+(?:[eE][+-]?[0-9]+)?"
_BAR_HEADER = re.compile("(timestamp|date),open,high,low,close,volume")
_TRADE_HEADER = re.compile("timestamp,id,type,side,price,amount,cost")
_BAR_ROW = re.compile(rf"[0-9]{{12,13}}(,{_NUMBER}){{4}},({_NUMBER})?")
_BAR_LIST = re.compile(rf"\[\s*\[\s*[0-9]{{12,13}}(\s*,\s*({_NUMBER}|null)){{5}}\s*\]")
_TRADE_LIST = re.compile(
    rf"\[\s*\[\s*[0-9]{{12,13}}\s*,\s*(\"[^\"]*\"|null)(\s*,\s*(\"[a-z]*\"|null)){{2}}(\s*,\s*({_NUMBER}|null)){{3}}\s*\]"
)
_TEXT_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|\+00:?00)?$"
_FILE = re.compile(
    r"(?P<symbol>.+?)(?:-[0-9]{8}-[0-9]{8})?[_-](?:(?P<interval>[0-9]{1,3}[smhdwM])|trades)(?:-(?P<candle>[A-Za-z_]+))?\.[a-z]+"
)
_PAIR = re.compile("([A-Z0-9]+)_([A-Z0-9]+?)(?:_([A-Z0-9]+))?")
_NO_TRADED_PRICES = {"mark", "index", "premiumIndex", "funding_rate"}
_EXCHANGES = {
    "binance", "binanceus", "bingx", "bitfinex", "bitget", "bitmex", "bitstamp", "bybit", "coinbase", "cryptocom", "deribit", "gate",
    "gateio", "htx", "huobi", "hyperliquid", "kraken", "krakenfutures", "kucoin", "kucoinfutures", "mexc", "okx", "poloniex",
}  # fmt: skip
"""Names of folders that are taken for a venue: freqtrade keeps its files below data/<exchange>/."""
_SIDES = {"buy": 1, "sell": -1, "null": 0, "": 0}


@dataclass(frozen=True, slots=True)
class _Name:
    """What the name of a file says; empty: nothing."""

    symbol: str
    interval: str
    facts: dict[str, str]


@dataclass(slots=True)
class _File:
    """A file and what it has been said to be; `kind`: bars or trades, `form`: feather, json or csv."""

    source: Source
    options: ReadOptions
    notes: Notes
    kind: str
    form: str
    name: _Name
    venue: str
    floats: dict[str, Floats] = field(default_factory=dict)
    volumes_rounded: int = 0

    @property
    def label(self) -> str:
        """The symbol in the lake."""
        return lake_name(self.name.symbol)


def recognises(source: Source) -> bool:
    """Return whether the first row or the header is one of these bars or trades."""
    return _shape_of(source) is not None


def _shape_of(source: Source) -> tuple[str, str] | None:
    """Return kind (bars, trades) and form (feather, json, csv)."""
    head = source.head()
    if head.startswith(_ARROW):
        bars, trades = (all(name in head[:8192] for name in names) for names in (_FEATHER_BARS, _FEATHER_TRADES))
        return ("bars", "feather") if bars else ("trades", "feather") if trades else None
    text = head[:8192].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    lines = [line.strip() for line in text.splitlines()[:2]]
    if not lines:
        return None
    if _BAR_HEADER.fullmatch(lines[0].lower()):
        first = lines[1].partition(",")[0] if len(lines) > 1 else "0"
        return ("bars", "csv") if first.isdigit() or re.fullmatch(_TEXT_TIME, first) else None
    if _TRADE_HEADER.fullmatch(lines[0].lower()):
        return "trades", "csv"
    if _BAR_ROW.fullmatch(lines[0]):
        return "bars", "csv"
    if _BAR_LIST.match(text):
        return "bars", "json"
    return ("trades", "json") if _TRADE_LIST.match(text) else None


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield bars as `bars_<n>s`, trades as `trades`."""
    shape = _shape_of(source)
    if shape is None:
        # Of a file that is damaged at once this tells the damage.
        deque(source.blocks(), 0)
        raise source.error(
            1,
            None,
            "neither bars [ms, open, high, low, close, volume] nor trades [ms, id, type, side, price, amount, cost]",
        )
    name = _name_of(source, options)
    file = _File(source, options, notes, *shape, name, _venue_of(source, options, name))
    if name.facts:
        notes.instruments[file.label] = name.facts
    yield from _bars(file) if file.kind == "bars" else _trades(file)
    for names, floats in file.floats.items():
        notes.count(f"{names}_beside_a_decimal", floats.moved, file.label)
        if sentence := floats.told(names):
            notes.warnings.append(sentence)
    notes.count("volumes_rounded_to_15_digits", file.volumes_rounded, file.label)


def _name_of(source: Source, options: ReadOptions) -> _Name:
    found = _FILE.fullmatch(source.name)
    if found and found["candle"] in _NO_TRADED_PRICES:
        raise source.error(
            None, None, f"candles of {found['candle']} are no bars of trades; import the file without it"
        )
    symbol = options.symbol or (found["symbol"] if found else None)
    if symbol is None:
        raise source.error(None, None, "its name does not say the symbol, as ETH_BTC-5m.feather does; give the symbol")
    facts: dict[str, str] = {}
    if found and (pair := _PAIR.fullmatch(found["symbol"])):
        contract = "SPOT" if pair[3] is None else {pair[2]: "LINEAR", pair[1]: "INVERSE"}.get(pair[3])
        facts = {"base": pair[1], "quote": pair[2]} | ({"contract_type": contract} if contract else {})
    return _Name(symbol, (found["interval"] or "") if found else "", facts)


def _venue_of(source: Source, options: ReadOptions, name: _Name) -> str:
    """Return the venue: the user's word, or the folder's as freqtrade names it."""
    folder = source.path.parent
    if folder.name == "futures":
        folder = folder.parent
    if options.venue is not None:
        return options.venue
    if folder.name not in _EXCHANGES:
        raise source.error(None, None, f"nothing says the venue of {shorten(name.symbol)}; give the venue")
    if folder.name == "binance":
        return "binance-" + {"LINEAR": "usdm", "INVERSE": "coinm"}.get(name.facts.get("contract_type", ""), "spot")
    return folder.name


def _bars(file: _File) -> Iterator[Batch]:
    source, label = file.source, file.label
    stream: Stream | None = None
    before: pl.DataFrame | None = None
    bars = repeats = off_grid = start_ns = 0
    interval_ns = 0
    for frame in _with_first(_frames(file, _BARS), FIRST_ROWS):
        for name in _NUMBERS:
            refuse_where(source, frame, name, (frame[name] < 0).fill_null(value=False), "is negative")
        found = without_repeats(source, frame, before, "ts")
        before = frame.tail(1)
        repeats += frame.height - found.height
        if not found.height:
            continue
        if stream is None:
            interval_ns, start_ns = _interval_s(file, found) * 10**9, int(found["ts"][0])
            stream = Stream(file.venue, label, bars_table(interval_ns // 10**9))
        bars += found.height
        off_grid += int(((found["ts"] - start_ns) % interval_ns != 0).sum())
        yield Batch(
            stream,
            found.select(*_NUMBERS, local_ts="ts", trades=pl.lit(-1, pl.Int64), row="row").select(RAW_COLUMNS["bars"]),
        )
    file.notes.count("bars", bars, label)
    file.notes.count("duplicates", repeats, label)
    file.notes.count("bars_between_the_intervals", off_grid, label)


def _with_first(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield frames of which the first has so many rows, if there are as many at all."""
    first = next(frames, None)
    while first is not None:
        following = next(frames, None)
        if following is None or first.height >= rows:
            yield first
            first, rows = following, 0
        else:
            first = pl.concat([first, following])


def _interval_s(file: _File, frame: pl.DataFrame) -> int:
    """Return the most frequent step of the first rows, which must be that of the name, if it says one."""
    named = file.name.interval
    named_s = interval_s_of(named) if named else None
    if named and named_s is None:
        raise file.source.error(None, None, f"bars of {named} have no one length; import those of a day")
    steps = frame["ts"].diff().drop_nulls()
    if not steps.len():
        if named_s is None:
            raise file.source.error(None, None, "one bar does not say how long it is, nor does the name of the file")
        return named_s
    step_ns = int(steps.rename("step").value_counts(sort=True)["step"][0])
    row = int(frame["row"][0])
    if step_ns <= 0 or step_ns % 10**9:
        raise file.source.error(row, _BARS[0], f"steps of {step_ns / 1e9:g} s; whole seconds forward are needed")
    if named_s is not None and named_s * 10**9 != step_ns:
        raise file.source.error(
            row, _BARS[0], f"most steps are of {step_ns // 10**9} s in a file that is named {named}"
        )
    return step_ns // 10**9


def _trades(file: _File) -> Iterator[Batch]:
    source, label = file.source, file.label
    stream = Stream(file.venue, label, "trades")
    trades = empty = unnumbered = 0
    for frame in _frames(file, _TRADES):
        refuse_where(source, frame, "price", frame["price"] <= 0, "is no price of a trade")
        refuse_where(source, frame, "amount", frame["amount"] < 0, "is negative")
        side = codes(source, frame.with_columns(pl.col("side").fill_null("")), "side", _SIDES)
        number = frame["id"].str.extract("^([0-9]{1,18})$").cast(pl.Int64)
        rows = frame.select(
            exch_ts="ts", local_ts="ts", kind=pl.lit(int(EventKind.TRADE), pl.Int8), side=side, price="price", qty="amount",
            sequence=number.fill_null(0), row="row",
        )  # fmt: skip
        trades += rows.height
        unnumbered += number.null_count()
        kept = rows.filter(pl.col("qty") > 0)
        empty += rows.height - kept.height
        yield Batch(stream, kept)
    file.notes.count("trades", trades, label)
    file.notes.count("trades_without_a_number", unnumbered, label)
    file.notes.count("skipped_empty_trades", empty, label)


def _frames(file: _File, names: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Yield the columns with exact decimals, `ts` in ns instead of the time, and `row`."""
    if file.form == "feather":
        yield from _feather(file, names)
        return
    source = file.source if file.form == "csv" else _JsonRows(file.source)
    line = file.source.first_line()
    has_header = file.form == "csv" and not line[:1].isdigit()
    time = next((row.partition(b",")[0] for row in source.head().splitlines()[1:2]), b"") if has_header else b"0"
    is_text = not time.isdigit()
    types: dict[str, Dtype] = dict.fromkeys(("price", "amount", *_NUMBERS), DECIMAL)
    columns = {name: types.get(name, pl.String) for name in names} | {"timestamp": pl.String if is_text else pl.Int64}
    times = TimeColumn(source, "timestamp")
    optional = ("volume",) if file.kind == "bars" else ("id", "type", "side", "cost")
    for frame in read_csv(
        source,
        columns,
        header=has_header,
        optional=optional,
        aliases={"date": "timestamp"},
        quotes=file.kind == "trades",
    ):
        yield frame.with_columns(ts=_text_ns(source, frame) if is_text else times.ns(frame)).drop("timestamp")


def _text_ns(source: Source, frame: pl.DataFrame) -> pl.Series:
    texts = frame["timestamp"]
    seconds = texts.str.head(19).str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S", time_unit="ns", strict=False
    )  # fmt: skip
    bad = ~texts.str.contains(_TEXT_TIME) | seconds.is_null()
    refuse_where(source, frame, "timestamp", bad, "is no time in UTC such as 2021-12-31 23:01:00")
    digits = texts.str.extract(r"\.([0-9]+)").fill_null("0").str.pad_end(9, "0").cast(pl.Int64)
    return seconds.dt.timestamp("ns") + digits


class _JsonRows(Source):
    """A list of flat lists as lines of their fields; rows are counted, from 1, instead of lines."""

    def __init__(self, inner: Source) -> None:
        self.__dict__.update(inner.__dict__)

    def blocks(self, member: str | None = None, size: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
        """Yield (row of the first list, whole lists as lines)."""
        row, rest = 1, b""
        started = False
        with self.open(member) as stream:
            while data := stream.read(size):
                rest += data.translate(None, b" \t\r\n")
                if not started:
                    rest, started = rest.removeprefix(b"\xef\xbb\xbf").removeprefix(b"[["), True
                end = rest.rfind(b"],[")
                if end < 0:
                    if len(rest) > LINE_BYTES_MAX:
                        raise self.error(row, None, f"a list of more than {LINE_BYTES_MAX} bytes")
                    continue
                yield row, _lines(rest[:end])
                row += rest.count(b"],[", 0, end) + 1
                rest = rest[end + 3 :]
        if not rest.endswith(b"]]"):
            raise self.error(row + rest.count(b"],["), None, "the list is cut off after it")
        yield row, _lines(rest[:-2])


def _lines(lists: bytes) -> bytes:
    # Nothing but the volume of a bar may be null, which an empty field says to read_csv.
    return lists.replace(b"],[", b"\n").replace(b",null", b",") + b"\n"


def _feather(file: _File, names: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    source = file.source
    time = "date" if file.kind == "bars" else "timestamp"
    wanted = (time, *names[1:])
    times = TimeColumn(source, time)
    row, height = 1, 0
    try:
        # One inside an archive cannot be read piece by piece.
        lazy = (
            pl.scan_ipc(source.path) if source.head(size=8) == _raw_head(source) else pl.read_ipc(_whole(source)).lazy()
        )
        known = lazy.collect_schema()
        missing = [name for name in wanted if name not in known]
        if missing:
            raise source.error(None, None, f"there is no column {', '.join(missing)}")
        height = int(lazy.select(pl.len()).collect().item())
        if 8 * height * len(known) > max(1 << 26, EXPANSION_MAX * source.size):
            raise source.error(None, None, f"it states {height} rows, more than a file of {source.size} bytes can hold")
        for row in range(1, height + 1, FEATHER_ROWS):
            part = lazy.slice(row - 1, FEATHER_ROWS).select(wanted).collect()
            source.note(
                source.size * min(row + FEATHER_ROWS, height) // height,
                8 * len(wanted) * min(row + FEATHER_ROWS, height),
            )
            frame = part.with_row_index("row", row).with_columns(pl.col("row").cast(pl.Int64))
            yield _exact(file, frame.with_columns(ts=_feather_ns(file, frame, time, times)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise source.error(row, None, f"or after it, the Feather file is damaged: {shorten(str(error))}") from error


def _raw_head(source: Source) -> bytes:
    with source.path.open("rb") as raw:
        return raw.read(8)


def _whole(source: Source) -> bytes:
    with source.open() as stream:
        return stream.read()


def _feather_ns(file: _File, frame: pl.DataFrame, time: str, times: TimeColumn) -> pl.Series:
    values = frame[time]
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone not in {None, "UTC", "+00:00", "Etc/UTC"}:
            raise file.source.error(None, time, f"its times are of {values.dtype.time_zone}; UTC is needed")
        refuse_where(file.source, frame, time, values.is_null(), "where a time is needed")
        return values.dt.replace_time_zone(None).cast(pl.Datetime("ns")).to_physical()
    if not values.dtype.is_integer():
        raise file.source.error(None, time, f"is of type {values.dtype}; times are needed")
    refuse_where(file.source, frame, time, values.is_null(), "where a time is needed")
    return times.ns(frame.with_columns(pl.col(time).cast(pl.Int64)))


def _exact(file: _File, frame: pl.DataFrame) -> pl.DataFrame:
    """Return floats as decimals: prices as one group, so that they have one unit; quantities of bars as they are."""
    prices = ("open", "high", "low", "close") if file.kind == "bars" else ("price",)
    columns = [
        _decimals(file, frame, "prices", prices), *([_decimals(file, frame, "quantities", ("amount",))] if file.kind == "trades" else []),
    ]  # fmt: skip
    exact = [series for group in columns for series in group]
    if file.kind == "bars":
        volume = frame["volume"]
        if volume.dtype == pl.Float64:
            file.volumes_rounded += int((volume.round_sig_figs(15) != volume).sum())
        exact.append(exact_decimals(file.source, frame, "volume"))
        return frame.with_columns(exact)
    return frame.with_columns(*exact, pl.col("id", "side").cast(pl.String))


def _decimals(file: _File, frame: pl.DataFrame, what: str, names: tuple[str, ...]) -> list[pl.Series]:
    for name in names:
        refuse_where(file.source, frame, name, frame[name].is_null(), "where a number is needed")
        if not frame[name].dtype.is_numeric():
            raise file.source.error(None, name, f"is of type {frame[name].dtype}; numbers are needed")
    if any(frame[name].dtype != pl.Float64 for name in names):
        return [exact_decimals(file.source, frame, name) for name in names]
    rows = frame["row"].to_numpy()
    floats = file.floats.setdefault(what, Floats(file.source, ", ".join(names)))
    # The shortest text of the nearest float is the decimal.
    return [
        pl.Series(name, floats.nearest(frame[name].to_numpy(), rows)).cast(pl.String).cast(DECIMAL) for name in names
    ]


__all__ = ["NAME", "TITLE", "VERSION", "read", "recognises"]
