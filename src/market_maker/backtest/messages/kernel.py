"""Messages between the owner of orders and the venue: how long they travel, and what an answer tells.

Both directions are first in, first out. Owns the rings of messages, the agenda of arrivals and latency; knows nothing of
matching and of why an order changed.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import inlined, inner, nth
from market_maker.backtest.latency_models import LatencyModel
from market_maker.backtest.latency_models.kernel import (
    entry_latency,
    events_in_window,
    request_arrival,
    response_arrival,
    response_latency,
)
from market_maker.backtest.log.kernel import note
from market_maker.backtest.queues.kernel import front_of
from market_maker.backtest.state import Code, Note, Reason
from market_maker.domain.order import OrderStatus
from market_maker.strategies.actions import WAKE_ORDER

# Not plain integers: Numba would compile each function again for every constant that is passed to it.
FILLED, REJECTED = np.int64(OrderStatus.FILLED), np.int64(OrderStatus.REJECTED)
STATE, NEW_ORDER, CANCEL, AMEND = np.int64(0), np.int64(0), np.int64(1), np.int64(2)
ZERO = np.int64(0)
LOST, LOST_NOTE = np.int64(Reason.LOST_ON_THE_WAY), np.int64(Note.LOST)
CONSTANT, UNDER_LOAD = np.int64(LatencyModel.CONSTANT), np.int64(LatencyModel.UNDER_LOAD)
TOO_MANY_IN_FLIGHT = np.int64(Code.TOO_MANY_IN_FLIGHT)


@inlined
def at_ring(i, size):
    """Return the place of element `i` < 2 * size of a ring."""
    return i if i < size else i - size


@inlined
def rise(keys, values, i):
    """Move element `i` of a heap towards the root until its key is not smaller than its parent's."""
    key, value = keys[nth(i)], values[nth(i)]
    while i > 0:
        parent = (i - 1) >> 1
        if keys[nth(parent)] <= key:
            break
        keys[nth(i)], values[nth(i)] = keys[nth(parent)], values[nth(parent)]
        i = parent
    keys[nth(i)], values[nth(i)] = key, value


@inlined
def sink(keys, values, count):
    """Move the root of a heap away from it until no child's key is smaller."""
    key, value = keys[0], values[0]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        if child + 1 < count and keys[nth(child + 1)] < keys[nth(child)]:
            child += 1
        if keys[nth(child)] >= key:
            break
        keys[nth(i)], values[nth(i)] = keys[nth(child)], values[nth(child)]
        i = child
    keys[nth(i)], values[nth(i)] = key, value


@inlined
def weigh(state, times, ts):
    """Count the venue's rows in the window before an instant, for latency under load."""
    if state.load[0]["window_ns"] != 0:
        state.clock[0]["load_events"] = events_in_window(state.load[0], times, state.carried, ts)


@inner
def release(state, k, slot):
    """Give back the slot of an order that has ended."""
    head = state.head[nth(k)]
    count = head["open_count"]
    i = 0
    while state.open_slots[nth(k), nth(i)] != slot:
        i += 1
    for j in range(i, count - 1):
        state.open_slots[nth(k), nth(j)] = state.open_slots[nth(k), nth(j + 1)]
    head["open_count"] = count - 1
    state.free_slots[nth(k), nth(head["free_count"])] = slot
    head["free_count"] += 1


@inner
def deliver(state, k, ts):
    """Let responses that have arrived by `ts` reach the owner; a slot is free once its order is known to have ended."""
    head = state.head[nth(k)]
    size = state.responses.shape[1]
    first, count = head["response_first"], head["response_count"]
    while count > 0:
        response = state.responses[nth(k), nth(first)]
        if response["arrival_ts"] > ts:
            break
        first = at_ring(first + 1, size)
        count -= 1
        slot = np.int64(response["slot"])
        order = state.orders[nth(k), nth(slot)]
        if response["kind"] != STATE:
            # The refused request of an order that has ended meanwhile is nobody's any more.
            if order["order_id"] == response["order_id"]:
                order["known_reason"] = response["reason"]
                if response["kind"] == CANCEL:
                    order["cancel_pending"] = 0
                else:
                    order["amend_pending"] = 0
            continue
        head["known_position_lots"] += response["position_lots"]
        head["known_cash_tick_lots"] += response["cash_tick_lots"]
        head["known_fees_tick_lots"] += response["fee_tick_lots"]
        order["known_status"] = response["status"]
        order["known_reason"] = response["reason"]
        order["known_leaves_lots"] = response["leaves_lots"]
        order["known_front_lots"] = response["front_lots"]
        order["known_filled_lots"] += abs(response["position_lots"])
        if order["amend_pending"] == 1:
            changed = order["known_price_ticks"] != response["price_ticks"]
            if changed or order["known_qty_lots"] != response["qty_lots"]:
                order["known_price_ticks"] = response["price_ticks"]
                order["known_qty_lots"] = response["qty_lots"]
                order["amend_pending"] = 0
        if response["status"] >= FILLED and head["keeps_ended"] == 0:
            release(state, k, slot)
    # A ring that begins anew stays in the same few lines of memory.
    head["response_first"] = first if count > 0 else ZERO
    head["response_count"] = count


