"""NautilusTrader's Parquet catalog: quotes, trades, changes of levels (order book deltas) and bars of one instrument.

Prices and sizes are little-endian signed integers, of 16 bytes in units of 10^-16 or of 8 bytes in units of 10^-9; older
catalogs have plain integers of 10^-9. The instrument and its precisions are in the Arrow schema, else the instrument is
the name of the folder. `ts_init` is when the recorder knew of it (the order), `ts_event` when it happened.
Source: github.com/nautechsystems/nautilus_trader, crates/persistence and crates/model (types/fixed.rs, enums.rs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from market_maker.domain.errors import shorten
from market_maker.domain.instrument import EXACT
from market_maker.market_data.columns import TS_MAX, TS_MIN
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.parquet import is_parquet, key_values, read_parquet, schema_of
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import DECIMAL, NO_LEVEL, RAW_COLUMNS, EventKind, bars_table, kind_of
from market_maker.market_data.source import Source

NAME = "nautilus"
VERSION = "1"
TITLE = "NautilusTrader catalog (Parquet)"

COLUMNS = {
    "bbo": ("bid_price", "ask_price", "bid_size", "ask_size", "ts_event", "ts_init"),
    "trades": ("price", "size", "aggressor_side", "trade_id", "ts_event", "ts_init"),
    "book": ("action", "side", "price", "size", "order_id", "flags", "sequence", "ts_event", "ts_init"),
    "bars": ("open", "high", "low", "close", "volume", "ts_event", "ts_init"),
}
NUMBERS = {
    "bbo": (("bid_price", "ask_price"), ("bid_size", "ask_size")), "trades": (("price",), ("size",)),
    "book": (("price",), ("size",)), "bars": (("open", "high", "low", "close"), ("volume",)),
}  # fmt: skip
WIDE_DIGITS, NARROW_DIGITS = 16, 9
ADD, UPDATE, DELETE, CLEAR = 1, 2, 3, 4
LAST, SNAPSHOT = 128, 32
_INTERVALS_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400, "WEEK": 604_800}
_BAR_TYPE = re.compile(r".+-([0-9]{1,5})-([A-Z]+)-[A-Z]+-(EXTERNAL|INTERNAL)")
_SIDES = {0: 0, 1: 1, 2: -1}


def recognises(source: Source) -> bool:
    """Return whether it is Parquet with the columns of one kind of Nautilus data."""
    return is_parquet(source) and _table(source) is not None


def _table(source: Source) -> str | None:
    names = set(schema_of(source))
    return next((table for table, columns in COLUMNS.items() if names == set(columns)), None)


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield quotes as `bbo`, trades as `trades`, deltas as `book`, bars as `bars_<n>s`."""
    kind = _table(source)
    if kind is None:
        allowed = "; ".join(", ".join(columns) for columns in COLUMNS.values())
        raise source.error(None, None, f"its columns are none of Nautilus data: {allowed}")
    stated = key_values(source)
    symbol, venue = _instrument(source, stated, options)
    label = lake_name(symbol)
    table = bars_table(_interval_s(source, stated)) if kind == "bars" else kind
    rows = previous = 0
    for frame in _whole_messages(source) if kind == "book" else read_parquet(source, COLUMNS[kind]):
        part, units = _scaled(source, frame, kind, stated)
        part = _timed(source, part)
        notes.count("rows", part.height, label)
        backward = int((part["local_ts"].diff() < 0).sum()) + int(part["local_ts"][0] < previous)
        notes.count("receive_time_reversals", backward, label)
        previous, rows = int(part["local_ts"][-1]), rows + part.height
        if kind == "book":
            part = _deltas(source, part)
        elif kind == "bbo":
            part = part.rename({"bid_size": "bid_qty", "ask_size": "ask_qty"}).with_columns(
                sequence=pl.lit(0, pl.Int64)
            )
        elif kind == "trades":
            part = _trades(source, part)
        else:
            volume = _decimals(part["volume"], units[1])
            part = part.with_columns(volume=volume, trades=pl.lit(-1, pl.Int64))
        yield _batch(Stream(venue, label, table), part, units)
    if not rows:
        raise source.error(None, None, "no row in it")
    if kind == "bars":
        notes.warnings.append(
            f"{source.path.name}: the catalog does not say whether ts_event is the start or the end of a bar; it is taken as"
            " the start"
        )


def _batch(stream: Stream, frame: pl.DataFrame, units: tuple[int, int]) -> Batch:
    kind = kind_of(stream.table)
    price, quantity = (Decimal(1).scaleb(-digits) for digits in units)
    return Batch(stream, frame.select(RAW_COLUMNS[kind]), price, None if kind == "bars" else quantity)


def _instrument(source: Source, stated: dict[str, str], options: ReadOptions) -> tuple[str, str]:
    """Return symbol and venue: of the schema, else of the folder data/<type>/<instrument_id>/."""
    instrument = stated.get("instrument_id") or source.path.absolute().parent.name
    symbol, dot, venue = instrument.rpartition(".")
    if not (dot and symbol and venue) and not (options.symbol and options.venue):
        raise source.error(None, None, "it does not name its instrument, nor does its folder; give venue and symbol")
    return options.symbol or symbol, options.venue or lake_name(venue.lower())


