"""The matching engine of one pair: commands in, events out, price-time priority.

Owns the rules of `docs/concepts/matching.md`: who trades with whom, what happens to what is left, stops, auctions,
interruptions, mass actions, ends; what is refused is decided in `checks`. Knows no accounts, no latency and no wall clock.
Longer than other modules, since the rules refer to each other. Interpreted and compiled form are the same code.

A command can need any number of events. When the buffer of events is full the engine stops between two steps and says
so; called again, it goes on where it was (`head.stage`). Nothing is allocated here.
"""

import numpy as np
from numba.extending import overload

from market_maker.matching.auction.kernel import auction_price
from market_maker.matching.checks.kernel import (
    amend_fault,
    is_ordinary,
    is_plain,
    is_unfiltered,
    order_fault,
    price_fault,
)
from market_maker.matching.codes import EVERYONE as _EVERYONE
from market_maker.matching.codes import (
    Cause,
    Command,
    EngineOrderType,
    EventKind,
    LiquidityCode,
    Phase,
    Progress,
    SelfTrade,
    Stage,
)
from market_maker.matching.levels.kernel import fetch, find_level, inlined, inner, next_rank, nth, occupy
from market_maker.matching.orders.kernel import (
    append,
    await_end,
    chain,
    discard,
    enter,
    find_id_page,
    find_order,
    price_of,
    push_free,
    release,
    rest,
    side_of,
    slot_in,
    strike_out,
    take_out,
    unlink,
)
from market_maker.matching.state import EVENTS_MARGIN, FOREVER, ID_SHIFT, MISS_SCALE, NO_RANK

NEW, CANCEL, AMEND, CANCEL_ALL = int(Command.NEW), int(Command.CANCEL), int(Command.AMEND), int(Command.CANCEL_ALL)
SUSPEND, RELEASE, CLOCK = int(Command.SUSPEND), int(Command.RELEASE), int(Command.CLOCK)
ENTER_PHASE, REFERENCE = int(Command.PHASE), int(Command.REFERENCE)

ACCEPTED, REJECTED, FILLED = int(EventKind.ACCEPTED), int(EventKind.REJECTED), int(EventKind.FILLED)
CANCELED, AMENDED, EXPIRED = int(EventKind.CANCELED), int(EventKind.AMENDED), int(EventKind.EXPIRED)
TRIGGERED, REFUSED, RESTATED = int(EventKind.TRIGGERED), int(EventKind.REFUSED), int(EventKind.RESTATED)
PHASE_CHANGED = int(EventKind.PHASE_CHANGED)

NONE, INVALID_CODE, UNKNOWN_OWNER = int(Cause.NONE), int(Cause.INVALID_CODE), int(Cause.UNKNOWN_OWNER)
DUPLICATE_ORDER_ID, UNKNOWN_ORDER = int(Cause.DUPLICATE_ORDER_ID), int(Cause.UNKNOWN_ORDER)
PRICE_COLLAR, POST_ONLY_WOULD_TAKE = int(Cause.PRICE_COLLAR), int(Cause.POST_ONLY_WOULD_TAKE)
INVALID_TIME, REQUESTED, MASS_CANCEL = int(Cause.INVALID_TIME), int(Cause.REQUESTED), int(Cause.MASS_CANCEL)
SELF_TRADE, TIME_IN_FORCE = int(Cause.SELF_TRADE), int(Cause.TIME_IN_FORCE)
CANNOT_FILL, NO_LIQUIDITY = int(Cause.CANNOT_FILL_COMPLETELY), int(Cause.NO_LIQUIDITY)
NOT_THERE, VOLATILITY = int(Cause.NOT_THERE), int(Cause.VOLATILITY)
EXPIRE_TIME, DISPLAY_REFRESH = int(Cause.EXPIRE_TIME), int(Cause.DISPLAY_REFRESH)

PRE_OPEN, CONTINUOUS = int(Phase.PRE_OPEN), int(Phase.CONTINUOUS)
VOLATILITY_AUCTION, HALT, CLOSED = int(Phase.VOLATILITY_AUCTION), int(Phase.HALT), int(Phase.CLOSED)
LIMIT, MARKET = int(EngineOrderType.LIMIT), int(EngineOrderType.MARKET)
STOP, STOP_LIMIT = int(EngineOrderType.STOP), int(EngineOrderType.STOP_LIMIT)
GTC, IOC, FOK, GTD = 0, 1, 2, 3
CANCEL_NEWEST, CANCEL_OLDEST = int(SelfTrade.CANCEL_NEWEST), int(SelfTrade.CANCEL_OLDEST)
CANCEL_BOTH, DECREMENT = int(SelfTrade.CANCEL_BOTH), int(SelfTrade.DECREMENT)
MAKER, TAKER, AUCTION = int(LiquidityCode.MAKER), int(LiquidityCode.TAKER), int(LiquidityCode.AUCTION)

