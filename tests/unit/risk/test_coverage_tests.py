"""Tests of exceptions: Kupiec's table, scipy's G statistic, Basel's zones and multipliers, a Weibull law by scipy."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from scipy import optimize, stats

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.validation.coverage import (
    conditional_coverage,
    exceptions_of,
    independence,
    non_rejection_region,
    proportion_of_failures,
)
from market_maker.risk.validation.duration import duration_test, weibull_shape
from market_maker.risk.validation.traffic_light import Zone, traffic_light, zones

KUPIEC = {
    # (confidence, T): the region of the paper, N strictly between; Kupiec (1995), table at a test level of 5 %
    (0.99, 255): (-1, 7), (0.99, 510): (1, 11), (0.99, 1000): (4, 17),
    (0.975, 255): (2, 12), (0.975, 510): (6, 21), (0.975, 1000): (15, 36),
    (0.95, 255): (6, 21), (0.95, 510): (16, 36), (0.95, 1000): (37, 65),
    (0.925, 255): (11, 28), (0.925, 510): (27, 51), (0.925, 1000): (59, 92),
    (0.90, 255): (16, 36), (0.90, 510): (38, 65), (0.90, 1000): (81, 120),
}  # fmt: skip


@pytest.mark.parametrize(("cell", "region"), KUPIEC.items())
def test_kupiec_s_table(cell, region):
    """All 15 cells, but that the statistic itself rejects no exception in 255 days, which the paper lets pass."""
    confidence, observations = cell
    low, high = region
    expected = (1, 6) if cell == (0.99, 255) else (low + 1, high - 1)
    assert non_rejection_region(observations, confidence) == expected
    accepted = [n for n in range(observations + 1) if not proportion_of_failures(n, observations, confidence).rejects()]
    assert accepted == list(range(expected[0], expected[1] + 1))


def test_no_exception_in_255_days():
    found = proportion_of_failures(0, 255, 0.99)
    assert found.statistic == pytest.approx(-2 * 255 * math.log(0.99), rel=1e-12)  # 5.126
    assert found.p_value == pytest.approx(stats.chi2.sf(5.1257, 1), abs=1e-5)


@pytest.mark.parametrize("confidence", (0.9, 0.95, 0.99))
def test_failures_against_binomial_likelihoods(confidence, rng):
    for _ in range(30):
        observations = int(rng.integers(1, 3000))
        n = int(rng.integers(0, observations + 1))
        expected = 2 * (
            stats.binom.logpmf(n, observations, n / observations) - stats.binom.logpmf(n, observations, 1 - confidence)
        )
        found = proportion_of_failures(n, observations, confidence)
        assert found.statistic == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1), rel=1e-9)


def test_independence_is_the_g_statistic(rng):
    for share in (0.02, 0.1, 0.5):
        hits = rng.random(800) < share
        hits[:40] = np.repeat(rng.random(20) < 0.5, 2)
        table = np.histogram2d(hits[:-1], hits[1:], bins=2, range=[[0, 1], [0, 1]])[0]
        expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        found = independence(hits)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        both = conditional_coverage(hits, 0.9)
        assert both.statistic == pytest.approx(
            found.statistic + proportion_of_failures(int(hits.sum()), 800, 0.9).statistic, rel=1e-12
        )
        assert both.p_value == pytest.approx(stats.chi2.sf(both.statistic, 2), rel=1e-9)


def test_clusters_are_seen(rng):
    scattered, together = np.zeros(500, bool), np.zeros(500, bool)
    scattered[np.arange(10, 500, 50)] = True
    together[200:210] = True
    assert not independence(scattered).rejects()
    assert independence(together).rejects(0.001)
    assert conditional_coverage(together, 0.98).rejects()


def test_without_exceptions_independence_is_undefined():
    found = independence(np.zeros(100, bool))
    assert (found.statistic, found.p_value) == (None, None)
    assert "0 exceptions in 100 observations" in str(found.reason)
    assert not found.rejects()
    assert conditional_coverage(np.zeros(100, bool), 0.99).p_value is None
    assert independence(np.ones(100, bool)).p_value is None


def test_an_exception_is_above_not_at():
    assert exceptions_of([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).tolist() == [False, False, True]
    with pytest.raises(DataError, match="3 losses and 2 forecasts"):
        exceptions_of([1.0, 2.0, 3.0], [2.0, 2.0])
    with pytest.raises(DataError, match="truth values"):
        independence([0, 1, 0])
    with pytest.raises(InvalidRequest, match="exceptions"):
        proportion_of_failures(5, 4, 0.99)
    with pytest.raises(DataError, match="1 observations are too few"):
        independence(np.array([True]))


# --- traffic light ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observations", "expected"), [(125, (3, 7)), (250, (5, 10)), (500, (9, 15)), (1000, (15, 24))]
)
def test_zones(observations, expected):
    assert zones(observations, 0.99) == expected


@pytest.mark.parametrize("observations", [1, 7, 99, 365, 730, 100_000])
@pytest.mark.parametrize("confidence", (0.9, 0.975, 0.99))
def test_zones_are_those_of_scipy(observations, confidence):
    cumulative = stats.binom.cdf(np.arange(observations + 1), observations, 1 - confidence)
    assert zones(observations, confidence) == (int(np.argmax(cumulative >= 0.95)), int(np.argmax(cumulative >= 0.9999)))


def test_the_table_of_basel():
    """Table 2 of 1996: cumulative probabilities in percent; multipliers of 1996 and of 2019 (MAR99)."""
    cumulative = [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
    old = [3, 3, 3, 3, 3, 3.40, 3.50, 3.65, 3.75, 3.85, 4.00, 4.00]
    new = [1.5, 1.5, 1.5, 1.5, 1.5, 1.70, 1.76, 1.83, 1.88, 1.92, 2.00, 2.00]
    lights = [Zone.GREEN] * 5 + [Zone.YELLOW] * 5 + [Zone.RED] * 2
    for n in range(12):
        found = traffic_light(n, 250, 0.99)
        if n < 11:
            assert 100 * found.cumulative == pytest.approx(cumulative[n], abs=0.0051)
        assert found.multiplier_1996 == pytest.approx(old[n])
        assert found.multiplier_2019 == pytest.approx(new[n])
        assert found.zone is lights[n]
        assert found.at_least == pytest.approx(stats.binom.sf(n - 1, 250, 0.01), rel=1e-9)


def test_multipliers_are_made_for_250_days():
    assert traffic_light(5, 250, Decimal("0.99")) == traffic_light(5, 250, 0.99)
    assert traffic_light(5, 365, 0.99).multiplier_2019 is None
    assert traffic_light(5, 250, 0.975).multiplier_1996 is None
    with pytest.raises(InvalidRequest):
        traffic_light(6, 5, 0.99)
    with pytest.raises(InvalidRequest):
        zones(0, 0.99)


# --- durations ----------------------------------------------------------------------------------------------------------


def by_scipy(hits):
    """Return ratio and shape from scipy's censored likelihood, both parameters searched at once."""
    places = np.flatnonzero(hits) + 1
    whole = np.diff(places).astype(float)
    right = [float(places[0])] * (not hits[0]) + [float(len(hits) - places[-1])] * (not hits[-1])

    def cost(x):
        shape, scale = np.exp(x)
        law = stats.weibull_min(shape, scale=scale)
        return -law.logpdf(whole).sum() - sum(law.logsf(each) for each in right)

    free = min(
        (optimize.minimize(cost, [start, math.log(whole.mean())], method="Nelder-Mead",
                           options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000}) for start in (-0.5, 0.0, 0.5)),
        key=lambda result: result.fun,
    )  # fmt: skip
    null = optimize.minimize_scalar(
        lambda x: cost([0.0, x]), bounds=(-2, 12), method="bounded", options={"xatol": 1e-10}
    )
    return 2 * (null.fun - free.fun), math.exp(free.x[0])


