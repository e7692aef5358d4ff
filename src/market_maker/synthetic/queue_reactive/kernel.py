"""One pass over the rows of a recorded book: how often orders came to queues of each length, and how long they were so long.

Functions of arrays. Interpreted and compiled form are the same code. Prices are cut into steps: a bid belongs to the step at
or below its price, an ask to the one at or above. `away` is the distance from the other side's best step, as in the flow.
"""

import math

from numba import njit

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls."""

LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3
"""Codes of rows as in `market_data.feed`: positive for bid or buying aggressor, negative for ask or selling aggressor."""
AT_BEST, BEHIND = 0, 1
"""Whether a queue stands at (or before) its side's best price, or behind it."""
LONGEST_NS = 60_000_000_000
"""A pause that is longer is none of the market: a break of trading or of the recording."""
TRADES_KEPT = 64
TRADE_NS = 1_000_000_000
"""A level that shrinks by what has traded there within so long was not canceled."""
M_TS, M_BEST_BID, M_BEST_ASK, M_TRADES, MEMORY = range(5)
C_LIMITS, C_LIMIT_LOTS, C_MARKETS, C_MARKET_LOTS, C_SECONDS, C_LOG, C_LOG_SQUARED, COUNTS = range(8)


@inner
def length_of(lots, unit, most):
    """Return the length of a queue in units, rounded up."""
    return min(most - 1, (lots + unit - 1) // unit)


@inner
def find_best(queues, s, step, count):
    """Return the best step with a quantity at `step` or behind it, -1 without one."""
    while 0 <= step < count:
        if queues[s, step] > 0:
            return step
        step += -1 if s == 0 else 1
    return -1


@inner
def expose(queues, memory, seconds, unit, times, orders, market_times):
    """Add a span of time to what every queue within reach was exposed to."""
    bid, ask = memory[M_BEST_BID], memory[M_BEST_ASK]
    levels, most = times.shape[1], times.shape[2]
    count = queues.shape[1]
    for s in range(2):
        best, other = (bid, ask) if s == 0 else (ask, bid)
        sign = -1 if s == 0 else 1
        market_times[length_of(queues[s, best], unit, most)] += seconds
        for away in range(1, levels + 1):
            step = other + sign * away
            if step < 0 or step >= count:
                break
            where = BEHIND if sign * (step - best) > 0 else AT_BEST
            lots = queues[s, step]
            times[where, away - 1, length_of(lots, unit, most)] += seconds
            if lots > 0:
                # What is there is one order at least.
                orders[where, away - 1, length_of(lots, unit, most)] += seconds * max(1.0, lots / unit)


def count_rows(
    ts, price, qty, code, low, step_ticks, unit, ticks, queues, memory, trades,
    times, orders, market_times, limits, cancels, markets, totals,
):  # fmt: skip
    """Count the events of a stretch of rows and the time between them.

    Parameters
    ----------
    ts, price, qty, code : rows of the venue's stream
    low, step_ticks, unit : the tick of the first step's first place, ticks in a step, lots in a unit of length
    ticks (2, n), queues (2, m) : lots by tick and by step, bids first; carried from stretch to stretch
    memory (MEMORY,), trades (TRADES_KEPT, 4) : carried; of a trade its time, passive side, price and lots left
    times, orders, limits, cancels (2, levels, lengths) : seconds and order-seconds of exposure, limit orders and cancels, by
        where the queue stands, distance and length before the event
    market_times, markets (lengths,) : the same of market orders, of both sides, by the length of the best queue
    totals (COUNTS,) : limit orders and their lots, market orders and theirs, seconds, sums of log lots and its square
    """
    n = len(ts)
    count, levels, most = queues.shape[1], times.shape[1], times.shape[2]
    i = 0
    while i < n:
        now = ts[i]
        end = i
        clears = False
        while end < n and ts[end] == now:
            if abs(code[end]) == CLEAR_ROW:
                clears = True
            end += 1
        both = memory[M_BEST_BID] >= 0 and memory[M_BEST_ASK] >= 0 and memory[M_BEST_BID] < memory[M_BEST_ASK]
        passed = now - memory[M_TS]
        if both and 0 < passed <= LONGEST_NS:
            expose(queues, memory, passed * 1e-9, unit, times, orders, market_times)
            totals[C_SECONDS] += passed * 1e-9
        # What happens at one instant is told apart by the book before it: what follows a clear is a snapshot, no event.
        counts = both and not clears
        memory[M_TS] = now
        for s in range(2):
            lots = 0
            for row in range(i, end):
                if code[row] == (-TRADE_ROW if s == 0 else TRADE_ROW):
                    lots += qty[row]
                    place = memory[M_TRADES] % TRADES_KEPT
                    trades[place, 0], trades[place, 1], trades[place, 2], trades[place, 3] = (
                        now,
                        s,
                        price[row],
                        qty[row],
                    )
                    memory[M_TRADES] += 1
            if lots > 0 and counts:
                best = memory[M_BEST_BID] if s == 0 else memory[M_BEST_ASK]
                markets[length_of(queues[s, best], unit, most)] += 1
                totals[C_MARKETS] += 1
                totals[C_MARKET_LOTS] += lots
        bid, ask = memory[M_BEST_BID], memory[M_BEST_ASK]
        for row in range(i, end):
            kind = abs(code[row])
            s = 0 if code[row] > 0 else 1
            if kind == CLEAR_ROW:
                ticks[s, :] = 0
                queues[s, :] = 0
                continue
            place = price[row] - low
            if kind != LEVEL_ROW or place < 0 or place >= ticks.shape[1]:
                continue
            step = place // step_ticks if s == 0 else (place + step_ticks - 1) // step_ticks
            if step >= count:
                continue
            change = qty[row] - ticks[s, place]
            before = queues[s, step]
            ticks[s, place] = qty[row]
            queues[s, step] += change
            if not counts or change == 0:
                continue
            away = ask - step if s == 0 else step - bid
            if change < 0:
                for each in range(TRADES_KEPT):
                    if trades[each, 1] == s and trades[each, 2] == price[row] and now - trades[each, 0] <= TRADE_NS:
                        taken = min(trades[each, 3], -change)
                        trades[each, 3] -= taken
                        change += taken
            if away < 1 or away > levels:
                continue
            best = bid if s == 0 else ask
            where = BEHIND if (step < best if s == 0 else step > best) else AT_BEST
            if change > 0:
                limits[where, away - 1, length_of(before, unit, most)] += 1
                totals[C_LIMITS] += 1
                totals[C_LIMIT_LOTS] += change
                totals[C_LOG] += math.log(change)
                totals[C_LOG_SQUARED] += math.log(change) ** 2
            elif change < 0:
                cancels[where, away - 1, length_of(before, unit, most)] += 1
        for s in range(2):
            # A best price that has gone is looked for behind itself; a better one can only be among the rows.
            best = memory[M_BEST_BID + s]
            for row in range(i, end):
                place = price[row] - low
                if code[row] == (LEVEL_ROW if s == 0 else -LEVEL_ROW) and qty[row] > 0 and 0 <= place < ticks.shape[1]:
                    step = place // step_ticks if s == 0 else (place + step_ticks - 1) // step_ticks
                    if step < count and (best < 0 or (step > best if s == 0 else step < best)):
                        best = step
            memory[M_BEST_BID + s] = find_best(queues, s, best, count)
        i = end
