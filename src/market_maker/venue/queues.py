"""Where our resting orders stand in the queues of their prices. Reads the engine's memory, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.matching.book import OrderBook
from market_maker.venue.venue import Venue, open_orders_of

ORDERS_MAX = 50
"""Places are told of so many orders at most, those nearest to the market: each costs a walk along its queue."""
WALK_MAX = 500
"""A queue is walked so far; who stands behind is told the whole of what the level shows."""


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """An order at its price: `ahead_lots` are displayed before it, `level_lots` in all."""

    order_id: UUID
    side: Side
    price_ticks: int
    leaves_lots: int
    ahead_lots: int
    level_lots: int

    def data(self, instrument: Instrument) -> dict[str, str]:
        """Return the place in the units of users."""
        return {
            "order_id": str(self.order_id),
            "side": self.side.name,
            "price": instrument.price_text(self.price_ticks),
            "leaves_qty": instrument.qty_text(self.leaves_lots),
            "ahead": instrument.qty_text(self.ahead_lots),
            "level_qty": instrument.qty_text(self.level_lots),
        }


def queue_places(venue: Venue, book: OrderBook) -> list[QueuePlace]:
    """Return the places of our resting orders, nearest to the market first; stop orders wait in no queue.

    Cost: proportional to the orders ahead, `ORDERS_MAX` x `WALK_MAX` steps at most.
    """
    if not venue.numbered:
        return []
    state = book.state
    resting = open_orders_of(state.orders)
    resting = resting[resting["book"] < 2]
    resting = resting[resting["rank"].argsort(kind="stable")]
    places = []
    for row in resting[: 2 * ORDERS_MAX]:
        order = venue.numbered.get(int(row["order_id"]))
        if order is None:
            continue
        level = int(state.levels[row["level"]]["shown_lots"])
        ahead, slot = 0, int(row["before"])
        for _ in range(WALK_MAX):
            if slot < 0:
                break
            ahead += int(state.orders[slot]["shown_lots"])
            slot = int(state.orders[slot]["before"])
        else:
            ahead = level
        side = Side.BUY if row["book"] == 0 else Side.SELL
        ticks = -int(side) * int(row["rank"])
        places.append(QueuePlace(order.order_id, side, ticks, int(row["leaves_lots"]), ahead, level))
        if len(places) == ORDERS_MAX:
            break
    return places
