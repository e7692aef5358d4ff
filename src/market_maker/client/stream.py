"""The stream of events and order books, synchronous and asynchronous, that connects again and says so.

What happened while there was no connection is not told later: after `Reconnected` a reader fetches the present
state by REST. Owns the two WebSocket clients; the rules between them are shared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Self
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import msgspec
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection as SyncConnection
from websockets.sync.client import connect as connect_sync

from market_maker.api.schemas import LevelView, MarketBookView, TradingPhase, View
from market_maker.domain.errors import DataError, InvalidRequest, MarketMakerError, NotAllowed, Unavailable

_REFUSED = 1008
_ATTEMPTS = 30
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_OPEN_S = 10.0
_MAX_MESSAGE = 1 << 20


class StreamEvent(View):
    """An event of the bus in its envelope; `type` is such as ``simulator.order.filled``, `time` is ns UTC."""

    id: UUID
    type: str
    version: int
    aggregate_id: UUID
    sequence: int
    time: str
    correlation_id: str | None
    data: dict[str, Any]


class StreamBook(MarketBookView):
    """The present order book of a watched pair."""


class TapeTrade(View):
    """A public trade; one of an auction has no aggressor."""

    trade_id: UUID
    ts: str
    aggressor: Literal["BUY", "SELL"] | None
    price: Decimal
    amount: Decimal
    auction: bool


class StreamTrades(View):
    """Public trades of a watched pair, oldest first."""

    pair_id: UUID
    trades: list[TapeTrade]


class QueuePlace(View):
    """Where an own resting order stands: what of it is open, how much is displayed ahead of it at its price, and in all."""

    order_id: UUID
    side: str
    price: Decimal
    leaves_qty: Decimal
    ahead: Decimal
    level_qty: Decimal


class StreamQueues(View):
    """Own resting orders of a pair whose book is watched, with their places in the queues."""

    pair_id: UUID
    orders: list[QueuePlace]


class StreamDelta(View):
    """The whole book of a watched pair (`kind` snapshot), or what has changed of it: new quantities, 0 for what is gone.

    `sequence` is one more than of the message before; `book_sequence` is the `sequence` of the book by REST.
    """

    type: Literal["simulator.book.snapshot", "simulator.book.delta"]
    pair_id: UUID
    sequence: int
    book_sequence: int
    ts: str
    stale: bool
    phase: TradingPhase
    bids: list[LevelView]
    asks: list[LevelView]


class BookTwin:
    """A book that is kept up to date by the stream's snapshots and deltas.

    Examples
    --------
    ::

        twin = BookTwin()
        with client.stream([], deltas=[pair_id]) as stream:
            for message in stream:
                if isinstance(message, StreamDelta):
                    twin.apply(message)
                    print(twin.best)
    """

    def __init__(self) -> None:
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.sequence = -1
        self.book_sequence = -1
        self.is_stale = False

    def apply(self, message: StreamDelta) -> None:
        """Take in a snapshot or a delta; DataError when a delta is missing: connect again, which brings a snapshot."""
        if message.type == "simulator.book.snapshot":
            self.bids, self.asks = {}, {}
        elif message.sequence != self.sequence + 1:
            raise DataError(f"delta {message.sequence} came after {self.sequence}; the book is not known any more")
        self.sequence, self.book_sequence, self.is_stale = message.sequence, message.book_sequence, message.stale
        for side, levels in ((self.bids, message.bids), (self.asks, message.asks)):
            for level in levels:
                if level.quantity:
                    side[level.price] = level.quantity
                else:
                    side.pop(level.price, None)

    @property
    def best(self) -> tuple[Decimal | None, Decimal | None]:
        """The best bid and ask, None for an empty side."""
        return max(self.bids, default=None), min(self.asks, default=None)


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection was lost for `reason` and is there again after `attempts`; events between are missing."""

    reason: str
    attempts: int


Message = StreamEvent | StreamBook | StreamQueues | StreamTrades | StreamDelta | Reconnected


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a stream is found, and with which headers."""

    url: str
    headers: dict[str, str] = field(repr=False)


def stream_address(
    base_url: str,
    api_key: str | None,
    topics: Sequence[str],
    books: Sequence[UUID | str],
    *,
    trades: Sequence[UUID | str] = (),
    deltas: Sequence[UUID | str] = (),
    cancel_on_disconnect: UUID | str | None = None,
) -> StreamAddress:
    """Return the WebSocket address of a service's stream; the key travels in a header, never in the URL."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None:
        raise InvalidRequest.of("base_url", base_url, "http://... or https://...")
    wishes = {"topics": ",".join(topics)}
    for name, pairs in (("books", books), ("trades", trades), ("deltas", deltas)):
        if pairs or name == "books":
            wishes[name] = ",".join(str(pair) for pair in pairs)
    if cancel_on_disconnect is not None:
        wishes["cancel_on_disconnect"] = str(cancel_on_disconnect)
    query = urlencode(wishes)
    url = urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/api/v1/stream", query, ""))
    return StreamAddress(url, {} if api_key is None else {"X-API-Key": api_key})


