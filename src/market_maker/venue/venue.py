"""One pair of the simulated exchange: what happens to an order from acceptance to its end.

It owns open orders, latency, fees, positions and reserved funds; who trades with whom is the matching engine's. Pure: no
clock, no I/O; time and the market are handed in. Every call appends to `changes`.

Longer than 500 lines because it is one thing: the life of an order, each step beside the next.
"""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import Conflict, RejectReason
from market_maker.domain.events import Event, EventType, order_content
from market_maker.domain.ids import MARKET_ACCOUNT_ID, derived_id, new_id
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument, fee_tick_lots
from market_maker.domain.order import TRANSITIONS, Liquidity, Order, OrderStatus, Side, TimeInForce
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.matching.book import Commands, Events
from market_maker.matching.codes import Cause, EventKind, LiquidityCode, Phase
from market_maker.synthetic.scenarios import NO_FAULTS
from market_maker.venue.changes import Changes, Print
from market_maker.venue.commands import CommandWriter
from market_maker.venue.funds import AccountFunds
from market_maker.venue.reasons import reason_of

_ARRIVE, _AMEND, _CANCEL, _EXPIRE = 0, 1, 2, 3
_FILLED, _TAKER = int(EventKind.FILLED), int(LiquidityCode.TAKER)
ALONE = -1
"""`match_id` of the fill of an own order whose other side is in no engine: the market is a recording."""
_AUCTION, _PHASE_CHANGED = int(LiquidityCode.AUCTION), int(EventKind.PHASE_CHANGED)
OWNERS_MAX = 1 << 14
"""Accounts with open orders beyond this number are not kept from trading with themselves."""


class Market(Protocol):
    """What a venue needs to know of the market around it; `venue.market.market.SyntheticMarket` is one."""

    @property
    def reference_ticks(self) -> int:
        """The reference price in ticks."""

    @property
    def clock_ts(self) -> int:
        """The market's present instant."""

    def execute(self, commands: Commands) -> Events:
        """Do commands at the present instant; return what followed."""


