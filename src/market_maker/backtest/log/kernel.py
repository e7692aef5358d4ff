"""The log of own orders: decisions, what the venue made of them, and the whole story of one order that is to be explained.

Nothing is written unless a run asks for it. Owns the buffer; what an entry says is in `state.Note`.
"""

import numpy as np

from market_maker.backtest.ladder.kernel import inlined, inner, nth
from market_maker.backtest.state import WALK_LEVELS_MAX, Note
from market_maker.strategies.actions import MAX_ACTIONS

QUEUE_TRADE = np.int64(Note.QUEUE_TRADE)
EXPLAINED = 2


@inlined
def room_in_log(state):
    """Return the number of entries from which one more event or wake-up may be more than the buffer takes."""
    if state.clock[0]["logs"] == 0:
        return np.int64(1)
    sets = state.orders.shape[0]
    return len(state.log) - sets * (state.orders.shape[1] + MAX_ACTIONS) - WALK_LEVELS_MAX - 1


@inner
def room_for_fills(state):
    """Return the number of fills from which the buffer may not take what one more event can write."""
    return len(state.fills) - state.orders.shape[0] * state.orders.shape[1] - WALK_LEVELS_MAX - 1


@inlined
def note(state, k, ts, slot, what, price, lots, reason, book):
    """Write an entry when the run keeps a log of this order; `book` gives the best prices of the one who knows."""
    if state.clock[0]["logs"] != 0:
        write_entry(state, k, ts, slot, what, price, lots, reason, book)


@inner
def write_entry(state, k, ts, slot, what, price, lots, reason, book):
    """Write an entry, see `note`."""
    clock = state.clock[0]
    order = state.orders[nth(k), nth(slot)]
    if clock["logs"] == EXPLAINED:
        if order["order_id"] != clock["explained_id"] or clock["log_count"] >= len(state.log):
            return
    elif what >= QUEUE_TRADE:
        return
    state.log_sets[nth(clock["log_count"])] = k
    entry = state.log[nth(clock["log_count"])]
    clock["log_count"] += 1
    entry["ts"] = ts
    entry["order_id"] = order["order_id"]
    entry["note"] = what
    entry["side"] = order["side"]
    entry["price_ticks"] = price
    entry["qty_lots"] = lots
    entry["leaves_lots"] = order["leaves_lots"]
    entry["queue_ahead_lots"] = state.nodes[nth(k * state.orders.shape[1] + slot)]["lots"]
    entry["reason"] = reason
    entry["best_bid_ticks"] = book.best[0]
    entry["best_ask_ticks"] = book.best[1]


def sort_fills(table, numbers, places, columns):
    """Entry point: write fills, rows in time order, into columns in which those of a set stand together.

    table : (n, c) int64, fills as plain rows; numbers : (n,) int64, the set of each
    places : (K,) int64, where the next fill of each set goes, moved on
    columns : (c, fills of all sets) int64
    """
    for row in range(len(numbers)):
        k = numbers[nth(row)]
        place = places[nth(k)]
        places[nth(k)] = place + 1
        for c in range(table.shape[1]):
            columns[nth(c), nth(place)] = table[nth(row), nth(c)]
