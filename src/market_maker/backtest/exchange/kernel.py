"""Own orders at the venue of a replay: taking, resting, fills, amending, ending.

Owns when an order fills; each rule stands beside its function. Refuses to know files, Decimal, latency and strategies;
money is `ledger`'s, the queue ahead `queues`'. The recorded book is never changed by us; what we took of a level is
remembered until the feed shows less.

Many sets may stand in one state (index `k`); they never meet. What all of them have at a tick (queues, and marks of what
was taken) hangs in one list by tick, so that a row of the feed finds it without asking each set.

Longer than 500 lines because the rules of one order's life call each other and are compiled as one.
"""

import math

import numpy as np

from market_maker.backtest.fee_models.kernel import cash_change, value_of
from market_maker.backtest.ladder.kernel import IMPACT, MID, inlined, inner, level, next_outward, nth
from market_maker.backtest.ladder.kernel import push as push_book
from market_maker.backtest.latency_models.kernel import uniform
from market_maker.backtest.ledger.kernel import book_fill, can_afford, change_open, fee_of_fill
from market_maker.backtest.log.kernel import note
from market_maker.backtest.messages.kernel import AMEND, STATE, at_ring, respond
from market_maker.backtest.queues.kernel import (
    free_level,
    is_modelled,
    join_queue,
    link,
    move_marks,
    reach_of_trade,
    take,
    unlink,
)
from market_maker.backtest.state import CHANCE_SCALE, FOREVER, WALK_LEVELS_MAX, FillCause, Note, Reason
from market_maker.domain.order import Liquidity, OrderStatus, OrderType, TimeInForce

# Not plain integers: Numba would compile each function again for every constant that is passed to it.
PENDING_NEW, NEW = np.int64(OrderStatus.PENDING_NEW), np.int64(OrderStatus.NEW)
PARTIALLY_FILLED, FILLED = np.int64(OrderStatus.PARTIALLY_FILLED), np.int64(OrderStatus.FILLED)
CANCELED, REJECTED = np.int64(OrderStatus.CANCELED), np.int64(OrderStatus.REJECTED)
EXPIRED = np.int64(OrderStatus.EXPIRED)
MARKET, IOC = np.int64(OrderType.MARKET), np.int64(TimeInForce.IOC)
FOK, GTD = np.int64(TimeInForce.FOK), np.int64(TimeInForce.GTD)
MAKER, TAKER = np.int64(Liquidity.MAKER), np.int64(Liquidity.TAKER)
NONE, NO_FUNDS = np.int64(Reason.NONE), np.int64(Reason.INSUFFICIENT_BALANCE)
NO_LIQUIDITY, WOULD_TAKE = np.int64(Reason.NO_LIQUIDITY), np.int64(Reason.POST_ONLY_WOULD_TAKE)
NOT_NOW, NOT_THERE = np.int64(Reason.TIME_IN_FORCE), np.int64(Reason.NOT_THERE)
NOT_WHOLLY = np.int64(Reason.CANNOT_FILL_COMPLETELY)
TAKEN, THROUGH, AT = np.int64(FillCause.TAKEN), np.int64(FillCause.TRADE_THROUGH), np.int64(FillCause.TRADE_AT)
CROSSED, DISPLACED_BOOK = np.int64(FillCause.CROSSED), np.int64(FillCause.DISPLACED)
RESTED, AMENDED, FILLED_NOTE = np.int64(Note.RESTED), np.int64(Note.AMENDED), np.int64(Note.FILLED)
CANCELED_NOTE, EXPIRED_NOTE = np.int64(Note.CANCELED), np.int64(Note.EXPIRED)
REJECTED_NOTE, REFUSED, MISSED = np.int64(Note.REJECTED), np.int64(Note.REFUSED), np.int64(Note.MISSED)
QUEUE_TRADE, QUEUE_MOVED = np.int64(Note.QUEUE_TRADE), np.int64(Note.QUEUE_MOVED)
ZERO, ONE = np.int64(0), np.int64(1)
PUSHES_MAX = 100
"""How often own orders that fill because they pushed the book may push it again at one instant."""
CHANCE = 2
"""Direction of the numbers drawn for `is_there`, after those of latency."""


@inlined
def mark(state):
    """Return the venue's mid in half ticks; the last one known while a side is empty, 0 before the first."""
    return state.exchange.extent[MID]


