"""Positions: what a fill does to quantity, average price and P&L, in exact integers.

The cost of the open quantity is kept instead of an average price, so that nothing is rounded:
average price = cost_tick_lots / qty_lots; of an INVERSE contract, whose cost is -quantity / price, -qty_lots / cost_tick_lots.
Source: average-cost accounting.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import Side


@dataclass(slots=True)
class PositionState:
    """The exact state of one position (one per account, strategy and pair).

    `qty_lots` is signed. `cost_tick_lots` is what the open quantity cost and has its sign; the opposite one for an INVERSE
    contract, whose buyer owes. Amounts are in the instrument's units of cash. `cash_tick_lots` is the sum of all payments for fills (negative: paid out), fees apart.
    Always: cash + cost = realised P&L.
    """

    position_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    qty_lots: int = 0
    cost_tick_lots: int = 0
    realised_tick_lots: int = 0
    fees_tick_lots: int = 0
    cash_tick_lots: int = 0
    volume_tick_lots: int = 0
    updated_ts: int = 0
    version: int = 0

    def apply_fill(
        self, side: Side, price_ticks: int, qty_lots: int, fee_tick_lots: int, contract: Instrument | None = None
    ) -> None:
        """Book a fill of `qty_lots` > 0 at `price_ticks`; through zero it is split in two.

        `contract` must be given when it is INVERSE: only then value is not price x quantity.

        On reduction the cost leaves in proportion, rounded half up to a tick-lot: the rest stays in the
        cost of what is still open, so that cash + cost = realised P&L holds exactly.
        """
        assert qty_lots > 0, qty_lots
        signed = int(side) * qty_lots
        value = price_ticks * qty_lots if contract is None else contract.cost(price_ticks, qty_lots)
        self.cash_tick_lots -= int(side) * value
        self.fees_tick_lots += fee_tick_lots
        self.volume_tick_lots += abs(value)
        if self.qty_lots * signed >= 0:
            self.cost_tick_lots += int(side) * value
        else:
            closing = min(abs(self.qty_lots), qty_lots)
            cost_out = _round_half_up(self.cost_tick_lots * closing, abs(self.qty_lots))
            closed = price_ticks * closing if contract is None else contract.cost(price_ticks, closing)
            self.realised_tick_lots += -int(side) * closed - cost_out
            self.cost_tick_lots += int(side) * (value - closed) - cost_out
        self.qty_lots += signed

    def unrealised_tick_lots(self, mark_ticks: int, contract: Instrument | None = None) -> int:
        """Return the P&L of the open quantity at `mark_ticks`, in tick-lots; `contract` as in `apply_fill`."""
        if contract is None:
            return mark_ticks * self.qty_lots - self.cost_tick_lots
        worth = contract.cost(mark_ticks, abs(self.qty_lots))
        return (worth if self.qty_lots > 0 else -worth) - self.cost_tick_lots


@dataclass(frozen=True, slots=True)
class Position:
    """A position as users see it: price in quote currency, results and fees in `currency`, what the contract is settled in."""

    position_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    quantity: Decimal
    average_price: Decimal | None
    realised_pnl: Decimal
    unrealised_pnl: Decimal | None
    fees: Decimal
    mark_price: Decimal | None
    updated_ts: int
    version: int
    currency: str = ""


def describe_position(state: PositionState, instrument: Instrument, mark_ticks: int | None) -> Position:
    """Return `state` in the units of users, valued at `mark_ticks` where a mark is known."""
    average = None
    if state.qty_lots:
        ticks = Decimal(state.cost_tick_lots) / Decimal(state.qty_lots)
        if instrument.inverse_scale:
            ticks = -Decimal(state.qty_lots * instrument.inverse_scale) / Decimal(state.cost_tick_lots)
        average = EXACT.multiply(ticks, instrument.tick_size)
    return Position(
        position_id=state.position_id,
        pair_id=state.pair_id,
        account_id=state.account_id,
        strategy_id=state.strategy_id,
        quantity=instrument.lots_to_qty(state.qty_lots),
        average_price=average,
        realised_pnl=instrument.cash_to_decimal(state.realised_tick_lots),
        unrealised_pnl=None
        if mark_ticks is None
        else instrument.cash_to_decimal(state.unrealised_tick_lots(mark_ticks, instrument)),
        fees=instrument.cash_to_decimal(state.fees_tick_lots),
        mark_price=None if mark_ticks is None else instrument.ticks_to_price(mark_ticks),
        updated_ts=state.updated_ts,
        version=state.version,
        currency=instrument.settled_in,
    )


def _round_half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
