"""The distribution of the inventory and its half-life."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.inventory import Histogram, half_life, histogram, inventory_figures

SECOND = 10**9


def test_distribution_by_hand():
    figures = inventory_figures(np.array([0, 2, -1, 3]), SECOND)
    assert (figures.mean, figures.mean_absolute) == (1.0, 1.5)
    assert figures.deviation == pytest.approx(math.sqrt(2.5))  # (1 + 1 + 4 + 4) / 4
    assert (figures.largest_long, figures.largest_short) == (3, 1)
    assert (figures.long_share, figures.flat_share, figures.short_share) == (0.5, 0.25, 0.25)
    # Lower quantiles of -1, 0, 2, 3: the ceil(4 p)-th.
    assert dict(figures.quantiles) == {0.01: -1, 0.05: -1, 0.25: -1, 0.5: 0, 0.75: 2, 0.95: 3, 0.99: 3}
    assert figures.half_life_ns.reason == "4 samples; at least 20 are needed"


def test_one_sided_inventories():
    assert inventory_figures(np.array([5, 6]), SECOND).largest_short == 0
    assert inventory_figures(np.array([-5, -6]), SECOND).largest_long == 0


def test_no_samples():
    figures = inventory_figures(np.zeros(0, dtype=np.int64), SECOND)
    assert (figures.mean, figures.quantiles, figures.histogram) == (None, (), Histogram((), ()))


def test_half_life_of_an_exact_decay():
    # Every sample is half of the one before: the slope is exactly 1/2, the half-life one interval.
    position = np.array([2**k for k in range(40, 0, -1)])
    assert half_life(position, 5 * SECOND).value == pytest.approx(5 * SECOND)


def test_half_life_of_a_random_reversion(rng):
    # q(t+1) = 0.99 q(t) + noise: ln(1/2) / ln(0.99) = 68.97 intervals.
    position = np.zeros(200_000)
    noise = rng.normal(0, 1000, len(position))
    for k in range(1, len(position)):
        position[k] = 0.99 * position[k - 1] + noise[k]
    assert half_life(position.astype(np.int64), SECOND).value / SECOND == pytest.approx(68.97, rel=0.06)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ([3] * 30, "never changes"),
        (list(range(30)), "does not revert"),
        ([1, -1] * 15, "within one sampling interval"),
        ([1, 2], "at least 20"),
    ],
)
def test_no_half_life(position, reason):
    figure = half_life(np.array(position), SECOND)
    assert figure.value is None
    assert reason in figure.reason


def test_histogram_has_an_edge_at_zero():
    # From -3 to 6 in about 5 bins of 2: the first begins at -4.
    assert histogram(np.array([-3, -1, 0, 1, 6]), 5) == Histogram((-4, -2, 0, 2, 4, 6, 8), (1, 1, 2, 0, 0, 1))
    assert histogram(np.array([7, 7]), 40) == Histogram((7, 8), (2,))
    with pytest.raises(InvalidRequest):
        histogram(np.array([1]), 0)
    with pytest.raises(InvalidRequest):
        half_life(np.array([1]), 0)


@pytest.mark.parametrize("bins", [1, 2, 7, 40])
def test_histogram_counts_everything_once(rng, bins):
    values = rng.integers(-1000, 3000, 500)
    found = histogram(values, bins)
    assert sum(found.counts) == 500
    assert len(found.counts) <= bins + 1
    assert found.edges[0] <= values.min() < found.edges[1]
    assert found.edges[-2] <= values.max() < found.edges[-1]
    middle = (values >= found.edges[0]) & (values < found.edges[1])
    assert found.counts[0] == middle.sum()
