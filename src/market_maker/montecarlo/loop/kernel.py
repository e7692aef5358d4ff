"""The compiled simulation: the synthetic market, own orders in its book, wake-ups of a strategy, in one loop of time.

Owns the order of events at an instant: first the market, then ends of own orders, requests, the sample, and last the
wake-up. That is the order of a replay (`backtest.kernel`), whose view, messages, ledger, fills and samples are used here;
only who trades with whom is the matching engine's. Knows no files, no Decimal and no particular strategy.

Longer than 500 lines because what happens at one instant calls each other and is compiled as one.
"""

import numpy as np

from market_maker.backtest.exchange.kernel import (
    AMENDED,
    CANCELED,
    EXPIRED,
    NO_FUNDS,
    NO_LIQUIDITY,
    NONE,
    NOT_NOW,
    NOT_THERE,
    NOT_WHOLLY,
    REFUSED,
    REJECTED,
    RESTED,
    WOULD_TAKE,
    end,
    fill,
    fill_resting,
    inverse_scale,
    on_expiry,
    rest,
    take_out,
)
from market_maker.backtest.kernel import WAKES_AT_ONCE_MAX, find_reasons, take_sample
from market_maker.backtest.ladder.kernel import MID, inlined, inner
from market_maker.backtest.ledger.kernel import can_afford, change_open
from market_maker.backtest.log.kernel import note, room_in_log
from market_maker.backtest.messages.kernel import AMEND, STATE, at_ring, deliver, respond
from market_maker.backtest.owner.kernel import best_lots, obey, view_of
from market_maker.backtest.queues.kernel import front_of
from market_maker.backtest.state import FOREVER, Code, FillCause
from market_maker.domain.order import Liquidity, OrderStatus, OrderType, TimeInForce
from market_maker.market_data.feed import kernel as feed
from market_maker.matching import codes
from market_maker.matching.kernel import amend, obstacle, place, settle, withdraw_one
from market_maker.matching.levels.kernel import find_level, next_rank, nth
from market_maker.matching.orders.kernel import find_order
from market_maker.matching.state import NO_RANK
from market_maker.strategies import actions as act
from market_maker.strategies.actions import View
from market_maker.venue.market.kernel import advance_to

REACHED, FULL, AWAKE, ENDLESS = int(Code.REACHED), int(Code.BUFFERS_FULL), int(Code.AWAKE), int(Code.ENDLESS)
TOO_MANY = np.int64(Code.TOO_MANY_MARKS)
MARKET_CODE = 100
"""Codes of the market (`Progress`, NEEDS_POOL) that the caller must deal with come back with this added."""
DONE, EVENTS_FULL = int(codes.Progress.DONE), int(codes.Progress.EVENTS_FULL)
STRANGERS, OWNER = 0, np.int64(1)
TAPE_MARGIN = 1 << 15
"""Rows of the tape that one instant may need: more than the engine's events between two calls."""

EVENT_ACCEPTED, EVENT_FILLED = int(codes.EventKind.ACCEPTED), int(codes.EventKind.FILLED)
EVENT_CANCELED, EVENT_EXPIRED = int(codes.EventKind.CANCELED), int(codes.EventKind.EXPIRED)
REQUESTED, SELF_TRADE = int(codes.Cause.REQUESTED), int(codes.Cause.SELF_TRADE)
CAUSE_FORCE, CAUSE_WHOLLY = int(codes.Cause.TIME_IN_FORCE), int(codes.Cause.CANNOT_FILL_COMPLETELY)
CAUSE_LIQUIDITY, CAUSE_THERE = int(codes.Cause.NO_LIQUIDITY), int(codes.Cause.NOT_THERE)
TOOK = int(codes.LiquidityCode.TAKER)
NEW_COMMAND, AMEND_COMMAND = int(codes.Command.NEW), int(codes.Command.AMEND)

