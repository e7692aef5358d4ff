"""Drawdown figures: skfolio's, a slow twin, and falls by hand."""

from __future__ import annotations

import numpy as np
import pytest
from skfolio.measures._measures import (
    average_drawdown,
    cdar,
    get_drawdowns,
    max_drawdown,
    ulcer_index,
)

from market_maker.domain.errors import DataError
from market_maker.risk.drawdowns import drawdown_risk, drawdowns
from market_maker.risk.scaling import Growth


@pytest.mark.parametrize("growth", Growth)
@pytest.mark.parametrize("confidence", (0.9, 0.95, 0.99))
def test_figures_are_those_of_skfolio(growth, confidence, rng):
    returns = 0.01 * rng.standard_t(4, 700)
    theirs = get_drawdowns(returns, compounded=growth is Growth.COMPOUND)
    np.testing.assert_allclose(drawdowns(returns, growth), -theirs, atol=1e-12)
    found = drawdown_risk(returns, confidence, growth)
    assert found.deepest == pytest.approx(max_drawdown(theirs), rel=1e-9)
    assert found.average == pytest.approx(average_drawdown(theirs), rel=1e-9)
    assert found.ulcer == pytest.approx(ulcer_index(theirs), rel=1e-9)
    assert found.conditional == pytest.approx(cdar(theirs, beta=confidence), rel=1e-9)
    assert found.drawdown_at_risk <= found.conditional <= found.deepest


def test_by_hand():
    """The sum goes 0 2 1 -1 2 3 1 1 ...: falls 0 1 3 0 0 2 2 ..., the first recovered after 3, the last never."""
    profits = [2.0, -1.0, -2.0, 3.0, 1.0, -2.0] + [0.0] * 14
    found = drawdown_risk(profits, 0.9)
    assert found.deepest == 3.0
    assert found.deepest_duration == 3
    assert found.longest_duration == 15
    assert found.average == (1 + 3 + 15 * 2) / 20
    assert found.ulcer == pytest.approx(((1 + 9 + 15 * 4) / 20) ** 0.5)
    assert found.drawdown_at_risk == 2.0  # the third largest of 20
    assert found.conditional == 2.5  # (3 + 2) / 2
    assert found.share_under_water == 17 / 20


def test_a_loss_at_once_is_a_drawdown():
    assert drawdowns([-1.0, 0.5]).tolist() == [1.0, 0.5]
    np.testing.assert_allclose(drawdowns([-0.5, 0.5], Growth.COMPOUND), [0.5, 0.25])


def test_a_rising_series_has_none():
    found = drawdown_risk([1.0] * 30, 0.95)
    assert (found.deepest, found.ulcer, found.conditional, found.longest_duration) == (0.0, 0.0, 0.0, 0)


def test_what_is_refused():
    with pytest.raises(DataError, match="99 observations are too few; at least 100 are needed"):
        drawdown_risk([0.1] * 99, 0.99)
    with pytest.raises(DataError, match="index 3 loses all"):
        drawdown_risk([0.1] * 3 + [-1.0] + [0.1] * 30, 0.95, Growth.COMPOUND)
    with pytest.raises(DataError, match="range of numbers"):
        drawdown_risk([1e140] * 30, 0.95, Growth.COMPOUND)
    with pytest.raises(DataError, match="index 1"):
        drawdown_risk([0.1, np.nan] * 10, 0.5)
