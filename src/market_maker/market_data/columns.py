"""Delimited text as typed columns, block by block: exact decimals, whole numbers, and errors with row and column.

The parsing is polars'; this owns what it does not tell: the row of a fault, the unit of a time, a mixture of units.
No value of a file ever passes through binary floating point.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal

import numpy as np
import polars as pl

from market_maker.domain.errors import DataError, shorten
from market_maker.market_data.schema import DECIMAL
from market_maker.market_data.source import Source, ahead, lines_in

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_FINER = re.compile(rb"\.[0-9]{19}")
_FINER_DIGITS = 19
_POINT, _ZERO = np.uint8(ord(".")), np.uint8(ord("0"))
Dtype = type[pl.DataType] | pl.DataType

TS_MIN, TS_MAX = 300_000_000_000_000_000, 4_000_000_000_000_000_000
"""Times between 1979 and 2096, ns."""
UNITS_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


def read_csv(
    source: Source,
    columns: Mapping[str, Dtype],
    *,
    header: bool | None = None,
    member: str | None = None,
    separator: str = ",",
    optional: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
    skip_rows: int = 0,
    quotes: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield a delimited file as frames of `columns` and `row` (Int64, from 1), about 16 MB of text each.

    Parameters
    ----------
    columns : name and type (Int64, String, `DECIMAL`) in the order of the file; of a file with a header, by name: other
        columns of the file are left out
    header : whether there is one; None: there is one when the first field of the first line is no number
    optional : columns that may be empty (null), or absent from a header; any other empty field is an error
    aliases : names of a header that mean one of `columns`, compared in lower case
    skip_rows : lines before the header or the first row
    quotes : whether fields may be quoted

    Raises
    ------
    DataError
        Names file, row and column: a field of another type, an empty field, too many fields, a missing column.
    """
    arguments = (source, columns, header, member, separator, optional, aliases or {}, skip_rows, quotes)
    return ahead(_frames(*arguments))


def _frames(
    source: Source, columns: Mapping[str, Dtype], header: bool | None, member: str | None, separator: str,
    optional: Collection[str], aliases: Mapping[str, str], skip_rows: int, quotes: bool,
) -> Iterator[pl.DataFrame]:  # fmt: skip
    names = list(columns)
    start = True
    for first, data in source.blocks(member):
        block, row = data, first
        if start:
            for _ in range(skip_rows):
                block, row = block[block.find(b"\n") + 1 :], row + 1
            block = block.removeprefix(b"\xef\xbb\xbf")
            line, _, rest = block.partition(b"\n")
            fields = [
                field.strip().strip('"') for field in line.decode("utf-8", "replace").strip("\r").split(separator)
            ]
            if (not _NUMBER.fullmatch(fields[0])) if header is None else header:
                names = _by_header(source, row, fields, columns, optional, aliases)
                block, row = rest, row + 1
            start = False
        if block and not block.isspace():
            yield _frame(source, block, row, names, columns, separator, optional, quotes)


def _by_header(
    source: Source, row: int, fields: list[str], columns: Mapping[str, Dtype], optional: Collection[str],
    aliases: Mapping[str, str],
) -> list[str]:  # fmt: skip
    found = [aliases.get(field.lower(), field.lower()) for field in fields]
    missing = [name for name in columns if name not in found and name not in optional]
    if missing:
        raise source.error(row, None, f"the header {shorten(','.join(fields))} has no column {', '.join(missing)}")
    # Columns that nobody asked for keep a name of their own and are dropped after parsing.
    taken: set[str] = set()
    names = []
    for i, name in enumerate(found):
        names.append(name if name in columns and name not in taken else f"unused {i}")
        taken.add(names[-1])
    return names


