"""From an interval to a horizon: what is added up, what is scaled, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.results import ScalingRule
from market_maker.risk.samples import checked_table, checked_times
from market_maker.risk.scaling import Growth, Horizon, aggregate, prepare
from market_maker.risk.value_at_risk.historical import historical

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7, 8, 31, 64, 100])
@pytest.mark.parametrize("growth", Growth)
def test_aggregation_is_that_of_a_loop(steps, growth, rng):
    returns = rng.normal(0.0, 0.01, 300)

    def together(part):
        return math.fsum(part) if growth is Growth.ADD else math.prod(1.0 + part) - 1.0

    expected = [together(returns[i : i + steps]) for i in range(300 - steps + 1)]
    overlapping = aggregate(returns, steps, overlapping=True, growth=growth)
    np.testing.assert_allclose(overlapping, expected, rtol=0, atol=1e-14)
    apart = aggregate(returns, steps, overlapping=False, growth=growth)
    np.testing.assert_allclose(apart, expected[300 % steps :: steps], rtol=0, atol=1e-14)


def test_the_rule_is_stated():
    returns = np.sin(np.arange(400.0)) * 0.01
    one = prepare(returns, Horizon(DAY, DAY), 0.95, "x")
    assert (one.rule, one.scale, one.values.size) == (ScalingRule.NONE, 1.0, 400)
    root = prepare(returns, Horizon(10 * DAY, DAY), 0.95, "x")
    assert (root.rule, root.scale, root.values.size) == (ScalingRule.SQUARE_ROOT, math.sqrt(10), 400)
    for rule, count in ((ScalingRule.NON_OVERLAPPING, 40), (ScalingRule.OVERLAPPING, 391)):
        found = prepare(returns, Horizon(10 * DAY, DAY, rule), 0.95, "x")
        assert (found.rule, found.scale, found.values.size) == (rule, 1.0, count)


@pytest.mark.parametrize("horizon", [SECOND, 300 * SECOND, 3600 * SECOND, DAY, 10 * DAY])
def test_horizons_from_a_second_to_ten_days(horizon, rng):
    returns = rng.standard_t(4, 500) * 1e-4
    one, found = historical(returns, 0.99, Horizon(SECOND, SECOND)), historical(returns, 0.99, Horizon(horizon, SECOND))
    assert found.value_at_risk == pytest.approx(one.value_at_risk * math.sqrt(horizon / SECOND), rel=1e-14)
    assert (found.basis.horizon_ns, found.basis.interval_ns) == (horizon, SECOND)


def test_a_horizon_without_data_says_how_much_is_needed():
    returns = np.sin(np.arange(199.0))
    with pytest.raises(DataError, match=r"199 observations of 1d are too few for a horizon of 10d .* at least 200 are"):
        prepare(returns, Horizon(10 * DAY, DAY, ScalingRule.NON_OVERLAPPING), 0.95, "x")
    with pytest.raises(DataError, match="at least 200 are needed"):  # 20 stretches that do not overlap
        prepare(returns, Horizon(10 * DAY, DAY, ScalingRule.OVERLAPPING), 0.95, "x")
    with pytest.raises(DataError, match="at least 1000 are needed"):  # 100 at 99 %
        prepare(returns, Horizon(10 * DAY, DAY, ScalingRule.NON_OVERLAPPING), 0.99, "x")


@pytest.mark.parametrize(
    ("horizon", "interval", "message"),
    [(SECOND, DAY, r"horizon_ns: '?1s"), (DAY, 0, "interval_ns"), (367 * DAY, DAY, "366d"), (-5, 1, "horizon_ns")],
)
def test_horizons_that_are_refused(horizon, interval, message):
    with pytest.raises(InvalidRequest, match=message):
        Horizon(horizon, interval)


def test_a_horizon_that_is_no_whole_number_of_intervals_cannot_be_added_up():
    with pytest.raises(InvalidRequest, match="whole number of intervals"):
        prepare(np.arange(500.0), Horizon(3 * SECOND, 2 * SECOND, ScalingRule.OVERLAPPING), 0.95, "x")
    with pytest.raises(InvalidRequest, match="SQUARE_ROOT"):
        Horizon(DAY, SECOND, ScalingRule.VARIANCE_FORECAST)


def test_a_return_below_minus_one_cannot_be_compounded():
    with pytest.raises(DataError, match="loses more than all"):
        prepare(np.linspace(-2.0, 1.0, 100), Horizon(2 * DAY, DAY, ScalingRule.OVERLAPPING), 0.95, "x")


def test_holes_are_told():
    with pytest.raises(DataError, match=r"4 observations with 1 holes .* first after index 1 .* 5 would be whole"):
        checked_times(np.array([0, 10, 30, 40]), 10, "EWMA")
    checked_times(np.array([0, 10, 20]), 10, "EWMA")


def test_a_table_names_its_axes():
    with pytest.raises(
        DataError, match=r"3 scenarios for 500 positions are too few; .* \(axes: positions x scenarios\)"
    ):
        checked_table(np.zeros((500, 3)), "contributions", rows="positions", columns="scenarios", least=20)
