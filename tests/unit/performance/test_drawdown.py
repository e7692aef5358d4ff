import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.drawdown import Drawdown, max_drawdown
from market_maker.performance.returns import YEAR_NS, sharpe_ratio


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


def test_sharpe_by_hand():
    # Returns 0.1 and -0.1: mean 0. Returns 0.1, 0.2: mean 0.15, deviation 0.0707..., ratio 2.1213 x sqrt(periods).
    sharpe = sharpe_ratio([100, 110, 132], interval_ns=YEAR_NS)
    assert sharpe.ratio == pytest.approx(0.15 / 0.0707106781, rel=1e-6)
    assert sharpe_ratio([100, 110, 132], interval_ns=YEAR_NS // 4).ratio == pytest.approx(2 * 0.15 / 0.0707106781)


@pytest.mark.parametrize("equity", [[], [1], [1, 2], [5, 5, 5, 5], [1, 2, -1, 3]])
def test_sharpe_undefined_says_why(equity):
    sharpe = sharpe_ratio(equity, interval_ns=1)
    assert sharpe.ratio is None
    assert sharpe.reason
