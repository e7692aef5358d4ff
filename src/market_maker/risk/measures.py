"""From a position and its prices to the figures of its risk.

Pure functions. Owns how a position is valued and what is stored with its figures (conventions and tails: `tails`); knows
nothing of where positions and prices come from or where figures go. Losses are positive; a gain is a negative loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, MAX_TICK_LOTS, ContractType, Instrument
from market_maker.domain.modes import RiskModel
from market_maker.domain.position import PositionState
from market_maker.domain.units import format_duration
from market_maker.performance.drawdown import Drawdown, max_drawdown
from market_maker.risk.history import PriceHistory, choose_returns
from market_maker.risk.tails import (
    Convention,
    TailFigures,
    expected_shortfall,
    minimum_observations,
    tail_figures,
    value_at_risk,
)

AMOUNT_STEP = Decimal("1e-8")
"""Risk figures are rounded once, at the end, to this step of the quote currency, halves to even."""

WANTED_OBSERVATIONS = 250
"""A year of trading days, as the Basel rules count it."""

__all__ = [
    "AMOUNT_STEP",
    "WANTED_OBSERVATIONS",
    "Convention",
    "RiskMetrics",
    "TailFigures",
    "assess_position",
    "expected_shortfall",
    "minimum_observations",
    "tail_figures",
    "value_at_risk",
]


@dataclass(frozen=True, slots=True)
class RiskMetrics:
    """What was found about one position, with everything needed to find it again.

    Amounts are in quote currency, rounded to `AMOUNT_STEP`; losses are positive, so a negative figure is a gain even
    in the tail. `mark_price` is the price the position is valued at. `sampling_interval_ns` is the interval of the
    returns that were used, `scaling` the factor that took them to the horizon: sqrt(horizon / interval), 1 when the
    returns are those of the horizon. `dropped` counts returns that holes in the history took away.
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
    convention: Convention
    sampling_interval_ns: int
    scaling: float
    observations: int
    dropped: int
    coverage: float
    window_start_ts: int
    window_end_ts: int
    data_hash: str
    as_of_ts: int

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
            "convention": self.convention.value,
            "sampling_interval": format_duration(self.sampling_interval_ns),
            "scaling": self.scaling,
            "observations": self.observations,
            "dropped": self.dropped,
            "coverage": self.coverage,
            "window_start_ts": str(self.window_start_ts),
            "window_end_ts": str(self.window_end_ts),
            "data_hash": self.data_hash,
            "as_of_ts": str(self.as_of_ts),
        }


def assess_position(
    position: PositionState,
    instrument: Instrument,
    history: PriceHistory,
    *,
    confidence_level: float | Decimal,
    horizon_ns: int,
    as_of_ts: int,
    convention: Convention = Convention.LOWER_QUANTILE,
    mark_half_ticks: int | None = None,
    wanted_observations: int = WANTED_OBSERVATIONS,
) -> RiskMetrics:
    """Return the risk of holding `position` over the horizon, by historical simulation.

    The position is valued linearly at `mark_half_ticks` (default: the history's last close); the loss of an observed
    return r is -value x r. A flat position has figures of 0, and still needs a history.

    Parameters
    ----------
    position, instrument : what is held; SPOT or LINEAR
    history : closes of the instrument
    confidence_level : between 0 and 1, both excluded
    horizon_ns : at least the history's interval
    as_of_ts : the instant of the assessment, ns UTC
    wanted_observations : as many returns are wanted before a longer interval is preferred, see `choose_returns`

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1), an INVERSE instrument.
    DataError
        Too little history, or a position whose value leaves int64.

    Notes
    -----
    Simplifications: quantity stays as it is over the horizon; no cost of closing it; sqrt(horizon / interval) holds for
    independent returns without drift, and is stated in `scaling`.
    """
    if instrument.contract_type is ContractType.INVERSE:
        raise InvalidRequest.of("position_id", str(position.position_id), "a position in a SPOT or LINEAR pair")
    least = minimum_observations(confidence_level)
    returns = choose_returns(history, horizon_ns=horizon_ns, wanted=max(wanted_observations, least), least=least)
    mark = int(history.close_half_ticks[-1]) if mark_half_ticks is None else mark_half_ticks
    assert mark > 0, mark
    half_tick_lot = EXACT.divide(instrument.tick_lot, Decimal(2))
    value = EXACT.multiply(Decimal(position.qty_lots * mark), half_tick_lot)
    direction = (position.qty_lots > 0) - (position.qty_lots < 0)
    figures = tail_figures(-direction * returns.values, confidence_level, convention)
    scaling = math.sqrt(horizon_ns / returns.interval_ns)
    fall = _marked_drawdown(position.qty_lots, history)
    return RiskMetrics(
        position_id=position.position_id,
        pair_id=position.pair_id,
        quantity=instrument.lots_to_qty(position.qty_lots),
        mark_price=EXACT.divide(instrument.ticks_to_price(mark), Decimal(2)),
        position_value=value,
        confidence_level=Decimal(str(confidence_level)),
        time_horizon_ns=horizon_ns,
        value_at_risk=_amount(value, figures.value_at_risk * scaling),
        expected_shortfall=_amount(value, figures.expected_shortfall * scaling),
        drawdown=EXACT.multiply(Decimal(int(fall.depth)), half_tick_lot),
        drawdown_start_ts=int(history.ts[fall.start]) + history.interval_ns,
        drawdown_trough_ts=int(history.ts[fall.trough]) + history.interval_ns,
        drawdown_recovery_ts=(None if fall.recovery is None else int(history.ts[fall.recovery]) + history.interval_ns),
        method="historical",
        convention=convention,
        sampling_interval_ns=returns.interval_ns,
        scaling=scaling,
        observations=returns.values.size,
        dropped=returns.dropped,
        coverage=history.coverage,
        window_start_ts=history.window_start_ts,
        window_end_ts=history.window_end_ts,
        data_hash=history.data_hash,
        as_of_ts=as_of_ts,
    )


def _marked_drawdown(qty_lots: int, history: PriceHistory) -> Drawdown:
    if abs(qty_lots) * int(history.close_half_ticks.max()) > 2 * MAX_TICK_LOTS - 1:
        raise DataError(f"a position of {qty_lots} lots is worth more than can be counted; allowed: 2^62 tick-lots")
    return max_drawdown(qty_lots * history.close_half_ticks)


def _amount(value: Decimal, fraction: float) -> Decimal:
    amount = EXACT.multiply(abs(value), Decimal(fraction))
    return amount.quantize(AMOUNT_STEP, rounding=ROUND_HALF_EVEN, context=EXACT) + Decimal(0)
