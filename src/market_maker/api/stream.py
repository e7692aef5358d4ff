"""/api/v1/stream: events, order books and public trades over one WebSocket per reader.

A reader that does not keep up is evicted (close code 1013), never buffered without bound; it connects again and
begins from the present state. Events are those of the bus, in its envelope.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, Literal
from uuid import UUID

import structlog
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from market_maker.api.answers import Service
from market_maker.api.guard import STREAM_PROTOCOL
from market_maker.api.own_account import account_of, bound_account
from market_maker.api.query import check_names
from market_maker.domain.errors import MarketMakerError, Unavailable, shorten
from market_maker.monitoring.metrics import Metrics
from market_maker.service import MarketMakerService

# whole words only, and # at the end only: a pattern of many wildcards would take for ever to say no
_TOPIC = re.compile(r"#|(?:\*|[a-z_]{1,40})(?:\.(?:\*|[a-z_]{1,40})){0,3}(?:\.#)?")
_QUEUE = 1000
_MAX_TOPICS = 20
EVICTED = 1013
GOING_AWAY = 1001
_FAREWELL_S = 2.0
REFUSED = 1008
_WISHES = frozenset({"topics", "books", "trades", "deltas", "cancel_on_disconnect"})
_REASON_MAX = 120
_REFUSAL = "topics: at most 20 patterns such as simulator.order.*; books, trades, deltas: ids of pairs with a market"
_FAREWELL_TRIES, _FAREWELL_PAUSE_S = 120, 0.5
_log = structlog.get_logger("stream")


class Reader:
    """One connection: what it wants and what it has not got yet."""

    def __init__(
        self,
        topics: Iterable[str],
        *,
        books: frozenset[UUID] = frozenset(),
        trades: frozenset[UUID] = frozenset(),
        deltas: frozenset[UUID] = frozenset(),
    ) -> None:
        self.patterns = [_pattern(topic) for topic in topics]
        self.books = books
        self.trades = trades
        self.deltas = deltas
        self.queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self.evicted = asyncio.Event()
        self.sent_away = False
        own = bound_account()
        self.is_bound = own is not None
        self._mark = None if own is None else f'"account_id":"{own}"'.encode()

    def wants(self, routing_key: str, body: bytes = b"") -> bool:
        """Tell whether the reader asked for events of this key; one bound to an account gets only what names that account."""
        if self._mark is not None and self._mark not in body:
            return False
        return any(pattern.fullmatch(routing_key) for pattern in self.patterns)

    def put(self, text: str) -> None:
        """Queue a message; a reader whose queue is full is evicted."""
        try:
            self.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.evicted.set()


class StreamHub:
    """All readers of this process; fed by the bus and by the markets."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._readers: set[Reader] = set()
        self._farewells: set[asyncio.Task[None]] = set()

    def join(self, reader: Reader) -> None:
        """Let a reader take part."""
        self._readers.add(reader)
        self._metrics.stream_clients.set(len(self._readers))

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        self._readers.discard(reader)
        self._metrics.stream_clients.set(len(self._readers))
        if reader.evicted.is_set() and not reader.sent_away:
            self._metrics.stream_evictions.inc()

    async def send_away(self) -> None:
        """Close every connection, since the service stops; returns when they are gone, or after two seconds."""
        for reader in self._readers:
            reader.sent_away = True
            reader.evicted.set()
        until = asyncio.get_running_loop().time() + _FAREWELL_S
        while self._readers and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110  (twice in the life of a process)
            await asyncio.sleep(0.01)

    def on_event(self, routing_key: str, body: bytes) -> None:
        """Pass an event of the bus on to those who want it."""
        wanting = [reader for reader in self._readers if reader.wants(routing_key, body)]
        if wanting:
            text = body.decode()
            for reader in wanting:
                reader.put(text)

    def wants(self, what: Literal["books", "trades", "deltas"], pair_id: UUID) -> bool:
        """Tell whether anyone watches a pair."""
        return any(pair_id in getattr(reader, what) for reader in self._readers)

    def tell(self, what: Literal["books", "trades", "deltas"], pair_id: UUID, text: str) -> None:
        """Pass a message on to those who watch a pair."""
        for reader in self._readers:
            if pair_id in getattr(reader, what):
                reader.put(text)

    def tell_queues(self, pair_id: UUID, text: str) -> None:
        """Tell those who watch the book of a pair where everybody's own orders stand; not those bound to one account."""
        for reader in self._readers:
            if pair_id in reader.books and not reader.is_bound:
                reader.put(text)

    def take_leave(self, farewell: Coroutine[Any, Any, None]) -> None:
        """Do in the background what a connection wished for its end, which nobody waits for any more."""
        task = asyncio.create_task(farewell)
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)


