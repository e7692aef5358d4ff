"""Luck and its best of many: the published figures, the formulas at their edges, and the count of different trials."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Moments
from market_maker.performance.overfitting import (
    deflated_sharpe,
    effective_trials,
    expected_maximum,
    minimum_backtest_years,
    minimum_track_record,
    probabilistic_sharpe,
    trials_by_period,
)

AXES = ("trial", "period")


def chosen(skewness: float, kurtosis: float) -> Moments:
    """Return the example of Bailey and Lopez de Prado (2014): annual ratio 2.5 over 1,250 days of 250 a year."""
    return Moments(count=1250, mean=2.5 / math.sqrt(250), deviation=1.0, skewness=skewness, kurtosis=kurtosis)


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "probability"),
    [(100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505)],
)
def test_published_deflated_ratios(trials, skewness, kurtosis, probability):
    """Annual ratios of the trials have a variance of 1/2: per day sqrt(1 / 500)."""
    found = deflated_sharpe(chosen(skewness, kurtosis), trials=trials, deviation=math.sqrt(0.5 / 250))
    assert found.probability == pytest.approx(probability, abs=5e-5)
    if trials == 100:
        assert found.benchmark == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    # Bailey and Lopez de Prado (2012): annual ratio 2 against 1 at 95 %; the last with the moments of hedge funds.
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_published_track_records(periods, skewness, kurtosis, years):
    needed = minimum_track_record(
        2 / math.sqrt(periods), benchmark=1 / math.sqrt(periods), skewness=skewness, kurtosis=kurtosis
    )
    assert needed / periods == pytest.approx(years, abs=0.005)


def test_published_backtest_length():
    """Bailey et al. (2014): after 45 trials five years of data show an annual ratio of 1 by luck."""
    assert minimum_backtest_years(45, 1.0) == pytest.approx(5.00, abs=0.005)
    assert minimum_backtest_years(45, 2.0) == pytest.approx(1.25, abs=0.005)
    assert minimum_backtest_years(45, 0.0) is None


def test_expected_maximum_against_drawing(rng):
    drawn = rng.standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_maximum(50) == pytest.approx(drawn, abs=0.03)
    assert expected_maximum(1) == 0.0
    assert expected_maximum(1.01) == 0.0
    assert expected_maximum(2) < expected_maximum(2.5) < expected_maximum(3)
    for bad in (0, 0.5, float("nan")):
        with pytest.raises(InvalidRequest, match="trials"):
            expected_maximum(bad)


def test_probability_by_hand():
    # SR 0.1 over 101 normal returns: z = 0.1 x 10 / sqrt(1 + 0.005) = 0.99751; Phi = 0.84075.
    normal = {"observations": 101, "skewness": 0.0, "kurtosis": 3.0}
    assert probabilistic_sharpe(0.1, benchmark=0.0, **normal) == pytest.approx(0.84075, abs=1e-5)
    assert probabilistic_sharpe(0.1, benchmark=0.1, **normal) == 0.5
    # 1 - 4 x 0.5 + 0.25 x (2 - 1) x 0.25 < 0: moments that no approximation bears.
    extreme = {"observations": 101, "skewness": 4.0, "kurtosis": 2.0}
    assert probabilistic_sharpe(0.5, benchmark=0.0, **extreme) is None
    assert minimum_track_record(0.5, benchmark=0.0, skewness=4.0, kurtosis=2.0) is None
    with pytest.raises(InvalidRequest, match="observations"):
        probabilistic_sharpe(0.1, benchmark=0.0, observations=1, skewness=0.0, kurtosis=3.0)


def test_the_track_record_is_where_the_probability_reaches_the_confidence():
    needed = minimum_track_record(0.12, benchmark=0.05, skewness=-0.5, kurtosis=6.0, confidence=0.9)
    reached = [
        probabilistic_sharpe(0.12, benchmark=0.05, observations=count, skewness=-0.5, kurtosis=6.0)
        for count in (math.floor(needed), math.ceil(needed))
    ]
    assert reached[0] < 0.9 <= reached[1]
    assert minimum_track_record(0.05, benchmark=0.05, skewness=0.0, kurtosis=3.0) is None
    assert minimum_track_record(0.5, benchmark=0.0, skewness=0.0, kurtosis=3.0, confidence=0.4) == 2.0


def test_one_trial_is_not_deflated():
    found = deflated_sharpe(chosen(0.0, 3.0), trials=1, deviation=0.5)
    assert found.benchmark == 0.0
    assert found.probability == probabilistic_sharpe(
        2.5 / math.sqrt(250), benchmark=0.0, observations=1250, skewness=0.0, kurtosis=3.0
    )
    with pytest.raises(InvalidRequest, match="deviation"):
        deflated_sharpe(chosen(0.0, 3.0), trials=2, deviation=-1.0)


def test_trials_that_move_together_count_once(rng):
    """Four ideas, each tried with small changes, one of them also upside down, and two trials that never traded."""
    ideas = rng.standard_normal((4, 400))
    trials = [ideas[k] + 0.3 * rng.standard_normal(400) for k in (0, 1, 0, 2, 3, 3, 1, 0)]
    found = effective_trials([*trials, -ideas[0], np.zeros(400), np.zeros(400)], axes=AXES)
    assert found.members == (0, 1, 0, 2, 3, 3, 1, 0, 4, 5, 5)
    assert found.clusters == 6


def test_the_bound_of_clusters(rng):
    trials = rng.standard_normal((20, 300))
    assert effective_trials(trials, axes=AXES).clusters == 20
    assert effective_trials(trials, axes=AXES, correlation=-1.0).clusters == 1
    assert effective_trials(np.tile(trials[:1], (7, 1)), axes=AXES).clusters == 1
    assert effective_trials(trials[:1], axes=AXES).members == (0,)


def test_axes_have_no_default(rng):
    values = rng.standard_normal((3, 5))
    assert trials_by_period(values, AXES).shape == (3, 5)
    assert np.array_equal(trials_by_period(values.T, ("period", "trial")), values)
    with pytest.raises(InvalidRequest, match="axes"):
        trials_by_period(values, ("trial", "trial"))
    with pytest.raises(DataError, match="shape"):
        trials_by_period(values[0], AXES)
    values[1, 2] = np.nan
    with pytest.raises(DataError, match="trial 1, period 2"):
        trials_by_period(values, AXES)
    with pytest.raises(DataError, match="period 2, trial 1"):
        trials_by_period(values.T, ("period", "trial"))


def test_too_many_trials_are_not_clustered():
    with pytest.raises(DataError, match="5001 trials"):
        effective_trials(np.ones((5001, 2)), axes=AXES)
