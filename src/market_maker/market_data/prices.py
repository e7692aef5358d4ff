"""Bars of the mid price from recorded best quotes: what getHistoricalData serves and risk reads.

A mid lies on half ticks, so prices here are whole half ticks. Knows no risk figure and no display format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.market_data.schema import EventKind
from market_maker.storage.lake import Lake, PublishedDay

BARS_MAX = 5_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """One bar of the mid.

    `ts` is the start of the interval; prices are in half ticks of the pair, `volume_lots` is the traded quantity,
    `quotes` the number of quotes: 0 means that the last price stood still.
    """

    ts: int
    open_half_ticks: int
    high_half_ticks: int
    low_half_ticks: int
    close_half_ticks: int
    volume_lots: int
    quotes: int

    def close(self, tick_size: Decimal) -> Decimal:
        """Return the closing mid in quote currency, exactly."""
        return half_ticks_to_price(self.close_half_ticks, tick_size)


def half_ticks_to_price(half_ticks: int, tick_size: Decimal) -> Decimal:
    """Return half ticks in quote currency, exactly."""
    return EXACT.divide(EXACT.multiply(Decimal(half_ticks), tick_size), Decimal(2))


def bars(lake: Lake, venue: str, symbol: str, start_ts: int, end_ts: int, interval_ns: int) -> list[Price]:
    """Return the bars of [start_ts, end_ts), in order.

    Intervals begin at multiples of `interval_ns` since 1970. Inside a recording, an interval without a quote repeats
    the last close with quotes = 0; intervals that no recording covers are absent, also those in a gap of a day, so
    that a return across a hole can be told from a quiet market. Quotes of the source inside a gap of the book count.

    Raises
    ------
    InvalidRequest
        An empty range, or more than 5 million bars.
    DataError
        Nothing was recorded in the range.
    """
    if end_ts <= start_ts:
        raise InvalidRequest.of("end_date", end_ts, f"an instant after the start {start_ts}")
    if interval_ns <= 0 or (end_ts - start_ts) // interval_ns > BARS_MAX:
        raise InvalidRequest.of("interval", interval_ns, f"a positive duration that gives at most {BARS_MAX} bars")
    found: list[Price] = []
    for day in lake.days(venue, symbol):
        described = lake.describe(venue, symbol, day)
        if described.last_ts >= start_ts and described.first_ts < end_ts:
            _extend(found, _bars_of_day(lake, described, start_ts, end_ts, interval_ns))
    if not found:
        raise DataError(f"no recorded prices of {venue}/{symbol} from {start_ts} to {end_ts} ns; record or import some")
    return found


def _bars_of_day(lake: Lake, day: PublishedDay, start_ts: int, end_ts: int, interval_ns: int) -> list[Price]:
    quotes = _rows(lake, day, "bbo", end_ts).filter((pl.col("bid_price_ticks") > 0) & (pl.col("ask_price_ticks") > 0))
    trades = _rows(lake, day, "book", end_ts).filter(
        (pl.col("kind") == int(EventKind.TRADE)) & (pl.col("local_ts") >= start_ts)
    )
    found: list[Price] = []
    for begin, end, is_gap in _stretches(day):
        inside = pl.col("local_ts").is_between(begin, end, closed="left")
        part = _filled(quotes.filter(inside), trades.filter(inside), min(end, end_ts), interval_ns, carries=not is_gap)
        _extend(
            found,
            [Price(*row) for row in part.filter(pl.col("ts") >= start_ts // interval_ns * interval_ns).iter_rows()],
        )
    return found


def _stretches(day: PublishedDay) -> Iterator[tuple[int, int, bool]]:
    """Yield the parts of a day as (from, until, whether the book is unknown); a price is carried on inside a part."""
    begin, end = day.first_ts, day.last_ts + 1
    # A day without any book has best quotes of its own; its gap says nothing of them.
    for gap_start, gap_end in day.gaps if day.gaps != ((begin, end),) else ():
        yield begin, gap_start, False
        yield gap_start, gap_end, True
        begin = gap_end
    yield begin, end, False


def _filled(
    quotes: pl.DataFrame, trades: pl.DataFrame, end_ts: int, interval_ns: int, *, carries: bool
) -> pl.DataFrame:
    """Return the intervals from the first quote up to `end_ts`, or without `carries` only those that have a quote."""
    bucket = (pl.col("local_ts") // interval_ns * interval_ns).alias("ts")
    mid = pl.col("bid_price_ticks") + pl.col("ask_price_ticks")
    prices = quotes.group_by(bucket, maintain_order=True).agg(
        mid.first().alias("open"),
        mid.max().alias("high"),
        mid.min().alias("low"),
        mid.last().alias("close"),
        pl.len().cast(pl.Int64).alias("quotes"),
    )
    volumes = trades.group_by(bucket).agg(pl.col("qty_lots").sum().alias("volume"))
    grid = prices.select("ts")
    if carries and prices.height:
        grid = pl.DataFrame({"ts": pl.int_range(prices["ts"][0], end_ts, interval_ns, eager=True)})
    return (
        grid.join(prices, on="ts", how="left")
        .join(volumes, on="ts", how="left")
        .with_columns(pl.col("close").forward_fill())
        .with_columns(pl.col(name).fill_null(pl.col("close")) for name in ("open", "high", "low"))
        .with_columns(pl.col("quotes", "volume").fill_null(0))
        .select("ts", "open", "high", "low", "close", "volume", "quotes")
    )


def _rows(lake: Lake, day: PublishedDay, kind: str, end_ts: int) -> pl.DataFrame:
    # From the day's beginning: the price that stands at the start of the range may be older than the range.
    if day.file(kind) is None:
        return pl.DataFrame(schema={"local_ts": pl.Int64, "kind": pl.Int8, "qty_lots": pl.Int64,
                                    "bid_price_ticks": pl.Int64, "ask_price_ticks": pl.Int64})  # fmt: skip
    return lake.read(day.venue, day.symbol, day.day, kind).filter(pl.col("local_ts") < end_ts)


def _extend(found: list[Price], more: list[Price]) -> None:
    """Append a day's bars; an interval that spans midnight is merged."""
    if found and more and found[-1].ts == more[0].ts:
        a, b = found.pop(), more[0]
        more[0] = Price(
            a.ts,
            a.open_half_ticks if a.quotes else b.open_half_ticks,
            max(a.high_half_ticks, b.high_half_ticks),
            min(a.low_half_ticks, b.low_half_ticks),
            b.close_half_ticks,
            a.volume_lots + b.volume_lots,
            a.quotes + b.quotes,
        )
    found.extend(more)
