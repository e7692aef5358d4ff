"""The capacity curve by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.capacity import SizeResult, capacity_curve


def results(*pairs: tuple[int, str]) -> list[SizeResult]:
    return [SizeResult(Decimal(scale), Decimal(pnl)) for scale, pnl in pairs]


def test_a_curve_that_bends():
    curve = capacity_curve([
        SizeResult(Decimal(4), Decimal(160), own_lots=40, public_lots=100),
        *results((1, "100"), (8, "80")),
        SizeResult(Decimal(2), Decimal(180), sharpe=2.0, own_lots=20),
    ])  # fmt: skip
    assert [point.scale for point in curve.points] == [1, 2, 4, 8]
    assert [point.pnl_per_size for point in curve.points] == [100, 90, 40, 10]
    assert [point.marginal_pnl for point in curve.points] == [None, 80, -10, -20]
    assert [point.volume_share for point in curve.points] == [None, None, 0.4, None]
    assert (curve.best_scale, curve.is_bounded) == (2, True)
    # Half of 100 per size lies between 90 at 2 and 40 at 4: 2 + (90 - 50)/(90 - 40) x 2 = 3.6.
    assert curve.half_efficiency_scale == pytest.approx(3.6)


def test_what_was_not_reached():
    growing = capacity_curve(results((1, "10"), (2, "19")))
    assert (growing.best_scale, growing.is_bounded, growing.half_efficiency_scale) == (2, False, None)
    losing = capacity_curve(results((1, "-10"), (2, "-30")))
    assert (losing.best_scale, losing.is_bounded, losing.half_efficiency_scale) == (1, True, None)
    flat = capacity_curve(results((1, "5"), (2, "5")))  # per size 5, then 2.5: half at exactly 2
    assert (flat.best_scale, flat.half_efficiency_scale) == (1, 2.0)


@pytest.mark.parametrize("given", [[], [(1, "5")], [(0, "1"), (1, "2")], [(1, "1"), (1, "2")]])
def test_bad_scales(given):
    with pytest.raises(DataError, match="scales"):
        capacity_curve(results(*given))
