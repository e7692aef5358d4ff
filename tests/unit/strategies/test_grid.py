"""The grid: its lines, the vacant one, and what moves it."""

from __future__ import annotations

import itertools

import pytest

from market_maker.strategies.actions import Cancel, OwnOrder
from market_maker.strategies.contract import wake
from market_maker.strategies.grid import line_price, vacant_line
from market_maker.strategies.quoting import MOST
from strategy_builders import flat_view, memories, prepared, prices


@pytest.mark.parametrize(
    ("centre", "line", "ticks", "bps", "price"),
    [
        (1000, 3, 10, 0, 1030),
        (1000, -3, 10, 0, 970),
        (1000, 0, 10, 0, 1000),
        (1000, 2, 10, 100, 1020),  # 1000 x 1.01^2 = 1020.1
        (1000, -1, 10, 100, 990),  # 1000 / 1.01 = 990.099
        (1000, -2, 10, 100, 980),  # 980.296
        (1000, 2, 10, 1, 1002),  # 1000 x 1.0001^2 = 1000.2 would be the centre itself: a tick for each line
        (1000, 0, 10, 1, 1000),
        (20, -30, 1, 0, -10),  # no price: not placed
        (2**40, 50, 10**9, 0, MOST),
        (2**40, 1000, 1, 5000, MOST),
    ],
)
def test_lines_by_hand(centre, line, ticks, bps, price):
    assert line_price(centre, line, ticks, bps) == price


def test_geometric_lines_rise(rng):
    for _ in range(100):
        centre, bps = int(rng.integers(1, 5000)), 10 ** rng.uniform(-2, 3.6)
        lines = [line_price(centre, line, 1, bps) for line in range(-60, 61)]
        assert all(a <= b for a, b in itertools.pairwise(lines)), (centre, bps)
        assert all(a < b or b == MOST for a, b in itertools.pairwise(lines[60:])), (centre, bps)


def test_lines_that_share_a_tick_have_one_order():
    # 10 / 1.1 = 9.09, 8.26, 7.51 ...: less than a tick apart, so a tick apart; the tenth line would be at 0.
    requests = wake(prepared("grid", levels=10, spacing_bps=1000, max_inventory_lots=100), flat_view(9, 11))
    assert prices(requests, 1) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    # 100 / 1.5 = 66.7, 44.4, 29.6, 19.8, 13.2, 8.8, 5.9, 3.9, 2.6, 1.7, 1.2, 0.8, 0.5 and 0.3: 1 once.
    requests = wake(prepared("grid", levels=14, spacing_bps=5000, max_inventory_lots=100), flat_view(99, 101))
    assert prices(requests, 1) == [67, 44, 30, 20, 13, 9, 6, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("position", "at_centre", "lots", "line"),
    [(0, 0, 5, 0), (5, 0, 5, -1), (9, 0, 5, -1), (10, 0, 5, -2), (-5, 0, 5, 1), (-9, 0, 5, 1), (7, 2, 5, -1), (500, 0, 5, -10)],
)  # fmt: skip
def test_the_vacant_line_moves_with_whole_orders(position, at_centre, lots, line):
    assert vacant_line(position, at_centre, lots, 10) == line


VALUES = {"levels": 2, "spacing_ticks": 10, "order_lots": 5, "max_inventory_lots": 100}


def orders_at(*quotes):
    return [OwnOrder(i, side, price, 5, 5) for i, (side, price) in enumerate(quotes, 1)]


def test_a_bought_line_is_sold_one_line_higher():
    grid, memory = prepared("grid", **VALUES), memories("grid")
    first = wake(grid, flat_view(999, 1001), memory)
    assert (prices(first, 1), prices(first, -1)) == ([990, 980], [1010, 1020])
    # The bid at 990 fills: nothing at 990, an ask at the centre, which was vacant; the others stay.
    rest = orders_at((1, 980), (-1, 1010), (-1, 1020))
    bought = wake(grid, flat_view(989, 991, orders=rest, position_lots=5), memory)
    assert (prices(bought, 1), prices(bought, -1), len(bought)) == ([], [1000], 1)
    # That ask fills: back at the start, one spacing of 10 x 5 earned.
    rest = orders_at((1, 980), (-1, 1010), (-1, 1020))
    sold = wake(grid, flat_view(1000, 1002, orders=rest, position_lots=0), memory)
    assert (prices(sold, 1), len(sold)) == ([990], 1)


def test_a_partial_fill_moves_nothing():
    grid, memory = prepared("grid", **VALUES), memories("grid")
    wake(grid, flat_view(999, 1001), memory)
    rest = [OwnOrder(1, 1, 990, 5, 2), *orders_at((1, 980), (-1, 1010), (-1, 1020))[1:], OwnOrder(9, 1, 980, 5, 5)]
    assert wake(grid, flat_view(990, 992, orders=rest, position_lots=3), memory) == []


def test_a_line_that_would_cross_waits():
    grid, memory = prepared("grid", **VALUES), memories("grid")
    wake(grid, flat_view(999, 1001), memory)
    # The market fell to 985 / 987: a bid at 990 would take. 980 may stand.
    requests = wake(grid, flat_view(985, 987), memory)
    assert (prices(requests, 1), prices(requests, -1)) == ([980], [1010, 1020])
    # One that rests there already stays: the market has met it.
    assert wake(grid, flat_view(985, 987, orders=orders_at((1, 990), (1, 980), (-1, 1010), (-1, 1020))), memory) == []


def test_the_grid_follows_once_the_mid_is_far_enough():
    grid, memory = prepared("grid", recentre_lines=3, **VALUES), memories("grid")
    wake(grid, flat_view(999, 1001), memory)
    rest = orders_at((1, 990), (1, 980), (-1, 1010), (-1, 1020))
    assert wake(grid, flat_view(1029, 1031, orders=rest, position_lots=0), memory) == []  # 1030 is not beyond line 3
    # 1031 is: the centre is 1031, and what is held then is where the new grid begins.
    moved = wake(grid, flat_view(1030, 1032, orders=rest, position_lots=-5), memory)
    assert [request for request in moved if isinstance(request, Cancel)] == [Cancel(1), Cancel(2), Cancel(3), Cancel(4)]
    assert (prices(moved, 1), prices(moved, -1)) == ([1021, 1011], [1041, 1051])


def test_the_centre_can_be_given():
    requests = wake(prepared("grid", centre_ticks=1007, **VALUES), flat_view(999, 1001))
    assert (prices(requests, 1), prices(requests, -1)) == ([997, 987], [1017, 1027])
