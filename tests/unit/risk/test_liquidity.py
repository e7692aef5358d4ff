"""The cost of getting out: a walk through the book by hand, Almgren and Chriss against their closed forms."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from scipy import optimize, stats

from market_maker.domain.book import Level
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.liquidity import (
    ImpactModel,
    depth_share,
    exogenous_spread_cost,
    least_liquidation_risk,
    liquidation_schedule,
    liquidation_value_at_risk,
    time_to_liquidate,
    walk_book,
    with_liquidation,
)
from market_maker.risk.scaling import Horizon
from market_maker.risk.value_at_risk.historical import historical

D = Decimal
DAY = 86_400_000_000_000


def levels(*pairs):
    return [Level(D(price), D(quantity)) for price, quantity in pairs]


BIDS = levels(("99.9", "2"), ("99.8", "3"), ("99.0", "10"))
ASKS = levels(("100.1", "1"), ("100.3", "4"))


@pytest.mark.parametrize(
    ("position", "cost", "worst", "used"),
    [
        # mid 100.0: 2 x 0.1
        ("2", "0.2", "99.9", 1),
        # 2 x 0.1 + 1.5 x 0.2
        ("3.5", "0.5", "99.8", 2),
        # 2 x 0.1 + 3 x 0.2 + 10 x 1.0
        ("15", "10.8", "99.0", 3),
        # a short one buys: 1 x 0.1 + 2 x 0.3
        ("-3", "0.7", "100.3", 2),
    ],
)
def test_walking_the_book(position, cost, worst, used):
    found = walk_book(D(position), BIDS, ASKS)
    assert (found.cost, found.worst_price, found.levels) == (D(cost), D(worst), used)
    assert found.quantity == abs(D(position))


def test_a_flat_position_costs_nothing():
    found = walk_book(D(0), BIDS, ASKS)
    assert (found.cost, found.worst_price, found.levels) == (0, None, 0)


def test_the_walk_is_exact():
    bids = levels(("0.1000000000000000001", "123456789012345678.000000000001"))
    asks = levels(("0.1000000000000000003", "1"))
    found = walk_book(D("123456789012345678.000000000001"), bids, asks)
    assert found.cost == D("0.0123456789012345678000000000001")


@pytest.mark.parametrize(
    ("bids", "asks", "message"),
    [
        ([], ASKS, "0 bids and 2 asks"),
        (BIDS[::-1], ASKS, "best first"),
        (BIDS, levels(("99.9", "1")), "crossed"),
        (levels(("99", "0")), ASKS, "positive quantities"),
    ],
)
def test_books_that_are_refused(bids, asks, message):
    with pytest.raises(DataError, match=message):
        walk_book(D(1), bids, asks)


def test_too_little_depth_says_how_much_there_is():
    with pytest.raises(DataError, match=r"holds 15 in 3 levels; 15\.5 is needed"):
        walk_book(D("15.5"), BIDS, ASKS)
    with pytest.raises(InvalidRequest, match="finite quantity"):
        walk_book(D("NaN"), BIDS, ASKS)


def test_liquidity_adjusted_figures():
    plain = historical(np.linspace(-1.0, 1.0, 101), 0.95, Horizon(DAY, DAY))
    found = with_liquidation(plain, 2.5)
    assert found.value_at_risk == plain.value_at_risk + 2.5
    assert found.expected_shortfall == plain.expected_shortfall + 2.5
    assert found.basis.parameter("liquidation_cost") == 2.5
    assert "cost of liquidation" in found.basis.convention
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(InvalidRequest):
            with_liquidation(plain, wrong)


def test_exogenous_spread_cost():
    # half of 1,000,000 x (0.1 % + 3 x 0.05 %)
    assert exogenous_spread_cost(-1e6, 0.001, 0.0005, 3.0) == pytest.approx(1250.0, rel=1e-12)
    with pytest.raises(InvalidRequest):
        exogenous_spread_cost(1e6, -0.1, 0.0, 1.0)


def test_shares_and_times():
    assert depth_share(D("-2.5"), BIDS, ASKS) == 0.5
    assert depth_share(D("3"), BIDS, ASKS) == 0.2
    assert time_to_liquidate(-500, 10_000, 0.1) == 0.5
    with pytest.raises(InvalidRequest):
        time_to_liquidate(500, 0.0, 0.1)


PAPER = ImpactModel(volatility=0.95, permanent=2.5e-7, temporary=2.5e-6, fixed=0.0625)
"""The example of Almgren and Chriss (2000), table 1: $50 share, 30 % a year, 1,000,000 shares over 5 days in 5 trades."""


def test_the_example_of_the_paper():
    """Table 1 gives kappa of about 0.61 a day for a risk aversion of 1e-6."""
    found = liquidation_schedule(1e6, 5.0, 5, PAPER, risk_aversion=1e-6)
    adjusted = 2.5e-6 - 0.5 * 2.5e-7
    kappa = math.acosh(0.5 * (1e-6 * 0.95**2 / adjusted) + 1.0)
    assert kappa == pytest.approx(0.61, abs=0.01)
    t = np.arange(6.0)
    np.testing.assert_allclose(found.holdings, 1e6 * np.sinh(kappa * (5 - t)) / math.sinh(5 * kappa), atol=1e-4)
    # equations 20: E and V in closed form
    s, x = math.sinh, 1e6
    cost = (
        0.5 * 2.5e-7 * x**2
        + 0.0625 * x
        + adjusted * x**2 * math.tanh(kappa / 2) * (s(2 * kappa * 5) + 2 * 5 * s(kappa)) / (2 * s(kappa * 5) ** 2)
    )
    variance = (
        0.5 * 0.95**2 * x**2 * (s(kappa * 5) * math.cosh(kappa * 4) - 5 * s(kappa)) / (s(kappa * 5) ** 2 * s(kappa))
    )
    assert found.expected_cost == pytest.approx(cost, rel=1e-9)
    assert found.cost_variance == pytest.approx(variance, rel=1e-9)


def test_equal_trades_without_risk_aversion():
    """Equations 10 and 11: E = gamma X^2 / 2 + epsilon X + (eta - gamma tau / 2) X^2 / T; V = sigma^2 X^2 T / 3 (1 - 1/N)(1 - 1/2N)."""
    found = liquidation_schedule(1e6, 5.0, 10, PAPER)
    assert found.expected_cost == pytest.approx(
        0.5 * 2.5e-7 * 1e12 + 62_500 + (2.5e-6 - 0.0625e-6) * 1e12 / 5, rel=1e-12
    )
    assert found.cost_variance == pytest.approx(0.95**2 * 1e12 * 5 / 3 * (1 - 1 / 10) * (1 - 1 / 20), rel=1e-12)


@pytest.mark.parametrize("aversion", [1e-7, 1e-6, 2e-5])
def test_no_schedule_is_better(aversion):
    found = liquidation_schedule(1e6, 5.0, 5, PAPER, risk_aversion=aversion)

    def objective(inner):
        held = np.concatenate([[1e6], inner, [0.0]])
        trades = -np.diff(held)
        cost = 0.5 * 2.5e-7 * 1e12 + 62_500 + (2.5e-6 - 0.125e-6) * float(trades @ trades)
        return cost + aversion * 0.95**2 * float(held[1:] @ held[1:])

    best = optimize.minimize(lambda x: objective(x * 1e6) / 1e6, np.full(4, 0.5), tol=1e-14)
    assert objective(found.holdings[1:-1]) <= best.fun * 1e6 * (1 + 1e-9)
    assert found.expected_cost + aversion * found.cost_variance == pytest.approx(best.fun * 1e6, rel=1e-8)


def test_a_very_averse_schedule_sells_at_once():
    found = liquidation_schedule(1e6, 5.0, 1000, ImpactModel(0.95, 0.0, 2.5e-6), risk_aversion=1e3)
    assert np.isfinite(found.holdings).all()
    assert found.holdings[2] < 1.0
    assert found.holdings[-1] == 0.0


def test_value_at_risk_of_a_schedule():
    found = liquidation_schedule(1e6, 5.0, 5, PAPER, risk_aversion=1e-6)
    law = stats.norm(found.expected_cost, math.sqrt(found.cost_variance))
    assert liquidation_value_at_risk(found, 0.95) == pytest.approx(law.ppf(0.95), rel=1e-9)


def test_the_best_duration_is_found():
    durations = [0.1 * k for k in range(1, 101)]
    duration, schedule = least_liquidation_risk(1e6, PAPER, 0.95, durations)
    assert 0.1 < duration < 10.0
    others = [liquidation_value_at_risk(liquidation_schedule(1e6, each, 100, PAPER), 0.95) for each in durations]
    assert liquidation_value_at_risk(schedule, 0.95) == min(others)


def test_schedules_that_are_refused():
    for given in (
        (0.0, 1.0, 5, 0.0),
        (1.0, 0.0, 5, 0.0),
        (1.0, 1.0, 0, 0.0),
        (1.0, 1.0, 5, -1.0),
        (math.nan, 1.0, 5, 0.0),
    ):
        with pytest.raises(InvalidRequest):
            liquidation_schedule(*given[:3], PAPER, risk_aversion=given[3])
    with pytest.raises(InvalidRequest, match="permanent x step / 2"):
        liquidation_schedule(1.0, 10.0, 1, ImpactModel(1.0, 1.0, 1.0))
    with pytest.raises(InvalidRequest, match="volatility"):
        ImpactModel(math.nan, 0.0, 1.0)
    with pytest.raises(InvalidRequest, match="durations"):
        least_liquidation_risk(1.0, ImpactModel(1.0, 1.0, 0.001), 0.95, [10.0])
