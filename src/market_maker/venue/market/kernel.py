"""The synthetic market of one pair: the invented participants' flow and the matching engine in one loop of time.

Owns who comes next, where new orders stand, and when impact moves the reference price. Knows no accounts, no latency and
no wall clock; own commands are done by the matching engine between two calls. Interpreted and compiled form are the same
code.

When the buffer of events is full, or memory must grow, the loop stops between two events and says so; called again, it
goes on where it was, so that how time is cut into calls changes nothing.
"""

import numpy as np

from market_maker.matching.codes import EngineOrderType, Phase, Progress, Stage
from market_maker.matching.kernel import obstacle, settle, submit_one, withdraw_one
from market_maker.matching.levels.kernel import find_level, inlined, inner, next_rank, nth
from market_maker.matching.orders.kernel import find_order, price_of, side_of
from market_maker.matching.state import NO_RANK, PRICE_TICKS_MAX
from market_maker.synthetic.draws.kernel import SHIFT
from market_maker.synthetic.flow.kernel import (
    CANCEL,
    LIMIT,
    NOTHING,
    PULL,
    age,
    choose,
    distance,
    draw,
    draw_bits,
    drop,
    is_canceled,
    joins,
    leaves,
    limit_side,
    limit_size,
    market_size,
    metaorder_side,
    plan,
    pool,
    remember,
    reset_plan,
    take_step,
    takes,
)
from market_maker.synthetic.reference.kernel import move, take_impact

DONE, EVENTS_FULL, NEEDS_POOL = int(Progress.DONE), int(Progress.EVENTS_FULL), 10
"""NEEDS_POOL comes after the codes of the matching engine."""
EXPIRING = int(Stage.EXPIRING)
CONTINUOUS, VOLATILITY_AUCTION, HALT = int(Phase.CONTINUOUS), int(Phase.VOLATILITY_AUCTION), int(Phase.HALT)
LIMIT_ORDER = int(EngineOrderType.LIMIT)
GTC, IOC = 0, 1
FLOW = 0
"""Owner of the flow: the engine's anonymous one, whose orders are the plainest."""


@inlined
def reference_ticks(flow):
    """Return the reference price in ticks, rounded down."""
    return flow.head[0]["reference_q20"] >> SHIFT


