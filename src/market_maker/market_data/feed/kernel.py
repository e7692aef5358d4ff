"""Levels from orders, and the book behind the rows of a replay.

Sorted levels and the table of orders are those of the book beside it, function by function: a cached caller does not notice
that a callee in another module has changed. Interpreted and compiled form are the same code.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

entry = njit(cache=True, nogil=True)
inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls, with arrays that their caller holds: they compile faster."""

TRADE, CLEAR, SNAPSHOT, ADD, CANCEL, MODIFY, FILL = 2, 3, 4, 6, 7, 8, 9
LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3

ROWS, USED, FILLS_TRADE, CARRIED, OPEN, AHEAD = range(6)
"""Places of `state`: rows written; places of the order table in use; whether a FILL tells of a trade that no TRADE tells of;
whether orders come from the time before; trades of the present event whose fills may come yet; the row up to which a trade was
looked for that comes after its fills."""
STATE_SIZE = 6
SIDE, KEY, LEFT, JOINED = range(4)
"""Columns of an order: side index, level key, quantity left, when it took its place in the queue."""
ORDER_FIELDS = 4
ROW_FIELDS = 6
"""Columns of a row: row of the orders that its times are of, place in the venue's order, code, price, quantity, joined."""
OPEN_MAX = 64
"""Trades of one event that may wait for their fills; of more, the first ones have none."""

NOBODY = 2**62
"""`joined` of a trade of which no resting order is known: behind every order that was displayed."""
ANONYMOUS, ANONYMOUS_END = 2**62, 2**62 + 2**42
"""Ids between these are of no order of a venue: what a level holds beside the orders that messages tell, see `importers.lobster`."""

FREE, GONE = -(2**63), -(2**63) + 1
"""Places of the order table without an order: never used, and left by one."""

INSTANTS, CROSSED, FIRST_CROSSED, OVERRUN = range(4)
"""Places of `figures`: instants with a level, those of them that leave a side standing at or through the other one, the first
one's last row; levels of the present instant that were overrun and not yet removed."""
FIGURES_SIZE = 4


class Messages(NamedTuple):
    """Rows of a table of orders, all (n,): whole events, which are the rows of one time of the venue.

    exch_ts, local_ts, price, quantity, order_id : int64; kind, side : int8; begins : bool, the first row of an event
    left : int64, what of a TRADE with a side was not told yet; at first its quantity, 0 for other rows
    """

    exch_ts: Any
    local_ts: Any
    begins: Any
    kind: Any
    side: Any
    price: Any
    quantity: Any
    order_id: Any
    left: Any


class Book(NamedTuple):
    """Orders and levels.

    ids : (capacity,) int64, a power of two; orders : (capacity, ORDER_FIELDS) int64
    prices, lots : (2, room) int64; counts : (2,) int64; state : (STATE_SIZE,) int64
    open_rows : (OPEN_MAX,) int64, trades of the present event that wait for their fills
    """

    ids: Any
    orders: Any
    prices: Any
    lots: Any
    counts: Any
    state: Any
    open_rows: Any


@inner
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


@inner
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


@inner
def level_of(prices, lots, counts, s, key):
    """Return the quantity of a level, 0 without one."""
    at = find_level(prices[s], counts[s], key)
    return lots[s, at] if at < counts[s] and prices[s, at] == key else np.int64(0)


@inner
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


@entry
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


@inner
def emit(row, turn, code, price, quantity, joined, book, out):
    """Write a row."""
    n = book.state[ROWS]
    out[n, 0], out[n, 1], out[n, 2] = row, turn, code
    out[n, 3], out[n, 4], out[n, 5] = price, quantity, joined
    book.state[ROWS] = n + 1


@inner
def change_level(i, at, change, book, out):
    """Add what an order has changed to its level, and write the level."""
    s, key = book.orders[at, SIDE], book.orders[at, KEY]
    book.orders[at, LEFT] += change
    quantity = level_of(book.prices, book.lots, book.counts, s, key) + change
    set_level(book.prices, book.lots, book.counts, s, key, quantity)
    code, price = (LEVEL_ROW, key) if s == 0 else (-LEVEL_ROW, -key)
    emit(i, i, code, price, quantity, book.orders[at, JOINED], book, out)


@inner
def end_trade(row, rows, book, out):
    """Write what of a trade no fill has told, where it stands."""
    if rows.left[row] > 0:
        code = TRADE_ROW if rows.side[row] > 0 else -TRADE_ROW
        emit(row, row, code, rows.price[row], rows.left[row], NOBODY, book, out)
        rows.left[row] = 0


@inner
def end_event(rows, book, out):
    """No fill comes any more for the trades that wait."""
    for i in range(book.state[OPEN]):
        end_trade(book.open_rows[i], rows, book, out)
    book.state[OPEN] = 0


@inner
def open_trade(row, rows, book, out):
    """Let a trade wait for its fills; one that has found all of them before it is written already."""
    waiting = book.open_rows
    if rows.left[row] == 0:
        return
    n = 0
    for i in range(book.state[OPEN]):
        if rows.left[waiting[i]] > 0:
            waiting[n] = waiting[i]
            n += 1
    if n == OPEN_MAX:
        end_trade(waiting[0], rows, book, out)
        n -= 1
        for i in range(n):
            waiting[i] = waiting[i + 1]
    waiting[n] = row
    book.state[OPEN] = n + 1


@inner
def belongs(row, s, tick, rows):
    """Return whether a trade was with an order of side s, at a price (0: any price)."""
    return rows.left[row] > 0 and (rows.side[row] > 0) == (s == 1) and (rows.price[row] == tick or tick == 0)