TRADE_ROW, ADD_ROW, CANCEL_ROW = np.int64(feed.TRADE), np.int64(feed.ADD), np.int64(feed.CANCEL)
FILL_ROW, SNAPSHOT_ROW = np.int64(feed.FILL), np.int64(feed.SNAPSHOT)
# Not plain integers, as in `backtest.exchange.kernel`.
NEW, PARTIALLY_FILLED = np.int64(OrderStatus.NEW), np.int64(OrderStatus.PARTIALLY_FILLED)
PENDING_NEW = np.int64(OrderStatus.PENDING_NEW)
MARKET, GTC, GTD = int(OrderType.MARKET), int(TimeInForce.GTC), int(TimeInForce.GTD)
TAKER, TAKEN, AT = np.int64(Liquidity.TAKER), np.int64(FillCause.TAKEN), np.int64(FillCause.TRADE_AT)
WAKE_BOOK, WAKE_TRADE = act.WAKE_BOOK, act.WAKE_TRADE
ZERO, NOWHERE = np.int64(0), np.int64(-1)


# --- what the market looks like ---------------------------------------------------------------------------------------


@inner
def own_lots(state, s, price):
    """Return what own orders have at a price of a side."""
    lots = ZERO
    for i in range(state.resting_count[0, s]):
        order = state.orders[0, state.resting[0, s, i]]
        if order["price_ticks"] == price:
            lots += order["leaves_lots"]
    return lots


@inner
def has_stranger(matching, s, rank):
    """Return whether an order of a stranger stands at an occupied level."""
    slot = np.int64(matching.levels[find_level(matching, np.int64(s), rank)]["first"])
    while slot >= 0:
        order = matching.orders[nth(slot)]
        if order["owner"] == STRANGERS:
            return True
        slot = np.int64(order["next"])
    return False


@inner
def shown_from(matching, trader, s, rank):
    """Return the first rank of a side, from an occupied one on, that the view shows; NO_RANK without one."""
    if trader.head[0]["shows_own"] == 1 or matching.owners[OWNER, 0] < 0:
        return rank
    while rank != NO_RANK and not has_stranger(matching, s, rank):
        rank = next_rank(matching, np.int64(s), rank)
    return rank


@inner
def best_shown(matching, trader, s):
    """Return the best price of a side that the view shows, 0 without one."""
    rank = shown_from(matching, trader, s, np.int64(matching.best[nth(s)]))
    if rank == NO_RANK:
        return ZERO
    return rank if s == 1 else -rank


@inner
def lots_shown(state, matching, trader, s, price):
    """Return the lots that the view shows at an occupied level: all, or those of strangers alone; 0 at no price."""
    if price == 0:
        return ZERO
    lots = np.int64(matching.levels[find_level(matching, np.int64(s), price if s == 1 else -price)]["shown_lots"])
    return lots if trader.head[0]["shows_own"] == 1 else lots - own_lots(state, s, price)


@inner
def copy_shown(state, matching, trader, s, levels):
    """Write the best levels of a side that the view shows, zeros after the last."""
    rank = np.int64(matching.best[nth(s)])
    for i in range(len(levels)):
        rank = shown_from(matching, trader, s, rank)
        price = (rank if s == 1 else -rank) if rank != NO_RANK else ZERO
        levels[i]["price_ticks"] = price
        levels[i]["qty_lots"] = lots_shown(state, matching, trader, s, price)
        if rank != NO_RANK:
            rank = next_rank(matching, np.int64(s), rank)


@inlined
def mark_mid(state, bid, ask):
    """Take down the mid; the last one stays while a side is empty."""
    if bid != 0 and ask != 0:
        state.exchange.extent[MID] = bid + ask


@inner
def look_at_market(state, matching, trader, ts):
    """Take down best prices and mid after an event; one that changed may wake the strategy."""
    head, clock = trader.head[0], state.clock[0]
    bid, ask = best_shown(matching, trader, ZERO), best_shown(matching, trader, np.int64(1))
    state.exchange.best[0], state.exchange.best[1] = bid, ask
    mark_mid(state, bid, ask)
    if bid != head["bid_ticks"] or ask != head["ask_ticks"]:
        head["bid_ticks"], head["ask_ticks"] = bid, ask
        state.local.best[0], state.local.best[1] = bid, ask
        wake_by(clock, WAKE_BOOK, ts)


