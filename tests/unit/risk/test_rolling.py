"""Rolling forecasts are those of each window alone; wrong models are flagged, right ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.laws import normal_tail, normal_upper, student_tail, student_upper
from market_maker.risk.models import Model, estimate
from market_maker.risk.scaling import Horizon
from market_maker.risk.validation.forecasts import Forecasts
from market_maker.risk.validation.model_report import judge
from market_maker.risk.validation.rolling import rolling_forecasts
from market_maker.risk.validation.traffic_light import Zone

ONE = Horizon(1_000_000_000, 1_000_000_000)
ROLLED = [model for model in Model if model is not Model.MONTE_CARLO]


@pytest.mark.parametrize("model", ROLLED)
def test_each_forecast_is_that_of_its_window(model, rng):
    returns = 0.01 * rng.standard_t(6, 420)
    window, confidence = 350, 0.95
    found = rolling_forecasts(returns, confidence, model, window=window)
    assert found.losses.tolist() == (-returns[window:]).tolist()
    assert len(found.value_at_risk) == 70
    # GARCH is fitted anew every 25 windows
    for index in (0, 25, 50) if model is Model.GARCH else (0, 1, 37, 69):
        alone = estimate(returns[index : index + window], confidence, ONE, model)
        assert found.value_at_risk[index] == pytest.approx(alone.value_at_risk, rel=1e-10)
        assert found.expected_shortfall[index] == pytest.approx(alone.expected_shortfall, rel=1e-10)


@pytest.mark.parametrize("model", ROLLED)
def test_the_law_of_the_tail_has_the_figures_of_the_forecast(model, rng):
    """Mean of the law's losses over evenly spread probabilities is ES; none is below VaR; they fall as more lies above."""
    returns = 0.01 * rng.standard_t(6, 330)
    found = rolling_forecasts(returns, 0.95, model, window=320)
    above = 0.05 * (np.arange(200_000) + 0.5) / 200_000
    for index in (0, 9):
        losses = found.tail_law(above, np.full(above.size, index))
        assert np.all(np.diff(losses) <= 1e-15)
        assert losses.min() >= found.value_at_risk[index] - 1e-12
        assert losses.mean() == pytest.approx(found.expected_shortfall[index], rel=2e-3)


def test_blocks_make_no_difference(rng, monkeypatch):
    from market_maker.risk.validation import rolling

    returns = rng.standard_t(5, 700)
    for model in (Model.HISTORICAL, Model.AGE_WEIGHTED, Model.FILTERED_HISTORICAL, Model.EWMA):
        whole = rolling_forecasts(returns, 0.95, model)
        monkeypatch.setattr(rolling, "_BLOCK", 250 * 7)
        parts = rolling_forecasts(returns, 0.95, model)
        monkeypatch.undo()
        np.testing.assert_allclose(whole.value_at_risk, parts.value_at_risk, rtol=1e-14)
        np.testing.assert_allclose(whole.expected_shortfall, parts.expected_shortfall, rtol=1e-14)
        times, above = rng.integers(0, 450, 500), 0.05 * rng.random(500)
        np.testing.assert_allclose(whole.tail_law(above, times), parts.tail_law(above, times), rtol=1e-14)


def test_garch_between_two_fits_goes_on_with_its_variance(rng):
    returns = 0.01 * rng.standard_normal(310)
    found = rolling_forecasts(returns, 0.95, Model.GARCH, window=300, refit_every=5)
    law = estimate(returns[:300], 0.95, ONE, Model.GARCH).basis
    variance = law.parameter("volatility") ** 2
    for index in range(5):
        assert found.value_at_risk[index] == pytest.approx(np.sqrt(variance) * normal_tail(0.05)[0], rel=1e-9)
        variance = (
            law.parameter("omega")
            + law.parameter("alpha") * returns[300 + index] ** 2
            + law.parameter("beta") * variance
        )


