"""RabbitMQ as it fails in practice: connections cut in the middle, a broker that is silent or comes late."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from integration.cuttable_proxy import CuttableProxy
from market_maker.domain.errors import Conflict, Unavailable
from market_maker.messaging.bus import Message
from market_maker.messaging.rabbitmq import RabbitBus


@pytest.fixture
async def proxy(rabbitmq_url: str) -> AsyncIterator[CuttableProxy]:
    made = CuttableProxy(rabbitmq_url)
    await made.open()
    yield made
    made.thaw()
    await made.refuse()


@pytest.fixture
async def bus(proxy: CuttableProxy, rabbitmq_url: str) -> AsyncIterator[RabbitBus]:
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    made = RabbitBus(proxy.url, prefix=prefix, connect_timeout_s=2.0, heartbeat_s=1)
    yield made
    await made.close()
    cleaner = RabbitBus(rabbitmq_url, prefix=prefix)
    await cleaner.start()
    await cleaner.delete_queue(f"{prefix}.orders")
    await cleaner.delete_topology()
    await cleaner.close()


def events(aggregates: int, each: int) -> list[Message]:
    return [
        Message("simulator.order.filled", b"%d" % n, f"{a}:{n}") for n in range(1, each + 1) for a in range(aggregates)
    ]


async def until_connected(bus: RabbitBus, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not bus.connected:  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.01)


async def test_connections_cut_in_the_middle_lose_and_reorder_nothing(bus: RabbitBus, proxy: CuttableProxy) -> None:
    seen: list[str] = []

    async def callback(message: Message) -> None:
        await asyncio.sleep(0)
        seen.append(message.message_id)

    await bus.start()
    await bus.subscribe(f"{bus.prefix}.orders", callback)
    to_send = events(aggregates=5, each=300)
    failures = 0

    async def cutter() -> None:
        for _ in range(4):
            await asyncio.sleep(0.15)
            await proxy.cut()

    cutting = asyncio.create_task(cutter())
    position = 0
    while position < len(to_send):  # what the relay does: the same batch again until it is confirmed
        batch = to_send[position : position + 50]
        try:
            await bus.publish_all(batch, timeout_s=3.0)
            position += len(batch)
            await asyncio.sleep(0.02)
        except Unavailable:
            failures += 1
            await asyncio.sleep(0.05)
    await cutting
    async with asyncio.timeout(20):
        while len(set(seen)) < len(to_send):  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.02)
    assert failures >= 1
    first_time = list(dict.fromkeys(seen))
    for aggregate in range(5):
        numbers = [int(found.split(":")[1]) for found in first_time if found.startswith(f"{aggregate}:")]
        assert numbers == list(range(1, 301))


async def test_a_silent_broker_is_given_up_in_time(bus: RabbitBus, proxy: CuttableProxy) -> None:
    await bus.start()
    proxy.freeze()
    started = time.monotonic()
    with pytest.raises(Unavailable, match="confirmed not all"):
        await bus.publish(Message("a.b", b"{}", "1"), timeout_s=0.3)
    assert time.monotonic() - started < 1.0
    with pytest.raises(Unavailable, match="not connected"):  # and the next one at once
        await bus.publish(Message("a.b", b"{}", "1"), timeout_s=5.0)
    assert time.monotonic() - started < 1.0
    proxy.thaw()
    await until_connected(bus)
    await bus.publish(Message("a.b", b"{}", "1"))


@pytest.mark.slow
async def test_heartbeats_find_a_broker_that_went_silent(bus: RabbitBus, proxy: CuttableProxy) -> None:
    await bus.start()
    proxy.freeze()
    async with asyncio.timeout(15):
        while bus.connected:  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.05)
    assert bus.last_error


async def test_a_broker_that_comes_late_is_found(rabbitmq_url: str, proxy: CuttableProxy, bus: RabbitBus) -> None:
    await proxy.refuse()
    await bus.start()
    assert not bus.connected
    assert bus.last_error
    got = asyncio.Event()

    async def callback(_: Message) -> None:
        got.set()

    await bus.subscribe(f"{bus.prefix}.orders", callback)  # remembered
    await proxy.open()
    await until_connected(bus)
    assert bus.last_error is None
    await bus.publish(Message("a.b", b"{}", "1"))
    await asyncio.wait_for(got.wait(), 5)


async def test_wrong_password_is_told_without_the_password(rabbitmq_url: str) -> None:
    bus = RabbitBus(str(URL(rabbitmq_url).with_password("wrong-secret-7")), connect_timeout_s=3.0)
    await bus.start()
    assert not bus.connected
    with pytest.raises(Unavailable) as caught:
        await bus.publish(Message("a.b", b"{}", "1"))
    assert "wrong-secret-7" not in caught.value.detail
    assert bus.last_error
    assert "wrong-secret-7" not in bus.last_error
    await bus.close()


async def test_a_queue_with_other_properties_is_a_conflict_and_the_rest_goes_on(
    rabbitmq_url: str, bus: RabbitBus
) -> None:
    import aio_pika

    await bus.start()
    name = f"{bus.prefix}.orders"
    connection = await aio_pika.connect(rabbitmq_url)
    await (await connection.channel()).declare_queue(name, durable=True)  # a classic one

    async def callback(_: Message) -> None: ...

    with pytest.raises(Conflict, match=name):
        await bus.subscribe(name, callback)
    assert bus.connected
    await bus.publish(Message("a.b", b"{}", "1"))
    await connection.close()


async def test_a_queue_deleted_by_somebody_is_made_again(rabbitmq_url: str, bus: RabbitBus) -> None:
    import aio_pika

    got = asyncio.Event()

    async def callback(_: Message) -> None:
        got.set()

    await bus.start()
    await bus.subscribe(f"{bus.prefix}.orders", callback)
    connection = await aio_pika.connect(rabbitmq_url)
    await (await connection.channel()).queue_delete(f"{bus.prefix}.orders")
    await asyncio.sleep(0.3)
    await until_connected(bus)
    await bus.publish(Message("a.b", b"{}", "1"))
    await asyncio.wait_for(got.wait(), 5)
    await connection.close()


async def test_messages_are_persistent_in_quorum_queues(rabbitmq_url: str, bus: RabbitBus) -> None:
    import aio_pika

    await bus.start()

    async def callback(_: Message) -> None: ...

    subscription = await bus.subscribe(f"{bus.prefix}.orders", callback)
    await subscription.cancel()
    await bus.publish(Message("a.b", b"{}", "the-id"))
    connection = await aio_pika.connect(rabbitmq_url)
    channel = await connection.channel()
    queue = await channel.declare_queue(
        f"{bus.prefix}.orders", durable=True,
        arguments={"x-queue-type": "quorum", "x-delivery-limit": 50, "x-dead-letter-exchange": bus.dead_letters},
    )  # fmt: skip
    found = await queue.get(timeout=5)
    assert found is not None
    assert (found.delivery_mode, found.message_id) == (2, "the-id")
    await found.ack()
    await connection.close()


async def test_a_nameless_failure_of_an_acknowledgement_does_not_end_the_consumer(
    rabbitmq_url: str, bus: RabbitBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dying connection ended `ack` with a bare Exception(), and the consumer with it, for ever and silently."""
    from aio_pika import IncomingMessage

    acknowledge, failures, got = IncomingMessage.ack, 0, []

    async def ack(message: IncomingMessage, multiple: bool = False) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise Exception
        await acknowledge(message, multiple)

    async def callback(message: Message) -> None:
        got.append(message.message_id)

    monkeypatch.setattr(IncomingMessage, "ack", ack)
    await bus.start()
    await bus.subscribe(f"{bus.prefix}.orders", callback)
    await bus.publish(Message("a.b", b"{}", "1"))
    async with asyncio.timeout(10):
        while len(got) < 2:  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.01)
    await until_connected(bus)
    await bus.publish(Message("a.b", b"{}", "2"))
    async with asyncio.timeout(10):
        while got[-1] != "2":  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.01)
    assert got[:2] == ["1", "1"]
