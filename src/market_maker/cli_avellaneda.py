"""The command `avellaneda-stoikov`: the tables of the paper of 2008 beside what the shipped strategy comes to, and a chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.charts import Panel, Series, picture
from market_maker.synthetic.poisson.experiment import (
    FIGURES,
    PAPER_PATHS,
    TICKS_PER_UNIT,
    Experiment,
    Figure,
    Model,
    Outcome,
    run_experiment,
)
from market_maker.synthetic.poisson.kernel import ASK, BID, EARNED, HELD, MID, RESERVATION

_NAMES = {
    "profit": "profit", "profit_deviation": "std (profit)", "inventory": "final q", "inventory_deviation": "std (final q)",
}  # fmt: skip
_BINS = 40


def run_avellaneda(*, gamma: float, paths: int, seed: int, plot: Path | None) -> None:
    """Run the experiment, print its table beside the paper's, and draw a path and both histograms of profits.

    Raises
    ------
    InvalidRequest
        A parameter out of range, or a file that cannot be written.
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise InvalidRequest.of("--plot", str(plot), "a file that ends in .svg")
    plain = Console()
    console = plain if plain.is_terminal else Console(width=160)
    found = run_experiment(Model(gamma=gamma), paths=paths, seed=seed)
    _tell(found, console)
    if plot is not None:
        try:
            plot.write_text(chart(found), "utf-8")
        except OSError as error:
            raise InvalidRequest.of("--plot", str(plot), f"a file that can be written ({error.strerror})") from error
        console.print(f"plot: {plot}", markup=False, soft_wrap=True)


def chart(found: Experiment) -> str:
    """Return the first path of the inventory strategy and the histograms of both strategies' profits, as SVG."""
    track, model = found.track, found.model
    seconds = np.arange(len(track)) * model.dt
    quoted = track[:-1] / TICKS_PER_UNIT

    def price(name: str, column: int, colour: int, *, is_dashed: bool = False) -> Series:
        return Series(name, seconds[:-1], quoted[:, column], "steps", colour, is_dashed)

    prices = (
        price("bid", BID, 2), price("ask", ASK, 1), price("reservation price", RESERVATION, 3, is_dashed=True),
        price("mid", MID, 0),
    )  # fmt: skip
    held = (Series("", seconds, track[:, HELD], "steps", 3),)
    earned = (Series("", seconds, track[:, EARNED] / TICKS_PER_UNIT, "steps", 2),)
    return picture([
        Panel(f"One path, gamma {model.gamma:g}", "time, s", "price", prices),
        Panel("Inventory on this path", "time, s", "orders", held),
        Panel("Profit on this path", "time, s", "cash + inventory at the mid", earned),
        Panel(f"Profits of {found.paths:,} paths", "profit", "paths", _histograms(found.outcomes)),
    ])  # fmt: skip


def _histograms(outcomes: Mapping[str, Outcome]) -> tuple[Series, ...]:
    profits: dict[str, NDArray[np.float64]] = {
        name: outcome.profit_ticks / TICKS_PER_UNIT for name, outcome in outcomes.items()
    }
    edges = np.histogram_bin_edges(np.concatenate(list(profits.values())), _BINS)
    return tuple(
        Series(name, edges, np.histogram(profits[name], edges)[0], "bars", colour)
        for colour, name in ((1, "symmetric"), (0, "inventory"))
    )


def _tell(found: Experiment, console: Console) -> None:
    model = found.model
    title = f"{found.paths:,} paths, gamma {model.gamma:g}, seed {found.seed}; the paper's table: {PAPER_PATHS:,} paths"
    table = Table("strategy", "figure", "here", "standard error", "paper", "distance", box=None, title=title)
    for name, outcome in found.outcomes.items():
        paper = "-" if outcome.paper_spread is None else f"{outcome.paper_spread:g}"
        table.add_row(name, "average spread", f"{outcome.spread:.4f}", "exact", paper, "")
        for figure in FIGURES:
            table.add_row("", _NAMES[figure], *_cells(outcome.figures[figure]))
    console.print(table)
    farthest = found.largest_distance
    if farthest is None:
        console.print("The paper has no table for this gamma; it has them for 0.1, 0.01 and 1.", markup=False)
        return
    verdict = "within" if farthest <= 3.0 else "NOT within"
    console.print(
        f"Largest distance {farthest:.2f} standard errors of the difference: {verdict} 3. The paper's own error is that of"
        f" {PAPER_PATHS:,} paths.",
        markup=False,
    )


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    paper = "-" if figure.paper is None else f"{figure.paper:g}"
    distance = "-" if figure.distance is None else f"{figure.distance:+.2f}"
    return f"{figure.value:.3f}", f"{figure.error:.3f}", paper, distance
