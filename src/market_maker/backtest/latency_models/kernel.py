"""The latency of one message. Pure but for the counters and cursors of its own record; knows no orders and no book.

Numbers drawn are a function of (seed, direction, number of the message): no generator is carried along, a run gives
the same ones in any process, and a parameter set the same ones alone or among others. The generator is Threefry-2x32
with 20 rounds (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): sums, rotations and exclusive
ors of 32 bits, which compiled and interpreted code agree on. Nothing here needs to know what a message is about.
"""

import math

import numpy as np

from market_maker.backtest.ladder.kernel import inner
from market_maker.backtest.latency_models import DAY_NS, LatencyModel

CONSTANT, NORMAL = np.int64(LatencyModel.CONSTANT), np.int64(LatencyModel.NORMAL)
LOG_NORMAL, GAMMA = np.int64(LatencyModel.LOG_NORMAL), np.int64(LatencyModel.GAMMA)
RECORDED = np.int64(LatencyModel.RECORDED)
# Not plain integers: Numba would compile each function again for every constant that is passed to it.
ZERO, ENTRY, RESPONSE = np.int64(0), np.int64(0), np.int64(1)
WORD = 0xFFFFFFFF
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
ATTEMPTS_MAX = 1000


@inner
def threefry(key0, key1, counter0, counter1):
    """Return two random words for a key and a counter of two words each: Threefry-2x32-20."""
    keys = (key0, key1, key0 ^ key1 ^ 0x1BD11BDA)
    x0, x1 = (counter0 + key0) & WORD, (counter1 + key1) & WORD
    for turn in range(20):
        bits = ROTATIONS[turn & 7]
        x0 = (x0 + x1) & WORD
        x1 = (((x1 << bits) | (x1 >> (32 - bits))) & WORD) ^ x0
        if turn & 3 == 3:
            step = (turn + 1) >> 2
            x0 = (x0 + keys[step % 3]) & WORD
            x1 = (x1 + keys[(step + 1) % 3] + step) & WORD
    return x0, x1


@inner
def uniform(seed, direction, index, number):
    """Return the `number`-th number in (0, 1) of a message: 52 bits and a half, so that neither end can come out."""
    x0, x1 = threefry(seed & WORD, seed >> 32, index & WORD, (direction << 16) | number)
    return (float((x0 >> 6) * 67108864 + (x1 >> 6)) + 0.5) * 2.0**-52


