"""Pure market making: several levels at fixed spreads around the mid, refreshed from time to time.

A cycle: every `refresh_ns` the wanted quotes are computed anew and orders that are too far from them are moved, each for
itself; between two refreshes orders only end (filled, too near to the mid, too old). After a fill nothing is placed for
`filled_order_delay_ns`. All spreads are basis points of the mid. Sizes by inventory are linear: at the target both sides
have the order's quantity, one range below it bids have twice and asks nothing, one range above the other way round.

Source: the documented behaviour of Hummingbot's `pure_market_making`, which this is for users of;
docs/concepts/strategies.md has its parameters beside these, and says where the two differ.
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
    PER_QUOTE,
    SELL,
    Quotes,
    ask_at,
    bid_at,
    is_two_sided,
    jitable,
    mid_ticks,
    want,
)
from market_maker.strategies.requoting import is_among, is_leaving, requote, take_away, withdraw

BID_SPREAD, ASK_SPREAD, MINIMUM_SPREAD, ORDER_LOTS, LEVELS, LEVEL_SPACING, LEVEL_LOTS = range(7)
REFRESH, TOLERANCE, MAX_AGE, FILLED_DELAY, TARGET_RATIO, RANGE, CEILING, FLOOR, HANGING, MAX_INVENTORY = range(7, 17)

BEGUN, DUE_TS, QUIET_UNTIL_TS, POSITION, CASH, HELD = 0, 1, 3, 5, 7, 9
LEVELS_MAX = 20
HELD_MAX = 2 * LEVELS_MAX
QUOTES = HELD + HELD_MAX
MEMORY_SIZE = QUOTES + PER_QUOTE * 2 * LEVELS_MAX


@jitable
def in_ticks(bps: float, mid: float) -> float:
    """Return basis points of the mid in ticks."""
    return 1e-4 * bps * mid


@jitable
def hold_one(view: View, side: int, memory: NDArray[np.float64]) -> None:
    """Let the best order of a side hang: it is left where it is from now on."""
    held = memory[HELD : HELD + HELD_MAX]
    best = -1
    for i in range(len(view.orders)):
        order = view.orders[i]
        if order["side"] != side or order["cancel_pending"] != 0 or is_among(order["order_id"], held):
            continue
        if best < 0 or side * (order["price_ticks"] - view.orders[best]["price_ticks"]) > 0:
            best = i
    for i in range(HELD_MAX):
        if best >= 0 and held[i] == 0:
            held[i] = view.orders[best]["order_id"]
            return


@jitable
def release_held(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Forget hanging orders that have ended, and cancel those too far from the mid."""
    held = memory[HELD : HELD + HELD_MAX]
    farthest = in_ticks(params[HANGING], mid_ticks(view))
    for i in range(HELD_MAX):
        if held[i] == 0:
            continue
        is_open = False
        for j in range(len(view.orders)):
            order = view.orders[j]
            if order["order_id"] == held[i] and not is_leaving(view.orders, j, actions):
                is_open = abs(order["price_ticks"] - mid_ticks(view)) <= farthest
                if not is_open:
                    take_away(view.orders, j, actions)
        if not is_open:
            held[i] = 0


@jitable
def note_fills(view: View, params: NDArray[np.float64], memory: NDArray[np.float64]) -> None:
    """After a fill, be quiet for a while, and with hanging orders let one order of the other side hang."""
    bought = view.position_lots - whole(memory, POSITION)
    if memory[BEGUN] != 0 and (bought != 0 or view.cash_tick_lots != whole(memory, CASH)):
        quiet_until = view.now_ts + int(params[FILLED_DELAY])
        keep_whole(memory, QUIET_UNTIL_TS, quiet_until)
        keep_whole(memory, DUE_TS, min(whole(memory, DUE_TS), quiet_until))
        if params[HANGING] > 0.0 and bought != 0:
            hold_one(view, SELL if bought > 0 else BUY, memory)
    memory[BEGUN] = 1
    keep_whole(memory, POSITION, view.position_lots)
    keep_whole(memory, CASH, view.cash_tick_lots)


