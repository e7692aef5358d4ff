"""The book behind LOBSTER's two files: orders where messages tell them, the rest of each level as one anonymous order.

After each message the model is made equal to the provider's row as far as that row sees: its levels, and every price
better than its worst one (all prices when the row has free places). Orders beyond it are kept until they are seen again.
"""

import numpy as np
from numba import njit

TRADE, CLEAR, SNAPSHOT, PRINT, ADD, CANCEL, MODIFY, FILL = 2, 3, 4, 5, 6, 7, 8, 9
SUBMIT, REDUCE, DELETE, EXECUTE, HIDDEN, CROSS, HALT = 1, 2, 3, 4, 5, 6, 7
NO_ORDER = -1
ANONYMOUS = 1 << 62
"""Ids from here on are ours: ANONYMOUS + 2 * price + (0 for a bid, 1 for an ask)."""

KEY, TOTAL, HIDDEN_PART, NEWEST = 0, 1, 2, 3
"""Columns of a level: price (asks negated), quantity, the anonymous part of it, its newest known order."""
LEVEL_FIELDS = 4
SIDE, PRICE_KEY, LEFT, OLDER, NEWER = 0, 1, 2, 3, 4
"""Columns of an order: side (0 bid), level, quantity left, its neighbours in the queue."""
ORDER_FIELDS = 5
ROW_FIELDS = 6
"""Columns of a row: message (-1: before the first), kind, side, price, quantity, order id."""

(
    BIDS, ASKS, ORDERS, LIVE, ROWS, SEEDED, UNKNOWN_CANCELS, UNKNOWN_FILLS, REMOVED, SIZES, DUPLICATES, ENTERED, DIFFERING,
    HALTS,
) = range(14)  # fmt: skip
"""Places of `state`: levels of each side, orders ever seen and alive, rows written; whether the book has begun; then counts:
references to orders never submitted and to orders that were taken out, other sizes than ours, ids given twice, levels
that entered the window with a quantity of their own, levels that differed inside it, halts."""
STATE_SIZE = 14

LADDER_FAULT = -1
"""Returned instead of a number of messages: the row after the last message done is no ladder."""


