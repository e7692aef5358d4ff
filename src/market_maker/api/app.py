"""create_app: all endpoints over one running service, inside the guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig

from market_maker.api.backtest import Backtests
from market_maker.api.feed import Feed
from market_maker.api.guard import MAX_BODY, ApiKeys, Guard
from market_maker.api.live import Realism, StrategyRuns, Tapes
from market_maker.api.market_data import MarketData
from market_maker.api.openapi import build
from market_maker.api.ops import Operations
from market_maker.api.own_account import check_bounds
from market_maker.api.pages import Pages
from market_maker.api.problems import handle
from market_maker.api.query import query_check
from market_maker.api.reference import Accounts, Pairs, Positions, Strategies
from market_maker.api.risk import Risk
from market_maker.api.scenarios import ScenarioKinds, Scenarios
from market_maker.api.simulator import ORDERS_PATH, Books, Orders, Sessions, Trades, place_directly
from market_maker.api.stream import StreamHub, stream
from market_maker.monitoring.health import Health
from market_maker.monitoring.metrics import Metrics
from market_maker.service import MarketMakerService

_ROUTES = [
    Orders,
    Trades,
    Books,
    Sessions,
    ScenarioKinds,
    Scenarios,
    StrategyRuns,
    Tapes,
    Realism,
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


def create_app(
    service: MarketMakerService,
    metrics: Metrics,
    health: Health,
    bus: Any,
    *,
    api_keys: tuple[str, ...],
    rate_limit: int,
) -> Guard:
    """Return the ASGI application over a running service; `drain` it before it is stopped.

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
    return Guard(
        app, keys=ApiKeys(api_keys), rate_limit=rate_limit, metrics=metrics, direct=direct,
        check_bounds=partial(check_bounds, service), send_away=hub.send_away,
    )  # fmt: skip


document: dict[str, Any] = {}


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document without starting anything."""
    return build(_litestar(None, Metrics(), Health(None), StreamHub(Metrics()), None))


def _litestar(service: Any, metrics: Metrics, health: Health, hub: StreamHub, bus: Any) -> Litestar:
    def given(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False, use_cache=True)

    feed = Feed(service, hub)

    @asynccontextmanager
    async def feed_stream(_: Litestar) -> AsyncIterator[None]:
        async def on_event(message: Any) -> None:
            hub.on_event(message.routing_key, message.body)

        subscription = await bus.subscribe(None, on_event)
        watchers = service.parts.simulator.watchers
        watchers.append(feed.on_commit)
        books = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            watchers.remove(feed.on_commit)
            books.cancel()
            await subscription.cancel()

    return Litestar(
        route_handlers=[*_ROUTES, stream],
        dependencies={
            "service": given(service),
            "metrics": given(metrics),
            "health": given(health),
            "hub": given(hub),
            "feed": given(feed),
            "openapi": given(document),
        },
        exception_handlers={Exception: handle},
        before_request=query_check(document),
        openapi_config=OpenAPIConfig(
            title="Market Maker Service", version=version("market-maker"), path="/schema", render_plugins=[]
        ),
        request_max_body_size=MAX_BODY,
        lifespan=[feed_stream] if bus is not None else [],
        logging_config=None,
    )
