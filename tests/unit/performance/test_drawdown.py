import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.drawdown import (
    Drawdown,
    UnderWater,
    max_drawdown,
    relative_drawdown,
    time_under_water,
    top_drawdowns,
)


@pytest.mark.parametrize(
    ("equity", "expected"),
    [
        ([10, 12, 9, 11, 13], Drawdown(3, 1, 2, 4, 3)),
        ([10, 12, 9, 11], Drawdown(3, 1, 2, None, 2)),
        ([5], Drawdown(0, 0, 0, 0, 0)),
        ([1, 2, 3], Drawdown(0, 0, 0, 0, 0)),
        ([5, 5, 4, 5], Drawdown(1, 1, 2, 3, 2)),
        ([9, 8, 9, 8], Drawdown(1, 0, 1, 2, 2)),
        ([-1, -4, 0], Drawdown(3, 0, 1, 2, 2)),
    ],
)
def test_drawdown_table(equity, expected):
    assert max_drawdown(equity) == expected


def test_integers_beyond_float_stay_exact():
    assert max_drawdown(np.array([2**62, 2**62 - 1], dtype=np.int64)).depth == 1


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")], [[1, 2]], ["a"], [[1], [2, 3]]])
def test_bad_values_are_refused(bad):
    with pytest.raises(DataError):
        max_drawdown(bad)


def test_nan_is_named_by_index():
    with pytest.raises(DataError, match="index 2"):
        max_drawdown([1.0, 2.0, float("nan")])


def test_the_deepest_falls_do_not_overlap():
    # Peaks 10 (falls to 7, made good by 12), 12 (falls to 11, made good by 12), 12 (falls to 8, never made good).
    equity = [10, 9, 7, 12, 11, 12, 8, 9]
    assert top_drawdowns(equity, 5) == [
        Drawdown(4, 5, 6, None, 2),
        Drawdown(3, 0, 2, 3, 3),
        Drawdown(1, 3, 4, 5, 2),
    ]
    assert top_drawdowns(equity, 1) == [max_drawdown(equity)]
    assert top_drawdowns([1, 2, 3], 3) == []


def test_of_equal_falls_the_earlier_comes_first():
    assert [fall.start for fall in top_drawdowns([5, 4, 5, 4, 5], 2)] == [0, 2]


def test_time_under_water():
    # Below the peak at indices 1, 2, 4, 6, 7: 5 of 8. The last stretch runs from the peak at 5 to the end: 2 samples;
    # the first from 0 to its recovery at 3: 3 samples.
    assert time_under_water([10, 9, 7, 12, 11, 12, 8, 9]) == UnderWater(5 / 8, 3, 3, 0)
    assert time_under_water([1, 1, 2]) == UnderWater(0.0, 0, 0, 0)


def test_relative_drawdown():
    # From 10 to 7 are 30 %, from 20 to 15 only 25 %, though it is the deeper fall.
    assert relative_drawdown([10, 7, 20, 15]) == pytest.approx(0.3)
    assert relative_drawdown([1, 2]) == 0.0
    with pytest.raises(DataError, match="zero or negative"):
        relative_drawdown([1, 0])


def test_the_deepest_fall_of_a_long_row_is_the_first_of_the_list(rng):
    equity = np.cumsum(rng.integers(-5, 6, 5000))
    falls = top_drawdowns(equity, 10**6)
    assert falls[0] == max_drawdown(equity)
    assert time_under_water(equity).episodes == len(falls)
    assert time_under_water(equity).longest == max(fall.duration for fall in falls)
    assert [fall.depth for fall in falls] == sorted((fall.depth for fall in falls), reverse=True)