@inner
def anchors(matching, flow):
    """Return the best bid and ask that orders are placed by; what is missing is made up from the other side.

    A best price so far away that the flow would never have put it there counts as missing: all of the flow's orders on
    that side are gone, and what is left is nothing to quote around.
    """
    rules = flow.rules[0]
    step, reach = rules["step_ticks"], 4 * rules["levels"] * rules["step_ticks"]
    bid, ask = -matching.best[0], matching.best[1]
    price = reference_ticks(flow)
    no_bid, no_ask = bid == -NO_RANK, ask == NO_RANK
    if not no_bid and not no_ask and ask - bid > reach:
        no_bid = price - bid > ask - price
        no_ask = not no_bid
    if no_bid and no_ask:
        bid = price // step * step
        ask = bid + step
    elif no_bid:
        bid = (ask - 1) // step * step
    elif no_ask:
        ask = (bid // step + 1) * step
    return bid, ask, no_bid, no_ask


@inlined
def gap(flow, bid, ask):
    """Return how far the reference price is above the mid, in steps."""
    twice = (flow.head[0]["reference_q20"] >> (SHIFT - 1)) - bid - ask
    return 0.5 * twice / flow.rules[0]["step_ticks"]


@inner
def grid_price(flow, side, away, bid, ask):
    """Return the price of a limit order `away` steps from the other side's best price, on the grid of steps.

    No bid is below the first step and no ask below the second, so that there is always room for both.
    """
    step = flow.rules[0]["step_ticks"]
    if side > 0:
        return max(step, (ask - 1) // step * step - (away - 1) * step)
    return max(2 * step, (bid // step + away) * step)


@inner
def first_order(flow):
    """Return side, price and size of the next order of the first book: around the reference price, on both sides in turn."""
    head, step = flow.head[0], flow.rules[0]["step_ticks"]
    bid = reference_ticks(flow) // step * step
    side = np.int64(1) - 2 * (head["opened"] & 1)
    head["opened"] += 1
    price = grid_price(flow, side, distance(flow), bid, bid + step)
    return side, price, limit_size(flow)


@inlined
def standing(matching, side, price):
    """Return the lots displayed at a price of a side."""
    level = find_level(matching, np.int64(0 if side > 0 else 1), np.int64(-price if side > 0 else price))
    return np.int64(0) if level < 0 else matching.levels[nth(level)]["shown_lots"]


@inner
def limit_order(matching, flow):
    """Return side, price and size of a limit order; an empty side is served first. Size 0 is for none."""
    conditions = flow.conditions[0]
    bid, ask, no_bid, no_ask = anchors(matching, flow)
    side = limit_side(flow, gap(flow, bid, ask))
    away = distance(flow)
    lots = limit_size(flow)
    if no_bid != no_ask:
        side = 1 if no_bid else -1
    elif away > conditions["levels_max"]:
        lots = 0
    price = grid_price(flow, side, away + conditions["distance_steps"], bid, ask)
    if flow.rules[0]["queue_lots"] != 0 and no_bid == no_ask:
        behind = np.int64(price < bid) if side > 0 else np.int64(price > ask)
        if not joins(flow, standing(matching, side, price), behind):
            lots = 0
    return side, price, lots


@inner
def market_order(matching, flow, pulls):
    """Return side, price and size of a market order: a limit order, immediate or cancel, that reaches so far into the book."""
    rules = flow.rules[0]
    bid, ask, no_bid, no_ask = anchors(matching, flow)
    steps = gap(flow, bid, ask)
    if pulls:
        side = 1 if steps > 0.0 else -1
    else:
        side = metaorder_side(flow, steps)
        if rules["queue_lots"] != 0 and not takes(flow, standing(matching, -side, ask if side > 0 else bid)):
            return side, np.int64(1), np.int64(0)
        remember(flow, side)
    lots = market_size(flow)
    if matching.head[0]["phase"] != CONTINUOUS or (no_ask if side > 0 else no_bid):
        lots = 0
    reach = rules["reach_steps"] * rules["step_ticks"]
    price = ask + reach if side > 0 else bid - reach
    return side, min(np.int64(PRICE_TICKS_MAX), max(np.int64(1), price)), lots


@inner
def send(matching, flow, side, price, lots, force):
    """Give an order to the engine; one that rests is pooled."""
    if lots == 0 or price <= 0 or price > PRICE_TICKS_MAX:
        return
    numbered = matching.head[0]["numbered"]
    submit_one(
        matching, np.int64(0), np.int64(FLOW), np.int64(side), price, lots, np.int64(LIMIT_ORDER), np.int64(force)
    )
    order_id = -matching.head[0]["numbered"]
    if force == GTC and order_id != -numbered:
        flow.head[0]["limits"] += 1
        slot = find_order(matching, order_id)
        if slot >= 0:
            pool(flow, order_id, slot)


@inner
def is_last(matching, order):
    """Tell whether an order is all that its side has."""
    book = np.int64(order["book"])
    if order["rank"] != matching.best[nth(book)] or matching.levels[nth(order["level"])]["orders"] > 1:
        return False
    return next_rank(matching, book, order["rank"]) == NO_RANK


@inner
def come_cancel(matching, flow):
    """Propose to cancel an order of the pool; one that is gone already is forgotten.

    That the pool holds orders that are gone changes no law: a proposal that hits one is no cancel, and the intensity of
    proposals counts them.
    """
    place = draw_bits(flow) % flow.head[0]["pooled"]
    entry = flow.pool[nth(place)]
    order_id = entry["order_id"]
    order = matching.orders[nth(entry["slot"])]
    if order["order_id"] != order_id:
        drop(flow, place)
        return
    bid, ask, _, _ = anchors(matching, flow)
    side, price, step = side_of(order), price_of(order), flow.rules[0]["step_ticks"]
    ahead = ask - price if side > 0 else price - bid
    stale = side * (price - reference_ticks(flow)) > flow.rules[0]["stale_steps"] * step
    cancels = is_canceled(flow, (ahead + step - 1) // step, stale)
    if cancels and not stale and flow.rules[0]["queue_lots"] != 0:
        lots = matching.levels[nth(order["level"])]["shown_lots"]
        cancels = leaves(flow, lots, np.int64(order["rank"] != matching.best[nth(order["book"])]))
    if cancels and not is_last(matching, order):
        withdraw_one(matching, order_id, np.int64(FLOW))
        drop(flow, place)
        flow.head[0]["cancels"] += 1


@inner
def compact(matching, flow):
    """Forget every order of the pool that is gone; return whether there is room now."""
    head = flow.head[0]
    kept = np.int64(0)
    for place in range(head["pooled"]):
        entry = flow.pool[nth(place)]
        if matching.orders[nth(entry["slot"])]["order_id"] == entry["order_id"]:
            target = flow.pool[nth(kept)]
            target["order_id"] = entry["order_id"]
            target["slot"] = entry["slot"]
            kept += 1
    head["pooled"] = kept
    return 2 * kept <= len(flow.pool)


@inlined
def pass_time(matching, ts):
    """Let the engine's time pass; return False if something ends on the way, which `prepare` lets happen first."""
    head = matching.head[0]
    if ts <= head["clock_ts"]:
        return True
    if head["expiring"] == 0 and head["phase"] != VOLATILITY_AUCTION:
        head["clock_ts"] = ts
        return True
    head["target_ts"] = ts
    head["stage"] = EXPIRING
    return False


@inner
def note_emptied(matching, flow):
    """Let the other side take a best price that the last event has emptied, with chance `theta`: the price has moved for good.

    The reference price goes with it. A queue that is drawn anew is as long as the best one of its side was: what stood there is as likely as anything.
    Source: Huang, Lehalle, Rosenbaum 2015, model III, told for a market that measures distances from the other side's best price.
    """
    head, rules = flow.head[0], flow.rules[0]
    bid_rank, ask_rank = head["bid_rank"], head["ask_rank"]
    ask_is_emptied = ask_rank != NO_RANK and matching.best[1] > ask_rank
    bid_is_emptied = bid_rank != NO_RANK and matching.best[0] > bid_rank
    if ask_is_emptied == bid_is_emptied or matching.head[0]["phase"] != CONTINUOUS or draw(flow) >= rules["theta"]:
        return
    head["follow_side"] = 1 if ask_is_emptied else -1
    head["follow_ticks"] = ask_rank if ask_is_emptied else -bid_rank
    head["follow_lots"] = 1
    head["reference_q20"] = (head["follow_ticks"] << SHIFT) + (
        (head["follow_side"] * rules["step_ticks"]) << (SHIFT - 1)
    )
    if draw(flow) < rules["theta_reinit"]:
        own_rank = matching.best[0] if ask_is_emptied else matching.best[1]
        price = -own_rank if ask_is_emptied else own_rank
        if own_rank != NO_RANK:
            head["follow_lots"] = max(np.int64(1), standing(matching, head["follow_side"], price))


@inner
def follower(matching, flow):
    """Return side, price and size of an order that takes an emptied price; size 0 where that would trade."""
    head = flow.head[0]
    side, price = head["follow_side"], head["follow_ticks"]
    lots = limit_size(flow)
    head["follow_lots"] -= lots
    other = matching.best[1] if side > 0 else matching.best[0]
    if other != NO_RANK and (price >= other if side > 0 else price <= -other):
        head["follow_lots"] = 0
        lots = np.int64(0)
    return side, price, lots


@inlined
def lacks_side(matching):
    """Tell whether a side is empty and may be quoted: the flow never leaves it so."""
    empty = matching.best[0] == NO_RANK or matching.best[1] == NO_RANK
    return empty and matching.head[0]["phase"] < HALT


@inner
def prepare(matching, flow):
    """Do what must be done before the next event; return DONE, or why nothing can be done yet."""
    head = flow.head[0]
    if not settle(matching):
        return np.int64(EVENTS_FULL)
    if matching.head[0]["impact_e12"] != 0:
        take_impact(flow, matching.head[0]["impact_e12"])
        matching.head[0]["impact_e12"] = 0
    if flow.conditions[0]["version"] != head["conditions_seen"]:
        reset_plan(flow, max(head["ts"], matching.head[0]["clock_ts"]))
    if flow.conditions[0]["jump_q40"] != 0:
        move(flow, flow.conditions[0]["jump_q40"])
        flow.conditions[0]["jump_q40"] = 0
    if head["pooled"] == len(flow.pool) and not compact(matching, flow):
        return np.int64(NEEDS_POOL)
    return np.int64(DONE)


@inner
def advance_to(matching, flow, until_ts):
    """Let everything happen up to `until_ts`; return DONE or why it stopped (`Progress` or NEEDS_POOL)."""
    head = flow.head[0]
    while True:
        code = prepare(matching, flow)
        if code != DONE:
            return code
        if head["watched"] == 1:  # Here, since an order that takes a lot may have stopped half-way for room.
            head["watched"] = 0
            note_emptied(matching, flow)
        opens = head["opened"] < head["opening"]
        # Once between two events: where no order is possible, none is tried for ever.
        follows = head["follow_lots"] > 0
        refills = not follows and lacks_side(matching) and head["refilled"] != head["proposals"] + 1
        at_once = opens or follows or refills
        if head["pending"] == 0 and not at_once:
            plan(flow)
        due = min(head["next_ts"], head["step_ts"])
        if due > until_ts and not at_once:
            if not pass_time(matching, until_ts):
                continue
            return np.int64(DONE)
        code = obstacle(matching)
        if code != DONE:
            return code
        what, force = np.int64(LIMIT), np.int64(GTC)
        if opens:
            side, price, lots = first_order(flow)
        elif follows:
            side, price, lots = follower(matching, flow)
        else:
            if refills:
                head["refilled"] = head["proposals"] + 1
            else:
                if not pass_time(matching, due):
                    continue
                if head["step_ts"] <= head["next_ts"]:
                    take_step(flow)
                    continue
                age(flow, due)
                bid, ask, _, _ = anchors(matching, flow)
                what = np.int64(choose(flow, gap(flow, bid, ask)))
            # In a halt the flow waits: its cancels alone would empty the book.
            if what == NOTHING or matching.head[0]["phase"] >= HALT:
                continue
            if what != LIMIT and flow.rules[0]["theta"] != 0.0:
                head["watched"], head["bid_rank"], head["ask_rank"] = 1, matching.best[0], matching.best[1]
            if what == CANCEL:
                come_cancel(matching, flow)
                continue
            if what == LIMIT:
                side, price, lots = limit_order(matching, flow)
            else:
                side, price, lots = market_order(matching, flow, what == PULL)
                force = np.int64(IOC)
        send(matching, flow, side, price, lots, force)


# Entry point: compiled code that Python calls counts references, which would cost more than all the rest. There is one,
# since each would contain the whole matching engine.


def advance(matching, flow, until_ts, every_ns, quotes):
    """Entry point of `advance_to`; with room for quotes, (n, 2), also a record of the best bid and ask.

    They are written at `until_ts` and every `every_ns` after it, how many so far is in `head.recorded`. Events are thrown
    away then: for statistics of the market alone.
    """
    head = flow.head[0]
    while True:
        done = head["recorded"]
        code = advance_to(matching, flow, until_ts + done * every_ns)
        if len(quotes) == 0:
            return code
        matching.head[0]["event_count"] = 0
        if code == DONE:
            quotes[done, 0] = -matching.best[0]
            quotes[done, 1] = matching.best[1]
            head["recorded"] = done + 1
            if done + 1 == len(quotes):
                head["recorded"] = 0
                return code
        elif code != EVENTS_FULL:
            return code
