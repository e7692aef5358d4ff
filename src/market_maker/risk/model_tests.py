"""Models of a position judged by what happened: rolling forecasts over its history, all tests, and which is better.

Pure; the tests themselves are in `validation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import combinations
from typing import Any

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.units import format_duration
from market_maker.performance.figures import Float64
from market_maker.performance.json_values import json_value
from market_maker.risk.history import returns_at
from market_maker.risk.models import Model
from market_maker.risk.positions import Holding
from market_maker.risk.validation.diebold_mariano import LEAST_SCORES, diebold_mariano
from market_maker.risk.validation.forecasts import Forecasts
from market_maker.risk.validation.model_report import judge
from market_maker.risk.validation.rolling import WINDOW, rolling_forecasts
from market_maker.risk.validation.scores import joint_scores

OBSERVATIONS_MAX = 5_000
"""Newest observations that are used: what a request may cost is bounded."""
DRAWS = 2_000
REFIT_EVERY = 25
"""Forecasts that a fitted law is used for; to fit thousands takes minutes."""
_FITTED = frozenset({Model.STUDENT_T, Model.PEAKS_OVER_THRESHOLD, Model.GARCH})
SHOWN_MAX, SHOWN_MIN = 750, 30
"""Newest observations of a chart, and those of a window below which there is none."""
DEFAULT_METHODS = (Model.HISTORICAL, Model.NORMAL, Model.EWMA)


def judge_models(
    holding: Holding,
    methods: Sequence[Model],
    *,
    confidence_level: Decimal,
    window: int,
    interval_ns: int | None = None,
) -> dict[str, Any]:
    """Return what the tests say of each method, as JSON values.

    Parameters
    ----------
    holding : whose side and pair; a flat position is tested as a long one
    methods : any but MONTE_CARLO
    confidence_level : of the forecasts
    window : observations for each forecast
    interval_ns : of the observations, a multiple of the history's; default: the history's own

    Raises
    ------
    InvalidRequest : an interval, window or method that is not allowed
    DataError : too few observations without a hole, for all methods

    Notes
    -----
    Losses are shares of the position's value, of an INVERSE contract in coins: figures of a test do not depend on its size. A method that cannot be fitted
    to the history has a `reason` in place of a report.
    """
    history = holding.history
    wanted_ns = history.interval_ns if interval_ns is None else interval_ns
    if wanted_ns < history.interval_ns or wanted_ns % history.interval_ns:
        allowed = f"a multiple of {format_duration(history.interval_ns)}, the interval of the prices"
        raise InvalidRequest.of("interval", format_duration(wanted_ns), allowed)
    returns = returns_at(history, wanted_ns).newest_unbroken().values[-OBSERVATIONS_MAX:]
    if returns.size < window + LEAST_SCORES:
        raise DataError(
            f"model tests: {returns.size} returns of {format_duration(wanted_ns)} without a hole are too few for a window of"
            f" {window}; at least {window + LEAST_SCORES} are needed"
        )
    earned = holding.earned(returns)
    profits = earned if holding.position.qty_lots >= 0 else -earned
    rng = np.random.default_rng(int(history.data_hash[:12], 16))
    reports: list[dict[str, Any]] = []
    scores: dict[str, Float64] = {}
    for method in methods:
        try:
            every = REFIT_EVERY if method in _FITTED else None
            made: Forecasts = rolling_forecasts(profits, confidence_level, method, window=window, refit_every=every)
            reports.append({"method": method.value, **judge(made, rng, draws=DRAWS).to_json()})
            scores[method.value] = joint_scores(made)
        except DataError as error:
            reports.append({"method": method.value, "reason": error.detail})
    return {
        "confidence_level": f"{confidence_level:f}",
        "window": window,
        "interval": format_duration(wanted_ns),
        "observations": int(returns.size) - window,
        "data_hash": history.data_hash,
        "models": reports,
        "comparisons": [
            {"first": first, "second": second, **json_value(diebold_mariano(scores[first], scores[second]))}
            for first, second in combinations(scores, 2)
        ],
    }


def recent_forecasts(holding: Holding, confidence_level: Decimal) -> list[Forecasts]:
    """Return rolling forecasts of the default methods over the newest part of a position's history, for a chart.

    Raises
    ------
    DataError : too few observations without a hole
    """
    history = holding.history
    returns = returns_at(history, history.interval_ns).newest_unbroken().values[-SHOWN_MAX:]
    window = min(WINDOW, returns.size // 2)
    if window < SHOWN_MIN:
        raise DataError(
            f"forecasts: {returns.size} returns of {format_duration(history.interval_ns)} without a hole; at least"
            f" {2 * SHOWN_MIN} are needed"
        )
    earned = holding.earned(returns)
    profits = earned if holding.position.qty_lots >= 0 else -earned
    return [rolling_forecasts(profits, confidence_level, each, window=window) for each in DEFAULT_METHODS]
