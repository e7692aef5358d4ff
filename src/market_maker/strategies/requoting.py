"""How wanted quotes become requests: orders left in place, orders moved, and the limits that no order may break.

Owns what every quoting strategy does alike once it knows what it wants. An order near enough to a wanted quote keeps
its place in the queue, any other is cancelled; missing ones are placed, post-only. All open orders of a side together
could not carry the position past its limit, and none crosses the book or meets an own order of the other side. Decides
no price.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.order import OrderType, TimeInForce
from market_maker.strategies.actions import CANCEL, Records, View, cancel, place
from market_maker.strategies.quoting import (
    BUY,
    LOTS,
    MOST,
    PER_QUOTE,
    PRICE,
    SELL,
    SIDE,
    Quotes,
    ask_at,
    bid_at,
    jitable,
    want,
)

LIMIT, GTC = int(OrderType.LIMIT), int(TimeInForce.GTC)
NOTHING_HELD = np.zeros(0)
TWO_QUOTES = 2 * PER_QUOTE
"""Numbers of memory that `quote_both_sides` needs."""


@jitable
def is_among(order_id: int, held: NDArray[np.float64]) -> bool:
    """Return whether `held` has this id."""
    found = False
    for i in range(len(held)):
        found = found or held[i] == order_id
    return found


@jitable
def has_room(actions: Records) -> bool:
    """Return whether one more request fits into this wake-up; what does not waits for the next."""
    return bool(actions[0]["kind"] + 1 < len(actions))


@jitable
def is_leaving(orders: Records, i: int, actions: Records) -> bool:
    """Return whether order `i` is being cancelled, or was told to be at this wake-up."""
    # Orders of other instruments are not the quotes' to move.
    if orders[i]["cancel_pending"] != 0 or orders[i]["instrument"] != 0:
        return True
    for j in range(1, actions[0]["kind"] + 1):
        if actions[j]["kind"] == CANCEL and actions[j]["order_id"] == orders[i]["order_id"]:
            return True
    return False


@jitable
def take_away(orders: Records, i: int, actions: Records) -> None:
    """Cancel order `i`, once."""
    if has_room(actions) and not is_leaving(orders, i, actions):
        cancel(actions, orders[i]["order_id"])


@jitable
def withdraw(view: View, actions: Records) -> None:
    """Cancel every own order: what a strategy does when it cannot know a price."""
    for i in range(len(view.orders)):
        take_away(view.orders, i, actions)


@jitable
def match_of(quotes: Quotes, side: int, price_ticks: int, leaves_lots: int, tolerance_ticks: int) -> int:
    """Return where the wanted quote nearest to an order of no more than its quantity begins, if within the tolerance; else -1."""
    found = -1
    distance = tolerance_ticks + 1
    for at in range(0, len(quotes), PER_QUOTE):
        if quotes[at + SIDE] != side:
            continue
        away = abs(int(quotes[at + PRICE]) - price_ticks)
        lots = quotes[at + LOTS]
        if lots >= leaves_lots and lots > 0 and away < distance:
            found = at
            distance = away
    return found


@jitable
def keep_or_cancel(
    orders: Records,
    position_lots: int,
    actions: Records,
    quotes: Quotes,
    side: int,
    tolerance_ticks: int,
    max_inventory_lots: int,
    above_ticks: int,
    held: NDArray[np.float64],
) -> int:
    """Leave the orders of a side that stand where a quote is wanted, cancel the others; return the highest price left.

    A quote that an order stands for is struck from `quotes`. No order at or below `above_ticks` is left (asks have to
    stay above the bids left). Orders in `held` are left wherever they are; 0 is returned when none is left.
    """
    room = max_inventory_lots - side * position_lots
    highest = 0
    for i in range(len(orders)):
        order = orders[i]
        if order["side"] == side:
            stays = is_among(order["order_id"], held)
            if stays:
                highest = max(highest, order["price_ticks"])
            if stays or is_leaving(orders, i, actions):
                room -= order["leaves_lots"]
    for i in range(len(orders)):
        order = orders[i]
        if order["side"] != side or is_among(order["order_id"], held) or is_leaving(orders, i, actions):
            continue
        match = -1
        if order["leaves_lots"] <= room and order["price_ticks"] > above_ticks:
            match = match_of(quotes, side, order["price_ticks"], order["leaves_lots"], tolerance_ticks)
        if match >= 0:
            quotes[match + LOTS] = 0
            room -= order["leaves_lots"]
            highest = max(highest, order["price_ticks"])
        else:
            take_away(orders, i, actions)
    return highest


@jitable
def place_missing(view: View, actions: Records, quotes: Quotes, max_inventory_lots: int) -> bool:
    """Place the quotes that no order stands for, whole or not at all; return whether to come back for some.

    One is left out while it would cross the book; while it and everything open on its side could carry the position
    past the limit, orders being cancelled included, since until the venue answers they may still fill; and while an own
    order of the other side stays at its price or better. One that is leaving does not count there: its cancel arrives
    first. Coming back is worth while when leaving orders took the room.
    """
    orders = view.orders
    # The position bought with every open order of a side filled and nothing of the other, and the one sold.
    bought, sold = view.position_lots, -view.position_lots
    highest_bid = view.best_bid_ticks
    lowest_ask = view.best_ask_ticks if view.best_ask_ticks > 0 else MOST + 1
    leaving = 0
    for i in range(len(orders)):
        order = orders[i]
        stays = not is_leaving(orders, i, actions)
        if not stays:
            leaving += 1
        if order["side"] == BUY:
            bought += order["leaves_lots"]
            if stays:
                highest_bid = max(highest_bid, order["price_ticks"])
        else:
            sold += order["leaves_lots"]
            if stays:
                lowest_ask = min(lowest_ask, order["price_ticks"])
    left_out = 0
    for at in range(0, len(quotes), PER_QUOTE):
        price, lots = int(quotes[at + PRICE]), int(quotes[at + LOTS])
        if lots == 0:
            continue
        if not has_room(actions):
            left_out += 1
        elif quotes[at + SIDE] == BUY and bought + lots <= max_inventory_lots and price < lowest_ask:
            place(actions, BUY, LIMIT, GTC, 1, price, lots)
            bought += lots
            highest_bid = max(highest_bid, price)
        elif quotes[at + SIDE] == SELL and sold + lots <= max_inventory_lots and price > highest_bid:
            place(actions, SELL, LIMIT, GTC, 1, price, lots)
            sold += lots
            lowest_ask = min(lowest_ask, price)
        else:
            left_out += 1
    return left_out > 0 and leaving > 0


@jitable
def requote(
    view: View,
    actions: Records,
    quotes: Quotes,
    tolerance_ticks: int,
    max_inventory_lots: int,
    held: NDArray[np.float64],
    may_place: bool,
) -> bool:
    """Make the open orders those that are wanted; return whether to come back for some that could not be placed yet.

    Parameters
    ----------
    quotes : what is wanted; changed
    tolerance_ticks : an order this near to its quote keeps its place in the queue
    max_inventory_lots : bound of the position either way, counting everything open
    held : (m,) ids of orders to leave wherever they are
    may_place : whether new orders are allowed, or only cancels
    """
    highest_bid = keep_or_cancel(
        view.orders, view.position_lots, actions, quotes, BUY, tolerance_ticks, max_inventory_lots, 0, held
    )
    keep_or_cancel(
        view.orders, view.position_lots, actions, quotes, SELL, tolerance_ticks, max_inventory_lots, highest_bid, held
    )
    return place_missing(view, actions, quotes, max_inventory_lots) if may_place else False


@jitable
def stand_as_wanted(
    orders: Records,
    position_lots: int,
    bid_ticks: int,
    ask_ticks: int,
    lots: int,
    tolerance_ticks: int,
    max_inventory_lots: int,
) -> bool:
    """Return whether the open orders are one bid and one ask that `requote` would leave and add nothing to, as at most wake-ups."""
    if len(orders) != 2:
        return False
    first = 0 if orders[0]["side"] == BUY else 1
    bid, ask = orders[first], orders[1 - first]
    if bid["side"] != BUY or ask["side"] != SELL or bid["price_ticks"] >= ask["price_ticks"]:
        return False
    if bid["cancel_pending"] != 0 or ask["cancel_pending"] != 0 or bid["instrument"] != 0 or ask["instrument"] != 0:
        return False
    if bid_ticks <= 0 or ask_ticks <= 0 or bid_ticks > MOST or ask_ticks > MOST:
        return False
    if abs(bid["price_ticks"] - bid_ticks) > tolerance_ticks or abs(ask["price_ticks"] - ask_ticks) > tolerance_ticks:
        return False
    bought, sold = bid["leaves_lots"], ask["leaves_lots"]
    is_small = bought <= min(lots, MOST) and sold <= min(lots, MOST)
    return is_small and bought <= max_inventory_lots - position_lots and sold <= max_inventory_lots + position_lots


@jitable
def quote_both_sides(
    view: View,
    actions: Records,
    quotes: Quotes,
    bid: float,
    ask: float,
    lots: int,
    tolerance_ticks: int,
    max_inventory_lots: int,
) -> None:
    """Want one bid at or below `bid` and one ask at or above `ask`, both in ticks and of `lots`; `quotes` is room for two."""
    bid_ticks = bid_at(bid, view)
    ask_ticks = ask_at(ask, view)
    if ask_ticks > 0:
        ask_ticks = max(ask_ticks, bid_ticks + 1)
    if actions[0]["kind"] == 0 and stand_as_wanted(
        view.orders, view.position_lots, bid_ticks, ask_ticks, lots, tolerance_ticks, max_inventory_lots
    ):
        return
    want(quotes, 0, BUY, bid_ticks, lots)
    want(quotes, 1, SELL, ask_ticks, lots)
    requote(view, actions, quotes, tolerance_ticks, max_inventory_lots, NOTHING_HELD, True)
