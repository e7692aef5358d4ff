"""Queues of a feed of orders against queues kept by name: every stranger in line is known, and so is our place.

The other side keeps, for one own order, the list of the strangers ahead of it with what each has left: no times, no levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import numpy as np
import polars as pl
import pytest

from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.session import ReplaySession
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import OrderType, Side, TimeInForce
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import ORDERS_SCHEMA, EventKind

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal(1), Decimal(1))
ADD, CANCEL, MODIFY, FILL, TRADE = (
    EventKind.ADD, EventKind.CANCEL, EventKind.MODIFY, EventKind.FILL, EventKind.TRADE,
)  # fmt: skip


def frame_of(rows: list[tuple[int, ...]]) -> pl.DataFrame:
    """Rows are (time after T0, kind, side, price, lots, order id)."""
    full = [(T0 + t, T0 + t, int(kind), side, price, lots, 0, order) for t, kind, side, price, lots, order in rows]
    return pl.DataFrame(full, schema=ORDERS_SCHEMA, orient="row")


BOOK = [
    (0, ADD, 1, 100, 60, 1), (0, ADD, 1, 100, 40, 2), (0, ADD, -1, 101, 100, 3), (0, ADD, 1, 90, 1, 4),
    (0, ADD, -1, 111, 1, 5),
]  # fmt: skip


def bid(rows: list[tuple[int, ...]], lots: int = 10) -> tuple[ReplaySession, int]:
    """Return a session with our bid of 100 sent at time 5, behind the 60 and 40 of strangers 1 and 2."""
    session = ReplaySession(feed_of(frame_of([*BOOK, *rows, (900, ADD, 1, 80, 1, 99)])), PAIR, start_ts=T0 + 5)
    return session, session.submit(Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 100, lots)


def filled(session: ReplaySession) -> list[tuple[int, int]]:
    return [(fill.exch_ts - T0, fill.qty_lots) for fill in session.fills()]


@pytest.mark.parametrize(("rows", "fills"), [
    # 2 (40) is gone and 1 (60) executed: 10 of the next trade of 30 with 6, who came after us, are ours.
    ([(10, ADD, 1, 100, 30, 6), (20, CANCEL, 1, 100, 40, 2), (30, TRADE, -1, 100, 60, 1), (30, FILL, 1, 100, 60, 1),
      (40, TRADE, -1, 100, 30, 6), (40, FILL, 1, 100, 30, 6)], [(40, 10)]),
    # The one behind us cancels: that moves nobody ahead, and the 60 of 1 do not reach us.
    ([(10, ADD, 1, 100, 30, 6), (20, CANCEL, 1, 100, 30, 6), (30, TRADE, -1, 100, 60, 1), (30, FILL, 1, 100, 60, 1)], []),
    # 1 grows: it goes behind us, so its execution would have been ours.
    ([(10, MODIFY, 1, 100, 70, 1), (20, TRADE, -1, 100, 7, 1), (20, FILL, 1, 100, 7, 1)], [(20, 7)]),
    # 1 shrinks: it keeps its place, ahead of us.
    ([(10, MODIFY, 1, 100, 50, 1), (20, TRADE, -1, 100, 50, 1), (20, FILL, 1, 100, 50, 1)], []),
    # A trade of an order that the feed never told: 105 reach 5 of us beyond the 100 ahead, which stand there still.
    ([(20, TRADE, -1, 100, 105, 77), (30, TRADE, -1, 100, 99, 78)], [(20, 5)]),
])  # fmt: skip
def test_a_stranger_moves_us_only_when_he_stood_ahead(rows, fills):
    session, _ = bid(rows)
    session.run_until(T0 + 800)
    assert filled(session) == fills


def test_the_queue_ahead_is_told_exactly():
    session, order = bid([(10, ADD, 1, 100, 30, 6), (20, CANCEL, 1, 100, 15, 1), (30, CANCEL, 1, 100, 30, 6)])
    session.run_until(T0 + 6)
    assert session.order(order).queue_ahead_lots == 100
    session.run_until(T0 + 40)
    session.amend(order, 100, 9)
    session.run_until(T0 + 50)
    assert session.order(order).queue_ahead_lots == 85, "15 of those ahead are gone, the 30 stood behind"


@dataclass
class ByName:
    """The strangers ahead of one own order, by name."""

    price: int
    side: int
    leaves: int
    ahead: dict[int, int]
    fills: list[tuple[int, int]] = field(default_factory=list)

    def fill(self, t: int, lots: int) -> None:
        if lots > 0:
            self.fills.append((t, lots))
            self.leaves -= lots


class Market:
    """A small market of orders, and one own order in it whose queue is kept by name."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.orders: dict[int, list[int]] = {}  # id -> [side, price, lots], in the order of their places
        self.rows: list[tuple[int, ...]] = []
        self.number = 0
        self.own: ByName | None = None

    def best(self, side: int) -> int:
        prices = [price for s, price, _ in self.orders.values() if s == side]
        return (max(prices) if side > 0 else min(prices)) if prices else 0

    def add(self, t: int) -> None:
        side = int(self.chance.choice([-1, 1]))
        touch = self.best(-side)
        price = 100 + side * int(self.chance.integers(-4, 1)) + (1 if side < 0 else 0)
        if touch and side * (price - touch) >= 0:
            price = touch - side
        self.number += 1
        self.orders[self.number] = [side, price, int(self.chance.integers(1, 30))]
        self.rows.append((t, ADD, *self.orders[self.number], self.number))

    def change(self, t: int) -> None:
        key = int(self.chance.choice(list(self.orders)))
        side, price, lots = self.orders[key]
        if self.chance.random() < 0.5:
            gone = lots if self.chance.random() < 0.6 else int(self.chance.integers(1, lots + 1))
            self.rows.append((t, CANCEL, side, price, gone, key))
            self.reduce(key, gone)
        else:
            new = int(self.chance.integers(1, 40))
            self.rows.append((t, MODIFY, side, price, new, key))
            if new > lots:
                self.orders[key] = [*self.orders.pop(key)[:2], new]
                if self.own is not None:
                    self.own.ahead.pop(key, None)
            elif new < lots:
                self.reduce(key, lots - new)

    def reduce(self, key: int, lots: int) -> None:
        self.orders[key][2] -= lots
        if self.orders[key][2] == 0:
            del self.orders[key]
        if self.own is not None and key in self.own.ahead:
            self.own.ahead[key] -= lots
            if self.own.ahead[key] == 0:
                del self.own.ahead[key]

    def trade(self, t: int) -> None:
        """An aggressor hits the best orders of a side, first come first served."""
        side = int(self.chance.choice([-1, 1]))
        best = self.best(side)
        left = int(self.chance.integers(1, 50))
        for key in [key for key, (s, price, _) in self.orders.items() if (s, price) == (side, best)]:
            lots = min(left, self.orders[key][2])
            if lots == 0:
                break
            left -= lots
            self.rows += [(t, TRADE, -side, best, lots, key), (t, FILL, side, best, lots, key)]
            own = self.own
            if own is not None and own.side == side and own.leaves:
                if side * (own.price - best) > 0:
                    own.fill(t, own.leaves)
                elif own.price == best and key not in own.ahead:
                    own.fill(t, min(lots, own.leaves))
            self.reduce(key, lots)

    def step(self, t: int) -> None:
        sides = {side for side, _, _ in self.orders.values()}
        draw = self.chance.random()
        if len(self.orders) < 12 or len(sides) < 2 or draw < 0.45:
            self.add(t)
        elif draw < 0.75:
            self.change(t)
        else:
            self.trade(t)
        own = self.own
        if (
            own is not None
            and own.leaves
            and own.side * (own.price - (self.best(-own.side) or own.price - own.side)) >= 0
        ):
            # The other side has come to our price: the partial model fills by what it displays there and we have not taken.
            self.own = None
            self.crossed = t