DONE, EVENTS_FULL = int(Progress.DONE), int(Progress.EVENTS_FULL)
NEEDS_ORDERS, NEEDS_PAGES = int(Progress.NEEDS_ORDERS), int(Progress.NEEDS_PAGES)
IDLE, TAKING, TRIGGERING = int(Stage.IDLE), int(Stage.TAKING), int(Stage.TRIGGERING)
UNCROSSING, CANCELING, EXPIRING = int(Stage.UNCROSSING), int(Stage.CANCELING), int(Stage.EXPIRING)
EVERYONE = _EVERYONE
MASK = (1 << 64) - 1
LOOK_AHEAD = 8
"""Commands after which an order that is fetched now is needed: it takes about 100 ns to come from the outer cache."""


def mixed(seed, counter):
    """Return 63 random bits of draw number `counter` of a seed.

    Source: SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator.
    """
    z = (int(seed) * 0xD1342543DE82EF95 + int(counter) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (z ^ (z >> 31)) >> 1


@overload(mixed, jit_options={"_nrt": False})
def _mixed(seed, counter):
    def compiled(seed, counter):
        z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(1))

    return compiled


@inlined
def emit(state, kind, cause, side, liquidity, owner, order_id, price_ticks, qty_lots, leaves_lots, match_id):
    """Write one event; the caller has made sure that there is room."""
    head = state.head[0]
    sequence = head["sequence"] + 1
    head["sequence"] = sequence
    event = state.events[nth(head["event_count"])]
    head["event_count"] += 1
    event["sequence"] = sequence
    event["ts"] = head["clock_ts"]
    event["kind"] = kind
    event["cause"] = cause
    event["side"] = side
    event["liquidity"] = liquidity
    event["owner"] = owner
    event["order_id"] = order_id
    event["price_ticks"] = price_ticks
    event["qty_lots"] = qty_lots
    event["leaves_lots"] = leaves_lots
    event["match_id"] = match_id


@inner
def tell(state, slot, kind, cause, qty_lots):
    """Write an event of an order with its limit price and what it has left."""
    order = state.orders[nth(slot)]
    price = price_of(order) if order["book"] < 2 else state.details[nth(slot)]["limit_ticks"]
    emit(
        state, kind, cause, side_of(order), 0, order["owner"], order["order_id"], price, qty_lots, order["leaves_lots"],
        0,
    )  # fmt: skip


@inlined
def is_missed(state, slot):
    """Draw whether the counterparty of an order is not there; see `execution_probability`."""
    if state.orders[nth(slot)]["detailed"] == 0 or state.details[nth(slot)]["miss_e9"] == 0:
        return False
    head = state.head[0]
    head["draws"] += 1
    return mixed(head["seed"], head["draws"]) % MISS_SCALE < state.details[nth(slot)]["miss_e9"]


@inner
def end(state, slot, kind, cause):
    """End an order that stands in no queue."""
    order = state.orders[nth(slot)]
    lots = order["leaves_lots"]
    order["leaves_lots"] = 0
    tell(state, slot, kind, cause, lots)
    discard(state, slot)


@inner
def remove(state, slot, kind, cause):
    """End an order that stands in a queue."""
    if state.orders[nth(slot)]["book"] >= 2:
        state.head[0]["stops"] -= 1
    take_out(state, slot)
    end(state, slot, kind, cause)


@inner
def finish(state, slot, cause):
    """Deal with what an order could not trade: it rests, or it expires with `cause`, by default that of its kind."""
    order = state.orders[nth(slot)]
    if order["order_type"] == LIMIT and (order["time_in_force"] == GTC or order["time_in_force"] == GTD):
        rest(state, slot)
        return
    if cause == NONE:
        cause = TIME_IN_FORCE
        if order["time_in_force"] == FOK:
            cause = CANNOT_FILL
        elif order["order_type"] == MARKET:
            cause = NO_LIQUIDITY if state.best[nth(1 - order["book"])] == NO_RANK else PRICE_COLLAR
    end(state, slot, EXPIRED, cause)


@inlined
def weigh_impact(state, slot, qty_lots):
    """Add what an execution displaces the market's reference price by."""
    if state.orders[nth(slot)]["detailed"] != 0 and state.details[nth(slot)]["impact_e9"] != 0:
        order = state.orders[nth(slot)]
        executed_e6 = qty_lots * 1_000_000 // order["qty_lots"]
        state.head[0]["impact_e12"] += side_of(order) * (
            np.int64(state.details[nth(slot)]["impact_e9"]) * executed_e6 // 1000
        )


@inner
def take_off(state, slot, qty_lots):
    """Take lots off the displayed part of a resting order and of its level."""
    order = state.orders[nth(slot)]
    order["leaves_lots"] -= qty_lots
    order["shown_lots"] -= qty_lots
    state.levels[nth(order["level"])]["shown_lots"] -= qty_lots


@inlined
def tell_fill(state, slot, liquidity, price, qty_lots, match_id):
    """Write the fill of one order."""
    order = state.orders[nth(slot)]
    emit(
        state, FILLED, NONE, side_of(order), liquidity, order["owner"], order["order_id"], price, qty_lots,
        order["leaves_lots"], match_id,
    )  # fmt: skip
    weigh_impact(state, slot, qty_lots)


