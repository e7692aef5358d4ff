"""The trials behind a chosen result: how many, how different, how far apart, and how likely the choice was luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.backtest_overfitting import BLOCKS, Overfitting, probability_of_overfitting
from market_maker.performance.evidence import EdgeEvidence
from market_maker.performance.figures import Figure, Float64, moments
from market_maker.performance.overfitting import (
    TRIALS_MAX,
    Axes,
    DeflatedSharpe,
    deflated_sharpe,
    effective_trials,
    minimum_backtest_years,
    minimum_track_record,
    probabilistic_sharpe,
    trials_by_period,
)
from market_maker.performance.returns import Sharpe
from market_maker.performance.sharpe_interval import BootstrapInterval


@dataclass(frozen=True, slots=True)
class TrialStatistics:
    """What is known of the trials among which a result was chosen.

    Parameters
    ----------
    count : every trial of this family of strategies, not only of the last search; at least 1
    annual_deviation : standard deviation of their annual Sharpe ratios; 0 of one trial
    effective : how many of them differ; None where their returns are not known: all are then counted
    overfitting : of the search; None where it was not computed
    was_searched : True when the result is the best of a search
    """

    count: int
    annual_deviation: float
    effective: int | None = None
    overfitting: Overfitting | None = None
    was_searched: bool = True

    def __post_init__(self) -> None:
        if self.count < 1 or not 0.0 <= self.annual_deviation < math.inf:
            raise InvalidRequest.of(
                "trials", (self.count, self.annual_deviation), "at least 1 trial and a deviation of 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Edge:
    """How real the Sharpe ratio of a run is; None where undefined or where the trials are not known.

    Parameters
    ----------
    probabilistic_sharpe : probability that the true ratio exceeds 0
    deflated : the same against the best of as many worthless trials
    track_record_needed : observations after which this ratio exceeds 0 with 95 % confidence
    backtest_years_needed : years below which the best of so many worthless trials is expected to show this ratio
    """

    probabilistic_sharpe: Figure
    deflated: DeflatedSharpe | None
    track_record_needed: Figure
    backtest_years_needed: float | None


def statistics_of_ratios(annual_sharpes: Sequence[float | None], *, was_searched: bool = True) -> TrialStatistics:
    """Return the statistics of trials of which only annual Sharpe ratios were kept.

    A trial without a ratio (None) counts as a trial and as a ratio of 0: it was tried, and it earned nothing.
    """
    ratios = np.array([0.0 if ratio is None else ratio for ratio in annual_sharpes])
    deviation = float(np.std(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    return TrialStatistics(len(ratios), deviation, was_searched=was_searched)


def statistics_of_returns(
    returns: ArrayLike, *, axes: Axes, periods_per_year: float, blocks: int = BLOCKS
) -> TrialStatistics:
    """Return the statistics of trials whose returns over the same periods are known.

    Parameters
    ----------
    returns, axes, blocks : as `probability_of_overfitting`, which is left out for one trial or too few periods
    periods_per_year : of the sampling clock of the returns

    Notes
    -----
    Above 5,000 trials none are clustered and all are counted as different.
    """
    by_trial = trials_by_period(returns, axes)
    trials, periods = by_trial.shape
    deviation = float(np.std(_ratios(by_trial), ddof=1)) * math.sqrt(periods_per_year) if trials > 1 else 0.0
    can_split = trials > 1 and periods >= 2 * blocks
    return TrialStatistics(
        count=trials,
        annual_deviation=deviation,
        effective=effective_trials(by_trial, axes=("trial", "period")).clusters if trials <= TRIALS_MAX else None,
        overfitting=probability_of_overfitting(by_trial, axes=("trial", "period"), blocks=blocks)
        if can_split
        else None,
        was_searched=trials > 1,
    )


def edge_of(returns: Float64 | None, sharpe: Sharpe, trials: TrialStatistics | None) -> Edge:
    """Return how real a Sharpe ratio is.

    Parameters
    ----------
    returns : (n,) of the run on its sampling clock; None where they have no meaning
    sharpe : the ratio of these returns
    trials : those among which the run was chosen; None where nobody counted
    """
    known = None if returns is None else moments(returns)
    if known is None:
        nothing = Figure(None, sharpe.reason)
        return Edge(nothing, None, nothing, None)
    ratio = known.mean / known.deviation
    probability = probabilistic_sharpe(
        ratio, benchmark=0.0, observations=known.count, skewness=known.skewness, kurtosis=known.kurtosis
    )
    needed = minimum_track_record(ratio, benchmark=0.0, skewness=known.skewness, kurtosis=known.kurtosis)
    extreme = "skewness and kurtosis of the returns are too extreme for the formula"
    never = "the Sharpe ratio is not above 0" if ratio <= 0.0 else extreme
    deflated = years = None
    if trials is not None:
        counted = trials.count if trials.effective is None else trials.effective
        scale = math.sqrt(sharpe.periods_per_year)
        deflated = deflated_sharpe(known, trials=counted, deviation=trials.annual_deviation / scale)
        years = minimum_backtest_years(counted, ratio * scale)
    return Edge(
        probabilistic_sharpe=Figure(probability, extreme if probability is None else None),
        deflated=deflated,
        track_record_needed=Figure(needed, never if needed is None else None),
        backtest_years_needed=years,
    )


def edge_evidence(
    edge: Edge, sharpe: Sharpe, bootstrap: BootstrapInterval, trials: TrialStatistics | None
) -> EdgeEvidence:
    """Return what judgement A rests on."""
    interval = bootstrap.interval
    return EdgeEvidence(
        observations=sharpe.observations,
        years=sharpe.observations / sharpe.periods_per_year,
        probabilistic_sharpe=edge.probabilistic_sharpe.value,
        deflated_sharpe=None if edge.deflated is None else edge.deflated.probability,
        trials=None if trials is None else trials.count,
        effective_trials=None if trials is None else trials.effective,
        track_record_needed=edge.track_record_needed.value,
        backtest_years_needed=edge.backtest_years_needed,
        bootstrap_low=interval.low,
        bootstrap_high=interval.high,
        overfitting_probability=None
        if trials is None or trials.overfitting is None
        else trials.overfitting.probability,
        was_searched=trials is not None and trials.was_searched,
        undefined=sharpe.reason,
    )


def _ratios(by_trial: Float64) -> Float64:
    """Return (trials,) Sharpe ratios per period; 0 for a trial that does not vary."""
    mean = by_trial.mean(axis=1)
    deviation = by_trial.std(axis=1, ddof=1)
    varies = deviation > 1e-14 * np.maximum(np.abs(by_trial).max(axis=1), 1e-300)
    result: Float64 = np.where(varies, mean / np.where(varies, deviation, 1.0), 0.0)
    return result
