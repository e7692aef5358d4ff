"""The compiled replay: two streams of rows, own orders between them, wake-ups of a strategy.

Owns time: the order of rows, requests, responses, samples and wake-ups, and latency. The exchange stream moves the
venue's book and own orders (`exchange.kernel`); the local stream moves what the strategy sees. Between two wake-ups
they touch each other only through requests and responses, so each runs in a tight loop: first the exchange up to the
wake-up, then the local side. Knows no files, no Decimal and no particular strategy.

A row is applied once for all sets of the state; it costs a set something only where the set has orders.
"""

import numpy as np

from market_maker.backtest.exchange.kernel import (
    IOC,
    MARKET,
    NONE,
    PARTIALLY_FILLED,
    PENDING_NEW,
    at_ring,
    deliver,
    mark,
    on_crossing,
    on_displaced_book,
    on_request,
    on_trade,
    release,
)
from market_maker.backtest.ladder.kernel import DISPLACED, clear_quantities, copy_levels, inlined, inner, level, settle
from market_maker.backtest.queues.kernel import BUCKET_MASK, forget_marks, front_of, move_marks, on_queues
from market_maker.backtest.state import FOREVER, WALK_LEVELS_MAX, Code
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


@inlined
def rise(keys, values, i):
    """Move element `i` of a heap towards the root until its key is not smaller than its parent's."""
    key, value = keys[i], values[i]
    while i > 0:
        parent = (i - 1) >> 1
        if keys[parent] <= key:
            break
        keys[i], values[i] = keys[parent], values[parent]
        i = parent
    keys[i], values[i] = key, value


@inlined
def sink(keys, values, count):
    """Move the root of a heap away from it until no child's key is smaller."""
    key, value = keys[0], values[0]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        if child + 1 < count and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[i], values[i] = keys[child], values[child]
        i = child
    keys[i], values[i] = key, value


@inner
def take_sample(state, ts):
    """Record every set's ledger at the venue and the mid at an instant of the sampling clock."""
    clock = state.clock[0]
    samples = state.samples[clock["sample_count"]]
    clock["sample_count"] += 1
    for k in range(len(samples)):
        head = state.head[k]
        sample = samples[k]
        sample["ts"] = ts
        sample["position_lots"] = head["position_lots"]
        sample["cash_tick_lots"] = head["cash_tick_lots"]
        sample["fees_tick_lots"] = head["fees_tick_lots"]
        sample["mid_half_ticks"] = mark(state)
    clock["next_sample_ts"] += clock["sample_interval_ns"]
    if clock["next_sample_ts"] > clock["sample_end_ts"]:
        clock["next_sample_ts"] = FOREVER


@inner
def room_for_fills(state):
    """Return the number of fills from which the buffer may not take what one more event can write."""
    return len(state.fills) - state.orders.shape[0] * state.orders.shape[1] - WALK_LEVELS_MAX - 1


@inner
def run_exchange(state, feed, is_last, stop):
    """Move the venue up to `stop` inclusive: rows, then requests, then the sample of each instant."""
    clock = state.clock[0]
    book = state.exchange
    quantity = book.quantity
    heads, bound, agenda = state.heads, state.bound, state.agenda_ts
    ts, price, qty, code, slots, quotes = feed.ts, feed.price_ticks, feed.qty_lots, feed.code, feed.slots, feed.quotes
    n = len(ts)
    i = clock["exchange_row"]
    room = room_for_fills(state)
    result = REACHED
    while True:
        if clock["refusal"] != REACHED:
            result = clock["refusal"]
            break
        if clock["fill_count"] >= room or clock["sample_count"] >= len(state.samples):
            result = FULL
            break
        request_ts = agenda[0] if clock["agenda_count"] > 0 else FOREVER
        limit = min(stop, request_ts, clock["next_sample_ts"])
        special = feed.specials[clock["exchange_special"]]
        end = min(n, special)
        low, high = bound[1], bound[0]
        while i < end and ts[i] <= limit:
            kind, tick = np.int64(code[i]), price[i]
            s = np.int64(kind < 0)
            quantity[slots[i]] = qty[i]
            # Few rows reach own orders; the test of all others has no branch that depends on the kind of row.
            crosses = ((kind > 0) & (tick >= low)) | ((kind < 0) & (tick <= high))
            if crosses | (heads[s, tick & BUCKET_MASK] >= 0):
                if reach(state, feed, i, kind, s, tick, crosses):
                    low, high = bound[1], bound[0]
                    if clock["fill_count"] >= room:
                        i += 1
                        break
            i += 1
        if i < n and ts[i] <= limit:
            if i == special:
                on_special(state, feed, i)
                i += 1
            continue
        if i == n and not is_last:
            settle(book, quotes, i - 1)
            result = NEEDS_EXCHANGE
            break
        if request_ts == limit:
            settle(book, quotes, i - 1)
            arrive(state)
        elif clock["next_sample_ts"] == limit:
            settle(book, quotes, i - 1)
            take_sample(state, limit)
        else:
            break
    clock["events"] += i - clock["exchange_row"]
    clock["exchange_row"] = i
    return result


