"""A simulated market as a window of `performance.realism`: what is measured on recordings is measured on it, too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side
from market_maker.domain.units import NS_PER_SECOND, format_duration
from market_maker.market_data.schema import EventKind
from market_maker.matching.book import Events
from market_maker.matching.codes import EventKind as Told
from market_maker.matching.codes import LiquidityCode
from market_maker.performance.realism.window import LevelRows, Window, lives_of, window_of
from market_maker.venue.market.market import SyntheticMarket

EVENTS_MAX = 20_000_000
"""Events of a window: some 6 GB while it is made."""
_LEVELS_MAX = 100_000
_SLICE_NS = 60 * NS_PER_SECOND
_ENDS = (int(Told.CANCELED), int(Told.EXPIRED))


def simulated_window(
    market: SyntheticMarket, duration_ns: int, name: str, progress: Callable[[int, int], None] | None = None
) -> Window:
    """Let a market go on for `duration_ns` and return what happened in it, lives of orders included.

    Parameters
    ----------
    market : with limit and market orders, as its flow has them; without stops, icebergs and amended orders
    progress : called with the time done and the whole, in ns

    Raises
    ------
    InvalidRequest
        Not even a second, or more than 20 million events.
    """
    if duration_ns < NS_PER_SECOND:
        raise InvalidRequest.of("duration", format_duration(duration_ns), "one second or more")
    start_ts = market.clock_ts
    standing = [(side, market.depth(side, _LEVELS_MAX)) for side in Side]
    parts, count = list[pl.DataFrame](), 0
    for begin in range(0, duration_ns, _SLICE_NS):
        until = min(begin + _SLICE_NS, duration_ns)
        parts.append(frame_of(market.advance(start_ts + until)))
        count += parts[-1].height
        if count > EVENTS_MAX:
            raise InvalidRequest.of(
                "duration", f"{until / 1e9:g} s with {count:,} events", f"{EVENTS_MAX:,} events at most"
            )
        if progress is not None:
            progress(until, duration_ns)
    return window_of_events(pl.concat(parts), standing, name=name, start_ts=start_ts, end_ts=start_ts + duration_ns)


def window_of_events(
    events: pl.DataFrame, standing: list[tuple[Side, NDArray[np.int64]]], *, name: str, start_ts: int, end_ts: int
) -> Window:
    """Return what happened in a market as a window, lives of orders included.

    Parameters
    ----------
    events : as `frame_of` gives them
    standing : price and lots of each side's levels before the first event
    """
    rows = order_rows(events)
    lives = lives_of(
        {name: rows[name].to_numpy() for name in ("ts", "kind", "side", "price_ticks", "qty_lots", "order_id")},
        start_ts=start_ts, end_ts=end_ts,
    )  # fmt: skip
    return window_of(level_rows(rows, standing, start_ts), name=name, start_ts=start_ts, end_ts=end_ts, lives=lives)


def frame_of(events: Events) -> pl.DataFrame:
    """Return an engine's events about orders, with the columns that windows need."""
    names = ("sequence", "ts", "kind", "side", "liquidity", "order_id", "price_ticks", "qty_lots")
    return pl.DataFrame({name: np.ascontiguousarray(events[name]) for name in names}).filter(pl.col("side") != 0)


def order_rows(events: pl.DataFrame) -> pl.DataFrame:
    """Return what the events of an engine did to the orders that rest, and its trades, as rows of a table of orders.

    An order is added when it has taken what it crosses. Trades have the aggressor's side and stand before the fills
    of the orders that they hit.
    """
    is_taken = (pl.col("kind") == int(Told.FILLED)) & (pl.col("liquidity") == int(LiquidityCode.TAKER))
    is_hit = (pl.col("kind") == int(Told.FILLED)) & (pl.col("liquidity") == int(LiquidityCode.MAKER))
    is_end = pl.col("kind").is_in(_ENDS)
    accepted = events.filter(pl.col("kind") == int(Told.ACCEPTED))
    taken = (
        events.filter(is_taken)
        .group_by("order_id")
        .agg(pl.col("qty_lots").sum().alias("taken"), pl.col("sequence").max().alias("last"))
    )
    expired = (
        events.filter(pl.col("kind") == int(Told.EXPIRED))
        .group_by("order_id")
        .agg(pl.col("qty_lots").sum().alias("expired"))
    )
    added = (
        accepted.join(taken, on="order_id", how="left").join(expired, on="order_id", how="left")
        .with_columns(
            qty_lots=pl.col("qty_lots") - pl.col("taken").fill_null(0) - pl.col("expired").fill_null(0),
            sequence=pl.max_horizontal("sequence", pl.col("last").fill_null(0)),
        )
        .filter(pl.col("qty_lots") > 0)
    )  # fmt: skip
    ended = events.filter(is_end).join(added.select("order_id"), on="order_id", how="semi")
    # Orders that stood before the window began were not accepted in it.
    older = events.filter(is_end).join(accepted.select("order_id"), on="order_id", how="anti")
    columns = ("sequence", "ts", "side", "order_id", "price_ticks", "qty_lots")
    kinds = (
        (events.filter(is_taken), EventKind.TRADE), (events.filter(is_hit), EventKind.FILL), (added, EventKind.ADD),
        (ended, EventKind.CANCEL), (older, EventKind.CANCEL),
    )  # fmt: skip
    told = [frame.select(*columns, pl.lit(int(kind), pl.Int8).alias("kind")) for frame, kind in kinds]
    order = pl.col("kind").replace_strict(
        {int(EventKind.TRADE): 0, int(EventKind.FILL): 1, int(EventKind.CANCEL): 1, int(EventKind.ADD): 2},
        return_dtype=pl.Int8,
    )
    return pl.concat(told).with_columns(order=order).sort("sequence", "order", maintain_order=True).drop("order")


def level_rows(rows: pl.DataFrame, standing: list[tuple[Side, NDArray[np.int64]]], start_ts: int) -> LevelRows:
    """Return rows of a table of orders as level rows; `standing`: price and lots of each side's levels before them."""
    first = [
        pl.DataFrame({"price_ticks": levels[:, 0], "change": levels[:, 1]}).with_columns(
            ts=pl.lit(start_ts, pl.Int64), side=pl.lit(int(side), pl.Int8), kind=pl.lit(int(EventKind.ADD), pl.Int8)
        )
        for side, levels in standing
    ]
    sign = pl.when(pl.col("kind") == int(EventKind.ADD)).then(1).otherwise(-1)
    changes = rows.with_columns(change=sign * pl.col("qty_lots"))
    columns = ("ts", "side", "kind", "price_ticks", "change")
    whole = pl.concat([frame.select(columns) for frame in (*first, changes)])
    is_trade = pl.col("kind") == int(EventKind.TRADE)
    # Fills, cancels and additions of a level add up to its quantity; trades are quantities of their own.
    whole = whole.with_columns(
        lots=pl.when(is_trade).then(-pl.col("change")).otherwise(
            pl.when(is_trade).then(0).otherwise(pl.col("change")).cum_sum().over("side", "price_ticks", is_trade)
        ),
        code=pl.when(is_trade).then(2).otherwise(1).cast(pl.Int8) * pl.col("side").cast(pl.Int8),
    )  # fmt: skip
    return LevelRows(*(whole[name].to_numpy() for name in ("ts", "price_ticks", "lots", "code")))
