"""/api/v1/simulator: orders, trades, order books and sessions of the simulated exchange."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, QueryParameter

from market_maker.api.answers import (
    After,
    AnyRequest,
    Limit,
    Service,
    Wait,
    Written,
    answer,
    body_of,
    correlation_of,
    decoded,
    page,
    raw_body,
    send_written,
)
from market_maker.api.own_account import account_of
from market_maker.api.playback import playback_view, playback_wish
from market_maker.api.problems import handle
from market_maker.api.rules import phase_of, rules_view, rules_wish
from market_maker.api.scenarios import scenario_view, scenario_wish
from market_maker.api.schemas import (
    AmendOrder,
    CanceledOrders,
    ChangeSession,
    ExecutedTrade,
    ExecuteTrade,
    FillPage,
    MarketBookView,
    OrderPage,
    OrderView,
    PlaceOrder,
    SessionList,
    SessionView,
    SimulationParams,
    StartSession,
)
from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.events import fill_content, order_content
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.domain.order import NewOrder, Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.domain.units import format_duration, parse_duration, parse_instant
from market_maker.service import MarketMakerService, PlaceOptions

_KEY = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_PLAIN = SimulationParams()
_PREVENTIONS: dict[str | None, SelfTradePrevention | None] = {each.name: each for each in SelfTradePrevention}
_PREVENTIONS[None] = None
_BOOK_TEXTS_MAX = 200
ClientKey = Annotated[
    str | None,
    QueryParameter(pattern=r"^[A-Za-z0-9._:\-]{1,128}$", description="the key that its owner gave an order"),
]
StateHash = Annotated[
    bool, QueryParameter(description="also compute the hash of the state: a second per 100,000 orders")
]
ORDERS_PATH = "/api/v1/simulator/orders"


class Orders(Controller):
    """Orders."""

    path = ORDERS_PATH
    tags = ("simulator",)

    @post(status_code=201, opt={"body": PlaceOrder, "is_keyed": True}, summary="Place a simulated order")
    async def place(self, request: AnyRequest, service: Service, wait: Wait = False) -> Response[OrderView]:
        """Place an order; answered once it is durable (PENDING_NEW), with `wait` once the venue has handled it.

        `Idempotency-Key` or `client_order_id` makes it safe to repeat: the same key and body give the first
        answer again (200), another body 409.
        """
        key = request.headers.get("idempotency-key")
        return await _place(service, await raw_body(request), key, correlation_of(request), wait=wait)

    @get(summary="List orders")
    async def find(
        self,
        service: Service,
        pair_id: FromQuery[UUID | None] = None,
        strategy_id: FromQuery[UUID | None] = None,
        account_id: FromQuery[UUID | None] = None,
        is_open: FromQuery[bool | None] = None,
        client_order_id: FromQuery[ClientKey] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[OrderPage]:
        """Return orders, newest first; by `client_order_id` those that are open or were placed in the last two days."""
        orders = await service.directory.orders(
            pair_id=pair_id, strategy_id=strategy_id, account_id=account_of(account_id), is_open=is_open,
            client_order_id=client_order_id, after=after, limit=limit,
        )  # fmt: skip
        items = [order_content(order, service.directory.instrument(order.pair_id)) for order in orders]
        return page(OrderPage, items, "order_id", limit)

    @get("/{order_id:uuid}", summary="One order")
    async def one(self, service: Service, order_id: FromPath[UUID]) -> Response[OrderView]:
        """Return an order as committed."""
        order = await service.directory.order(order_id)
        return answer(OrderView, order_content(order, service.directory.instrument(order.pair_id)))

    @patch("/{order_id:uuid}", status_code=202, opt={"body": AmendOrder}, summary="Amend a simulated order")
    async def amend(
        self, request: AnyRequest, service: Service, order_id: FromPath[UUID], wait: Wait = False
    ) -> Response[OrderView]:
        """Ask for another price, total amount or stop price: durable when answered (202); with `wait` the outcome (200)."""
        wish = await body_of(request, AmendOrder)
        return await amend_order(service, order_id, wish, correlation_of(request), wait=wait)

    @delete("/{order_id:uuid}", status_code=202, summary="Cancel a simulated order")
    async def cancel(
        self, request: AnyRequest, service: Service, order_id: FromPath[UUID], wait: Wait = False
    ) -> Response[OrderView]:
        """Ask for an order to be cancelled: durable when answered (202); with `wait` the outcome (200)."""
        return await cancel_order(service, order_id, correlation_of(request), wait=wait)

    @delete(status_code=202, summary="Cancel all orders")
    async def cancel_all(
        self,
        request: AnyRequest,
        service: Service,
        pair_id: FromQuery[UUID | None] = None,
        account_id: FromQuery[UUID | None] = None,
    ) -> Response[CanceledOrders]:
        """Ask for all open orders (of one pair, of one account) to be cancelled."""
        return await cancel_all_orders(service, pair_id, account_id, correlation_of(request))


class Trades(Controller):
    """Trades."""

    path = "/api/v1/simulator/trades"
    tags = ("simulator",)

    @get(summary="List our fills")
    async def find(
        self,
        service: Service,
        pair_id: FromQuery[UUID | None] = None,
        order_id: FromQuery[UUID | None] = None,
        account_id: FromQuery[UUID | None] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[FillPage]:
        """Return the executions of our orders, newest first.

        Both fills of a trade between two of them are on one page, which may thus have one more than `limit`.
        """
        account = account_of(account_id)
        fills = await service.directory.trades(
            pair_id=pair_id, order_id=order_id, account_id=account, after=after, limit=limit
        )
        items = [fill_content(fill, service.directory.instrument(fill.pair_id)) for fill in fills]
        return page(FillPage, items, "trade_id", limit)

    @post(status_code=201, opt={"body": ExecuteTrade}, summary="Execute a given simulated trade")
    async def execute(self, request: AnyRequest, service: Service) -> Response[ExecutedTrade]:
        """Make a trade of the market happen; it fills what rests at the price or better, the rest is printed."""
        wish = await body_of(request, ExecuteTrade)
        ids = await service.parts.simulator.execute_simulated_trade(
            wish.pair_id, Side[wish.side], wish.price, wish.amount
        )
        return answer(ExecutedTrade, {"trade_ids": ids}, 201)


class Books(Controller):
    """Order books."""

    path = "/api/v1/simulator/orderbook"
    tags = ("simulator",)

    @get("/{pair_id:uuid}", summary="The simulated order book")
    async def book(
        self, service: Service, pair_id: FromPath[UUID], depth: FromQuery[int] = 20
    ) -> Response[MarketBookView]:
        """Return the committed book, `depth` levels a side (1 to 1000)."""
        return Written(_book_text(await service.get_order_book(pair_id, depth), depth), 200)


class Sessions(Controller):
    """Simulated markets."""

    path = "/api/v1/simulator/sessions"
    tags = ("simulator",)

    @get(summary="List running sessions")
    async def find(self, service: Service, state_hash: StateHash = False) -> Response[SessionList]:
        """Return all markets that run or pause."""
        found = await service.parts.simulator.get_sessions(with_hash=state_hash)
        items = [self._view(service, data) for data in found]
        return answer(SessionList, {"items": items})

    @post(status_code=201, opt={"body": StartSession}, summary="Start a session")
    async def start(self, request: AnyRequest, service: Service) -> Response[SessionView]:
        """Start a market for a pair that has none: a simulated one, or a recording in which orders fill as in a backtest."""
        wish = await body_of(request, StartSession)
        delay, interval = wish.execution_delay, wish.market_update_interval
        delay_ns = None if delay is None else parse_duration(delay, "execution_delay")
        interval_ns = None if interval is None else parse_duration(interval, "market_update_interval")
        if delay_ns is not None and delay_ns > 60_000_000_000:
            raise InvalidRequest.of("execution_delay", delay, "at most 60s")
        if interval_ns is not None and not 1_000_000 <= interval_ns <= 3_600_000_000_000:
            raise InvalidRequest.of("market_update_interval", interval, "1ms to 1h")
        data = await service.parts.simulator.start_session(
            wish.pair_id,
            parameters=wish.parameters,
            scenarios=[scenario_wish(each) for each in wish.scenarios],
            rules=None if wish.rules is None else rules_wish(wish.rules),
            phase=phase_of(wish.phase),
            mode=TestMode(wish.mode),
            seed=wish.seed,
            initial_price=wish.initial_price,
            price_deviation=wish.price_deviation,
            execution_delay_ns=delay_ns,
            market_update_interval_ns=interval_ns,
            speed=wish.speed,
            playback=None if wish.playback is None else playback_wish(wish.playback),
            state=wish.state,
        )
        return answer(SessionView, self._view(service, data), 201)

    @get("/{session_id:uuid}", summary="One session")
    async def one(
        self, service: Service, session_id: FromPath[UUID], state_hash: StateHash = False
    ) -> Response[SessionView]:
        """Return a running session, with the hash of its state if that is wanted."""
        data = await service.parts.simulator.get_session(session_id, with_hash=state_hash)
        return answer(SessionView, self._view(service, data))

    @patch("/{session_id:uuid}", opt={"body": ChangeSession}, summary="Change a session")
    async def change(self, request: AnyRequest, service: Service, session_id: FromPath[UUID]) -> Response[SessionView]:
        """Change a market that runs: recording, mode and parameters, rules, phase, speed, step, state, in this order."""
        wish = await body_of(request, ChangeSession)
        simulator = service.parts.simulator
        step_ns = None if wish.step is None else parse_duration(wish.step, "step")
        rules = None if wish.rules is None else simulator.control.read_rules(session_id, rules_wish(wish.rules))
        if wish.recording is not None:
            await simulator.record(session_id, wish.recording)
        if wish.mode is not None or wish.parameters is not None:
            mode = None if wish.mode is None else TestMode(wish.mode)
            await simulator.control.set_mode(session_id, mode, wish.parameters)
        if rules is not None:
            await simulator.control.set_rules(session_id, rules)
        if wish.phase is not None:
            await simulator.control.set_phase(session_id, phase_of(wish.phase))
        if wish.speed is not None:
            await simulator.control.set_speed(session_id, wish.speed)
        if step_ns is not None:
            await simulator.control.step(session_id, step_ns)
        if wish.state is not None:
            return answer(SessionView, self._view(service, await simulator.set_session_state(session_id, wish.state)))
        return answer(SessionView, self._view(service, await simulator.get_session(session_id)))

    @staticmethod
    def _view(service: MarketMakerService, data: dict[str, Any]) -> dict[str, Any]:
        return session_view(data, service.directory.instrument(UUID(data["pair_id"])))


_book_texts: dict[tuple[UUID, int], tuple[BookSnapshot, bytes]] = {}


def _book_text(found: BookSnapshot, depth: int) -> bytes:
    """Return a book as JSON; one that did not change since the last call is not written again."""
    known = _book_texts.get((found.pair_id, depth))
    if known is not None and known[0] is found:
        return known[1]
    text = msgspec.json.encode(
        {
            "pair_id": found.pair_id,
            "ts": str(found.ts),
            "sequence": found.sequence,
            "bids": levels_data(found.bids),
            "asks": levels_data(found.asks),
            **auction_data(found),
        }
    )
    if len(_book_texts) >= _BOOK_TEXTS_MAX:
        _book_texts.clear()
    _book_texts[(found.pair_id, depth)] = (found, text)
    return text


async def _place(
    service: MarketMakerService, body: bytes, key: str | None, correlation_id: str, *, wait: bool
) -> Response[OrderView]:
    wish = decoded(body, PlaceOrder)
    return await place_order(service, wish, body, _idempotency_key(key, wish), correlation_id, wait=wait)


async def place_order(
    service: MarketMakerService, wish: PlaceOrder, body: bytes, key: str | None, correlation_id: str, *, wait: bool
) -> Response[OrderView]:
    """Place an order and return the answer, which is the first one again for a key that was used with the same body."""
    options = PlaceOptions(
        key=key,
        body_hash=hashlib.blake2b(body, digest_size=16).digest(),
        correlation_id=correlation_id,
        wait=wait,
    )
    placed = await service.submit(_to_order(wish), options)
    order = placed.order
    if not wait and order.version > 1 and placed.first_status is OrderStatus.PENDING_NEW:
        order = _as_accepted(order)
    data = order_content(order, service.directory.instrument(wish.pair_id))
    headers = {"Location": f"{ORDERS_PATH}/{placed.order.order_id}"}
    return answer(OrderView, data, 201 if placed.created else 200, headers)


async def cancel_order(
    service: MarketMakerService, order_id: UUID, correlation_id: str, *, wait: bool
) -> Response[OrderView]:
    """Ask for an order to be cancelled and return the answer."""
    order = await service.parts.simulator.cancel_simulated_order(order_id, wait=wait, correlation_id=correlation_id)
    data = order_content(order, service.directory.instrument(order.pair_id))
    return answer(OrderView, data, 200 if wait else 202)


async def amend_order(
    service: MarketMakerService, order_id: UUID, wish: AmendOrder, correlation_id: str, *, wait: bool
) -> Response[OrderView]:
    """Ask for an order to become another and return the answer."""
    order = await service.parts.simulator.amend_simulated_order(
        order_id,
        price=wish.price,
        amount=wish.amount,
        stop_price=wish.stop_price,
        wait=wait,
        correlation_id=correlation_id,
    )
    data = order_content(order, service.directory.instrument(order.pair_id))
    return answer(OrderView, data, 200 if wait else 202)


async def cancel_all_orders(
    service: MarketMakerService, pair_id: UUID | None, account_id: UUID | None, correlation_id: str
) -> Response[CanceledOrders]:
    """Ask for all open orders (of one pair, of one account) to be cancelled and return the answer."""
    if account_id is not None:
        await service.directory.account(account_id)
    count = await service.parts.simulator.cancel_all(pair_id, account_id=account_id, correlation_id=correlation_id)
    return answer(CanceledOrders, {"cancel_requested": count}, 202)


def _as_accepted(order: Order) -> Order:
    """Return an order as it was in its first answer, whatever has become of it since."""
    return replace(
        order,
        status=OrderStatus.PENDING_NEW,
        reject_reason=None,
        cum_qty_lots=0,
        value_tick_lots=0,
        cancel_arrival_ts=0,
        updated_ts=order.created_ts,
        version=1,
    )


def place_directly(service: MarketMakerService) -> Callable[[Any, Any], Awaitable[None]]:
    """Return what places an order without the framework's routing and injection of dependencies.

    It does what `Orders.place` does, for a request without a query; `Orders.place` documents it and takes the rest.
    """

    async def place(scope: Any, send: Any) -> None:
        state = scope["state"]
        key = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"), None)
        found: Response[Any]
        try:
            found = await _place(service, state["body"], key, state["correlation_id"], wait=False)
        except Exception as error:  # noqa: BLE001 (answered as everywhere: the unexpected is logged and told as a 500)
            found = handle(Request(scope), error)
        await send_written(send, found)

    return place


def auction_data(book: BookSnapshot) -> dict[str, Any]:
    """Return as JSON values what a simulated book tells beside its levels."""
    found = book.indicative
    return {
        "stale": book.is_stale,
        "phase": book.phase,
        "indicative_price": None if found is None else f"{found.price:f}",
        "indicative_amount": None if found is None else f"{found.quantity:f}",
    }


def levels_data(levels: tuple[Level, ...]) -> list[dict[str, str]]:
    """Return levels as JSON values."""
    return [{"price": f"{level.price:f}", "quantity": f"{level.quantity:f}"} for level in levels]


def session_view(data: dict[str, Any], instrument: Instrument) -> dict[str, Any]:
    """Return a session with durations and prices as users write them."""
    shown = dict(data)
    for key in ("execution_delay_ns", "market_update_interval_ns"):
        shown[key.removesuffix("_ns")] = format_duration(shown.pop(key))
    shown["rules"] = rules_view(shown["rules"], instrument)
    shown["playback"] = None if shown["playback"] is None else playback_view(shown["playback"])
    shown["scenarios"] = [scenario_view(each) for each in shown["scenarios"]]
    return shown


def _to_order(wish: PlaceOrder) -> NewOrder:
    order_type = OrderType[wish.type]
    params = wish.simulation_params or _PLAIN
    default = "IOC" if order_type is OrderType.MARKET else "GTC"
    return NewOrder(
        pair_id=wish.pair_id,
        side=Side[wish.side],
        order_type=order_type,
        amount=wish.amount,
        price=wish.price,
        strategy_id=wish.strategy_id,
        account_id=account_of(wish.account_id),
        client_order_id=wish.client_order_id,
        time_in_force=TimeInForce[wish.time_in_force or default],
        post_only=wish.post_only,
        execution_probability=params.execution_probability,
        price_impact=params.price_impact,
        stop_price=wish.stop_price,
        display_amount=wish.display_amount,
        self_trade_prevention=_PREVENTIONS[wish.self_trade_prevention],
        expire_ts=0 if wish.expire_time is None else parse_instant(wish.expire_time, "expire_time"),
    )


def _idempotency_key(header: str | None, wish: PlaceOrder) -> str | None:
    """Return the key that makes the order repeatable; the two ways of giving one have names of their own."""
    if header is None:
        return client_key(wish)
    if not _KEY.fullmatch(header):
        raise InvalidRequest.of("Idempotency-Key", header, "1 to 128 letters, digits, and . _ : -")
    return f"header:{header}"


def client_key(wish: PlaceOrder) -> str | None:
    """Return the key that an order brings along itself."""
    return None if wish.client_order_id is None else f"client_order_id:{wish.client_order_id}"