@inlined
def count_trade(state, price, qty_lots):
    """Count a trade and return its id."""
    head = state.head[0]
    head["match_id"] += 1
    head["last_ticks"] = price
    head["traded_lots"] += qty_lots
    return head["match_id"]


@inner
def refresh_or_release(state, slot):
    """End a resting order that is done; show the next part of one whose displayed part is used up, at the back."""
    order = state.orders[nth(slot)]
    if order["leaves_lots"] == 0:
        take_out(state, slot)
        discard(state, slot)
    elif order["shown_lots"] == 0:
        shown = min(order["leaves_lots"], state.details[nth(slot)]["display_lots"])
        level = np.int64(order["level"])
        if order["next"] >= 0:
            take_out(state, slot)
            order["shown_lots"] = shown
            append(state, slot, level, shown, order["leaves_lots"] - shown)
        else:
            order["shown_lots"] = shown
            state.levels[nth(level)]["shown_lots"] += shown
            state.levels[nth(level)]["hidden_lots"] -= shown
        tell(state, slot, RESTATED, DISPLAY_REFRESH, shown)


@inlined
def first_at(state, book, rank):
    """Return the first order of an occupied level."""
    return np.int64(state.levels[find_level(state, book, rank)]["first"])


@inner
def beyond(state, maker, limit_rank):
    """Return the order after `maker` that a taker may reach, -1 if there is none; before `maker` is dealt with."""
    order = state.orders[nth(maker)]
    if order["next"] >= 0:
        return np.int64(order["next"])
    rank = next_rank(state, np.int64(order["book"]), order["rank"])
    return first_at(state, np.int64(order["book"]), rank) if rank <= limit_rank else np.int64(-1)


@inner
def can_fill(state, slot, limit_rank):
    """Tell whether an order would trade completely at once. Uncertain counterparties do not count."""
    order, head = state.orders[nth(slot)], state.head[0]
    wanted = order["leaves_lots"]
    maker = first_at(state, np.int64(1 - order["book"]), state.best[nth(1 - order["book"])])
    while maker >= 0:
        resting = state.orders[nth(maker)]
        if is_banded(head, price_of(resting)):
            return False
        if resting["owner"] != 0 and resting["owner"] == order["owner"] and order["self_trade"] != 0:
            if order["self_trade"] != CANCEL_OLDEST:
                return False
        elif resting["detailed"] == 0 or state.details[nth(maker)]["miss_e9"] == 0:
            wanted -= resting["leaves_lots"]
            if wanted <= 0:
                return True
        maker = beyond(state, maker, limit_rank)
    return False


@inlined
def is_banded(head, price):
    """Tell whether a trade at `price` would leave a volatility band."""
    static, dynamic = head["static_band_ticks"], head["dynamic_band_ticks"]
    if static != 0 and head["reference_ticks"] != 0 and abs(price - head["reference_ticks"]) > static:
        return True
    return dynamic != 0 and head["base_ticks"] != 0 and abs(price - head["base_ticks"]) > dynamic


@inner
def interrupt(state):
    """Stop continuous trading for an auction, since the next trade would leave a band."""
    head = state.head[0]
    head["phase"] = VOLATILITY_AUCTION
    wait = head["volatility_auction_ns"]
    head["auction_end_ts"] = head["clock_ts"] + wait if wait > 0 else FOREVER
    emit(state, PHASE_CHANGED, VOLATILITY, 0, VOLATILITY_AUCTION, 0, 0, 0, 0, 0, 0)


@inner
def prevent(state, slot, maker):
    """Apply self-trade prevention to a taker and an own resting order; return False when the taker has ended."""
    order, resting = state.orders[nth(slot)], state.orders[nth(maker)]
    mode = order["self_trade"]
    if mode == DECREMENT:
        lots = min(order["leaves_lots"], resting["shown_lots"])
        order["leaves_lots"] -= lots
        order["qty_lots"] -= lots
        tell(state, slot, RESTATED if order["leaves_lots"] > 0 else CANCELED, SELF_TRADE, lots)
        take_off(state, maker, lots)
        resting["qty_lots"] -= lots
        tell(state, maker, RESTATED if resting["leaves_lots"] > 0 else CANCELED, SELF_TRADE, lots)
        refresh_or_release(state, maker)
        if order["leaves_lots"] == 0:
            discard(state, slot)
            return False
        return True
    if mode == CANCEL_OLDEST or mode == CANCEL_BOTH:
        remove(state, maker, CANCELED, SELF_TRADE)
    if mode == CANCEL_NEWEST or mode == CANCEL_BOTH:
        end(state, slot, CANCELED, SELF_TRADE)
        return False
    return True


