"""The commands `import` and `quality`: files on the way into the lake, with progress, and what is wrong with them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from market_maker.bootstrap import open_store
from market_maker.domain.errors import DataError, InvalidRequest, MarketMakerError
from market_maker.market_data.ingest import ImportOptions
from market_maker.market_data.quality_page import quality_page
from market_maker.market_data.service import Imported, MarketDataService
from market_maker.monitoring.logs import bind_user
from market_maker.settings import Settings

TOLD_MAX = 20
_NOT_DATA = re.compile(r"^\.|readme|licen[cs]e|sums$|\.(md|checksum|part)$", re.IGNORECASE)
_STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}


def files_of(paths: Iterable[Path]) -> list[Path]:
    """Return the files named, and the data files below a folder in the order of their names; InvalidRequest for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and not _NOT_DATA.search(p.name))
        elif path.is_file():
            found.append(path)
        else:
            raise InvalidRequest.of("PATH", str(path), "a file or a folder that exists")
    if not found:
        raise InvalidRequest.of("PATH", ", ".join(map(str, paths)), "at least one file")
    return found


async def run_import(
    settings: Settings,
    paths: Sequence[Path],
    options: ImportOptions,
    *,
    together: bool,
    again: bool,
    report: Path | None,
) -> int:
    """Import files one by one (or as one), say what became of each, and return how many failed.

    A file that cannot be imported stops no other. What has been imported before is not read into the lake again, so that
    the same command resumes after a stop.
    """
    bind_user()  # What an import corrects of a pair is in the pair's trail.
    files = files_of(paths)
    units = [files] if together else [[path] for path in files]
    console, reports, failed = _console(), [], 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    async with open_store(settings) as store:
        service = MarketDataService(store.database, store.reference, store.lake, store.clock)
        for number, unit in enumerate(units, 1):
            with Progress(*columns, console=console, transient=True) as bars:
                task = bars.add_task(f"[{number}/{len(units)}] {unit[0].name}", total=None)

                def note(done: int, total: int, task: Any = task, bars: Progress = bars) -> None:
                    bars.update(task, completed=done, total=total)

                try:
                    imported = await service.import_data(unit, options, progress=note, again=again)
                except MarketMakerError as error:
                    console.print(f"{unit[0].name}: not imported: {error.detail}", style="red", markup=False)
                    failed += 1
                    continue
            reports.append(imported.report)
            _tell(console, unit, imported)
    if report is not None and reports:
        await asyncio.to_thread(write_report, report, reports)
        console.print(f"report: {report}", markup=False)
    if len(units) > 1:
        console.print(f"{len(units) - failed} of {len(units)} imported")
    return failed


def _tell(console: Console, unit: Sequence[Path], imported: Imported) -> None:
    report = imported.report
    name = ", ".join(path.name for path in unit)
    repeats = " (imported before; nothing to do, --again does it once more)" if imported.repeats else ""
    console.print(f"{name}: {report['importer']}, {_colored(report['verdict'])}{repeats}")
    table = Table("symbol", "tables: rows", "days", "verdict", "pair", box=None, padding=(0, 2, 0, 2))
    symbols: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stream in report["streams"]:
        symbols.setdefault((stream["venue"], stream["symbol"]), []).append(stream)
    for (venue, symbol), streams in symbols.items():
        days = sorted({day["day"] for stream in streams for day in stream["days"]})
        rows = ", ".join(f"{stream['table']} {stream['rows']:,}" for stream in streams)
        worst = next(v for v in reversed(_STYLES) if v == "PASS" or any(s["verdict"] == v for s in streams))
        shown = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        table.add_row(f"{venue} {symbol}", rows, shown, _colored(worst), streams[0]["pair_id"])
    console.print(table)
    for told in imported.told:
        console.print(f"  {told}", style="yellow", markup=False)
    if not imported.repeats:
        for line in findings_of(report):
            console.print(f"  {line}", style="dim", markup=False)
        for warning in report["warnings"][:TOLD_MAX]:
            console.print(f"  {warning}", style="yellow", markup=False)
        if report["forced"]:
            console.print(f"  forced in spite of: {', '.join(report['forced'])}", style="red")


