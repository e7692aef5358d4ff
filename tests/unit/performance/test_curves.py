"""Thinning keeps what a reader looks for: the ends, every peak and every trough."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.curves import run_curves, thinned
from market_maker.performance.drawdown import max_drawdown
from performance_builders import BALANCE, PAIR, ledger_run, random_run


def test_thinning_by_hand():
    # Twelve values in stretches of 6 (8 points allow 2): first, lowest, highest, last of each.
    values = np.array([5, 9, 1, 4, 4, 4, 0, 0, 7, 3, 3, 2])
    assert thinned(values, 8).tolist() == [0, 1, 2, 5, 6, 8, 11]
    assert thinned(values, 12).tolist() == list(range(12))
    assert thinned(np.zeros(0), 4).tolist() == []
    with pytest.raises(InvalidRequest, match="points"):
        thinned(values, 3)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 12_345])
def test_extremes_and_ends_are_kept(rng, count):
    values = np.cumsum(rng.integers(-5, 6, count))
    places = thinned(values, 1000)
    assert len(places) <= 1004
    assert (places[0], places[-1]) == (0, count - 1)
    assert values[places].max() == values.max()
    assert values[places].min() == values.min()
    assert np.all(np.diff(places) > 0)


def test_curves_are_money():
    samples, _ = ledger_run([(7, 0, 0, 0, 0, 2000), (9, 0, 0, 0, 0, 2001)])
    curves = run_curves(samples, PAIR, 100)
    # 1e10 tick-lots of 0.0001; a mid of 2001 half ticks of 0.1.
    assert curves.equity.ts == (7, 9)
    assert curves.equity.values == (Decimal(BALANCE) * PAIR.tick_lot,) * 2
    assert curves.mid.values == (Decimal(100), Decimal("100.05"))
    assert curves.inventory.values == (Decimal(0), Decimal(0))


def test_the_deepest_fall_is_on_the_curve(rng):
    samples, _ = random_run(rng, samples=30_000, fills=2000)
    curves = run_curves(samples, PAIR, 400)
    fall = max_drawdown(samples.equity_half_tick_lots)
    assert max(curves.drawdown.values) == Decimal(int(fall.depth)) * PAIR.tick_lot / 2
    assert int(samples.ts[fall.trough]) in curves.equity.ts
    assert curves.drawdown.ts == curves.equity.ts
    assert len(curves.equity.ts) <= 410
