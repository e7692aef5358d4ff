"""TotalView-ITCH 5.0 messages over blocks of bytes, to rows of a book by order.

Only instruments that are wanted cost more than the reading of a message's head. Executions, cancels and replacements name
an order and nothing else, so that side, price and what is left of every order in the book are kept here.
"""

import numpy as np
from numba import njit

TRADE, PRINT, ADD, CANCEL, FILL = 2, 5, 6, 7, 9

MORE, ROOM, DIRECTORY, ENDED, BAD_LENGTH, BAD_TYPE, BAD_VALUE, DUPLICATE = range(8)
"""Why it stopped: the block has no further whole message; no room; an R message is at the place returned and done; the
file's end mark; a length that is not the type's; a type that is not known; no shares or no side; an order added twice."""

REASON, MESSAGES, ROWS, USED, UNKNOWN, NON_PRINTABLE, BROKEN, HALTS, EMPTY_CROSSES, HIDDEN, CROSSES, OVERSIZED = range(
    12
)
"""Places of `state`: reason; messages done; rows written; places of the order table in use; then counts of wanted
instruments: references to orders never added, executions that are not to be printed, broken trades, halts and pauses,
crosses without shares, hidden executions, crosses, executions or cancels of more than is left."""
STATE_SIZE = 12

ROW_FIELDS = 9
"""Columns of a row: locate, ns since midnight, kind, side, price, quantity, order id, match number, message (from 1)."""
LOCATE, TS, KIND, SIDE, PRICE, QUANTITY, ORDER_ID, MATCH, MESSAGE = range(ROW_FIELDS)
ORDER_FIELDS = 4
"""Columns of an order: locate, side, price, shares left."""
FREE, GONE = 0, -1


def _lengths():
    table = np.zeros(256, np.int64)
    for letter, length in (
        ("S", 12), ("R", 39), ("H", 25), ("Y", 20), ("L", 26), ("V", 35), ("W", 12), ("K", 28), ("J", 35), ("h", 21),
        ("A", 36), ("F", 40), ("E", 31), ("C", 36), ("X", 23), ("D", 19), ("U", 35), ("P", 44), ("Q", 40), ("B", 19),
        ("I", 50), ("N", 20), ("O", 48),
    ):  # fmt: skip
        table[ord(letter)] = length
    return table


LENGTHS = _lengths()
"""Bytes of a message by its type; 0: no type of ITCH 5.0."""

TYPE_A, TYPE_B, TYPE_C, TYPE_D, TYPE_E, TYPE_F, TYPE_H, TYPE_P, TYPE_Q, TYPE_R, TYPE_U, TYPE_X = (
    65, 66, 67, 68, 69, 70, 72, 80, 81, 82, 85, 88,
)  # fmt: skip


@njit(cache=True, nogil=True, inline="always")
def number(data, at, size):
    """Return a big-endian whole number of `size` bytes."""
    value = np.int64(0)
    for i in range(at, at + size):
        value = (value << 8) | np.int64(data[i])
    return value


@njit(cache=True, nogil=True)
def place_of(ids, order_id):
    """Return the place of an order in the table, or the place where it would be put."""
    mask = len(ids) - 1
    at = ((order_id * np.int64(-7046029254386353131)) >> np.int64(20)) & mask
    free = np.int64(-1)
    while ids[at] != FREE:
        if ids[at] == order_id:
            return at
        if ids[at] == GONE and free < 0:
            free = at
        at = (at + 1) & mask
    return free if free >= 0 else at


