"""Levels from orders, and the book behind the rows of a replay.

Sorted levels and the table of orders are those of the book beside it, function by function: a cached caller does not notice
that a callee in another module has changed. Interpreted and compiled form are the same code.
"""

import numpy as np
from numba import njit

TRADE, CLEAR, SNAPSHOT, ADD, CANCEL, MODIFY, FILL = 2, 3, 4, 6, 7, 8, 9
LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3

PENDING, ROWS, USED, TRADED, FILLED, FILLS_TRADE = range(6)
"""Places of `state`: levels changed and not yet written; rows written; places of the order table in use; what was traded
and what was filled since the message began; whether a FILL tells of a trade that no TRADE tells of."""
STATE_SIZE = 6
ROW_FIELDS = 4
"""Columns of a row: row of the orders, code, price, quantity."""
LOOK_BACK = 16

FREE, GONE = -(2**63), -(2**63) + 1
"""Places of the order table without an order: never used, and left by one."""

INSTANTS, CROSSED, FIRST_CROSSED, OVERRUN = range(4)
"""Places of `figures`: instants with a level, those of them that leave a side standing at or through the other one, the first
one's last row; levels of the present instant that were overrun and not yet removed."""
FIGURES_SIZE = 4


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
def change_level(prices, lots, counts, s, key, change):
    """Add to a level; return False when there is no room."""
    return set_level(prices, lots, counts, s, key, level_of(prices, lots, counts, s, key) + change)


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
def emit(row, code, price, quantity, state, out):
    """Write a row."""
    n = state[ROWS]
    out[n, 0], out[n, 1], out[n, 2], out[n, 3] = row, code, price, quantity
    state[ROWS] = n + 1


@njit(cache=True, nogil=True)
def touch(s, key, state, touched):
    """Remember that a level has changed; one that is written twice does no harm."""
    n = state[PENDING]
    for i in range(n - 1, max(-1, n - 1 - LOOK_BACK), -1):
        if touched[i, 0] == s and touched[i, 1] == key:
            return
    touched[n, 0], touched[n, 1] = s, key
    state[PENDING] = n + 1


@njit(cache=True, nogil=True)
def flush(row, prices, lots, counts, state, touched, out):
    """Write what the changed levels have come to."""
    for i in range(state[PENDING]):
        s, key = touched[i, 0], touched[i, 1]
        quantity = level_of(prices, lots, counts, s, key)
        emit(row, LEVEL_ROW if s == 0 else -LEVEL_ROW, key if s == 0 else -key, quantity, state, out)
    state[PENDING] = 0


@njit(cache=True, nogil=True)
def tell_trade(row, side, price, quantity, prices, lots, counts, state, touched, out):
    """Write a trade: after what changed before it, but before its own fills, wherever these stand."""
    if state[FILLED] <= state[TRADED]:
        flush(row, prices, lots, counts, state, touched, out)
    state[TRADED] += quantity
    if side != 0:
        emit(row, TRADE_ROW if side > 0 else -TRADE_ROW, price, quantity, state, out)


@njit(cache=True, nogil=True)
def take_off(at, gone, ids, orders, prices, lots, counts, state, touched):
    """Take a quantity off the order at a place of the table."""
    s, key = orders[at, 0], orders[at, 1]
    change_level(prices, lots, counts, s, key, -gone)
    touch(s, key, state, touched)
    orders[at, 2] -= gone
    if orders[at, 2] == 0:
        ids[at] = GONE


