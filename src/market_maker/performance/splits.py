"""Which observations to learn from and which to judge by, when they follow each other in time: indices only.

Every split is (train, test) of sorted int64 indices that do not meet. Purging drops training observations whose outcome
overlaps that of the test; an embargo drops some more after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Int64


@dataclass(frozen=True, slots=True, eq=False)
class TrainTest:
    """One split: indices to learn from, indices to judge by; `blocks` are the numbers of the test blocks."""

    train: Int64
    test: Int64
    blocks: tuple[int, ...]


def purged_folds(start_ts: ArrayLike, end_ts: ArrayLike, folds: int, *, embargo_ns: int = 0) -> Iterator[TrainTest]:
    """Yield `folds` splits whose test sets are consecutive blocks that cover everything once.

    Parameters
    ----------
    start_ts : (n,) integers, ns, not decreasing: when an observation begins
    end_ts : (n,) integers, ns: until when its outcome depends on the market; it covers [start, end)
    folds : from 2 to n; the first n mod folds blocks have one observation more
    embargo_ns : training observations that begin less than this after the end of a test block are dropped

    Raises
    ------
    InvalidRequest
        Folds out of range, a negative embargo.
    DataError
        Columns that differ in length, times that go backwards, an end before its start.

    Notes
    -----
    Source: Lopez de Prado (2018), "Advances in Financial Machine Learning", section 7.4.
    """
    yield from combinatorial_folds(start_ts, end_ts, folds, test_blocks=1, embargo_ns=embargo_ns)


def combinatorial_folds(
    start_ts: ArrayLike, end_ts: ArrayLike, blocks: int, *, test_blocks: int, embargo_ns: int = 0
) -> Iterator[TrainTest]:
    """Yield a split for every choice of `test_blocks` of `blocks` consecutive blocks, in lexicographic order.

    Parameters
    ----------
    start_ts, end_ts, embargo_ns : as `purged_folds`; every contiguous stretch of test blocks is purged and embargoed
    blocks : from 2 to n
    test_blocks : from 1 to blocks - 1; there are C(blocks, test_blocks) splits, and each block is tested in
        C(blocks - 1, test_blocks - 1) of them

    Raises
    ------
    InvalidRequest, DataError
        As `purged_folds`.

    Notes
    -----
    Source: Lopez de Prado (2018), section 12.4.
    """
    start, end = _checked(start_ts, end_ts)
    if not 2 <= blocks <= len(start):
        raise InvalidRequest.of("blocks", blocks, f"2 to the number of observations, {len(start)}")
    if not 1 <= test_blocks < blocks:
        raise InvalidRequest.of("test_blocks", test_blocks, f"1 to {blocks - 1}")
    if embargo_ns < 0:
        raise InvalidRequest.of("embargo_ns", embargo_ns, "0 or more")
    bounds = block_bounds(len(start), blocks)
    for chosen in combinations(range(blocks), test_blocks):
        is_test = np.zeros(len(start), dtype=np.bool_)
        keep = np.ones(len(start), dtype=np.bool_)
        for first, last in _stretches(chosen):
            low, high = int(bounds[first]), int(bounds[last + 1])
            is_test[low:high] = True
            begin, finish = int(start[low]), int(end[low:high].max())
            keep &= ~((start < finish) & (end > begin))
            keep &= ~((start >= finish) & (start < finish + embargo_ns))
        yield TrainTest(np.flatnonzero(keep & ~is_test), np.flatnonzero(is_test), chosen)


def walk_forward_folds(
    start_ts: ArrayLike,
    end_ts: ArrayLike,
    folds: int,
    *,
    test_size: int,
    train_size: int | None = None,
) -> Iterator[TrainTest]:
    """Yield splits that only ever learn from the past; the test sets are the last folds x test_size observations.

    Parameters
    ----------
    start_ts, end_ts : as `purged_folds`
    folds, test_size : positive; folds x test_size < n
    train_size : learn from at most the last so many that are left after purging; default all

    Raises
    ------
    InvalidRequest, DataError
        As `purged_folds`.
    """
    start, end = _checked(start_ts, end_ts)
    if folds < 1 or test_size < 1 or folds * test_size >= len(start) or (train_size is not None and train_size < 1):
        raise InvalidRequest.of(
            "folds", (folds, test_size, train_size), f"positive, folds x test_size below {len(start)} observations"
        )
    for fold in range(folds):
        low = len(start) - (folds - fold) * test_size
        train = np.flatnonzero(end[:low] <= start[low])
        yield TrainTest(train if train_size is None else train[-train_size:], np.arange(low, low + test_size), (fold,))


@dataclass(frozen=True, slots=True)
class Window:
    """A range to optimise in and the range right after it to be judged in, both [start, end) in ns."""

    train_start_ts: int
    train_end_ts: int
    test_start_ts: int
    test_end_ts: int


def walk_forward_windows(
    start_ts: int, end_ts: int, *, train_ns: int, test_ns: int, gap_ns: int = 0, is_anchored: bool = False
) -> list[Window]:
    """Return the windows of a walk-forward over [start, end): each test range begins where the one before ended.

    Parameters
    ----------
    train_ns, test_ns : lengths, positive; what is left at the end and shorter than a test range is not used
    gap_ns : left out between the two, so that positions of the first do not reach into the second
    is_anchored : True lets every train range begin at `start_ts`

    Raises
    ------
    InvalidRequest
        Lengths that are not positive, a negative gap, or a range too short for one window.
    """
    first = start_ts + train_ns + gap_ns
    if min(train_ns, test_ns) <= 0 or gap_ns < 0 or first + test_ns > end_ts:
        raise InvalidRequest.of(
            "train_ns", (train_ns, gap_ns, test_ns), f"positive lengths (gap 0 or more) within {end_ts - start_ts} ns"
        )
    return [
        Window(start_ts if is_anchored else test - gap_ns - train_ns, test - gap_ns, test, test + test_ns)
        for test in range(first, end_ts - test_ns + 1, test_ns)
    ]


def block_bounds(count: int, blocks: int) -> Int64:
    """Return (blocks + 1,) first indices of consecutive blocks of `count`; the first count mod blocks have one more."""
    sizes = np.full(blocks, count // blocks, dtype=np.int64)
    sizes[: count % blocks] += 1
    return np.concatenate([[0], np.cumsum(sizes)])


def _stretches(chosen: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of every run of consecutive numbers."""
    first = last = chosen[0]
    for number in chosen[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def _checked(start_ts: ArrayLike, end_ts: ArrayLike) -> tuple[Int64, Int64]:
    columns: list[NDArray[np.int64]] = []
    for given in (start_ts, end_ts):
        column = np.asarray(given)
        if column.ndim != 1 or column.dtype.kind not in "iu":
            raise DataError(f"times of shape {column.shape} and type {column.dtype}; give one row of integers")
        columns.append(column.astype(np.int64))
    start, end = columns
    if len(start) != len(end) or np.any(np.diff(start) < 0) or np.any(end < start):
        raise DataError("times must be equally many, starts in order, and no end before its start")
    return start, end
