"""Quantiles, moments and what is refused."""

from __future__ import annotations

import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import (
    checked_confidence,
    checked_row,
    moments,
    normal_cdf,
    normal_quantile,
    student_quantile,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    # Tables of Student's t: Abramowitz and Stegun (1964), table 26.10.
    [(0.975, 9, 2.262), (0.975, 20, 2.086), (0.995, 10, 3.169), (0.95, 15, 1.753), (0.975, 120, 1.980)],
)
def test_student_quantiles_are_the_printed_ones(probability, degrees, expected):
    assert student_quantile(probability, degrees) == pytest.approx(expected, abs=6e-4)
    assert student_quantile(1 - probability, degrees) == pytest.approx(-expected, abs=6e-4)


def test_normal_law():
    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)
    assert normal_cdf(normal_quantile(0.123)) == pytest.approx(0.123, abs=1e-12)


def test_moments_by_hand():
    known = moments([1.0, 2.0, 3.0, 6.0])
    # Mean 3; centred -2, -1, 0, 3: squares 14, cubes 18, fourths 98.
    assert (known.count, known.mean) == (4, 3.0)
    assert known.deviation == pytest.approx((14 / 3) ** 0.5)
    assert known.skewness == pytest.approx((18 / 4) / (14 / 4) ** 1.5)
    assert known.kurtosis == pytest.approx((98 / 4) / (14 / 4) ** 2)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [0.1] * 1000])
def test_values_without_moments(values):
    assert moments(values) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [([[1.0]], "shape"), (["a"], "one row of numbers"), ([1.0, float("inf")], "index 1"), ([[1], [2, 3]], "numbers")],
)
def test_rows_that_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        checked_row(values, "test")


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, float("nan")])
def test_confidences_that_are_refused(confidence):
    with pytest.raises(InvalidRequest, match="confidence"):
        checked_confidence(confidence)