def _interval_s(source: Source, stated: dict[str, str]) -> int:
    text = stated.get("bar_type") or source.path.absolute().parent.name
    found = _BAR_TYPE.fullmatch(text)
    if found is None or found[2] not in _INTERVALS_S or int(found[1]) == 0:
        raise source.error(
            None, None, f"the bar type {shorten(text)!r} is none of time, such as ADABTC.BINANCE-1-MINUTE-LAST-EXTERNAL"
        )
    return int(found[1]) * _INTERVALS_S[found[2]]


def _scaled(
    source: Source, frame: pl.DataFrame, kind: str, stated: dict[str, str]
) -> tuple[pl.DataFrame, tuple[int, int]]:
    """Return the frame with prices and sizes as Int64, and the decimals these have."""
    if kind == "book":
        frame = _without_cleared_numbers(frame)
    digits = []
    for names, key in zip(NUMBERS[kind], ("price_precision", "size_precision"), strict=True):
        precision = stated.get(key, "0")
        least = int(precision) if precision.isdigit() and int(precision) <= WIDE_DIGITS else 0
        raw = {name: _integers(source, frame, name) for name in names}
        for values, scale in raw.values():
            # The precision is what the instrument has; a value that is finer keeps all it has.
            while least < scale and bool((values % _power(scale - least) != 0).any()):
                least += 1
        digits.append(least)
        columns = []
        for name, (values, scale) in raw.items():
            scaled = values // _power(scale - least) if scale >= least else values * _power(least - scale)
            whole = scaled.cast(pl.Int64, strict=False)
            bad = whole.is_null() | (whole < 0)
            if bad.any():
                at = int(bad.arg_max() or 0)
                shown = Decimal(int(values[at])).scaleb(-scale, EXACT)
                raise source.error(int(frame["row"][at]), name, f"{shown:f} is negative, undefined or too large")
            columns.append(whole.alias(name))
        frame = frame.with_columns(columns)
    return frame, (digits[0], digits[1])


