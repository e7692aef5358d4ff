"""Orders, fills and order books of the simulated exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal
from uuid import UUID

from market_maker.api.schemas.bases import Key, OrderKind, Prevention, Request, Status, TradingPhase, View


class SimulationParams(Request):
    """How the simulated venue treats one order."""

    execution_probability: float = 1.0
    price_impact: float = 0.0


class PlaceOrder(Request):
    """A new order. `price` is for LIMIT and STOP_LIMIT, `stop_price` for STOP and STOP_LIMIT, `expire_time` for GTD."""

    pair_id: UUID
    side: Literal["BUY", "SELL"]
    type: OrderKind
    amount: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    display_amount: Decimal | None = None
    self_trade_prevention: Prevention | None = None
    strategy_id: UUID | None = None
    account_id: UUID | None = None
    client_order_id: Key | None = None
    time_in_force: Literal["GTC", "IOC", "FOK", "GTD"] | None = None
    post_only: bool = False
    expire_time: str | None = None
    simulation_params: SimulationParams | None = None


class OrderView(View):
    """An order as it stands."""

    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    client_order_id: str | None
    side: Literal["BUY", "SELL"]
    type: OrderKind
    time_in_force: Literal["GTC", "IOC", "FOK", "GTD"]
    post_only: bool
    price: Decimal | None
    amount: Decimal
    status: Status
    reject_reason: str | None
    cum_qty: Decimal
    leaves_qty: Decimal
    average_price: Decimal | None
    cancel_requested: bool
    simulation_params: SimulationParams
    created_ts: str
    updated_ts: str
    version: int
    stop_price: Decimal | None
    display_amount: Decimal | None
    self_trade_prevention: Prevention
    triggered: bool
    amend_requested: bool
    amend_refusal: str | None
    expire_time: str | None


class AmendOrder(Request):
    """What an order is to become; what is not named stays. `amount` is the total, what is executed included."""

    price: Decimal | None = None
    amount: Decimal | None = None
    stop_price: Decimal | None = None


class OrderPage(View):
    """Orders, newest first; `next` is the cursor of the next page, None on the last."""

    items: list[OrderView]
    next: str | None


class CanceledOrders(View):
    """How many wishes to cancel were noted."""

    cancel_requested: int


class ExecuteTrade(Request):
    """A trade of the market: `side` is the aggressor's. Resting orders at `price` or better are filled first."""

    pair_id: UUID
    side: Literal["BUY", "SELL"]
    price: Decimal
    amount: Decimal


class ExecutedTrade(View):
    """The prints that a given trade made."""

    trade_ids: list[UUID]


class FillView(View):
    """One execution of one of our orders. `fee` is positive when paid."""

    trade_id: UUID
    order_id: UUID
    pair_id: UUID
    account_id: UUID
    strategy_id: UUID | None
    position_id: UUID
    side: Literal["BUY", "SELL"]
    liquidity: Literal["MAKER", "TAKER"]
    price: Decimal
    amount: Decimal
    fee: Decimal
    ts: str


class FillPage(View):
    """Fills, newest first."""

    items: list[FillView]
    next: str | None


class LevelView(View):
    """One price and the total quantity there."""

    price: Decimal
    quantity: Decimal


class BookView(View):
    """An order book, best first; `sequence` grows with every change."""

    pair_id: UUID
    ts: str
    sequence: int
    bids: list[LevelView]
    asks: list[LevelView]


class MarketBookView(BookView):
    """The order book of a simulated market. `stale`: its feed has a gap, and this is the last book before it.

    In an auction's phase the book may be crossed; `indicative_price` and `indicative_amount` tell what the auction would trade
    at this moment.
    """

    stale: bool
    phase: TradingPhase
    indicative_price: Decimal | None
    indicative_amount: Decimal | None
