"""A recorded market as a window of realism: read from the lake, with lives of orders where the recording names them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import format_instant
from market_maker.market_data.feed.kernel import ANONYMOUS, ANONYMOUS_END
from market_maker.market_data.feed.rows import venue_times
from market_maker.market_data.reading import read_table
from market_maker.market_data.replay import Feed, open_feed
from market_maker.market_data.schema import EventKind
from market_maker.market_data.sessions import session_stretches
from market_maker.performance.realism.window import ROWS_MAX, LevelRows, Lives, Window, lives_of, window_of
from market_maker.storage.lake import Lake, day_of

_LIVES_COLUMNS = ("kind", "side", "price_ticks", "qty_lots", "order_id")


def recorded_window(
    lake: Lake,
    instrument: Instrument,
    start_ts: int,
    end_ts: int,
    *,
    allow_gaps: bool = False,
    rows_max: int = ROWS_MAX,
) -> Window:
    """Return the window of a recorded market over [start_ts, end_ts) ns, in the venue's order of time.

    Raises
    ------
    InvalidRequest, DataError
        As `open_feed` and `window_of`.
    """
    steps = (instrument.tick_size, instrument.lot_size)
    name = f"{instrument.venue}/{instrument.symbol}"
    feed = open_feed(lake, instrument.venue, instrument.symbol, start_ts, end_ts, allow_gaps=allow_gaps, steps=steps)
    if feed.events > rows_max:
        raise InvalidRequest.of("range", f"{feed.events:,} rows", f"{rows_max:,} rows or fewer: take fewer days")
    rows = _rows_until(feed, end_ts)
    wanted_ts = start_ts
    start_ts, end_ts = max(start_ts, int(rows.ts[0])), min(end_ts, int(rows.ts[-1]) + 1)
    if end_ts <= start_ts:
        raise DataError(f"no recorded events of {name} from {format_instant(wanted_ts)} on")
    tables = {table["table"] for table in feed.tables}
    missing = (
        {} if "orders" in tables else {"lives": "the recording does not name orders, so that none can be followed"}
    )
    if not np.any(np.abs(rows.code) == 2):
        missing["trades"] = "no trades are recorded"
    return window_of(
        rows,
        name=name,
        start_ts=start_ts,
        end_ts=end_ts,
        has_levels="bbo" not in tables,
        lives=_lives(lake, instrument, start_ts, end_ts) if "orders" in tables else None,
        gaps=_unknown(feed, instrument.venue, start_ts, end_ts),
        missing=tuple(missing.items()),
    )


def _rows_until(feed: Feed, end_ts: int) -> LevelRows:
    parts: list[list[NDArray[Any]]] = []
    for rows in feed.exchange():
        stop = int(np.searchsorted(rows.ts, end_ts))
        parts.append([np.array(column[:stop]) for column in (rows.ts, rows.price_ticks, rows.qty_lots, rows.code)])
        if stop < len(rows.ts):
            break
    return LevelRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _lives(lake: Lake, instrument: Instrument, start_ts: int, end_ts: int) -> Lives:
    """Return the lives of orders, each followed over midnight too."""
    frames, day = [], day_of(start_ts)
    while day <= day_of(end_ts - 1):
        published = lake.find(instrument.venue, instrument.symbol, day)
        if published is not None and published.file("orders") is not None:
            frame = read_table(lake, instrument, published, "orders")
            ts = venue_times(frame["exch_ts"].to_numpy(), frame["local_ts"].to_numpy())
            frame = frame.select(_LIVES_COLUMNS).with_columns(ts=pl.Series(np.maximum.accumulate(ts)))
            frame = with_fills(frame)
            # What an importer puts in the place of orders that it cannot name is nobody's life.
            frames.append(frame.filter(~pl.col("order_id").is_between(ANONYMOUS, ANONYMOUS_END - 1)))
        day += timedelta(1)
    whole = pl.concat(frames)
    return lives_of({name: whole[name].to_numpy() for name in whole.columns}, start_ts=start_ts, end_ts=end_ts)


def with_fills(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows of orders in which executions are told as such.

    Where a source has no row for a fill, an order that leaves in the instant and at the price of a trade was executed by it,
    as in a replay (`market_data.feed.orders`). One that only shrinks then is not seen to be filled.
    """
    if (frame["kind"] == EventKind.FILL).any():
        return frame
    prints = frame.filter(pl.col("kind") == EventKind.TRADE).select("ts", "price_ticks", is_print=True).unique()
    is_fill = (pl.col("kind") == EventKind.CANCEL) & pl.col("is_print").fill_null(value=False)
    kind = pl.when(is_fill).then(pl.lit(int(EventKind.FILL), frame.schema["kind"])).otherwise(pl.col("kind"))
    joined = frame.join(prints, on=["ts", "price_ticks"], how="left", maintain_order="left")
    return joined.with_columns(kind=kind).drop("is_print")


def _unknown(feed: Feed, venue: str, start_ts: int, end_ts: int) -> list[tuple[int, int]]:
    """Return where no mid is known: what is missing of sessions, and the time between them."""
    found = [(max(a, start_ts), min(b, end_ts)) for a, b in feed.missing]
    reached = start_ts
    for begin, end in session_stretches(venue, start_ts, end_ts):
        found.append((reached, begin))
        reached = end
    found.append((reached, end_ts))
    return sorted((a, b) for a, b in found if a < b)
