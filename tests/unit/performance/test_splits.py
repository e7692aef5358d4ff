"""Splits by hand: purging, embargo, combinations, walking forward."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.splits import (
    Window,
    block_bounds,
    combinatorial_folds,
    purged_folds,
    walk_forward_folds,
    walk_forward_windows,
)


def hourly(count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return observations that begin at 0, 10, 20, ... and last `length`."""
    start = np.arange(count) * 10
    return start, start + length


def test_folds_by_hand():
    # Outcomes of 10 touch and do not overlap: nothing is purged. Blocks of 3, 3, 2.
    folds = list(purged_folds(*hourly(8, 10), 3))
    assert [fold.test.tolist() for fold in folds] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert folds[1].train.tolist() == [0, 1, 2, 6, 7]
    assert [fold.blocks for fold in folds] == [(0,), (1,), (2,)]


def test_overlapping_outcomes_are_purged_on_both_sides():
    # Outcomes of 25: number 1 ends at 35, inside the block that begins at 30; that block ends at 75, and 6, 7 begin before.
    _, middle, _ = purged_folds(*hourly(9, 25), 3)
    assert middle.test.tolist() == [3, 4, 5]
    assert middle.train.tolist() == [0, 8]


def test_an_embargo_follows_every_stretch_of_test_blocks():
    # Four blocks of two, of which the first and the third are tested; they end at 20 and 60.
    chosen = [
        fold for fold in combinatorial_folds(*hourly(8, 10), 4, test_blocks=2, embargo_ns=10) if fold.blocks == (0, 2)
    ]
    # What begins at 20 and at 60 is within 10; what begins at 30 and 70 is not.
    assert chosen[0].train.tolist() == [3, 7]
    assert chosen[0].test.tolist() == [0, 1, 4, 5]


def test_neighbouring_test_blocks_are_one_stretch():
    folds = {fold.blocks: fold for fold in combinatorial_folds(*hourly(8, 15), 4, test_blocks=2)}
    # Blocks 0 and 1 hold 0..3 and end at 45: number 4 (40) overlaps, 5 does not.
    assert folds[0, 1].train.tolist() == [5, 6, 7]
    assert len(folds) == math.comb(4, 2)
    tested = [block for blocks in folds for block in blocks]
    assert [tested.count(block) for block in range(4)] == [3] * 4


def test_one_long_outcome_purges_far():
    start, end = hourly(6, 10)
    end[0] = 55  # the first observation's outcome reaches into the last block
    *_, last = purged_folds(start, end, 3)
    assert last.test.tolist() == [4, 5]
    assert last.train.tolist() == [1, 2, 3]


def test_walking_forward():
    folds = list(walk_forward_folds(*hourly(10, 15), 3, test_size=2))
    assert [fold.test.tolist() for fold in folds] == [[4, 5], [6, 7], [8, 9]]
    # Number 3 ends at 45, after the test begins at 40.
    assert [fold.train.tolist() for fold in folds] == [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6]]
    sliding = list(walk_forward_folds(*hourly(10, 15), 3, test_size=2, train_size=2))
    assert [fold.train.tolist() for fold in sliding] == [[1, 2], [3, 4], [5, 6]]
    last = list(walk_forward_folds(*hourly(10, 15), 1, test_size=2, train_size=1))
    assert last[0].train.tolist() == [6]


def test_windows_of_time():
    assert walk_forward_windows(0, 100, train_ns=40, test_ns=20, gap_ns=5) == [
        Window(0, 40, 45, 65),
        Window(20, 60, 65, 85),
    ]
    anchored = walk_forward_windows(0, 100, train_ns=40, test_ns=20, is_anchored=True)
    assert anchored == [Window(0, 40, 40, 60), Window(0, 60, 60, 80), Window(0, 80, 80, 100)]
    for bad in (
        {"train_ns": 0, "test_ns": 1},
        {"train_ns": 1, "test_ns": 1, "gap_ns": -1},
        {"train_ns": 90, "test_ns": 11},
    ):
        with pytest.raises(InvalidRequest, match="train_ns"):
            walk_forward_windows(0, 100, **bad)


def test_the_first_blocks_are_the_longer_ones():
    assert block_bounds(11, 4).tolist() == [0, 3, 6, 9, 11]
    assert block_bounds(4, 4).tolist() == [0, 1, 2, 3, 4]


def test_refused():
    times = hourly(5, 1)
    calls = [
        ("blocks", lambda: list(purged_folds(*times, 1))),
        ("blocks", lambda: list(purged_folds(*times, 6))),
        ("embargo_ns", lambda: list(purged_folds(*times, 2, embargo_ns=-1))),
        ("test_blocks", lambda: list(combinatorial_folds(*times, 4, test_blocks=4))),
        ("test_blocks", lambda: list(combinatorial_folds(*times, 4, test_blocks=0))),
        ("folds", lambda: list(walk_forward_folds(*times, 5, test_size=1))),
        ("folds", lambda: list(walk_forward_folds(*times, 0, test_size=1))),
        ("folds", lambda: list(walk_forward_folds(*times, 1, test_size=1, train_size=0))),
    ]
    for field, call in calls:
        with pytest.raises(InvalidRequest, match=field):
            call()


@pytest.mark.parametrize(
    ("start", "end"), [([0, 1], [1]), ([1, 0], [2, 2]), ([0, 5], [1, 4]), ([0.0], [1.0]), ([[0]], [[1]])]
)
def test_times_that_cannot_be(start, end):
    with pytest.raises(DataError, match="times"):
        list(purged_folds(start, end, 2))
