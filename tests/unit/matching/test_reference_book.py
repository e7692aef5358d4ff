"""Price-time priority by example."""

from __future__ import annotations

import pytest

from market_maker.domain.order import Side
from market_maker.matching.reference import ReferenceBook, RestingOrder


def a_book(*orders: tuple[Side, int, int]) -> ReferenceBook:
    book = ReferenceBook()
    for priority, (side, price, lots) in enumerate(orders, 1):
        book.add(RestingOrder(side, price, lots, priority, None))
    return book


def planned(book: ReferenceBook, side: Side, limit: int | None, lots: int) -> list[tuple[int, int]]:
    return [(match.resting.priority, match.qty_lots) for match in book.plan(side, limit, lots, lambda resting: True)]


ASKS = [(Side.SELL, 101, 5), (Side.SELL, 100, 3), (Side.SELL, 100, 4), (Side.SELL, 102, 9)]


@pytest.mark.parametrize(
    ("limit", "lots", "matches"),
    [
        (100, 2, [(2, 2)]),  # the first at the best price
        (100, 5, [(2, 3), (3, 2)]),  # then the second there
        (100, 50, [(2, 3), (3, 4)]),  # never above the limit
        (101, 9, [(2, 3), (3, 4), (1, 2)]),  # the better price first, though it came later
        (None, 50, [(2, 3), (3, 4), (1, 5), (4, 9)]),
        (99, 1, []),
    ],
)
def test_better_prices_first_then_first_come(limit: int | None, lots: int, matches: list[tuple[int, int]]) -> None:
    assert planned(a_book(*ASKS), Side.BUY, limit, lots) == matches


def test_planning_changes_nothing() -> None:
    book = a_book(*ASKS)
    planned(book, Side.BUY, None, 50)
    assert book.levels(Side.SELL, 10) == [(100, 7), (101, 5), (102, 9)]
    assert book.levels(Side.SELL, 1) == [(100, 7)]


def test_who_is_not_there_keeps_the_place() -> None:
    book = a_book(*ASKS)
    matches = book.plan(Side.BUY, 100, 5, lambda resting: resting.priority != 2)
    assert [(match.resting.priority, match.qty_lots) for match in matches] == [(3, 4)]
    assert [order.priority for order in book.orders(Side.SELL)] == [2, 3, 1, 4]


def test_reducing_keeps_the_place_and_ends_at_zero() -> None:
    book = a_book(*ASKS)
    first = book.get(2)
    assert first is not None
    book.reduce(first, 2)
    assert book.queue_ahead(book.get(3)) == 1  # type: ignore[arg-type]
    book.reduce(first, 1)
    assert book.get(2) is None
    assert book.best(Side.SELL) == 100
    with pytest.raises(AssertionError):
        book.reduce(first, 1)


def test_an_empty_book() -> None:
    book = ReferenceBook()
    assert book.best(Side.BUY) is None
    assert not book.crosses(Side.BUY, 10**9)
    assert planned(book, Side.SELL, None, 5) == []