@inlined
def inverse_scale(state, k):
    """Return the scale of an inverse contract, 0 for others; see `fee_models.Contract`."""
    return state.fees[nth(k)]["inverse_scale"]


@inlined
def is_there(state, k, ts, slot):
    """Return whether the quantity that could fill an order is there for it: drawn anew at each opportunity."""
    chance = state.orders[nth(k), nth(slot)]["chance_e9"]
    if chance == CHANCE_SCALE:
        return True
    return draws_counterparty(state, k, ts, slot, chance)


@inner
def draws_counterparty(state, k, ts, slot, chance):
    """Draw for `is_there`: a function of seed, order and number of the opportunity alone."""
    order = state.orders[nth(k), nth(slot)]
    number = order["chances"]
    order["chances"] += 1
    drawn = uniform(state.head[nth(k)]["seed"], CHANCE + (number >> 16), order["order_id"], number & 0xFFFF)
    if drawn * CHANCE_SCALE < chance:
        return True
    note(state, k, ts, slot, MISSED, order["price_ticks"], order["leaves_lots"], NOT_THERE, state.exchange)
    return False


@inner
def valued_push(state, ts):
    """Return by how many ticks own orders push the book at an instant: what they did, less what has decayed since."""
    half_life = state.head[0]["impact_half_life_ns"]
    if half_life == 0 or state.impact[0] == 0.0:
        return state.impact[0]
    return state.impact[0] * 0.5 ** (float(ts - state.clock[0]["impact_ts"]) / float(half_life))


@inner
def push_by(state, ts, side, impact_e9, lots, qty):
    """Let an executed part of an order push the market: the mid times (1 + side x impact x part)."""
    clock = state.clock[0]
    part = float(lots) / float(qty)
    push = float(side) * float(impact_e9) * 1e-9 * part * 0.5 * float(mark(state))
    state.impact[0] = valued_push(state, ts) + push
    clock["impact_ts"] = ts
    clock["pushed"] = 1


@inner
def move_pushed_book(state, ts):
    """Displace the book by the whole ticks that own orders push it; own orders that it reaches fill, and push it on."""
    for _ in range(PUSHES_MAX):
        state.clock[0]["pushed"] = 0
        push = valued_push(state, ts)
        impact = np.int64(math.floor(push + 0.5))
        if impact == state.exchange.extent[IMPACT]:
            return
        change = push_book(state.exchange, impact)
        push_book(state.local, impact)
        move_marks(state, change)
        on_displaced_book(state, ts)
        if state.clock[0]["pushed"] == 0:
            return


@inner
def fill(state, k, ts, slot, price, lots, liquidity, cause):
    """Execute `lots` of an order at `price`: order, ledger, record and response."""
    head = state.head[nth(k)]
    clock = state.clock[0]
    order = state.orders[nth(k), nth(slot)]
    side = np.int64(order["side"])
    scale = inverse_scale(state, k)
    value = value_of(scale, price, lots)
    is_first = order["leaves_lots"] == order["qty_lots"]
    if order["impact_e9"] != 0:
        push_by(state, ts, side, order["impact_e9"], lots, order["qty_lots"])
    fee = fee_of_fill(state, k, ts, liquidity, value, lots, is_first)
    order["leaves_lots"] -= lots
    order["status"] = FILLED if order["leaves_lots"] == 0 else PARTIALLY_FILLED
    book_fill(head, scale, side, price, lots, value, fee)
    state.fill_sets[nth(clock["fill_count"])] = k
    record = state.fills[nth(clock["fill_count"])]
    clock["fill_count"] += 1
    record["exch_ts"] = ts
    record["order_id"] = order["order_id"]
    record["side"] = side
    record["liquidity"] = liquidity
    record["price_ticks"] = price
    record["qty_lots"] = lots
    record["fee_tick_lots"] = fee
    record["position_lots"] = head["position_lots"]
    record["cash_tick_lots"] = head["cash_tick_lots"]
    record["fees_tick_lots"] = head["fees_tick_lots"]
    record["mid_half_ticks"] = mark(state)
    record["cause"] = cause
    record["joined_front_lots"] = order["joined_front_lots"]
    note(state, k, ts, slot, FILLED_NOTE, price, lots, cause, state.exchange)
    respond(state, k, ts, STATE, slot, NONE, side * lots, cash_change(scale, side, value), fee)


