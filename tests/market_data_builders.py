"""Imports without a database, for tests of what comes into the lake."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, ImportReport, Reading, stage
from market_maker.storage.lake import Lake

NO_OPTIONS = ImportOptions()


def publish(lake: Lake, report: ImportReport) -> ImportReport:
    """Make visible what a report has staged."""
    for day in report.days:
        lake.publish(day)
    return report


def import_files(
    paths: Sequence[Path], lake: Lake, pair: Instrument | None = None, options: ImportOptions = NO_OPTIONS
) -> ImportReport:
    """Import files into a lake: every stream as `pair`, or as a pair of the steps found in the data."""
    reading = Reading(paths, options, lake.root)
    try:

        def instrument_of(stream):
            if pair is not None:
                return pair
            same = [s for s in reading.streams if (s.stream.venue, s.stream.symbol) == (stream.venue, stream.symbol)]
            tick = min((s.price_step.size() for s in same if s.price_step.divisor), default=Decimal(1))
            lot = min((s.qty_step.size() for s in same if s.qty_step.divisor), default=Decimal(1))
            return Instrument(UUID(int=1), stream.venue, stream.symbol, "A", "B", tick, lot)

        return publish(lake, stage(reading, lake, instrument_of))
    finally:
        reading.close()