def _frame(
    source: Source, block: bytes, row: int, names: list[str], columns: Mapping[str, Dtype], separator: str,
    optional: Collection[str], quotes: bool,
) -> pl.DataFrame:  # fmt: skip
    schema = {name: columns.get(name, pl.String) for name in names}
    try:
        frame = pl.read_csv(
            block, has_header=False, schema=schema, separator=separator, quote_char='"' if quotes else None,
            row_index_name="row", row_index_offset=row,
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise _locate(source, block, row, schema, separator, optional, quotes) or source.error(
            row, None, f"or after it: {shorten(str(error).splitlines()[0])}"
        ) from error
    needed = [name for name in columns if name not in optional]
    # polars rounds what is finer than the type without a word.
    if _has_finer(block) or any(frame[name].null_count() for name in needed) or frame.height != _rows_of(block):
        fault = _locate(source, block, row, schema, separator, optional, quotes)
        if fault is not None:
            raise fault
        # What is left without a value are blank lines.
        frame = frame.filter(~pl.all_horizontal(pl.col(list(schema)).is_null()))
    kept = [name for name in columns if name in schema]
    absent = [pl.lit(None, dtype=columns[name]).alias(name) for name in columns if name not in schema]
    return frame.select(*kept, *absent, pl.col("row").cast(pl.Int64))


def _rows_of(block: bytes) -> int:
    return lines_in(block) + (not block.endswith(b"\n"))


def _has_finer(block: bytes) -> bool:
    """Return whether a point is followed by 19 digits or more. NumPy looks first: it lets other threads work, `re` does not."""
    text = np.frombuffer(block, np.uint8)
    points = np.flatnonzero(text == _POINT)
    points = points[points + _FINER_DIGITS < len(text)]
    for ahead_of_it in (_FINER_DIGITS, 9, 5, 13):
        digits = text[points + ahead_of_it] - _ZERO
        points = points[digits <= 9]
        if not len(points):
            return False
    return _FINER.search(block) is not None


def _locate(
    source: Source, block: bytes, first: int, schema: Mapping[str, Dtype], separator: str, optional: Collection[str],
    quotes: bool,
) -> DataError | None:  # fmt: skip
    """Return the error of the first bad row: slow, and only on the way to a refusal."""
    wanted = list(schema)
    for row, raw in enumerate(block.split(b"\n"), first):
        try:
            text = raw.decode("utf-8").strip("\r")
        except UnicodeDecodeError as error:
            return source.error(row, None, f"not UTF-8: {error}")
        if not text.strip():
            continue
        fields = text.split(separator)
        if quotes:
            if text.count('"') % 2:
                return source.error(row, None, "an unfinished quotation")
            if '"' in text:
                continue
        if len(fields) != len(wanted):
            return source.error(row, None, f"{len(fields)} fields where {len(wanted)} are needed: {shorten(text)!r}")
        for name, value in zip(wanted, fields, strict=True):
            fault = _fault(value, schema[name], name.startswith("unused ") or name in optional)
            if fault:
                return source.error(row, name, fault)
    return None


def _fault(value: str, dtype: Dtype, may_be_empty: bool) -> str | None:
    if not value:
        return None if may_be_empty else "an empty field"
    if dtype == pl.Int64:
        if not _INTEGER.fullmatch(value):
            return f"{shorten(value)!r} is not a whole number"
        if not -(2**63) <= int(value) < 2**63:
            return f"{shorten(value)!r} does not fit into 64 bits"
    elif isinstance(dtype, pl.Decimal):
        if not _NUMBER.fullmatch(value) or abs(Decimal(value)) >= 10**20:
            return f"{shorten(value)!r} is not a decimal number below 10^20"
        mantissa, _, exponent = value.lower().partition("e")
        if len(mantissa.partition(".")[2].rstrip("0")) - int(exponent or 0) > DECIMAL.scale:
            return f"{shorten(value)!r} has more than {DECIMAL.scale} decimals"
    return None


class TimeColumn:
    """Whole numbers of a column of times, as ns; the unit is found by magnitude and must be one for the whole file.

    Parameters
    ----------
    unit : "s", "ms", "us" or "ns"; None: by the first value
    """

    def __init__(self, source: Source, column: str, unit: str | None = None) -> None:
        self._source, self._column, self.unit = source, column, unit

    def ns(self, frame: pl.DataFrame) -> pl.Series:
        """Return the times in ns (null stays null); DataError names the first row outside 1979 to 2096 in the unit."""
        values = frame[self._column]
        if self.unit is None:
            known = values.drop_nulls()
            if not known.len():
                return values.cast(pl.Int64)
            first = int(known[0])
            self.unit = next((unit for unit, ns in UNITS_NS.items() if TS_MIN <= first * ns <= TS_MAX), None)
            if self.unit is None:
                raise self._source.error(int(frame["row"][0]), self._column, f"{first} is no time in s, ms, us or ns")
        scale = UNITS_NS[self.unit]
        bad = ((values < TS_MIN // scale) | (values > TS_MAX // scale)).fill_null(value=False)
        if bad.any():
            at = int(bad.arg_max() or 0)
            raise self._source.error(
                int(frame["row"][at]), self._column,
                f"{values[at]} is no time between 1979 and 2096 in {self.unit}, the unit of the rows before it",
            )  # fmt: skip
        return (values * scale).alias(self._column)


def codes(source: Source, frame: pl.DataFrame, column: str, meaning: Mapping[str, int]) -> pl.Series:
    """Return text as small integers (Int8) by a table; DataError names the first row with any other text."""
    found = frame[column].replace_strict(dict(meaning), default=None, return_dtype=pl.Int8)
    bad = found.is_null()
    if bad.any():
        at = int(bad.arg_max() or 0)
        raise source.error(
            int(frame["row"][at]), column, f"{shorten(str(frame[column][at]))!r} is none of {', '.join(meaning)}"
        )
    return found


def refuse_where(source: Source, frame: pl.DataFrame, column: str, bad: pl.Series, what: str) -> None:
    """Raise DataError for the first row where `bad` is true: its value of `column`, and `what` is wrong with it."""
    if bad.any():
        at = int(bad.fill_null(value=False).arg_max() or 0)
        raise source.error(int(frame["row"][at]), column, f"{shorten(str(frame[column][at]))} {what}")


TRUE_FALSE = {"true": 1, "false": 0, "True": 1, "False": 0, "TRUE": 1, "FALSE": 0}
"""For `codes`: how the venues' dumps write a boolean."""

__all__ = ["DECIMAL", "TRUE_FALSE", "TimeColumn", "codes", "read_csv", "refuse_where"]
