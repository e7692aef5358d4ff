"""Facts in the past tense: what the bus, the stream and the outbox carry.

An `Event` is made at the instant it describes and never changes. `data` holds only JSON values, or structs of them;
money and quantities are decimal text, instants are ns as text (JSON numbers lose digits beyond 2**53).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.domain.position import Position
from market_maker.domain.trade import Fill
from market_maker.domain.units import format_instant


class EventType(StrEnum):
    """The type of an event, which is also its routing key on the bus."""

    ORDER_RECEIVED = "simulator.order.received"
    """Durably accepted (PENDING_NEW); it has not reached the venue yet."""
    ORDER_ACCEPTED = "simulator.order.accepted"
    """At the venue (NEW)."""
    ORDER_REJECTED = "simulator.order.rejected"
    ORDER_FILLED = "simulator.order.filled"
    ORDER_CANCEL_REQUESTED = "simulator.order.cancel_requested"
    ORDER_CANCELED = "simulator.order.canceled"
    ORDER_CANCEL_REFUSED = "simulator.order.cancel_refused"
    """The venue did not carry out a wish to cancel; the order is as it was."""
    ORDER_EXPIRED = "simulator.order.expired"
    ORDER_TRIGGERED = "simulator.order.triggered"
    """The last trade has reached the order's stop price."""
    ORDER_AMEND_REQUESTED = "simulator.order.amend_requested"
    ORDER_AMENDED = "simulator.order.amended"
    """Changed at the venue: by request, or by self-trade prevention that took quantity off."""
    ORDER_AMEND_REFUSED = "simulator.order.amend_refused"
    TRADE_EXECUTED = "simulator.trade.executed"
    POSITION_UPDATED = "simulator.position.updated"
    SESSION_STARTED = "simulator.session.started"
    SESSION_CHANGED = "simulator.session.changed"
    SESSION_RECORDED = "simulator.session.recorded"
    ACCOUNT_TRANSFERRED = "simulator.account.transferred"
    """Money went into an account or out of it, also by a reset."""
    PHASE_CHANGED = "simulator.session.phase_changed"
    """Another trading phase; after an auction with its price and quantity."""
    SCENARIO_STARTED = "simulator.session.scenario_started"
    SCENARIO_ENDED = "simulator.session.scenario_ended"
    """Over, or stopped; one that repeats starts again."""
    STRATEGY_STARTED = "simulator.strategy.started"
    STRATEGY_STOPPED = "simulator.strategy.stopped"
    """By its owner, or because its session was."""
    STRATEGY_FAILED = "simulator.strategy.failed"
    """It made an error, which ends it alone."""
    BACKTEST_QUEUED = "backtest.queued"
    BACKTEST_STARTED = "backtest.started"
    BACKTEST_PROGRESS = "backtest.progress"
    BACKTEST_COMPLETED = "backtest.completed"
    BACKTEST_FAILED = "backtest.failed"
    BACKTEST_CANCELED = "backtest.canceled"
    SWEEP_QUEUED = "backtest.sweep.queued"
    SWEEP_STARTED = "backtest.sweep.started"
    SWEEP_PROGRESS = "backtest.sweep.progress"
    """A chunk of sets is done, and its trials are kept."""
    SWEEP_COMPLETED = "backtest.sweep.completed"
    SWEEP_FAILED = "backtest.sweep.failed"
    SWEEP_CANCELED = "backtest.sweep.canceled"
    IMPORT_QUEUED = "market_data.import.queued"
    IMPORT_PROGRESS = "market_data.import.progress"
    IMPORT_COMPLETED = "market_data.import.completed"
    IMPORT_FAILED = "market_data.import.failed"
    RISK_ASSESSED = "risk.assessed"
    RISK_ALERT_RAISED = "risk.alert.raised"
    RISK_ALERT_CLEARED = "risk.alert.cleared"
    RISK_LIMIT_BREACHED = "risk.limit.breached"
    RISK_KILL_SWITCH_ENGAGED = "risk.kill_switch.engaged"
    RISK_KILL_SWITCH_RELEASED = "risk.kill_switch.released"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact about one aggregate; `sequence` counts the facts of that aggregate from 1 without gaps."""

    type: str
    aggregate_id: UUID
    sequence: int
    ts: int
    correlation_id: str
    data: dict[str, Any] | OrderContent


@dataclass(slots=True)
class SimulationContent:
    """How the venue treats an order, as events and answers tell it."""

    execution_probability: float
    price_impact: float


@dataclass(slots=True)
class FillContent:
    """A fill in the units of users, as events and answers carry it."""

    trade_id: UUID
    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    position_id: UUID
    side: str
    liquidity: str
    price: str
    amount: str
    fee: str
    ts: str


@dataclass(slots=True)
class OrderContent:
    """An order in the units of users, as events and answers carry it."""

    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    client_order_id: str | None
    side: str
    type: str
    time_in_force: str
    post_only: bool
    price: str | None
    amount: str
    status: str
    reject_reason: str | None
    cum_qty: str
    leaves_qty: str
    average_price: str | None
    cancel_requested: bool
    simulation_params: SimulationContent
    created_ts: str
    updated_ts: str
    version: int
    stop_price: str | None
    display_amount: str | None
    self_trade_prevention: str
    triggered: bool
    amend_requested: bool
    amend_refusal: str | None
    expire_time: str | None


@dataclass(slots=True)
class FilledOrderContent(OrderContent):
    """An order and the fill that has just happened to it."""

    fill: FillContent


_SIDES = {side: side.name for side in Side}
_TYPES = {kind: kind.name for kind in OrderType}
_TIMES = {time: time.name for time in TimeInForce}
_PREVENTIONS = {choice: choice.name for choice in SelfTradePrevention}
_STATUSES = {status: status.name for status in OrderStatus}


def order_content(order: Order, instrument: Instrument, fill: Fill | None = None) -> OrderContent:
    """Return an order, with the fill that has just happened, in the units of users. Made for speed: no Decimal."""
    cum = order.cum_qty_lots
    amount = leaves = instrument.qty_text(order.qty_lots)
    if cum or not order.status.is_open:
        leaves = instrument.qty_text(order.leaves_lots)
    average = None
    if cum:
        average = f"{EXACT.multiply(Decimal(order.value_tick_lots), instrument.tick_size) / Decimal(cum):f}"
    content = (
        order.order_id,
        order.pair_id,
        order.account_id,
        order.strategy_id,
        order.client_order_id,
        _SIDES[order.side],
        _TYPES[order.order_type],
        _TIMES[order.time_in_force],
        order.post_only,
        instrument.price_text(order.price_ticks) if order.price_ticks else None,
        amount,
        _STATUSES[order.status],
        None if order.reject_reason is None else order.reject_reason.value,
        instrument.qty_text(cum),
        leaves,
        average,
        order.cancel_arrival_ts > 0,
        SimulationContent(order.execution_probability, order.price_impact),
        str(order.created_ts),
        str(order.updated_ts),
        order.version,
        instrument.price_text(order.stop_ticks) if order.stop_ticks else None,
        instrument.qty_text(order.display_lots) if order.display_lots else None,
        _PREVENTIONS[order.self_trade],
        order.triggered,
        order.amend_arrival_ts > 0,
        None if order.amend_refusal is None else order.amend_refusal.value,
        format_instant(order.expire_ts) if order.expire_ts else None,
    )
    return OrderContent(*content) if fill is None else FilledOrderContent(*content, fill_content(fill, instrument))


def fill_content(fill: Fill, instrument: Instrument) -> FillContent:
    """Return a fill in the units of users."""
    return FillContent(
        fill.trade_id,
        fill.order_id,
        fill.pair_id,
        fill.account_id,
        fill.strategy_id,
        fill.position_id,
        _SIDES[fill.side],
        fill.liquidity.name,
        instrument.price_text(fill.price_ticks),
        instrument.qty_text(fill.qty_lots),
        instrument.cash_text(fill.fee_tick_lots),
        str(fill.ts),
    )


def position_data(position: Position) -> dict[str, Any]:
    """Return a position as JSON values."""

    def text(value: object) -> str | None:
        return None if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)

    return {
        "position_id": str(position.position_id),
        "pair_id": str(position.pair_id),
        "account_id": str(position.account_id),
        "strategy_id": text(position.strategy_id),
        "quantity": text(position.quantity),
        "average_price": text(position.average_price),
        "realised_pnl": text(position.realised_pnl),
        "unrealised_pnl": text(position.unrealised_pnl),
        "fees": text(position.fees),
        "mark_price": text(position.mark_price),
        "updated_ts": str(position.updated_ts),
        "version": position.version,
        "currency": position.currency,
    }
