"""Importing files: judge what was read, stage its days; nothing is visible before `publish_import` is called by others.

Owns the report of an import and what a failed rule of quality stops. Knows no particular format and no database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import StagedTable
from market_maker.market_data.importers import Stream
from market_maker.market_data.intake import ImportOptions, Reading, Repairs, SourceFile
from market_maker.market_data.quality import Finding, Verdict, judge, worst
from market_maker.market_data.spool import Spooled
from market_maker.market_data.staging import StreamStaging
from market_maker.storage.lake import Lake, PublishedDay

__all__ = ["ImportOptions", "ImportReport", "Reading", "Repairs", "SourceFile", "StreamReport", "stage"]


@dataclass(slots=True)
class StreamReport:
    """What was imported of one stream.

    `figures` and `findings` are of the stream as it was read; those of the days, after repairs, are beside them.
    """

    stream: Stream
    instrument: Instrument
    rows: int
    counts: dict[str, int]
    figures: dict[str, Any]
    findings: list[Finding]
    days: list[tuple[StagedTable, list[Finding]]] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return worst([*self.findings, *(finding for _, findings in self.days for finding in findings)])

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "venue": self.stream.venue,
            "symbol": self.stream.symbol,
            "table": self.stream.table,
            "pair_id": str(self.instrument.pair_id),
            "tick_size": f"{self.instrument.tick_size:f}",
            "lot_size": f"{self.instrument.lot_size:f}",
            "rows": self.rows,
            "verdict": self.verdict.value,
            "counts": self.counts,
            "figures": self.figures,
            "findings": [finding.to_json() for finding in self.findings],
            "days": [
                {
                    "day": staged.day.day.isoformat(),
                    "tables": [file.kind for file in staged.day.files],
                    "verdict": worst(findings).value,
                    "figures": staged.figures,
                    "findings": [finding.to_json() for finding in findings],
                }
                for staged, findings in self.days
            ],
        }


@dataclass(slots=True)
class ImportReport:
    """What an import read, changed and staged: the lineage kept in the catalogue."""

    sources: tuple[SourceFile, ...]
    importer: str
    importer_version: str
    options: dict[str, Any]
    streams: list[StreamReport] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    offset_ns: int = 0
    forced: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the streams."""
        verdicts = {stream.verdict for stream in self.streams}
        return next((verdict for verdict in (Verdict.FAIL, Verdict.WARN) if verdict in verdicts), Verdict.PASS)

    @property
    def days(self) -> list[PublishedDay]:
        """Every staged day of every stream."""
        return [staged.day for stream in self.streams for staged, _ in stream.days]

    @property
    def rows(self) -> int:
        """Rows of all streams, as read."""
        return sum(stream.rows for stream in self.streams)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "sources": [asdict(source) for source in self.sources],
            "importer": self.importer,
            "importer_version": self.importer_version,
            "options": self.options,
            "verdict": self.verdict.value,
            "forced": self.forced,
            "offset_ns": self.offset_ns,
            "counts": self.counts,
            "warnings": self.warnings,
            "streams": [stream.to_json() for stream in self.streams],
        }


