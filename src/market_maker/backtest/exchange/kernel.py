"""Own orders at the venue of a replay: funds, taking, resting, queue position, fills and an exact ledger.

Owns when an order fills; each rule stands beside its function. Refuses to know files, Decimal, latency of data and
strategies. Queue model: risk-averse (cancels happen behind us: only trades and the displayed quantity shorten the
queue ahead). The recorded book is never changed by us; what we took of a level is remembered until the feed shows less.

Many sets may stand in one state (index `k`); they never meet. What all of them have at a tick (queues, and marks of what
was taken) hangs in one list by tick, so that a row of the feed finds it without asking each set.

Longer than 500 lines because the rules of one order's life call each other and are compiled as one.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import MID, inlined, inner, level, next_outward
from market_maker.backtest.queues.kernel import free_level, front_of, link, take, unlink
from market_maker.backtest.state import FOREVER, WALK_LEVELS_MAX, Code, Reason
from market_maker.domain.instrument import RATE_SCALE
from market_maker.domain.order import Liquidity, OrderStatus, OrderType, TimeInForce

# Not plain integers: Numba would compile each function again for every constant that is passed to it.
PENDING_NEW, NEW = np.int64(OrderStatus.PENDING_NEW), np.int64(OrderStatus.NEW)
PARTIALLY_FILLED, FILLED = np.int64(OrderStatus.PARTIALLY_FILLED), np.int64(OrderStatus.FILLED)
CANCELED, REJECTED = np.int64(OrderStatus.CANCELED), np.int64(OrderStatus.REJECTED)
EXPIRED = np.int64(OrderStatus.EXPIRED)
MARKET, IOC = np.int64(OrderType.MARKET), np.int64(TimeInForce.IOC)
MAKER, TAKER = np.int64(Liquidity.MAKER), np.int64(Liquidity.TAKER)
NONE, NO_FUNDS = np.int64(Reason.NONE), np.int64(Reason.INSUFFICIENT_BALANCE)
NO_LIQUIDITY, WOULD_TAKE = np.int64(Reason.NO_LIQUIDITY), np.int64(Reason.POST_ONLY_WOULD_TAKE)
NOT_NOW = np.int64(Reason.TIME_IN_FORCE)
ZERO, ONE = np.int64(0), np.int64(1)
TOO_MANY_IN_FLIGHT = np.int64(Code.TOO_MANY_IN_FLIGHT)
VALUE_MAX = 2**60


@inlined
def at_ring(i, size):
    """Return the place of element `i` < 2 * size of a ring."""
    return i if i < size else i - size


@inlined
def fee_of(value, rate_e8):
    """Return the fee on a traded value in tick-lots, halves away from zero; the value is split so as not to overflow."""
    whole, rest = value // RATE_SCALE, value % RATE_SCALE
    rate = abs(rate_e8)
    fee = whole * rate + (rest * rate + RATE_SCALE // 2) // RATE_SCALE
    return fee if rate_e8 >= 0 else -fee


@inner
def share_half_up(amount, part, whole):
    """Return amount * part / whole, rounded half up, for 0 <= part <= whole, without overflow.

    amount = q * whole + r leaves r * part / whole, built bit by bit so that nothing exceeds 2 * whole.
    """
    q, r = amount // whole, amount % whole
    quotient, remainder = np.int64(0), np.int64(0)
    for bit in range(62, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= whole:
            remainder -= whole
            quotient += 1
        if (part >> bit) & 1:
            remainder += r
            if remainder >= whole:
                remainder -= whole
                quotient += 1
    return q * part + quotient + (1 if 2 * remainder >= whole else 0)


@inlined
def mark(state):
    """Return the venue's mid in half ticks; the last one known while a side is empty, 0 before the first."""
    return state.exchange.extent[MID]


@inlined
def book_fill(head, side, price, lots, fee):
    """Book a fill in the venue's ledger by average cost; the same arithmetic as domain.position."""
    value = price * lots
    held = head["position_lots"]
    head["cash_tick_lots"] -= side * value
    head["fees_tick_lots"] += fee
    if held * side >= 0:
        head["cost_tick_lots"] += side * value
    else:
        closing = min(abs(held), lots)
        cost_out = share_half_up(head["cost_tick_lots"], closing, abs(held))
        head["realised_tick_lots"] += -side * price * closing - cost_out
        head["cost_tick_lots"] += side * price * (lots - closing) - cost_out
    head["position_lots"] = held + side * lots


