"""Ratios of returns, by hand and at their edges; their sampling clock."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.returns import (
    YEAR_NS,
    calmar_ratio,
    on_clock,
    return_figures,
    sampling_clock_ns,
    sharpe_ratio,
    simple_returns,
    sortino_ratio,
)

SECOND = 10**9


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


def test_sortino_by_hand():
    # Mean of 3, -1, 2, -2 is 0.5; the downside sqrt((1 + 4) / 4) counts the gains as 0. Four periods a year: x 2.
    assert sortino_ratio([3.0, -1.0, 2.0, -2.0], 4.0).value == pytest.approx(2 * 0.5 / math.sqrt(5 / 4))
    # Against a target of 1: mean -0.5, shortfalls 2 and 3 below it.
    assert sortino_ratio([3.0, -1.0, 2.0, -2.0], 1.0, target=1.0).value == pytest.approx(-0.5 / math.sqrt(13 / 4))


def test_calmar_by_hand():
    # 100 -> 80 -> 121 in two of two periods: return 21 %, deepest fall 20 %. In two of four: 1.21^2 - 1 = 46.41 %.
    assert calmar_ratio([100, 80, 121], 2.0).value == pytest.approx(0.21 / 0.2)
    assert calmar_ratio([100, 80, 121], 4.0).value == pytest.approx(0.4641 / 0.2)


@pytest.mark.parametrize(
    ("figure", "reason"),
    [
        (sortino_ratio([0.1], 1.0), "at least 2"),
        (sortino_ratio([0.1, 0.0], 1.0), "below the target"),
        (calmar_ratio([1.0], 1.0), "at least 2"),
        (calmar_ratio([1.0, -1.0], 1.0), "zero or negative"),
        (calmar_ratio([1.0, 2.0], 1.0), "never fell"),
        (calmar_ratio([1.0, 0.9, 1.1], 1e6), "too short"),
    ],
)
def test_undefined_ratios_say_why(figure, reason):
    assert figure.value is None
    assert reason in figure.reason


def test_all_ratios_of_one_curve():
    figures = return_figures([100, 110, 99, 108.9], interval_ns=YEAR_NS // 4)
    # Returns 0.1, -0.1, 0.1: mean 1/30, deviation sqrt(0.04/3) = 0.11547.
    assert figures.annual_return.value == pytest.approx(4 / 30)
    assert figures.annual_volatility.value == pytest.approx(2 * math.sqrt(0.04 / 3))
    assert figures.sharpe.ratio == pytest.approx(figures.annual_return.value / figures.annual_volatility.value)
    # Centred: 1/15 twice, -2/15 once: m2 = 2/225, m3 = -2/3375, m4 = 2/16875... skew = m3 / m2^1.5, kurtosis = m4 / m2^2.
    assert figures.skewness.value == pytest.approx((-6 / 10125) / (2 / 225) ** 1.5)
    assert figures.kurtosis.value == pytest.approx((18 / 151875) / (2 / 225) ** 2)


def test_ratios_without_returns_share_the_reason():
    figures = return_figures([5, 5, 5], interval_ns=SECOND)
    assert figures.sharpe.reason == figures.sortino.reason == figures.kurtosis.reason == "the returns do not vary"


def test_returns_need_positive_equity():
    assert simple_returns([1.0, 0.0]) is None
    assert simple_returns([2.0, 3.0]).tolist() == [0.5]
    with pytest.raises(DataError, match="index 1"):
        simple_returns([1.0, float("nan")])


def test_values_on_a_clock():
    ts, values = np.array([5, 7, 8, 14, 15]), np.array([50, 70, 80, 140, 150])
    # Instants 5, 10, 15: at 10 the value of 8 still holds.
    assert on_clock(ts, values, 5).tolist() == [50, 80, 150]
    assert on_clock(ts, values, 100).tolist() == [50]
    for bad in (0, -1):
        with pytest.raises(InvalidRequest):
            on_clock(ts, values, bad)


@pytest.mark.parametrize(
    ("span_s", "least_ns", "expected_s"),
    [
        (360_000, SECOND, 3600),  # 100 hours
        (359_999, SECOND, 900),
        (600, SECOND, 1),  # 60 intervals of 10 s are too few
        (1000, SECOND, 10),
        (50, SECOND, 1),  # nothing has 100: the finest
        (360_000, 7200 * SECOND, 7200),  # samples coarser than any clock
        (3600, 7 * SECOND, 7),  # no clock is a multiple of 7 s: the samples' own
        (10_000, 60 * SECOND, 60),
    ],
)
def test_the_clock_is_the_coarsest_with_a_hundred_returns(span_s, least_ns, expected_s):
    assert sampling_clock_ns(span_s * SECOND, least_ns) == expected_s * SECOND
