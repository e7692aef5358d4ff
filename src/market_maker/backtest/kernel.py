"""The compiled replay: two streams of rows, own orders between them, wake-ups of a strategy.

Owns time: the order of rows, requests, funding, samples and wake-ups. The exchange stream moves the venue's book and own
orders (`exchange.kernel`); the local stream moves what the strategy sees. Between two wake-ups they touch each other only
through messages (`messages.kernel`), so each runs in a tight loop: first the exchange up to the wake-up, then the local
side. Knows no files, no Decimal and no particular strategy.

A row is applied once for all sets of the state; it costs a set something only where the set has orders.
"""

import numpy as np

from market_maker.backtest.exchange.kernel import (
    mark,
    move_pushed_book,
    on_crossing,
    on_displaced_book,
    on_expiry,
    on_request,
    on_trade,
)
from market_maker.backtest.ladder.kernel import (
    DISPLACED,
    IMPACT,
    clear_quantities,
    copy_levels,
    inlined,
    inner,
    nth,
    settle,
)
from market_maker.backtest.ledger.kernel import pay_funding
from market_maker.backtest.log.kernel import room_for_fills, room_in_log
from market_maker.backtest.messages.kernel import deliver, release, sink, weigh
from market_maker.backtest.owner.kernel import best_lots, obey, request_amend, request_cancel, submit, view_of, watch
from market_maker.backtest.queues.kernel import BUCKET_MASK, forget_marks, forget_shown, move_marks, on_queues
from market_maker.backtest.state import FOREVER, Code
from market_maker.strategies import actions as act

REACHED, NEEDS_EXCHANGE, NEEDS_LOCAL = int(Code.REACHED), int(Code.NEEDS_EXCHANGE_ROWS), int(Code.NEEDS_LOCAL_ROWS)
FULL, AWAKE, ENDLESS = int(Code.BUFFERS_FULL), int(Code.AWAKE), int(Code.ENDLESS)
WAKE_TIMER, WAKE_BOOK, WAKE_TRADE, WAKE_ORDER = act.WAKE_TIMER, act.WAKE_BOOK, act.WAKE_TRADE, act.WAKE_ORDER
MARKET_WAKES = WAKE_BOOK | WAKE_TRADE
WAKES_AT_ONCE_MAX = 10_000
"""Wake-ups at one instant after which a strategy counts as one that never lets time pass."""
# Not plain integers, as in `exchange.kernel`.
BID, ASK = np.int64(0), np.int64(1)
ZERO, NO_PLACE, ON_TIMER = np.int64(0), np.int64(-1), np.int64(WAKE_TIMER)


@inner
def take_sample(state, ts):
    """Record every set's ledger at the venue and the mid at an instant of the sampling clock."""
    clock = state.clock[0]
    samples = state.samples[nth(clock["sample_count"])]
    clock["sample_count"] += 1
    for k in range(len(samples)):
        head = state.head[nth(k)]
        sample = samples[k]
        sample["ts"] = ts
        sample["position_lots"] = head["position_lots"]
        sample["cash_tick_lots"] = head["cash_tick_lots"]
        sample["fees_tick_lots"] = head["fees_tick_lots"]
        sample["funding_tick_lots"] = head["funding_tick_lots"]
        sample["mid_half_ticks"] = mark(state)
    clock["next_sample_ts"] += clock["sample_interval_ns"]
    if clock["next_sample_ts"] > clock["sample_end_ts"]:
        clock["next_sample_ts"] = FOREVER


