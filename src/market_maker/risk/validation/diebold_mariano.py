"""Two models compared: whether the one's scores are better than the other's by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError
from market_maker.performance.sharpe_interval import long_run_variance, newey_west_lags
from market_maker.risk.laws import student_cdf
from market_maker.risk.samples import checked_sample

LEAST_SCORES = 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models by their scores.

    Parameters
    ----------
    mean_difference : score of the first less that of the second; negative when the first is better
    statistic, p_value : two-sided; None where undefined
    lags : of the long-run variance
    observations : scores of each
    reason : why there is no p-value, else None
    """

    mean_difference: float
    statistic: float | None
    p_value: float | None
    lags: int
    observations: int
    reason: str | None = None

    def better(self, level: float = 0.05) -> int:
        """Return 1 or 2 for the model that is better, 0 when neither is shown to be."""
        if self.p_value is None or self.p_value >= level:
            return 0
        return 1 if self.mean_difference < 0.0 else 2


def diebold_mariano(first: ArrayLike, second: ArrayLike, *, lags: int | None = None) -> Comparison:
    """Return the test of equal expected scores.

    Parameters
    ----------
    first, second : (T,) scores of the same losses, T >= 20; smaller is better
    lags : of the Bartlett kernel; default `newey_west_lags`

    Notes
    -----
    mean / sqrt(long-run variance / T), times sqrt((T - 1) / T) (one-step forecasts), against Student t with T - 1 degrees.
    Source: Diebold and Mariano (1995), J. Business and Economic Statistics 13(3); Harvey, Leybourne and Newbold (1997),
    International J. Forecasting 13(2), equation 9; Newey and West (1987).
    """
    ours, theirs = (checked_sample(scores, "Diebold-Mariano", LEAST_SCORES) for scores in (first, second))
    if ours.size != theirs.size:
        raise DataError(f"Diebold-Mariano: {ours.size} and {theirs.size} scores; both models must face the same losses")
    difference = ours - theirs
    count = difference.size
    used = newey_west_lags(count) if lags is None else lags
    mean = math.fsum(difference.tolist()) / count
    variance = long_run_variance(difference, used)
    size = max(float(np.max(np.abs(ours))), float(np.max(np.abs(theirs))))
    if not variance > (1e-14 * size) ** 2:
        return Comparison(mean, None, None, used, count, "the scores differ by a constant, or not at all")
    statistic = mean / math.sqrt(variance / count) * math.sqrt((count - 1) / count)
    p_value = 2.0 * float(student_cdf(np.array([-abs(statistic)]), count - 1.0)[0])
    return Comparison(mean, statistic, p_value, used, count)
