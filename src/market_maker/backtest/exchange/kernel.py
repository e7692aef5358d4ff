"""Own orders at the venue of a replay: funds, taking, resting, queue position, fills and an exact ledger.

Owns when an order fills; each rule stands beside its function. Refuses to know files, Decimal, latency of data and
strategies. Queue model: risk-averse (cancels happen behind us: only trades and the displayed quantity shorten the
queue ahead). The recorded book is never changed by us; what we took of a level is remembered until the feed shows less.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import free_level, inner, level, next_outward, take
from market_maker.backtest.state import IN_FLIGHT_MAX, WALK_LEVELS_MAX, Reason
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
ZERO = np.int64(0)
RING_MASK = IN_FLIGHT_MAX - 1
VALUE_MAX = 2**60


@inner
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


@inner
def mark(state):
    """Return the venue's mid in half ticks; the last one known while a side is empty, 0 before the first."""
    best = state.exchange.best
    if best[0] != 0 and best[1] != 0:
        return best[0] + best[1]
    return state.exchange.extent[3]


@inner
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


@inner
def respond(state, ts, slot, reason, position, cash, fee):
    """Send the present state of an order to its owner; it arrives after the response latency."""
    head = state.head[0]
    order = state.orders[slot]
    response = state.responses[(head["response_first"] + head["response_count"]) & RING_MASK]
    head["response_count"] += 1
    response["arrival_ts"] = ts + head["response_latency_ns"]
    response["slot"] = slot
    response["order_id"] = order["order_id"]
    response["status"] = order["status"]
    response["reason"] = reason
    response["leaves_lots"] = order["leaves_lots"]
    response["front_lots"] = order["front_lots"]
    response["position_lots"] = position
    response["cash_tick_lots"] = cash
    response["fee_tick_lots"] = fee


@inner
def fill(state, ts, slot, price, lots, liquidity):
    """Execute `lots` of an order at `price`: order, ledger, record and response."""
    head = state.head[0]
    order = state.orders[slot]
    side = order["side"]
    fee = fee_of(price * lots, head["maker_fee_e8"] if liquidity == MAKER else head["taker_fee_e8"])
    order["leaves_lots"] -= lots
    order["status"] = FILLED if order["leaves_lots"] == 0 else PARTIALLY_FILLED
    book_fill(head, side, price, lots, fee)
    record = state.fills[head["fill_count"]]
    head["fill_count"] += 1
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
    respond(state, ts, slot, NONE, side * lots, -side * price * lots, fee)


@inner
def change_open_value(head, side, value):
    """Add to the value of resting orders of a side."""
    if side > 0:
        head["open_buys_tick_lots"] += value
    else:
        head["open_sells_tick_lots"] += value


@inner
def rest(state, slot):
    """Put an order among the resting ones: best price first, then time of arrival."""
    head = state.head[0]
    order = state.orders[slot]
    side = order["side"]
    s = 0 if side > 0 else 1
    order["front_lots"] = level(state.exchange, s, order["price_ticks"])
    i = state.resting_count[s]
    state.resting_count[s] = i + 1
    while i > 0 and side * (order["price_ticks"] - state.orders[state.resting[s, i - 1]]["price_ticks"]) > 0:
        state.resting[s, i] = state.resting[s, i - 1]
        i -= 1
    state.resting[s, i] = slot
    change_open_value(head, side, order["price_ticks"] * order["leaves_lots"])


@inner
def leave(state, s, i):
    """Take the i-th resting order of a side out of the queue."""
    state.resting_count[s] -= 1
    for k in range(i, state.resting_count[s]):
        state.resting[s, k] = state.resting[s, k + 1]


@inner
def fill_resting(state, ts, s, i, lots):
    """Fill a resting order as maker at its own price; return True when it is gone."""
    slot = state.resting[s, i]
    order = state.orders[slot]
    price = order["price_ticks"]
    change_open_value(state.head[0], order["side"], -price * lots)
    fill(state, ts, slot, price, lots, MAKER)
    if order["leaves_lots"] == 0:
        leave(state, s, i)
        return True
    return False


@inner
def on_trade(state, ts, aggressor, tick, lots):
    """Let a public trade reach own orders on the passive side.

    An own price better than the trade's fills in full: the trade went through it. At the trade's price the trade
    eats the queue ahead and what is left fills own orders in time order, one after another (no-partial: wholly).
    """
    head = state.head[0]
    s = 1 if aggressor > 0 else 0
    sign = -aggressor
    given = np.int64(0)
    i = ZERO
    while i < state.resting_count[s]:
        order = state.orders[state.resting[s, i]]
        distance = sign * (order["price_ticks"] - tick)
        if distance < 0:
            return
        gone = False
        if distance > 0:
            gone = fill_resting(state, ts, s, i, order["leaves_lots"])
        else:
            reach = lots - order["front_lots"] - given
            order["front_lots"] = max(np.int64(0), order["front_lots"] - lots)
            if reach > 0:
                taken = min(reach, order["leaves_lots"])
                given += taken
                gone = fill_resting(state, ts, s, i, taken if head["partial_fill"] == 1 else order["leaves_lots"])
        if not gone:
            i += 1


