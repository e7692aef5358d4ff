"""The experiment of Avellaneda and Stoikov (2008): their strategy beside a symmetric one on the same paths, and their tables.

Owns the parameters, the chance, the summary of paths and how far it is from what the paper prints. The strategy that trades is
the shipped one, through its closed forms. Knows no files and no terminal.

Source: Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", Quantitative Finance 8(3), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.strategies.avellaneda_stoikov import optimal_spread
from market_maker.synthetic.poisson import kernel
from market_maker.synthetic.poisson.compiled import compiled_run

TICKS_PER_UNIT = 1_000_000
"""Prices of the model are real numbers; here they are whole millionths of the unit of money."""
PAPER_PATHS = 1000
_DRAWS_AT_ONCE = 1 << 22
"""Numbers of chance in memory at a time: 32 MB."""

STRATEGIES = ("inventory", "symmetric")
FIGURES = ("profit", "profit_deviation", "inventory", "inventory_deviation")


class Row(NamedTuple):
    """A strategy's row of a table: means and standard deviations over paths."""

    spread: float
    profit: float
    profit_deviation: float
    inventory: float
    inventory_deviation: float


PAPER: Mapping[float, Mapping[str, Row]] = MappingProxyType({
    0.1: {"inventory": Row(1.49, 65.0, 6.6, 0.08, 2.9), "symmetric": Row(1.49, 68.4, 12.7, 0.26, 8.4)},
    0.01: {"inventory": Row(1.35, 68.6, 8.7, 0.12, 5.1), "symmetric": Row(1.35, 68.8, 12.8, 0.09, 8.7)},
    1.0: {"inventory": Row(3.02, 31.4, 5.0, 0.02, 1.7), "symmetric": Row(3.02, 44.0, 11.0, 0.00, 5.1)},
})  # fmt: skip
"""Tables 1 to 3 of the paper, by gamma: 1000 paths each."""


@dataclass(frozen=True, slots=True)
class Model:
    """The market of the paper and a maker's risk aversion; defaults are the paper's.

    Parameters
    ----------
    gamma : risk aversion, 1 per unit of money and order
    mid : at the start, units of money
    sigma : units of money per square root of a second (of whatever T counts)
    horizon_s : T
    steps : of a session; dt is T / steps
    k, intensity : lambda = A exp(-k distance), 1 per unit of money and 1 per second

    Raises
    ------
    InvalidRequest
        A figure out of range, which is named.
    """

    gamma: float = 0.1
    mid: float = 100.0
    sigma: float = 2.0
    horizon_s: float = 1.0
    steps: int = 200
    k: float = 1.5
    intensity: float = 140.0

    def __post_init__(self) -> None:
        allowed = {
            "gamma": (1e-4, 1e3), "mid": (1e-3, 1e6), "sigma": (0.0, 1e3), "horizon_s": (1e-3, 1e6), "steps": (1, 10**4),
            "k": (1e-4, 1e4), "intensity": (0.0, 1e9),
        }  # fmt: skip
        for name, (low, high) in allowed.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidRequest.of(name, value, f"{low:g} to {high:g}")
        # Prices stay within 10**13 ticks and cash of 10**4 fills within 10**17, far from the end of int64.
        if self.sigma * math.sqrt(self.horizon_s) > 1e3 or self.gamma * self.sigma**2 * self.horizon_s > 1e3:
            limit = "sigma sqrt(T) and gamma sigma^2 T of 1000 or less"
            raise InvalidRequest.of("sigma", (self.gamma, self.sigma, self.horizon_s), limit)

    @property
    def dt(self) -> float:
        """Seconds of a step."""
        return self.horizon_s / self.steps

    @property
    def spread(self) -> float:
        """The strategy's spread, averaged over the session, units of money: it falls linearly, so it is that of T / 2."""
        return float(optimal_spread(self.gamma, self.sigma, self.k, 0.5 * self.horizon_s))