@inner
def take(state):
    """Let the order in hand trade with those that rest; return False if events must be emptied first."""
    head = state.head[0]
    slot, maker, limit_rank = head["slot"], head["cursor"], head["limit_rank"]
    order = state.orders[nth(slot)]
    bands = (head["static_band_ticks"] | head["dynamic_band_ticks"]) != 0
    room = len(state.events) - EVENTS_MARGIN
    cause = np.int64(NONE)
    while maker >= 0:
        if head["event_count"] > room:
            head["cursor"] = maker
            return False
        resting = state.orders[nth(maker)]
        uncertain = resting["detailed"] != 0 and state.details[nth(maker)]["miss_e9"] != 0
        if uncertain and order["time_in_force"] == FOK:
            maker = beyond(state, maker, limit_rank)
            continue
        price = price_of(resting)
        if resting["owner"] != 0 and resting["owner"] == order["owner"] and order["self_trade"] != 0:
            # A display quantity that is used up is renewed at the back, where it is met again.
            renewed = order["self_trade"] == DECREMENT and resting["leaves_lots"] > resting["shown_lots"]
            renewed = renewed and order["leaves_lots"] > resting["shown_lots"] and resting["next"] < 0
            following = beyond(state, maker, limit_rank)
            if not prevent(state, slot, maker):
                head["slot"] = -1
                break
            maker = maker if renewed else following
            continue
        if uncertain and is_missed(state, maker):
            maker = beyond(state, maker, limit_rank)
            continue
        if bands and is_banded(head, price):
            interrupt(state)
            cause = np.int64(VOLATILITY)
            break
        lots = min(order["leaves_lots"], resting["shown_lots"])
        # Asked before the resting order is dealt with, and only if it matters.
        following = beyond(state, maker, limit_rank) if lots < order["leaves_lots"] else np.int64(-1)
        match_id = count_trade(state, price, lots)
        order["leaves_lots"] -= lots
        tell_fill(state, slot, TAKER, price, lots, match_id)
        resting["leaves_lots"] -= lots
        resting["shown_lots"] -= lots
        state.levels[nth(resting["level"])]["shown_lots"] -= lots
        tell_fill(state, maker, MAKER, price, lots, match_id)
        if resting["shown_lots"] == 0:
            if resting["leaves_lots"] == 0:
                unlink(state, maker, np.int64(0), np.int64(0))
                release(state, maker)
                maker = following
            else:
                renewed = resting["next"] < 0
                refresh_or_release(state, maker)
                if not renewed:
                    maker = following
        if order["leaves_lots"] == 0:
            release(state, slot)
            head["slot"] = -1
            break
    if head["slot"] >= 0:
        order["shown_lots"] = display_of(state, slot)
        finish(state, slot, cause)
        head["slot"] = -1
    return True


@inlined
def display_of(state, slot):
    """Return how much of an order is displayed when it comes to rest."""
    order = state.orders[nth(slot)]
    lots = order["leaves_lots"]
    if order["detailed"] != 0 and state.details[nth(slot)]["display_lots"] != 0:
        return min(lots, state.details[nth(slot)]["display_lots"])
    return lots


@inner
def begin_taking(state, slot):
    """Take up an order that crosses; it trades in `take`. Return False if it ends or rests without."""
    head, order = state.head[0], state.orders[nth(slot)]
    if order["post_only"] != 0:
        end(state, slot, EXPIRED, POST_ONLY_WOULD_TAKE)
        return False
    head["base_ticks"] = head["last_ticks"]
    if is_missed(state, slot):
        finish(state, slot, NOT_THERE)
        return False
    limit_rank = taking_limit(state, order)
    if order["time_in_force"] == FOK and not can_fill(state, slot, limit_rank):
        end(state, slot, EXPIRED, CANNOT_FILL)
        return False
    opposite = np.int64(1 - order["book"])
    head["slot"] = slot
    head["cursor"] = first_at(state, opposite, state.best[nth(opposite)])
    head["limit_rank"] = limit_rank
    head["stage"] = TAKING
    return True


@inlined
def taking_limit(state, order):
    """Return the worst rank of the other side that an order may take."""
    if order["order_type"] == LIMIT:
        return -order["rank"]
    head = state.head[0]
    if head["collar_ticks"] != 0 and head["reference_ticks"] != 0:
        return side_of(order) * head["reference_ticks"] + head["collar_ticks"]
    return np.int64(NO_RANK - 1)


@inlined
def act(state, slot):
    """Let an order that is accepted, amended or triggered trade if it can; otherwise it rests or expires."""
    order = state.orders[nth(slot)]
    if state.head[0]["phase"] == CONTINUOUS and state.best[nth(1 - order["book"])] <= taking_limit(state, order):
        begin_taking(state, slot)
    else:
        finish(state, slot, NONE)


@inlined
def is_elected(state, side, stop_ticks):
    """Tell whether the last price has reached a stop."""
    last = state.head[0]["last_ticks"]
    return last != 0 and side * (last - stop_ticks) >= 0


@inner
def trigger(state, slot):
    """Turn a stop that stands in no queue into the order it becomes, and let it act."""
    order, detail = state.orders[nth(slot)], state.details[nth(slot)]
    tell(state, slot, TRIGGERED, NONE, order["leaves_lots"])
    is_limit = order["order_type"] == STOP_LIMIT
    order["order_type"] = LIMIT if is_limit else MARKET
    order["book"] -= 2
    order["rank"] = -side_of(order) * detail["limit_ticks"]
    order["shown_lots"] = display_of(state, slot)
    act(state, slot)