@inner
def on_level(state, ts, s, tick, lots, improved):
    """Let a changed level reach own orders.

    Own orders at that level: the queue ahead is at most what is displayed. Own orders of the other side that the
    level crosses: no-partial, wholly when the best price improved; partial, by what is displayed and not yet taken.
    """
    head = state.head[0]
    sign = 1 - 2 * s
    for i in range(state.resting_count[s]):
        order = state.orders[state.resting[s, i]]
        distance = sign * (order["price_ticks"] - tick)
        if distance < 0:
            break
        if distance == 0:
            order["front_lots"] = min(order["front_lots"], lots)
    if lots == 0 or (head["partial_fill"] == 0 and not improved):
        return
    other = 1 - s
    while state.resting_count[other] > 0:
        order = state.orders[state.resting[other, 0]]
        if sign * (tick - order["price_ticks"]) < 0:
            return
        quantity = order["leaves_lots"]
        if head["partial_fill"] == 1:
            quantity = min(quantity, free_level(state.exchange, s, tick))
            if quantity == 0:
                return
            take(state.exchange, s, tick, quantity)
        if not fill_resting(state, ts, other, ZERO, quantity):
            return


@inner
def can_afford(head, side, value):
    """Return whether the worst exposure with one more order of `value` is covered at leverage 1 by settled funds."""
    held = head["cost_tick_lots"]
    buys = head["open_buys_tick_lots"] + (value if side > 0 else 0)
    sells = head["open_sells_tick_lots"] + (value if side < 0 else 0)
    funds = head["balance_tick_lots"] + head["realised_tick_lots"] - head["fees_tick_lots"]
    return max(abs(held + buys), abs(held - sells)) <= funds


@inner
def take_liquidity(state, ts, slot, most):
    """Execute an order against the other side's levels up to its limit (`most` ticks, 0: any price)."""
    head = state.head[0]
    order = state.orders[slot]
    side = order["side"]
    other = 1 if side > 0 else 0
    tick = state.exchange.best[other]
    if head["partial_fill"] == 0:
        fill(state, ts, slot, tick, order["leaves_lots"], TAKER)
        return
    walked = 0
    while tick != 0 and order["leaves_lots"] > 0 and walked < WALK_LEVELS_MAX:
        if most != 0 and side * (most - tick) < 0:
            return
        lots = min(order["leaves_lots"], free_level(state.exchange, other, tick))
        if lots > 0:
            take(state.exchange, other, tick, lots)
            fill(state, ts, slot, tick, lots, TAKER)
        tick = next_outward(state.exchange, other, tick)
        walked += 1


@inner
def end(state, ts, slot, status, reason):
    """End an order without a fill and tell its owner."""
    head = state.head[0]
    state.orders[slot]["status"] = status
    state.orders[slot]["leaves_lots"] = 0
    if status == CANCELED:
        head["orders_canceled"] += 1
    elif status == EXPIRED:
        head["orders_expired"] += 1
    else:
        head["orders_rejected"] += 1
    respond(state, ts, slot, reason, ZERO, ZERO, ZERO)


@inner
def on_new_order(state, ts, slot):
    """An order reaches the venue: funds, post-only, taking, then resting or ending."""
    head = state.head[0]
    order = state.orders[slot]
    side = order["side"]
    best = state.exchange.best[1 if side > 0 else 0]
    is_market = order["order_type"] == MARKET
    if is_market and best == 0:
        end(state, ts, slot, EXPIRED, NO_LIQUIDITY)
        return
    price = best if is_market else order["price_ticks"]
    if price > VALUE_MAX // order["qty_lots"] or not can_afford(head, side, price * order["qty_lots"]):
        end(state, ts, slot, REJECTED, NO_FUNDS)
        return
    marketable = is_market or (best != 0 and side * (price - best) >= 0)
    if marketable and order["post_only"] == 1:
        end(state, ts, slot, REJECTED, WOULD_TAKE)
        return
    if marketable:
        take_liquidity(state, ts, slot, ZERO if is_market else price)
        if order["leaves_lots"] == 0:
            return
    if is_market:
        end(state, ts, slot, EXPIRED, NO_LIQUIDITY)
    elif order["time_in_force"] == IOC:
        end(state, ts, slot, EXPIRED, NOT_NOW)
    else:
        if order["status"] == PENDING_NEW:
            order["status"] = NEW
        rest(state, slot)
        respond(state, ts, slot, NONE, ZERO, ZERO, ZERO)


@inner
def on_request(state):
    """Handle the request that is first in line; a cancel of an order that is gone changes nothing."""
    head = state.head[0]
    request = state.requests[head["request_first"] & RING_MASK]
    head["request_first"] += 1
    head["request_count"] -= 1
    slot = request["slot"]
    if request["cancels"] == 0:
        on_new_order(state, request["arrival_ts"], slot)
        return
    order = state.orders[slot]
    if order["order_id"] != request["order_id"] or (order["status"] != NEW and order["status"] != PARTIALLY_FILLED):
        return
    s = 0 if order["side"] > 0 else 1
    for i in range(state.resting_count[s]):
        if state.resting[s, i] == slot:
            leave(state, s, i)
            break
    change_open_value(head, order["side"], -order["price_ticks"] * order["leaves_lots"])
    end(state, request["arrival_ts"], slot, CANCELED, NONE)
