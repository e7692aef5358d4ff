"""Importing a file: detect its format, judge it, publish its days or nothing at all. Knows no particular format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly
from market_maker.market_data.importers import FileFacts, detect
from market_maker.storage.lake import Lake, PublishedDay, sha256_of


@dataclass(frozen=True, slots=True)
class Repairs:
    """What an import may change in the data; each is recorded in its report.

    offset_negative_latency : add one constant to all receive times so that the smallest feed latency becomes
        `latency_floor_ns`; only when there is negative latency
    """

    offset_negative_latency: bool = False
    latency_floor_ns: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Quality:
    """What was wrong in the data. Latencies are as found, before any repair."""

    sequence_gaps: int = 0
    crossed: int = 0
    locked: int = 0
    book_messages: int = 0
    negative_latency_share: float = 0.0
    latency_min_ns: int = 0
    latency_median_ns: int = 0
    latency_max_ns: int = 0
    backward_exchange_times: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import read, changed and published: the lineage kept in the catalogue."""

    source: str
    source_sha256: str
    importer: str
    importer_version: str
    options: dict[str, Any]
    days: tuple[PublishedDay, ...]
    counts: dict[str, int]
    quality: Quality
    offset_ns: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "source": self.source,
            "source_sha256": self.source_sha256,
            "importer": self.importer,
            "importer_version": self.importer_version,
            "options": self.options,
            "days": [day.to_json() for day in self.days],
            "counts": self.counts,
            "quality": asdict(self.quality),
            "offset_ns": self.offset_ns,
            "facts": self.facts,
        }


def inspect_file(path: Path) -> FileFacts:
    """Return the facts of a file whose format is detected by content."""
    return detect(path).inspect(path)


def import_file(
    path: Path,
    lake: Lake,
    instrument: Instrument,
    repairs: Repairs | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Read a file and publish its days.

    Parameters
    ----------
    instrument : names venue and symbol in the lake and gives tick and lot; every number of the file must fit them
    progress : gets (bytes done, bytes in all); the file is read twice, once to judge and once to publish

    Raises
    ------
    DataError
        Unknown, damaged or empty content (names file and row), negative feed latency without the repair (names the
        option), a book that crosses itself. Nothing is published then.
    """
    chosen = repairs or Repairs()
    importer = detect(path)
    facts = importer.inspect(path)
    offset = _offset(path, facts, chosen)
    assembly = Assembly(lake, instrument, derives_bbo=not facts.streams.get("bookTicker"))
    try:
        counts = importer.read(path, instrument, assembly, offset, progress)
        if assembly.quality.crossed:
            raise DataError(
                f"{path.name}: the built book is crossed after {assembly.quality.crossed} of "
                f"{assembly.quality.messages} messages; the recording does not hold a right book"
            )
        days = assembly.publish()
    finally:
        assembly.discard()
    latency = facts.latency
    return ImportReport(
        source=path.name,
        source_sha256=sha256_of(path),
        importer=importer.NAME,
        importer_version=importer.VERSION,
        options=asdict(chosen),
        days=days,
        counts={**counts, "sequence_gaps": counts["sequence_gaps"]},
        quality=Quality(
            sequence_gaps=counts["sequence_gaps"],
            crossed=assembly.quality.crossed,
            locked=assembly.quality.locked,
            book_messages=assembly.quality.messages,
            negative_latency_share=latency.negative_share,
            latency_min_ns=latency.minimum_ns,
            latency_median_ns=latency.median_ns,
            latency_max_ns=latency.maximum_ns,
            backward_exchange_times=latency.backward_exchange_times,
        ),
        offset_ns=offset,
        facts={"market": facts.market, "symbol": facts.symbol, "first_ts": facts.first_ts, "last_ts": facts.last_ts},
    )


def _offset(path: Path, facts: FileFacts, repairs: Repairs) -> int:
    latency = facts.latency
    if not latency.negative:
        return 0
    if not repairs.offset_negative_latency:
        raise DataError(
            f"{path.name}: {latency.negative_share:.1%} of messages were received before they were sent (latency "
            f"{latency.minimum_ns / 1e6:.0f} to {latency.maximum_ns / 1e6:.0f} ms, median {latency.median_ns / 1e6:.0f} "
            "ms): the recorder's clock was slow; import with offset_negative_latency to add a constant"
        )
    return repairs.latency_floor_ns - latency.minimum_ns
