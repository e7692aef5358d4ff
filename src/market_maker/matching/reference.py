"""The order book in plain Python: price-time priority, the slow and obvious form.

It owns who stands where and who trades next. It knows nothing of accounts, fees, latency or time.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from market_maker.domain.order import Order, Side


@dataclass(slots=True, eq=False)
class RestingOrder:
    """One order in the book. `owner` is the order of a user, None for the synthetic market's."""

    side: Side
    price_ticks: int
    leaves_lots: int
    priority: int
    owner: Order | None


@dataclass(frozen=True, slots=True)
class Match:
    """A planned trade of `qty_lots` with a resting order, at its price."""

    resting: RestingOrder
    qty_lots: int


class _BookSide:
    """The levels of one side: a queue per price in order of arrival, and the prices sorted best first."""

    def __init__(self, sign: int) -> None:
        self.sign = sign  # +1 for asks (lowest is best), -1 for bids
        self.queues: dict[int, dict[int, RestingOrder]] = {}
        self.keys: list[int] = []  # sign * price, ascending

    def add(self, order: RestingOrder) -> None:
        queue = self.queues.get(order.price_ticks)
        if queue is None:
            queue = self.queues[order.price_ticks] = {}
            insort(self.keys, self.sign * order.price_ticks)
        queue[order.priority] = order

    def remove(self, order: RestingOrder) -> None:
        queue = self.queues[order.price_ticks]
        del queue[order.priority]
        if not queue:
            del self.queues[order.price_ticks]
            self.keys.remove(self.sign * order.price_ticks)

    def in_order(self) -> Iterator[RestingOrder]:
        for key in self.keys:
            yield from self.queues[self.sign * key].values()


class ReferenceBook:
    """A limit order book; priorities are unique and grow with arrival."""

    def __init__(self) -> None:
        self._sides = {Side.BUY: _BookSide(-1), Side.SELL: _BookSide(1)}
        self._resting: dict[int, RestingOrder] = {}

    def add(self, order: RestingOrder) -> None:
        """Rest `order` behind all others at its price. It is not matched here."""
        assert order.leaves_lots > 0 and order.priority not in self._resting, order
        self._resting[order.priority] = order
        self._sides[order.side].add(order)

    def get(self, priority: int) -> RestingOrder | None:
        """Return the resting order with this priority, or None."""
        return self._resting.get(priority)

    def remove(self, order: RestingOrder) -> None:
        """Take `order` out of the book."""
        del self._resting[order.priority]
        self._sides[order.side].remove(order)

    def reduce(self, order: RestingOrder, qty_lots: int) -> None:
        """Take `qty_lots` off an order, which keeps its place; at zero it leaves the book."""
        assert 0 < qty_lots <= order.leaves_lots, (order, qty_lots)
        order.leaves_lots -= qty_lots
        if order.leaves_lots == 0:
            self.remove(order)

    def best(self, side: Side) -> int | None:
        """Return the best price of `side` in ticks, or None when it is empty. O(1)."""
        keys = self._sides[side].keys
        return self._sides[side].sign * keys[0] if keys else None

    def crosses(self, side: Side, price_ticks: int) -> bool:
        """Tell whether an incoming order of `side` at `price_ticks` could trade."""
        opposite = self.best(Side(-side))
        return opposite is not None and (price_ticks - opposite) * int(side) >= 0

    def plan(
        self, side: Side, limit_ticks: int | None, qty_lots: int, is_there: Callable[[RestingOrder], bool]
    ) -> list[Match]:
        """Return the trades of an incoming order, best price first, then first come; the book stays as it is.

        `limit_ticks` None takes any price. A resting order for which `is_there` is false is passed over and
        keeps its place. O(orders touched).
        """
        matches: list[Match] = []
        for resting in self._sides[Side(-side)].in_order():
            if qty_lots == 0 or (limit_ticks is not None and (resting.price_ticks - limit_ticks) * int(side) > 0):
                break
            if is_there(resting):
                taken = min(qty_lots, resting.leaves_lots)
                matches.append(Match(resting, taken))
                qty_lots -= taken
        return matches

    def levels(self, side: Side, depth: int) -> list[tuple[int, int]]:
        """Return up to `depth` (price in ticks, total lots), best first."""
        book_side = self._sides[side]
        prices = (book_side.sign * key for key in book_side.keys[:depth])
        return [(price, sum(order.leaves_lots for order in book_side.queues[price].values())) for price in prices]

    def orders(self, side: Side) -> Iterator[RestingOrder]:
        """Yield the orders of `side` in the order in which they would trade."""
        return self._sides[side].in_order()

    def queue_ahead(self, order: RestingOrder) -> int:
        """Return the lots that stand before `order` at its price."""
        queue = self._sides[order.side].queues[order.price_ticks]
        return sum(other.leaves_lots for other in queue.values() if other.priority < order.priority)
