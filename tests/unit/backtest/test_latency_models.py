"""Latencies by hand, against plain twins, as distributions, and the same in any process and in any order of sets."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from kernel_forms import compiled, interpreted
from market_maker.backtest.latency_models import (
    CARRIED_MAX,
    DAY_NS,
    Draw,
    LatencyModel,
    carry,
    constant,
    drawn,
    kernel,
    recorded,
    under_load,
)
from market_maker.domain.errors import DataError, InvalidRequest

plain = interpreted(kernel)
MS = 1_000_000
NO_TIMES = np.zeros(0, np.int64)
DRAWN = (LatencyModel.NORMAL, LatencyModel.LOG_NORMAL, LatencyModel.GAMMA)


@njit
def entry(head, now, requests, load, times, carried):
    return kernel.entry_latency(head[0], now, requests, kernel.events_in_window(load[0], times, carried, now))


@njit
def response(head, now, answers, load, times, carried):
    return kernel.response_latency(head[0], now, answers, kernel.events_in_window(load[0], times, carried, now))


@njit
def arrivals(head, instants):
    return [kernel.request_arrival(head[0], ts) for ts in instants], [
        kernel.response_arrival(head[0], ts) for ts in instants
    ]


def entries(state, instants, times=NO_TIMES):
    return [int(entry(state.head, ts, state.requests, state.load, times, state.carried)) for ts in instants]


def responses(state, instants, times=NO_TIMES):
    return [int(response(state.head, ts, state.answers, state.load, times, state.carried)) for ts in instants]


# --- constant ---------------------------------------------------------------------------------------------------------


def test_constant_latency():
    state = constant(5, 7)
    assert (entries(state, [0, 10**18]), responses(state, [0])) == ([5, 5], [7])
    assert entries(constant(-5, 7), [3]) == [-5]


# --- the generator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        # Known answers of Threefry-2x32-20 in the Random123 distribution.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_generator_gives_its_published_words(key, counter, words):
    assert tuple(compiled(kernel.threefry)(*key, *counter)) == words
    assert plain.threefry(*key, *counter) == words


def test_normal_quantile_is_that_of_the_standard_library():
    quantile = compiled(kernel.normal_quantile)
    for p in [2.0**-53, 1e-12, 1e-7, 1e-3, 0.02, 0.075, 0.0750001, 0.3, 0.5, 0.7, 0.925, 0.97, 1 - 1e-12, 1 - 2.0**-53]:
        expected = statistics.NormalDist().inv_cdf(p)
        assert quantile(p) == plain.normal_quantile(p) == pytest.approx(expected, rel=1e-15, abs=1e-16)


def test_no_draw_is_zero_or_one():
    """The smallest and the largest 52 bits."""
    assert 0.5 * 2.0**-52 > 0
    assert (2.0**52 - 1 + 0.5) * 2.0**-52 < 1
    uniform = compiled(kernel.uniform)
    draws = [uniform(seed, 0, index, 0) for seed in range(50) for index in range(50)]
    assert len(set(draws)) == len(draws)
    assert 0.45 < statistics.fmean(draws) < 0.55


# --- drawn ------------------------------------------------------------------------------------------------------------


def independent(model, mean, deviation, size):
    """NumPy's draws of the distribution with this mean and deviation."""
    chance = np.random.default_rng(99)
    if model is LatencyModel.NORMAL:
        return chance.normal(mean, deviation, size)
    if model is LatencyModel.LOG_NORMAL:
        variance = math.log(1 + (deviation / mean) ** 2)
        return chance.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), size)
    return chance.gamma((mean / deviation) ** 2, deviation**2 / mean, size)


