"""Volatility of the mid and intensity of market orders, estimated at each wake-up over a rolling window.

Model: the mid is a Brownian motion with `sigma` ticks per square root of a second, and market orders of one side reach
the distance d from the mid as a Poisson process of intensity A exp(-k d) (Avellaneda and Stoikov 2008, section 2.5;
Guéant, Lehalle and Fernandez-Tapia 2013, section 2). State lies in a strategy's memory from its beginning.

What is counted: a sample is the time between two wake-ups with a two-sided book. Its arrival is the last print in it,
at the distance from the mid at the beginning of the sample, where a quote placed then would stand; a distance's rate is
the number of arrivals that reached it over time, as in the literature. A view shows no other print: where several
prints between two wake-ups reach far, A is found too low, k hardly changed. `calibration` sees them all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies.actions import View
from market_maker.strategies.memory import keep_whole, whole
from market_maker.strategies.quoting import is_two_sided, jitable

UNKNOWN = -1.0
NEGLIGIBLE = 1e-12
EXPONENT_MAX = 60.0
"""No market has e^60 orders a second: a fit that says so is not one."""
CAPACITY = 6000
"""Samples that a window may have."""
BINS = 128
SAMPLES_MIN = 50
"""Samples before anything is known; the intensity is fitted anew as often."""
REACHED_MIN = 10
"""A distance takes part in the fit when as many arrivals reached it."""

SEEN_TWICE_MID, SEEN_TS, COUNT, NEXT, SQUARES, DURATION, SINCE_FIT, FITTED_A, FITTED_K = 0, 1, 3, 4, 5, 6, 7, 8, 9
HISTOGRAM = 10
RING = HISTOGRAM + BINS
SIZE = RING + 3 * CAPACITY
"""Numbers of memory that the estimates take."""
NO_ARRIVAL = -1


@jitable
def bin_of(view: View, seen_twice_mid: int, step_ticks: float) -> int:
    """Return how many whole steps from the mid seen before the last print is, NO_ARRIVAL without one.

    On the side of its aggressor; a print on the other side of that mid would have reached no quote: 0.
    """
    if view.trades == 0:
        return NO_ARRIVAL
    above = 0.5 * (2 * view.last_trade_ticks - seen_twice_mid)
    distance = abs(above)
    if view.sold_lots == 0:
        distance = above
    elif view.bought_lots == 0:
        distance = -above
    return int(min(max(distance / step_ticks, 0.0), float(BINS - 1)))


@jitable
def count(memory: NDArray[np.float64], i: int, sign: int) -> None:
    """Add the sample in place `i` of the ring to the sums (sign 1), or take it out of them (-1)."""
    at = RING + 3 * i
    memory[SQUARES] += sign * memory[at]
    memory[DURATION] += sign * memory[at + 1]
    bin_index = int(memory[at + 2])
    if bin_index != NO_ARRIVAL:
        memory[HISTOGRAM + bin_index] += sign


@jitable
def observe(view: View, memory: NDArray[np.float64], window: int, step_ticks: float) -> None:
    """Take in what happened since the last wake-up; call it once at each.

    A book with an empty side breaks the chain: the next sample begins with the next two-sided book.
    """
    if not is_two_sided(view):
        memory[SEEN_TWICE_MID] = 0
        return
    twice_mid = view.best_bid_ticks + view.best_ask_ticks
    seen = int(memory[SEEN_TWICE_MID])
    if seen > 0:
        i = int(memory[NEXT])
        if memory[COUNT] == window:
            count(memory, i, -1)
        else:
            memory[COUNT] += 1
        at = RING + 3 * i
        memory[at] = 0.25 * (twice_mid - seen) * (twice_mid - seen)
        memory[at + 1] = view.now_ts - whole(memory, SEEN_TS)
        memory[at + 2] = bin_of(view, seen, step_ticks)
        count(memory, i, 1)
        memory[NEXT] = (i + 1) % window
        memory[SINCE_FIT] += 1
        if memory[SINCE_FIT] >= SAMPLES_MIN:
            memory[SINCE_FIT] = 0
            fit(memory, step_ticks)
    memory[SEEN_TWICE_MID] = twice_mid
    keep_whole(memory, SEEN_TS, view.now_ts)


@jitable
def fit(memory: NDArray[np.float64], step_ticks: float) -> None:
    """Fit A and k: weighted least squares of the logarithm of how many arrivals reached each distance.

    Weights are the counts n, since the variance of log n is about 1/n. The first step from the mid is left out: within
    it lie the prints at the touch. Without two distances that enough arrivals reached, or without decay, what was
    fitted before stays.
    """
    reached = weight = x_mean = y_mean = xx = xy = 0.0
    for pass_of in range(2):
        reached = 0.0
        for i in range(BINS - 1, 0, -1):
            reached += memory[HISTOGRAM + i]
            if reached < REACHED_MIN:
                continue
            x = i * step_ticks
            y = math.log(reached)
            if pass_of == 0:
                weight += reached
                x_mean += reached * x
                y_mean += reached * y
            else:
                xx += reached * (x - x_mean) * (x - x_mean)
                xy += reached * (x - x_mean) * (y - y_mean)
        if weight == 0.0:
            return
        if pass_of == 0:
            x_mean /= weight
            y_mean /= weight
    if xx == 0.0 or memory[DURATION] <= 0.0:
        return
    decay = -xy / xx
    exponent = y_mean + decay * x_mean
    if decay < NEGLIGIBLE or exponent > EXPONENT_MAX:
        return
    # Both sides were counted together; one has half.
    memory[FITTED_A] = 0.5 * math.exp(exponent) / (1e-9 * memory[DURATION])
    memory[FITTED_K] = decay


@jitable
def volatility(memory: NDArray[np.float64]) -> float:
    """Return sigma, ticks per square root of a second: root of squared moves over time; UNKNOWN before SAMPLES_MIN."""
    if memory[COUNT] < SAMPLES_MIN or memory[DURATION] <= 0.0:
        return UNKNOWN
    return math.sqrt(max(memory[SQUARES], 0.0) / (1e-9 * memory[DURATION]))


@jitable
def intensity(memory: NDArray[np.float64]) -> float:
    """Return A, market orders per second and side at the mid; UNKNOWN before the first fit."""
    return memory[FITTED_A] if memory[FITTED_A] > 0.0 else UNKNOWN


@jitable
def intensity_decay(memory: NDArray[np.float64]) -> float:
    """Return k, per tick; UNKNOWN before the first fit."""
    return memory[FITTED_K] if memory[FITTED_K] > 0.0 else UNKNOWN


@jitable
def given_or(given: float, estimate: float) -> float:
    """Return a parameter, or the estimate where the parameter is 0 (or as good as 0): not given."""
    return given if given >= NEGLIGIBLE else estimate
