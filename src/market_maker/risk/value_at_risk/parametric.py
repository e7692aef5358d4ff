"""Figures from a fitted law: normal, Student t, Cornish-Fisher, and normal with a volatility that changes.

Returns are profits, oldest first; figures are losses. Over a longer horizon means grow with time, deviations with its root.
"""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64, moments
from market_maker.risk.laws import (
    fit_student,
    normal_density,
    normal_tail,
    student_tail,
    upper_quantile,
)
from market_maker.risk.results import Basis, ScalingRule, TailRisk
from market_maker.risk.samples import checked_varying
from market_maker.risk.scaling import Horizon, Prepared, prepare
from market_maker.risk.tails import tail_share_of
from market_maker.risk.volatility import DECAY, GARCH_LEAST, fit_garch, weighted_variances

CORNISH_FISHER_REACH = 1000
"""The expansion has to rise up to the loss that only one in so many of the tail exceeds."""


def normal(returns: ArrayLike, confidence: float | Decimal, horizon: Horizon) -> TailRisk:
    """Return the figures of the normal law with the sample's mean and deviation (n - 1).

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first; they must vary
    confidence : in (0, 1)
    horizon : what the figure is about

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1).
    DataError
        Not finite, too few or constant observations.

    Notes
    -----
    VaR = -mean + s z, ES = -mean + s density(z) / (1 - c).
    """
    data = _prepared(returns, horizon, confidence, "normal")
    mean, deviation = float(data.values.mean()), float(data.values.std(ddof=1))
    quantile, shortfall = normal_tail(float(tail_share_of(confidence)))
    parameters = (("mean", mean), ("deviation", deviation))
    basis = _basis("normal", "mean and deviation (n - 1) of the sample", data, confidence, horizon, parameters)
    return _located(-mean, deviation, quantile, shortfall, data, basis)


def student_t(
    returns: ArrayLike, confidence: float | Decimal, horizon: Horizon, *, degrees: float | None = None
) -> TailRisk:
    """Return the figures of Student's t; arguments and errors as `normal`.

    Parameters
    ----------
    degrees : degrees of freedom, above 2: mean and variance are then the sample's, the scale s sqrt((nu - 2) / nu).
        None (default): location, scale and degrees of greatest likelihood, degrees at most 1000

    Notes
    -----
    ES = f(q) / (1 - c) x (nu + q^2) / (nu - 1). A sum of t laws is no t law: the square root of time, which keeps the
    degrees, is then a convention.
    """
    data = _prepared(returns, horizon, confidence, "Student t")
    if degrees is None:
        fit = fit_student(data.values, "Student t")
        location, scale, degrees, convention = fit.location, fit.scale, fit.degrees, "greatest likelihood"
    else:
        if not 2.0 < degrees < math.inf:
            raise InvalidRequest.of("degrees", degrees, "a finite number above 2")
        location = float(data.values.mean())
        scale = float(data.values.std(ddof=1)) * math.sqrt((degrees - 2.0) / degrees)
        convention = "given degrees, variance (n - 1) of the sample"
    quantile, shortfall = student_tail(float(tail_share_of(confidence)), degrees)
    parameters = (("location", location), ("scale", scale), ("degrees", degrees))
    basis = _basis("student_t", convention, data, confidence, horizon, parameters)
    return _located(-location, scale, quantile, shortfall, data, basis)


def cornish_fisher(returns: ArrayLike, confidence: float | Decimal, horizon: Horizon) -> TailRisk:
    """Return the figures of the Cornish-Fisher expansion; arguments and errors as `normal`.

    Raises
    ------
    DataError
        Also where the expansion is not valid, naming skewness and kurtosis.

    Notes
    -----
    w = z + (z^2 - 1) S / 6 + (z^3 - 3 z) K / 24 - (2 z^3 - 5 z) S^2 / 36 with the skewness S of losses and the excess
    kurtosis K. w(z) has to rise between the two quantiles at c and 1 - c and further up to the one that a thousandth of the
    tail exceeds; else larger losses of the normal law would become smaller ones. ES is the integral of w over the tail:
    density(z) / (1 - c) x (1 + z S / 6 + (z^2 - 1) K / 24 - (2 z^2 - 1) S^2 / 36).
    Source: Cornish and Fisher (1938); Maillard (2012), "A user's guide to the Cornish Fisher expansion".
    """
    data = _prepared(returns, horizon, confidence, "Cornish-Fisher")
    # Powers of large numbers leave the range; the moments of shape do not depend on the unit.
    unit = float(np.max(np.abs(data.values)))
    known = moments(data.values / unit)
    assert known is not None
    skewness, excess = -known.skewness, known.kurtosis - 3.0
    tail = float(tail_share_of(confidence))
    if not rises(skewness, excess, tail):
        raise DataError(
            f"Cornish-Fisher: not valid at a confidence of {confidence} for a skewness of {known.skewness:.4g} and a"
            f" kurtosis of {known.kurtosis:.4g}: the expansion does not rise over the tail; take another model"
        )
    quantile, shortfall = expanded_tail(skewness, excess, tail)
    parameters = (
        ("mean", known.mean * unit),
        ("deviation", known.deviation * unit),
        ("skewness", known.skewness),
        ("kurtosis", known.kurtosis),
    )
    convention = "moments of the sample, kurtosis 3 for the normal law"
    basis = _basis("cornish_fisher", convention, data, confidence, horizon, parameters)
    return _located(-known.mean * unit, known.deviation * unit, quantile, shortfall, data, basis)


