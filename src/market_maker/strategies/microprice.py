"""One bid and one ask around Stoikov's micro-price, the expected mid after many moves, learnt from the feed.

Source: Stoikov (2018), "The micro-price: a high-frequency estimator of future prices", Quantitative Finance 18(12),
section 3: a Markov chain of imbalance and spread; G1 = (1 - Q)^-1 R K is the expected first move of the mid,
B = (1 - Q)^-1 T the state after it, and the micro-price is mid + sum over i of B^i G1, cut off after six terms as there.
Every transition is counted twice, as seen and mirrored (bid for ask), so that the sum converges.

Steps are wake-ups: the time between two of them is the step of the chain. A move counts whole, however large. Counts
are halved once there are `memory_samples` of them, so that the past fades.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies import parameters
from market_maker.strategies.actions import Records, View
from market_maker.strategies.contract import Parameter, StrategyKind
from market_maker.strategies.quoting import is_two_sided, jitable, mid_ticks
from market_maker.strategies.requoting import TWO_QUOTES, quote_both_sides, withdraw

HALF_SPREAD, SKEW, SAMPLES, ORDER_LOTS, MAX_INVENTORY, TOLERANCE = range(6)
BUCKETS, SPREADS = 9, 3
STATES = BUCKETS * SPREADS
TERMS = 6
FIT_EVERY = 500
SEEN_TWICE_MID, SEEN_STATE, COUNTED, SINCE_FIT = 0, 1, 2, 3
ADJUSTMENT = 4
MOVED = ADJUSTMENT + STATES
STAYED_TO = MOVED + STATES
MOVED_TO = STAYED_TO + STATES * STATES
COUNTS_END = MOVED_TO + STATES * STATES
FACTORS = COUNTS_END
STEPS = FACTORS + STATES * STATES
TERM = STEPS + STATES
FOLLOWING = TERM + STATES
QUOTES = FOLLOWING + STATES
MEMORY_SIZE = QUOTES + TWO_QUOTES


@jitable
def state_of(view: View) -> int:
    """Return the state: bucket of imbalance at the best prices + BUCKETS x (spread - 1, three ticks or more as one)."""
    lots = view.best_bid_lots + view.best_ask_lots
    share = view.best_bid_lots / lots if lots > 0 else 0.5
    spread = min(max(view.best_ask_ticks - view.best_bid_ticks, 1), SPREADS)
    return min(int(share * BUCKETS), BUCKETS - 1) + BUCKETS * (spread - 1)


@jitable
def mirrored(state: int) -> int:
    """Return the state with bid and ask exchanged."""
    bucket = state % BUCKETS
    return state - bucket + BUCKETS - 1 - bucket


@jitable
def observe(view: View, memory: NDArray[np.float64], samples: int) -> int:
    """Count the step since the last wake-up and return the state now. Needs a two-sided book."""
    state = state_of(view)
    twice_mid = view.best_bid_ticks + view.best_ask_ticks
    seen = int(memory[SEEN_TWICE_MID])
    if seen > 0:
        before = int(memory[SEEN_STATE])
        ticks = 0.5 * (twice_mid - seen)
        counts = STAYED_TO if ticks == 0.0 else MOVED_TO
        memory[MOVED + before] += ticks
        memory[MOVED + mirrored(before)] -= ticks
        memory[counts + before * STATES + state] += 1
        memory[counts + mirrored(before) * STATES + mirrored(state)] += 1
        memory[COUNTED] += 1
        memory[SINCE_FIT] += 1
        if memory[COUNTED] >= samples:
            memory[COUNTED] *= 0.5
            for i in range(MOVED, COUNTS_END):
                memory[i] *= 0.5
        if memory[SINCE_FIT] >= FIT_EVERY:
            memory[SINCE_FIT] = 0
            fit(memory)
    memory[SEEN_TWICE_MID] = twice_mid
    memory[SEEN_STATE] = state
    return state


@jitable
def fit(memory: NDArray[np.float64]) -> None:
    """Work out micro-price - mid of every state, ticks, from the counts; 0 for a state that was never seen.

    One more step from each state, to no other and without a move, is taken as seen: 1 - Q then has an inverse also
    where no move was.
    """
    factors, term = memory[FACTORS:STEPS], memory[TERM:FOLLOWING]
    for x in range(STATES):
        steps = 1.0
        for y in range(STATES):
            steps += memory[STAYED_TO + x * STATES + y] + memory[MOVED_TO + x * STATES + y]
        for y in range(STATES):
            factors[x * STATES + y] = -memory[STAYED_TO + x * STATES + y] / steps
        factors[x * STATES + x] += 1.0
        memory[STEPS + x] = steps
        term[x] = memory[MOVED + x] / steps
        memory[ADJUSTMENT + x] = 0.0
    eliminate(factors)
    for _ in range(TERMS):
        solve(factors, term)
        for x in range(STATES):
            memory[ADJUSTMENT + x] += term[x]
            memory[FOLLOWING + x] = 0.0
            for y in range(STATES):
                memory[FOLLOWING + x] += memory[MOVED_TO + x * STATES + y] * term[y] / memory[STEPS + x]
        for x in range(STATES):
            term[x] = memory[FOLLOWING + x]


@jitable
def eliminate(system: NDArray[np.float64]) -> None:
    """Replace a strictly diagonally dominant matrix (by rows) by its factors L and U: Gaussian elimination, no pivots."""
    for k in range(STATES):
        for i in range(k + 1, STATES):
            if system[i * STATES + k] != 0.0:
                system[i * STATES + k] /= system[k * STATES + k]
                for j in range(k + 1, STATES):
                    system[i * STATES + j] -= system[i * STATES + k] * system[k * STATES + j]


@jitable
def solve(factors: NDArray[np.float64], x: NDArray[np.float64]) -> None:
    """Replace the right-hand side `x` of L U y = x by y."""
    for i in range(STATES):
        for j in range(i):
            x[i] -= factors[i * STATES + j] * x[j]
    for i in range(STATES - 1, -1, -1):
        for j in range(i + 1, STATES):
            x[i] -= factors[i * STATES + j] * x[j]
        x[i] /= factors[i * STATES + i]


def on_wake(view: View, params: NDArray[np.float64], memory: NDArray[np.float64], actions: Records) -> None:
    """Quote the half-spread around micro-price - skew x inventory; around the mid until the first fit."""
    if not is_two_sided(view):
        memory[SEEN_TWICE_MID] = 0
        withdraw(view, actions)
        return
    state = observe(view, memory, int(params[SAMPLES]))
    fair = mid_ticks(view) + memory[ADJUSTMENT + state] - params[SKEW] * view.position_lots
    bid, ask = fair - params[HALF_SPREAD], fair + params[HALF_SPREAD]
    quote_both_sides(
        view,
        actions,
        memory[QUOTES:MEMORY_SIZE],
        bid,
        ask,
        int(params[ORDER_LOTS]),
        int(params[TOLERANCE]),
        int(params[MAX_INVENTORY]),
    )


KIND = StrategyKind(
    kind="microprice",
    summary="Quotes around Stoikov's micro-price, whose chain of imbalance and spread is learnt from the feed.",
    parameters=(
        parameters.HALF_SPREAD,
        parameters.SKEW,
        Parameter(
            "memory_samples",
            "integer",
            100_000,
            1_000,
            10**9,
            "wake-ups",
            "how much is learnt before the past counts half",
        ),
        *parameters.QUOTE,
        parameters.INTERVAL,
    ),
    source="market_maker.strategies.microprice:on_wake",
    memory_size=MEMORY_SIZE,
)
