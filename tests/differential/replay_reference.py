"""The replay rules once more, slow and obvious: one event at a time, dictionaries, Python's own integers.

Written from the page of replay rules and not from the kernel: five streams, the smallest time first, ties in the
order local data, responses, venue data, ends of orders good till a date, requests.
"""

from __future__ import annotations

import math

import numpy as np
from reference_book import Book
from reference_owner import CANCELED, EXPIRED, FILLED, NEW, PARTIAL, REJECTED, Owner

from market_maker.domain.instrument import fee_tick_lots
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.strategies.actions import Amend, Cancel

NEVER = 2**62
GTC, IOC, FOK, GTD = 0, 1, 2, 3


class Reference(Owner):
    """One replay; rows are (ts, code, price, lots, joined).

    `queue`: RISK_AVERSE, FRONT, BACK, FIFO, or a function (front, back) -> chance that a cancelled lot stood behind.
    """

    def __init__(
        self, exchange, local, strategy, params, *, balance, entry, response, maker, taker, partial, queue="RISK_AVERSE",
        guard=None,
    ):  # fmt: skip
        self.exchange, self.local = list(exchange), list(local)
        self.strategy, self.params, self.memory = strategy, params, np.zeros(1)
        self.balance, self.entry, self.response = balance, entry, response
        self.rates = {0: maker, 1: taker}
        self.partial, self.model = partial, queue
        self.book, self.seen = Book(), Book()
        self.taken = {1: {}, -1: {}}
        self.ledger = PositionState(*(None,) * 4)
        self.known = [0, 0, 0]
        self.resting, self.open = [], []
        self.requests, self.responses = [], []
        self.fills, self.last_id = [], 0
        self.guard, self.refused = guard, 0
        self.last_trade, self.bought, self.sold, self.trades = 0, 0, 0, 0

    def run(self, begin, interval, last):
        wake = begin + interval
        while True:
            times = [
                self.local[0][0] if self.local else NEVER,
                self.responses[0][0] if self.responses else NEVER,
                self.exchange[0][0] if self.exchange else NEVER,
                min((own.expires for own in self.resting if own.tif == GTD), default=NEVER),
                self.requests[0][0] if self.requests else NEVER,
            ]
            soonest = min(times)
            if wake <= last and wake < soonest:
                self.wake(wake)
                wake += interval
            elif soonest == NEVER:
                return
            else:
                handlers = (self.local_row, self.answered, self.venue_row, self.expired, self.requested)
                handlers[times.index(soonest)]()

    # the venue
    def answer(self, ts, own, lots=0, cash=0, fee=0, refused=False):
        state = (own.status, own.leaves, math.ceil(max(own.front, 0)), own.price, own.qty)
        self.responses.append((ts + self.response, own, refused, state, lots, cash, fee))

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
        ts, code, price, lots, joined = self.exchange.pop(0)
        side = 1 if code > 0 else -1
        if abs(code) == 2:
            self.trade(ts, side, price, lots, joined)
        elif abs(code) == 1:
            improved = self.book.set(side, price, lots)
            if self.taken[side].get(price, 0) > lots:
                self.taken[side][price] = lots
            for own in self.queue(side):
                if own.price == price:
                    own.level(lots, joined)
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
            for own in self.queue(side):
                own.shown = 0

    def displaced(self, ts):
        """The instant in which the book moved is over: new levels at own prices, and fills where it moved to or past."""
        for own in self.resting:
            own.stand(ts, self.book.levels[own.side].get(own.price, 0))
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

    def trade(self, ts, aggressor, price, lots, joined):
        given = 0
        for own in self.queue(-aggressor):
            through = own.side * (own.price - price)
            if through > 0:
                self.fill(ts, own, own.price, own.leaves, 0)
            elif through == 0:
                left = own.reach(lots, joined) - given
                if left > 0:
                    part = min(left, own.leaves)
                    given += part
                    self.fill(ts, own, own.price, part if self.partial else own.leaves, 0)

    def expired(self):
        own = min((own for own in self.resting if own.tif == GTD), key=lambda own: own.expires)
        self.resting.remove(own)
        self.end(own.expires, own, EXPIRED)

    def affords(self, own, price, qty):
        worth = {s: sum(o.price * o.leaves for o in self.resting if o.side == s and o is not own) for s in (1, -1)}
        worth[own.side] += price * qty
        held = self.ledger.cost_tick_lots
        funds = self.balance + self.ledger.realised_tick_lots - self.ledger.fees_tick_lots
        return max(abs(held + worth[1]), abs(held - worth[-1])) <= funds

    def requested(self):
        ts, own, action = self.requests.pop(0)
        if isinstance(action, Cancel):
            if own in self.resting:
                self.resting.remove(own)
                self.end(ts, own, CANCELED)
            return
        best = self.book.best[-own.side]
        if isinstance(action, Amend):
            if own in self.resting:
                self.amend(ts, own, action, best)
            return
        if own.market and not best:
            self.end(ts, own, EXPIRED)
            return
        if own.tif == GTD and own.expires <= ts:
            self.end(ts, own, EXPIRED)
            return
        limit = best if own.market else own.price
        marketable = own.market or (best and own.side * (limit - best) >= 0)
        if not self.affords(own, limit, own.qty) or (marketable and own.post_only):
            self.end(ts, own, REJECTED)
            return
        if marketable:
            self.take(ts, own, best)
        if own.leaves == 0:
            return
        if own.market or own.tif in (IOC, FOK):
            self.end(ts, own, EXPIRED)
            return
        self.rest(ts, own)

    def rest(self, ts, own):
        own.status = own.status or NEW
        own.stand(ts, self.book.levels[own.side].get(own.price, 0))
        self.resting.append(own)
        self.answer(ts, own)

    def take(self, ts, own, best):
        """Execute a marketable order level by level; all or nothing of it when it is FOK."""
        if not self.partial:
            self.fill(ts, own, best, own.leaves, 1)
            return
        parts, left, tick = [], own.leaves, best
        while tick and left and (own.market or own.side * (own.price - tick) >= 0):
            parts.append((tick, min(left, self.free(-own.side, tick))))
            left -= parts[-1][1]
            tick = self.book.outward(-own.side, tick)
        for tick, quantity in [] if own.tif == FOK and left else parts:
            if quantity:
                self.taken[-own.side][tick] = self.taken[-own.side].get(tick, 0) + quantity
                self.fill(ts, own, tick, quantity, 1)

    def amend(self, ts, own, action, best):
        leaves = action.qty_lots - (own.qty - own.leaves)
        if leaves <= 0:
            self.resting.remove(own)
            self.end(ts, own, CANCELED)
            return
        if action.price_ticks == own.price and leaves <= own.leaves:
            own.qty, own.leaves = action.qty_lots, leaves
            self.answer(ts, own)
            return
        marketable = best and own.side * (action.price_ticks - best) >= 0
        if not self.affords(own, action.price_ticks, leaves) or (marketable and own.post_only):
            self.answer(ts, own, refused=True)
            return
        self.resting.remove(own)
        own.price, own.qty, own.leaves = action.price_ticks, action.qty_lots, leaves
        if marketable:
            self.take(ts, own, best)
        if own.leaves:
            self.rest(ts, own)
