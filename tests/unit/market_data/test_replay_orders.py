"""A book by order as a replay: each level row is the change of one order, and tells when that order took its place."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feed_builders import (
    ADD,
    BUY,
    CANCEL,
    CLEAR,
    CLEAR_ASKS,
    CLEAR_BIDS,
    FILL,
    LEVEL_ASK,
    LEVEL_BID,
    MODIFY,
    NOBODY,
    PRINT,
    SELL,
    SNAPSHOT,
    T0,
    TRADE,
    book,
    orders,
    orders_received,
    publish,
    queued,
    shown,
)
from market_data_builders import import_files
from market_maker.market_data.feed import kernel
from market_maker.market_data.replay import feed_of, open_feed
from market_maker.market_data.schema import DAY_NS, EventKind
from market_maker.storage.lake import Lake, day_of

ANONYMOUS = 1 << 62

# --- levels -----------------------------------------------------------------------------------------------------------


def test_each_change_of_an_order_is_a_row_of_its_level_with_the_orders_place() -> None:
    feed = feed_of(orders(
        (1, ADD, 1, 100, 5, 7), (2, ADD, 1, 100, 3, 8), (3, ADD, -1, 102, 4, 9),
        (4, MODIFY, 1, 99, 6, 7), (5, MODIFY, 1, 100, 2, 8), (6, CANCEL, -1, 102, 1, 9), (7, CANCEL, -1, 102, 9, 9),
        (8, CANCEL, 1, 50, 9, 555), (9, MODIFY, -1, 103, 2, 10), (10, ADD, -1, 104, 2, 10),
    ))  # fmt: skip
    assert queued(feed) == [
        (1, LEVEL_BID, 100, 5, 1), (2, LEVEL_BID, 100, 8, 2), (3, LEVEL_ASK, 102, 4, 3),
        # To another price: it leaves the place that it took at 1, and takes one at 4.
        (4, LEVEL_BID, 100, 3, 1), (4, LEVEL_BID, 99, 6, 4),
        # What only shrinks keeps its place.
        (5, LEVEL_BID, 100, 2, 2), (6, LEVEL_ASK, 102, 3, 3),
        # A cancel of more than is left takes what is left; one of an unknown order nothing.
        (7, LEVEL_ASK, 102, 0, 3),
        # A modification of an unknown order adds it; a second order of the same id takes the place of the first.
        (9, LEVEL_ASK, 103, 2, 9), (10, LEVEL_ASK, 103, 0, 9), (10, LEVEL_ASK, 104, 2, 10),
    ]  # fmt: skip
    assert shown(feed, "local") == shown(feed)
    assert [len(rows.joined_ts) for rows in feed.local()] == [0], "the receiver's stream has no use for places"


def test_a_change_keeps_the_place_only_at_the_same_price_without_more() -> None:
    feed = feed_of(orders(
        (1, ADD, 1, 100, 5, 7), (1, ADD, 1, 100, 5, 8), (2, MODIFY, 1, 100, 5, 7), (3, MODIFY, 1, 100, 4, 7),
        (4, MODIFY, 1, 100, 6, 7), (5, MODIFY, -1, 105, 6, 7), (6, CANCEL, -1, 105, 6, 7), (7, MODIFY, 1, 100, 0, 8),
    ))  # fmt: skip
    assert queued(feed)[2:] == [
        # At 2 nothing changes. At 4 it goes to the back: 9 - 4 = 5 are left without it, 5 + 6 = 11 are shown with it.
        (3, LEVEL_BID, 100, 9, 1), (4, LEVEL_BID, 100, 5, 1), (4, LEVEL_BID, 100, 11, 4),
        (5, LEVEL_BID, 100, 5, 4), (5, LEVEL_ASK, 105, 6, 5), (6, LEVEL_ASK, 105, 0, 5), (7, LEVEL_BID, 100, 0, 1),
    ]  # fmt: skip


def test_orders_of_a_snapshot_and_what_levels_hold_besides_stand_ahead_of_everybody() -> None:
    ids = (ANONYMOUS + 200, -5)
    feed = feed_of(orders(
        (1, CLEAR, 1, 0, 0, 0), (1, CLEAR, -1, 0, 0, 0), (1, SNAPSHOT, 1, 100, 5, ids[0]), (1, SNAPSHOT, -1, 105, 5, ids[1]),
        (2, PRINT, 1, 103, 50, 0), (3, TRADE, 0, 100, 1, 0), (4, MODIFY, 1, 100, 7, ids[0]), (5, CANCEL, -1, 105, 4, ids[1]),
        (6, MODIFY, -1, 105, 3, ids[1]), (7, ADD, 1, 99, 2, ANONYMOUS + 198), (8, CLEAR, 1, 0, 0, 0),
        (9, CANCEL, 1, 100, 7, ids[0]), (10, ADD, 1, 99, 2, ANONYMOUS + (1 << 42)),
    ))  # fmt: skip
    assert queued(feed) == [
        (1, CLEAR_BIDS, 0, 0, 0), (1, CLEAR_ASKS, 0, 0, 0), (1, LEVEL_BID, 100, 5, 0), (1, LEVEL_ASK, 105, 5, 0),
        # Neither a print nor a trade without an aggressor is shown. What is anonymous grows where it stands.
        (4, LEVEL_BID, 100, 7, 0), (5, LEVEL_ASK, 105, 1, 0),
        # An order of the venue that grows goes to the back, also one of a snapshot.
        (6, LEVEL_ASK, 105, 0, 0), (6, LEVEL_ASK, 105, 3, 6),
        (7, LEVEL_BID, 99, 2, 0), (8, CLEAR_BIDS, 0, 0, 0),
        # A venue may have large ids, too.
        (10, LEVEL_BID, 99, 2, 10),
    ]  # fmt: skip


# --- trades -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trade_first", [True, False])
def test_a_trade_is_told_by_the_orders_that_it_has_executed_each_before_its_level(trade_first: bool) -> None:
    fills = [(3, FILL, 1, 100, 5, 7), (3, FILL, 1, 100, 1, 8)]
    trade = [(3, TRADE, -1, 100, 6, 0)]
    message = trade + fills if trade_first else fills + trade
    feed = feed_of(orders((1, ADD, 1, 100, 5, 7), (2, ADD, 1, 100, 3, 8), *message))
    # 5 of the order of 1 and 1 of that of 2: a queue sees 5 traded and 5 gone, 1 traded and 1 gone, and no cancel.
    wanted = [(3, SELL, 100, 5, 1), (3, LEVEL_BID, 100, 3, 1), (3, SELL, 100, 1, 2), (3, LEVEL_BID, 100, 2, 2)]
    assert queued(feed)[2:] == wanted
    assert shown(feed, "local")[2:] == [row[:4] for row in wanted]


def test_what_changed_before_a_trade_of_the_same_instant_stays_before_it() -> None:
    feed = feed_of(orders(
        (1, ADD, 1, 100, 5, 7), (1, ADD, 1, 99, 5, 8), (2, ADD, 1, 100, 2, 9),
        (2, TRADE, -1, 100, 7, 0), (2, CANCEL, 1, 100, 5, 7), (2, CANCEL, 1, 100, 2, 9),
        (2, TRADE, -1, 99, 1, 0), (2, FILL, 1, 99, 1, 8),
    ))  # fmt: skip
    assert queued(feed)[2:] == [
        (2, LEVEL_BID, 100, 7, 2), (2, SELL, 100, 5, 1), (2, LEVEL_BID, 100, 2, 1), (2, SELL, 100, 2, 2),
        (2, LEVEL_BID, 100, 0, 2), (2, SELL, 99, 1, 1), (2, LEVEL_BID, 99, 4, 1),
    ]  # fmt: skip


def test_fills_without_any_trade_in_the_table_are_trades() -> None:
    frame = orders((1, ADD, 1, 100, 5, 7), (1, ADD, -1, 101, 5, 8), (2, FILL, -1, 0, 2, 8), (3, FILL, 1, 0, 9, 7))
    wanted = [
        (2, BUY, 101, 2, 1), (2, LEVEL_ASK, 101, 3, 1), (3, SELL, 100, 5, 1), (3, LEVEL_BID, 100, 0, 1),
    ]  # fmt: skip
    assert queued(feed_of(frame))[2:] == wanted
    # They are told by the book itself, so another table of trades has nothing to add.
    assert queued(feed_of(frame, trades=book((2, 2, TRADE, 1, 101, 2))))[2:] == wanted


def test_cancels_and_changes_tell_what_a_trade_has_executed_where_no_fill_does() -> None:
    """CME by Databento: the trade comes first, what it has done to the book in messages of the same time of the venue."""
    feed = feed_of(orders_received(
        (1, 11, ADD, -1, 101, 4, 7), (2, 12, ADD, -1, 101, 2, 8), (3, 13, ADD, -1, 101, 6, 9), (3, 13, ADD, 1, 99, 1, 6),
        # 7 are bought: 4 and 2 wholly, 1 of 6; a cancel of the other side has nothing to do with it.
        (5, 20, TRADE, 1, 101, 7, 0), (5, 27, CANCEL, -1, 101, 4, 7), (5, 27, CANCEL, 1, 99, 1, 6),
        (5, 27, CANCEL, -1, 101, 2, 8), (5, 28, MODIFY, -1, 101, 5, 9),
        # Nothing of the same time tells of this one, and the cancel after it is a cancel.
        (6, 30, TRADE, 1, 101, 1, 0), (7, 31, CANCEL, -1, 101, 1, 9),
    ))  # fmt: skip
    assert queued(feed)[4:] == [
        (5, BUY, 101, 4, 1), (5, LEVEL_ASK, 101, 8, 1), (5, LEVEL_BID, 99, 0, 3),
        (5, BUY, 101, 2, 2), (5, LEVEL_ASK, 101, 6, 2), (5, BUY, 101, 1, 3), (5, LEVEL_ASK, 101, 5, 3),
        (6, BUY, 101, 1, NOBODY), (7, LEVEL_ASK, 101, 4, 3),
    ]  # fmt: skip
    # By the receiver's clock all parts of the trade have come before anything of the book.
    assert shown(feed, "local")[4:] == [
        (20, BUY, 101, 4), (20, BUY, 101, 2), (20, BUY, 101, 1),
        (27, LEVEL_ASK, 101, 8), (27, LEVEL_BID, 99, 0), (27, LEVEL_ASK, 101, 6), (28, LEVEL_ASK, 101, 5),
        (30, BUY, 101, 1), (31, LEVEL_ASK, 101, 4),
    ]  # fmt: skip


def test_an_order_that_is_shown_anew_after_its_execution_was_executed_in_its_old_place() -> None:
    # An iceberg: 2 of 2 are executed, and the next 2 are shown behind the others.
    feed = feed_of(orders(
        (1, ADD, -1, 101, 2, 7), (2, ADD, -1, 101, 9, 8), (3, TRADE, 1, 101, 2, 0), (3, MODIFY, -1, 101, 3, 7),
    ))  # fmt: skip
    assert queued(feed)[2:] == [
        (3, BUY, 101, 2, 1), (3, LEVEL_ASK, 101, 9, 1), (3, LEVEL_ASK, 101, 12, 3),
    ]  # fmt: skip


def test_what_a_trade_has_taken_beyond_known_orders_stands_behind_everybody() -> None:
    feed = feed_of(orders(
        (1, ADD, 1, 100, 5, 7), (1, ADD, 1, 99, 5, 8), (1, ADD, -1, 103, 5, 9),
        (2, TRADE, -1, 100, 8, 0), (2, FILL, 1, 100, 5, 7),  # 3 of them hidden
        (3, TRADE, -1, 99, 2, 0), (3, FILL, 1, 99, 2, 555),  # an order that nobody has seen come
        (4, FILL, 1, 99, 1, 8),  # a fill without a trade: only its level shows it
        (5, TRADE, 1, 102, 2, 0), (5, FILL, -1, 103, 2, 9),  # executed better than at its own price
    ))  # fmt: skip
    assert queued(feed)[3:] == [
        (2, SELL, 100, 3, NOBODY), (2, SELL, 100, 5, 1), (2, LEVEL_BID, 100, 0, 1),
        (3, SELL, 99, 2, NOBODY), (4, LEVEL_BID, 99, 4, 1), (5, BUY, 102, 2, 1), (5, LEVEL_ASK, 103, 3, 1),
    ]  # fmt: skip


def test_trades_of_another_table_beside_orders_have_executed_nobody_that_is_known() -> None:
    frame = orders((1, ADD, 1, 100, 5, 7), (1, ADD, -1, 101, 5, 8), (2, CANCEL, -1, 101, 2, 8))
    feed = feed_of(frame, trades=book((2, 2, TRADE, 1, 101, 2), (3, 3, TRADE, 0, 101, 2)))
    assert queued(feed)[2:] == [(2, BUY, 101, 2, NOBODY), (2, LEVEL_ASK, 101, 3, 1)]


def test_a_trade_without_an_aggressor_never_gets_one_by_the_order_it_executed() -> None:
    feed = feed_of(
        orders((1, ADD, 1, 100, 5, 7), (1, ADD, -1, 101, 5, 8), (2, TRADE, 0, 101, 2, 0), (2, FILL, -1, 101, 2, 8))
    )
    assert queued(feed)[2:] == [(2, LEVEL_ASK, 101, 3, 1)]


def test_more_trades_of_one_event_than_are_kept_waiting() -> None:
    n = kernel.OPEN_MAX + 3
    feed = feed_of(orders(
        (1, ADD, 1, 100, 5, 7), (1, ADD, -1, 300, 1, 6),
        *((2, TRADE, 1, 200 + i, 1, 0) for i in range(n)), (2, TRADE, -1, 100, 5, 0), (2, FILL, 1, 100, 5, 7),
    ))  # fmt: skip
    rows = queued(feed)[2:]
    assert rows[:n] == [(2, BUY, 200 + i, 1, NOBODY) for i in range(n)]
    assert rows[n:] == [(2, SELL, 100, 5, 1), (2, LEVEL_BID, 100, 0, 1)]


# --- against a slow book ----------------------------------------------------------------------------------------------


def wild_orders(chance: np.random.Generator, n: int, kinds: list[int]) -> pl.DataFrame:
    """Orders that come, change and go, some twice and some never seen; several rows an instant; both sides cleared once."""
    rows = []
    t = received = 1
    for i in range(n):
        t += int(chance.integers(0, 3))
        received = max(received, t) + int(chance.integers(0, 2))
        kind = int(chance.choice(kinds))
        side = int(chance.choice([1, -1]))
        price = 100 - side * int(chance.integers(1, 6)) if kind != TRADE else 100 + side * int(chance.integers(1, 6))
        order_id = int(chance.integers(-20, 20)) + (ANONYMOUS + 200 if chance.random() < 0.1 else 0)
        if i == n // 2:
            rows += [(t, received, CLEAR, 1, 0, 0, 0), (t, received, CLEAR, -1, 0, 0, 0)]
        rows.append((t, received, kind, side, price, int(chance.integers(1, 9)), order_id))
    return orders_received(*rows)


class SlowBook:
    """The rules in plain words: a list of orders, and for each event its trades, looked through from the first on."""

    def __init__(self, *, fills_trade: bool) -> None:
        self.live: dict[int, list[int]] = {}  # side, price, left, joined
        self.fills_trade = fills_trade
        self.rows: list[tuple[int, int, int, int, int]] = []

    def level(self, ts: int, order: list[int], change: int) -> None:
        order[2] += change
        shown_lots = sum(left for side, price, left, _ in self.live.values() if [side, price] == order[:2])
        self.rows.append((ts, order[0], order[1], shown_lots, order[3]))

    def executed(self, ts: int, order: list[int], gone: int, event: list[list[int]], at: int) -> None:
        """Find the trades of the event that have taken it; `event` rows are kind, side, price, left, receive time."""
        is_fill = event[at][0] == FILL
        if self.fills_trade and is_fill:
            self.rows.append((ts, -2 * order[0], order[1], gone, order[3]))
            return
        for any_price in (False, True) if is_fill else (False,):
            while gone:
                fits = [
                    row for row in event[:at]
                    if row[0] == TRADE and row[1] == -order[0] and row[3] and (any_price or row[2] == order[1])
                ][:: -1 if is_fill else 1]  # fmt: skip
                if not fits and is_fill:
                    ahead = [row for row in event[at:] if row[0] == TRADE and row[3] and row[4] == event[at][4]][:1]
                    fits = [row for row in ahead if row[1] == -order[0] and (any_price or row[2] == order[1])]
                if not fits:
                    break
                part = min(gone, fits[0][3])
                self.rows.append((ts, -2 * order[0], fits[0][2], part, order[3]))
                fits[0][3] -= part
                gone -= part

    def apply(self, ts: int, rows: list[tuple[int, ...]]) -> None:
        event = [
            [kind, side, price, lots if kind == TRADE else 0, received] for received, kind, side, price, lots, _ in rows
        ]
        for at, (_, kind, side, price, lots, order_id) in enumerate(rows):
            order = self.live.get(order_id)
            is_anonymous = order_id >= ANONYMOUS
            if kind == CLEAR:
                self.live = {i: order for i, order in self.live.items() if order[0] != side}
                self.rows.append((ts, 3 * side, 0, 0, 0))
            elif kind in (CANCEL, FILL) and order:
                gone = min(order[2], lots)
                self.executed(ts, order, gone, event, at)
                self.level(ts, order, -gone)
            elif kind in (ADD, MODIFY):
                stays = order is not None and kind == MODIFY and order[:2] == [side, price]
                if order and stays and (lots <= order[2] or is_anonymous):
                    if lots != order[2]:
                        if lots < order[2]:
                            self.executed(ts, order, order[2] - lots, event, at)
                        self.level(ts, order, lots - order[2])
                else:
                    if order:
                        if kind == MODIFY:
                            self.executed(ts, order, order[2], event, at)
                        self.level(ts, order, -order[2])
                    self.live[order_id] = [side, price, 0, 0 if is_anonymous else ts]
                    self.level(ts, self.live[order_id], lots)
            self.live = {i: order for i, order in self.live.items() if order[2]}
        self.rows += [(ts, 2 * row[1], row[2], row[3], NOBODY) for row in event if row[3]]


def slow_rows(frame: pl.DataFrame) -> list[tuple[int, int, int, int, int]]:
    has = {kind: bool((frame["kind"] == kind).any()) for kind in (TRADE, FILL)}
    slow = SlowBook(fills_trade=has[FILL] and not has[TRADE])
    for ts, event in groupby(frame.iter_rows(), key=lambda row: row[0]):
        slow.apply(ts - T0, [(local, *row, order_id) for _, local, *row, _, order_id in event])
    return slow.rows


ALL = [ADD, ADD, ADD, MODIFY, CANCEL, FILL, TRADE, PRINT]


@pytest.mark.parametrize(
    "kinds", [ALL, [k for k in ALL if k != FILL], [k for k in ALL if k != TRADE]], ids=["all", "no fills", "no trades"]
)
@pytest.mark.parametrize("seed_offset", range(3))
def test_rows_are_those_of_a_slow_book_and_of_the_interpreted_kernel(
    seed: int, seed_offset: int, kinds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = wild_orders(np.random.default_rng(seed + seed_offset), 1500, kinds)
    monkeypatch.setattr("market_maker.market_data.feed.CROSSED_MAX", 1.0)
    monkeypatch.setattr("market_maker.market_data.feed.orders.CHUNK_ROWS", 100)
    feed = feed_of(frame)
    rows, wanted = queued(feed), slow_rows(frame)
    assert len(rows) > 1000
    # A trade that has waited for its fills in vain stands where it was told, and no trade overtakes another.
    assert [row for row in rows if abs(row[1]) != 2] == [row for row in wanted if abs(row[1]) != 2]
    assert sorted(row for row in rows if abs(row[1]) == 2) == sorted(row for row in wanted if abs(row[1]) == 2)
    trades = frame.filter((pl.col("kind") == TRADE) & (pl.col("side") != 0))
    if kinds != [k for k in ALL if k != TRADE]:
        assert sum(row[3] for row in rows if abs(row[1]) == 2) == trades["qty_lots"].sum()
    # The receiver's rows are the same ones; trades, and rows of the book, have one order in both streams.
    received = shown(feed, "local")
    for is_trade in (True, False):
        venue, local = ([row[1:4] for row in stream if (abs(row[1]) == 2) == is_trade] for stream in (rows, received))
        assert venue == local
    assert [row[0] for row in received] == sorted(row[0] for row in received)

    for name in [name for name, value in vars(kernel).items() if hasattr(value, "py_func")]:
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    assert queued(feed_of(frame)) == rows


# --- days -------------------------------------------------------------------------------------------------------------


def two_days(lake: Lake) -> None:
    first = orders((DAY_NS - 5, ADD, 1, 97, 5, 1), (DAY_NS - 5, ADD, -1, 103, 5, 2), (DAY_NS - 4, ADD, 1, 97, 2, 3))
    carried = [
        (DAY_NS + 9, CLEAR, 1, 0, 0, 0), (DAY_NS + 9, CLEAR, -1, 0, 0, 0), (DAY_NS + 9, SNAPSHOT, 1, 97, 5, 1),
        (DAY_NS + 9, SNAPSHOT, 1, 97, 2, 3), (DAY_NS + 9, SNAPSHOT, -1, 103, 5, 2),
    ]  # fmt: skip
    second = orders(*carried, (DAY_NS + 9, CANCEL, 1, 97, 5, 1), (DAY_NS + 12, ADD, -1, 104, 5, 4))
    trades = book((DAY_NS + 5, DAY_NS + 6, TRADE, -1, 97, 1))
    again = [
        (2 * DAY_NS + 1, CLEAR, 1, 0, 0, 0), (2 * DAY_NS + 1, CLEAR, -1, 0, 0, 0), (2 * DAY_NS + 1, SNAPSHOT, 1, 97, 2, 3),
        (2 * DAY_NS + 1, SNAPSHOT, -1, 103, 5, 2), (2 * DAY_NS + 1, SNAPSHOT, -1, 104, 5, 4),
    ]  # fmt: skip
    third = orders(
        *again,
        (2 * DAY_NS + 2, CANCEL, 1, 97, 1, 3),
        (2 * DAY_NS + 3, CANCEL, -1, 104, 1, 4),
        (2 * DAY_NS + 4, ADD, 1, 90, 1, 5),
    )
    publish(lake, day_of(T0), orders=first)
    publish(lake, day_of(T0 + DAY_NS), {"orders": len(carried)}, orders=second, trades=trades)
    publish(lake, day_of(T0 + 2 * DAY_NS), {"orders": len(again)}, orders=third)


def test_a_day_goes_on_with_the_orders_that_the_one_before_has_left_in_their_places(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    two_days(lake)
    changes = [(DAY_NS + 9, LEVEL_BID, 97, 2), (DAY_NS + 12, LEVEL_ASK, 104, 5)]
    # By the clock, 11 of 18 ns are between the two days.
    both = open_feed(lake, "v", "S", T0 + DAY_NS - 5, T0 + DAY_NS + 13, allow_gaps=True)
    assert shown(both)[3:] == [(DAY_NS + 5, SELL, 97, 1), *changes]
    assert shown(both, "local")[3:] == [(DAY_NS + 6, SELL, 97, 1), *changes]
    # The order that is canceled on the second day was added on the first; who has arrived in between is behind it.
    assert [row[4] for row in queued(both)[3:]] == [NOBODY, DAY_NS - 5, DAY_NS + 12]
    # Alone, the day begins with the whole book, of which nothing is known but that it was there.
    alone = open_feed(lake, "v", "S", T0 + DAY_NS + 9, T0 + DAY_NS + 13)
    assert [row[1:] for row in shown(alone)] == [
        (CLEAR_BIDS, 0, 0), (CLEAR_ASKS, 0, 0), (LEVEL_BID, 97, 5), (LEVEL_BID, 97, 7), (LEVEL_ASK, 103, 5), (SELL, 97, 1),
        *(row[1:] for row in changes),
    ]  # fmt: skip
    assert [joined for *_, joined in queued(alone)][5:] == [NOBODY, -3, DAY_NS + 12]
    assert all(joined <= 0 for *_, joined in queued(alone)[:5])


def test_orders_keep_their_places_over_more_than_one_midnight(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    two_days(lake)
    feed = open_feed(lake, "v", "S", T0 + DAY_NS - 5, T0 + 2 * DAY_NS + 5, allow_gaps=True)
    assert queued(feed)[-3:] == [
        (2 * DAY_NS + 2, LEVEL_BID, 97, 1, DAY_NS - 4), (2 * DAY_NS + 3, LEVEL_ASK, 104, 4, DAY_NS + 12),
        (2 * DAY_NS + 4, LEVEL_BID, 90, 1, 2 * DAY_NS + 4),
    ]  # fmt: skip


# --- recordings -------------------------------------------------------------------------------------------------------


def checked(lake: Lake, venue: str, symbol: str) -> dict[str, int]:
    """Check what holds for every feed of orders; return counts."""
    (day,) = lake.days(venue, symbol)[-1:]
    frame = lake.read(venue, symbol, day, "orders")
    begin, end = int(frame["local_ts"][0]), int(frame["local_ts"][-1]) + 1
    (rows,) = open_feed(lake, venue, symbol, begin, end, allow_gaps=True).exchange()
    kind = np.abs(rows.code)
    assert len(rows.joined_ts) == len(rows.ts)
    # Nobody has a place before he takes it.
    known = rows.joined_ts < NOBODY
    assert bool((rows.joined_ts[known] <= rows.ts[known]).all())
    assert bool(known[kind != 2].all())
    traded = frame.filter((pl.col("kind") == EventKind.TRADE) & (pl.col("side") != 0))["qty_lots"].sum()
    assert int(rows.qty_lots[kind == 2].sum()) == traded
    of_nobody = int(rows.qty_lots[(kind == 2) & ~known].sum())
    # Executions of an order are followed by its level, smaller by as much: no queue takes a part of them for a cancel.
    levels: dict[tuple[int, int], int] = {}
    executed, before = 0, (0, 0, 0)
    for row in zip(*(column.tolist() for column in rows[1:]), strict=True):
        price, lots, code, joined = row
        if abs(code) == 2 and joined < NOBODY:
            before = (price, code, joined) if executed == 0 else before
            assert before == (price, code, joined)
            executed += lots
        elif executed and (price, code) != before[:2]:
            assert (price, code, joined) == (before[0], -before[1] // 2, before[2])
            assert lots <= levels[code, price] - executed
            executed = 0
        if abs(code) == 1:
            levels[code, price] = lots
    return {"traded": int(traded), "of_nobody": of_nobody, "rows": len(rows.ts)}


@pytest.mark.parametrize(("file", "venue", "symbol", "unknown_max"), [
    ("lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip", "nasdaq", "GOOG", 0.0),
    ("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst", "glbx-mdp3", "ESH4", 0.03),  # what icebergs did not show
])  # fmt: skip
def test_nearly_every_execution_of_a_recording_is_that_of_a_known_order(
    tmp_path: Path, sample_data: Path, file: str, venue: str, symbol: str, unknown_max: float
) -> None:
    lake = Lake(tmp_path)
    import_files([sample_data / file], lake)
    counts = checked(lake, venue, symbol)
    assert counts["of_nobody"] <= unknown_max * counts["traded"], counts
