"""What the owner of orders sees and asks for: his view at a wake-up, and new orders, cancels and changes on their way.

Everything here is as the owner knows it, after latency. Knows nothing of what the venue makes of a request.
"""

import numpy as np

from market_maker.backtest.guard.kernel import look_at_holding, refusal_of
from market_maker.backtest.ladder.kernel import inlined, inner, level, nth
from market_maker.backtest.log.kernel import note
from market_maker.backtest.messages.kernel import AMEND, CANCEL, NEW_ORDER, send
from market_maker.backtest.queues.kernel import front_of
from market_maker.backtest.state import Code, Note, Reason
from market_maker.domain.order import OrderStatus, OrderType, TimeInForce
from market_maker.strategies import actions as act
from market_maker.strategies.actions import View

REACHED, INVALID_ORDER = int(Code.REACHED), int(Code.INVALID_ORDER)
TOO_MANY_ORDERS, TOO_MANY_IN_FLIGHT = int(Code.TOO_MANY_ORDERS), int(Code.TOO_MANY_IN_FLIGHT)
LIMIT, MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
GTC, IOC, FOK, GTD = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK), int(TimeInForce.GTD)
ACT_CANCEL, ACT_AMEND = act.CANCEL, act.AMEND
PRICE_MAX = 2**40
# Not plain integers, as in `exchange.kernel`.
PENDING_NEW, PARTIALLY_FILLED = np.int64(OrderStatus.PENDING_NEW), np.int64(OrderStatus.PARTIALLY_FILLED)
REJECTED = np.int64(OrderStatus.REJECTED)
NONE = np.int64(Reason.NONE)
BID, ASK = np.int64(0), np.int64(1)
ZERO, NO_PLACE = np.int64(0), np.int64(-1)
NEW_SENT, CANCEL_SENT, AMEND_SENT = np.int64(Note.NEW_SENT), np.int64(Note.CANCEL_SENT), np.int64(Note.AMEND_SENT)
REJECTED_NOTE, REFUSED_NOTE = np.int64(Note.REJECTED), np.int64(Note.REFUSED)


@inlined
def submit(
    state, k, side, order_type, time_in_force, post_only, price_ticks, qty_lots, expire_ts, chance_e9, impact_e9
):
    """Send a new order of a set at the present clock; return its id, or minus the Code that refused it."""
    head = state.head[nth(k)]
    if head["free_count"] == 0:
        return -TOO_MANY_ORDERS
    if head["request_count"] == state.requests.shape[1]:
        return -TOO_MANY_IN_FLIGHT
    rests = time_in_force == GTC or time_in_force == GTD
    valid = (
        abs(side) == 1
        and 0 < qty_lots <= PRICE_MAX
        and (order_type == MARKET or (order_type == LIMIT and 0 < price_ticks <= PRICE_MAX))
        and (rests or time_in_force == IOC or time_in_force == FOK)
        and (time_in_force != GTD or (order_type == LIMIT and expire_ts > 0))
        and (post_only == 0 or (post_only == 1 and order_type == LIMIT and rests))
    )
    if not valid:
        return -INVALID_ORDER
    head["free_count"] -= 1
    slot = np.int64(state.free_slots[nth(k), nth(head["free_count"])])
    head["last_order_id"] += 1
    price = price_ticks if order_type == LIMIT else ZERO
    order = state.orders[nth(k), nth(slot)]
    order["order_id"] = head["last_order_id"]
    order["side"] = side
    order["order_type"] = order_type
    order["time_in_force"] = time_in_force
    order["post_only"] = post_only
    order["price_ticks"] = price
    order["qty_lots"] = qty_lots
    order["submitted_ts"] = state.clock[0]["clock_ts"]
    order["leaves_lots"] = qty_lots
    order["status"] = PENDING_NEW
    order["expire_ts"] = expire_ts
    order["joined_front_lots"] = 0
    order["chance_e9"] = chance_e9
    order["chances"] = 0
    order["impact_e9"] = impact_e9
    order["known_price_ticks"] = price
    order["known_qty_lots"] = qty_lots
    order["known_leaves_lots"] = qty_lots
    order["known_status"] = PENDING_NEW
    order["known_reason"] = NONE
    order["known_front_lots"] = 0
    order["known_filled_lots"] = 0
    order["cancel_pending"] = 0
    order["amend_pending"] = 0
    front_of(state, k, slot)["lots"] = 0
    state.open_slots[nth(k), nth(head["open_count"])] = slot
    head["open_count"] += 1
    note(state, k, state.clock[0]["clock_ts"], slot, NEW_SENT, price, qty_lots, NONE, state.local)
    send(state, k, NEW_ORDER, slot, price, qty_lots)
    return order["order_id"]


