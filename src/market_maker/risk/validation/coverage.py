"""Coverage: whether losses exceed value at risk as often as they should, and independently of each other.

An exception is a loss above value at risk, strictly.
"""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import checked_confidence
from market_maker.risk.samples import checked_sample
from market_maker.risk.tails import tail_share_of
from market_maker.risk.validation.judgement import Judgement, chi_squared_tail, x_log

Hits = NDArray[np.bool_]


def exceptions_of(losses: ArrayLike, value_at_risk: ArrayLike) -> Hits:
    """Return (T,) whether each loss exceeds its forecast; DataError unless both are finite and equally long."""
    happened = checked_sample(losses, "losses")
    forecast = checked_sample(value_at_risk, "forecasts of value at risk")
    if happened.size != forecast.size:
        raise DataError(f"{happened.size} losses and {forecast.size} forecasts; give one forecast for each loss")
    found: Hits = happened > forecast
    return found


def proportion_of_failures(exceptions: int, observations: int, confidence: float | Decimal) -> Judgement:
    """Return Kupiec's test of the share of exceptions.

    Parameters
    ----------
    exceptions, observations : N of T, 0 <= N <= T, T >= 1
    confidence : in (0, 1); p = 1 - c

    Notes
    -----
    LR = -2 ln[(1 - p)^(T - N) p^N] + 2 ln[(1 - N/T)^(T - N) (N/T)^N] with 0 ln 0 = 0, chi-squared with 1 degree: two-sided.
    No exception in 255 days at 99 % is LR 5.13, p-value 2.4 %: rejected, although Kupiec's table prints N < 7 for that cell.
    Source: Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models", J. Derivatives 3(2).

    Examples
    --------
    >>> round(proportion_of_failures(6, 255, 0.99).statistic, 4), proportion_of_failures(7, 255, 0.99).rejects()
    (3.4154, True)
    """
    tail = _checked_counts(exceptions, observations, confidence)
    rest = observations - exceptions
    share = exceptions / observations
    null = x_log(rest, 1.0 - tail) + x_log(exceptions, tail)
    free = x_log(rest, 1.0 - share) + x_log(exceptions, share)
    statistic = max(2.0 * (free - null), 0.0)
    return Judgement(
        "proportion_of_failures", statistic, chi_squared_tail(statistic, 1), observations, exceptions, "chi-squared, 1"
    )


def non_rejection_region(observations: int, confidence: float | Decimal, level: float = 0.05) -> tuple[int, int]:
    """Return the least and the most exceptions, both included, that `proportion_of_failures` does not reject.

    They are neighbours of the expected number: the statistic rises on either side of it. O(log T).
    """
    checked_confidence(level, "level")
    tail = _checked_counts(0, observations, confidence)

    def accepts(exceptions: int) -> bool:
        return not proportion_of_failures(exceptions, observations, confidence).rejects(level)

    centre = min(round(tail * observations), observations)
    if not accepts(centre):
        raise DataError(
            f"coverage: {observations} observations are too few for a test at {confidence}: every number of exceptions is"
            f" rejected; at least {math.ceil(1.0 / tail)} are needed"
        )
    low, high = 0, centre
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if accepts(middle) else (middle + 1, high)
    least = low
    low, high = centre, observations
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if accepts(middle) else (low, middle - 1)
    return least, low


def independence(hits: ArrayLike) -> Judgement:
    """Return Christoffersen's test of whether an exception makes the next one more likely, or less.

    Parameters
    ----------
    hits : (T,) truth values, in time order, T >= 2; undefined without any exception, or without any other day, before the last

    Notes
    -----
    The likelihood ratio of the first-order Markov chain against equal rows of its transition table: the G statistic of the
    2 x 2 table, chi-squared with 1 degree. It sees neighbours alone; `duration` sees clusters.
    Source: Christoffersen (1998), "Evaluating interval forecasts", International Economic Review 39(4).
    """
    row = checked_hits(hits)
    before, after = row[:-1], row[1:]
    table = np.array(
        [[np.sum(~before & ~after), np.sum(~before & after)], [np.sum(before & ~after), np.sum(before & after)]]
    )
    exceptions, method = int(row.sum()), "chi-squared, 1"
    if table.sum(axis=1).min() == 0:
        reason = f"{exceptions} exceptions in {row.size} observations; one exception and one other before the last are needed"
        return Judgement("independence", None, None, row.size, exceptions, method, reason)
    counts, rows, columns = table.tolist(), table.sum(axis=1).tolist(), table.sum(axis=0).tolist()
    free = sum(x_log(counts[i][j], counts[i][j] / rows[i]) for i in range(2) for j in range(2))
    null = sum(x_log(columns[j], columns[j] / sum(columns)) for j in range(2))
    statistic = max(2.0 * (free - null), 0.0)
    return Judgement("independence", statistic, chi_squared_tail(statistic, 1), row.size, exceptions, method)


def conditional_coverage(hits: ArrayLike, confidence: float | Decimal) -> Judgement:
    """Return the joint test of share and independence: LR_uc + LR_ind, chi-squared with 2 degrees; undefined as the latter."""
    row = checked_hits(hits)
    exceptions, method = int(row.sum()), "chi-squared, 2"
    share, order = proportion_of_failures(exceptions, row.size, confidence), independence(row)
    if share.statistic is None or order.statistic is None:
        return Judgement("conditional_coverage", None, None, row.size, exceptions, method, order.reason)
    statistic = share.statistic + order.statistic
    return Judgement("conditional_coverage", statistic, chi_squared_tail(statistic, 2), row.size, exceptions, method)


def checked_hits(hits: ArrayLike) -> Hits:
    """Return (T,) truth values, T >= 2; DataError otherwise."""
    row = np.asarray(hits)
    if row.ndim != 1 or row.dtype.kind != "b":
        raise DataError(
            f"exceptions of shape {row.shape} and type {row.dtype} are not allowed; give one row of truth values"
        )
    if row.size < 2:
        raise DataError(f"{row.size} observations are too few for a test of exceptions; at least 2 are needed")
    return row


def _checked_counts(exceptions: int, observations: int, confidence: float | Decimal) -> float:
    tail = float(tail_share_of(confidence))
    if not (observations >= 1 and 0 <= exceptions <= observations):
        allowed = "at least 1 observation, and from 0 to as many exceptions"
        raise InvalidRequest.of("exceptions", (exceptions, observations), allowed)
    return tail