def _console() -> Console:
    """Return a console that cuts nothing: what is read by programs and people alike is there to be copied."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=250)


def _colored(verdict: str) -> str:
    return f"[{_STYLES[verdict]}]{verdict}[/]"


def findings_of(report: dict[str, Any]) -> list[str]:
    """Return what was found in words: by rule the worst case, and how many others there are."""
    found: dict[str, list[tuple[float, str]]] = {}
    for stream in report["streams"]:
        name = f"{stream['symbol']} {stream['table']}"
        for finding in stream["findings"]:
            found.setdefault(finding["rule"], []).append((finding["value"], f"{finding['text']} ({name})"))
        for day in stream["days"]:
            for finding in day["findings"]:
                found.setdefault(finding["rule"], []).append(
                    (finding["value"], f"{finding['text']} ({name} {day['day']})")
                )
    lines = []
    for rule, cases in found.items():
        others = f", and {len(cases) - 1} more" if len(cases) > 1 else ""
        lines.append(f"{rule}: {max(cases)[1]}{others}")
    return lines


def write_report(path: Path, reports: list[dict[str, Any]]) -> None:
    """Write the reports of imports as JSON, or as a page, by the name's ending."""
    if path.suffix == ".html":
        path.write_text(quality_page("Import", _tables_of(reports)), "utf-8")
    else:
        path.write_text(json.dumps(reports, indent=1), "utf-8")


def _tables_of(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    items = []
    for stream in (stream for report in reports for stream in report["streams"]):
        name = {key: stream[key] for key in ("venue", "symbol", "table")}
        for i, day in enumerate(stream["days"]):
            items.append(name | day | ({"stream_findings": stream["findings"]} if i == 0 else {}))
    return items


async def run_quality(settings: Settings, pair: str, first: str | None, last: str | None, report: Path | None) -> int:
    """Measure the recorded days of a pair (id, or venue/symbol) and tell; return how many tables fail."""
    days = [_day(text, name) for text, name in ((first, "--from"), (last, "--to"))]
    console = _console()
    async with open_store(settings) as store:
        service = MarketDataService(store.database, store.reference, store.lake, store.clock)
        await store.reference.load()
        venue, _, symbol = pair.partition("/")
        found = store.reference.find_pair(venue, symbol) if symbol else await store.reference.pair(_id(pair))
        if found is None:
            known = ", ".join(f"{p.instrument.venue}/{p.instrument.symbol}" for p in store.reference.pairs()[:20])
            raise DataError(f"no pair {pair}; there are {known}")
        with console.status("measuring"):
            items = await service.get_quality(found.instrument, *days)
    name = {"venue": found.instrument.venue, "symbol": found.instrument.symbol}
    items = [name | item for item in items]
    if report is not None:
        title = f"{name['venue']} {name['symbol']}"
        text = quality_page(title, items) if report.suffix == ".html" else json.dumps(items, indent=1)
        await asyncio.to_thread(report.write_text, text, "utf-8")
    table = Table("day", "table", "rows", "verdict", "findings", box=None, padding=(0, 2, 0, 0))
    for item in items:
        texts = "; ".join(finding["text"] for finding in item["findings"]) or "-"
        verdict = f"[{_STYLES[item['verdict']]}]{item['verdict']}[/]"
        table.add_row(item["day"], item["table"], f"{item['figures']['rows']:,}", verdict, texts)
    console.print(table)
    if report is not None:
        console.print(f"report: {report}", markup=False)
    return sum(item["verdict"] == "FAIL" for item in items)


def _day(text: str | None, name: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest.of(name, text, "a UTC day such as 2024-08-08") from None


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest.of("PAIR", text, "the id of a pair, or venue/symbol") from None
