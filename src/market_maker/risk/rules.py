"""The arithmetic of limits, once for all: live orders, assessments and the compiled replay.

Pure functions of whole numbers (and, where they only compare, of decimals). Imports nothing of ours: kernels compile it.
"""

from typing import Any

OK, WARN, BREACHED = 0, 1, 2
"""States of a limit, in the order of `limits.LimitState`."""
NOT_WORSE = -1
"""The figure of an order that does not make a position larger: no limit on positions looks at it."""
SECOND_NS = 1_000_000_000
_SHARES_MAX = 9 * 10**10


def state_of(value: Any, threshold: Any, held_above: Any, warn_from: Any, warned_from: Any, before: int) -> int:
    """Return the state of a limit at a value.

    BREACHED above the threshold, and from then on above `held_above`; WARN from `warn_from` on, and from then on from
    `warned_from` on; otherwise OK. So a value that trembles on an edge changes the state once.
    """
    if value > threshold or (before == BREACHED and value > held_above):
        return BREACHED
    if value >= warn_from or (before != OK and value >= warned_from):
        return WARN
    return OK


def larger_position(held: int, change: int) -> int:
    """Return the size of a position after a change, signed lots; NOT_WORSE when it is no larger than before."""
    after = abs(held + change)
    return after if after > abs(held) else NOT_WORSE


def only_reduces(side: int, held: int, resting: int, added: int) -> bool:
    """Return whether an order of `added` lots reduces a position, together with all that rests on its side."""
    return added + resting <= -side * held


def collar_share(price: int, reference: int) -> int:
    """Return by which share of a reference price another one is off it, in 1e-8, rounded up; both in one unit, positive.

    In two steps of 1e-4, so that nothing leaves 64 bits for prices below 2^42.
    """
    off = abs(price - reference)
    whole, rest = off // reference, (off % reference) * 10_000
    parts, rest = rest // reference, (rest % reference) * 10_000
    return min(whole, _SHARES_MAX) * 100_000_000 + parts * 10_000 - (-rest // reference)


def result_of(settled: int, mark_half_ticks: int, lots: int) -> int:
    """Return what a position has earned in half tick-lots: settled tick-lots (cash less fees) and its lots at the mark."""
    return 2 * settled + mark_half_ticks * lots
