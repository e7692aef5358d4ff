"""The commands `fetch ...`: public archives of venues, downloaded with a progress bar, resumed, verified.

They parse words, show progress and what became of each file; the transfer itself is `market_data.fetch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from market_maker.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.console import Console

    from market_maker.market_data.fetch import Fetched

app = typer.Typer(
    no_args_is_help=True, help="Download public market data; what is here and right is not downloaded again."
)


@app.callback()
def fetch() -> None:
    """Download public market data; what is here and right is not downloaded again."""


@app.command()
def binance(
    symbol: Annotated[str, typer.Argument(help="as the venue writes it: BTCUSDT, BTCUSD_PERP")],
    first: Annotated[str, typer.Option("--from", help="first UTC day, such as 2024-01-30")],
    last: Annotated[str, typer.Option("--to", help="last UTC day, included")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="aggTrades (default), trades, bookTicker, klines-1m and other intervals (repeatable)"),
    ] = None,
    market: Annotated[str, typer.Option(help="spot, um (USD-M futures) or cm (COIN-M futures)")] = "spot",
    folder: Annotated[Path, typer.Option(help="where the files go, in the folders of the archive")] = Path("binance"),
    base_url: Annotated[str | None, typer.Option(help="a mirror; default: https://data.binance.vision")] = None,
) -> None:
    """Download dumps of data.binance.vision and verify them; called again it resumes.

    Exit code 0: everything is here; 1: days are missing; 2: a file was refused, or the download could not go on.
    """
    from market_maker.market_data.fetch import BASE_URL, Outcome, fetch_binance  # loaded by those who download

    start, end = _day("--from", first), _day("--to", last)
    console, results = _console(), list[Any]()
    with _Bars(console) as bars:
        try:
            fetch_binance(
                symbol, kind or ["aggTrades"], market, start, end, folder,
                base_url=base_url or BASE_URL, progress=bars.show, done=results.append,
            )  # fmt: skip
        finally:
            bars.stop()
            _tell(console, results, folder)
    found = {result.outcome for result in results}
    if Outcome.REFUSED in found:
        raise SystemExit(2)
    if Outcome.MISSING in found:
        raise SystemExit(1)


class _Bars:
    """One bar: the file that is coming."""

    def __init__(self, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task, self._name = self._progress.add_task("asking", total=None), ""

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """Show how much of a file is here."""
        if name != self._name:
            self._progress.remove_task(self._task)
            self._task, self._name = self._progress.add_task(name, total=None, completed=done), name
        self._progress.update(self._task, completed=done, total=total or None)


def _tell(console: Console, results: Sequence[Fetched], folder: Path) -> None:
    """Print the table of files, the reasons of refusals, and what to do next."""
    from rich.table import Table

    from market_maker.market_data.fetch import Outcome

    if all(result.outcome is Outcome.MISSING for result in results):
        return  # what is raised then says more
    table = Table("file", "outcome", "bytes", box=None, padding=(0, 2, 0, 0))
    table.columns[2].justify = "right"
    styles = {Outcome.MISSING: "yellow", Outcome.REFUSED: "red"}
    for result in results:
        outcome = f"{result.outcome.value}, resumed" if result.resumed else result.outcome.value
        table.add_row(result.path.name, outcome, f"{result.size:,}", style=styles.get(result.outcome, ""))
    console.print(table)
    for result in results:
        if result.reason:
            console.print(f"{result.path.name}: {result.reason}", style="red", markup=False)
    counts = [(outcome, sum(result.outcome is outcome for result in results)) for outcome in Outcome]
    here = [result for result in results if result.size]
    told = ", ".join(f"{count} {outcome.value}" for outcome, count in counts if count)
    console.print(f"{told}; {sum(result.size for result in here):,} bytes in {folder}", markup=False)
    if here:
        console.print(f"into the lake: market-maker import {folder}", markup=False)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest.of(option, text, "a UTC day, such as 2024-01-30") from None


def _console() -> Console:
    """Return a console that cuts nothing where a program reads."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(width=250, highlight=False)
