"""The price of an auction: most volume, then least imbalance, then nearest to the reference.

Owns the rule of uncrossing. With A(p) the quantity asked at p or less and B(p) the quantity bid at p or more, hidden
quantity included, the volume at p is min(A, B) and the imbalance |A - B|. Pairing orders from both best prices gives the
largest volume V and where it ends, at bid b and ask a: exactly the prices of [a, b] reach V. There A grows and B
falls in steps, one of them always equals V, so that the least imbalance lies on the first or second step of each.
Prices that are still alike: the nearest to the reference rounded down to a price step, then the lower one.
Interpreted and compiled form are the same code.
"""

import numpy as np

from market_maker.matching.levels.kernel import find_level, inner, next_rank
from market_maker.matching.state import NO_RANK


@inner
def lots_at(state, book, rank):
    """Return all lots of a level, shown and hidden."""
    at = state.levels[find_level(state, book, rank)]
    return at["shown_lots"] + at["hidden_lots"]


@inner
def reference_of(state):
    """Return the reference price, else the last one, else the middle of the best prices; rounded down to a step."""
    head = state.head[0]
    reference = head["reference_ticks"]
    if reference == 0:
        reference = head["last_ticks"]
    if reference == 0:
        reference = (state.best[1] - state.best[0]) >> 1
    step = max(np.int64(1), head["price_step_ticks"])
    return reference // step * step


@inner
def further(state, book, rank):
    """Return the next occupied rank after `rank`, NO_RANK after NO_RANK."""
    return next_rank(state, book, rank) if rank != NO_RANK else np.int64(NO_RANK)


@inner
def auction_price(state):
    """Return the price at which a crossed book is uncrossed. O(levels that trade)."""
    bid_book, ask_book = np.int64(0), np.int64(1)
    bid, ask = state.best[0], state.best[1]
    bids, asks = lots_at(state, bid_book, bid), lots_at(state, ask_book, ask)
    while True:
        # Cumulative quantities; the lesser side goes on while prices still cross, and both if they are alike.
        more_bid = further(state, bid_book, bid) if bids <= asks else bid
        more_ask = further(state, ask_book, ask) if asks <= bids else ask
        if more_bid == NO_RANK or more_ask == NO_RANK or more_bid + more_ask > 0:
            break
        if more_bid != bid:
            bid = more_bid
            bids += lots_at(state, bid_book, bid)
        if more_ask != ask:
            ask = more_ask
            asks += lots_at(state, ask_book, ask)
    return _choose(state, bid, bids, ask, asks)


@inner
def _choose(state, bid, bids, ask, asks):
    """Return the best of the prices from `ask` to `bid`, at which the cumulative quantities first reach the volume."""
    step = max(np.int64(1), state.head[0]["price_step_ticks"])
    reference = reference_of(state)
    chosen, least, distance = np.int64(0), np.int64(-1), np.int64(0)
    bid_rank, bid_lots = bid, bids
    for _ in range(2):
        # Prices above `low_bid` up to that of `bid_rank` have `bid_lots` bid at them or higher.
        low_bid = further(state, np.int64(0), bid_rank)
        low = ask if low_bid == NO_RANK else max(ask, step - low_bid)
        ask_rank, ask_lots = ask, asks
        for _ in range(2):
            high_ask = further(state, np.int64(1), ask_rank)
            high = min(-bid_rank, -bid if high_ask == NO_RANK else min(-bid, high_ask - step))
            first, last = max(low, ask_rank), high
            if first <= last:
                imbalance = abs(bid_lots - ask_lots)
                price = min(max(reference, first), last)
                gap = abs(price - reference)
                better = imbalance < least or (imbalance == least and gap < distance)
                if least < 0 or better or (imbalance == least and gap == distance and price < chosen):
                    chosen, least, distance = price, imbalance, gap
            if high_ask == NO_RANK:
                break
            ask_rank = high_ask
            ask_lots += lots_at(state, np.int64(1), ask_rank)
        if low_bid == NO_RANK:
            break
        bid_rank = low_bid
        bid_lots += lots_at(state, np.int64(0), bid_rank)
    return chosen
