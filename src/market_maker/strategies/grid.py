"""A grid of prices around a centre: buys below, sells above, and between them one vacant line that moves with fills.

Whoever bought at a line sells one line higher, and the other way round, so that each pair of fills earns one spacing.
That needs no memory of fills: the vacant line lies as many lines below the centre as orders were bought since the grid
was centred. Source: the common grid bot of exchanges; without forecast, it earns in a range and holds the loss of a
trend, which `recentre_lines` and the limit bound.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.memory import keep_whole, whole
from market_maker.strategies.quoting import (
    BUY,
    MOST,
    PER_QUOTE,
    SELL,
    is_two_sided,
    jitable,
    mid_ticks,
    want,
    want_nothing,
)
from market_maker.strategies.requoting import NOTHING_HELD, requote, withdraw

LEVELS, SPACING_TICKS, SPACING_BPS, ORDER_LOTS, CENTRE, RECENTRE, MAX_INVENTORY = range(7)
LEVELS_MAX = 50
CENTRE_KEPT, POSITION_KEPT, QUOTES = 0, 1, 3
MEMORY_SIZE = QUOTES + PER_QUOTE * 2 * LEVELS_MAX


@jitable
def line_price(centre: int, line: int, spacing_ticks: int, spacing_bps: float) -> int:
    """Return the price of a line, ticks; lines above the centre are positive. At most MOST; 0 or less: no price.

    Geometric with `spacing_bps` above 0: centre x (1 + spacing)^line to the nearest tick, at least as far from the centre
    as so many ticks; else centre + line x `spacing_ticks`.
    """
    if spacing_bps <= 0.0:
        return min(centre + line * spacing_ticks, MOST)
    growth = line * math.log1p(1e-4 * spacing_bps)
    # e^60 x 1 tick is beyond any price: keeps the power finite.
    price = int(math.floor(min(centre * math.exp(min(growth, 60.0)), float(MOST)) + 0.5))
    return min(max(price, centre + line), MOST) if line > 0 else min(price, centre + line)


@jitable
def vacant_line(position_lots: int, position_at_centre: int, order_lots: int, levels: int) -> int:
    """Return the line without an order: one down for each whole order bought since the grid was centred, one up if sold."""
    bought = position_lots - position_at_centre
    orders = bought // order_lots if bought >= 0 else -(-bought // order_lots)
    return min(max(-orders, -levels), levels)


@jitable
def centre_grid(view: View, params: NDArray[np.float64], memory: NDArray[np.float64]) -> int:
    """Return the centre, ticks: the one given or the first mid, and the mid anew once it is `RECENTRE` lines away."""
    centre = int(memory[CENTRE_KEPT])
    mid = mid_ticks(view)
    if centre == 0:
        centre = int(params[CENTRE])
        if centre == 0:
            centre = int(math.floor(mid + 0.5))
        keep_whole(memory, POSITION_KEPT, view.position_lots)
    lines = int(params[RECENTRE])
    if lines > 0:
        spacing, bps = int(params[SPACING_TICKS]), params[SPACING_BPS]
        if mid > line_price(centre, lines, spacing, bps) or mid < line_price(centre, -lines, spacing, bps):
            centre = int(math.floor(mid + 0.5))
            keep_whole(memory, POSITION_KEPT, view.position_lots)
    memory[CENTRE_KEPT] = centre
    return centre


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Keep an order at every line but the vacant one; a line that would cross the book waits until it does not."""
    if not is_two_sided(view):
        withdraw(view, actions)
        return
    centre = centre_grid(view, params, memory)
    levels, lots = int(params[LEVELS]), int(params[ORDER_LOTS])
    vacant = vacant_line(view.position_lots, whole(memory, POSITION_KEPT), lots, levels)
    spacing, bps = int(params[SPACING_TICKS]), params[SPACING_BPS]
    quotes = memory[QUOTES : QUOTES + PER_QUOTE * 2 * levels]
    want_nothing(quotes)
    n = 0
    # Far below the centre geometric lines come to share a tick; one of them has the order.
    lower = upper = line_price(centre, vacant, spacing, bps)
    for step in range(1, 2 * levels + 1):
        below = line_price(centre, vacant - step, spacing, bps)
        if vacant - step >= -levels and below < lower:
            want(quotes, n, BUY, below, lots)
            lower = below
            n += 1
        above = line_price(centre, vacant + step, spacing, bps)
        if vacant + step <= levels and above > upper:
            want(quotes, n, SELL, above, lots)
            upper = above
            n += 1
    requote(view, actions, quotes, 0, int(params[MAX_INVENTORY]), NOTHING_HELD, True)


KIND = StrategyKind(
    kind="grid",
    summary="Orders at fixed lines around a centre, arithmetic or geometric; each fill is sold or bought back a line away.",
    parameters=(
        Parameter("levels", "integer", 10, 1, LEVELS_MAX, "lines", "lines on each side of the centre"),
        Parameter("spacing_ticks", "integer", 10, 1, 10**9, "ticks", "distance of neighbouring lines, arithmetic"),
        Parameter(
            "spacing_bps", "number", 0, 0, 5000, "basis points", "distance of neighbouring lines, geometric; 0: arithmetic"
        ),
        parameters.ORDER_LOTS,
        Parameter("centre_ticks", "integer", 0, 0, 2**40, "ticks", "where the grid is centred first; 0: the first mid"),
        Parameter(
            "recentre_lines", "integer", 0, 0, 1000, "lines",
            "the mid becomes the centre once it is further from it than so many lines; 0: never",
        ),
        parameters.MAX_INVENTORY,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.grid:on_wake",
    memory_size=MEMORY_SIZE,
)  # fmt: skip
