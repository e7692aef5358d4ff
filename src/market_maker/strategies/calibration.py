"""Volatility and trading intensity of a recorded stretch, with standard errors: the offline form of `market_estimates`.

Model: the mid is a Brownian motion with sigma ticks per square root of a second; market orders of one side reach the
distance d from the mid at the beginning of an interval as a Poisson process of intensity A exp(-k d) (Avellaneda and
Stoikov 2008, section 2.5). Pure NumPy: knows no feed, no file and no strategy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest

INTERVALS_MIN = 100
DISTANCES_MIN, DISTANCES_MAX = 3, 400
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a recorded stretch says about the model, each figure with its standard error.

    Parameters
    ----------
    volatility, volatility_error : sigma, ticks per square root of a second
    intensity, intensity_error : A, market orders per second and side
    intensity_decay, intensity_decay_error : k, per tick
    intervals : intervals with a mid at both ends
    arrivals : intervals and sides with a market order
    distances_ticks, rates_per_s : (m,) float64, the points that were fitted: rate at which a distance was reached
    """

    volatility: float
    volatility_error: float
    intensity: float
    intensity_error: float
    intensity_decay: float
    intensity_decay_error: float
    intervals: int
    arrivals: int
    distances_ticks: NDArray[np.float64]
    rates_per_s: NDArray[np.float64]


def calibrate(
    *,
    mid_ts: NDArray[np.int64],
    mid_ticks: NDArray[np.float64],
    trade_ts: NDArray[np.int64],
    trade_ticks: NDArray[np.int64],
    trade_side: NDArray[np.int64],
    interval_ns: int = 100_000_000,
    depth_step_ticks: float = 1.0,
    reached_min: int = 10,
) -> Calibration:
    """Estimate sigma, A and k.

    Time is cut into intervals of `interval_ns`, the time for which a quote would stand. A trade's distance is measured
    from the mid at the beginning of its interval; of an interval and a side the farthest one counts. A share p of
    intervals in which a distance was reached is a rate of -ln(1 - p) / interval.

    Parameters
    ----------
    mid_ts, mid_ticks : (n,) int64 ns, ascending, and float64: the mid from that instant on; NaN: no mid
    trade_ts, trade_ticks, trade_side : (m,) int64: instant ns, ascending, price, and side of the aggressor (1, -1)
    depth_step_ticks : distances are counted at 1, 2, ... 400 steps
    reached_min : a distance that fewer intervals reached is left out of the fit

    Returns
    -------
    Calibration
        Errors are asymptotic ones of independent intervals. That of sigma uses the moves' fourth moment, so that heavy
        tails show; those of A and k take into account that a far distance is reached only where a near one is.

    Raises
    ------
    InvalidRequest
        A setting out of range, columns of different lengths or times that go backwards.
    DataError
        Too little data: fewer than 100 intervals with a mid, or fewer than 3 distances reached often enough.
    """
    _check(mid_ts, mid_ticks, trade_ts, trade_ticks, trade_side, interval_ns, depth_step_ticks, reached_min)
    edges = np.arange(mid_ts[0], mid_ts[-1] + 1, interval_ns, dtype=np.int64)
    mids = mid_ticks[np.searchsorted(mid_ts, edges, side="right") - 1]
    moves = np.diff(mids)
    known = np.isfinite(moves)
    n = int(known.sum())
    if n < INTERVALS_MIN:
        raise DataError(f"{n} intervals of {interval_ns} ns with a mid at both ends; {INTERVALS_MIN} are needed")
    seconds = interval_ns / NS_PER_S
    volatility, volatility_error = _volatility(moves[known], seconds)
    farthest = _farthest(edges, mids, known, trade_ts, trade_ticks, trade_side)
    distances, shares = _reached(farthest, n, depth_step_ticks, reached_min)
    fit = _log_linear(distances, shares, 2 * n, seconds)
    return Calibration(
        volatility, volatility_error, *fit, intervals=n, arrivals=int(np.isfinite(farthest).sum()),
        distances_ticks=distances, rates_per_s=-np.log1p(-shares) / seconds,
    )  # fmt: skip


