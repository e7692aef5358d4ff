"""One pair of the simulated exchange: what happens to an order from acceptance to its end.

It owns open orders, the book, latency, execution probability, impact, positions and reserved funds. Pure:
no clock, no I/O; time, randomness and the reference price are handed in. Every call appends to `changes`.
"""

from __future__ import annotations

import heapq
from typing import Protocol
from uuid import UUID

from market_maker.domain.errors import RejectReason
from market_maker.domain.events import Event, EventType, order_content
from market_maker.domain.ids import MARKET_ACCOUNT_ID, derived_id, new_id
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument, fee_tick_lots
from market_maker.domain.order import TRANSITIONS, Liquidity, Order, OrderStatus, OrderType, Side, TimeInForce
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.matching.reference import Match, ReferenceBook, RestingOrder
from market_maker.venue.changes import Changes, Print
from market_maker.venue.funds import AccountFunds

_ARRIVE, _CANCEL, _EXPIRE = 0, 1, 2


class Market(Protocol):
    """What a venue needs to know of the market around it; `synthetic.market.MarketState` is one."""

    @property
    def reference_ticks(self) -> int:
        """The reference price in ticks."""

    def uniform(self) -> float:
        """The next random draw in [0, 1)."""

    def move(self, relative: float) -> None:
        """Multiply the reference price by 1 + `relative`."""