def test_what_is_refused(rng):
    returns = rng.standard_normal(300)
    with pytest.raises(InvalidRequest, match="any other"):
        rolling_forecasts(returns, 0.95, Model.MONTE_CARLO)
    with pytest.raises(InvalidRequest, match=r"window: 99 .* at least 100"):
        rolling_forecasts(returns, 0.99, Model.HISTORICAL, window=99)
    with pytest.raises(DataError, match="250 observations are too few for a window of 250; at least 251"):
        rolling_forecasts(returns[:250], 0.95, Model.NORMAL)
    with pytest.raises(InvalidRequest, match="refit_every"):
        rolling_forecasts(returns, 0.95, Model.NORMAL, refit_every=0)
    still = returns.copy()
    still[10:270] = 0.0
    with pytest.raises(DataError, match="250 observations from index 10 on do not vary"):
        rolling_forecasts(still, 0.95, Model.NORMAL)
    wild = returns.copy()
    wild[100] = 500.0
    with pytest.raises(DataError, match="Cornish-Fisher is not valid for the window from index 0 on"):
        rolling_forecasts(wild, 0.95, Model.CORNISH_FISHER)


# --- a model that is wrong by design ------------------------------------------------------------------------------------

COUNT, CONFIDENCE, DEVIATION = 1000, 0.99, 3.0**0.5
"""Losses of Student t with 3 degrees, whose variance is 3."""


def wrong_and_right(rng):
    """Return forecasts of the normal law with the right variance, and of the right law, over the same losses."""
    losses, full = rng.standard_t(3, COUNT), np.ones(COUNT)
    quantile, shortfall = normal_tail(0.01)
    wrong = Forecasts(
        "normal", CONFIDENCE, losses, full * DEVIATION * quantile, full * DEVIATION * shortfall,
        lambda above, times: DEVIATION * normal_upper(above), 250,
    )  # fmt: skip
    quantile, shortfall = student_tail(0.01, 3.0)
    right = Forecasts(
        "t3", CONFIDENCE, losses, full * quantile, full * shortfall, lambda above, times: student_upper(above, 3.0), 250
    )
    return wrong, right


def shares_flagged(draws):
    rng = np.random.default_rng(20_240_801)
    flagged = np.zeros(2)
    for _ in range(draws):
        for which, forecasts in enumerate(wrong_and_right(rng)):
            flagged[which] += judge(forecasts, rng, draws=2000, duration_draws=99).light is not Zone.GREEN
    return flagged / draws


def test_a_normal_law_on_fat_tails_is_flagged():
    """Of 40 series the wrong model is flagged in nearly all, the right one in about as many as chance allows (5 %)."""
    wrong, right = shares_flagged(40)
    assert wrong >= 0.8
    assert right <= 0.15


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_power_in_full():
    wrong, right = shares_flagged(400)
    print(f"flagged: wrong {wrong:.1%}, right {right:.1%}")
    assert wrong >= 0.85
    assert right <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5


def test_fitted_models_are_judged_from_their_forecasts():
    rng = np.random.default_rng(5)
    returns = 0.01 * rng.standard_t(3, 2500)
    wrong = judge(rolling_forecasts(returns, 0.99, Model.NORMAL, window=500), rng)
    right = judge(rolling_forecasts(returns, 0.99, Model.STUDENT_T, window=500, refit_every=20), rng)
    assert wrong.light is Zone.RED
    assert any("acerbi_szekely" in reason for reason in wrong.reasons)
    assert right.light is Zone.GREEN
    assert right.reasons == ()
    assert right.joint_score < wrong.joint_score
    shown = wrong.to_json()
    assert shown["light"] == "RED"
    assert {each["test"] for each in shown["judgements"]} >= {"conditional_coverage", "duration", "acerbi_szekely_z1"}
    assert shown["traffic_light"]["yellow_from"] == 28


def test_the_same_seed_has_the_same_report(rng):
    forecasts = rolling_forecasts(rng.standard_t(4, 600), 0.95, Model.HISTORICAL)
    first, again = (judge(forecasts, np.random.default_rng(9), draws=500) for _ in range(2))
    assert first == again