@inlined
def wake_by(clock, reason, ts):
    """Note that the market wakes the strategy, if it asks for that."""
    if clock["wakes_on"] & reason:
        clock["market_reasons"] |= reason
        clock["market_ts"] = ts


# --- the tape ---------------------------------------------------------------------------------------------------------


@inlined
def write_row(trader, ts, kind, side, price, lots, order_id):
    """Write a row of the tape, if one is kept."""
    head = trader.head[0]
    if head["records"] == 0:
        return
    row = trader.tape[head["tape_count"]]
    head["tape_count"] += 1
    row["ts"] = ts
    row["kind"] = kind
    row["side"] = side
    row["price_ticks"] = price
    row["qty_lots"] = lots
    row["order_id"] = order_id


@inlined
def write_arrived(trader):
    """Write the stranger's order that came to rest, if there is one."""
    head = trader.head[0]
    if head["arrived_lots"] > 0:
        write_row(
            trader, head["arrived_ts"], ADD_ROW, head["arrived_side"], head["arrived_ticks"], head["arrived_lots"],
            head["arrived_id"],
        )  # fmt: skip
    head["arrived_lots"] = 0


@inner
def write_event(trader, event):
    """Write what a recorder sees of an event of the engine: the book is that of strangers, the trades are all.

    Strangers are numbered -1, -2, ... by the engine and 1, 2, ... on the tape.
    """
    head, kind, is_own = trader.head[0], event["kind"], event["owner"] != STRANGERS
    order_id, ts = -event["order_id"], event["ts"]
    if kind == EVENT_FILLED:
        if event["liquidity"] == TOOK:
            write_row(trader, ts, TRADE_ROW, event["side"], event["price_ticks"], event["qty_lots"], ZERO)
            if not is_own:
                head["arrived_lots"] = event["leaves_lots"]
        elif not is_own:
            write_row(trader, ts, FILL_ROW, event["side"], event["price_ticks"], event["qty_lots"], order_id)
        return
    if kind == EVENT_EXPIRED and not is_own:
        # Of a stranger only what came immediate or cancel expires: it never rested.
        head["arrived_lots"] = 0
        return
    write_arrived(trader)
    if is_own:
        return
    if kind == EVENT_ACCEPTED:
        head["arrived_id"], head["arrived_side"], head["arrived_ts"] = order_id, event["side"], ts
        head["arrived_ticks"], head["arrived_lots"] = event["price_ticks"], event["leaves_lots"]
    elif kind == EVENT_CANCELED:
        write_row(trader, ts, CANCEL_ROW, event["side"], event["price_ticks"], event["qty_lots"], order_id)


@inner
def write_book(matching, trader):
    """Write the book as the tape begins with it: every order of a stranger, in the order of its queue."""
    for s in range(2):
        rank = np.int64(matching.best[nth(s)])
        while rank != NO_RANK:
            slot = np.int64(matching.levels[find_level(matching, np.int64(s), rank)]["first"])
            while slot >= 0:
                order = matching.orders[nth(slot)]
                if order["owner"] == STRANGERS:
                    if trader.head[0]["tape_count"] >= len(trader.tape):
                        return False
                    price = rank if s == 1 else -rank
                    write_row(
                        trader, matching.head[0]["clock_ts"], SNAPSHOT_ROW, np.int64(1 - 2 * s), price,
                        np.int64(order["leaves_lots"]), -order["order_id"],
                    )  # fmt: skip
                slot = np.int64(order["next"])
            rank = next_rank(matching, np.int64(s), rank)
    return True


# --- own orders -------------------------------------------------------------------------------------------------------


@inner
def slot_of(state, order_id):
    """Return the slot of an own order."""
    for i in range(state.head[0]["open_count"]):
        slot = np.int64(state.open_slots[0, i])
        if state.orders[0, slot]["order_id"] == order_id:
            return slot
    return NOWHERE


