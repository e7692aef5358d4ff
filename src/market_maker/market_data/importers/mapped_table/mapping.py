"""The mapping file of a plain table: its keys, and what is refused of them.

The keys of a mapping file (all others are refused):

- `table`: `trades`, `bbo`, `book` (changes of levels: absolute quantities, 0 removes) or `bars`; `venue`; `interval_s` of bars
- `symbol`: the symbol, or `{column: name}` in tables of many; absent with `wide: true`: one column a symbol, its bars' close
- `time`: `{column, unit | format, zone}`: whole or (unit s) decimal numbers since 1970 of the unit s, ms, us or ns; or a
  format of strftime (%Y-%m-%d %H:%M:%S%.f) in a zone, UTC unless said; Parquet's own times need neither
- `receive_time`: the same of the receive time, where there is one
- `columns`: of trades price, qty and, if known, side, sequence; of bbo bid_price, ask_price, bid_qty, ask_qty, sequence;
  of book side, price, qty, sequence, snapshot (true in the rows of a full book); of bars open, high, low, close, volume,
  trades. A column is named as in the header, or by its number from 1 where there is none
- `sides`: what the words of the side column mean: buy, sell, bid, ask, unknown
- `csv`: `{header, separator, skip_rows, quotes}`; `instrument`: `{tick_size, lot_size, base, quote, contract_type, multiplier}`
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl
import yaml

from market_maker.domain.errors import DataError, shorten

MAPPING_BYTES_MAX = 1 << 16
NEEDED = {
    "trades": ("price", "qty"), "bbo": ("bid_price", "ask_price"), "book": ("side", "price", "qty"),
    "bars": ("open", "high", "low", "close"),
}  # fmt: skip
ALLOWED = {
    "trades": ("price", "qty", "side", "sequence"),
    "bbo": ("bid_price", "bid_qty", "ask_price", "ask_qty", "sequence"),
    "book": ("side", "price", "qty", "sequence", "snapshot"), "bars": ("open", "high", "low", "close", "volume", "trades"),
}  # fmt: skip
Column = str | int
Text = str | int
Direction = Literal["buy", "sell", "bid", "ask", "unknown"]
InstrumentKey = Literal["tick_size", "lot_size", "base", "quote", "contract_type", "multiplier"]


class Csv(msgspec.Struct, forbid_unknown_fields=True):
    """How a CSV file is written."""

    header: bool = True
    separator: str = ","
    skip_rows: int = 0
    quotes: bool = False


class Time(msgspec.Struct, forbid_unknown_fields=True):
    """A column of times."""

    column: Column
    unit: Literal["s", "ms", "us", "ns"] | None = None
    format: str | None = None
    zone: str = "UTC"


class SymbolColumn(msgspec.Struct, forbid_unknown_fields=True):
    """A column of symbols."""

    column: Column


class Mapping(msgspec.Struct, forbid_unknown_fields=True):
    """A mapping file; see the module's docstring."""

    table: Literal["trades", "bbo", "book", "bars"]
    venue: str
    time: Time
    columns: dict[str, Column] = {}
    symbol: str | SymbolColumn | None = None
    receive_time: Time | None = None
    interval_s: int = 0
    wide: bool = False
    sides: dict[Text, Direction] = msgspec.field(
        default_factory=lambda: {"buy": "buy", "sell": "sell", "bid": "bid", "ask": "ask"}
    )
    csv: Csv = msgspec.field(default_factory=Csv)
    instrument: dict[InstrumentKey, Text] = {}


def load_mapping(path: Path) -> Mapping:
    """Return a mapping file's content; DataError names the key that is wrong."""
    name = shorten(path.name)
    try:
        if path.stat().st_size > MAPPING_BYTES_MAX:
            raise DataError(f"{name}: a mapping file has at most {MAPPING_BYTES_MAX} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        mapping = msgspec.convert(content, Mapping)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{name}: is no YAML: {shorten(' '.join(str(error).split()), 200)}") from error
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        key = place.strip("`").removeprefix("$").removeprefix(".") or "(top)"
        raise DataError(f"{name}, key {shorten(key)}: {shorten(what, 200)}") from error
    _check(mapping, name)
    return mapping


def _check(mapping: Mapping, name: str) -> None:
    """Refuse a mapping whose keys do not go together."""
    faults = [*_faults_of_columns(mapping), *_faults_of_times(mapping)]
    if (mapping.table == "bars") != (0 < mapping.interval_s <= 31 * 86_400):
        faults.append(("interval_s", "is needed for bars, in seconds, and for nothing else"))
    if len(mapping.csv.separator) != 1:
        faults.append(("csv.separator", f"{mapping.csv.separator!r} is not one character"))
    if not 0 <= mapping.csv.skip_rows <= 1000:
        faults.append(("csv.skip_rows", f"{mapping.csv.skip_rows} is not between 0 and 1000"))
    if faults:
        raise DataError(f"{name}, key {faults[0][0]}: {faults[0][1]}")


def _faults_of_columns(mapping: Mapping) -> Iterator[tuple[str, str]]:
    allowed = ", ".join(ALLOWED[mapping.table])
    for key in mapping.columns:
        if key not in ALLOWED[mapping.table]:
            yield f"columns.{key}", f"is no column of {mapping.table}; allowed: {allowed}"
    if mapping.wide:
        if mapping.table != "bars":
            yield "wide", "is for bars only"
        if mapping.columns or mapping.symbol is not None:
            yield "wide", "takes every other column as a symbol: columns and symbol have no place in it"
        if not mapping.csv.header:
            yield "csv.header", "wide needs one, because it names the symbols"
        return
    for key in NEEDED[mapping.table]:
        if key not in mapping.columns:
            yield f"columns.{key}", "is missing"
    if mapping.symbol is None or mapping.symbol == "":
        yield "symbol", "is missing"


def _faults_of_times(mapping: Mapping) -> Iterator[tuple[str, str]]:
    for key, time in (("time", mapping.time), ("receive_time", mapping.receive_time)):
        if time is None:
            continue
        if time.unit and time.format:
            yield key, "either unit or format, not both"
        try:
            pl.Series([0]).cast(pl.Datetime("ns", time.zone))
        except pl.exceptions.PolarsError:
            yield f"{key}.zone", f"{shorten(time.zone)!r} is no time zone such as America/New_York"
