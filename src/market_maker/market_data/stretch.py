"""A stretch of rows of a feed, as the replay kernel reads them: columns alone. Knows no lake, no day and no meaning of a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """One stretch of one stream: times (never decreasing), prices, quantities and codes, all (n,), read-only."""

    ts: NDArray[np.int64]
    price_ticks: NDArray[np.int64]
    qty_lots: NDArray[np.int64]
    code: NDArray[np.int8]


def no_rows() -> Rows:
    """Return an empty stretch."""
    return rows_of({"ts": [], "price_ticks": [], "qty_lots": [], "code": []})


def rows_of(columns: Mapping[str, Any]) -> Rows:
    """Return a stretch from columns `ts`, `price_ticks`, `qty_lots` (int64) and `code` (int8)."""
    return Rows(
        frozen(columns["ts"], np.int64),
        frozen(columns["price_ticks"], np.int64),
        frozen(columns["qty_lots"], np.int64),
        frozen(columns["code"], np.int8),
    )


def frozen(values: Any, dtype: type) -> NDArray[Any]:
    """Return values as a contiguous array that nobody can write to; without a copy where it is one."""
    array = np.ascontiguousarray(np.asarray(values), dtype=dtype).view(np.ndarray)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array
