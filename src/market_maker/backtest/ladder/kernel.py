"""A level book over dense pages of ticks, allocated where the feed has levels.

Owns setting a level, the best prices, the search outward from them and the displacement of the whole book. Knows
nothing of orders or time. Side index 0 is bid, 1 is ask; a price of 0 means that there is none. Every tick that goes
in or comes out is a displaced one; pages hold recorded ticks. Interpreted and compiled form are the same code.

A replay keeps quantities alone: the best prices after each row, and where its quantity is stored, are the same for every
run over a feed, so `follow` finds them once, and a row of a level then costs one store.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

PAGE_SHIFT = 9
PAGE_TICKS = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_TICKS - 1
FIRST_PAGE, IN_USE, MID, DISPLACED, IMPACT = 0, 1, 2, 3, 4
EMPTY_SIDE = 1 << 50
"""In a column of best quotes an empty side holds the last mid less this: negative, so that it is no price."""

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls, with arrays that their caller holds: without wrappers for Python and without
counting references they compile faster, and the replay runs faster."""
inlined = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False, forceinline=True)
"""For the few that are called for every row or order."""


@inlined
def nth(index):
    """Return an index that is not negative such that Numba need not look whether it is."""
    return np.uint64(index)


class Ladder(NamedTuple):
    """State of one book.

    best : (2,) int64, best bid and best ask in ticks, 0 without one
    table : (2, pages) int32, position of a tick page in the pool, -1 where nothing was ever displayed
    quantity : (pool * PAGE_TICKS + 1,) int64, lots by tick; the last element is where rows of no level are stored
    occupied : (pool,) int32, levels with a quantity in each page of the pool; not counted (1) in the book of a replay
    extent : (5,) int64, first page number, pages of the pool in use, the mid in half ticks (while a side is empty, the
        last one before), the displacement in ticks and the part of it that own orders have caused
    """

    best: Any
    table: Any
    quantity: Any
    occupied: Any
    extent: Any


def new_ladder(first_page: int, pages: int, pool: int) -> Ladder:
    """Return an empty book for ticks of pages first_page .. first_page + pages - 1 with room for `pool` pages."""
    pool = max(1, pool)
    return Ladder(
        best=np.zeros(2, np.int64),
        table=np.full((2, max(1, pages)), -1, np.int32),
        quantity=np.zeros(pool * PAGE_TICKS + 1, np.int64),
        occupied=np.zeros(pool, np.int32),
        extent=np.array([first_page, 0, 0, 0, 0], np.int64),
    )


def new_book(followed: Ladder) -> Ladder:
    """Return an empty book of quantities that shares the places of `followed`, whose `follow` wrote its rows' slots."""
    return Ladder(
        best=np.zeros(2, np.int64),
        table=followed.table,
        quantity=np.zeros_like(followed.quantity),
        occupied=np.ones_like(followed.occupied),
        extent=np.array([followed.extent[FIRST_PAGE], 0, 0, 0, 0], np.int64),
    )


@inlined
def slot_of(ladder, s, tick):
    """Return the index of a tick in `quantity`, -1 when its page was never displayed."""
    tick -= ladder.extent[DISPLACED]
    page = (tick >> PAGE_SHIFT) - ladder.extent[FIRST_PAGE]
    if page < 0 or page >= ladder.table.shape[1]:
        return np.int64(-1)
    # As `nth` does, which Python could not call: a session asks without the compiled kernel.
    position = np.int64(ladder.table[np.uint64(s), np.uint64(page)])
    if position < 0:
        return np.int64(-1)
    return (position << PAGE_SHIFT) | (tick & PAGE_MASK)


@inlined
def level(ladder, s, tick):
    """Return the displayed lots at a tick."""
    slot = slot_of(ladder, s, tick)
    return ladder.quantity[nth(slot)] if slot >= 0 else np.int64(0)


@inner
def next_outward(ladder, s, tick):
    """Return the next tick with a quantity, away from the touch (bids down, asks up); 0 when there is none.

    A level that the displacement puts at 0 or below is none.
    """
    displacement = ladder.extent[DISPLACED]
    step = 1 if s == 1 else -1
    tick += step - displacement
    page = (tick >> PAGE_SHIFT) - ladder.extent[FIRST_PAGE]
    offset = tick & PAGE_MASK
    pages = ladder.table.shape[1]
    while 0 <= page < pages:
        position = np.int64(ladder.table[s, page])
        if position >= 0 and ladder.occupied[position] > 0:
            start = position << PAGE_SHIFT
            while 0 <= offset < PAGE_TICKS:
                if ladder.quantity[start + offset] > 0:
                    found = ((page + ladder.extent[FIRST_PAGE]) << PAGE_SHIFT) + offset + displacement
                    return max(np.int64(0), found)
                offset += step
        page += step
        offset = 0 if s == 1 else PAGE_MASK
    return np.int64(0)


@inner
def new_page(ladder, s, page):
    """Return the position of a page that has no place in the pool yet."""
    position = ladder.extent[IN_USE]
    if page < 0 or page >= ladder.table.shape[1] or position >= len(ladder.occupied):
        raise IndexError("the feed has a price outside the range that it declared")
    ladder.table[s, page] = position
    ladder.extent[IN_USE] += 1
    return position


@inner
def move_best(ladder, s, tick, sum_of_best):
    """Move the best price of a side outward from `tick`; when nothing is left, keep the last sum of both."""
    found = next_outward(ladder, s, tick)
    ladder.best[s] = found
    if found == 0:
        ladder.extent[MID] = sum_of_best


