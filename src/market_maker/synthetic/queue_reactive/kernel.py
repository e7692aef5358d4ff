"""One pass over the rows of a recorded book: how often orders came to queues of each length, and how long they were so long.

Functions of arrays. Interpreted and compiled form are the same code. Prices are cut into steps: a bid belongs to the step at
or below its price, an ask to the one at or above. `away` is the distance from the other side's best step, as in the flow.

Quantities are what is counted of cancels: a level that loses ten lots may have lost one order or ten. So orders one by one (L3)
and levels (L2) tell the same of the same market.
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
TRADES_KEPT = 256
TRADE_NS = 1_000_000_000
"""What has traded at a level within so long was not canceled: a feed of levels shows it with the level's next change."""
M_TS, M_BEST_BID, M_BEST_ASK, M_TRADES, M_LOW_BID, M_LOW_ASK, M_HIGH_BID, M_HIGH_ASK, MEMORY = range(9)
"""The last instant, best steps, trades so far, and the places between which each side has had levels since its last clear."""
C_LIMITS, C_LIMIT_LOTS, C_MARKETS, C_MARKET_LOTS, C_SECONDS, C_LOG, C_LOG_SQUARED, C_CANCELS, C_CANCEL_LOTS, COUNTS = (
    range(10)
)


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
                orders[where, away - 1, length_of(lots, unit, most)] += seconds * lots / unit


@inner
def note_trade(trades, memory, now, s, price, lots):
    """Keep a trade until the level at which it was made shows it; trades at one level are one."""
    for each in range(TRADES_KEPT):
        if trades[each, 1] == s and trades[each, 2] == price and now - trades[each, 0] <= TRADE_NS:
            trades[each, 0] = now
            trades[each, 3] += lots
            return
    place = memory[M_TRADES] % TRADES_KEPT
    trades[place, 0], trades[place, 1], trades[place, 2], trades[place, 3] = now, s, price, lots
    memory[M_TRADES] += 1


@inner
def traded_at(trades, now, s, price, change, by_order):
    """Return what of a level's change was trades, and take it from those that are kept.

    Of orders one by one: what this execution took, at its own instant. Of levels: all that traded since the level was told last,
    whatever has come or gone beside it.
    """
    for each in range(TRADES_KEPT):
        if trades[each, 1] == s and trades[each, 2] == price and now - trades[each, 0] <= TRADE_NS:
            lots = trades[each, 3]
            if by_order:
                lots = min(lots, -change) if change < 0 and trades[each, 0] == now else 0
            trades[each, 3] -= lots
            return lots
    return 0


@inner
def is_told_again(row, end, price, code, trades, now, s):
    """Return whether a level that has traded is told again at this instant: as it is at its end counts, for the trade is in it."""
    for each in range(TRADES_KEPT):
        if (
            trades[each, 1] == s
            and trades[each, 2] == price[row]
            and trades[each, 3] > 0
            and now - trades[each, 0] <= TRADE_NS
        ):
            for later in range(row + 1, end):
                if price[later] == price[row] and code[later] == code[row]:
                    return True
    return False


