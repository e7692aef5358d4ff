"""The deepest fall of a value from its peak, when it happened and whether it was made good.

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
