"""Bars of prices from recorded best quotes, trades or stored bars: what getHistoricalData serves and risk reads.

A mid lies on half ticks, so prices here are whole half ticks. Knows no risk figure and no display format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.domain.units import NS_PER_SECOND
from market_maker.market_data.reading import finest_steps, in_steps_of
from market_maker.market_data.schema import EventKind, interval_of
from market_maker.storage.lake import YEARLY, Lake, PublishedDay

BARS_MAX = 5_000_000
_MIDS = {"local_ts": pl.Int64, "mid": pl.Int64}


@dataclass(frozen=True, slots=True)
class Price:
    """One bar of mids, or of trades where no quotes were recorded.

    `ts` is the start of the interval; prices are in half ticks of the pair, `volume_lots` is the traded quantity,
    `quotes` the number of quotes (trades, stored bars): 0 means that the last price stood still.
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


def bars(
    lake: Lake,
    venue: str,
    symbol: str,
    start_ts: int,
    end_ts: int,
    interval_ns: int,
    steps: tuple[Decimal, Decimal] | None = None,
) -> list[Price]:
    """Return the bars of [start_ts, end_ts), in order.

    Of recorded best quotes (mids); of a day without them, of its trades; where no day is recorded, of stored bars whose
    interval divides the one asked for. Intervals begin at multiples of `interval_ns` since 1970. Inside a recording, an
    interval without a price repeats the last close with quotes = 0; intervals that no recording covers are absent, also
    those in a gap of a day, so that a return across a hole can be told from a quiet market. Quotes of the source inside a
    gap of the book count. `steps`: tick and lot of the answer; None: the finest ones that the days are kept in.

    Raises
    ------
    InvalidRequest
        An empty range, or more than 5 million bars.
    DataError
        Nothing was recorded in the range; or only bars of a longer interval are, which the message names.
    """
    if end_ts <= start_ts:
        raise InvalidRequest.of("end_date", end_ts, f"an instant after the start {start_ts}")
    if interval_ns <= 0 or (end_ts - start_ts) // interval_ns > BARS_MAX:
        raise InvalidRequest.of("interval", interval_ns, f"a positive duration that gives at most {BARS_MAX} bars")
    found: list[Price] = []
    days = [lake.describe(venue, symbol, day) for day in lake.days(venue, symbol)]
    files = [file for day in days for file in day.files]
    tables = _Tables(lake, steps or (finest_steps(files) if files else (Decimal(1), Decimal(1))))
    for described in days:
        if described.events and described.last_ts >= start_ts and described.first_ts < end_ts:
            _extend(found, _bars_of_day(tables, described, start_ts, end_ts, interval_ns))
    stored = _stored_bars(tables, days, start_ts, end_ts, interval_ns)
    if stored:
        recorded = {price.ts for price in found}
        found = sorted([*found, *(price for price in stored if price.ts not in recorded)], key=lambda price: price.ts)
    if not found:
        longer = sorted({interval_of(f.kind) for day in days for f in day.files if f.kind.startswith(YEARLY)})
        hint = f"stored bars are of {', '.join(f'{s}s' for s in longer)}" if longer else "record or import some"
        raise DataError(f"no recorded prices of {venue}/{symbol} from {start_ts} to {end_ts} ns; {hint}")
    return found


@dataclass(frozen=True, slots=True)
class _Tables:
    """Tables of the lake in one pair of steps (tick and lot)."""

    lake: Lake
    steps: tuple[Decimal, Decimal]

    def read(self, day: PublishedDay, table: str) -> pl.DataFrame:
        file = day.file(table)
        assert file is not None
        return in_steps_of(pl.read_parquet(self.lake.verified(day, table)), file, *self.steps)


def _stored_bars(kept: _Tables, days: list[PublishedDay], start_ts: int, end_ts: int, interval_ns: int) -> list[Price]:
    """Return bars of the longest stored interval that divides the one asked for."""
    tables = {f.kind for day in days for f in day.files if f.kind.startswith(YEARLY)}
    fitting = [table for table in tables if interval_ns % (interval_of(table) * NS_PER_SECOND) == 0]
    if not fitting:
        return []
    table = max(fitting, key=interval_of)
    first = start_ts // interval_ns * interval_ns
    frames = [
        kept.read(day, table).filter(pl.col("local_ts").is_between(first, end_ts, closed="left"))
        for day in days
        if (file := day.file(table)) is not None and file.last_ts >= first and file.first_ts < end_ts
    ]  # fmt: skip
    if not frames:
        return []
    lot = kept.steps[1]
    grouped = (
        pl.concat(frames)
        .group_by((pl.col("local_ts") // interval_ns * interval_ns).alias("ts"), maintain_order=True)
        .agg(
            pl.col("open_ticks").first() * 2, pl.col("high_ticks").max() * 2, pl.col("low_ticks").min() * 2,
            pl.col("close_ticks").last() * 2, pl.col("volume").sum(), pl.len().cast(pl.Int64),
        )
    )  # fmt: skip
    return [
        Price(ts, o, h, low, c, int(EXACT.divide_int(volume or Decimal(0), lot)), count)
        for ts, o, h, low, c, volume, count in grouped.iter_rows()
    ]


def _bars_of_day(tables: _Tables, day: PublishedDay, start_ts: int, end_ts: int, interval_ns: int) -> list[Price]:
    trades = _trades(tables, day, end_ts)
    quotes = _mids(tables, day, end_ts) if day.file("bbo") is not None else pl.DataFrame(schema=_MIDS)
    if not quotes.height:
        quotes = trades.select("local_ts", mid=2 * pl.col("price_ticks"))
    trades = trades.filter(pl.col("local_ts") >= start_ts)
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
    mid = pl.col("mid")
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


def _mids(tables: _Tables, day: PublishedDay, end_ts: int) -> pl.DataFrame:
    # From the day's beginning: the price that stands at the start of the range may be older than the range.
    both = (pl.col("local_ts") < end_ts) & (pl.col("bid_price_ticks") > 0) & (pl.col("ask_price_ticks") > 0)
    rows = tables.read(day, "bbo").filter(both)
    return rows.select("local_ts", mid=pl.col("bid_price_ticks") + pl.col("ask_price_ticks"))


def _trades(tables: _Tables, day: PublishedDay, end_ts: int) -> pl.DataFrame:
    """Return the day's trades from wherever they are kept: beside a book, or in a table of their own."""
    chosen = (pl.col("local_ts") < end_ts) & (pl.col("kind") == int(EventKind.TRADE))
    for table in ("orders", "book", "trades"):
        if day.file(table) is not None:
            rows = tables.read(day, table).filter(chosen)
            if rows.height:
                return rows.select("local_ts", "price_ticks", "qty_lots")
    return pl.DataFrame(schema={"local_ts": pl.Int64, "price_ticks": pl.Int64, "qty_lots": pl.Int64})


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
