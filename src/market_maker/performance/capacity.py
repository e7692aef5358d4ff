"""How much size a strategy bears: profit against order size, where more size stops paying, own share of the market.

Takes results that were had at several sizes; knows nothing of how. Profit is Decimal, in one currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import EXACT


@dataclass(frozen=True, slots=True)
class SizeResult:
    """The result of one run at `scale` times the strategy's order size.

    `own_lots` and `public_lots` are what the run and what the market traded; None where not known.
    """

    scale: Decimal
    net_pnl: Decimal
    sharpe: float | None = None
    own_lots: int | None = None
    public_lots: int | None = None


@dataclass(frozen=True, slots=True)
class SizePoint:
    """One point of the curve.

    Parameters
    ----------
    scale, net_pnl, sharpe : of the run
    pnl_per_size : net_pnl / scale
    marginal_pnl : added profit per added size since the smaller run; None for the smallest
    volume_share : own traded quantity / public traded quantity; None where not known
    """

    scale: Decimal
    net_pnl: Decimal
    sharpe: float | None
    pnl_per_size: Decimal
    marginal_pnl: Decimal | None
    volume_share: float | None


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """Profit against size.

    Parameters
    ----------
    points : by increasing scale
    best_scale : the scale with the highest profit (ties: the smallest)
    is_bounded : False when the largest size was the best: capacity then lies beyond what was tried
    half_efficiency_scale : where profit per size has fallen to half of the smallest run's, linear between two runs; None
        when it never does, or when the smallest run earned nothing
    """

    points: tuple[SizePoint, ...]
    best_scale: Decimal
    is_bounded: bool
    half_efficiency_scale: float | None


def capacity_curve(results: Sequence[SizeResult]) -> CapacityCurve:
    """Return the capacity curve of one strategy.

    Parameters
    ----------
    results : at least two, of different positive scales, in any order

    Raises
    ------
    DataError
        Fewer than two results, a scale that is not positive, or one that comes twice.
    """
    runs = sorted(results, key=lambda run: run.scale)
    scales = [run.scale for run in runs]
    if len(runs) < 2 or scales[0] <= 0 or len(set(scales)) != len(scales):
        raise DataError(
            f"scales {[str(scale) for scale in scales]} are not allowed; give two or more, positive, each once"
        )
    points = []
    for k, run in enumerate(runs):
        marginal = None
        if k:
            smaller = runs[k - 1]
            marginal = EXACT.divide(run.net_pnl - smaller.net_pnl, run.scale - smaller.scale)
        share = run.own_lots / run.public_lots if run.own_lots is not None and run.public_lots else None
        points.append(
            SizePoint(run.scale, run.net_pnl, run.sharpe, EXACT.divide(run.net_pnl, run.scale), marginal, share)
        )
    best = max(points, key=lambda point: (point.net_pnl, -point.scale))
    return CapacityCurve(tuple(points), best.scale, best.scale != scales[-1], _half_efficiency(points))


def _half_efficiency(points: Sequence[SizePoint]) -> float | None:
    half = points[0].pnl_per_size / 2
    if half <= 0:
        return None
    for smaller, larger in pairwise(points):
        if larger.pnl_per_size <= half:
            part = (smaller.pnl_per_size - half) / (smaller.pnl_per_size - larger.pnl_per_size)
            return float(smaller.scale + part * (larger.scale - smaller.scale))
    return None