@inner
def trade_of(i, s, tick, rows, book):
    """Return the trade that row i is a fill of, with an order of side s at a price (0: any price); -1 without one.

    Fills come right after their trade, so they belong to the last one; cancels after all trades, so to the first. A FILL may
    also come before its trade, in the same message.
    """
    state = book.state
    is_fill = rows.kind[i] == FILL
    n = state[OPEN]
    for k in range(n):
        row = book.open_rows[n - 1 - k if is_fill else k]
        if belongs(row, s, tick, rows):
            return row
    if is_fill:
        row = max(state[AHEAD], np.int64(i + 1))
        ts, received = rows.exch_ts[i], rows.local_ts[i]
        end = len(rows.kind)
        while row < end and rows.exch_ts[row] == ts and rows.local_ts[row] == received and rows.left[row] == 0:
            row += 1
        state[AHEAD] = row
        if row < end and rows.exch_ts[row] == ts and rows.local_ts[row] == received and belongs(row, s, tick, rows):
            return row
    return np.int64(-1)


@inner
def tell_trades(i, at, gone, rows, book, out):
    """Write the trades that have taken `gone` off the order at a place of the table, before its level shows that.

    Those at the price of the order come first; a FILL may be at another one.
    """
    s, joined = book.orders[at, SIDE], book.orders[at, JOINED]
    code, own = (-TRADE_ROW, book.orders[at, KEY]) if s == 0 else (TRADE_ROW, -book.orders[at, KEY])
    is_fill = rows.kind[i] == FILL
    if is_fill and book.state[FILLS_TRADE] == 1:
        emit(i, i, code, own, gone, joined, book, out)
        return
    tick = own
    while gone > 0:
        row = trade_of(i, s, tick, rows, book)
        if row < 0:
            if tick == 0 or not is_fill:
                return
            tick = np.int64(0)
            continue
        part = min(gone, rows.left[row])
        # By the venue's clock it comes with what it has taken, and so it was received, unless that was told later.
        told = np.int64(i) if rows.local_ts[row] == rows.local_ts[i] else row
        emit(told, i, code, rows.price[row], part, joined, book, out)
        rows.left[row] -= part
        gone -= part


@inner
def place_in_queue(i, rows, book):
    """Return when an order that row i brings into the queue of its price took its place there."""
    if ANONYMOUS <= rows.order_id[i] < ANONYMOUS_END:
        return np.int64(0)
    if rows.kind[i] == SNAPSHOT:
        # Which order of the time before it is, is found when that time is known.
        return -np.int64(1 + i) if book.state[CARRIED] == 1 else np.int64(0)
    return np.int64(rows.exch_ts[i])


@inner
def clear(i, s, book, out):
    """Remove every order of a side."""
    for at in range(len(book.ids)):
        if book.ids[at] > GONE and book.orders[at, SIDE] == s:
            book.ids[at] = GONE
    book.counts[s] = 0
    emit(i, i, CLEAR_ROW if s == 0 else -CLEAR_ROW, 0, 0, 0, book, out)


@entry
def levels_of_orders(start, rows, book, out):
    """Turn rows of a book by order into rows of a replay, from `start` on; return where it stopped for want of room.

    Each row of a level is the change of one order, each row of a trade the execution of one, `joined` that order's. A trade
    that has executed several orders is told in parts, each with the level that it has shrunk.

    rows : `Messages`; book : `Book`; out : (2 * n, ROW_FIELDS) int64, of which `state[ROWS]` are written
    """
    ids, orders, state = book.ids, book.orders, book.state
    n = len(rows.kind)
    for i in range(start, n):
        if rows.begins[i]:
            end_event(rows, book, out)
        k = rows.kind[i]
        s = 0 if rows.side[i] > 0 else 1
        if k == TRADE:
            open_trade(np.int64(i), rows, book, out)
        elif k == CLEAR:
            clear(i, s, book, out)
        if k != CANCEL and k != FILL and k != ADD and k != SNAPSHOT and k != MODIFY:
            continue
        room = book.prices.shape[1]
        if 2 * (state[USED] + 1) > len(ids) or book.counts[0] + 2 > room or book.counts[1] + 2 > room:
            return i
        order_id, quantity = rows.order_id[i], rows.quantity[i]
        key = rows.price[i] if s == 0 else -rows.price[i]
        at = place_of(ids, order_id)
        gone, more = np.int64(0), np.int64(0)
        if k == CANCEL or k == FILL:
            gone = min(quantity, orders[at, LEFT]) if ids[at] == order_id else gone
        else:
            left = orders[at, LEFT] if ids[at] == order_id else np.int64(0)
            stays = left > 0 and k == MODIFY and orders[at, SIDE] == s and orders[at, KEY] == key
            if stays and (quantity <= left or ANONYMOUS <= order_id < ANONYMOUS_END):
                # What shrinks keeps its place; what is anonymous has none to lose.
                gone, more = max(np.int64(0), left - quantity), max(np.int64(0), quantity - left)
            else:
                gone, more = left, quantity
        if gone > 0:
            if k != ADD and k != SNAPSHOT:
                tell_trades(i, at, gone, rows, book, out)
            change_level(i, at, -gone, book, out)
            if orders[at, LEFT] == 0:
                ids[at] = GONE
        if more > 0:
            if ids[at] != order_id:
                at = place_of(ids, order_id)
                if ids[at] == FREE:
                    state[USED] += 1
                ids[at] = order_id
                orders[at, SIDE], orders[at, KEY], orders[at, LEFT] = s, key, 0
                orders[at, JOINED] = place_in_queue(i, rows, book)
            change_level(i, at, more, book, out)
    end_event(rows, book, out)
    return n


@entry
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


@entry
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
