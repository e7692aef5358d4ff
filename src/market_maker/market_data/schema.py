"""The one normal form of recorded events: kinds, columns, units. Knows no source format and no replay.

Kind of file "book": depth, snapshots, clears and trades in one order (receive time, then file row).
Kind of file "bbo": best bid and offer with both sides in one row.
All times int64 ns UTC (0: unknown, only exch_ts of bbo), prices int64 ticks, quantities int64 lots.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import polars as pl

DAY_NS = 86_400_000_000_000


class EventKind(IntEnum):
    """What a row of a book file says.

    DEPTH: new total quantity of a level (0 removes it). TRADE: a public print, `side` is the aggressor's.
    CLEAR: every level of `side` is removed. SNAPSHOT: a level of a full book, after the CLEAR of its side.
    """

    DEPTH = 1
    TRADE = 2
    CLEAR = 3
    SNAPSHOT = 4


BOOK_SCHEMA: dict[str, type[pl.DataType]] = {
    "exch_ts": pl.Int64,
    "local_ts": pl.Int64,
    "kind": pl.Int8,
    "side": pl.Int8,
    "price_ticks": pl.Int64,
    "qty_lots": pl.Int64,
    "sequence": pl.Int64,
}
"""`side` is +1 for bid or buying aggressor, -1 otherwise; `sequence` is the venue's update or trade id, 0 without one."""

BBO_SCHEMA: dict[str, type[pl.DataType]] = {
    "exch_ts": pl.Int64,
    "local_ts": pl.Int64,
    "bid_price_ticks": pl.Int64,
    "bid_qty_lots": pl.Int64,
    "ask_price_ticks": pl.Int64,
    "ask_qty_lots": pl.Int64,
    "sequence": pl.Int64,
}

SCHEMAS = {"book": BOOK_SCHEMA, "bbo": BBO_SCHEMA}


def frame_of(kind: str, rows: Iterable[tuple[int, ...]]) -> pl.DataFrame:
    """Return rows (tuples in column order) as a frame of the normal form."""
    return pl.DataFrame(list(rows), schema=SCHEMAS[kind], orient="row")