@inlined
def rest(state, k, slot, ts):
    """Put an order among the resting ones: best price first, then time of arrival."""
    order = state.orders[nth(k), nth(slot)]
    side, price = np.int64(order["side"]), order["price_ticks"]
    s = 0 if side > 0 else 1
    resting = state.resting[nth(k), nth(s)]
    i = state.resting_count[nth(k), nth(s)]
    state.resting_count[nth(k), nth(s)] = i + 1
    while i > 0 and side * (price - state.orders[nth(k), nth(resting[nth(i - 1)])]["price_ticks"]) > 0:
        resting[nth(i)] = resting[nth(i - 1)]
        i -= 1
    resting[nth(i)] = slot
    if i == 0:
        state.own_best[nth(s), nth(k)] = price
        if side * (price - state.bound[nth(s)]) > 0:
            state.bound[nth(s)] = price
    front = join_queue(state, k, slot, s, price, ts)
    order["joined_front_lots"] = front
    link(state, k * state.orders.shape[1] + slot, s, price, front, k, is_modelled(state.head[nth(k)]["queue_model"]))
    change_open(state.head[nth(k)], inverse_scale(state, k), side, price, ZERO, order["leaves_lots"])
    if order["time_in_force"] == GTD and state.clock[0]["ended"] == 0:
        state.clock[0]["next_expiry_ts"] = min(state.clock[0]["next_expiry_ts"], order["expire_ts"])


@inlined
def leave(state, k, s, i):
    """Take the i-th resting order of a side out of the queue."""
    resting = state.resting[nth(k), nth(s)]
    unlink(state, k * state.orders.shape[1] + np.int64(resting[nth(i)]))
    count = state.resting_count[nth(k), nth(s)] - 1
    state.resting_count[nth(k), nth(s)] = count
    for j in range(i, count):
        resting[nth(j)] = resting[nth(j + 1)]
    if i == 0:
        nothing = -FOREVER if s == 0 else FOREVER
        state.own_best[nth(s), nth(k)] = state.orders[nth(k), nth(resting[0])]["price_ticks"] if count > 0 else nothing


@inner
def fill_resting(state, k, ts, s, i, lots, cause):
    """Fill a resting order as maker at its own price; return True when it is gone."""
    slot = np.int64(state.resting[nth(k), nth(s), nth(i)])
    order = state.orders[nth(k), nth(slot)]
    price, leaves = order["price_ticks"], order["leaves_lots"]
    change_open(state.head[nth(k)], inverse_scale(state, k), np.int64(order["side"]), price, leaves, leaves - lots)
    fill(state, k, ts, slot, price, lots, MAKER, cause)
    if order["leaves_lots"] == 0:
        leave(state, k, s, i)
        return True
    return False


@inlined
def find_bound(state, s):
    """Find the best own price of a side over all sets anew: beyond it no row can fill an order of that side."""
    own = state.own_best[nth(s)]
    best = own[0]
    for k in range(1, len(own)):
        best = max(best, own[nth(k)]) if s == 0 else min(best, own[nth(k)])
    state.bound[nth(s)] = best


@inner
def on_trade(state, ts, aggressor, tick, lots, joined_ts):
    """Let a public trade reach the own orders of every set on the passive side."""
    s = 1 if aggressor > 0 else 0
    own = state.own_best[nth(s)]
    for k in range(len(own)):
        if own[nth(k)] <= tick if s == 1 else own[nth(k)] >= tick:
            trade_with(state, k, ts, s, tick, lots, joined_ts)
    find_bound(state, s)


@inner
def trade_with(state, k, ts, s, tick, lots, joined_ts):
    """Let a public trade reach own orders of a set.

    An own price better than the trade's fills in full: the trade went through it. At the trade's price the trade
    eats the queue ahead and what is left fills own orders in time order, one after another (no-partial: wholly).
    """
    head = state.head[nth(k)]
    sign = 1 - 2 * s
    given = ZERO
    i = ZERO
    while i < state.resting_count[nth(k), nth(s)]:
        slot = np.int64(state.resting[nth(k), nth(s), nth(i)])
        order = state.orders[nth(k), nth(slot)]
        distance = sign * (order["price_ticks"] - tick)
        if distance < 0:
            return
        gone = False
        if distance > 0:
            if is_there(state, k, ts, slot):
                gone = fill_resting(state, k, ts, s, i, order["leaves_lots"], THROUGH)
        else:
            reach = reach_of_trade(state, k, slot, lots, joined_ts) - given
            note(state, k, ts, slot, QUEUE_TRADE, tick, lots, ZERO, state.exchange)
            if reach > 0 and is_there(state, k, ts, slot):
                taken = min(reach, order["leaves_lots"])
                given += taken
                gone = fill_resting(
                    state, k, ts, s, i, taken if head["partial_fill"] == 1 else order["leaves_lots"], AT
                )
        if not gone:
            i += 1