@inner
def settle(
    now,
    s,
    price,
    place,
    lots,
    step_ticks,
    unit,
    counts,
    by_order,
    ticks,
    queues,
    memory,
    trades,
    limits,
    cancels,
    totals,
):
    """Bring a level to `lots`, and count what came or went there if it `counts`; `place` is its price less the first one."""
    step = place // step_ticks if s == 0 else (place + step_ticks - 1) // step_ticks
    if step >= queues.shape[1]:
        return
    # A level that a snapshot has told already is kept as the negative of its lots, less one.
    had = ticks[s, place] if ticks[s, place] >= 0 else -ticks[s, place] - 1
    change = lots - had
    before = queues[s, step]
    ticks[s, place] = lots
    queues[s, step] += change
    if lots > 0:
        low, high = memory[M_LOW_BID + s], memory[M_HIGH_BID + s]
        memory[M_LOW_BID + s] = place if low < 0 else min(low, place)
        memory[M_HIGH_BID + s] = max(high, place)
    if change == 0 and by_order:
        return
    change += traded_at(trades, now, s, price, change, by_order)
    bid, ask = memory[M_BEST_BID], memory[M_BEST_ASK]
    away = ask - step if s == 0 else step - bid
    if not counts or change == 0 or away < 1 or away > limits.shape[1]:
        return
    best = bid if s == 0 else ask
    where = BEHIND if (step < best if s == 0 else step > best) else AT_BEST
    length = length_of(before, unit, limits.shape[2])
    if change > 0:
        limits[where, away - 1, length] += 1
        totals[C_LIMITS] += 1
        totals[C_LIMIT_LOTS] += change
        totals[C_LOG] += math.log(change)
        totals[C_LOG_SQUARED] += math.log(change) ** 2
    else:
        cancels[where, away - 1, length] += -change / unit
        totals[C_CANCELS] += 1
        totals[C_CANCEL_LOTS] += -change


@inner
def settle_snapshot(
    first, end, price, qty, code, low, now, s, step_ticks, unit, counts, by_order,
    ticks, queues, memory, trades, limits, cancels, totals,
):  # fmt: skip
    """Bring a side to what the rows [first, end) tell after a clear; what was not told anew has gone.

    What differs from the book before it came or went, as far as both show the book: the farthest level of a snapshot of
    some levels is where its sight ends. Without a level the side is not known.
    """
    sign = 1 if s == 0 else -1
    deep = -1
    for row in range(first, end):
        place = price[row] - low
        if code[row] == sign * LEVEL_ROW and qty[row] > 0 and 0 <= place < ticks.shape[1]:
            deep = place if deep < 0 else (min(deep, place) if s == 0 else max(deep, place))
    reach_low, reach_high = memory[M_LOW_BID + s], memory[M_HIGH_BID + s]
    sight = deep
    if deep >= 0 and reach_low >= 0:
        sight = max(deep, reach_low) if s == 0 else min(deep, reach_high)
    memory[M_LOW_BID + s], memory[M_HIGH_BID + s] = -1, -1
    if deep >= 0:
        for row in range(first, end):
            place = price[row] - low
            if code[row] != sign * LEVEL_ROW or place < 0 or place >= ticks.shape[1]:
                continue
            is_seen = place >= sight if s == 0 else place <= sight
            settle(
                now, s, price[row], place, qty[row], step_ticks, unit, counts and is_seen, by_order,
                ticks, queues, memory, trades, limits, cancels, totals,
            )  # fmt: skip
            ticks[s, place] = -ticks[s, place] - 1
    told_low, told_high = memory[M_LOW_BID + s], memory[M_HIGH_BID + s]
    if reach_low >= 0:
        for place in range(reach_low, reach_high + 1):
            if ticks[s, place] > 0:
                is_seen = deep >= 0 and (place >= sight if s == 0 else place <= sight)
                settle(
                    now, s, place + low, place, 0, step_ticks, unit, counts and is_seen, by_order,
                    ticks, queues, memory, trades, limits, cancels, totals,
                )  # fmt: skip
    memory[M_LOW_BID + s], memory[M_HIGH_BID + s] = told_low, told_high
    for row in range(first, end):
        place = price[row] - low
        if code[row] == sign * LEVEL_ROW and 0 <= place < ticks.shape[1] and ticks[s, place] < 0:
            ticks[s, place] = -ticks[s, place] - 1


