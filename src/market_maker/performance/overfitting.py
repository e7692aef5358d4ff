"""Is a Sharpe ratio more than luck, and more than the luck of the best of many trials? Statistics only.

Sharpe ratios here are per period of the sampling clock, never annualised, except where a name says `annual`. All of it
assumes independent returns; the intervals of `sharpe_interval` do not, and belong beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import (
    Float64,
    Int64,
    Moments,
    checked_confidence,
    normal_cdf,
    normal_quantile,
)

EULER_GAMMA = 0.577215664901532860606512
TRIALS_MAX = 5000
"""Trials that can be clustered: their correlations take 200 MB."""

Axes = tuple[Literal["trial", "period"], Literal["trial", "period"]]


def probabilistic_sharpe(
    sharpe: float, *, benchmark: float, observations: int, skewness: float, kurtosis: float
) -> float | None:
    """Return the probability that the true Sharpe ratio exceeds a benchmark.

    Parameters
    ----------
    sharpe, benchmark : per period
    observations : n returns, at least 2
    skewness, kurtosis : of the returns; kurtosis is 3 for the normal law

    Returns
    -------
    float or None
        Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1)/4 SR^2)); None where the root is not real: moments so
        extreme that the approximation says nothing.

    Notes
    -----
    Source: Bailey and Lopez de Prado (2012), "The Sharpe ratio efficient frontier", Journal of Risk 15(2), equation 4.
    """
    if observations < 2:
        raise InvalidRequest.of("observations", observations, "2 or more")
    variance = _ratio_variance(sharpe, skewness, kurtosis)
    if variance <= 0.0:
        return None
    return normal_cdf((sharpe - benchmark) * math.sqrt((observations - 1) / variance))


def expected_maximum(trials: float) -> float:
    """Return the expected maximum of `trials` independent standard normal numbers; 0 for one.

    InvalidRequest below 1; a fraction is allowed, such as an effective number.

    Notes
    -----
    (1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)), g of Euler and Mascheroni: an approximation for large N, not below 0.
    Source: Bailey and Lopez de Prado (2014), "The deflated Sharpe ratio", J. Portfolio Management 40(5), equation 1.
    """
    if not trials >= 1.0:
        raise InvalidRequest.of("trials", trials, "1 or more")
    if trials == 1.0:
        return 0.0
    tails = (1.0 / trials, 1.0 / (trials * math.e))
    first, second = (normal_quantile(1.0 - tail) for tail in tails)
    return max((1.0 - EULER_GAMMA) * first + EULER_GAMMA * second, 0.0)


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """A Sharpe ratio judged as the best of many trials.

    Parameters
    ----------
    probability : that the true ratio exceeds `benchmark`; None where undefined, see `probabilistic_sharpe`
    benchmark : the ratio that the best of so many worthless trials is expected to show, per period
    trials : the number it was made with
    deviation : standard deviation of the trials' ratios, per period
    """

    probability: float | None
    benchmark: float
    trials: float
    deviation: float


def deflated_sharpe(known: Moments, *, trials: float, deviation: float) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio of returns that were chosen among trials.

    Parameters
    ----------
    known : moments of the chosen returns, per period
    trials : how many independent trials there were, all of them and not those that were kept
    deviation : standard deviation of the Sharpe ratios of the trials, per period, not negative

    Notes
    -----
    Source: Bailey and Lopez de Prado (2014), equation 2.
    """
    if not deviation >= 0.0:
        raise InvalidRequest.of("deviation", deviation, "0 or more")
    benchmark = deviation * expected_maximum(trials)
    probability = probabilistic_sharpe(
        known.mean / known.deviation,
        benchmark=benchmark,
        observations=known.count,
        skewness=known.skewness,
        kurtosis=known.kurtosis,
    )
    return DeflatedSharpe(probability, benchmark, trials, deviation)


def minimum_track_record(
    sharpe: float, *, benchmark: float, skewness: float, kurtosis: float, confidence: float = 0.95
) -> float | None:
    """Return how many periods a Sharpe ratio must be observed before it beats the benchmark with confidence.

    None where no length suffices: the ratio does not exceed the benchmark, or the moments are too extreme.

    Notes
    -----
    1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (z / (SR - SR*))^2, z the normal quantile of the confidence; at least 2.
    Source: Bailey and Lopez de Prado (2012), equation 11.
    """
    checked_confidence(confidence)
    variance = _ratio_variance(sharpe, skewness, kurtosis)
    if sharpe <= benchmark or variance <= 0.0:
        return None
    z = max(normal_quantile(confidence), 0.0)
    return max(1.0 + variance * (z / (sharpe - benchmark)) ** 2, 2.0)


