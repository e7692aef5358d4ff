"""What many seeds say about a strategy: means with their intervals, quantiles, the tail, and two strategies side by side.

Pure functions of per-seed figures. Money is turned into floats here and nowhere else: these are statistics, no amounts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.backtest.result import RunSummary
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import (
    Figure,
    Interval,
    checked_confidence,
    checked_row,
    normal_quantile,
    student_quantile,
)
from market_maker.risk.tails import minimum_observations, tail_figures

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DRAWS = 2_000
LEAST_SEEDS = 10
"""Below this the quantile of Student's t is not as exact as we say it is."""
MONEY = (
    "net_pnl", "gross_pnl", "fees", "spread_capture", "inventory_pnl", "max_drawdown", "turnover", "volume", "position",
)  # fmt: skip
COUNTS = ("fills", "maker_fills", "taker_fills", "orders", "orders_rejected", "orders_canceled", "orders_expired")


@dataclass(frozen=True, slots=True)
class Distribution:
    """One figure over seeds.

    Parameters
    ----------
    count : seeds in which the figure is defined
    mean : with the interval of Student's t
    standard_error : of the mean; None of fewer than two seeds
    bootstrap : the mean with the percentile interval of resampled seeds
    deviation, least, most : standard deviation (n - 1) and range over seeds
    quantiles : of single seeds, by probability as text
    """

    count: int
    mean: Interval
    standard_error: float | None
    bootstrap: Interval
    deviation: float | None
    least: float | None
    most: float | None
    quantiles: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """All seeds of one strategy.

    Parameters
    ----------
    figures : by name of the summary's field; `sharpe` counts the seeds in which it is defined
    loss_probability : share of seeds with a negative net result, with the interval of Wilson
    value_at_risk, expected_shortfall : of the net result at `tail_confidence`, positive losses in quote currency
    """

    figures: Mapping[str, Distribution]
    loss_probability: Interval
    tail_confidence: float
    value_at_risk: Figure
    expected_shortfall: Figure


@dataclass(frozen=True, slots=True)
class Paired:
    """The first strategy's net result less the second's, on the same seeds.

    Parameters
    ----------
    difference : its distribution over seeds
    better_share : share of seeds in which the first is better, with the interval of Wilson
    correlation : of the two results over seeds; None where one does not vary
    variance_ratio : variance of the difference in what independent seeds would give; below 1 the common seeds help
    """

    difference: Distribution
    better_share: Interval
    correlation: float | None
    variance_ratio: float | None


def distribution(values: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95) -> Distribution:
    """Return what a figure of each seed says.

    Parameters
    ----------
    values : (n,) finite numbers, one of each seed
    rng : source of the resampled seeds

    Notes
    -----
    Seeds are independent, so Student's t and the ordinary bootstrap (Efron 1979, percentiles) hold. With fewer than 10
    seeds both intervals are left out and say so.
    """
    checked_confidence(confidence)
    row = checked_row(values, "figures of seeds")
    count = row.size
    tail = (1.0 + confidence) / 2.0
    if count == 0:
        nothing = Interval(None, None, None, confidence, "none", "no seed has this figure")
        return Distribution(0, nothing, None, nothing, None, None, None, {})
    mean = math.fsum(row.tolist()) / count
    deviation = float(np.std(row, ddof=1)) if count > 1 else None
    error = None if deviation is None else deviation / math.sqrt(count)
    quantiles = {f"{p:g}": float(np.quantile(row, p)) for p in QUANTILES}
    if count < LEAST_SEEDS or error is None:
        reason = f"{count} seeds; at least {LEAST_SEEDS} are needed"
        student = Interval(mean, None, None, confidence, "Student's t", reason)
        resampled = Interval(mean, None, None, confidence, "bootstrap", reason)
    else:
        width = (student_quantile(tail, count - 1) if count <= 1_001 else normal_quantile(tail)) * error
        student = Interval(mean, mean - width, mean + width, confidence, "Student's t")
        low, high = np.quantile(_resampled_means(row, rng), [1.0 - tail, tail])
        resampled = Interval(mean, float(low), float(high), confidence, f"bootstrap, {DRAWS} draws, percentiles")
    return Distribution(count, student, error, resampled, deviation, float(row.min()), float(row.max()), quantiles)


