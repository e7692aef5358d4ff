"""/api/v1/stream: events and order books over one WebSocket per reader.

A reader that does not keep up is evicted (close code 1013), never buffered without bound; it connects again and
begins from the present state. Events are those of the bus, in its envelope.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect

from market_maker.api.answers import Service
from market_maker.api.guard import STREAM_PROTOCOL
from market_maker.api.simulator import levels_data
from market_maker.monitoring.metrics import Metrics
from market_maker.service import MarketMakerService

# whole words only, and # at the end only: a pattern of many wildcards would take for ever to say no
_TOPIC = re.compile(r"#|(?:\*|[a-z_]{1,40})(?:\.(?:\*|[a-z_]{1,40})){0,3}(?:\.#)?")
_QUEUE = 1000
_MAX_TOPICS = 20
EVICTED = 1013
REFUSED = 1008


class Reader:
    """One connection: what it wants and what it has not got yet."""

    def __init__(self, topics: Iterable[str], pairs: frozenset[UUID]) -> None:
        self.patterns = [_pattern(topic) for topic in topics]
        self.pairs = pairs
        self.queue: asyncio.Queue[str] = asyncio.Queue(_QUEUE)
        self.evicted = asyncio.Event()

    def wants(self, routing_key: str) -> bool:
        """Tell whether the reader asked for events of this key."""
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

    def join(self, reader: Reader) -> None:
        """Let a reader take part."""
        self._readers.add(reader)
        self._metrics.stream_clients.set(len(self._readers))

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        self._readers.discard(reader)
        self._metrics.stream_clients.set(len(self._readers))
        if reader.evicted.is_set():
            self._metrics.stream_evictions.inc()

    def on_event(self, routing_key: str, body: bytes) -> None:
        """Pass an event of the bus on to those who want it."""
        wanting = [reader for reader in self._readers if reader.wants(routing_key)]
        if wanting:
            text = body.decode()
            for reader in wanting:
                reader.put(text)

    def wants_book(self, pair_id: UUID) -> bool:
        """Tell whether anyone watches the book of a pair."""
        return any(pair_id in reader.pairs for reader in self._readers)

    def on_book(self, pair_id: UUID, text: str) -> None:
        """Pass a book on to those who watch it."""
        for reader in self._readers:
            if pair_id in reader.pairs:
                reader.put(text)


async def book_message(service: MarketMakerService, pair_id: UUID, depth: int = 20) -> str:
    """Return the present book of a pair as a message of the stream."""
    book = await service.get_order_book(pair_id, depth)
    content = {
        "type": "simulator.book",
        "pair_id": str(pair_id),
        "ts": str(book.ts),
        "sequence": book.sequence,
        "bids": levels_data(book.bids),
        "asks": levels_data(book.asks),
    }
    return msgspec.json.encode(content).decode()


async def queue_message(service: MarketMakerService, pair_id: UUID) -> str:
    """Return where our resting orders of a pair stand in their queues, as a message of the stream."""
    places = await service.parts.simulator.get_queue_places(pair_id)
    content = {"type": "simulator.queues", "pair_id": str(pair_id), "orders": places}
    return msgspec.json.encode(content).decode()


@websocket("/api/v1/stream")
async def stream(socket: WebSocket[Any, Any, Any], service: Service, hub: NamedDependency[StreamHub]) -> None:
    """Send events whose key matches `topics` (comma-separated patterns, default #) and books of `books` (pair ids)."""
    topics = [text for text in socket.query_params.get("topics", "#").split(",") if text]
    wanted = [text for text in socket.query_params.get("books", "").split(",") if text]
    try:
        pairs = frozenset(UUID(text) for text in wanted)
        if len(topics) + len(pairs) > _MAX_TOPICS or not all(_TOPIC.fullmatch(topic) for topic in topics):
            raise ValueError(topics)
        first = [await book_message(service, pair_id) for pair_id in pairs]
    except Exception:  # noqa: BLE001  (whatever was wrong with the wish, it is refused)
        await socket.accept()
        await socket.close(REFUSED, "topics: at most 20 patterns such as simulator.order.*; books: ids of pairs")
        return
    reader = Reader(topics, pairs)
    for text in first:
        reader.put(text)
    hub.join(reader)  # before the handshake ends: whoever is connected misses nothing from then on
    try:
        await _accept(socket)
        await _serve(socket, reader)
    finally:
        hub.leave(reader)


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
        with suppress(Exception):
            await asyncio.wait_for(socket.close(EVICTED, "the reader does not keep up; connect again"), 1.0)


async def _evicted(reader: Reader) -> None:
    await reader.evicted.wait()


def _pattern(topic: str) -> re.Pattern[str]:
    """Return the expression of a topic pattern: * is one word, # any number of words."""
    text = re.escape(topic).replace(r"\*", "[^.]+").replace(r"\#", ".*").replace(r"\..*", r"(?:\..*)?")
    return re.compile(text)
