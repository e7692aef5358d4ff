"""The relay between a real database and both buses: order, repetition after a kill, one at a time, faults."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from integration.cuttable_proxy import CuttableProxy
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Unavailable
from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.messaging.bus import InProcessBus, Message
from market_maker.messaging.rabbitmq import RabbitBus
from market_maker.messaging.relay import Relay
from market_maker.messaging.topics import decode, new_event
from market_maker.monitoring.metrics import Metrics
from market_maker.storage import outbox

CLOCK = SystemClock()


class RecordingBus(InProcessBus):
    """An in-process bus that remembers what it carried and can fail on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.carried: list[Message] = []
        self.fail_times = 0
        self.hang = False
        self.calls = 0

    async def publish_all(self, messages: Sequence[Message], timeout_s: float = 10.0) -> None:
        self.calls += 1
        if self.hang:
            await asyncio.Event().wait()
        if self.fail_times > 0:
            self.fail_times -= 1
            raise Unavailable("the broker is down")
        await super().publish_all(messages, timeout_s)
        self.carried.extend(messages)


@pytest.fixture
async def connection(database_dsn: str) -> AsyncIterator[outbox.Connection]:
    async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as made:
        yield made


@pytest.fixture
async def bus() -> AsyncIterator[RecordingBus]:
    made = RecordingBus()
    await made.start()
    yield made
    await made.close()


def a_relay(dsn: str, bus: InProcessBus | RabbitBus, **options: object) -> Relay:
    settings = {"poll_s": 0.02, "lock_key": 77, **options}
    return Relay(dsn, bus, Metrics(), clock=CLOCK, **settings)  # type: ignore[arg-type]


async def write(
    connection: outbox.Connection, stream: str, events: int, aggregate: uuid.UUID, first: int = 1
) -> list[str]:
    stream_id = await outbox.ensure_stream(connection, stream)
    made = [
        new_event(type=EventType.ORDER_FILLED, aggregate_id=aggregate, sequence=n, ts=CLOCK.now_ns(), data={"n": n})
        for n in range(first, first + events)
    ]
    async with connection.transaction():
        await outbox.append(connection, stream_id, made)
    return [str(event.event_id) for event in made]


