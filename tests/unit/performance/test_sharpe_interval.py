"""Intervals of the Sharpe ratio: formulas by hand, chance from a seed, and coverage on series whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import normal_quantile
from market_maker.performance.sharpe_interval import (
    block_length,
    bootstrap_interval,
    hac_interval,
    long_run_variance,
    newey_west_lags,
)


def moving_average(rng: np.random.Generator, count: int, weight: float, drift: float) -> np.ndarray:
    """Return drift + e(t) + weight e(t-1): autocorrelated, with a true Sharpe ratio of drift / sqrt(1 + weight^2)."""
    noise = rng.standard_normal(count + 1)
    return drift + noise[1:] + weight * noise[:-1]


def test_long_run_variance_by_hand():
    # Centred 1, -1, 1, -1: variance 4/4; lag 1: -3/4, with weight 1 - 1/2 and twice: 1 - 0.75 = 0.25.
    assert long_run_variance([3.0, 1.0, 3.0, 1.0], 0) == pytest.approx(1.0)
    assert long_run_variance([3.0, 1.0, 3.0, 1.0], 1) == pytest.approx(0.25)
    # Lags beyond the data have nothing to add: weights 3/4, 2/4, 1/4 of -3/4, 2/4, -1/4, twice.
    assert long_run_variance([3.0, 1.0, 3.0, 1.0], 3) == pytest.approx(1 - 2 * 0.5625 + 2 * 0.25 - 2 * 0.0625)
    with pytest.raises(InvalidRequest):
        long_run_variance([1.0, 2.0], -1)


@pytest.mark.parametrize(("count", "lags"), [(100, 4), (1000, 6), (10_000, 11), (20, 2)])
def test_lags_grow_with_the_ninth_root_squared(count, lags):
    assert newey_west_lags(count) == lags


def test_without_autocorrelation_hac_is_the_known_variance(rng):
    """For normal returns the variance of the Sharpe ratio is (1 + SR^2 / 2) / n (Lo 2002, equation 8)."""
    returns = 0.2 + rng.standard_normal(100_000)
    interval = hac_interval(returns, 4.0, lags=0)
    error = math.sqrt((1 + 0.02) / 100_000)
    assert interval.estimate == pytest.approx(2 * returns.mean() / returns.std(ddof=1))
    assert interval.high - interval.low == pytest.approx(2 * 2 * normal_quantile(0.975) * error, rel=0.02)
    assert interval.method == "HAC, Bartlett kernel, 0 lags"


@pytest.mark.parametrize("weight", [0.0, 0.8])
def test_both_intervals_cover_the_truth(rng, weight):
    """The share of 95 % intervals that hold the truth; the naive one holds it in about 84 % when weight is 0.8."""
    truth, held, rounds = 0.1 / math.sqrt(1 + weight**2), {"hac": 0, "bootstrap": 0, "naive": 0}, 300
    for _ in range(rounds):
        returns = moving_average(rng, 600, weight, 0.1)
        intervals = {
            "hac": hac_interval(returns, 1.0, lags=12),
            "bootstrap": bootstrap_interval(returns, 1.0, rng, draws=300, mean_block=15.0).interval,
            "naive": hac_interval(returns, 1.0, lags=0),
        }
        for name, interval in intervals.items():
            held[name] += interval.low <= truth <= interval.high
    assert 0.90 <= held["hac"] / rounds <= 0.985
    assert 0.88 <= held["bootstrap"] / rounds <= 0.985
    if weight:
        assert held["naive"] / rounds < 0.90


def test_block_length_of_independent_and_of_dependent_returns(rng):
    independent = rng.standard_normal(2000)
    slow = np.zeros(2000)
    for k in range(1, 2000):
        slow[k] = 0.9 * slow[k - 1] + independent[k]
    assert block_length(independent) < 10
    assert 25 < block_length(slow) < 135  # 3 sqrt(2000) = 134.2 is the most


def test_block_length_of_a_series_by_hand():
    # 1, -1, 1, -1, ...: every autocorrelation is loud, so the bandwidth is the most it can be; the length stays in its
    # bounds: at most ceil(min(3 sqrt(40), 40 / 3)) = 14.
    assert block_length([1.0, -1.0] * 20) == 14.0
    with pytest.raises(DataError, match="at least 20"):
        block_length([1.0] * 19)
    with pytest.raises(InvalidRequest, match="vary"):
        block_length([1.0] * 20)


def plain_block_length(values: np.ndarray) -> float:
    """Return the block length by the steps of Politis and White, one lag after the other."""
    count = len(values)
    centred = values - values.mean()

    def covariance(lag: int) -> float:
        return sum(float(centred[k] * centred[k + lag]) for k in range(count - lag)) / count

    quiet = max(5, int(math.sqrt(math.log10(count))))
    lags_max = min(math.ceil(math.sqrt(count)) + quiet, count - 1)
    loud = [
        lag
        for lag in range(1, lags_max + 1)
        if abs(covariance(lag) / covariance(0)) >= 2 * math.sqrt(math.log10(count) / count)
    ]
    last = next(m for m in range(lags_max) if not any(m < lag <= m + quiet for lag in loud))
    bandwidth = min(2 * max(last, 1), lags_max)
    g_sum = spectrum = 0.0
    for lag in range(-bandwidth, bandwidth + 1):
        share = abs(lag) / bandwidth
        weight = 1.0 if share <= 0.5 else 2 * (1 - share)
        g_sum += weight * abs(lag) * covariance(abs(lag))
        spectrum += weight * covariance(abs(lag))
    length = (2 * g_sum**2 / (2 * spectrum**2)) ** (1 / 3) * count ** (1 / 3)
    return min(max(length, 1.0), math.ceil(min(3 * math.sqrt(count), count / 3)))


@pytest.mark.parametrize("memory", [0.0, 0.2, 0.4, 0.7, -0.3])
def test_block_length_is_that_of_the_plain_steps(rng, memory):
    for count in (40, 150, 301):
        values = rng.standard_normal(count)
        for k in range(1, count):
            values[k] += memory * values[k - 1]
        assert block_length(values) == pytest.approx(plain_block_length(values), rel=1e-9)


def test_the_same_seed_gives_the_same_interval(rng):
    returns = rng.standard_t(4, 300)
    one, same, other = (bootstrap_interval(returns, 252.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one.interval.low != other.interval.low
    assert one.interval.low < one.interval.estimate < one.interval.high
    assert 0.0 < one.share_not_positive < 1.0


def test_a_resampled_series_has_as_many_returns_as_the_sample(rng):
    """With blocks as long as the sample every draw is the sample itself, turned: all draws have its ratio."""
    returns = rng.standard_normal(50) + 0.3
    interval = bootstrap_interval(returns, 1.0, rng, mean_block=1e12).interval
    assert interval.low == pytest.approx(interval.estimate)
    assert interval.high == pytest.approx(interval.estimate)


def test_blocks_of_one_are_the_ordinary_bootstrap(rng):
    """Against drawing returns one by one."""
    returns = rng.standard_t(5, 400) + 0.1
    mine = bootstrap_interval(returns, 1.0, rng, draws=20_000, mean_block=1.0).interval
    drawn = returns[rng.integers(0, 400, (20_000, 400))]
    low, high = np.quantile(drawn.mean(axis=1) / drawn.std(axis=1, ddof=1), [0.025, 0.975])
    assert mine.low == pytest.approx(low, abs=0.004)
    assert mine.high == pytest.approx(high, abs=0.004)


@pytest.mark.parametrize(
    ("returns", "reason"), [([0.1] * 30, "do not vary"), ([0.1, 0.2] * 9, "at least 20"), ([], "at least 20")]
)
def test_undefined_intervals_say_why(rng, returns, reason):
    for interval in (hac_interval(returns, 1.0), bootstrap_interval(returns, 1.0, rng).interval):
        assert interval.estimate is interval.low is interval.high is None
        assert reason in interval.reason
    assert bootstrap_interval(returns, 1.0, rng).share_not_positive is None


def test_bad_arguments(rng):
    with pytest.raises(DataError, match="index 1"):
        hac_interval([1.0, float("nan")], 1.0)
    for bad in ({"draws": 99}, {"mean_block": 0.5}, {"confidence": 1.0}):
        with pytest.raises(InvalidRequest):
            bootstrap_interval([0.1, 0.2] * 20, 1.0, rng, **bad)
    with pytest.raises(InvalidRequest, match="confidence"):
        hac_interval([0.1, 0.2], 1.0, confidence=0.0)
