"""The commands `report` and `analyze`: one page about runs that opens without a network, and their figures in the terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from market_maker.backtest.analyses import Analyses
from market_maker.backtest.service import BacktestService
from market_maker.bootstrap import open_store
from market_maker.dashboard import report_page, report_template
from market_maker.domain.errors import InvalidRequest
from market_maker.settings import Settings

_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "UNKNOWN": "dim"}
_PROFIT = ("spread_capture", "inventory", "fees", "rebates", "funding", "hedging", "net", "residual")


async def run_report(settings: Settings, runs: Sequence[UUID], output: Path | None, *, fragility: bool) -> None:
    """Write the report page of completed runs and say where; with a progress bar.

    Raises
    ------
    Unavailable
        The page has not been built.
    InvalidRequest
        The file cannot be written, or the runs have no analysis.
    """
    template = report_template()  # Before anything is computed.
    path = Path(f"report-{runs[0]}.html") if output is None else output
    found, created_ts = await _analyse(settings, runs, fragility=fragility)
    page = await asyncio.to_thread(lambda: report_page(found.report_data(created_ts), template))
    console = _console()
    _tell_quality(found, console)
    for note in found.notes:
        console.print(note, markup=False)
    _write(path, page, "report", console)


async def run_analysis(settings: Settings, runs: Sequence[UUID], output: Path | None, *, fragility: bool) -> None:
    """Print the figures of completed runs; with `output`, write all of them as JSON. InvalidRequest as `run_report`."""
    found, _ = await _analyse(settings, runs, fragility=fragility)
    console = _console()
    values = found.to_json()
    if found.comparison is not None:
        _tell_comparison(values["comparison"], console)
    elif len(found.runs) == 1 and found.runs[0].analysis is not None:
        _tell_run(values["analysis"], console)
    elif found.reason is not None:
        console.print(found.reason, markup=False)
    console.print(
        f"net P&L of {found.totals.runs} run{'s' * (found.totals.runs > 1)}: {found.totals.net_pnl:f}; residual {found.totals.residual:f}"
    )
    _tell_quality(found, console)
    for note in found.notes:
        console.print(note, markup=False)
    if output is not None:
        _write(output, json.dumps(values, indent=1).encode(), "analysis", console)


def _console() -> Console:
    """Return a console that cuts no id where nobody looks at it."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=250)


async def _analyse(settings: Settings, runs: Sequence[UUID], *, fragility: bool) -> tuple[Analyses, int]:
    async with open_store(settings) as store:
        backtests = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
        with Progress(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("reading the runs", total=None)

            def note(what: str, done: int, total: int) -> None:
                bars.update(task, description=what, completed=done, total=total)

            found = await backtests.analyze_backtest_results(runs, fragility=fragility, note=note)
        return found, store.clock.now_ns()


def _write(path: Path, content: bytes, what: str, console: Console) -> None:
    """Write a file and say where it is."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidRequest.of("--output", str(path), f"a file that can be written ({error.strerror})") from error
    console.print(f"{what}: {path.absolute()} ({len(content) / 1e6:.2f} MB)", markup=False, soft_wrap=True)


def _tell_quality(found: Analyses, console: Console) -> None:
    for run in found.runs:
        if run.quality is None:
            continue
        table = Table("quality", "", "why", box=None, title=f"run {run.run_id}", title_justify="left")
        for letter, (name, judgement) in zip("ABCDEF", run.quality.to_json().items(), strict=True):
            status = judgement["status"]
            table.add_row(f"{letter} {name}", f"[{_COLOURS[status]}]{status}[/]", "\n".join(judgement["reasons"]))
        console.print(table)


def _tell_run(analysis: dict[str, Any], console: Console) -> None:
    profit = Table(*_PROFIT, box=None, title=f"profit by cause, {analysis['currency']}", title_justify="left")
    profit.add_row(*(_plain(analysis["profit"][name]) for name in _PROFIT))
    console.print(profit)
    returns, bootstrap = analysis["returns"], analysis["sharpe_bootstrap"]["interval"]
    figures = {
        "Sharpe": _with_interval(returns["sharpe"]["ratio"], bootstrap),
        "Sortino": _figure(returns["sortino"]),
        "Calmar": _figure(returns["calmar"]),
        "probabilistic Sharpe": _figure(analysis["edge"]["probabilistic_sharpe"]),
        "max drawdown": analysis["drawdowns"][0]["depth"] if analysis["drawdowns"] else "0",
        "fills": f"{analysis['trading']['fills']:,}",
        "fill ratio": _share(analysis["trading"]["fill_ratio"]),
        "maker share": _share(analysis["trading"]["maker_share"]),
        "share of the public volume": _share(analysis["volume_share"]),
    }
    for markout in analysis["markouts"]:
        name = f"markout at {markout['horizon_ns'] / 1e9:g} s, ticks"
        figures[name] = _with_interval(markout["mean"]["estimate"], markout["mean"])
    table = Table("figure", "value", box=None)
    for name, value in figures.items():
        table.add_row(name, value)
    console.print(table)


def _tell_comparison(comparison: dict[str, Any], console: Console) -> None:
    table = Table("figure", "unit", *comparison["labels"], box=None)
    for figure in comparison["figures"]:
        marks = ["*" if label == figure["best"] else "" for label in comparison["labels"]]
        values = [_plain(value) + mark for value, mark in zip(figure["values"], marks, strict=True)]
        table.add_row(figure["name"], figure["unit"], *values)
    console.print(table)
    for caution in comparison["cautions"]:
        console.print(f"caution: {caution}", markup=False)


def _plain(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{Decimal(value).normalize():f}"


def _figure(figure: dict[str, Any]) -> str:
    return f"- ({figure['reason']})" if figure["value"] is None else f"{figure['value']:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _with_interval(value: float | None, interval: dict[str, Any]) -> str:
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return text if interval["low"] is None else f"{text} ({interval['low']:.3f} to {interval['high']:.3f})"
