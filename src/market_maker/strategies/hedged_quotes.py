"""Quote one instrument, hedge what it brings on another: market making with the risk kept on the liquid side.

Instrument 0 is quoted around a fair price taken from instrument 1; whenever the two positions together are further from
flat than a tolerance, the difference is traded on instrument 1 at market. Source: the two-venue maker-taker scheme that
practitioners call cross-exchange market making; hedging beyond a band rather than at once is the optimal form under
proportional costs (H. Leland 1985; A. Whalley, P. Wilmott 1997, "An asymptotic analysis of an optimal hedging model").
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View, place_on
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

HALF_SPREAD, PRICE_RATIO, HEDGE_RATIO, BAND, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = 0, 1, 2, 3, 4, 5, 6
BUY, SELL, MARKET, IOC = 1, -1, 1, 1
HEDGE = 1


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Requote instrument 0 around the other's mid, and bring the hedge back into its band."""
    if len(view.instruments) <= HEDGE:
        return
    hedge = view.instruments[HEDGE]
    if hedge["best_bid_ticks"] == 0 or hedge["best_ask_ticks"] == 0:
        withdraw(view, actions)
        return
    fair = 0.5 * (hedge["best_bid_ticks"] + hedge["best_ask_ticks"]) * params[PRICE_RATIO]
    if view.best_bid_ticks > 0 and view.best_ask_ticks > 0:
        quote_both_sides(
            view,
            actions,
            memory[:TWO_QUOTES],
            fair - params[HALF_SPREAD],
            fair + params[HALF_SPREAD],
            int(params[ORDER_LOTS]),
            int(params[TOLERANCE]),
            int(params[MAX_INVENTORY]),
        )
    open_lots = 0
    for i in range(len(view.orders)):
        order = view.orders[i]
        if order["instrument"] == HEDGE:
            open_lots += order["side"] * order["leaves_lots"]
    wanted = -params[HEDGE_RATIO] * view.position_lots
    missing = wanted - (hedge["position_lots"] + open_lots)
    if abs(missing) > params[BAND]:
        lots = int(math.floor(abs(missing) + 0.5))
        if lots > 0:
            place_on(actions, HEDGE, BUY if missing > 0 else SELL, MARKET, IOC, 0, 0, lots)


KIND = StrategyKind(
    kind="hedged_quotes",
    summary="Quotes instrument 0 around the mid of instrument 1 and hedges there at market beyond a band.",
    parameters=(
        parameters.HALF_SPREAD,
        Parameter("price_ratio", "number", 1, 1e-9, 1e9, "ticks per tick", "fair ticks of instrument 0 per tick of 1"),
        Parameter("hedge_ratio", "number", 1, 0, 1e9, "lots per lot", "lots of instrument 1 against one lot of 0"),
        Parameter(
            "hedge_band_lots", "number", 0.5, 0, 2**40, "lots", "distance from the wanted hedge that is left alone"
        ),
        *parameters.QUOTE,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.hedged_quotes:on_wake",
    memory_size=TWO_QUOTES,
    wakes_on=("interval", "order"),
    instruments=2,
)
