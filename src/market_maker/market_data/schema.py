"""The one normal form of recorded events: kinds of tables, columns, units. Knows no source format and no replay.

Every table is a file per UTC day of receive time in the lake, its rows in order of (receive time, file row):

- `book`: depth, snapshots, clears, and prints where the source has both in one order
- `orders`: the same by order (L3)
- `trades`: prints alone, of sources that keep them apart from their book
- `bbo`: best bid and offer, both sides in one row
- `ticker`: mark price, index price, funding, open interest
- `bars_<interval>`: stored OHLCV (`bars_60s`, `bars_86400s`), a file per year under the year's first day

All times are int64 ns UTC (exch_ts 0: unknown), prices int64 ticks, quantities int64 lots. Importers deliver the raw form
of the same tables: exact decimals or integers of a stated unit, the row of the file, and where a message ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

import polars as pl

DAY_NS = 86_400_000_000_000

DECIMAL = pl.Decimal(38, 18)
"""Decimal text is read as this, exactly; a number with more than 18 decimals is refused."""


class EventKind(IntEnum):
    """What a row of a book, orders or trades table says.

    DEPTH: new total quantity of a level (0 removes it). TRADE: a public print, `side` is the aggressor's, 0 when unknown.
    CLEAR: every level (order) of `side` is removed, and the book is unknown until a SNAPSHOT, a level (order) of a full
    book, follows; a book that is known to be empty has `NO_LEVEL` as its only one.
    PRINT: a print that did not trade with the displayed book (hidden, off-exchange, cross, auction, liquidation): it
    never consumes a queue. ADD, CANCEL, MODIFY, FILL change one order: CANCEL and FILL carry the quantity that leaves
    (all of it removes the order), MODIFY the new price and the new total quantity.
    """

    DEPTH = 1
    TRADE = 2
    CLEAR = 3
    SNAPSHOT = 4
    PRINT = 5
    ADD = 6
    CANCEL = 7
    MODIFY = 8
    FILL = 9


NO_LEVEL = (1, 0, 0)
"""Side, price and quantity of the one SNAPSHOT row of a book without any level."""

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

ORDERS_SCHEMA: dict[str, type[pl.DataType]] = {**BOOK_SCHEMA, "order_id": pl.Int64}
"""A book by order; `side` is the resting order's except for TRADE and PRINT, where it is the aggressor's."""

TRADES_SCHEMA = BOOK_SCHEMA

BBO_SCHEMA: dict[str, type[pl.DataType]] = {
    "exch_ts": pl.Int64,
    "local_ts": pl.Int64,
    "bid_price_ticks": pl.Int64,
    "bid_qty_lots": pl.Int64,
    "ask_price_ticks": pl.Int64,
    "ask_qty_lots": pl.Int64,
    "sequence": pl.Int64,
}
"""Price and quantity 0: that side is empty or unknown."""

TICKER_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "exch_ts": pl.Int64,
    "local_ts": pl.Int64,
    "mark_price": DECIMAL,
    "index_price": DECIMAL,
    "last_price": DECIMAL,
    "open_interest": DECIMAL,
    "funding_rate": DECIMAL,
    "predicted_funding_rate": DECIMAL,
    "funding_ts": pl.Int64,
}
"""Not on the tick grid, so decimals; null where the source says nothing."""

BARS_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "local_ts": pl.Int64,
    "open_ticks": pl.Int64,
    "high_ticks": pl.Int64,
    "low_ticks": pl.Int64,
    "close_ticks": pl.Int64,
    "volume": DECIMAL,
    "trades": pl.Int64,
}
"""`local_ts` is the start of the interval; volume in the source's unit (null: not given), trades -1 when not given."""

SCHEMAS: Mapping[str, Mapping[str, type[pl.DataType] | pl.DataType]] = {
    "book": BOOK_SCHEMA,
    "orders": ORDERS_SCHEMA,
    "trades": TRADES_SCHEMA,
    "bbo": BBO_SCHEMA,
    "ticker": TICKER_SCHEMA,
    "bars": BARS_SCHEMA,
}

PRICES = {
    "book": ("price",), "orders": ("price",), "trades": ("price",), "bbo": ("bid_price", "ask_price"), "ticker": (),
    "bars": ("open", "high", "low", "close"),
}  # fmt: skip
"""Raw columns that become ticks: `price` becomes `price_ticks`."""

QUANTITIES = {
    "book": ("qty",), "orders": ("qty",), "trades": ("qty",), "bbo": ("bid_qty", "ask_qty"), "ticker": (), "bars": (),
}  # fmt: skip
"""Raw columns that become lots: `qty` becomes `qty_lots`."""

RAW_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "book": ("exch_ts", "local_ts", "kind", "side", "price", "qty", "sequence", "last", "row"),
    "orders": ("exch_ts", "local_ts", "kind", "side", "price", "qty", "sequence", "order_id", "last", "row"),
    "trades": ("exch_ts", "local_ts", "kind", "side", "price", "qty", "sequence", "row"),
    "bbo": ("exch_ts", "local_ts", "bid_price", "bid_qty", "ask_price", "ask_qty", "sequence", "row"),
    "ticker": (*TICKER_SCHEMA, "row"),
    "bars": ("local_ts", "open", "high", "low", "close", "volume", "trades", "row"),
}
"""What an importer delivers. `row`: row of the file, from 1 (Int64). `last`: whether the book is whole after the row."""


def kind_of(table: str) -> str:
    """Return the schema's name of a table: `bars_60s` is of kind `bars`."""
    return "bars" if table.startswith("bars_") else table


def bars_table(interval_s: int) -> str:
    """Return the table of stored bars of an interval."""
    return f"bars_{interval_s}s"


def interval_of(table: str) -> int:
    """Return the seconds of a table of stored bars."""
    return int(table.removeprefix("bars_").removesuffix("s"))


def frame_of(kind: str, rows: Iterable[tuple[int, ...]]) -> pl.DataFrame:
    """Return rows (tuples in column order) as a frame of the normal form."""
    return pl.DataFrame(list(rows), schema=dict(SCHEMAS[kind]), orient="row")