@inner
def is_refused(state, k, action):
    """Return whether a set's limits do not let a request leave.

    What cannot be sent at all is left to `submit` and `request_amend`. A new order that is refused gets its id and ends
    where it is: it is told as REJECTED and never leaves.
    """
    head = state.head[nth(k)]
    price, lots = action["price_ticks"], action["qty_lots"]
    if action["kind"] == ACT_CANCEL or not 0 < lots <= PRICE_MAX or head["request_count"] == state.requests.shape[1]:
        return False
    if action["kind"] == ACT_AMEND:
        slot = slot_of_order(state, k, action["order_id"])
        if slot < 0 or not 0 < price <= PRICE_MAX:
            return False
        order = state.orders[nth(k), nth(slot)]
        same = order["known_price_ticks"] == price and order["known_qty_lots"] == lots
        if same or order["cancel_pending"] == 1 or order["amend_pending"] == 1 or order["order_type"] != LIMIT:
            return False
        return not may_amend(state, k, slot, price, lots)
    price = price if action["order_type"] == LIMIT else ZERO
    if head["free_count"] == 0 or abs(action["side"]) != 1 or not 0 <= price <= PRICE_MAX:
        return False
    reason = refusal_of(state, k, action["side"], price, lots, lots)
    if reason != NONE:
        refuse(state, k, action["side"], price, lots, reason)
    return reason != NONE


@inner
def refuse(state, k, side, price, lots, reason):
    """Write down an order that its owner's limits did not let leave; its slot stays free."""
    head = state.head[nth(k)]
    slot = np.int64(state.free_slots[nth(k), head["free_count"] - 1])
    order = state.orders[nth(k), nth(slot)]
    head["last_order_id"] += 1
    order["order_id"] = head["last_order_id"]
    order["side"] = side
    order["leaves_lots"] = 0
    order["status"] = REJECTED
    front_of(state, k, slot)["lots"] = 0
    head["orders_rejected"] += 1
    note(state, k, state.clock[0]["clock_ts"], slot, REJECTED_NOTE, price, lots, reason, state.local)


@inlined
def slot_of_order(state, k, order_id):
    """Return the slot of an order that its owner takes for open, -1 without one."""
    for i in range(state.head[nth(k)]["open_count"]):
        slot = np.int64(state.open_slots[nth(k), nth(i)])
        order = state.orders[nth(k), nth(slot)]
        if order["order_id"] == order_id:
            return slot if order["known_status"] <= PARTIALLY_FILLED else NO_PLACE
    return NO_PLACE


@inlined
def request_cancel(state, k, order_id):
    """Ask the venue to cancel; nothing is sent for an order that is known to have ended or is being canceled."""
    slot = slot_of_order(state, k, order_id)
    if slot < 0 or state.orders[nth(k), nth(slot)]["cancel_pending"] == 1:
        return REACHED
    if state.head[nth(k)]["request_count"] == state.requests.shape[1]:
        return TOO_MANY_IN_FLIGHT
    order = state.orders[nth(k), nth(slot)]
    order["cancel_pending"] = 1
    price, leaves = order["known_price_ticks"], order["known_leaves_lots"]
    note(state, k, state.clock[0]["clock_ts"], slot, CANCEL_SENT, price, leaves, NONE, state.local)
    send(state, k, CANCEL, slot, price, leaves)
    return REACHED


@inner
def request_amend(state, k, order_id, price_ticks, qty_lots):
    """Ask the venue to change an order; nothing is sent for one that has ended, is on its way to an end or a change."""
    slot = slot_of_order(state, k, order_id)
    if slot < 0:
        return REACHED
    order = state.orders[nth(k), nth(slot)]
    if not (0 < qty_lots <= PRICE_MAX and 0 < price_ticks <= PRICE_MAX and order["order_type"] == LIMIT):
        return INVALID_ORDER
    same = order["known_price_ticks"] == price_ticks and order["known_qty_lots"] == qty_lots
    if same or order["cancel_pending"] == 1 or order["amend_pending"] == 1:
        return REACHED
    if state.head[nth(k)]["request_count"] == state.requests.shape[1]:
        return TOO_MANY_IN_FLIGHT
    order["amend_pending"] = 1
    note(state, k, state.clock[0]["clock_ts"], slot, AMEND_SENT, price_ticks, qty_lots, NONE, state.local)
    send(state, k, AMEND, slot, price_ticks, qty_lots)
    return REACHED


