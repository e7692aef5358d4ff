"""One model judged by every test, and one light for it: whether its figures can be relied on.

The light answers to all tests together, so that asking more tests does not make more false alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from market_maker.performance.json_values import json_value
from market_maker.risk.validation.coverage import (
    conditional_coverage,
    exceptions_of,
    independence,
    proportion_of_failures,
)
from market_maker.risk.validation.duration import duration_test
from market_maker.risk.validation.forecasts import Forecasts, checked_forecasts
from market_maker.risk.validation.judgement import Judgement
from market_maker.risk.validation.scores import joint_scores, quantile_scores
from market_maker.risk.validation.shortfall_tests import DRAWS, acerbi_szekely
from market_maker.risk.validation.traffic_light import TrafficLight, Zone, traffic_light

YELLOW_LEVEL, RED_LEVEL = 0.05, 0.001
DECIDING = ("proportion_of_failures", "independence", "duration", "acerbi_szekely_z1", "acerbi_szekely_z2")
"""Conditional coverage is the sum of two of them and is shown, but does not decide a second time."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What all tests say about one model.

    Parameters
    ----------
    model, confidence, window : of the forecasts
    observations, exceptions : that were held against them
    light : of the tests together: RED when the least adjusted p-value is below `RED_LEVEL`, YELLOW below `YELLOW_LEVEL`
    adjusted_p_value : least p-value x number of deciding tests, at most 1 (Bonferroni); None when none is defined
    reasons : the tests that reject at the adjusted level, in words
    judgements : all of them
    traffic_light : by the rule of Basel, for this number of observations
    quantile_score, joint_score : means; to be compared between models over the same losses
    """

    model: str
    confidence: float
    window: int
    observations: int
    exceptions: int
    light: Zone
    adjusted_p_value: float | None
    reasons: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    traffic_light: TrafficLight
    quantile_score: float
    joint_score: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = json_value(self)
        return found


def judge(
    forecasts: Forecasts, rng: np.random.Generator, *, draws: int = DRAWS, duration_draws: int = 199
) -> ModelReport:
    """Return all tests of a model.

    Parameters
    ----------
    forecasts : of `rolling_forecasts`
    rng : source of chance of the simulated p-values
    draws, duration_draws : series for Z1 and Z2, and for the duration test

    Notes
    -----
    With a right model the light is not green in at most 5 % of the cases, whatever the tests have in common. O(draws).
    """
    checked_forecasts(forecasts)
    hits = exceptions_of(forecasts.losses, forecasts.value_at_risk)
    count, exceptions, confidence = hits.size, int(hits.sum()), forecasts.confidence
    shortfall = acerbi_szekely(forecasts, rng, draws=draws)
    judgements = (
        proportion_of_failures(exceptions, count, confidence),
        independence(hits),
        conditional_coverage(hits, confidence),
        duration_test(hits, confidence=confidence, rng=rng, draws=duration_draws),
        shortfall.z1,
        shortfall.z2,
    )
    deciding = [each for each in judgements if each.test in DECIDING and each.p_value is not None]
    # By the number of all, also where some are undefined: with few exceptions the others' p-values are rough.
    adjusted = [min(float(each.p_value or 0.0) * len(DECIDING), 1.0) for each in deciding]
    least = min(adjusted, default=None)
    light = Zone.GREEN
    if least is not None and least < YELLOW_LEVEL:
        light = Zone.RED if least < RED_LEVEL else Zone.YELLOW
    reasons = tuple(
        f"{each.test}: p-value {each.p_value:.4g}, {value:.4g} for {len(DECIDING)} tests"
        for each, value in zip(deciding, adjusted, strict=True)
        if value < YELLOW_LEVEL
    )
    return ModelReport(
        model=forecasts.model,
        confidence=confidence,
        window=forecasts.window,
        observations=count,
        exceptions=exceptions,
        light=light,
        adjusted_p_value=least,
        reasons=reasons,
        judgements=judgements,
        traffic_light=traffic_light(exceptions, count, confidence),
        quantile_score=float(quantile_scores(forecasts).mean()),
        joint_score=float(joint_scores(forecasts).mean()),
    )