@inner
def wait_or_trigger(state, slot):
    """Trigger a stop at once or let it wait for its price."""
    order = state.orders[nth(slot)]
    if state.head[0]["phase"] == CONTINUOUS and is_elected(state, side_of(order), price_of(order)):
        trigger(state, slot)
    else:
        state.head[0]["stops"] += 1
        rest(state, slot)


@inner
def elect(state):
    """Trigger the next stop that the last price has reached: buys first, nearest stop first; return False if none."""
    head = state.head[0]
    if head["phase"] != CONTINUOUS or head["stops"] == 0:
        return False
    for book in range(2, 4):
        rank = state.best[nth(book)]
        if rank != NO_RANK and is_elected(state, np.int64(5 - 2 * book), rank if book == 2 else -rank):
            slot = first_at(state, np.int64(book), rank)
            head["stops"] -= 1
            take_out(state, slot)
            trigger(state, slot)
            return True
    return False


@inner
def place(state, c):
    """Refuse a new order, or accept it and let it act."""
    head = state.head[0]
    cause = order_fault(state, c)
    order_id = c["order_id"]
    slot = np.int64(state.free_orders[nth(head["free_orders"] - 1)])
    if cause == NONE:
        if order_id == 0:
            head["numbered"] += 1
            order_id = -head["numbered"]
        if not enter(state, order_id, slot):
            cause = np.int64(DUPLICATE_ORDER_ID)
    if cause != NONE:
        reject(state, c, order_id, cause)
        return
    side, price, lots = np.int64(c["side"]), c["price_ticks"], c["qty_lots"]
    accept(state, slot, order_id, np.int64(c["owner"]), side, price, lots)
    if is_plain(c) and c["owner"] == 0:
        act_plainly(state, slot, side, price, lots)
    else:
        place_detailed(state, c, slot)


@inlined
def place_ordinary(state, c):
    """Do as `place`, for a command that is `is_ordinary`: the most frequent one."""
    order_id, side, price, lots = c["order_id"], np.int64(c["side"]), c["price_ticks"], c["qty_lots"]
    slot = np.int64(state.free_orders[nth(state.head[0]["free_orders"] - 1)])
    if enter(state, order_id, slot):
        accept(state, slot, order_id, np.int64(0), side, price, lots)
        act_plainly(state, slot, side, price, lots)
    else:
        reject(state, c, order_id, np.int64(DUPLICATE_ORDER_ID))


@inner
def reject(state, c, order_id, cause):
    """Tell that a new order is refused."""
    emit(state, REJECTED, cause, c["side"], 0, c["owner"], order_id, c["price_ticks"], c["qty_lots"], 0, 0)


@inlined
def book_of(side):
    """Return the number of the book in which limit orders of a side stand: 0 bids, 1 asks."""
    return (np.int64(1) - side) >> 1


@inlined
def accept(state, slot, order_id, owner, side, price, lots):
    """Give an order whose id is entered its slot, as a plain limit order, and tell it."""
    head, order = state.head[0], state.orders[nth(slot)]
    head["free_orders"] -= 1
    head["placed"] += 1
    order["order_id"] = order_id
    order["rank"] = -side * price
    order["qty_lots"] = lots
    order["leaves_lots"] = lots
    order["shown_lots"] = lots
    order["owner"] = owner
    # The book, and zero in all other codes.
    order["codes"] = book_of(side)
    emit(state, ACCEPTED, NONE, side, 0, owner, order_id, price, lots, lots, 0)


@inlined
def act_plainly(state, slot, side, price, lots):
    """Let an accepted order that is a plain limit order trade if it can; otherwise it rests."""
    book, rank = book_of(side), -side * price
    if state.head[0]["phase"] == CONTINUOUS and state.best[nth(1 - book)] <= -rank:
        begin_taking(state, slot)
    else:
        append(state, slot, occupy(state, book, rank), lots, np.int64(0))


@inner
def place_detailed(state, c, slot):
    """Let an accepted order act that has an owner or something special."""
    order, detail = state.orders[nth(slot)], state.details[nth(slot)]
    order["detailed"] = 1
    order["order_type"] = c["order_type"]
    order["time_in_force"] = c["time_in_force"]
    order["self_trade"] = c["self_trade"]
    order["post_only"] = c["post_only"]
    detail["limit_ticks"] = c["price_ticks"]
    detail["display_lots"] = c["display_lots"] if c["display_lots"] < c["qty_lots"] else 0
    detail["expire_ts"] = c["ts"]
    detail["number"] = state.head[0]["placed"]
    detail["miss_e9"] = c["miss_e9"]
    detail["impact_e9"] = c["impact_e9"]
    if c["owner"] != 0:
        chain(state, slot, np.int64(c["owner"]))
    if c["ts"] != 0:
        await_end(state, slot)
    if c["order_type"] >= STOP:
        order["book"] += 2
        order["rank"] = c["stop_ticks"] * c["side"]
        wait_or_trigger(state, slot)
    else:
        order["shown_lots"] = display_of(state, slot)
        act(state, slot)


