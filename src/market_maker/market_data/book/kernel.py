"""Books by level and by order, applied row by row over columns.

Levels of a side are kept sorted with the best one last (asks under the negative of their price), so that a change near
the touch moves little. Orders lie in a hash table with open addressing. Interpreted and compiled form are the same code.
"""

import numpy as np
from numba import njit

DEPTH, TRADE, CLEAR, SNAPSHOT, PRINT, ADD, CANCEL, MODIFY, FILL = 1, 2, 3, 4, 5, 6, 7, 8, 9
NO_BOOK, SOUND, LOCKED, CROSSED = 0, 1, 2, 3
"""State of the book after a message: one side missing, or bid below, at, above the ask."""

(
    KNOWN,
    LOST_TS,
    CLEAR_TS,
    MESSAGE_TS,
    GAPS,
    QUOTES,
    UNKNOWN_CANCELS,
    UNKNOWN_FILLS,
    DUPLICATE_ADDS,
    USED,
    TOUCHED,
    TURN,
) = range(12)
"""Places of `book`: whether the book is known; since when not; the clear of a known book; the last message that was no print; gaps and
quotes written; faults of orders; places of the order table in use; whether levels changed since the last message; the
next order's turn in its queue."""
BOOK_SIZE = 12

FREE, GONE = -(2**63), -(2**63) + 1
"""Places of the order table without an order: never used, and left by one. No venue numbers an order so."""


