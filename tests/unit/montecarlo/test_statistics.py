"""Figures over seeds against scipy and against arithmetic beside each case."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from market_maker.backtest.result import RunSummary
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.montecarlo.statistics import compare_paired, distribution, monte_carlo, share
from market_maker.performance.returns import Sharpe

PLAIN = RunSummary(
    **dict.fromkeys(
        ("net_pnl", "gross_pnl", "fees", "spread_capture", "inventory_pnl", "initial_balance", "final_equity", "max_drawdown",
         "turnover", "volume", "position"), Decimal(0),
    ),
    max_drawdown_duration_ns=0, sharpe=Sharpe(None, "flat", 1, 1.0, 0), fills=0, maker_fills=0, taker_fills=0,
    maker_share=None, orders=0, orders_rejected=0, orders_canceled=0, orders_expired=0,
)  # fmt: skip


def earned(*amounts: int) -> list[RunSummary]:
    return [replace(PLAIN, net_pnl=Decimal(int(amount))) for amount in amounts]


def test_the_interval_is_that_of_students_t():
    values = np.random.default_rng(1).normal(3.0, 2.0, 40)
    found = distribution(values, np.random.default_rng(2))
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert found.mean.low == pytest.approx(low, abs=1e-3)
    assert found.mean.high == pytest.approx(high, abs=1e-3)
    assert found.standard_error == pytest.approx(stats.sem(values))
    boot = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(3)).confidence_interval
    assert found.bootstrap.low == pytest.approx(boot.low, abs=0.15)
    assert found.bootstrap.high == pytest.approx(boot.high, abs=0.15)
    assert found.quantiles["0.5"] == pytest.approx(np.median(values))


def test_few_seeds_have_no_interval_and_say_so():
    found = distribution([1.0, 2.0, 3.0], np.random.default_rng(1))
    assert (found.mean.estimate, found.mean.low) == (2.0, None)
    assert "at least 10" in (found.mean.reason or "")
    assert distribution([], np.random.default_rng(1)).mean.estimate is None


def test_a_share_has_the_interval_of_wilson():
    expected = stats.binomtest(7, 20).proportion_ci(method="wilson")
    found = share(7, 20)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    with pytest.raises(InvalidRequest):
        share(3, 2)


def test_all_seeds_together():
    """Results -10, -9, ..., 29: 10 of 40 are losses; the tail of 5 % holds the two largest, 10 and 9."""
    found = monte_carlo(earned(*range(-10, 30)), np.random.default_rng(1))
    assert found.loss_probability.estimate == 0.25
    assert found.expected_shortfall.value == 9.5
    assert found.value_at_risk.value == 8.0
    assert found.figures["net_pnl"].mean.estimate == 9.5
    assert monte_carlo(earned(1, 2), np.random.default_rng(1)).value_at_risk.value is None
    with pytest.raises(DataError):
        monte_carlo([], np.random.default_rng(1))


def test_common_seeds_narrow_the_difference():
    """The second earns what the first does less 1 and a little: the noise of the market cancels out."""
    market = np.random.default_rng(5).integers(-1_000, 1_000, 50)
    little = np.random.default_rng(6).integers(0, 3, 50)
    found = compare_paired(earned(*market), earned(*(market - 1 - little)), np.random.default_rng(7))
    assert found.difference.mean.estimate == pytest.approx((1 + little).mean())
    assert found.better_share.estimate == 1.0
    assert found.variance_ratio is not None and found.variance_ratio < 1e-3
    with pytest.raises(DataError):
        compare_paired(earned(1), earned(1, 2), np.random.default_rng(1))
