"""Weighted tails, the weights behind a figure, and many rows at once: against the plain function and slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.risk.tails import (
    Convention,
    tail_figures,
    tail_figures_of_rows,
    tail_weights,
    weighted_tail_figures,
)

CONFIDENCES = (0.5, 0.9, 0.95, 0.975, 0.99)


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_rows_have_the_figures_of_each_row(convention, confidence, rng):
    losses = np.round(rng.standard_t(3, (7, 237)), 1)  # with ties
    quantiles, shortfalls = tail_figures_of_rows(losses, confidence, convention)
    for row, quantile, shortfall in zip(losses, quantiles, shortfalls, strict=True):
        expected = tail_figures(row, confidence, convention)
        assert quantile == pytest.approx(expected.value_at_risk, abs=1e-12)
        assert shortfall == pytest.approx(expected.expected_shortfall, abs=1e-12)


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_weights_make_up_the_figures(convention, confidence, rng):
    for count in (200, 237):
        losses = rng.standard_t(3, count)
        weights, expected = tail_weights(losses, confidence, convention), tail_figures(losses, confidence, convention)
        for weight, figure in (
            (weights.value_at_risk, expected.value_at_risk),
            (weights.expected_shortfall, expected.expected_shortfall),
        ):
            assert math.fsum(weight) == pytest.approx(1.0, abs=1e-14)
            assert losses[weights.indices] @ weight == pytest.approx(figure, abs=1e-12)


def twin(losses, weights, confidence):
    """Return weighted figures by going over the losses, from the definitions."""
    shares = np.asarray(weights) / np.sum(weights)
    pairs = sorted(zip(losses, shares, strict=True))
    quantile = next(
        loss for loss, _ in pairs if sum(share for other, share in pairs if other <= loss) >= confidence - 1e-12
    )
    left, total = 1.0 - confidence, 0.0
    for loss, share in reversed(pairs):
        taken = min(share, left)
        total += taken * loss
        left -= taken
    return quantile, total / (1.0 - confidence)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_weighted_figures_are_those_of_the_twin(confidence, rng):
    for _ in range(40):
        losses = np.round(rng.standard_normal(60), 1)
        weights = rng.random(60)
        found, expected = weighted_tail_figures(losses, weights, confidence), twin(losses, weights, confidence)
        assert found.value_at_risk == expected[0]
        assert found.expected_shortfall == pytest.approx(expected[1], abs=1e-9)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_equal_weights_are_no_weights(confidence, rng):
    for count in (100, 200, 1000, 333):
        losses = rng.standard_normal(count)
        found, expected = (
            weighted_tail_figures(losses, np.full(count, 7.0), confidence),
            tail_figures(losses, confidence),
        )
        assert found.value_at_risk == expected.value_at_risk, count
        assert found.expected_shortfall == pytest.approx(expected.expected_shortfall, abs=1e-12)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [np.nan, 1.0, 1.0], [np.inf, 1.0, 1.0]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(DataError, match="finite weights"):
        weighted_tail_figures([1.0, 2.0, 3.0], weights, 0.5)


def test_rows_with_too_few_losses_are_refused():
    with pytest.raises(DataError, match="at least 100 are needed"):
        tail_figures_of_rows(np.zeros((2, 99)), 0.99)
    with pytest.raises(DataError, match="at least 100 are needed"):
        tail_weights(np.zeros(99), 0.99)
