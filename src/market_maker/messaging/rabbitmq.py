"""The bus on RabbitMQ: durable exchange and quorum queues, publisher confirms, our own reconnecting.

aio-pika's robust connection waits without end while the broker is down; here everything has a timeout, one
loop keeps one plain connection alive and puts the subscriptions back on each new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from yarl import URL

from market_maker.domain.errors import Conflict, Unavailable
from market_maker.domain.ids import new_id
from market_maker.messaging.bus import Callback, Message, RetryPolicy, Subscription, check_message, handle
from market_maker.monitoring.logs import mask_secrets, mask_url

log = structlog.get_logger(__name__)

PERSISTENT = 2
DEAD_LETTERS_MAX = 100_000
DELIVERY_LIMIT = 50
"""A message that was handed out this often without an answer (its consumer died each time) is a dead letter."""

PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 2.0
FAULTS = (Exception,)
"""What an operation on a dying connection can raise: aiormq ends some of its callers with a bare `Exception()`."""


class RabbitBus:
    """The bus on a RabbitMQ server; contract: `market_maker.messaging.bus.Bus`.

    Parameters
    ----------
    url : ``amqp://user:password@host:port/vhost``, or ``amqps:``
    prefix : exchange ``<prefix>.events``, dead letters ``<prefix>.dead``
    connect_timeout_s : for one attempt, and how long `start` waits for the first
    heartbeat_s : after three of them (and 3 s) a silent broker counts as gone; publishing has limits of its own
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "market_maker",
        connect_timeout_s: float = 5.0,
        retry: RetryPolicy | None = None,
        heartbeat_s: int = 5,
    ) -> None:
        self.exchange = f"{prefix}.events"
        self.dead_letters = f"{prefix}.dead"
        self.unroutable = 0
        self.last_error: str | None = "not started"
        self._url = URL(url).update_query(heartbeat=str(heartbeat_s), name=f"{prefix} bus")
        self.prefix = prefix
        self._connect_timeout_s = connect_timeout_s
        self.retry = retry or RetryPolicy()
        self.subscriptions: list[_RabbitSubscription] = []
        self._changing = asyncio.Lock()
        self._attempted = asyncio.Event()
        self.lost = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._publisher: Channel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection stands and everything is declared on it."""
        return self._publisher is not None and not self.lost.is_set()

    async def start(self) -> None:
        """Begin to connect; waits for the first attempt, whose failure is no error."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_connected(), name="rabbitmq connection")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._connect_timeout_s):
                await self._attempted.wait()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Stop the subscriptions and disconnect; a message whose callback is cut off will be delivered again."""
        for subscription in self.subscriptions:
            await subscription.stop()
        self.subscriptions.clear()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper], timeout=timeout_s)
        if self._closing is not None:
            # the keeper may have been stopped in the midst of it; a loop that ends before it has ended never ends
            await asyncio.wait([self._closing], timeout=timeout_s)
        self.last_error = "closed"

    async def publish(self, message: Message, timeout_s: float = 5.0) -> None:
        """Publish one message and wait for its confirmation."""
        await self.publish_all((message,), timeout_s)

    async def publish_all(self, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        """Publish in order, all on their way at once; returns when the broker has confirmed every one."""
        for message in messages:
            check_message(message)
        await self.publish_to(messages, self.exchange, timeout_s)

    async def subscribe(
        self, queue: str | None, callback: Callback, patterns: Sequence[str] = ("#",), *, prefetch: int = 200
    ) -> Subscription:
        """Call `callback` for every message of `queue`; see `Bus.subscribe`.

        While the broker is down the subscription is remembered and made on the next connection. A temporary
        queue (None) has a new name, and none of the old messages, after each reconnection.
        """
        if queue is not None and any(found.queue == queue for found in self.subscriptions):
            raise Conflict(
                f"queue {queue} already has a subscription in this process: cancel it first or use another name"
            )
        subscription = _RabbitSubscription(self, queue, callback, tuple(patterns), prefetch)
        async with self._changing:
            self.subscriptions.append(subscription)
            if self._connection is not None and self.connected:
                try:
                    async with asyncio.timeout(self._connect_timeout_s):
                        await subscription.attach(self._connection)
                except ChannelPreconditionFailed as error:
                    self.subscriptions.remove(subscription)
                    await subscription.stop()
                    raise Conflict(
                        f"queue {queue} exists with other properties ({error}): delete it or use another name"
                    ) from error
                except FAULTS as error:
                    self.lose(f"subscribing failed: {_text(error)}")
        return subscription

    async def delete_queue(self, queue: str) -> None:
        """Delete a named queue with its messages and bindings."""
        for subscription in [found for found in self.subscriptions if found.queue == queue]:
            await subscription.cancel()
        await self._administer(lambda channel: channel.queue_delete(queue))

    async def delete_topology(self) -> None:
        """Delete the exchanges and the dead letters of this prefix (tests, uninstalling)."""
        await self._administer(lambda channel: channel.exchange_delete(self.exchange))
        await self._administer(lambda channel: channel.exchange_delete(self.dead_letters))
        await self._administer(lambda channel: channel.queue_delete(self.dead_letters))

    async def _administer(self, action: Callable[[AbstractChannel], Any]) -> None:
        connection = self._connection
        if connection is None or not self.connected:
            raise self._unavailable("the broker is not connected")
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                channel = await connection.channel()
                await action(channel)
                await channel.close()
        except FAULTS as error:
            raise self._unavailable(_text(error)) from error

    async def publish_to(self, messages: Sequence[Message], exchange: str, timeout_s: float) -> None:
        """Publish in order to any exchange; the subscriptions send their dead letters by it."""
        channel = self._publisher
        if channel is None or self.lost.is_set() or channel.is_closed:
            raise self._unavailable(f"RabbitMQ is not connected ({self.last_error})")
        try:
            async with asyncio.timeout(timeout_s):
                confirmations = await _send(channel, exchange, messages)
                outcomes = await asyncio.gather(*confirmations, return_exceptions=True)
        except TimeoutError as error:
            # what is still on its way must not arrive after what comes later
            self.lose(f"no confirmation within {timeout_s} s")
            raise self._unavailable(
                f"RabbitMQ confirmed not all of {len(messages)} messages in {timeout_s} s"
            ) from error
        except FAULTS as error:
            self.lose(_text(error))
            raise self._unavailable(
                f"RabbitMQ could not be given all of {len(messages)} messages: {_text(error)}"
            ) from error
        finally:
            for message in messages:
                channel.message_id_delivery_tag.pop(message.message_id, None)
        for outcome in outcomes:
            if isinstance(outcome, DeliveredMessage):
                self.unroutable += 1
            elif isinstance(outcome, BaseException):
                raise self._unavailable(
                    f"RabbitMQ took not all of {len(messages)} messages: {_text(outcome)}"
                ) from outcome

    async def _keep_connected(self) -> None:
        pause_s = PAUSE_S_MIN
        try:
            while True:
                self.lost = asyncio.Event()
                try:
                    async with asyncio.timeout(self._connect_timeout_s + 5 * len(self.subscriptions)):
                        await self._connect()
                except FAULTS as error:
                    self.last_error = _text(error)
                    log.warning("bus_not_connected", url=mask_url(str(self._url)), reason=self.last_error)
                except asyncio.CancelledError:
                    if _is_our_end():
                        raise
                    self.last_error = "the connection ended while it was made"
                else:
                    self._attempted.set()
                    pause_s = PAUSE_S_MIN
                    await self.lost.wait()
                    log.warning("bus_connection_lost", url=mask_url(str(self._url)), reason=self.last_error)
                self._attempted.set()
                await self._disconnect()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        finally:
            await self._disconnect()

    async def _connect(self) -> None:
        connection = await aio_pika.connect(self._url, timeout=self._connect_timeout_s)
        self._connection = connection
        lost = self.lost
        connection.close_callbacks.add(lambda _, error: self.lose(_text(error) if error else "closed", lost))
        channel = await connection.channel(publisher_confirms=True)
        channel.close_callbacks.add(lambda _, error: self.lose(_text(error) if error else "closed", lost))
        await channel.declare_exchange(self.exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        await channel.declare_exchange(self.dead_letters, aio_pika.ExchangeType.FANOUT, durable=True)
        dead = await channel.declare_queue(
            self.dead_letters,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": DEAD_LETTERS_MAX},
        )
        await dead.bind(self.dead_letters)
        async with self._changing:
            for subscription in self.subscriptions:
                await subscription.attach(connection)
            publisher = await channel.get_underlay_channel()
            assert isinstance(publisher, Channel), type(publisher)
            self._publisher = publisher
        self.last_error = None

    async def _disconnect(self) -> None:
        connection, self._connection, self._publisher = self._connection, None, None
        if connection is not None:
            # in a task of its own: aiormq cancels whoever waits on a dying connection, which must not look like our end
            closing = self._closing = asyncio.ensure_future(connection.close())
            done, _ = await asyncio.wait([closing], timeout=2.0)
            if done and not closing.cancelled():
                closing.exception()  # looked at, so that nobody reports it as lost
            closing.cancel()

    def lose(self, reason: str, lost: asyncio.Event | None = None) -> None:
        """Give the connection up and begin afresh; late news of an earlier connection change nothing."""
        if lost is None or lost is self.lost:
            self.last_error = self.last_error or reason
            self.lost.set()

    def _unavailable(self, detail: str) -> Unavailable:
        return Unavailable(f"{detail}: check the server at {mask_url(str(self._url.with_query(None)))}")


class _RabbitSubscription:
    """One queue, one callback, one worker: deliveries of a connection that is gone are passed over."""

    def __init__(
        self, bus: RabbitBus, queue: str | None, callback: Callback, patterns: tuple[str, ...], prefetch: int
    ) -> None:
        self.queue = queue or ""
        self._temporary = queue is None
        self._bus = bus
        self._callback = callback
        self._patterns = patterns
        self._prefetch = prefetch
        self._channel: AbstractChannel | None = None
        self._deliveries: asyncio.Queue[tuple[AbstractChannel, AbstractIncomingMessage]] = asyncio.Queue()
        self._worker = asyncio.create_task(self._work(), name=f"subscription {queue}")

    async def attach(self, connection: AbstractConnection) -> None:
        """Declare, bind and consume on a fresh connection."""
        channel = await connection.channel(publisher_confirms=False)
        lost = self._bus.lost
        channel.close_callbacks.add(lambda _, error: self._channel_closed(channel, error, lost))
        await channel.set_qos(prefetch_count=self._prefetch)
        if self._temporary:
            self.queue = f"{self._bus.prefix}.temporary.{new_id()}"
            arguments: dict[str, Any] = {"x-max-length": 10_000, "x-overflow": "drop-head"}
        else:
            arguments = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
            arguments["x-dead-letter-exchange"] = self._bus.dead_letters
        if self.queue == self._bus.dead_letters:
            queue = await channel.get_queue(self.queue)
        else:
            queue = await channel.declare_queue(
                self.queue, durable=not self._temporary, exclusive=self._temporary,
                auto_delete=self._temporary, arguments=arguments,
            )  # fmt: skip
            for pattern in self._patterns:
                await queue.bind(self._bus.exchange, routing_key=pattern)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _: self._bus.lose(f"queue {self.queue} was taken away", lost))
        self._channel = channel

        async def deliver(incoming: AbstractIncomingMessage) -> None:
            self._deliveries.put_nowait((channel, incoming))

        await queue.consume(deliver)

    async def cancel(self) -> None:
        """Stop calling the callback; unacknowledged messages go back to the queue."""
        with contextlib.suppress(ValueError):
            self._bus.subscriptions.remove(self)
        await self.stop()

    async def stop(self) -> None:
        """Close the channel and end the worker."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(*FAULTS):
                async with asyncio.timeout(2.0):
                    await channel.close()
        self._worker.cancel()
        if self._worker is not asyncio.current_task():
            await asyncio.wait([self._worker])

    def _channel_closed(self, channel: AbstractChannel, error: BaseException | None, lost: asyncio.Event) -> None:
        if channel is self._channel:  # not closed by ourselves: begin afresh
            self._bus.lose(f"the channel of queue {self.queue} was closed: {_text(error) if error else ''}", lost)

    async def _work(self) -> None:
        while True:
            channel, incoming = await self._deliveries.get()
            if channel is not self._channel:
                continue  # the broker will deliver it again on the new connection
            message = _message_of(incoming)
            letter = await handle(message, self._callback, self.queue, self._bus.retry)
            try:
                if letter is not None and self.queue != self._bus.dead_letters:
                    await self._bus.publish_to((letter,), self._bus.dead_letters, 5.0)
                if channel is self._channel:
                    async with asyncio.timeout(5.0):
                        await incoming.ack()
            except (*FAULTS, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_our_end():
                    raise
                # unacknowledged: it comes again; a fresh connection also brings back what is behind it, in order
                self._bus.lose(f"acknowledging on queue {self.queue} failed: {_text(error)}")


def _is_our_end() -> bool:
    """Tell whether a CancelledError means us: aiormq cancels its callers when a connection dies under them."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _send(channel: Channel, exchange: str, messages: Sequence[Message]) -> list[asyncio.Future[Any]]:
    """Write all messages in one piece and return their confirmations.

    `Channel.basic_publish` of aiormq takes 440 us of processor time per message, most of it in tasks and locks for
    each; this does the same book-keeping for a batch at once.
    """
    confirmations: list[asyncio.Future[Any]] = []
    frames: list[Any] = []
    size_max = channel.max_content_size
    async with channel.lock:
        for message in messages:
            to_queue = message.queue
            frames.append(
                Basic.Publish(
                    exchange=exchange if to_queue is None else "",
                    routing_key=message.routing_key if to_queue is None else to_queue,
                    mandatory=True,
                )
            )
            frames.append(ContentHeader(properties=_properties(message), body_size=len(message.body)))
            frames += [ContentBody(message.body[at : at + size_max]) for at in range(0, len(message.body), size_max)]
            channel.delivery_tag += 1
            confirmation = channel.create_future()
            channel.confirmations[channel.delivery_tag] = confirmation
            channel.message_id_delivery_tag[message.message_id] = channel.delivery_tag
            confirmations.append(confirmation)
        await channel.write_queue.put(ChannelFrame.marshall(frames=frames, channel_number=channel.number))
    return confirmations


def _properties(message: Message) -> Basic.Properties:
    return Basic.Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_type=message.routing_key or None,
        headers=dict(message.headers) if message.headers else None,
    )


def _message_of(incoming: AbstractIncomingMessage) -> Message:
    headers = {
        name: value if isinstance(value, str) else str(value) for name, value in (incoming.headers or {}).items()
    }
    return Message(
        routing_key=incoming.type if not incoming.exchange and incoming.type else incoming.routing_key or "",
        body=incoming.body,
        message_id=incoming.message_id or "",
        correlation_id=incoming.correlation_id,
        reply_to=incoming.reply_to,
        headers=headers or None,
    )


def _text(error: BaseException) -> str:
    return mask_secrets(f"{type(error).__name__}: {error}".strip(": "))
