"""The compiled replay: two streams of rows, own orders between them, wake-ups of a strategy.

Owns time: the order of rows, requests, responses, samples and wake-ups, and latency. The exchange stream moves the
venue's book and own orders (`exchange.kernel`); the local stream moves what the strategy sees. Between two wake-ups
they touch each other only through requests and responses, so each runs in a tight loop: first the exchange up to the
wake-up, then the local side. Knows no files, no Decimal and no particular strategy.
"""

import numpy as np

from market_maker.backtest.exchange.kernel import (
    FILLED,
    IOC,
    MARKET,
    NONE,
    PARTIALLY_FILLED,
    PENDING_NEW,
    RING_MASK,
    mark,
    on_level,
    on_request,
    on_trade,
)
from market_maker.backtest.ladder.kernel import clear_side, copy_levels, inner, level, set_level
from market_maker.backtest.state import FOREVER, IN_FLIGHT_MAX, ROOM, Code
from market_maker.domain.order import OrderType, TimeInForce
from market_maker.strategies.actions import CANCEL, WAKE_TIMER, View

REACHED, NEEDS_EXCHANGE, NEEDS_LOCAL = int(Code.REACHED), int(Code.NEEDS_EXCHANGE_ROWS), int(Code.NEEDS_LOCAL_ROWS)
FULL, INVALID_ORDER = int(Code.BUFFERS_FULL), int(Code.INVALID_ORDER)
TOO_MANY_ORDERS, TOO_MANY_IN_FLIGHT = int(Code.TOO_MANY_ORDERS), int(Code.TOO_MANY_IN_FLIGHT)
LIMIT, GTC = int(OrderType.LIMIT), int(TimeInForce.GTC)
PRICE_MAX = 2**40
# Not plain integers, as in `exchange.kernel`.
BID, ASK = np.int64(0), np.int64(1)
NEW_ORDER, CANCELS = np.int64(0), np.int64(1)


@inner
def take_sample(state, ts):
    """Record the venue's ledger and the mid at an instant of the sampling clock."""
    head = state.head[0]
    sample = state.samples[head["sample_count"]]
    head["sample_count"] += 1
    sample["ts"] = ts
    sample["position_lots"] = head["position_lots"]
    sample["cash_tick_lots"] = head["cash_tick_lots"]
    sample["fees_tick_lots"] = head["fees_tick_lots"]
    sample["mid_half_ticks"] = mark(state)
    head["next_sample_ts"] += head["sample_interval_ns"]
    if head["next_sample_ts"] > head["sample_end_ts"]:
        head["next_sample_ts"] = FOREVER


@inner
def has_room(state):
    """Return whether every buffer can take what one more event may write."""
    head = state.head[0]
    return (
        head["fill_count"] + ROOM < len(state.fills)
        and head["sample_count"] + 1 < len(state.samples)
        and head["response_count"] + ROOM < IN_FLIGHT_MAX
    )


@inner
def own_reach(state):
    """Return (low, high): bid rows and buying trades below `low`, ask rows and selling trades above `high` miss us."""
    buys, sells = state.resting_count[0], state.resting_count[1]
    low, high = FOREVER, -FOREVER
    if buys > 0:
        low = state.orders[state.resting[0, buys - 1]]["price_ticks"]
        high = state.orders[state.resting[0, 0]]["price_ticks"]
    if sells > 0:
        low = min(low, state.orders[state.resting[1, 0]]["price_ticks"])
        high = max(high, state.orders[state.resting[1, sells - 1]]["price_ticks"])
    return low, high


@inner
def run_exchange(state, rows, is_last, stop):
    """Move the venue up to `stop` inclusive: rows, then requests, then the sample of each instant."""
    head = state.head[0]
    book = state.exchange
    ts, price, qty, code = rows.ts, rows.price_ticks, rows.qty_lots, rows.code
    n = len(ts)
    i = head["exchange_row"]
    result = REACHED
    while True:
        if not has_room(state):
            result = FULL
            break
        request_ts = FOREVER
        if head["request_count"] > 0:
            request_ts = state.requests[head["request_first"] & RING_MASK]["arrival_ts"]
        limit = min(stop, request_ts, head["next_sample_ts"])
        low, high = own_reach(state)
        fills = head["fill_count"]
        while i < n and ts[i] <= limit:
            kind = code[i]
            if abs(kind) == 1:
                s = 0 if kind > 0 else 1
                improved = set_level(book, s, price[i], qty[i])
                if price[i] >= low if s == 0 else price[i] <= high:
                    on_level(state, ts[i], s, price[i], qty[i], improved)
            elif abs(kind) == 2:
                if price[i] >= low if kind > 0 else price[i] <= high:
                    on_trade(state, ts[i], 1 if kind > 0 else -1, price[i], qty[i])
            else:
                clear_side(book, 0 if kind > 0 else 1)
            i += 1
            if head["fill_count"] != fills:
                break
        if i == n and not is_last:
            result = NEEDS_EXCHANGE
            break
        if head["fill_count"] != fills or (i < n and ts[i] <= limit):
            continue
        if request_ts == limit:
            on_request(state)
        elif head["next_sample_ts"] == limit:
            take_sample(state, limit)
        else:
            break
    head["events"] += i - head["exchange_row"]
    head["exchange_row"] = i
    return result


