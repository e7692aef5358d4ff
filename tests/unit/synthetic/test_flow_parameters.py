"""Tables hold the laws they are made of, and what is out of bounds is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from market_maker.domain.errors import InvalidRequest
from market_maker.synthetic.correlation import factor_loadings
from market_maker.synthetic.flow.parameters import (
    NS,
    Conditions,
    FlowParameters,
    MarketDesign,
    ReferenceParameters,
    alias_table,
    jump_quantum,
    make_flow,
    size_table,
    suited_design,
    suited_step,
)


def test_an_alias_table_has_exactly_the_probabilities_of_its_weights() -> None:
    rng = np.random.default_rng(3)
    for weights in (np.ones(1), np.array([1.0, 0.0, 3.0]), rng.random(57), FlowParameters().limit_rates()):
        places, shares = alias_table(weights)
        chances = np.zeros(len(weights))
        for place, (other, share) in enumerate(zip(places, shares, strict=True)):
            chances[place] += share
            chances[other] += 1.0 - share
        np.testing.assert_allclose(chances / len(weights), weights / weights.sum(), atol=1e-12)


def test_rates_by_distance() -> None:
    flow = FlowParameters()
    rates, cancels = flow.limit_rates(), flow.cancel_rates_of_levels()
    # 1.92 / 2^0.52 = 1.339
    assert rates[0] == 1.92
    assert math.isclose(rates[1], 1.339, abs_tol=1e-3)
    assert cancels[:5].tolist() == [0.71, 0.81, 0.68, 0.56, 0.47]
    assert math.isclose(cancels[9], 0.47 * 0.5**0.52)
    assert len(rates) == len(cancels) == 30


@pytest.mark.parametrize(("mean", "sigma", "share"), [(10.0, 0.8, 0.25), (1_000.0, 1.2, 0.0), (3.0, 0.5, 1.0)])
def test_sizes(mean: float, sigma: float, share: float) -> None:
    sizes = size_table(mean=mean, sigma=sigma, round_lots=0, round_share=share)
    assert sizes.dtype == np.int64
    assert len(sizes) == 4096
    assert sizes.min() >= 1
    if share < 1.0:
        assert math.isclose(sizes.mean(), mean, rel_tol=0.01)
    if share == 0.0:
        # The sample is made of quantiles, so that it fits far better than chance would.
        law = stats.lognorm(s=sigma, scale=mean / math.exp(sigma**2 / 2))
        assert stats.kstest(sizes, law.cdf).statistic < 0.005
    if share == 0.25:
        values, counts = np.unique(sizes, return_counts=True)
        spikes = values[counts > 1.5 * np.median(counts[:20])]
        assert 5 in spikes


def test_a_suited_step_balances_flow_and_reference_price() -> None:
    reference = ReferenceParameters(price_deviation=1.33e-4, step_ns=NS)
    assert suited_step(100_000, reference) == (10, 1.0)
    # Four times as fast, the same movement needs half the step.
    assert suited_step(100_000, reference, speed=4.0) == (5, 4.0)
    step, speed = suited_step(1_000, reference)
    assert step == 1
    assert math.isclose(speed, 0.01, rel_tol=1e-9)


def test_a_suited_design() -> None:
    reference = ReferenceParameters(price_deviation=0.001, step_ns=NS)
    # 60,000.00 with ticks of 0.01 and lots of 0.001: one lot is worth 60, an order 10,000.
    design = suited_design(price_ticks=6_000_000, lot_value_ticks=1e-5, reference=reference, seed=5, start_ts=7)
    assert (design.seed, design.start_ts) == (5, 7)
    assert design.flow.step_ticks == round(6_000 / 1.33)
    assert math.isclose(design.flow.lots_mean, 10_000 / 60)
    assert suited_design(price_ticks=10**9, lot_value_ticks=1.0, reference=reference).flow.lots_mean == 1.0


REFUSED = [
    (lambda: FlowParameters(levels=1), "levels"),
    (lambda: FlowParameters(branching=1.0), "branching"),
    (lambda: FlowParameters(decays=(1.0,)), "decays"),
    (lambda: FlowParameters(decays=(1.0, 1.0, 1.0, 0.0)), "decays"),
    (lambda: FlowParameters(cancel_rates=()), "cancel_rates"),
    (lambda: FlowParameters(speed=math.nan), "speed"),
    (lambda: ReferenceParameters(step_ns=1), "step_ns"),
    (lambda: Conditions(buy_bias=2.0), "buy_bias"),
    (lambda: Conditions(market=0.0), "market"),
    (lambda: MarketDesign(price_ticks=0), "price_ticks"),
    (lambda: MarketDesign(price_ticks=5, loadings=(0.9, 0.9)), "loadings"),
    (lambda: jump_quantum(-1.0), "jump"),
    (lambda: factor_loadings([[1.0, 0.5]]), "correlations"),
    (lambda: factor_loadings([[1.0, 0.5], [0.4, 1.0]]), "correlations"),
    (lambda: factor_loadings([[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]]), "correlations"),
]


@pytest.mark.parametrize(("make", "field"), REFUSED, ids=[f"{i} {field}" for i, (_, field) in enumerate(REFUSED)])
def test_what_is_out_of_bounds_is_refused(make: object, field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        make()  # type: ignore[operator]


def test_loadings_multiply_to_the_correlations() -> None:
    matrix = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, -0.1], [0.3, -0.1, 1.0]])
    rows = np.array(factor_loadings(matrix.tolist()))
    np.testing.assert_allclose(rows @ rows.T, matrix, atol=1e-12)
    # Copies of each other: only just positive semidefinite.
    twins = np.array(factor_loadings([[1.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(twins @ twins.T, np.ones((2, 2)), atol=1e-12)


def test_a_seed_gives_the_same_state_and_another_a_different_one() -> None:
    design = MarketDesign(price_ticks=1_000, seed=4)
    one, same, other = make_flow(design), make_flow(design), make_flow(replace(design, seed=5))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, same, strict=True))
    assert one.head["seed"][0] != other.head["seed"][0]
    assert one.head["reference_seed"][0] == other.head["reference_seed"][0]
