"""Returns and the Sharpe ratio of a sampled equity curve; statistics only, no money leaves as a float."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError

YEAR_NS = 365 * 86_400 * 1_000_000_000
"""A year of a market that never closes; the annualisation states it."""


@dataclass(frozen=True, slots=True)
class Sharpe:
    """A Sharpe ratio with what is needed to read it.

    `ratio` is None when it is undefined, and `reason` then says why. `interval_ns` is the sampling clock,
    `periods_per_year` what it was annualised by, `observations` the number of returns.
    """

    ratio: float | None
    reason: str | None
    interval_ns: int
    periods_per_year: float
    observations: int


def sharpe_ratio(equity: ArrayLike, *, interval_ns: int, year_ns: int = YEAR_NS) -> Sharpe:
    """Return the annualised Sharpe ratio of simple returns of `equity` sampled every `interval_ns`.

    Parameters
    ----------
    equity : (n,) positive values in any unit, evenly sampled
    interval_ns : the sampling interval
    year_ns : length of a trading year in ns; default 365 days of 24 hours

    Notes
    -----
    mean / standard deviation (n - 1) x sqrt(year / interval); risk-free rate 0; no correction for
    autocorrelation. Undefined (None with a reason): fewer than 2 returns, no variation, equity not positive.
    NaN or infinite values raise DataError.
    Source: Sharpe (1994), "The Sharpe ratio", Journal of Portfolio Management 21(1).
    """
    values = np.asarray(equity, dtype=np.float64)
    if values.ndim != 1 or not np.all(np.isfinite(values)):
        raise DataError("Sharpe ratio: equity must be one row of finite values")
    periods = year_ns / interval_ns
    observations = max(0, len(values) - 1)

    def undefined(reason: str) -> Sharpe:
        return Sharpe(None, reason, interval_ns, periods, observations)

    if observations < 2:
        return undefined(f"{observations} returns; at least 2 are needed")
    if np.any(values <= 0):
        return undefined("equity was zero or negative, so that returns have no meaning")
    returns = np.diff(values) / values[:-1]
    deviation = float(np.std(returns, ddof=1))
    if deviation <= 1e-15 * max(1.0, float(np.max(np.abs(returns)))):
        return undefined("the returns do not vary")
    return Sharpe(float(np.mean(returns)) / deviation * math.sqrt(periods), None, interval_ns, periods, observations)