class Figure(NamedTuple):
    """A figure with its standard error, and what the paper prints for it.

    error : of the figure itself
    paper : None where the paper has no table
    distance : from the paper in standard errors of the difference, for which the paper's own error is taken to be that of
        1000 of our paths; None without a paper
    """

    value: float
    error: float
    paper: float | None
    distance: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy came to on all paths.

    Parameters
    ----------
    strategy : of STRATEGIES
    spread, paper_spread : average over the session, units of money; None where the paper has no table
    figures : by FIGURES; profit in units of money, inventory in orders, at the end of the session
    fills : mean number of a path
    profit_ticks : (paths,) int64, TICKS_PER_UNIT to the unit of money
    inventory : (paths,) int64
    """

    strategy: str
    spread: float
    paper_spread: float | None
    figures: Mapping[str, Figure]
    fills: float
    profit_ticks: NDArray[np.int64]
    inventory: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Experiment:
    """Both strategies on the same paths.

    Parameters
    ----------
    outcomes : by STRATEGIES
    track : (steps + 1, kernel.TRACKED) int64, the inventory strategy on the first path
    """

    model: Model
    paths: int
    seed: int
    outcomes: Mapping[str, Outcome]
    track: NDArray[np.int64]

    @property
    def largest_distance(self) -> float | None:
        """The largest distance of a figure from the paper, in standard errors; None where the paper has no table."""
        distances = [
            abs(figure.distance)
            for outcome in self.outcomes.values()
            for figure in outcome.figures.values()
            if figure.distance is not None
        ]
        return max(distances, default=None)


def run_experiment(model: Model, *, paths: int = PAPER_PATHS, seed: int = 0) -> Experiment:
    """Return what both strategies come to on the same paths; the same seed gives the same bytes.

    Parameters
    ----------
    paths : 2 to 10 million; the first of them are the same however many there are
    seed : 0 or more

    Raises
    ------
    InvalidRequest
        Paths or seed out of range.
    """
    if not 2 <= paths <= 10**7:
        raise InvalidRequest.of("paths", paths, "2 to 10000000")
    if seed < 0:
        raise InvalidRequest.of("seed", seed, "0 or more")
    rng = np.random.default_rng(seed)
    constant = {"inventory": 0.0, "symmetric": model.spread * TICKS_PER_UNIT}
    results = {name: np.empty((paths, kernel.RESULTS), np.int64) for name in STRATEGIES}
    track, no_track = (np.zeros((rows, kernel.TRACKED), np.int64) for rows in (model.steps + 1, 0))
    at_once = max(1, _DRAWS_AT_ONCE // (model.steps * kernel.DRAWS))
    for first in range(0, paths, at_once):
        draws = rng.random((min(at_once, paths - first), model.steps, kernel.DRAWS))
        part = slice(first, first + len(draws))
        for name in STRATEGIES:
            is_tracked = first == 0 and name == "inventory"
            trade(model, draws, constant[name], results[name][part], track if is_tracked else no_track)
    outcomes = {name: _outcome(model, name, results[name]) for name in STRATEGIES}
    return Experiment(model, paths, seed, MappingProxyType(outcomes), track)


def trade(
    model: Model,
    draws: NDArray[np.float64],
    spread_ticks: float,
    results: NDArray[np.int64],
    track: NDArray[np.int64],
) -> None:
    """Call the kernel with the model in ticks; arrays as `kernel.run` describes them."""
    compiled_run()(
        draws,
        round(model.mid * TICKS_PER_UNIT),
        round(model.sigma * math.sqrt(model.dt) * TICKS_PER_UNIT),
        model.dt,
        model.gamma / TICKS_PER_UNIT,
        model.sigma * TICKS_PER_UNIT,
        model.k / TICKS_PER_UNIT,
        model.intensity,
        spread_ticks,
        results,
        track,
    )


def _outcome(model: Model, strategy: str, results: NDArray[np.int64]) -> Outcome:
    table = PAPER.get(model.gamma) if model == Model(gamma=model.gamma) else None
    paper = None if table is None else table[strategy]
    profit, inventory = results[:, kernel.PROFIT], results[:, kernel.INVENTORY]
    figures: dict[str, Figure] = {}
    for name, sample in (("profit", profit / TICKS_PER_UNIT), ("inventory", inventory.astype(np.float64))):
        deviation_name = f"{name}_deviation"
        mean, deviation, mean_error, deviation_error = moments(sample)
        for figure, value, error in ((name, mean, mean_error), (deviation_name, deviation, deviation_error)):
            printed = None if paper is None else float(getattr(paper, figure))
            figures[figure] = Figure(value, error, printed, _distance(value, error, printed, len(sample)))
    return Outcome(
        strategy=strategy,
        spread=model.spread,
        paper_spread=None if paper is None else paper.spread,
        figures=MappingProxyType(figures),
        fills=float(results[:, kernel.FILLS].mean()),
        profit_ticks=profit.copy(),
        inventory=inventory.copy(),
    )


def moments(sample: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return mean, standard deviation (n - 1), and the standard errors of both.

    The deviation's is the delta method's on the variance: sqrt((m4 - s^4) / n) / (2 s), without a normal law.
    """
    mean, deviation, count = float(sample.mean()), float(sample.std(ddof=1)), len(sample)
    fourth = float(np.mean((sample - mean) ** 4))
    spread = math.sqrt(max(fourth - deviation**4, 0.0) / count) / (2.0 * deviation) if deviation > 0.0 else 0.0
    return mean, deviation, deviation / math.sqrt(count), spread


def _distance(value: float, error: float, printed: float | None, paths: int) -> float | None:
    if printed is None:
        return None
    both = error * math.sqrt(1.0 + paths / PAPER_PATHS)
    return (value - printed) / both if both > 0.0 else None
