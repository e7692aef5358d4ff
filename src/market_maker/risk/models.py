"""The models of value at risk by name: one call for all of them, with a documented default.

Knows which model needs what; the models themselves are in `value_at_risk`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.figures import Int64
from market_maker.risk.results import ScalingRule, TailRisk
from market_maker.risk.samples import checked_sample, checked_times
from market_maker.risk.scaling import Horizon
from market_maker.risk.value_at_risk.extreme import peaks_over_threshold
from market_maker.risk.value_at_risk.historical import age_weighted, filtered_historical, historical
from market_maker.risk.value_at_risk.monte_carlo import fit_factors, monte_carlo
from market_maker.risk.value_at_risk.parametric import cornish_fisher, ewma, garch, normal, student_t


class Model(StrEnum):
    """How value at risk and expected shortfall are found. HISTORICAL is the default: it assumes no law."""

    HISTORICAL = "HISTORICAL"
    AGE_WEIGHTED = "AGE_WEIGHTED"
    FILTERED_HISTORICAL = "FILTERED_HISTORICAL"
    NORMAL = "NORMAL"
    STUDENT_T = "STUDENT_T"
    CORNISH_FISHER = "CORNISH_FISHER"
    EWMA = "EWMA"
    GARCH = "GARCH"
    PEAKS_OVER_THRESHOLD = "PEAKS_OVER_THRESHOLD"
    MONTE_CARLO = "MONTE_CARLO"


DEFAULT_MODEL = Model.HISTORICAL
IN_TIME_ORDER = frozenset({Model.AGE_WEIGHTED, Model.FILTERED_HISTORICAL, Model.EWMA, Model.GARCH})
"""Models that ask which observation came before which; so do the rules that add observations up to a horizon."""

_ESTIMATORS: dict[Model, Callable[[ArrayLike, float | Decimal, Horizon], TailRisk]] = {
    Model.HISTORICAL: historical,
    Model.AGE_WEIGHTED: age_weighted,
    Model.FILTERED_HISTORICAL: filtered_historical,
    Model.NORMAL: normal,
    Model.STUDENT_T: student_t,
    Model.CORNISH_FISHER: cornish_fisher,
    Model.EWMA: ewma,
    Model.GARCH: garch,
    Model.PEAKS_OVER_THRESHOLD: peaks_over_threshold,
}


def estimate(
    returns: ArrayLike,
    confidence: float | Decimal,
    horizon: Horizon,
    model: Model = DEFAULT_MODEL,
    *,
    ts: Int64 | None = None,
    rng: np.random.Generator | None = None,
) -> TailRisk:
    """Return value at risk and expected shortfall of one series by one model, each with its own defaults.

    Parameters
    ----------
    returns : (n,) profits or returns, oldest first, of neighbouring intervals
    confidence : in (0, 1)
    horizon : what the figure is about
    model : see `Model`
    ts : (n,) int64, ns, when each observation was made: with them, a model of `IN_TIME_ORDER` and a rule that adds
        observations up refuse a history with holes
    rng : source of chance, needed by MONTE_CARLO alone, which takes the series for its one factor and a normal law

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1), or no `rng` where one is needed.
    DataError
        Not finite, constant or too few observations, holes between them, or a sample that the model does not fit; the message says why.

    Examples
    --------
    >>> day = 86_400_000_000_000
    >>> moves = np.linspace(-0.02, 0.02, 41)
    >>> found = estimate(moves, 0.95, Horizon(day, day))
    >>> round(found.value_at_risk, 6), found.basis.convention, found.basis.observations
    (0.018, 'LOWER_QUANTILE', 41)
    """
    added_up = horizon.rule is not ScalingRule.SQUARE_ROOT and horizon.horizon_ns != horizon.interval_ns
    if ts is not None and (added_up or model in IN_TIME_ORDER):
        if len(ts) != np.size(np.asarray(returns)):
            raise InvalidRequest.of("ts", len(ts), "one time for each observation")
        checked_times(ts, horizon.interval_ns, model.value)
    if model is not Model.MONTE_CARLO:
        return _ESTIMATORS[model](returns, confidence, horizon)
    if rng is None:
        raise InvalidRequest.of("rng", None, "a seeded generator, for MONTE_CARLO")
    row = checked_sample(returns, "Monte Carlo")
    return monte_carlo(fit_factors(row[None, :]), [1.0], confidence, horizon, rng)