@inner
def run_exchange(state, feed, is_last, stop):
    """Move the venue up to `stop` inclusive: rows, then of each instant expiries, requests, funding and the sample.

    Stops earlier, with REACHED, at the arrival of an answer that wakes its owner.
    """
    clock = state.clock[0]
    book = state.exchange
    quantity = book.quantity
    heads, bound, agenda = state.heads, state.bound, state.agenda_ts
    ts, price, qty, code, slots, quotes = feed.ts, feed.price_ticks, feed.qty_lots, feed.code, feed.slots, feed.quotes
    n = len(ts)
    i = clock["exchange_row"]
    room = room_for_fills(state)
    log_room = room_in_log(state)
    decays = state.head[0]["impact_half_life_ns"] != 0
    result = REACHED
    while True:
        if clock["refusal"] != REACHED:
            result = clock["refusal"]
            break
        if clock["fill_count"] >= room or clock["sample_count"] >= len(state.samples) or clock["log_count"] >= log_room:
            result = FULL
            break
        request_ts = agenda[0] if clock["agenda_count"] > 0 else FOREVER
        limit = min(stop, request_ts, clock["next_sample_ts"], clock["next_answer_ts"])
        limit = min(limit, clock["next_expiry_ts"], clock["next_funding_ts"])
        special = feed.specials[clock["exchange_special"]]
        end = min(n, special)
        low, high = bound[1], bound[0]
        impact = book.extent[IMPACT]
        while i < end and ts[nth(i)] <= limit:
            kind, tick = np.int64(code[nth(i)]), price[nth(i)] + impact
            s = np.int64(kind < 0)
            quantity[nth(slots[nth(i)])] = qty[nth(i)]
            # Few rows reach own orders; the test of all others has no branch that depends on the kind of row.
            crosses = ((kind > 0) & (tick >= low)) | ((kind < 0) & (tick <= high))
            if crosses | (heads[nth(s), nth(tick & BUCKET_MASK)] >= 0):
                if reach(state, feed, i, kind, s, tick, crosses):
                    if clock["pushed"] == 1:
                        move_pushed_book(state, ts[i])
                    # Something may have filled: what comes next is found anew.
                    i += 1
                    break
            i += 1
        if i < n and ts[nth(i)] <= limit:
            if i == special:
                on_special(state, feed, i)
                if clock["pushed"] == 1:
                    settle(book, quotes, i)
                    move_pushed_book(state, ts[i])
                i += 1
            continue
        if i == n and not is_last:
            settle(book, quotes, i - 1)
            result = NEEDS_EXCHANGE
            break
        if clock["next_answer_ts"] < limit:
            continue
        if clock["next_expiry_ts"] == limit:
            settle(book, quotes, i - 1)
            weigh(state, ts, limit)
            on_expiry(state, limit)
        elif request_ts == limit:
            settle(book, quotes, i - 1)
            weigh(state, ts, limit)
            if decays:
                move_pushed_book(state, limit)
            arrive(state)
            # Sets that wake at one instant send at one instant: nothing else can come between their requests.
            while (
                agenda[0] == limit
                and clock["agenda_count"] > 0
                and clock["pushed"] == 0
                and clock["refusal"] == REACHED
                and clock["fill_count"] < room
                and clock["log_count"] < log_room
            ):
                arrive(state)
            if clock["pushed"] == 1:
                move_pushed_book(state, limit)
        elif clock["next_funding_ts"] == limit:
            pay_funding(state)
        elif clock["next_sample_ts"] == limit:
            settle(book, quotes, i - 1)
            if decays:
                move_pushed_book(state, limit)
            take_sample(state, limit)
        else:
            break
    clock["events"] += i - clock["exchange_row"]
    clock["exchange_row"] = i
    return result


@inner
def reach(state, feed, i, kind, s, tick, crosses):
    """Let a row reach own orders; return True when it may have filled some, or the log is full."""
    lots, ts = feed.qty_lots[nth(i)], feed.ts[nth(i)]
    joined_ts = feed.joined_ts[nth(i)] if len(feed.joined_ts) > 0 else NO_PLACE
    if kind == 2 or kind == -2:
        if crosses:
            settle(state.exchange, feed.quotes, i)
            weigh(state, feed.ts, ts)
            on_trade(state, ts, kind >> 1, tick, lots, joined_ts)
        return crosses
    on_queues(state, s, tick, lots, ts, joined_ts)
    if not crosses or lots == 0 or tick <= 0:
        return state.clock[0]["log_count"] >= room_in_log(state)
    impact = state.exchange.extent[IMPACT]
    before = feed.quotes[nth(i - 1), nth(s)] + impact if i > 0 else state.exchange.best[s]
    settle(state.exchange, feed.quotes, i)
    weigh(state, feed.ts, ts)
    on_crossing(state, ts, s, tick, feed.quotes[nth(i), nth(s)] + impact == tick and before != tick)
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
        forget_shown(state, s, feed.ts[i])
    elif kind > 0:
        displaced = tick + book.extent[IMPACT]
        change = displaced - book.extent[DISPLACED]
        book.extent[DISPLACED] = displaced
        move_marks(state, change)
    else:
        settle(book, feed.quotes, i)
        weigh(state, feed.ts, feed.ts[i])
        on_displaced_book(state, feed.ts[i])


@inlined
def arrive(state):
    """Let the request that is due first reach the venue."""
    clock = state.clock[0]
    keys, values = state.agenda_ts, state.agenda_set
    k = values[0]
    on_request(state, k)
    head = state.head[nth(k)]
    if head["request_count"] > 0:
        following = state.requests[nth(k), nth(head["request_first"])]["arrival_ts"]
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
        while i < end and ts[nth(i)] <= stop:
            quantity[nth(slots[nth(i)])] = qty[nth(i)]
            i += 1
        if i == n or ts[nth(i)] > stop:
            break
        clock["local_special"] += 1
        kind = feed.code[i]
        if kind == 3 or kind == -3:
            clear_quantities(state.local, BID if kind > 0 else ASK)
        elif kind > 0:
            state.local.extent[DISPLACED] = feed.price_ticks[i] + state.local.extent[IMPACT]
        i += 1
    clock["local_row"] = i
    t = clock["local_trade"]
    trades = feed.trades
    while trades[nth(t)] < i:
        row = trades[nth(t)]
        if feed.code[nth(row)] > 0:
            clock["bought_lots"] += qty[nth(row)]
        else:
            clock["sold_lots"] += qty[nth(row)]
        clock["last_trade_ticks"] = feed.price_ticks[row] + state.local.extent[IMPACT]
        t += 1
    clock["trades"] += t - clock["local_trade"]
    clock["local_trade"] = t
    if i == n and not is_last:
        settle(state.local, feed.quotes, i - 1)
        if clock["wakes_on"] & MARKET_WAKES:
            see_market(state, feed)
        return NEEDS_LOCAL
    return REACHED


