"""Figures from drawn scenarios of several risk factors: joint normal, or Student t margins joined by a t copula.

Positions are linear in the factors. Chance is handed in as a generator; the same one gives the same figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.laws import StudentFit, fit_student, student_cdf, student_upper
from market_maker.risk.results import Basis, ScalingRule, TailRisk
from market_maker.risk.samples import checked_table, checked_varying
from market_maker.risk.scaling import Horizon
from market_maker.risk.tails import Convention, minimum_observations, tail_figures

DRAWS = 100_000
DRAWS_MAX = 10_000_000
SECTIONS = 20
"""The draws are cut into so many parts, whose figures show how much is chance."""


class Joint(StrEnum):
    """How factors move together: NORMAL, or STUDENT_COPULA, in which extremes come together."""

    NORMAL = "NORMAL"
    STUDENT_COPULA = "STUDENT_COPULA"


@dataclass(frozen=True, slots=True, eq=False)
class FactorLaw:
    """A fitted joint law of factors.

    Parameters
    ----------
    joint : which
    means : (f,) of the normal law; zeros for the copula, whose margins have locations
    root : (f, f) lower-triangular or symmetric root of the covariance (normal) or correlation (copula)
    degrees : of the copula; infinite for the normal law
    margins : of the copula, one per factor
    observations : that it was fitted to
    """

    joint: Joint
    means: Float64
    root: Float64
    degrees: float
    margins: tuple[StudentFit, ...]
    observations: int


def fit_factors(factor_returns: ArrayLike, joint: Joint = Joint.NORMAL) -> FactorLaw:
    """Return the joint law of factors.

    Parameters
    ----------
    factor_returns : (factors, observations) returns, which must vary
    joint : NORMAL: means and covariance (n - 1) of the sample; STUDENT_COPULA: margins of greatest likelihood, correlation
        sin(pi / 2 x Kendall's tau), made positive semi-definite, degrees of greatest likelihood of the copula among
        those of a grid from 2 to 100

    Source: McNeil, Frey and Embrechts (2015), section 7.5.
    """
    least = 20
    table = checked_table(factor_returns, "Monte Carlo", rows="factors", columns="observations", least=least)
    for number, row in enumerate(table):
        checked_varying(row, f"Monte Carlo, factor {number}", least)
    count = table.shape[1]
    if joint is Joint.NORMAL:
        covariance = np.atleast_2d(np.cov(table))
        return FactorLaw(joint, table.mean(axis=1), _root(covariance), math.inf, (), count)
    margins = tuple(fit_student(row, f"Monte Carlo, factor {number}") for number, row in enumerate(table))
    correlation = _kendall_correlation(table)
    uniform = np.stack(
        [student_cdf((row - fit.location) / fit.scale, fit.degrees) for row, fit in zip(table, margins, strict=True)]
    )
    degrees = _copula_degrees(np.clip(uniform, 1e-12, 1.0 - 1e-12), correlation)
    return FactorLaw(joint, np.zeros(len(table)), _root(correlation), degrees, margins, count)


def draw_factors(law: FactorLaw, draws: int, rng: np.random.Generator) -> Float64:
    """Return (factors, draws) scenarios of one interval."""
    if not 1 <= draws <= DRAWS_MAX:
        raise InvalidRequest.of("draws", draws, f"1 to {DRAWS_MAX}")
    joined = law.root @ rng.standard_normal((len(law.root), draws))
    if law.joint is Joint.NORMAL:
        return joined + law.means[:, None]
    joined /= np.sqrt(rng.chisquare(law.degrees, draws) / law.degrees)
    found = np.empty_like(joined)
    for number, fit in enumerate(law.margins):
        # The smaller tail on either side, so that no probability rounds to 1.
        tail = student_cdf(-np.abs(joined[number]), law.degrees)
        size = student_upper(tail, fit.degrees)
        found[number] = fit.location + fit.scale * np.copysign(size, joined[number])
    return found


def monte_carlo(
    law: FactorLaw,
    exposures: ArrayLike,
    confidence: float | Decimal,
    horizon: Horizon,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> TailRisk:
    """Return the figures of a book that is linear in the factors.

    Parameters
    ----------
    law : of `fit_factors`
    exposures : (factors,) profit per unit of each factor's return
    confidence : in (0, 1)
    horizon : by the square root of time only: means grow with time (without drift: not at all), the rest of each scenario
        with its root
    rng : source of chance
    draws : scenarios; the tail has to hold 20 of them in each of `SECTIONS` parts
    convention : which quantile of the draws is value at risk

    Returns
    -------
    TailRisk
        Its parameters hold `value_at_risk_error` and `expected_shortfall_error`, the standard errors of both figures from
        the draws alone: the deviation between the parts over sqrt(parts).
    """
    weights = np.asarray(exposures, dtype=np.float64)
    if weights.shape != (len(law.root),) or not np.isfinite(weights).all():
        raise InvalidRequest.of("exposures", weights.shape, f"one finite number for each of {len(law.root)} factors")
    if horizon.rule is not ScalingRule.SQUARE_ROOT:
        raise InvalidRequest.of("rule", horizon.rule.value, ScalingRule.SQUARE_ROOT.value)
    needed = SECTIONS * minimum_observations(confidence)
    if draws < needed:
        raise InvalidRequest.of("draws", draws, f"at least {needed} at a confidence of {confidence}")
    time = horizon.ratio
    centre = law.means if law.joint is Joint.NORMAL else np.array([fit.location for fit in law.margins])
    drawn = draw_factors(law, draws, rng) - centre[:, None]
    losses = -(weights @ drawn) * math.sqrt(time) - float(weights @ centre) * horizon.mean_growth
    found = tail_figures(losses, confidence, convention)
    parts = [tail_figures(part, confidence, convention) for part in np.array_split(losses, SECTIONS)]
    errors = [
        float(np.std([getattr(part, name) for part in parts], ddof=1)) / math.sqrt(SECTIONS)
        for name in ("value_at_risk", "expected_shortfall")
    ]
    same = horizon.horizon_ns == horizon.interval_ns
    basis = Basis(
        model="monte_carlo_" + law.joint.value.lower(),
        convention=convention.value,
        confidence=float(confidence),
        horizon_ns=horizon.horizon_ns,
        interval_ns=horizon.interval_ns,
        scaling=ScalingRule.NONE if same else ScalingRule.SQUARE_ROOT,
        scale=math.sqrt(time),
        observations=law.observations,
        parameters=(
            ("draws", float(draws)),
            ("value_at_risk_error", errors[0]),
            ("expected_shortfall_error", errors[1]),
            *((("copula_degrees", law.degrees),) if law.joint is Joint.STUDENT_COPULA else ()),
        ),
    )
    return TailRisk(found.value_at_risk, found.expected_shortfall, basis)


def _root(matrix: Float64) -> Float64:
    """Return a root of a symmetric matrix whose negative eigenvalues, which are rounding, count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    found: Float64 = vectors * np.sqrt(np.maximum(values, 0.0))
    return found


def _kendall_correlation(table: Float64) -> Float64:
    from scipy import stats  # type: ignore[import-untyped]

    factors = len(table)
    matrix = np.eye(factors)
    for i in range(factors):
        for j in range(i):
            tau = float(stats.kendalltau(table[i], table[j]).statistic)
            matrix[i, j] = matrix[j, i] = math.sin(math.pi / 2.0 * tau)
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < 1e-8:
        # Pairs were estimated one by one: the whole need not be a correlation matrix. Raise what is below 0, scale back.
        matrix = (vectors * np.maximum(values, 1e-8)) @ vectors.T
        unit = 1.0 / np.sqrt(np.diag(matrix))
        matrix = matrix * unit[:, None] * unit[None, :]
    return matrix


def _copula_degrees(uniform: Float64, correlation: Float64) -> float:
    inverse = np.linalg.inv(correlation).astype(np.float64)
    sign, log_determinant = np.linalg.slogdet(correlation)
    if sign <= 0.0:
        raise DataError(
            "Monte Carlo: the correlation of the factors is singular; leave out a factor that another repeats"
        )
    grid = [2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 50.0, 100.0]
    fits = [_copula_likelihood(uniform, inverse, float(log_determinant), degrees) for degrees in grid]
    return grid[int(np.argmax(fits))]


def _copula_likelihood(uniform: Float64, inverse: Float64, log_determinant: float, degrees: float) -> float:
    """Return the mean log density of the t copula."""
    factors = len(uniform)
    if factors == 1:
        return 0.0
    values = np.copysign(student_upper(np.minimum(uniform, 1.0 - uniform), degrees), uniform - 0.5)
    joint = np.einsum("ik,ij,jk->k", values, inverse, values)
    half = degrees / 2.0
    constant = (
        math.lgamma(half + factors / 2.0)
        + (factors - 1) * math.lgamma(half)
        - factors * math.lgamma(half + 0.5)
        - 0.5 * log_determinant
    )
    terms = -(half + factors / 2.0) * np.log1p(joint / degrees) + (half + 0.5) * np.log1p(values**2 / degrees).sum(
        axis=0
    )
    return constant + float(terms.mean())
