"""Statistics of realism: against scipy and statsmodels on random input, and on laws whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight
from statsmodels.tsa.stattools import acf

from market_maker.performance.realism.statistics import (
    autocorrelation,
    correlation,
    excess_kurtosis,
    fano_factor,
    hill_index,
    power_exponent,
    skewness,
    survival,
    variance_ratios,
    variation,
)

LAGS = np.arange(1, 21)


@pytest.fixture
def law() -> np.random.Generator:
    """Return a generator that is always the same: a law shows with a tolerance that some draws in thousands would miss."""
    return np.random.default_rng(20_240_808)


def with_gaps(rng, values, share=0.1):
    return np.where(rng.random(len(values)) < share, np.nan, values)


def test_autocorrelation_is_that_of_statsmodels(rng):
    values = np.cumsum(rng.standard_normal(500)) + rng.standard_normal(500)
    found = autocorrelation(values, LAGS)
    np.testing.assert_allclose(found, acf(values, nlags=20, fft=False)[1:], atol=1e-12)
    gaps = with_gaps(rng, values)
    found = autocorrelation(gaps, LAGS)
    np.testing.assert_allclose(found, acf(gaps, nlags=20, fft=False, missing="conservative")[1:], atol=1e-12)


def test_autocorrelation_by_hand():
    # 1, 2, 3 repeated: deviations -1, 0, 1; sum of squares 20, at lag 3 the nine whole periods without the first: 18.
    found = autocorrelation(np.tile([1.0, 2.0, 3.0], 10), np.array([1, 3]))
    # Lag 1: products 0, 0 and -1 at each of nine borders.
    assert found == pytest.approx([-9 / 20, 18 / 20])


def test_moments_are_those_of_scipy(rng):
    values = with_gaps(rng, rng.standard_t(5, 400))
    row = values[~np.isnan(values)]
    assert excess_kurtosis(values) == pytest.approx(stats.kurtosis(row), rel=1e-10)
    assert skewness(values) == pytest.approx(stats.skew(row), rel=1e-10, abs=1e-12)
    others = with_gaps(rng, values + rng.standard_normal(400))
    good = ~(np.isnan(values) | np.isnan(others))
    assert correlation(values, others) == pytest.approx(stats.pearsonr(values[good], others[good])[0], rel=1e-10)


@pytest.mark.parametrize("degrees", [2, 3, 4])
def test_hill_index_of_students_t(law, degrees):
    """The tail of t with n degrees of freedom is that of x^-n; deep in the tail, with 2,000 values, within some 15 %."""
    found = hill_index(law.standard_t(degrees, 1_000_000), share=0.002)
    assert found == pytest.approx(degrees, rel=0.15)


def test_hill_index_of_a_pareto_law_is_exact(law):
    """Of x^-a the index is a whatever the share: k mean-one exponentials over a, so 1/sqrt(k) of error."""
    values = (1.0 - law.random(40_000)) ** (-1 / 2.5) * law.choice([-1, 1], 40_000)
    assert hill_index(values) == pytest.approx(2.5, rel=5 / np.sqrt(2000))
    # Ten values in the tail of two hundred: by scipy's mean of logarithms.
    few = np.sort(np.abs(values[:200]))[::-1]
    assert hill_index(values[:200]) == pytest.approx(1 / np.log(few[:10] / few[10]).mean())


def test_arch_clusters_and_independent_returns_do_not(law):
    """Engle's ARCH(1) with a = 0.5: squares have the autocorrelation 0.5^lag (where 3 a^2 < 1), returns none."""
    n, a = 200_000, 0.5
    noise, returns = law.standard_normal(n), np.zeros(n)
    for i in range(1, n):
        returns[i] = noise[i] * np.sqrt((1 - a) + a * returns[i - 1] ** 2)
    assert autocorrelation(returns**2, np.arange(1, 4)) == pytest.approx([0.5, 0.25, 0.125], abs=0.12)
    assert abs(autocorrelation(returns, np.array([1]))[0]) < 0.03
    assert abs(autocorrelation(noise**2, np.array([1]))[0]) < 5 / np.sqrt(n)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.8])
