"""Value at risk and expected shortfall of a sample of losses: which quantile is meant, and how the tail is counted.

Pure functions, with weights or without. Owns the conventions; knows nothing of where losses come from, of models or of
positions. Losses are positive; a gain is a negative loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError, InvalidRequest

LEAST_OBSERVATIONS = 20

_MAX_LOSS = 1e150
_CONFIDENCE_ALLOWED = "a number between 0 and 1, both excluded, such as 0.95"


class Convention(StrEnum):
    """Which quantile is called value at risk.

    With n losses, confidence c and k = n (1 - c), ranks counted from the largest loss:

    LOWER_QUANTILE: inf {l: F_L(l) >= c}, the loss of rank floor(k) + 1;
    UPPER_ORDER_STATISTIC: inf {l: F_L(l) > c}, the loss of rank ceil(k): another one only where k is whole;
    INTERPOLATED: linear between the losses around rank 1 + (n - 1)(1 - c).

    Source: Hyndman and Fan (1996), types 1 and 7; Acerbi and Tasche (2002), definitions 2.1 and 2.2.
    """

    LOWER_QUANTILE = "LOWER_QUANTILE"
    UPPER_ORDER_STATISTIC = "UPPER_ORDER_STATISTIC"
    INTERPOLATED = "INTERPOLATED"


@dataclass(frozen=True, slots=True)
class TailFigures:
    """Value at risk and expected shortfall of one sample, in the unit of its losses."""

    value_at_risk: float
    expected_shortfall: float


def tail_figures(
    losses: ArrayLike, confidence_level: float | Decimal, convention: Convention = Convention.LOWER_QUANTILE
) -> TailFigures:
    """Return historical value at risk and expected shortfall.

    Parameters
    ----------
    losses : (n,) numbers, any unit and order, a loss positive; n (1 - c) >= 1, so that the tail holds a whole loss
    confidence_level : c, between 0 and 1, both excluded; the decimal number meant is used: 0.95 is 95/100
    convention : which quantile is value at risk

    Returns
    -------
    TailFigures
        Expected shortfall is the mean of the worst n (1 - c) losses, the one on the boundary counted with the
        fraction that is missing. It is never below value at risk, whatever the convention.

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1).
    DataError
        No or too few losses (says how many are needed); NaN, infinite or absurd ones (names the index).

    Notes
    -----
    n (1 - c) is an exact fraction: in binary 1 - 0.95 is 0.050000000000000044, and rounding 1000 times that up counts
    51 losses instead of 50. The tail is summed exactly, so that the order of losses cannot change a digit. O(n).

    Source: Acerbi and Tasche (2002), "On the coherence of expected shortfall", J. Banking & Finance 26(7), eq. 4.

    Examples
    --------
    >>> tail_figures(range(1, 41), 0.95)  # the tail holds 40 x 0.05 = 2 losses: 40 and 39
    TailFigures(value_at_risk=38.0, expected_shortfall=39.5)
    """
    values = checked_losses(losses)
    tail_share = tail_share_of(confidence_level)
    count = values.size
    if count * tail_share < 1:
        raise too_few_losses(count, confidence_level, tail_share)
    tail = count * tail_share
    whole = int(tail)
    kept = min(whole + 2, count)
    worst = np.sort(np.partition(values, count - kept)[count - kept :])[::-1]
    boundary = float(worst[min(whole, count - 1)])
    shortfall = math.fsum([*worst[:whole].tolist(), float(tail - whole) * boundary]) / float(tail)
    quantile = _quantile(worst, tail_share, count, convention)
    # Both bounds hold for real numbers; they take away what rounding of the division may have added.
    return TailFigures(quantile, min(max(shortfall, boundary, quantile), float(worst[0])))


def value_at_risk(
    losses: ArrayLike, confidence_level: float | Decimal, convention: Convention = Convention.LOWER_QUANTILE
) -> float:
    """Return the historical value at risk; all as in `tail_figures`."""
    return tail_figures(losses, confidence_level, convention).value_at_risk


def expected_shortfall(losses: ArrayLike, confidence_level: float | Decimal) -> float:
    """Return the historical expected shortfall of Acerbi and Tasche; all as in `tail_figures`."""
    return tail_figures(losses, confidence_level).expected_shortfall


def minimum_observations(confidence_level: float | Decimal) -> int:
    """Return how many returns a figure needs: 1 / (1 - c), so that the tail holds a whole loss, and never under 20.

    20 at 95 %, 100 at 99 %. InvalidRequest outside (0, 1).
    """
    return max(LEAST_OBSERVATIONS, _count_for_tail(tail_share_of(confidence_level)))


def weighted_tail_figures(losses: ArrayLike, weights: ArrayLike, confidence_level: float | Decimal) -> TailFigures:
    """Return value at risk (`LOWER_QUANTILE`) and expected shortfall of losses that do not all weigh the same.

    Parameters
    ----------
    losses : (n,) numbers
    weights : (n,) not negative, with a positive sum; they are divided by it
    confidence_level : between 0 and 1, both excluded

    Notes
    -----
    inf {l: F_L(l) >= c}, the weight above it compared with 1 - c to within 1e-12, so that rounding of the weights' sums
    does not choose the loss. The loss on the boundary counts with the weight that is missing to 1 - c. O(n log n).
    """
    values, shares = checked_losses(losses), np.asarray(weights, dtype=np.float64)
    if shares.shape != values.shape or not (np.isfinite(shares).all() and shares.min() >= 0.0 and shares.sum() > 0.0):
        raise DataError(f"{values.size} losses need as many finite weights that are not negative and not all 0")
    tail = float(tail_share_of(confidence_level))
    order = np.argsort(-values, kind="stable")
    worst, share = values[order], shares[order] / shares.sum()
    above = np.cumsum(share) - share
    # The first loss, from the largest, with more than the tail at or above it: all above it weigh at most 1 - c.
    place = min(int(np.searchsorted(np.cumsum(share), tail + 1e-12, side="right")), values.size - 1)
    counted = np.minimum(share[:place], np.maximum(tail - above[:place], 0.0))
    missing = max(tail - float(counted.sum()), 0.0)
    boundary = float(worst[place])
    shortfall = math.fsum([*(counted * worst[:place]).tolist(), missing * boundary]) / tail
    return TailFigures(boundary, min(max(shortfall, boundary), float(worst[0])))


@dataclass(frozen=True, slots=True, eq=False)
class TailWeights:
    """Which observations make up the figures of a sample: the figure is the sum of loss x weight.

    Parameters
    ----------
    indices : (k,) of the observations that count, the largest loss first
    value_at_risk, expected_shortfall : (k,) weights of each; either sums to 1
    """

    indices: NDArray[np.intp]
    value_at_risk: NDArray[np.float64]
    expected_shortfall: NDArray[np.float64]


def tail_weights(
    losses: ArrayLike, confidence_level: float | Decimal, convention: Convention = Convention.LOWER_QUANTILE
) -> TailWeights:
    """Return the weights behind `tail_figures`; arguments and errors as there.

    Equal losses are taken in their order, so that the same sample has the same weights.
    """
    values, tail_share = checked_losses(losses), tail_share_of(confidence_level)
    count, tail = values.size, values.size * tail_share
    if tail < 1:
        raise too_few_losses(count, confidence_level, tail_share)
    whole = int(tail)
    kept = min(whole + 2, count)
    order = np.argsort(-values, kind="stable")[:kept]
    shortfall = np.zeros(kept)
    shortfall[:whole] = 1.0 / float(tail)
    if whole < kept:
        shortfall[whole] = float((tail - whole) / tail)
    quantile = np.zeros(kept)
    if convention is Convention.INTERPOLATED:
        place = (count - 1) * tail_share
        upper = int(place)
        quantile[upper] = float(1 - (place - upper))
        quantile[min(upper + 1, kept - 1)] += float(place - upper)
    else:
        rank = whole if convention is Convention.UPPER_ORDER_STATISTIC and tail == whole else whole + 1
        quantile[min(rank, count) - 1] = 1.0
    return TailWeights(order, quantile, shortfall)


def tail_figures_of_rows(
    losses: NDArray[np.float64],
    confidence_level: float | Decimal,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return value at risk and expected shortfall of each row, (m,) and (m,).

    Parameters
    ----------
    losses : (m, n) finite numbers, checked by the caller; n (1 - c) >= 1
    confidence_level, convention : as `tail_figures`, whose figures these are, but for the last digit: sums are not exact
    """
    tail_share = tail_share_of(confidence_level)
    count = losses.shape[1]
    tail = count * tail_share
    if tail < 1:
        raise too_few_losses(count, confidence_level, tail_share)
    whole = int(tail)
    kept = min(whole + 2, count)
    worst = -np.sort(-np.partition(losses, count - kept, axis=1)[:, count - kept :], axis=1)
    boundary = worst[:, min(whole, count - 1)]
    shortfall = (worst[:, :whole].sum(axis=1) + float(tail - whole) * boundary) / float(tail)
    if convention is Convention.INTERPOLATED:
        place = (count - 1) * tail_share
        upper = int(place)
        larger, smaller = worst[:, upper], worst[:, min(upper + 1, kept - 1)]
        quantile = larger + (smaller - larger) * float(place - upper)
    else:
        rank = whole if convention is Convention.UPPER_ORDER_STATISTIC and tail == whole else whole + 1
        quantile = worst[:, min(rank, count) - 1]
    return quantile, np.clip(shortfall, np.maximum(boundary, quantile), worst[:, 0])


