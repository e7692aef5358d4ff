"""Rows of a day on their way to the prepared form: one set of columns, in the order of receipt. Knows no table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DayRows:
    """Rows in the order of receipt, all (n,).

    `rank` orders rows of one instant of the venue, those of one rank keep their order. `joined`: when the order that a row
    is about took its place in its queue (`market_data.stretch.Rows`); None where orders are not known. The first `carried`
    rows repeat what the time before has left.
    """

    local_ts: Int64s
    exch_ts: Int64s
    price: Int64s
    quantity: Int64s
    code: NDArray[np.int8]
    rank: NDArray[Any]
    joined: Int64s | None = None
    carried: int = 0

    def take(self, index: Any) -> DayRows:
        """Return chosen rows; `carried` stays."""
        return DayRows(
            self.local_ts[index], self.exch_ts[index], self.price[index], self.quantity[index], self.code[index],
            self.rank[index], None if self.joined is None else self.joined[index], self.carried,
        )  # fmt: skip


def concatenated(parts: Sequence[DayRows], *, joined: int = 0, carried: int = 0) -> DayRows:
    """Return rows one part after the other; `joined` is that of parts without one, when any part has it."""
    names = ("local_ts", "exch_ts", "price", "quantity", "code", "rank")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    places = None
    if any(part.joined is not None for part in parts):
        places = np.concatenate(
            [np.full(len(part.code), joined, np.int64) if part.joined is None else part.joined for part in parts]
        )
    return DayRows(**columns, joined=places, carried=carried)


def venue_times(exch_ts: Int64s, local_ts: Int64s) -> Int64s:
    """Return times that never decrease, in the order of rows; one that is not known is that of the row before it.

    Without one before it: the receive time, at most the first one known.
    """
    known = exch_ts > 0
    if not known.any():
        return local_ts.copy()
    if known.all():
        return np.maximum.accumulate(exch_ts)
    first = int(np.argmax(known))
    times = np.where(known, exch_ts, 0)
    times[:first] = np.minimum(local_ts[:first], exch_ts[first])
    return np.maximum.accumulate(times)
