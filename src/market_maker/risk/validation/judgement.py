"""What one test says: a statistic, its p-value, or the reason why there is neither. And chi-squared tails in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome of one test of a model.

    Parameters
    ----------
    test : its name
    statistic, p_value : None where undefined; the p-value is the chance of as bad a statistic if the model is right
    observations, exceptions : that it was made from
    method : how the p-value was found
    reason : why there is none, else None
    """

    test: str
    statistic: float | None
    p_value: float | None
    observations: int
    exceptions: int
    method: str
    reason: str | None = None

    def rejects(self, level: float = 0.05) -> bool:
        """Return whether the model is rejected; an undefined test rejects nothing."""
        return self.p_value is not None and self.p_value < level


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return P(X > statistic) for 1 or 2 degrees of freedom: erfc(sqrt(x / 2)), exp(-x / 2)."""
    assert degrees in {1, 2}, degrees
    # A likelihood ratio of two equal likelihoods may be rounded below 0.
    half = max(statistic, 0.0) / 2.0
    return math.erfc(math.sqrt(half)) if degrees == 1 else math.exp(-half)


def x_log(count: float, probability: float) -> float:
    """Return count x ln(probability), with 0 ln 0 = 0."""
    if count == 0:
        return 0.0
    return count * math.log(probability) if probability > 0.0 else -math.inf
