"""What a strategy sees of a running market: the book without its own orders, and how much stands ahead of one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from market_maker.domain.order import Order, OrderStatus, Side
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.played import PlayedExchange

_AT_VENUE = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)
Own = dict[Side, dict[int, tuple[int, int]]]
"""Lots and orders of one's own by price, side by side."""


def own_levels(orders: Iterable[Order]) -> Own:
    """Return what orders that rest have in the book."""
    found: Own = {Side.BUY: {}, Side.SELL: {}}
    for order in orders:
        if order.status in _AT_VENUE and order.price_ticks:
            lots, count = found[order.side].get(order.price_ticks, (0, 0))
            found[order.side][order.price_ticks] = (lots + order.leaves_lots, count + 1)
    return found


def shown_levels(exchange: SimulatedExchange, side: Side, own: Own, levels: int) -> list[tuple[int, int]]:
    """Return price and lots of the best `levels` levels where others have orders, without the own lots."""
    if isinstance(exchange, PlayedExchange):
        return exchange.recording.others(side, levels)
    mine, found = own[side], list[tuple[int, int]]()
    for price, lots, orders in exchange.market.depth(side, levels + len(mine)).tolist():
        own_lots, own_orders = mine.get(price, (0, 0))
        if orders > own_orders and len(found) < levels:
            found.append((price, lots - own_lots))
    return found


def lots_ahead(exchange: SimulatedExchange, order: Order, own_numbers: frozenset[int]) -> int:
    """Return the displayed lots of others that stand before an order in its queue; 0 for one that does not rest."""
    if isinstance(exchange, PlayedExchange):
        return exchange.recording.lots_ahead(order.priority)
    orders = exchange.market.book.state.orders
    places = np.flatnonzero(orders["order_id"] == order.priority)
    if not order.priority or not len(places):
        return 0
    lots, at = 0, int(orders[places[0]]["before"])
    while at >= 0:
        before = orders[at]
        if int(before["order_id"]) not in own_numbers:
            lots += int(before["shown_lots"])
        at = int(before["before"])
    return lots