@inner
def on_crossing(state, ts, s, tick, improved):
    """Let a displayed level of side `s` reach own orders of the other side that it crosses, in every set."""
    other = 1 - s
    own = state.own_best[nth(other)]
    for k in range(len(own)):
        if own[nth(k)] <= tick if other == 1 else own[nth(k)] >= tick:
            cross(state, k, ts, s, tick, improved)
    find_bound(state, other)


@inner
def cross(state, k, ts, s, tick, improved):
    """Fill own orders of a set that a level crosses.

    No-partial: wholly, when the best price improved; partial: by what is displayed there and not yet taken.
    """
    partial = state.head[nth(k)]["partial_fill"] == 1
    if not partial and not improved:
        return
    sign = 1 - 2 * s
    other = 1 - s
    i = ZERO
    while i < state.resting_count[nth(k), nth(other)]:
        slot = np.int64(state.resting[nth(k), nth(other), nth(i)])
        order = state.orders[nth(k), nth(slot)]
        if sign * (tick - order["price_ticks"]) < 0:
            return
        quantity = order["leaves_lots"]
        if partial:
            quantity = min(quantity, free_level(state, k, s, tick))
            if quantity == 0:
                return
        if not is_there(state, k, ts, slot):
            i += 1
            continue
        if partial:
            take(state, k, s, tick, quantity)
        if not fill_resting(state, k, ts, other, i, quantity, CROSSED):
            return


@inner
def on_displaced_book(state, ts):
    """Let a book that moved as a whole reach own orders, after all rows of its instant.

    Own orders stay at their price, where another recorded level is now: they are behind all that it displays. Own
    orders that a side has reached or crossed fill: no-partial, wholly; partial, by what its levels up to the own price
    display and own orders have not taken, best level first.
    """
    for k in range(len(state.head)):
        for s in range(2):
            for i in range(state.resting_count[nth(k), nth(s)]):
                slot = np.int64(state.resting[nth(k), nth(s), nth(i)])
                price = state.orders[nth(k), nth(slot)]["price_ticks"]
                join_queue(state, k, slot, s, price, ts)
                note(state, k, ts, slot, QUEUE_MOVED, price, level(state.exchange, s, price), ZERO, state.exchange)
        for s in range(2):
            other = 1 - s
            i = ZERO
            while i < state.resting_count[nth(k), nth(other)]:
                slot = np.int64(state.resting[nth(k), nth(other), nth(i)])
                order = state.orders[nth(k), nth(slot)]
                if reached_lots(state, k, s, order["price_ticks"], ONE, ZERO) == 0:
                    break
                if not is_there(state, k, ts, slot):
                    i += 1
                    continue
                quantity = reached_lots(state, k, s, order["price_ticks"], order["leaves_lots"], ONE)
                if not fill_resting(state, k, ts, other, i, quantity, DISPLACED_BOOK):
                    break
    find_bound(state, ZERO)
    find_bound(state, ONE)


@inner
def reached_lots(state, k, s, price, most, takes):
    """Return what a side's levels from its best one to `price` have for an own order of `most` lots; take it if asked."""
    sign = 1 - 2 * s
    tick = state.exchange.best[nth(s)]
    if state.head[nth(k)]["partial_fill"] == 0:
        return most if tick != 0 and sign * (tick - price) >= 0 else ZERO
    quantity = ZERO
    while tick != 0 and sign * (tick - price) >= 0 and quantity < most:
        lots = min(most - quantity, free_level(state, k, s, tick))
        if lots > 0:
            if takes == 1:
                take(state, k, s, tick, lots)
            quantity += lots
        tick = next_outward(state.exchange, s, tick)
    return quantity


