"""One strategy that runs on a simulated market: woken in the market's time, its requests are orders like anybody's.

It looks at the market at the very instants that wake it, whatever the pace of the clock, and places, amends and cancels by the
venue's own ways: funds, latency, events and durability are those of orders that come by REST. A strategy that fails ends
alone. Knows no database: what must be written goes into the exchange's changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import MarketMakerError, RejectReason, shorten
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import derived_id
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.domain.units import NS_PER_SECOND, format_instant
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.played import PlayedExchange
from market_maker.simulator.strategy_runs.sight import lots_ahead, own_levels, shown_levels
from market_maker.simulator.strategy_runs.state import FAILED, RUNNING, STOPPED, Run, run_data
from market_maker.storage.strategy_runs import saved
from market_maker.strategies.actions import (
    INSTRUMENT_DTYPE,
    LEVEL_DTYPE,
    ORDER_DTYPE,
    WAKE_BOOK,
    WAKE_ORDER,
    WAKE_TIMER,
    WAKE_TRADE,
    Amend,
    Cancel,
    Place,
    View,
    decode,
    new_actions,
)
from market_maker.strategies.compiling.apart import compiled_apart
from market_maker.strategies.contract import WAKES, PreparedStrategy
from market_maker.venue.changes import Changes
from market_maker.venue.venue import Venue

OPEN_ORDERS_MAX = 1_024
WAKES_AT_ONCE_MAX = 1_000
"""Wake-ups at one instant after which a strategy counts as endless: it is woken by what it does itself."""
WAKES_PER_SECOND = 1_000
"""Of the clock: a faster timer is slowed down to this."""
VALUE_MAX = 1 << 40
_FOREVER = 1 << 62
_NO_INSTRUMENTS = np.zeros(0, INSTRUMENT_DTYPE)
_AT_VENUE = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)
_RESTING = (TimeInForce.GTC, TimeInForce.GTD)


class Guard(Protocol):
    """What stands before orders, `active` or not: it raises an error of ours when a limit or a kill switch forbids one."""

    active: bool

    def check(self, wish: Any, venue: Venue, ts: int) -> None:
        """Look at a new order."""

    def check_amended(self, order: Order, venue: Venue, ts: int, *, price: int, lots: int, stop: int) -> None:
        """Look at an open order that is to become another."""


class LiveStrategy:
    """A strategy at work.

    Parameters
    ----------
    run : its row; kept up to date here
    strategy : prepared
    memory : what it remembers, (memory_size,) float64; None for one that begins
    guard : what each new order must pass
    """

    def __init__(
        self,
        run: Run,
        strategy: PreparedStrategy,
        memory: NDArray[np.float64] | None = None,
        guard: Guard | None = None,
    ) -> None:
        kind = strategy.kind
        self.run = run
        self.strategy = strategy
        self.memory = np.zeros(strategy.memory_size) if memory is None else memory
        self._guard = guard
        self._function: Callable[..., None] = compiled_apart(strategy) if kind.is_compiled else strategy.function()
        self._actions = new_actions()
        self._orders: dict[int, Order] = {}
        self._changes: Changes | None = None
        self._prints = self._fills = 0
        self._is_dirty = True

    # ------------------------------------------------------------------ as an agent of the exchange

    @property
    def watches(self) -> bool:
        """Whether anything but time wakes it."""
        return self.run.state == RUNNING and bool(self.strategy.kind.wake_bits & ~WAKE_TIMER)

    def next_ts(self) -> int:
        """Return the instant of the market at which it looks next."""
        progress = self.run.progress
        marked = progress.score.horizons if progress.score.mid_half else ()
        due = min((each.waiting[0][0] for each in marked if each.waiting), default=_FOREVER)
        if self.run.state != RUNNING:
            return due
        return 0 if progress.reasons else min(due, progress.next_wake_ts)

    def begin(self, exchange: SimulatedExchange) -> None:
        """Take the place in the market at its present instant, for the first time or after a restart."""
        progress = self.run.progress
        self._orders = {}
        for order_id, number in sorted(progress.numbers.items(), key=lambda item: item[1]):
            order = exchange.venue.orders.get(order_id)
            if order is None:
                del progress.numbers[order_id]
                progress.known.pop(order_id, None)
            else:
                self._orders[number] = order
        is_new = not progress.next_wake_ts
        exchange.agents.append(self)
        if is_new:
            position = exchange.venue.position_for(self.run.account_id, self.run.strategy_id)
            progress.score.start_lots = progress.position_lots = position.qty_lots
            progress.next_wake_ts = exchange.market.clock_ts + self.strategy.interval_ns
            progress.refilled = exchange.market.refilled
            progress.last_trade_ticks = exchange.market.last_trade_ticks
            if isinstance(exchange, PlayedExchange):  # The first look counts what a backtest's first look does.
                progress.bought_lots, progress.sold_lots, progress.trades = exchange.recording.traded()
            self._changes, self._prints, self._fills = exchange.changes, len(exchange.changes.prints), 0
            self.tell(exchange, EventType.STRATEGY_STARTED)
            self.look(exchange)  # The book as it is found wakes those who ask for that.

    def look(self, exchange: SimulatedExchange) -> None:
        """Take in what has happened, and wake the strategy if there is a reason."""
        self._take_in(exchange)
        self._look_at_book(exchange)
        if self.run.state != RUNNING:
            if not self._orders and not any(each.waiting for each in self.run.progress.score.horizons):
                exchange.agents.remove(self)
                self._is_dirty = True
                self.write(exchange)
            return
        progress, now = self.run.progress, exchange.market.clock_ts
        if now >= progress.next_wake_ts:
            self._add_reason(WAKE_TIMER)
            progress.next_wake_ts = self._following_wake(now, exchange)
        while progress.reasons and self.run.state == RUNNING:
            self._wake(exchange)
            self._take_answers(exchange)  # An order that is refused at once is an answer, too.

    def write(self, exchange: SimulatedExchange) -> None:
        """Add its row to what is written with this commit, if there is anything new."""
        self._take_in(exchange)
        if self._is_dirty:
            self._is_dirty = False
            self.run.updated_ts = exchange.last_ts
            exchange.changes.statements.append(
                saved(self.run, self.run.progress.packed(), self.memory.tobytes(), is_watched=self in exchange.agents)
            )

    def end(self, exchange: SimulatedExchange) -> None:
        """End because the session has ended; its orders have ended with it."""
        self._take_in(exchange)
        exchange.agents.remove(self)
        if self.run.state == RUNNING:
            self._finish(exchange, STOPPED, "the session was stopped")
        self._is_dirty = True
        self.write(exchange)

    def stop(self, exchange: SimulatedExchange, *, failure: str = "") -> None:
        """Stop at the request of a user, or because of a failure outside of the strategy; its orders are cancelled."""
        self._finish(exchange, FAILED if failure else STOPPED, failure)

    # ------------------------------------------------------------------ taking in

    def _take_in(self, exchange: SimulatedExchange) -> None:
        self._take_trades(exchange)
        self._take_answers(exchange)

    def _add_reason(self, reason: int) -> None:
        self.run.progress.reasons |= reason & self.strategy.kind.wake_bits

    def _take_trades(self, exchange: SimulatedExchange) -> None:
        """Count public trades and own fills since the last call."""
        changes, progress = exchange.changes, self.run.progress
        if changes is not self._changes:
            self._changes, self._prints, self._fills = changes, 0, 0
        for trade in changes.prints[self._prints :]:
            if trade.aggressor is Side.BUY:
                progress.bought_lots += trade.qty_lots
            else:
                progress.sold_lots += trade.qty_lots
            progress.trades += 1
            progress.last_trade_ticks = trade.price_ticks
            self._add_reason(WAKE_TRADE)
            self._is_dirty = True
        for fill in changes.fills[self._fills :]:
            if fill.order_id in progress.numbers:
                progress.score.add_fill(
                    exchange.market.clock_ts, int(fill.side), fill.price_ticks, fill.qty_lots,
                    fee_tick_lots=fill.fee_tick_lots, is_maker=fill.liquidity is Liquidity.MAKER,
                )  # fmt: skip
                self._is_dirty = True
        self._prints, self._fills = len(changes.prints), len(changes.fills)

    def _take_answers(self, exchange: SimulatedExchange) -> None:
        """Learn what has become of own orders."""
        progress = self.run.progress
        for number, order in list(self._orders.items()):
            version, placed_ts, ahead = progress.known[order.order_id]
            if order.version == version:
                continue
            self._is_dirty = True
            self._add_reason(WAKE_ORDER)
            if order.status.is_open:
                if order.status in _AT_VENUE:
                    own = frozenset(each.priority for each in self._orders.values() if each.priority)
                    ahead = lots_ahead(exchange, order, own)
                progress.known[order.order_id] = (order.version, placed_ts, ahead)
                continue
            progress.rejected += order.status is OrderStatus.REJECTED
            if order.status is OrderStatus.REJECTED and order.reject_reason is not None:
                progress.last_refusal = f"order {number} was rejected: {order.reject_reason.value}"
            del self._orders[number], progress.numbers[order.order_id], progress.known[order.order_id]

    def _look_at_book(self, exchange: SimulatedExchange) -> None:
        """Take down mid and best prices of others; a best price that changed is a reason to wake."""
        progress = self.run.progress
        own = own_levels(self._orders.values())
        best = [shown_levels(exchange, side, own, 1) for side in (Side.BUY, Side.SELL)]
        bid, ask = (level[0][0] if level else 0 for level in best)
        refilled = exchange.market.refilled
        # A recording counts its own changes: of two at one instant that cancel each other out, too.
        is_other = not exchange.is_played and (bid, ask) != (progress.best_bid_ticks, progress.best_ask_ticks)
        if is_other or refilled != progress.refilled:
            self._add_reason(WAKE_BOOK)
        progress.best_bid_ticks, progress.best_ask_ticks, progress.refilled = bid, ask, refilled
        # While a side is empty the last mid stands: what was to be marked by now must not wait for another one.
        mid_half = bid + ask if bid and ask else progress.score.mid_half
        if mid_half:
            self._is_dirty |= progress.score.mark(exchange.market.clock_ts, mid_half)
        progress.position_lots = exchange.venue.position_for(self.run.account_id, self.run.strategy_id).qty_lots
        self._quote(own)

    def _quote(self, own: dict[Side, dict[int, tuple[int, int]]]) -> None:
        bids, asks = own[Side.BUY], own[Side.SELL]
        bid = (max(bids), bids[max(bids)][0]) if bids else None
        ask = (min(asks), asks[min(asks)][0]) if asks else None
        if self.run.progress.quotes != (bid, ask):
            self.run.progress.quotes = (bid, ask)
            self._is_dirty = True

    # ------------------------------------------------------------------ waking and doing

    def _following_wake(self, now: int, exchange: SimulatedExchange) -> int:
        """Return the instant of the next wake-up by time: the interval, or what the clock has room for.

        A recording waits for those who act in it.
        """
        interval, due = self.strategy.interval_ns, self.run.progress.next_wake_ts
        if exchange.is_played:
            return due + interval
        speed = exchange.session.speed
        least = now + max(1, round(NS_PER_SECOND / WAKES_PER_SECOND * speed) if interval < NS_PER_SECOND else 1)
        if due + interval >= least:
            return due + interval
        return due + -((due - least) // interval) * interval

    def _wake(self, exchange: SimulatedExchange) -> None:
        progress, now = self.run.progress, exchange.market.clock_ts
        reason, progress.reasons = progress.reasons, 0
        self._is_dirty = True
        progress.wakes += 1
        progress.wakes_at_once = progress.wakes_at_once + 1 if progress.last_wake_ts == now else 0
        progress.last_wake_ts = now
        if progress.wakes_at_once > WAKES_AT_ONCE_MAX:
            self._fail(exchange, reason, "is woken by its own orders again and again at one instant")
            return
        view = self._view(exchange, reason)
        progress.bought_lots = progress.sold_lots = progress.trades = 0
        self._actions[0]["kind"] = 0
        try:
            self._function(view, self.strategy.vector, self.memory, self._actions)
            requests = decode(self._actions)
        except Exception as error:  # noqa: BLE001  (whatever it was, it is the strategy's own and ends with it)
            self._fail(exchange, reason, f"failed: {error!r}")
            return
        for place, request in enumerate(requests):
            # Orders bear instants of their own, so that after a restart, too, they arrive in the order in which they were made.
            fault = self._obey(exchange, request, exchange.last_ts + place)
            if fault:
                self._fail(exchange, reason, fault)
                return

    def _view(self, exchange: SimulatedExchange, reason: int) -> View:
        progress, instrument = self.run.progress, exchange.instrument
        own, levels = own_levels(self._orders.values()), self.strategy.depth_levels
        bids, asks = (shown_levels(exchange, side, own, max(1, levels)) for side in (Side.BUY, Side.SELL))
        position = exchange.venue.position_for(self.run.account_id, self.run.strategy_id)
        funds = exchange.venue.funds[self.run.account_id]
        best_bid, best_ask = (bids[0] if bids else (0, 0)), (asks[0] if asks else (0, 0))
        return View(
            now_ts=exchange.market.clock_ts,
            wake_reason=reason,
            best_bid_ticks=best_bid[0],
            best_bid_lots=best_bid[1],
            best_ask_ticks=best_ask[0],
            best_ask_lots=best_ask[1],
            position_lots=position.qty_lots,
            cash_tick_lots=position.cash_tick_lots,
            fees_tick_lots=position.fees_tick_lots,
            balance_tick_lots=min(VALUE_MAX << 21, int(funds.initial_balance / instrument.tick_lot)),
            last_trade_ticks=progress.last_trade_ticks,
            bought_lots=progress.bought_lots,
            sold_lots=progress.sold_lots,
            trades=progress.trades,
            bids=_levels(bids, levels),
            asks=_levels(asks, levels),
            orders=np.array([self._seen(number, order) for number, order in self._orders.items()], ORDER_DTYPE),
            instruments=_NO_INSTRUMENTS,
        )

    def _seen(self, number: int, order: Order) -> tuple[int, ...]:
        """Return an own order as `ORDER_DTYPE`."""
        _, placed_ts, ahead = self.run.progress.known[order.order_id]
        return (
            number, int(order.side), order.price_ticks, order.qty_lots, order.leaves_lots, int(order.status),
            int(order.cancel_arrival_ts > 0), ahead, placed_ts, int(order.amend_arrival_ts > 0), 0,
        )  # fmt: skip

    def _obey(self, exchange: SimulatedExchange, request: Place | Cancel | Amend, ts: int) -> str:
        """Send a request on its way; return what is wrong with it, or nothing."""
        arrival_ts = exchange.agent_arrival_ts()
        if isinstance(request, Place):
            return self._place(exchange, request, ts, arrival_ts)
        order = self._orders.get(request.order_id)
        if isinstance(request, Amend) and not (
            0 < request.qty_lots <= VALUE_MAX and 0 < request.price_ticks <= VALUE_MAX
        ):
            return (
                f"asked for a change to {request.qty_lots} lots at {request.price_ticks} ticks; both are from 1 to 2^40"
            )
        if order is None or not order.status.is_open or order.cancel_arrival_ts:
            return ""
        if isinstance(request, Cancel):
            exchange.venue.request_cancel(order, exchange.last_ts, arrival_ts, str(self.run.run_id))
        else:
            if not order.order_type.has_price:
                return "asked for a change of an order that has no price"
            if order.amend_arrival_ts or (request.price_ticks, request.qty_lots) == (order.price_ticks, order.qty_lots):
                return ""
            try:
                if self._guard is not None and self._guard.active:
                    self._guard.check_amended(
                        order, exchange.venue, ts, price=request.price_ticks, lots=request.qty_lots, stop=0
                    )
                exchange.venue.request_amend(
                    order, exchange.last_ts, arrival_ts, str(self.run.run_id),
                    price=request.price_ticks, lots=request.qty_lots, stop=0,
                )  # fmt: skip
            except MarketMakerError as error:
                self._note_refusal(error.detail)
        self._note_own_change(order)
        return ""

    def _place(self, exchange: SimulatedExchange, wish: Place, ts: int, arrival_ts: int) -> str:
        is_limit = wish.order_type is OrderType.LIMIT
        fault = _fault_of(wish)
        if fault:
            return fault
        if len(self._orders) >= OPEN_ORDERS_MAX:
            return f"has more than {OPEN_ORDERS_MAX} orders open or on their way"
        run, progress = self.run, self.run.progress
        number = progress.last_order + 1
        order = Order(
            order_id=derived_id(ts, run.run_id, number),
            pair_id=run.pair_id,
            account_id=run.account_id,
            strategy_id=run.strategy_id,
            position_id=exchange.venue.position_for(run.account_id, run.strategy_id).position_id,
            client_order_id=None,
            side=Side(wish.side),
            order_type=wish.order_type,
            time_in_force=TimeInForce.IOC if not is_limit and wish.time_in_force in _RESTING else wish.time_in_force,
            post_only=wish.post_only,
            price_ticks=wish.price_ticks if is_limit else 0,
            qty_lots=wish.qty_lots,
            execution_probability=1.0,
            price_impact=0.0,
            created_ts=ts,
            arrival_ts=arrival_ts,
            expire_ts=exchange.expiry_ts(wish.expire_ts) if wish.time_in_force is TimeInForce.GTD else 0,
            self_trade=SelfTradePrevention.CANCEL_OLDEST,
        )
        progress.last_order = number
        progress.placed += 1
        if self._guard is not None and self._guard.active:
            try:
                self._guard.check(order, exchange.venue, ts)
            except MarketMakerError as error:
                self._note_refusal(error.detail)
                return ""
        self._orders[number] = order
        progress.numbers[order.order_id] = number
        market_end = wish.expire_ts if order.time_in_force is TimeInForce.GTD else 0
        exchange.venue.accept(order, str(run.run_id), market_end=market_end)
        # One that is refused at once is told by the next look at own orders: its first version is not the one known.
        known = 0 if order.reject_reason is RejectReason.INSUFFICIENT_BALANCE else order.version
        progress.known[order.order_id] = (known, exchange.market.clock_ts, 0)
        return ""

    def _note_refusal(self, text: str) -> None:
        self.run.progress.refused += 1
        self.run.progress.last_refusal = shorten(text, 300)

    def _note_own_change(self, order: Order) -> None:
        """Take a change of an order that was one's own wish for known: it is no answer."""
        _, placed_ts, ahead = self.run.progress.known[order.order_id]
        self.run.progress.known[order.order_id] = (order.version, placed_ts, ahead)

    # ------------------------------------------------------------------ endings

    def _fail(self, exchange: SimulatedExchange, reason: int, what: str) -> None:
        woken = " and ".join(word for word, bit in WAKES.items() if reason & bit)
        text = f"strategy {self.run.name} ({self.run.kind}) at {format_instant(exchange.last_ts)}, woken by {woken}: {what}"
        self._finish(exchange, FAILED, shorten(text, 1_000))

    def _finish(self, exchange: SimulatedExchange, state: str, error: str) -> None:
        """Let the strategy be woken no more and cancel its orders."""
        run, progress = self.run, self.run.progress
        run.state, run.error, run.ended_ts = state, error, exchange.last_ts
        progress.reasons = 0
        arrival_ts = exchange.agent_arrival_ts()
        for order in self._orders.values():
            if order.status.is_open and not order.cancel_arrival_ts:
                exchange.venue.request_cancel(
                    order, exchange.last_ts, max(arrival_ts, order.arrival_ts), str(run.run_id)
                )
        self._is_dirty = True
        self.tell(exchange, EventType.STRATEGY_FAILED if state == FAILED else EventType.STRATEGY_STOPPED)

    def tell(self, exchange: SimulatedExchange, kind: EventType) -> None:
        """Add an event of this run to the exchange's changes."""
        run = self.run
        run.sequence += 1
        event = Event(kind, run.run_id, run.sequence, exchange.last_ts, str(run.run_id), run_data(run))
        exchange.changes.events.append(event)
        exchange.changes.session_changed = True