@inner
def set_level(ladder, s, tick, lots):
    """Set a level, keep the best prices and return the index of its quantity.

    A new best at or through the other side's best moves that one to its next level outward; the levels in between
    stay stored. So does a level that the displacement puts at 0 or below: it is seen once the book has risen.
    """
    slot = slot_of(ladder, s, tick)
    if slot < 0:
        if lots == 0:
            return np.int64(len(ladder.quantity) - 1)
        recorded = tick - ladder.extent[DISPLACED]
        position = new_page(ladder, s, (recorded >> PAGE_SHIFT) - ladder.extent[FIRST_PAGE])
        slot = (position << PAGE_SHIFT) | (recorded & PAGE_MASK)
    ladder.occupied[nth(slot >> PAGE_SHIFT)] += (1 if lots > 0 else 0) - (1 if ladder.quantity[nth(slot)] > 0 else 0)
    ladder.quantity[nth(slot)] = lots
    sign = 1 - 2 * s
    best = ladder.best[nth(s)]
    if lots > 0:
        if (best == 0 or sign * (tick - best) > 0) and tick > 0:
            ladder.best[s] = tick
            other = ladder.best[1 - s]
            if other != 0 and sign * (tick - other) >= 0:
                move_best(ladder, 1 - s, tick, best + other if best != 0 else ladder.extent[MID])
    elif tick == best and best != 0:
        other = ladder.best[1 - s]
        move_best(ladder, s, tick, best + other if other != 0 else ladder.extent[MID])
    return slot


@inner
def clear_quantities(ladder, s):
    """Remove every level of a side."""
    for page in range(ladder.table.shape[1]):
        position = np.int64(ladder.table[s, page])
        if position >= 0:
            start = position << PAGE_SHIFT
            for slot in range(start, start + PAGE_TICKS):
                ladder.quantity[slot] = 0


@inner
def clear_side(ladder, s):
    """Remove every level of a side and its best price."""
    if ladder.best[0] != 0 and ladder.best[1] != 0:
        ladder.extent[MID] = ladder.best[0] + ladder.best[1]
    clear_quantities(ladder, s)
    for page in range(ladder.table.shape[1]):
        if ladder.table[s, page] >= 0:
            ladder.occupied[ladder.table[s, page]] = 0
    ladder.best[s] = 0


@inner
def displace(ladder, displacement):
    """Move the whole book to `displacement` ticks off the recorded prices: levels, best prices and the last mid."""
    change = displacement - ladder.extent[DISPLACED]
    if ladder.best[0] != 0 and ladder.best[1] != 0:
        ladder.extent[MID] = ladder.best[0] + ladder.best[1]
    if ladder.extent[MID] != 0:
        ladder.extent[MID] += 2 * change
    ladder.extent[DISPLACED] = displacement
    for s in range(2):
        if ladder.best[s] != 0:
            moved = ladder.best[s] + change
            ladder.best[s] = moved if moved > 0 else next_outward(ladder, s, np.int64(0))


@inner
def copy_levels(ladder, s, levels):
    """Write the best levels of a side into `levels`, best first, zeros after the last."""
    tick = ladder.best[s]
    for i in range(len(levels)):
        levels[i]["price_ticks"] = tick
        levels[i]["qty_lots"] = level(ladder, s, tick) if tick != 0 else 0
        if tick != 0:
            tick = next_outward(ladder, s, tick)


def follow(ladder, rows, quotes, slots):
    """Entry point of `follow_rows`."""
    follow_rows(ladder, rows, quotes, slots)


@inner
def follow_rows(ladder, rows, quotes, slots):
    """Apply rows; write best bid and best ask after each of them (n, 2; see `EMPTY_SIDE`) and the slots of their levels."""
    ts, price, qty, code = rows.ts, rows.price_ticks, rows.qty_lots, rows.code
    nowhere = len(ladder.quantity) - 1
    for i in range(len(ts)):
        kind = code[nth(i)]
        slot = nowhere
        if kind == 1 or kind == -1:
            slot = set_level(ladder, 0 if kind > 0 else 1, price[nth(i)], qty[nth(i)])
        elif kind == 3 or kind == -3:
            clear_side(ladder, 0 if kind > 0 else 1)
        elif kind == 4:
            displace(ladder, price[i])
        slots[nth(i)] = slot
        bid, ask = ladder.best[0], ladder.best[1]
        empty = ladder.extent[MID] - EMPTY_SIDE
        quotes[nth(i), 0] = bid if bid > 0 else empty
        quotes[nth(i), 1] = ask if ask > 0 else empty


@inlined
def settle(ladder, quotes, i):
    """Take over best prices and mid after row `i`; -1, before the first row of a stretch, leaves what was."""
    if i < 0:
        return
    bid, ask, impact = quotes[nth(i), 0], quotes[nth(i), 1], ladder.extent[IMPACT]
    if bid > 0 and ask > 0:
        ladder.extent[MID] = bid + ask + 2 * impact
    else:
        ladder.extent[MID] = (bid if bid <= 0 else ask) + EMPTY_SIDE + 2 * impact
    ladder.best[0] = max(np.int64(0), bid + impact) if bid > 0 else np.int64(0)
    ladder.best[1] = max(np.int64(0), ask + impact) if ask > 0 else np.int64(0)


@inner
def push(ladder, impact):
    """Move the whole book so that own orders have displaced it by `impact` ticks; return by how many it moved."""
    change = impact - ladder.extent[IMPACT]
    ladder.extent[IMPACT] = impact
    ladder.extent[DISPLACED] += change
    if ladder.extent[MID] != 0:
        ladder.extent[MID] += 2 * change
    for s in range(2):
        if ladder.best[s] != 0:
            moved = ladder.best[s] + change
            ladder.best[s] = moved if moved > 0 else next_outward(ladder, s, np.int64(0))
    return change
