"""Whether a sample will do for a figure: finite, long enough, varying, without holes. Errors say what is there and needed.

Knows nothing of the figure that is to be made, but its name.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError
from market_maker.performance.figures import Float64, Int64

LARGEST = 1e150
"""Larger numbers are a mistake, and their squares are not finite."""
SMALLEST = 1e-140
"""Numbers that vary by less have squares that are 0."""


def checked_sample(values: ArrayLike, what: str, least: int = 1) -> Float64:
    """Return `values` as one row of at least `least` finite floats.

    DataError names `what`, the first index that is not allowed, or how many there are and how many are needed.
    """
    row = _numbers(values, what)
    if row.ndim != 1:
        raise DataError(f"{what}: shape {row.shape} is not allowed; give one row of numbers")
    if row.size < least:
        raise DataError(f"{what}: {row.size} observations are too few; at least {least} are needed")
    return _finite(row, what)


def checked_varying(values: ArrayLike, what: str, least: int = 2) -> Float64:
    """As `checked_sample`; DataError also when all values are the same, which no law can be fitted to."""
    row = checked_sample(values, what, least)
    low, high = float(row.min()), float(row.max())
    if high - low <= max(1e-14 * max(abs(low), abs(high)), SMALLEST):
        raise DataError(
            f"{what}: all {row.size} observations are {low:.6g}; at least two values that differ are needed"
        )
    return row


def checked_table(values: ArrayLike, what: str, *, rows: str, columns: str, least: int = 1) -> Float64:
    """Return `values` as a table (rows, columns) of finite floats, with one row and `least` columns at least.

    `rows` and `columns` name the axes in errors, so that a table given the wrong way round is seen.
    """
    table = _numbers(values, what)
    if table.ndim != 2 or table.shape[0] == 0:
        raise DataError(f"{what}: shape {table.shape} is not allowed; give a table of {rows} x {columns}")
    if table.shape[1] < least:
        raise DataError(
            f"{what}: {table.shape[1]} {columns} for {table.shape[0]} {rows} are too few;"
            f" at least {least} are needed (axes: {rows} x {columns})"
        )
    return _finite(table, what)


def checked_times(ts: Int64, interval_ns: int, what: str) -> None:
    """DataError unless each time is `interval_ns` after the one before: a model in time order must not skip holes.

    Parameters
    ----------
    ts : (n,) int64, ns, of the observations
    """
    steps = np.diff(ts)
    bad = np.flatnonzero(steps != interval_ns)
    if bad.size:
        span = int(ts[-1]) - int(ts[0])
        raise DataError(
            f"{what}: {len(ts)} observations with {bad.size} holes or repetitions, the first after index {bad[0]}"
            f" ({steps[bad[0]]} ns where {interval_ns} ns are needed); {span // interval_ns + 1} would be whole"
        )


def _numbers(values: ArrayLike, what: str) -> Float64:
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "iuf" and given.size:
            raise DataError(f"{what}: values of type {given.dtype} are not allowed; give integers or floats")
        return given.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: not numbers: {error}") from error


def _finite(values: Float64, what: str) -> Float64:
    # Two passes without a copy: a NaN makes both comparisons false.
    if values.size and not (float(values.min()) >= -LARGEST and float(values.max()) <= LARGEST):
        place = np.unravel_index(int(np.argmin(np.abs(values) <= LARGEST)), values.shape)
        at = ", ".join(str(int(index)) for index in place)
        raise DataError(
            f"{what}: value {values[place]} at index {at} is not allowed; allowed: finite, at most {LARGEST:g} in size"
        )
    return values
