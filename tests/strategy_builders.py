"""Markets for tests of strategies: a small random one that fills their orders, and what no request may ever do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.order import OrderType, TimeInForce
from market_maker.strategies.actions import Cancel, OwnOrder, Place, View, make_view
from market_maker.strategies.contract import find_strategy

SHARED = ("order_lots", "max_inventory_lots", "interval_ns")
MOST = 2**40


def prepared(kind: str, **values: float) -> Any:
    """Return a strategy with these parameters, the others as declared."""
    return find_strategy(kind).prepare(values)


def flat_view(bid: int = 99, ask: int = 101, lots: int = 5, **fields: Any) -> View:
    """Return a view of a book with one level on each side; the mid is 100 unless told otherwise."""
    return make_view(**({"now_ts": 10**18, "bids": [(bid, lots)], "asks": [(ask, lots)]} | fields))


def placed(requests: list[Any], side: int) -> list[Place]:
    """Return the new orders of a side."""
    return [request for request in requests if isinstance(request, Place) and request.side == side]


def prices(requests: list[Any], side: int) -> list[int]:
    """Return the prices of new orders of a side, in the order in which they were asked for."""
    return [request.price_ticks for request in placed(requests, side)]


def check_requests(view: View, requests: list[Any], limit: int, held: frozenset[int] = frozenset()) -> None:
    """Fail unless the requests made at a view are ones that no market maker need be ashamed of."""
    orders = {int(order["order_id"]): order for order in view.orders}
    canceled = [request.order_id for request in requests if isinstance(request, Cancel)]
    assert len(set(canceled)) == len(canceled), "an order was cancelled twice"
    assert all(orders[order_id]["cancel_pending"] == 0 for order_id in canceled)
    stay = [order for order_id, order in orders.items() if not (order["cancel_pending"] or order_id in canceled)]
    leave = [order for order_id, order in orders.items() if order["cancel_pending"] or order_id in canceled]
    for side in (1, -1):
        new = placed(requests, side)
        kept = [order for order in stay if order["side"] == side]
        leaving = sum(int(order["leaves_lots"]) for order in leave if order["side"] == side)
        worst = side * view.position_lots + leaving + sum(int(order["leaves_lots"]) for order in kept)
        if new:
            assert worst + sum(order.qty_lots for order in new) <= limit, "open orders could pass the limit"
        if any(int(order["order_id"]) not in held for order in kept):
            already_leaving = sum(int(o["leaves_lots"]) for o in leave if o["side"] == side and o["cancel_pending"])
            assert worst - leaving + already_leaving <= limit, "an order that could pass the limit was left"
    for order in (*placed(requests, 1), *placed(requests, -1)):
        assert isinstance(order.price_ticks, int) and 1 <= order.price_ticks <= MOST
        assert isinstance(order.qty_lots, int) and 1 <= order.qty_lots <= MOST
        assert (order.order_type, order.time_in_force, order.post_only) == (OrderType.LIMIT, TimeInForce.GTC, True)
        assert view.best_bid_ticks > 0 and view.best_ask_ticks > 0, "a quote without a two-sided book"
        assert order.price_ticks < view.best_ask_ticks or order.side == -1, "a bid crosses the book"
        assert order.price_ticks > view.best_bid_ticks or order.side == 1, "an ask crosses the book"
    highest = {
        side: [int(order["price_ticks"]) for order in stay if order["side"] == side] + prices(requests, side)
        for side in (1, -1)
    }
    if placed(requests, 1) or placed(requests, -1):
        bids = prices(requests, 1) if not placed(requests, -1) else highest[1]
        asks = prices(requests, -1) if not placed(requests, 1) else highest[-1]
        assert max(bids, default=0) < min(asks, default=MOST + 1), "a quote meets an own order of the other side"


@dataclass
class Market:
    """A random market that answers a strategy's requests one wake-up late, and fills what rests at random.

    Spread, depth and the presence of a side change at random; own orders fill when drawn, most often those near the
    touch, so that inventory moves in both directions and runs into its limits.
    """

    rng: np.random.Generator
    interval_ns: int = 100_000_000
    volatility: float = 3.0
    one_sided: float = 0.05
    fill_chance: float = 0.3
    mid: float = 1000.0
    now_ts: int = 1_700_000_000 * 10**9
    position: int = 0
    cash: int = 0
    next_id: int = 1
    orders: dict[int, OwnOrder] = field(default_factory=dict)
    waiting: list[Any] = field(default_factory=list)

    def _arrive(self) -> None:
        """Let the requests of the last wake-up reach the venue."""
        for request in self.waiting:
            if isinstance(request, Cancel):
                self.orders.pop(request.order_id, None)
            elif request.order_id_of in self.orders:
                order = self.orders[request.order_id_of]
                self.orders[request.order_id_of] = replace_order(order, status=1)
        self.waiting = []

    def _fill(self) -> None:
        for order in list(self.orders.values()):
            near = np.exp(-abs(order.price_ticks - self.mid) / 20.0)
            if self.rng.random() >= self.fill_chance * near:
                continue
            lots = int(self.rng.integers(1, order.leaves_lots + 1))
            self.position += order.side * lots
            self.cash -= order.side * lots * order.price_ticks
            if lots == order.leaves_lots:
                del self.orders[order.order_id]
            else:
                self.orders[order.order_id] = replace_order(order, leaves_lots=order.leaves_lots - lots, status=2)

    def view(self) -> View:
        """Move on by one interval and return what is seen then."""
        self._fill()
        self._arrive()
        self.now_ts += self.interval_ns
        self.mid = max(50.0, self.mid + self.volatility * self.rng.standard_normal())
        spread = int(self.rng.integers(1, 5))
        bid = int(self.mid) - spread // 2
        sides = []
        for best, outward in ((bid, -1), (bid + spread, 1)):
            levels = int(self.rng.integers(1, 6))
            gaps = np.cumsum(self.rng.integers(1, 4, levels)) - 1
            sides.append([(int(best + outward * gap), int(self.rng.integers(1, 50))) for gap in gaps])
        if self.rng.random() < self.one_sided:
            sides[int(self.rng.integers(0, 2))] = []
        trades = int(self.rng.poisson(1.0))
        bought, sold = (int(lots) for lots in self.rng.integers(0, 20, 2))
        return make_view(
            now_ts=self.now_ts,
            bids=sides[0],
            asks=sides[1],
            position_lots=self.position,
            cash_tick_lots=self.cash,
            balance_tick_lots=10**6,
            last_trade_ticks=int(self.mid + self.rng.normal(0.0, 8.0)) if trades else 0,
            bought_lots=bought if trades else 0,
            sold_lots=sold if trades else 0,
            trades=trades,
            orders=list(self.orders.values()),
        )

    def take(self, requests: list[Any]) -> None:
        """Take requests; new orders are PENDING_NEW until the next wake-up, cancels take effect after it."""
        for request in requests:
            if isinstance(request, Cancel):
                self.orders[request.order_id] = replace_order(self.orders[request.order_id], cancel_pending=1)
                self.waiting.append(request)
            else:
                self.orders[self.next_id] = OwnOrder(
                    self.next_id, request.side, request.price_ticks, request.qty_lots, request.qty_lots, 0,
                    submitted_ts=self.now_ts,
                )  # fmt: skip
                self.waiting.append(Acknowledged(self.next_id))
                self.next_id += 1


@dataclass(frozen=True)
class Acknowledged:
    """The venue's answer to a new order, on its way."""

    order_id_of: int


def replace_order(order: OwnOrder, **changes: int) -> OwnOrder:
    """Return the order with some fields changed."""
    return order._replace(**changes)


def moderate_values(kind: str, rng: np.random.Generator) -> Mapping[str, float]:
    """Return random parameters of a kind: each as declared, at a bound, or somewhere in between."""
    values: dict[str, float] = {}
    for parameter in find_strategy(kind).parameters:
        if parameter.name in SHARED:
            continue
        low, high = max(parameter.minimum, 1e-3), min(parameter.maximum, 1e4)
        between = float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))
        between = min(max(between, parameter.minimum), parameter.maximum)
        choices = [parameter.default, parameter.minimum, parameter.maximum, between, between]
        value = choices[int(rng.integers(0, len(choices)))]
        values[parameter.name] = round(value) if parameter.type == "integer" else float(value)
    lots = int(rng.integers(1, 6))
    return values | {"order_lots": lots, "max_inventory_lots": lots * int(rng.integers(1, 6)) + int(rng.integers(0, 3))}


def memories(kind: str) -> NDArray[np.float64]:
    """Return fresh memory of a kind."""
    return np.zeros(max(1, find_strategy(kind).memory_size))
