"""The bus as everybody sees it, and its form inside one process.

Owns the contract: publishing returns when the message is safe or raises in time; each subscription gets its
messages in order, one at a time, at least once; what cannot be handled goes to the dead letters with the
reason. Refuses to know what messages mean. `tests/integration/test_bus_contract.py` runs on every form.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import structlog

from market_maker.domain.errors import Conflict, InvalidRequest, MarketMakerError, Unavailable, shorten
from market_maker.domain.ids import new_id

log = structlog.get_logger(__name__)


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message.

    Parameters
    ----------
    routing_key : words with dots between them, at most 255 bytes
    body : the content, JSON
    message_id : by which a consumer recognises a repetition
    correlation_id, reply_to : of a command: its mark, and the queue that awaits the answer
    queue : a queue to deliver to directly, past the exchange (answers to `reply_to`)
    headers : further texts; a dead letter has x-reason, x-queue, x-routing-key, x-attempts
    """

    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str | None = None
    reply_to: str | None = None
    queue: str | None = None
    headers: dict[str, str] | None = None


Callback = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failing callback gets a message before it becomes a dead letter; pauses double."""

    attempts: int = 3
    first_pause_s: float = 0.05


class Subscription(Protocol):
    """One callback bound to one queue."""

    queue: str

    async def cancel(self) -> None:
        """Stop calling the callback; a named queue keeps its messages, a temporary one goes away."""


class Bus(Protocol):
    """What `InProcessBus` and `RabbitBus` offer."""

    @property
    def connected(self) -> bool:
        """Whether publishing can succeed at this moment."""

    @property
    def unroutable(self) -> int:
        """How many messages were published while no queue wanted them."""

    @property
    def last_error(self) -> str | None:
        """Why the bus is not connected, without secrets."""

    @property
    def dead_letters(self) -> str:
        """The name of the queue of dead letters."""

    async def start(self) -> None:
        """Connect; a broker that is down is no error: connecting goes on in the background."""

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stop all subscriptions and disconnect, within `timeout_s`."""

    async def publish(self, message: Message, timeout_s: float = 5.0) -> None:
        """Publish one message; returns when it is confirmed, raises Unavailable otherwise."""

    async def publish_all(self, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        """Publish in order; returns when all are confirmed, raises Unavailable otherwise (some may be out)."""

    async def subscribe(
        self, queue: str | None, callback: Callback, patterns: Sequence[str] = ("#",), *, prefetch: int = 200
    ) -> Subscription:
        """Call `callback` for every message of `queue`, in order, one at a time.

        Parameters
        ----------
        queue : a durable queue that outlives the subscription; None for a temporary one of our own
        callback : returning acknowledges; raising repeats it `RetryPolicy.attempts` times in all, then the message
            becomes a dead letter; raising InvalidRequest (unreadable) makes it one at once
        patterns : routing keys bound to the queue; ``*`` is one word, ``#`` any number; () adds no binding
        prefetch : how many unacknowledged messages the broker may hand over
        """

    async def delete_queue(self, queue: str) -> None:
        """Delete a named queue with its messages and bindings; nothing happens when it does not exist."""


def check_message(message: Message) -> None:
    """Raise InvalidRequest when no broker could carry `message`."""
    if len(message.routing_key.encode()) > 255:
        raise InvalidRequest.of("routing_key", message.routing_key, "at most 255 bytes")


def pattern_matches(pattern: str) -> Callable[[str], bool]:
    """Return a test of routing keys against a topic pattern. Source: AMQP 0-9-1, section 3.1.3.3."""
    expression = ""
    for word in pattern.split("."):
        # every word is written with the dot before it, and so is the key that is tested
        expression += r"(?:\.[^.]*)*" if word == "#" else r"\.[^.]*" if word == "*" else r"\." + re.escape(word)
    compiled = re.compile(expression)
    return lambda key: compiled.fullmatch("." + key) is not None


def dead_letter(message: Message, *, queue: str, reason: str, attempts: int) -> Message:
    """Return `message` as it goes to the dead letters, with the reason in its headers."""
    headers = {
        **(message.headers or {}),
        "x-reason": shorten(reason, 500),
        "x-queue": queue,
        "x-routing-key": message.routing_key,
        "x-attempts": str(attempts),
    }
    return msgspec.structs.replace(message, queue=None, headers=headers)


async def handle(message: Message, callback: Callback, queue: str, retry: RetryPolicy) -> Message | None:
    """Give `message` to `callback` as often as `retry` allows; return the dead letter when all was in vain."""
    pause_s = retry.first_pause_s
    for attempt in range(1, retry.attempts + 1):
        try:
            await callback(message)
            return None
        except InvalidRequest as error:
            log.warning("message_unreadable", queue=queue, message_id=message.message_id, reason=error.detail)
            return dead_letter(message, queue=queue, reason=f"unreadable: {error.detail}", attempts=attempt)
        except Exception as error:  # noqa: BLE001 (whatever a subscriber raises must not stop its queue)
            reason = error.detail if isinstance(error, MarketMakerError) else f"{type(error).__name__}: {error}"
            log.warning("message_failed", queue=queue, message_id=message.message_id, attempt=attempt, reason=reason)
            if attempt == retry.attempts:
                return dead_letter(message, queue=queue, reason=reason, attempts=attempt)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s *= 2
    raise AssertionError("a retry policy has at least one attempt")


class InProcessBus:
    """The bus inside one process: the default where no broker is given.

    Named queues live as long as the bus and hold at most `queue_limit` messages: publishing to a full one waits,
    then raises Unavailable, and the outbox keeps the news. Temporary queues and the dead letters drop their oldest.

    Examples
    --------
    >>> async def hello() -> None:
    ...     bus = InProcessBus()
    ...     await bus.start()
    ...     await bus.publish(Message("backtest.completed", b"{}", "1"))
    ...     await bus.close()
    >>> asyncio.run(hello())
    """

    def __init__(
        self, *, prefix: str = "market_maker", queue_limit: int = 10_000, retry: RetryPolicy | None = None
    ) -> None:
        self.dead_letters = f"{prefix}.dead"
        self.last_error: str | None = "not started"
        self.unroutable = 0
        self._retry = retry or RetryPolicy()
        self._limit = queue_limit
        self._queues: dict[str, _Queue] = {}
        self._routes: dict[str, list[_Queue]] = {}
        self._started = False

    @property
    def connected(self) -> bool:
        """True between start and close."""
        return self._started

    async def start(self) -> None:
        """Make the dead letters and accept messages."""
        self._queues.setdefault(self.dead_letters, _Queue(self.dead_letters, self._limit, drops_oldest=True))
        self._started, self.last_error = True, None

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stop all subscriptions after the callback that is running, within `timeout_s`."""
        self._started, self.last_error = False, "closed"
        subscriptions = [queue.subscription for queue in self._queues.values() if queue.subscription]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(subscription.cancel() for subscription in subscriptions))

    async def publish(self, message: Message, timeout_s: float = 5.0) -> None:
        """Put `message` into every queue that wants it."""
        await self.publish_all((message,), timeout_s)

    async def publish_all(self, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        """Put `messages` into the queues that want them; waits for room at most `timeout_s` in all."""
        if not self._started:
            raise Unavailable(f"the in-process bus is {self.last_error}: start it before publishing")
        routes = self._routes
        deadline: float | None = None
        for message in messages:
            queues = self._route(message) if message.queue is not None else routes.get(message.routing_key)
            if queues is None:
                queues = self._route(message)
            if not queues:
                self.unroutable += 1
            while (full := next((queue for queue in queues if queue.is_full), None)) is not None:
                deadline = deadline or asyncio.get_running_loop().time() + timeout_s
                await full.wait_for_room(deadline)
            for queue in queues:
                queue.put(message)

    async def subscribe(
        self, queue: str | None, callback: Callback, patterns: Sequence[str] = ("#",), *, prefetch: int = 200
    ) -> Subscription:
        """Call `callback` for every message of `queue`; see `Bus.subscribe`. `prefetch` has no meaning here."""
        assert prefetch >= 1, prefetch
        name = queue if queue is not None else f"temporary.{new_id()}"
        found = self._queues.get(name)
        if found is None:
            found = self._queues[name] = _Queue(name, self._limit, drops_oldest=queue is None)
        if found.subscription is not None:
            raise Conflict(
                f"queue {name} already has a subscription in this process: cancel it first or use another name"
            )
        found.patterns.update({pattern: pattern_matches(pattern) for pattern in patterns})
        self._routes.clear()
        forget = self._forget if queue is None else None
        found.subscription = _InProcessSubscription(found, callback, self._retry, self._bury, forget)
        return found.subscription

    async def delete_queue(self, queue: str) -> None:
        """Delete a named queue with its messages and bindings."""
        found = self._queues.pop(queue, None)
        self._routes.clear()
        if found is not None and found.subscription is not None:
            await found.subscription.cancel()

    def _forget(self, queue: _Queue) -> None:
        self._queues.pop(queue.name, None)
        self._routes.clear()

    def _bury(self, letter: Message, queue: _Queue) -> None:
        if queue.name == self.dead_letters:  # its reader failed as well: the log has it
            return
        self._queues[self.dead_letters].put(letter)

    def _route(self, message: Message) -> list[_Queue]:
        check_message(message)
        if message.queue is not None:
            return [self._queues[message.queue]] if message.queue in self._queues else []
        wanted = [q for q in self._queues.values() if any(test(message.routing_key) for test in q.patterns.values())]
        if len(self._routes) > 10_000:  # routing keys that never come again must not pile up
            self._routes.clear()
        self._routes[message.routing_key] = wanted
        return wanted


class _Queue:
    """Messages in order, with a bound."""

    def __init__(self, name: str, limit: int, *, drops_oldest: bool) -> None:
        self.name = name
        self.patterns: dict[str, Callable[[str], bool]] = {}
        self.subscription: _InProcessSubscription | None = None
        self._limit = limit
        self._drops_oldest = drops_oldest
        self._messages: deque[Message] = deque(maxlen=limit if drops_oldest else None)
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return not self._drops_oldest and len(self._messages) >= self._limit

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._arrived.set()

    async def wait_for_room(self, deadline: float) -> None:
        self._room.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.wait()
        except TimeoutError as error:
            raise Unavailable(
                f"queue {self.name} holds {self._limit} messages and nobody takes them: subscribe to it or delete it"
            ) from error

    async def first(self) -> Message:
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages[0]

    def remove(self, message: Message) -> None:
        """Take the handled message out, unless it was dropped meanwhile."""
        if self._messages and self._messages[0] is message:
            self._messages.popleft()
        self._room.set()


class _InProcessSubscription:
    def __init__(
        self,
        queue: _Queue,
        callback: Callback,
        retry: RetryPolicy,
        bury: Callable[[Message, _Queue], None],
        forget: Callable[[_Queue], None] | None,
    ) -> None:
        self.queue = queue.name
        self._queue = queue
        self._callback = callback
        self._retry = retry
        self._bury = bury
        self._forget = forget
        self._task = asyncio.create_task(self._run(), name=f"subscription {queue.name}")

    async def cancel(self) -> None:
        """Stop; a message whose callback is cut off stays in its queue."""
        if self._forget is not None:
            self._forget(self._queue)
        if self._queue.subscription is self:
            self._queue.subscription = None
        self._task.cancel()
        if self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        handled = 0
        while True:
            message = await self._queue.first()
            letter = await handle(message, self._callback, self.queue, self._retry)
            if letter is not None:
                self._bury(letter, self._queue)
            self._queue.remove(message)
            handled += 1
            if handled % 64 == 0:  # callbacks that never wait must not starve the loop
                await asyncio.sleep(0)
