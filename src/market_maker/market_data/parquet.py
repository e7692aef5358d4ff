"""Parquet files as frames of bounded size, with the text that programs keep beside their columns.

The parsing is polars'; this owns rows, floats as exact decimals, and the key-value pairs of an Arrow schema, which polars
does not tell. Knows no format of market data.
Source: github.com/apache/arrow, format/Schema.fbs and Message.fbs; the layout of tables is FlatBuffers'.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator, Sequence
from decimal import Decimal

import polars as pl

from market_maker.domain.errors import shorten
from market_maker.market_data.schema import DECIMAL
from market_maker.market_data.source import Source

MAGIC = b"PAR1"
ROWS = 1_000_000
_PLAIN = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"


def is_parquet(source: Source) -> bool:
    """Return whether the file itself (not one inside an archive) is Parquet."""
    return not source.members and source.head(size=4) == MAGIC


def schema_of(source: Source) -> pl.Schema:
    """Return names and types of the columns."""
    try:
        return pl.scan_parquet(source.path, glob=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.error(None, None, f"the Parquet file is damaged: {shorten(str(error))}") from error


def read_parquet(source: Source, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield the columns and `row` (Int64, from 1), a million rows at a time."""
    known = schema_of(source)
    missing = [name for name in columns if name not in known]
    if missing:
        raise source.error(
            None, None, f"there is no column {', '.join(missing)}; there are {shorten(', '.join(known))}"
        )
    row = 1
    while True:
        try:
            lazy = pl.scan_parquet(source.path, glob=False).select(columns).slice(row - 1, ROWS)
            frame = lazy.with_row_index("row", row).cast({"row": pl.Int64}).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise source.error(row, None, f"or after it, the Parquet file is damaged: {shorten(str(error))}") from error
        if not frame.height:
            return
        yield frame
        row += frame.height


def exact_decimals(source: Source, frame: pl.DataFrame, column: str) -> pl.Series:
    """Return numbers of any type as DECIMAL.

    A float is the decimal number of at most 15 digits that it stands for: 64 bits hold every such number, and what is
    beyond them is left over from somebody's arithmetic (0.0061909999999999995 for 0.006191).
    """
    values = frame[column]
    if values.dtype.is_integer() or isinstance(values.dtype, pl.Decimal):
        return values.cast(DECIMAL)
    if values.dtype == pl.Float64:
        values = values.round_sig_figs(15)
    texts = values.cast(pl.String) if not values.dtype.is_nested() else values.is_null().cast(pl.String)
    # Small numbers are printed with an exponent: there are few different ones.
    exponents = texts.filter(texts.str.contains("e", literal=True).fill_null(value=False)).unique().to_list()
    if exponents:
        texts = texts.replace({text: f"{Decimal(text):f}" for text in exponents})
    bad = ~texts.str.contains(_PLAIN).fill_null(value=True)
    if bad.any():
        at = int(bad.arg_max() or 0)
        raise source.error(
            int(frame["row"][at]), column, f"{shorten(str(values[at]))} is no number of up to 20 and 18 digits"
        )
    return texts.cast(DECIMAL).alias(column)


def key_values(source: Source) -> dict[str, str]:
    """Return the key-value pairs of the file and of the Arrow schema in it; empty when there are none."""
    try:
        found = dict(pl.read_parquet_metadata(source.path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise source.error(None, None, f"the Parquet file is damaged: {shorten(str(error))}") from error
    encoded = found.pop("ARROW:schema", "")
    try:
        found |= _arrow_pairs(base64.b64decode(encoded))
    except (struct.error, IndexError, UnicodeDecodeError, binascii.Error) as error:
        raise source.error(None, None, f"its Arrow schema cannot be read: {error}") from error
    return found


def _arrow_pairs(message: bytes) -> dict[str, str]:
    """Return the custom_metadata of the schema in an encapsulated Arrow message."""
    if not message:
        return {}
    start = 8 if message[:4] == b"\xff\xff\xff\xff" else 4
    root = start + _u32(message, start)
    # Message: version, header_type, header, ...; Schema: endianness, fields, custom_metadata.
    schema = _table(message, root, 2)
    pairs = _table(message, schema, 2) if schema else 0
    if not pairs:
        return {}
    found = {}
    for i in range(min(_u32(message, pairs), 1000)):
        at = pairs + 4 + 4 * i
        pair = at + _u32(message, at)
        found[_text(message, _table(message, pair, 0))] = _text(message, _table(message, pair, 1))
    return found


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _table(data: bytes, table: int, field: int) -> int:
    """Return where a field of a FlatBuffers table points to, 0 when it is absent."""
    entries = table - int(struct.unpack_from("<i", data, table)[0])
    size = int(struct.unpack_from("<H", data, entries)[0])
    if 4 + 2 * field >= size:
        return 0
    offset = int(struct.unpack_from("<H", data, entries + 4 + 2 * field)[0])
    return table + offset + _u32(data, table + offset) if offset else 0


def _text(data: bytes, at: int) -> str:
    return data[at + 4 : at + 4 + _u32(data, at)].decode() if at else ""
