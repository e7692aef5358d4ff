"""A level book over dense pages of ticks, allocated where the feed has levels.

Owns setting a level, the best prices and the search outward from them. Knows nothing of orders or time.
Side index 0 is bid, 1 is ask; a price of 0 means that there is none. Interpreted and compiled form are the same code.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

PAGE_SHIFT = 9
PAGE_TICKS = 1 << PAGE_SHIFT
PAGE_MASK = PAGE_TICKS - 1

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy")
"""For functions that only compiled code calls: without wrappers for Python the kernel compiles faster."""


class Ladder(NamedTuple):
    """State of one book.

    best : (2,) int64, best bid and best ask in ticks, 0 without one
    table : (2, pages) int32, position of a tick page in the pool, -1 where nothing was ever displayed
    quantity : (pool * PAGE_TICKS,) int64, lots by tick
    taken : like `quantity`, lots that own orders took and the feed has not refreshed; shape (1,) where not kept
    occupied : (pool,) int32, levels with a quantity in each page of the pool
    extent : (4,) int64, first page number, pages of the pool in use, number of levels with something taken, and the
        last sum of both best prices before a side became empty
    """

    best: Any
    table: Any
    quantity: Any
    taken: Any
    occupied: Any
    extent: Any


def new_ladder(first_page: int, pages: int, pool: int, keeps_taken: bool) -> Ladder:
    """Return an empty book for ticks of pages first_page .. first_page + pages - 1 with room for `pool` pages."""
    pool = max(1, pool)
    return Ladder(
        best=np.zeros(2, np.int64),
        table=np.full((2, max(1, pages)), -1, np.int32),
        quantity=np.zeros(pool * PAGE_TICKS, np.int64),
        taken=np.zeros(pool * PAGE_TICKS if keeps_taken else 1, np.int64),
        occupied=np.zeros(pool, np.int32),
        extent=np.array([first_page, 0, 0, 0], np.int64),
    )


@inner
def slot_of(ladder, s, tick):
    """Return the index of a tick in `quantity`, -1 when its page was never displayed."""
    page = (tick >> PAGE_SHIFT) - ladder.extent[0]
    if page < 0 or page >= ladder.table.shape[1]:
        return np.int64(-1)
    position = np.int64(ladder.table[s, page])
    if position < 0:
        return np.int64(-1)
    return (position << PAGE_SHIFT) | (tick & PAGE_MASK)


@inner
def level(ladder, s, tick):
    """Return the displayed lots at a tick."""
    slot = slot_of(ladder, s, tick)
    return ladder.quantity[slot] if slot >= 0 else np.int64(0)


@inner
def free_level(ladder, s, tick):
    """Return the displayed lots at a tick less those that own orders have taken."""
    slot = slot_of(ladder, s, tick)
    if slot < 0:
        return np.int64(0)
    return max(np.int64(0), ladder.quantity[slot] - ladder.taken[slot])


@inner
def take(ladder, s, tick, lots):
    """Remember that own orders took `lots` of a displayed level."""
    slot = slot_of(ladder, s, tick)
    if ladder.taken[slot] == 0:
        ladder.extent[2] += 1
    ladder.taken[slot] += lots


@inner
def next_outward(ladder, s, tick):
    """Return the next tick with a quantity, away from the touch (bids down, asks up); 0 when there is none."""
    step = 1 if s == 1 else -1
    tick += step
    page = (tick >> PAGE_SHIFT) - ladder.extent[0]
    offset = tick & PAGE_MASK
    pages = ladder.table.shape[1]
    while 0 <= page < pages:
        position = np.int64(ladder.table[s, page])
        if position >= 0 and ladder.occupied[position] > 0:
            start = position << PAGE_SHIFT
            while 0 <= offset < PAGE_TICKS:
                if ladder.quantity[start + offset] > 0:
                    return ((page + ladder.extent[0]) << PAGE_SHIFT) + offset
                offset += step
        page += step
        offset = 0 if s == 1 else PAGE_MASK
    return np.int64(0)


@inner
def _new_page(ladder, s, page):
    position = ladder.extent[1]
    if page < 0 or page >= ladder.table.shape[1] or position >= len(ladder.occupied):
        raise IndexError("the feed has a price outside the range that it declared")
    ladder.table[s, page] = position
    ladder.extent[1] += 1
    return position


@inner
def move_best(ladder, s, tick, sum_of_best):
    """Move the best price of a side outward from `tick`; when nothing is left, keep the last sum of both."""
    found = next_outward(ladder, s, tick)
    ladder.best[s] = found
    if found == 0:
        ladder.extent[3] = sum_of_best


@inner
def set_level(ladder, s, tick, lots):
    """Set a level and keep the best prices; return True when the best of this side improved.

    A new best at or through the other side's best moves that one to its next level outward; the levels in
    between stay stored.
    """
    page = (tick >> PAGE_SHIFT) - ladder.extent[0]
    position = np.int64(-1)
    if 0 <= page < ladder.table.shape[1]:
        position = np.int64(ladder.table[s, page])
    if position < 0:
        if lots == 0:
            return False
        position = _new_page(ladder, s, page)
    slot = (position << PAGE_SHIFT) | (tick & PAGE_MASK)
    before = ladder.quantity[slot]
    ladder.quantity[slot] = lots
    ladder.occupied[position] += (1 if lots > 0 else 0) - (1 if before > 0 else 0)
    if ladder.extent[2] > 0 and ladder.taken[slot] > lots:
        ladder.taken[slot] = lots
        if lots == 0:
            ladder.extent[2] -= 1
    sign = 1 - 2 * s
    best = ladder.best[s]
    if lots > 0:
        if best == 0 or sign * (tick - best) > 0:
            ladder.best[s] = tick
            other = ladder.best[1 - s]
            if other != 0 and sign * (tick - other) >= 0:
                move_best(ladder, 1 - s, tick, best + other if best != 0 else ladder.extent[3])
            return True
    elif tick == best:
        other = ladder.best[1 - s]
        move_best(ladder, s, tick, best + other if other != 0 else ladder.extent[3])
    return False


@inner
def clear_side(ladder, s):
    """Remove every level of a side, and what was taken from it."""
    if ladder.best[0] != 0 and ladder.best[1] != 0:
        ladder.extent[3] = ladder.best[0] + ladder.best[1]
    for page in range(ladder.table.shape[1]):
        position = np.int64(ladder.table[s, page])
        if position >= 0:
            start = position << PAGE_SHIFT
            for slot in range(start, start + PAGE_TICKS):
                ladder.quantity[slot] = 0
                if ladder.extent[2] > 0 and ladder.taken[slot] > 0:
                    ladder.taken[slot] = 0
                    ladder.extent[2] -= 1
            ladder.occupied[position] = 0
    ladder.best[s] = 0


@inner
def copy_levels(ladder, s, levels):
    """Write the best levels of a side into `levels`, best first, zeros after the last."""
    tick = ladder.best[s]
    for i in range(len(levels)):
        levels[i]["price_ticks"] = tick
        levels[i]["qty_lots"] = level(ladder, s, tick) if tick != 0 else 0
        if tick != 0:
            tick = next_outward(ladder, s, tick)
