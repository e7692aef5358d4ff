"""Our figures against independent libraries; where conventions differ, the test states ours and theirs.

The libraries are test dependencies (group `dev`): scipy, empyrical-reloaded, purgedcv, skfolio, arch, statsmodels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from market_maker.performance.backtest_overfitting import probability_of_overfitting
from market_maker.performance.drawdown import relative_drawdown
from market_maker.performance.figures import moments, normal_cdf, normal_quantile, student_quantile
from market_maker.performance.inventory import half_life
from market_maker.performance.overfitting import (
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    minimum_backtest_years,
    minimum_track_record,
    probabilistic_sharpe,
)
from market_maker.performance.returns import YEAR_NS, calmar_ratio, sharpe_ratio, simple_returns, sortino_ratio
from market_maker.performance.sharpe_interval import block_length, bootstrap_interval, hac_interval, newey_west_lags
from market_maker.performance.splits import combinatorial_folds, purged_folds, walk_forward_folds

AXES = ("trial", "period")


@pytest.fixture
def returns(rng: np.random.Generator) -> np.ndarray:
    """Return fat-tailed and skewed returns, such that every moment matters."""
    draws = rng.standard_t(5, 750)
    return 0.001 + 0.01 * np.where(draws < 0, 1.4 * draws, draws)


def test_quantiles_against_scipy() -> None:
    from scipy import stats

    for probability in (0.005, 0.025, 0.3, 0.9, 0.975, 0.995):
        assert normal_quantile(probability) == pytest.approx(stats.norm.ppf(probability), abs=1e-12)
        assert normal_cdf(probability) == pytest.approx(stats.norm.cdf(probability), abs=1e-14)
        for degrees in (9, 15, 60, 1000):
            assert student_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), abs=5e-4)


def test_moments_against_scipy(returns: np.ndarray) -> None:
    """Skewness and kurtosis with 1/n (scipy's bias=True), kurtosis not in excess (fisher=False)."""
    from scipy import stats

    known = moments(returns)
    assert known is not None
    assert known.skewness == pytest.approx(stats.skew(returns), rel=1e-9)
    assert known.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)


def test_ratios_against_empyrical(returns: np.ndarray) -> None:
    """Both: simple returns, risk-free 0, n - 1 in the Sharpe ratio, all returns in the downside, compounded Calmar.

    empyrical annualises by a given number of periods; ours follows from year / interval.
    """
    import empyrical

    equity = 1000 * np.cumprod(np.concatenate([[1.0], 1 + returns]))
    daily = YEAR_NS // 365
    assert simple_returns(equity) == pytest.approx(returns, abs=1e-12)
    assert sharpe_ratio(equity, interval_ns=daily).ratio == pytest.approx(
        empyrical.sharpe_ratio(returns, annualization=365), rel=1e-9
    )
    for target in (0.0, 0.0005):
        assert sortino_ratio(returns, 365.0, target).value == pytest.approx(
            empyrical.sortino_ratio(returns, required_return=target, annualization=365), rel=1e-9
        )
    assert relative_drawdown(equity) == pytest.approx(-empyrical.max_drawdown(returns), rel=1e-9)
    assert calmar_ratio(equity, 365.0).value == pytest.approx(
        empyrical.calmar_ratio(returns, annualization=365), rel=1e-9
    )


def test_luck_against_skfolio(returns: np.ndarray, rng: np.random.Generator) -> None:
    """Both: n - 1 in the Sharpe ratio. skfolio's skewness and kurtosis are with 1/n, as ours."""
    from skfolio.measures import deflated_sharpe_ratio, expected_max_sharpe_ratio, probabilistic_sharpe_ratio

    known = moments(returns)
    assert known is not None
    ratio = known.mean / known.deviation
    for benchmark in (0.0, 0.05):
        ours = probabilistic_sharpe(
            ratio, benchmark=benchmark, observations=known.count, skewness=known.skewness, kurtosis=known.kurtosis
        )
        assert ours == pytest.approx(probabilistic_sharpe_ratio(returns, benchmark), rel=1e-9)
    trials = 0.03 * rng.standard_normal(60)
    deviation = float(np.std(trials, ddof=1))
    ours = deflated_sharpe(known, trials=60, deviation=deviation)
    assert ours.benchmark == pytest.approx(expected_max_sharpe_ratio(60, deviation), rel=1e-9)
    assert ours.probability == pytest.approx(deflated_sharpe_ratio(returns, trials), rel=1e-9)


