"""Distributions and their tails in closed form, and the fits that need an optimiser.

Owns what this package asks of scipy's distributions; scipy is imported when first needed. Losses are positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import DataError
from market_maker.performance.figures import Float64, normal_quantile

DEGREES_MIN, DEGREES_MAX = 1.05, 1000.0
"""Bounds of fitted degrees of freedom: below, expected shortfall has no meaning; above, the law is normal."""


def normal_density(z: float) -> float:
    """Return the standard normal density."""
    return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def upper_quantile(tail: float) -> float:
    """Return the standard normal z with probability `tail` above it; exact where 1 - tail would round."""
    return -normal_quantile(tail)


def normal_tail(tail: float) -> tuple[float, float]:
    """Return VaR and ES of a standard normal loss, with 1 - c = `tail`: z and density(z) / (1 - c)."""
    z = upper_quantile(tail)
    return z, normal_density(z) / tail


def student_tail(tail: float, degrees: float) -> tuple[float, float]:
    """Return VaR and ES of a standard Student t loss (scale 1, not variance 1); degrees > 1.

    ES = f(q) / (1 - c) x (nu + q^2) / (nu - 1). Source: McNeil, Frey and Embrechts (2015), example 2.15.
    """
    from scipy import special  # type: ignore[import-untyped]

    q = -float(special.stdtrit(degrees, tail))
    log_density = (
        math.lgamma((degrees + 1.0) / 2.0)
        - math.lgamma(degrees / 2.0)
        - 0.5 * math.log(degrees * math.pi)
        - (degrees + 1.0) / 2.0 * math.log1p(q * q / degrees)
    )
    return q, math.exp(log_density) / tail * (degrees + q * q) / (degrees - 1.0)


def normal_upper(tails: Float64) -> Float64:
    """Return standard normal quantiles with these probabilities above them."""
    from scipy import special

    found: Float64 = -special.ndtri(tails)
    return found


def student_upper(tails: Float64, degrees: Float64 | float) -> Float64:
    """Return standard Student t quantiles with these probabilities above them."""
    from scipy import special

    found: Float64 = -special.stdtrit(degrees, tails)
    return found


def student_cdf(values: Float64, degrees: float) -> Float64:
    """Return the standard Student t distribution function."""
    from scipy import special

    found: Float64 = special.stdtr(degrees, values)
    return found


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """Return P(X <= successes)."""
    from scipy import special

    return float(special.bdtr(float(successes), trials, probability))


def binomial_upper(successes: int, trials: int, probability: float) -> float:
    """Return P(X >= successes), to full precision where it is small."""
    from scipy import special

    return 1.0 if successes <= 0 else float(special.bdtrc(float(successes - 1), trials, probability))


@dataclass(frozen=True, slots=True)
class StudentFit:
    """Location, scale (not the deviation) and degrees of freedom of a Student t law."""

    location: float
    scale: float
    degrees: float


def fit_student(values: Float64, what: str) -> StudentFit:
    """Return the Student t law of greatest likelihood.

    Parameters
    ----------
    values : (n,) finite, varying

    Raises
    ------
    DataError
        The optimiser found none, or tails so fat that expected shortfall has no meaning (degrees at `DEGREES_MIN`).

    Notes
    -----
    L-BFGS-B over location, log scale and log degrees, with derivatives, from the median and the quartiles.
    """
    from scipy import optimize, special

    count = values.size
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    if not high > low:
        raise DataError(
            f"{what}: half or more of these {count} observations are the same, {float(centre):.6g}: no Student t law has such"
            " a point; take observations of a longer interval, or another model"
        )
    unit = float(high - low) / 1.5
    standard = (values - centre) / unit

    def cost(x: Float64) -> tuple[float, Float64]:
        location, scale, degrees = float(x[0]), math.exp(x[1]), math.exp(x[2])
        z = (standard - location) / scale
        ratio = z * z / degrees
        logs = float(np.log1p(ratio).sum())
        weighted = z / (1.0 + ratio)
        half = (degrees + 1.0) / 2.0
        value = count * (
            math.lgamma(half) - math.lgamma(degrees / 2.0) - 0.5 * math.log(degrees * math.pi) - math.log(scale)
        )
        quadratic = float((z * weighted).sum()) / degrees
        # d/d nu of -(nu + 1)/2 log(1 + z^2/nu) is -log/2 + (nu + 1)/2 z^2/(nu^2 (1 + z^2/nu)).
        by_degrees = (
            0.5 * count * float(special.digamma(half) - special.digamma(degrees / 2.0) - 1.0 / degrees)
            - 0.5 * logs
            + half * quadratic / degrees
        ) * degrees
        gradient = np.array(
            [
                2.0 * half * float(weighted.sum()) / (degrees * scale),
                -count + 2.0 * half * quadratic,
                by_degrees,
            ]
        )
        return -(value - half * logs) / count, -gradient / count

    bounds = [(None, None), (math.log(1e-6), math.log(1e6)), (math.log(DEGREES_MIN), math.log(DEGREES_MAX))]
    start = np.array([0.0, math.log(0.9), math.log(5.0)])
    found = optimize.minimize(
        cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9}
    )
    location, scale, degrees = float(found.x[0]), math.exp(found.x[1]), math.exp(found.x[2])
    if not (np.isfinite(found.fun) and degrees > DEGREES_MIN * 1.0001):
        raise DataError(
            f"{what}: no Student t law with a finite mean fits these {count} observations"
            f" (degrees of freedom {degrees:.4g}; more than {DEGREES_MIN} are needed)"
        )
    return StudentFit(float(centre) + unit * location, unit * scale, degrees)


def fit_student_degrees(standard: Float64) -> float:
    """Return the degrees of freedom, from 2.05 to `DEGREES_MAX`, of greatest likelihood for values of variance 1."""
    from scipy import optimize, special

    squares = standard * standard

    def cost(log_degrees: float) -> float:
        degrees = math.exp(log_degrees)
        logs = float(np.log1p(squares / (degrees - 2.0)).mean())
        constant = float(special.gammaln((degrees + 1.0) / 2.0) - special.gammaln(degrees / 2.0))
        return -(constant - 0.5 * math.log(degrees - 2.0) - 0.5 * (degrees + 1.0) * logs)

    found = optimize.minimize_scalar(
        cost, bounds=(math.log(2.05), math.log(DEGREES_MAX)), method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(float(found.x))


@dataclass(frozen=True, slots=True)
class ParetoFit:
    """Shape xi and scale beta of a generalised Pareto law of excesses."""

    shape: float
    scale: float


def fit_pareto(excesses: Float64) -> ParetoFit:
    """Return the generalised Pareto law of greatest likelihood.

    Parameters
    ----------
    excesses : (k,) positive, k >= 2

    Notes
    -----
    With theta = xi / beta the shape is mean(log(1 + theta y)): one unknown is left, searched on a grid of theta x median
    and then by Brent's method between its neighbours. Shapes below -0.5, where the likelihood has no maximum in the usual
    sense, are left out: a tail that ends sooner gets -0.5.
    Source: Grimshaw (1993), "Computing maximum likelihood estimates for the generalized Pareto distribution",
    Technometrics 35(2).
    """
    from scipy import optimize

    # The median, because one huge loss would move the mean, and with it the grid, out of sight of the others.
    unit, top = float(np.median(excesses)), float(excesses.max())
    standard = excesses / unit
    exponential = math.log(float(standard.mean())) + 1.0

    def shape_at(theta: float) -> float:
        return float(np.log1p(theta * standard).mean())

    def cost(theta: float) -> float:
        if abs(theta) < 1e-9:
            return exponential
        shape = shape_at(theta)
        return 1e9 - shape if shape < -0.5 else math.log(shape / theta) + shape + 1.0

    floor = -(1.0 - 1e-9) * unit / top
    grid = np.concatenate([floor * np.linspace(1.0, 0.02, 50), [0.0], np.geomspace(1e-3, 1e6, 90)])
    costs = np.array([cost(float(theta)) for theta in grid])
    best = int(np.argmin(costs))
    left, right = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(cost, bounds=(left, right), method="bounded", options={"xatol": 1e-12})
    theta = float(found.x) if found.fun <= costs[best] else float(grid[best])
    if abs(theta) < 1e-9:
        return ParetoFit(0.0, float(excesses.mean()))
    shape = shape_at(theta)
    return ParetoFit(shape, shape / theta * unit)
