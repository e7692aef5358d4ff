"""Figures from what happened: all of it alike, the recent weighing more, or brought to today's volatility.

Returns are profits, oldest first; figures are losses.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.results import Basis, TailRisk
from market_maker.risk.samples import checked_varying
from market_maker.risk.scaling import Horizon, Prepared, prepare
from market_maker.risk.tails import Convention, TailFigures, tail_figures, weighted_tail_figures
from market_maker.risk.volatility import DECAY, GARCH_LEAST, WARM_UP, checked_decay, fit_garch, weighted_variances

AGE_DECAY = 0.98
"""Of Boudoukh, Richardson and Whitelaw, who use 0.97 and 0.99."""


def historical(
    returns: ArrayLike,
    confidence: float | Decimal,
    horizon: Horizon,
    *,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> TailRisk:
    """Return the figures of the sample itself.

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first
    confidence : in (0, 1)
    horizon : what the figure is about
    convention : which quantile is value at risk, see `tails.Convention`

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1).
    DataError
        Not finite, constant (a price that does not move is a feed that stands still), or too few observations (says how
        many are needed).
    """
    data = prepare(returns, horizon, confidence, "historical")
    checked_varying(data.values, "historical")
    found = tail_figures(-data.values, confidence, convention)
    return _scaled(found, data, "historical", convention.value, confidence, horizon)


def age_weighted(
    returns: ArrayLike, confidence: float | Decimal, horizon: Horizon, *, decay: float = AGE_DECAY
) -> TailRisk:
    """Return the figures of a sample whose observations weigh less with age: (1 - l) l^(k - 1) / (1 - l^n).

    Arguments and errors as `historical`; `decay` is l, in (0, 1). The convention is `LOWER_QUANTILE`, and
    `effective_observations` of the basis is 1 / sum of squared weights. The more so the smaller the decay, the tail can
    be one observation.

    Source: Boudoukh, Richardson and Whitelaw (1998), "The best of both worlds", Risk 11(5).
    """
    checked_decay(decay)
    data = prepare(returns, horizon, confidence, "age-weighted")
    checked_varying(data.values, "age-weighted")
    # Older ones weigh less than the rounding of the sum, all of them together.
    kept = min(data.values.size, math.ceil(math.log(1e-18) / math.log(decay)) + 1)
    weights = age_weights(kept, decay)
    found = weighted_tail_figures(-data.values[-kept:], weights, confidence)
    parameters = (("decay", decay), ("effective_observations", 1.0 / float(np.sum(weights**2))))
    convention = Convention.LOWER_QUANTILE.value
    return _scaled(found, data, "age_weighted", convention, confidence, horizon, parameters)


def age_weights(count: int, decay: float) -> Float64:
    """Return (n,) weights that sum to 1, the oldest first."""
    weights = decay ** np.arange(count - 1, -1, -1, dtype=np.float64)
    found: Float64 = weights / weights.sum()
    return found


def filtered_historical(
    returns: ArrayLike,
    confidence: float | Decimal,
    horizon: Horizon,
    *,
    volatility: str = "ewma",
    decay: float = DECAY,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> TailRisk:
    """Return the figures of observations brought from the volatility of their time to the one expected next.

    Parameters
    ----------
    returns, confidence, horizon, convention : as `historical`; the order of time matters
    volatility : `ewma` or `garch`
    decay : of `ewma`

    Notes
    -----
    Scenario t is x_t / s_t x s_(n+1), where s_t is what was expected of t from observations before it. With `ewma` the
    first `WARM_UP` observations only start the weights. `garch` needs `GARCH_LEAST` observations and the library arch.
    Source: Hull and White (1998), "Incorporating volatility updating", Journal of Risk 1(1); Barone-Adesi,
    Giannopoulos and Vosper (1999), "VaR without correlations for portfolios of derivative securities", J. Futures Markets 19(5).
    """
    data = prepare(returns, horizon, confidence, "filtered historical", WARM_UP + 1)
    scenarios, now = filtered_scenarios(data.values, volatility, decay, "filtered historical")
    found = tail_figures(-scenarios, confidence, convention)
    parameters = (("volatility", now),) + ((("decay", decay),) if volatility == "ewma" else ())
    name = f"filtered_historical_{volatility}"
    return _scaled(found, data, name, convention.value, confidence, horizon, parameters)


def filtered_scenarios(values: Float64, volatility: str, decay: float, what: str) -> tuple[Float64, float]:
    """Return scenarios at the volatility expected next, oldest first, and that volatility; `volatility` as above."""
    if volatility not in {"ewma", "garch"}:
        raise InvalidRequest.of("volatility", volatility, "ewma, garch")
    if volatility == "garch":
        fit = fit_garch(checked_varying(values, what, GARCH_LEAST), what)
        now = math.sqrt(fit.law.variance)
        return values / np.sqrt(fit.variances) * now, now
    checked_varying(values, what, WARM_UP + 2)
    expected = weighted_variances(values, decay)
    before = expected[WARM_UP - 1 : -1]
    # A market that stood still during the warm-up has no volatility to divide by: those observations are left out.
    known = before > 0.0
    checked_varying(values[WARM_UP:][known], what)
    now = math.sqrt(expected[-1])
    return values[WARM_UP:][known] / np.sqrt(before[known]) * now, now


def _scaled(
    found: TailFigures,
    data: Prepared,
    model: str,
    convention: str,
    confidence: float | Decimal,
    horizon: Horizon,
    parameters: tuple[tuple[str, float], ...] = (),
) -> TailRisk:
    basis = Basis(
        model=model,
        convention=convention,
        confidence=float(confidence),
        horizon_ns=horizon.horizon_ns,
        interval_ns=horizon.interval_ns,
        scaling=data.rule,
        scale=data.scale,
        observations=data.values.size,
        parameters=parameters,
    )
    # + 0.0 turns the -0.0 of a return of 0 into 0.0.
    return TailRisk(found.value_at_risk * data.scale + 0.0, found.expected_shortfall * data.scale + 0.0, basis)