def count_rows(
    ts, price, qty, code, by_order, low, step_ticks, unit, ticks, queues, memory, trades,
    times, orders, market_times, limits, cancels, markets, totals,
):  # fmt: skip
    """Count the events of a stretch of rows and the time between them.

    Parameters
    ----------
    ts, price, qty, code : rows of the venue's stream
    by_order : whether each row of a level is the change of one order; else a level may have changed by several at once
    low, step_ticks, unit : the tick of the first step's first place, ticks in a step, lots in a unit of length
    ticks (2, n), queues (2, m) : lots by tick and by step, bids first; carried from stretch to stretch
    memory (MEMORY,), trades (TRADES_KEPT, 4) : carried; of a trade its time, passive side, price and lots left
    times, orders, limits, cancels (2, levels, lengths) : seconds and order-seconds of exposure, limit orders and cancels, by
        where the queue stands, distance and length before the event
    market_times, markets (lengths,) : the same of market orders, of both sides, by the length of the best queue
        cancels are lots in units of length, as is their exposure
    totals (COUNTS,) : limit orders and their lots, market orders and theirs, seconds, sums of log lots and its square, cancels and
        their lots
    """
    n = len(ts)
    count, most = queues.shape[1], times.shape[2]
    i = 0
    while i < n:
        now = ts[i]
        end = i
        bids_from, asks_from = -1, -1
        while end < n and ts[end] == now:
            if code[end] == CLEAR_ROW:
                bids_from = end + 1
            elif code[end] == -CLEAR_ROW:
                asks_from = end + 1
            end += 1
        counts = memory[M_BEST_BID] >= 0 and memory[M_BEST_ASK] >= 0 and memory[M_BEST_BID] < memory[M_BEST_ASK]
        passed = now - memory[M_TS]
        if passed > LONGEST_NS:
            counts = False
        elif counts and passed > 0:
            expose(queues, memory, passed * 1e-9, unit, times, orders, market_times)
            totals[C_SECONDS] += passed * 1e-9
        memory[M_TS] = now
        # What happens at one instant is told apart by the book before it.
        for s in range(2):
            lots = 0
            for row in range(i, end):
                if code[row] == (-TRADE_ROW if s == 0 else TRADE_ROW):
                    lots += qty[row]
                    note_trade(trades, memory, now, s, price[row], qty[row])
            if lots > 0 and counts:
                best = memory[M_BEST_BID] if s == 0 else memory[M_BEST_ASK]
                markets[length_of(queues[s, best], unit, most)] += 1
                totals[C_MARKETS] += 1
                totals[C_MARKET_LOTS] += lots
        for s in range(2):
            begins = bids_from if s == 0 else asks_from
            if begins >= 0:
                settle_snapshot(
                    begins, end, price, qty, code, low, now, s, step_ticks, unit, counts, by_order,
                    ticks, queues, memory, trades, limits, cancels, totals,
                )  # fmt: skip
        for row in range(i, end):
            s = 0 if code[row] > 0 else 1
            place = price[row] - low
            if abs(code[row]) == LEVEL_ROW and (bids_from if s == 0 else asks_from) < 0 and 0 <= place < ticks.shape[1]:
                if not by_order and is_told_again(row, end, price, code, trades, now, s):
                    continue
                settle(
                    now, s, price[row], place, qty[row], step_ticks, unit, counts, by_order,
                    ticks, queues, memory, trades, limits, cancels, totals,
                )  # fmt: skip
        for s in range(2):
            # A best price that has gone is looked for behind itself; a better one can only be among the rows.
            begins = bids_from if s == 0 else asks_from
            best = memory[M_BEST_BID + s] if begins < 0 else -1
            for row in range(max(i, begins), end):
                place = price[row] - low
                if code[row] == (LEVEL_ROW if s == 0 else -LEVEL_ROW) and qty[row] > 0 and 0 <= place < ticks.shape[1]:
                    step = place // step_ticks if s == 0 else (place + step_ticks - 1) // step_ticks
                    if step < count and (best < 0 or (step > best if s == 0 else step < best)):
                        best = step
            memory[M_BEST_BID + s] = find_best(queues, s, best, count)
        i = end