def _levels(levels: list[tuple[int, int]], count: int) -> NDArray[Any]:
    """Return the best `count` levels, zeros after the last."""
    found = np.zeros(count, LEVEL_DTYPE)
    for place, level in enumerate(levels[:count]):
        found[place] = level
    return found


def _fault_of(wish: Place) -> str:
    """Return what is wrong with a new order, or nothing; the rules are those of a backtest."""
    is_limit, rests = wish.order_type is OrderType.LIMIT, wish.time_in_force in _RESTING
    faults = (
        (wish.instrument != 0, f"an order of instrument {wish.instrument}, there is only number 0"),
        (abs(wish.side) != 1, f"an order of side {wish.side}; it is 1 or -1"),
        (not 0 < wish.qty_lots <= VALUE_MAX, f"an order of {wish.qty_lots} lots; it is 1 to 2^40"),
        (wish.order_type.is_stop, "a stop order; it is LIMIT or MARKET"),
        (is_limit and not 0 < wish.price_ticks <= VALUE_MAX, f"a price of {wish.price_ticks} ticks; it is 1 to 2^40"),
        (wish.time_in_force is TimeInForce.GTD and not (is_limit and wish.expire_ts > 0), "GTD without a price or an end"),
        (wish.post_only and not (is_limit and rests), "post-only on an order that may not rest"),
    )  # fmt: skip
    return next((f"asked for {text}" for is_wrong, text in faults if is_wrong), "")
