"""The grid of assumptions: break-even points, elasticity, and the sign in conservative cells."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.fragility import FragilityCell, fragility_figures


def cell(
    latency: float,
    pnl: str,
    queue: str = "RISK_AVERSE",
    fees: float = 1.0,
    sharpe: float | None = None,
    part: float | None = None,
) -> FragilityCell:
    return FragilityCell(latency, queue, fees, Decimal(pnl), sharpe, part)


GRID = [
    cell(5, "-20", sharpe=-1.0),
    cell(1, "50", sharpe=4.0, part=1.0),
    cell(0.5, "60", sharpe=5.0),
    cell(2, "10", sharpe=2.0),
    cell(1, "80", queue="OPTIMISTIC", part=0.0),
    cell(1, "70", queue="PROPORTIONAL", part=0.5),
    cell(1, "30", fees=2.0),
    cell(5, "90", queue="OPTIMISTIC"),
]


def test_a_grid_by_hand():
    figures = fragility_figures(GRID, queue_model="RISK_AVERSE")
    assert (figures.reference, figures.cells, figures.conservative_cells) == (GRID[1], 8, 4)
    # From 10 at twice the latency to -20 at five times it: 2 + 10/30 x 3 = 3.
    assert figures.break_even_latency.value == pytest.approx(3.0)
    assert figures.conservative_losing == (GRID[0],)
    assert figures.worst == GRID[0]
    assert figures.break_even_queue.reason == "it still earns at the largest queue fraction tried, 1"
    assert figures.break_even_fees.reason == "it still earns at the largest fee factor tried, 2"


def test_elasticity_is_the_slope_in_the_logarithm():
    line = [cell(factor, "1", sharpe=3.0 - 0.7 * math.log(factor)) for factor in (0.5, 1.0, 2.0, 5.0)]
    without = [*line, cell(0.0, "2", sharpe=99.0), cell(9.0, "1")]
    assert fragility_figures(without, queue_model="RISK_AVERSE").sharpe_elasticity.value == pytest.approx(-0.7)


def test_break_even_queue_and_fees():
    cells = [
        cell(1, "40", queue="KIND", part=0.0),
        cell(1, "-40", part=0.8),
        cell(1, "-90", queue="STRICT", part=1.0),
        cell(1, "-50", fees=2.0),
        cell(1, "30", fees=0.5),
    ]
    figures = fragility_figures(cells, queue_model="RISK_AVERSE", conservative_models=["STRICT"])
    assert figures.break_even_queue.value == pytest.approx(0.4)  # half way from 0 to 0.8
    assert figures.break_even_fees.value == pytest.approx(0.5 + 30 / 70 * 0.5)
    assert figures.conservative_cells == 3
    assert figures.break_even_latency.reason == "1 cell along the latency factor; at least 2 are needed"
    assert figures.sharpe_elasticity.value is None


def test_a_strategy_that_never_earns_has_no_break_even():
    figures = fragility_figures([cell(1, "-5"), cell(2, "-6")], queue_model="RISK_AVERSE")
    assert figures.break_even_latency.reason == "it earns nothing even at a latency factor of 1"
    nothing = fragility_figures([cell(1, "0"), cell(2, "-6")], queue_model="RISK_AVERSE")
    assert nothing.break_even_latency == figures.break_even_latency
    assert figures.conservative_losing == ()  # a loss that stays a loss keeps its sign


def test_a_cell_of_zero_has_lost_its_sign():
    figures = fragility_figures([cell(1, "5"), cell(2, "0")], queue_model="RISK_AVERSE")
    assert len(figures.conservative_losing) == 1
    assert figures.break_even_latency.value == 2.0


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([cell(2, "1")], "no cell of queue model"),
        ([cell(1, "1"), cell(1, "2")], "give each once"),
        ([cell(1, "1"), cell(-1, "2")], "latency factor"),
        ([cell(1, "1"), cell(float("inf"), "2")], "latency factor"),
    ],
)
def test_bad_grids(cells, message):
    with pytest.raises(DataError, match=message):
        fragility_figures(cells, queue_model="RISK_AVERSE")
