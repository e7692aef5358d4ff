"""Pure market making: each parameter by hand, around a mid of 10,000 where a basis point is a tick."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.strategies.actions import Cancel, OwnOrder
from market_maker.strategies.contract import wake
from strategy_builders import flat_view, memories, placed, prepared, prices

T0 = 1_700_000_000 * 10**9
SECOND = 10**9
ROOM = {"max_inventory_lots": 1000, "order_lots": 10}


class Maker:
    """The strategy with its memory; orders are given at each look."""

    def __init__(self, **values):
        self.strategy = prepared("fixed_spread", **(ROOM | {"refresh_ns": 30 * SECOND} | values))
        self.memory = memories("fixed_spread")

    def look(self, seconds=0.0, orders=(), mid=10_000, **fields):
        now = T0 + round(seconds * SECOND)
        view = flat_view(mid - 1, mid + 1, now_ts=now, orders=orders, **({"balance_tick_lots": 10**7} | fields))
        return wake(self.strategy, view, self.memory)


def at(order_id, side, price, lots=10, age=0.0, **fields):
    return OwnOrder(order_id, side, price, lots, lots, 1, submitted_ts=T0 - round(age * SECOND), **fields)


def test_levels_spacing_and_amounts():
    requests = Maker(bid_spread_bps=5, ask_spread_bps=7, order_levels=3, level_spacing_bps=2, level_lots=4).look()
    assert [(r.price_ticks, r.qty_lots) for r in placed(requests, 1)] == [(9995, 10), (9993, 14), (9991, 18)]
    assert [(r.price_ticks, r.qty_lots) for r in placed(requests, -1)] == [(10007, 10), (10009, 14), (10011, 18)]


def test_spreads_are_rounded_away_from_the_mid():
    # 5.5 basis points of 10,000 are 5.5 ticks: 9994.5 and 10005.5.
    requests = Maker(bid_spread_bps=5.5, ask_spread_bps=5.5).look()
    assert (prices(requests, 1), prices(requests, -1)) == ([9994], [10006])


def test_orders_are_looked_at_when_a_refresh_is_due_and_not_before():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5)
    maker.look(0)
    orders = [at(1, 1, 9995), at(2, -1, 10005)]
    assert maker.look(29.9, orders, mid=10_020) == []
    moved = maker.look(30, orders, mid=10_020)
    assert moved[:2] == [Cancel(1), Cancel(2)]
    # 0.9995 x 10,020 = 10,014.99 and 1.0005 x 10,020 = 10,025.01.
    assert (prices(moved, 1), prices(moved, -1)) == ([10014], [10026])


def test_the_tolerance_leaves_what_is_near_enough():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, refresh_tolerance_bps=10)
    maker.look(0)
    orders = [at(1, 1, 9995), at(2, -1, 10005)]
    # Wanted 10,003 and 10,015 (floor of 10,003.9955, ceiling of 10,014.0045): 8 and 10 away, 10.009 are allowed.
    assert maker.look(30, orders, mid=10_009) == []


def test_an_order_beyond_the_tolerance_moves_alone():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, refresh_tolerance_bps=10)
    maker.look(0)
    moved = maker.look(30, [at(1, 1, 9995), at(2, -1, 10016)], mid=10_012)
    # Wanted 10,006 and 10,018 (floor of 10,006.99, ceiling of 10,017.006): the bid is 11 away, the ask 2.
    assert (moved[0], prices(moved, 1), prices(moved, -1)) == (Cancel(1), [10006], [])


def test_orders_that_come_too_near_to_the_mid_end_at_once():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, minimum_spread_bps=3)
    maker.look(0)
    assert maker.look(1, [at(1, 1, 9995), at(2, -1, 10005)], mid=9997) == [Cancel(1)]  # 2 < 0.0003 x 9997
    assert maker.look(2, [at(2, -1, 10005)], mid=9997) == []  # the bid comes again with the refresh
    assert prices(maker.look(30, [at(2, -1, 10005)], mid=9997), 1) == [9992]


def test_old_orders_are_replaced_at_once():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, max_order_age_ns=60 * SECOND)
    maker.look(0)
    orders = [at(1, 1, 9995, age=59), at(2, -1, 10005, age=30)]
    assert maker.look(1, orders) == []
    replaced = maker.look(1.5, orders)
    assert (replaced[0], prices(replaced, 1), prices(replaced, -1)) == (Cancel(1), [9995], [])


def test_after_a_fill_nothing_is_placed_for_a_while():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, filled_order_delay_ns=60 * SECOND)
    maker.look(0)
    ask = at(2, -1, 10005)
    assert maker.look(10, [ask], position_lots=10, cash_tick_lots=-99_950) == []
    # The refresh of second 30 cancels what is out of place and places nothing.
    assert maker.look(30, [ask], mid=9_990, position_lots=10, cash_tick_lots=-99_950) == [Cancel(2)]
    assert maker.look(69.9, position_lots=10, cash_tick_lots=-99_950) == []
    requests = maker.look(70, position_lots=10, cash_tick_lots=-99_950)
    assert (prices(requests, 1), prices(requests, -1)) == ([9995], [10005])


def test_without_a_delay_a_fill_is_replaced_at_the_next_look():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5)
    maker.look(0)
    requests = maker.look(0.1, [at(2, -1, 10005)], position_lots=10, cash_tick_lots=-99_950)
    assert (prices(requests, 1), len(requests)) == ([9995], 1)


def test_a_fill_on_both_sides_is_one_too():
    """The position is what it was; the cash tells."""
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5)
    maker.look(0)
    requests = maker.look(0.1, cash_tick_lots=100)
    assert (prices(requests, 1), prices(requests, -1)) == ([9995], [10005])


@pytest.mark.parametrize(
    ("position", "bid_lots", "ask_lots"),
    [
        # Value 10^7 tick-lots: 1000 lots at 10,000. Target 0.5: 500 lots. Range 200.
        (500, 10, 10),
        (600, 5, 15),  # half a range above: 10 x 0.5 and 10 x 1.5
        (400, 15, 5),
        (700, None, 20),  # a whole range
        (900, None, 20),
        (300, 20, None),
        (550, 7, 12),  # 7.5 and 12.5 are rounded down
    ],
)
def test_sizes_lean_to_the_target(position, bid_lots, ask_lots):
    # Cash is what the position cost: the value of the account stays the same.
    fields = {"position_lots": position, "cash_tick_lots": -position * 10_000}
    requests = Maker(inventory_target_ratio=0.5, inventory_range_lots=200).look(**fields)
    assert [order.qty_lots for order in placed(requests, 1)] == ([] if bid_lots is None else [bid_lots])
    assert [order.qty_lots for order in placed(requests, -1)] == ([] if ask_lots is None else [ask_lots])


@pytest.mark.parametrize(
    ("values", "bids", "asks"),
    [
        ({"price_ceiling_ticks": 10_000}, [], [10_005]),
        ({"price_ceiling_ticks": 10_001}, [9_995], [10_005]),
        ({"price_floor_ticks": 10_000}, [9_995], []),
        ({"price_floor_ticks": 9_999}, [9_995], [10_005]),
    ],
)
def test_ceiling_and_floor(values, bids, asks):
    requests = Maker(bid_spread_bps=5, ask_spread_bps=5, **values).look()
    assert (prices(requests, 1), prices(requests, -1)) == (bids, asks)


def test_a_hanging_order_stays_until_it_is_far_away():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, hanging_cancel_bps=40)
    maker.look(0)
    # The bid fills: its ask of 10,005 hangs, and a new pair is placed.
    held = {"position_lots": 10, "cash_tick_lots": -99_950}
    requests = maker.look(1, [at(2, -1, 10005)], mid=9_990, **held)
    # 0.9995 x 9,990 = 9,985.005 and 1.0005 x 9,990 = 9,994.995.
    assert (prices(requests, 1), prices(requests, -1), len(requests)) == ([9985], [9995], 2)
    orders = [at(2, -1, 10005), at(3, 1, 9985), at(4, -1, 9995)]
    assert maker.look(31, orders, mid=9_990, **held) == []
    # At 9,960 it is 45 away, more than 39.84: it goes, at once.
    assert maker.look(32, orders, mid=9_960, **held) == [Cancel(2)]


def test_of_several_levels_the_best_one_hangs():
    maker = Maker(order_levels=2, hanging_cancel_bps=40)
    maker.look(0)
    maker.look(1, [at(2, -1, 10005), at(3, -1, 10003)], position_lots=10, cash_tick_lots=-99_950)
    assert (3.0 in maker.memory, 2.0 in maker.memory) == (True, False)
    maker = Maker(order_levels=2, hanging_cancel_bps=40)
    maker.look(0)
    maker.look(1, [at(2, 1, 9995), at(3, 1, 9997)], position_lots=-10, cash_tick_lots=100_050)
    assert (3.0 in maker.memory, 2.0 in maker.memory) == (True, False)


def test_a_hanging_order_that_filled_is_forgotten():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, hanging_cancel_bps=40)
    maker.look(0)
    maker.look(1, [at(2, -1, 10005)], position_lots=10, cash_tick_lots=-99_950)
    assert 2.0 in maker.memory
    maker.look(2, [at(3, 1, 9995)], position_lots=0, cash_tick_lots=100)
    assert 2.0 not in maker.memory
    assert 3.0 in maker.memory  # the bid of the ask that filled hangs now


def test_replacing_waits_for_the_room_that_a_cancel_gives():
    maker = Maker(bid_spread_bps=5, ask_spread_bps=5, max_inventory_lots=15)
    maker.look(0)
    old = [at(1, 1, 9995), at(2, -1, 10005)]
    # 10 leaving + 10 new > 15 on either side: only cancels.
    assert maker.look(30, old, mid=10_020) == [Cancel(1), Cancel(2)]
    leaving = [order._replace(cancel_pending=1) for order in old]
    assert maker.look(30.1, leaving, mid=10_020) == []
    placed_then = maker.look(30.2, mid=10_020)  # not only at second 60
    assert (prices(placed_then, 1), prices(placed_then, -1)) == ([10014], [10026])


def test_an_empty_side_ends_everything():
    maker = Maker()
    maker.look(0)
    assert maker.look(1, [at(1, 1, 9995)], asks=[]) == [Cancel(1)]


def test_times_are_exact():
    """A float near 1.7e18 has steps of 256: the refresh would come an interval late."""
    maker = Maker(refresh_ns=SECOND + 1)
    maker.look(1e-9)
    assert maker.look(1.0) == []
    assert np.isfinite(maker.memory).all()
    requests = maker.look(1.000000002)
    assert (len(placed(requests, 1)), len(placed(requests, -1))) == (1, 1)
