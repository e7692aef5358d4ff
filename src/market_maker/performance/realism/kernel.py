"""The passes over a market that must be one: its book from rows, the lives of orders, and responses of the mid to events.

Functions of arrays. Interpreted and compiled form are the same code.

Levels are addressed by *rank*: the place of their price among all prices that a side ever has, sorted from the best: the
highest bid and the lowest ask have rank 0. Mids are sums of best bid and best ask (half ticks), 0 where a side is empty.
"""

from numba import njit

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls."""

LEVEL_ROW, TRADE_ROW, CLEAR_ROW = 1, 2, 3
"""Codes of rows as in `market_data.feed`: positive for bid or buying aggressor, negative for ask or selling aggressor."""
LIMIT, CANCEL, MARKET = 0, 1, 2
"""What an event is."""
LEVELS = 10
"""Levels of a side of which depth is kept."""
LEVELS_MAX, RANKS_MAX = 20, 512
"""How far a level's index is counted: further away it is 0, unknown."""
E_TS, E_KIND, E_SIDE, E_PRICE, E_LOTS, E_LEVEL, E_MID, EVENT_COLUMNS = range(8)
Q_TS, Q_BID, Q_BID_LOTS, Q_ASK, Q_ASK_LOTS, QUOTE_COLUMNS = range(6)
QUOTES, EVENTS, TRADES, SAMPLES, COUNTS = range(5)
"""What `walk` counts."""
O_ADDED, O_FILLED, O_GONE, O_HOW, ORDER_COLUMNS = range(5)
OPEN, WAS_FILLED, WAS_CANCELED = 0, 1, 2
"""How an order left."""

CLEAR_KIND, ADD, CANCEL_ROW, MODIFY, FILL_ROW = 3, 6, 7, 8, 9
"""Kinds of rows of a table of orders, as in `market_data.schema.EventKind`, which a kernel may not import."""


@inner
def next_occupied(lots, s, rank, count):
    """Return the first rank at or behind `rank` with a quantity, `count` without one."""
    while rank < count and lots[s, rank] == 0:
        rank += 1
    return rank


@inner
def level_index(lots, s, best, rank):
    """Return how many occupied levels stand before `rank`, plus one; 0 when it is too far away to count."""
    if rank - best > RANKS_MAX:
        return 0
    index = 1
    for i in range(best, rank):
        if lots[s, i] > 0:
            index += 1
    return index if index <= LEVELS_MAX else 0


@inner
def sample_depth(lots, best, counts, n, depth):
    """Write the quantities of the first levels of both sides as sample `n`: bids, then asks."""
    for s in range(2):
        rank, level = best[s], 0
        while rank < counts[s] and level < LEVELS:
            if lots[s, rank] > 0:
                depth[n, s * LEVELS + level] = lots[s, rank]
                level += 1
            rank += 1


@inner
def sample_until(now, lots, best, counts, start_ts, end_ts, sample_ns, sampled, depth, numbers):
    """Write the samples of instants before `now` that have passed without a row: they show the book as it was."""
    next_sample = start_ts + numbers[SAMPLES] * sample_ns
    while next_sample < now and next_sample < end_ts and numbers[SAMPLES] < len(sampled):
        sampled[numbers[SAMPLES]] = next_sample
        sample_depth(lots, best, counts, numbers[SAMPLES], depth)
        numbers[SAMPLES] += 1
        next_sample += sample_ns


@inner
def clear_side(lots, traded, best, counts, s):
    """Take everything off a side."""
    for r in range(best[s], counts[s]):
        lots[s, r] = 0
        traded[s, r] = 0
    best[s] = counts[s]


