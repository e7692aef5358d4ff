"""From recorded closes to clean returns: the grid of time, its holes, coverage and the hash of what was used.

Owns the rule that a return across a hole is no return of the interval. Knows nothing of positions, of where prices
are kept, or of what a return is used for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError
from market_maker.domain.units import format_duration

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

MAX_HALF_TICKS = 2**41
"""Twice the largest price in ticks (domain/instrument.py)."""

_LADDER_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400)
_NS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class PriceHistory:
    """Closes of one pair on a grid of `interval_ns`; made by `price_history`, which checks them.

    Parameters
    ----------
    interval_ns : length of an interval
    ts : (n,) int64, start of each interval, ns UTC, increasing, whole intervals apart
    close_half_ticks : (n,) int64, last mid of each interval in half ticks, positive
    window_start_ts, window_end_ts : the range that was asked for, [start, end)
    coverage : intervals that are there / intervals of the window, in [0, 1]
    data_hash : SHA-256 of the interval and both columns
    """

    interval_ns: int
    ts: Int64
    close_half_ticks: Int64
    window_start_ts: int
    window_end_ts: int
    coverage: float
    data_hash: str


@dataclass(frozen=True, slots=True, eq=False)
class Returns:
    """Simple returns that do not overlap.

    Parameters
    ----------
    values : (n,) float64, close / close one interval before - 1, oldest first
    interval_ns : the interval of each
    dropped : returns that the span of the history would hold and that a hole took away
    ts : (n,) int64, start of the interval whose close ends each return, ns UTC
    """

    values: Float64
    interval_ns: int
    dropped: int
    ts: Int64

    def newest_unbroken(self) -> Returns:
        """Return the newest returns that follow each other without a hole: what a model in time order may use."""
        holes = np.flatnonzero(np.diff(self.ts) != self.interval_ns)
        first = int(holes[-1]) + 1 if holes.size else 0
        return Returns(self.values[first:], self.interval_ns, 0, self.ts[first:])


def price_history(
    ts: ArrayLike,
    close_half_ticks: ArrayLike,
    *,
    interval_ns: int,
    window_start_ts: int | None = None,
    window_end_ts: int | None = None,
) -> PriceHistory:
    """Return the checked history of closes.

    Parameters
    ----------
    ts : (n,) integers, start of each interval, ns UTC; intervals without a price are left out
    close_half_ticks : (n,) integers, half ticks; n >= 1
    interval_ns : length of an interval
    window_start_ts, window_end_ts : the range that was asked for; default: from the first to the end of the last

    Raises
    ------
    DataError
        Nothing at all, columns of two lengths, not integers, a price that is not positive, times that repeat, go back
        or leave the grid or the window; the message names the index.

    Examples
    --------
    >>> history = price_history([0, 10, 30], [200, 202, 204], interval_ns=10)
    >>> history.coverage  # three of four intervals
    0.75
    >>> returns_at(history, 10).values  # the return across the hole is dropped
    array([0.01])
    """
    assert interval_ns > 0, interval_ns
    times, closes = _integers(ts, "time"), _integers(close_half_ticks, "close")
    if times.size != closes.size:
        raise DataError(f"price history: {times.size} times and {closes.size} closes; give one close for each time")
    if times.size == 0:
        raise DataError("price history: no prices at all; record or import some, or ask for another window")
    _check_grid(times, interval_ns)
    bad = np.flatnonzero((closes <= 0) | (closes > MAX_HALF_TICKS))
    if bad.size:
        raise DataError(
            f"price history: close of {closes[bad[0]]} half ticks at index {bad[0]} is not allowed;"
            f" allowed: 1 to {MAX_HALF_TICKS}"
        )
    first, last_end = int(times[0]), int(times[-1]) + interval_ns
    start = first if window_start_ts is None else window_start_ts
    end = last_end if window_end_ts is None else window_end_ts
    if first < start or int(times[-1]) >= end:
        raise DataError(f"price history: closes from {first} to {last_end} leave the window [{start}, {end})")
    return PriceHistory(
        interval_ns=interval_ns,
        ts=times,
        close_half_ticks=closes,
        window_start_ts=start,
        window_end_ts=end,
        coverage=min(1.0, times.size / -((start - end) // interval_ns)),
        data_hash=_hash(times, closes, interval_ns),
    )


def returns_at(history: PriceHistory, interval_ns: int) -> Returns:
    """Return the returns of `interval_ns`, a multiple of the history's interval, counted back from its last close.

    They do not overlap. Both closes of a return have to be there, exactly the interval apart; a hole between them
    does no harm, a hole in place of one of them drops the return. None at all is an empty array, not an error. O(n).
    """
    assert interval_ns > 0, interval_ns
    assert interval_ns % history.interval_ns == 0, (interval_ns, history.interval_ns)
    on_grid = (history.ts[-1] - history.ts) % interval_ns == 0
    times, closes = history.ts[on_grid], history.close_half_ticks[on_grid]
    whole = np.diff(times) == interval_ns
    values = closes[1:][whole] / closes[:-1][whole] - 1.0
    possible = int(history.ts[-1] - history.ts[0]) // interval_ns
    return Returns(values=values, interval_ns=interval_ns, dropped=possible - values.size, ts=times[1:][whole])


def choose_returns(
    history: PriceHistory, *, horizon_ns: int, wanted: int, least: int, unbroken: bool = False, whole: bool = False
) -> Returns:
    """Return the returns from which a figure at `horizon_ns` should be made.

    The longest interval that is not beyond the horizon and has at least `wanted` returns: the horizon itself where
    possible, because then nothing has to be scaled. Where no interval has as many, the one with the most, which has
    to have `least`. Of the intervals between the history's own and the horizon, those in daily use are tried
    (1, 2, 5, 10, 15, 30 s and min, 1, 2, 4, 8, 12 h, 1 d), and the commonest step between closes: a market that is
    updated each 7 s has no other return, on whatever grid its closes are kept.

    Parameters
    ----------
    unbroken : only the newest stretch without a hole counts
    whole : the horizon has to be a whole number of intervals

    Raises
    ------
    DataError
        Fewer than `least` returns at every interval, or an interval of the history longer than the horizon; the
        message says how much there is and how much is needed.
    """
    if horizon_ns < history.interval_ns:
        raise DataError(
            f"the prices are {format_duration(history.interval_ns)} apart and the horizon is {format_duration(horizon_ns)};"
            " ask for a longer horizon or take prices of a shorter interval"
        )
    candidates = {
        _commonest_step(history),
        history.interval_ns,
        horizon_ns,
        *(seconds * _NS_PER_SECOND for seconds in _LADDER_SECONDS),
    }
    usable = [
        each
        for each in sorted(candidates)
        if each <= horizon_ns and not each % history.interval_ns and not (whole and horizon_ns % each)
    ]
    span_ns = int(history.ts[-1] - history.ts[0])
    most: Returns | None = None
    # No interval has more returns than fit into the span: most of them need not be tried.
    for interval_ns in reversed([each for each in usable if span_ns // each >= wanted]):
        returns = returns_at(history, interval_ns)
        if unbroken:
            returns = returns.newest_unbroken()
        if returns.values.size >= wanted:
            return returns
    for interval_ns in usable:
        if most is not None and span_ns // interval_ns < most.values.size:
            break
        returns = returns_at(history, interval_ns)
        if unbroken:
            returns = returns.newest_unbroken()
        if most is None or returns.values.size >= most.values.size:
            most = returns
    found = 0 if most is None else most.values.size
    if most is None or found < least:
        raise DataError(
            f"{found} returns are too few: at least {least} are needed, from {least + 1} closes without a hole"
            f" between them; there are {history.ts.size} closes, {history.interval_ns} ns apart,"
            f" and coverage is {history.coverage:.4f}"
        )
    return most


def _commonest_step(history: PriceHistory) -> int:
    """Return the step between closes that there is most often, the shortest of equally frequent ones."""
    steps = np.diff(history.ts) // history.interval_ns
    if not steps.size or int(steps.max()) == 1:
        return history.interval_ns
    if int(steps.max()) < 4 * steps.size:
        return int(np.bincount(steps).argmax()) * history.interval_ns
    found, counts = np.unique(steps, return_counts=True)
    return int(found[counts.argmax()]) * history.interval_ns


def on_one_grid(histories: Sequence[PriceHistory]) -> list[PriceHistory]:
    """Return the histories with the same closes in time: those that all of them have, on the coarsest of their grids.

    A grid that the coarsest is no multiple of is an error of ours. DataError when they have no time in common. O(n).
    """
    interval_ns = max(history.interval_ns for history in histories)
    coarse = [_coarser(history, interval_ns) for history in histories]
    common = coarse[0][0]
    for times, _ in coarse[1:]:
        common = np.intersect1d(common, times, assume_unique=True)
    if not common.size:
        spans = "; ".join(f"{history.ts[0]} to {history.ts[-1]}" for history in histories)
        raise DataError(f"price history: {len(histories)} pairs have no time in common: {spans} (ns UTC)")
    start, end = int(common[0]), int(common[-1]) + interval_ns
    return [
        price_history(
            common,
            closes[np.searchsorted(times, common)],
            interval_ns=interval_ns,
            window_start_ts=start,
            window_end_ts=end,
        )
        for times, closes in coarse
    ]


def _coarser(history: PriceHistory, interval_ns: int) -> tuple[Int64, Int64]:
    """Return times and closes on a grid whose interval is a multiple of the history's: the last close of each."""
    assert interval_ns % history.interval_ns == 0, (interval_ns, history.interval_ns)
    place = history.ts // interval_ns
    last = np.append(np.flatnonzero(np.diff(place)), place.size - 1)
    return place[last] * interval_ns, history.close_half_ticks[last]


def _integers(column: ArrayLike, name: str) -> Int64:
    values = np.asarray(column)
    if values.ndim != 1:
        raise DataError(f"price history: the {name} column has shape {values.shape}; give one row of integers")
    if values.size and values.dtype.kind not in "iu":
        raise DataError(f"price history: {name} values of type {values.dtype} are not allowed; give int64")
    return values.astype(np.int64)


def _check_grid(times: Int64, interval_ns: int) -> None:
    steps = np.diff(times)
    bad = np.flatnonzero((steps <= 0) | (steps % interval_ns != 0))
    if bad.size:
        index = int(bad[0]) + 1
        raise DataError(
            f"price history: time {times[index]} at index {index} comes {steps[index - 1]} ns after the one before;"
            f" allowed: a positive multiple of {interval_ns} ns"
        )


def _hash(times: Int64, closes: Int64, interval_ns: int) -> str:
    digest = hashlib.sha256(f"price history 1, {interval_ns} ns, {times.size} closes in half ticks\n".encode())
    digest.update(times.astype("<i8").tobytes())
    digest.update(closes.astype("<i8").tobytes())
    return digest.hexdigest()
