"""The trials behind a result: counted, compared, and put into the judgement of the edge."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.returns import sharpe_ratio
from market_maker.performance.sharpe_interval import bootstrap_interval
from market_maker.performance.trial_statistics import (
    TrialStatistics,
    edge_evidence,
    edge_of,
    statistics_of_ratios,
    statistics_of_returns,
)

AXES = ("trial", "period")
DAY = 86_400 * 10**9


def test_ratios_alone():
    statistics = statistics_of_ratios([1.0, 3.0, None])
    # 1, 3 and 0 for the one without a ratio: deviation sqrt((1/9 + 25/9 + 16/9) / 2).
    assert statistics.annual_deviation == pytest.approx(math.sqrt(42 / 18))
    assert (statistics.count, statistics.effective, statistics.overfitting) == (3, None, None)
    assert statistics_of_ratios([2.0]).annual_deviation == 0.0


def test_returns_of_trials(rng):
    returns = rng.standard_normal((30, 200))
    returns[10:20] = returns[10]
    returns[29] = 0.0
    statistics = statistics_of_returns(returns, axes=AXES, periods_per_year=100.0, blocks=8)
    ratios = returns[:29].mean(axis=1) / returns[:29].std(axis=1, ddof=1)
    assert statistics.annual_deviation == pytest.approx(10 * np.std([*ratios, 0.0], ddof=1))
    assert (statistics.count, statistics.effective) == (30, 21)
    assert statistics.overfitting.blocks == 8
    assert statistics.was_searched


def test_one_trial_and_short_trials(rng):
    one = statistics_of_returns(rng.standard_normal((1, 50)), axes=AXES, periods_per_year=1.0)
    assert (one.count, one.annual_deviation, one.overfitting, one.was_searched) == (1, 0.0, None, False)
    assert statistics_of_returns(rng.standard_normal((2, 50)), axes=AXES, periods_per_year=1.0).was_searched
    short = statistics_of_returns(rng.standard_normal((3, 31)), axes=AXES, periods_per_year=1.0)
    assert (short.count, short.overfitting) == (3, None)


def test_trials_that_cannot_be():
    for count, deviation in ((0, 1.0), (1, -1.0), (1, float("nan"))):
        with pytest.raises(InvalidRequest, match="trials"):
            TrialStatistics(count, deviation)


def test_different_trials_deflate_and_copies_do_not(rng):
    returns = 0.15 + rng.standard_normal(500)
    sharpe = sharpe_ratio(np.cumprod(1 + np.concatenate([[0.0], returns]) / 100), interval_ns=DAY)
    few = edge_of(returns, sharpe, TrialStatistics(1000, 1.0, effective=2))
    many = edge_of(returns, sharpe, TrialStatistics(1000, 1.0))
    nobody = edge_of(returns, sharpe, None)
    assert few.deflated.trials == 2
    assert many.deflated.trials == 1000
    assert few.deflated.probability > many.deflated.probability
    # The deviation is annual: 1 / sqrt(365) a day.
    assert many.deflated.deviation == pytest.approx(1 / math.sqrt(365))
    assert many.backtest_years_needed > few.backtest_years_needed
    assert (nobody.deflated, nobody.backtest_years_needed) == (None, None)
    assert nobody.probabilistic_sharpe == many.probabilistic_sharpe


def test_evidence_of_an_edge(rng):
    returns = 0.15 + rng.standard_normal(500)
    sharpe = sharpe_ratio(np.cumprod(1 + np.concatenate([[0.0], returns]) / 100), interval_ns=DAY)
    trials = statistics_of_returns(rng.standard_normal((10, 500)), axes=AXES, periods_per_year=365.0)
    edge, bootstrap = edge_of(returns, sharpe, trials), bootstrap_interval(returns, 365.0, rng)
    evidence = edge_evidence(edge, sharpe, bootstrap, trials)
    assert (evidence.observations, evidence.years) == (500, pytest.approx(500 / 365))
    assert (evidence.trials, evidence.effective_trials, evidence.was_searched) == (10, 10, True)
    assert evidence.overfitting_probability == trials.overfitting.probability
    assert evidence.deflated_sharpe == edge.deflated.probability
    assert evidence.bootstrap_low == bootstrap.interval.low
    alone = edge_evidence(edge_of(returns, sharpe, None), sharpe, bootstrap, None)
    assert (alone.trials, alone.deflated_sharpe, alone.was_searched) == (None, None, False)


def test_no_returns_no_edge():
    sharpe = sharpe_ratio([1.0, -1.0, 2.0], interval_ns=DAY)
    edge = edge_of(None, sharpe, TrialStatistics(3, 1.0))
    assert edge.probabilistic_sharpe.value is None
    assert "zero or negative" in edge.probabilistic_sharpe.reason
    losing = edge_of(np.array([-1.0, -2.0, -1.5]), sharpe, None)
    assert losing.track_record_needed.reason == "the Sharpe ratio is not above 0"
