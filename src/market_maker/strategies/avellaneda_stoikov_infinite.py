"""Avellaneda and Stoikov's quotes with an infinite horizon: the same at any time of day, for markets that never close.

Source: Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", Quantitative Finance 8(3),
section 2.3: stationary reservation prices with omega = gamma^2 sigma^2 (q_max + 1)^2 / 2, the choice the paper calls
natural, which bounds the inventory by q_max; then 1/gamma ln(1 + gamma/k) beyond them, the best distance for
intensities A exp(-k d) by its section 3.1. Symbols: s mid, q inventory in orders, gamma risk aversion.

With that omega sigma cancels: (-1 - 2q) gamma^2 sigma^2 / (2 omega - gamma^2 q^2 sigma^2)
= -(1 + 2q) / ((q_max + 1)^2 - q^2). Risk shows in gamma and q_max alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.market_estimates import SIZE, given_or, intensity_decay, observe
from market_maker.strategies.quoting import is_two_sided, jitable, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

GAMMA, K, ORDER_LOTS, MAX_INVENTORY, TOLERANCE, WINDOW, STEP = range(7)


@jitable
def reservation_bid(s: float, q: float, q_max: float, gamma: float) -> float:
    """Return s + 1/gamma ln(1 + (-1 - 2q) gamma^2 sigma^2 / (2 omega - gamma^2 q^2 sigma^2)), for |q| <= q_max.

    At q_max the logarithm is that of 0: no price is low enough to buy one more, -inf.
    """
    change = -(1.0 + 2.0 * q) / ((q_max + 1.0) * (q_max + 1.0) - q * q)
    return s + math.log1p(change) / gamma if change > -1.0 else -math.inf


@jitable
def reservation_ask(s: float, q: float, q_max: float, gamma: float) -> float:
    """Return s - 1/gamma ln(1 - (1 - 2q) gamma^2 sigma^2 / (2 omega - gamma^2 q^2 sigma^2)): the bid's mirror.

    This is what the paper's definition gives: selling one at this price leaves the value function unchanged. The paper
    prints s + 1/gamma ln(1 + (1 - 2q) ...) instead, equal to first order, which would not mirror its bid and not
    stop selling at -q_max.
    """
    return 2.0 * s - reservation_bid(s, -q, q_max, gamma)


@jitable
def optimal_distance(gamma: float, k: float) -> float:
    """Return how far a quote stands beyond its reservation price: 1/gamma ln(1 + gamma/k)."""
    return math.log1p(gamma / k) / gamma


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote the optimal distance beyond both reservation prices; nothing until k is known."""
    observe(view, memory, int(params[WINDOW]), params[STEP])
    k = given_or(params[K], intensity_decay(memory))
    if not is_two_sided(view) or k <= 0.0:
        withdraw(view, actions)
        return
    q_max = params[MAX_INVENTORY] / params[ORDER_LOTS]
    q = min(max(view.position_lots / params[ORDER_LOTS], -q_max), q_max)
    s = mid_ticks(view)
    distance = optimal_distance(params[GAMMA], k)
    bid = reservation_bid(s, q, q_max, params[GAMMA]) - distance
    ask = reservation_ask(s, q, q_max, params[GAMMA]) + distance
    quotes = memory[SIZE : SIZE + TWO_QUOTES]
    quote_both_sides(
        view, actions, quotes, bid, ask, int(params[ORDER_LOTS]), int(params[TOLERANCE]), int(params[MAX_INVENTORY])
    )


KIND = StrategyKind(
    kind="avellaneda_stoikov_infinite",
    summary="Avellaneda-Stoikov with an infinite horizon, the inventory bounded by omega; k given, or estimated.",
    parameters=(
        Parameter(
            "risk_aversion", "number", 1e-3, 1e-12, 1e3, "1 per tick and order",
            "gamma: the larger, the nearer the quotes to the mid and the smaller what inventory moves them",
        ),
        parameters.DECAY,
        *parameters.QUOTE,
        *parameters.ESTIMATION,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.avellaneda_stoikov_infinite:on_wake",
    memory_size=SIZE + TWO_QUOTES,
)  # fmt: skip
