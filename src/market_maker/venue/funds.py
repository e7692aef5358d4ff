"""What an account can afford: worst-case exposure against its balance, over all its pairs.

An order is affordable when the account's balance, results and fees included, covers the notional of
its worst case: all open buys filled, or all open sells filled, whichever weighs more (leverage 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from market_maker.domain.instrument import EXACT
from market_maker.domain.order import Side


@dataclass(slots=True)
class PairExposure:
    """An account's stake in one pair: lots held, notional of open orders, and result, in lots and tick-lots."""

    tick_lot: Decimal
    qty_lots: int = 0
    buy_notional: int = 0
    sell_notional: int = 0
    result_tick_lots: int = 0

    def required_tick_lots(self, mark_ticks: int, *, buy: int = 0, sell: int = 0) -> int:
        """Return the worst-case notional with `buy` and `sell` tick-lots of further orders."""
        held = self.qty_lots * mark_ticks
        return max(abs(held + self.buy_notional + buy), abs(held - self.sell_notional - sell))

    def reserve(self, side: Side, notional: int) -> None:
        """Add `notional` tick-lots (negative: release) of open orders of `side`."""
        if side is Side.BUY:
            self.buy_notional += notional
        else:
            self.sell_notional += notional


@dataclass(slots=True)
class AccountFunds:
    """One account over all its pairs; shared by the pairs' venues, which run in one thread."""

    account_id: UUID
    initial_balance: Decimal
    transferred: Decimal = Decimal(0)
    pairs: dict[UUID, PairExposure] = field(default_factory=dict)
    marks: dict[UUID, int] = field(default_factory=dict)

    def exposure(self, pair_id: UUID, tick_lot: Decimal) -> PairExposure:
        """Return the exposure of `pair_id`, made on first use."""
        exposure = self.pairs.get(pair_id)
        if exposure is None:
            exposure = self.pairs[pair_id] = PairExposure(tick_lot)
        return exposure

    def balance(self) -> Decimal:
        """Return the initial balance plus transfers and realised results less fees, in quote currency."""
        total = EXACT.add(self.initial_balance, self.transferred)
        for exposure in self.pairs.values():
            total += EXACT.multiply(Decimal(exposure.result_tick_lots), exposure.tick_lot)
        return total

    def reserved(self) -> Decimal:
        """Return the notional of the worst case over all pairs, at their last marks."""
        amounts = (
            EXACT.multiply(Decimal(own.required_tick_lots(self.marks.get(pair_id, 0))), own.tick_lot)
            for pair_id, own in self.pairs.items()
        )
        return sum(amounts, Decimal(0))

    def can_afford(self, pair_id: UUID, mark_ticks: int, side: Side, notional: int) -> bool:
        """Tell whether an order of `notional` tick-lots fits; one that does not raise the worst case always does."""
        self.marks[pair_id] = mark_ticks
        own = self.pairs[pair_id]
        buy, sell = (notional, 0) if side is Side.BUY else (0, notional)
        required = own.required_tick_lots(mark_ticks, buy=buy, sell=sell)
        if required <= own.required_tick_lots(mark_ticks):
            return True
        left = self.balance()
        for other_id, other in self.pairs.items():
            if other_id != pair_id:
                amount = other.required_tick_lots(self.marks.get(other_id, 0))
                left -= EXACT.multiply(Decimal(amount), other.tick_lot)
        return EXACT.multiply(Decimal(required), own.tick_lot) <= left