@inner
def take_liquidity(state, k, ts, slot, most):
    """Execute an order against the other side's levels up to its limit (`most` ticks, 0: any price)."""
    head = state.head[nth(k)]
    order = state.orders[nth(k), nth(slot)]
    side = np.int64(order["side"])
    other = 1 if side > 0 else 0
    tick = state.exchange.best[nth(other)]
    if head["partial_fill"] == 0:
        fill(state, k, ts, slot, tick, order["leaves_lots"], TAKER, TAKEN)
        return
    walked = 0
    while tick != 0 and order["leaves_lots"] > 0 and walked < WALK_LEVELS_MAX:
        if most != 0 and side * (most - tick) < 0:
            return
        lots = min(order["leaves_lots"], free_level(state, k, other, tick))
        if lots > 0:
            take(state, k, other, tick, lots)
            fill(state, k, ts, slot, tick, lots, TAKER, TAKEN)
        tick = next_outward(state.exchange, other, tick)
        walked += 1


@inner
def can_take_all(state, k, slot, most):
    """Return whether the other side's levels up to a limit have all that an order wants."""
    order = state.orders[nth(k), nth(slot)]
    side, wanted = np.int64(order["side"]), order["leaves_lots"]
    other = 1 if side > 0 else 0
    tick = state.exchange.best[nth(other)]
    if state.head[nth(k)]["partial_fill"] == 0:
        return True
    walked = 0
    while tick != 0 and wanted > 0 and walked < WALK_LEVELS_MAX and (most == 0 or side * (most - tick) >= 0):
        wanted -= free_level(state, k, other, tick)
        tick = next_outward(state.exchange, other, tick)
        walked += 1
    return wanted <= 0


@inner
def end(state, k, ts, slot, status, reason):
    """End an order without a fill and tell its owner."""
    head = state.head[nth(k)]
    order = state.orders[nth(k), nth(slot)]
    what = REJECTED_NOTE
    if status == CANCELED:
        head["orders_canceled"] += 1
        what = CANCELED_NOTE
    elif status == EXPIRED:
        head["orders_expired"] += 1
        what = EXPIRED_NOTE
    else:
        head["orders_rejected"] += 1
    note(state, k, ts, slot, what, order["price_ticks"], order["leaves_lots"], reason, state.exchange)
    order["status"] = status
    order["leaves_lots"] = 0
    respond(state, k, ts, STATE, slot, reason, ZERO, ZERO, ZERO)


@inner
def on_new_order(state, k, ts, slot):
    """An order reaches the venue: funds, post-only, taking, then resting or ending."""
    head = state.head[nth(k)]
    order = state.orders[nth(k), nth(slot)]
    side = np.int64(order["side"])
    time_in_force = order["time_in_force"]
    best = state.exchange.best[nth(1 if side > 0 else 0)]
    is_market = order["order_type"] == MARKET
    if is_market and best == 0:
        end(state, k, ts, slot, EXPIRED, NO_LIQUIDITY)
        return
    if time_in_force == GTD and order["expire_ts"] <= ts:
        end(state, k, ts, slot, EXPIRED, NOT_NOW)
        return
    price = best if is_market else order["price_ticks"]
    if not can_afford(head, inverse_scale(state, k), side, price, order["qty_lots"]):
        end(state, k, ts, slot, REJECTED, NO_FUNDS)
        return
    marketable = is_market or (best != 0 and side * (price - best) >= 0)
    if marketable and order["post_only"] == 1:
        end(state, k, ts, slot, REJECTED, WOULD_TAKE)
        return
    reason = NO_LIQUIDITY if is_market else NOT_NOW
    if marketable:
        limit = ZERO if is_market else price
        if time_in_force == FOK and not can_take_all(state, k, slot, limit):
            reason = NOT_WHOLLY
        elif is_there(state, k, ts, slot):
            take_liquidity(state, k, ts, slot, limit)
        else:
            reason = NOT_THERE
        if order["leaves_lots"] == 0:
            return
    if is_market or time_in_force == IOC or time_in_force == FOK:
        end(state, k, ts, slot, EXPIRED, reason)
    else:
        stand(state, k, ts, slot, RESTED)


@inner
def stand(state, k, ts, slot, what):
    """Let an order rest at its price and tell its owner."""
    order = state.orders[nth(k), nth(slot)]
    if order["status"] == PENDING_NEW:
        order["status"] = NEW
    rest(state, k, slot, ts)
    note(state, k, ts, slot, what, order["price_ticks"], order["leaves_lots"], NONE, state.exchange)
    respond(state, k, ts, STATE, slot, NONE, ZERO, ZERO, ZERO)