def _resampled_means(row: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (DRAWS,) means of as many seeds drawn with replacement; a bounded number of draws is in memory."""
    means = np.empty(DRAWS)
    part = max(1, 1_000_000 // row.size)
    for first in range(0, DRAWS, part):
        drawn = min(part, DRAWS - first)
        means[first : first + drawn] = row[rng.integers(0, row.size, (drawn, row.size))].mean(axis=1)
    return means


def share(hits: int, count: int, *, confidence: float = 0.95) -> Interval:
    """Return a share with its interval.

    Source: Wilson (1927), "Probable inference", J. American Statistical Association 22(158).
    """
    if not 0 <= hits <= count:
        raise InvalidRequest.of("hits", hits, f"0 to {count}")
    if count == 0:
        return Interval(None, None, None, confidence, "Wilson", "no seeds")
    z = normal_quantile((1.0 + checked_confidence(confidence)) / 2.0)
    p, square = hits / count, z * z / count
    centre = (p + square / 2.0) / (1.0 + square)
    width = z * math.sqrt(p * (1.0 - p) / count + square / (4.0 * count)) / (1.0 + square)
    return Interval(p, max(0.0, centre - width), min(1.0, centre + width), confidence, "Wilson")


def monte_carlo(
    summaries: Sequence[RunSummary],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    tail_confidence: float = 0.95,
) -> MonteCarlo:
    """Return what the runs of all seeds say together.

    Raises
    ------
    DataError
        No runs.
    """
    if not summaries:
        raise DataError("no runs of any seed; simulate at least one")
    figures = {
        name: distribution([float(getattr(each, name)) for each in summaries], rng, confidence=confidence)
        for name in (*MONEY, *COUNTS)
    }
    ratios = [each.sharpe.ratio for each in summaries if each.sharpe.ratio is not None]
    figures["sharpe"] = distribution(ratios, rng, confidence=confidence)
    losses = [-float(each.net_pnl) for each in summaries]
    least = minimum_observations(tail_confidence)
    if len(losses) >= least:
        tail = tail_figures(losses, tail_confidence)
        at_risk, shortfall = Figure(tail.value_at_risk), Figure(tail.expected_shortfall)
    else:
        at_risk = shortfall = Figure(None, f"{len(losses)} seeds; at least {least} are needed at {tail_confidence:g}")
    lost = sum(each.net_pnl < Decimal(0) for each in summaries)
    return MonteCarlo(figures, share(lost, len(summaries), confidence=confidence), tail_confidence, at_risk, shortfall)


def compare_paired(
    first: Sequence[RunSummary], second: Sequence[RunSummary], rng: np.random.Generator, *, confidence: float = 0.95
) -> Paired:
    """Return how two strategies compare on common random numbers: element i of both is of one seed.

    The flow and the reference price draw from the seed alone, so that both see the same market until they change it.

    Raises
    ------
    DataError
        Numbers of runs that differ, or no runs.
    """
    if len(first) != len(second) or not first:
        raise DataError(f"{len(first)} and {len(second)} runs cannot be paired; simulate both on the same seeds")
    one, other = (np.array([float(each.net_pnl) for each in runs]) for runs in (first, second))
    difference = one - other
    spread = [float(np.std(row, ddof=1)) if len(row) > 1 else 0.0 for row in (one, other, difference)]
    correlation = float(np.corrcoef(one, other)[0, 1]) if spread[0] > 0.0 and spread[1] > 0.0 else None
    apart = spread[0] ** 2 + spread[1] ** 2
    better = sum(a.net_pnl > b.net_pnl for a, b in zip(first, second, strict=True))
    return Paired(
        distribution(difference, rng, confidence=confidence),
        share(better, len(first), confidence=confidence),
        correlation,
        spread[2] ** 2 / apart if apart > 0.0 else None,
    )