def too_few_losses(count: int, confidence_level: float | Decimal, tail_share: Fraction) -> DataError:
    """Return the error for a sample whose tail holds no whole loss."""
    return DataError(
        f"{count} losses are too few for a confidence of {confidence_level}:"
        f" at least {_count_for_tail(tail_share)} are needed"
    )


def tail_share_of(confidence_level: float | Decimal) -> Fraction:
    """Return 1 - c as the fraction that was meant: that of the smallest denominator up to 1e9."""
    if isinstance(confidence_level, bool) or not isinstance(confidence_level, int | float | Decimal):
        raise InvalidRequest.of("confidence_level", confidence_level, _CONFIDENCE_ALLOWED)
    if not (confidence_level == confidence_level and 0 < confidence_level < 1):  # noqa: PLR0124 (NaN is not itself)
        raise InvalidRequest.of("confidence_level", str(confidence_level), _CONFIDENCE_ALLOWED)
    return 1 - Fraction(confidence_level).limit_denominator(10**9)


def checked_losses(losses: ArrayLike) -> NDArray[np.float64]:
    """Return losses as one row of at least one finite float; DataError names the first index that is not allowed."""
    try:
        given = np.asarray(losses)
    except (TypeError, ValueError) as error:
        raise DataError(f"the losses are not one row of numbers: {error}") from error
    if given.ndim != 1 or given.size == 0:
        raise DataError(f"losses of shape {given.shape} are not allowed; give one row of at least one number")
    if given.dtype.kind not in "iuf":
        raise DataError(f"losses of type {given.dtype} are not allowed; give integers or floats")
    values = given.astype(np.float64)
    bad = np.flatnonzero(~(np.abs(values) <= _MAX_LOSS))
    if bad.size:
        raise DataError(
            f"loss {values[bad[0]]} at index {bad[0]} is not allowed; allowed: finite, at most {_MAX_LOSS:g} in size"
        )
    return values


def _quantile(worst: NDArray[np.float64], tail_share: Fraction, count: int, convention: Convention) -> float:
    """Return the quantile from the losses in falling order, of which the first floor(k) + 2 are given."""
    tail = count * tail_share
    whole = int(tail)
    if convention is Convention.INTERPOLATED:
        place = (count - 1) * tail_share
        upper = int(place)
        larger, smaller = float(worst[upper]), float(worst[min(upper + 1, count - 1)])
        return larger + (smaller - larger) * float(place - upper)
    rank = whole if convention is Convention.UPPER_ORDER_STATISTIC and tail == whole else whole + 1
    return float(worst[min(rank, count) - 1])


def _count_for_tail(tail_share: Fraction) -> int:
    return math.ceil(1 / tail_share) if tail_share else 10**9
