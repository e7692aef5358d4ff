"""What one step of a venue changed: the content of one transaction and of the messages after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from market_maker.domain.events import Event
from market_maker.domain.order import Order, Side
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill


@dataclass(frozen=True, slots=True)
class Print:
    """One public trade: what everybody sees. One of an auction has no aggressor: `aggressor` is BUY and is not told."""

    trade_id: UUID
    ts: int
    aggressor: Side
    price_ticks: int
    qty_lots: int
    is_auction: bool = False

    @property
    def told_aggressor(self) -> str | None:
        """The side of the aggressor as it is told; None for an auction."""
        return None if self.is_auction else self.aggressor.name


@dataclass(slots=True)
class Changes:
    """All that must be committed together, in the order in which it happened.

    `reshaped` are the changed orders whose price, quantity, stop or amendment changed. `mids` are (ns UTC, mid in half ticks) after each step of the market; `commands` rows of its log, see
    `venue.commands`. `is_rewritten`: the market was changed in a way that its log does not tell, so that it must be written whole. `causes` are the correlation ids of positions
    that a request changed without an order. `statements` are further SQL with parameters, of those who act on the market.
    """

    new_orders: list[Order] = field(default_factory=list)
    changed_orders: dict[UUID, Order] = field(default_factory=dict)
    reshaped: set[UUID] = field(default_factory=set)
    positions: dict[UUID, PositionState] = field(default_factory=dict)
    causes: dict[UUID, str] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    prints: list[Print] = field(default_factory=list)
    mids: list[tuple[int, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    book_changed: bool = False
    session_changed: bool = False
    is_rewritten: bool = False

    def is_empty(self) -> bool:
        """True when there is nothing to commit."""
        return not (
            self.new_orders
            or self.changed_orders
            or self.positions
            or self.events
            or self.commands
            or self.statements
            or self.session_changed
        )
