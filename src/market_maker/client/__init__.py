"""The service from Python: `Client` and `AsyncClient`, typed, over REST and WebSocket.

It knows the vocabulary (`domain`) and the shapes of requests and answers (`api.schemas`), and nothing of how the
service works. `operations` describes every call once, `conversation` retries, `rest` sends, `stream` listens, `local` starts
a service of one's own.
"""

from __future__ import annotations

from market_maker.client.local import local_service
from market_maker.client.rest import AsyncClient, Client
from market_maker.client.stream import (
    AsyncStream,
    BookTwin,
    Reconnected,
    Stream,
    StreamBook,
    StreamDelta,
    StreamEvent,
    StreamQueues,
    StreamTrades,
)

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "BookTwin",
    "Client",
    "Reconnected",
    "Stream",
    "StreamBook",
    "StreamDelta",
    "StreamEvent",
    "StreamQueues",
    "StreamTrades",
    "local_service",
]