@inner
def normal_quantile(p):
    """Return the standard normal quantile of 0 < p < 1.

    Source: M. Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), routine PPND16, good to 1e-16.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        above = (((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
                + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r
                + 133.14166789178437745) * r + 3.387132872796366608) * q  # fmt: skip
        below = ((((((5226.495278852854561 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
                + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r
                + 42.313330701600911252) * r + 1.0  # fmt: skip
        return above / below
    r = math.sqrt(-math.log(p if q <= 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        above = ((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
                + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r
                + 4.6303378461565452959) * r + 1.42343711074968357734  # fmt: skip
        below = ((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
                + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r
                + 2.05319162663775882187) * r + 1.0  # fmt: skip
    else:
        r -= 5.0
        above = ((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
                + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r
                + 5.4637849111641143699) * r + 6.6579046435011037772  # fmt: skip
        below = ((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
                + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
                + 0.59983220655588793769) * r + 1.0  # fmt: skip
    return -above / below if q < 0.0 else above / below


@inner
def standard_gamma(shape, seed, direction, index):
    """Return a gamma number of this shape and scale 1, of one message.

    Source: G. Marsaglia, W. Tsang, "A simple method for generating gamma variables", 2000; shapes below 1 by their
    section 6. Each attempt has its own two numbers of the message, so that rejected ones do not shift later messages.
    """
    boost = 1.0
    if shape < 1.0:
        boost = uniform(seed, direction, index, ZERO) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for attempt in range(ATTEMPTS_MAX):
        x = normal_quantile(uniform(seed, direction, index, 1 + 2 * attempt))
        v = 1.0 + c * x
        v = v * v * v
        if v > 0.0:
            u = uniform(seed, direction, index, 2 + 2 * attempt)
            if math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
                return boost * d * v
    return boost * d


@inner
def drawn_latency(model, a, b, floor_ns, seed, direction, index):
    """Return the latency of one message in whole ns: halves up, at least the floor, at most a day."""
    if model == GAMMA:
        value = b * standard_gamma(a, seed, direction, index)
    else:
        value = a + b * normal_quantile(uniform(seed, direction, index, ZERO))
        if model == LOG_NORMAL:
            value = math.exp(value)
    whole = np.int64(math.floor(min(max(value, 0.0), float(DAY_NS)) + 0.5))
    return max(np.int64(floor_ns), whole)


@inner
def interpolate(at, x1, y1, x2, y2):
    """Return y at `at` on the line through two points: the slope as a float, the product cut toward zero."""
    return np.int64(float(y2 - y1) / float(x2 - x1) * float(at - x1)) + y1


@inner
def recorded_entry(latency, requests, at):
    """Return the entry latency between recorded requests; negative: rejected, and the owner is told after as long.

    Before the first row its own value, after the last its own; between two the line through both, and a rejection when
    either was one: its length is that until the answer. The cursor only moves forward.
    """
    i = latency["entry_row"]
    while i + 1 < len(requests) and at >= requests[i + 1, 0]:
        i += 1
    latency["entry_row"] = i
    k = i + 1
    if at < requests[i, 0] or k == len(requests):
        k = i
    rejected = requests[i, 1] <= 0 or requests[k, 1] <= 0
    column = 2 if rejected else 1
    length = requests[i, column] - requests[i, 0]
    if k != i:
        length = interpolate(at, requests[i, 0], length, requests[k, 0], requests[k, column] - requests[k, 0])
    return -length if rejected else length


@inner
def recorded_response(latency, answers, ts):
    """Return the response latency between recorded answers, by the time at the venue; rejections are not among them."""
    i = latency["response_row"]
    while i + 1 < len(answers) and ts >= answers[i + 1, 0]:
        i += 1
    latency["response_row"] = i
    length = answers[i, 1] - answers[i, 0]
    if ts < answers[i, 0] or i + 1 == len(answers):
        return length
    return interpolate(ts, answers[i, 0], length, answers[i + 1, 0], answers[i + 1, 1] - answers[i + 1, 0])


@inner
def count_before(times, n, ts):
    """Return how many of the first n ordered times are before `ts`."""
    low, high = np.int64(0), np.int64(n)
    while low < high:
        middle = (low + high) >> 1
        if times[middle] < ts:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def events_in_window(load, times, carried, ts):
    """Return the number of market events in [ts - window, ts); 0 when nobody asks for them.

    times : times of the venue's present stretch of rows; `carried` holds those before it, see `latency_models.carry`
    """
    if load["window_ns"] == 0:
        return ZERO
    begin = ts - load["window_ns"]
    count = load["carried_count"]
    here = count_before(times, len(times), ts) - count_before(times, len(times), begin)
    return here + count_before(carried, count, ts) - count_before(carried, count, begin)


@inner
def loaded_latency(latency, idle_ns, events):
    """Return a latency under a load of so many events in the window."""
    busy = max(ZERO, events - latency["quiet_events"])
    return min(latency["most_ns"], idle_ns + latency["ns_per_event"] * busy)


@inner
def entry_latency(latency, now_ts, requests, events):
    """Return how long the request made at `now_ts` takes to the venue; negative: rejected on the way.

    The owner of a rejected request is told after the absolute value, and the venue never sees it.

    events : `events_in_window` at `now_ts`
    """
    model = latency["model"]
    if model == CONSTANT:
        return latency["entry_ns"]
    if model <= GAMMA:
        index = latency["entries"]
        latency["entries"] += 1
        return drawn_latency(
            model, latency["entry_a"], latency["entry_b"], latency["entry_floor_ns"], latency["seed"], ENTRY, index
        )
    if model == RECORDED:
        return recorded_entry(latency, requests, now_ts)
    return loaded_latency(latency, latency["entry_ns"], events)


@inner
def response_latency(latency, ts, answers, events):
    """Return how long the answer that the venue gives at `ts` takes to its owner; never negative.

    events : `events_in_window` at `ts`
    """
    model = latency["model"]
    if model == CONSTANT:
        return latency["response_ns"]
    if model <= GAMMA:
        index = latency["responses"]
        latency["responses"] += 1
        return drawn_latency(
            model, latency["response_a"], latency["response_b"], latency["response_floor_ns"], latency["seed"],
            RESPONSE, index,
        )  # fmt: skip
    if model == RECORDED:
        return recorded_response(latency, answers, ts)
    return loaded_latency(latency, latency["response_ns"], events)


@inner
def request_arrival(latency, ts):
    """Return when a request arrives that would arrive at `ts`: never before the one sent earlier."""
    latency["last_entry_ts"] = max(latency["last_entry_ts"], ts)
    return latency["last_entry_ts"]


@inner
def response_arrival(latency, ts):
    """Return when an answer, or the news of a rejection, arrives that would arrive at `ts`: in the order of sending."""
    latency["last_response_ts"] = max(latency["last_response_ts"], ts)
    return latency["last_response_ts"]