@jitable
def end_unwanted(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Cancel orders nearer to the mid than the minimum, and those too old, which makes the refresh due."""
    nearest = in_ticks(params[MINIMUM_SPREAD], mid_ticks(view))
    for i in range(len(view.orders)):
        order = view.orders[i]
        if is_among(order["order_id"], memory[HELD : HELD + HELD_MAX]):
            continue
        if order["side"] * (mid_ticks(view) - order["price_ticks"]) < nearest and nearest > 0.0:
            take_away(view.orders, i, actions)
        elif params[MAX_AGE] > 0.0 and view.now_ts - order["submitted_ts"] > params[MAX_AGE]:
            take_away(view.orders, i, actions)
            keep_whole(memory, DUE_TS, min(whole(memory, DUE_TS), view.now_ts))


@jitable
def inventory_tilt(view: View, target_ratio: float, range_lots: float) -> float:
    """Return how far the inventory is above its target, in ranges, -1 to 1; 0 with a range of 0.

    The target is `target_ratio` of the account's value at the mid: balance + cash - fees + position.
    """
    if range_lots <= 0.0:
        return 0.0
    mid = mid_ticks(view)
    value = view.balance_tick_lots + view.cash_tick_lots - view.fees_tick_lots + view.position_lots * mid
    return min(max((view.position_lots - target_ratio * value / mid) / range_lots, -1.0), 1.0)


@jitable
def want_levels(view: View, params: NDArray[np.float64], quotes: Quotes) -> None:
    """Want the quotes of all levels: prices by spread and spacing, sizes by level and inventory."""
    mid = mid_ticks(view)
    tilt = inventory_tilt(view, params[TARGET_RATIO], params[RANGE])
    levels = int(params[LEVELS])
    for i in range(levels):
        lots = params[ORDER_LOTS] + i * params[LEVEL_LOTS]
        away = i * params[LEVEL_SPACING]
        bid = bid_at(mid - in_ticks(params[BID_SPREAD] + away, mid), view)
        ask = ask_at(mid + in_ticks(params[ASK_SPREAD] + away, mid), view)
        if params[CEILING] > 0.0 and mid >= params[CEILING]:
            bid = 0
        if params[FLOOR] > 0.0 and mid <= params[FLOOR]:
            ask = 0
        if ask > 0:
            ask = max(ask, bid + 1)
        want(quotes, i, BUY, bid, int(math.floor(lots * (1.0 - tilt))))
        want(quotes, levels + i, SELL, ask, int(math.floor(lots * (1.0 + tilt))))


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """End what must end; when a refresh is due, move what stands too far from where it is wanted."""
    note_fills(view, params, memory)
    if not is_two_sided(view):
        withdraw(view, actions)
        return
    release_held(view, params, memory, actions)
    end_unwanted(view, params, memory, actions)
    now = view.now_ts
    if now < whole(memory, DUE_TS):
        return
    quotes = memory[QUOTES : QUOTES + PER_QUOTE * 2 * int(params[LEVELS])]
    want_levels(view, params, quotes)
    quiet_until = whole(memory, QUIET_UNTIL_TS)
    tolerance = int(in_ticks(params[TOLERANCE], mid_ticks(view)))
    held = memory[HELD : HELD + HELD_MAX]
    waiting = requote(view, actions, quotes, tolerance, int(params[MAX_INVENTORY]), held, now >= quiet_until)
    if now < quiet_until:
        keep_whole(memory, DUE_TS, quiet_until)
    else:
        keep_whole(memory, DUE_TS, now if waiting else now + int(params[REFRESH]))


KIND = StrategyKind(
    kind="fixed_spread",
    summary="Pure market making: levels at fixed spreads around the mid, refreshed with a tolerance.",
    parameters=(
        Parameter("bid_spread_bps", "number", 2, 0, 9999, "basis points", "distance of the best bid below the mid"),
        Parameter("ask_spread_bps", "number", 2, 0, 1e6, "basis points", "distance of the best ask above the mid"),
        Parameter(
            "minimum_spread_bps", "number", 0, 0, 9999, "basis points",
            "an order that has come nearer to the mid is cancelled; 0: none is",
        ),
        parameters.ORDER_LOTS,
        Parameter("order_levels", "integer", 1, 1, LEVELS_MAX, "levels", "orders on each side"),
        Parameter("level_spacing_bps", "number", 1, 0, 9999, "basis points", "distance from one level to the next"),
        Parameter("level_lots", "integer", 0, 0, 2**32, "lots", "how much more each level has than the one before"),
        Parameter("refresh_ns", "integer", 10**9, 1_000, 7 * 86_400 * 10**9, "ns", "time between two refreshes"),
        Parameter(
            "refresh_tolerance_bps", "number", 0, 0, 9999, "basis points", "an order this near to its place is left"
        ),
        Parameter(
            "max_order_age_ns", "integer", 0, 0, 7 * 86_400 * 10**9, "ns", "an older order is replaced; 0: none is"
        ),
        Parameter(
            "filled_order_delay_ns", "integer", 0, 0, 86_400 * 10**9, "ns", "nothing is placed for so long after a fill"
        ),
        Parameter(
            "inventory_target_ratio", "number", 0, 0, 1, "1", "share of the account's value to hold in the base currency"
        ),
        Parameter(
            "inventory_range_lots", "integer", 0, 0, 2**40, "lots",
            "so far from the target one side doubles and the other is empty; 0: sizes do not depend on inventory",
        ),
        Parameter("price_ceiling_ticks", "integer", 0, 0, 2**40, "ticks", "no bids from this mid on; 0: no ceiling"),
        Parameter("price_floor_ticks", "integer", 0, 0, 2**40, "ticks", "no asks down from this mid; 0: no floor"),
        Parameter(
            "hanging_cancel_bps", "number", 0, 0, 1e6, "basis points",
            "after a fill the best order of the other side stays until it is so far from the mid; 0: no order hangs",
        ),
        parameters.MAX_INVENTORY,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.fixed_spread:on_wake",
    memory_size=MEMORY_SIZE,
)  # fmt: skip