@inner
def count_ahead(state, matching, slot):
    """Take down the lots of strangers ahead of an own order at its price."""
    place_of = find_order(matching, np.int64(state.orders[0, slot]["order_id"]))
    if place_of < 0:
        return
    lots = ZERO
    before = np.int64(matching.orders[nth(place_of)]["before"])
    while before >= 0:
        order = matching.orders[nth(before)]
        if order["owner"] == STRANGERS:
            lots += order["shown_lots"]
        before = np.int64(order["before"])
    front_of(state, ZERO, slot)["lots"] = lots


@inner
def count_all_ahead(state, matching):
    """Take down the lots ahead of every own order that rests, for a log that tells of them when its owner decides."""
    if state.clock[0]["logs"] != 0:
        for s in range(2):
            for i in range(state.resting_count[0, s]):
                count_ahead(state, matching, np.int64(state.resting[0, s, i]))


@inner
def stand(state, matching, ts, slot, what):
    """Let an order that the engine has put into its queue rest, and tell its owner."""
    order = state.orders[0, slot]
    if order["status"] == PENDING_NEW:
        order["status"] = NEW
    rest(state, ZERO, slot, ts)
    count_ahead(state, matching, slot)
    order["joined_front_lots"] = front_of(state, ZERO, slot)["lots"]
    note(state, ZERO, ts, slot, what, order["price_ticks"], order["leaves_lots"], NONE, state.exchange)
    respond(state, ZERO, ts, STATE, slot, NONE, ZERO, ZERO, ZERO)


@inner
def resting_place(state, s, slot):
    """Return the place of an own order among the resting ones of its side, -1 if it does not rest."""
    for i in range(state.resting_count[0, s]):
        if state.resting[0, s, i] == slot:
            return np.int64(i)
    return NOWHERE


@inner
def look_before_fill(state, matching, trader, i, s, price):
    """Take down best prices and mid right before event `i` fills an own order of side `s`, of what the view shows.

    The other side is as it was before the order that takes. On this side the next stranger whom the same order reaches
    stands at the best price; if it reaches none, that is what is left now.
    """
    best = price if trader.head[0]["shows_own"] == 1 else ZERO
    is_empty = False
    for j in range(i + 1, matching.head[0]["event_count"]):
        event = matching.events[j]
        if best != 0:
            break
        if event["kind"] == EVENT_FILLED:
            if event["liquidity"] != TOOK and event["owner"] == STRANGERS:
                best = np.int64(event["price_ticks"])
        elif event["kind"] == EVENT_ACCEPTED:
            # Comes at the same instant only to a side that was taken empty.
            is_empty = event["owner"] == STRANGERS and (event["side"] > 0) == (s == 0)
            break
        elif event["kind"] != EVENT_EXPIRED:
            break
    if best == 0 and not is_empty:
        best = best_shown(matching, trader, s)
    state.exchange.best[s] = best
    mark_mid(state, state.exchange.best[0], state.exchange.best[1])


@inner
def on_own_event(state, matching, trader, i):
    """Let an event of an own order change the ledger and its owner be told."""
    event = matching.events[i]
    kind, cause, ts = event["kind"], event["cause"], event["ts"]
    slot = slot_of(state, event["order_id"])
    if slot < 0:
        return
    s = ZERO if event["side"] > 0 else np.int64(1)
    lots, price = event["qty_lots"], event["price_ticks"]
    if kind == EVENT_FILLED:
        if state.clock[0]["fill_count"] >= len(state.fills) - 1:
            state.clock[0]["refusal"] = TOO_MANY
            return
        if event["liquidity"] == TOOK:
            trader.head[0]["taken_lots"] += lots
            fill(state, ZERO, ts, slot, price, lots, TAKER, TAKEN)
            return
        look_before_fill(state, matching, trader, i, s, price)
        front_of(state, ZERO, slot)["lots"] = 0
        count_ahead(state, matching, slot)
        fill_resting(state, ZERO, ts, s, resting_place(state, s, slot), lots, AT)
    elif kind == EVENT_EXPIRED:
        reason = NONE
        if cause == CAUSE_FORCE:
            reason = NOT_NOW
        elif cause == CAUSE_WHOLLY:
            reason = NOT_WHOLLY
        elif cause == CAUSE_LIQUIDITY:
            reason = NO_LIQUIDITY
        elif cause == CAUSE_THERE:
            reason = NOT_THERE
        end(state, ZERO, ts, slot, EXPIRED, reason)
    elif kind == EVENT_CANCELED and cause == SELF_TRADE:
        trader.head[0]["own_meetings"] += 1
        if resting_place(state, s, slot) >= 0:
            take_out(state, ZERO, slot)
        end(state, ZERO, ts, slot, CANCELED, NONE)