@pytest.mark.parametrize("model", DRAWN)
@pytest.mark.parametrize(("mean", "deviation"), [(10 * MS, 2 * MS), (10 * MS, 9 * MS), (3 * MS, 6 * MS)])
def test_draws_have_the_distribution_that_was_asked_for(model, mean, deviation):
    if model is LatencyModel.NORMAL and deviation > mean / 3:
        deviation = mean // 4  # else the floor at 0 cuts it
    state = drawn(model, seed=11, entry=Draw(mean, deviation), response=Draw(2 * mean, deviation))
    size, many = 40_000, 400_000
    for found, asked in ((entries, mean), (responses, 2 * mean)):
        values = np.sort(found(state, range(size)))
        theirs = np.sort(np.rint(independent(model, asked, deviation, many)))
        # Kolmogorov and Smirnov: 1.95 times the root is exceeded by one pair of samples in a thousand.
        at, at_theirs = (np.searchsorted(x, values, side="right") / len(x) for x in (values, theirs))
        distance = np.abs(at_theirs - at).max()
        assert distance < 1.95 * math.sqrt(1 / size + 1 / many), distance
        assert values.mean() == pytest.approx(asked, rel=0.05)
    draws = np.array(entries(state, range(size)))
    assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 4 / math.sqrt(size), "neighbours are strangers"


def test_a_draw_is_the_quantile_of_its_uniform_number_in_whole_ns():
    uniform, exact = compiled(kernel.uniform), statistics.NormalDist(1000, 300)
    state = drawn(LatencyModel.NORMAL, seed=8, entry=Draw(1000, 300), response=Draw(1000, 300))
    # Halves up: a quantile that lies on one is not to be expected.
    assert entries(state, range(200)) == [round(exact.inv_cdf(uniform(8, 0, k, 0))) for k in range(200)]
    assert responses(state, range(200)) == [round(exact.inv_cdf(uniform(8, 1, k, 0))) for k in range(200)]


@pytest.mark.parametrize("model", DRAWN)
def test_floor_holds_and_no_draw_is_negative(model):
    state = drawn(model, seed=1, entry=Draw(MS, 3 * MS, floor_ns=700_000), response=Draw(MS, 3 * MS))
    values = entries(state, range(2000))
    assert min(values) == 700_000
    assert max(values) > MS
    assert min(responses(state, range(2000))) >= 0


