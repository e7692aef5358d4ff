"""An open replay: the facade's backtest mode, where a caller trades by hand against recorded data.

It translates between Decimal and ticks and owns the caller's order ids; fills are decided by `session.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from market_maker.backtest.conditioned import under_conditions
from market_maker.backtest.service import BacktestService
from market_maker.backtest.session import ReplaySession
from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import NewOrder, Order, OrderStatus, OrderType, Placed, TimeInForce
from market_maker.domain.position import Position, PositionState, describe_position
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import open_feed


class Replay:
    """Recorded data of one pair at an instant, with the caller's orders in it.

    Parameters
    ----------
    session : the replay
    instrument : what is traded
    """

    def __init__(self, session: ReplaySession, instrument: Instrument) -> None:
        self._session = session
        self._instrument = instrument
        self._order_ids: dict[UUID, int] = {}
        self.position_id = new_id()

    @property
    def now_ts(self) -> int:
        """The replay's present instant, ns UTC."""
        return self._session.now_ts

    @property
    def is_exhausted(self) -> bool:
        """True when the data has ended."""
        return self._session.exhausted

    def run_until(self, ts: int) -> None:
        """Let the recorded market and the orders in it go on until `ts`, ns UTC."""
        if ts < self.now_ts:
            raise InvalidRequest.of("ts", ts, f"an instant not before {self.now_ts}")
        self._session.run_until(ts)

    def place_order(self, order: NewOrder) -> Placed:
        """Send an order; it reaches the recorded venue after the latency.

        InvalidRequest for an order that cannot be.
        """
        self._check_pair(order.pair_id)
        if order.time_in_force is TimeInForce.GTD and order.expire_ts <= self.now_ts:
            allowed = f"an instant after {self.now_ts} for a GTD order"
            raise InvalidRequest.of("expire_ts", order.expire_ts, allowed)
        if order.order_id in self._order_ids:
            known = self._describe(order.order_id, order)
            return Placed(known, created=False, first_status=OrderStatus.PENDING_NEW)
        price_ticks = 0
        if order.order_type is OrderType.LIMIT:
            if order.price is None:
                raise InvalidRequest.of("price", None, "a price for a LIMIT order")
            price_ticks = self._instrument.price_to_ticks(order.price)
        self._order_ids[order.order_id] = self._session.submit(
            order.side,
            order.order_type,
            order.time_in_force,
            price_ticks,
            self._instrument.qty_to_lots(order.amount),
            post_only=order.post_only,
            expire_ts=order.expire_ts,
            execution_probability=order.execution_probability,
            price_impact=order.price_impact,
        )
        return Placed(self._describe(order.order_id, order), created=True, first_status=OrderStatus.PENDING_NEW)

    def cancel_order(self, order_id: UUID) -> None:
        """Ask for an order to be cancelled; the wish travels with the latency."""
        self._session.cancel(self._number(order_id))

    def status(self, order_id: UUID) -> OrderStatus:
        """Return where an order stands, as far as the caller's side knows."""
        return self._session.order(self._number(order_id)).status

    def get_order_book(self, pair_id: UUID, depth: int = 20) -> BookSnapshot:
        """Return the recorded book as known at the present instant."""
        self._check_pair(pair_id)
        bids, asks = self._session.book(depth)
        return BookSnapshot(pair_id, self.now_ts, 0, self._levels(bids), self._levels(asks))

    def position(self) -> Position:
        """Return what the fills so far have left."""
        state = PositionState(self.position_id, self._instrument.pair_id, BACKTEST_ACCOUNT_ID, None)
        for fill in self._session.fills():
            state.apply_fill(fill.side, fill.price_ticks, fill.qty_lots, fill.fee_tick_lots, self._instrument)
            state.version += 1
        return describe_position(state, self._instrument, None)

    def _number(self, order_id: UUID) -> int:
        if order_id not in self._order_ids:
            raise NotFound.of("order of this replay", "order_id", str(order_id))
        return self._order_ids[order_id]

    def _check_pair(self, pair_id: UUID) -> None:
        if pair_id != self._instrument.pair_id:
            raise InvalidRequest.of("pair_id", str(pair_id), f"the pair of the open replay, {self._instrument.pair_id}")

    def _levels(self, levels: list[tuple[int, int]]) -> tuple[Level, ...]:
        instrument = self._instrument
        return tuple(Level(instrument.ticks_to_price(price), instrument.lots_to_qty(lots)) for price, lots in levels)

    def _describe(self, order_id: UUID, order: NewOrder) -> Order:
        state = self._session.order(self._order_ids[order_id])
        return Order(
            order_id=order_id,
            pair_id=order.pair_id,
            account_id=BACKTEST_ACCOUNT_ID,
            strategy_id=order.strategy_id,
            position_id=self.position_id,
            client_order_id=order.client_order_id,
            side=order.side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            price_ticks=self._instrument.price_to_ticks(order.price) if order.price is not None else 0,
            qty_lots=self._instrument.qty_to_lots(order.amount),
            execution_probability=order.execution_probability,
            price_impact=order.price_impact,
            created_ts=self.now_ts,
            arrival_ts=self.now_ts,
            status=state.status,
            reject_reason=state.reason,
            cum_qty_lots=state.cum_qty_lots,
        )


async def open_replay(
    backtests: BacktestService,
    instrument: Instrument,
    start_ts: int,
    end_ts: int,
    market_conditions: Mapping[str, Any] | None = None,
) -> Replay:
    """Open recorded data of [start_ts, end_ts), as they are or under conditions.

    Raises
    ------
    InvalidRequest : a condition is wrong
    DataError : there are no data, they are not whole, or the conditions are not possible on them
    """
    conditions = MarketConditions.of(market_conditions)

    def load() -> ReplaySession:
        steps = (instrument.tick_size, instrument.lot_size)
        feed = open_feed(backtests.lake, instrument.venue, instrument.symbol, start_ts, end_ts, steps=steps)
        if conditions is not None:
            feed, _ = under_conditions(feed, conditions, instrument)
        settings = backtests.settings
        return ReplaySession(
            feed,
            instrument,
            balance=settings.default_balance.amount,
            entry_latency_ns=settings.execution_delay,
            response_latency_ns=settings.execution_delay,
        )

    return Replay(await asyncio.to_thread(load), instrument)