def expansion(z: Float64 | float, skewness: Float64 | float, excess: Float64 | float) -> Float64 | float:
    """Return the Cornish-Fisher quantile of a standardised loss from the normal one."""
    return (
        z
        + (z**2 - 1.0) * skewness / 6.0
        + (z**3 - 3.0 * z) * excess / 24.0
        - (2.0 * z**3 - 5.0 * z) * skewness**2 / 36.0
    )


def expanded_tail(skewness: float, excess: float, tail: float) -> tuple[float, float]:
    """Return VaR and ES of a standardised loss by the expansion; `rises` tells whether it is valid."""
    z = upper_quantile(tail)
    shape = 1.0 + z * skewness / 6.0 + (z * z - 1.0) * excess / 24.0 - (2.0 * z * z - 1.0) * skewness**2 / 36.0
    return float(expansion(z, skewness, excess)), normal_density(z) / tail * shape


def rises(skewness: float, excess: float, tail: float) -> bool:
    """Return whether the expansion rises over the levels that the figures of this tail need.

    Its slope is the parabola a z^2 + b z + d with a = K/8 - S^2/6, b = S/3, d = 1 - K/8 + 5 S^2/36: the least value over an
    interval is at an end, or at the vertex when that lies within.
    """
    a, b = excess / 8.0 - skewness**2 / 6.0, skewness / 3.0
    d = 1.0 - excess / 8.0 + 5.0 * skewness**2 / 36.0
    edge = abs(upper_quantile(tail))
    points = [-edge, upper_quantile(tail / CORNISH_FISHER_REACH)]
    if a > 0.0 and points[0] < -b / (2.0 * a) < points[1]:
        points.append(-b / (2.0 * a))
    return min(a * z * z + b * z + d for z in points) > 0.0


def ewma(returns: ArrayLike, confidence: float | Decimal, horizon: Horizon, *, decay: float = DECAY) -> TailRisk:
    """Return the figures of the normal law with zero mean and the exponentially weighted volatility of now.

    Arguments and errors as `normal`; `decay` in (0, 1). Source: RiskMetrics (1996).
    """
    data = _prepared(returns, horizon, confidence, "EWMA")
    deviation = math.sqrt(float(weighted_variances(data.values, decay)[-1]))
    quantile, shortfall = normal_tail(float(tail_share_of(confidence)))
    parameters = (("decay", decay), ("volatility", deviation))
    basis = _basis("ewma", "zero mean, normal", data, confidence, horizon, parameters)
    return _located(0.0, deviation, quantile, shortfall, data, basis)


def garch(returns: ArrayLike, confidence: float | Decimal, horizon: Horizon, *, student: bool = False) -> TailRisk:
    """Return the figures of GARCH(1,1) with zero mean; arguments and errors as `normal`, 100 observations at least.

    Parameters
    ----------
    student : Student t innovations instead of normal ones

    Notes
    -----
    Over h intervals the variance is the sum of those expected (`VARIANCE_FORECAST`), which is h times today's only where
    volatility is at its mean; h must be whole. The law of the sum is taken to be that of one innovation.
    Source: Bollerslev (1986), "Generalized autoregressive conditional heteroskedasticity", J. Econometrics 31(3).
    """
    stepwise = horizon.rule is ScalingRule.SQUARE_ROOT and horizon.horizon_ns != horizon.interval_ns
    steps = horizon.steps if stepwise else 1
    data = _prepared(returns, horizon, confidence, "GARCH", GARCH_LEAST)
    law = fit_garch(data.values, "GARCH", student=student).law
    tail = float(tail_share_of(confidence))
    deviation = math.sqrt(law.variance_of(steps))
    if law.degrees is None:
        quantile, shortfall = normal_tail(tail)
    else:
        unit = math.sqrt((law.degrees - 2.0) / law.degrees)
        quantile, shortfall = (unit * figure for figure in student_tail(tail, law.degrees))
    parameters = (
        ("omega", law.omega),
        ("alpha", law.alpha),
        ("beta", law.beta),
        ("volatility", math.sqrt(law.variance)),
        *((("degrees", law.degrees),) if law.degrees is not None else ()),
    )
    convention = "zero mean, " + ("Student t" if student else "normal") + " innovations"
    if stepwise:
        data = replace(data, rule=ScalingRule.VARIANCE_FORECAST, scale=1.0, time=1.0)
    basis = _basis("garch_t" if student else "garch", convention, data, confidence, horizon, parameters)
    return _located(0.0, deviation, quantile, shortfall, data, basis)


def _prepared(returns: ArrayLike, horizon: Horizon, confidence: float | Decimal, what: str, least: int = 0) -> Prepared:
    data = prepare(returns, horizon, confidence, what, least)
    checked_varying(data.values, what)
    return data


def _basis(
    model: str,
    convention: str,
    data: Prepared,
    confidence: float | Decimal,
    horizon: Horizon,
    parameters: tuple[tuple[str, float], ...],
) -> Basis:
    return Basis(
        model=model,
        convention=convention,
        confidence=float(confidence),
        horizon_ns=horizon.horizon_ns,
        interval_ns=horizon.interval_ns,
        scaling=data.rule,
        scale=data.scale,
        observations=int(np.size(data.values)),
        parameters=parameters,
    )


def _located(
    location: float, scale: float, quantile: float, shortfall: float, data: Prepared, basis: Basis
) -> TailRisk:
    shifted, spread = location * data.time, scale * data.scale
    return TailRisk(shifted + spread * quantile, shifted + spread * shortfall, basis)