def _check(
    mid_ts: NDArray[np.int64],
    mid_ticks: NDArray[np.float64],
    trade_ts: NDArray[np.int64],
    trade_ticks: NDArray[np.int64],
    trade_side: NDArray[np.int64],
    interval_ns: int,
    depth_step_ticks: float,
    reached_min: int,
) -> None:
    if interval_ns < 1:
        raise InvalidRequest.of("interval_ns", interval_ns, "1 or more")
    if not 0.0 < depth_step_ticks < np.inf:
        raise InvalidRequest.of("depth_step_ticks", depth_step_ticks, "a finite number above 0")
    if reached_min < 1:
        raise InvalidRequest.of("reached_min", reached_min, "1 or more")
    if len(mid_ts) != len(mid_ticks):
        raise InvalidRequest.of("mid_ticks", len(mid_ticks), f"as many as mid_ts: {len(mid_ts)}")
    for name, column in (("trade_ticks", trade_ticks), ("trade_side", trade_side)):
        if len(column) != len(trade_ts):
            raise InvalidRequest.of(name, len(column), f"as many as trade_ts: {len(trade_ts)}")
    for name, column in (("mid_ts", mid_ts), ("trade_ts", trade_ts)):
        if np.any(np.diff(column) < 0):
            raise InvalidRequest.of(name, "times that go backwards", "ascending times")
    if len(mid_ts) == 0:
        raise DataError("no mid at all; a recording with a two-sided book is needed")


def _volatility(moves: NDArray[np.float64], seconds: float) -> tuple[float, float]:
    """Return sigma and its error: root of the mean squared move over time; error by the delta method."""
    squares = moves * moves
    variance = float(squares.mean()) / seconds
    if variance == 0.0:
        return 0.0, 0.0
    sigma = float(np.sqrt(variance))
    variance_error = float(squares.std(ddof=1)) / seconds / float(np.sqrt(len(moves)))
    return sigma, variance_error / (2.0 * sigma)


def _farthest(
    edges: NDArray[np.int64],
    mids: NDArray[np.float64],
    known: NDArray[np.bool_],
    trade_ts: NDArray[np.int64],
    trade_ticks: NDArray[np.int64],
    trade_side: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return (intervals, 2) the farthest distance that sellers and buyers reached; NaN without a trade of that side.

    A trade at an edge belongs to the interval before it: the mid at the edge already knows of it.
    """
    interval = np.searchsorted(edges, trade_ts, side="left") - 1
    inside = (interval >= 0) & (interval < len(known))
    inside[inside] = known[interval[inside]]
    interval, side = interval[inside], trade_side[inside]
    farthest = np.full((len(known), 2), -np.inf)
    np.maximum.at(farthest, (interval, (side > 0).astype(np.int64)), side * (trade_ticks[inside] - mids[interval]))
    farthest[np.isneginf(farthest)] = np.nan
    return farthest


def _reached(
    farthest: NDArray[np.float64], intervals: int, step: float, reached_min: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances that were reached often enough, and in which share of intervals and sides."""
    steps = np.floor(farthest[np.isfinite(farthest)] / step)
    ordered = np.sort(steps)
    # Beyond the reached_min-th farthest no distance counts.
    far = int(ordered[-reached_min]) if len(ordered) >= reached_min else 0
    distances = np.arange(1, min(far, DISTANCES_MAX) + 1, dtype=np.float64)
    reached = len(ordered) - np.searchsorted(ordered, distances, side="left")
    if len(distances) < DISTANCES_MIN:
        raise DataError(
            f"{len(distances)} distances of {step:g} ticks were reached {reached_min} times; {DISTANCES_MIN} are needed:"
            " take a longer stretch or smaller steps"
        )
    # Reached in every interval, a rate has no upper bound: as if half an interval had been without.
    return distances * step, np.minimum(reached, 2 * intervals - 0.5) / (2 * intervals)


def _log_linear(
    distances: NDArray[np.float64], shares: NDArray[np.float64], n: int, seconds: float
) -> tuple[float, float, float, float]:
    """Return A, its error, k, its error of log rate = log A - k distance by weighted least squares.

    With p the share of a distance, a = -ln(1 - p) and g = 1 / ((1 - p) a), the derivative of ln a: shares of distances
    x <= y have the covariance p_y (1 - p_x) / n, since y is reached only where x is, and log rates g_x g_y times that.
    Weights are the inverse variances; the errors are those of that estimator under the whole covariance.
    """
    expected = -np.log1p(-shares)
    slope = 1.0 / ((1.0 - shares) * expected)
    nearer, farther = np.maximum.outer(shares, shares), np.minimum.outer(shares, shares)
    covariance = np.outer(slope, slope) * farther * (1.0 - nearer) / n
    weights = 1.0 / np.diag(covariance)
    design = np.column_stack([np.ones_like(distances), -distances])
    inverse = np.linalg.inv(design.T @ (weights[:, None] * design))
    projection = inverse @ (design.T * weights)
    log_a, decay = projection @ np.log(expected / seconds)
    errors = np.sqrt(np.diag(projection @ covariance @ projection.T))
    intensity = float(np.exp(log_a))
    return intensity, intensity * float(errors[0]), float(decay), float(errors[1])