@inner
def see_market(state, feed):
    """Take down why the rows up to now wake strategies, and when."""
    clock = state.clock[0]
    row = feed.wakes[clock["local_event"]]
    while row < clock["local_row"]:
        clock["market_reasons"] |= WAKE_TRADE if abs(feed.code[row]) == 2 else WAKE_BOOK
        clock["market_ts"] = feed.ts[row]
        clock["local_event"] += 1
        row = feed.wakes[clock["local_event"]]


@inner
def wake(state, strategy, params, memory):
    """Wake the sets of the clock that is due first."""
    now = state.wake_ts[0]
    due = state.wakes[nth(state.wake_clock[0])]
    state.wake_ts[0] = now + due["interval_ns"]
    sink(state.wake_ts, state.wake_clock, state.clock[0]["wake_count"])
    copy_levels(state.local, BID, state.view_bids)
    copy_levels(state.local, ASK, state.view_asks)
    limited, lots = len(state.guard) > 0, best_lots(state.local)
    for k in range(due["first_set"], due["end_set"]):
        deliver(state, k, now)
        if limited:
            watch(state, k)
        state.actions[0]["kind"] = 0
        strategy(view_of(state, k, ON_TIMER, lots), params[nth(k)], memory[nth(k)], state.actions)
        code = obey(state, k)
        if code != REACHED:
            return code
    return REACHED


@inlined
def next_market_wake(state, feed, is_last):
    """Return the time of the next row that wakes, or up to which it is known that there is none."""
    clock = state.clock[0]
    if clock["wakes_on"] & MARKET_WAKES == 0:
        return FOREVER
    if clock["market_reasons"] != 0:
        return clock["market_ts"]
    n = len(feed.ts)
    row = feed.wakes[clock["local_event"]]
    if row < n:
        return feed.ts[row]
    if is_last:
        return FOREVER
    return feed.ts[n - 1] if n > 0 else clock["clock_ts"]


@inner
def find_reasons(state, feed, now):
    """Find which sets wake now and why, and let their answers reach them; return whether any does."""
    clock = state.clock[0]
    if clock["wakes_on"] & MARKET_WAKES:
        see_market(state, feed)
    market = clock["market_reasons"]
    clock["market_reasons"] = 0
    any_reason = market
    for k in range(len(state.reasons)):
        state.reasons[nth(k)] = market
    while clock["wake_count"] > 0 and state.wake_ts[0] == now:
        due = state.wakes[nth(state.wake_clock[0])]
        state.wake_ts[0] = now + due["interval_ns"]
        sink(state.wake_ts, state.wake_clock, clock["wake_count"])
        for k in range(due["first_set"], due["end_set"]):
            state.reasons[nth(k)] |= WAKE_TIMER
        any_reason |= WAKE_TIMER
    if clock["next_answer_ts"] <= now:
        soonest = FOREVER
        for k in range(len(state.head)):
            head = state.head[nth(k)]
            if head["response_count"] > 0 and state.responses[nth(k), nth(head["response_first"])]["arrival_ts"] <= now:
                state.reasons[nth(k)] |= WAKE_ORDER
                any_reason |= WAKE_ORDER
                deliver(state, k, now)
            if head["response_count"] > 0:
                soonest = min(soonest, state.responses[nth(k), nth(head["response_first"])]["arrival_ts"])
        clock["next_answer_ts"] = soonest
    if any_reason != 0:
        clock["wakes_at_once"] = clock["wakes_at_once"] + 1 if clock["last_wake_ts"] == now else 0
        clock["last_wake_ts"] = now
        copy_levels(state.local, BID, state.view_bids)
        copy_levels(state.local, ASK, state.view_asks)
        for k in range(len(state.head)):
            if state.reasons[nth(k)] != 0:
                deliver(state, k, now)
    return any_reason != 0


@inner
def wake_for_reasons(state, strategy, params, memory):
    """Wake every set that has a reason."""
    lots = best_lots(state.local)
    for k in range(len(state.head)):
        if state.reasons[nth(k)] == 0:
            continue
        state.actions[0]["kind"] = 0
        strategy(view_of(state, k, state.reasons[nth(k)], lots), params[nth(k)], memory[nth(k)], state.actions)
        code = obey(state, k)
        if code != REACHED:
            return code
    return REACHED


