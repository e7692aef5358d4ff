"""Any plain CSV or Parquet table, described by a mapping file (see `mapping`): trades, quotes, changes of levels, bars."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from market_maker.domain.errors import InvalidRequest, shorten
from market_maker.market_data.columns import DECIMAL, TS_MAX, TS_MIN, UNITS_NS, Dtype, codes, read_csv
from market_maker.market_data.importers import Batch, Notes, ReadOptions, Stream
from market_maker.market_data.importers.mapped_table.mapping import (
    NEEDED,
    Column,
    Mapping,
    SymbolColumn,
    Time,
    load_mapping,
)
from market_maker.market_data.parquet import exact_decimals, is_parquet, read_parquet, schema_of
from market_maker.market_data.rows import lake_name
from market_maker.market_data.schema import RAW_COLUMNS, EventKind, bars_table, kind_of
from market_maker.market_data.source import Source

NAME = "mapped_table"
VERSION = "1"
TITLE = "any CSV or Parquet table, by a mapping file"

_WHOLE = ("sequence", "trades")
_WORDS = ("side", "snapshot")
_DIRECTIONS = {"buy": 1, "bid": 1, "sell": -1, "ask": -1, "unknown": 0}
_SNAPSHOT = {"true": 1, "false": 0, "True": 1, "False": 0, "1": 1, "0": 0}


def recognises(source: Source) -> bool:  # noqa: ARG001 - the contract's
    """Return False: only a mapping file makes a table of this one."""
    return False


def read(source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
    """Yield the table of the mapping file, a stream a symbol."""
    if options.mapping is None:
        raise InvalidRequest.of("mapping", "nothing", "a mapping file that describes the table")
    mapping = load_mapping(options.mapping)
    reader = _Reader(source, options, notes, mapping)
    for frame in reader.frames():
        yield from reader.batches(frame)
    yield from reader.finish()


class _Reader:
    """A table under a mapping."""

    def __init__(self, source: Source, options: ReadOptions, notes: Notes, mapping: Mapping) -> None:
        self._source, self._options, self._notes, self._mapping = source, options, notes, mapping
        self._table = bars_table(mapping.interval_s) if mapping.table == "bars" else mapping.table
        self._books: dict[str, _Messages] = {}
        self._labels: set[str] = set()
        self._symbols: set[str] = set()
        self._previous = 0
        self._rows = 0

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the table's columns by their meaning, with `time`, `receive_time`, `symbol` where there are such."""
        wanted = {"time": self._mapping.time.column, **self._mapping.columns}
        if self._mapping.receive_time is not None:
            wanted["receive_time"] = self._mapping.receive_time.column
        if isinstance(self._mapping.symbol, SymbolColumn):
            wanted["symbol"] = self._mapping.symbol.column
        if is_parquet(self._source):
            yield from self._parquet(wanted)
        else:
            yield from self._csv(wanted)

    def batches(self, frame: pl.DataFrame) -> Iterator[Batch]:
        """Yield a part of the table by symbols."""
        self._rows += frame.height
        frame = self._timed(frame)
        if self._mapping.wide:
            yield from self._wide(frame)
            return
        if not isinstance(self._mapping.symbol, SymbolColumn):
            yield from self._of_symbol(str(self._mapping.symbol), frame)
            return
        for (symbol,), part in frame.partition_by("symbol", as_dict=True, maintain_order=True).items():
            if symbol is None or not str(symbol):
                raise self._source.error(int(part["row"][0]), str(self._mapping.symbol.column), "an empty symbol")
            if self._options.wants(str(symbol)):
                yield from self._of_symbol(str(symbol), part)

    def finish(self) -> Iterator[Batch]:
        """Yield what is left, and say what there is to say of the whole."""
        for label, book in self._books.items():
            yield from self._batch(label, book.finish())
        if not self._rows:
            raise self._source.error(None, None, "no row in it")
        if not self._labels:
            raise self._source.error(None, None, f"no row of {', '.join(self._options.symbols)} in it")
        stated: dict[str, str] = {key: str(value) for key, value in self._mapping.instrument.items()}
        if stated and len(self._labels) == 1:
            self._notes.instruments[next(iter(self._labels))] = stated
        elif stated:
            self._notes.warnings.append("the mapping's instrument is not used: the table has more than one symbol")
        if self._mapping.table == "book" and "snapshot" not in self._mapping.columns:
            self._notes.warnings.append(
                f"{self._source.path.name}: changes of levels without any full book (columns.snapshot): the book stays unknown"
            )
        if self._mapping.table == "bbo" and not {"bid_qty", "ask_qty"} & self._mapping.columns.keys():
            self._notes.warnings.append(f"{self._source.path.name}: quotes without quantities, which are 0")

    def _csv(self, wanted: dict[str, Column]) -> Iterator[pl.DataFrame]:
        csv = self._mapping.csv
        names = self._header() if csv.header else []
        places: dict[str, str] = {}
        for meaning, column in wanted.items():
            if csv.header != isinstance(column, str):
                how = "by name, as the header does" if csv.header else "by number, from 1, without a header"
                raise self._source.error(None, None, f"the mapping names column {column} of {meaning}; name it {how}")
            places[meaning] = str(column).lower() if csv.header else f"column {column}"
        types = {place: self._dtype(meaning) for meaning, place in places.items()}
        optional = {
            places[key] for key in ("volume", "trades", "bid_price", "bid_qty", "ask_price", "ask_qty") if key in places
        }
        if self._mapping.wide:
            others = [name for name in names if name.lower() != places["time"]]
            types |= {name.lower(): DECIMAL for name in others}
            optional |= {name.lower() for name in others}
            places |= {name: name.lower() for name in others}
            if len(set(places.values())) < len(places):
                raise self._source.error(1, None, "two columns have the same name but for capital letters")
        if not csv.header:
            width = len(self._first_line().split(csv.separator))
            types = {f"column {i}": types.get(f"column {i}", pl.String) for i in range(1, width + 1)}
            missing = [place for place in places.values() if place not in types]
            if missing:
                raise self._source.error(1, None, f"there is no {missing[0]}; it has {width}")
            optional |= types.keys() - set(places.values())
        elif any(place not in [name.lower() for name in names] for place in places.values()):
            absent = next(
                str(wanted[key]) for key, place in places.items() if place not in [name.lower() for name in names]
            )
            raise self._source.error(
                csv.skip_rows + 1, None, f"the header {shorten(','.join(names))} has no column {absent}"
            )
        for frame in read_csv(
            self._source, types, header=csv.header, separator=csv.separator, optional=optional, skip_rows=csv.skip_rows,
            quotes=csv.quotes,
        ):  # fmt: skip
            yield frame.select("row", **{meaning: pl.col(place) for meaning, place in places.items()})

    def _parquet(self, wanted: dict[str, Column]) -> Iterator[pl.DataFrame]:
        schema = schema_of(self._source)
        if self._mapping.wide:
            wanted |= {name: name for name in schema if name != wanted["time"]}
        names = list(dict.fromkeys(str(column) for column in wanted.values()))
        floats = [name for name in names if schema.get(name, pl.Int64).is_float()]
        if floats:
            self._notes.warnings.append(
                f"{self._source.path.name}: {', '.join(floats)} are binary floating-point numbers in the file; the decimal"
                " number of at most 15 digits that each stands for is taken"
            )
        for frame in read_parquet(self._source, names):
            columns = {}
            for meaning, column in wanted.items():
                if meaning in {"time", "receive_time"}:
                    columns[meaning] = frame[str(column)]
                elif self._dtype(meaning) == DECIMAL:
                    columns[meaning] = exact_decimals(self._source, frame, str(column))
                else:
                    columns[meaning] = frame[str(column)].cast(self._dtype(meaning), strict=False)
                if columns[meaning].null_count() and meaning in (
                    *NEEDED[self._mapping.table],
                    "time",
                    "side",
                    "sequence",
                ):
                    at = int(columns[meaning].is_null().arg_max() or 0)
                    raise self._source.error(
                        int(frame["row"][at]),
                        str(column),
                        f"{frame[str(column)][at]} is missing or no value for {meaning}",
                    )
            yield frame.select("row", **columns)

    def _dtype(self, meaning: str) -> Dtype:
        if meaning in {"time", "receive_time"}:
            time = self._mapping.time if meaning == "time" else self._mapping.receive_time
            assert time is not None
            return pl.String if time.unit is None else DECIMAL if time.unit == "s" else pl.Int64
        if meaning in _WHOLE:
            return pl.Int64
        return pl.String if meaning in _WORDS or meaning == "symbol" else DECIMAL

    def _first_line(self) -> str:
        lines = self._source.head().decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
        return (lines[self._mapping.csv.skip_rows : self._mapping.csv.skip_rows + 1] or [""])[0].strip("\r")

    def _header(self) -> list[str]:
        names = [field.strip().strip('"') for field in self._first_line().split(self._mapping.csv.separator)]
        if names == [""]:
            raise self._source.error(None, None, "no header in it")
        return names

    def _timed(self, frame: pl.DataFrame) -> pl.DataFrame:
        exch_ts = self._ns(frame, "time", self._mapping.time)
        local_ts = exch_ts
        if self._mapping.receive_time is not None:
            local_ts = self._ns(frame, "receive_time", self._mapping.receive_time)
        backward = int((local_ts.diff() < 0).sum()) + int(local_ts[0] < self._previous)
        self._previous = int(local_ts[-1])
        self._notes.count("receive_time_reversals", backward)
        return frame.with_columns(exch_ts.alias("exch_ts"), local_ts.alias("local_ts"))

    def _ns(self, frame: pl.DataFrame, meaning: str, time: Time) -> pl.Series:
        values = frame[meaning]
        if values.dtype.is_temporal():
            ns = _instants(values.cast(pl.Datetime("ns", getattr(values.dtype, "time_zone", None))), time.zone)
        elif time.unit is not None:
            step = pl.Series([10**18 // UNITS_NS[time.unit]], dtype=pl.Int128)
            exact = values if isinstance(values.dtype, pl.Decimal) else exact_decimals(self._source, frame, meaning)
            ns = (exact.to_physical() // step).cast(pl.Int64, strict=False)
        elif time.format is not None:
            ns = _instants(self._parsed(values.cast(pl.String), time.format), time.zone)
        else:
            raise self._source.error(
                None, None, f"the mapping gives neither unit nor format of the times in {time.column}"
            )
        bad = ~ns.is_between(TS_MIN, TS_MAX).fill_null(value=False)
        if bad.any():
            at = int(bad.arg_max() or 0)
            how = f"in {time.unit}" if time.unit else f"written as {time.format}" if time.format else ""
            raise self._source.error(
                int(frame["row"][at]),
                str(time.column),
                f"{shorten(str(values[at]))!r} is no time between 1979 and 2096 {how}".strip(),
            )
        return ns

    def _parsed(self, texts: pl.Series, pattern: str) -> pl.Series:
        try:
            return texts.str.to_datetime(pattern, time_unit="ns", strict=False)
        except pl.exceptions.PolarsError as error:
            what = f"the mapping's format {shorten(pattern)!r} is none of times: {shorten(str(error).splitlines()[0])}"
            raise self._source.error(None, None, what) from error

    def _wide(self, frame: pl.DataFrame) -> Iterator[Batch]:
        for symbol in frame.columns:
            if symbol in {"row", "time", "receive_time", "exch_ts", "local_ts"} or not self._options.wants(symbol):
                continue
            part = frame.select("local_ts", "row", close=symbol).drop_nulls("close")
            self._notes.count("empty_cells", frame.height - part.height, lake_name(symbol))
            same = part.with_columns(open="close", high="close", low="close")
            yield from self._of_symbol(symbol, same)

    def _of_symbol(self, symbol: str, frame: pl.DataFrame) -> Iterator[Batch]:
        self._symbols.add(symbol)
        if self._options.symbol and len(self._symbols) > 1:
            raise self._source.error(
                int(frame["row"][0]), None, "one name was given, but the table has several symbols"
            )
        label = lake_name(self._options.symbol or symbol)
        self._labels.add(label)
        self._notes.count("rows", frame.height, label)
        for name in frame.columns:
            if isinstance(frame[name].dtype, pl.Decimal) and frame.height and (frame[name].min() or 0) < 0:  # type: ignore[operator]
                at = int((frame[name] < 0).fill_null(value=False).arg_max() or 0)
                raise self._source.error(
                    int(frame["row"][at]), self._named(name), f"{frame[name][at].normalize():f} is negative"
                )
        filled = frame.with_columns(sequence=pl.col("sequence") if "sequence" in frame.columns else pl.lit(0, pl.Int64))
        if self._mapping.table in {"trades", "book"}:
            filled = self._sided(filled)
        if self._mapping.table == "book":
            book = self._books.setdefault(label, _Messages(self._source))
            yield from self._batch(label, book.take(filled))
            return
        if self._mapping.table == "bbo":
            for side in ("bid", "ask"):
                quantity = pl.col(f"{side}_qty") if f"{side}_qty" in frame.columns else pl.lit(0, DECIMAL)
                filled = filled.with_columns(
                    pl.col(f"{side}_price").fill_null(pl.lit(0, DECIMAL)),
                    quantity.fill_null(pl.lit(0, DECIMAL)).alias(f"{side}_qty"),
                )
        if self._mapping.table == "bars":
            volume = "volume" in frame.columns
            filled = filled.with_columns(
                volume=pl.col("volume") if volume else pl.lit(None, DECIMAL),
                trades=pl.col("trades").fill_null(-1) if "trades" in frame.columns else pl.lit(-1, pl.Int64),
            )
        yield from self._batch(label, filled)

    def _sided(self, frame: pl.DataFrame) -> pl.DataFrame:
        side = pl.Series([0], dtype=pl.Int8).new_from_index(0, frame.height)
        if "side" in frame.columns:
            words = {str(word): _DIRECTIONS[meaning] for word, meaning in self._mapping.sides.items()}
            column = self._named("side")
            side = codes(
                self._source, frame.rename({"side": column}) if column not in frame.columns else frame, column, words
            )
        kind = EventKind.TRADE if self._mapping.table == "trades" else EventKind.DEPTH
        return frame.with_columns(side.alias("side"), kind=pl.lit(int(kind), pl.Int8))

    def _named(self, meaning: str) -> str:
        return str(self._mapping.columns.get(meaning, meaning))

    def _batch(self, label: str, frame: pl.DataFrame) -> Iterator[Batch]:
        if frame.height:
            stream = Stream(self._options.venue or self._mapping.venue, label, self._table)
            yield Batch(stream, frame.select(RAW_COLUMNS[kind_of(self._table)]))


class _Messages:
    """Rows of one book, of which those of one time (and sequence) are a message; the last one waits for the next rows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tail: pl.DataFrame | None = None
        self._in_snapshot = False

    def take(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return whole messages, with clears before full books."""
        rows = frame if self._tail is None else pl.concat([self._tail, frame])
        new = pl.any_horizontal(pl.col(name) != pl.col(name).shift() for name in ("local_ts", "sequence"))
        starts = rows.select(new.fill_null(value=True)).to_series()
        done = rows.height - 1 - int(starts.reverse().arg_max() or 0)
        self._tail = rows.slice(done)
        return self._whole(rows.head(done), starts.head(done))

    def finish(self) -> pl.DataFrame:
        """Return the last message."""
        rows, self._tail = self._tail, None
        if rows is None:
            return pl.DataFrame()
        starts = pl.Series([True] + [False] * (rows.height - 1))
        return self._whole(rows, starts)

    def _whole(self, rows: pl.DataFrame, starts: pl.Series) -> pl.DataFrame:
        if not rows.height:
            return rows
        ends = starts.shift(-1, fill_value=True)
        rows = rows.with_columns(ends.alias("last"), place=pl.int_range(pl.len()) * 3 + 2)
        if "snapshot" not in rows.columns:
            return rows
        snapshot = codes(self._source, rows, "snapshot", _SNAPSHOT) == 1
        before = snapshot.shift(1, fill_value=self._in_snapshot)
        self._in_snapshot = bool(snapshot[-1])
        # A full book begins with its first row, and again with every message of it.
        begins = snapshot & (~before | starts)
        kind = pl.when(snapshot).then(int(EventKind.SNAPSHOT)).otherwise(int(EventKind.DEPTH)).cast(pl.Int8)
        first = rows.filter(begins).with_columns(
            price=pl.lit(0, DECIMAL),
            qty=pl.lit(0, DECIMAL),
            last=pl.lit(value=False),
            kind=pl.lit(int(EventKind.CLEAR), pl.Int8),
        )
        clears = [
            first.with_columns(side=pl.lit(side, pl.Int8), place=pl.col("place") - 2 + (side < 0)) for side in (1, -1)
        ]
        return pl.concat([rows.with_columns(kind=kind), *clears]).sort("place")


def _instants(values: pl.Series, zone: str) -> pl.Series:
    """Return times as ns UTC: those without a zone are of `zone`."""
    if getattr(values.dtype, "time_zone", None) is None:
        values = values.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return values.dt.timestamp("ns")
