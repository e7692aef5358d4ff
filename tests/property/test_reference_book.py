"""The reference book against a list that is searched from end to end: the same trades, levels and queues."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.order import Side
from market_maker.matching.reference import ReferenceBook, RestingOrder

SIDES = st.sampled_from(list(Side))
LIMIT = st.tuples(st.just("limit"), SIDES, st.integers(1, 12), st.integers(1, 30))
MARKET = st.tuples(st.just("market"), SIDES, st.none(), st.integers(1, 60))
CANCEL = st.tuples(st.just("cancel"), SIDES, st.integers(0, 50), st.none())
REDUCE = st.tuples(st.just("reduce"), SIDES, st.integers(0, 50), st.integers(1, 30))
COMMANDS = st.lists(st.one_of(LIMIT, LIMIT, LIMIT, MARKET, CANCEL, REDUCE), max_size=120)


@dataclass
class ListBook:
    """Rows of [side, price, leaves, priority]; every question looks at all of them."""

    rows: list[list[int]] = field(default_factory=list)

    def trade(self, side: int, limit: int | None, quantity: int, hidden: set[int]) -> list[tuple[int, int, int]]:
        """Trade an incoming order and return (priority, price, lots) of each trade."""
        trades = []
        against = [row for row in self.rows if row[0] == -side and (limit is None or (row[1] - limit) * side <= 0)]
        for row in sorted(against, key=lambda row: (row[1] * side, row[3])):
            lots = min(quantity, row[2])
            if lots and row[3] not in hidden:
                row[2] -= lots
                quantity -= lots
                trades.append((row[3], row[1], lots))
        self.rows = [row for row in self.rows if row[2]]
        return trades

    def levels(self, side: int) -> list[tuple[int, int]]:
        prices = sorted({row[1] for row in self.rows if row[0] == side}, reverse=side > 0)
        return [(price, sum(row[2] for row in self.rows if row[:2] == [side, price])) for price in prices]

    def queue(self, side: int) -> list[tuple[int, int, int]]:
        rows = [row for row in self.rows if row[0] == side]
        return [(row[1], row[2], row[3]) for row in sorted(rows, key=lambda row: (-row[1] * side, row[3]))]


def trade(
    book: ReferenceBook, side: Side, limit: int | None, quantity: int, hidden: set[int]
) -> list[tuple[int, int, int]]:
    matches = book.plan(side, limit, quantity, lambda resting: resting.priority not in hidden)
    trades = [(match.resting.priority, match.resting.price_ticks, match.qty_lots) for match in matches]
    for match in matches:
        book.reduce(match.resting, match.qty_lots)
    return trades


def check_same(book: ReferenceBook, slow: ListBook) -> None:
    for side in Side:
        assert book.levels(side, 1000) == slow.levels(side)
        queue = [(order.price_ticks, order.leaves_lots, order.priority) for order in book.orders(side)]
        assert queue == slow.queue(side)
        assert book.best(side) == (queue[0][0] if queue else None)
        for order in book.orders(side):
            ahead = [lots for price, lots, number in queue if price == order.price_ticks and number < order.priority]
            assert book.queue_ahead(order) == sum(ahead)
            assert book.get(order.priority) is order


@given(COMMANDS, st.sets(st.integers(1, 60), max_size=8))
def test_it_is_the_same_as_a_list(commands: list[tuple[str, Side, int | None, int | None]], hidden: set[int]) -> None:
    book, slow, number, added, traded, removed = ReferenceBook(), ListBook(), 0, 0, 0, 0
    for what, side, value, quantity in commands:
        if what in ("limit", "market"):
            assert quantity is not None
            expected_cross = any(
                row[0] == -side and (value is None or (row[1] - value) * side <= 0) for row in slow.rows
            )
            if value is not None:
                assert book.crosses(side, value) == expected_cross
            trades = trade(book, side, value, quantity, hidden)
            assert trades == slow.trade(side, value, quantity, hidden)
            filled = sum(lots for *_, lots in trades)
            traded += filled
            if what == "limit" and filled < quantity:
                assert value is not None
                number += 1
                added += quantity - filled
                book.add(RestingOrder(side, value, quantity - filled, number, None))
                slow.rows.append([side, value, quantity - filled, number])
        else:
            assert value is not None
            order = book.get(value)
            row = next((row for row in slow.rows if row[3] == value), None)
            assert (order is None) == (row is None)
            if order is not None and row is not None:
                lots = order.leaves_lots if quantity is None else min(quantity, order.leaves_lots)
                if quantity is None:
                    book.remove(order)
                else:
                    book.reduce(order, lots)
                row[2] -= lots
                removed += lots
                slow.rows = [each for each in slow.rows if each[2]]
        check_same(book, slow)
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        if not hidden and bid is not None and ask is not None:
            assert bid < ask  # never crossed when everybody is there
    assert added == traded + removed + sum(row[2] for row in slow.rows)
