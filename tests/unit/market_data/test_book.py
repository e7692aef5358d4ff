"""Books by level and by order: hand-made cases, and the same as an obvious twin of dicts on random rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from market_maker.market_data.book import Book, kernel
from market_maker.market_data.schema import NO_LEVEL, EventKind

DEPTH, TRADE, CLEAR, SNAPSHOT, PRINT, ADD, CANCEL, MODIFY, FILL = EventKind
NO_BOOK, SOUND, LOCKED, CROSSED = 0, 1, 2, 3
KERNELS = ("apply_levels", "apply_orders", "rehash", "end_message", "set_level", "find_level", "level_of", "clear_side", "know",
           "place_of", "change_level")  # fmt: skip


@pytest.fixture(params=["compiled", "interpreted"])
def form(request, monkeypatch):
    """Run the kernels compiled and as the Python that they are."""
    if request.param == "interpreted":
        for name in KERNELS:
            monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    return request.param


def rows(values, *, by_order=False):
    """Return rows (ts, kind, side, ticks, lots[, id]) of a book; all rows of one time are one message."""
    names = ["local_ts", "kind", "side", "price_ticks", "qty_lots"] + (["order_id"] if by_order else [])
    frame = pl.DataFrame([tuple(map(int, row)) for row in values], schema=names, orient="row")
    ts = frame["local_ts"].to_numpy()
    last = np.append(ts[1:] != ts[:-1], True)
    return frame.with_columns(pl.col("kind", "side").cast(pl.Int8), exch_ts="local_ts", sequence="local_ts", last=last)


def snapshot(ts, bids=((99, 5),), asks=((101, 5),)):
    levels = [(ts, SNAPSHOT, side, *level) for side, levels in ((1, bids), (-1, asks)) for level in levels]
    return [(ts, CLEAR, 1, 0, 0), (ts, CLEAR, -1, 0, 0), *levels]


def test_quotes_and_states_after_each_message(form):
    book = Book(by_order=False, first_ts=1)
    done = book.apply(rows([
        *snapshot(1),
        (2, DEPTH, 1, 98, 7),                        # below the best: no new quote
        (3, DEPTH, 1, 100, 2),
        (4, TRADE, 1, 101, 1),                       # a print changes nothing
        (5, DEPTH, 1, 101, 1),                       # 101 x 101
        (6, DEPTH, 1, 102, 1), (6, DEPTH, -1, 103, 1),
        (7, DEPTH, 1, 102, 0), (7, DEPTH, 1, 101, 0),
        (8, DEPTH, -1, 101, 0), (8, DEPTH, -1, 103, 0),
    ]))  # fmt: skip
    assert done.states.tolist() == [0, 0, 0, SOUND, SOUND, SOUND, 0, LOCKED, 0, CROSSED, 0, SOUND, 0, NO_BOOK]
    assert done.quote_rows.tolist() == [3, 5, 7, 9, 11, 13]
    assert done.quotes.tolist() == [
        [99, 5, 101, 5], [100, 2, 101, 5], [101, 1, 101, 5], [102, 1, 101, 5], [100, 2, 101, 5], [100, 2, 0, 0],
    ]  # fmt: skip
    assert book.levels(1) == [(100, 2), (99, 5), (98, 7)]
    assert book.levels(1, depth=1) == [(100, 2)]
    assert book.levels(-1) == []
    assert book.known
    assert book.gaps(100) == []
    assert done.quote_before == (0, 0, 0, 0)
    again = book.apply(rows([(9, DEPTH, -1, 104, 1)]))
    assert again.quote_before == (100, 2, 0, 0)
    assert book.last_sequence == 9


def test_changes_of_an_unknown_book_are_dropped_and_the_time_is_a_gap(form):
    book = Book(by_order=False, first_ts=10)
    done = book.apply(rows([(10, DEPTH, 1, 99, 1), (11, DEPTH, -1, 101, 1), *snapshot(20), (21, DEPTH, 1, 98, 1)]))
    assert done.dropped.tolist() == [True, True, *[False] * 5]
    assert book.gaps(30) == [(10, 20)]
    # A clear without a snapshot: nothing is known since the last update, and a print says nothing of it.
    done = book.apply(rows([
        (22, TRADE, 1, 101, 1), (25, CLEAR, 1, 0, 0), (25, CLEAR, -1, 0, 0), (26, DEPTH, 1, 99, 1), (27, TRADE, 1, 101, 1),
    ]))  # fmt: skip
    assert done.dropped.tolist() == [False, False, False, True, False]
    assert not book.known
    assert book.gaps(30) == [(10, 20), (22, 30)]
    book.apply(rows(snapshot(40)))
    assert book.gaps(50) == [(10, 20), (22, 40)]


def test_a_snapshot_of_a_known_book_and_of_an_empty_one_make_no_gap(form):
    book = Book(by_order=False, first_ts=1)
    book.apply(rows([*snapshot(1), (2, DEPTH, 1, 98, 1), *snapshot(5, bids=(), asks=((103, 1),))]))
    assert (book.levels(1), book.levels(-1)) == ([], [(103, 1)])
    book.apply(rows([*snapshot(6, (), ()), (6, SNAPSHOT, *NO_LEVEL)]))
    assert book.known
    done = book.apply(rows([(7, DEPTH, 1, 99, 1)]))
    assert not done.dropped.any()
    assert book.gaps(9) == []


def test_a_book_can_be_lost_from_outside(form):
    book = Book(by_order=False, first_ts=1)
    book.apply(rows(snapshot(1)))
    book.lose(5)
    book.lose(7)
    assert book.gaps(6) == [(5, 6)]
    assert book.apply(rows([(8, DEPTH, 1, 99, 1)])).dropped.all()
    book.apply(rows(snapshot(9)))
    assert book.gaps(20) == [(5, 9)]


def test_orders_of_a_level_keep_their_turn_unless_they_grow_or_move(form):
    book = Book(by_order=True, first_ts=1)
    book.apply(rows([
        (1, ADD, 1, 99, 5, 11), (2, ADD, 1, 99, 6, 12), (3, ADD, 1, 99, 7, 13), (4, ADD, -1, 101, 1, 21),
        (5, MODIFY, 1, 99, 4, 11),                   # shrinks: stays first
        (6, MODIFY, 1, 99, 9, 12),                   # grows: goes to the end
        (7, MODIFY, -1, 102, 1, 21),                 # moves
        (8, FILL, 1, 99, 1, 11), (9, CANCEL, 1, 99, 100, 13),
    ], by_order=True))  # fmt: skip
    assert book.levels(1) == [(99, 3 + 9)]
    assert book.orders().rows() == [(1, 99, 3, 11), (1, 99, 9, 12), (-1, 102, 1, 21)]
    copy = Book(by_order=True)
    taken = book.snapshot(50, 60)
    assert taken["last"].to_list() == [False] * 4 + [True]
    copy.apply(taken)
    assert copy.orders().equals(book.orders())


def test_unknown_and_repeated_orders_are_counted(form):
    book = Book(by_order=True, first_ts=1)
    book.apply(rows([
        (1, CANCEL, 1, 99, 5, 1), (2, FILL, 1, 99, 5, 2),
        (3, MODIFY, 1, 99, 5, 3),                    # of an unknown order: it is there now
        (4, ADD, 1, 98, 2, 3),                       # told twice: the second one counts
        (5, CANCEL, 1, 98, 2, 3), (6, CANCEL, 1, 98, 2, 3),
    ], by_order=True))  # fmt: skip
    assert (book.unknown_orders, book.duplicate_adds, book.levels(1)) == (3, 1, [])
    assert book.gaps(9) == [(1, 3)], "nothing was known before the first order"


@pytest.mark.parametrize("by_order", [False, True])
def test_a_book_that_is_empty_is_carried_as_one(by_order):
    book = Book(by_order=by_order)
    empty = [(1, CLEAR, 1, 0, 0), (1, SNAPSHOT, *NO_LEVEL)]
    book.apply(rows([(*row, 0) if by_order else row for row in empty], by_order=by_order))
    copy = Book(by_order=by_order)
    copy.apply(book.snapshot(2, 2))
    assert copy.known
    assert (copy.levels(1), copy.levels(-1)) == ([], [])


def test_tables_grow_where_the_kernel_stops():
    many = 3000
    book = Book(by_order=True, first_ts=1)
    added = [
        (i, ADD, 1 if i % 2 else -1, 10_000 - i if i % 2 else 10_000 + i, 1, 10**12 + 7 * i) for i in range(1, many)
    ]
    book.apply(rows(added, by_order=True))
    assert len(book.levels(1)) + len(book.levels(-1)) == many - 1
    assert book.levels(1, 2) == [(9_999, 1), (9_997, 1)]
    # Places left by removed orders are used again: the table does not grow for ever.
    for start in range(10, 20):
        ids = range(start * many, (start + 1) * many)
        values = [(start, kind, 1, 5, 1, i) for i in ids for kind in (ADD, CANCEL)]
        book.apply(rows(values, by_order=True))
    assert len(book.levels(1)) + len(book.levels(-1)) == many - 1
    assert len(book._ids) <= 8 * many
    levels = Book(by_order=False, first_ts=1)
    levels.apply(rows([*snapshot(1), *((2, DEPTH, 1, 99 - i, 1) for i in range(1, 600))]))
    assert len(levels.levels(1)) == 600
    gaps = [row for i in range(200) for row in (*snapshot(10 * i + 1), (10 * i + 2, CLEAR, 1, 0, 0))]
    levels = Book(by_order=False, first_ts=1)
    levels.apply(rows(gaps))
    # Cleared in the message after the snapshot, known again 8 later.
    assert levels.gaps(1992) == [(10 * i + 2, 10 * i + 11) for i in range(199)]


class Twin:
    """The obvious book: a dict a side, and by order a dict of orders."""

    def __init__(self):
        self.levels = {1: {}, -1: {}}
        self.orders = {}
        self.known = False
        self.turn = 0

    def take(self, kind, side, price, lots, order_id=None):
        if kind == CLEAR:
            self.levels[side].clear()
            self.orders = {i: order for i, order in self.orders.items() if order[0] != side}
            self.known = False
        elif kind in {DEPTH, SNAPSHOT} and order_id is None:
            if kind == DEPTH and not self.known:
                return
            self.known = True
            self.levels[side][price] = lots
            if not lots:
                del self.levels[side][price]
        elif kind in {CANCEL, FILL}:
            if order_id in self.orders:
                order = self.orders[order_id]
                order[2] -= min(lots, order[2])
                if not order[2]:
                    del self.orders[order_id]
        elif kind in {ADD, MODIFY, SNAPSHOT}:
            self.known = True
            before = self.orders.get(order_id)
            self.turn += 1
            keeps = before and kind == MODIFY and before[:2] == [side, price] and lots <= before[2]
            self.orders[order_id] = [side, price, lots, before[3] if keeps else self.turn]
            if not lots:
                del self.orders[order_id]
        if order_id is not None:
            self.levels = {1: {}, -1: {}}
            for own, at, left, _ in self.orders.values():
                self.levels[own][at] = self.levels[own].get(at, 0) + left

    def best(self):
        bid, ask = max(self.levels[1], default=0), min(self.levels[-1], default=0)
        return [bid, self.levels[1].get(bid, 0), ask, self.levels[-1].get(ask, 0)]


def random_rows(rng, n, *, by_order):
    kinds = (
        [ADD, ADD, CANCEL, MODIFY, FILL, TRADE, SNAPSHOT] if by_order else [DEPTH, DEPTH, DEPTH, TRADE, PRINT, SNAPSHOT]
    )
    for i in range(n):
        kind = CLEAR if rng.random() < 0.01 else kinds[rng.integers(len(kinds))]
        values = (1 + i // 3, kind, int(rng.choice([-1, 1])), int(rng.integers(90, 110)), int(rng.integers(0, 4)))
        if by_order and kind != CLEAR:
            values = (*values[:4], max(1, values[4]), int(rng.integers(1, 40)))
        elif by_order:
            values = (*values, 0)
        yield values


@pytest.mark.parametrize("by_order", [False, True])
def test_random_rows_give_the_book_of_the_twin(by_order, form, rng):
    n = 3000 if form == "compiled" else 600
    values = list(random_rows(rng, n, by_order=by_order))
    frame = rows(values, by_order=by_order)
    book, twin = Book(by_order=by_order, first_ts=1), Twin()
    best, quotes, quote_rows, at = [0, 0, 0, 0], [], [], 0
    for size in [1, 7, 50, n]:
        part = frame.slice(at, size)
        done = book.apply(part)
        for i in range(part.height):
            twin.take(*values[at + i][1:])
            if frame["last"][at + i] and twin.best() != best:
                best = twin.best()
                quotes.append(best)
                quote_rows.append(i)
        assert done.quotes.tolist() == quotes
        assert done.quote_rows.tolist() == quote_rows
        quotes, quote_rows, at = [], [], at + part.height
        for side in (1, -1):
            assert book.levels(side) == sorted(twin.levels[side].items(), reverse=side > 0)
        assert book.known == twin.known
    if by_order:
        expected = sorted(((s, p, q, turn, i) for i, (s, p, q, turn) in twin.orders.items()),
                          key=lambda o: (-o[0], -o[0] * o[1], o[3]))  # fmt: skip
        assert book.orders().rows() == [(s, p, q, i) for s, p, q, _, i in expected]
