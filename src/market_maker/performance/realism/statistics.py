"""Statistics of series: autocorrelation, tails, clustering, survival. Pure functions of arrays, each with its source.

NaN in a series means "not known then" and is left out, with every pair that has one. A statistic without enough data is None.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.performance.figures import Float64, Int64

LEAST = 30
"""Observations below which no statistic is given."""


def known(values: Float64) -> Float64:
    """Return the values that are not NaN."""
    found: Float64 = values[~np.isnan(values)]
    return found


def correlation(xs: Float64, ys: Float64) -> float | None:
    """Return Pearson's correlation of the pairs that are known; None with fewer than LEAST or without variation."""
    good = ~(np.isnan(xs) | np.isnan(ys))
    if good.sum() < LEAST:
        return None
    x, y = xs[good] - xs[good].mean(), ys[good] - ys[good].mean()
    spread = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / spread if spread > 0.0 else None


def autocorrelation(values: Float64, lags: Int64) -> Float64 | None:
    """Return the sum of products of deviations at each lag over their sum of squares, (m,); None with too few values.

    As statsmodels' `acf` with ``missing="conservative"``. Lags beyond a third of the series are refused: None.
    Source: Box and Jenkins (1976), equation 2.1.13.
    """
    good = ~np.isnan(values)
    if good.sum() < LEAST or 3 * int(lags.max()) > len(values):
        return None
    centred = np.where(good, values - values[good].mean(), 0.0)
    total = float(centred @ centred)
    if total <= 0.0:
        return None
    return np.array([float(centred[lag:] @ centred[: len(centred) - lag]) for lag in lags.tolist()]) / total


def excess_kurtosis(values: Float64) -> float | None:
    """Return m4 / m2^2 - 3 with moments of 1/n; None with fewer than LEAST values or without variation."""
    return _standard_moment(values, 4, 3.0)


def skewness(values: Float64) -> float | None:
    """Return m3 / m2^(3/2) with moments of 1/n; None with fewer than LEAST values or without variation."""
    return _standard_moment(values, 3, 0.0)


def _standard_moment(values: Float64, power: int, normal: float) -> float | None:
    row = known(values)
    if len(row) < LEAST:
        return None
    centred = row - row.mean()
    second = float(np.mean(centred**2))
    return float(np.mean(centred**power)) / second ** (power / 2) - normal if second > 0.0 else None


def hill_index(values: Float64, share: float = 0.05) -> float | None:
    """Return the tail index of |values|: one over the mean of ln(x / x_0) over the largest, x_0 the next one.

    Parameters
    ----------
    share : of the values that are not 0 that count as the tail; fewer than 10 of them: None

    Notes
    -----
    Source: Hill (1975), Annals of Statistics 3(5), equation 2.3.
    """
    sizes = np.abs(known(values))
    sizes = np.sort(sizes[sizes > 0.0])[::-1]
    count = int(share * len(sizes))
    if count < 10:
        return None
    mean = float(np.mean(np.log(sizes[:count] / sizes[count])))
    return 1.0 / mean if mean > 0.0 else None


def power_exponent(lags: Int64, values: Float64) -> float | None:
    """Return g of values ~ lag^-g by least squares of logarithms; None unless 5 and more than half are positive."""
    good = values > 0.0
    if good.sum() < 5 or 2 * good.sum() <= len(values):
        return None
    x = np.log(lags[good])
    x -= x.mean()
    return -float(x @ np.log(values[good])) / float(x @ x)


def fano_factor(counts: Float64) -> float | None:
    """Return variance over mean of counts (1/n); 1 for a Poisson process. None with fewer than 10 or without any."""
    if len(counts) < 10 or counts.mean() <= 0.0:
        return None
    return float(counts.var() / counts.mean())


def variation(values: Float64) -> float | None:
    """Return standard deviation over mean (1/n); 1 for waiting times of a Poisson process."""
    if len(values) < LEAST or values.mean() <= 0.0:
        return None
    return float(values.std() / values.mean())


def variance_ratios(log_mids: Float64, lags: Int64) -> Float64 | None:
    """Return the mean square of changes over each lag divided by the lag, over that of the first lag: flat for a diffusion.

    Parameters
    ----------
    log_mids : (n,) on a grid, NaN unknown; overlapping changes are used
    lags : (m,) increasing; the last one at most a third of the grid
    """
    if 3 * int(lags.max()) > len(log_mids):
        return None
    found = np.empty(len(lags))
    for i, lag in enumerate(lags.tolist()):
        changes = known(log_mids[lag:] - log_mids[:-lag])
        if len(changes) < LEAST:
            return None
        found[i] = float(np.mean(changes**2)) / lag
    return found / found[0] if found[0] > 0.0 else None


def survival(waits: Float64, is_ended: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """Return the times at which something ended and the share that lasts longer, with censored waits (Kaplan and Meier).

    Source: Kaplan and Meier (1958), J. American Statistical Association 53(282).
    """
    times, place = np.unique(waits, return_inverse=True)
    ended = np.bincount(place, weights=is_ended, minlength=len(times))
    left = np.bincount(place, minlength=len(times))
    at_risk = len(waits) - np.concatenate([[0], np.cumsum(left)[:-1]])
    shares = np.cumprod(1.0 - ended / at_risk)
    return times[ended > 0], shares[ended > 0]
