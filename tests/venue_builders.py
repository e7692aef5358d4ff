"""Builders with defaults for tests of the simulated exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.domain.order import Order, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.matching.book import QTY_LOTS_MAX, OrderBook, TradingRules
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.session import Session
from market_maker.venue.funds import AccountFunds
from market_maker.venue.venue import OWNERS_MAX, Venue

PAIR = UUID("00000000-0000-7000-8000-0000000000aa")
ACCOUNT = UUID("00000000-0000-7000-8000-0000000000bb")
SESSION = UUID("00000000-0000-7000-8000-0000000000cc")
START = 1_700_000_000_000_000_000
DELAY = 5_000_000


def an_instrument(**changes: Any) -> Instrument:
    values = {
        "pair_id": PAIR, "venue": "simulator", "symbol": "BTC-USDT", "base": "BTC", "quote": "USDT",
        "tick_size": Decimal("0.01"), "lot_size": Decimal("0.001"),
        "maker_fee": Decimal("-0.0001"), "taker_fee": Decimal("0.0005"),
    }  # fmt: skip
    return Instrument(**{**values, **changes})


class StillMarket(OrderBook):
    """A book in which nothing happens by itself, with a reference price that a test writes down."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(TradingRules(qty_lots_max=QTY_LOTS_MAX, seed=seed), owners=OWNERS_MAX)
        self.reference_ticks = 10_000

    @property
    def impact_e12(self) -> int:
        """How far own executions have moved the reference price."""
        return int(self.state.head["impact_e12"][0])


def some_funds(balance: str = "1000000") -> dict[UUID, AccountFunds]:
    return {ACCOUNT: AccountFunds(ACCOUNT, Decimal(balance))}


class Desk:
    """A venue and one account's orders in it: numbers are given, identities made up."""

    def __init__(self, balance: str = "1000000", *, seed: int = 0, **instrument: Any) -> None:
        self.market = StillMarket(seed)
        self.funds = some_funds(balance)
        self.venue = Venue(an_instrument(**instrument), SESSION, self.market, self.funds)
        self.ts = START
        self._orders = 0

    @property
    def position(self) -> Any:
        return self.venue.position_for(ACCOUNT, None)

    def place(self, side: Side, price_ticks: int, qty_lots: int, **changes: Any) -> Order:
        """Accept an order; it arrives at `arrive`. A price of 0 makes a market order."""
        self._orders += 1
        self.ts += 1
        is_market = price_ticks == 0
        values = {
            "order_id": UUID(int=(7 << 76) | (2 << 62) | self._orders),
            "pair_id": PAIR, "account_id": ACCOUNT, "strategy_id": None, "position_id": self.position.position_id,
            "client_order_id": None, "side": side, "order_type": OrderType.MARKET if is_market else OrderType.LIMIT,
            "time_in_force": TimeInForce.IOC if is_market else TimeInForce.GTC, "post_only": False,
            "price_ticks": price_ticks, "qty_lots": qty_lots, "execution_probability": 1.0, "price_impact": 0.0,
            "created_ts": self.ts, "arrival_ts": self.ts + DELAY, "self_trade": SelfTradePrevention.NONE,
        }  # fmt: skip
        order = Order(**{**values, **changes})
        self.venue.accept(order, "")
        return order

    def arrive(self) -> None:
        """Let everything that is on its way arrive."""
        self.ts += DELAY
        self.venue.process_due(self.ts)

    def put(self, side: Side, price_ticks: int, qty_lots: int, **changes: Any) -> Order:
        """Place an order and let it arrive."""
        order = self.place(side, price_ticks, qty_lots, **changes)
        self.arrive()
        return order

    def quote(self, side: Side, price_ticks: int, qty_lots: int) -> None:
        """Let the market show a quantity."""
        self.venue.place_as_market(side, price_ticks, qty_lots, self.ts, rests=True)

    def take(self, side: Side, qty_lots: int) -> int:
        """Let a taker of the market trade at any price; return the lots traded."""
        return self.venue.place_as_market(side, 1 << 40 if side is Side.BUY else 1, qty_lots, self.ts)

    def levels(self, side: Side) -> list[tuple[int, int]]:
        return [(price, lots) for price, lots, _ in self.market.depth(side, 100).tolist()]


def a_session(**changes: Any) -> Session:
    values = {
        "session_id": SESSION, "pair_id": PAIR, "mode": TestMode.NORMAL, "seed": 7, "state": "RUNNING",
        "price_deviation": 0.001, "execution_delay_ns": DELAY, "market_update_interval_ns": 50_000_000,
        "initial_price_ticks": 10_000, "created_ts": START, "updated_ts": START,
    }  # fmt: skip
    return Session(**{**values, **changes})


def an_exchange(balance: str = "1000000", **session: Any) -> SimulatedExchange:
    return SimulatedExchange(an_instrument(), a_session(**session), some_funds(balance))