@inner
def on_response(state):
    """The owner learns what the venue did; a slot is free again once its order is known to have ended."""
    head = state.head[0]
    response = state.responses[head["response_first"] & RING_MASK]
    head["response_first"] += 1
    head["response_count"] -= 1
    head["known_position_lots"] += response["position_lots"]
    head["known_cash_tick_lots"] += response["cash_tick_lots"]
    head["known_fees_tick_lots"] += response["fee_tick_lots"]
    slot = response["slot"]
    order = state.orders[slot]
    order["known_status"] = response["status"]
    order["known_reason"] = response["reason"]
    order["known_leaves_lots"] = response["leaves_lots"]
    order["known_front_lots"] = response["front_lots"]
    order["known_filled_lots"] += abs(response["position_lots"])
    if response["status"] >= FILLED and head["keeps_ended"] == 0:
        release(state, slot)


@inner
def release(state, slot):
    """Give back the slot of an order that has ended."""
    head = state.head[0]
    count = head["open_count"]
    i = 0
    while state.open_slots[i] != slot:
        i += 1
    for k in range(i, count - 1):
        state.open_slots[k] = state.open_slots[k + 1]
    head["open_count"] = count - 1
    state.free_slots[head["free_count"]] = slot
    head["free_count"] += 1


@inner
def run_local(state, rows, is_last, stop):
    """Move what the strategy sees up to `stop` inclusive."""
    head = state.head[0]
    book = state.local
    ts, price, qty, code = rows.ts, rows.price_ticks, rows.qty_lots, rows.code
    n = len(ts)
    i = head["local_row"]
    while i < n and ts[i] <= stop:
        kind = code[i]
        if abs(kind) == 1:
            set_level(book, 0 if kind > 0 else 1, price[i], qty[i])
        elif abs(kind) == 2:
            head["last_trade_ticks"] = price[i]
            head["trades"] += 1
            if kind > 0:
                head["bought_lots"] += qty[i]
            else:
                head["sold_lots"] += qty[i]
        else:
            clear_side(book, 0 if kind > 0 else 1)
        i += 1
    head["local_row"] = i
    if i == n and not is_last:
        return NEEDS_LOCAL
    while head["response_count"] > 0 and state.responses[head["response_first"] & RING_MASK]["arrival_ts"] <= stop:
        on_response(state)
    return REACHED


@inner
def submit(state, side, order_type, time_in_force, post_only, price_ticks, qty_lots):
    """Send a new order at the present clock; return its id, or minus the Code that refused it."""
    head = state.head[0]
    if head["free_count"] == 0:
        return -TOO_MANY_ORDERS
    if head["request_count"] == IN_FLIGHT_MAX:
        return -TOO_MANY_IN_FLIGHT
    valid = (
        abs(side) == 1
        and 0 < qty_lots <= PRICE_MAX
        and (order_type == MARKET or (order_type == LIMIT and 0 < price_ticks <= PRICE_MAX))
        and GTC <= time_in_force <= IOC
        and (post_only == 0 or (order_type == LIMIT and time_in_force == GTC))
    )
    if not valid:
        return -INVALID_ORDER
    head["free_count"] -= 1
    slot = state.free_slots[head["free_count"]]
    head["last_order_id"] += 1
    order = state.orders[slot]
    order["order_id"] = head["last_order_id"]
    order["side"] = side
    order["order_type"] = order_type
    order["time_in_force"] = time_in_force
    order["post_only"] = post_only
    order["price_ticks"] = price_ticks if order_type == LIMIT else 0
    order["qty_lots"] = qty_lots
    order["submitted_ts"] = head["clock_ts"]
    order["leaves_lots"] = qty_lots
    order["status"] = PENDING_NEW
    order["front_lots"] = 0
    order["known_leaves_lots"] = qty_lots
    order["known_status"] = PENDING_NEW
    order["known_reason"] = NONE
    order["known_front_lots"] = 0
    order["known_filled_lots"] = 0
    order["cancel_pending"] = 0
    state.open_slots[head["open_count"]] = slot
    head["open_count"] += 1
    send(state, NEW_ORDER, slot)
    return order["order_id"]


@inner
def send(state, cancels, slot):
    """Put a request on its way to the venue."""
    head = state.head[0]
    request = state.requests[(head["request_first"] + head["request_count"]) & RING_MASK]
    head["request_count"] += 1
    request["arrival_ts"] = head["clock_ts"] + head["entry_latency_ns"]
    request["cancels"] = cancels
    request["slot"] = slot
    request["order_id"] = state.orders[slot]["order_id"]


