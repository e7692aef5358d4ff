"""Each model against an independent computation: scipy's distributions and integrals, skfolio, or a slow twin."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from skfolio.measures._measures import cvar, value_at_risk

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.modes import RiskModel
from market_maker.risk.laws import fit_pareto, fit_student, student_tail
from market_maker.risk.models import Model, estimate
from market_maker.risk.results import ScalingRule
from market_maker.risk.scaling import Horizon
from market_maker.risk.tails import Convention, tail_figures
from market_maker.risk.value_at_risk.extreme import peaks_over_threshold
from market_maker.risk.value_at_risk.historical import age_weighted, filtered_historical, historical
from market_maker.risk.value_at_risk.monte_carlo import Joint, draw_factors, fit_factors, monte_carlo
from market_maker.risk.value_at_risk.parametric import cornish_fisher, ewma, garch, normal, rises, student_t
from market_maker.risk.volatility import Garch, fit_garch, weighted_variances

DAY = 86_400_000_000_000
ONE = Horizon(DAY, DAY)
TEN = Horizon(10 * DAY, DAY)
LEVELS = (0.9, 0.95, 0.975, 0.99, 0.999)


@pytest.fixture
def returns(rng):
    return 0.0003 + 0.01 * rng.standard_t(5, 1200)


# --- normal, Student t, Cornish-Fisher --------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", LEVELS)
def test_normal(confidence, returns):
    law = stats.norm(-returns.mean(), returns.std(ddof=1))
    found = normal(returns, confidence, ONE)
    assert found.value_at_risk == pytest.approx(law.ppf(confidence), rel=1e-9)
    expected = law.expect(lambda x: x, lb=law.ppf(confidence), conditional=True)
    assert found.expected_shortfall == pytest.approx(expected, rel=1e-9)


def test_the_figures_that_regulators_compare():
    assert stats.norm.ppf(0.99) == pytest.approx(2.3263, abs=5e-5)
    sample = np.array([1.0, -1.0] * 500) * math.sqrt(999 / 1000)  # mean 0, deviation 1
    assert normal(sample, 0.975, ONE).expected_shortfall == pytest.approx(2.3378, abs=5e-5)
    assert normal(sample, 0.99, ONE).value_at_risk == pytest.approx(2.3263, abs=5e-5)


def test_means_grow_with_time_and_deviations_with_its_root(returns):
    found, law = normal(returns, 0.99, TEN), stats.norm(-10 * returns.mean(), math.sqrt(10) * returns.std(ddof=1))
    assert found.value_at_risk == pytest.approx(law.ppf(0.99), rel=1e-9)
    assert (found.basis.scaling, found.basis.scale) == (ScalingRule.SQUARE_ROOT, math.sqrt(10))


@pytest.mark.parametrize("degrees", [1.5, 2.5, 3.0, 4.7, 10.0, 300.0])
@pytest.mark.parametrize("confidence", LEVELS)
def test_student_closed_form(degrees, confidence):
    law = stats.t(degrees)
    quantile, shortfall = student_tail(round(1.0 - confidence, 6), degrees)
    assert quantile == pytest.approx(law.ppf(confidence), rel=1e-9)
    # Two ways to the mean beyond q: the antiderivative of x f(x) is -(nu + x^2) / (nu - 1) f(x); and, where it converges
    # fast, quadrature of the density.
    assert shortfall == pytest.approx(
        law.pdf(quantile) * (degrees + quantile**2) / (degrees - 1) / (1 - confidence), rel=1e-9
    )
    if degrees >= 3.0:
        total, _ = integrate.quad(lambda x: x * law.pdf(x), quantile, np.inf, epsabs=1e-14, epsrel=1e-12, limit=500)
        assert shortfall == pytest.approx(total / (1 - confidence), rel=1e-9)


def test_student_with_given_degrees_has_the_variance_of_the_sample(returns):
    found = student_t(returns, 0.99, ONE, degrees=4.0)
    scale = returns.std(ddof=1) * math.sqrt(2.0 / 4.0)
    assert found.value_at_risk == pytest.approx(stats.t(4, -returns.mean(), scale).ppf(0.99), rel=1e-9)


def test_the_student_fit_is_the_best_likelihood(returns):
    fit = fit_student(returns, "x")
    best = -stats.t.logpdf(returns, *stats.t.fit(returns)).sum()
    ours = -stats.t.logpdf(returns, fit.degrees, fit.location, fit.scale).sum()
    assert ours <= best + 1e-6
    polished = optimize.minimize(
        lambda x: -stats.t.logpdf(returns, math.exp(x[2]), x[0], math.exp(x[1])).sum(),
        [fit.location, math.log(fit.scale), math.log(fit.degrees)],
        method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-10},
    )
    assert ours <= polished.fun + 1e-7
    assert fit.degrees == pytest.approx(math.exp(polished.x[2]), rel=1e-3)


def test_student_on_normal_returns_is_nearly_normal(rng):
    returns = rng.standard_normal(5000)
    found = student_t(returns, 0.99, ONE)
    assert found.basis.parameter("degrees") > 15
    assert found.value_at_risk == pytest.approx(normal(returns, 0.99, ONE).value_at_risk, rel=0.05)


@pytest.mark.parametrize("confidence", (0.9, 0.95, 0.99))
def test_cornish_fisher_is_the_integral_of_its_quantiles(confidence, rng):
    returns = rng.gamma(30.0, size=4000)
    mean, deviation = -returns.mean(), returns.std(ddof=1)
    skewness, excess = -stats.skew(returns), stats.kurtosis(returns)

    def quantile(u):
        z = stats.norm.ppf(u)
        return z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36

    found = cornish_fisher(returns, confidence, ONE)
    assert found.value_at_risk == pytest.approx(mean + deviation * quantile(confidence), rel=1e-9)
    total, _ = integrate.quad(
        lambda z: quantile(stats.norm.cdf(z)) * stats.norm.pdf(z), stats.norm.ppf(confidence), 8.0, epsabs=1e-13
    )
    assert found.expected_shortfall == pytest.approx(mean + deviation * total / (1 - confidence), rel=1e-9)


def test_cornish_fisher_says_where_it_is_not_valid(rng):
    returns = rng.exponential(size=500) ** 2
    with pytest.raises(DataError, match=r"not valid .* skewness of \d.* and a kurtosis of \d"):
        cornish_fisher(returns, 0.99, ONE)


@pytest.mark.parametrize("tail", [0.1, 0.05, 0.01, 0.001])
def test_the_domain_is_that_of_a_grid(tail, rng):
    """The slope is looked at on a fine grid of the levels that are asked for."""
    agreed = {True: 0, False: 0}
    z = np.linspace(-stats.norm.ppf(1 - tail), stats.norm.ppf(1 - tail / 1000), 4001)
    for _ in range(400):
        skewness, excess = rng.uniform(-3, 3), rng.uniform(-2, 12)
        slope = 1 + z * skewness / 3 + (3 * z**2 - 3) * excess / 24 - (6 * z**2 - 5) * skewness**2 / 36
        if abs(slope.min()) < 1e-3:
            continue
        valid = bool(slope.min() > 0)
        assert rises(skewness, excess, tail) == valid
        agreed[valid] += 1
    assert min(agreed.values()) > 20


# --- historical and its relatives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", (0.9, 0.95, 0.99, 0.937))
def test_historical_is_that_of_skfolio(confidence, returns):
    found = historical(returns, confidence, ONE)
    assert found.expected_shortfall == pytest.approx(cvar(returns, beta=confidence), rel=1e-9)
    # skfolio's value at risk is the lower quantile too, by the same count of the tail where that is not whole
    if confidence == 0.937:
        assert found.value_at_risk == pytest.approx(value_at_risk(returns, beta=confidence), rel=1e-12)
    assert (found.basis.convention, found.basis.observations) == ("LOWER_QUANTILE", 1200)


def test_age_weighted_is_that_of_skfolio(returns):
    for decay in (0.97, 0.98, 0.99, 0.999):
        weights = decay ** np.arange(len(returns))[::-1]
        for confidence in (0.9, 0.95, 0.99):
            found = age_weighted(returns, confidence, ONE, decay=decay)
            expected = cvar(returns, beta=confidence, sample_weight=weights / weights.sum())
            assert found.expected_shortfall == pytest.approx(expected, rel=1e-9), (decay, confidence)
    assert found.basis.parameter("effective_observations") == pytest.approx(
        weights.sum() ** 2 / (weights**2).sum(), rel=1e-12
    )


def test_age_weighted_by_hand():
    """Weights 1 : 1/2 : 1/4 ... from the youngest; the youngest is the worst and holds more than half."""
    returns = np.concatenate([np.linspace(0.0, 1.0, 29), [-5.0]])
    found = age_weighted(returns, 0.6, ONE, decay=0.5)
    assert found.value_at_risk == 5.0
    assert found.expected_shortfall == 5.0
    # At 40 % the tail of 0.6 holds it and 0.1 of the next worst: those are the oldest, of which 26 weigh 2^-4 together
    # and 27 weigh 2^-3, more than 0.1.
    found = age_weighted(returns, 0.4, ONE, decay=0.5)
    assert found.value_at_risk == -returns[26]
    weights = 0.5 ** np.arange(30, 0, -1)
    total = 0.5 * 5.0 - weights[:26] @ returns[:26] - (0.1 - 2.0**-4) * returns[26]
    assert found.expected_shortfall == pytest.approx(total / 0.6, rel=1e-6)


def variances_by_loop(returns, decay):
    """Return the weighted mean of squares up to each observation, straight from its definition."""
    found = []
    for t in range(len(returns)):
        weights = decay ** np.arange(t, -1, -1)
        found.append(float(np.sum(weights * returns[: t + 1] ** 2) / weights.sum()))
    return np.array(found)


@pytest.mark.parametrize("decay", [0.5, 0.94, 0.97, 0.9999])
def test_weighted_variances(decay, returns):
    given = returns[:500].copy()
    np.testing.assert_allclose(weighted_variances(given, decay), variances_by_loop(given, decay), rtol=1e-10)
    np.testing.assert_array_equal(given, returns[:500])


@pytest.mark.parametrize("confidence", (0.9, 0.99))
def test_filtered_historical_is_that_of_the_twin(confidence, returns):
    variances = variances_by_loop(returns, 0.94)
    now = math.sqrt(variances[-1])
    scenarios = [returns[t] / math.sqrt(variances[t - 1]) * now for t in range(20, len(returns))]
    expected = tail_figures([-value for value in scenarios], confidence)
    found = filtered_historical(returns, confidence, ONE)
    assert found.value_at_risk == pytest.approx(expected.value_at_risk, rel=1e-10)
    assert found.expected_shortfall == pytest.approx(expected.expected_shortfall, rel=1e-10)


def test_filtered_historical_follows_volatility(rng):
    calm, storm = 0.01 * rng.standard_normal(500), 0.05 * rng.standard_normal(60)
    returns = np.concatenate([calm, storm])
    ratio = filtered_historical(returns, 0.95, ONE).value_at_risk / historical(returns, 0.95, ONE).value_at_risk
    assert ratio > 2.0


def test_filtered_by_garch(returns):
    fit = fit_garch(returns, "x")
    scenarios = returns / np.sqrt(fit.variances) * math.sqrt(fit.law.variance)
    found = filtered_historical(returns, 0.95, ONE, volatility="garch")
    assert found.expected_shortfall == pytest.approx(tail_figures(-scenarios, 0.95).expected_shortfall, rel=1e-12)
    with pytest.raises(InvalidRequest, match="ewma, garch"):
        filtered_historical(returns, 0.95, ONE, volatility="other")


# --- EWMA, GARCH --------------------------------------------------------------------------------------------------------


def test_ewma(returns):
    found = ewma(returns, 0.95, ONE, decay=0.97)
    deviation = math.sqrt(variances_by_loop(returns, 0.97)[-1])
    assert found.value_at_risk == pytest.approx(deviation * stats.norm.ppf(0.95), rel=1e-9)
    assert found.expected_shortfall == pytest.approx(deviation * stats.norm.pdf(stats.norm.ppf(0.95)) / 0.05, rel=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.85), (0.05, 0.95), (0.2, 0.85), (0.1, 0.9 - 1e-13)])
@pytest.mark.parametrize("steps", [1, 2, 10, 500])
def test_garch_sums_its_forecasts(alpha, beta, steps):
    law = Garch(omega=2e-6, alpha=alpha, beta=beta, variance=3e-4)
    variance, total = law.variance, 0.0
    for _ in range(steps):
        total += variance
        variance = law.omega + (alpha + beta) * variance
    assert law.variance_of(steps) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("student", [False, True])
def test_garch_is_that_of_arch(student, rng):
    from arch import arch_model

    squares, returns, variance = 0.0, [], 1e-4
    for z in rng.standard_normal(1500):
        variance = 5e-6 + 0.1 * squares + 0.85 * variance
        returns.append(math.sqrt(variance) * z)
        squares = returns[-1] ** 2
    returns = np.array(returns)
    found = garch(returns, 0.99, TEN, student=student)
    unit = 10.0 / returns.std()
    model = arch_model(
        returns * unit, mean="Zero", vol="GARCH", p=1, q=1, dist="t" if student else "normal", rescale=False
    )
    fitted = model.fit(disp="off", show_warning=False)
    total = fitted.forecast(horizon=10, reindex=False).variance.to_numpy().sum() / unit**2
    quantile = stats.norm.ppf(0.99)
    if student:
        nu = float(fitted.params["nu"])
        quantile = stats.t.ppf(0.99, nu) * math.sqrt((nu - 2) / nu)
    assert found.value_at_risk == pytest.approx(math.sqrt(total) * quantile, rel=1e-9)
    assert found.basis.scaling is ScalingRule.VARIANCE_FORECAST
    # after a calm or a wild end of the series, ten days are not sqrt(10) times one
    assert found.value_at_risk != pytest.approx(
        garch(returns, 0.99, ONE, student=student).value_at_risk * math.sqrt(10), rel=1e-4
    )


# --- extremes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2, 0.5, 0.9])
def test_the_pareto_fit_is_that_of_scipy(shape, rng):
    excesses = stats.genpareto.rvs(shape, scale=0.02, size=800, random_state=rng)
    fit = fit_pareto(excesses)
    theirs = stats.genpareto.fit(excesses, floc=0.0)
    ours = stats.genpareto.logpdf(excesses, fit.shape, 0.0, fit.scale).sum()
    assert ours >= stats.genpareto.logpdf(excesses, *theirs).sum() - 1e-6
    assert fit.shape == pytest.approx(theirs[0], abs=2e-3)
    assert fit.scale == pytest.approx(theirs[2], rel=2e-3)


@pytest.mark.parametrize("confidence", (0.95, 0.975, 0.99, 0.999))
def test_peaks_over_threshold_is_the_law_that_was_fitted(confidence, returns):
    found = peaks_over_threshold(returns, confidence, ONE)
    threshold, count = found.basis.parameter("threshold"), found.basis.parameter("excesses")
    losses = np.sort(-returns)[::-1]
    assert count == 120
    assert threshold == losses[120]
    law = stats.genpareto(found.basis.parameter("shape"), threshold, found.basis.parameter("scale"))
    inner = 1.0 - (1.0 - confidence) / (count / len(returns))
    assert found.value_at_risk == pytest.approx(law.ppf(inner), rel=1e-9)
    # Beyond value at risk the excesses follow the law of the same shape with a larger scale; its mean is scipy's.
    shape, scale = found.basis.parameter("shape"), found.basis.parameter("scale")
    beyond = stats.genpareto(shape, 0.0, scale + shape * (law.ppf(inner) - threshold)).mean()
    assert found.expected_shortfall == pytest.approx(law.ppf(inner) + beyond, rel=1e-9)


def test_conditional_peaks_follow_volatility(rng):
    returns = np.concatenate([0.01 * rng.standard_normal(500), 0.05 * rng.standard_normal(60)])
    found = peaks_over_threshold(returns, 0.99, ONE, volatility="ewma")
    assert found.basis.model == "peaks_over_threshold_ewma"
    assert found.value_at_risk > 1.5 * peaks_over_threshold(returns, 0.99, ONE).value_at_risk


def test_extremes_need_excesses(returns):
    with pytest.raises(DataError, match="199 observations are too few; at least 200 are needed"):
        peaks_over_threshold(returns[:199], 0.95, ONE)
    with pytest.raises(InvalidRequest, match=r"above 0\.9"):
        peaks_over_threshold(returns, 0.9, ONE)
    with pytest.raises(DataError, match="0 of 300 losses lie above"):
        peaks_over_threshold([-1.0] * 100 + [0.0] * 200, 0.95, ONE)
    with pytest.raises(DataError, match=r"shape of .* below 1 is needed"):
        peaks_over_threshold(-np.exp(np.linspace(0.0, 300.0, 400)), 0.95, ONE)


# --- Monte Carlo --------------------------------------------------------------------------------------------------------


def test_normal_draws_approach_the_closed_form(rng):
    factors = rng.multivariate_normal([0.001, 0.0], [[1e-4, 5e-5], [5e-5, 4e-4]], 800).T
    exposures = np.array([100.0, -50.0])
    for horizon in (ONE, TEN):
        found = monte_carlo(fit_factors(factors), exposures, 0.99, horizon, np.random.default_rng(3), draws=400_000)
        expected = normal(exposures @ factors, 0.99, horizon)
        error = found.basis.parameter("value_at_risk_error")
        assert 0.0 < error < 0.02 * expected.value_at_risk
        assert abs(found.value_at_risk - expected.value_at_risk) < 4.0 * error
        assert abs(found.expected_shortfall - expected.expected_shortfall) < 4.0 * found.basis.parameter(
            "expected_shortfall_error"
        )


def test_the_same_seed_has_the_same_figures(rng):
    law = fit_factors(rng.standard_normal((2, 300)))
    first, again, other = (
        monte_carlo(law, [1.0, 1.0], 0.99, ONE, np.random.default_rng(seed), draws=20_000) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


def test_the_copula_finds_joint_extremes():
    rng = np.random.default_rng(20_240_601)
    count, degrees = 4000, 3.0
    shared = np.sqrt(rng.chisquare(degrees, count) / degrees)
    factors = np.array([[1.0, 0.0], [0.6, 0.8]]) @ rng.standard_normal((2, count)) / shared
    law = fit_factors(factors, Joint.STUDENT_COPULA)
    assert 2.5 <= law.degrees <= 4.0
    assert (law.root @ law.root.T)[0, 1] == pytest.approx(0.6, abs=0.05)
    drawn = draw_factors(law, 200_000, np.random.default_rng(1))
    for margin in drawn:
        assert stats.kstest(margin[:2000], stats.t(3).cdf).pvalue > 0.001
    below = drawn < np.quantile(drawn, 0.01, axis=1)[:, None]
    normal_below = draw_factors(fit_factors(factors), 200_000, np.random.default_rng(1))
    normal_below = normal_below < np.quantile(normal_below, 0.01, axis=1)[:, None]
    assert below.all(axis=0).mean() > 1.3 * normal_below.all(axis=0).mean()


def test_the_copula_likelihood_is_that_of_scipy(rng):
    from market_maker.risk.value_at_risk.monte_carlo import _copula_likelihood

    correlation = np.array([[1.0, 0.4, 0.1], [0.4, 1.0, -0.2], [0.1, -0.2, 1.0]])
    uniform = rng.random((3, 50))
    for degrees in (2.0, 5.0, 30.0):
        values = stats.t.ppf(uniform, degrees)
        joint = stats.multivariate_t(np.zeros(3), correlation, df=degrees).logpdf(values.T)
        expected = np.mean(joint - stats.t.logpdf(values, degrees).sum(axis=0))
        found = _copula_likelihood(uniform, np.linalg.inv(correlation), np.linalg.slogdet(correlation)[1], degrees)
        assert found == pytest.approx(expected, rel=1e-9)


def test_monte_carlo_refuses():
    law = fit_factors(np.sin(np.arange(60.0)).reshape(2, 30))
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidRequest, match="one finite number for each of 2 factors"):
        monte_carlo(law, [1.0], 0.99, ONE, rng)
    with pytest.raises(InvalidRequest, match="at least 2000"):
        monte_carlo(law, [1.0, 1.0], 0.99, ONE, rng, draws=1999)
    with pytest.raises(InvalidRequest, match="SQUARE_ROOT"):
        monte_carlo(law, [1.0, 1.0], 0.99, Horizon(10 * DAY, DAY, ScalingRule.OVERLAPPING), rng)
    with pytest.raises(DataError, match=r"factor 1: all 30 observations are 0"):
        fit_factors([np.sin(np.arange(30.0)), np.zeros(30)])
    with pytest.raises(DataError, match=r"axes: factors x observations"):
        fit_factors(np.zeros((30, 2)))


# --- all of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("horizon", [ONE, TEN])
def test_every_model_says_what_it_did(model, horizon, returns):
    found = estimate(returns, 0.975, horizon, model, rng=np.random.default_rng(1))
    assert math.isfinite(found.value_at_risk)
    assert found.expected_shortfall > found.value_at_risk > 0.0
    basis = found.basis
    assert basis.model
    assert basis.convention
    assert (basis.confidence, basis.horizon_ns, basis.interval_ns) == (0.975, horizon.horizon_ns, DAY)
    assert (basis.scaling is ScalingRule.NONE) == (horizon is ONE)
    assert basis.observations >= 1100
    shown = found.to_json()
    assert shown["value_at_risk"] == found.value_at_risk
    assert shown["basis"]["scaling"] == basis.scaling.value
    assert found.value(RiskModel.VAR) == found.value_at_risk
    assert found.value(RiskModel.EXPECTED_SHORTFALL) == found.expected_shortfall


@pytest.mark.parametrize("model", Model)
def test_a_decimal_confidence_is_the_same_number(model, returns):
    one, other = (
        estimate(returns, each, ONE, model, rng=np.random.default_rng(1)) for each in (0.975, Decimal("0.975"))
    )
    assert one == other
    assert isinstance(other.basis.confidence, float)


def test_conventions_differ_and_are_told(returns):
    found = {each: historical(returns[:1000], 0.95, ONE, convention=each) for each in Convention}
    assert len({each.value_at_risk for each in found.values()}) == 3
    assert len({each.expected_shortfall for each in found.values()}) == 1
    assert {each.basis.convention for each in found.values()} == set(Convention)


def test_monte_carlo_by_name_needs_chance(returns):
    with pytest.raises(InvalidRequest, match="seeded generator"):
        estimate(returns, 0.95, ONE, Model.MONTE_CARLO)


def test_without_drift_the_mean_counts_at_the_interval_and_not_beyond(rng):
    """A day's normal figure from minutes of a rising market was a gain: 86,400 times the mean of a second."""
    returns = rng.standard_normal(250) * 1e-4 + 5e-5
    mean, deviation = returns.mean(), returns.std(ddof=1)
    day, second = Horizon(DAY, 10**9, drift=False), Horizon(10**9, 10**9, drift=False)
    z = stats.norm.ppf(0.95)
    assert normal(returns, 0.95, second).value_at_risk == pytest.approx(-mean + deviation * z, rel=1e-9)
    assert normal(returns, 0.95, day).value_at_risk == pytest.approx(deviation * z * math.sqrt(86_400), rel=1e-9)
    assert normal(returns, 0.95, Horizon(DAY, 10**9)).value_at_risk < 0
    fitted = student_t(returns, 0.95, day)
    spread = fitted.basis.parameter("scale") * stats.t(fitted.basis.parameter("degrees")).ppf(0.95) * math.sqrt(86_400)
    assert fitted.value_at_risk == pytest.approx(spread, rel=1e-9)
    drawn = monte_carlo(fit_factors(returns[None, :]), [1.0], 0.95, day, np.random.default_rng(1))
    assert drawn.value_at_risk == pytest.approx(deviation * z * math.sqrt(86_400), rel=0.03)
