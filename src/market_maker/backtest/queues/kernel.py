"""What the own orders of all sets have at a tick, in one list by tick: queues ahead, and marks of what was taken.

A row of the feed finds with one look whether anybody has something at its tick, and touches only those who do. Owns the
lists and what a changed level does to them; knows nothing of fills, ledgers or time.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import inlined, inner, level
from market_maker.backtest.state import BUCKETS, Code

BUCKET_MASK = BUCKETS - 1
# Not a plain integer, as in `exchange.kernel`.
TOO_MANY_MARKS = np.int64(Code.TOO_MANY_MARKS)
ZERO = np.int64(0)


@inlined
def link(state, node, s, tick, lots, k):
    """Put a node into the list of its tick."""
    at = state.nodes[node]
    bucket = tick & BUCKET_MASK
    first = state.heads[s, bucket]
    at["tick"] = tick
    at["lots"] = lots
    at["side"] = s
    at["set"] = k
    at["next"] = first
    at["before"] = -1
    if first >= 0:
        state.nodes[first]["before"] = node
    state.heads[s, bucket] = node


@inlined
def unlink(state, node):
    """Take a node out of the list of its tick."""
    at = state.nodes[node]
    if at["before"] >= 0:
        state.nodes[at["before"]]["next"] = at["next"]
    else:
        state.heads[at["side"], at["tick"] & BUCKET_MASK] = at["next"]
    if at["next"] >= 0:
        state.nodes[at["next"]]["before"] = at["before"]


@inlined
def order_nodes(state):
    """Return how many nodes belong to orders: that of set k and slot i is k * n + i; marks come after them."""
    return state.orders.shape[0] * state.orders.shape[1]


@inlined
def front_of(state, k, slot):
    """Return the node of an order; its lots are the queue ahead."""
    return state.nodes[k * state.orders.shape[1] + slot]


@inlined
def mark_of(state, k, s, tick):
    """Return the node that says what own orders of a set took of a level, -1 without one."""
    if state.clock[0]["marks"] == 0:
        return np.int64(-1)
    first = order_nodes(state)
    node = state.heads[s, tick & BUCKET_MASK]
    while node >= 0:
        at = state.nodes[node]
        if node >= first and at["tick"] == tick and at["set"] == k:
            return node
        node = at["next"]
    return np.int64(-1)


@inner
def free_level(state, k, s, tick):
    """Return the displayed lots at a tick less those that own orders of the set have taken."""
    lots = level(state.exchange, s, tick)
    node = mark_of(state, k, s, tick)
    return lots if node < 0 else max(ZERO, lots - state.nodes[node]["lots"])


@inner
def take(state, k, s, tick, lots):
    """Remember that own orders took `lots` of a displayed level."""
    node = mark_of(state, k, s, tick)
    if node >= 0:
        state.nodes[node]["lots"] += lots
        return
    clock = state.clock[0]
    node = clock["free_mark"]
    if node >= 0:
        clock["free_mark"] = state.nodes[node]["next"]
    else:
        node = order_nodes(state) + clock["marks_made"]
        if node >= len(state.nodes):
            clock["refusal"] = TOO_MANY_MARKS
            return
        clock["marks_made"] += 1
    clock["marks"] += 1
    link(state, node, s, tick, lots, k)


@inner
def forget_mark(state, node):
    """The feed has refreshed a level: nothing of it is taken any more."""
    clock = state.clock[0]
    unlink(state, node)
    state.nodes[node]["set"] = -1
    state.nodes[node]["next"] = clock["free_mark"]
    clock["free_mark"] = node
    clock["marks"] -= 1


@inlined
def on_queues(state, s, tick, lots):
    """A level has changed: the queue ahead of own orders there, and what was taken, are at most what is displayed."""
    first = order_nodes(state)
    node = state.heads[s, tick & BUCKET_MASK]
    while node >= 0:
        at = state.nodes[node]
        following = at["next"]
        if at["tick"] == tick and at["lots"] > lots:
            at["lots"] = lots
            if lots == 0 and node >= first:
                forget_mark(state, node)
        node = following


@inner
def forget_marks(state, s):
    """A side was cleared, and with it what was taken."""
    first = order_nodes(state)
    for node in range(first, first + state.clock[0]["marks_made"]):
        if state.nodes[node]["set"] >= 0 and state.nodes[node]["side"] == s:
            forget_mark(state, node)


@inner
def move_marks(state, change):
    """The book was displaced, and what was taken of it with it."""
    first = order_nodes(state)
    for node in range(first, first + state.clock[0]["marks_made"]):
        at = state.nodes[node]
        if at["set"] >= 0:
            unlink(state, node)
            link(state, node, at["side"], at["tick"] + change, at["lots"], at["set"])
