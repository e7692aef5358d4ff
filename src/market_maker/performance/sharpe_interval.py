"""How sure a Sharpe ratio is when returns depend on each other: a HAC interval and a block bootstrap. Statistics only.

Chance is handed in as a generator; the same one gives the same interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.figures import (
    Float64,
    Interval,
    checked_confidence,
    checked_row,
    moments,
    normal_quantile,
)

LEAST_RETURNS = 20
"""With fewer returns an interval would be a guess; none is given."""

_BLOCKS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True)
class BootstrapInterval:
    """A bootstrapped interval, and the share of draws at or below zero (None where undefined)."""

    interval: Interval
    share_not_positive: float | None


def newey_west_lags(observations: int) -> int:
    """Return floor(4 (n / 100)^(2/9)), the usual number of lags for the Bartlett kernel.

    Source: Newey and West (1994), "Automatic lag selection in covariance matrix estimation", Rev. Econ. Studies 61(4),
    table II.
    """
    return int(4.0 * (observations / 100.0) ** (2.0 / 9.0))


def long_run_variance(values: ArrayLike, lags: int) -> float:
    """Return the Newey-West variance of sqrt(n) x mean, Bartlett weights 1 - k / (lags + 1).

    Parameters
    ----------
    values : (n,) numbers, n >= 1; centred here
    lags : 0 or more; beyond n - 1 none is left to count

    Notes
    -----
    Autocovariances with 1/n, so that the result is not negative. O(n x lags).
    Source: Newey and West (1987), Econometrica 55(3), equation 5.
    """
    row = checked_row(values, "long-run variance", least=1)
    if lags < 0:
        raise InvalidRequest.of("lags", lags, "0 or more")
    centred = row - row.mean()
    variance = float(centred @ centred)
    for lag in range(1, min(lags, row.size - 1) + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(centred[lag:] @ centred[:-lag])
    return max(variance, 0.0) / row.size


def hac_interval(
    returns: ArrayLike, periods_per_year: float, *, confidence: float = 0.95, lags: int | None = None
) -> Interval:
    """Return the annualised Sharpe ratio with an interval that allows for autocorrelation and fat tails.

    Parameters
    ----------
    returns : (n,) simple returns of one period each
    periods_per_year : of the sampling clock
    confidence : in (0, 1)
    lags : of the Bartlett kernel; default `newey_west_lags`

    Notes
    -----
    Delta method: SR is a function of mean m and second moment g of the returns, and sqrt(n) (SR - true) is as variable as
    the mean of z_t = (r_t - m) g / s^3 - (r_t^2 - g) m / (2 s^3), s^2 = g - m^2. The long-run variance of z is that of
    Newey and West. The interval is symmetric, with the normal quantile.
    Undefined with fewer than 20 returns or without variation; NaN raises DataError.
    Source: Lo (2002), "The statistics of Sharpe ratios", Financial Analysts Journal 58(4), equation 19;
    Ledoit and Wolf (2008), J. Empirical Finance 15(5), section 3.1.
    """
    checked_confidence(confidence)
    row = checked_row(returns, "Sharpe interval")
    used = newey_west_lags(row.size) if lags is None else lags
    method = f"HAC, Bartlett kernel, {used} lags"
    known = moments(row)
    if known is None or row.size < LEAST_RETURNS:
        return Interval(None, None, None, confidence, method, _too_little(row.size))
    second = float(np.mean(row**2))
    spread = (second - known.mean**2) ** 1.5
    influence = ((row - known.mean) * second - 0.5 * known.mean * (row**2 - second)) / spread
    error = math.sqrt(long_run_variance(influence, used) / row.size)
    scale = math.sqrt(periods_per_year)
    estimate = known.mean / known.deviation
    reach = normal_quantile(0.5 + confidence / 2.0) * error
    return Interval(estimate * scale, (estimate - reach) * scale, (estimate + reach) * scale, confidence, method)


def block_length(values: ArrayLike) -> float:
    """Return the mean block length of the stationary bootstrap, chosen from the data.

    Parameters
    ----------
    values : (n,) numbers, n >= 20, that vary

    Returns
    -------
    float
        In observations, from 1 to ceil(min(3 sqrt(n), n / 3)).

    Notes
    -----
    b = (2 G^2 / D)^(1/3) n^(1/3) with the flat-top kernel, D = 2 g(0)^2 as corrected in 2009. The bandwidth is twice the
    last lag that is followed by K = max(5, floor(sqrt(log10 n))) lags below 2 sqrt(log10 n / n).
    Source: Politis and White (2004), Econometric Reviews 23(1), section 3.2; Patton, Politis and White (2009), 28(4).
    """
    row = checked_row(values, "block length", least=LEAST_RETURNS)
    count = row.size
    centred = row - row.mean()
    quiet = max(5, int(math.sqrt(math.log10(count))))
    lags_max = min(math.ceil(math.sqrt(count)) + quiet, count - 1)
    covariance = np.array([float(centred[lag:] @ centred[: count - lag]) for lag in range(lags_max + 1)]) / count
    if covariance[0] <= 0.0:
        raise InvalidRequest.of("values", float(row[0]), "numbers that vary")
    loud = np.abs(covariance[1:] / covariance[0]) >= 2.0 * math.sqrt(math.log10(count) / count)
    bandwidth = min(2 * max(_last_loud_lag(loud, quiet), 1), lags_max)
    lag = np.arange(1, bandwidth + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lag / bandwidth))
    kept = covariance[1 : bandwidth + 1]
    g_sum = 2.0 * float(np.sum(weight * lag * kept))
    spectrum = float(covariance[0]) + 2.0 * float(np.sum(weight * kept))
    longest = float(math.ceil(min(3.0 * math.sqrt(count), count / 3.0)))
    if spectrum == 0.0:
        return longest
    return min(max(math.cbrt((g_sum / spectrum) ** 2 * count), 1.0), longest)


def bootstrap_interval(
    returns: ArrayLike,
    periods_per_year: float,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    draws: int = 2000,
    mean_block: float | None = None,
) -> BootstrapInterval:
    """Return the annualised Sharpe ratio with the percentile interval of the stationary bootstrap.

    Parameters
    ----------
    returns : (n,) simple returns of one period each
    periods_per_year : of the sampling clock
    rng : source of chance
    confidence : in (0, 1)
    draws : resampled series, at least 100
    mean_block : mean length of a block, at least 1; default `block_length` of the returns

    Notes
    -----
    A resampled series is made of blocks that begin anywhere and have geometric lengths; the sample is a circle. Only sums
    of returns and of their squares are needed, and those of a block are differences of running sums: the cost is that of
    the blocks, O(n + draws x n / block). A draw without variation counts as 0.
    Undefined with fewer than 20 returns or without variation; NaN raises DataError.
    Source: Politis and Romano (1994), "The stationary bootstrap", J. American Statistical Association 89(428).
    """
    checked_confidence(confidence)
    if draws < 100 or (mean_block is not None and mean_block < 1.0):
        raise InvalidRequest.of("draws", (draws, mean_block), "at least 100 draws, and a mean block of at least 1")
    row = checked_row(returns, "Sharpe interval")
    known = moments(row)
    if known is None or row.size < LEAST_RETURNS:
        reason = _too_little(row.size)
        return BootstrapInterval(Interval(None, None, None, confidence, "stationary bootstrap", reason), None)
    length = block_length(row) if mean_block is None else mean_block
    scale = math.sqrt(periods_per_year)
    ratios = _resampled_ratios(row, length, draws, rng) * scale
    low, high = np.quantile(ratios, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    method = f"stationary bootstrap, {draws} draws, mean block {length:.4g}, percentiles"
    estimate = known.mean / known.deviation * scale
    interval = Interval(estimate, float(low), float(high), confidence, method)
    return BootstrapInterval(interval, float(np.mean(ratios <= 0.0)))


def _resampled_ratios(row: Float64, length: float, draws: int, rng: np.random.Generator) -> Float64:
    """Return (draws,) Sharpe ratios per period of resampled series."""
    count = row.size
    # Centred, so that squares do not drown in the mean; twice around, so that a block may run over the end.
    centre = float(row.mean())
    twice = np.concatenate([row, row]) - centre
    sums = np.concatenate([[0.0], np.cumsum(twice)])
    squares = np.concatenate([[0.0], np.cumsum(twice**2)])
    expected = count / length
    blocks = min(count, int(expected + 6.0 * math.sqrt(expected) + 10.0))
    ratios = np.empty(draws)
    step = max(1, _BLOCKS_AT_ONCE // blocks)
    for first in range(0, draws, step):
        part = min(step, draws - first)
        ends = np.cumsum(np.minimum(rng.geometric(1.0 / length, (part, blocks)), count), axis=1)
        while ends[:, -1].min() < count:
            more = np.minimum(rng.geometric(1.0 / length, (part, blocks)), count)
            ends = np.concatenate([ends, ends[:, -1:] + np.cumsum(more, axis=1)], axis=1)
        ends = np.minimum(ends, count)
        lengths = np.diff(ends, axis=1, prepend=0)
        starts = rng.integers(0, count, ends.shape)
        total = (sums[starts + lengths] - sums[starts]).sum(axis=1)
        square = (squares[starts + lengths] - squares[starts]).sum(axis=1)
        mean = total / count
        variance = np.maximum(square - count * mean**2, 0.0) / (count - 1)
        flat = variance <= 1e-24 * max(float(squares[count]) / count, 1e-300)
        deviation = np.sqrt(np.where(flat, 1.0, variance))
        ratios[first : first + part] = np.where(flat, 0.0, (mean + centre) / deviation)
    return ratios


def _last_loud_lag(loud: np.ndarray[tuple[int], np.dtype[np.bool_]], quiet: int) -> int:
    """Return the smallest lag m such that lags m + 1 .. m + quiet are all quiet; the last loud lag when there is none."""
    steps = np.concatenate([[0], np.cumsum(loud)])
    silent = np.flatnonzero(steps[quiet:] == steps[:-quiet])
    if silent.size:
        return int(silent[0])
    return int(np.flatnonzero(loud)[-1]) + 1


def _too_little(count: int) -> str:
    if count < LEAST_RETURNS:
        return f"{count} returns; at least {LEAST_RETURNS} are needed"
    return "the returns do not vary"