def minimum_backtest_years(trials: float, annual_sharpe: float) -> float | None:
    """Return the years of data below which the best of so many worthless trials is expected to show this annual ratio.

    None for a ratio that is not positive.

    Notes
    -----
    (expected maximum of N / SR)^2: over y years the annual ratio of a worthless trial has a deviation of 1/sqrt(y).
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2014), "Pseudo-mathematics and financial charlatanism", Notices of
    the AMS 61(5), theorem 3.
    """
    if annual_sharpe <= 0.0:
        return None
    return (expected_maximum(trials) / annual_sharpe) ** 2


@dataclass(frozen=True, slots=True)
class EffectiveTrials:
    """Trials that differ: `clusters` of them, with the cluster of each trial (numbered by its first trial)."""

    clusters: int
    members: tuple[int, ...]


def effective_trials(returns: ArrayLike, *, axes: Axes, correlation: float = 0.5) -> EffectiveTrials:
    """Return how many different trials there are, counting those that move together once.

    Parameters
    ----------
    returns : two axes, named by `axes`; at most 5,000 trials, at least 2 periods
    axes : ("trial", "period") or ("period", "trial")
    correlation : clusters are joined while the mean correlation between their members is at least this

    Raises
    ------
    DataError
        NaN, infinite, another shape, too many trials.

    Notes
    -----
    Average linkage of the distances 1 - correlation, cut at 1 - `correlation`. A trial that never varies correlates with
    none but its like. O(trials^2 x periods) time, O(trials^2) memory.
    Source: for the purpose Lopez de Prado and Lewis (2019), "Detection of false investment strategies using unsupervised
    learning methods", Quantitative Finance 19(9); for the chain of nearest neighbours Murtagh (1983), Computer J. 26(4).
    """
    by_trial = trials_by_period(returns, axes)
    trials = len(by_trial)
    if trials > TRIALS_MAX:
        raise DataError(f"{trials} trials are too many to be clustered; allowed: {TRIALS_MAX}, so count them all")
    centred = by_trial - by_trial.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1))
    flat = norms <= 1e-14 * np.maximum(1.0, np.abs(by_trial).max(axis=1)) * math.sqrt(by_trial.shape[1])
    units = np.where(flat[:, None], 0.0, centred / np.where(flat, 1.0, norms)[:, None])
    distance = 1.0 - units @ units.T
    distance[np.ix_(flat, flat)] = 0.0
    return _numbered(_average_linkage(distance, 1.0 - correlation))


def trials_by_period(returns: ArrayLike, axes: Axes) -> Float64:
    """Return (trials, periods) finite floats from an array whose axes are named.

    A transposed array would give a plausible and wrong figure, so its axes have no default.
    """
    if tuple(axes) not in {("trial", "period"), ("period", "trial")}:
        raise InvalidRequest.of("axes", axes, '("trial", "period") or ("period", "trial")')
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise DataError(f"returns of trials have shape {values.shape}; give two axes, {axes[0]} and {axes[1]}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = ", ".join(f"{name} {index}" for name, index in zip(axes, bad[0], strict=True))
        raise DataError(f"the return of {place} is not finite; leave the trial out or repair it")
    return values if axes[0] == "trial" else np.ascontiguousarray(values.T)


def _ratio_variance(sharpe: float, skewness: float, kurtosis: float) -> float:
    return 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2


def _average_linkage(distance: Float64, cut: float) -> Int64:
    """Return (n,) a label for each row: clusters of average linkage, joined while their distance is at most `cut`.

    `distance` is (n, n), symmetric, and is used up. Merging along chains of nearest neighbours gives the clusters of the
    greedy order, because average linkage never brings two clusters nearer by merging another pair.
    """
    count = len(distance)
    np.fill_diagonal(distance, np.inf)
    label = np.arange(count)
    size = np.ones(count)
    active = np.ones(count, dtype=np.bool_)
    chain: list[int] = []
    while True:
        if not chain:
            left = np.flatnonzero(active)
            if not len(left):
                return label
            chain.append(int(left[0]))
        last = chain[-1]
        row = np.where(active, distance[last], np.inf)
        nearest = int(np.argmin(row))
        if len(chain) > 1 and row[chain[-2]] <= row[nearest]:
            nearest = chain[-2]
        if not row[nearest] <= cut:
            # Nothing will ever be near enough: this cluster is finished.
            active[last] = False
            chain.pop()
            continue
        if len(chain) < 2 or nearest != chain[-2]:
            chain.append(nearest)
            continue
        del chain[-2:]
        merged = (size[last] * distance[last] + size[nearest] * distance[nearest]) / (size[last] + size[nearest])
        distance[last], distance[:, last] = merged, merged
        distance[last, last] = np.inf
        size[last] += size[nearest]
        active[nearest] = False
        label[label == nearest] = last


def _numbered(label: Int64) -> EffectiveTrials:
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return EffectiveTrials(len(first), tuple(int(number) for number in rank[inverse]))
