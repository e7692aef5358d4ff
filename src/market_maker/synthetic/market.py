"""The synthetic market, first form: a reference price that diffuses, a book around it, and takers.

It owns the wishes of invented participants (what should stand at each price, who takes); the venue
matches them. Pure: every draw is a function of (seed, counter), so that the same seed and the same
commands give the same market, also after a restart.

Source: the price is a geometric random walk with a step of standard deviation `price_deviation`; takers
come as Poisson arrivals per step, as in zero-intelligence models (Smith, Farmer, Gillemot, Krishnamurthy 2003).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from market_maker.domain.order import Side

MICRO = 1_000_000
"""The reference price is kept as an integer of 1e-6 ticks."""

LEVELS = 20
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """Parameters of the synthetic market.

    `price_deviation`: standard deviation of the relative change per step. `level_lots`: mean quantity of a
    level, in lots. `half_spread_ticks`: distance of the best quotes from the reference, in ticks.
    `takers_per_step`: mean number of market orders in a step. `taker_lots`: their mean size, in lots.
    """

    price_deviation: float
    level_lots: int
    half_spread_ticks: int
    level_gap_ticks: int
    takers_per_step: float
    taker_lots: int


@dataclass(slots=True)
class MarketState:
    """What of the market must survive a restart, besides its resting orders."""

    seed: int
    reference_micro: int
    step: int = 0
    draws: int = 0

    @property
    def reference_ticks(self) -> int:
        """The reference price rounded to a tick, at least 1."""
        return max(1, (self.reference_micro + MICRO // 2) // MICRO)

    def uniform(self) -> float:
        """Return the next draw in [0, 1) with 53 random bits.

        Source: SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator.
        """
        self.draws += 1
        z = (self.seed * 0xD1342543DE82EF95 + self.draws * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return float((z ^ (z >> 31)) >> 11) * 2.0**-53

    def normal(self) -> float:
        """Return the next standard normal draw (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(2.0 * math.pi * self.uniform())

    def poisson(self, mean: float) -> int:
        """Return the next Poisson draw (Knuth's product method; `mean` is small)."""
        limit, product, count = math.exp(-mean), self.uniform(), 0
        while product > limit:
            product *= self.uniform()
            count += 1
        return count

    def move(self, relative: float) -> None:
        """Multiply the reference price by 1 + `relative`; it never falls below one tick."""
        self.reference_micro = max(MICRO, round(self.reference_micro * (1.0 + relative)))


def parameters_for(*, reference_ticks: int, lot_value_ticks: float, price_deviation: float) -> MarketParameters:
    """Return parameters that suit any instrument.

    Best quotes stand half a basis point (at least one tick) from the reference; a level holds about
    20,000 of quote currency, a taker takes about a quarter of a level.

    Parameters
    ----------
    reference_ticks : the first reference price, in ticks
    lot_value_ticks : value in quote currency of one lot at a price of one tick
    price_deviation : standard deviation of the relative change per step
    """
    half_spread = max(1, round(reference_ticks * 5e-5))
    level_lots = max(4, round(20_000 / (lot_value_ticks * reference_ticks)))
    return MarketParameters(
        price_deviation=price_deviation,
        level_lots=level_lots,
        half_spread_ticks=half_spread,
        level_gap_ticks=max(1, half_spread // 2),
        takers_per_step=4.0,
        taker_lots=max(1, level_lots // 4),
    )


def wanted_levels(state: MarketState, parameters: MarketParameters, side: Side) -> dict[int, int]:
    """Return price (ticks) -> quantity (lots) that the market wants to show on `side`, best first.

    Prices lie on a grid of `level_gap_ticks`, so that a level outlives small moves of the reference.
    Quantities grow with the distance from the reference, times a uniform draw in [0.5, 1.5).
    """
    levels: dict[int, int] = {}
    gap = parameters.level_gap_ticks
    edge = state.reference_ticks - int(side) * parameters.half_spread_ticks
    first = edge // gap * gap if side is Side.BUY else -(-edge // gap) * gap
    for index in range(LEVELS):
        price = first - int(side) * index * gap
        if price < 1:
            break
        shape = 0.5 + min(index, 10) / 10.0
        levels[price] = max(1, round(parameters.level_lots * shape * (0.5 + state.uniform())))
    return levels


def taker_orders(state: MarketState, parameters: MarketParameters) -> list[tuple[Side, int]]:
    """Return the market orders of this step as (side, lots); sizes are exponential."""
    orders = []
    for _ in range(state.poisson(parameters.takers_per_step)):
        side = Side.BUY if state.uniform() < 0.5 else Side.SELL
        size = -math.log(1.0 - state.uniform()) * parameters.taker_lots
        orders.append((side, max(1, round(size))))
    return orders
