"""The probability that choosing the best of many trials is overfitting, by symmetric cross-validation. Statistics only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.overfitting import Axes, trials_by_period
from market_maker.performance.splits import block_bounds

BLOCKS = 16
BLOCKS_MAX = 20
"""C(20, 10) = 184,756 combinations; 22 would be 705,432."""

_CELLS_AT_ONCE = 1 << 21


class Performance(StrEnum):
    """By what the best trial is chosen: mean / standard deviation (n - 1), or the mean alone."""

    SHARPE = "SHARPE"
    MEAN = "MEAN"


@dataclass(frozen=True, slots=True, eq=False)
class Overfitting:
    """What choosing the best trial in one half of the time gave in the other half.

    Parameters
    ----------
    probability : combinations in which the chosen trial came out at or below the median of all / combinations
    logits : (c,) ln(w / (1 - w)), w = rank of the chosen trial out of sample / (trials + 1), 1 the worst, ties averaged
    in_sample, out_of_sample : (c,) performance of the chosen trial in both halves, per period
    degradation : slope of the line through them; None where in-sample performance does not vary
    loss_probability : combinations with an out-of-sample performance below 0 / combinations
    trials, periods, blocks : of what it was made
    """

    probability: float
    logits: Float64
    in_sample: Float64
    out_of_sample: Float64
    degradation: float | None
    loss_probability: float
    trials: int
    periods: int
    blocks: int

    @property
    def combinations(self) -> int:
        """How many there were."""
        return len(self.logits)


def probability_of_overfitting(
    returns: ArrayLike, *, axes: Axes, blocks: int = BLOCKS, performance: Performance = Performance.SHARPE
) -> Overfitting:
    """Return the probability of backtest overfitting by combinatorially symmetric cross-validation, all combinations.

    Parameters
    ----------
    returns : returns or profits of every trial over the same periods; two axes, named by `axes`; at least 2 trials
    axes : ("trial", "period") or ("period", "trial")
    blocks : even, from 2 to 20; at most half of the periods. The first (periods mod blocks) have one period more
    performance : what chooses

    Returns
    -------
    Overfitting
        Rows are in lexicographic order of the blocks in sample.

    Raises
    ------
    InvalidRequest
        An odd number of blocks or one out of range.
    DataError
        NaN, infinite, one trial, or another shape.

    Notes
    -----
    A trial that does not vary in a half has a Sharpe ratio of 0 there: one that never trades neither wins nor is
    undefined. Of several best trials in sample the first is chosen. Sums of the halves are sums over blocks, so that the
    cost is O(trials x periods + combinations x trials x blocks).
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), "The probability of backtest overfitting", J. Computational
    Finance 20(4), section 2.
    """
    by_trial = trials_by_period(returns, axes)
    trials, periods = by_trial.shape
    if blocks % 2 or not 2 <= blocks <= min(BLOCKS_MAX, periods // 2):
        raise InvalidRequest.of("blocks", blocks, f"an even number from 2 to {min(BLOCKS_MAX, periods // 2)}")
    if trials < 2:
        raise DataError(f"{trials} trial: there is nothing to choose from; give at least 2")
    sums = _BlockSums.of(by_trial, block_bounds(periods, blocks))
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    count = len(chosen)
    is_in = np.zeros((count, blocks))
    is_in[np.arange(count)[:, None], chosen] = 1.0
    logits, inner, outer = (np.empty(count) for _ in range(3))
    # The complement of a combination is as far from the end of the list as that is from its start: each performance is
    # computed once and serves as in-sample of one and as out-of-sample of the other.
    step = max(1, _CELLS_AT_ONCE // trials)
    for first in range(0, count // 2, step):
        rows = np.arange(first, min(first + step, count // 2))
        halves = sums.performance(is_in[rows], performance), sums.performance(1.0 - is_in[rows], performance)
        for places, mine, other in ((rows, *halves), (count - 1 - rows, *halves[::-1])):
            best = np.argmax(mine, axis=1)
            take = np.arange(len(best))
            inner[places], outer[places] = mine[take, best], other[take, best]
            logits[places] = _logits(other, other[take, best], trials)
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        in_sample=inner,
        out_of_sample=outer,
        degradation=_slope(inner, outer),
        loss_probability=float(np.mean(outer < 0.0)),
        trials=trials,
        periods=periods,
        blocks=blocks,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _BlockSums:
    """Sums by block of centred returns and their squares, (blocks, trials); `centre` (trials,), `sizes` (blocks,)."""

    sums: Float64
    squares: Float64
    sizes: Float64
    centre: Float64
    floor: Float64

    @classmethod
    def of(cls, by_trial: Float64, bounds: Int64) -> _BlockSums:
        centre = by_trial.mean(axis=1)
        centred = by_trial - centre[:, None]
        starts = bounds[:-1]
        sums = np.add.reduceat(centred, starts, axis=1).T
        squares = np.add.reduceat(centred**2, starts, axis=1).T
        # What is left of the variance of equal numbers after rounding.
        floor = (1e-13 * np.maximum(np.abs(by_trial).max(axis=1), 1e-300)) ** 2
        return cls(np.ascontiguousarray(sums), np.ascontiguousarray(squares), np.diff(bounds) * 1.0, centre, floor)

    def performance(self, weights: Float64, performance: Performance) -> Float64:
        """Return (c, trials) the performance over the blocks with a weight of 1 in each of the c rows."""
        count = (weights @ self.sizes)[:, None]
        centred = (weights @ self.sums) / count
        mean = centred + self.centre
        if performance is Performance.MEAN:
            return mean
        variance = (weights @ self.squares - count * centred**2) / (count - 1.0)
        varies = variance > self.floor
        result: Float64 = np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
        return result


def _logits(performances: Float64, chosen: Float64, trials: int) -> Float64:
    """Return ln(w / (1 - w)) of the chosen trial of each row; ties share their mean rank."""
    below = (performances < chosen[:, None]).sum(axis=1)
    equal = (performances == chosen[:, None]).sum(axis=1)
    # rank = below + (equal + 1) / 2, in halves so that the median gives exactly 0
    twice = 2 * below + equal + 1
    return np.array([math.log(rank / (2 * (trials + 1) - rank)) for rank in twice.tolist()])


def _slope(inner: Float64, outer: Float64) -> float | None:
    centred = inner - inner.mean()
    spread = float(centred @ centred)
    return (
        float(centred @ (outer - outer.mean())) / spread if spread > 1e-24 * max(float(inner @ inner), 1e-300) else None
    )