@inner
def reach(state, feed, i, kind, s, tick, crosses):
    """Let a row reach own orders; return True when it may have filled some."""
    lots = feed.qty_lots[i]
    if kind == 2 or kind == -2:
        if crosses:
            settle(state.exchange, feed.quotes, i)
            on_trade(state, feed.ts[i], kind >> 1, tick, lots)
        return crosses
    on_queues(state, s, tick, lots)
    if not crosses or lots == 0 or tick <= 0:
        return False
    before = feed.quotes[i - 1, s] if i > 0 else state.exchange.best[s]
    settle(state.exchange, feed.quotes, i)
    on_crossing(state, feed.ts[i], s, tick, feed.quotes[i, s] == tick and before != tick)
    return True


@inner
def on_special(state, feed, i):
    """Apply a row that concerns the whole book."""
    clock = state.clock[0]
    book = state.exchange
    kind, tick = feed.code[i], feed.price_ticks[i]
    clock["exchange_special"] += 1
    if kind == 3 or kind == -3:
        s = BID if kind > 0 else ASK
        clear_quantities(book, s)
        forget_marks(state, s)
    elif kind > 0:
        change = tick - book.extent[DISPLACED]
        book.extent[DISPLACED] = tick
        move_marks(state, change)
    else:
        settle(book, feed.quotes, i)
        on_displaced_book(state, feed.ts[i])


@inlined
def arrive(state):
    """Let the request that is due first reach the venue."""
    clock = state.clock[0]
    keys, values = state.agenda_ts, state.agenda_set
    k = values[0]
    on_request(state, k)
    head = state.head[k]
    if head["request_count"] > 0:
        following = state.requests[k, head["request_first"]]["arrival_ts"]
        if following == keys[0]:
            return
        keys[0] = following
    else:
        count = clock["agenda_count"] - 1
        clock["agenda_count"] = count
        keys[0], values[0] = keys[count], values[count]
    sink(keys, values, clock["agenda_count"])


@inner
def run_local(state, feed, is_last, stop):
    """Move what strategies see of the market up to `stop` inclusive."""
    clock = state.clock[0]
    quantity = state.local.quantity
    ts, qty, slots = feed.ts, feed.qty_lots, feed.slots
    n = len(ts)
    i = clock["local_row"]
    while True:
        special = feed.specials[clock["local_special"]]
        end = min(n, special)
        while i < end and ts[i] <= stop:
            quantity[slots[i]] = qty[i]
            i += 1
        if i == n or ts[i] > stop:
            break
        clock["local_special"] += 1
        kind = feed.code[i]
        if kind == 3 or kind == -3:
            clear_quantities(state.local, BID if kind > 0 else ASK)
        elif kind > 0:
            state.local.extent[DISPLACED] = feed.price_ticks[i]
        i += 1
    clock["local_row"] = i
    t = clock["local_trade"]
    trades = feed.trades
    while trades[t] < i:
        row = trades[t]
        if feed.code[row] > 0:
            clock["bought_lots"] += qty[row]
        else:
            clock["sold_lots"] += qty[row]
        clock["last_trade_ticks"] = feed.price_ticks[row]
        t += 1
    clock["trades"] += t - clock["local_trade"]
    clock["local_trade"] = t
    if i == n and not is_last:
        settle(state.local, feed.quotes, i - 1)
        return NEEDS_LOCAL
    return REACHED


@inlined
def submit(state, k, side, order_type, time_in_force, post_only, price_ticks, qty_lots):
    """Send a new order of a set at the present clock; return its id, or minus the Code that refused it."""
    head = state.head[k]
    if head["free_count"] == 0:
        return -TOO_MANY_ORDERS
    if head["request_count"] == state.requests.shape[1]:
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
    slot = state.free_slots[k, head["free_count"]]
    head["last_order_id"] += 1
    order = state.orders[k, slot]
    order["order_id"] = head["last_order_id"]
    order["side"] = side
    order["order_type"] = order_type
    order["time_in_force"] = time_in_force
    order["post_only"] = post_only
    order["price_ticks"] = price_ticks if order_type == LIMIT else 0
    order["qty_lots"] = qty_lots
    order["submitted_ts"] = state.clock[0]["clock_ts"]
    order["leaves_lots"] = qty_lots
    order["status"] = PENDING_NEW
    order["known_leaves_lots"] = qty_lots
    order["known_status"] = PENDING_NEW
    order["known_reason"] = NONE
    order["known_front_lots"] = 0
    order["known_filled_lots"] = 0
    order["cancel_pending"] = 0
    front_of(state, k, slot)["lots"] = 0
    state.open_slots[k, head["open_count"]] = slot
    head["open_count"] += 1
    send(state, k, NEW_ORDER, slot)
    return order["order_id"]