@njit(cache=True, nogil=True)
def find_level(levels, count, key):
    """Return the first place whose key is not below `key`; the best level is the last."""
    low, high = 0, count
    if count > 16 and levels[count - 16, KEY] < key:
        low = count - 15
    while low < high:
        middle = (low + high) >> 1
        if levels[middle, KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def level_at(levels, state, s, key):
    """Return the place of a level, which is made when it is not there."""
    count = state[s]
    at = find_level(levels[s], count, key)
    if at < count and levels[s, at, KEY] == key:
        return at
    for i in range(count, at, -1):
        levels[s, i] = levels[s, i - 1]
    levels[s, at, KEY], levels[s, at, TOTAL] = key, 0
    levels[s, at, HIDDEN_PART], levels[s, at, NEWEST] = 0, NO_ORDER
    state[s] = count + 1
    return at


@njit(cache=True, nogil=True)
def drop_if_empty(levels, state, s, at):
    """Remove a level without quantity."""
    if levels[s, at, TOTAL] == 0:
        for i in range(at, state[s] - 1):
            levels[s, i] = levels[s, i + 1]
        state[s] -= 1


@njit(cache=True, nogil=True)
def place_of(ids, order_id):
    """Return the place of an order in the table of ids (0: free), or the place where it would be put."""
    mask = len(ids) - 1
    at = ((order_id * np.int64(-7046029254386353131)) >> np.int64(20)) & mask
    while ids[at] != 0 and ids[at] != order_id:
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
def rehash(old_ids, old_slots, ids, slots):
    """Put every id into a larger table."""
    for i in range(len(old_ids)):
        if old_ids[i] != 0:
            at = place_of(ids, old_ids[i])
            ids[at], slots[at] = old_ids[i], old_slots[i]


@njit(cache=True, nogil=True)
def emit(rows, state, message, kind, s, key, quantity, order_id):
    """Write a row; `s` is 0 for +1 and 1 for -1."""
    n = state[ROWS]
    rows[n, 0], rows[n, 1], rows[n, 2] = message, kind, 1 if s == 0 else -1
    rows[n, 3], rows[n, 4], rows[n, 5] = key if s == 0 else -key, quantity, order_id
    state[ROWS] = n + 1


@njit(cache=True, nogil=True)
def anonymous_id(s, key):
    """Return the id of the anonymous order of a level."""
    return ANONYMOUS + 2 * key if s == 0 else ANONYMOUS - 2 * key + 1


@njit(cache=True, nogil=True)
def take_known(levels, orders, state, s, at, slot, quantity):
    """Take quantity off a known order of the level at `at`, which may become empty."""
    orders[slot, LEFT] -= quantity
    levels[s, at, TOTAL] -= quantity
    if orders[slot, LEFT] == 0:
        older, newer = orders[slot, OLDER], orders[slot, NEWER]
        if older != NO_ORDER:
            orders[older, NEWER] = newer
        if newer != NO_ORDER:
            orders[newer, OLDER] = older
        else:
            levels[s, at, NEWEST] = older
        state[LIVE] -= 1


@njit(cache=True, nogil=True)
def submit(message, order_id, size, s, key, levels, orders, order_ids, ids, slots, state, rows):
    """Take a new order; one that is alive under the same id goes first."""
    at = place_of(ids, order_id)
    if ids[at] == order_id:
        state[DUPLICATES] += 1
        slot = slots[at]
        if orders[slot, LEFT] > 0:
            old_s, old_key, left = orders[slot, SIDE], orders[slot, PRICE_KEY], orders[slot, LEFT]
            level = level_at(levels, state, old_s, old_key)
            take_known(levels, orders, state, old_s, level, slot, left)
            drop_if_empty(levels, state, old_s, level)
            emit(rows, state, message, CANCEL, old_s, old_key, left, order_id)
    else:
        slot = state[ORDERS]
        state[ORDERS] += 1
        ids[at], slots[at], order_ids[slot] = order_id, slot, order_id
    level = level_at(levels, state, s, key)
    newest = levels[s, level, NEWEST]
    orders[slot, SIDE], orders[slot, PRICE_KEY], orders[slot, LEFT] = s, key, size
    orders[slot, OLDER], orders[slot, NEWER] = newest, NO_ORDER
    if newest != NO_ORDER:
        orders[newest, NEWER] = slot
    levels[s, level, NEWEST] = slot
    levels[s, level, TOTAL] += size
    state[LIVE] += 1
    emit(rows, state, message, ADD, s, key, size, order_id)


@njit(cache=True, nogil=True)
def reduce(message, type_, order_id, size, s, key, levels, orders, ids, slots, state, rows):
    """Take a cancel, delete or execution: off its order, or off what is anonymous at its price."""
    kind = FILL if type_ == EXECUTE else CANCEL
    at = place_of(ids, order_id)
    if ids[at] == order_id and orders[slots[at], LEFT] > 0:
        slot = slots[at]
        left, old_s, old_key = orders[slot, LEFT], orders[slot, SIDE], orders[slot, PRICE_KEY]
        gone = left if type_ == DELETE else min(left, size)
        if gone != size:
            state[SIZES] += 1
        level = level_at(levels, state, old_s, old_key)
        take_known(levels, orders, state, old_s, level, slot, gone)
        drop_if_empty(levels, state, old_s, level)
        emit(rows, state, message, kind, old_s, old_key, gone, order_id)
        return
    if ids[at] == order_id:
        state[REMOVED] += 1
    else:
        state[UNKNOWN_FILLS if type_ == EXECUTE else UNKNOWN_CANCELS] += 1
    level = find_level(levels[s], state[s], key)
    if level < state[s] and levels[s, level, KEY] == key:
        gone = min(levels[s, level, HIDDEN_PART], size)
        if gone > 0:
            levels[s, level, HIDDEN_PART] -= gone
            levels[s, level, TOTAL] -= gone
            drop_if_empty(levels, state, s, level)
            emit(rows, state, message, kind, s, key, gone, anonymous_id(s, key))


@njit(cache=True, nogil=True)
def set_level(message, s, key, size, levels, orders, order_ids, state, rows):
    """Make a level as large as the provider says: by its anonymous order, then by its newest known ones."""
    at = level_at(levels, state, s, key)
    more = size - levels[s, at, TOTAL]
    hidden = levels[s, at, HIDDEN_PART]
    if more > 0:
        levels[s, at, HIDDEN_PART] += more
        levels[s, at, TOTAL] = size
        emit(rows, state, message, MODIFY if hidden else ADD, s, key, hidden + more, anonymous_id(s, key))
        return
    gone = min(hidden, -more)
    if gone > 0:
        levels[s, at, HIDDEN_PART] -= gone
        levels[s, at, TOTAL] -= gone
        more += gone
        emit(rows, state, message, CANCEL, s, key, gone, anonymous_id(s, key))
    while more < 0:
        slot = levels[s, at, NEWEST]
        gone = min(orders[slot, LEFT], -more)
        take_known(levels, orders, state, s, at, slot, gone)
        more += gone
        emit(rows, state, message, CANCEL, s, key, gone, order_ids[slot])
    drop_if_empty(levels, state, s, at)


@njit(cache=True, nogil=True)
def reconcile(message, s, row, depth, edge, levels, orders, order_ids, state, rows):
    """Make one side equal to the provider's row as far as it sees; return the key of its worst level (its edge).

    row : (4 * depth,) int64; edge : the edge after the message before: a level beyond it enters the window now
    """
    seen = 0
    first = 2 if s == 0 else 0
    at = state[s] - 1
    key = np.int64(-(1 << 62))
    while seen < depth and row[first + 4 * seen + 1] > 0:
        price, size = row[first + 4 * seen], row[first + 4 * seen + 1]
        key = price if s == 0 else -price
        # What is better than this price and not in the row is gone.
        while at >= 0 and levels[s, at, KEY] > key:
            state[DIFFERING if levels[s, at, KEY] >= edge else ENTERED] += 1
            set_level(message, s, levels[s, at, KEY], 0, levels, orders, order_ids, state, rows)
            at -= 1
        if at < 0 or levels[s, at, KEY] != key or levels[s, at, TOTAL] != size:
            state[DIFFERING if key >= edge else ENTERED] += 1
            set_level(message, s, key, size, levels, orders, order_ids, state, rows)
            at = find_level(levels[s], state[s], key)
        at -= 1
        seen += 1
    if seen == depth:
        return key
    while at >= 0:
        state[DIFFERING if levels[s, at, KEY] >= edge else ENTERED] += 1
        set_level(message, s, levels[s, at, KEY], 0, levels, orders, order_ids, state, rows)
        at -= 1
    return np.int64(-(1 << 62))


@njit(cache=True, nogil=True)
def is_ladder(row, depth):
    """Return whether both sides of a row are ordered, best first, with free places (quantity 0) at their ends only."""
    for s in range(2):
        first = 2 if s == 0 else 0
        sign = 1 if s == 0 else -1
        for i in range(depth):
            price, size = row[first + 4 * i], row[first + 4 * i + 1]
            if size < 0 or (size > 0 and (price <= 0 or price >= 1 << 40)):
                return False
            if i and size > 0:
                before = row[first + 4 * i - 4]
                if row[first + 4 * i - 3] == 0 or sign * price >= sign * before:
                    return False
    return True


@njit(cache=True, nogil=True)
def seed(type_, size, s, price, row, depth, levels, state, rows):
    """Begin the book: the first row less the first message, all of it anonymous."""
    for side in range(2):
        first = 2 if side == 0 else 0
        for i in range(depth):
            quantity = row[first + 4 * i + 1]
            if quantity > 0:
                key = row[first + 4 * i] if side == 0 else -row[first + 4 * i]
                at = level_at(levels, state, side, key)
                levels[side, at, TOTAL] = levels[side, at, HIDDEN_PART] = quantity
    key = price if s == 0 else -price
    if type_ <= EXECUTE:
        at = level_at(levels, state, s, key)
        change = -min(size, levels[s, at, TOTAL]) if type_ == SUBMIT else size
        levels[s, at, TOTAL] += change
        levels[s, at, HIDDEN_PART] += change
        drop_if_empty(levels, state, s, at)
    emit(rows, state, -1, CLEAR, 0, 0, 0, 0)
    emit(rows, state, -1, CLEAR, 1, 0, 0, 0)
    for side in range(2):
        for at in range(state[side] - 1, -1, -1):
            key = levels[side, at, KEY]
            emit(rows, state, -1, SNAPSHOT, side, key, levels[side, at, TOTAL], anonymous_id(side, key))
    if state[BIDS] + state[ASKS] == 0:
        # A book that is known to be empty.
        emit(rows, state, -1, SNAPSHOT, 0, 0, 0, 0)


@njit(cache=True, nogil=True)
def advance(start, messages, book, levels, orders, order_ids, ids, slots, edges, state, rows):
    """Take messages from `start` on; return how many are done in all: fewer than there are for want of room.

    messages : (n, 5) int64, type, order id, size, price, direction; book : (n, 4 * depth) int64
    levels : (2, room, LEVEL_FIELDS); orders : (room, ORDER_FIELDS), order_ids : (room,); ids, slots : (capacity,), a
    power of two; edges : (2,) int64, worst keys of the row before; state : (STATE_SIZE,); rows : (room, ROW_FIELDS)

    A row that is no ladder returns LADDER_FAULT less the messages done.
    """
    depth = book.shape[1] // 4
    for i in range(start, len(messages)):
        # What one message may need at most, so that it never stops half-way: it may empty the whole model.
        needed = state[LIVE] + state[BIDS] + state[ASKS] + 6 * depth + 16
        if needed > len(rows) - state[ROWS] or max(state[BIDS], state[ASKS]) + 2 * depth + 4 > levels.shape[1]:
            return i
        if state[ORDERS] == len(orders) or 2 * (state[ORDERS] + 1) > len(ids):
            return i
        if not is_ladder(book[i], depth):
            return LADDER_FAULT - i
        type_, order_id, size, price = messages[i, 0], messages[i, 1], messages[i, 2], messages[i, 3]
        s = 0 if messages[i, 4] > 0 else 1
        key = price if s == 0 else -price
        if state[SEEDED] == 0:
            seed(type_, size, s, price, book[i], depth, levels, state, rows)
            state[SEEDED] = 1
        if type_ == SUBMIT:
            submit(i, order_id, size, s, key, levels, orders, order_ids, ids, slots, state, rows)
        elif type_ == HALT:
            state[HALTS] += 1
        elif type_ <= EXECUTE:
            if type_ == EXECUTE:
                # The seller meets a resting bid: the aggressor is of the other side.
                emit(rows, state, i, TRADE, 1 - s, price if s else -price, size, 0)
            reduce(i, type_, order_id, size, s, key, levels, orders, ids, slots, state, rows)
        else:
            emit(rows, state, i, PRINT, 1 - s, price if s else -price, size, 0)
            if type_ == CROSS:
                rows[state[ROWS] - 1, 2] = 0
        for side in range(2):
            edges[side] = reconcile(i, side, book[i], depth, edges[side], levels, orders, order_ids, state, rows)
    return len(messages)
