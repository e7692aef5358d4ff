"""create_app: all endpoints over one running service, inside the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.types import ASGIApp

from market_maker.api.backtest import Backtests
from market_maker.api.guard import MAX_BODY, ApiKeys, Guard
from market_maker.api.market_data import MarketData
from market_maker.api.openapi import build
from market_maker.api.ops import Operations
from market_maker.api.pages import Pages
from market_maker.api.problems import handle
from market_maker.api.reference import Accounts, Pairs, Positions, Strategies
from market_maker.api.risk import Risk
from market_maker.api.simulator import ORDERS_PATH, Books, Orders, Sessions, Trades, place_directly
from market_maker.api.stream import StreamHub, book_message, queue_message, stream
from market_maker.monitoring.health import Health
from market_maker.monitoring.metrics import Metrics
from market_maker.service import MarketMakerService

_ROUTES = [
    Orders,
    Trades,
    Books,
    Sessions,
    Pairs,
    Accounts,
    Strategies,
    Positions,
    Backtests,
    Risk,
    MarketData,
    Operations,
    Pages,
]
_BOOK_INTERVAL_S = 0.1


def create_app(
    service: MarketMakerService,
    metrics: Metrics,
    health: Health,
    bus: Any,
    *,
    api_keys: tuple[str, ...],
    rate_limit: int,
) -> ASGIApp:
    """Return the ASGI application over a running service.

    Parameters
    ----------
    service, metrics, health, bus : of the running service
    api_keys : accepted keys (`scope:sha256`); empty: no key is asked for
    rate_limit : requests per second of one client address; 0: no limit
    """
    hub = StreamHub(metrics)
    app = _litestar(service, metrics, health, hub, bus)
    document.update(build(app))
    direct = {("POST", ORDERS_PATH): place_directly(service)}
    return Guard(app, keys=ApiKeys(api_keys), rate_limit=rate_limit, metrics=metrics, direct=direct)


document: dict[str, Any] = {}


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document without starting anything."""
    return build(_litestar(None, Metrics(), Health(None), StreamHub(Metrics()), None))


def _litestar(service: Any, metrics: Metrics, health: Health, hub: StreamHub, bus: Any) -> Litestar:
    def given(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False, use_cache=True)

    @asynccontextmanager
    async def feed_stream(_: Litestar) -> AsyncIterator[None]:
        async def on_event(message: Any) -> None:
            hub.on_event(message.routing_key, message.body)

        subscription = await bus.subscribe(None, on_event)
        books = asyncio.create_task(_send_books(service, hub))
        try:
            yield
        finally:
            books.cancel()
            await subscription.cancel()

    return Litestar(
        route_handlers=[*_ROUTES, stream],
        dependencies={
            "service": given(service),
            "metrics": given(metrics),
            "health": given(health),
            "hub": given(hub),
            "openapi": given(document),
        },
        exception_handlers={Exception: handle},
        openapi_config=OpenAPIConfig(
            title="Market Maker Service", version=version("market-maker"), path="/schema", render_plugins=[]
        ),
        request_max_body_size=MAX_BODY,
        lifespan=[feed_stream] if bus is not None else [],
        logging_config=None,
    )


async def _send_books(service: MarketMakerService, hub: StreamHub) -> None:
    """Send each watched book, and where our orders stand in it, when it has changed; ten times a second at most."""
    sent: dict[Any, int] = {}
    queued: set[Any] = set()
    while True:
        await asyncio.sleep(_BOOK_INTERVAL_S)
        for pair_id, loop in list(service.parts.simulator.loops.items()):
            exchange = loop.exchange
            if exchange is None or not hub.wants_book(pair_id) or sent.get(pair_id) == exchange.book_sequence:
                continue
            sent[pair_id] = exchange.book_sequence
            hub.on_book(pair_id, await book_message(service, pair_id))
            if exchange.venue.numbered or pair_id in queued:  # once more when the last of our orders has gone
                hub.on_book(pair_id, await queue_message(service, pair_id))
                (queued.add if exchange.venue.numbered else queued.discard)(pair_id)
