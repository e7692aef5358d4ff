"""Guéant, Lehalle and Fernandez-Tapia's closed form: quotes far from any end of the session, linear in the inventory.

Source: Guéant (2017), "Optimal market making", Applied Mathematical Finance 24(2), equations 4.6 and 4.7, with the
order size Delta and the execution risk aversion xi: xi = gamma is his model A (exponential utility), xi = 0 model B
(expected wealth less a running penalty). With Delta = 1 and xi = gamma it is the approximation of Guéant, Lehalle and
Fernandez-Tapia (2013), "Dealing with the inventory risk", Mathematics and Financial Economics 7(4), section 4.
Symbols: q inventory in lots, sigma volatility, A exp(-k d) intensity of market orders of one side at the distance d.

Market orders of any size count as one arrival, and a fill as one of Delta: partial fills are not in the model.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.market_estimates import SIZE, given_or, intensity, intensity_decay, observe, volatility
from market_maker.strategies.quoting import is_two_sided, jitable, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

GAMMA, XI, SIGMA, A, K, ORDER_LOTS, MAX_INVENTORY, TOLERANCE, WINDOW, STEP = range(10)


@jitable
def static_distance(xi: float, delta: float, k: float) -> float:
    """Return the part of a quote's distance without inventory risk, ln(1 + xi Delta/k) / (xi Delta); 1/k for xi = 0."""
    x = xi * delta
    return math.log1p(x / k) / x if x > 0.0 else 1.0 / k


@jitable
def skew_per_lot(gamma: float, xi: float, delta: float, sigma: float, intensity_a: float, k: float) -> float:
    """Return by how many ticks a lot of inventory shifts both quotes.

    sqrt(gamma sigma^2 / (2 A Delta k) (1 + xi Delta/k)^(k / (xi Delta) + 1)); the power is e for xi = 0.
    """
    x = xi * delta / k
    power = math.exp((1.0 / x + 1.0) * math.log1p(x)) if x > 0.0 else math.e
    return sigma * math.sqrt(gamma / (2.0 * intensity_a * delta * k) * power)


@jitable
def bid_distance(q: float, delta: float, static: float, skew: float) -> float:
    """Return how far below the mid to bid, equation 4.6."""
    return static + 0.5 * (2.0 * q + delta) * skew


@jitable
def ask_distance(q: float, delta: float, static: float, skew: float) -> float:
    """Return how far above the mid to ask, equation 4.7."""
    return static - 0.5 * (2.0 * q - delta) * skew


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote at the closed form's distances from the mid; nothing until sigma, A and k are known."""
    observe(view, memory, int(params[WINDOW]), params[STEP])
    sigma = given_or(params[SIGMA], volatility(memory))
    intensity_a = given_or(params[A], intensity(memory))
    k = given_or(params[K], intensity_decay(memory))
    if not is_two_sided(view) or sigma < 0.0 or intensity_a <= 0.0 or k <= 0.0:
        withdraw(view, actions)
        return
    delta = params[ORDER_LOTS]
    static = static_distance(params[XI], delta, k)
    skew = skew_per_lot(params[GAMMA], params[XI], delta, sigma, intensity_a, k)
    s = mid_ticks(view)
    bid = s - bid_distance(view.position_lots, delta, static, skew)
    ask = s + ask_distance(view.position_lots, delta, static, skew)
    quotes = memory[SIZE : SIZE + TWO_QUOTES]
    quote_both_sides(
        view, actions, quotes, bid, ask, int(params[ORDER_LOTS]), int(params[TOLERANCE]), int(params[MAX_INVENTORY])
    )


KIND = StrategyKind(
    kind="glft",
    summary="The closed form of Guéant, Lehalle and Fernandez-Tapia; A, k and sigma given, or calibrated from the feed.",
    parameters=(
        Parameter(
            "risk_aversion", "number", 1e-5, 1e-12, 1e3, "1 per tick and lot",
            "gamma: how strongly inventory moves the quotes",
        ),
        Parameter(
            "execution_risk_aversion", "number", 1e-5, 0, 1e3, "1 per tick and lot",
            "xi: as risk_aversion for model A, 0 for model B",
        ),
        parameters.VOLATILITY,
        parameters.INTENSITY,
        parameters.DECAY,
        *parameters.QUOTE,
        *parameters.ESTIMATION,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.glft:on_wake",
    memory_size=SIZE + TWO_QUOTES,
)  # fmt: skip