@inner
def absorb(state, matching, trader):
    """Take the events out of the engine's buffer."""
    engine, head, clock = matching.head[0], trader.head[0], state.clock[0]
    for i in range(engine["event_count"]):
        event = matching.events[i]
        if event["kind"] == EVENT_FILLED and event["liquidity"] == TOOK:
            if event["side"] > 0:
                clock["bought_lots"] += event["qty_lots"]
            else:
                clock["sold_lots"] += event["qty_lots"]
            clock["last_trade_ticks"] = event["price_ticks"]
            clock["trades"] += 1
            wake_by(clock, WAKE_TRADE, event["ts"])
        if head["records"] == 1:
            write_event(trader, event)
        if event["owner"] != STRANGERS:
            on_own_event(state, matching, trader, i)
    head["events"] += engine["event_count"]
    clock["events"] = head["events"]
    engine["event_count"] = 0


@inner
def finish_command(state, matching, trader, ts):
    """Let the engine finish what it was told, and look at what it has come to."""
    while True:
        is_settled = settle(matching)
        absorb(state, matching, trader)
        if is_settled:
            break
    write_arrived(trader)
    look_at_market(state, matching, trader, ts)


@inlined
def is_marketable(matching, side, price):
    """Return whether an order at a price would trade at once."""
    return matching.best[nth(1 if side > 0 else 0)] <= side * price


@inner
def count_meeting(state, matching, trader, side, price):
    """Count a request that would trade with nobody but own orders: a replay knows none of these."""
    other = np.int64(1) if side > 0 else ZERO
    met = state.own_best[other, 0]
    if trader.head[0]["shows_own"] == 1 or not is_marketable(matching, side, price):
        return
    best = trader.head[0]["ask_ticks"] if side > 0 else trader.head[0]["bid_ticks"]
    if abs(met) != FOREVER and side * (price - met) >= 0 and (best == 0 or side * (price - best) < 0):
        trader.head[0]["own_meetings"] += 1


@inner
def on_new_order(state, matching, trader, ts, slot):
    """An order reaches the venue: funds and post-only as in a replay; the engine does the rest."""
    order = state.orders[0, slot]
    side, is_market = np.int64(order["side"]), order["order_type"] == MARKET
    rank = matching.best[nth(1 if side > 0 else 0)]
    if is_market and rank == NO_RANK:
        end(state, ZERO, ts, slot, EXPIRED, NO_LIQUIDITY)
        return
    if order["time_in_force"] == GTD and order["expire_ts"] <= ts:
        end(state, ZERO, ts, slot, EXPIRED, NOT_NOW)
        return
    price = side * rank if is_market else order["price_ticks"]
    if not can_afford(state.head[0], inverse_scale(state, ZERO), side, price, order["qty_lots"]):
        end(state, ZERO, ts, slot, REJECTED, NO_FUNDS)
        return
    if not is_market:
        count_meeting(state, matching, trader, side, price)
    if order["post_only"] == 1 and is_marketable(matching, side, price):
        end(state, ZERO, ts, slot, REJECTED, WOULD_TAKE)
        return
    command, head = trader.command[0], trader.head[0]
    force = order["time_in_force"]
    command["kind"] = NEW_COMMAND
    command["side"] = side
    command["order_type"] = order["order_type"]
    # Ends of own orders are the loop's.
    command["time_in_force"] = GTC if force == GTD else force
    command["owner"] = OWNER
    command["order_id"] = order["order_id"]
    command["price_ticks"] = order["price_ticks"]
    command["qty_lots"] = order["qty_lots"]
    command["post_only"] = order["post_only"]
    command["miss_e9"] = head["miss_e9"]
    command["impact_e9"] = head["impact_e9"]
    command["self_trade"] = head["self_trade"]
    place(matching, command)
    finish_command(state, matching, trader, ts)
    if find_order(matching, np.int64(order["order_id"])) >= 0:
        stand(state, matching, ts, slot, RESTED)


