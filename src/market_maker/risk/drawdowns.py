"""Drawdown at risk: how deep and how long a series of profits stood below its best.

The single falls are those of `performance.drawdown`; this adds the figures that take every moment into account.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError
from market_maker.performance.drawdown import max_drawdown, time_under_water
from market_maker.performance.figures import Float64
from market_maker.risk.results import Basis, ScalingRule
from market_maker.risk.samples import checked_sample
from market_maker.risk.scaling import Growth
from market_maker.risk.tails import Convention, minimum_observations, tail_figures


@dataclass(frozen=True, slots=True)
class DrawdownRisk:
    """Figures of the falls of one series.

    Parameters
    ----------
    deepest : the deepest fall; with `COMPOUND` a share of the peak, else in the unit of the profits
    deepest_duration : observations from its peak to the recovery, or to the end without one
    longest_duration : of the longest stretch below a peak
    average : mean of all n falls, those at a peak counted as 0
    ulcer : root of the mean square of all n falls
    drawdown_at_risk, conditional : value at risk and expected shortfall (CDaR) of the n falls
    share_under_water : of the observations
    basis : with the confidence of the two
    """

    deepest: float
    deepest_duration: int
    longest_duration: int
    average: float
    ulcer: float
    drawdown_at_risk: float
    conditional: float
    share_under_water: float
    basis: Basis


def drawdowns(returns: ArrayLike, growth: Growth = Growth.ADD) -> Float64:
    """Return (n,) falls from the best so far, not negative; what was there before the first observation is a peak too.

    Parameters
    ----------
    returns : (n,) finite, oldest first, n >= 1
    growth : ADD: falls of the running sum, in its unit; COMPOUND: of the value of 1, as shares of the peak

    Examples
    --------
    >>> drawdowns([1.0, -3.0, 1.0])
    array([0., 3., 2.])
    """
    value = _path(checked_sample(returns, "drawdown"), growth)
    peak = np.maximum.accumulate(value)
    falls = 1.0 - value / peak if growth is Growth.COMPOUND else peak - value
    return falls[1:]


def drawdown_risk(
    returns: ArrayLike,
    confidence: float | Decimal,
    growth: Growth = Growth.ADD,
    *,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> DrawdownRisk:
    """Return the drawdown figures of a series.

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first
    confidence : in (0, 1), of drawdown at risk and its conditional mean
    growth, convention : see `drawdowns` and `tails.Convention`

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1).
    DataError
        Not finite, too few observations, or a compounded return of -1 or less, after which nothing is left to fall.

    Notes
    -----
    CDaR is the expected shortfall of Acerbi and Tasche of the falls. The Ulcer index divides by n (some divide by n - 1).
    Source: Chekhlov, Uryasev and Zabarankin (2005), "Drawdown measure in portfolio optimization", IJTAF 8(1);
    Martin and McCann (1989), "The Investor's Guide to Fidelity Funds".
    """
    row = checked_sample(returns, "drawdown", minimum_observations(confidence))
    path = _path(row, growth)
    falls = drawdowns(row, growth)
    tail = tail_figures(falls, confidence, convention)
    # A share of the peak falls deepest where the logarithm does.
    deepest = max_drawdown(np.log(path) if growth is Growth.COMPOUND else path)
    below = time_under_water(path)
    return DrawdownRisk(
        deepest=float(falls.max()),
        deepest_duration=deepest.duration,
        longest_duration=below.longest,
        average=float(falls.mean()),
        ulcer=math.sqrt(float(np.mean(falls * falls))),
        drawdown_at_risk=tail.value_at_risk,
        conditional=tail.expected_shortfall,
        share_under_water=float(np.mean(falls > 0.0)),
        basis=Basis(
            model="historical",
            convention=f"{convention.value}, {growth.value}",
            confidence=float(confidence),
            horizon_ns=None,
            interval_ns=None,
            scaling=ScalingRule.NONE,
            scale=1.0,
            observations=row.size,
        ),
    )


def _path(row: Float64, growth: Growth) -> Float64:
    """Return (n + 1,) values, the first before any observation."""
    if growth is Growth.COMPOUND:
        bad = np.flatnonzero(row <= -1.0)
        if bad.size:
            raise DataError(f"drawdown: return {row[bad[0]]} at index {bad[0]} loses all; add profits up instead")
        with np.errstate(over="ignore", under="ignore"):
            value = np.concatenate([[1.0], np.cumprod(1.0 + row)])
        if not (np.isfinite(value).all() and value.min() > 0.0):
            raise DataError(
                f"drawdown: {row.size} compounded returns leave the range of numbers; add profits up instead"
            )
        return value
    return np.concatenate([[0.0], np.cumsum(row)])
