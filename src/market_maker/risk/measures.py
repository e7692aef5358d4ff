"""The figures of an assessment: what is told, stored and held against limits. How they are found is in `assessment`.

Losses are positive; a gain is a negative loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from market_maker.domain.instrument import EXACT
from market_maker.domain.modes import RiskModel
from market_maker.domain.units import format_duration
from market_maker.risk.results import ScalingRule
from market_maker.risk.tails import (
    Convention,
    TailFigures,
    expected_shortfall,
    minimum_observations,
    tail_figures,
    value_at_risk,
)

AMOUNT_STEP = Decimal("1e-8")
"""Risk figures are rounded once, at the end, to this step of their currency, halves to even."""

WANTED_OBSERVATIONS = 250
"""A year of trading days, as the Basel rules count it."""

__all__ = [
    "AMOUNT_STEP",
    "WANTED_OBSERVATIONS",
    "Convention",
    "RiskMetrics",
    "Scope",
    "TailFigures",
    "amount_of",
    "expected_shortfall",
    "minimum_observations",
    "tail_figures",
    "value_at_risk",
]


class Scope(StrEnum):
    """Whose risk it is: the named position alone, or with all others of its pair, its account, its strategy, the book."""

    POSITION = "POSITION"
    PAIR = "PAIR"
    ACCOUNT = "ACCOUNT"
    STRATEGY = "STRATEGY"
    BOOK = "BOOK"


SECTIONS = ("drawdowns", "components", "liquidity", "inventory", "worst_case", "concentration", "margin", "stress")
"""Parts of an assessment beside the two figures. One that cannot be made holds a `reason` and nothing else."""


@dataclass(frozen=True, slots=True)
class RiskMetrics:
    """What was found about one position, or with `scope` about all that it is a part of, and how to find it again.

    Amounts are in `currency`, what the positions settle in or their quote, rounded to `AMOUNT_STEP`; losses are positive, so a negative figure is a gain even
    in the tail. `mark_price` is the price the position is valued at. `sampling_interval_ns` is the interval of the
    returns that were used, `scaling` the factor that took them to the horizon: sqrt(horizon / interval), 1 when the
    returns are those of the horizon. `dropped` counts returns that holes in the history took away.

    `quantity` and `mark_price` are those of the named position; all other figures are of the scope, `position_value` net.
    `parameters` are what the method fitted or was given; `sections` are JSON values by the names of `SECTIONS`.
    """

    position_id: UUID
    pair_id: UUID
    quantity: Decimal
    mark_price: Decimal
    position_value: Decimal
    confidence_level: Decimal
    time_horizon_ns: int
    value_at_risk: Decimal
    expected_shortfall: Decimal
    drawdown: Decimal
    drawdown_start_ts: int
    drawdown_trough_ts: int
    drawdown_recovery_ts: int | None
    method: str
    convention: str
    sampling_interval_ns: int
    scaling: float
    observations: int
    dropped: int
    coverage: float
    window_start_ts: int
    window_end_ts: int
    data_hash: str
    as_of_ts: int
    scope: Scope = Scope.POSITION
    positions: int = 1
    gross_value: Decimal = Decimal(0)
    currency: str = ""
    scaling_rule: ScalingRule = ScalingRule.SQUARE_ROOT
    parameters: dict[str, float] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)

    def value(self, risk_model: RiskModel) -> Decimal:
        """Return the figure that `risk_model` names."""
        return self.value_at_risk if risk_model is RiskModel.VAR else self.expected_shortfall

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values: amounts and instants (ns) as text, durations as users write them."""
        recovery = self.drawdown_recovery_ts
        return {
            "position_id": str(self.position_id),
            "pair_id": str(self.pair_id),
            "quantity": f"{self.quantity:f}",
            "mark_price": f"{self.mark_price:f}",
            "position_value": f"{self.position_value:f}",
            "confidence_level": f"{self.confidence_level:f}",
            "time_horizon": format_duration(self.time_horizon_ns),
            "value_at_risk": f"{self.value_at_risk:f}",
            "expected_shortfall": f"{self.expected_shortfall:f}",
            "drawdown": f"{self.drawdown:f}",
            "drawdown_start_ts": str(self.drawdown_start_ts),
            "drawdown_trough_ts": str(self.drawdown_trough_ts),
            "drawdown_recovery_ts": None if recovery is None else str(recovery),
            "method": self.method,
            "convention": str(self.convention),
            "sampling_interval": format_duration(self.sampling_interval_ns),
            "scaling": self.scaling,
            "observations": self.observations,
            "dropped": self.dropped,
            "coverage": self.coverage,
            "window_start_ts": str(self.window_start_ts),
            "window_end_ts": str(self.window_end_ts),
            "data_hash": self.data_hash,
            "as_of_ts": str(self.as_of_ts),
            "scope": self.scope.value,
            "positions": self.positions,
            "gross_value": f"{self.gross_value:f}",
            "currency": self.currency,
            "scaling_rule": self.scaling_rule.value,
            "parameters": self.parameters,
            **self.sections,
        }


def amount_of(value: Decimal, fraction: float) -> Decimal:
    """Return |value| x fraction, rounded to `AMOUNT_STEP`, halves to even."""
    amount = EXACT.multiply(abs(value), Decimal(fraction))
    return amount.quantize(AMOUNT_STEP, rounding=ROUND_HALF_EVEN, context=EXACT) + Decimal(0)
