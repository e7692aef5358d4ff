"""Rows that come as messages, collected until a batch of them becomes columns at once: for the formats of JSON lines.

Owns the way from decimal text and exchange times to columns, with the row and column of what is wrong. Knows no venue.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import shorten
from market_maker.market_data.schema import DECIMAL
from market_maker.market_data.source import Source

_PLAIN = r"^[0-9]{1,20}(\.[0-9]{1,18})?$"
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$"
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9._-]")

Stamps = Callable[[list[int | str | None], NDArray[np.int64]], NDArray[np.int64]]
"""Exchange times as the source has them (None: unknown) and their rows, as ns (0: unknown)."""


class Rows:
    """Rows of one stream since its last batch: runs of rows that differ in their decimals alone, and these as text.

    Parameters
    ----------
    columns : names of the decimals of a row; `texts` holds those of all rows, row by row
    """

    def __init__(self, source: Source, columns: tuple[str, ...], stamps: Stamps) -> None:
        self.texts: list[str] = []
        self.height = 0
        self._source, self._columns, self._to_ns = source, columns, stamps
        self._runs = array("q")
        self._stamps: list[int | str | None] = []

    def add(
        self, stamp: int | str | None, local_ts: int, row: int, count: int = 1, kind: int = 0, side: int = 0,
        sequence: int = 0, last: int = 1, origin: int = 0,
    ) -> None:  # fmt: skip
        """Add a run of `count` rows whose decimals are, or will be, in `texts`; `origin` is the row that errors name."""
        self._stamps.append(stamp)
        self._runs.extend((count, local_ts, row, kind, side, sequence, last, origin or row))
        self.height += count

    def take(self) -> pl.DataFrame:
        """Return all rows with every column of a raw table that this knows, and forget them."""
        runs = np.array(self._runs, dtype=np.int64).reshape(-1, 8)
        count = runs[:, 0]
        local_ts, row, kind, side, sequence, _, origin = np.repeat(runs[:, 1:], count, axis=0).T
        exch_ts = np.repeat(self._to_ns(self._stamps, runs[:, 7]), count)
        last = np.zeros(self.height, dtype=np.bool_)
        last[(np.cumsum(count) - 1)[runs[:, 6] == 1]] = True
        frame = pl.DataFrame({
            "exch_ts": exch_ts, "local_ts": local_ts, "kind": kind.astype(np.int8), "side": side.astype(np.int8),
            "sequence": sequence, "last": last, "row": row,
        }).with_columns(self._decimals(origin))  # fmt: skip
        self.texts, self.height, self._runs, self._stamps = [], 0, array("q"), []
        return frame

    def _decimals(self, origin: NDArray[np.int64]) -> list[pl.Series]:
        width = len(self._columns)
        texts = pl.Series(self.texts, dtype=pl.String)
        assert len(texts) == width * self.height
        plain = texts.str.contains(_PLAIN)
        if not plain.all():
            at = int((~plain).arg_max() or 0)
            raise self._source.error(
                int(origin[at // width]), self._columns[at % width],
                f"{shorten(texts[at])!r} is not a plain decimal number of up to 20 and 18 digits",
            )  # fmt: skip
        numbers = texts.cast(DECIMAL)
        return [numbers.gather_every(width, i).alias(name) for i, name in enumerate(self._columns)]


def iso_times(source: Source, column: str) -> Stamps:
    """Return the conversion of UTC times such as 2021-07-22T22:36:10.014Z, of up to nine digits of a second."""

    def to_ns(stamps: list[int | str | None], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        texts = pl.Series(stamps, dtype=pl.String)
        whole = texts.str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ns", strict=False).dt.timestamp("ns")
        digits = texts.str.extract(r"\.([0-9]+)Z$", 1).fill_null("0").str.pad_end(9, "0").cast(pl.Int64, strict=False)
        bad = texts.is_not_null() & ~(texts.str.contains(_ISO) & whole.is_not_null()).fill_null(value=False)
        if bad.any():
            at = int(bad.arg_max() or 0)
            raise source.error(
                int(rows[at]), column, f"{shorten(texts[at])!r} is no UTC time such as 2021-07-22T22:36:10.014Z"
            )
        return (whole + digits).fill_null(0).to_numpy()

    return to_ns


def plain(number: Decimal) -> str:
    """Return a number of JSON as text without an exponent; one of absurd size stays as it is, to be refused with its row."""
    return format(number, "f") if -40 <= number.adjusted() <= 40 else str(number)


def lake_name(symbol: str) -> str:
    """Return a symbol with what no name in the lake may hold replaced."""
    return _NOT_OF_NAMES.sub("-", symbol)[:64]
