"""Where our orders stand in their queues."""

from __future__ import annotations

from market_maker.domain.order import Side
from market_maker.venue.queues import WALK_MAX, queue_places
from venue_builders import Desk


def places(desk: Desk) -> list[tuple[object, int, int, int, int]]:
    found = queue_places(desk.venue, desk.market)
    return [
        (place.order_id, place.price_ticks, place.leaves_lots, place.ahead_lots, place.level_lots) for place in found
    ]


def test_what_stood_before_is_ahead_and_what_came_later_is_not() -> None:
    desk = Desk()
    desk.quote(Side.BUY, 9_990, 7)
    ours = desk.put(Side.BUY, 9_990, 5)
    desk.quote(Side.BUY, 9_990, 20)
    assert places(desk) == [(ours.order_id, 9_990, 5, 7, 32)]
    desk.take(Side.SELL, 4)  # 3 of the 7 are left
    assert places(desk) == [(ours.order_id, 9_990, 5, 3, 28)]
    desk.take(Side.SELL, 5)  # those 3, and 2 of ours
    assert places(desk) == [(ours.order_id, 9_990, 3, 0, 23)]


def test_orders_come_nearest_to_the_market_first_on_both_sides() -> None:
    desk = Desk()
    far = desk.put(Side.SELL, 10_030, 1)
    near = desk.put(Side.SELL, 10_010, 2)
    bid = desk.put(Side.BUY, 9_980, 3)
    found = queue_places(desk.venue, desk.market)
    assert [place.order_id for place in found if place.side is Side.SELL] == [near.order_id, far.order_id]
    assert [(place.order_id, place.side, place.price_ticks) for place in found if place.side is Side.BUY] == [
        (bid.order_id, Side.BUY, 9_980)
    ]


def test_without_orders_there_are_no_places_and_an_endless_queue_is_not_walked() -> None:
    desk = Desk()
    assert places(desk) == []
    for _ in range(WALK_MAX + 1):
        desk.quote(Side.BUY, 9_990, 1)
    ours = desk.put(Side.BUY, 9_990, 1)
    assert places(desk) == [(ours.order_id, 9_990, 1, WALK_MAX + 2, WALK_MAX + 2)]