@pytest.mark.parametrize("model", DRAWN)
def test_draws_depend_on_seed_direction_and_number_alone(model):
    a, b, c = (drawn(model, seed=s, entry=Draw(MS, MS // 3), response=Draw(MS, MS // 3)) for s in (5, 5, 2**40 + 5))
    first = entries(a, range(100))
    assert responses(b, range(100)) != first, "directions are strangers"
    assert entries(b, [10**18] * 100) == first, "neither the time nor the other direction matters"
    assert entries(c, range(100)) != first, "all bits of the seed count"


@pytest.mark.parametrize("model", DRAWN)
def test_interpreted_draws_are_the_same_bits(model):
    state, twin = (drawn(model, seed=77, entry=Draw(MS, MS // 2), response=Draw(MS, MS)) for _ in range(2))
    head = twin.head[0]
    assert entries(state, range(300)) == [plain.entry_latency(head, 0, twin.requests, 0) for _ in range(300)]
    assert responses(state, range(300)) == [plain.response_latency(head, 0, twin.answers, 0) for _ in range(300)]


def test_another_process_draws_the_same():
    program = (
        "from market_maker.backtest.latency_models import *\n"
        "from market_maker.backtest.latency_models import kernel\n"
        "import numba\n"
        "f = numba.njit(lambda h, r: kernel.entry_latency(h[0], 0, r, 0))\n"
        "s = drawn(LatencyModel.GAMMA, seed=3, entry=Draw(10**6, 10**6), response=Draw(10**6, 10**6))\n"
        "print([int(f(s.head, s.requests)) for _ in range(20)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    state = drawn(LatencyModel.GAMMA, seed=3, entry=Draw(MS, MS), response=Draw(MS, MS))
    assert done.stdout.strip() == str(entries(state, range(20)))


# --- recorded ---------------------------------------------------------------------------------------------------------

ROWS = np.array([
    # made, at the venue, answered
    [1000, 1100, 1150],
    [2000, 2300, 2310],
    [3000, 0, 3400],  # rejected, the answer came 400 later
    [4000, 4200, 4280],
])  # fmt: skip


@pytest.mark.parametrize(
    ("now", "latency"),
    [
        (0, 100),  # before the first: its own
        (1000, 100),
        (1500, 200),  # half way from 100 to 300
        (1999, 299),  # 100 + 0.999 x 200 = 299.8, cut toward zero: 100 + 199
        (2000, -310),  # the next one was rejected: from 2310 - 2000 to 400 ...
        (2500, -355),
        (3000, -400),
        (3999, -281),  # ... and on to 280: 400 - 119.88, cut toward zero: 400 - 119
        (4000, 200),  # after the last: its own
        (10**15, 200),
    ],
)
def test_entry_between_recorded_requests(now, latency):
    assert entries(recorded(ROWS), [now]) == [latency]


@pytest.mark.parametrize(
    ("ts", "latency"), [(0, 50), (1100, 50), (1700, 30), (2300, 10), (3250, 45), (4200, 80), (10**15, 80)]
)
def test_response_between_recorded_answers_leaves_rejections_out(ts, latency):
    # 3250 is half way from 2300 (10) to 4200 (80).
    assert responses(recorded(ROWS), [ts]) == [latency]


def test_cursors_move_on_their_own():
    state = recorded(ROWS)
    assert entries(state, [500, 1500, 1500, 4500]) == [100, 200, 200, 200]
    assert responses(state, [500, 1700, 4500]) == [50, 30, 80]


def test_rejections_at_the_ends_are_rejections():
    rows = np.array([[1000, 0, 1200], [2000, 2100, 2200], [3000, -1, 3500]])
    assert entries(recorded(rows), [0, 5000]) == [-200, -500]
    assert responses(recorded(rows), [0, 9000]) == [100, 100]


def test_nothing_but_rejections():
    state = recorded(np.array([[1000, 0, 1200]]))
    assert entries(state, [0, 1000, 5000]) == [-200] * 3


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(1, 10**8), st.integers(1, 10**8), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.integers(0, 10**10), max_size=20),
)
def test_recorded_equals_its_twin(steps, instants):
    made, rows = 10**6, []
    for gap, there, back, rejected in steps:
        made += gap
        rows.append((made, 0 if rejected else made + there, made + there + back))
    state, twin = recorded(np.array(rows)), recorded(np.array(rows))
    instants = sorted(instants)
    found = entries(state, instants)
    assert found == [plain.entry_latency(twin.head[0], ts, twin.requests, 0) for ts in instants]
    for ts, latency in zip(instants, found, strict=True):
        assert abs(latency - twin_entry(rows, ts)) <= 1
    for ts, latency in zip(instants, responses(state, instants), strict=True):
        assert latency >= 0
        assert latency == plain.response_latency(twin.head[0], ts, twin.answers, 0)


def twin_entry(rows, ts):
    """The rule in whole fractions; the kernel's float may be 1 ns off."""
    before = [row for row in rows if row[0] <= ts]
    after = [row for row in rows if row[0] > ts]
    pair = [before[-1] if before else after[0], after[0] if after else before[-1]]
    rejected = any(row[1] <= 0 for row in pair)
    a, b = (Fraction(row[2 if rejected else 1] - row[0]) for row in pair)
    x1, x2 = pair[0][0], pair[1][0]
    value = a if x1 == x2 or ts < x1 else a + math.trunc((b - a) * (ts - x1) / (x2 - x1))
    return -value if rejected else value


# --- under load -------------------------------------------------------------------------------------------------------


def busy(**changes):
    options = {
        "entry_ns": 1000, "response_ns": 500, "window_ns": 100, "quiet_events": 2, "ns_per_event": 10, "most_ns": 1025,
    }  # fmt: skip
    return under_load(**{**options, **changes})


def test_latency_rises_with_the_events_before():
    times = np.array([10, 20, 30, 40, 50, 110, 110])
    state = busy()
    # [t - 100, t): at 20: 10 alone; at 50: 4, 2 too many; at 110: 10 to 50, the two at 110 do not count; at 111: 20 to
    # 110; at 10**6: none. At most 1025.
    assert entries(state, [20, 50, 110, 111, 10**6], times) == [1000, 1020, 1025, 1025, 1000]
    assert responses(state, [110], times) == [530]
    assert plain.events_in_window(state.load[0], times, state.carried, 110) == 5
    assert plain.events_in_window(constant(0, 0).load[0], times, state.carried, 110) == 0, "nobody asks"


def test_the_number_of_events_does_not_depend_on_how_the_feed_is_cut():
    chance = np.random.default_rng(3)
    times = np.cumsum(chance.integers(0, 30, 4000))
    instants = np.sort(chance.integers(0, int(times[-1]), 500))
    whole = busy(window_ns=500, most_ns=DAY_NS)
    expected = entries(whole, instants.tolist(), times)
    assert max(expected) > 1200
    for size in (1, 7, 1000):
        state, found = busy(window_ns=500, most_ns=DAY_NS), []
        for begin in range(0, len(times), size):
            part = times[begin : begin + size]
            last = begin + size >= len(times)
            low = int(times[begin - 1]) if begin else -1
            here = [int(t) for t in instants if low < t and (t <= part[-1] or last)]
            found += entries(state, here, part)
            carry(state.load, state.carried, part)
        assert found == expected


def test_more_events_than_are_kept_are_forgotten_oldest_first():
    state = busy(window_ns=10**9, most_ns=DAY_NS, quiet_events=0)
    carry(state.load, state.carried, np.arange(3, dtype=np.int64))
    carry(state.load, state.carried, np.arange(10, 10 + CARRIED_MAX - 1, dtype=np.int64))
    assert int(state.load[0]["carried_count"]) == CARRIED_MAX
    assert state.carried[:2].tolist() == [2, 10]
    assert entries(state, [10**6]) == [1000 + 10 * CARRIED_MAX]
    carry(state.load, state.carried, np.arange(10**5, 10**5 + 3 * CARRIED_MAX, dtype=np.int64))
    assert state.carried.tolist() == list(range(10**5 + 2 * CARRIED_MAX, 10**5 + 3 * CARRIED_MAX))


# --- first in, first out ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_messages_arrive_in_the_order_in_which_they_were_sent(instants):
    there, back = arrivals(constant(0, 0).head, np.array(instants, np.int64))
    expected = np.maximum.accumulate(np.array(instants, np.int64)).tolist() if instants else []
    assert list(there) == list(back) == expected


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: constant(DAY_NS + 1, 0), "entry_latency_ns"),
        (lambda: constant(0, -1), "response_latency_ns"),
        (lambda: drawn(LatencyModel.CONSTANT, seed=1, entry=Draw(1, 1), response=Draw(1, 1)), "latency.model"),
        (lambda: drawn(LatencyModel.NORMAL, seed=-1, entry=Draw(1, 1), response=Draw(1, 1)), "latency.seed"),
        (lambda: drawn(LatencyModel.NORMAL, seed=1, entry=Draw(0, 1), response=Draw(1, 1)), "latency.entry.mean_ns"),
        (lambda: drawn(LatencyModel.NORMAL, seed=1, entry=Draw(1, 101), response=Draw(1, 1)), "latency.entry.deviation_ns"),
        (lambda: drawn(LatencyModel.GAMMA, seed=1, entry=Draw(1, 0), response=Draw(1, 1)), "latency.deviation_ns"),
        (lambda: drawn(LatencyModel.NORMAL, seed=1, entry=Draw(1, 1), response=Draw(1, 1, -1)), "latency.response.floor_ns"),
        (lambda: busy(window_ns=0), "latency.window_ns"),
        (lambda: busy(most_ns=999), "latency.most_ns"),
        (lambda: busy(ns_per_event=-1), "latency.ns_per_event"),
    ],
)  # fmt: skip
def test_impossible_latencies_are_refused(make, field):
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[5, 6, 7], [4, 6, 7]], "row 2 .* made before the request of the row above"),
        ([[5, 4, 7]], "row 1 .* at the venue before it was made"),
        ([[5, 6, 5]], "row 1 .* answered before"),
        ([[5, 0, 5]], "row 1 .* rejected without any delay"),
        ([[5, 6, 5 + DAY_NS + 1]], "row 1 .* more than a day"),
        (np.zeros((0, 3)), "at least one row"),
        ([[1, 2]], r"allowed: \(n, 3\)"),
    ],
)
def test_impossible_recordings_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        recorded(np.array(rows))
