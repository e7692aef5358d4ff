"""How much of a result hangs on its assumptions: a grid of latency, queue model and fees, and where it breaks even.

Takes results that were had under other assumptions; knows nothing of how. Profit is Decimal, in one currency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from market_maker.domain.errors import DataError
from market_maker.performance.figures import Figure


@dataclass(frozen=True, slots=True)
class FragilityCell:
    """The result under one set of assumptions.

    Parameters
    ----------
    latency_factor : latency / the run's own; 1 is the run, 0 none
    queue_model : its name
    queue_fraction : share of a queue that is assumed to stay ahead when it shrinks, 1 the strictest, 0 the kindest; None
        for a model that is no point on this line
    fee_factor : fees / the run's own
    net_pnl : profit after fees
    sharpe : annualised; None where undefined
    """

    latency_factor: float
    queue_model: str
    fee_factor: float
    net_pnl: Decimal
    sharpe: float | None = None
    queue_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class FragilityFigures:
    """What the grid tells.

    Parameters
    ----------
    reference : the cell the others are compared with: latency and fees of the run
    cells, conservative_cells : how many; conservative are those at least as strict as the run in latency, queue and fees
    conservative_losing : conservative cells whose profit has not the sign of the reference's, or is 0
    worst : the cell with the lowest profit
    break_even_latency : factor at which the profit reaches 0 with queue and fees of the reference, linear between two
        cells; None with the reason
    break_even_queue : queue fraction at which it does, with latency and fees of the reference
    break_even_fees : fee factor at which it does, with latency and queue of the reference
    sharpe_elasticity : d Sharpe / d ln(latency), the slope of the least-squares line through the cells with queue and fees
        of the reference; in annual Sharpe per e-fold of latency
    """

    reference: FragilityCell
    cells: int
    conservative_cells: int
    conservative_losing: tuple[FragilityCell, ...]
    worst: FragilityCell
    break_even_latency: Figure
    break_even_queue: Figure
    break_even_fees: Figure
    sharpe_elasticity: Figure


def fragility_figures(
    cells: Sequence[FragilityCell], *, queue_model: str, conservative_models: Sequence[str] = ()
) -> FragilityFigures:
    """Return what a grid of results tells.

    Parameters
    ----------
    cells : each set of assumptions once; one has `queue_model`, latency factor 1 and fee factor 1
    queue_model : of the run
    conservative_models : names of queue models that are at least as strict as the run's, beside itself

    Raises
    ------
    DataError
        No such reference cell, a set of assumptions twice, or a negative or not finite factor.
    """
    known: set[tuple[float, str, float]] = set()
    for cell in cells:
        key = (cell.latency_factor, cell.queue_model, cell.fee_factor)
        if key in known or not (math.isfinite(cell.latency_factor) and cell.latency_factor >= 0):
            raise DataError(f"cell {key} is not allowed; give each once, with a finite latency factor of 0 or more")
        known.add(key)
    own = [cell for cell in cells if _is(cell, latency=1.0, queue=queue_model, fees=1.0)]
    if not own:
        raise DataError(f"the grid has no cell of queue model {queue_model} with latency factor 1 and fee factor 1")
    reference = own[0]
    strict = {queue_model, *conservative_models}
    conservative = [
        cell for cell in cells if cell.queue_model in strict and cell.latency_factor >= 1 and cell.fee_factor >= 1
    ]
    losing = tuple(cell for cell in conservative if _sign(cell.net_pnl) != _sign(reference.net_pnl) or not cell.net_pnl)
    by_latency = [cell for cell in cells if _is(cell, queue=queue_model, fees=1.0)]
    return FragilityFigures(
        reference=reference,
        cells=len(cells),
        conservative_cells=len(conservative),
        conservative_losing=losing,
        worst=min(cells, key=lambda cell: cell.net_pnl),
        break_even_latency=_break_even(by_latency, lambda cell: cell.latency_factor, "latency factor"),
        break_even_queue=_break_even(
            [cell for cell in cells if _is(cell, latency=1.0, fees=1.0) and cell.queue_fraction is not None],
            lambda cell: cell.queue_fraction or 0.0,
            "queue fraction",
        ),
        break_even_fees=_break_even(
            [cell for cell in cells if _is(cell, latency=1.0, queue=queue_model)],
            lambda cell: cell.fee_factor,
            "fee factor",
        ),
        sharpe_elasticity=_elasticity(by_latency),
    )


def _is(
    cell: FragilityCell, *, latency: float | None = None, queue: str | None = None, fees: float | None = None
) -> bool:
    return (
        (latency is None or cell.latency_factor == latency)
        and (queue is None or cell.queue_model == queue)
        and (fees is None or cell.fee_factor == fees)
    )


def _sign(amount: Decimal) -> int:
    return (amount > 0) - (amount < 0)


def _break_even(cells: Sequence[FragilityCell], place: Callable[[FragilityCell], float], name: str) -> Figure:
    """Return the first place, from the kindest on, at which a profit turns into none."""
    line = sorted(cells, key=place)
    if len(line) < 2:
        return Figure(None, f"{len(line)} cell along the {name}; at least 2 are needed")
    if line[0].net_pnl <= 0:
        return Figure(None, f"it earns nothing even at a {name} of {place(line[0]):g}")
    for kinder, stricter in pairwise(line):
        if stricter.net_pnl <= 0:
            part = float(kinder.net_pnl / (kinder.net_pnl - stricter.net_pnl))
            return Figure(place(kinder) + part * (place(stricter) - place(kinder)))
    return Figure(None, f"it still earns at the largest {name} tried, {place(line[-1]):g}")


def _elasticity(cells: Sequence[FragilityCell]) -> Figure:
    points = [
        (math.log(cell.latency_factor), cell.sharpe)
        for cell in cells
        if cell.latency_factor > 0 and cell.sharpe is not None
    ]
    if len(points) < 2:
        return Figure(None, f"{len(points)} cells with a Sharpe ratio along the latency; at least 2 are needed")
    middle = math.fsum(x for x, _ in points) / len(points)
    spread = math.fsum((x - middle) ** 2 for x, _ in points)
    return Figure(math.fsum((x - middle) * y for x, y in points) / spread)
