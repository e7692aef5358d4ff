"""The flow's laws against plain statistics: Hawkes times, signs of metaorders, sides, distances, sizes.

Only the market orders of the flow are let come here, so that their times are a Hawkes process and nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import pytest
from scipy import stats

from market_maker.synthetic.flow import kernel
from market_maker.synthetic.flow.kernel import (
    MARKET,
    age,
    choose,
    distance,
    limit_size,
    market_size,
    metaorder_side,
    plan,
    remember,
)
from market_maker.synthetic.flow.parameters import Conditions, FlowParameters, MarketDesign, make_flow, set_conditions
from market_maker.synthetic.flow.state import FlowState

EVENTS = 120_000


@numba.njit
def _come(flow: Any, times: Any, sides: Any, gap: float) -> None:
    count = 0
    while count < len(times):
        plan(flow)
        age(flow, flow.head[0]["next_ts"])
        if choose(flow, gap) == MARKET:
            times[count] = flow.head[0]["ts"]
            sides[count] = metaorder_side(flow, gap)
            remember(flow, sides[count])
            count += 1


def come(flow: FlowState, *, gap: float = 0.0, count: int = EVENTS) -> tuple[np.ndarray, np.ndarray]:
    """Return times (s) and sides of market orders."""
    flow.rules["limit_rate"] = 0.0
    times, sides = np.zeros(count, np.int64), np.zeros(count, np.int64)
    _come(flow, times, sides, gap)
    return times / 1e9, sides


def a_flow(seed: int = 3, **parameters: Any) -> FlowState:
    return make_flow(MarketDesign(price_ticks=1_000, seed=seed, flow=FlowParameters(**parameters)))


def compensators(times: np.ndarray, parameters: FlowParameters) -> np.ndarray:
    """Return the integral of the intensity between neighbouring events, by brute force over all past events.

    Between two events the intensity is m + sum_i sum_k a b_k exp(-b_k (t - t_i)), with what was there at the beginning.
    """
    share = parameters.branching / 4
    base = (1 - parameters.branching) * parameters.market_rate
    found = np.zeros(len(times) - 1)
    for n in range(len(found)):
        waits = times[n + 1] - times[n]
        past = times[n] - times[: n + 1]
        found[n] = base * waits
        for decay in parameters.decays:
            started = share * parameters.market_rate * math.exp(-decay * times[n]) / decay
            excited = share * np.exp(-decay * past).sum() + started
            found[n] += excited * -math.expm1(-decay * waits)
    return found


def test_market_orders_are_the_hawkes_process_of_brute_force() -> None:
    """Time rescaling: with the true intensity the compensators are independent exponential draws."""
    times, _ = come(a_flow(), count=6_000)
    residuals = compensators(times, FlowParameters())
    assert stats.kstest(residuals, "expon").pvalue > 1e-3
    assert abs(np.corrcoef(residuals[1:], residuals[:-1])[0, 1]) < 0.04
    # The same test refuses a process with another branching ratio.
    assert stats.kstest(compensators(times, FlowParameters(branching=0.5)), "expon").pvalue < 1e-6


def test_mean_rate_and_branching_ratio() -> None:
    rates, ratios = [], []
    for seed in range(6):
        times, _ = come(a_flow(seed=seed, branching=0.6))
        counts = np.histogram(times, np.arange(0, times[-1], 1_000.0))[0]
        rates.append(len(times) / times[-1])
        # Over windows longer than any memory, variance / mean is 1 / (1 - n)^2 (Hawkes 1971).
        ratios.append(1 - 1 / math.sqrt(counts.var() / counts.mean()))
    assert math.isclose(np.mean(rates), 1.88, rel_tol=0.02)
    assert math.isclose(np.mean(ratios), 0.6, abs_tol=0.08)


def test_a_multiplier_of_market_orders_keeps_the_branching_ratio() -> None:
    flow = a_flow()
    set_conditions(flow, Conditions(market=3.0))
    times, _ = come(flow)
    assert math.isclose(len(times) / times[-1], 3 * 1.88, rel_tol=0.08)


def test_signs_have_a_long_memory() -> None:
    """C(l) falls about as l^-0.5 (Lillo, Mike, Farmer 2005), here from 1 to 100."""
    lags = np.array([1, 2, 5, 10, 20, 50, 100])
    found = []
    for seed in range(8):
        sides = come(a_flow(seed=seed))[1].astype(float)
        found.append([(sides[lag:] * sides[:-lag]).mean() for lag in lags])
    memory = np.mean(found, axis=0)
    slope = np.polyfit(np.log(lags), np.log(memory), 1)[0]
    assert 0.2 < memory[0] < 0.4
    assert -0.65 < slope < -0.35


def test_lengths_of_metaorders_are_pareto() -> None:
    renew = numba.njit(lambda flow, found: _renew(flow, found))
    flow = a_flow()
    found = np.zeros(100_000, np.int64)
    renew(flow, found)
    # P(L >= l) = l^-1.5; the second quantity is Hill's estimate of the exponent in the tail.
    for length in (2, 4, 10, 30):
        assert math.isclose((found >= length).mean(), length**-1.5, rel_tol=0.08)
    tail = np.sort(found[found >= 20]) + 0.5
    assert math.isclose(1 / np.log(tail / 19.9).mean(), 1.5, abs_tol=0.12)


@numba.njit
def _renew(flow: Any, found: Any) -> None:
    for i in range(len(found)):
        kernel.renew(flow, 0, 0.0)
        found[i] = flow.metaorders[0, 1]


@numba.njit
def _draw(flow: Any, which: int, found: Any) -> None:
    for i in range(len(found)):
        if which == 0:
            found[i] = distance(flow)
        elif which == 1:
            found[i] = limit_size(flow)
        elif which == 2:
            found[i] = market_size(flow)


def draws(flow: FlowState, which: int, count: int = 200_000) -> np.ndarray:
    found = np.zeros(count, np.int64)
    _draw(flow, which, found)
    return found


def test_distances_come_in_proportion_to_their_rates() -> None:
    counts = np.bincount(draws(a_flow(), 0), minlength=31)[1:]
    rates = FlowParameters().limit_rates()
    assert stats.chisquare(counts, rates / rates.sum() * counts.sum()).pvalue > 1e-3


def test_sizes_are_those_of_the_tables_and_scale() -> None:
    flow = a_flow(lots_mean=20.0, market_size=2.0)
    assert math.isclose(draws(flow, 1).mean(), 20.0, rel_tol=0.02)
    assert math.isclose(draws(flow, 2).mean(), 40.0, rel_tol=0.02)
    set_conditions(flow, Conditions(size=0.25))
    assert math.isclose(draws(flow, 1).mean(), 5.0, rel_tol=0.12)
    set_conditions(flow, Conditions(size=0.001))
    assert draws(flow, 1).max() == 1


@numba.njit
def _asks(flow: Any, gap: float, count: int) -> float:
    asks = 0
    for _ in range(count):
        asks += kernel.limit_side(flow, gap) < 0
    return asks / count


def asks(flow: FlowState, gap: float) -> float:
    return float(_asks(flow, gap, 100_000))


@pytest.mark.parametrize("gap", [-30.0, 0.0, 30.0])
def test_sides_of_limit_orders_follow_feedback_and_reference_price(gap: float) -> None:
    flow = a_flow()
    assert math.isclose(asks(flow, gap), 1 / (1 + math.exp(0.01 * gap)), abs_tol=0.008)
    flow.signed[:] = (2.0, 10.0, 30.0, 100.0)
    skew = 0.02 * 2 + 0.012 * 10 + 0.006 * 30 + 0.003 * 100 - 0.01 * gap
    assert math.isclose(asks(flow, gap), 1 / (1 + math.exp(-skew)), abs_tol=0.008)
    flow.signed[3] = 1e9
    assert math.isclose(asks(flow, gap), 1 / (1 + math.exp(-3.0)), abs_tol=0.008)


def test_buy_bias_forces_market_orders() -> None:
    flow = a_flow()
    set_conditions(flow, Conditions(buy_bias=1.0))
    assert (come(flow, count=2_000)[1] == 1).all()
    set_conditions(flow, Conditions(buy_bias=-1.0))
    assert (come(flow, count=2_000)[1] == -1).all()