@inner
def request_cancel(state, order_id):
    """Ask the venue to cancel; nothing is sent for an order that is known to have ended or is being canceled."""
    head = state.head[0]
    for k in range(head["open_count"]):
        slot = state.open_slots[k]
        order = state.orders[slot]
        if order["order_id"] == order_id:
            if order["cancel_pending"] == 0 and order["known_status"] <= PARTIALLY_FILLED:
                if head["request_count"] == IN_FLIGHT_MAX:
                    return TOO_MANY_IN_FLIGHT
                order["cancel_pending"] = 1
                send(state, CANCELS, slot)
            return REACHED
    return REACHED


@inner
def view_of(state):
    """Return what the strategy sees now, and begin counting trades anew."""
    head = state.head[0]
    book = state.local
    copy_levels(book, BID, state.view_bids)
    copy_levels(book, ASK, state.view_asks)
    for k in range(head["open_count"]):
        order = state.orders[state.open_slots[k]]
        shown = state.view_orders[k]
        shown["order_id"] = order["order_id"]
        shown["side"] = order["side"]
        shown["price_ticks"] = order["price_ticks"]
        shown["qty_lots"] = order["qty_lots"]
        shown["leaves_lots"] = order["known_leaves_lots"]
        shown["status"] = order["known_status"]
        shown["cancel_pending"] = order["cancel_pending"]
        shown["queue_ahead_lots"] = order["known_front_lots"]
        shown["submitted_ts"] = order["submitted_ts"]
    bid, ask = book.best[0], book.best[1]
    view = View(
        head["clock_ts"],
        np.int64(WAKE_TIMER),
        bid,
        level(book, BID, bid) if bid != 0 else np.int64(0),
        ask,
        level(book, ASK, ask) if ask != 0 else np.int64(0),
        head["known_position_lots"],
        head["known_cash_tick_lots"],
        head["known_fees_tick_lots"],
        head["balance_tick_lots"],
        head["last_trade_ticks"],
        head["bought_lots"],
        head["sold_lots"],
        head["trades"],
        state.view_bids,
        state.view_asks,
        state.view_orders[: head["open_count"]],
    )
    head["bought_lots"] = 0
    head["sold_lots"] = 0
    head["trades"] = 0
    return view


@inner
def obey(state):
    """Send the requests that a strategy made."""
    actions = state.actions
    for k in range(1, actions[0]["kind"] + 1):
        action = actions[k]
        if action["kind"] == CANCEL:
            code = request_cancel(state, action["order_id"])
            if code != REACHED:
                return code
        else:
            order_id = submit(
                state,
                action["side"],
                action["order_type"],
                action["time_in_force"],
                action["post_only"],
                action["price_ticks"],
                action["qty_lots"],
            )
            if order_id < 0:
                return -order_id
    return REACHED


def advance(state, exchange_rows, exchange_is_last, local_rows, local_is_last, strategy, params, memory, until):
    """Run to `until` inclusive, waking the strategy on its timer; return a Code.

    With NEEDS_* the caller replaces the rows of that stream (and sets its row to 0), with BUFFERS_FULL it empties
    fills and samples (and sets their counts to 0), then calls again: nothing is lost or done twice.
    """
    head = state.head[0]
    while True:
        stop = min(until, head["next_wake_ts"])
        code = run_exchange(state, exchange_rows, exchange_is_last, stop)
        if code == FULL and head["response_count"] + ROOM >= IN_FLIGHT_MAX:
            # The venue may be far ahead of the owner: let responses arrive up to the instant the venue is at.
            before = head["response_count"]
            reached = (
                exchange_rows.ts[head["exchange_row"]] - 1 if head["exchange_row"] < len(exchange_rows.ts) else stop
            )
            code = run_local(state, local_rows, local_is_last, min(stop, reached))
            if code == REACHED:
                if head["response_count"] == before:
                    return TOO_MANY_IN_FLIGHT
                continue
        if code != REACHED:
            return code
        code = run_local(state, local_rows, local_is_last, stop)
        if code != REACHED:
            return code
        head["clock_ts"] = max(head["clock_ts"], stop)
        if stop == head["next_wake_ts"]:
            head["next_wake_ts"] += head["wake_interval_ns"]
            state.actions[0]["kind"] = 0
            strategy(view_of(state), params, memory, state.actions)
            code = obey(state)
            if code != REACHED:
                return code
        elif stop == until:
            return REACHED


def submit_from_outside(state, side, order_type, time_in_force, post_only, price_ticks, qty_lots):
    """Entry point of `submit`."""
    return submit(state, side, order_type, time_in_force, post_only, price_ticks, qty_lots)


def request_cancel_from_outside(state, order_id):
    """Entry point of `request_cancel`."""
    return request_cancel(state, order_id)


def release_from_outside(state, slot):
    """Entry point of `release`."""
    release(state, slot)
