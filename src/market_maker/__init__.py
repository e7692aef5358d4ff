"""Market Maker Service: a simulated exchange, backtests of recorded order books, and risk, in one service."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from market_maker.bootstrap import open_service
    from market_maker.client import AsyncClient, Client, local_service
    from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID, DEFAULT_STRATEGY_ID
    from market_maker.domain.modes import Mode
    from market_maker.domain.order import NewOrder, OrderStatus, OrderType, Side, TimeInForce
    from market_maker.domain.position import Position
    from market_maker.service import MarketMakerService
    from market_maker.settings import Settings, load_settings

_HOMES = {
    "AsyncClient": "market_maker.client",
    "Client": "market_maker.client",
    "DEFAULT_ACCOUNT_ID": "market_maker.domain.ids",
    "DEFAULT_PAIR_ID": "market_maker.domain.ids",
    "DEFAULT_STRATEGY_ID": "market_maker.domain.ids",
    "MarketMakerService": "market_maker.service",
    "Mode": "market_maker.domain.modes",
    "NewOrder": "market_maker.domain.order",
    "OrderStatus": "market_maker.domain.order",
    "OrderType": "market_maker.domain.order",
    "Position": "market_maker.domain.position",
    "Settings": "market_maker.settings",
    "Side": "market_maker.domain.order",
    "TimeInForce": "market_maker.domain.order",
    "load_settings": "market_maker.settings",
    "local_service": "market_maker.client",
    "open_service": "market_maker.bootstrap",
}

__all__ = [
    "DEFAULT_ACCOUNT_ID",
    "DEFAULT_PAIR_ID",
    "DEFAULT_STRATEGY_ID",
    "AsyncClient",
    "Client",
    "MarketMakerService",
    "Mode",
    "NewOrder",
    "OrderStatus",
    "OrderType",
    "Position",
    "Settings",
    "Side",
    "TimeInForce",
    "load_settings",
    "local_service",
    "open_service",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that importing the package costs nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(name)