@inner
def run(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until):
    """Do what `advance` says."""
    clock = state.clock[0]
    log_room = room_in_log(state)
    plain = clock["wakes_on"] & ~WAKE_TIMER == 0 and clock["hands_over"] == 0
    while True:
        next_wake_ts = state.wake_ts[0] if clock["wake_count"] > 0 else FOREVER
        stop = min(until, next_wake_ts)
        if not plain:
            stop = min(stop, next_market_wake(state, local, local_is_last))
        code = run_exchange(state, exchange, exchange_is_last, stop)
        if code != REACHED:
            return code
        stop = min(stop, clock["next_answer_ts"])
        code = run_local(state, local, local_is_last, stop)
        if code != REACHED:
            return code
        clock["clock_ts"] = max(clock["clock_ts"], stop)
        if clock["log_count"] >= log_room:
            return FULL
        if plain:
            if stop == next_wake_ts:
                settle(state.local, local.quotes, clock["local_row"] - 1)
                weigh(state, exchange.ts, stop)
                code = wake(state, strategy, params, memory)
                if code != REACHED:
                    return code
                continue
        else:
            settle(state.local, local.quotes, clock["local_row"] - 1)
            if find_reasons(state, local, stop):
                weigh(state, exchange.ts, stop)
                for k in range(len(state.guard)):
                    if state.reasons[nth(k)] != 0:
                        watch(state, k)
                if clock["wakes_at_once"] > WAKES_AT_ONCE_MAX:
                    return ENDLESS
                if clock["hands_over"] == 1:
                    return AWAKE
                code = wake_for_reasons(state, strategy, params, memory)
                if code != REACHED:
                    return code
                continue
        if stop == until:
            settle(state.local, local.quotes, clock["local_row"] - 1)
            settle(state.exchange, exchange.quotes, clock["exchange_row"] - 1)
            weigh(state, exchange.ts, stop)
            for k in range(len(state.head)):
                deliver(state, k, stop)
            return REACHED


def advance(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until):
    """Run to `until` inclusive, waking the strategy; return a Code.

    `exchange`, `local` : a `Stretch` of each stream. With NEEDS_* the caller replaces that of one stream (and sets its
    row, special, trade and event to 0), with BUFFERS_FULL it empties fills, samples and log (and sets their counts to 0),
    with AWAKE it wakes the sets that have `reasons` (`look`, `obey_from_outside`), then calls again: nothing is lost or
    done twice.
    """
    return run(state, exchange, exchange_is_last, local, local_is_last, strategy, params, memory, until)


def look(state, k, numbers):
    """Entry point of `write_view`."""
    write_view(state, k, numbers)


@inner
def write_view(state, k, numbers):
    """Write what a set's strategy sees after AWAKE: the first fields of `View`; take back the requests of the one before."""
    state.actions[0]["kind"] = 0
    copy_levels(state.local, BID, state.view_bids)
    copy_levels(state.local, ASK, state.view_asks)
    view = view_of(state, k, state.reasons[nth(k)], best_lots(state.local))
    numbers[0] = view.now_ts
    numbers[1] = view.wake_reason
    numbers[2] = view.best_bid_ticks
    numbers[3] = view.best_bid_lots
    numbers[4] = view.best_ask_ticks
    numbers[5] = view.best_ask_lots
    numbers[6] = view.position_lots
    numbers[7] = view.cash_tick_lots
    numbers[8] = view.fees_tick_lots
    numbers[9] = view.balance_tick_lots
    numbers[10] = view.last_trade_ticks
    numbers[11] = view.bought_lots
    numbers[12] = view.sold_lots
    numbers[13] = view.trades


def obey_from_outside(state, k):
    """Send the requests in `actions` for a set; return a Code."""
    return obey(state, k)


def submit_from_outside(
    state, side, order_type, time_in_force, post_only, price_ticks, qty_lots, expire_ts, chance_e9, impact_e9
):
    """Entry point of `submit` for a state of one set."""
    return submit(
        state, ZERO, side, order_type, time_in_force, post_only, price_ticks, qty_lots, expire_ts, chance_e9, impact_e9
    )


def request_cancel_from_outside(state, order_id):
    """Entry point of `request_cancel` for a state of one set."""
    return request_cancel(state, ZERO, order_id)


def request_amend_from_outside(state, order_id, price_ticks, qty_lots):
    """Entry point of `request_amend` for a state of one set."""
    return request_amend(state, ZERO, order_id, price_ticks, qty_lots)


def release_from_outside(state, slot):
    """Entry point of `release` for a state of one set."""
    release(state, ZERO, slot)
