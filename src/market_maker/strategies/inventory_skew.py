"""Fixed half-spread around a reservation price that leans against the inventory.

One bid and one ask, post-only, moved when they are further than a tolerance from where they should be.
Source: the linear inventory skew of Ho and Stoll (1981), "Optimal dealer pricing under transactions and return
uncertainty", J. Financial Economics 9, with a constant spread as in Avellaneda and Stoikov (2008), section 3.3.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies.actions import Records, View, cancel, place
from market_maker.strategies.contract import Parameter, StrategyKind

HALF_SPREAD, SKEW, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = 0, 1, 2, 3, 4
BUY, SELL, LIMIT, GTC = 1, -1, 0, 0


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Requote both sides around mid - skew x inventory; do nothing while a side of the book is empty."""
    if view.best_bid_ticks == 0 or view.best_ask_ticks == 0:
        return
    mid = 0.5 * (view.best_bid_ticks + view.best_ask_ticks)
    reservation = mid - params[SKEW] * view.position_lots
    # A quote never crosses the book it sees: post-only would only be refused.
    bid = min(int(math.floor(reservation - params[HALF_SPREAD])), view.best_ask_ticks - 1)
    ask = max(int(math.ceil(reservation + params[HALF_SPREAD])), view.best_bid_ticks + 1)
    lots = int(params[ORDER_LOTS])
    limit = int(params[MAX_INVENTORY])
    wants_bid = bid > 0 and view.position_lots + lots <= limit
    wants_ask = ask > 0 and view.position_lots - lots >= -limit
    tolerance = int(params[TOLERANCE])
    for i in range(len(view.orders)):
        order = view.orders[i]
        target = bid if order["side"] == BUY else ask
        wanted = wants_bid if order["side"] == BUY else wants_ask
        near = abs(order["price_ticks"] - target) <= tolerance
        if order["cancel_pending"] == 0 and wanted and near:
            if order["side"] == BUY:
                wants_bid = False
            else:
                wants_ask = False
        elif order["cancel_pending"] == 0:
            cancel(actions, order["order_id"])
    if wants_bid:
        place(actions, BUY, LIMIT, GTC, 1, bid, lots)
    if wants_ask:
        place(actions, SELL, LIMIT, GTC, 1, ask, lots)


KIND = StrategyKind(
    kind="inventory_skew",
    summary="One bid and one ask at a fixed half-spread around the mid, both shifted against the inventory.",
    parameters=(
        Parameter(
            "half_spread_ticks", "number", 5, 0, 1e9, "ticks", "distance of each quote from the reservation price"
        ),
        Parameter("skew_ticks_per_lot", "number", 0.1, 0, 1e9, "ticks per lot", "shift of both quotes per lot held"),
        Parameter("order_lots", "integer", 1, 1, 2**40, "lots", "quantity of each quote"),
        Parameter(
            "max_inventory_lots", "integer", 10, 1, 2**40, "lots", "no quote that could carry the position further"
        ),
        Parameter("refresh_tolerance_ticks", "integer", 0, 0, 10**9, "ticks", "a quote this near to its place is left"),
        Parameter("interval_ns", "integer", 100_000_000, 1_000, 86_400 * 10**9, "ns", "time between wake-ups"),
    ),
    source="market_maker.strategies.inventory_skew:on_wake",
)
