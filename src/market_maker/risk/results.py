"""What a risk figure carries with it: the model, the convention, the horizon and how much it was made from.

Two figures whose basis differs must not be compared. Holds no money: amounts are in the unit of the losses that were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from market_maker.domain.modes import RiskModel
from market_maker.performance.json_values import json_value


class ScalingRule(StrEnum):
    """How a figure came to its horizon.

    NONE: the observations are of the horizon itself;
    SQUARE_ROOT: deviations x sqrt(horizon / interval): right for independent observations;
    NON_OVERLAPPING, OVERLAPPING: observations were added up (or compounded) to the horizon first;
    VARIANCE_FORECAST: the sum of the variances that the model expects for each interval of the horizon.
    """

    NONE = "NONE"
    SQUARE_ROOT = "SQUARE_ROOT"
    NON_OVERLAPPING = "NON_OVERLAPPING"
    OVERLAPPING = "OVERLAPPING"
    VARIANCE_FORECAST = "VARIANCE_FORECAST"


@dataclass(frozen=True, slots=True)
class Basis:
    """How a figure was made.

    Parameters
    ----------
    model : its name, such as `historical`
    convention : which of the usual definitions was taken, in words
    confidence : in (0, 1); None where the figure has none
    horizon_ns, interval_ns : what the figure is about, and what an observation is about; None where time has no part
    scaling : how the one became the other
    scale : the factor of `SQUARE_ROOT`, else 1
    observations : how many the figure was made from
    parameters : fitted or chosen numbers by name
    """

    model: str
    convention: str
    confidence: float | None
    horizon_ns: int | None
    interval_ns: int | None
    scaling: ScalingRule
    scale: float
    observations: int
    parameters: tuple[tuple[str, float], ...] = ()

    def parameter(self, name: str) -> float:
        """Return one of the parameters; KeyError names those that are there."""
        return dict(self.parameters)[name]


@dataclass(frozen=True, slots=True)
class TailRisk:
    """Value at risk and expected shortfall of one model, in the unit of what it was given; a loss is positive."""

    value_at_risk: float
    expected_shortfall: float
    basis: Basis

    def value(self, risk_model: RiskModel) -> float:
        """Return the figure that `risk_model` names."""
        return self.value_at_risk if risk_model is RiskModel.VAR else self.expected_shortfall

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found: dict[str, Any] = json_value(self)
        return found
