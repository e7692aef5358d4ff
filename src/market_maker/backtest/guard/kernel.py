"""Limits of a run: what stands between a strategy's order and the venue, and what is looked at before each wake-up.

Sees what the owner of orders sees: his ledger, his orders and his market, after latency. The arithmetic is `risk.rules`,
as live. Refuses and notes; cancelling is `owner`'s. Nothing here runs in a state without limits.
"""

import numpy as np

from market_maker.backtest.fee_models.kernel import scaled
from market_maker.backtest.ladder.kernel import MID, inlined, inner, nth
from market_maker.backtest.state import FOREVER, HoldCode, LimitPlace, Reason
from market_maker.domain.order import OrderStatus
from market_maker.risk import rules

state_of, larger_position, only_reduces = inner(rules.state_of), inner(rules.larger_position), inner(rules.only_reduces)
collar_share, result_of = inner(rules.collar_share), inner(rules.result_of)
OK, WARN, BREACHED, NOT_WORSE = rules.OK, rules.WARN, rules.BREACHED, rules.NOT_WORSE
SECOND_NS = rules.SECOND_NS
REDUCING, HALTED = int(HoldCode.REDUCING), int(HoldCode.HALTED)
# Not plain integers, as in `exchange.kernel`.
PARTIALLY_FILLED = np.int64(OrderStatus.PARTIALLY_FILLED)
NONE, SIZE_REASON = np.int64(Reason.NONE), np.int64(Reason.MAX_ORDER_SIZE)
REDUCING_REASON, HALTED_REASON = np.int64(Reason.REDUCING), np.int64(Reason.HALTED)
SIZE, ORDER_NOTIONAL = np.int64(LimitPlace.MAX_ORDER_SIZE), np.int64(LimitPlace.MAX_ORDER_NOTIONAL)
COLLAR, RATE = np.int64(LimitPlace.PRICE_COLLAR), np.int64(LimitPlace.MAX_MESSAGE_RATE)
REPEATED, WORST = np.int64(LimitPlace.MAX_REPEATED_ORDERS), np.int64(LimitPlace.MAX_WORST_CASE_POSITION)
POSITION, NOTIONAL = np.int64(LimitPlace.MAX_POSITION), np.int64(LimitPlace.MAX_NOTIONAL)
LOSS, DRAWDOWN = np.int64(LimitPlace.MAX_LOSS), np.int64(LimitPlace.MAX_DRAWDOWN)


@inlined
def product(a, b):
    """Return a * b for whole numbers of 0 or more, FOREVER where that leaves 62 bits."""
    return np.int64(FOREVER) if b != 0 and a > FOREVER // b else a * b


@inner
def worth_of(state, k, half_ticks, lots):
    """Return the value of lots of 0 or more at a price in half units of cash, FOREVER where there is no price or no end.

    An inverse contract's is rounded to a unit: lots x scale / ticks, which are half of the half ticks.
    """
    if half_ticks <= 0:
        return np.int64(FOREVER)
    scale = state.fees[nth(k)]["inverse_scale"]
    if scale == 0:
        return product(half_ticks, lots)
    # Where the product of lots and scale leaves 62 bits by more than the price takes back, the worth has no end either.
    if lots > 0 and scale // half_ticks > FOREVER // (8 * lots):
        return np.int64(FOREVER)
    return 2 * scaled(lots, 2 * scale, half_ticks)


@inner
def earned(state, k, settled, mark, held):
    """Return what a set has earned in half units of cash: settled units and its position at the mark."""
    if state.fees[nth(k)]["inverse_scale"] == 0:
        return result_of(settled, mark, held)
    worth = worth_of(state, k, mark, abs(held))
    # Of an inverse contract a long position owes, see `fee_models.kernel.cash_change`.
    return 2 * settled - worth if held > 0 else 2 * settled + worth


@inner
def evaluate(state, k, place, value):
    """Let a limit look at a value: note it, take hold when it is breached; return whether it is beyond the threshold."""
    limit = state.limits[nth(k), nth(place)]
    if limit["is_set"] == 0:
        return False
    ts, before = state.clock[0]["clock_ts"], limit["state"]
    now = state_of(value, limit["bound"], limit["held_above"], limit["warn_from"], limit["warned_from"], before)
    if limit["evaluated"] == 0 or value > limit["most"]:
        limit["most"] = value
    limit["evaluated"] += 1
    limit["state"] = now
    limit["value"] = value
    limit["ts"] = ts
    if now == WARN and before == OK:
        limit["warnings"] += 1
        if limit["warnings"] == 1:
            limit["warned_ts"] = ts
            limit["warned_value"] = value
    elif now == BREACHED and before != BREACHED:
        limit["breaches"] += 1
        if limit["breaches"] == 1:
            limit["breached_ts"] = ts
            limit["breached_value"] = value
    guard = state.guard[nth(k)]
    if now == BREACHED and limit["on_breach"] > guard["hold"]:
        guard["hold"] = limit["on_breach"]
        guard["hold_ts"] = ts
        guard["hold_place"] = place
        guard["cancels"] = 1 if guard["hold"] == HALTED else 0
    return value > limit["bound"]


