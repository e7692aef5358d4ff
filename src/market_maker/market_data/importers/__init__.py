"""One file per source format: the contract of importers and the detection of a format by content.

An importer is a module, named by an entry point of the group `market_maker.importers`, that offers:

`NAME`, `VERSION` (text; kept with what it imported: raise it whenever the result for some file changes), `TITLE` (what
people call the format), `recognises(source) -> bool`, and `read(source, options, notes) -> Iterator[Batch]`.

`recognises` looks at names, members and the first bytes of a source and reads no further. `read` goes through the source
once, in bounded memory, and yields batches of the raw form (`schema.RAW_COLUMNS`) of about a million rows. It keeps the
venue's rules: which update follows which, when the book is known, what is a print and what trades with the book; changes of
levels of a book that is not known yet are delivered too (`Notes.continues`). It
never repairs or drops silently: what it leaves out is counted in `notes`. Wrong content raises DataError with file, row
and column (`source.error`). It knows no tick, no lake and no database.

The receive time (`local_ts`) is the order of the result: rows of one table may not be yielded out of it, unless the file
itself is out of order, which the import then judges. A source without receive times gives exchange times in both columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

import polars as pl

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.source import Source

ENTRY_POINTS = "market_maker.importers"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a batch belongs to.

    Parameters
    ----------
    venue, symbol : as they will stand in the lake: lower-case venue (`binance-usdm`, `glbx-mdp3`), the venue's own symbol
    table : `book`, `orders`, `trades`, `bbo`, `ticker` or `bars_<n>s` (see `schema`)
    """

    venue: str
    symbol: str
    table: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one stream in the raw form.

    Parameters
    ----------
    frame : the columns `schema.RAW_COLUMNS[kind]`; times, kind, side, sequence, order_id, row are integers
    price_unit, qty_unit : None when prices (quantities) are Decimals; else they are Int64 multiples of this unit
    """

    stream: Stream
    frame: pl.DataFrame
    price_unit: Decimal | None = None
    qty_unit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may have to say of a file that does not say it itself.

    Parameters
    ----------
    venue, symbol : instead of what the importer finds or assumes
    symbols : of a file with many instruments, those to import; empty means all
    date : UTC or local day of a file that holds times of day only and no date in its name
    mapping : a mapping file (plain CSV and Parquet)
    """

    venue: str | None = None
    symbol: str | None = None
    symbols: tuple[str, ...] = ()
    date: date | None = None
    mapping: Path | None = None

    def wants(self, symbol: str) -> bool:
        """Return whether an instrument of a file with many is to be imported."""
        return not self.symbols or symbol in self.symbols


@dataclass(slots=True)
class Notes:
    """What an importer has to tell beside its rows; filled while it reads.

    `counts`: by stream symbol, then by name (`sequence_gaps`, `unknown_orders`, `duplicates`, `skipped_<why>`, ...); the
    symbol "" is the whole file. `warnings`: sentences for the report. `instruments`: what the file says of a symbol:
    any of tick_size, lot_size, base, quote (text), contract_type (text), multiplier (what one unit of quantity stands for), quantity:
    `contracts` where it is not told what one is of. `continues`: by symbol, the sequence
    number after which the first rows of its book come, of a file that begins without a snapshot: such rows are used when
    the book that ends with this number is at hand, else left out.
    """

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    instruments: dict[str, dict[str, str]] = field(default_factory=dict)
    continues: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, number: int = 1, symbol: str = "") -> None:
        """Add to a count."""
        if number:
            self.counts.setdefault(symbol, Counter())[name] += number


class Importer(Protocol):
    """The contract of an importer module."""

    NAME: str
    VERSION: str
    TITLE: str

    def recognises(self, source: Source) -> bool:
        """Return whether the source is of this format."""

    def read(self, source: Source, options: ReadOptions, notes: Notes) -> Iterator[Batch]:
        """Yield the whole source as batches."""


@cache
def importers() -> dict[str, Importer]:
    """Return every installed importer by its name, in the order of names."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return {point.name: cast("Importer", point.load()) for point in found}


def importer_named(name: str) -> Importer:
    """Return an importer by name; InvalidRequest lists what there is."""
    if name not in importers():
        raise InvalidRequest.of("format", name, ", ".join(importers()))
    return importers()[name]


def detect(source: Source) -> Importer:
    """Return the one importer that recognises the source; DataError when none does, or more than one."""
    found = [importer for importer in importers().values() if importer.recognises(source)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(importer.NAME for importer in found)
        raise DataError(f"{source.path.name}: could be {names}; name the format")
    source.check()
    raise DataError(
        f"{source.path.name}: the content is of no known format; known: {', '.join(importers())}; describe any other table"
        " in a mapping file"
    )
