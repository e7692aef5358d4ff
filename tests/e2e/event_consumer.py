"""An independent reader of the bus: a plain AMQP client with a durable queue of its own (promise R4).

It shares no code with the service. It notes every delivery and checks identity, order and persistence as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aio_pika
import psycopg

_LOST = (aio_pika.exceptions.AMQPError, OSError, TimeoutError, asyncio.CancelledError)


class EventConsumer:
    """Everything that the events exchange of `prefix` carries, from the moment `start` returns.

    Parameters
    ----------
    url : of the broker itself, not of a proxy before it
    prefix : of the service under test
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.sequence: dict[str, int] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self.ids: dict[tuple[str, int], str] = {}
        self.types: dict[str, str] = {}
        self.repeated = 0
        self.faults: list[str] = []
        self._url = url
        self._prefix = prefix
        self._queue = f"{prefix}.test"
        self._bodies: dict[str, int] = {}
        self._unacknowledged: aio_pika.abc.AbstractIncomingMessage | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        """Make exchange and queue and begin to read."""
        self._keeper = asyncio.create_task(self._keep_reading())
        await asyncio.wait_for(self._ready.wait(), 20)

    async def close(self) -> None:
        """Stop and take exchange and queues away."""
        assert self._keeper is not None
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        async with await aio_pika.connect(self._url, timeout=5) as connection:
            channel = await connection.channel()
            for queue in (self._queue, f"{self._prefix}.dead", f"{self._prefix}.commands"):
                await channel.queue_delete(queue)
            for exchange in (f"{self._prefix}.events", f"{self._prefix}.dead"):
                await channel.exchange_delete(exchange)

    async def caught_up(self, dsn: str, timeout_s: float) -> float:
        """Wait until every event that the database has now is delivered; return the seconds it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        wanted = await asyncio.to_thread(_last_sequences, dsn)
        while loop.time() < started + timeout_s:
            wanted = {key: last for key, last in wanted.items() if self.sequence.get(key, 0) < last}
            if not wanted:
                return loop.time() - started
            await asyncio.sleep(0.05)
        raise AssertionError(f"{len(wanted)} aggregates lack events after {timeout_s} s, such as {list(wanted)[:3]}")

    def differences(self, dsn: str) -> list[str]:
        """Return what differs between what was delivered and the database."""
        found = list(self.faults)
        with psycopg.connect(dsn) as connection:
            rows = connection.execute(
                "SELECT aggregate_id::text, sequence, event_id::text, type FROM events"
            ).fetchall()
            orders = connection.execute(
                "SELECT order_id::text, version, cum_qty_lots, status FROM simulated_orders"
            ).fetchall()
        stored = {(aggregate, sequence): event_id for aggregate, sequence, event_id, _ in rows}
        lost = stored.keys() - self.ids.keys()
        invented = self.ids.keys() - stored.keys()
        other = [key for key in stored.keys() & self.ids.keys() if stored[key] != self.ids[key]]
        found += [f"lost: {key}" for key in list(lost)[:3]]
        found += [f"not in the database: {key} {self.types[self.ids[key]]}" for key in list(invented)[:3]]
        found += [f"a second id: {key}" for key in other[:3]]
        for order_id, version, _, status in orders:
            data = self.last.get(order_id)
            if data is None or data["version"] != version or _STATUSES[status] != data["status"]:
                found.append(f"the last event of order {order_id} is not its row: {version} {status} {data}")
        return found

    async def _keep_reading(self) -> None:
        while True:
            task = asyncio.current_task()
            try:
                await self._read()
            except _LOST:
                if task is not None and task.cancelling():
                    raise
                await asyncio.sleep(0.2)

    async def _read(self) -> None:
        async with await aio_pika.connect(self._url, timeout=5) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=5000)
            exchange = await channel.declare_exchange(f"{self._prefix}.events", "topic", durable=True)
            queue = await channel.declare_queue(self._queue, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(exchange, "#")
            lost = asyncio.Event()
            connection.close_callbacks.add(lambda *_: lost.set())
            channel.close_callbacks.add(lambda *_: lost.set())

            async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                self._note(message)
                self._unacknowledged = message

            await queue.consume(note)
            self._ready.set()
            while not lost.is_set():
                await self._acknowledge()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), 0.02)
            self._unacknowledged = None

    async def _acknowledge(self) -> None:
        """Acknowledge all that was noted so far."""
        message, self._unacknowledged = self._unacknowledged, None
        if message is not None:
            await message.ack(multiple=True)

    def _note(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        envelope = json.loads(message.body)
        aggregate, sequence, event_id = envelope["aggregate_id"], envelope["sequence"], envelope["id"]
        if message.message_id != event_id:
            self.faults.append(f"message id {message.message_id} of event {event_id}")
        if message.delivery_mode != aio_pika.DeliveryMode.PERSISTENT:
            self.faults.append(f"event {event_id} is not persistent")
        if message.routing_key != envelope["type"]:
            self.faults.append(f"event {event_id} of type {envelope['type']} came as {message.routing_key}")
        content = hash(message.body)
        if event_id in self._bodies:
            self.repeated += 1
            if self._bodies[event_id] != content:
                self.faults.append(f"event {event_id} was repeated with another content")
            return
        last = self.sequence.get(aggregate, 0)
        if sequence != last + 1:
            self.faults.append(f"{envelope['type']} of {aggregate}: {sequence} came after {last}")
        if (aggregate, sequence) in self.ids:
            self.faults.append(f"{aggregate} {sequence} has two ids: {self.ids[aggregate, sequence]}, {event_id}")
        self._bodies[event_id] = content
        self.ids[aggregate, sequence] = event_id
        self.types[event_id] = envelope["type"]
        self.sequence[aggregate] = max(last, sequence)
        if envelope["type"].startswith("simulator.order."):
            self.last[aggregate] = envelope["data"]


def _last_sequences(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute("SELECT aggregate_id::text, max(sequence) FROM events GROUP BY 1").fetchall())


_STATUSES = ("PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED")
