"""The recorded book at any instant, rebuilt from its rows by level or by order. Says why when it is not known."""

from __future__ import annotations

import polars as pl

from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import format_instant
from market_maker.market_data.assembly import with_message_ends
from market_maker.market_data.book import Book
from market_maker.market_data.reading import read_table
from market_maker.storage.lake import Lake, PublishedDay, day_of


def book_at(lake: Lake, instrument: Instrument, ts: int, depth: int) -> BookSnapshot:
    """Return the book that had been received at `ts` (ns UTC, included), best levels first.

    By order where orders were recorded, else by level, else from best quotes (one level a side). `sequence` is the venue's
    number of the last change. A day is read from its start: O(rows of the day).

    Raises
    ------
    DataError
        Nothing is recorded then, the recording begins later or ended before, or the book is not known (names the gap).
    """
    day = _day_of(lake, instrument, ts)
    file = day.book
    if file is None:
        return _best_quotes(lake, instrument, day, ts)
    # A gap begins with the last good message, before the rows say that the book is gone.
    for start, end in day.gaps:
        if start <= ts < end:
            raise DataError(
                f"the book of {day.venue} {day.symbol} is not known at {format_instant(ts)}: from {format_instant(start)} to"
                f" {format_instant(end)} messages are missing or no snapshot had come yet"
            )
    rows = read_table(lake, instrument, day, file.kind).filter(pl.col("local_ts") <= ts)
    book = Book(by_order=file.kind == "orders", first_ts=file.first_ts)
    book.apply(with_message_ends(rows))
    sides = [
        tuple(
            Level(instrument.ticks_to_price(price), instrument.lots_to_qty(lots))
            for price, lots in book.levels(side, depth)
        )
        for side in (1, -1)
    ]
    return BookSnapshot(instrument.pair_id, ts, book.last_sequence, *sides)


def _day_of(lake: Lake, instrument: Instrument, ts: int) -> PublishedDay:
    found = lake.find(instrument.venue, instrument.symbol, day_of(ts))
    tables = [] if found is None else [file for file in found.files if file.kind in {"orders", "book", "bbo"}]
    # A day begins with the book that the day before has left; what came after its last row was not recorded.
    if found is not None and tables and min(file.first_ts for file in tables) <= ts <= found.last_ts:
        return found
    days = lake.days(instrument.venue, instrument.symbol)
    shown = f"{days[0]} to {days[-1]}" if days else "nothing"
    raise DataError(
        f"no book of {instrument.venue} {instrument.symbol} is recorded at {format_instant(ts)}; recorded: {shown}"
    )


def _best_quotes(lake: Lake, instrument: Instrument, day: PublishedDay, ts: int) -> BookSnapshot:
    rows = read_table(lake, instrument, day, "bbo").filter(pl.col("local_ts") <= ts).tail(1).rows(named=True)[0]
    sides = [
        (
            Level(
                instrument.ticks_to_price(rows[f"{side}_price_ticks"]), instrument.lots_to_qty(rows[f"{side}_qty_lots"])
            ),
        )
        if rows[f"{side}_price_ticks"]
        else ()
        for side in ("bid", "ask")
    ]
    return BookSnapshot(instrument.pair_id, ts, rows["sequence"], *sides)
