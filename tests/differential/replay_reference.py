"""The replay rules once more, slow and obvious: one event at a time, dictionaries, Python's own integers.

Written from the page of replay rules and not from the kernel: four streams, the smallest time first, ties in the
order local data, responses, venue data, requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from market_maker.domain.instrument import fee_tick_lots
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.strategies.actions import Cancel, OwnOrder, decode, make_view, new_actions

NEVER = 2**62
NEW, PARTIAL, FILLED, CANCELED, REJECTED, EXPIRED = 1, 2, 3, 4, 5, 6


@dataclass
class Book:
    levels: dict = field(default_factory=lambda: {1: {}, -1: {}})
    best: dict = field(default_factory=lambda: {1: 0, -1: 0})
    last_mid: int = 0
    displacement: int = 0

    def outward(self, side, tick):
        further = [t for t in self.levels[side] if side * (tick - t) > 0 and t > 0]
        return (max(further) if side > 0 else min(further)) if further else 0

    def set(self, side, tick, lots):
        """Return whether the best of the side improved."""
        self.remember()
        if lots == 0:
            self.levels[side].pop(tick, None)
            if self.best[side] == tick and tick:
                self.best[side] = self.outward(side, tick)
            return False
        self.levels[side][tick] = lots
        if tick <= 0:
            return False  # Below one tick nothing is seen.
        if self.best[side] and side * (tick - self.best[side]) <= 0:
            return False
        self.best[side] = tick
        other = self.best[-side]
        if other and side * (tick - other) >= 0:
            self.best[-side] = self.outward(-side, tick)
        # The row is one instant: what the book was in the middle of it (the new best with the old other) counts.
        if other and not self.best[-side] and self.before:
            self.last_mid = self.before
        return True

    def displace(self, displacement):
        """Every level, and the last mid, moves; return by how many ticks."""
        change, self.displacement = displacement - self.displacement, displacement
        self.remember()
        for side in (1, -1):
            self.levels[side] = {tick + change: lots for tick, lots in self.levels[side].items()}
            if self.best[side]:
                moved = self.best[side] + change
                self.best[side] = moved if moved > 0 else self.outward(side, 0)
        self.last_mid += 2 * change if self.last_mid else 0
        return change

    def remember(self):
        self.before = self.best[1] + self.best[-1] if self.best[1] and self.best[-1] else 0
        self.last_mid = self.before or self.last_mid

    def mid(self):
        return self.best[1] + self.best[-1] if self.best[1] and self.best[-1] else self.last_mid


@dataclass
class Own:
    order_id: int
    side: int
    market: bool
    ioc: bool
    post_only: bool
    price: int
    qty: int
    submitted: int
    leaves: int = 0
    status: int = 0
    front: int = 0
    known_leaves: int = 0
    known_status: int = 0
    known_front: int = 0
    cancel_pending: int = 0


class Reference:
    """One replay; `rows` are (exch_ts, local_ts, code, price, lots), already in both orders if given twice."""

    def __init__(self, exchange, local, strategy, params, *, balance, entry, response, maker, taker, partial):
        self.exchange, self.local = list(exchange), list(local)
        self.strategy, self.params, self.memory = strategy, params, np.zeros(1)
        self.balance, self.entry, self.response = balance, entry, response
        self.rates = {0: maker, 1: taker}
        self.partial = partial
        self.book, self.seen = Book(), Book()
        self.taken = {1: {}, -1: {}}
        self.ledger = PositionState(*(None,) * 4)
        self.known = [0, 0, 0]
        self.resting, self.open = [], []
        self.requests, self.responses = [], []
        self.fills, self.last_id = [], 0
        self.last_trade, self.bought, self.sold, self.trades = 0, 0, 0, 0

    def run(self, begin, interval, last):
        wake = begin + interval
        while True:
            times = [
                self.local[0][0] if self.local else NEVER,
                self.responses[0][0] if self.responses else NEVER,
                self.exchange[0][0] if self.exchange else NEVER,
                self.requests[0][0] if self.requests else NEVER,
            ]
            soonest = min(times)
            if wake <= last and wake < soonest:
                self.wake(wake)
                wake += interval
            elif soonest == NEVER:
                return
            else:
                (self.local_row, self.answered, self.venue_row, self.requested)[times.index(soonest)]()

    # what the owner sees
    def local_row(self):
        _, code, price, lots = self.local.pop(0)
        side = 1 if code > 0 else -1
        if abs(code) == 1:
            self.seen.set(side, price, lots)
        elif abs(code) == 2:
            self.last_trade = price
            self.trades += 1
            self.bought, self.sold = self.bought + lots * (side > 0), self.sold + lots * (side < 0)
        elif abs(code) == 4:
            if code > 0:
                self.seen.displace(price)
        else:
            self.seen.levels[side].clear()
            self.seen.best[side] = 0

    def answered(self):
        _, own, status, leaves, front, lots, cash, fee = self.responses.pop(0)
        self.known = [self.known[0] + lots, self.known[1] + cash, self.known[2] + fee]
        own.known_status, own.known_leaves, own.known_front = status, leaves, front
        if status >= FILLED:
            self.open.remove(own)

    def wake(self, now):
        quotes = {
            side: [(self.seen.best[side], self.seen.levels[side][self.seen.best[side]])] if self.seen.best[side] else []
            for side in (1, -1)
        }
        view = make_view(
            now_ts=now, bids=quotes[1], asks=quotes[-1], position_lots=self.known[0], cash_tick_lots=self.known[1],
            fees_tick_lots=self.known[2], balance_tick_lots=self.balance, last_trade_ticks=self.last_trade,
            bought_lots=self.bought, sold_lots=self.sold, trades=self.trades,
            orders=[
                OwnOrder(o.order_id, o.side, o.price, o.qty, o.known_leaves, o.known_status, o.cancel_pending,
                         o.known_front, o.submitted)
                for o in self.open
            ],
        )  # fmt: skip
        self.bought = self.sold = self.trades = 0
        actions = new_actions()
        self.strategy(view, self.params, self.memory, actions)
        for action in decode(actions):
            if isinstance(action, Cancel):
                for own in self.open:
                    if own.order_id == action.order_id and not own.cancel_pending:
                        own.cancel_pending = 1
                        self.requests.append((now + self.entry, own, True))
                continue
            self.last_id += 1
            own = Own(
                self.last_id, action.side, bool(action.order_type), bool(action.time_in_force), action.post_only,
                action.price_ticks, action.qty_lots, now, leaves=action.qty_lots, known_leaves=action.qty_lots,
            )  # fmt: skip
            self.open.append(own)
            self.requests.append((now + self.entry, own, False))

    # the venue
    def answer(self, ts, own, lots=0, cash=0, fee=0):
        self.responses.append((ts + self.response, own, own.status, own.leaves, own.front, lots, cash, fee))

    def end(self, ts, own, status):
        own.status, own.leaves = status, 0
        self.answer(ts, own)

    def fill(self, ts, own, price, lots, liquidity):
        fee = fee_tick_lots(price * lots, self.rates[liquidity])
        self.ledger.apply_fill(Side(own.side), price, lots, fee)
        own.leaves -= lots
        own.status = FILLED if own.leaves == 0 else PARTIAL
        if own.leaves == 0 and own in self.resting:
            self.resting.remove(own)
        state = (self.ledger.qty_lots, self.ledger.cash_tick_lots, self.ledger.fees_tick_lots)
        self.fills.append((ts, own.order_id, own.side, liquidity, price, lots, fee, *state, self.book.mid()))
        self.answer(ts, own, own.side * lots, -own.side * price * lots, fee)

    def queue(self, side):
        """Own resting orders of a side: best price first, then arrival."""
        return sorted((o for o in self.resting if o.side == side), key=lambda o: -o.side * o.price)

    def free(self, side, tick):
        return max(0, self.book.levels[side].get(tick, 0) - self.taken[side].get(tick, 0))

    def venue_row(self):
        ts, code, price, lots = self.exchange.pop(0)
        side = 1 if code > 0 else -1
        if abs(code) == 2:
            self.trade(ts, side, price, lots)
        elif abs(code) == 1:
            improved = self.book.set(side, price, lots)
            if self.taken[side].get(price, 0) > lots:
                self.taken[side][price] = lots
            for own in self.queue(side):
                if own.price == price:
                    own.front = min(own.front, lots)
            if price > 0:
                self.cross(ts, side, price, lots, improved)
        elif code == 4:
            change = self.book.displace(price)
            self.taken = {s: {tick + change: lots for tick, lots in self.taken[s].items()} for s in (1, -1)}
        elif code == -4:
            self.displaced(ts)
        else:
            self.book.remember()
            self.book.levels[side].clear()
            self.book.best[side] = 0
            self.taken[side].clear()

    def displaced(self, ts):
        """The instant in which the book moved is over: new levels at own prices, and fills where it moved to or past."""
        for own in self.resting:
            own.front = self.book.levels[own.side].get(own.price, 0)
        for side in (1, -1):
            for own in self.queue(-side):
                if not self.book.best[side] or side * (self.book.best[side] - own.price) < 0:
                    continue
                left = own.leaves
                tick = self.book.best[side]
                while self.partial and tick and left and side * (tick - own.price) >= 0:
                    quantity = min(left, self.free(side, tick))
                    self.taken[side][tick] = self.taken[side].get(tick, 0) + quantity
                    left -= quantity
                    tick = self.book.outward(side, tick)
                given = own.leaves - left if self.partial else own.leaves
                if given:
                    self.fill(ts, own, own.price, given, 0)

    def cross(self, ts, side, price, lots, improved):
        for own in self.queue(-side):
            if side * (price - own.price) < 0 or lots == 0:
                continue
            if not self.partial:
                if improved:
                    self.fill(ts, own, own.price, own.leaves, 0)
                continue
            quantity = min(own.leaves, self.free(side, price))
            if quantity:
                self.taken[side][price] = self.taken[side].get(price, 0) + quantity
                self.fill(ts, own, own.price, quantity, 0)

    def trade(self, ts, aggressor, price, lots):
        given = 0
        for own in self.queue(-aggressor):
            through = own.side * (own.price - price)
            if through > 0:
                self.fill(ts, own, own.price, own.leaves, 0)
            elif through == 0:
                left = lots - own.front - given
                own.front = max(0, own.front - lots)
                if left > 0:
                    part = min(left, own.leaves)
                    given += part
                    self.fill(ts, own, own.price, part if self.partial else own.leaves, 0)

    def requested(self):
        ts, own, cancels = self.requests.pop(0)
        if cancels:
            if own in self.resting:
                self.resting.remove(own)
                self.end(ts, own, CANCELED)
            return
        best = self.book.best[-own.side]
        if own.market and not best:
            self.end(ts, own, EXPIRED)
            return
        limit = best if own.market else own.price
        worth = {s: sum(o.price * o.leaves for o in self.resting if o.side == s) for s in (1, -1)}
        worth[own.side] += limit * own.qty
        held = self.ledger.cost_tick_lots
        funds = self.balance + self.ledger.realised_tick_lots - self.ledger.fees_tick_lots
        if max(abs(held + worth[1]), abs(held - worth[-1])) > funds:
            self.end(ts, own, REJECTED)
            return
        marketable = own.market or (best and own.side * (limit - best) >= 0)
        if marketable and own.post_only:
            self.end(ts, own, REJECTED)
            return
        if marketable and not self.partial:
            self.fill(ts, own, best, own.leaves, 1)
        tick = best if marketable else 0
        while tick and own.leaves and (own.market or own.side * (own.price - tick) >= 0):
            quantity = min(own.leaves, self.free(-own.side, tick))
            if quantity:
                self.taken[-own.side][tick] = self.taken[-own.side].get(tick, 0) + quantity
                self.fill(ts, own, tick, quantity, 1)
            tick = self.book.outward(-own.side, tick)
        if own.leaves == 0:
            return
        if own.market or own.ioc:
            self.end(ts, own, EXPIRED)
            return
        own.status = own.status or NEW
        own.front = self.book.levels[own.side].get(own.price, 0)
        self.resting.append(own)
        self.answer(ts, own)