@inner
def withdraw(state, matching, trader, ts, slot):
    """Take an own order out of the engine's book."""
    count_ahead(state, matching, slot)
    withdraw_one(matching, np.int64(state.orders[0, slot]["order_id"]), OWNER)
    absorb(state, matching, trader)


@inner
def on_amend(state, matching, trader, ts, slot, price, qty):
    """Change a resting order, or refuse and leave it as it was; the rules are those of `backtest.exchange.kernel.on_amend`."""
    head, order = state.head[0], state.orders[0, slot]
    side, scale = np.int64(order["side"]), inverse_scale(state, ZERO)
    leaves = qty - (order["qty_lots"] - order["leaves_lots"])
    if leaves <= 0:
        cancel(state, matching, trader, ts, slot)
        return
    command = trader.command[0]
    command["kind"] = AMEND_COMMAND
    command["owner"] = OWNER
    command["order_id"] = order["order_id"]
    command["price_ticks"] = price
    command["qty_lots"] = qty
    command["time_in_force"] = GTC
    if price == order["price_ticks"] and leaves <= order["leaves_lots"]:
        amend(matching, command)
        finish_command(state, matching, trader, ts)
        count_ahead(state, matching, slot)
        change_open(head, scale, side, price, order["leaves_lots"], leaves)
        order["leaves_lots"], order["qty_lots"] = leaves, qty
        note(state, ZERO, ts, slot, AMENDED, price, leaves, NONE, state.exchange)
        respond(state, ZERO, ts, STATE, slot, NONE, ZERO, ZERO, ZERO)
        look_at_market(state, matching, trader, ts)
        return
    change_open(head, scale, side, order["price_ticks"], order["leaves_lots"], ZERO)
    affords = can_afford(head, scale, side, price, leaves)
    change_open(head, scale, side, order["price_ticks"], ZERO, order["leaves_lots"])
    count_meeting(state, matching, trader, side, price)
    if not affords or (order["post_only"] == 1 and is_marketable(matching, side, price)):
        reason = WOULD_TAKE if affords else NO_FUNDS
        count_ahead(state, matching, slot)
        note(state, ZERO, ts, slot, REFUSED, price, leaves, reason, state.exchange)
        respond(state, ZERO, ts, AMEND, slot, reason, ZERO, ZERO, ZERO)
        return
    take_out(state, ZERO, slot)
    order["price_ticks"], order["qty_lots"], order["leaves_lots"] = price, qty, leaves
    amend(matching, command)
    finish_command(state, matching, trader, ts)
    if find_order(matching, np.int64(order["order_id"])) >= 0:
        stand(state, matching, ts, slot, AMENDED)
        look_at_market(state, matching, trader, ts)


@inner
def cancel(state, matching, trader, ts, slot):
    """End a resting order at the request of its owner."""
    withdraw(state, matching, trader, ts, slot)
    take_out(state, ZERO, slot)
    end(state, ZERO, ts, slot, CANCELED, NONE)
    look_at_market(state, matching, trader, ts)


