"""Figures that may be undefined, intervals around them, and the quantiles that make these; no money.

A statistic without enough data is None with the reason, never NaN and never 0: a reader must not mistake it for a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError, InvalidRequest

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Figure:
    """One statistic: `value`, or None with the `reason` why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic with its confidence interval.

    Parameters
    ----------
    estimate, low, high : in the unit of the statistic; None where undefined
    confidence : share of such intervals that would hold the true value, such as 0.95
    method : how it was made, with its tuning numbers
    reason : why a number is missing, None when all are there
    """

    estimate: float | None
    low: float | None
    high: float | None
    confidence: float
    method: str
    reason: str | None = None


def normal_cdf(z: float) -> float:
    """Return the standard normal distribution function."""
    return _NORMAL.cdf(z)


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile of a probability in (0, 1)."""
    return _NORMAL.inv_cdf(probability)


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t, by expansion around the normal one.

    Parameters
    ----------
    probability : in (0, 1)
    degrees : degrees of freedom, at least 9: the error is then below 0.0005 for probabilities from 0.005 to 0.995

    Notes
    -----
    Source: Abramowitz and Stegun (1964), equation 26.7.5.
    """
    assert degrees >= 9, degrees
    z = _NORMAL.inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    correction: float = sum(term / float(degrees) ** power for power, term in enumerate(terms, 1))
    return z + correction


def checked_confidence(confidence: float, field: str = "confidence") -> float:
    """Return `confidence`; InvalidRequest unless it lies between 0 and 1, both excluded."""
    if not 0.0 < confidence < 1.0:
        raise InvalidRequest.of(field, confidence, "a number between 0 and 1, both excluded, such as 0.95")
    return confidence


def checked_row(values: ArrayLike, what: str, least: int = 0) -> Float64:
    """Return `values` as one row of finite floats; DataError names `what` and the first bad index."""
    try:
        row = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not one row of numbers: {error}") from error
    if row.ndim != 1 or row.size < least:
        raise DataError(f"{what}: shape {row.shape} is not allowed; give one row of at least {least} numbers")
    bad = np.flatnonzero(~np.isfinite(row))
    if bad.size:
        raise DataError(f"{what}: value {row[bad[0]]} at index {bad[0]} is not finite; remove or repair it")
    return row


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean, standard deviation (n - 1), skewness and kurtosis (3 for the normal law; both with 1/n) of n values."""

    count: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float


def moments(values: ArrayLike) -> Moments | None:
    """Return the moments of at least two values that vary, None without them; NaN raises DataError."""
    row = checked_row(values, "moments")
    if row.size < 2:
        return None
    mean = float(row.mean())
    centred = row - mean
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= 1e-15 * max(1.0, float(np.max(np.abs(row)))):
        return None
    return Moments(
        count=row.size,
        mean=mean,
        deviation=math.sqrt(variance * row.size / (row.size - 1)),
        skewness=float(np.mean(centred**3)) / variance**1.5,
        kurtosis=float(np.mean(centred**4)) / variance**2,
    )
