"""Wanted quotes become ticks, and ticks become requests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.strategies.actions import MAX_ACTIONS, Cancel, OwnOrder, Place, decode, make_view, new_actions
from market_maker.strategies.memory import keep_whole, whole
from market_maker.strategies.quoting import BUY, LOTS, MOST, PER_QUOTE, SELL, ask_at, bid_at, want, want_nothing
from market_maker.strategies.requoting import NOTHING_HELD, TWO_QUOTES, quote_both_sides, requote, withdraw
from strategy_builders import flat_view, placed, prices


@pytest.mark.parametrize(
    ("price", "bid", "ask"),
    [
        (95.0, 95, 100),  # an ask at 95 would cross the bid of 99: one tick above it
        (95.7, 95, 100),
        (104.2, 100, 105),  # a bid at 104 would cross the ask of 101: one tick below it
        (0.5, 0, 100),  # half a tick is below the lowest price there is
        (-3.0, 0, 100),
        (-math.inf, 0, 100),
        (math.inf, 100, 0),
        (float(2 * MOST), 100, 0),
        (math.nan, 0, 0),
    ],
)
def test_prices_are_rounded_away_from_the_mid_and_never_cross(price, bid, ask):
    view = flat_view(99, 101)
    assert (bid_at(price, view), ask_at(price, view)) == (bid, ask)


def test_prices_beside_an_empty_side():
    assert bid_at(95.5, make_view(now_ts=1, bids=[(99, 1)])) == 95
    assert ask_at(95.5, make_view(now_ts=1, asks=[(101, 1)])) == 96
    assert ask_at(0.0, make_view(now_ts=1)) == 1


@pytest.mark.parametrize(
    ("price", "lots", "kept"),
    [(100, 5, 5), (0, 5, 0), (-1, 5, 0), (MOST, 5, 5), (MOST + 1, 5, 0), (100, 0, 0), (100, -2, 0), (100, 2**50, MOST)],
)
def test_what_can_be_wanted(price, lots, kept):
    quotes = np.zeros(2 * PER_QUOTE)
    want(quotes, 1, BUY, price, lots)
    assert quotes[PER_QUOTE + LOTS] == kept
    want_nothing(quotes)
    assert not quotes.any()


def requests_for(wanted, orders=(), *, position=0, tolerance=0, limit=10, held=NOTHING_HELD, may_place=True):
    quotes = np.zeros(PER_QUOTE * len(wanted))
    for i, quote in enumerate(wanted):
        want(quotes, i, *quote)
    actions = new_actions()
    view = flat_view(orders=orders, position_lots=position)
    waiting = requote(view, actions, quotes, tolerance, limit, held, may_place)
    return decode(actions), waiting


def order(order_id, side, price, lots, leaves=None, **fields):
    return OwnOrder(order_id, side, price, lots, lots if leaves is None else leaves, **fields)


WANTED = [(BUY, 95, 2), (BUY, 93, 2), (SELL, 105, 2), (SELL, 107, 2)]


def test_everything_is_placed_post_only_when_nothing_is_open():
    requests, waiting = requests_for(WANTED)
    assert [(r.side, r.price_ticks, r.qty_lots, r.post_only) for r in requests] == [(*quote, True) for quote in WANTED]
    assert not waiting


def test_an_order_in_its_place_stays_and_one_elsewhere_is_moved():
    requests, _ = requests_for(WANTED, [order(1, BUY, 95, 2), order(2, BUY, 94, 2), order(3, SELL, 107, 2)])
    assert requests[0] == Cancel(2)
    assert (prices(requests, BUY), prices(requests, SELL)) == ([93], [105])


def test_the_tolerance_keeps_the_place_in_the_queue():
    orders = [order(1, BUY, 96, 2), order(2, SELL, 104, 2)]
    requests, _ = requests_for([WANTED[0], WANTED[2]], orders, tolerance=1)
    assert requests == []


def test_the_nearest_wanted_quote_is_the_one_an_order_stands_for():
    # 94 is one tick from 95 and one from 93; taken as the first, it leaves 93 to be placed. 93 then is not free for it.
    requests, _ = requests_for(WANTED[:2], [order(1, BUY, 94, 2)], tolerance=3)
    assert prices(requests, BUY) == [93]
    requests, _ = requests_for(WANTED[:2], [order(1, BUY, 93, 2)], tolerance=3)
    assert prices(requests, BUY) == [95]


def test_a_partly_filled_order_keeps_its_place_and_a_too_large_one_does_not():
    requests, _ = requests_for(WANTED[:1], [order(1, BUY, 95, 5, leaves=1)])
    assert requests == []
    requests, _ = requests_for(WANTED[:1], [order(1, BUY, 95, 5, leaves=3)])
    assert requests == [Cancel(1), Place(BUY, 0, 0, True, 95, 2)]


def test_the_limit_counts_what_is_open_and_what_is_being_cancelled():
    # 5 held + 2 open + 2 leaving + 2 wanted = 11 > 10: it waits until the cancel is answered. 9 without: then it comes.
    orders = [order(1, BUY, 95, 2), order(2, BUY, 80, 2, cancel_pending=1)]
    assert requests_for(WANTED[:2], orders, position=5) == ([], True)
    requests, waiting = requests_for(WANTED[:2], orders[:1], position=5)
    assert (prices(requests, BUY), waiting) == ([93], False)


def test_an_order_is_whole_or_not_at_all_and_what_never_fits_is_not_waited_for():
    # 9 + 2 = 11 > 10, and no order is on its way out.
    assert requests_for(WANTED[:1], position=9) == ([], False)
    requests, _ = requests_for(WANTED, position=9)
    assert prices(requests, SELL) == [105, 107]
    requests, _ = requests_for(WANTED, position=-9)
    assert (prices(requests, BUY), prices(requests, SELL)) == ([95, 93], [])


def test_open_orders_that_could_pass_the_limit_are_cancelled():
    # 9 + 2 = 11 > 10: the bid has to go, although it is where it is wanted.
    assert requests_for(WANTED[:1], [order(1, BUY, 95, 2)], position=9)[0] == [Cancel(1)]


def test_of_orders_that_could_pass_the_limit_together_the_first_stays():
    # 7 + 2 = 9 fits, 9 + 2 = 11 does not.
    orders = [order(1, BUY, 95, 2), order(2, BUY, 93, 2)]
    assert requests_for(WANTED[:2], orders, position=7)[0] == [Cancel(2)]


def test_a_leaving_order_takes_room_from_one_that_would_stay():
    # 7 + 2 leaving + 2 = 11: the one in its place goes too.
    orders = [order(1, BUY, 80, 2, cancel_pending=1), order(2, BUY, 95, 2)]
    assert requests_for(WANTED[:1], orders, position=7)[0] == [Cancel(2)]


def test_an_order_never_stands_for_a_quote_of_the_other_side():
    requests, _ = requests_for([(SELL, 101, 2)], [order(1, BUY, 100, 2)], tolerance=3)
    assert requests == [Cancel(1), Place(SELL, 0, 0, True, 101, 2)]


def test_own_orders_never_meet():
    # Within the tolerance a bid of 98 and an ask of 97 would both stay: the ask goes, and 100 is above the bid.
    orders = [order(1, BUY, 98, 2), order(2, SELL, 97, 2)]
    requests, _ = requests_for([(BUY, 96, 2), (SELL, 100, 2)], orders, tolerance=5)
    assert requests == [Cancel(2), Place(SELL, 0, 0, True, 100, 2)]
    # A bid at the price of an ask that stays is left out.
    held = np.array([7.0])
    requests, _ = requests_for([(BUY, 98, 2)], [order(7, SELL, 98, 2)], held=held)
    assert requests == []


def test_a_quote_that_would_cross_the_book_is_left_out():
    assert requests_for([(BUY, 101, 2), (SELL, 99, 2)]) == ([], False)
    requests, _ = requests_for([(BUY, 100, 2)])
    assert prices(requests, BUY) == [100]


def test_an_order_that_is_leaving_stands_in_no_ones_way():
    requests, _ = requests_for([(BUY, 98, 2)], [order(7, SELL, 98, 2, cancel_pending=1)])
    assert prices(requests, BUY) == [98]


def test_held_orders_are_left_and_counted():
    held = np.array([1.0])
    requests, waiting = requests_for(WANTED[:1], [order(1, BUY, 50, 9)], held=held)
    assert (requests, waiting) == ([], False)  # 9 + 2 > 10
    requests, _ = requests_for(WANTED[:1], [order(1, BUY, 50, 8)], held=held)
    assert prices(requests, BUY) == [95]


def test_without_leave_to_place_orders_are_only_cancelled():
    assert requests_for(WANTED, [order(1, BUY, 90, 2)], may_place=False) == ([Cancel(1)], False)


def test_requests_beyond_what_a_wake_up_may_make_come_later():
    orders = [order(i, BUY, 1000 + i, 1) for i in range(1, MAX_ACTIONS + 20)]
    actions = new_actions()
    withdraw(flat_view(orders=orders), actions)
    assert len(decode(actions)) == MAX_ACTIONS
    many = [(BUY, 90 - i % 50, 1) for i in range(MAX_ACTIONS + 20)]
    requests, _ = requests_for(many, limit=10**6)
    assert len(requests) == MAX_ACTIONS
    requests, waiting = requests_for(many[:60], orders[:230], limit=10**6)
    assert (len(requests), waiting) == (MAX_ACTIONS, True)


def test_withdraw_asks_once_for_each():
    orders = [order(1, BUY, 95, 2), order(2, SELL, 105, 2, cancel_pending=1)]
    actions = new_actions()
    withdraw(flat_view(orders=orders), actions)
    withdraw(flat_view(orders=orders), actions)
    assert decode(actions) == [Cancel(1)]


def test_both_sides_at_one_price_are_a_tick_apart():
    actions = new_actions()
    quote_both_sides(flat_view(98, 102), actions, np.zeros(TWO_QUOTES), 100.0, 100.0, 1, 0, 10)
    requests = decode(actions)
    assert (prices(requests, BUY), prices(requests, SELL)) == ([100], [101])
    assert [request.qty_lots for request in placed(requests, BUY)] == [1]


def test_the_short_way_for_quotes_that_stand_asks_for_what_the_long_way_does(rng: np.random.Generator) -> None:
    """Two orders near two quotes, with every part of them drawn about the bounds of what is left alone."""
    alone = 0
    for _ in range(4_000):
        orders = [
            order(i, int(side), 100 - int(side) + int(away), 3, int(leaves), cancel_pending=int(leaving), instrument=int(other))
            for i, (side, away, leaves, leaving, other) in enumerate(
                zip(rng.permutation([BUY, SELL]) if rng.random() < 0.9 else rng.choice([BUY, SELL], 2), rng.integers(-2, 3, 2),
                    rng.integers(1, 4, 2), rng.random(2) < 0.05, rng.random(2) < 0.05, strict=True), 1,
            )
        ]  # fmt: skip
        orders = orders[: 1 if rng.random() < 0.05 else 2]
        bid, ask = (int(each) for each in rng.integers(96, 105, 2))
        lots, tolerance, limit, position = (int(rng.integers(*span)) for span in ((0, 4), (0, 3), (1, 6), (-4, 5)))
        if rng.random() < 0.03:
            bid = 0
        long, short = new_actions(), new_actions()
        view = flat_view(99, 101, orders=orders, position_lots=position)
        quotes = np.zeros(TWO_QUOTES)
        bid_ticks, ask_ticks = bid_at(bid, view), ask_at(ask, view)
        want(quotes, 0, BUY, bid_ticks, lots)
        want(quotes, 1, SELL, max(ask_ticks, bid_ticks + 1), lots)
        requote(view, long, quotes, tolerance, limit, NOTHING_HELD, True)
        quote_both_sides(view, short, np.zeros(TWO_QUOTES), float(bid), float(ask), lots, tolerance, limit)
        assert decode(short) == decode(long), (orders, bid, ask, lots, tolerance, limit, position)
        alone += decode(long) == [] and len(orders) == 2
    assert alone > 100


@pytest.mark.parametrize("value", [0, 1, -1, 10**18 + 1, -(10**18) - 7, 2**62 + 3, -(2**62) - 3])
def test_whole_numbers_survive_memory(value):
    memory = np.zeros(4)
    keep_whole(memory, 1, value)
    assert whole(memory, 1) == value
    assert memory[0] == memory[3] == 0.0
