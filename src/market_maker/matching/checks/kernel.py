"""What is refused and why: the checks of new orders and of amendments, in the order of `docs/concepts/matching.md`.

Owns every rule that needs no trade to be decided. Changes nothing; ids that are taken show when an order is entered.
Interpreted and compiled form are the same code.
"""

import numpy as np

from market_maker.matching.codes import Cause, Command, EngineOrderType, Phase, SelfTrade
from market_maker.matching.levels.kernel import inlined, inner, nth
from market_maker.matching.orders.kernel import price_of, side_of
from market_maker.matching.state import MISS_SCALE, PRICE_TICKS_MAX

NONE, INVALID_CODE, UNKNOWN_OWNER = int(Cause.NONE), int(Cause.INVALID_CODE), int(Cause.UNKNOWN_OWNER)
INVALID_ORDER_ID, OWNER_SUSPENDED = int(Cause.INVALID_ORDER_ID), int(Cause.OWNER_SUSPENDED)
WRONG_PHASE, QTY_EXECUTED = int(Cause.WRONG_PHASE), int(Cause.QTY_EXECUTED)
INVALID_QTY, QTY_STEP, INVALID_PRICE = int(Cause.INVALID_QTY), int(Cause.QTY_STEP), int(Cause.INVALID_PRICE)
PRICE_STEP, INVALID_STOP, INVALID_DISPLAY = int(Cause.PRICE_STEP), int(Cause.INVALID_STOP), int(Cause.INVALID_DISPLAY)
INVALID_EXPIRY, NOTIONAL_MIN, PRICE_COLLAR = int(Cause.INVALID_EXPIRY), int(Cause.NOTIONAL_MIN), int(Cause.PRICE_COLLAR)
POST_ONLY_WOULD_TAKE = int(Cause.POST_ONLY_WOULD_TAKE)
CONTINUOUS, HALT = int(Phase.CONTINUOUS), int(Phase.HALT)
LIMIT, STOP, STOP_LIMIT = int(EngineOrderType.LIMIT), int(EngineOrderType.STOP), int(EngineOrderType.STOP_LIMIT)
GTC, GTD = 0, 3
DECREMENT = int(SelfTrade.DECREMENT)
NEW_AND_ODD = int(Command.NEW) | (1 << 8)
ODD_SIDES = ~(0xFE << 8)
"""Of the first word of a command all but the bits in which the two sides differ."""


@inlined
def is_call(phase):
    """Tell whether a phase collects orders for an auction."""
    return phase != CONTINUOUS and phase < HALT


@inlined
def price_fault(head, price):
    """Return why a price is refused."""
    if price <= 0 or price > PRICE_TICKS_MAX:
        return np.int64(INVALID_PRICE)
    if head["price_step_ticks"] > 1 and price % head["price_step_ticks"] != 0:
        return np.int64(PRICE_STEP)
    return np.int64(NONE)


@inlined
def qty_fault(head, qty_lots):
    """Return why a quantity is refused."""
    if qty_lots <= 0 or qty_lots > head["qty_lots_max"]:
        return np.int64(INVALID_QTY)
    if head["lot_step"] > 1 and qty_lots % head["lot_step"] != 0:
        return np.int64(QTY_STEP)
    return np.int64(NONE)