@njit(cache=True, nogil=True)
def rehash(old_ids, old_orders, ids, orders):
    """Put every order of one table into a larger or cleaner one; return how many there are."""
    n = 0
    for i in range(len(old_ids)):
        if old_ids[i] > 0:
            at = place_of(ids, old_ids[i])
            ids[at] = old_ids[i]
            orders[at] = old_orders[i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def emit(rows, state, locate, ts, kind, side, price, quantity, order_id, match):
    """Write a row."""
    n = state[ROWS]
    rows[n, LOCATE], rows[n, TS], rows[n, KIND], rows[n, SIDE] = locate, ts, kind, side
    rows[n, PRICE], rows[n, QUANTITY], rows[n, ORDER_ID], rows[n, MATCH] = price, quantity, order_id, match
    rows[n, MESSAGE] = state[MESSAGES] + 1
    state[ROWS] = n + 1


@njit(cache=True, nogil=True)
def add(locate, ts, order_id, side, price, shares, ids, orders, state, rows):
    """Put an order into the book; return False when it is there already."""
    at = place_of(ids, order_id)
    if ids[at] == order_id:
        return False
    if ids[at] == FREE:
        state[USED] += 1
    ids[at] = order_id
    orders[at, 0], orders[at, 1], orders[at, 2], orders[at, 3] = locate, side, price, shares
    emit(rows, state, locate, ts, ADD, side, price, shares, order_id, 0)
    return True


@njit(cache=True, nogil=True)
def take(at, shares, kind, ts, ids, orders, state, rows):
    """Take shares off the order at a place of the table: less than wanted when less is left."""
    if shares > orders[at, 3]:
        state[OVERSIZED] += 1
        shares = orders[at, 3]
    orders[at, 3] -= shares
    emit(rows, state, orders[at, 0], ts, kind, orders[at, 1], orders[at, 2], shares, ids[at], 0)
    if orders[at, 3] == 0:
        ids[at] = GONE


@njit(cache=True, nogil=True)
def prints(type_, data, body, locate, ts, state, rows):
    """Take a trade with a hidden order, a cross, a broken trade or a change of the trading state."""
    if type_ == TYPE_P:
        state[HIDDEN] += 1
        # A sell order was hit by a buyer; B is written of both sides since 2014.
        side = 1 if data[body + 8] == ord("S") else 0
        emit(
            rows,
            state,
            locate,
            ts,
            PRINT,
            side,
            number(data, body + 21, 4),
            number(data, body + 9, 4),
            0,
            number(data, body + 25, 8),
        )
    elif type_ == TYPE_Q:
        shares = number(data, body, 8)
        if shares:
            state[CROSSES] += 1
            emit(rows, state, locate, ts, PRINT, 0, number(data, body + 16, 4), shares, 0, number(data, body + 20, 8))
        else:
            state[EMPTY_CROSSES] += 1
    elif type_ == TYPE_B:
        state[BROKEN] += 1
    elif type_ == TYPE_H and data[body + 8] != ord("T"):
        state[HALTS] += 1


@njit(cache=True, nogil=True)
def change(type_, data, body, locate, ts, ids, orders, state, rows):
    """Take an execution, cancel, delete or replacement; return False when a new order has the id of another."""
    at = place_of(ids, number(data, body, 8))
    if ids[at] != number(data, body, 8) or ids[at] <= 0:
        state[UNKNOWN] += 1
        return True
    side, price = orders[at, 1], orders[at, 2]
    if type_ == TYPE_E:
        shares = min(number(data, body + 8, 4), orders[at, 3])
        emit(rows, state, locate, ts, TRADE, -side, price, shares, 0, number(data, body + 12, 8))
        take(at, number(data, body + 8, 4), FILL, ts, ids, orders, state, rows)
    elif type_ == TYPE_C:
        if data[body + 20] == ord("Y"):
            shares = min(number(data, body + 8, 4), orders[at, 3])
            emit(
                rows, state, locate, ts, TRADE, -side, number(data, body + 21, 4), shares, 0, number(data, body + 12, 8)
            )
        else:
            # Its volume is part of a cross, which has a print of its own.
            state[NON_PRINTABLE] += 1
        take(at, number(data, body + 8, 4), FILL, ts, ids, orders, state, rows)
    elif type_ == TYPE_X:
        take(at, number(data, body + 8, 4), CANCEL, ts, ids, orders, state, rows)
    elif type_ == TYPE_D:
        take(at, orders[at, 3], CANCEL, ts, ids, orders, state, rows)
    else:
        take(at, orders[at, 3], CANCEL, ts, ids, orders, state, rows)
        return add(
            locate, ts, number(data, body + 8, 8), side, number(data, body + 20, 4), number(data, body + 16, 4), ids, orders,
            state, rows,
        )  # fmt: skip
    return True


@njit(cache=True, nogil=True)
def is_wrong(type_, data, body):
    """Return whether a message has no shares, no side, or for a new order no number within 63 bits."""
    if type_ == TYPE_A or type_ == TYPE_F or type_ == TYPE_P:
        side = data[body + 8]
        if type_ != TYPE_P and (data[body] >= 128 or number(data, body, 8) == 0):
            return True
        return (side != ord("B") and side != ord("S")) or number(data, body + 9, 4) == 0
    if type_ == TYPE_U:
        return number(data, body + 16, 4) == 0 or data[body + 8] >= 128 or number(data, body + 8, 8) == 0
    if type_ == TYPE_E or type_ == TYPE_C or type_ == TYPE_X:
        return number(data, body + 8, 4) == 0
    return type_ == TYPE_Q and data[body] >= 128


@njit(cache=True, nogil=True)
def advance(data, start, wanted, lengths, ids, orders, state, rows):
    """Take messages from byte `start` on; return the byte where it stopped, `state[REASON]` says why.

    data : (n,) uint8; wanted : (65536,) bool by stock locate; ids : (capacity,) int64, a power of two, orders : (capacity,
    ORDER_FIELDS); rows : (room, ROW_FIELDS)
    """
    at = start
    while True:
        if at + 2 > len(data):
            state[REASON] = MORE
            return at
        length = number(data, at, 2)
        if length == 0:
            state[REASON] = ENDED
            return at
        if at + 2 + length > len(data):
            state[REASON] = MORE
            return at
        type_ = data[at + 2]
        if lengths[type_] != length:
            state[REASON] = BAD_TYPE if lengths[type_] == 0 else BAD_LENGTH
            return at
        locate = number(data, at + 3, 2)
        if type_ == TYPE_R:
            state[MESSAGES] += 1
            state[REASON] = DIRECTORY
            return at
        if wanted[locate]:
            if 2 * (state[USED] + 2) > len(ids) or state[ROWS] + 4 > len(rows):
                state[REASON] = ROOM
                return at
            body = at + 13
            ts = number(data, at + 7, 6)
            if is_wrong(type_, data, body):
                state[REASON] = BAD_VALUE
                return at
            if type_ == TYPE_A or type_ == TYPE_F:
                side = 1 if data[body + 8] == ord("B") else -1
                done = add(
                    locate, ts, number(data, body, 8), side, number(data, body + 21, 4), number(data, body + 9, 4), ids, orders,
                    state, rows,
                )  # fmt: skip
            elif type_ == TYPE_E or type_ == TYPE_C or type_ == TYPE_X or type_ == TYPE_D or type_ == TYPE_U:
                done = change(type_, data, body, locate, ts, ids, orders, state, rows)
            else:
                done = True
                prints(type_, data, body, locate, ts, state, rows)
            if not done:
                state[REASON] = DUPLICATE
                return at
        state[MESSAGES] += 1
        at += 2 + length