class Venue:
    """The simulated exchange of one pair.

    Parameters
    ----------
    instrument : what is traded
    session_id : the aggregate of public trades; trade ids derive from it
    market : reference price and randomness
    funds : account id -> its funds, shared by all venues of the process
    """

    def __init__(
        self, instrument: Instrument, session_id: UUID, market: Market, funds: dict[UUID, AccountFunds]
    ) -> None:
        self.instrument = instrument
        self.session_id = session_id
        self.market = market
        self.funds = funds
        self.book = ReferenceBook()
        self.orders: dict[UUID, Order] = {}
        self.market_quotes: dict[int, RestingOrder] = {}  # priority -> the market's own, oldest first
        self.positions: dict[UUID, PositionState] = {}
        self.position_of: dict[tuple[UUID, UUID | None], PositionState] = {}
        self.changes = Changes()
        self.priority = 0
        self.session_sequence = 0
        self.trades = 0
        self.book_sequence = 0
        self._due: list[tuple[int, int, UUID]] = []

    # ------------------------------------------------------------------ commands

    def accept(self, order: Order, correlation_id: str) -> None:
        """Take an order in: PENDING_NEW with its funds reserved, or REJECTED (`arrival_ts` becomes 0)."""
        self.changes.new_orders.append(order)
        affordable = self._affordable(order)
        order.updated_ts = order.created_ts
        order.version = 1
        if not affordable:
            order.status = OrderStatus.REJECTED
            order.reject_reason = RejectReason.INSUFFICIENT_BALANCE
            order.arrival_ts = 0
            self._emit(EventType.ORDER_REJECTED, order, correlation_id)
            return
        self.orders[order.order_id] = order
        self._reserve(order, order.qty_lots)
        self._schedule(order)
        self._emit(EventType.ORDER_RECEIVED, order, correlation_id)

    def request_cancel(self, order: Order, ts: int, arrival_ts: int, correlation_id: str) -> None:
        """Note a durable wish to cancel, which reaches the venue at `arrival_ts`; a second wish changes nothing."""
        if order.cancel_arrival_ts:
            return
        order.cancel_arrival_ts = arrival_ts
        heapq.heappush(self._due, (arrival_ts, _CANCEL, order.order_id))
        self._change(order, ts)
        self._emit(EventType.ORDER_CANCEL_REQUESTED, order, correlation_id)

    def end_all(self, ts: int) -> None:
        """Cancel every open order at once, wherever it or a wish to cancel it is on its way: the session ends."""
        for order in list(self.orders.values()):
            self._end(order, OrderStatus.CANCELED, RejectReason.SESSION_STOPPED, ts)

    def position_for(self, account_id: UUID, strategy_id: UUID | None) -> PositionState:
        """Return the position of an account and strategy in this pair, made on first use."""
        key = (account_id, strategy_id)
        position = self.position_of.get(key)
        if position is None:
            position = PositionState(new_id(), self.instrument.pair_id, account_id, strategy_id)
            self.add_position(position)
            self._touch(position)
        return position

    def add_position(self, position: PositionState) -> None:
        """Let a loaded or new position take part, with its share of the account's funds."""
        self.positions[position.position_id] = position
        self.position_of[(position.account_id, position.strategy_id)] = position
        if position.account_id in self.funds:
            self._book_funds(position, 1)

    def restore(self, order: Order) -> None:
        """Let a committed open order take part again after a restart, at its place in the queue."""
        self.orders[order.order_id] = order
        self._reserve(order, order.leaves_lots)
        if order.status is OrderStatus.PENDING_NEW:
            self._schedule(order)
        else:
            self._rest(order)
        if order.cancel_arrival_ts:
            heapq.heappush(self._due, (order.cancel_arrival_ts, _CANCEL, order.order_id))

    # ------------------------------------------------------------------ time

    def next_due_ts(self) -> int | None:
        """Return when the next order, cancel or expiry is due, in ns UTC."""
        return self._due[0][0] if self._due else None

    def process_due(self, ts: int) -> None:
        """Handle everything due up to and at `ts`, in order of time."""
        while self._due and self._due[0][0] <= ts:
            _, what, order_id = heapq.heappop(self._due)
            order = self.orders.get(order_id)
            if order is None:
                continue
            if what == _ARRIVE:
                self._arrive(order, ts)
            elif what == _CANCEL:
                self._end(order, OrderStatus.CANCELED, None, ts)
            elif order.status is not OrderStatus.PENDING_NEW:
                self._end(order, OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE, ts)

    def _schedule(self, order: Order) -> None:
        heapq.heappush(self._due, (order.arrival_ts, _ARRIVE, order.order_id))

    def _arrive(self, order: Order, ts: int) -> None:
        """Match an order that has reached the venue, then rest, end or expire what is left of it."""
        is_limit = order.order_type is OrderType.LIMIT
        if order.post_only and self.book.crosses(order.side, order.price_ticks):
            self._end(order, OrderStatus.REJECTED, RejectReason.POST_ONLY_WOULD_TAKE, ts)
            return
        there = order.execution_probability >= 1.0 or self.market.uniform() < order.execution_probability
        limit = order.price_ticks if is_limit else None
        matches = self.book.plan(order.side, limit, order.qty_lots, self._is_there) if there else []
        if order.time_in_force is TimeInForce.FOK and sum(match.qty_lots for match in matches) < order.qty_lots:
            reason = RejectReason.CANNOT_FILL_COMPLETELY if there else RejectReason.NOT_THERE
            self._end(order, OrderStatus.EXPIRED, reason, ts)
            return
        self._execute(order.side, order, matches, ts)
        if order.leaves_lots == 0:
            return
        rests = is_limit and order.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)
        if rests and order.expire_ts and order.expire_ts <= ts:
            self._end(order, OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE, ts)
        elif rests:
            self._rest_new(order, ts)
        else:
            reason = RejectReason.NO_LIQUIDITY if there else RejectReason.NOT_THERE
            self._end(order, OrderStatus.EXPIRED, reason, ts)

    def _rest_new(self, order: Order, ts: int) -> None:
        self.priority += 1
        order.priority = self.priority
        if order.status is OrderStatus.PENDING_NEW:
            self._set_status(order, OrderStatus.NEW)
        self._rest(order)
        self._change(order, ts)
        self._emit(EventType.ORDER_ACCEPTED, order)

    def _rest(self, order: Order) -> None:
        self.book.add(RestingOrder(order.side, order.price_ticks, order.leaves_lots, order.priority, order))
        self.changes.book_changed = True
        if order.expire_ts:
            heapq.heappush(self._due, (order.expire_ts, _EXPIRE, order.order_id))

    # ------------------------------------------------------------------ the market's own orders

    def quote_as_market(self, side: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Let an invented limit order come in: it takes what it crosses, the rest stands in the book."""
        matches = self.book.plan(side, price_ticks, qty_lots, self._is_there)
        self._execute(side, None, matches, ts)
        left = qty_lots - sum(match.qty_lots for match in matches)
        if left:
            self.priority += 1
            self.rest_as_market(RestingOrder(side, price_ticks, left, self.priority, None))
        self.changes.book_changed = True

    def rest_as_market(self, quote: RestingOrder) -> None:
        """Let an invented order stand in the book, unmatched. It must be the newest of all."""
        self.book.add(quote)
        self.market_quotes[quote.priority] = quote

    def reduce(self, resting: RestingOrder, qty_lots: int) -> None:
        """Take `qty_lots` off an order in the book; at zero it leaves."""
        self.book.reduce(resting, qty_lots)
        if resting.leaves_lots == 0 and resting.owner is None:
            del self.market_quotes[resting.priority]

    def take_as_market(self, side: Side, limit_ticks: int | None, qty_lots: int, ts: int) -> int:
        """Let an invented taker trade up to `qty_lots`; return the lots traded."""
        matches = self.book.plan(side, limit_ticks, qty_lots, self._is_there)
        self._execute(side, None, matches, ts)
        return sum(match.qty_lots for match in matches)

    def transfer(self, position: PositionState, side: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Bring inventory into a position (BUY) or out of it (SELL) at a price, without an order or a trade."""
        self._book_at(position, side, price_ticks, qty_lots, 0, ts)
        self._book_at(self.position_for(MARKET_ACCOUNT_ID, None), Side(-side), price_ticks, qty_lots, 0, ts)

    def print_trade(self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int) -> Print:
        """Publish a trade and return it."""
        self.trades += 1
        self.session_sequence += 1
        trade = Print(derived_id(ts, self.session_id, self.trades), ts, aggressor, price_ticks, qty_lots)
        self.changes.prints.append(trade)
        self.changes.session_changed = True
        data = {
            "trade_id": str(trade.trade_id),
            "pair_id": str(self.instrument.pair_id),
            "aggressor": aggressor.name,
            "price": self.instrument.price_text(price_ticks),
            "amount": self.instrument.qty_text(qty_lots),
            "ts": str(ts),
        }
        event = Event(EventType.TRADE_EXECUTED, self.session_id, self.session_sequence, ts, str(trade.trade_id), data)
        self.changes.events.append(event)
        return trade

    # ------------------------------------------------------------------ fills

    def _is_there(self, resting: RestingOrder) -> bool:
        """Draw whether a resting order meets the incoming one: architecture section 6, execution_probability."""
        owner = resting.owner
        if owner is None or owner.execution_probability >= 1.0:
            return True
        return self.market.uniform() < owner.execution_probability

    def _execute(self, side: Side, taker: Order | None, matches: list[Match], ts: int) -> None:
        for match in matches:
            resting = match.resting
            trade = self.print_trade(side, resting.price_ticks, match.qty_lots, ts)
            self.reduce(resting, match.qty_lots)
            self.changes.book_changed = True
            if resting.owner is not None:
                self._fill(resting.owner, Liquidity.MAKER, trade)
            if taker is not None:
                self._fill(taker, Liquidity.TAKER, trade)
            if (resting.owner is None) != (taker is None):
                ours = taker or resting.owner
                assert ours is not None
                self._book_counterparty(ours, trade)

    def _fill(self, order: Order, liquidity: Liquidity, trade: Print) -> None:
        value = trade.price_ticks * trade.qty_lots
        is_maker = liquidity is Liquidity.MAKER
        rate = self.instrument.maker_fee_e8 if is_maker else self.instrument.taker_fee_e8
        fee = fee_tick_lots(value, rate)
        self._reserve(order, -trade.qty_lots)
        order.cum_qty_lots += trade.qty_lots
        order.value_tick_lots += value
        done = order.cum_qty_lots == order.qty_lots
        self._set_status(order, OrderStatus.FILLED if done else OrderStatus.PARTIALLY_FILLED)
        self._change(order, trade.ts)
        if done:
            del self.orders[order.order_id]
        position = self.positions[order.position_id]
        self._book_fill(position, order.side, trade, fee)
        fill = Fill(
            trade_id=trade.trade_id,
            order_id=order.order_id,
            pair_id=order.pair_id,
            account_id=order.account_id,
            strategy_id=order.strategy_id,
            position_id=order.position_id,
            side=order.side,
            liquidity=liquidity,
            price_ticks=trade.price_ticks,
            qty_lots=trade.qty_lots,
            fee_tick_lots=fee,
            ts=trade.ts,
        )
        self.changes.fills.append(fill)
        self._emit(EventType.ORDER_FILLED, order, fill=fill)
        if fee:
            collector = self.position_for(MARKET_ACCOUNT_ID, None)
            collector.fees_tick_lots -= fee
            self._touch(collector)
        if order.price_impact:
            self.market.move(int(order.side) * order.price_impact * trade.qty_lots / order.qty_lots)
            self.changes.session_changed = True

    def _book_counterparty(self, ours: Order, trade: Print) -> None:
        self._book_fill(self.position_for(MARKET_ACCOUNT_ID, None), Side(-ours.side), trade, 0)

    def _book_fill(self, position: PositionState, side: Side, trade: Print, fee: int) -> None:
        self._book_at(position, side, trade.price_ticks, trade.qty_lots, fee, trade.ts)

    def _book_at(self, position: PositionState, side: Side, price_ticks: int, qty_lots: int, fee: int, ts: int) -> None:
        has_funds = position.account_id in self.funds
        if has_funds:
            self._book_funds(position, -1)
        position.apply_fill(side, price_ticks, qty_lots, fee)
        position.updated_ts = ts
        if has_funds:
            self._book_funds(position, 1)
        self._touch(position)

    # ------------------------------------------------------------------ endings and bookkeeping

    def _end(self, order: Order, status: OrderStatus, reason: RejectReason | None, ts: int) -> None:
        self._reserve(order, -order.leaves_lots)
        resting = self.book.get(order.priority) if order.priority else None
        if resting is not None:
            self.book.remove(resting)
            self.changes.book_changed = True
        self._set_status(order, status)
        order.reject_reason = reason
        del self.orders[order.order_id]
        self._change(order, ts)
        names = {OrderStatus.CANCELED: EventType.ORDER_CANCELED, OrderStatus.REJECTED: EventType.ORDER_REJECTED}
        self._emit(names.get(status, EventType.ORDER_EXPIRED), order)

    def _set_status(self, order: Order, status: OrderStatus) -> None:
        assert status in TRANSITIONS[order.status], (order.order_id, order.status, status)
        order.status = status

    def _change(self, order: Order, ts: int) -> None:
        order.updated_ts = ts
        order.version += 1
        self.changes.changed_orders[order.order_id] = order

    def _touch(self, position: PositionState) -> None:
        """Note a changed position; its version grows once per transaction."""
        if position.position_id not in self.changes.positions:
            position.version += 1
            self.changes.positions[position.position_id] = position

    def _emit(self, kind: str, order: Order, correlation_id: str = "", *, fill: Fill | None = None) -> None:
        data = order_content(order, self.instrument, fill)
        correlation = correlation_id or str(order.order_id)
        event = Event(kind, order.order_id, order.version, order.updated_ts, correlation, data)
        self.changes.events.append(event)

    def _affordable(self, order: Order) -> bool:
        notional = self.order_price(order) * order.qty_lots
        if notional > MAX_TICK_LOTS:
            return False
        funds = self.funds[order.account_id]
        funds.exposure(self.instrument.pair_id, self.instrument.tick_lot)
        return funds.can_afford(self.instrument.pair_id, self.market.reference_ticks, order.side, notional)

    def order_price(self, order: Order) -> int:
        """Return the price at which funds are reserved: the limit, or none for a market order in flight."""
        return order.price_ticks or self.market.reference_ticks

    def _reserve(self, order: Order, qty_lots: int) -> None:
        """Reserve the notional of `qty_lots` (negative: release); market orders reserve nothing while in flight."""
        exposure = self.funds[order.account_id].exposure(self.instrument.pair_id, self.instrument.tick_lot)
        exposure.reserve(order.side, order.price_ticks * qty_lots)

    def _book_funds(self, position: PositionState, sign: int) -> None:
        exposure = self.funds[position.account_id].exposure(self.instrument.pair_id, self.instrument.tick_lot)
        exposure.qty_lots += sign * position.qty_lots
        exposure.result_tick_lots += sign * (position.realised_tick_lots - position.fees_tick_lots)
