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
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import UUID

import msgspec
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection as SyncConnection
from websockets.sync.client import connect as connect_sync

from market_maker.api.schemas import MarketBookView, View
from market_maker.domain.errors import InvalidRequest, MarketMakerError, NotAllowed, Unavailable

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


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection was lost for `reason` and is there again after `attempts`; events between are missing."""

    reason: str
    attempts: int


Message = StreamEvent | StreamBook | Reconnected


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a stream is found, and with which headers."""

    url: str
    headers: dict[str, str] = field(repr=False)


def stream_address(
    base_url: str, api_key: str | None, topics: Sequence[str], books: Sequence[UUID | str]
) -> StreamAddress:
    """Return the WebSocket address of a service's stream; the key travels in a header, never in the URL."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None:
        raise InvalidRequest.of("base_url", base_url, "http://... or https://...")
    query = urlencode({"topics": ",".join(topics), "books": ",".join(str(book) for book in books)})
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


def _read(text: str | bytes) -> StreamEvent | StreamBook:
    try:
        if msgspec.json.decode(text, type=_Kind).type == "simulator.book":
            return msgspec.json.decode(text, type=StreamBook)
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
