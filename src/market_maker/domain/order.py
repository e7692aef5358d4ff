"""Orders: sides, types, times in force, statuses and the table of allowed transitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from uuid import UUID

from market_maker.domain.errors import RejectReason
from market_maker.domain.ids import new_id


class Named(IntEnum):
    """A small integer in kernels and rows, its name for people."""

    def __str__(self) -> str:
        return self.name


class Side(Named):
    """The side of an order."""

    BUY = 1
    SELL = -1


class OrderType(Named):
    """LIMIT rests or trades at its price or better; MARKET trades at any price and never rests.

    STOP and STOP_LIMIT wait until the last trade has reached their stop price, then act as MARKET or LIMIT.
    """

    LIMIT = 0
    MARKET = 1
    STOP = 2
    STOP_LIMIT = 3

    @property
    def has_price(self) -> bool:
        """True for the types that name a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LIMIT)

    @property
    def is_stop(self) -> bool:
        """True for the types that wait for a stop price."""
        return self in (OrderType.STOP, OrderType.STOP_LIMIT)


class SelfTradePrevention(Named):
    """What happens when an order would trade with another of its account; the incoming order's choice counts.

    DECREMENT takes the smaller quantity off both, without a trade; with NONE they trade.
    """

    NONE = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class TimeInForce(Named):
    """Good till cancelled; immediate or cancel; fill or kill; good till a date."""

    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class Liquidity(Named):
    """Whether a fill gave liquidity (MAKER: the order rested) or took it."""

    MAKER = 0
    TAKER = 1


class OrderStatus(Named):
    """Where an order stands; the names are those of FIX tag 39."""

    PENDING_NEW = 0
    NEW = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELED = 4
    REJECTED = 5
    EXPIRED = 6

    @property
    def is_open(self) -> bool:
        """True while the order can still change."""
        return self in OPEN_STATUSES


OPEN_STATUSES = frozenset({OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})

TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING_NEW: frozenset(set(OrderStatus) - {OrderStatus.PENDING_NEW}),
    OrderStatus.NEW: frozenset(
        {OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED}
    ),
    OrderStatus.PARTIALLY_FILLED: frozenset(
        {OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED}
    ),
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
}


@dataclass(slots=True)
class Order:
    """One order as the venue knows it; the only mutable value of the domain, changed by the venue alone.

    Prices are in ticks, quantities in lots, times in ns UTC. `price_ticks` is 0 for MARKET and STOP, `stop_ticks` for
    all others; `display_lots` is what an iceberg shows, 0 without. `arrival_ts` is when it reaches the venue (accepted +
    execution_delay); `priority` the number that it gets on arrival, in their order; `version` counts its events from 1.
    `cancel_arrival_ts` is when a durable request to cancel reaches the venue, 0 without one; `amend_arrival_ts` the
    same of a request to amend, with what it wants in `amend_*` (0: as it is). `triggered` is True for a stop whose price
    was reached; `amend_refusal` is why the last amendment was not done.
    """

    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    position_id: UUID
    client_order_id: str | None
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    price_ticks: int
    qty_lots: int
    execution_probability: float
    price_impact: float
    created_ts: int
    arrival_ts: int
    expire_ts: int = 0
    status: OrderStatus = OrderStatus.PENDING_NEW
    reject_reason: RejectReason | None = None
    cum_qty_lots: int = 0
    value_tick_lots: int = 0
    priority: int = 0
    cancel_arrival_ts: int = 0
    updated_ts: int = 0
    version: int = 0
    stop_ticks: int = 0
    display_lots: int = 0
    self_trade: SelfTradePrevention = SelfTradePrevention.NONE
    triggered: bool = False
    amend_arrival_ts: int = 0
    amend_price_ticks: int = 0
    amend_qty_lots: int = 0
    amend_stop_ticks: int = 0
    amend_refusal: RejectReason | None = None

    @property
    def leaves_lots(self) -> int:
        """Quantity still open, in lots; 0 once the order has ended."""
        return self.qty_lots - self.cum_qty_lots if self.status.is_open else 0


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A request to place an order, in the caller's units: what `MarketMakerService.place_order` takes.

    Parameters
    ----------
    pair_id : the pair to trade
    side, order_type, time_in_force, post_only : as the field knows them
    price : quote currency per unit, a multiple of the tick; None for MARKET and STOP
    amount : quantity in base currency or contracts, a multiple of the lot
    strategy_id : the strategy that trades; None for a manual order
    account_id : the account that pays; None for the default account
    client_order_id : the caller's own key; placing again with the same key and content returns the first answer
    execution_probability : chance in [0, 1] that opposing quantity is there at each matching opportunity
    price_impact : relative move of the reference price when the order is wholly executed, in [0, 0.5]
    expire_ts : ns UTC, for GTD
    stop_price : the price of the last trade at which a STOP or STOP_LIMIT begins to act; None for others
    display_amount : what an iceberg shows of its amount; None for all of it
    self_trade_prevention : what happens when it would trade with another order of its account; None: as the market has it
    order_id : the order's identity; a fresh one unless given
    """

    pair_id: UUID
    side: Side
    order_type: OrderType
    amount: Decimal
    price: Decimal | None = None
    strategy_id: UUID | None = None
    account_id: UUID | None = None
    client_order_id: str | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    execution_probability: float = 1.0
    price_impact: float = 0.0
    expire_ts: int = 0
    stop_price: Decimal | None = None
    display_amount: Decimal | None = None
    self_trade_prevention: SelfTradePrevention | None = None
    order_id: UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to a placed order: the order and whether this call made it (False: a repeated key).

    `first_status` is the status of the first answer: PENDING_NEW, or REJECTED when refused at once.
    """

    order: Order
    created: bool
    first_status: OrderStatus
