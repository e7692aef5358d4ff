"""Value at risk, expected shortfall and drawdown: from losses to figures, from a position and its prices to metrics.

Pure functions. Owns the conventions and the rule of how much history is enough; knows nothing of where positions and
prices come from or where figures go. Losses are positive; a gain is a negative loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, MAX_TICK_LOTS, ContractType, Instrument
from market_maker.domain.modes import RiskModel
from market_maker.domain.position import PositionState
from market_maker.domain.units import format_duration
from market_maker.performance.drawdown import Drawdown, max_drawdown
from market_maker.risk.history import PriceHistory, choose_returns

AMOUNT_STEP = Decimal("1e-8")
"""Risk figures are rounded once, at the end, to this step of the quote currency, halves to even."""

LEAST_OBSERVATIONS = 20
WANTED_OBSERVATIONS = 250
"""A year of trading days, as the Basel rules count it."""

_MAX_LOSS = 1e150
_CONFIDENCE_ALLOWED = "a number between 0 and 1, both excluded, such as 0.95"


class Convention(StrEnum):
    """Which quantile is called value at risk.

    With n losses, confidence c and k = n (1 - c), ranks counted from the largest loss:

    LOWER_QUANTILE: inf {l: F_L(l) >= c}, the loss of rank floor(k) + 1;
    UPPER_ORDER_STATISTIC: inf {l: F_L(l) > c}, the loss of rank ceil(k): another one only where k is whole;
    INTERPOLATED: linear between the losses around rank 1 + (n - 1)(1 - c).

    Source: Hyndman and Fan (1996), types 1 and 7; Acerbi and Tasche (2002), definitions 2.1 and 2.2.
    """

    LOWER_QUANTILE = "LOWER_QUANTILE"
    UPPER_ORDER_STATISTIC = "UPPER_ORDER_STATISTIC"
    INTERPOLATED = "INTERPOLATED"


@dataclass(frozen=True, slots=True)
class TailFigures:
    """Value at risk and expected shortfall of one sample, in the unit of its losses."""

    value_at_risk: float
    expected_shortfall: float


def tail_figures(
    losses: ArrayLike, confidence_level: float | Decimal, convention: Convention = Convention.LOWER_QUANTILE
) -> TailFigures:
    """Return historical value at risk and expected shortfall.

    Parameters
    ----------
    losses : (n,) numbers, any unit and order, a loss positive; n (1 - c) >= 1, so that the tail holds a whole loss
    confidence_level : c, between 0 and 1, both excluded; the decimal number meant is used: 0.95 is 95/100
    convention : which quantile is value at risk

    Returns
    -------
    TailFigures
        Expected shortfall is the mean of the worst n (1 - c) losses, the one on the boundary counted with the
        fraction that is missing. It is never below value at risk, whatever the convention.

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1).
    DataError
        No or too few losses (says how many are needed); NaN, infinite or absurd ones (names the index).

    Notes
    -----
    n (1 - c) is an exact fraction: in binary 1 - 0.95 is 0.050000000000000044, and rounding 1000 times that up counts
    51 losses instead of 50. The tail is summed exactly, so that the order of losses cannot change a digit. O(n).

    Source: Acerbi and Tasche (2002), "On the coherence of expected shortfall", J. Banking & Finance 26(7), eq. 4.

    Examples
    --------
    >>> tail_figures(range(1, 41), 0.95)  # the tail holds 40 x 0.05 = 2 losses: 40 and 39
    TailFigures(value_at_risk=38.0, expected_shortfall=39.5)
    """
    values = _checked_losses(losses)
    tail_share = _tail_share(confidence_level)
    count = values.size
    if count * tail_share < 1:
        raise DataError(
            f"{count} losses are too few for a confidence of {confidence_level}:"
            f" at least {_count_for_tail(tail_share)} are needed"
        )
    tail = count * tail_share
    whole = int(tail)
    kept = min(whole + 2, count)
    worst = np.sort(np.partition(values, count - kept)[count - kept :])[::-1]
    boundary = float(worst[min(whole, count - 1)])
    shortfall = math.fsum([*worst[:whole].tolist(), float(tail - whole) * boundary]) / float(tail)
    quantile = _quantile(worst, tail_share, count, convention)
    # Both bounds hold for real numbers; they take away what rounding of the division may have added.
    return TailFigures(quantile, min(max(shortfall, boundary, quantile), float(worst[0])))


def value_at_risk(
    losses: ArrayLike, confidence_level: float | Decimal, convention: Convention = Convention.LOWER_QUANTILE
) -> float:
    """Return the historical value at risk; all as in `tail_figures`."""
    return tail_figures(losses, confidence_level, convention).value_at_risk


def expected_shortfall(losses: ArrayLike, confidence_level: float | Decimal) -> float:
    """Return the historical expected shortfall of Acerbi and Tasche; all as in `tail_figures`."""
    return tail_figures(losses, confidence_level).expected_shortfall


def minimum_observations(confidence_level: float | Decimal) -> int:
    """Return how many returns a figure needs: 1 / (1 - c), so that the tail holds a whole loss, and never under 20.

    20 at 95 %, 100 at 99 %. InvalidRequest outside (0, 1).
    """
    return max(LEAST_OBSERVATIONS, _count_for_tail(_tail_share(confidence_level)))


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


def _quantile(worst: NDArray[np.float64], tail_share: Fraction, count: int, convention: Convention) -> float:
    """Return the quantile from the losses in falling order, of which the first floor(k) + 2 are given."""
    tail = count * tail_share
    whole = int(tail)
    if convention is Convention.INTERPOLATED:
        place = (count - 1) * tail_share
        upper = int(place)
        larger, smaller = float(worst[upper]), float(worst[min(upper + 1, count - 1)])
        return larger + (smaller - larger) * float(place - upper)
    rank = whole if convention is Convention.UPPER_ORDER_STATISTIC and tail == whole else whole + 1
    return float(worst[min(rank, count) - 1])


def _tail_share(confidence_level: float | Decimal) -> Fraction:
    """Return 1 - c as the fraction that was meant: that of the smallest denominator up to 1e9."""
    if isinstance(confidence_level, bool) or not isinstance(confidence_level, int | float | Decimal):
        raise InvalidRequest.of("confidence_level", confidence_level, _CONFIDENCE_ALLOWED)
    if not (confidence_level == confidence_level and 0 < confidence_level < 1):  # noqa: PLR0124 (NaN is not itself)
        raise InvalidRequest.of("confidence_level", str(confidence_level), _CONFIDENCE_ALLOWED)
    return 1 - Fraction(confidence_level).limit_denominator(10**9)


def _count_for_tail(tail_share: Fraction) -> int:
    return math.ceil(1 / tail_share) if tail_share else 10**9


def _checked_losses(losses: ArrayLike) -> NDArray[np.float64]:
    try:
        given = np.asarray(losses)
    except (TypeError, ValueError) as error:
        raise DataError(f"the losses are not one row of numbers: {error}") from error
    if given.ndim != 1 or given.size == 0:
        raise DataError(f"losses of shape {given.shape} are not allowed; give one row of at least one number")
    if given.dtype.kind not in "iuf":
        raise DataError(f"losses of type {given.dtype} are not allowed; give integers or floats")
    values = given.astype(np.float64)
    bad = np.flatnonzero(~(np.abs(values) <= _MAX_LOSS))
    if bad.size:
        raise DataError(
            f"loss {values[bad[0]]} at index {bad[0]} is not allowed; allowed: finite, at most {_MAX_LOSS:g} in size"
        )
    return values


def _marked_drawdown(qty_lots: int, history: PriceHistory) -> Drawdown:
    if abs(qty_lots) * int(history.close_half_ticks.max()) > 2 * MAX_TICK_LOTS - 1:
        raise DataError(f"a position of {qty_lots} lots is worth more than can be counted; allowed: 2^62 tick-lots")
    return max_drawdown(qty_lots * history.close_half_ticks)


def _amount(value: Decimal, fraction: float) -> Decimal:
    amount = EXACT.multiply(abs(value), Decimal(fraction))
    return amount.quantize(AMOUNT_STEP, rounding=ROUND_HALF_EVEN, context=EXACT) + Decimal(0)