def test_durations_are_those_of_scipy(rng):
    for share in (0.01, 0.05, 0.2):
        hits = rng.random(1000) < share
        ratio, shape = by_scipy(hits)
        found = duration_test(hits)
        assert found.statistic == pytest.approx(ratio, abs=1e-6)
        assert weibull_shape(hits) == pytest.approx(shape, rel=1e-4)
        assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1), rel=1e-9)


def test_clusters_and_clockwork_are_seen():
    hits = np.zeros(1000, bool)
    hits[[100, 103, 105, 110, 500, 502, 507, 900, 904, 905]] = True
    assert duration_test(hits).rejects(0.01)
    assert weibull_shape(hits) < 0.8
    regular = np.zeros(1000, bool)
    regular[50::100] = True
    assert duration_test(regular).rejects(0.001)
    assert weibull_shape(regular) > 2.0


def test_simulated_and_asymptotic_durations_agree(rng):
    """At 99 %. At 95 % time between exceptions is too coarse for a continuous law, and the simulated one is the better."""
    hits = rng.random(6000) < 0.01
    simulated = duration_test(hits, confidence=0.99, rng=rng, draws=400)
    assert simulated.p_value == pytest.approx(duration_test(hits).p_value, abs=0.12)
    assert "400 simulated" in simulated.method


def test_simulated_durations_reject_a_right_model_as_often_as_they_say(rng):
    found = [duration_test(rng.random(400) < 0.05, confidence=0.95, rng=rng, draws=99).rejects(0.1) for _ in range(60)]
    # 10 % of 60 is 6, with a deviation of 2.3; none at all would be a test that never rejects.
    assert 1 <= sum(found) <= 14


def test_few_exceptions_have_no_durations():
    hits = np.zeros(500, bool)
    hits[[3, 80]] = True
    found = duration_test(hits)
    assert found.p_value is None
    assert found.reason == "2 exceptions; at least 3 are needed"
    assert weibull_shape(hits) is None