@inner
def take_out(state, k, slot):
    """Take a resting order out of the queue, and what it could cost out of the funds."""
    order = state.orders[nth(k), nth(slot)]
    s = 0 if order["side"] > 0 else 1
    for i in range(state.resting_count[nth(k), nth(s)]):
        if state.resting[nth(k), nth(s), nth(i)] == slot:
            leave(state, k, s, i)
            break
    change_open(
        state.head[nth(k)],
        inverse_scale(state, k),
        np.int64(order["side"]),
        order["price_ticks"],
        order["leaves_lots"],
        ZERO,
    )


@inner
def on_amend(state, k, ts, slot, price, qty):
    """Change a resting order to a price and a whole quantity, or refuse and leave it as it was.

    At the same price and not larger it keeps its place. Otherwise it arrives anew: funds, post-only and taking as for a
    new order, then behind all that its level displays. A quantity that is filled already ends it.
    """
    head = state.head[nth(k)]
    order = state.orders[nth(k), nth(slot)]
    side, scale = np.int64(order["side"]), inverse_scale(state, k)
    leaves = qty - (order["qty_lots"] - order["leaves_lots"])
    if leaves <= 0:
        take_out(state, k, slot)
        end(state, k, ts, slot, CANCELED, NONE)
        return
    if price == order["price_ticks"] and leaves <= order["leaves_lots"]:
        change_open(head, scale, side, price, order["leaves_lots"], leaves)
        order["leaves_lots"], order["qty_lots"] = leaves, qty
        note(state, k, ts, slot, AMENDED, price, leaves, NONE, state.exchange)
        respond(state, k, ts, STATE, slot, NONE, ZERO, ZERO, ZERO)
        return
    change_open(head, scale, side, order["price_ticks"], order["leaves_lots"], ZERO)
    affords = can_afford(head, scale, side, price, leaves)
    change_open(head, scale, side, order["price_ticks"], ZERO, order["leaves_lots"])
    best = state.exchange.best[nth(1 if side > 0 else 0)]
    marketable = best != 0 and side * (price - best) >= 0
    if not affords or (marketable and order["post_only"] == 1):
        reason = WOULD_TAKE if affords else NO_FUNDS
        note(state, k, ts, slot, REFUSED, price, leaves, reason, state.exchange)
        respond(state, k, ts, AMEND, slot, reason, ZERO, ZERO, ZERO)
        return
    take_out(state, k, slot)
    order["price_ticks"], order["qty_lots"], order["leaves_lots"] = price, qty, leaves
    if marketable and is_there(state, k, ts, slot):
        take_liquidity(state, k, ts, slot, price)
        if order["leaves_lots"] == 0:
            return
    stand(state, k, ts, slot, AMENDED)


@inlined
def on_request(state, k):
    """Handle the request of a set that is first in line; one about an order that is gone changes nothing."""
    head = state.head[nth(k)]
    request = state.requests[nth(k), nth(head["request_first"])]
    head["request_count"] -= 1
    following = at_ring(head["request_first"] + 1, state.requests.shape[1])
    head["request_first"] = following if head["request_count"] > 0 else 0
    slot, kind, ts = np.int64(request["slot"]), np.int64(request["kind"]), request["arrival_ts"]
    if kind == STATE:
        on_new_order(state, k, ts, slot)
        return
    order = state.orders[nth(k), nth(slot)]
    if order["order_id"] != request["order_id"] or (order["status"] != NEW and order["status"] != PARTIALLY_FILLED):
        return
    if kind == AMEND:
        on_amend(state, k, ts, slot, request["price_ticks"], request["qty_lots"])
        return
    take_out(state, k, slot)
    end(state, k, ts, slot, CANCELED, NONE)


@inner
def on_expiry(state, ts):
    """End the orders that are good till this instant or an earlier one, and find the next such instant."""
    soonest = FOREVER
    for k in range(len(state.head)):
        for s in range(2):
            i = ZERO
            while i < state.resting_count[nth(k), nth(s)]:
                slot = np.int64(state.resting[nth(k), nth(s), nth(i)])
                order = state.orders[nth(k), nth(slot)]
                i += 1
                if order["time_in_force"] != GTD:
                    continue
                if order["expire_ts"] > ts:
                    soonest = min(soonest, order["expire_ts"])
                    continue
                take_out(state, k, slot)
                end(state, k, ts, slot, EXPIRED, NONE)
                i -= 1
    state.clock[0]["next_expiry_ts"] = soonest
    find_bound(state, ZERO)
    find_bound(state, ONE)