@inlined
def release(state, k, slot):
    """Give back the slot of an order that has ended."""
    head = state.head[k]
    count = head["open_count"]
    i = 0
    while state.open_slots[k, i] != slot:
        i += 1
    for j in range(i, count - 1):
        state.open_slots[k, j] = state.open_slots[k, j + 1]
    head["open_count"] = count - 1
    state.free_slots[k, head["free_count"]] = slot
    head["free_count"] += 1


@inlined
def deliver(state, k, ts):
    """Let responses that have arrived by `ts` reach the owner; a slot is free once its order is known to have ended."""
    head = state.head[k]
    responses = state.responses[k]
    size = len(responses)
    while head["response_count"] > 0:
        response = responses[head["response_first"]]
        if response["arrival_ts"] > ts:
            return
        head["response_first"] = at_ring(head["response_first"] + 1, size)
        head["response_count"] -= 1
        head["known_position_lots"] += response["position_lots"]
        head["known_cash_tick_lots"] += response["cash_tick_lots"]
        head["known_fees_tick_lots"] += response["fee_tick_lots"]
        order = state.orders[k, response["slot"]]
        order["known_status"] = response["status"]
        order["known_reason"] = response["reason"]
        order["known_leaves_lots"] = response["leaves_lots"]
        order["known_front_lots"] = response["front_lots"]
        order["known_filled_lots"] += abs(response["position_lots"])
        if response["status"] >= FILLED and head["keeps_ended"] == 0:
            release(state, k, response["slot"])
    head["response_first"] = 0  # A ring that begins anew stays in the same few lines of memory.


@inner
def respond(state, k, ts, slot, reason, position, cash, fee):
    """Send the present state of an order to its owner; it arrives after the response latency."""
    head = state.head[k]
    order = state.orders[k, slot]
    size = state.responses.shape[1]
    if head["response_count"] == size:
        # The owner does not look before the next wake-up, and that is later than now.
        deliver(state, k, ts)
        if head["response_count"] == size:
            state.clock[0]["refusal"] = TOO_MANY_IN_FLIGHT
            return
    response = state.responses[k, at_ring(head["response_first"] + head["response_count"], size)]
    head["response_count"] += 1
    response["arrival_ts"] = ts + head["response_latency_ns"]
    response["slot"] = slot
    response["order_id"] = order["order_id"]
    response["status"] = order["status"]
    response["reason"] = reason
    response["leaves_lots"] = order["leaves_lots"]
    response["front_lots"] = front_of(state, k, slot)["lots"]
    response["position_lots"] = position
    response["cash_tick_lots"] = cash
    response["fee_tick_lots"] = fee


@inner
def fill(state, k, ts, slot, price, lots, liquidity):
    """Execute `lots` of an order at `price`: order, ledger, record and response."""
    head = state.head[k]
    clock = state.clock[0]
    order = state.orders[k, slot]
    side = order["side"]
    fee = fee_of(price * lots, head["maker_fee_e8"] if liquidity == MAKER else head["taker_fee_e8"])
    order["leaves_lots"] -= lots
    order["status"] = FILLED if order["leaves_lots"] == 0 else PARTIALLY_FILLED
    book_fill(head, side, price, lots, fee)
    state.fill_sets[clock["fill_count"]] = k
    record = state.fills[clock["fill_count"]]
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
    respond(state, k, ts, slot, NONE, side * lots, -side * price * lots, fee)


@inlined
def change_open_value(head, side, value):
    """Add to the value of resting orders of a side."""
    if side > 0:
        head["open_buys_tick_lots"] += value
    else:
        head["open_sells_tick_lots"] += value


@inlined
def rest(state, k, slot):
    """Put an order among the resting ones: best price first, then time of arrival."""
    order = state.orders[k, slot]
    side, price = order["side"], order["price_ticks"]
    s = 0 if side > 0 else 1
    resting = state.resting[k, s]
    i = state.resting_count[k, s]
    state.resting_count[k, s] = i + 1
    while i > 0 and side * (price - state.orders[k, resting[i - 1]]["price_ticks"]) > 0:
        resting[i] = resting[i - 1]
        i -= 1
    resting[i] = slot
    if i == 0:
        state.own_best[s, k] = price
        if side * (price - state.bound[s]) > 0:
            state.bound[s] = price
    link(state, k * state.orders.shape[1] + slot, s, price, level(state.exchange, s, price), k)
    change_open_value(state.head[k], side, price * order["leaves_lots"])


@inlined
def leave(state, k, s, i):
    """Take the i-th resting order of a side out of the queue."""
    resting = state.resting[k, s]
    unlink(state, k * state.orders.shape[1] + resting[i])
    count = state.resting_count[k, s] - 1
    state.resting_count[k, s] = count
    for j in range(i, count):
        resting[j] = resting[j + 1]
    if i == 0:
        nothing = -FOREVER if s == 0 else FOREVER
        state.own_best[s, k] = state.orders[k, resting[0]]["price_ticks"] if count > 0 else nothing


