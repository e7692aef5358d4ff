"""Quality of what lies in the lake, measured anew on demand, by the same figures and rules as on the way in."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import with_message_ends
from market_maker.market_data.book import Applied, Book
from market_maker.market_data.quality import Meter, judge, worst
from market_maker.market_data.reading import read_table
from market_maker.market_data.schema import DAY_NS, kind_of
from market_maker.storage.lake import Lake, PublishedDay, day_of


def measured_days(lake: Lake, instrument: Instrument, first: date | None, last: date | None) -> list[dict[str, Any]]:
    """Return figures, findings and verdict of every table of the days [first, last]; DataError when a file is damaged."""
    found = []
    for day in lake.days(instrument.venue, instrument.symbol):
        described = lake.describe(instrument.venue, instrument.symbol, day)
        for file in described.files:
            # A file of bars holds the year that begins on its day.
            ends = day_of(file.last_ts) if kind_of(file.kind) == "bars" else day
            if (first is None or ends >= first) and (last is None or day <= last):
                figures = measured(lake, instrument, described, file.kind)
                findings = judge(figures)
                found.append(
                    {
                        "day": day.isoformat(),
                        "table": file.kind,
                        "verdict": worst(findings).value,
                        "findings": [finding.to_json() for finding in findings],
                        "figures": figures,
                    }
                )
    return found


def measured(lake: Lake, instrument: Instrument, day: PublishedDay, table: str) -> dict[str, Any]:
    """Return the figures of one table of a day."""
    frame = read_table(lake, instrument, day, table)
    file = day.file(table)
    assert file is not None
    meter = Meter(day.venue, table, (day.day - day_of(0)).days * DAY_NS)
    if table in {"book", "orders"}:
        rows = with_message_ends(frame)
        book = Book(by_order=table == "orders", first_ts=file.first_ts)
        carried, rest = rows.head(file.carried_rows), rows.slice(file.carried_rows)
        if carried.height:
            book.apply(carried)
        meter.add(rest, book.apply(rest))
    elif table == "trades" and day.file("bbo") is not None:
        meter.add(frame, _quotes_around(frame, read_table(lake, instrument, day, "bbo")))
    else:
        meter.add(frame)
    return meter.figures(file.gaps)


def _quotes_around(trades: pl.DataFrame, quotes: pl.DataFrame) -> Applied:
    """Return the best quotes of another table as if a book had shown them between the trades."""
    names = ["bid_price_ticks", "bid_qty_lots", "ask_price_ticks", "ask_qty_lots"]
    at = np.searchsorted(trades["local_ts"].to_numpy(), quotes["local_ts"].to_numpy(), side="left") - 1
    values = quotes.select(names).to_numpy()
    nothing = np.zeros(trades.height, np.int8)
    first = values[at < 0]
    before = tuple(int(value) for value in first[-1]) if len(first) else (0, 0, 0, 0)
    return Applied(nothing, nothing.astype(np.bool_), at[at >= 0], values[at >= 0], before)  # type: ignore[arg-type]