@njit(cache=True, nogil=True)
def levels_of_orders(
    start,
    exch_ts,
    local_ts,
    kind,
    side,
    price,
    quantity,
    order_id,
    ids,
    orders,
    prices,
    lots,
    counts,
    state,
    touched,
    out,
):
    """Turn rows of a book by order into rows of a replay, from `start` on; return where it stopped for want of room.

    Rows of one exchange and receive time are one message. Its levels are written when it ends, or when a trade follows
    that they do not come from: each as it then is. The caller hands over whole messages.

    exch_ts, local_ts, price, quantity, order_id : (n,) int64; kind, side : (n,) int8
    ids : (capacity,) int64, a power of two; orders : (capacity, 4) int64, side index, level key, lots left, unused
    prices, lots : (2, room) int64; counts : (2,) int64; state : (STATE_SIZE,) int64
    touched : (2 * n, 2) int64; out : (2 * n, ROW_FIELDS) int64, of which `state[ROWS]` are written
    """
    n = len(kind)
    for i in range(start, n):
        if i > 0 and (local_ts[i] != local_ts[i - 1] or exch_ts[i] != exch_ts[i - 1]):
            flush(i - 1, prices, lots, counts, state, touched, out)
            state[TRADED] = state[FILLED] = 0
        k = kind[i]
        if k == TRADE:
            tell_trade(i, np.int64(side[i]), price[i], quantity[i], prices, lots, counts, state, touched, out)
        elif k == CANCEL or k == FILL:
            at = place_of(ids, order_id[i])
            if ids[at] == order_id[i]:
                gone = min(quantity[i], orders[at, 2])
                if k == FILL:
                    if state[FILLS_TRADE] == 1:
                        aggressor = np.int64(-1 if orders[at, 0] == 0 else 1)
                        at_price = -aggressor * orders[at, 1]
                        tell_trade(i, aggressor, at_price, gone, prices, lots, counts, state, touched, out)
                    state[FILLED] += gone
                take_off(at, gone, ids, orders, prices, lots, counts, state, touched)
        elif k == ADD or k == SNAPSHOT or k == MODIFY:
            if 2 * (state[USED] + 1) > len(ids) or counts[0] + 2 > prices.shape[1] or counts[1] + 2 > prices.shape[1]:
                return i
            at = place_of(ids, order_id[i])
            if ids[at] == order_id[i]:
                take_off(at, orders[at, 2], ids, orders, prices, lots, counts, state, touched)
            if quantity[i] > 0:
                if ids[at] == FREE:
                    state[USED] += 1
                s = 0 if side[i] > 0 else 1
                ids[at] = order_id[i]
                orders[at, 0], orders[at, 1], orders[at, 2] = s, price[i] if s == 0 else -price[i], quantity[i]
                change_level(prices, lots, counts, s, orders[at, 1], quantity[i])
                touch(s, orders[at, 1], state, touched)
        elif k == CLEAR:
            s = 0 if side[i] > 0 else 1
            flush(i, prices, lots, counts, state, touched, out)
            for at in range(len(ids)):
                if ids[at] > GONE and orders[at, 0] == s:
                    ids[at] = GONE
            counts[s] = 0
            emit(i, CLEAR_ROW if s == 0 else -CLEAR_ROW, 0, 0, state, out)
    flush(n - 1, prices, lots, counts, state, touched, out)
    state[TRADED] = state[FILLED] = 0
    return n


@njit(cache=True, nogil=True)
def follow(start, end, code, price, quantity, prices, lots, counts):
    """Apply rows of a replay to a book; return where it stopped for want of room, or `end`."""
    for i in range(start, end):
        kind = abs(code[i])
        s = 0 if code[i] > 0 else 1
        if kind == LEVEL_ROW:
            if not set_level(prices, lots, counts, s, price[i] if s == 0 else -price[i], quantity[i]):
                return i
        elif kind == CLEAR_ROW:
            counts[s] = 0
    return end


@njit(cache=True, nogil=True)
def judge(start, ts, code, price, quantity, prices, lots, counts, figures):
    """Count instants that leave a level at or through the other side's best; return as `follow` does.

    A level that a newer one of the other side overruns is taken for gone, as in a replay: one left behind counts once. One that
    is removed before the instant ends does not count.
    """
    n = len(code)
    for i in range(start, n):
        kind = abs(code[i])
        s = 0 if code[i] > 0 else 1
        if kind == LEVEL_ROW:
            key = price[i] if s == 0 else -price[i]
            if quantity[i] == 0 and level_of(prices, lots, counts, s, key) == 0:
                figures[OVERRUN] = max(np.int64(0), figures[OVERRUN] - 1)
            elif not set_level(prices, lots, counts, s, key, quantity[i]):
                return i
            other = 1 - s
            # Asks lie under the negative of their price.
            while quantity[i] > 0 and counts[other] > 0 and key + prices[other, counts[other] - 1] >= 0:
                counts[other] -= 1
                figures[OVERRUN] += 1
        elif kind == CLEAR_ROW:
            counts[s] = 0
        if i + 1 == n or ts[i + 1] != ts[i]:
            figures[INSTANTS] += 1 if kind == LEVEL_ROW else 0
            if figures[OVERRUN] > 0:
                figures[FIRST_CROSSED] = i if figures[CROSSED] == 0 else figures[FIRST_CROSSED]
                figures[CROSSED] += 1
            figures[OVERRUN] = 0
    return n