@inner
def arrive(state, matching, trader):
    """Let the request that is due first reach the venue; one about an order that is gone changes nothing."""
    head, clock = state.head[0], state.clock[0]
    request = state.requests[0, head["request_first"]]
    head["request_count"] -= 1
    following = at_ring(head["request_first"] + 1, state.requests.shape[1])
    head["request_first"] = following if head["request_count"] > 0 else 0
    clock["agenda_count"] = 1 if head["request_count"] > 0 else 0
    if head["request_count"] > 0:
        state.agenda_ts[0] = state.requests[0, following]["arrival_ts"]
    slot, kind, ts = np.int64(request["slot"]), np.int64(request["kind"]), request["arrival_ts"]
    if kind == STATE:
        on_new_order(state, matching, trader, ts, slot)
        return
    order = state.orders[0, slot]
    if order["order_id"] != request["order_id"] or (order["status"] != NEW and order["status"] != PARTIALLY_FILLED):
        return
    if kind == AMEND:
        on_amend(state, matching, trader, ts, slot, request["price_ticks"], request["qty_lots"])
    else:
        cancel(state, matching, trader, ts, slot)


@inner
def expire(state, matching, trader, ts):
    """End own orders that are good till this instant."""
    for s in range(2):
        for i in range(state.resting_count[0, s]):
            slot = np.int64(state.resting[0, s, i])
            order = state.orders[0, slot]
            if order["time_in_force"] == GTD and order["expire_ts"] <= ts:
                withdraw(state, matching, trader, ts, slot)
    on_expiry(state, ts)
    look_at_market(state, matching, trader, ts)


# --- time -------------------------------------------------------------------------------------------------------------


@inner
def step(state, matching, flow, trader, ts):
    """Let the market go on to `ts`, its next event at most; return DONE, or what the caller must do first."""
    head = trader.head[0]
    if head["frozen"] == 1:
        matching.head[0]["clock_ts"] = max(matching.head[0]["clock_ts"], ts)
        head["next_ts"] = FOREVER
        return np.int64(DONE)
    while True:
        code = advance_to(matching, flow, ts)
        if matching.head[0]["event_count"] > 0:
            absorb(state, matching, trader)
            if matching.head[0]["stage"] == 0:
                write_arrived(trader)
            look_at_market(state, matching, trader, matching.head[0]["clock_ts"])
        if code != EVENTS_FULL:
            break
    if flow.head[0]["refilled"] != head["refilled"]:
        # A side was empty for no time at all, and its best price was another one.
        head["refilled"] = flow.head[0]["refilled"]
        wake_by(state.clock[0], WAKE_BOOK, matching.head[0]["clock_ts"])
    head["next_ts"] = min(flow.head[0]["next_ts"], flow.head[0]["step_ts"])
    return code


@inner
def run_venue(state, matching, flow, trader, stop):
    """Move the venue up to `stop` inclusive: of each instant the market, expiries, requests and the sample.

    Stops earlier, with REACHED, at what wakes the strategy.
    """
    clock = state.clock[0]
    # An instant may fill each own order, and what one takes is bounded by the room after this.
    room = len(state.fills) // 2
    log_room = room_in_log(state)
    tape_room = len(trader.tape) - TAPE_MARGIN if trader.head[0]["records"] == 1 else FOREVER
    while True:
        if clock["refusal"] != REACHED:
            return np.int64(clock["refusal"])
        if clock["fill_count"] >= room or clock["sample_count"] >= len(state.samples) or clock["log_count"] >= log_room:
            return np.int64(FULL)
        if trader.head[0]["tape_count"] >= tape_room:
            return np.int64(FULL)
        if clock["market_reasons"] != 0:
            stop = min(stop, clock["market_ts"])
        request_ts = state.agenda_ts[0] if clock["agenda_count"] > 0 else FOREVER
        limit = min(stop, request_ts, clock["next_sample_ts"], clock["next_answer_ts"], clock["next_expiry_ts"])
        due = min(limit, trader.head[0]["next_ts"])
        code = step(state, matching, flow, trader, due)
        if code != DONE:
            return MARKET_CODE + code
        if due < limit or trader.head[0]["next_ts"] <= limit:
            continue
        if clock["next_expiry_ts"] == limit or request_ts == limit:
            code = obstacle(matching)
            if code != DONE:
                return MARKET_CODE + code
            if clock["next_expiry_ts"] == limit:
                expire(state, matching, trader, limit)
            else:
                arrive(state, matching, trader)
        elif clock["next_sample_ts"] == limit:
            take_sample(state, limit)
        else:
            return np.int64(REACHED)


