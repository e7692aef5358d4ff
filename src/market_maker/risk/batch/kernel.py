"""Figures of many rows, and of one book after a fill: selection of the largest losses without sorting them all.

Owns no memory: scratch is handed in. Rows are profits; a loss is their negative. Interpreted and compiled form are the
same code.
"""

import math

from numba import njit

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls, with arrays that their caller holds."""

# Columns of a plan, one row per confidence (faces fill them in).
TAIL = 0  # size of the tail, n (1 - c)
WHOLE = 1  # whole losses in it
PLACE = 2  # index of the quantile, from the largest loss
SHARE = 3  # how far the quantile lies towards the next
NORMAL_QUANTILE = 4
NORMAL_SHORTFALL = 5

# Columns of a row of figures.
MEAN = 0
VOLATILITY = 1
MAX_DRAWDOWN = 2
ULCER = 3
FIRST_TAIL = 4  # four columns for each confidence: historical VaR, ES, normal VaR, ES

SQUARE_MAX = 1e300


@inner
def select(values, count, kept):
    """Move the `kept` largest of values[:count] to the front, largest first.

    Hoare's quickselect with the median of three, then insertion: `kept` is small. Source: Hoare (1961), "Algorithm 65".
    """
    first, last = 0, count - 1
    target = kept - 1
    while first < last:
        middle = (first + last) >> 1
        a, b, c = values[first], values[middle], values[last]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = first, last
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if target <= j:
            last = j
        elif target >= i:
            first = i
        else:
            break
    for i in range(1, kept):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] < value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@inner
def gather(row, count, threshold, kept, scratch):
    """Bring the `kept` largest losses of row[:count] to the front of `scratch`, largest first.

    Losses above the threshold, which the caller puts a little low, are taken out first; where they are too few, all are.
    """
    found = 0
    for t in range(count):
        loss = 0.0 - row[t]  # never -0.0
        scratch[found] = loss
        found += loss > threshold
    if found < kept:
        for t in range(count):
            scratch[t] = 0.0 - row[t]
        found = count
    select(scratch, found, kept)


@inner
def quantile_of(worst, kept, plan, k):
    """Return historical value at risk from the largest losses."""
    place = int(plan[k, PLACE])
    upper = worst[place]
    if plan[k, SHARE] == 0.0:
        return upper
    return upper + (worst[min(place + 1, kept - 1)] - upper) * plan[k, SHARE]


@inner
def shortfall_of(worst, kept, plan, k):
    """Return expected shortfall from the largest losses: their mean, the one on the boundary with what is missing."""
    whole = int(plan[k, WHOLE])
    total = 0.0
    for t in range(whole):
        total += worst[t]
    boundary = worst[min(whole, kept - 1)]
    mean = (total + (plan[k, TAIL] - whole) * boundary) / plan[k, TAIL]
    return min(max(mean, boundary), worst[0])


def batch(rows, plan, kept, reach, scratch, figures):
    """Write the figures of each row; return -1, or the index of the first row with numbers that are not allowed.

    Parameters
    ----------
    rows : (p, n) float64, profits
    plan : (confidences, 6) float64
    kept : largest losses that the plan needs
    reach : deviations above the mean loss where losses begin to be worth a look
    scratch : (n,) float64
    figures : (p, 4 + 4 x confidences) float64
    """
    count = rows.shape[1]
    for p in range(rows.shape[0]):
        row = rows[p]
        value, peak, deepest, squares = 0.0, 0.0, 0.0, 0.0
        for t in range(count):
            value += row[t]
            peak = max(peak, value)
            fall = peak - value
            deepest = max(deepest, fall)
            squares += fall * fall
        mean = value / count
        # Four sums side by side: one alone would wait for itself.
        v0, v1, v2, v3 = 0.0, 0.0, 0.0, 0.0
        whole = count & ~3
        for t in range(0, whole, 4):
            d0, d1, d2, d3 = row[t] - mean, row[t + 1] - mean, row[t + 2] - mean, row[t + 3] - mean
            v0 += d0 * d0
            v1 += d1 * d1
            v2 += d2 * d2
            v3 += d3 * d3
        for t in range(whole, count):
            d0 = row[t] - mean
            v0 += d0 * d0
        total = (v0 + v1) + (v2 + v3)
        if not (total <= SQUARE_MAX and squares <= SQUARE_MAX):
            return p
        deviation = math.sqrt(total / (count - 1))
        out = figures[p]
        out[MEAN] = mean
        out[VOLATILITY] = deviation
        out[MAX_DRAWDOWN] = deepest
        out[ULCER] = math.sqrt(squares / count)
        gather(row, count, reach * deviation - mean, kept, scratch)
        for k in range(plan.shape[0]):
            at = FIRST_TAIL + 4 * k
            out[at] = quantile_of(scratch, kept, plan, k)
            out[at + 1] = max(shortfall_of(scratch, kept, plan, k), out[at])
            out[at + 2] = plan[k, NORMAL_QUANTILE] * deviation - mean
            out[at + 3] = plan[k, NORMAL_SHORTFALL] * deviation - mean
    return -1


def book_after(total, row, change, plan, kept, reach, scratch, found):
    """Add `change` x row to the book's profits and write VaR and ES of them into `found`; 0, or 1 when they are not finite.

    Parameters
    ----------
    total : (n,) float64, the book's profits, changed
    row : (n,) float64, profits of one unit of the position
    change : units bought (negative: sold)
    plan, kept, reach, scratch : as `batch`, one confidence
    found : (2,) float64
    """
    count = total.shape[0]
    s0, s1, q0, q1 = 0.0, 0.0, 0.0, 0.0
    whole = count & ~1
    for t in range(0, whole, 2):
        a = total[t] + change * row[t]
        b = total[t + 1] + change * row[t + 1]
        total[t] = a
        total[t + 1] = b
        s0 += a
        s1 += b
        q0 += a * a
        q1 += b * b
    if whole < count:
        a = total[whole] + change * row[whole]
        total[whole] = a
        s0 += a
        q0 += a * a
    mean, square = (s0 + s1) / count, (q0 + q1) / count
    if not square <= SQUARE_MAX:
        return 1
    gather(total, count, reach * math.sqrt(max(square - mean * mean, 0.0)) - mean, kept, scratch)
    found[0] = quantile_of(scratch, kept, plan, 0)
    found[1] = max(shortfall_of(scratch, kept, plan, 0), found[0])
    return 0