@inner
def may_amend(state, k, slot, price_ticks, qty_lots):
    """Return whether the limits let a change leave: what it adds counts as an order, and one that only shrinks passes."""
    order = state.orders[nth(k), nth(slot)]
    added = max(qty_lots - order["known_qty_lots"], ZERO)
    if added == 0 and price_ticks == order["known_price_ticks"]:
        return True
    reason = refusal_of(state, k, np.int64(order["side"]), price_ticks, qty_lots, added)
    if reason != NONE:
        note(state, k, state.clock[0]["clock_ts"], slot, REFUSED_NOTE, price_ticks, qty_lots, reason, state.local)
    return reason == NONE


@inner
def watch(state, k):
    """Hold a set against its limits, by what its owner knows now; a breach that halts it cancels its orders."""
    look_at_holding(state, k)
    code = cancel_if_halted(state, k)
    if code != REACHED:
        state.clock[0]["refusal"] = code


@inner
def cancel_if_halted(state, k):
    """Ask the venue to cancel every open order of a set that has just been halted; return a Code."""
    if state.guard[nth(k)]["cancels"] == 0:
        return REACHED
    state.guard[nth(k)]["cancels"] = 0
    for i in range(state.head[nth(k)]["open_count"]):
        code = request_cancel(state, k, state.orders[nth(k), nth(state.open_slots[nth(k), nth(i)])]["order_id"])
        if code != REACHED:
            return code
    return REACHED


@inlined
def best_lots(book):
    """Return what the best bid and the best ask display, 0 without one."""
    bid, ask = book.best[0], book.best[1]
    return level(book, BID, bid) if bid != 0 else ZERO, level(book, ASK, ask) if ask != 0 else ZERO


@inlined
def view_of(state, k, reason, lots):
    """Return what the strategy of a set sees now, and begin counting trades anew; the levels were copied before.

    `lots` : of the best prices, see `best_lots`; they are the same for all sets
    """
    clock = state.clock[0]
    head = state.head[nth(k)]
    book = state.local
    for i in range(head["open_count"]):
        order = state.orders[nth(k), nth(state.open_slots[nth(k), nth(i)])]
        shown = state.view_orders[nth(i)]
        shown["order_id"] = order["order_id"]
        shown["side"] = order["side"]
        shown["price_ticks"] = order["known_price_ticks"]
        shown["qty_lots"] = order["known_qty_lots"]
        shown["leaves_lots"] = order["known_leaves_lots"]
        shown["status"] = order["known_status"]
        shown["cancel_pending"] = order["cancel_pending"]
        shown["queue_ahead_lots"] = order["known_front_lots"]
        shown["submitted_ts"] = order["submitted_ts"]
        shown["amend_pending"] = order["amend_pending"]
        shown["instrument"] = 0
    bid, ask = book.best[0], book.best[1]
    view = View(
        clock["clock_ts"],
        reason,
        bid,
        lots[0],
        ask,
        lots[1],
        head["known_position_lots"],
        head["known_cash_tick_lots"],
        head["known_fees_tick_lots"],
        head["balance_tick_lots"],
        clock["last_trade_ticks"],
        clock["bought_lots"] - head["bought_lots"],
        clock["sold_lots"] - head["sold_lots"],
        clock["trades"] - head["trades"],
        state.view_bids,
        state.view_asks,
        state.view_orders[: head["open_count"]],
        state.view_instruments,
    )
    head["bought_lots"] = clock["bought_lots"]
    head["sold_lots"] = clock["sold_lots"]
    head["trades"] = clock["trades"]
    return view


@inlined
def obey(state, k):
    """Send the requests that the strategy of a set made."""
    actions = state.actions
    limited = len(state.guard) > 0
    for i in range(1, actions[0]["kind"] + 1):
        action = actions[i]
        if limited and is_refused(state, k, action):
            continue
        if action["kind"] == ACT_CANCEL:
            code = request_cancel(state, k, action["order_id"])
        elif action["kind"] == ACT_AMEND:
            code = request_amend(state, k, action["order_id"], action["price_ticks"], action["qty_lots"])
        else:
            order_id = submit(
                state,
                k,
                action["side"],
                action["order_type"],
                action["time_in_force"],
                action["post_only"],
                action["price_ticks"],
                action["qty_lots"],
                action["expire_ts"],
                state.head[nth(k)]["chance_e9"],
                state.head[nth(k)]["impact_e9"],
            )
            code = REACHED if order_id >= 0 else -order_id
        if code != REACHED:
            return code
    return cancel_if_halted(state, k) if limited else REACHED
