"""Storms: fixed by hand, historic by looking at every window, reverse by an optimiser."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.stress import SCENARIOS, Norm, Scenario, reverse_stress, stress, worst_windows


def test_fixed_scenarios_by_hand():
    exposures = {"BTC": 1000.0, "ETH": -400.0, "USDT": 500.0}
    found = {each.scenario: each for each in stress(exposures, spread_cost=2.0, impact_cost=3.0)}
    assert len(found) == len(SCENARIOS)
    assert found["DOWN_30"].loss == pytest.approx(0.3 * 1100)
    assert dict(found["DOWN_30"].by_factor)["ETH"] == pytest.approx(-120.0)
    assert found["UP_10"].loss == pytest.approx(-110.0)
    assert found["SPREAD_X5"].loss == pytest.approx(8.0)  # 2 x (5 - 1)
    assert found["DEPTH_DIV5"].loss == pytest.approx(12.0)  # 3 x (5 - 1)
    assert found["STABLECOIN_DEPEG"].loss == pytest.approx(50.0)
    assert found["STABLECOIN_DEPEG"].market == pytest.approx(50.0)
    assert found["CRASH"].loss == pytest.approx(330.0 + 8.0 + 12.0)


def test_a_scenario_of_ones_own():
    scenario = Scenario("mine", -0.1, {"ETH": 0.2})
    assert stress({"BTC": 100.0, "ETH": 100.0}, [scenario])[0].loss == pytest.approx(-10.0)
    for wrong in ({"shock": -1.5}, {"shock": math.nan}, {"spread_factor": 0.0}, {"depth_factor": math.inf}):
        with pytest.raises(InvalidRequest):
            Scenario("wrong", **wrong)
    with pytest.raises(InvalidRequest):
        stress({"BTC": math.nan})
    assert stress({}) == [type(each)(each.scenario, 0.0, 0.0, 0.0, ()) for each in stress({})]


@pytest.mark.parametrize("length", [1, 5, 20])
def test_worst_windows_are_those_of_a_search(length, rng):
    profits = rng.standard_normal(200)
    found = worst_windows(profits, length, 4)
    taken: set[int] = set()
    for window in found:
        assert window.last - window.first + 1 == length
        free = [first for first in range(200 - length + 1) if not taken & set(range(first, first + length))]
        worst = min(free, key=lambda first: profits[first : first + length].sum())
        assert window.loss == pytest.approx(-profits[worst : worst + length].sum(), abs=1e-12)
        assert not taken & set(range(window.first, window.last + 1))
        taken |= set(range(window.first, window.last + 1))
    assert [each.loss for each in found] == sorted((each.loss for each in found), reverse=True)


def test_as_many_windows_as_there_are():
    assert len(worst_windows([1.0, -1.0, 2.0], 2, 5)) == 1
    with pytest.raises(DataError, match="3 observations hold no stretch of 4; 4 are needed"):
        worst_windows([1.0, -1.0, 2.0], 4)
    with pytest.raises(InvalidRequest):
        worst_windows([1.0], 1, 0)


@pytest.mark.parametrize("norm", Norm)
def test_reverse_stress_loses_just_the_amount(norm, rng):
    exposures = rng.standard_normal(6) * 1000
    root = rng.standard_normal((6, 6))
    found = reverse_stress(exposures, 77.0, norm, covariance=root @ root.T)
    assert -float(exposures @ found.moves) == pytest.approx(77.0, rel=1e-12)
    size = {
        Norm.LARGEST: lambda x: np.abs(x).max(),
        Norm.SUM: lambda x: np.abs(x).sum(),
        Norm.EUCLID: np.linalg.norm,
        Norm.LIKELIHOOD: lambda x: math.sqrt(x @ np.linalg.solve(root @ root.T, x)),
    }[norm]
    assert found.size == pytest.approx(size(found.moves), rel=1e-8)
    # No other move that loses as much is smaller: random ones, scaled to the loss.
    for _ in range(3000):
        other = (
            found.moves * (1 + 0.3 * rng.standard_normal(6)) + 0.01 * rng.standard_normal(6) * np.abs(found.moves).max()
        )
        loss = -float(exposures @ other)
        if loss > 0:
            assert size(other * 77.0 / loss) >= found.size * (1 - 1e-9)


def test_the_largest_move_by_linear_programming(rng):
    exposures = rng.standard_normal(5)
    # min t with -t <= x <= t and -w.x >= 1
    bounds = [(None, None)] * 5 + [(0, None)]
    rows = [[*(np.eye(5)[i] * sign), -1.0] for i in range(5) for sign in (1, -1)] + [[*exposures, 0.0]]
    best = optimize.linprog([0.0] * 5 + [1.0], A_ub=rows, b_ub=[0.0] * 10 + [-1.0], bounds=bounds)
    assert reverse_stress(exposures, 1.0, Norm.LARGEST).size == pytest.approx(best.fun, rel=1e-9)


def test_reverse_stress_refuses():
    with pytest.raises(InvalidRequest, match="at least one that is not 0"):
        reverse_stress([0.0, 0.0], 1.0)
    for loss in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidRequest, match="positive amount"):
            reverse_stress([1.0], loss)
    with pytest.raises(InvalidRequest, match="finite matrix 1 x 1"):
        reverse_stress([1.0], 1.0, Norm.LIKELIHOOD)
    with pytest.raises(InvalidRequest, match="positive variance"):
        reverse_stress([1.0], 1.0, Norm.LIKELIHOOD, covariance=[[0.0]])