@inlined
def refuse(state, c, cause):
    """Tell that a request was not done."""
    emit(state, REFUSED, cause, c["side"], 0, c["owner"], c["order_id"], c["price_ticks"], c["qty_lots"], 0, 0)


@inlined
def addressed(state, c):
    """Return the slot of the order that a request is about, -1 if its owner has none of this id."""
    slot = find_order(state, c["order_id"]) if c["order_id"] != 0 else np.int64(-1)
    if slot >= 0 and c["owner"] != EVERYONE and state.orders[nth(slot)]["owner"] != c["owner"]:
        return np.int64(-1)
    return slot


@inlined
def cancel(state, c):
    """End an order at the request of its owner."""
    order_id = c["order_id"]
    place = find_id_page(state, order_id >> ID_SHIFT)
    slot = slot_in(state, place, order_id) if place >= 0 and order_id != 0 else np.int64(-1)
    if slot < 0 or (c["owner"] != EVERYONE and state.orders[nth(slot)]["owner"] != c["owner"]):
        refuse(state, c, UNKNOWN_ORDER)
        return
    order = state.orders[nth(slot)]
    if order["detailed"] != 0:
        remove(state, slot, CANCELED, REQUESTED)
        return
    # As `remove` does, in line and without what only others have: this is every second command of a busy book.
    lots, price, side = order["leaves_lots"], price_of(order), side_of(order)
    unlink(state, slot, lots, np.int64(0))
    emit(state, CANCELED, REQUESTED, side, 0, 0, order_id, price, lots, 0, 0)
    strike_out(state, place, order_id)
    push_free(state, slot)


@inner
def amend(state, c):
    """Change price, stop or total quantity (0: as it is). Only shrinking keeps the place."""
    slot = addressed(state, c)
    if slot < 0:
        refuse(state, c, UNKNOWN_ORDER)
        return
    order, detail = state.orders[nth(slot)], state.details[nth(slot)]
    waits = order["book"] >= 2
    old_price = detail["limit_ticks"] if waits else price_of(order)
    old_stop = price_of(order) if waits else np.int64(0)
    price = c["price_ticks"] if c["price_ticks"] != 0 else old_price
    stop = c["stop_ticks"] if c["stop_ticks"] != 0 else old_stop
    lots = c["qty_lots"] if c["qty_lots"] != 0 else order["qty_lots"]
    cause = amend_fault(state, c, slot, price, stop, lots)
    if cause != NONE:
        refuse(state, c, cause)
        return
    more = lots - order["qty_lots"]
    if price == old_price and stop == old_stop and more <= 0:
        hidden = order["leaves_lots"] - order["shown_lots"]
        level = state.levels[nth(order["level"])]
        order["qty_lots"] = lots
        order["leaves_lots"] += more
        order["shown_lots"] = min(order["shown_lots"], order["leaves_lots"])
        now_hidden = order["leaves_lots"] - order["shown_lots"]
        level["hidden_lots"] += now_hidden - hidden
        level["shown_lots"] += more - (now_hidden - hidden)
        tell(state, slot, AMENDED, NONE, lots)
        return
    take_out(state, slot)
    order["qty_lots"] = lots
    order["leaves_lots"] += more
    if waits:
        state.head[0]["stops"] -= 1
        detail["limit_ticks"] = price
        order["rank"] = stop * side_of(order)
        order["shown_lots"] = order["leaves_lots"]
        tell(state, slot, AMENDED, NONE, lots)
        wait_or_trigger(state, slot)
    else:
        order["rank"] = -side_of(order) * price
        order["shown_lots"] = display_of(state, slot)
        tell(state, slot, AMENDED, NONE, lots)
        act(state, slot)


@inner
def begin_canceling(state, c):
    """Begin to end all orders of an owner, or of everyone, on one side or both."""
    head = state.head[0]
    owner, side = np.int64(c["owner"]), np.int64(c["side"])
    if side < -1 or side > 1:
        refuse(state, c, INVALID_CODE)
        return
    if owner >= len(state.suspended) or owner == 0 or owner < EVERYONE or (owner < 0 and c["kind"] != CANCEL_ALL):
        # The anonymous flow is not chained: it ends with everyone's orders.
        refuse(state, c, UNKNOWN_OWNER)
        return
    if c["kind"] == SUSPEND:
        state.suspended[owner] = 1
        side = np.int64(0)
    head["cancel_owner"] = owner
    head["cancel_side"] = side
    head["cursor"] = state.owners[owner, 0] if owner > 0 else 0
    head["stage"] = CANCELING


@inner
def go_on_canceling(state):
    """End orders until all are done, an owner's in the order of their acceptance, everyone's book by book."""
    head = state.head[0]
    side, room = head["cancel_side"], len(state.events) - EVENTS_MARGIN
    if head["cancel_owner"] > 0:
        slot = head["cursor"]
        while slot >= 0:
            if head["event_count"] > room:
                head["cursor"] = slot
                return False
            following = np.int64(state.details[nth(slot)]["owner_next"])
            if side == 0 or side_of(state.orders[nth(slot)]) == side:
                remove(state, slot, CANCELED, MASS_CANCEL)
            slot = following
    else:
        for book in range(4):
            while (side == 0 or side == 1 - 2 * (book & 1)) and state.best[nth(book)] != NO_RANK:
                if head["event_count"] > room:
                    return False
                remove(state, first_at(state, np.int64(book), state.best[nth(book)]), CANCELED, MASS_CANCEL)
    head["stage"] = IDLE
    return True


