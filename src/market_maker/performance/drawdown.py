"""Falls of a value from its peak: the deepest, the few deepest, and the time spent below a peak.

Knows nothing of what the value is: equity of a run, marked value of a position, a price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a peak.

    Parameters
    ----------
    depth : peak less trough, in the unit of the values; an exact int for integer input; 0 when nothing fell
    start : index of the (last) peak before the trough
    trough : index of the (first) lowest value of that fall
    recovery : index of the first value at or above the peak after the trough; None when it never came back
    duration : samples from the peak to the recovery, or to the last value without one
    """

    depth: int | float
    start: int
    trough: int
    recovery: int | None
    duration: int


def max_drawdown(equity: ArrayLike) -> Drawdown:
    """Return the deepest absolute fall of `equity` from its running peak.

    Parameters
    ----------
    equity : (n,) integers (exact) or floats, any unit, in time order; n >= 1

    Returns
    -------
    Drawdown
        Of several equally deep falls, the first.

    Raises
    ------
    DataError
        No values, more than one dimension, not numbers, NaN or infinite (the message names the index).

    Notes
    -----
    Source: Magdon-Ismail and Atiya (2004), "Maximum drawdown", Risk 17(10). O(n).

    Examples
    --------
    >>> max_drawdown([10, 12, 9, 11, 13])
    Drawdown(depth=3, start=1, trough=2, recovery=4, duration=3)
    """
    values = _checked(equity)
    falls = np.maximum.accumulate(values) - values
    trough = int(np.argmax(falls))
    depth = falls[trough].item()
    if depth == 0:
        return Drawdown(depth, start=0, trough=0, recovery=0, duration=0)
    peak = values[: trough + 1].max()
    start = int(np.flatnonzero(values[: trough + 1] == peak)[-1])
    recovered = np.flatnonzero(values[trough:] >= peak)
    recovery = trough + int(recovered[0]) if recovered.size else None
    last = len(values) - 1 if recovery is None else recovery
    return Drawdown(depth, start, trough, recovery, duration=last - start)


@dataclass(frozen=True, slots=True)
class UnderWater:
    """Time spent below an earlier peak.

    Parameters
    ----------
    share : samples below the highest value so far / all samples, in [0, 1]
    episodes : stretches below a peak
    longest : samples of the longest, from its peak to the recovery, or to the last value without one; 0 without any
    longest_start : index of that peak, 0 without any
    """

    share: float
    episodes: int
    longest: int
    longest_start: int


def top_drawdowns(equity: ArrayLike, count: int) -> list[Drawdown]:
    """Return the deepest falls that do not overlap, deepest first (of equally deep ones the earlier).

    Parameters
    ----------
    equity : as `max_drawdown`
    count : at most so many; fewer where the value fell less often

    Notes
    -----
    A fall lasts from a peak to the first value at or above it; the first of the list is that of `max_drawdown`. O(n).

    Examples
    --------
    >>> [fall.depth for fall in top_drawdowns([10, 9, 10, 7, 11, 10], 2)]
    [3, 1]
    """
    values = _checked(equity)
    first, end = _episodes(values)
    if not len(first):
        return []
    depths = np.maximum.reduceat(np.maximum.accumulate(values) - values, first)
    found = []
    for k in np.argsort(-depths, kind="stable")[:count]:
        start, stop = int(first[k]) - 1, int(end[k])
        trough = start + int(np.argmin(values[start:stop]))
        recovery = stop if stop < len(values) else None
        last = len(values) - 1 if recovery is None else recovery
        found.append(Drawdown(depths[k].item(), start, trough, recovery, last - start))
    return found


def time_under_water(equity: ArrayLike) -> UnderWater:
    """Return how much of the time the value stood below its highest so far; `equity` as in `max_drawdown`. O(n)."""
    values = _checked(equity)
    first, end = _episodes(values)
    if not len(first):
        return UnderWater(0.0, 0, 0, 0)
    lengths = np.minimum(end, len(values) - 1) - first + 1
    longest = int(np.argmax(lengths))
    return UnderWater(
        share=int((end - first).sum()) / len(values),
        episodes=len(first),
        longest=int(lengths[longest]),
        longest_start=int(first[longest]) - 1,
    )


def relative_drawdown(equity: ArrayLike) -> float:
    """Return the deepest fall as a share of its peak, 0 when nothing fell.

    DataError, beyond the causes of `max_drawdown`, when a value is zero or negative: a share has no meaning then.
    """
    values = _checked(equity)
    if values.min() <= 0:
        raise DataError("drawdown: equity was zero or negative, so that a fall is no share of a peak")
    return float(np.max(1.0 - values / np.maximum.accumulate(values)))


def _episodes(values: NDArray[np.int64] | NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return first index below a peak and first index no longer below it (or n) of every stretch below a peak."""
    below = np.zeros(len(values) + 2, dtype=np.int8)
    below[1:-1] = values < np.maximum.accumulate(values)
    turns = np.diff(below)
    return np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)


def _checked(equity: ArrayLike) -> NDArray[np.int64] | NDArray[np.float64]:
    try:
        values = np.asarray(equity)
    except ValueError as error:
        raise DataError(f"drawdown: the values are not one row of numbers: {error}") from error
    if values.ndim != 1 or values.size == 0:
        raise DataError(f"drawdown: shape {values.shape} is not allowed; give one row of at least one value")
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(f"drawdown: value {values[bad[0]]} at index {bad[0]} is not finite; remove or repair it")
        return values.astype(np.float64)
    if values.dtype.kind not in "iu":
        raise DataError(f"drawdown: values of type {values.dtype} are not allowed; give integers or floats")
    return values.astype(np.int64)
