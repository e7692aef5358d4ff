"""Tables of the lake in the steps of their pair: a pair's tick or lot may have become finer since a day was published.

Owns the way from a file's own steps to the pair's; whole numbers on both sides. Knows no format and no replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.storage.lake import Lake, PublishedDay, PublishedFile

if TYPE_CHECKING:
    import polars as pl


def read_table(lake: Lake, instrument: Instrument, day: PublishedDay, table: str) -> pl.DataFrame:
    """Return a table of a day in ticks and lots of the instrument, its checksum verified."""
    file = day.file(table)
    frame = lake.read_verified(day, table)
    assert file is not None
    return in_steps_of(frame, file, instrument.tick_size, instrument.lot_size)


def finest_steps(files: Iterable[PublishedFile]) -> tuple[Decimal, Decimal]:
    """Return the smallest tick and lot that files are kept in; all others are multiples of them."""
    known = list(files)
    return min(file.tick_size for file in known), min(file.lot_size for file in known)


def in_steps_of(frame: pl.DataFrame, file: PublishedFile, tick_size: Decimal, lot_size: Decimal) -> pl.DataFrame:
    """Return rows of a file in other steps; DataError unless the file's steps are whole multiples of them."""
    if (file.tick_size, file.lot_size) == (tick_size, lot_size):
        return frame
    import polars as pl

    from market_maker.market_data.schema import PRICES, QUANTITIES, kind_of

    kind = kind_of(file.kind)
    columns = []
    for names, own, wanted, suffix in (
        (PRICES[kind], file.tick_size, tick_size, "ticks"),
        (QUANTITIES[kind], file.lot_size, lot_size, "lots"),
    ):
        factor = Fraction(own) / Fraction(wanted)
        if factor.denominator != 1:
            raise DataError(
                f"{file.kind} is kept in steps of {file.tick_size} and {file.lot_size}, the pair's are {tick_size} and {lot_size};"
                " import the day again"
            )
        columns += [pl.col(f"{name}_{suffix}") * factor.numerator for name in names if factor != 1]
    return frame.with_columns(columns)