@njit(cache=True, nogil=True)
def find_level(prices, count, key):
    """Return the first place whose price is not below `key`."""
    low, high = 0, count
    # Most changes are near the touch: look there first.
    if count > 16 and prices[count - 16] < key:
        low = count - 15
    while low < high:
        middle = (low + high) >> 1
        if prices[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def set_level(prices, lots, counts, s, key, quantity):
    """Set a level of side s (0 removes it); return False when there is no room."""
    count = counts[s]
    at = find_level(prices[s], count, key)
    exists = at < count and prices[s, at] == key
    if quantity > 0:
        if not exists:
            if count == prices.shape[1]:
                return False
            for i in range(count, at, -1):
                prices[s, i] = prices[s, i - 1]
                lots[s, i] = lots[s, i - 1]
            prices[s, at] = key
            counts[s] = count + 1
        lots[s, at] = quantity
    elif exists:
        for i in range(at, count - 1):
            prices[s, i] = prices[s, i + 1]
            lots[s, i] = lots[s, i + 1]
        counts[s] = count - 1
    return True


@njit(cache=True, nogil=True)
def level_of(prices, lots, counts, s, key):
    """Return the quantity of a level, 0 without one."""
    at = find_level(prices[s], counts[s], key)
    return lots[s, at] if at < counts[s] and prices[s, at] == key else np.int64(0)


@njit(cache=True, nogil=True)
def end_message(i, ts, prices, lots, counts, book, quote, states, quote_rows, quotes):
    """Judge the whole book after row i and write its best quotes where they changed."""
    if book[TOUCHED] == 0:
        return
    book[TOUCHED] = 0
    book[MESSAGE_TS] = ts
    bids, asks = counts[0], counts[1]
    bid = prices[0, bids - 1] if bids else np.int64(0)
    ask = -prices[1, asks - 1] if asks else np.int64(0)
    bid_lots = lots[0, bids - 1] if bids else np.int64(0)
    ask_lots = lots[1, asks - 1] if asks else np.int64(0)
    if bids and asks:
        states[i] = SOUND if bid < ask else LOCKED if bid == ask else CROSSED
    if bid != quote[0] or bid_lots != quote[1] or ask != quote[2] or ask_lots != quote[3]:
        quote[0], quote[1], quote[2], quote[3] = bid, bid_lots, ask, ask_lots
        n = book[QUOTES]
        quote_rows[n] = i
        quotes[n, 0], quotes[n, 1], quotes[n, 2], quotes[n, 3] = bid, bid_lots, ask, ask_lots
        book[QUOTES] = n + 1


@njit(cache=True, nogil=True)
def clear_side(ts, s, counts, book):
    """Empty a side: the book is not known until a snapshot says otherwise."""
    counts[s] = 0
    book[TOUCHED] = 1
    if book[KNOWN]:
        book[KNOWN] = 0
        book[LOST_TS] = book[MESSAGE_TS] + 1
        book[CLEAR_TS] = ts
    elif book[CLEAR_TS] != ts:
        book[CLEAR_TS] = 0


@njit(cache=True, nogil=True)
def know(ts, book, gaps):
    """The book is known from here on; the time without one is a gap, unless it was cleared just now. Return False without room."""
    if book[KNOWN]:
        return True
    n = book[GAPS]
    if n == len(gaps):
        return False
    if book[CLEAR_TS] != ts and book[LOST_TS] < ts:
        gaps[n, 0], gaps[n, 1] = book[LOST_TS], ts
        book[GAPS] = n + 1
    book[KNOWN] = 1
    return True


@njit(cache=True, nogil=True)
def apply_levels(
    start,
    ts,
    kind,
    side,
    price,
    quantity,
    last,
    prices,
    lots,
    counts,
    book,
    quote,
    states,
    dropped,
    quote_rows,
    quotes,
    gaps,
):
    """Apply rows of a book by level from `start` on; return where it stopped for want of room, or the number of rows.

    A change of a level while the book is not known says nothing of the book: it is marked as dropped and not applied.

    ts, price, quantity : (n,) int64; kind, side : (n,) int8; last : (n,) bool
    prices, lots : (2, capacity) int64; counts : (2,) int64; book : (BOOK_SIZE,) int64; quote : (4,) int64
    states : (n,) int8, written at the ends of messages that touched the book; dropped : (n,) bool
    quote_rows : (n,), quotes : (n, 4): the rows after which the best quotes changed, and the quotes
    gaps : (room, 2) int64, [from, until) of times without a known book
    """
    for i in range(start, len(ts)):
        k = kind[i]
        if k == DEPTH and book[KNOWN] == 0:
            dropped[i] = True
        elif k == DEPTH or k == SNAPSHOT:
            s = 0 if side[i] > 0 else 1
            if k == SNAPSHOT and not know(ts[i], book, gaps):
                return i
            if not set_level(prices, lots, counts, s, price[i] if s == 0 else -price[i], quantity[i]):
                return i
            book[TOUCHED] = 1
        elif k == CLEAR:
            clear_side(ts[i], 0 if side[i] > 0 else 1, counts, book)
        if last[i]:
            end_message(i, ts[i], prices, lots, counts, book, quote, states, quote_rows, quotes)
    return len(ts)


@njit(cache=True, nogil=True)
def place_of(ids, order_id):
    """Return the place of an order in the table, or the place where it would be put."""
    mask = len(ids) - 1
    # Multiplicative hashing of the number folded to 32 bits, so that the product (below 2**63) does not overflow.
    at = (((order_id ^ (order_id >> 32)) & 0xFFFFFFFF) * 0x61C88647 >> 20) & mask
    free = np.int64(-1)
    while ids[at] != FREE:
        if ids[at] == order_id:
            return at
        if ids[at] == GONE and free < 0:
            free = at
        at = (at + 1) & mask
    return free if free >= 0 else at


@njit(cache=True, nogil=True)
def rehash(old_ids, old_values, ids, values):
    """Put every order of one table into a larger or cleaner one; return how many there are."""
    n = 0
    for i in range(len(old_ids)):
        if old_ids[i] > GONE:
            at = place_of(ids, old_ids[i])
            ids[at] = old_ids[i]
            values[at] = old_values[i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def change_level(prices, lots, counts, s, key, change):
    """Add to a level; return False when there is no room."""
    return set_level(prices, lots, counts, s, key, level_of(prices, lots, counts, s, key) + change)


@njit(cache=True, nogil=True)
def apply_orders(
    start,
    ts,
    kind,
    side,
    price,
    quantity,
    order_id,
    last,
    ids,
    orders,
    prices,
    lots,
    counts,
    book,
    quote,
    states,
    dropped,
    quote_rows,
    quotes,
    gaps,
):
    """Apply rows of a book by order, as `apply_levels`.

    ids : (capacity,) int64, capacity a power of two; orders : (capacity, 4) int64, side index, level key, lots left, turn
    (orders of a level are filled in the order of turns; one that only shrinks at its price keeps its turn)
    A MODIFY of an unknown order is an ADD; a CANCEL or FILL of one is counted and changes nothing. Nothing is dropped.
    """
    for i in range(start, len(ts)):
        k = kind[i]
        if k == ADD or k == SNAPSHOT or k == MODIFY or k == CANCEL or k == FILL:
            if 2 * (book[USED] + 1) > len(ids) or counts[0] + 2 > prices.shape[1] or counts[1] + 2 > prices.shape[1]:
                return i
            at = place_of(ids, order_id[i])
            exists = ids[at] == order_id[i]
            if k == CANCEL or k == FILL:
                if not exists:
                    book[UNKNOWN_CANCELS if k == CANCEL else UNKNOWN_FILLS] += 1
                else:
                    gone = min(quantity[i], orders[at, 2])
                    change_level(prices, lots, counts, orders[at, 0], orders[at, 1], -gone)
                    orders[at, 2] -= gone
                    if orders[at, 2] == 0:
                        ids[at] = GONE
                    book[TOUCHED] = 1
            else:
                if not know(ts[i], book, gaps):
                    return i
                s = 0 if side[i] > 0 else 1
                key = price[i] if s == 0 else -price[i]
                keeps = (
                    exists
                    and k == MODIFY
                    and orders[at, 0] == s
                    and orders[at, 1] == key
                    and quantity[i] <= orders[at, 2]
                )
                if exists:
                    if k != MODIFY:
                        book[DUPLICATE_ADDS] += 1
                    change_level(prices, lots, counts, orders[at, 0], orders[at, 1], -orders[at, 2])
                elif ids[at] == FREE:
                    book[USED] += 1
                ids[at] = order_id[i]
                orders[at, 0] = s
                orders[at, 1] = key
                orders[at, 2] = quantity[i]
                if not keeps:
                    orders[at, 3] = book[TURN]
                    book[TURN] += 1
                change_level(prices, lots, counts, s, orders[at, 1], quantity[i])
                if quantity[i] == 0:
                    ids[at] = GONE
                book[TOUCHED] = 1
        elif k == CLEAR:
            s = 0 if side[i] > 0 else 1
            for at in range(len(ids)):
                if ids[at] > GONE and orders[at, 0] == s:
                    ids[at] = GONE
            clear_side(ts[i], s, counts, book)
        if last[i]:
            end_message(i, ts[i], prices, lots, counts, book, quote, states, quote_rows, quotes)
    return len(ts)
