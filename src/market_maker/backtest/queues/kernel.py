"""What the own orders of all sets have at a tick, in one list by tick: queues ahead, and marks of what was taken.

A row of the feed finds with one look whether anybody has something at its tick, and touches only those who do. Owns the
lists and what a changed level does to them; knows nothing of fills, ledgers or time.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import inlined, inner, level, nth
from market_maker.backtest.log.kernel import EXPLAINED, note
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.queue_models.kernel import executable_lots, on_depth, on_trade, whole_lots_ahead
from market_maker.backtest.state import BUCKETS, FOREVER, Code, Note

BUCKET_MASK = BUCKETS - 1
# Not plain integers, as in `messages.kernel`.
TOO_MANY_MARKS = np.int64(Code.TOO_MANY_MARKS)
RISK_AVERSE, FIFO = np.int64(QueueModel.RISK_AVERSE), np.int64(QueueModel.FIFO)
FRONT, BACK = np.int64(QueueModel.FRONT), np.int64(QueueModel.BACK)
QUEUE_LEVEL, QUEUE_CLEARED = np.int64(Note.QUEUE_LEVEL), np.int64(Note.QUEUE_CLEARED)
ZERO = np.int64(0)


@inlined
def link(state, node, s, tick, lots, k, modelled):
    """Put a node into the list of its tick."""
    at = state.nodes[nth(node)]
    bucket = tick & BUCKET_MASK
    first = state.heads[nth(s), nth(bucket)]
    at["tick"] = tick
    at["lots"] = lots
    at["side"] = s
    at["set"] = k
    at["modelled"] = modelled
    at["next"] = first
    at["before"] = -1
    if first >= 0:
        state.nodes[nth(first)]["before"] = node
    state.heads[nth(s), nth(bucket)] = node


@inlined
def unlink(state, node):
    """Take a node out of the list of its tick."""
    at = state.nodes[nth(node)]
    if at["before"] >= 0:
        state.nodes[nth(at["before"])]["next"] = at["next"]
    else:
        state.heads[nth(at["side"]), nth(at["tick"] & BUCKET_MASK)] = at["next"]
    if at["next"] >= 0:
        state.nodes[nth(at["next"])]["before"] = at["before"]


@inlined
def order_nodes(state):
    """Return how many nodes belong to orders: that of set k and slot i is k * n + i; marks come after them."""
    return state.orders.shape[0] * state.orders.shape[1]


@inlined
def front_of(state, k, slot):
    """Return the node of an order; its lots are the queue ahead."""
    return state.nodes[nth(k * state.orders.shape[1] + slot)]


@inlined
def mark_of(state, k, s, tick):
    """Return the node that says what own orders of a set took of a level, -1 without one."""
    if state.clock[0]["marks"] == 0:
        return np.int64(-1)
    first = order_nodes(state)
    node = state.heads[nth(s), nth(tick & BUCKET_MASK)]
    while node >= 0:
        at = state.nodes[nth(node)]
        if node >= first and at["tick"] == tick and at["set"] == k:
            return node
        node = np.int64(at["next"])
    return np.int64(-1)


@inner
def free_level(state, k, s, tick):
    """Return the displayed lots at a tick less those that own orders of the set have taken."""
    lots = level(state.exchange, s, tick)
    node = mark_of(state, k, s, tick)
    return lots if node < 0 else max(ZERO, lots - state.nodes[nth(node)]["lots"])


@inner
def take(state, k, s, tick, lots):
    """Remember that own orders took `lots` of a displayed level."""
    node = mark_of(state, k, s, tick)
    if node >= 0:
        state.nodes[nth(node)]["lots"] += lots
        return
    clock = state.clock[0]
    node = clock["free_mark"]
    if node >= 0:
        clock["free_mark"] = np.int64(state.nodes[nth(node)]["next"])
    else:
        node = order_nodes(state) + clock["marks_made"]
        if node >= len(state.nodes):
            clock["refusal"] = TOO_MANY_MARKS
            return
        clock["marks_made"] += 1
    clock["marks"] += 1
    link(state, node, s, tick, lots, k, False)


@inner
def forget_mark(state, node):
    """The feed has refreshed a level: nothing of it is taken any more."""
    clock = state.clock[0]
    unlink(state, node)
    state.nodes[nth(node)]["set"] = -1
    state.nodes[nth(node)]["next"] = clock["free_mark"]
    clock["free_mark"] = node
    clock["marks"] -= 1


@inlined
def is_modelled(model):
    """Return whether a queue needs more than the quantity ahead: its model looks at how the level changed."""
    return RISK_AVERSE < model <= FIFO


@inlined
def on_queues(state, s, tick, lots, ts, joined_ts):
    """A level has changed: the queue ahead of own orders there, and what was taken, are at most what is displayed.

    joined_ts : when the stranger's order that the row is about took its place; -1 where feeds do not tell
    """
    first = order_nodes(state)
    node = state.heads[nth(s), nth(tick & BUCKET_MASK)]
    while node >= 0:
        at = state.nodes[nth(node)]
        following = np.int64(at["next"])
        if at["tick"] == tick:
            if at["modelled"] == 1:
                on_modelled_queue(state, node, lots, joined_ts)
            elif at["lots"] > lots:
                at["lots"] = lots
                if lots == 0 and node >= first:
                    forget_mark(state, node)
            if node < first and state.clock[0]["logs"] == EXPLAINED:
                k = np.int64(at["set"])
                note(state, k, ts, node - k * state.orders.shape[1], QUEUE_LEVEL, tick, lots, ZERO, state.exchange)
        node = following


@inner
def on_modelled_queue(state, node, lots, joined_ts):
    """A level has changed from what it last displayed to `lots`: move an own order there by the model of its set."""
    at = state.nodes[nth(node)]
    k = np.int64(at["set"])
    slots = state.orders.shape[1]
    queue = state.queues[nth(k), nth(node - k * slots)]
    model = state.head[nth(k)]["queue_model"]
    before = queue["shown_lots"]
    queue["shown_lots"] = lots
    if model == FIFO:
        if before > lots and joined_ts <= queue["joined_ts"]:
            at["lots"] -= before - lots
        at["lots"] = max(ZERO, min(at["lots"], lots))
        return
    front, cum = on_depth(model, state.queue_n[nth(k)], queue["front"], queue["cum"], float(before), float(lots))
    front = max(front, 0.0)
    queue["front"], queue["cum"] = front, cum
    at["lots"] = whole_lots_ahead(front)


@inlined
def join_queue(state, k, slot, s, price, ts):
    """Let an own order stand behind all that its level displays now."""
    shown = level(state.exchange, s, price)
    model = state.head[nth(k)]["queue_model"]
    if is_modelled(model):
        queue = state.queues[nth(k), nth(slot)]
        queue["front"] = float(shown)
        queue["cum"] = 0.0
        queue["shown_lots"] = shown
        queue["joined_ts"] = ts
    lots = ZERO if model == FRONT else shown
    front_of(state, k, slot)["lots"] = lots
    return lots


@inner
def reach_of_trade(state, k, slot, lots, joined_ts):
    """Let a trade at its price pass the queue ahead of an own order; return by how many lots it reaches the order."""
    model = state.head[nth(k)]["queue_model"]
    at = front_of(state, k, slot)
    if model == RISK_AVERSE or model == FRONT:
        reach = lots - at["lots"]
        at["lots"] = max(ZERO, at["lots"] - lots)
        return reach
    if model == BACK:
        at["lots"] = max(ZERO, at["lots"] - lots)
        return ZERO
    queue = state.queues[nth(k), nth(slot)]
    if model == FIFO:
        if joined_ts == FOREVER:
            # Nobody knows whose the trade was: those ahead come first.
            return lots - at["lots"]
        # An order ahead of us was executed: the row of its level says so. One behind us: we would have been it.
        return lots if joined_ts > queue["joined_ts"] else ZERO
    front, cum = on_trade(model, state.queue_n[nth(k)], queue["front"], queue["cum"], float(lots))
    reach = executable_lots(front)
    queue["front"] = 0.0 if reach > 0 else front
    queue["cum"] = cum
    at["lots"] = whole_lots_ahead(queue["front"])
    return reach


@inner
def forget_shown(state, s, ts):
    """A side was cleared: its levels display nothing until the feed shows them again; nobody loses his place by that."""
    for k in range(len(state.head)):
        for i in range(state.resting_count[nth(k), nth(s)]):
            slot = np.int64(state.resting[nth(k), nth(s), nth(i)])
            state.queues[nth(k), nth(slot)]["shown_lots"] = ZERO
            note(
                state,
                k,
                ts,
                slot,
                QUEUE_CLEARED,
                state.orders[nth(k), nth(slot)]["price_ticks"],
                ZERO,
                ZERO,
                state.exchange,
            )


@inner
def forget_marks(state, s):
    """A side was cleared, and with it what was taken."""
    first = order_nodes(state)
    for node in range(first, first + state.clock[0]["marks_made"]):
        if state.nodes[nth(node)]["set"] >= 0 and state.nodes[nth(node)]["side"] == s:
            forget_mark(state, node)


@inner
def move_marks(state, change):
    """The book was displaced, and what was taken of it with it."""
    first = order_nodes(state)
    for node in range(first, first + state.clock[0]["marks_made"]):
        at = state.nodes[nth(node)]
        if at["set"] >= 0:
            unlink(state, node)
            link(state, node, np.int64(at["side"]), at["tick"] + change, at["lots"], np.int64(at["set"]), False)
