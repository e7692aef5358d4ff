"""Input that must be refused with a reason, and sizes that must be borne: for every model alike. Heavy imports stay away."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.drawdowns import drawdown_risk
from market_maker.risk.models import IN_TIME_ORDER, Model, estimate
from market_maker.risk.results import ScalingRule
from market_maker.risk.scaling import Horizon
from market_maker.risk.validation.model_report import judge
from market_maker.risk.validation.rolling import rolling_forecasts

ONE = Horizon(1_000_000_000, 1_000_000_000)
FINE = np.random.default_rng(3).standard_normal(500)


def figures(returns, model, confidence=0.95):
    return estimate(returns, confidence, ONE, model, rng=np.random.default_rng(1))


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_numbers_that_are_none(model, bad):
    returns = FINE.copy()
    returns[123] = bad
    with pytest.raises(DataError, match=r"at index \D*(0, )?123 is not allowed"):
        figures(returns, model)


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("value", [0.0, 0.01, -7.0, 1e-200])
def test_constant_returns(model, value):
    with pytest.raises(DataError, match="all 500 observations are"):
        figures(np.full(500, value), model)


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("rule", [ScalingRule.SQUARE_ROOT, ScalingRule.OVERLAPPING])
def test_holes_matter_to_models_in_time_order(model, rule):
    ts = np.arange(500) * ONE.interval_ns
    ts[200:] += 3 * ONE.interval_ns
    horizon = Horizon(2 * ONE.interval_ns, ONE.interval_ns, rule)

    def ask():
        return estimate(FINE, 0.95, horizon, model, ts=ts, rng=np.random.default_rng(1))

    if model in IN_TIME_ORDER or rule is ScalingRule.OVERLAPPING:
        with pytest.raises(DataError, match=r"500 observations with 1 holes .* 503 would be whole"):
            ask()
    else:
        assert ask().basis.observations == 500
    with pytest.raises(InvalidRequest, match="one time for each"):
        estimate(FINE, 0.95, ONE, Model.EWMA, ts=ts[1:])


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_too_few(model, count):
    with pytest.raises(DataError, match=rf"{count} \w+.* too few.*at least \d+ are needed"):
        figures(FINE[:count], model)


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, math.nan, math.inf, True, "0.95", None])
def test_confidences_that_are_none(model, confidence):
    with pytest.raises(InvalidRequest, match="between 0 and 1, both excluded"):
        figures(FINE, model, confidence)


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize(
    "returns", [["a", "b"], np.zeros((3, 3)), [[1.0, 2.0], [1.0]], [1 + 1j] * 30, None, [True] * 30]
)
def test_what_is_no_row(model, returns):
    with pytest.raises(DataError):
        figures(returns, model)


@pytest.mark.parametrize("model", [model for model in Model if model is not Model.GARCH])
@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1e9, 1e100])
def test_units_make_no_difference(model, unit):
    """A market quoted in another unit has the same risk."""
    one, other = figures(FINE, model), figures(FINE * unit, model)
    assert other.value_at_risk / unit == pytest.approx(one.value_at_risk, rel=1e-6)
    assert other.expected_shortfall / unit == pytest.approx(one.expected_shortfall, rel=1e-6)


def test_units_hardly_matter_to_garch():
    """Its optimiser stops where rounding lets it."""
    one, other = (figures(FINE * unit, Model.GARCH).value_at_risk / unit for unit in (1.0, 2.0**-20))
    assert other == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("model", Model)
def test_the_order_of_calls_and_the_input_stay(model):
    before = FINE.copy()
    assert figures(FINE, model) == figures(FINE, model)
    np.testing.assert_array_equal(FINE, before)


@pytest.mark.parametrize(
    "model",
    [
        Model.HISTORICAL, Model.AGE_WEIGHTED, Model.FILTERED_HISTORICAL, Model.NORMAL, Model.CORNISH_FISHER, Model.EWMA,
        Model.PEAKS_OVER_THRESHOLD,
    ],
)  # fmt: skip
def test_ten_million_observations(model, ten_million):
    found = figures(ten_million, model, 0.99)
    assert found.expected_shortfall >= found.value_at_risk > 0.0
    assert found.basis.observations >= 9_999_900
    if model in {Model.HISTORICAL, Model.NORMAL, Model.CORNISH_FISHER, Model.PEAKS_OVER_THRESHOLD}:
        # The Pareto law is right only for the far end of a normal tail.
        close = 0.03 if model is Model.PEAKS_OVER_THRESHOLD else 0.01
        assert found.value_at_risk == pytest.approx(2.3263, abs=close)
        assert found.expected_shortfall == pytest.approx(2.6652, abs=close)


def test_drawdowns_of_ten_million(ten_million):
    found = drawdown_risk(ten_million, 0.99)
    assert 0.0 < found.ulcer < found.conditional <= found.deepest


@pytest.fixture(scope="module")
def ten_million():
    return np.random.default_rng(1).standard_normal(10_000_000)


def odd_series():
    """Return series that markets do make, and some that they should not."""
    rng = np.random.default_rng(8)
    noise = rng.standard_normal(600)
    late = np.arange(600) >= 300
    return {
        "mostly still": np.where(rng.random(600) < 0.9, 0.0, rng.integers(-2, 3, 600) * 1e-4),
        "one move": np.where(np.arange(600) == 300, -1.0, 0.0),
        "two values": np.where(noise > 0, 1.0, -1.0),
        "still, then noise": np.where(late, noise, 0.0),
        "noise, then still": np.where(late, 0.0, noise),
        "no mean": rng.standard_cauchy(600),
        "trend": np.linspace(0.0, 1.0, 600),
        "one huge loss": np.where(np.arange(600) == 3, -1e140, noise),
        "gains alone": rng.exponential(size=600),
        "tiny": noise * 1e-130,
        "large": noise * 1e140,
    }


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("series", odd_series())
def test_odd_series_have_figures_or_an_error(model, series):
    """Never NaN, never a crash; and the forecasts made of them, and their tests, neither."""
    returns = odd_series()[series]
    with contextlib.suppress(DataError, InvalidRequest):
        found = figures(returns, model)
        assert math.isfinite(found.value_at_risk)
        assert math.isfinite(found.expected_shortfall)
        assert found.expected_shortfall >= found.value_at_risk
        assert found.value_at_risk <= 1.01e141
    if model in {Model.MONTE_CARLO, Model.GARCH}:
        return
    rng = np.random.default_rng(1)
    with contextlib.suppress(DataError, InvalidRequest):
        report = judge(rolling_forecasts(returns, 0.95, model, refit_every=50), rng, draws=100, duration_draws=99)
        assert math.isfinite(report.joint_score)


def test_one_huge_loss_does_not_hide_the_others():
    returns = odd_series()["one huge loss"]
    assert figures(returns, Model.HISTORICAL).value_at_risk == pytest.approx(1.6, abs=0.4)
    assert figures(returns, Model.NORMAL).value_at_risk > 1e100  # as the deviation says
    with pytest.raises(DataError, match="tail has a shape of"):
        figures(returns, Model.PEAKS_OVER_THRESHOLD)


def test_a_point_is_no_student_law():
    with pytest.raises(DataError, match="half or more of these 600 observations are the same, 0"):
        figures(odd_series()["one move"], Model.STUDENT_T)


HEAVY = ("scipy", "arch", "statsmodels", "pandas", "numba")


def test_heavy_libraries_are_not_imported_with_the_package():
    program = f"""
import pkgutil, sys, importlib
import market_maker.risk as risk
for module in pkgutil.walk_packages(risk.__path__, "market_maker.risk."):
    # the shell around the figures reads the lake, whose kernels bring the compiler
    if not module.name.endswith((".kernel", ".service", ".storage", ".control", ".subjects", ".prices")):
        importlib.import_module(module.name)
assert "market_maker.risk.validation.rolling" in sys.modules
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