@pytest.mark.parametrize("seed", range(40))
def test_fills_are_those_of_queues_kept_by_name(seed):
    market = Market(seed)
    for t in range(1, 200):
        market.step(10 * t)
    side = 1 if seed % 2 else -1
    price = market.best(side) - side * (seed % 3 // 2)
    at = 10 * 199 + 5
    ahead = {key: lots for key, (s, p, lots) in market.orders.items() if (s, p) == (side, price)}
    market.own = own = ByName(price, side, 25, ahead)
    market.crossed = 10**9
    for t in range(200, 900):
        market.step(10 * t)
    session = ReplaySession(feed_of(frame_of([*market.rows, (10**6, ADD, 1, 1, 1, 10**6)])), PAIR, start_ts=T0 + at)
    order = session.submit(Side(side), OrderType.LIMIT, TimeInForce.GTC, price, 25)
    session.run_until(T0 + min(market.crossed, 9000) - 1)
    assert session._drive.sets[0].queue_model is QueueModel.FIFO
    shown = session.order(order)
    assert filled(session) == [fill for fill in own.fills if fill[0] < market.crossed]
    assert shown.leaves_lots == 25 - sum(lots for _, lots in filled(session))


def test_the_random_markets_mean_something():
    counts = []
    for seed in range(40):
        market = Market(seed)
        for t in range(1, 200):
            market.step(10 * t)
        side = 1 if seed % 2 else -1
        price = market.best(side) - side * (seed % 3 // 2)
        ahead = {key: lots for key, (s, p, lots) in market.orders.items() if (s, p) == (side, price)}
        market.own = own = ByName(price, side, 25, ahead)
        for t in range(200, 900):
            market.step(10 * t)
        counts.append(len(own.fills))
    assert sum(count > 1 for count in counts) > 10