@inlined
def value_fault(head, price, qty_lots):
    """Return why a price and a quantity are refused together; a market order is valued at the reference price."""
    reference = head["reference_ticks"]
    if head["notional_min"] > 0:
        value = price if price > 0 else reference
        # Not their product, which may be too large for 64 bits.
        if value > 0 and qty_lots < -(-head["notional_min"] // value):
            return np.int64(NOTIONAL_MIN)
    if head["collar_ticks"] > 0 and reference > 0 and price > 0 and abs(price - reference) > head["collar_ticks"]:
        return np.int64(PRICE_COLLAR)
    return np.int64(NONE)


@inlined
def owner_fault(state, owner, order_id):
    """Return why an owner or an id is refused."""
    if owner == 0 and order_id >= 0:
        return np.int64(NONE)
    if owner < 0 or owner >= len(state.suspended):
        return np.int64(UNKNOWN_OWNER)
    if order_id < 0:
        return np.int64(INVALID_ORDER_ID)
    if state.suspended[owner] != 0:
        return np.int64(OWNER_SUSPENDED)
    return np.int64(NONE)


@inner
def special_fault(state, c):
    """Return why an order that is more than a plain limit order is refused."""
    head = state.head[0]
    kind, force = c["order_type"], c["time_in_force"]
    if kind < 0 or kind > STOP_LIMIT or force < 0 or force > GTD or c["self_trade"] < 0 or c["self_trade"] > DECREMENT:
        return np.int64(INVALID_CODE)
    if c["miss_e9"] < 0 or c["miss_e9"] > MISS_SCALE or c["impact_e9"] < 0 or c["impact_e9"] > MISS_SCALE:
        return np.int64(INVALID_CODE)
    has_price = kind == LIMIT or kind == STOP_LIMIT
    rests = has_price and (force == GTC or force == GTD)
    if c["post_only"] != 0 and (c["post_only"] != 1 or not rests):
        return np.int64(INVALID_CODE)
    if is_call(head["phase"]) and kind < STOP and (not rests or c["post_only"] != 0):
        return np.int64(WRONG_PHASE)
    if not has_price and c["price_ticks"] != 0:
        return np.int64(INVALID_PRICE)
    if kind >= STOP:
        if price_fault(head, c["stop_ticks"]) != NONE:
            return np.int64(INVALID_STOP)
    elif c["stop_ticks"] != 0:
        return np.int64(INVALID_STOP)
    display = c["display_lots"]
    if display != 0 and (not rests or display < 0 or display > c["qty_lots"]):
        return np.int64(INVALID_DISPLAY)
    if display != 0 and head["lot_step"] > 1 and display % head["lot_step"] != 0:
        return np.int64(INVALID_DISPLAY)
    if (force == GTD and c["ts"] <= head["clock_ts"]) or (force != GTD and c["ts"] != 0):
        return np.int64(INVALID_EXPIRY)
    if c["post_only"] != 0 and kind == LIMIT and head["phase"] == CONTINUOUS:
        if state.best[nth(1 if c["side"] > 0 else 0)] <= c["side"] * c["price_ticks"]:
            return np.int64(POST_ONLY_WOULD_TAKE)
    return np.int64(NONE)


@inlined
def is_plain(c):
    """Tell whether a new order is a limit order good till canceled and nothing else."""
    codes = c["order_type"] | c["time_in_force"]
    return (codes | c["stop_ticks"] | c["display_lots"] | c["ts"] | c["chances"] | c["handling"]) == 0


@inlined
def is_unfiltered(head):
    """Tell whether trading is continuous and no filter but the bounds of price and quantity is set."""
    steps = (head["price_step_ticks"] <= 1) & (head["lot_step"] <= 1)
    return (head["phase"] == CONTINUOUS) & steps & (head["notional_min"] <= 0) & (head["collar_ticks"] <= 0)


@inlined
def is_ordinary(head, c):
    """Tell whether a command is a new plain order of no owner that none of the rules refuses where `is_unfiltered`."""
    lots, price = c["qty_lots"], c["price_ticks"]
    # The command's kind, an odd side, and zero in all other codes and in the owner, by one comparison.
    if (c["codes"] & ODD_SIDES) != NEW_AND_ODD or not is_plain(c) or c["order_id"] <= 0:
        return False
    return is_side(c["side"]) and 0 < lots <= head["qty_lots_max"] and 0 < price <= PRICE_TICKS_MAX


@inlined
def is_side(side):
    """Tell whether a side is one; not by two comparisons, which nobody could predict."""
    return np.int64(side) * np.int64(side) == 1


@inlined
def order_fault(state, c):
    """Return why a new order is refused, NONE if it is not; ids that are taken show when it is entered."""
    head, plain = state.head[0], is_plain(c)
    if not is_side(c["side"]):
        return np.int64(INVALID_CODE)
    cause = owner_fault(state, c["owner"], c["order_id"])
    if cause == NONE and head["phase"] >= HALT:
        cause = np.int64(WRONG_PHASE)
    if cause == NONE:
        cause = qty_fault(head, c["qty_lots"])
    if cause == NONE and (plain or c["order_type"] == LIMIT or c["order_type"] == STOP_LIMIT):
        cause = price_fault(head, c["price_ticks"])
    if cause == NONE:
        cause = value_fault(head, c["price_ticks"], c["qty_lots"])
    if cause == NONE and not plain:
        cause = special_fault(state, c)
    return cause


@inner
def amend_fault(state, c, slot, price, stop, lots):
    """Return why an amendment is refused."""
    head, order = state.head[0], state.orders[nth(slot)]
    if head["phase"] >= HALT:
        return np.int64(WRONG_PHASE)
    if state.suspended[order["owner"]] != 0:
        return np.int64(OWNER_SUSPENDED)
    cause = qty_fault(head, lots)
    if cause != NONE:
        return cause
    if lots <= order["qty_lots"] - order["leaves_lots"]:
        return np.int64(QTY_EXECUTED)
    if order["order_type"] == STOP:
        if c["price_ticks"] != 0:
            return np.int64(INVALID_PRICE)
    else:
        cause = price_fault(head, price)
        if cause != NONE:
            return cause
    if order["order_type"] >= STOP:
        if price_fault(head, stop) != NONE:
            return np.int64(INVALID_STOP)
    elif c["stop_ticks"] != 0:
        return np.int64(INVALID_STOP)
    cause = value_fault(head, price, lots)
    if cause == NONE and order["post_only"] != 0 and order["order_type"] == LIMIT and head["phase"] == CONTINUOUS:
        if price != price_of(order) and state.best[nth(1 - order["book"])] <= side_of(order) * price:
            return np.int64(POST_ONLY_WOULD_TAKE)
    return cause