@inlined
def send(state, k, cancels, slot):
    """Put a request of a set on its way to the venue."""
    head = state.head[k]
    request = state.requests[k, at_ring(head["request_first"] + head["request_count"], state.requests.shape[1])]
    head["request_count"] += 1
    arrival_ts = state.clock[0]["clock_ts"] + head["entry_latency_ns"]
    request["arrival_ts"] = arrival_ts
    request["cancels"] = cancels
    request["slot"] = slot
    request["order_id"] = state.orders[k, slot]["order_id"]
    if head["request_count"] == 1:
        clock = state.clock[0]
        count = clock["agenda_count"]
        state.agenda_ts[count] = arrival_ts
        state.agenda_set[count] = k
        clock["agenda_count"] = count + 1
        rise(state.agenda_ts, state.agenda_set, count)


@inlined
def request_cancel(state, k, order_id):
    """Ask the venue to cancel; nothing is sent for an order that is known to have ended or is being canceled."""
    head = state.head[k]
    for i in range(head["open_count"]):
        slot = state.open_slots[k, i]
        order = state.orders[k, slot]
        if order["order_id"] == order_id:
            if order["cancel_pending"] == 0 and order["known_status"] <= PARTIALLY_FILLED:
                if head["request_count"] == state.requests.shape[1]:
                    return TOO_MANY_IN_FLIGHT
                order["cancel_pending"] = 1
                send(state, k, CANCELS, slot)
            return REACHED
    return REACHED


@inlined
def view_of(state, k):
    """Return what the strategy of a set sees now, and begin counting trades anew; the levels were copied before."""
    clock = state.clock[0]
    head = state.head[k]
    book = state.local
    for i in range(head["open_count"]):
        order = state.orders[k, state.open_slots[k, i]]
        shown = state.view_orders[i]
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
        clock["clock_ts"],
        np.int64(WAKE_TIMER),
        bid,
        level(book, BID, bid) if bid != 0 else np.int64(0),
        ask,
        level(book, ASK, ask) if ask != 0 else np.int64(0),
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
    )
    head["bought_lots"] = clock["bought_lots"]
    head["sold_lots"] = clock["sold_lots"]
    head["trades"] = clock["trades"]
    return view


@inlined
def obey(state, k):
    """Send the requests that the strategy of a set made."""
    actions = state.actions
    for i in range(1, actions[0]["kind"] + 1):
        action = actions[i]
        if action["kind"] == CANCEL:
            code = request_cancel(state, k, action["order_id"])
            if code != REACHED:
                return code
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
            )
            if order_id < 0:
                return -order_id
    return REACHED


@inner
def wake(state, strategy, params, memory):
    """Wake the sets of the clock that is due first."""
    now = state.wake_ts[0]
    due = state.wakes[state.wake_clock[0]]
    state.wake_ts[0] = now + due["interval_ns"]
    sink(state.wake_ts, state.wake_clock, state.clock[0]["wake_count"])
    copy_levels(state.local, BID, state.view_bids)
    copy_levels(state.local, ASK, state.view_asks)
    for k in range(due["first_set"], due["end_set"]):
        deliver(state, k, now)
        state.actions[0]["kind"] = 0
        strategy(view_of(state, k), params[k], memory[k], state.actions)
        code = obey(state, k)
        if code != REACHED:
            return code
    return REACHED


@inner
def run(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until):
    """Do what `advance` says."""
    clock = state.clock[0]
    while True:
        next_wake_ts = state.wake_ts[0] if clock["wake_count"] > 0 else FOREVER
        stop = min(until, next_wake_ts)
        code = run_exchange(state, exchange, exchange_is_last, stop)
        if code != REACHED:
            return code
        code = run_local(state, local, local_is_last, stop)
        if code != REACHED:
            return code
        clock["clock_ts"] = max(clock["clock_ts"], stop)
        if stop == next_wake_ts:
            settle(state.local, local.quotes, clock["local_row"] - 1)
            code = wake(state, strategy, params, memory)
            if code != REACHED:
                return code
        elif stop == until:
            settle(state.local, local.quotes, clock["local_row"] - 1)
            settle(state.exchange, exchange.quotes, clock["exchange_row"] - 1)
            for k in range(len(state.head)):
                deliver(state, k, stop)
            return REACHED


def advance(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until):
    """Run to `until` inclusive, waking the strategy on its timers; return a Code.

    `exchange`, `local` : a `Stretch` of each stream. With NEEDS_* the caller replaces that of one stream (and sets its
    row, special and trade to 0), with BUFFERS_FULL it empties fills and samples (and sets their counts to 0), then calls
    again: nothing is lost or done twice.
    """
    return run(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until)


def submit_from_outside(state, side, order_type, time_in_force, post_only, price_ticks, qty_lots):
    """Entry point of `submit` for a state of one set."""
    return submit(state, 0, side, order_type, time_in_force, post_only, price_ticks, qty_lots)


def request_cancel_from_outside(state, order_id):
    """Entry point of `request_cancel` for a state of one set."""
    return request_cancel(state, 0, order_id)


def release_from_outside(state, slot):
    """Entry point of `release` for a state of one set."""
    release(state, 0, slot)