def test_luck_against_purgedcv(returns: np.ndarray) -> None:
    """purgedcv takes n in the Sharpe ratio where ours takes n - 1, and unbiased skewness and kurtosis where ours have 1/n.

    Both conventions are in the literature; given its numbers, ours is the same formula. It rounds the track record up to
    a whole number.
    """
    import purgedcv
    from scipy import stats

    ratio, count = float(returns.mean() / returns.std()), len(returns)
    shape = {
        "skewness": float(stats.skew(returns, bias=False)),
        "kurtosis": float(stats.kurtosis(returns, bias=False, fisher=False)),
    }
    ours = probabilistic_sharpe(ratio, benchmark=0.02, observations=count, **shape)
    assert ours == pytest.approx(purgedcv.probabilistic_sharpe_ratio(returns, 0.02), rel=1e-9)
    benchmark = 0.02 * expected_maximum(40)
    ours = probabilistic_sharpe(ratio, benchmark=benchmark, observations=count, **shape)
    assert ours == pytest.approx(purgedcv.deflated_sharpe_ratio(returns, 40, 0.02**2), rel=1e-9)
    needed = minimum_track_record(0.1, benchmark=0.02, skewness=-0.5, kurtosis=5.0)
    assert needed is not None
    assert math.ceil(needed) == purgedcv.min_track_record_length(0.1, 0.02, 0.05, -0.5, 5.0)
    for trials in (2, 45, 1000):
        assert minimum_backtest_years(trials, 1.5) == pytest.approx(
            purgedcv.minimum_backtest_length(trials, 1.5), rel=1e-9
        )


@pytest.mark.parametrize(("trials", "periods", "blocks"), [(10, 240, 8), (20, 503, 10), (7, 101, 6)])
def test_overfitting_against_purgedcv(rng: np.random.Generator, trials: int, periods: int, blocks: int) -> None:
    """purgedcv counts logits below 0; ours, as the paper, those at 0 too, which only an odd number of trials can have.

    It lists combinations by the blocks out of sample, ours by those in sample: the same set in the opposite order.
    """
    import purgedcv

    returns = rng.standard_normal((trials, periods))
    ours = probability_of_overfitting(returns, axes=AXES, blocks=blocks)
    theirs = purgedcv.probability_of_backtest_overfitting(returns, n_splits=blocks)
    assert ours.logits[::-1] == pytest.approx(theirs.logits, abs=1e-12)
    assert ours.in_sample[::-1] == pytest.approx(theirs.is_oos_performance[:, 0], abs=1e-12)
    assert ours.out_of_sample[::-1] == pytest.approx(theirs.is_oos_performance[:, 1], abs=1e-12)
    assert ours.degradation == pytest.approx(theirs.slope, rel=1e-9)
    assert ours.probability == pytest.approx(theirs.pbo + np.mean(theirs.logits == 0.0))


def splits_of(splitter: Any, count: int) -> list[tuple[list[int], list[int]]]:
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(np.zeros((count, 1)))]


@pytest.mark.parametrize(("length_h", "embargo_h"), [(1, 0), (5, 0), (5, 7), (1, 3)])
def test_splits_against_purgedcv(length_h: int, embargo_h: int) -> None:
    """Both: an outcome covers [start, end). purgedcv's embargo includes its last instant, ours does not: 1 ns less."""
    import pandas as pd
    import purgedcv

    hour, count = 3600 * 10**9, 53
    start = np.arange(count) * hour
    end = start + length_h * hour
    times = {"prediction_times": pd.to_datetime(start), "evaluation_times": pd.to_datetime(end)}
    embargo = {"embargo": pd.Timedelta(embargo_h * hour - 1, unit="ns")} if embargo_h else {}
    ours = [(s.train.tolist(), s.test.tolist()) for s in purged_folds(start, end, 5, embargo_ns=embargo_h * hour)]
    assert ours == splits_of(purgedcv.PurgedKFold(5, **times, **embargo), count)
    ours = [
        (s.train.tolist(), s.test.tolist())
        for s in combinatorial_folds(start, end, 6, test_blocks=2, embargo_ns=embargo_h * hour)
    ]
    theirs = splits_of(purgedcv.CombinatorialPurgedCV(6, 2, **times, **embargo), count)
    assert len(ours) == 15
    assert ours == theirs
    for train_size, window in ((None, "expanding"), (9, "sliding")):
        ours = [
            (s.train.tolist(), s.test.tolist())
            for s in walk_forward_folds(start, end, 4, test_size=6, train_size=train_size)
        ]
        theirs = purgedcv.WalkForwardSplit(4, 6, train_size=train_size, window=window, **times)
        assert ours == splits_of(theirs, count)