@inner
def show_levels(state, matching, trader):
    """Write the levels that the strategy looks at."""
    copy_shown(state, matching, trader, ZERO, state.view_bids)
    copy_shown(state, matching, trader, np.int64(1), state.view_asks)


@inner
def view_now(state, matching, trader):
    """Return what the strategy sees: as in a replay, with the lots of the engine's book."""
    show_levels(state, matching, trader)
    count_all_ahead(state, matching)
    seen = view_of(state, ZERO, state.reasons[0], best_lots(state.local))
    return View(
        seen.now_ts,
        seen.wake_reason,
        seen.best_bid_ticks,
        lots_shown(state, matching, trader, ZERO, seen.best_bid_ticks),
        seen.best_ask_ticks,
        lots_shown(state, matching, trader, np.int64(1), seen.best_ask_ticks),
        seen.position_lots,
        seen.cash_tick_lots,
        seen.fees_tick_lots,
        seen.balance_tick_lots,
        seen.last_trade_ticks,
        seen.bought_lots,
        seen.sold_lots,
        seen.trades,
        seen.bids,
        seen.asks,
        seen.orders,
        seen.instruments,
    )


@inner
def simulate(state, matching, flow, trader, nothing, strategy, params, memory, until):
    """Do what `run` says."""
    clock = state.clock[0]
    # What the caller has changed of the market (conditions, a jump) counts from now on.
    code = step(state, matching, flow, trader, np.int64(matching.head[0]["clock_ts"]))
    if code != DONE:
        return MARKET_CODE + code
    while True:
        next_wake_ts = state.wake_ts[0] if clock["wake_count"] > 0 else FOREVER
        stop = min(until, next_wake_ts)
        code = run_venue(state, matching, flow, trader, stop)
        if code != REACHED:
            return code
        stop = min(stop, clock["next_answer_ts"])
        if clock["market_reasons"] != 0:
            stop = min(stop, clock["market_ts"])
        clock["clock_ts"] = max(clock["clock_ts"], stop)
        if find_reasons(state, nothing, stop):
            if clock["wakes_at_once"] > WAKES_AT_ONCE_MAX:
                return np.int64(ENDLESS)
            if clock["hands_over"] == 1:
                return np.int64(AWAKE)
            state.actions[0]["kind"] = 0
            strategy(view_now(state, matching, trader), params[0], memory[0], state.actions)
            code = obey(state, ZERO)
            if code != REACHED:
                return code
            continue
        if stop == until:
            deliver(state, ZERO, stop)
            return np.int64(REACHED)


@inner
def write_numbers(state, matching, trader, numbers):
    """Do what `look` says."""
    state.actions[0]["kind"] = 0
    view = view_now(state, matching, trader)
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


@inner
def begin_run(state, matching, trader):
    """Take down what the market looks like before the first event; False when the tape is too short for the book."""
    look_at_market(state, matching, trader, np.int64(matching.head[0]["clock_ts"]))
    return trader.head[0]["records"] == 0 or write_book(matching, trader)


# Entry points: compiled code that Python calls counts references, and must not be handed arrays by code that does not.


def run(state, matching, flow, trader, nothing, strategy, params, memory, until):
    """Simulate up to `until` inclusive, waking the strategy; return a Code, or MARKET_CODE and what the market needs.

    nothing : an empty stretch of a feed. With BUFFERS_FULL the caller empties fills, samples, log and tape, with AWAKE it
    wakes the strategy (`look`, `obey`), with what the market needs it makes room, then calls again: nothing is lost or
    done twice.
    """
    return simulate(state, matching, flow, trader, nothing, strategy, params, memory, until)


def begin(state, matching, trader):
    """Entry point of `begin_run`."""
    return begin_run(state, matching, trader)


def look(state, matching, trader, numbers):
    """Write what the strategy sees after AWAKE; numbers : (14,) int64, the first fields of `View`."""
    write_numbers(state, matching, trader, numbers)
