"""Components add up to the whole; marginal is a derivative; incremental is a full revaluation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skfolio import Portfolio, RiskMeasure
from skfolio.measures._measures import cvar

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.contributions import contributions, normal_contributions
from market_maker.risk.laws import normal_tail
from market_maker.risk.tails import Convention, tail_figures

CONFIDENCES = (0.9, 0.95, 0.99)
EPSILON = 2.0**-52


@pytest.fixture
def profits(rng):
    """Return 12 positions in 1,003 scenarios, one of them a hedge."""
    market = rng.standard_t(4, 1003)
    betas = np.array([1.0, 2.0, -3.0, 0.5, 0.1, 4.0, -1.0, 2.0, 1.0, 0.0, 3.0, 7.0])
    return betas[:, None] * market + rng.standard_normal((12, 1003))


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_components_add_up(profits, confidence, convention):
    book = contributions(profits, confidence, convention=convention)
    whole = tail_figures(-profits.sum(axis=0), confidence, convention)
    for part, total in (
        (book.value_at_risk, whole.value_at_risk),
        (book.expected_shortfall, whole.expected_shortfall),
    ):
        assert part.total == pytest.approx(total, rel=1e-12)
        bound = 4 * len(profits) * EPSILON * float(np.abs(profits).max()) * len(profits)
        assert abs(part.residual) <= bound
        assert part.total - math.fsum(part.components) == part.residual
    assert book.basis.observations == 1003


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_component_shortfall_is_the_mean_loss_in_the_tail(profits, confidence):
    """The slow twin: sort the scenarios by the book's loss, walk down the tail, count each position's loss."""
    order = sorted(range(1003), key=lambda scenario: profits[:, scenario].sum())
    expected = []
    for row in profits:
        left, total = 1003 * (1 - confidence), 0.0
        for scenario in order:
            taken = min(1.0, left)
            total -= taken * row[scenario]
            left -= taken
            if left <= 0:
                break
        expected.append(total / (1003 * (1 - confidence)))
    found = contributions(profits, confidence).expected_shortfall.components
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_component_shortfall_is_that_of_skfolio(profits):
    """skfolio differentiates numerically: weight x change of CVaR."""
    weights = np.full(12, 1 / 12)
    portfolio = Portfolio(X=profits.T / 100.0, weights=weights)
    theirs = portfolio.contribution(RiskMeasure.CVAR, spacing=1e-7)
    ours = contributions(profits / 1200.0, 0.95).expected_shortfall
    assert ours.total == pytest.approx(portfolio.cvar, rel=1e-9)
    np.testing.assert_allclose(ours.components, theirs, atol=1e-6)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_marginal_is_the_derivative(profits, confidence):
    exposures = np.linspace(1.0, 5.0, 12)
    found = contributions(profits, confidence, exposures=exposures)
    step = 1e-7
    for position in range(12):
        moved = profits.copy()
        moved[position] *= 1.0 + step / exposures[position]
        for name in ("value_at_risk", "expected_shortfall"):
            before = getattr(tail_figures(-profits.sum(axis=0), confidence), name)
            after = getattr(tail_figures(-moved.sum(axis=0), confidence), name)
            assert getattr(found, name).marginal[position] == pytest.approx((after - before) / step, abs=1e-5)


@pytest.mark.parametrize("convention", Convention)
def test_incremental_is_the_book_with_and_without(profits, convention):
    found = contributions(profits, 0.95, convention=convention)
    whole = tail_figures(-profits.sum(axis=0), 0.95, convention)
    for position in range(12):
        rest = tail_figures(-np.delete(profits, position, axis=0).sum(axis=0), 0.95, convention)
        assert found.value_at_risk.incremental[position] == pytest.approx(
            whole.value_at_risk - rest.value_at_risk, abs=1e-10
        )
        assert found.expected_shortfall.incremental[position] == pytest.approx(
            whole.expected_shortfall - rest.expected_shortfall, abs=1e-10
        )


def test_a_hedge_has_a_negative_component(profits):
    assert contributions(profits, 0.95).expected_shortfall.components[2] < 0.0


def test_equal_losses_are_taken_in_their_order():
    profits = np.zeros((2, 40))
    profits[0, :4], profits[1, :4] = [-1.0, 0.0, -1.0, 0.0], [0.0, -1.0, 0.0, -1.0]
    found = contributions(profits, 0.95).expected_shortfall  # the tail holds 2 of 4 equal losses: the first two
    assert found.total == 1.0
    np.testing.assert_array_equal(found.components, [0.5, 0.5])


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_normal_contributions(confidence, rng):
    root = rng.standard_normal((5, 5)) * 0.01
    covariance, means = root @ root.T, rng.standard_normal(5) * 1e-3
    exposures = np.array([100.0, -50.0, 20.0, 300.0, 1.0])
    found = normal_contributions(exposures, means, covariance, confidence, observations=500)
    for part, factor in zip(
        (found.value_at_risk, found.expected_shortfall), normal_tail(round(1 - confidence, 6)), strict=True
    ):

        def figure(w, factor=factor):
            return -w @ means + factor * math.sqrt(w @ covariance @ w)

        assert part.total == pytest.approx(figure(exposures), rel=1e-12)
        assert abs(part.residual) < 1e-12 * np.abs(part.components).sum()
        for i in range(5):
            step = np.zeros(5)
            step[i] = 1e-4
            slope = (figure(exposures + step) - figure(exposures - step)) / 2e-4
            assert part.marginal[i] == pytest.approx(slope, rel=1e-6, abs=1e-9)
            without = exposures.copy()
            without[i] = 0.0
            assert part.incremental[i] == pytest.approx(figure(exposures) - figure(without), rel=1e-9)
        np.testing.assert_allclose(part.components, exposures * part.marginal, rtol=1e-12)


def test_what_is_refused(profits):
    with pytest.raises(InvalidRequest, match="other than 0"):
        contributions(profits, 0.95, exposures=[0.0] * 12)
    with pytest.raises(DataError, match=r"12 scenarios for 1003 positions .* at least 20 .* positions x scenarios"):
        contributions(profits.T, 0.95)
    with pytest.raises(InvalidRequest, match="positive variance"):
        normal_contributions([1.0, -1.0], [0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]], 0.95, observations=10)
    profits[3, 7] = np.nan
    with pytest.raises(DataError, match="index 3, 7"):
        contributions(profits, 0.95)


def test_one_position_is_the_book(rng):
    row = rng.standard_normal(100)
    found = contributions(row[None, :], 0.95).expected_shortfall
    assert found.components[0] == pytest.approx(cvar(row, beta=0.95), rel=1e-12)
    # Without it nothing is left, whose figures are 0.
    assert found.incremental[0] == found.total