@inner
def fill_resting(state, k, ts, s, i, lots):
    """Fill a resting order as maker at its own price; return True when it is gone."""
    slot = state.resting[k, s, i]
    order = state.orders[k, slot]
    price = order["price_ticks"]
    change_open_value(state.head[k], order["side"], -price * lots)
    fill(state, k, ts, slot, price, lots, MAKER)
    if order["leaves_lots"] == 0:
        leave(state, k, s, i)
        return True
    return False


@inlined
def find_bound(state, s):
    """Find the best own price of a side over all sets anew: beyond it no row can fill an order of that side."""
    own = state.own_best[s]
    best = own[0]
    for k in range(1, len(own)):
        best = max(best, own[k]) if s == 0 else min(best, own[k])
    state.bound[s] = best


@inner
def on_trade(state, ts, aggressor, tick, lots):
    """Let a public trade reach the own orders of every set on the passive side."""
    s = 1 if aggressor > 0 else 0
    own = state.own_best[s]
    for k in range(len(own)):
        if own[k] <= tick if s == 1 else own[k] >= tick:
            trade_with(state, k, ts, s, tick, lots)
    find_bound(state, s)


@inner
def trade_with(state, k, ts, s, tick, lots):
    """Let a public trade reach own orders of a set.

    An own price better than the trade's fills in full: the trade went through it. At the trade's price the trade
    eats the queue ahead and what is left fills own orders in time order, one after another (no-partial: wholly).
    """
    head = state.head[k]
    sign = 1 - 2 * s
    given = ZERO
    i = ZERO
    while i < state.resting_count[k, s]:
        slot = state.resting[k, s, i]
        order = state.orders[k, slot]
        distance = sign * (order["price_ticks"] - tick)
        if distance < 0:
            return
        gone = False
        if distance > 0:
            gone = fill_resting(state, k, ts, s, i, order["leaves_lots"])
        else:
            front = front_of(state, k, slot)
            reach = lots - front["lots"] - given
            front["lots"] = max(ZERO, front["lots"] - lots)
            if reach > 0:
                taken = min(reach, order["leaves_lots"])
                given += taken
                gone = fill_resting(state, k, ts, s, i, taken if head["partial_fill"] == 1 else order["leaves_lots"])
        if not gone:
            i += 1


@inner
def on_crossing(state, ts, s, tick, improved):
    """Let a displayed level of side `s` reach own orders of the other side that it crosses, in every set."""
    other = 1 - s
    own = state.own_best[other]
    for k in range(len(own)):
        if own[k] <= tick if other == 1 else own[k] >= tick:
            cross(state, k, ts, s, tick, improved)
    find_bound(state, other)


@inner
def cross(state, k, ts, s, tick, improved):
    """Fill own orders of a set that a level crosses.

    No-partial: wholly, when the best price improved; partial: by what is displayed there and not yet taken.
    """
    partial = state.head[k]["partial_fill"] == 1
    if not partial and not improved:
        return
    sign = 1 - 2 * s
    other = 1 - s
    while state.resting_count[k, other] > 0:
        order = state.orders[k, state.resting[k, other, 0]]
        if sign * (tick - order["price_ticks"]) < 0:
            return
        quantity = order["leaves_lots"]
        if partial:
            quantity = min(quantity, free_level(state, k, s, tick))
            if quantity == 0:
                return
            take(state, k, s, tick, quantity)
        if not fill_resting(state, k, ts, other, ZERO, quantity):
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
            for i in range(state.resting_count[k, s]):
                slot = state.resting[k, s, i]
                front_of(state, k, slot)["lots"] = level(state.exchange, s, state.orders[k, slot]["price_ticks"])
        for s in range(2):
            other = 1 - s
            while state.resting_count[k, other] > 0:
                order = state.orders[k, state.resting[k, other, 0]]
                quantity = reached_lots(state, k, s, order["price_ticks"], order["leaves_lots"])
                if quantity == 0 or not fill_resting(state, k, ts, other, ZERO, quantity):
                    break
    find_bound(state, ZERO)
    find_bound(state, ONE)


@inner
def reached_lots(state, k, s, price, most):
    """Take and return what a side's levels from its best one to `price` have for an own order of `most` lots."""
    sign = 1 - 2 * s
    tick = state.exchange.best[s]
    if state.head[k]["partial_fill"] == 0:
        return most if tick != 0 and sign * (tick - price) >= 0 else ZERO
    quantity = ZERO
    while tick != 0 and sign * (tick - price) >= 0 and quantity < most:
        lots = min(most - quantity, free_level(state, k, s, tick))
        if lots > 0:
            take(state, k, s, tick, lots)
            quantity += lots
        tick = next_outward(state.exchange, s, tick)
    return quantity


