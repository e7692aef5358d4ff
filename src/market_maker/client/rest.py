"""`Client` and `AsyncClient`: the operations over one kept-alive HTTP connection pool each, and the stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import httpx

from market_maker.api.schemas import RunView, SweepDetailView
from market_maker.client.conversation import Answer, Call, Outcome, Pause, Send, Steps, converse
from market_maker.client.operations import AsyncSender, Id, Operations, SyncSender
from market_maker.client.stream import AsyncStream, Stream, stream_address
from market_maker.domain.errors import Unavailable

DEFAULT_URL = "http://127.0.0.1:8000"
_ENDED = ("COMPLETED", "FAILED", "CANCELED")
_POLL_S = 0.1
Work = TypeVar("Work", RunView, SweepDetailView)
_LIMITS = httpx.Limits(keepalive_expiry=2.0)  # shorter than the server's, so that no request meets a closing connection


class Client(Operations, SyncSender):
    """The service, synchronously.

    Parameters
    ----------
    base_url : of the service
    api_key : sent as X-API-Key; needed where the service has keys
    timeout_s : for one request
    attempts : most requests of one call; see `conversation.converse` for what is sent again

    Examples
    --------
    ::

        with Client() as client:
            order = client.place_order(DEFAULT_PAIR_ID, "BUY", "0.01", "49000.00", wait=True)
            client.cancel_order(order.order_id)
    """

    def __init__(
        self, base_url: str = DEFAULT_URL, api_key: str | None = None, *, timeout_s: float = 30.0, attempts: int = 5
    ) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(api_key), timeout=timeout_s, limits=_LIMITS)
        self._attempts = attempts
        self._address = (base_url, api_key)

    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer."""
        return self._carry_out(converse(call, self._attempts))

    def wait_for_run(self, run_id: Id, timeout_s: float = 600.0) -> RunView:
        """Return a backtest run once it is COMPLETED, FAILED or CANCELED; Unavailable after `timeout_s`."""
        return self._carry_out(_until_ended(Operations.get_run.describe(self, run_id), self._attempts, timeout_s))

    def wait_for_sweep(self, sweep_id: Id, timeout_s: float = 600.0) -> SweepDetailView:
        """Return a sweep once it is COMPLETED, FAILED or CANCELED; Unavailable after `timeout_s`."""
        return self._carry_out(_until_ended(Operations.get_sweep.describe(self, sweep_id), self._attempts, timeout_s))

    def stream(
        self,
        topics: Sequence[str] = ("#",),
        books: Sequence[Id] = (),
        *,
        trades: Sequence[Id] = (),
        deltas: Sequence[Id] = (),
        cancel_on_disconnect: Id | None = None,
    ) -> Stream:
        """Return the stream of events whose type matches `topics`, and of what is watched of pairs.

        `books` sends the best levels, `deltas` the whole book and then its changes (see `BookTwin`), `trades` public trades. At its
        end the service cancels the open orders of the account `cancel_on_disconnect`, which needs scope trade.
        """
        return Stream(
            stream_address(
                *self._address, topics, books, trades=trades, deltas=deltas, cancel_on_disconnect=cancel_on_disconnect
            )
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carry_out(self, steps: Steps[Answer]) -> Answer:
        outcome: Outcome = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                outcome = self._ask(step) if isinstance(step, Send) else None
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    def _ask(self, send: Send) -> Outcome:
        try:
            return self._http.request(
                send.method, send.url, params=send.params, headers=send.headers, content=send.content
            )
        except httpx.TransportError as error:
            return error


class AsyncClient(Operations, AsyncSender):
    """The service, asynchronously: the same operations as coroutines; parameters as of `Client`."""

    def __init__(
        self, base_url: str = DEFAULT_URL, api_key: str | None = None, *, timeout_s: float = 30.0, attempts: int = 5
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(api_key), timeout=timeout_s, limits=_LIMITS)
        self._attempts = attempts
        self._address = (base_url, api_key)

    async def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer."""
        return await self._carry_out(converse(call, self._attempts))

    async def wait_for_run(self, run_id: Id, timeout_s: float = 600.0) -> RunView:
        """Return a backtest run once it is COMPLETED, FAILED or CANCELED; Unavailable after `timeout_s`."""
        steps = _until_ended(Operations.get_run.describe(self, run_id), self._attempts, timeout_s)
        return await self._carry_out(steps)

    async def wait_for_sweep(self, sweep_id: Id, timeout_s: float = 600.0) -> SweepDetailView:
        """Return a sweep once it is COMPLETED, FAILED or CANCELED; Unavailable after `timeout_s`."""
        steps = _until_ended(Operations.get_sweep.describe(self, sweep_id), self._attempts, timeout_s)
        return await self._carry_out(steps)

    def stream(
        self,
        topics: Sequence[str] = ("#",),
        books: Sequence[Id] = (),
        *,
        trades: Sequence[Id] = (),
        deltas: Sequence[Id] = (),
        cancel_on_disconnect: Id | None = None,
    ) -> AsyncStream:
        """Return the stream of events whose type matches `topics`, and of what is watched of pairs.

        `books` sends the best levels, `deltas` the whole book and then its changes (see `BookTwin`), `trades` public trades. At its
        end the service cancels the open orders of the account `cancel_on_disconnect`, which needs scope trade.
        """
        return AsyncStream(
            stream_address(
                *self._address, topics, books, trades=trades, deltas=deltas, cancel_on_disconnect=cancel_on_disconnect
            )
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _carry_out(self, steps: Steps[Answer]) -> Answer:
        outcome: Outcome = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                outcome = await self._ask(step) if isinstance(step, Send) else None
        except StopIteration as end:
            answer: Answer = end.value
            return answer

    async def _ask(self, send: Send) -> Outcome:
        try:
            return await self._http.request(
                send.method, send.url, params=send.params, headers=send.headers, content=send.content
            )
        except httpx.TransportError as error:
            return error


def _until_ended(call: Call[Work], attempts: int, timeout_s: float) -> Steps[Work]:
    for _ in range(max(1, round(timeout_s / _POLL_S))):
        work = yield from converse(call, attempts)
        if work.status in _ENDED:
            return work
        yield Pause(_POLL_S)
    raise Unavailable(f"the run has not ended within {timeout_s:g} s")


def _headers(api_key: str | None) -> dict[str, Any]:
    return {} if api_key is None else {"X-API-Key": api_key}
