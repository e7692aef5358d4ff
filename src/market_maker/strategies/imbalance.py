"""One bid and one ask around a price that leans to the heavier side of the book.

Imbalance I = bid quantity / (bid + ask quantity) over the best levels. The fair price is
mid + weight x (half the quoted spread) x (2 I - 1): with weight 1 and one level the weighted mid,
I x ask + (1 - I) x bid. A larger weight trusts more in the next move of the mid going to the thinner side.

Source: the weighted mid as in Stoikov (2018), "The micro-price: a high-frequency estimator of future prices",
Quantitative Finance 18(12), section 1; imbalance and the next move: Cont, Kukanov and Stoikov (2014), "The price impact
of order book events", J. Financial Econometrics 12(1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.quoting import is_two_sided, jitable, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

LEVELS, WEIGHT, HALF_SPREAD, SKEW, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = range(7)
LEVELS_MAX = 20


@jitable
def total_lots(levels: Records, n: int) -> int:
    """Return the quantity of the best `n` levels; those after the last of a thin book are filled up with zeros."""
    lots = 0
    for i in range(min(n, len(levels))):
        lots += levels[i]["qty_lots"]
    return lots


@jitable
def imbalance(view: View, n: int) -> float:
    """Return the bid's share of the quantity of the best `n` levels, 0 to 1; 0.5 where nothing is displayed."""
    bid, ask = total_lots(view.bids, n), total_lots(view.asks, n)
    return bid / (bid + ask) if bid + ask > 0 else 0.5


@jitable
def fair_price(view: View, n: int, weight: float) -> float:
    """Return mid + weight x half the spread x (2 I - 1), ticks."""
    half_spread = 0.5 * (view.best_ask_ticks - view.best_bid_ticks)
    return mid_ticks(view) + weight * half_spread * (2.0 * imbalance(view, n) - 1.0)


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote the half-spread around fair price - skew x inventory."""
    if not is_two_sided(view):
        withdraw(view, actions)
        return
    fair = fair_price(view, int(params[LEVELS]), params[WEIGHT]) - params[SKEW] * view.position_lots
    bid, ask = fair - params[HALF_SPREAD], fair + params[HALF_SPREAD]
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
    kind="imbalance",
    summary="Quotes around a mid weighted by the imbalance of the order book over several levels.",
    parameters=(
        Parameter("levels", "integer", 5, 1, LEVELS_MAX, "levels", "levels of each side that are counted"),
        Parameter(
            "weight_half_spreads", "number", 1, 0, 1e6, "half-spreads",
            "shift of the fair price when only one side displays anything; 1: the weighted mid",
        ),
        parameters.HALF_SPREAD,
        parameters.SKEW,
        *parameters.QUOTE,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.imbalance:on_wake",
    memory_size=TWO_QUOTES,
    depth_levels=LEVELS_MAX,
)  # fmt: skip
