"""Avellaneda and Stoikov's quotes with a finite horizon: less inventory risk the nearer the end of the session.

Source: Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", Quantitative Finance 8(3), their
approximate solution, equations 3.17 and 3.18 (29 and 30 of the working paper of 2006). Symbols: s mid, q inventory in
orders, gamma risk aversion, sigma volatility, k decay of the intensity of market orders, T - t time left.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.market_estimates import SIZE, given_or, intensity_decay, observe, volatility
from market_maker.strategies.quoting import is_two_sided, jitable, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

GAMMA, HORIZON, OFFSET, SIGMA, K, ORDER_LOTS, MAX_INVENTORY, TOLERANCE, WINDOW, STEP = range(10)


@jitable
def reservation_price(s: float, q: float, gamma: float, sigma: float, time_left_s: float) -> float:
    """Return r = s - q gamma sigma^2 (T - t), equation 3.17."""
    return s - q * gamma * sigma * sigma * time_left_s


@jitable
def optimal_spread(gamma: float, sigma: float, k: float, time_left_s: float) -> float:
    """Return the distance from bid to ask, gamma sigma^2 (T - t) + 2/gamma ln(1 + gamma/k), equation 3.18."""
    return gamma * sigma * sigma * time_left_s + 2.0 / gamma * math.log1p(gamma / k)


@jitable
def time_left_s(now_ts: int, horizon_ns: int, offset_ns: int) -> float:
    """Return the seconds until the session ends. Sessions follow each other, one beginning `offset_ns` after 1970 (UTC)."""
    return (horizon_ns - (now_ts - offset_ns) % horizon_ns) / 1e9


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote half the optimal spread on either side of the reservation price; nothing until sigma and k are known."""
    observe(view, memory, int(params[WINDOW]), params[STEP])
    sigma = given_or(params[SIGMA], volatility(memory))
    k = given_or(params[K], intensity_decay(memory))
    if not is_two_sided(view) or sigma < 0.0 or k <= 0.0:
        withdraw(view, actions)
        return
    left = time_left_s(view.now_ts, int(params[HORIZON]), int(params[OFFSET]))
    q = view.position_lots / params[ORDER_LOTS]
    r = reservation_price(mid_ticks(view), q, params[GAMMA], sigma, left)
    half = 0.5 * optimal_spread(params[GAMMA], sigma, k, left)
    quotes = memory[SIZE : SIZE + TWO_QUOTES]
    quote_both_sides(
        view,
        actions,
        quotes,
        r - half,
        r + half,
        int(params[ORDER_LOTS]),
        int(params[TOLERANCE]),
        int(params[MAX_INVENTORY]),
    )


KIND = StrategyKind(
    kind="avellaneda_stoikov",
    summary="Avellaneda-Stoikov with a finite horizon; sigma and k given, or estimated from the feed.",
    parameters=(
        Parameter(
            "risk_aversion", "number", 1e-5, 1e-12, 1e3, "1 per tick and order",
            "gamma: how strongly inventory moves the quotes",
        ),
        Parameter(
            "horizon_ns", "integer", 600 * 10**9, 10**9, 7 * 86_400 * 10**9, "ns",
            "length of a session, T; sessions follow each other",
        ),
        Parameter(
            "session_offset_ns", "integer", 0, 0, 7 * 86_400 * 10**9, "ns", "a session begins so long after 1970 (UTC)"
        ),
        parameters.VOLATILITY,
        parameters.DECAY,
        *parameters.QUOTE,
        *parameters.ESTIMATION,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.avellaneda_stoikov:on_wake",
    memory_size=SIZE + TWO_QUOTES,
)  # fmt: skip