@websocket("/api/v1/stream")
async def stream(
    socket: WebSocket[Any, Any, Any], service: Service, hub: NamedDependency[StreamHub], feed: NamedDependency[Any]
) -> None:
    """Send events whose key matches `topics` (comma-separated patterns, default #) and what is watched of pairs.

    `books` are pairs whose best levels are sent, `deltas` those whose whole book is sent once and then its changes, `trades`
    those whose public trades are sent. When the connection ends, the open orders of the account in `cancel_on_disconnect`
    are canceled.
    """
    query = socket.query_params
    topics = [text for text in query.get("topics", "#").split(",") if text]
    account_id = None
    try:
        check_names(query, _WISHES)
        books, trades, deltas = (_ids(query.get(name, "")) for name in ("books", "trades", "deltas"))
        if query.get("cancel_on_disconnect") is not None:
            account_id = account_of(UUID(query["cancel_on_disconnect"]))
            await service.directory.account(UUID(query["cancel_on_disconnect"]))
        if len(topics) + len(books | trades | deltas) > _MAX_TOPICS or not all(
            _TOPIC.fullmatch(each) for each in topics
        ):
            raise ValueError(topics)
        reader = Reader(topics, books=books, trades=trades, deltas=deltas)
        await feed.welcome(reader)  # before the handshake ends: whoever is connected misses nothing from then on
    except Exception as error:  # noqa: BLE001  (whatever was wrong with the wish, it is refused)
        await socket.accept()
        await socket.close(
            REFUSED, shorten(error.detail if isinstance(error, MarketMakerError) else _REFUSAL, _REASON_MAX)
        )
        return
    try:
        await _accept(socket)
        await _serve(socket, reader)
    finally:
        hub.leave(reader)
        if account_id is not None:
            hub.take_leave(cancel_orders_of(service, account_id))


def _ids(text: str) -> frozenset[UUID]:
    return frozenset(UUID(each) for each in text.split(",") if each)


async def cancel_orders_of(service: MarketMakerService, account_id: UUID) -> None:
    """Ask for all open orders of an account to be cancelled; while the database is down, again and again for a minute."""
    for _ in range(_FAREWELL_TRIES):
        try:
            count = await service.parts.simulator.cancel_all(None, account_id=account_id)
        except Unavailable:
            await asyncio.sleep(_FAREWELL_PAUSE_S)
            continue
        _log.info("canceled on disconnect", account_id=str(account_id), orders=count)
        return
    _log.error("orders could not be canceled on disconnect", account_id=str(account_id))


async def _accept(socket: WebSocket[Any, Any, Any]) -> None:
    """Accept with our protocol where it is offered; the key that a browser offers beside it is never sent back."""
    offered = socket.scope.get("subprotocols") or ()
    await socket.accept(subprotocols=STREAM_PROTOCOL if STREAM_PROTOCOL in offered else None)


async def _serve(socket: WebSocket[Any, Any, Any], reader: Reader) -> None:
    """Send until the reader leaves or is evicted."""

    async def send() -> None:
        while True:
            await socket.send_text(await reader.queue.get())

    async def watch() -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await socket.receive_data(mode="text")

    tasks = [asyncio.create_task(each) for each in (send(), watch(), _evicted(reader))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if reader.evicted.is_set():
        ending = (GOING_AWAY, "the service stops; connect again")
        if not reader.sent_away:
            ending = (EVICTED, "the reader does not keep up; connect again")
        with suppress(Exception):
            await asyncio.wait_for(socket.close(*ending), 1.0)


async def _evicted(reader: Reader) -> None:
    await reader.evicted.wait()


def _pattern(topic: str) -> re.Pattern[str]:
    """Return the expression of a topic pattern: * is one word, # any number of words."""
    text = re.escape(topic).replace(r"\*", "[^.]+").replace(r"\#", ".*").replace(r"\..*", r"(?:\..*)?")
    return re.compile(text)