def test_hac_against_statsmodels(returns: np.ndarray) -> None:
    """The influence values regressed on a constant: its HAC error, Bartlett kernel, without a small-sample factor."""
    import statsmodels.api as sm

    mean, second = returns.mean(), (returns**2).mean()
    influence = ((returns - mean) * second - mean / 2 * (returns**2 - second)) / (second - mean**2) ** 1.5
    lags = newey_west_lags(len(returns))
    fitted = sm.OLS(influence, np.ones(len(returns))).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "kernel": "bartlett", "use_correction": False}
    )
    interval = hac_interval(returns, 365.0)
    reach = 2 * normal_quantile(0.975) * float(fitted.bse[0]) * math.sqrt(365)
    assert interval.low is not None
    assert interval.high is not None
    assert interval.high - interval.low == pytest.approx(reach, rel=1e-9)


def test_bootstrap_against_arch(returns: np.ndarray) -> None:
    """Both: percentiles of the stationary bootstrap; two sources of chance, so within a tenth of the width."""
    from arch.bootstrap import StationaryBootstrap

    interval = bootstrap_interval(returns, 1.0, np.random.default_rng(1), draws=4000, mean_block=8.0).interval
    theirs = StationaryBootstrap(8, returns, seed=np.random.default_rng(2)).conf_int(
        lambda values: values.mean() / values.std(ddof=1), 4000, method="percentile"
    )
    assert interval.low is not None
    assert interval.high is not None
    assert [interval.low, interval.high] == pytest.approx(
        theirs.ravel().tolist(), abs=0.1 * (interval.high - interval.low)
    )


def test_block_length_against_arch(rng: np.random.Generator) -> None:
    """arch takes the first quiet lag where the paper, and ours, take the last loud one, and norms autocorrelations apart.

    Of independent and of strongly dependent returns the bandwidth is the same, and so is the length.
    """
    from arch.bootstrap import optimal_block_length

    noise = rng.standard_normal(2000)
    slow = np.zeros(2000)
    for k in range(1, 2000):
        slow[k] = 0.95 * slow[k - 1] + noise[k]
    for values in (noise, slow):
        theirs = float(optimal_block_length(values)["stationary"].iloc[0])
        assert block_length(values) == pytest.approx(theirs, rel=0.35)


@pytest.mark.parametrize("correlation", [0.2, 0.5, 0.8])
def test_clusters_against_scipy(rng: np.random.Generator, correlation: float) -> None:
    """Average linkage of 1 - correlation, cut at 1 - `correlation`."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    ideas = rng.standard_normal((9, 120))
    trials = ideas[rng.integers(0, 9, 70)] + rng.uniform(0.2, 2.0, (70, 1)) * rng.standard_normal((70, 120))
    distance = 1 - np.corrcoef(trials)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    theirs = fcluster(tree, 1 - correlation, criterion="distance")
    ours = effective_trials(trials, axes=AXES, correlation=correlation)
    assert ours.clusters == len(set(theirs.tolist()))
    pairs = {(ours.members[k], int(theirs[k])) for k in range(70)}
    assert len(pairs) == ours.clusters  # the same partition, whatever the names


def test_half_life_against_statsmodels(rng: np.random.Generator) -> None:
    import statsmodels.api as sm

    position = np.zeros(3000)
    for k in range(1, 3000):
        position[k] = 0.9 * position[k - 1] + rng.normal(0, 500)
    lots = position.astype(np.int64)
    fitted = sm.OLS(lots[1:], sm.add_constant(lots[:-1])).fit()
    assert half_life(lots, 10**9).value == pytest.approx(1e9 * math.log(0.5) / math.log(fitted.params[1]), rel=1e-9)