async def until(condition, timeout_s: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 (a test may poll)
            await asyncio.sleep(0.005)


async def test_everything_is_published_once_and_in_order(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    relay = a_relay(database_dsn, bus, batch=7)
    relay.start()
    one, two = new_id(), new_id()
    ids = await write(connection, "one", 20, one)
    relay.wake()
    ids += await write(connection, "two", 20, two)
    ids += await write(connection, "one", 20, one, first=21)
    await until(lambda: len(bus.carried) >= 60)
    await relay.stop()
    assert sorted(message.message_id for message in bus.carried) == sorted(ids)
    for aggregate in (one, two):
        envelopes = [decode(message.body) for message in bus.carried]
        numbers = [found.sequence for found in envelopes if found.aggregate_id == aggregate]
        assert numbers == list(range(1, len(numbers) + 1))
    assert bus.carried[0].routing_key == "simulator.order.filled"
    assert (await outbox.depth(connection)).rows == 0
    assert relay._metrics.registry.get_sample_value("market_maker_events_published_total") == 60


async def test_wake_makes_news_quick(database_dsn: str, connection: outbox.Connection, bus: RecordingBus) -> None:
    relay = a_relay(database_dsn, bus, poll_s=30.0)
    relay.start()
    await until(lambda: relay.active)
    await asyncio.sleep(0.1)
    await write(connection, "one", 1, new_id())
    relay.wake()
    await until(lambda: bus.carried, timeout_s=2.0)
    await relay.stop()


async def test_killed_between_publishing_and_marking_the_repetition_has_the_same_ids(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await write(connection, "one", 5, new_id())

    async def killed(*_: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "mark_published_all", killed)
        first = a_relay(database_dsn, bus)
        first.start()
        await until(lambda: len(bus.carried) == 5)
        assert first._task is not None
        first._task.cancel()
        await asyncio.wait([first._task])
    second = a_relay(database_dsn, bus)
    second.start()
    await until(lambda: len(bus.carried) == 10)
    await second.stop()
    assert [message.message_id for message in bus.carried] == ids + ids
    assert [message.body for message in bus.carried[:5]] == [message.body for message in bus.carried[5:]]


async def test_two_relays_one_works_and_the_other_takes_over(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    relays = [a_relay(database_dsn, bus) for _ in range(2)]
    for relay in relays:
        relay.start()
    await until(lambda: any(relay.active for relay in relays))
    await write(connection, "one", 50, new_id())
    await until(lambda: len(bus.carried) >= 50)
    await asyncio.sleep(0.3)
    assert [relay.active for relay in relays].count(True) == 1
    assert len(bus.carried) == 50  # not one twice
    working = next(relay for relay in relays if relay.active)
    standby = next(relay for relay in relays if not relay.active)
    await working.stop()
    await until(lambda: standby.active)
    await write(connection, "one", 5, new_id())
    await until(lambda: len(bus.carried) == 55)
    await standby.stop()


async def test_a_bus_that_is_down_is_waited_for_and_the_lag_shows(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    bus.fail_times = 4
    ids = await write(connection, "one", 5, new_id())
    relay = a_relay(database_dsn, bus)
    relay.start()
    value = relay._metrics.registry.get_sample_value
    await until(lambda: bus.fail_times == 1)
    assert relay.lag_s > 0
    assert value("market_maker_outbox_depth") == 5
    await until(lambda: len(bus.carried) == 5)
    await until(lambda: relay.lag_s == 0)
    assert [message.message_id for message in bus.carried] == ids
    assert value("market_maker_relay_failures_total", {"dependency": "bus"}) == 4
    await relay.stop()


async def test_a_bus_that_hangs_does_not_hang_the_relay(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    bus.hang = True
    await write(connection, "one", 5, new_id())
    relay = a_relay(database_dsn, bus, publish_timeout_s=0.05)
    relay.start()
    await until(lambda: bus.calls >= 2)
    bus.hang = False
    await until(lambda: len(bus.carried) == 5)
    bus.hang = True
    await write(connection, "one", 1, new_id())
    await asyncio.wait_for(relay.stop(timeout_s=0.2), 2)


async def test_a_database_connection_that_is_cut_is_made_again(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    relay = a_relay(database_dsn, bus)
    relay.start()
    await until(lambda: relay.active)
    for round_number in range(3):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'market-maker relay' AND datname = current_database()"
        )
        await write(connection, "one", 3, new_id())
        await until(lambda wanted=3 * (round_number + 1): len({m.message_id for m in bus.carried}) == wanted)
    await relay.stop()
    failures = relay._metrics.registry.get_sample_value("market_maker_relay_failures_total", {"dependency": "database"})
    assert failures is not None
    assert failures >= 3


async def test_no_database_is_no_exception_and_stop_is_quick(bus: RecordingBus) -> None:
    relay = a_relay("postgresql://nobody:secret@127.0.0.1:1/none", bus)
    relay.start()
    await asyncio.sleep(0.2)
    assert not relay.active
    await asyncio.wait_for(relay.stop(), 3)


async def test_stop_publishes_what_is_committed(
    database_dsn: str, connection: outbox.Connection, bus: RecordingBus
) -> None:
    relay = a_relay(database_dsn, bus, batch=10, poll_s=30.0)
    relay.start()
    await until(lambda: relay.active)
    await write(connection, "one", 95, new_id())
    await relay.stop()
    assert len(bus.carried) == 95
    assert (await outbox.depth(connection)).rows == 0


async def test_over_rabbitmq_with_connections_that_are_cut(
    database_dsn: str, connection: outbox.Connection, rabbitmq_url: str
) -> None:
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    proxy = CuttableProxy(rabbitmq_url)
    await proxy.open()
    bus = RabbitBus(proxy.url, prefix=prefix)
    await bus.start()
    seen: list[Message] = []

    async def callback(message: Message) -> None:
        seen.append(message)

    await bus.subscribe(f"{prefix}.audit", callback)
    relay = a_relay(database_dsn, bus, publish_timeout_s=3.0)
    relay.start()
    aggregates = [new_id() for _ in range(4)]
    ids: list[str] = []
    for round_number in range(12):
        for number, aggregate in enumerate(aggregates):
            ids += await write(connection, f"pair {number}", 10, aggregate, first=10 * round_number + 1)
        relay.wake()
        if round_number % 4 == 3:
            await proxy.cut()
        await asyncio.sleep(0.01)
    await until(lambda: len({message.message_id for message in seen}) == len(ids), timeout_s=30)
    await relay.stop()
    first_time = list({message.message_id: decode(message.body) for message in seen}.values())
    for aggregate in aggregates:
        assert [found.sequence for found in first_time if found.aggregate_id == aggregate] == list(range(1, 121))
    await bus.delete_queue(f"{prefix}.audit")
    await bus.delete_topology()
    await bus.close()
    await proxy.refuse()
