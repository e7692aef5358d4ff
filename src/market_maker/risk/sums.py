"""What a limit's scope holds at this moment, before an order: lots, resting lots and values of all positions it covers.

Reads the venues that run; what is held in pairs without a market is seen by assessments alone. Knows no limit's threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.instrument import EXACT
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.risk.limits import Limit, LimitScope, covers

if TYPE_CHECKING:  # the venue brings the compiler with it
    from market_maker.venue.venue import Venue


def members(limit: Limit, venue: Venue, position: PositionState) -> Sequence[PositionState]:
    """Return the positions in a venue's pair that a limit covers, the one that an order is for among them."""
    if limit.scope is LimitScope.POSITION:
        return (position,)
    return [
        each
        for each in venue.positions.values()
        if each.account_id != MARKET_ACCOUNT_ID and covers(limit.scope, limit.scope_id, each)
    ]


def resting_lots(venue: Venue, side: Side, positions: Iterable[PositionState]) -> int:
    """Return the open lots of a side of some positions."""
    wanted = {each.position_id for each in positions}
    return sum(
        order.leaves_lots for order in venue.orders.values() if order.side is side and order.position_id in wanted
    )


def value_beside(limit: Limit, venue: Venue, others: Iterable[Venue], position: PositionState) -> int:
    """Return the sizes of all values that a limit covers beside those of a position, in tick-lots of its pair, rounded up.

    At the reference prices; of pairs in the same quote currency, since others cannot be added.
    """
    mark = venue.market.reference_ticks
    total = sum(
        abs(each.qty_lots) * mark
        for each in members(limit, venue, position)
        if each.position_id != position.position_id
    )
    if limit.scope not in (LimitScope.STRATEGY, LimitScope.ACCOUNT, LimitScope.ALL):
        return total
    rest = Decimal(0)
    for other in _elsewhere(venue, others):
        if other.instrument.quote == venue.instrument.quote:
            lots = sum(abs(each.qty_lots) for each in members(limit, other, position))
            rest += EXACT.multiply(Decimal(lots * other.market.reference_ticks), other.instrument.tick_lot)
    return total + int(EXACT.divide(rest, venue.instrument.tick_lot).to_integral_value(ROUND_CEILING))


def lots_by_pair(limit: Limit, venue: Venue, others: Iterable[Venue], position: PositionState) -> dict[UUID, int]:
    """Return the net lots of each pair that a limit covers."""
    venues = [venue] if limit.scope is LimitScope.POSITION else [venue, *_elsewhere(venue, others)]
    return {each.instrument.pair_id: sum(state.qty_lots for state in members(limit, each, position)) for each in venues}


def _elsewhere(venue: Venue, others: Iterable[Venue]) -> Iterator[Venue]:
    return (each for each in others if each.instrument.pair_id != venue.instrument.pair_id)