@inner
def change_level(lots, traded, best, counts, s, at, qty):
    """Give a level a new quantity; return the kind of the event (-1: none), its lots and the index of its level."""
    kind, level = -1, 0
    change = qty - lots[s, at]
    if change > 0:
        kind = LIMIT
        level = level_index(lots, s, best[s], at)
        # What was printed and is not gone by now stood behind the level: it will not leave it.
        traded[s, at] = 0
    elif change < 0:
        explained = min(-change, traded[s, at])
        traded[s, at] -= explained
        change = -change - explained
        if change > 0:
            kind = CANCEL
            level = level_index(lots, s, best[s], at)
    lots[s, at] = qty
    if qty > 0:
        best[s] = min(best[s], at)
    elif at == best[s]:
        best[s] = next_occupied(lots, s, at, counts[s])
    return kind, change, level


@inner
def shown_now(lots, best, counts, prices):
    """Return best bid, its lots, best ask, its lots; 0 where a side is empty."""
    bid, bid_lots, ask, ask_lots = 0, 0, 0, 0
    if best[0] < counts[0]:
        bid, bid_lots = prices[0, best[0]], lots[0, best[0]]
    if best[1] < counts[1]:
        ask, ask_lots = prices[1, best[1]], lots[1, best[1]]
    return bid, bid_lots, ask, ask_lots


@inner
def write_quote(quotes, q, ts, shown):
    """Write best prices and quantities as quote number `q`."""
    quotes[q, Q_TS] = ts
    quotes[q, Q_BID], quotes[q, Q_BID_LOTS], quotes[q, Q_ASK], quotes[q, Q_ASK_LOTS] = shown


def walk(
    ts, price, qty, code, rank, counts, prices, lots, traded, start_ts, end_ts, sample_ns, quotes, events, trades, sampled,
    depth, numbers,
):  # fmt: skip
    """Follow rows and write what the market showed.

    Parameters
    ----------
    ts, price, qty, rank : (n,) int64, code : (n,) int8; of a level row `qty` is its new quantity and `rank` its rank, of a
        trade `rank` is that of its price on the side that was resting, -1 where no level ever stands there
    counts : (2,) int64, ranks of a side; prices : (2, most) int64, by rank
    lots, traded : (2, most) int64, zeros: quantities, and what was printed at a level and has not left it yet
    start_ts, end_ts : only what happens in [start, end) is written
    sample_ns : depth is written at start, start + sample_ns, ..., as it is after the rows of that instant
    quotes : (room, QUOTE_COLUMNS) int64: best prices and quantities after the rows of an instant, when they have changed
    events : (room, EVENT_COLUMNS) int64: each change; mid as it was before the instant, price in ticks, index of the level
    trades : (room,) int64, the row of each trade
    sampled : (room,) int64 times of samples; depth : (room, 2 * LEVELS) int64, zeros
    numbers : (COUNTS,) int64, zeros: how many of each were written

    Notes
    -----
    A larger quantity of a level is a limit order, a smaller one a cancel unless it is what trades at that price have taken.
    Rows of an instant in which a side is cleared, and those of the first instant, are a picture of the book and no events.
    """
    best = counts.copy()
    mid, is_picture, begin = 0, True, 0
    shown = (0, 0, 0, 0)
    n = len(ts)
    while begin < n:
        now = ts[begin]
        sample_until(now, lots, best, counts, start_ts, end_ts, sample_ns, sampled, depth, numbers)
        is_written = start_ts <= now < end_ts
        end = begin
        while end < n and ts[end] == now:
            if code[end] == CLEAR_ROW or code[end] == -CLEAR_ROW:
                is_picture = True
            end += 1
        for i in range(begin, end):
            c, at = code[i], rank[i]
            s = 0 if c > 0 else 1
            kind, change, level = -1, qty[i], 0
            if c == TRADE_ROW or c == -TRADE_ROW:
                kind = MARKET
                if is_written:
                    trades[numbers[TRADES]] = i
                    numbers[TRADES] += 1
                if at >= 0:
                    traded[1 - s, at] += qty[i]
                    level = level_index(lots, 1 - s, best[1 - s], at)
            elif c == CLEAR_ROW or c == -CLEAR_ROW:
                clear_side(lots, traded, best, counts, s)
            else:
                kind, change, level = change_level(lots, traded, best, counts, s, at, qty[i])
            if kind >= 0 and is_written and (kind == MARKET or not is_picture):
                e = numbers[EVENTS]
                events[e, E_TS], events[e, E_KIND], events[e, E_SIDE], events[e, E_MID] = now, kind, 1 - 2 * s, mid
                events[e, E_PRICE], events[e, E_LOTS], events[e, E_LEVEL] = price[i], change, level
                numbers[EVENTS] += 1
        now_shown = shown_now(lots, best, counts, prices)
        if now < start_ts:
            # The quotes that hold at the start are the first ones, at the start.
            write_quote(quotes, 0, start_ts, now_shown)
            numbers[QUOTES] = 1
        elif is_written and now_shown != shown:
            q = numbers[QUOTES]
            if q > 0 and quotes[q - 1, Q_TS] == now:
                q -= 1
            write_quote(quotes, q, now, now_shown)
            numbers[QUOTES] = q + 1
        shown = now_shown
        mid = now_shown[0] + now_shown[2] if now_shown[0] > 0 and now_shown[2] > 0 else 0
        is_picture = False
        begin = end


