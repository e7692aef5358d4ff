"""The rules of docs/concepts/matching.md in plain Python: slow, obvious, the oracle of the matching kernel.

Queues are lists, prices are searched by `min`, the price of an auction is found by trying all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from market_maker.domain.order import TimeInForce
from market_maker.matching.book import TradingRules
from market_maker.matching.codes import Cause, Command, EngineOrderType, EventKind, LiquidityCode, Phase, SelfTrade
from market_maker.matching.kernel import mixed
from market_maker.matching.state import MISS_SCALE, PRICE_TICKS_MAX

LIMIT, MARKET, STOP, STOP_LIMIT = EngineOrderType
GTC, IOC, FOK, GTD = TimeInForce
CALLS = (Phase.PRE_OPEN, Phase.CLOSING_AUCTION, Phase.VOLATILITY_AUCTION)
CLOSED = (Phase.HALT, Phase.CLOSED)
FOREVER = 1 << 62


@dataclass(eq=False)
class ReferenceOrder:
    """One order; `price` of a market order is 0, `shown` is what of `leaves` is displayed."""

    order_id: int
    owner: int
    side: int
    kind: int
    force: int
    price: int
    stop: int
    qty: int
    leaves: int
    shown: int
    display: int
    expire_ts: int
    post_only: int
    self_trade: int
    miss_e9: int
    impact_e9: int
    number: int

    def show(self) -> None:
        self.shown = min(self.leaves, self.display) if self.display else self.leaves


class MatchingReference:
    """The engine; `events` are tuples of sequence, ts, kind, cause, side, liquidity, owner, id, price, qty, leaves, match."""

    def __init__(self, rules: TradingRules, phase: Phase, owners: int) -> None:
        self.rules, self.phase, self.owners = rules, phase, owners
        self.books: dict[int, list[ReferenceOrder]] = {1: [], -1: []}
        self.stops: list[ReferenceOrder] = []
        self.events: list[tuple[int, ...]] = []
        self.suspended: set[int] = set()
        self.clock = self.reference = self.last = self.matches = self.numbered = self.placed = self.draws = 0
        self.volume = self.impact_e12 = self.base = 0
        self.auction_end = FOREVER

    def tell(self, kind: int, cause: int, *rest: int) -> None:
        self.events.append((len(self.events) + 1, self.clock, kind, cause, *(int(value) for value in rest)))

    def about(self, order: ReferenceOrder, kind: int, cause: int, qty: int) -> None:
        self.tell(kind, cause, order.side, 0, order.owner, order.order_id, order.price, qty, order.leaves, 0)

    def opposing(self, order: ReferenceOrder) -> list[ReferenceOrder]:
        """Return what an order may trade with, best first; Python's sort keeps the queue's order."""
        book, collar = self.books[-order.side], self.rules.collar_ticks
        limit = order.price
        if order.kind == MARKET:
            limit = self.reference + order.side * collar if collar and self.reference else order.side * FOREVER
        return sorted((o for o in book if order.side * (limit - o.price) >= 0), key=lambda o: order.side * o.price)

    def open(self) -> Iterator[ReferenceOrder]:
        yield from (*self.books[1], *self.books[-1], *self.stops)

    def drop(self, order: ReferenceOrder) -> None:
        (self.stops if order in self.stops else self.books[order.side]).remove(order)

    def end(self, order: ReferenceOrder, kind: int, cause: int) -> None:
        lots, order.leaves = order.leaves, 0
        self.about(order, kind, cause, lots)

    def misses(self, order: ReferenceOrder) -> bool:
        if not order.miss_e9:
            return False
        self.draws += 1
        return mixed(self.rules.seed, self.draws) % MISS_SCALE < order.miss_e9

    # What is refused.

    def price_cause(self, price: int) -> Cause:
        if not 0 < price <= PRICE_TICKS_MAX:
            return Cause.INVALID_PRICE
        return Cause.PRICE_STEP if price % max(1, self.rules.price_step_ticks) else Cause.NONE

    def qty_cause(self, qty: int) -> Cause:
        if not 0 < qty <= self.rules.qty_lots_max:
            return Cause.INVALID_QTY
        return Cause.QTY_STEP if qty % max(1, self.rules.lot_step) else Cause.NONE

    def value_cause(self, price: int, qty: int) -> Cause:
        rules, value = self.rules, price if price > 0 else self.reference
        if value > 0 and value * qty < rules.notional_min:
            return Cause.NOTIONAL_MIN
        outside = (
            rules.collar_ticks and self.reference and price > 0 and abs(price - self.reference) > rules.collar_ticks
        )
        return Cause.PRICE_COLLAR if outside else Cause.NONE

    def causes(self, c: Any) -> Iterator[Cause]:
        """Yield what may be wrong with a new order, in the order of the checks."""
        kind, force, display = int(c["order_type"]), int(c["time_in_force"]), int(c["display_lots"])
        price, qty, ts, side = int(c["price_ticks"]), int(c["qty_lots"]), int(c["ts"]), int(c["side"])
        priced = kind in (LIMIT, STOP_LIMIT)
        rests = priced and force in (GTC, GTD)
        yield Cause.NONE if side in (1, -1) else Cause.INVALID_CODE
        yield Cause.NONE if 0 <= c["owner"] < self.owners else Cause.UNKNOWN_OWNER
        yield Cause.INVALID_ORDER_ID if c["order_id"] < 0 else Cause.NONE
        yield Cause.OWNER_SUSPENDED if int(c["owner"]) in self.suspended else Cause.NONE
        yield Cause.WRONG_PHASE if self.phase in CLOSED else Cause.NONE
        yield self.qty_cause(qty)
        yield self.price_cause(price) if priced else Cause.NONE
        yield self.value_cause(price, qty)
        known = 0 <= kind <= 3 and 0 <= force <= 3 and 0 <= c["self_trade"] <= 4
        chances = 0 <= c["miss_e9"] <= MISS_SCALE and 0 <= c["impact_e9"] <= MISS_SCALE
        known = known and chances and (c["post_only"] == 0 or (c["post_only"] == 1 and rests))
        yield Cause.NONE if known else Cause.INVALID_CODE
        immediate = kind in (LIMIT, MARKET) and (not rests or c["post_only"])
        yield Cause.WRONG_PHASE if self.phase in CALLS and immediate else Cause.NONE
        yield Cause.INVALID_PRICE if price and not priced else Cause.NONE
        if kind in (STOP, STOP_LIMIT):
            yield Cause.INVALID_STOP if self.price_cause(int(c["stop_ticks"])) else Cause.NONE
        else:
            yield Cause.INVALID_STOP if c["stop_ticks"] else Cause.NONE
        shows = rests and 0 < display <= qty and display % max(1, self.rules.lot_step) == 0
        yield Cause.INVALID_DISPLAY if display and not shows else Cause.NONE
        yield Cause.NONE if (ts > self.clock if force == GTD else ts == 0) else Cause.INVALID_EXPIRY
        takes = any(side * (price - o.price) >= 0 for o in self.books[-side])
        waits = kind != LIMIT or self.phase != Phase.CONTINUOUS
        yield Cause.POST_ONLY_WOULD_TAKE if c["post_only"] and takes and not waits else Cause.NONE
        yield Cause.DUPLICATE_ORDER_ID if any(o.order_id == c["order_id"] for o in self.open()) else Cause.NONE

    # What commands do.

    def do(self, c: Any) -> None:
        """Do one command."""
        kind = int(c["kind"])
        names = {
            Command.NEW: self.new,
            Command.CANCEL: self.cancel,
            Command.AMEND: self.amend,
            Command.CLOCK: self.pass_time,
        }
        names |= dict.fromkeys((Command.CANCEL_ALL, Command.SUSPEND, Command.RELEASE), self.mass)
        names |= {Command.PHASE: self.phase_command, Command.REFERENCE: self.set_reference}
        done = names.get(kind, lambda _: Cause.INVALID_CODE)(c)
        if done:
            fields = ("side", "owner", "order_id", "price_ticks", "qty_lots")
            side, owner, order_id, price, qty = (int(c[name]) for name in fields)
            self.tell(
                EventKind.REJECTED if kind == Command.NEW else EventKind.REFUSED,
                done,
                side,
                0,
                owner,
                order_id,
                price,
                qty,
                0,
                0,
            )
        self.elect()

    def new(self, c: Any) -> Cause:
        cause = next((cause for cause in self.causes(c) if cause), Cause.NONE)
        if cause:
            return cause
        order_id, qty, display = int(c["order_id"]), int(c["qty_lots"]), int(c["display_lots"])
        if order_id == 0:
            self.numbered += 1
            order_id = -self.numbered
        self.placed += 1
        order = ReferenceOrder(
            order_id, int(c["owner"]), int(c["side"]), int(c["order_type"]), int(c["time_in_force"]), int(c["price_ticks"]),
            int(c["stop_ticks"]), qty, qty, qty, display if display < qty else 0, int(c["ts"]) or FOREVER, int(c["post_only"]),
            int(c["self_trade"]), int(c["miss_e9"]), int(c["impact_e9"]), self.placed,
        )  # fmt: skip
        self.about(order, EventKind.ACCEPTED, Cause.NONE, qty)
        self.act(order)
        return Cause.NONE

    def elected(self, order: ReferenceOrder) -> bool:
        return self.phase == Phase.CONTINUOUS and self.last != 0 and order.side * (self.last - order.stop) >= 0

    def act(self, order: ReferenceOrder) -> None:
        """Let an accepted, amended or triggered order do what it can."""
        if order.kind in (STOP, STOP_LIMIT):
            if not self.elected(order):
                self.stops.append(order)
                return None
            self.about(order, EventKind.TRIGGERED, Cause.NONE, order.leaves)
            order.kind = LIMIT if order.kind == STOP_LIMIT else MARKET
        order.show()
        cause = Cause.NONE
        if self.phase == Phase.CONTINUOUS and self.opposing(order):
            if order.post_only:
                return self.end(order, EventKind.EXPIRED, Cause.POST_ONLY_WOULD_TAKE)
            self.base = self.last
            if self.misses(order):
                cause = Cause.NOT_THERE
            elif order.force == FOK and not self.can_fill(order):
                return self.end(order, EventKind.EXPIRED, Cause.CANNOT_FILL_COMPLETELY)
            else:
                cause = self.take(order)
        if order.leaves == 0:
            return None
        order.show()
        if order.kind == LIMIT and order.force in (GTC, GTD):
            self.books[order.side].append(order)
            return None
        default = Cause.CANNOT_FILL_COMPLETELY if order.force == FOK else Cause.TIME_IN_FORCE
        if order.kind == MARKET and order.force != FOK:
            default = Cause.PRICE_COLLAR if self.books[-order.side] else Cause.NO_LIQUIDITY
        return self.end(order, EventKind.EXPIRED, cause or default)

    def own(self, order: ReferenceOrder, other: ReferenceOrder) -> bool:
        return bool(order.owner and order.owner == other.owner and order.self_trade)

    def banded(self, price: int) -> bool:
        static, dynamic = self.rules.static_band_ticks, self.rules.dynamic_band_ticks
        far = bool(static and self.reference and abs(price - self.reference) > static)
        return far or bool(dynamic and self.base and abs(price - self.base) > dynamic)

    def can_fill(self, order: ReferenceOrder) -> bool:
        wanted = order.leaves
        for other in self.opposing(order):
            if self.banded(other.price) or (self.own(order, other) and order.self_trade != SelfTrade.CANCEL_OLDEST):
                return False
            if not self.own(order, other) and not other.miss_e9:
                wanted -= other.leaves
                if wanted <= 0:
                    return True
        return False

    def take(self, order: ReferenceOrder) -> Cause:
        """Trade with what rests; a display quantity that is renewed stands at the back and is met again there."""
        queue = self.opposing(order)
        while queue and order.leaves:
            other = queue.pop(0)
            if order.force == FOK and other.miss_e9:
                continue
            if self.own(order, other):
                self.prevent(order, other)
            elif self.misses(other):
                continue
            elif self.banded(other.price):
                self.phase, wait = Phase.VOLATILITY_AUCTION, self.rules.volatility_auction_ns
                self.auction_end = self.clock + wait if wait else FOREVER
                self.tell(EventKind.PHASE_CHANGED, Cause.VOLATILITY, 0, self.phase, 0, 0, 0, 0, 0, 0)
                return Cause.VOLATILITY
            else:
                self.trade(other.price, order, LiquidityCode.TAKER, other, LiquidityCode.MAKER, resting=[other])
            if other.leaves:
                queue.insert(sum(behind.price == other.price for behind in queue), other)
        return Cause.NONE

    def prevent(self, order: ReferenceOrder, other: ReferenceOrder) -> None:
        mode = order.self_trade
        if mode == SelfTrade.DECREMENT:
            lots = min(order.leaves, other.shown)
            for each in (order, other):
                each.leaves -= lots
                each.qty -= lots
                self.about(each, EventKind.RESTATED if each.leaves else EventKind.CANCELED, Cause.SELF_TRADE, lots)
            other.shown -= lots
            self.renew(other)
        if mode in (SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH):
            self.drop(other)
            self.end(other, EventKind.CANCELED, Cause.SELF_TRADE)
        if mode in (SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH):
            self.end(order, EventKind.CANCELED, Cause.SELF_TRADE)

    def trade(
        self,
        price: int,
        one: ReferenceOrder,
        first: int,
        two: ReferenceOrder,
        second: int,
        resting: list[ReferenceOrder],
    ) -> int:
        lots = min(o.shown if o in resting else o.leaves for o in (one, two))
        self.matches, self.last, self.volume = self.matches + 1, price, self.volume + lots
        for order, liquidity in ((one, first), (two, second)):
            order.leaves -= lots
            self.tell(
                EventKind.FILLED, Cause.NONE, order.side, liquidity, order.owner, order.order_id, price, lots, order.leaves, self.matches
            )  # fmt: skip
            self.impact_e12 += order.side * (order.impact_e9 * (lots * 10**6 // order.qty) // 1000)
        for order in resting:
            order.shown -= lots
        for order in resting:
            self.renew(order)
        return lots

    def renew(self, order: ReferenceOrder) -> None:
        """Drop a resting order that is done; show more of one whose displayed part is used up, at the back."""
        if order.leaves == 0:
            self.drop(order)
        elif order.shown == 0:
            self.drop(order)
            order.show()
            self.books[order.side].append(order)
            self.about(order, EventKind.RESTATED, Cause.DISPLAY_REFRESH, order.shown)

    def elect(self) -> None:
        """Trigger stops one by one while the last price has reached one: buys first, nearest first, then first come."""
        while ready := [order for order in self.stops if self.elected(order)]:
            order = min(ready, key=lambda o: (-o.side, o.side * o.stop, self.stops.index(o)))
            self.stops.remove(order)
            self.act(order)

    def find(self, c: Any) -> ReferenceOrder | None:
        found = (o for o in self.open() if o.order_id == c["order_id"] and c["owner"] in (-1, o.owner))
        return next(found, None)

    def cancel(self, c: Any) -> Cause:
        order = self.find(c)
        if order is None:
            return Cause.UNKNOWN_ORDER
        self.drop(order)
        self.end(order, EventKind.CANCELED, Cause.REQUESTED)
        return Cause.NONE

    def amend_causes(self, c: Any, order: ReferenceOrder, price: int, stop: int, qty: int) -> Iterator[Cause]:
        priced, stopped = order.kind != STOP, order.kind in (STOP, STOP_LIMIT)
        yield Cause.WRONG_PHASE if self.phase in CLOSED else Cause.NONE
        yield Cause.OWNER_SUSPENDED if order.owner in self.suspended else Cause.NONE
        yield self.qty_cause(qty)
        yield Cause.QTY_EXECUTED if qty <= order.qty - order.leaves else Cause.NONE
        yield self.price_cause(price) if priced else Cause.INVALID_PRICE if c["price_ticks"] else Cause.NONE
        wrong = self.price_cause(stop) if stopped else c["stop_ticks"] != 0
        yield Cause.INVALID_STOP if wrong else Cause.NONE
        yield self.value_cause(price, qty)
        takes = any(order.side * (price - o.price) >= 0 for o in self.books[-order.side])
        now = self.phase == Phase.CONTINUOUS and order.kind == LIMIT and price != order.price
        yield Cause.POST_ONLY_WOULD_TAKE if order.post_only and now and takes else Cause.NONE

    def amend(self, c: Any) -> Cause:
        order = self.find(c)
        if order is None:
            return Cause.UNKNOWN_ORDER
        price, stop = int(c["price_ticks"]) or order.price, int(c["stop_ticks"]) or order.stop
        qty = int(c["qty_lots"]) or order.qty
        cause = next((cause for cause in self.amend_causes(c, order, price, stop, qty) if cause), Cause.NONE)
        if cause:
            return cause
        keeps = price == order.price and stop == order.stop and qty <= order.qty
        order.leaves += qty - order.qty
        order.price, order.stop, order.qty = price, stop, qty
        self.about(order, EventKind.AMENDED, Cause.NONE, qty)
        order.shown = min(order.shown, order.leaves)
        if not keeps:
            self.drop(order)
            self.act(order)
        return Cause.NONE

    def mass(self, c: Any) -> Cause:
        kind, owner, side = int(c["kind"]), int(c["owner"]), int(c["side"])
        if kind != Command.RELEASE and abs(side) > 1:
            return Cause.INVALID_CODE
        if not (0 < owner < self.owners or (owner == -1 and kind == Command.CANCEL_ALL)):
            return Cause.UNKNOWN_OWNER
        if kind == Command.RELEASE:
            self.suspended.discard(owner)
            return Cause.NONE
        if kind == Command.SUSPEND:
            self.suspended.add(owner)
            side = 0
        if owner > 0:
            orders = sorted((o for o in self.open() if o.owner == owner), key=lambda o: o.number)
        else:
            book = [sorted(self.books[s], key=lambda o: -s * o.price) for s in (1, -1)]
            stops = [sorted((o for o in self.stops if o.side == s), key=lambda o: s * o.stop) for s in (1, -1)]
            orders = [order for part in (*book, *stops) for order in part]
        for order in orders:
            if side in (0, order.side):
                self.drop(order)
                self.end(order, EventKind.CANCELED, Cause.MASS_CANCEL)
        return Cause.NONE

    # Time and phases.

    def set_reference(self, c: Any) -> Cause:
        cause = self.price_cause(int(c["price_ticks"]))
        self.reference = self.reference if cause else int(c["price_ticks"])
        return cause

    def pass_time(self, c: Any) -> Cause:
        target = int(c["ts"])
        if not self.clock <= target < FOREVER:
            return Cause.INVALID_TIME
        while True:
            ending = min(self.open(), key=lambda o: (o.expire_ts, o.number), default=None)
            ends = ending.expire_ts if ending else FOREVER
            auction = self.auction_end if self.phase == Phase.VOLATILITY_AUCTION else FOREVER
            if min(ends, auction) > target:
                self.clock = target
                return Cause.NONE
            self.clock = min(ends, auction)
            if ending and ends <= auction:
                self.drop(ending)
                self.end(ending, EventKind.EXPIRED, Cause.EXPIRE_TIME)
            else:
                self.enter(Phase.CONTINUOUS)
                self.elect()

    def phase_command(self, c: Any) -> Cause:
        if not 0 <= c["order_type"] <= max(Phase):
            return Cause.INVALID_CODE
        if c["order_type"] != self.phase:
            self.enter(Phase(int(c["order_type"])))
        return Cause.NONE

    def enter(self, phase: Phase) -> None:
        price = volume = 0
        if self.phase != Phase.CONTINUOUS and phase in (Phase.CONTINUOUS, Phase.CLOSED):
            price, volume = self.uncross()
        self.reference = price or self.reference
        self.phase, wait = phase, self.rules.volatility_auction_ns
        self.auction_end = self.clock + wait if wait and phase == Phase.VOLATILITY_AUCTION else FOREVER
        self.tell(EventKind.PHASE_CHANGED, Cause.NONE, 0, phase, 0, 0, price, volume, 0, 0)

    def uncross(self) -> tuple[int, int]:
        bids, asks = self.books[1], self.books[-1]
        if not bids or not asks or max(o.price for o in bids) < min(o.price for o in asks):
            return 0, 0
        low, high = min(o.price for o in asks), max(o.price for o in bids)
        step = max(1, self.rules.price_step_ticks)
        near = (self.reference or self.last or (low + high) // 2) // step * step

        def rank(price: int) -> tuple[int, int, int, int]:
            bid, ask = sum(o.leaves for o in bids if o.price >= price), sum(o.leaves for o in asks if o.price <= price)
            return -min(bid, ask), abs(bid - ask), abs(price - near), price

        chosen, volume = min(range(low, high + 1, step), key=rank), 0
        while True:
            bid = min((o for o in bids if o.price >= chosen), key=lambda o: -o.price, default=None)
            ask = min((o for o in asks if o.price <= chosen), key=lambda o: o.price, default=None)
            if bid is None or ask is None:
                return chosen, volume
            volume += self.trade(chosen, bid, LiquidityCode.AUCTION, ask, LiquidityCode.AUCTION, resting=[bid, ask])
