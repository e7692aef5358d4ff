"""Fixed half-spread around a reservation price that leans against the inventory.

One bid and one ask, post-only, moved when they are further than a tolerance from where they should be.
Source: the linear inventory skew of Ho and Stoll (1981), "Optimal dealer pricing under transactions and return
uncertainty", J. Financial Economics 9, with a constant spread as in Avellaneda and Stoikov (2008), section 3.3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import StrategyKind
from market_maker.strategies.quoting import is_two_sided, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides

HALF_SPREAD, SKEW, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = 0, 1, 2, 3, 4


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Requote both sides around mid - skew x inventory; leave everything while a side of the book is empty."""
    if not is_two_sided(view):
        return
    reservation = mid_ticks(view) - params[SKEW] * view.position_lots
    bid = reservation - params[HALF_SPREAD]
    ask = reservation + params[HALF_SPREAD]
    quote_both_sides(
        view,
        actions,
        memory[:TWO_QUOTES],
        bid,
        ask,
        int(params[ORDER_LOTS]),
        int(params[TOLERANCE]),
        int(params[MAX_INVENTORY]),
    )


KIND = StrategyKind(
    kind="inventory_skew",
    summary="One bid and one ask at a fixed half-spread around the mid, both shifted against the inventory.",
    parameters=(
        parameters.HALF_SPREAD,
        parameters.SKEW,
        *parameters.QUOTE,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.inventory_skew:on_wake",
    memory_size=TWO_QUOTES,
)
