"""What quantities are worth at prices, in whole half units of cash: price x quantity, or quantity / price of an inverse contract.

A unit of cash is `Instrument.tick_lot` (a tick-lot; of an inverse contract, at most 1e-10 of its base currency). Halves,
because a mid lies on half ticks. Columns in, columns out; exact but for the rounding of an inverse contract's values, each of
which is rounded once, halves up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market_maker.domain.instrument import Instrument
from market_maker.performance.columns import Whole, largest, packed, products, scaled
from market_maker.performance.figures import Int64

_SAFE = 2**62


@dataclass(frozen=True, slots=True)
class Worth:
    """The way from price and quantity to value.

    Parameters
    ----------
    inverse_scale : units of cash that one lot is worth at a price of one tick, of an inverse contract; 0 for all others

    Notes
    -----
    Long 1 from p1 to p2 earns p2 - p1, or 1/p1 - 1/p2: of an inverse contract the holder owes, so that his position is worth
    -quantity / price and a purchase brings quantity / price.
    """

    inverse_scale: int = 0

    @classmethod
    def of(cls, instrument: Instrument) -> Worth:
        """Return that of an instrument."""
        return cls(instrument.inverse_scale)

    def values(self, price_half_ticks: Whole, lots: Whole) -> Whole:
        """Return the values of quantities at prices; 0 where there is no price yet (0). Python's integers where int64 is too small.

        `lots` of an inverse contract are not negative.
        """
        if not self.inverse_scale:
            return products(price_half_ticks, lots)
        # Half units: 2 x lots x scale / ticks, with ticks = half ticks / 2. Rounded: (2 x 4 x lots x scale + h) // 2 h.
        doubled, half_ticks = 8 * self.inverse_scale, np.asarray(price_half_ticks)
        if doubled * max(largest(lots), 1) + largest(half_ticks) >= _SAFE:
            lots, half_ticks = np.asarray(lots).astype(object), half_ticks.astype(object)
        has_price = half_ticks > 0
        divisor = np.where(has_price, half_ticks, 1)
        found: Whole = np.where(has_price, (doubled * lots + divisor) // (2 * divisor), 0)
        return found

    def positions(self, position_lots: Whole, price_half_ticks: Whole) -> Whole:
        """Return what signed positions are worth at prices."""
        if not self.inverse_scale:
            return products(position_lots, price_half_ticks)
        found: Whole = -np.sign(position_lots) * self.values(price_half_ticks, np.abs(position_lots))
        return found

    def position(self, position_lots: int, price_half_ticks: int) -> int:
        """Return what one signed position is worth at a price."""
        return int(self.positions(packed([position_lots]), packed([price_half_ticks]))[0])

    def mid_of(self, position_lots: int, worth: int, *, near: int) -> int:
        """Return the price in half ticks at which a position that is not flat has a worth.

        Of an inverse contract several may do, where a half tick is less than a half unit: the one nearest to `near`. 0, no price,
        where nothing else makes it worth nothing.
        """
        if not self.inverse_scale:
            return worth // position_lots
        value = -worth if position_lots > 0 else worth
        if value <= 0:
            return near if self.position(position_lots, near) == worth else 0
        # Rounded halves up: value <= size / h + 1/2 < value + 1.
        size = 4 * abs(position_lots) * self.inverse_scale
        lowest, highest = 2 * size // (2 * value + 1) + 1, 2 * size // (2 * value - 1)
        return min(max(near, lowest), highest)

    def traded(self, price_ticks: Int64, lots: Int64) -> Whole:
        """Return the values of fills as the ledger has them: whole units of cash, twice."""
        if not self.inverse_scale:
            return products(2 * price_ticks, lots)
        # In whole units: lots x scale / ticks, rounded: (2 x lots x scale + ticks) // 2 ticks.
        doubled = 2 * self.inverse_scale
        if doubled * max(largest(lots), 1) + largest(price_ticks) >= _SAFE:
            lots, price_ticks = lots.astype(object), price_ticks.astype(object)
        return scaled((doubled * lots + price_ticks) // (2 * price_ticks), 2)

    def received(self, side: Int64, price_ticks: Int64, lots: Int64) -> Whole:
        """Return what fills brought in (negative: paid), fees apart, in half units of cash."""
        values = self.traded(price_ticks, lots)
        return products(side if self.inverse_scale else -side, values)


LINEAR = Worth()
"""Of spot and linear instruments."""