def stage(reading: Reading, lake: Lake, instrument_of: Callable[[Stream], Instrument]) -> ImportReport:
    """Judge and stage everything that was read; to be called under the lake's lock of every symbol.

    Raises
    ------
    DataError
        A number does not fit the pair's steps (names file and row), receive times run backwards without the repair, or a
        rule of quality fails and the import is not forced. What was staged is left to `Lake.sweep`.
    Conflict
        A day holds what other files have given, and overlaps.
    """
    options = reading.options
    report = ImportReport(
        tuple(reading.sources), reading.importer.NAME, reading.importer.VERSION, options.to_json(),
        counts=reading.counts(""), warnings=[warning for notes in reading.notes for warning in notes.warnings],
        offset_ns=_offset(reading, options.repairs),
    )  # fmt: skip
    own_quotes = {(s.stream.venue, s.stream.symbol) for s in reading.streams if s.stream.table == "bbo"}
    for spooled in reading.streams:
        stream = spooled.stream
        figures = _figures(spooled, reading.counts(stream.symbol) if _is_first(reading, spooled) else {})
        entry = StreamReport(
            stream, instrument_of(stream), spooled.rows, reading.counts(stream.symbol), figures,
            _repaired(judge(figures, spooled.places), options.repairs, report.offset_ns),
        )  # fmt: skip
        report.streams.append(entry)
        _refuse(reading, entry.findings, options)
        staging = StreamStaging(reading, lake, spooled, entry.instrument, report.offset_ns)
        derives = stream.table in {"book", "orders"} and (stream.venue, stream.symbol) not in own_quotes
        entry.days = [(staged, judge(staged.figures)) for staged in staging.run(derives_bbo=derives)]
        entry.counts |= staging.left_out
        for _, findings in entry.days:
            _refuse(reading, findings, options)
    if not report.days:
        names = ", ".join(source.name for source in reading.sources[:3])
        causes = "; ".join(report.warnings) or "no snapshot of a book, and no trade or quote that needs none"
        raise DataError(f"{names}: nothing of its {report.rows} rows can be used: {causes}")
    failed = [
        f
        for s in report.streams
        for f in [*s.findings, *(f for _, fs in s.days for f in fs)]
        if f.verdict == Verdict.FAIL
    ]
    report.forced = sorted({finding.rule for finding in failed})
    return report


def _is_first(reading: Reading, spooled: Spooled) -> bool:
    """Return whether a stream is the first of its symbol: an importer counts by symbol, which is judged once."""
    same = [
        s for s in reading.streams if (s.stream.venue, s.stream.symbol) == (spooled.stream.venue, spooled.stream.symbol)
    ]
    return same[0] is spooled


def _figures(spooled: Spooled, counts: dict[str, int]) -> dict[str, Any]:
    figures: dict[str, Any] = {"receive_time_reversals": spooled.backward}
    if spooled.stamped:
        figures["negative_latency_share"] = spooled.negative / spooled.stamped
        figures["smallest_latency_ns"] = spooled.smallest_latency_ns
    if spooled.absurd:
        figures |= {"absurd_prices": 1, "absurd_price": spooled.absurd}
    return figures | {
        name: counts[name] for name in ("sequence_gaps", "duplicates", "unknown_references") if name in counts
    }


def _repaired(findings: list[Finding], repairs: Repairs, offset_ns: int) -> list[Finding]:
    """Return findings with those that a repair has mended as warnings that say so."""
    mended = {"receive_time_reversals": repairs.sort, "negative_latency_share": offset_ns != 0}
    return [
        Finding(f.rule, Verdict.WARN, f.value, f"{f.text} and was asked for") if mended.get(f.rule) else f
        for f in findings
    ]


def _refuse(reading: Reading, findings: list[Finding], options: ImportOptions) -> None:
    failed = [finding for finding in findings if finding.verdict == Verdict.FAIL]
    # Rows out of order cannot lie in the lake at all: no force helps.
    if failed and (not options.force or any(finding.rule == "receive_time_reversals" for finding in failed)):
        names = ", ".join(source.name for source in reading.sources[:3])
        causes = "; ".join(f"{finding.rule}: {finding.text}" for finding in failed)
        forced = "" if any(f.rule == "receive_time_reversals" for f in failed) else "; --force imports it all the same"
        raise DataError(f"{names}: {causes}{forced}")


def _offset(reading: Reading, repairs: Repairs) -> int:
    if repairs.offset_ns:
        return repairs.offset_ns
    smallest = [s.smallest_latency_ns for s in reading.streams if s.smallest_latency_ns is not None]
    if not repairs.offset_negative_latency or not smallest or min(smallest) >= 0:
        return 0
    return repairs.latency_floor_ns - min(smallest)