class Stream:
    """A synchronous stream: an iterator, connected inside `with`.

    Examples
    --------
    ::

        with client.stream(["simulator.order.*"]) as stream:
            for message in stream:
                print(message)
    """

    def __init__(self, address: StreamAddress) -> None:
        self._address = address
        self._connection: SyncConnection | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._connection = self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        return self.receive()

    def receive(self, timeout_s: float | None = None) -> Message:
        """Return the next message; TimeoutError when none comes in time. Errors as of the client."""
        if self._connection is None:
            raise InvalidRequest("the stream is not connected; use it inside `with`")
        try:
            return _read(self._connection.recv(timeout_s))
        except ConnectionClosed as error:
            reason = _reason(error)
        self._connection, attempts = self._reconnect()
        return Reconnected(reason, attempts)

    def _reconnect(self) -> tuple[SyncConnection, int]:
        last: Unavailable | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            time.sleep(_pause_s(attempt))
            try:
                return self._connect(), attempt
            except Unavailable as error:
                last = error
        assert last is not None
        raise last

    def _connect(self) -> SyncConnection:
        try:
            self._open.close()
            connecting = connect_sync(
                self._address.url, additional_headers=self._address.headers, open_timeout=_OPEN_S, max_size=_MAX_MESSAGE
            )
            return self._open.enter_context(connecting)
        except (OSError, WebSocketException) as error:
            raise _no_connection(error) from error


class AsyncStream:
    """An asynchronous stream: an async iterator, connected inside `async with`; otherwise as `Stream`."""

    def __init__(self, address: StreamAddress) -> None:
        self._address = address
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self.receive()

    async def receive(self) -> Message:
        """Return the next message; bound the wait by `asyncio.timeout`. Errors as of the client."""
        if self._connection is None:
            raise InvalidRequest("the stream is not connected; use it inside `async with`")
        try:
            return _read(await self._connection.recv())
        except ConnectionClosed as error:
            reason = _reason(error)
        self._connection, attempts = await self._reconnect()
        return Reconnected(reason, attempts)

    async def _reconnect(self) -> tuple[AsyncConnection, int]:
        last: Unavailable | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            await asyncio.sleep(_pause_s(attempt))
            try:
                return await self._connect(), attempt
            except Unavailable as error:
                last = error
        assert last is not None
        raise last

    async def _connect(self) -> AsyncConnection:
        try:
            return await connect_async(
                self._address.url, additional_headers=self._address.headers, open_timeout=_OPEN_S, max_size=_MAX_MESSAGE
            )
        except (OSError, WebSocketException) as error:
            raise _no_connection(error) from error


class _Kind(View):
    type: str


def _read(text: str | bytes) -> StreamEvent | StreamBook | StreamQueues | StreamTrades | StreamDelta:
    try:
        kind = msgspec.json.decode(text, type=_Kind).type
        if kind == "simulator.book":
            return msgspec.json.decode(text, type=StreamBook)
        if kind == "simulator.queues":
            return msgspec.json.decode(text, type=StreamQueues)
        if kind == "simulator.trades":
            return msgspec.json.decode(text, type=StreamTrades)
        if kind.startswith("simulator.book."):
            return msgspec.json.decode(text, type=StreamDelta)
        return msgspec.json.decode(text, type=StreamEvent)
    except msgspec.MsgspecError as error:
        raise MarketMakerError(f"the stream sent what is not a message: {error}") from error


def _reason(error: ConnectionClosed) -> str:
    """Return why a connection ended, if it is worth another; InvalidRequest when the wish itself was refused."""
    if error.rcvd is None:
        return "the connection was lost"
    if error.rcvd.code == _REFUSED:
        raise InvalidRequest(f"the stream was refused: {error.rcvd.reason}") from error
    return f"closed by the service: {error.rcvd.code} {error.rcvd.reason}".rstrip()


def _no_connection(error: Exception) -> MarketMakerError:
    if isinstance(error, InvalidStatus) and error.response.status_code in (401, 403):
        return NotAllowed("the stream needs an API key of scope read")
    return Unavailable(f"the stream cannot be reached ({type(error).__name__}: {error})")


def _pause_s(attempt: int) -> float:
    grown: float = _FIRST_PAUSE_S * 2 ** (attempt - 1)
    return min(grown, _LONGEST_PAUSE_S)