@inner
def look_at_holding(state, k):
    """Hold what a set has, as its owner knows it at the present clock, against limits on position, loss and drawdown."""
    head, guard = state.head[nth(k)], state.guard[nth(k)]
    held, mark = head["known_position_lots"], state.local.extent[MID]
    evaluate(state, k, POSITION, abs(held))
    if mark == 0:
        return
    evaluate(state, k, NOTIONAL, worth_of(state, k, mark, abs(held)))
    settled = head["known_cash_tick_lots"] - head["known_fees_tick_lots"] - head["funding_tick_lots"]
    result = earned(state, k, settled, mark, held)
    guard["peak"] = max(guard["peak"], result)
    evaluate(state, k, LOSS, -result)
    evaluate(state, k, DRAWDOWN, guard["peak"] - result)


@inner
def open_lots(state, k, side):
    """Return the lots that may still fill on a side, as the owner knows them: also of orders on their way."""
    lots = np.int64(0)
    for i in range(state.head[nth(k)]["open_count"]):
        order = state.orders[nth(k), nth(state.open_slots[nth(k), nth(i)])]
        if order["side"] == side and order["known_status"] <= PARTIALLY_FILLED:
            lots += order["known_leaves_lots"]
    return lots


@inner
def count_message(state, k, side, price, lots):
    """Take down a message; return how many there were in the second up to now, and how many equal ones, with this one."""
    guard, ring, now = state.guard[nth(k)], state.messages[nth(k)], state.clock[0]["clock_ts"]
    size, number = len(ring), guard["messages"]
    newest = ring[number % size]
    newest["ts"] = now
    newest["side"] = side
    newest["price_ticks"] = price
    newest["qty_lots"] = lots
    guard["messages"] = number + 1
    sent, equal = np.int64(0), np.int64(0)
    i = number
    while i >= 0 and number - i < size:
        message = ring[i % size]
        if now - message["ts"] >= SECOND_NS:
            break
        sent += 1
        if message["side"] == side and message["price_ticks"] == price and message["qty_lots"] == lots:
            equal += 1
        i -= 1
    return sent, equal


@inner
def refusal_of(state, k, side, price, whole, added):
    """Return why an order may not leave, NONE when it may.

    price : ticks, 0 for a market order; whole : lots of the order; added : lots that it adds to what is open
    """
    head, guard = state.head[nth(k)], state.guard[nth(k)]
    held, resting = head["known_position_lots"], open_lots(state, k, side)
    if guard["hold"] == HALTED or (guard["hold"] == REDUCING and not only_reduces(side, held, resting, added)):
        guard["refused"] += 1
        return HALTED_REASON if guard["hold"] == HALTED else REDUCING_REASON
    place = breached_place(state, k, side, price, whole, added, held, resting)
    if place < 0:
        return NONE
    state.limits[nth(k), nth(place)]["refused"] += 1
    return SIZE_REASON + place


@inner
def breached_place(state, k, side, price, whole, added, held, resting):
    """Return the place of the first limit that an order would breach, -1 without one."""
    mark = state.local.extent[MID]
    half = 2 * price if price > 0 else mark
    sent, equal = count_message(state, k, side, price, whole)
    if evaluate(state, k, SIZE, whole):
        return SIZE
    # Without any price an order's worth is unknown, and an unknown one is not small.
    if evaluate(state, k, ORDER_NOTIONAL, worth_of(state, k, half, whole)):
        return ORDER_NOTIONAL
    if evaluate(state, k, COLLAR, collar_share(half, mark) if mark > 0 else np.int64(FOREVER)):
        return COLLAR
    if evaluate(state, k, RATE, sent):
        return RATE
    if evaluate(state, k, REPEATED, equal):
        return REPEATED
    worst = larger_position(held, side * (resting + added))
    if worst != NOT_WORSE and evaluate(state, k, WORST, worst):
        return WORST
    after = larger_position(held, side * added)
    if after != NOT_WORSE:
        if evaluate(state, k, POSITION, after):
            return POSITION
        if evaluate(state, k, NOTIONAL, worth_of(state, k, half, after)):
            return NOTIONAL
    return np.int64(-1)
