"""Returns of a sampled equity curve and the ratios made of them; statistics only, no money leaves as a float.

Owns the sampling clock: ratios of one run are taken at one fixed interval, never per trade, and say which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.drawdown import relative_drawdown
from market_maker.performance.figures import Figure, Float64, Int64, checked_row, moments

YEAR_NS = 365 * 86_400 * 1_000_000_000
"""A year of a market that never closes; the annualisation states it."""

CLOCKS_NS = tuple(seconds * NS_PER_SECOND for seconds in (3600, 900, 300, 60, 10, 1))
"""Sampling clocks from which one is chosen, coarsest first: an hour where the run is long enough."""

WANTED_RETURNS = 100


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


@dataclass(frozen=True, slots=True)
class ReturnFigures:
    """The ratios of one run on one sampling clock.

    Parameters
    ----------
    sharpe : with its clock, annualisation and number of returns
    sortino, calmar : annualised as `sortino_ratio` and `calmar_ratio` say
    annual_return : mean return x periods per year
    annual_volatility : standard deviation (n - 1) x sqrt(periods per year)
    skewness, kurtosis : of the returns; kurtosis is 3 for the normal law
    """

    sharpe: Sharpe
    sortino: Figure
    calmar: Figure
    annual_return: Figure
    annual_volatility: Figure
    skewness: Figure
    kurtosis: Figure


def sampling_clock_ns(span_ns: int, least_ns: int = 0, wanted: int = WANTED_RETURNS) -> int:
    """Return the coarsest of `CLOCKS_NS` with `wanted` intervals in the span, the finest allowed when none has.

    Parameters
    ----------
    span_ns : length of the run
    least_ns : interval of the run's samples: no clock is finer; where all are, it is the clock
    """
    allowed = [clock for clock in CLOCKS_NS if clock >= least_ns and not (least_ns and clock % least_ns)]
    fitting = [clock for clock in allowed if span_ns >= wanted * clock]
    return fitting[0] if fitting else (allowed[-1] if allowed else least_ns)


def on_clock(ts: Int64, values: Int64, interval_ns: int) -> Int64:
    """Return the values at the instants of a clock: ts[0], ts[0] + interval, ... up to ts[-1].

    Parameters
    ----------
    ts : (n,) int64, ns, not decreasing; n >= 1
    values : (n,) known from its instant on: between two, the earlier holds
    interval_ns : positive

    Raises
    ------
    InvalidRequest
        No values, or an interval that is not positive.
    """
    if interval_ns <= 0 or not len(ts):
        raise InvalidRequest.of("interval_ns", interval_ns, "a positive interval and at least one sample")
    clock = np.arange(int(ts[0]), int(ts[-1]) + 1, interval_ns)
    return values[np.searchsorted(ts, clock, side="right") - 1]


def simple_returns(equity: ArrayLike) -> Float64 | None:
    """Return (n - 1,) value / value before - 1; None when a value is not positive, NaN raises DataError."""
    values = checked_row(equity, "returns")
    if np.any(values <= 0):
        return None
    return np.diff(values) / values[:-1]


def sortino_ratio(returns: ArrayLike, periods_per_year: float, target: float = 0.0) -> Figure:
    """Return (mean - target) / downside deviation x sqrt(periods per year).

    Parameters
    ----------
    returns : (n,) simple returns of one period each
    periods_per_year : of the sampling clock
    target : return of a period below which a return counts as downside

    Notes
    -----
    The downside deviation is sqrt(mean(min(r - target, 0)^2)) over all n returns, those above the target counted as 0.
    (To average over the losing returns alone makes a strategy that seldom loses look bad.) Undefined: fewer than two
    returns, none below the target. NaN raises DataError.
    Source: Sortino and Price (1994), "Performance measurement in a downside risk framework", Journal of Investing 3(3).
    """
    values = checked_row(returns, "Sortino ratio") - target
    if values.size < 2:
        return Figure(None, f"{values.size} returns; at least 2 are needed")
    downside = math.sqrt(float(np.mean(np.minimum(values, 0.0) ** 2)))
    if downside == 0.0:
        return Figure(None, "no return was below the target")
    return Figure(float(values.mean()) / downside * math.sqrt(periods_per_year))


def calmar_ratio(equity: ArrayLike, periods_per_year: float) -> Figure:
    """Return the compound annual return over the deepest fall as a share of its peak.

    Parameters
    ----------
    equity : (n,) positive values at one sampling clock
    periods_per_year : of that clock

    Notes
    -----
    Compound annual return = (last / first)^(periods per year / (n - 1)) - 1. Undefined: fewer than two values, equity not
    positive, no fall, or a run so short that its return compounded to a year has no meaning as a number (above 1e6).
    Source: Young (1991), "Calmar ratio: a smoother tool", Futures 20(1); here over the run, not 36 months.
    """
    values = checked_row(equity, "Calmar ratio")
    if values.size < 2:
        return Figure(None, f"{values.size} values; at least 2 are needed")
    if np.any(values <= 0):
        return Figure(None, "equity was zero or negative, so that returns have no meaning")
    fall = relative_drawdown(values)
    if fall == 0.0:
        return Figure(None, "the equity never fell")
    growth = math.log(values[-1] / values[0]) * periods_per_year / (values.size - 1)
    if growth > math.log(1e6):
        return Figure(None, "the run is too short: its return compounded to a year is above a million")
    return Figure(math.expm1(growth) / fall)


def return_figures(equity: ArrayLike, *, interval_ns: int, year_ns: int = YEAR_NS) -> ReturnFigures:
    """Return all ratios of an equity curve sampled every `interval_ns`; arguments as `sharpe_ratio`."""
    sharpe = sharpe_ratio(equity, interval_ns=interval_ns, year_ns=year_ns)
    periods = sharpe.periods_per_year
    returns = simple_returns(equity)
    known = None if returns is None else moments(returns)
    if returns is None or known is None:
        nothing = Figure(None, sharpe.reason)
        return ReturnFigures(sharpe, nothing, nothing, nothing, nothing, nothing, nothing)
    return ReturnFigures(
        sharpe=sharpe,
        sortino=sortino_ratio(returns, periods),
        calmar=calmar_ratio(equity, periods),
        annual_return=Figure(known.mean * periods),
        annual_volatility=Figure(known.deviation * math.sqrt(periods)),
        skewness=Figure(known.skewness),
        kurtosis=Figure(known.kurtosis),
    )