def _without_cleared_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Return deltas with zeros where a clear has price and size: these mean nothing, and may be undefined."""
    zeros = {
        name: pl.lit(bytes(frame[name].bin.size()[0] or 0)) if frame[name].dtype == pl.Binary else pl.lit(0)
        for name in ("price", "size")
    }
    is_clear = pl.col("action") == CLEAR
    return frame.with_columns(
        pl.when(is_clear).then(zero).otherwise(pl.col(name)).cast(frame[name].dtype).alias(name)
        for name, zero in zeros.items()
    )


def _integers(source: Source, frame: pl.DataFrame, name: str) -> tuple[pl.Series, int]:
    """Return the numbers of a column as Int128, and the decimals they have."""
    column = frame[name]
    if column.null_count():
        raise source.error(int(frame["row"][int(column.is_null().arg_max() or 0)]), name, "is missing")
    if column.dtype in {pl.Int64, pl.UInt64}:
        return column.cast(pl.Int128), NARROW_DIGITS
    width = set(column.bin.size().unique().to_list()) if column.dtype == pl.Binary else set()
    if width == {16}:
        whole: pl.Series = column.bin.reinterpret(dtype=pl.Int128, endianness="little")
        return whole, WIDE_DIGITS
    if width == {8}:
        return column.bin.reinterpret(dtype=pl.Int64, endianness="little").cast(pl.Int128), NARROW_DIGITS
    raise source.error(int(frame["row"][0]), name, f"{column.dtype} is no number of 8 or 16 bytes, nor a whole number")


def _power(digits: int) -> pl.Series:
    return pl.Series([10**digits], dtype=pl.Int128)


def _decimals(values: pl.Series, digits: int) -> pl.Series:
    """Return integers of 10^-digits as DECIMAL."""
    whole, rest = values // 10**digits, values % 10**digits
    texts = pl.select(pl.concat_str(whole.cast(pl.String), pl.lit("."), rest.cast(pl.String).str.zfill(max(digits, 1))))
    return texts.to_series().cast(DECIMAL)


def _timed(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    for name in ("ts_event", "ts_init"):
        if not frame[name].dtype.is_integer():
            raise source.error(None, name, f"{frame[name].dtype} is no whole number of nanoseconds")
        bad = ~frame[name].is_between(TS_MIN, TS_MAX).fill_null(value=False)
        if bad.any():
            at = int(bad.arg_max() or 0)
            raise source.error(int(frame["row"][at]), name, f"{frame[name][at]} is no time between 1979 and 2096 in ns")
    return frame.with_columns(exch_ts=pl.col("ts_event").cast(pl.Int64), local_ts=pl.col("ts_init").cast(pl.Int64))


def _codes(source: Source, frame: pl.DataFrame, name: str, allowed: dict[int, int]) -> pl.Series:
    found = frame[name].cast(pl.Int64).replace_strict(allowed, default=None, return_dtype=pl.Int8)
    if found.null_count():
        at = int(found.is_null().arg_max() or 0)
        raise source.error(int(frame["row"][at]), name, f"{frame[name][at]} is none of {', '.join(map(str, allowed))}")
    return found


def _trades(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    number = frame["trade_id"].cast(pl.String).cast(pl.Int64, strict=False).fill_null(0)
    return frame.with_columns(
        kind=pl.lit(int(EventKind.TRADE), pl.Int8), side=_codes(source, frame, "aggressor_side", _SIDES), qty="size",
        sequence=number,
    )  # fmt: skip


def _whole_messages(source: Source) -> Iterator[pl.DataFrame]:
    """Yield deltas cut at the ends of messages, with `last`; what is after the last end waits for more."""
    tail: pl.DataFrame | None = None
    for frame in read_parquet(source, COLUMNS["book"]):
        rows = frame if tail is None else pl.concat([tail, frame])
        ends = _ends(rows)
        done = rows.height - int(ends.reverse().arg_max() or 0) if ends.any() else 0
        tail = rows.slice(done)
        if done:
            yield rows.head(done).with_columns(last=ends.head(done))
    if tail is not None and tail.height:
        # A message without its end never makes the book whole; in a file without flags its end is the file's.
        is_last = pl.int_range(pl.len()) == pl.len() - 1
        yield tail.with_columns(last=is_last & (pl.col("flags").cast(pl.Int64) == 0).all())


def _ends(frame: pl.DataFrame) -> pl.Series:
    """Return after which rows the book is whole: flagged LAST or, without any flag, before another `ts_init`."""
    flagged = (frame["flags"].cast(pl.Int64) & LAST) != 0
    if (frame["flags"] != 0).any():
        return flagged
    return frame.select((pl.col("ts_init") != pl.col("ts_init").shift(-1)).fill_null(value=False)).to_series()


def _deltas(source: Source, frame: pl.DataFrame) -> pl.DataFrame:
    """Return changes of levels: a clear is one of both sides, what follows it in its message a full book."""
    action = _codes(source, frame, "action", {ADD: ADD, UPDATE: UPDATE, DELETE: DELETE, CLEAR: CLEAR})
    side = _codes(source, frame, "side", _SIDES)
    unsided = (side == 0) & (action != CLEAR)
    if unsided.any():
        raise source.error(int(frame["row"][int(unsided.arg_max() or 0)]), "side", "0 is no side of a book")
    rows = frame.with_columns(
        side.alias("side"), action.alias("action"), pl.col("sequence").cast(pl.Int64),
        message=pl.col("last").cum_sum() - pl.col("last").cast(pl.UInt32),
    )  # fmt: skip
    levels = rows.filter(pl.col("action") != CLEAR)
    by_order = levels.group_by("side", "price").agg(pl.col("order_id").n_unique(), pl.col("row").min())
    several = by_order.filter(pl.col("order_id") > 1).sort("row")
    if several.height:
        at = int(several["row"][0])
        raise source.error(
            at, "order_id", "its level has orders of several ids: a book by order (L3), of which only the provider's own"
            " files are read",
        )  # fmt: skip
    is_clear = pl.col("action") == CLEAR
    in_snapshot = (pl.col("flags").cast(pl.Int64) & SNAPSHOT != 0) | is_clear.any().over("message")
    kind = pl.when(is_clear).then(int(EventKind.CLEAR)).when(in_snapshot & (pl.col("action") != DELETE)).then(
        int(EventKind.SNAPSHOT)
    ).otherwise(int(EventKind.DEPTH))  # fmt: skip
    rows = rows.with_columns(
        kind=kind.cast(pl.Int8), qty=pl.when(pl.col("action") == DELETE).then(0).otherwise(pl.col("size")),
    )  # fmt: skip
    # A clear of side 0 is two rows; alone in its message, it leaves a book that is known to be empty.
    whole = is_clear & (pl.col("side") == 0)
    is_alone = is_clear.all().over("message") & (pl.col("row") == pl.col("row").max().over("message"))
    both, empty = pl.lit([1, -1], pl.List(pl.Int8)), pl.lit([1, -1, 0], pl.List(pl.Int8))
    sides = pl.when(whole & is_alone).then(empty).when(whole).then(both).otherwise(pl.concat_list(pl.col("side")))
    rows = rows.with_columns(side=sides).explode("side")
    is_empty = pl.col("side") == 0
    rows = rows.with_columns(
        kind=pl.when(is_empty).then(int(EventKind.SNAPSHOT)).otherwise(pl.col("kind")).cast(pl.Int8),
        side=pl.when(is_empty).then(NO_LEVEL[0]).otherwise(pl.col("side")).cast(pl.Int8),
    )  # fmt: skip
    ends = (pl.col("last") & ((pl.col("row") != pl.col("row").shift(-1)).fill_null(value=True))).alias("last")
    return rows.with_columns(ends)