class Venue:
    """The simulated exchange of one pair.

    Parameters
    ----------
    instrument : what is traded
    session_id : the aggregate of public trades; trade ids derive from it
    market : book, reference price and randomness
    funds : account id -> its funds, shared by all venues of the process
    """

    def __init__(
        self, instrument: Instrument, session_id: UUID, market: Market, funds: dict[UUID, AccountFunds]
    ) -> None:
        self.instrument = instrument
        self.session_id = session_id
        self.market = market
        self.funds = funds
        self.orders: dict[UUID, Order] = {}
        self.numbered: dict[int, Order] = {}  # priority -> open order that has arrived
        self.owners: dict[UUID, int] = {}  # account -> its number in the engine
        self.placed_again: dict[int, int] = {}  # priority -> lots that the engine does not count in its total
        self.positions: dict[UUID, PositionState] = {}
        self.position_of: dict[tuple[UUID, UUID | None], PositionState] = {}
        self.changes = Changes()
        self.watchers: list[Callable[[Events], None]] = []  # told of everything that happens in the engine
        self.priority = 0
        self.session_sequence = 0
        self.trades = 0
        self.faults = NO_FAULTS
        self.fault_seed = 0
        self._command = CommandWriter()
        self.ends_by_clock = False  # whether `expire_ts` of orders is an instant of the clock, not of the market
        self.market_ends: dict[UUID, int] = {}  # order -> its end as an instant of the market, where it is no other
        # Instant of the market, expiries first, order of requests, what, order: what arrives at one instant is done as it came.
        self._due: list[tuple[int, bool, int, int, UUID]] = []
        self._ends: list[tuple[int, int, UUID]] = []  # instant of the clock, order of requests, order
        self._scheduled = 0
        self._at = 0

    # ------------------------------------------------------------------ commands

    def accept(self, order: Order, correlation_id: str, *, market_end: int = 0) -> None:
        """Take an order in: PENDING_NEW with its funds reserved, or REJECTED (`arrival_ts` becomes 0).

        `market_end`: the instant of the market at which it ends, where `expire_ts` is one of the clock
        """
        self.changes.new_orders.append(order)
        affordable = self._affordable(order, self.order_price(order) * order.qty_lots)
        order.updated_ts = order.created_ts
        order.version = 1
        if not affordable:
            order.status = OrderStatus.REJECTED
            order.reject_reason = RejectReason.INSUFFICIENT_BALANCE
            order.arrival_ts = 0
            self._emit(EventType.ORDER_REJECTED, order, correlation_id)
            return
        self.orders[order.order_id] = order
        if market_end and self.ends_by_clock:
            self.market_ends[order.order_id] = market_end
        self._reserve(order, order.qty_lots)
        self._schedule(order.arrival_ts, _ARRIVE, order)
        self._emit(EventType.ORDER_RECEIVED, order, correlation_id)

    def request_cancel(self, order: Order, ts: int, arrival_ts: int, correlation_id: str) -> None:
        """Note a durable wish to cancel, which reaches the venue at `arrival_ts` of the market; a second wish changes nothing."""
        if order.cancel_arrival_ts:
            return
        order.cancel_arrival_ts = arrival_ts
        self._schedule(arrival_ts, _CANCEL, order)
        self._change(order, ts)
        self._emit(EventType.ORDER_CANCEL_REQUESTED, order, correlation_id)

    def request_amend(
        self, order: Order, ts: int, arrival_ts: int, correlation_id: str, *, price: int, lots: int, stop: int
    ) -> None:
        """Note a durable wish for another limit price, total quantity or stop price (0: as it is).

        Raises
        ------
        Conflict
            when an amendment is on its way already, or the account cannot afford what is wanted
        """
        if order.amend_arrival_ts:
            raise Conflict(f"an amendment of order {order.order_id} is on its way already")
        if not self._amendable(order, price, lots):
            raise Conflict(f"the account cannot afford the amended order {order.order_id}")
        self.changes.reshaped.add(order.order_id)
        order.amend_arrival_ts, order.amend_refusal = arrival_ts, None
        order.amend_price_ticks, order.amend_qty_lots, order.amend_stop_ticks = price, lots, stop
        self._schedule(arrival_ts, _AMEND, order)
        self._change(order, ts)
        self._emit(EventType.ORDER_AMEND_REQUESTED, order, correlation_id)

    def cancel_now(self, order: Order, ts: int, reason: RejectReason | None = None) -> None:
        """Cancel an order at once, wherever it or a wish to cancel it is on its way."""
        self._withdraw(order, OrderStatus.CANCELED, reason, ts)

    def end_all(self, ts: int) -> None:
        """End every open order at once, wherever it or a wish to cancel it is on its way: the session ends."""
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

    def transfer(self, position: PositionState, side: Side, price_ticks: int, qty_lots: int, ts: int) -> None:
        """Bring inventory into a position (BUY) or out of it (SELL) at a price, without an order or a trade."""
        self._book_at(position, side, price_ticks, qty_lots, 0, ts)
        self._book_at(self.position_for(MARKET_ACCOUNT_ID, None), Side(-side), price_ticks, qty_lots, 0, ts)

    # ------------------------------------------------------------------ after a restart

    def restore(self, order: Order) -> None:
        """Let a committed open order take part again; where it stands in its queue is in the engine's memory."""
        self.orders[order.order_id] = order
        self._reserve(order, order.leaves_lots)
        if order.priority:
            self.numbered[order.priority] = order
            self._schedule_end(order)
        else:
            self._schedule(order.arrival_ts, _ARRIVE, order)
        if order.amend_arrival_ts:
            self._schedule(order.amend_arrival_ts, _AMEND, order)
        if order.cancel_arrival_ts:
            self._schedule(order.cancel_arrival_ts, _CANCEL, order)

    def reconcile(self, engine_orders: NDArray[Any], ts: int) -> int:
        """Make the engine hold exactly the open orders that have arrived; return how many did not agree.

        The orders win: what the engine has beside them is canceled, what it lacks is placed again, last in its queue.

        Parameters
        ----------
        engine_orders : (n,) `matching.state.ORDER_DTYPE`, the engine's open orders with a positive id
        """
        wrong, held = 0, set()
        for number, owner, leaves, total in zip(
            *(engine_orders[name].tolist() for name in ("order_id", "owner", "leaves_lots", "qty_lots")), strict=True
        ):
            order = self.numbered.get(number)
            if order is not None and order.leaves_lots == leaves:
                held.add(number)
                self.owners[order.account_id] = owner
                if total != order.qty_lots:
                    self.placed_again[number] = order.qty_lots - total
                continue
            wrong += order is None
            self._command.cancel(number)
            self._execute()
        for number, order in sorted(self.numbered.items()):
            if number not in held:
                wrong += 1
                self._place_again(order, ts)
        return wrong

    def _place_again(self, order: Order, ts: int) -> None:
        del self.numbered[order.priority]
        self.priority += 1
        order.priority = self.priority
        self.numbered[order.priority] = order
        self.placed_again[order.priority] = order.cum_qty_lots
        lots, shown = order.leaves_lots, order.display_lots
        shown = 0 if shown >= lots else shown
        self._command.place(order, self._owner(order.account_id), lots, display_lots=shown, post_only=False)
        self._change(order, ts)
        self._emit(EventType.ORDER_ACCEPTED, order)
        self.absorb(self._execute(), lambda _: ts)

    # ------------------------------------------------------------------ time

    def next_due_ts(self) -> int | None:
        """Return the market's instant at which the next order, amendment, cancel or end of an order is due."""
        return self._due[0][0] if self._due else None

    def next_end_ts(self) -> int | None:
        """Return the instant of the clock at which the next order ends that ends by the clock."""
        return self._ends[0][0] if self._ends else None

    def process_due(self, ts: int, at: int | None = None) -> None:
        """Handle everything due up to and at the market's instant `at` (`ts` unless given), in order of time; told as of `ts`."""
        self._at = ts if at is None else at
        while self._due and self._due[0][0] <= self._at:
            due_ts, _, _, what, order_id = heapq.heappop(self._due)
            order = self.orders.get(order_id)
            if order is None:
                continue
            if what == _ARRIVE:
                self._arrive(order, ts)
            elif what == _AMEND:
                self._amend(order, ts)
            elif what == _CANCEL and self.faults.refuses_cancels:
                self._refuse_cancel(order, ts)
            elif what == _CANCEL:
                self._withdraw(order, OrderStatus.CANCELED, None, ts)
            elif due_ts == self.market_ends.get(order_id, order.expire_ts) and order.priority:
                self._expire(order, ts)

    def process_ends(self, clock_ts: int, ts: int) -> None:
        """End the orders that end by the clock up to and at `clock_ts`, told as of `ts`."""
        while self._ends and self._ends[0][0] <= clock_ts:
            _, _, order_id = heapq.heappop(self._ends)
            order = self.orders.get(order_id)
            if order is not None and order.priority:
                self._expire(order, ts)

    def _expire(self, order: Order, ts: int) -> None:
        self._withdraw(order, OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE, ts)

    def _has_ended(self, order: Order, ts: int) -> bool:
        """Tell whether the end of an order has passed on its way."""
        market_end = self.market_ends.get(order.order_id, 0 if self.ends_by_clock else order.expire_ts)
        return 0 < market_end <= self._at if market_end else 0 < order.expire_ts <= ts

    def _schedule_end(self, order: Order) -> None:
        market_end = self.market_ends.get(order.order_id, 0 if self.ends_by_clock else order.expire_ts)
        if market_end:
            self._schedule(market_end, _EXPIRE, order)
        elif order.expire_ts:
            self._scheduled += 1
            heapq.heappush(self._ends, (order.expire_ts, self._scheduled, order.order_id))

    def _schedule(self, ts: int, what: int, order: Order) -> None:
        self._scheduled += 1
        heapq.heappush(self._due, (ts, what != _EXPIRE, self._scheduled, what, order.order_id))

    def _execute(self) -> Events:
        """Do the command that has been written, and log it."""
        self.changes.commands.append(self._command.log_row(self.market.clock_ts))
        return self.market.execute(self._command.row)

    def _owner(self, account_id: UUID) -> int:
        """Return the number of an account in the engine."""
        owner = self.owners.get(account_id)
        if owner is None:
            if len(self.owners) >= OWNERS_MAX - 1:
                active = {order.account_id for order in self.numbered.values()}
                self.owners = {account: number for account, number in self.owners.items() if account in active}
            taken = set(self.owners.values())
            owner = next((number for number in range(len(taken) + 1, OWNERS_MAX) if number not in taken), 0)
            owner = owner or next((number for number in range(1, OWNERS_MAX) if number not in taken), 0)
            if owner:
                self.owners[account_id] = owner
        return owner

    def _arrive(self, order: Order, ts: int) -> None:
        """Hand an order that has reached the venue to the engine; an end that has passed meanwhile comes first."""
        if self._has_ended(order, ts):
            self._end(order, OrderStatus.EXPIRED, RejectReason.TIME_IN_FORCE, ts)
            return
        self.priority += 1
        refusal = self._refusal(self.priority)
        if refusal is not None:
            self._end(order, OrderStatus.REJECTED, refusal, ts)
            return
        order.priority = self.priority
        self.numbered[order.priority] = order
        self._command.place(
            order, self._owner(order.account_id), order.qty_lots, display_lots=order.display_lots,
            post_only=order.post_only,
        )  # fmt: skip
        self.absorb(self._execute(), lambda _: ts)
        if not order.status.is_open:
            return
        if order.status is OrderStatus.PENDING_NEW:
            self._set_status(order, OrderStatus.NEW)
        self._change(order, ts)
        self._emit(EventType.ORDER_ACCEPTED, order)
        self._schedule_end(order)

    def _refusal(self, number: int) -> RejectReason | None:
        """Return why an arriving order is refused by a fault of the venue; chance is a function of the order's number."""
        faults = self.faults
        if faults.refuses_orders:
            return RejectReason.OUTAGE
        if faults.reject_probability:
            digest = hashlib.blake2b(struct.pack("<QQ", self.fault_seed, number), digest_size=8).digest()
            if int.from_bytes(digest, "big") < faults.reject_probability * 2.0**64:
                return RejectReason.REJECTED_BY_CHANCE
        return None

    def _refuse_cancel(self, order: Order, ts: int) -> None:
        order.cancel_arrival_ts = 0
        self._change(order, ts)
        self._emit(EventType.ORDER_CANCEL_REFUSED, order)

    def _withdraw(self, order: Order, status: OrderStatus, reason: RejectReason | None, ts: int) -> None:
        """Take an order out wherever it is."""
        if order.priority:
            self._command.cancel(order.priority)
            self.absorb(self._execute(), lambda _: ts, ending=(status, reason))
            assert not order.status.is_open, (order.order_id, "the engine does not know this order")
        else:
            self._end(order, status, reason, ts)

    def _amend(self, order: Order, ts: int) -> None:
        """Let an amendment arrive: it is done or refused, and told either way."""
        price, lots, stop = order.amend_price_ticks, order.amend_qty_lots, order.amend_stop_ticks
        self.changes.reshaped.add(order.order_id)
        order.amend_arrival_ts = order.amend_price_ticks = order.amend_qty_lots = order.amend_stop_ticks = 0
        if order.triggered:
            stop = 0
        if not order.priority:
            # It has overtaken its order, which was sent in a latency spike.
            self._refuse_amend(order, RejectReason.UNKNOWN_ORDER, ts)
            return
        if self.faults.refuses_orders:
            self._refuse_amend(order, RejectReason.OUTAGE, ts)
            return
        if lots and lots <= order.cum_qty_lots:
            self._refuse_amend(order, RejectReason.QTY_EXECUTED, ts)
            return
        if not self._amendable(order, price, lots):
            self._refuse_amend(order, RejectReason.INSUFFICIENT_BALANCE, ts)
            return
        engine_lots = lots - self.placed_again.get(order.priority, 0) if lots else 0
        self._command.amend(order.priority, price, engine_lots, stop)
        self.absorb(self._execute(), lambda _: ts, amended=(price, lots, stop))

    def _refuse_amend(self, order: Order, reason: RejectReason | None, ts: int) -> None:
        self.changes.reshaped.add(order.order_id)
        order.amend_refusal = reason
        self._change(order, ts)
        self._emit(EventType.ORDER_AMEND_REFUSED, order)

    # ------------------------------------------------------------------ phases

    def enter_phase(self, phase: Phase, ts: int) -> None:
        """Let a trading phase begin; an auction that ends by it is held first."""
        self._command.enter_phase(phase)
        self.absorb(self._execute(), lambda _: ts)

    def set_reference(self, price_ticks: int) -> None:
        """Tell the engine the reference price of collar and static band."""
        self._command.set_reference(price_ticks)
        self._execute()

    # ------------------------------------------------------------------ the market's trades

    def place_as_market(self, side: Side, price_ticks: int, qty_lots: int, ts: int, *, rests: bool = False) -> int:
        """Let an invented order come in, a taker unless it `rests`; return the lots it traded."""
        before = len(self.changes.prints)
        self._command.place_as_market(side, price_ticks, qty_lots, TimeInForce.GTC if rests else TimeInForce.IOC)
        self.absorb(self._execute(), lambda _: ts)
        return sum(trade.qty_lots for trade in self.changes.prints[before:] if trade.aggressor is side)

    def print_trade(
        self, aggressor: Side, price_ticks: int, qty_lots: int, ts: int, *, is_auction: bool = False
    ) -> Print:
        """Publish a trade and return it; one of an auction has no aggressor."""
        self.trades += 1
        self.session_sequence += 1
        trade = Print(derived_id(ts, self.session_id, self.trades), ts, aggressor, price_ticks, qty_lots, is_auction)
        self.changes.prints.append(trade)
        self.changes.session_changed = True
        data = {
            "trade_id": str(trade.trade_id),
            "pair_id": str(self.instrument.pair_id),
            "aggressor": trade.told_aggressor,
            "price": self.instrument.price_text(price_ticks),
            "amount": self.instrument.qty_text(qty_lots),
            "ts": str(ts),
            "auction": is_auction,
        }
        event = Event(EventType.TRADE_EXECUTED, self.session_id, self.session_sequence, ts, str(trade.trade_id), data)
        self.changes.events.append(event)
        return trade

    # ------------------------------------------------------------------ what the engine tells

    def absorb(
        self,
        events: Events,
        stamp: Callable[[int], int],
        *,
        ending: tuple[OrderStatus, RejectReason | None] = (OrderStatus.CANCELED, None),
        amended: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        """Take in what happened in the market: public trades, and everything about our orders.

        Parameters
        ----------
        events : in their order, see `matching.state.EVENT_DTYPE`
        stamp : turns the market's instants into ns UTC
        ending : what an order becomes whose cancel was asked for
        amended : price, total lots and stop of the amendment that was asked for, 0 for what stays
        """
        if not len(events):
            return
        for watch in self.watchers:
            watch(events)
        self.changes.book_changed = True
        # Of the flow's own events nothing but its trades becomes an object: its ids are negative.
        wanted = (events["order_id"] > 0) | ((events["kind"] == _FILLED) & (events["liquidity"] != 0))
        wanted |= events["kind"] == _PHASE_CHANGED
        rows = events[wanted].tolist()
        trade: Print | None = None
        taker: Order | None = None
        for place, row in enumerate(rows):
            _, market_ts, kind, cause, side, liquidity, _, number, price_ticks, qty_lots, leaves_lots, match_id = row
            order = self.numbered.get(number)
            ts = stamp(market_ts)
            if kind == _FILLED and liquidity == _AUCTION:
                trade = self._fill_in_auction(rows, place, trade, ts)
            elif kind == _PHASE_CHANGED:
                self._tell_phase(Phase(liquidity), price_ticks, qty_lots, ts, is_interruption=cause != 0)
            elif kind == _FILLED and match_id == ALONE:
                self._fill_alone(row, ts)
            elif kind == _FILLED:
                if liquidity == _TAKER:
                    taker, trade = order, self.print_trade(Side(side), price_ticks, qty_lots, ts)
                    maker_is_ours = place + 1 < len(rows) and rows[place + 1][11] == match_id
                    is_maker = False
                else:
                    maker_is_ours = is_maker = True
                assert trade is not None
                if order is not None:
                    self._fill(order, Liquidity.MAKER if is_maker else Liquidity.TAKER, trade, leaves_lots)
                    if maker_is_ours != (taker is not None):
                        self._book_counterparty(order, trade)
            elif order is not None:
                self._note(order, kind, cause, qty_lots, ts, ending, amended)

    def _fill_alone(self, row: Any, ts: int) -> None:
        """Take in a fill against a recording: no public trade, as the tape is the recording's."""
        *_, liquidity, _, number, price_ticks, qty_lots, leaves_lots, _ = row
        order = self.numbered[number]
        self.trades += 1
        aggressor = order.side if liquidity == _TAKER else Side(-order.side)
        trade = Print(derived_id(ts, self.session_id, self.trades), ts, aggressor, price_ticks, qty_lots)
        self._fill(order, Liquidity.TAKER if liquidity == _TAKER else Liquidity.MAKER, trade, leaves_lots)
        self._book_counterparty(order, trade)
        self.changes.session_changed = True

    def _fill_in_auction(self, rows: list[Any], place: int, trade: Print | None, ts: int) -> Print:
        """Take in one side of an auction's trade; both sides are told, bid first. Return the trade."""
        *_, number, price_ticks, qty_lots, leaves_lots, match_id = rows[place]
        is_first = place + 1 < len(rows) and rows[place + 1][11] == match_id
        if is_first:
            trade = self.print_trade(Side.BUY, price_ticks, qty_lots, ts, is_auction=True)
        assert trade is not None
        order = self.numbered.get(number)
        if order is not None:
            self._fill(order, Liquidity.MAKER, trade, leaves_lots)
            if rows[place + (1 if is_first else -1)][7] <= 0:
                self._book_counterparty(order, trade)
        return trade

    def _tell_phase(self, phase: Phase, price_ticks: int, qty_lots: int, ts: int, *, is_interruption: bool) -> None:
        self.session_sequence += 1
        data = {
            "session_id": str(self.session_id),
            "pair_id": str(self.instrument.pair_id),
            "phase": phase_name(phase),
            "interruption": is_interruption,
            "auction_price": self.instrument.price_text(price_ticks) if qty_lots else None,
            "auction_amount": self.instrument.qty_text(qty_lots) if qty_lots else None,
        }
        key = self.session_id
        self.changes.events.append(Event(EventType.PHASE_CHANGED, key, self.session_sequence, ts, str(key), data))
        self.changes.session_changed = True

    def _note(
        self,
        order: Order,
        kind: int,
        cause: int,
        qty_lots: int,
        ts: int,
        ending: tuple[OrderStatus, RejectReason | None],
        amended: tuple[int, int, int],
    ) -> None:
        """Take in what happened to one of our orders beside a fill."""
        if kind == EventKind.CANCELED:
            status, reason = ending if cause == Cause.REQUESTED else (OrderStatus.CANCELED, reason_of(cause))
            self._end(order, status, reason, ts)
        elif kind == EventKind.REJECTED:
            self._end(order, OrderStatus.REJECTED, reason_of(cause), ts)
        elif kind == EventKind.EXPIRED:
            self._end(order, OrderStatus.EXPIRED, reason_of(cause), ts)
        elif kind == EventKind.TRIGGERED:
            self.changes.reshaped.add(order.order_id)
            order.triggered = True
            if order.status is OrderStatus.PENDING_NEW:
                self._set_status(order, OrderStatus.NEW)
            self._change(order, ts)
            self._emit(EventType.ORDER_TRIGGERED, order)
        elif kind == EventKind.AMENDED:
            price, lots, stop = amended
            self.changes.reshaped.add(order.order_id)
            self._reserve(order, -order.leaves_lots)
            order.price_ticks = price or order.price_ticks
            order.qty_lots = lots or order.qty_lots
            order.stop_ticks = stop or order.stop_ticks
            self._reserve(order, order.leaves_lots)
            self._change(order, ts)
            self._emit(EventType.ORDER_AMENDED, order)
        elif kind == EventKind.REFUSED:
            self._refuse_amend(order, reason_of(cause), ts)
        elif kind == EventKind.RESTATED and cause == Cause.SELF_TRADE:
            self._reserve(order, -qty_lots)
            self.changes.reshaped.add(order.order_id)
            order.qty_lots -= qty_lots
            if order.status is OrderStatus.PENDING_NEW:
                self._set_status(order, OrderStatus.NEW)
            self._change(order, ts)
            self._emit(EventType.ORDER_AMENDED, order)

    def _fill(self, order: Order, liquidity: Liquidity, trade: Print, leaves_lots: int) -> None:
        value = trade.price_ticks * trade.qty_lots
        is_maker = liquidity is Liquidity.MAKER
        rate = self.instrument.maker_fee_e8 if is_maker else self.instrument.taker_fee_e8
        fee = fee_tick_lots(value, rate)
        if self.instrument.contract_multiplier != 1:
            # A unit of cash may be many dollars: what the position's fees so far were rounded by goes into the next one.
            before = self.positions[order.position_id].volume_tick_lots
            fee = fee_tick_lots(before + value, rate) - fee_tick_lots(before, rate)
        self._reserve(order, -trade.qty_lots)
        order.cum_qty_lots += trade.qty_lots
        order.value_tick_lots += value
        assert order.qty_lots - order.cum_qty_lots == leaves_lots, (order.order_id, order.cum_qty_lots, leaves_lots)
        self._set_status(order, OrderStatus.PARTIALLY_FILLED if leaves_lots else OrderStatus.FILLED)
        self._change(order, trade.ts)
        if not leaves_lots:
            self._forget(order)
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
        self._set_status(order, status)
        order.reject_reason = reason
        self._forget(order)
        self._change(order, ts)
        names = {OrderStatus.CANCELED: EventType.ORDER_CANCELED, OrderStatus.REJECTED: EventType.ORDER_REJECTED}
        self._emit(names.get(status, EventType.ORDER_EXPIRED), order)

    def _forget(self, order: Order) -> None:
        del self.orders[order.order_id]
        self.numbered.pop(order.priority, None)
        self.placed_again.pop(order.priority, None)
        self.market_ends.pop(order.order_id, None)

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

    def _affordable(self, order: Order, notional: int) -> bool:
        if notional > MAX_TICK_LOTS:
            return False
        funds = self.funds[order.account_id]
        funds.exposure(self.instrument.pair_id, self.instrument.tick_lot)
        return funds.can_afford(self.instrument.pair_id, self.market.reference_ticks, order.side, notional)

    def _amendable(self, order: Order, price_ticks: int, qty_lots: int) -> bool:
        """Tell whether the account can afford what an amendment adds to the worst case."""
        price = price_ticks or self.order_price(order)
        left = (qty_lots or order.qty_lots) - order.cum_qty_lots
        if price * left > MAX_TICK_LOTS:
            return False
        return self._affordable(order, price * left - self.order_price(order) * order.leaves_lots)

    def order_price(self, order: Order) -> int:
        """Return the price at which an order is valued: its limit, its stop, or the reference price."""
        return order.price_ticks or order.stop_ticks or self.market.reference_ticks

    def _reserve(self, order: Order, qty_lots: int) -> None:
        """Reserve the notional of `qty_lots` (negative: release); orders without a limit reserve nothing."""
        exposure = self.funds[order.account_id].exposure(self.instrument.pair_id, self.instrument.tick_lot)
        exposure.reserve(order.side, order.price_ticks * qty_lots)

    def _book_funds(self, position: PositionState, sign: int) -> None:
        exposure = self.funds[position.account_id].exposure(self.instrument.pair_id, self.instrument.tick_lot)
        exposure.qty_lots += sign * position.qty_lots
        exposure.result_tick_lots += sign * (position.realised_tick_lots - position.fees_tick_lots)


def phase_name(phase: Phase) -> str:
    """Return the name of a trading phase as users have it."""
    return "HALTED" if phase is Phase.HALT else phase.name


def open_orders_of(orders: NDArray[Any]) -> NDArray[Any]:
    """Return the engine's open orders of accounts among its whole memory of orders, see `reconcile`."""
    found: NDArray[np.void] = orders[:-1]
    return found[(found["order_id"] > 0) & (found["leaves_lots"] > 0)]
