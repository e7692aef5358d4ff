"""What can be asked of a pair's loop: placing an order, or any other action on the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from market_maker.domain.order import OrderType, Placed, SelfTradePrevention, Side, TimeInForce
from market_maker.simulator.exchange import SimulatedExchange


@dataclass(slots=True)
class PlaceCommand:
    """An order that passed validation, in ticks and lots.

    `key` and `body_hash` make it safe to repeat. With `wait` the answer comes when the venue has handled the
    order, else when it is durably accepted.
    """

    order_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    client_order_id: str | None
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price_ticks: int
    qty_lots: int
    execution_probability: float
    price_impact: float
    expire_ts: int
    stop_ticks: int
    display_lots: int
    self_trade: SelfTradePrevention
    key: str | None
    body_hash: bytes
    correlation_id: str
    wait: bool
    answer: asyncio.Future[Placed]


@dataclass(slots=True)
class ActionCommand:
    """Any other change: `action(exchange, ts)` runs between two steps of the market; its result is the answer.

    The action must either change nothing and raise, or succeed. `statements` it returns by `record` are
    executed in the same transaction.
    """

    action: Callable[[SimulatedExchange, int], Any]
    answer: asyncio.Future[Any]
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
