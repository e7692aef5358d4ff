"""Reading files: what a user may ask of an import, and everything that its files hold, read once, in bounded memory.

Knows no particular format, no tick of a pair and no lake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import ContractType
from market_maker.market_data.importers import Importer, Notes, ReadOptions, detect, importer_named
from market_maker.market_data.schema import kind_of
from market_maker.market_data.source import Source
from market_maker.market_data.spool import Spool, Spooled
from market_maker.storage.lake import sha256_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Repairs:
    """What an import may change in the data; each is recorded in its report.

    Parameters
    ----------
    offset_negative_latency : add one constant to all receive times, so that the smallest feed latency becomes
        `latency_floor_ns`; only when there is negative latency
    offset_ns : add this to all receive times instead (files of one recorder need one offset)
    sort : order rows by receive time, then by the venue's sequence
    drop_off_book : leave out prints that did not trade with the book
    """

    offset_negative_latency: bool = False
    latency_floor_ns: int = 1_000_000
    offset_ns: int = 0
    sort: bool = False
    drop_off_book: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What a new pair is: None as the source states it, else SPOT, multiplier 1 and no fees.

    They change no data: the same files with other terms are the same import.
    """

    contract_type: ContractType | None = None
    contract_multiplier: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None

    def given(self) -> dict[str, Any]:
        """Return those that are not None."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What an import does.

    Parameters
    ----------
    format : name of the importer; None: found by content
    read : what the files do not say themselves
    repairs : changes of the data
    force : import although a rule of quality fails; kept in the catalogue
    replace : let the import take the place of days that other files have given
    tick_size, lot_size : steps of a new pair; None: as the source states, or the coarsest that all numbers fit
    terms : of a new pair: contract and fees
    """

    format: str | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    repairs: Repairs = field(default_factory=Repairs)
    force: bool = False
    replace: bool = False
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    terms: Terms = field(default_factory=Terms)

    def to_json(self) -> dict[str, Any]:
        """Return the options that are set as JSON values."""
        read = {name: value for name, value in asdict(self.read).items() if value}
        shown = {"format": self.format, "tick_size": self.tick_size, "lot_size": self.lot_size}
        values: dict[str, Any] = {name: str(value) for name, value in shown.items() if value is not None}
        if self.read.mapping is not None:
            read["mapping"] = f"{self.read.mapping.name} {sha256_of(self.read.mapping)[:16]}"
        values |= {name: list(value) if isinstance(value, tuple) else str(value) for name, value in read.items()}
        values |= {name: value for name, value in asdict(self.repairs).items() if value is True}
        if self.repairs.offset_ns:
            values["offset_ns"] = self.repairs.offset_ns
        return values | {name: True for name in ("force", "replace") if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it is kept in the catalogue."""

    name: str
    sha256: str
    bytes: int


class Reading:
    """Files that have been read, every row once, in bounded memory; close it when done."""

    def __init__(
        self, paths: Sequence[Path], options: ImportOptions, folder: Path, progress: Progress | None = None
    ) -> None:
        self.options = options
        self.spool = Spool(folder)
        self.notes: list[Notes] = []
        self.sources: list[SourceFile] = []
        try:
            self.importer = self._read(paths, progress)
        except BaseException:
            self.spool.close()
            raise

    @property
    def streams(self) -> list[Spooled]:
        """What was read, by stream: books first, so that their steps are known."""
        order = {"orders": 0, "book": 1, "trades": 2, "bbo": 3, "ticker": 4, "bars": 5}
        return sorted(
            self.spool.streams.values(), key=lambda s: (s.stream.venue, s.stream.symbol, order[kind_of(s.stream.table)])
        )

    def facts(self, symbol: str) -> dict[str, str]:
        """Return what the files say of a symbol as an instrument."""
        return {name: value for notes in self.notes for name, value in notes.instruments.get(symbol, {}).items()}

    def counts(self, symbol: str) -> dict[str, int]:
        """Return what the importer counted of a symbol; of "", of the whole files."""
        total: Counter[str] = Counter()
        for notes in self.notes:
            total.update(notes.counts.get(symbol, Counter()))
        return dict(sorted(total.items()))

    def close(self) -> None:
        """Remove what was kept."""
        self.spool.close()

    def _read(self, paths: Sequence[Path], progress: Progress | None) -> Importer:
        sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
        importer: Importer | None = None
        for number, path in enumerate(paths):
            before = sum(sizes[:number])

            def note(done: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, sum(sizes))

            source = Source(path, note)
            # A mapping file says itself that nothing else knows the table.
            named = self.options.format or ("mapped_table" if self.options.read.mapping else None)
            chosen = importer_named(named) if named else detect(source)
            if importer is not None and chosen is not importer:
                raise DataError(
                    f"{path.name} is of format {chosen.NAME}, {paths[0].name} of {importer.NAME}; import them apart"
                )
            importer = chosen
            notes = Notes()
            rows = 0
            for batch in importer.read(source, self.options.read, notes):
                self.spool.add(source, number, batch)
                rows += batch.frame.height
            if not rows:
                raise DataError(f"{path.name}: zero events; a recording has at least one")
            self.notes.append(notes)
            self.sources.append(SourceFile(path.name, sha256_of(path), sizes[number]))
        assert importer is not None
        return importer
