"""Scores of forecasts: smaller is better, and only the true figures make the expected score least.

They rank models; they do not say whether one is right.
"""

from __future__ import annotations

import numpy as np

from market_maker.domain.errors import DataError
from market_maker.performance.figures import Float64
from market_maker.risk.validation.forecasts import Forecasts, checked_forecasts


def quantile_scores(forecasts: Forecasts) -> Float64:
    """Return (T,) scores of value at risk: (1 - c) (VaR - loss) for a loss at or below it, else c (loss - VaR).

    Not negative, in the unit of losses. Source: Koenker and Bassett (1978), Econometrica 46(1).
    """
    checked_forecasts(forecasts)
    excess = forecasts.losses - forecasts.value_at_risk
    found: Float64 = np.where(excess > 0.0, (1.0 - forecasts.tail) * excess, -forecasts.tail * excess)
    return found


def joint_scores(forecasts: Forecasts) -> Float64:
    """Return (T,) scores of value at risk and expected shortfall together: FZ0 of Fissler and Ziegel.

    max(loss - VaR, 0) / ((1 - c) ES) + VaR / ES + ln ES - 1. Differences between models do not depend on the unit.
    DataError when an expected shortfall is not positive.

    Source: Patton, Ziegel and Chen (2019), "Dynamic semiparametric models for expected shortfall", J. Econometrics 211(2),
    equation 6, for losses in place of returns; Fissler and Ziegel (2016), Annals of Statistics 44(4).
    """
    checked_forecasts(forecasts)
    shortfall = forecasts.expected_shortfall
    if not float(shortfall.min()) > 0.0:
        index = int(np.argmin(shortfall))
        raise DataError(
            f"expected shortfall {shortfall[index]} at index {index} is not positive; it has no joint score"
        )
    excess = np.maximum(forecasts.losses - forecasts.value_at_risk, 0.0)
    found: Float64 = (
        excess / (forecasts.tail * shortfall) + forecasts.value_at_risk / shortfall + np.log(shortfall) - 1.0
    )
    return found