@inner
def enter_phase(state):
    """Enter the phase that a command or the clock asked for, after an auction if there was one."""
    head = state.head[0]
    if head["auction_lots"] > 0:
        head["reference_ticks"] = head["auction_ticks"]
    head["phase"] = head["next_phase"]
    head["auction_end_ts"] = FOREVER
    if head["phase"] == VOLATILITY_AUCTION and head["volatility_auction_ns"] > 0:
        head["auction_end_ts"] = head["clock_ts"] + head["volatility_auction_ns"]
    price = head["auction_ticks"] if head["auction_lots"] > 0 else 0
    emit(state, PHASE_CHANGED, NONE, 0, head["phase"], 0, 0, price, head["auction_lots"], 0, 0)
    head["stage"] = TRIGGERING


@inner
def begin_phase(state, phase):
    """Leave the present phase: to trade or to close, a crossed book is uncrossed first."""
    head = state.head[0]
    before = head["phase"]
    head["next_phase"] = phase
    head["auction_ticks"] = 0
    head["auction_lots"] = 0
    if before != CONTINUOUS and (phase == CONTINUOUS or phase == CLOSED) and state.best[0] + state.best[1] <= 0:
        head["auction_ticks"] = auction_price(state)
    head["stage"] = UNCROSSING


@inner
def uncross(state):
    """Let the best orders of both sides trade at the auction's price until it is reached; then enter the phase."""
    head = state.head[0]
    price, room = head["auction_ticks"], len(state.events) - EVENTS_MARGIN
    while price != 0 and state.best[0] <= -price and state.best[1] <= price:
        if head["event_count"] > room:
            return False
        bid, ask = first_at(state, np.int64(0), state.best[0]), first_at(state, np.int64(1), state.best[1])
        lots = min(state.orders[nth(bid)]["shown_lots"], state.orders[nth(ask)]["shown_lots"])
        match_id = count_trade(state, price, lots)
        head["auction_lots"] += lots
        take_off(state, bid, lots)
        tell_fill(state, bid, AUCTION, price, lots, match_id)
        take_off(state, ask, lots)
        tell_fill(state, ask, AUCTION, price, lots, match_id)
        refresh_or_release(state, bid)
        refresh_or_release(state, ask)
    if head["event_count"] > room:
        return False
    enter_phase(state)
    return True


@inner
def pass_time(state):
    """Let time pass to `target_ts`: orders end and an interruption's auction is held, each at its instant."""
    head = state.head[0]
    room = len(state.events) - EVENTS_MARGIN
    while True:
        if head["event_count"] > room:
            return False
        first = np.int64(state.expiry[0])
        ends = state.details[nth(first)]["expire_ts"] if head["expiring"] > 0 else np.int64(FOREVER)
        auction = head["auction_end_ts"] if head["phase"] == VOLATILITY_AUCTION else np.int64(FOREVER)
        if min(ends, auction) > head["target_ts"]:
            head["clock_ts"] = head["target_ts"]
            head["after"] = IDLE
            head["stage"] = IDLE
            return True
        if ends <= auction:
            head["clock_ts"] = ends
            remove(state, first, EXPIRED, EXPIRE_TIME)
        else:
            head["clock_ts"] = auction
            head["after"] = EXPIRING
            begin_phase(state, np.int64(CONTINUOUS))
            return True


@inner
def go_on(state):
    """Do the next part of the command in hand; return False if events must be emptied first."""
    head = state.head[0]
    stage = head["stage"]
    if stage == TAKING:
        if not take(state):
            return False
        head["stage"] = TRIGGERING if head["stops"] > 0 else head["after"]
        return True
    if stage == TRIGGERING:
        if head["event_count"] > len(state.events) - EVENTS_MARGIN:
            return False
        # What is triggered may itself trade (stage TAKING) and then comes back here.
        if not elect(state):
            head["stage"] = head["after"]
        return True
    if stage == UNCROSSING:
        return uncross(state)
    if stage == CANCELING:
        return go_on_canceling(state)
    return pass_time(state)


@inner
def do_rarely(state, c):
    """Begin a command that is neither a new order nor a cancel."""
    head, kind = state.head[0], c["kind"]
    if kind == AMEND:
        amend(state, c)
    elif kind == CANCEL_ALL or kind == SUSPEND:
        begin_canceling(state, c)
    elif kind == RELEASE:
        if c["owner"] <= 0 or c["owner"] >= len(state.suspended):
            refuse(state, c, UNKNOWN_OWNER)
        else:
            state.suspended[c["owner"]] = 0
    elif kind == CLOCK:
        if c["ts"] < head["clock_ts"] or c["ts"] >= FOREVER:
            refuse(state, c, INVALID_TIME)
        else:
            head["target_ts"] = c["ts"]
            head["stage"] = EXPIRING
    elif kind == ENTER_PHASE:
        if c["order_type"] < PRE_OPEN or c["order_type"] > CLOSED:
            refuse(state, c, INVALID_CODE)
        elif c["order_type"] != head["phase"]:
            begin_phase(state, np.int64(c["order_type"]))
    elif kind == REFERENCE:
        cause = price_fault(head, c["price_ticks"])
        if cause != NONE:
            refuse(state, c, cause)
        else:
            head["reference_ticks"] = c["price_ticks"]
    else:
        refuse(state, c, INVALID_CODE)


