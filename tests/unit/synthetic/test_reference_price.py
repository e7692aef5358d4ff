"""Moments of the reference price's processes and of the activity, against their formulas, and its rounding to whole numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
from scipy import stats

from kernel_forms import compiled
from market_maker.synthetic.correlation import factor_loadings
from market_maker.synthetic.draws.kernel import SHIFT, quantum_of_e12
from market_maker.synthetic.flow.kernel import take_step
from market_maker.synthetic.flow.parameters import NS, FlowParameters, MarketDesign, ReferenceParameters, make_flow
from market_maker.synthetic.reference.kernel import session_factor, take_impact
from market_maker.synthetic.reference.processes import Process

STEPS = 200_000
DEVIATION = 2e-4


@numba.njit
def _steps(flow: Any, prices: Any, variances: Any, speeds: Any) -> None:
    for i in range(len(prices)):
        take_step(flow)
        prices[i] = flow.head[0]["reference_q20"]
        variances[i] = flow.mood[0]["variance"]
        speeds[i] = flow.mood[0]["speed"]


def walk(design: MarketDesign, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    prices, variances, speeds = np.zeros(steps, np.int64), np.zeros(steps), np.zeros(steps)
    _steps(make_flow(design), prices, variances, speeds)
    return prices, variances, speeds


def a_design(process: Process, **parameters: Any) -> MarketDesign:
    reference = ReferenceParameters(**{"process": process, "price_deviation": DEVIATION, "step_ns": NS, **parameters})
    return MarketDesign(price_ticks=1_000_000, seed=11, group_seed=12, reference=reference)


def relative(prices: np.ndarray) -> np.ndarray:
    return np.diff(prices) / prices[:-1]


def test_gbm_has_the_price_deviation_per_step_and_no_drift() -> None:
    changes = relative(walk(a_design(Process.GBM))[0])
    assert math.isclose(changes.std(), DEVIATION, rel_tol=0.005)
    assert abs(changes.mean()) < 4 * DEVIATION / math.sqrt(STEPS)
    assert stats.kstest(np.log1p(changes) / DEVIATION, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(changes[1:], changes[:-1])[0, 1]) < 0.01


def test_constant() -> None:
    assert set(walk(a_design(Process.CONSTANT), 100)[0].tolist()) == {1_000_000 << SHIFT}


def test_ornstein_uhlenbeck_returns_to_the_initial_price() -> None:
    time_s = 200.0
    prices = walk(a_design(Process.ORNSTEIN_UHLENBECK, reversion_time_s=time_s))[0]
    distance = np.log(prices / (1_000_000 << SHIFT))
    # The stationary variance is s^2 tau / 2, the correlation over h is exp(-h / tau).
    assert math.isclose(distance.std(), DEVIATION * math.sqrt(time_s / 2), rel_tol=0.06)
    lag = 100
    assert math.isclose(np.corrcoef(distance[lag:], distance[:-lag])[0, 1], math.exp(-0.5), abs_tol=0.05)
    # One step's deviation is the price deviation: exp(-1/200) of the way.
    assert math.isclose(relative(prices).std(), DEVIATION, rel_tol=0.01)


def test_jumps_add_a_compound_poisson_process() -> None:
    design = a_design(Process.JUMPS, jumps_per_hour=36.0, jump_deviation=0.01)
    changes = np.log1p(relative(walk(design)[0]))
    rate = 36 / 3_600
    # Variance s^2 + r d^2, fourth moment 3 s^4 + 6 s^2 r d^2 + 3 d^4 (r + r^2).
    assert math.isclose(changes.var(), DEVIATION**2 + rate * 1e-4, rel_tol=0.1)
    assert math.isclose((np.abs(changes) > 10 * DEVIATION).mean(), rate * 2 * stats.norm.sf(0.2), rel_tol=0.06)
    assert stats.kurtosis(changes) > 50


def test_several_jumps_in_one_step() -> None:
    design = a_design(Process.JUMPS, price_deviation=0.0, jumps_per_hour=3_600.0, jump_mean=1e-5, jump_deviation=0.0)
    jumps = np.rint(np.log1p(relative(walk(design, 50_000)[0])) / 1e-5).astype(int)
    counts = np.bincount(jumps, minlength=8)
    assert counts.sum() == len(jumps)
    expected = stats.poisson.pmf(np.arange(6), 1.0) * len(jumps)
    assert (
        stats.chisquare(
            np.append(counts[:6], counts[6:].sum()), np.append(expected, len(jumps) - expected.sum())
        ).pvalue
        > 1e-3
    )


def test_heston_variance() -> None:
    time_s, spread = 100.0, 0.5
    design = a_design(Process.HESTON, variance_time_s=time_s, variance_volatility=spread, variance_correlation=-0.7)
    prices, variances, _ = walk(design, 2 * STEPS)
    assert math.isclose(variances.mean(), 1.0, rel_tol=0.04)
    assert math.isclose(variances.std(), spread, rel_tol=0.08)
    changes = relative(prices)
    assert math.isclose(changes.std(), DEVIATION, rel_tol=0.03)
    # Kurtosis of a mixture of normal laws: 3 Var(v) / E(v)^2.
    assert math.isclose(stats.kurtosis(changes), 3 * spread**2, rel_tol=0.25)
    assert math.isclose(np.corrcoef(changes, np.diff(variances))[0, 1], -0.7, abs_tol=0.06)


def test_activity_is_a_log_ornstein_uhlenbeck_process_of_mean_one() -> None:
    flow = FlowParameters(activity_sigma=0.5, activity_time_s=50.0, speed=3.0)
    speeds = walk(replace(a_design(Process.CONSTANT), flow=flow))[2]
    logs = np.log(speeds / 3.0)
    assert math.isclose(speeds.mean(), 3.0, rel_tol=0.03)
    assert math.isclose(logs.std(), 0.5, rel_tol=0.04)
    assert math.isclose(np.corrcoef(logs[50:], logs[:-50])[0, 1], math.exp(-1), abs_tol=0.05)


def test_business_time_keeps_the_mean_variance() -> None:
    design = a_design(Process.GBM, business_time=True)
    design = replace(design, flow=FlowParameters(activity_time_s=60.0))
    changes = relative(walk(design)[0])
    assert math.isclose(changes.std(), DEVIATION, rel_tol=0.02)
    # 3 (exp(0.25) - 1) = 0.85
    assert math.isclose(stats.kurtosis(changes), 3 * math.expm1(0.25), rel_tol=0.25)


def test_a_session_is_busiest_at_its_ends_and_one_on_average() -> None:
    hour = 3_600 * NS
    rules = make_flow(
        MarketDesign(
            price_ticks=9, flow=FlowParameters(session_start_ns=9 * hour, session_ns=8 * hour, session_swing=0.6)
        )
    ).rules[0]
    factor = session_factor.py_func
    day = 19_000 * 24 * hour
    at = [factor(rules, day + 9 * hour + part * 8 * hour // 1_000) for part in range(1_001)]
    assert math.isclose(at[0], 1.6) and math.isclose(at[-1], 1.6) and math.isclose(at[500], 0.7)
    assert math.isclose(np.mean(at), 1.0, abs_tol=2e-3)


def test_impact_is_an_exact_product_and_permanent() -> None:
    impact = compiled(take_impact)
    flow = make_flow(a_design(Process.GBM))
    before = int(flow.head["reference_q20"][0])
    impact(flow, np.int64(2_500_000_000))  # 0.25 %
    change = int(quantum_of_e12.py_func(2_500_000_000))
    assert int(flow.head["reference_q20"][0]) == before + before * change // (1 << 40)
    assert math.isclose(int(flow.head["reference_q20"][0]) / before, 1.0025, rel_tol=1e-11)
    impact(flow, np.int64(-2 * 10**12))
    assert int(flow.head["reference_q20"][0]) == 1 << SHIFT


def test_what_the_weights_leave_is_the_markets_own() -> None:
    paths = []
    for seed, loadings in enumerate([(0.8,), (0.5,), (0.0,), (0.8,)]):
        design = replace(a_design(Process.GBM, step_ns=NS), seed=seed, group_seed=99, loadings=loadings)
        paths.append(relative(walk(design, 100_000)[0]))
    wanted = np.outer([0.8, 0.5, 0.0, 0.8], [0.8, 0.5, 0.0, 0.8])
    np.fill_diagonal(wanted, 1.0)
    np.testing.assert_allclose(np.corrcoef(paths), wanted, atol=0.012)
    np.testing.assert_allclose(np.std(paths, axis=1), np.std(paths[0]), rtol=0.02)


def test_markets_that_begin_at_different_instants_take_the_steps_of_their_group() -> None:
    begun = 1_700_000_000 * NS
    late = 7 * NS + NS // 3
    design = replace(a_design(Process.GBM, step_ns=NS), group_seed=99, since_epoch=True, start_ts=begun)
    first, second = (walk(replace(design, start_ts=start, seed=start), 1_000)[0] for start in (begun, begun + late))
    # The second one's first step is the eighth of the first one's.
    np.testing.assert_allclose(relative(first)[7:], relative(second)[:-7], rtol=0.0, atol=1e-9)
    flow = make_flow(replace(design, start_ts=begun + late))
    assert (int(flow.head["steps"][0]), int(flow.head["step_ts"][0])) == (1_700_000_007, begun + 8 * NS)


@pytest.mark.parametrize("step_ns", [NS // 10, NS])
def test_reference_prices_of_a_group_have_the_wanted_correlations(step_ns: int) -> None:
    matrix = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.1], [-0.3, 0.1, 1.0]])
    paths = []
    for seed, loadings in enumerate(factor_loadings(matrix.tolist())):
        design = replace(a_design(Process.GBM, step_ns=step_ns), seed=seed, group_seed=99, loadings=loadings)
        paths.append(relative(walk(design, 100_000)[0]))
    # The standard error of a correlation is at most 1 / sqrt(100,000) = 0.003.
    np.testing.assert_allclose(np.corrcoef(paths), matrix, atol=0.012)
