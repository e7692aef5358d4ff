"""Frames of recorded tables and what a feed shows of them, for tests of the replay form."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from market_maker.market_data.replay import Feed
from market_maker.market_data.schema import DAY_NS, EventKind, frame_of
from market_maker.storage.lake import Lake, Table

DEPTH, TRADE, CLEAR, SNAPSHOT, PRINT, ADD, CANCEL, MODIFY, FILL = EventKind
LEVEL_BID, LEVEL_ASK, BUY, SELL, CLEAR_BIDS, CLEAR_ASKS = 1, -1, 2, -2, 3, -3
T0 = 19_700 * DAY_NS
ONE = Decimal(1)
NOBODY = 2**62


def orders(*rows: tuple[int, ...]) -> pl.DataFrame:
    """Rows (time, kind, side, price, quantity, order id), received as they happen."""
    return frame_of(
        "orders", [(T0 + t, T0 + t, kind, side, price, lots, 0, i) for t, kind, side, price, lots, i in rows]
    )


def orders_received(*rows: tuple[int, ...]) -> pl.DataFrame:
    """Rows (time, receive time, kind, side, price, quantity, order id)."""
    return frame_of(
        "orders",
        [(T0 + e if e else 0, T0 + r, kind, side, price, lots, 0, i) for e, r, kind, side, price, lots, i in rows],
    )


def book(*rows: tuple[int, ...]) -> pl.DataFrame:
    """Rows (time, receive time, kind, side, price, quantity)."""
    return frame_of("book", [(T0 + e if e else 0, T0 + r, k, s, p, q, 0) for e, r, k, s, p, q in rows])


def quotes(*rows: tuple[int, ...]) -> pl.DataFrame:
    """Rows (time, bid, lots, ask, lots)."""
    return frame_of("bbo", [(T0 + t, T0 + t, *sides, 0) for t, *sides in rows])


def shown(feed: Feed, stream: str = "exchange") -> list[tuple[int, int, int, int]]:
    """The rows of a stream as (time, code, price, quantity)."""
    return [
        (int(ts) - T0, int(code), int(price), int(lots))
        for rows in getattr(feed, stream)()
        for ts, price, lots, code in zip(*rows[:4], strict=True)
    ]


def queued(feed: Feed) -> list[tuple[int, int, int, int, int]]:
    """The venue's rows as (time, code, price, quantity, when the order took its place: 0, a time after T0, or NOBODY)."""
    return [
        (int(ts) - T0, int(code), int(price), int(lots), int(joined) - T0 if 0 < joined < NOBODY else int(joined))
        for rows in feed.exchange()
        for ts, price, lots, code, joined in zip(*rows, strict=True)
    ]


def publish(
    lake: Lake, day: date, carried: dict[str, int] | None = None, gaps: Any = (), **tables: pl.DataFrame
) -> None:
    """Publish tables of a day of v/S with ticks and lots of one."""
    named = {
        name: Table(frame, (carried or {}).get(name, 0), gaps if name in {"book", "orders"} else ())
        for name, frame in tables.items()
    }
    lake.publish(lake.stage(venue="v", symbol="S", day=day, tick_size=ONE, lot_size=ONE, tables=named))
