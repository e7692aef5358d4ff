"""Whose risk it is: component, marginal and incremental value at risk and expected shortfall of a book's positions.

Scenario tables hold profits, (positions, scenarios); figures are losses. A component may be negative: it hedges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.laws import normal_tail
from market_maker.risk.results import Basis, ScalingRule
from market_maker.risk.samples import checked_table
from market_maker.risk.tails import (
    Convention,
    minimum_observations,
    tail_figures_of_rows,
    tail_share_of,
    tail_weights,
)

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Contributions:
    """One figure of a book, cut into its positions'.

    Parameters
    ----------
    total : of the book
    components : (p,) Euler shares: position x derivative of the figure by the position. Their exact sum differs from
        `total` by at most 4 e times the sum of the terms' sizes, e = 2^-52: the rounding of products
    marginal : (p,) change of the figure per unit of exposure; equal to the component without exposures of its own
    incremental : (p,) figure of the book less the figure without the position: full revaluation
    residual : total less the exact sum of the components
    """

    total: float
    components: Float64
    marginal: Float64
    incremental: Float64
    residual: float


@dataclass(frozen=True, slots=True, eq=False)
class BookContributions:
    """Value at risk and expected shortfall of a book with their parts."""

    value_at_risk: Contributions
    expected_shortfall: Contributions
    basis: Basis


def contributions(
    profits: ArrayLike,
    confidence: float | Decimal,
    *,
    convention: Convention = Convention.LOWER_QUANTILE,
    exposures: ArrayLike | None = None,
) -> BookContributions:
    """Return the parts of the historical figures of a book.

    Parameters
    ----------
    profits : (positions, scenarios) profit of each position in each scenario
    confidence : in (0, 1)
    convention : which quantile is value at risk
    exposures : (positions,) by which profits are proportional, for `marginal`; 0 is not allowed. Default: 1 each

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1), exposures that do not fit.
    DataError
        Not finite, or too few scenarios; the axes are named.

    Notes
    -----
    Component ES: the mean loss of the position in the book's tail, the scenario on the boundary with its fraction.
    Component VaR: the loss of the position in the one scenario (two, interpolated) that is the book's VaR; exact, but as
    noisy as one scenario is. Equal losses of the book are taken in the order of scenarios. O(positions x scenarios).
    Source: Tasche (1999), "Risk contributions and performance measurement"; McNeil, Frey and Embrechts (2015), 8.5.
    """
    table = checked_table(
        profits, "contributions", rows="positions", columns="scenarios", least=minimum_observations(confidence)
    )
    units = _exposures(exposures, len(table))
    losses = -table.sum(axis=0)
    weights = tail_weights(losses, confidence, convention)
    tail_losses, losses_then = losses[weights.indices], -table[:, weights.indices]
    without = _without_each(table, losses, confidence, convention)
    parts = []
    for weight, others in zip((weights.value_at_risk, weights.expected_shortfall), without, strict=True):
        components = losses_then @ weight
        total = math.fsum((tail_losses * weight).tolist())
        parts.append(_parts(total, components, components / units, total - others))
    basis = Basis(
        model="historical",
        convention=convention.value,
        confidence=float(confidence),
        horizon_ns=None,
        interval_ns=None,
        scaling=ScalingRule.NONE,
        scale=1.0,
        observations=table.shape[1],
    )
    return BookContributions(parts[0], parts[1], basis)


def normal_contributions(
    exposures: ArrayLike, means: ArrayLike, covariance: ArrayLike, confidence: float | Decimal, *, observations: int
) -> BookContributions:
    """Return the parts of the normal figures of a book that is linear in its positions' returns.

    Parameters
    ----------
    exposures : (p,) value of each position, signed, not 0
    means, covariance : (p,) and (p, p) of the returns
    confidence : in (0, 1)
    observations : that the moments were made from

    Notes
    -----
    sigma = sqrt(w' C w); VaR = -w'm + z sigma; component w_i (-m_i + z (C w)_i / sigma); ES with density(z) / (1 - c) in
    place of z. A book without variance has no derivative: InvalidRequest.
    """
    matrix, drift = np.asarray(covariance, dtype=np.float64), np.asarray(means, dtype=np.float64)
    count = drift.size
    weights = _exposures(exposures, count)
    if matrix.shape != (count, count) or not (np.isfinite(matrix).all() and np.isfinite(drift).all()):
        raise InvalidRequest.of("covariance", matrix.shape, f"a finite matrix {count} x {count}, and as many means")
    variance = float(weights @ matrix @ weights)
    if not variance > 0.0:
        raise InvalidRequest.of("covariance", variance, "one in which the book has a positive variance")
    sigma, tilted = math.sqrt(variance), matrix @ weights
    # Book without position i: w'Cw less its own terms.
    rest = np.sqrt(np.maximum(variance - 2.0 * weights * tilted + weights**2 * np.diag(matrix), 0.0))
    mean = float(weights @ drift)
    parts = []
    for factor in normal_tail(float(tail_share_of(confidence))):
        marginal = -drift + factor * tilted / sigma
        total = -mean + factor * sigma
        parts.append(_parts(total, weights * marginal, marginal, total + (mean - weights * drift) - factor * rest))
    basis = Basis(
        model="normal",
        convention="given means and covariance",
        confidence=float(confidence),
        horizon_ns=None,
        interval_ns=None,
        scaling=ScalingRule.NONE,
        scale=1.0,
        observations=observations,
    )
    return BookContributions(parts[0], parts[1], basis)


def _without_each(
    table: Float64, losses: Float64, confidence: float | Decimal, convention: Convention
) -> tuple[Float64, Float64]:
    """Return both figures of the book without each position, (p,) and (p,)."""
    quantiles, shortfalls = np.empty(len(table)), np.empty(len(table))
    step = max(1, _BLOCK // table.shape[1])
    for first in range(0, len(table), step):
        part = slice(first, first + step)
        quantiles[part], shortfalls[part] = tail_figures_of_rows(losses + table[part], confidence, convention)
    return quantiles, shortfalls


def _exposures(exposures: ArrayLike | None, count: int) -> Float64:
    if exposures is None:
        return np.ones(count)
    units = np.asarray(exposures, dtype=np.float64)
    if units.shape != (count,) or not (np.isfinite(units).all() and np.all(units != 0.0)):
        raise InvalidRequest.of("exposures", units.shape, f"{count} finite numbers other than 0")
    return units


def _parts(total: float, components: Float64, marginal: Float64, incremental: Float64) -> Contributions:
    return Contributions(total, components, marginal, incremental, total - math.fsum(components.tolist()))