def respond(mid, sign, group, lags, sums, counts):
    """Add up how the mid moves after events of each group, in the direction of the event.

    mid : (n,) int64 half ticks before each event, 0 unknown; sign, group : (n,) int8, group below 0: left out
    lags : (m,) int64, 1 or more; sums : (groups, m) int64, counts : (groups, m) int64, zeros, written
    """
    n = len(mid)
    for i in range(n):
        g = group[i]
        if g < 0 or mid[i] == 0:
            continue
        for k in range(len(lags)):
            j = i + lags[k]
            if j >= n:
                break
            if mid[j] > 0:
                sums[g, k] += (mid[j] - mid[i]) * sign[i]
                counts[g, k] += 1


def live(ts, kind, side, price, qty, order, orders, state):
    """Follow orders from their addition to their first fill and their end.

    Parameters
    ----------
    ts, price, qty : (n,) int64; kind, side : (n,) int8 as in a table of orders; order : (n,) int64, number of the order from 0
    orders : (n, ORDER_COLUMNS) int64, written: a row per order that was seen to be added; 0: has not happened
    state : (numbers, 4) int64, zeros: row of the living order plus one, side, price, open lots

    Returns
    -------
    int
        How many orders.

    Notes
    -----
    An order that moves to another price or grows loses its place: it is canceled and another one is added.
    """
    count = 0
    for i in range(len(ts)):
        k = kind[i]
        if k == CLEAR_KIND:
            # Nobody has canceled these: they are out of sight.
            for o in range(len(state)):
                if state[o, 0] > 0 and state[o, 1] == side[i]:
                    state[o, 0] = 0
            continue
        o = order[i]
        row = state[o, 0] - 1
        is_moved = k == MODIFY and row >= 0 and (price[i] != state[o, 2] or qty[i] > state[o, 3])
        if is_moved:
            orders[row, O_GONE], orders[row, O_HOW] = ts[i], WAS_CANCELED
        if k == ADD or is_moved:
            orders[count, O_ADDED], orders[count, O_FILLED], orders[count, O_GONE], orders[count, O_HOW] = (
                ts[i],
                0,
                0,
                OPEN,
            )
            count += 1
            state[o, 0], state[o, 1], state[o, 2], state[o, 3] = count, side[i], price[i], qty[i]
        elif row >= 0:
            if k == MODIFY:
                state[o, 3] = qty[i]
            elif k == CANCEL_ROW or k == FILL_ROW:
                state[o, 3] -= qty[i]
                if k == FILL_ROW and orders[row, O_FILLED] == 0:
                    orders[row, O_FILLED] = ts[i]
            if state[o, 3] <= 0:
                orders[row, O_GONE] = ts[i]
                orders[row, O_HOW] = WAS_FILLED if k == FILL_ROW else WAS_CANCELED
                state[o, 0] = 0
    return count
