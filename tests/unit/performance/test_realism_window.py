"""A window made of rows: the compiled pass against a plain book, orders against a plain dictionary, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_forms import interpreted
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data import replay
from market_maker.market_data.schema import EventKind
from market_maker.performance.realism import kernel, window
from market_maker.performance.realism.compiled import RealismKernel
from market_maker.performance.realism.window import LevelRows, Quotes, Trades, Window, lives_of, window_of

SECOND = 10**9


def random_rows(rng, n=3000, *, span=8):
    """Return rows of a small book: levels that come, shrink and go, trades, and now and then a whole new picture."""
    rows, now = [], SECOND
    for side in (1, -1):
        rows += [(now, 100 - side * d, int(rng.integers(1, 20)), side) for d in range(1, 4)]
    while len(rows) < n:
        now += int(rng.integers(0, 3)) * 40_000_000
        draw, side = rng.random(), int(rng.choice([1, -1]))
        if draw < 0.01:
            now += 1
            rows += [(now, 0, 0, s * kernel.CLEAR_ROW) for s in (1, -1)]
            rows += [(now, 100 - s * int(d), int(rng.integers(1, 20)), s) for s in (1, -1) for d in (1, 3, 4)]
            now += 1
        elif draw < 0.2:
            rows.append((now, 100 + side * int(rng.integers(0, 3)), int(rng.integers(1, 6)), side * kernel.TRADE_ROW))
        else:
            lots = int(rng.integers(1, 20)) if rng.random() < 0.7 else 0
            rows.append((now, 100 - side * int(rng.integers(1, span)), lots, side))
    columns = np.array(rows, np.int64).T
    return LevelRows(columns[0], columns[1], columns[2], columns[3].astype(np.int8))


class PlainBook:
    """Levels in dictionaries; what a row does to them, and which event it is."""

    def __init__(self, rows):
        self.levels, self.printed = {1: {}, -1: {}}, {}
        self.ever = {(side, price) for price, side in zip(rows.price_ticks.tolist(), rows.code.tolist(), strict=True)}

    def quotes(self):
        bids, asks = self.levels[1], self.levels[-1]
        bid, ask = max(bids, default=0), min(asks, default=0)
        return bid, bids.get(bid, 0), ask, asks.get(ask, 0)

    def apply(self, price, lots, code):
        """Return kind, lots and level of the event that a row is; None when it is none."""
        side = 1 if code > 0 else -1
        levels, key = self.levels[side], (side, price)
        if abs(code) == kernel.TRADE_ROW:
            self.printed[-side, price] = self.printed.get((-side, price), 0) + lots
            index = level(self.levels[-side], -side, price) if (-side, price) in self.ever else 0
            return kernel.MARKET, lots, index
        if abs(code) == kernel.CLEAR_ROW:
            self.printed = {each: printed for each, printed in self.printed.items() if each[0] != side}
            levels.clear()
            return None
        before, index = levels.pop(price, 0), level(levels, side, price)
        levels.update({price: lots} if lots else {})
        if lots > before:
            self.printed[key] = 0
            return kernel.LIMIT, lots - before, index
        explained = min(before - lots, self.printed.get(key, 0))
        self.printed[key] = self.printed.get(key, 0) - explained
        return (kernel.CANCEL, before - lots - explained, index) if before - lots > explained else None


def plain(rows, start_ts, end_ts):
    """Return quotes, events, depth and trades by a plain book."""
    book = PlainBook(rows)
    quotes, events, depth, trades = [], [], {}, []
    by_instant: dict[int, list[tuple[int, int, int]]] = {}
    for ts, price, lots, code in zip(*(column.tolist() for column in rows), strict=True):
        by_instant.setdefault(ts, []).append((price, lots, code))
    shown, mid = (0, 0, 0, 0), 0
    samples = list(range(start_ts, end_ts, SECOND))
    for place, (ts, several) in enumerate(by_instant.items()):
        while samples and samples[0] < ts:
            depth[samples.pop(0)] = picture(book.levels)
        is_picture = place == 0 or any(abs(code) == kernel.CLEAR_ROW for _, _, code in several)
        for price, lots, code in several:
            event, side = book.apply(price, lots, code), 1 if code > 0 else -1
            if event and start_ts <= ts < end_ts and (event[0] == kernel.MARKET or not is_picture):
                events.append((ts, event[0], side, price, event[1], event[2], mid))
                trades += [(ts, price, lots, side)] if event[0] == kernel.MARKET else []
        now = book.quotes()
        if ts < start_ts:
            quotes = [(start_ts, *now)]
        elif ts < end_ts and now != shown:
            quotes = [quote for quote in quotes if quote[0] != ts] + [(ts, *now)]
        shown = now
        mid = now[0] + now[2] if now[0] and now[2] else 0
    return quotes, events, depth, trades


def level(levels, side, price):
    return 1 + sum(1 for other in levels if (other - price) * side > 0)


def picture(book):
    bids = [book[1][price] for price in sorted(book[1], reverse=True)][:10]
    asks = [book[-1][price] for price in sorted(book[-1])][:10]
    return [*bids, *[0] * (10 - len(bids)), *asks, *[0] * (10 - len(asks))]


def rows_of(columns, names):
    return list(zip(*(getattr(columns, name).tolist() for name in names), strict=True))


@pytest.mark.parametrize("form", ["compiled", "interpreted"])
def test_the_pass_is_the_plain_book(rng, monkeypatch, form):
    rows = random_rows(rng)
    start = int(rows.ts[len(rows.ts) // 4]) + int(rng.integers(0, 2))
    end = int(rows.ts[-len(rows.ts) // 4])
    if form == "interpreted":
        slow = interpreted(kernel)
        monkeypatch.setattr(window, "compiled_realism", lambda: RealismKernel(slow.walk, slow.respond, slow.live))
    found = window_of(rows, name="random", start_ts=start, end_ts=end)
    quotes, events, depth, trades = plain(rows, start, end)
    assert rows_of(found.quotes, ("ts", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")) == quotes
    names = ("ts", "kind", "side", "price_ticks", "lots", "level", "mid_half_ticks")
    assert rows_of(found.events, names) == events
    assert rows_of(found.trades, ("ts", "price_ticks", "lots", "side")) == trades
    shown = np.hstack([found.depth.bid_lots, found.depth.ask_lots]).tolist()
    assert dict(zip(found.depth.ts.tolist(), shown, strict=True)) == depth


def test_events_by_hand():
    rows = [
        (1, 99, 5, 1), (1, 101, 5, -1),  # the first picture: no events
        (2, 99, 8, 1),  # three more are bid
        (3, 101, 2, 2), (3, 101, 3, -1),  # two are bought, and leave: no cancel
        (4, 101, 0, -1), (4, 102, 4, -1),  # the other three are canceled, four offered above
        (5, 100, 1, 1),  # a better bid
    ]  # fmt: skip
    columns = np.array(rows, np.int64).T
    found = window_of(LevelRows(*columns[:3], columns[3].astype(np.int8)), name="hand", start_ts=0, end_ts=10).events
    told = rows_of(found, ("ts", "kind", "side", "price_ticks", "lots", "level", "mid_half_ticks"))
    assert told == [
        (2, kernel.LIMIT, 1, 99, 3, 1, 200),
        (3, kernel.MARKET, 1, 101, 2, 1, 200),
        (4, kernel.CANCEL, -1, 101, 3, 1, 200),
        (4, kernel.LIMIT, -1, 102, 4, 1, 200),
        (5, kernel.LIMIT, 1, 100, 1, 1, 201),
    ]


def test_levels_are_counted_to_twenty():
    rows = [(1, 100 - d, 5, 1) for d in range(30)] + [(1, 101, 5, -1)] + [(2 + d, 100 - d, 6, 1) for d in range(30)]
    rows += [(50, 100 - d, 1, 1) for d in range(30, 98)]
    columns = np.array(rows, np.int64).T
    made = LevelRows(*columns[:3], columns[3].astype(np.int8))
    found = window_of(made, name="deep", start_ts=0, end_ts=40).events
    assert found.level.tolist() == [*range(1, 21), *[0] * 10]
    assert window_of(made, name="deep", start_ts=40, end_ts=60).events.level.tolist() == [0] * 68
    depth = window_of(made, name="deep", start_ts=2 - SECOND, end_ts=60).depth
    assert depth.ts.tolist() == [2 - SECOND, 2]
    assert depth.bid_lots.tolist() == [[0] * 10, [6, *[5] * 9]]


def plain_lives(columns, start_ts, end_ts):
    open_orders, found = {}, []
    for ts, kind, side, price, lots, order_id in zip(*columns.values(), strict=True):
        known = open_orders.get(order_id)
        if kind == EventKind.CLEAR:
            open_orders = {k: v for k, v in open_orders.items() if v[1] != side}
        elif kind == EventKind.ADD or (kind == EventKind.MODIFY and known and (price != known[2] or lots > known[3])):
            if known and kind == EventKind.MODIFY:
                known[0][2:] = [ts, kernel.WAS_CANCELED]
            life = [ts, 0, 0, kernel.OPEN]
            found.append(life)
            open_orders[order_id] = [life, side, price, lots]
        elif known:
            known[3] = lots if kind == EventKind.MODIFY else known[3] - lots
            if kind == EventKind.FILL and known[0][1] == 0:
                known[0][1] = ts
            if known[3] <= 0:
                known[0][2:] = [ts, kernel.WAS_FILLED if kind == EventKind.FILL else kernel.WAS_CANCELED]
                del open_orders[order_id]
    return [
        (a, f if f < end_ts else 0, g if g < end_ts else 0, how if g < end_ts else kernel.OPEN)
        for a, f, g, how in found if start_ts <= a < end_ts
    ]  # fmt: skip


def random_orders(rng, n=2000):
    columns = {name: [] for name in ("ts", "kind", "side", "price_ticks", "qty_lots", "order_id")}
    now, alive, used = 0, {}, 0
    for _ in range(n):
        now += int(rng.integers(0, 5))
        draw = rng.random()
        if draw < 0.45 or not alive:
            used += 7
            order = [int(rng.choice([1, -1])), int(rng.integers(90, 110)), int(rng.integers(1, 10))]
            alive[used] = order
            row = (EventKind.ADD, *order, used)
        elif draw < 0.452:
            side = int(rng.choice([1, -1]))
            alive = {key: order for key, order in alive.items() if order[0] != side}
            row = (EventKind.CLEAR, side, 0, 0, 0)
        else:
            key = list(alive)[int(rng.integers(0, len(alive)))]
            order = alive[key]
            if draw < 0.6:
                order[1:] = [int(rng.choice([order[1], order[1] + 1])), int(rng.integers(1, 12))]
                row = (EventKind.MODIFY, *order, key)
            else:
                lots = int(rng.integers(1, order[2] + 1))
                order[2] -= lots
                row = (EventKind.FILL if draw < 0.75 else EventKind.CANCEL, order[0], order[1], lots, key)
                if order[2] == 0:
                    del alive[key]
        for name, value in zip(columns, (now, int(row[0]), *row[1:]), strict=True):
            columns[name].append(value)
    return columns


@pytest.mark.parametrize("form", ["compiled", "interpreted"])
def test_lives_are_those_of_a_plain_dictionary(rng, monkeypatch, form):
    columns = random_orders(rng)
    start, end = columns["ts"][200], columns["ts"][-300]
    if form == "interpreted":
        slow = interpreted(kernel)
        monkeypatch.setattr(window, "compiled_realism", lambda: RealismKernel(slow.walk, slow.respond, slow.live))
    found = lives_of(columns, start_ts=start, end_ts=end)
    told = rows_of(found, ("ts", "filled_ts", "gone_ts", "how"))
    assert told == plain_lives(columns, start, end)
    assert {how for *_, how in told} == {kernel.OPEN, kernel.WAS_FILLED, kernel.WAS_CANCELED}


def test_codes_are_those_of_the_feed():
    assert (kernel.LEVEL_ROW, kernel.TRADE_ROW, kernel.CLEAR_ROW) == (
        replay.LEVEL_ROW,
        replay.TRADE_ROW,
        replay.CLEAR_ROW,
    )
    told = (kernel.CLEAR_KIND, kernel.ADD, kernel.CANCEL_ROW, kernel.MODIFY, kernel.FILL_ROW)
    assert told == (EventKind.CLEAR, EventKind.ADD, EventKind.CANCEL, EventKind.MODIFY, EventKind.FILL)


def quotes_of(*rows):
    return Quotes(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def no_trades():
    return Trades(*(np.zeros(0, np.int64) for _ in range(4)))


def test_mids_are_the_last_ones_of_intervals():
    quotes = quotes_of(
        (0, 99, 1, 101, 1), (9, 100, 1, 102, 1), (10, 101, 1, 103, 1), (25, 0, 0, 103, 1), (45, 99, 1, 101, 1)
    )
    found = Window("hand", 0, 60, quotes, no_trades(), gaps=((48, 55),)).mids(10)
    # At 0: 100; at 10: 102; at 20 still; at 30 and 40 no bid; at 50 in a gap; at 60 the last.
    expected = [100, 102, 102, np.nan, np.nan, np.nan, 100]
    np.testing.assert_allclose(np.exp(found), expected)


def test_prints_of_an_instant_are_one_market_order():
    trades = Trades(
        *np.array([(1, 100, 2, 1), (1, 101, 3, 1), (1, 99, 1, -1), (2, 99, 4, -1), (3, 99, 9, 0)], np.int64).T
    )
    found = Window("hand", 0, 10, quotes_of((0, 99, 1, 101, 1)), trades).market_orders
    assert rows_of(found, ("ts", "price_ticks", "lots", "side")) == [(1, 101, 5, 1), (1, 99, 1, -1), (2, 99, 4, -1)]


def test_what_is_no_window_is_refused(monkeypatch):
    quotes = quotes_of((0, 99, 1, 101, 1))
    with pytest.raises(DataError, match="empty"):
        Window("x", 5, 5, quotes, no_trades())
    with pytest.raises(DataError, match="go backwards"):
        quotes_of((2, 99, 1, 101, 1), (1, 99, 1, 101, 1))
    with pytest.raises(DataError, match="bid_ticks: 1 rows, but 2 times"):
        Quotes(*(np.arange(size) for size in (2, 1, 2, 2, 2)))
    monkeypatch.setattr(window, "ROWS_MAX", 2)
    with pytest.raises(InvalidRequest, match="fewer days"):
        window_of(LevelRows(*np.ones((3, 3), np.int64), np.ones(3, np.int8)), name="x", start_ts=0, end_ts=9)
