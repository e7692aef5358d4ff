"""A stretch of rows of a feed, as the replay kernel reads them: columns alone. Knows no lake, no day and no meaning of a code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """One stretch of one stream: times (never decreasing), prices, quantities and codes, all (n,), read-only.

    `joined_ts` : (n,) in the venue's stream of a feed made from orders, else (0,). When the one order that the row is about took
    its place in the queue of its price: a level's row is the change of that order, a trade's its execution. 0 or less: it was
    known from a snapshot alone, and stands ahead of everybody; 2**62: no resting order is known, so it stands behind everybody.
    """

    ts: NDArray[np.int64]
    price_ticks: NDArray[np.int64]
    qty_lots: NDArray[np.int64]
    code: NDArray[np.int8]
    joined_ts: NDArray[np.int64]

    def part(self, start: int, stop: int | None = None) -> Rows:
        """Return the rows from `start` up to `stop`, without a copy."""
        cut = slice(start, stop)
        return Rows(self.ts[cut], self.price_ticks[cut], self.qty_lots[cut], self.code[cut], self.joined_ts[cut])


def no_rows() -> Rows:
    """Return an empty stretch."""
    return rows_of({"ts": [], "price_ticks": [], "qty_lots": [], "code": []})


def rows_of(columns: Mapping[str, Any]) -> Rows:
    """Return a stretch from columns `ts`, `price_ticks`, `qty_lots`, `joined_ts` (int64; it may be missing) and `code` (int8)."""
    return Rows(
        frozen(columns["ts"], np.int64),
        frozen(columns["price_ticks"], np.int64),
        frozen(columns["qty_lots"], np.int64),
        frozen(columns["code"], np.int8),
        frozen(columns.get("joined_ts", ()), np.int64),
    )


def frozen(values: Any, dtype: type) -> NDArray[Any]:
    """Return values as a contiguous array that nobody can write to; without a copy where it is one."""
    array = np.ascontiguousarray(np.asarray(values), dtype=dtype).view(np.ndarray)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def continuous(parts: Iterator[Rows]) -> Iterator[Rows]:
    """Yield stretches whose times never decrease from one to the next."""
    reached = -(2**63)
    for part in parts:
        rows = not_before(part, reached)
        reached = int(rows.ts[-1]) if len(rows.ts) else reached
        yield rows


def not_before(rows: Rows, ts: int) -> Rows:
    """Return rows with times of at least `ts`: days are cut by receive time, stamps of the venue may reach back over midnight."""
    if not len(rows.ts) or rows.ts[0] >= ts:
        return rows
    return rows._replace(ts=frozen(np.maximum(rows.ts, ts), np.int64))