@inner
def can_afford(head, side, value):
    """Return whether the worst exposure with one more order of `value` is covered at leverage 1 by settled funds."""
    held = head["cost_tick_lots"]
    buys = head["open_buys_tick_lots"] + (value if side > 0 else 0)
    sells = head["open_sells_tick_lots"] + (value if side < 0 else 0)
    funds = head["balance_tick_lots"] + head["realised_tick_lots"] - head["fees_tick_lots"]
    return max(abs(held + buys), abs(held - sells)) <= funds


@inner
def take_liquidity(state, k, ts, slot, most):
    """Execute an order against the other side's levels up to its limit (`most` ticks, 0: any price)."""
    head = state.head[k]
    order = state.orders[k, slot]
    side = order["side"]
    other = 1 if side > 0 else 0
    tick = state.exchange.best[other]
    if head["partial_fill"] == 0:
        fill(state, k, ts, slot, tick, order["leaves_lots"], TAKER)
        return
    walked = 0
    while tick != 0 and order["leaves_lots"] > 0 and walked < WALK_LEVELS_MAX:
        if most != 0 and side * (most - tick) < 0:
            return
        lots = min(order["leaves_lots"], free_level(state, k, other, tick))
        if lots > 0:
            take(state, k, other, tick, lots)
            fill(state, k, ts, slot, tick, lots, TAKER)
        tick = next_outward(state.exchange, other, tick)
        walked += 1


@inner
def end(state, k, ts, slot, status, reason):
    """End an order without a fill and tell its owner."""
    head = state.head[k]
    state.orders[k, slot]["status"] = status
    state.orders[k, slot]["leaves_lots"] = 0
    if status == CANCELED:
        head["orders_canceled"] += 1
    elif status == EXPIRED:
        head["orders_expired"] += 1
    else:
        head["orders_rejected"] += 1
    respond(state, k, ts, slot, reason, ZERO, ZERO, ZERO)


@inner
def on_new_order(state, k, ts, slot):
    """An order reaches the venue: funds, post-only, taking, then resting or ending."""
    head = state.head[k]
    order = state.orders[k, slot]
    side = order["side"]
    best = state.exchange.best[1 if side > 0 else 0]
    is_market = order["order_type"] == MARKET
    if is_market and best == 0:
        end(state, k, ts, slot, EXPIRED, NO_LIQUIDITY)
        return
    price = best if is_market else order["price_ticks"]
    if price > VALUE_MAX // order["qty_lots"] or not can_afford(head, side, price * order["qty_lots"]):
        end(state, k, ts, slot, REJECTED, NO_FUNDS)
        return
    marketable = is_market or (best != 0 and side * (price - best) >= 0)
    if marketable and order["post_only"] == 1:
        end(state, k, ts, slot, REJECTED, WOULD_TAKE)
        return
    if marketable:
        take_liquidity(state, k, ts, slot, ZERO if is_market else price)
        if order["leaves_lots"] == 0:
            return
    if is_market:
        end(state, k, ts, slot, EXPIRED, NO_LIQUIDITY)
    elif order["time_in_force"] == IOC:
        end(state, k, ts, slot, EXPIRED, NOT_NOW)
    else:
        if order["status"] == PENDING_NEW:
            order["status"] = NEW
        rest(state, k, slot)
        respond(state, k, ts, slot, NONE, ZERO, ZERO, ZERO)


@inlined
def on_request(state, k):
    """Handle the request of a set that is first in line; a cancel of an order that is gone changes nothing."""
    head = state.head[k]
    request = state.requests[k, head["request_first"]]
    head["request_count"] -= 1
    following = at_ring(head["request_first"] + 1, state.requests.shape[1])
    head["request_first"] = following if head["request_count"] > 0 else 0
    slot = request["slot"]
    if request["cancels"] == 0:
        on_new_order(state, k, request["arrival_ts"], slot)
        return
    order = state.orders[k, slot]
    if order["order_id"] != request["order_id"] or (order["status"] != NEW and order["status"] != PARTIALLY_FILLED):
        return
    s = 0 if order["side"] > 0 else 1
    for i in range(state.resting_count[k, s]):
        if state.resting[k, s, i] == slot:
            leave(state, k, s, i)
            break
    change_open_value(head, order["side"], -order["price_ticks"] * order["leaves_lots"])
    end(state, k, request["arrival_ts"], slot, CANCELED, NONE)