@inlined
def answer(state, k, arrival_ts, kind, slot, status, reason, position, cash, fee):
    """Put an answer on its way that arrives at `arrival_ts`, or with the one before it."""
    head = state.head[nth(k)]
    clock = state.clock[0]
    order = state.orders[nth(k), nth(slot)]
    size = state.responses.shape[1]
    response = state.responses[nth(k), nth(at_ring(head["response_first"] + head["response_count"], size))]
    head["response_count"] += 1
    arrival_ts = response_arrival(state.latency[nth(k)], arrival_ts)
    response["arrival_ts"] = arrival_ts
    response["kind"] = kind
    response["slot"] = slot
    response["order_id"] = order["order_id"]
    response["status"] = status
    response["reason"] = reason
    response["price_ticks"] = order["price_ticks"]
    response["qty_lots"] = order["qty_lots"]
    response["leaves_lots"] = order["leaves_lots"]
    response["front_lots"] = front_of(state, k, slot)["lots"]
    response["position_lots"] = position
    response["cash_tick_lots"] = cash
    response["fee_tick_lots"] = fee
    if clock["wakes_on"] & WAKE_ORDER:
        clock["next_answer_ts"] = min(clock["next_answer_ts"], arrival_ts)


@inner
def respond(state, k, ts, kind, slot, reason, position, cash, fee):
    """Send the present state of an order to its owner, or the refusal of a request of this kind."""
    head = state.head[nth(k)]
    size = state.responses.shape[1]
    if head["response_count"] == size:
        # The owner does not look before the next wake-up, and that is later than now.
        deliver(state, k, ts)
        if head["response_count"] == size:
            state.clock[0]["refusal"] = TOO_MANY_IN_FLIGHT
            return
    latency = state.latency[nth(k)]
    delay = latency["response_ns"]
    if latency["model"] != CONSTANT:
        delay = response_latency(latency, ts, state.recorded_answers, state.clock[0]["load_events"])
    answer(
        state,
        k,
        ts + delay,
        kind,
        slot,
        np.int64(state.orders[nth(k), nth(slot)]["status"]),
        reason,
        position,
        cash,
        fee,
    )


@inner
def send(state, k, kind, slot, price_ticks, qty_lots):
    """Put a request of a set on its way to the venue, or learn that it is lost."""
    head = state.head[nth(k)]
    clock = state.clock[0]
    latency = state.latency[nth(k)]
    now = clock["clock_ts"]
    delay = latency["entry_ns"]
    if latency["model"] != CONSTANT:
        delay = entry_latency(latency, now, state.recorded_requests, clock["load_events"])
    if delay < 0:
        lose(state, k, now - delay, kind, slot)
        return
    request = state.requests[
        nth(k), nth(at_ring(head["request_first"] + head["request_count"], state.requests.shape[1]))
    ]
    head["request_count"] += 1
    arrival_ts = request_arrival(latency, now + delay)
    request["arrival_ts"] = arrival_ts
    request["kind"] = kind
    request["slot"] = slot
    request["order_id"] = state.orders[nth(k), nth(slot)]["order_id"]
    request["price_ticks"] = price_ticks
    request["qty_lots"] = qty_lots
    if head["request_count"] == 1:
        count = clock["agenda_count"]
        state.agenda_ts[nth(count)] = arrival_ts
        state.agenda_set[nth(count)] = k
        clock["agenda_count"] = count + 1
        rise(state.agenda_ts, state.agenda_set, count)


@inner
def lose(state, k, told_ts, kind, slot):
    """A request never reaches the venue; its owner is told at `told_ts`."""
    head = state.head[nth(k)]
    order = state.orders[nth(k), nth(slot)]
    if head["response_count"] == state.responses.shape[1]:
        state.clock[0]["refusal"] = TOO_MANY_IN_FLIGHT
        return
    status = np.int64(order["status"])
    if kind == NEW_ORDER:
        status = REJECTED
        order["status"] = REJECTED
        order["leaves_lots"] = 0
        head["orders_rejected"] += 1
    answer(state, k, told_ts, kind, slot, status, LOST, ZERO, ZERO, ZERO)
    note(
        state,
        k,
        state.clock[0]["clock_ts"],
        slot,
        LOST_NOTE,
        order["price_ticks"],
        order["qty_lots"],
        LOST,
        state.local,
    )