@inner
def settle(state):
    """Finish the command in hand; return False if events must be emptied first."""
    while state.head[0]["stage"] != IDLE:
        if not go_on(state):
            return False
    return True


@inner
def obstacle(state):
    """Return what must be done before the next command: nothing (DONE), empty the events, or make room."""
    head = state.head[0]
    if head["event_count"] > len(state.events) - EVENTS_MARGIN:
        return np.int64(EVENTS_FULL)
    if head["free_orders"] == 0:
        return np.int64(NEEDS_ORDERS)
    # Every stop that one command triggers may come to rest on a page of its own.
    return np.int64(NEEDS_PAGES) if head["free_pages"] <= head["stops"] else np.int64(DONE)


@inlined
def look_ahead(state, c):
    """Bring the order that a later command is about closer to the processor; a wrong guess costs time alone."""
    order_id, directory = c["order_id"], state.id_directory
    place = np.int64(directory[nth((order_id >> ID_SHIFT) & (len(directory) - 1))])
    fetch(state.orders, slot_in(state, max(np.int64(0), place), order_id))


@inner
def run_commands(state, commands, start):
    """Do commands from `start` on; return how many are done, and why it stopped in `head.code`."""
    head = state.head[0]
    i, count = start, len(commands)
    unfiltered = is_unfiltered(head)
    while True:
        if head["stage"] != IDLE:
            # The common case first: an order that trades, in a book without stops.
            if head["stage"] == TAKING and head["stops"] == 0 and take(state):
                head["stage"] = head["after"]
            if not settle(state):
                head["code"] = EVENTS_FULL
                return i
            unfiltered = is_unfiltered(head)
        if i == count:
            head["code"] = DONE
            return i
        code = obstacle(state)
        if code != DONE:
            head["code"] = code
            return i
        look_ahead(state, commands[nth(min(i + LOOK_AHEAD, count - 1))])
        c = commands[nth(i)]
        i += 1
        if c["kind"] == CANCEL:
            cancel(state, c)
        elif unfiltered and is_ordinary(head, c):
            place_ordinary(state, c)
        elif c["kind"] == NEW:
            place(state, c)
        else:
            do_rarely(state, c)
            unfiltered = is_unfiltered(head)


@inner
def submit_one(state, order_id, owner, side, price_ticks, qty_lots, order_type, time_in_force):
    """Place one ordinary order without a record of commands; return why it was not begun (`Progress`).

    It is settled as far as the buffer of events allows; `run` without commands goes on.
    """
    if not settle(state):
        return EVENTS_FULL
    code = obstacle(state)
    if code == DONE:
        c = state.inbox[0]
        c["kind"] = NEW
        c["side"] = side
        c["order_type"] = order_type
        c["time_in_force"] = time_in_force
        c["owner"] = owner
        c["order_id"] = order_id
        c["price_ticks"] = price_ticks
        c["qty_lots"] = qty_lots
        place(state, c)
        settle(state)
    return code


@inner
def withdraw_one(state, order_id, owner):
    """Cancel one order without a record of commands; return why it was not begun (`Progress`)."""
    if not settle(state):
        return EVENTS_FULL
    code = obstacle(state)
    if code == DONE:
        c = state.inbox[0]
        c["kind"] = CANCEL
        c["owner"] = owner
        c["order_id"] = order_id
        cancel(state, c)
    return code


@inner
def copy_levels(state, book, depth):
    """Write price, displayed lots and orders of a side's best levels; return how many there are."""
    count = 0
    rank = state.best[nth(book)]
    while count < len(depth) and rank != NO_RANK:
        level = state.levels[find_level(state, book, rank)]
        depth[count, 0] = rank if book == 1 or book == 2 else -rank
        depth[count, 1] = level["shown_lots"]
        depth[count, 2] = level["orders"]
        count += 1
        rank = next_rank(state, book, rank)
    return count


# Entry points: compiled code that Python calls counts references, which would cost more than all the rest.


def run(state, commands, start):
    """Entry point of `run_commands`."""
    return run_commands(state, commands, start)


def submit(state, order_id, owner, side, price_ticks, qty_lots, order_type, time_in_force):
    """Entry point of `submit_one`."""
    return submit_one(state, order_id, owner, side, price_ticks, qty_lots, order_type, time_in_force)


def withdraw(state, order_id, owner):
    """Entry point of `withdraw_one`."""
    return withdraw_one(state, order_id, owner)


def copy_depth(state, book, depth):
    """Entry point of `copy_levels`."""
    return copy_levels(state, book, depth)