def test_exponent_of_fractional_noise(law, exponent):
    """Signs of a Gaussian series whose correlation is lag^-g have 2/pi arcsin of it: the same exponent far out."""
    n, lags = 1 << 17, np.array([10, 15, 20, 30, 50, 70, 100, 150, 200])
    # Circulant embedding of rho(l) = (1 + l)^-g, which is convex and falling, so that its spectrum is not negative.
    rho = (1.0 + np.minimum(np.arange(n), n - np.arange(n))) ** -exponent
    spectrum = np.sqrt(np.maximum(np.fft.fft(rho).real, 0.0))
    series = np.fft.fft(spectrum * (law.standard_normal(n) + 1j * law.standard_normal(n))).real / np.sqrt(n)
    assert power_exponent(lags, autocorrelation(np.sign(series), lags)) == pytest.approx(exponent, abs=0.15)


def test_exponent_of_an_exact_power():
    lags = np.array([1, 2, 5, 10, 20, 50])
    assert power_exponent(lags, 3.0 * lags**-0.37) == pytest.approx(0.37)
    assert power_exponent(lags, np.where(lags > 2, -1.0, 1.0)) is None


def test_poisson_has_fano_factor_and_variation_of_one(law):
    counts = law.poisson(4.0, 20_000).astype(float)
    assert fano_factor(counts) == pytest.approx(1.0, abs=5 * np.sqrt(2 / 20_000))
    assert fano_factor(counts) == pytest.approx(np.var(counts) / np.mean(counts))
    assert variation(law.exponential(2.0, 20_000)) == pytest.approx(1.0, abs=5 / np.sqrt(20_000))
    assert variation(np.full(40, 3.0)) == 0.0


def test_signature_of_a_walk_is_flat_and_of_bounce_falls(law):
    lags = np.array([1, 2, 10, 50])
    walk = np.cumsum(law.standard_normal(100_000))
    assert variance_ratios(walk, lags) == pytest.approx([1, 1, 1, 1], abs=0.15)
    # Noise of variance 1 on a walk of variance 1: (D + 2) / D, over 3.
    bounced = variance_ratios(walk + law.standard_normal(100_000), lags)
    assert bounced == pytest.approx([1, 4 / 2 / 3, 12 / 10 / 3, 52 / 50 / 3], rel=0.12)
    # Half a trend: variance grows with D.
    trend = variance_ratios(walk + np.arange(100_000) * 1.0, lags)
    assert trend[-1] == pytest.approx((50 + 50**2) / 50 / 2, rel=0.1)


def test_survival_is_that_of_statsmodels(rng):
    waits = rng.integers(1, 60, 500).astype(float)
    is_ended = rng.random(500) < 0.7
    times, shares = survival(waits, is_ended)
    other = SurvfuncRight(waits, is_ended)
    np.testing.assert_allclose(times, other.surv_times)
    np.testing.assert_allclose(shares, other.surv_prob, atol=1e-12)


def test_survival_of_censored_exponential_waits(law):
    """Waits of mean 2 cut at 3: the median is 2 ln 2 for Kaplan and Meier, less among those that were seen to end."""
    waits = law.exponential(2.0, 40_000)
    times, shares = survival(np.minimum(waits, 3.0), waits < 3.0)
    assert times[np.searchsorted(-shares, -0.5)] == pytest.approx(2 * np.log(2), abs=0.06)
    assert np.median(waits[waits < 3.0]) < 1.2


def test_too_little_says_nothing():
    few = np.arange(10.0)
    assert autocorrelation(few, LAGS) is None
    assert excess_kurtosis(few) is None
    assert excess_kurtosis(np.ones(100)) is None
    assert hill_index(few) is None
    assert correlation(np.ones(100), np.arange(100.0)) is None
    assert fano_factor(np.zeros(100)) is None
    assert autocorrelation(np.ones(100), LAGS) is None
    assert variance_ratios(few, np.array([1, 5])) is None
