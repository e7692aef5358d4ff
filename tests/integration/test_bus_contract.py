"""One contract for every bus: the same tests run on the one in the process and on RabbitMQ."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from market_maker.domain.errors import Conflict, InvalidRequest, Unavailable
from market_maker.messaging.bus import Bus, InProcessBus, Message, RetryPolicy
from market_maker.messaging.rabbitmq import RabbitBus

RETRY = RetryPolicy(attempts=3, first_pause_s=0.005)


@pytest.fixture(params=["in_process", "rabbitmq"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    prefix = f"test_{uuid.uuid4().hex[:12]}"
    made: Bus
    if request.param == "in_process":
        made = InProcessBus(prefix=prefix, retry=RETRY)
    else:
        made = RabbitBus(request.getfixturevalue("rabbitmq_url"), prefix=prefix, retry=RETRY)
    await made.start()
    assert made.connected, made.last_error
    yield made
    for queue in ("orders", "all", "slow", "answers", "commands"):
        await made.delete_queue(f"{prefix}.{queue}")
    if isinstance(made, RabbitBus):
        await made.delete_topology()
    await made.close()


def name_of(bus: Bus, queue: str) -> str:
    return bus.dead_letters.replace(".dead", f".{queue}")


def a_message(number: int = 1, routing_key: str = "simulator.order.filled", **more: object) -> Message:
    return Message(routing_key, b'{"n":%d}' % number, f"id-{number}", **more)  # type: ignore[arg-type]


class Inbox:
    """Collects messages; waits for a number of them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._changed = asyncio.Event()

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._changed.set()

    async def wait_for(self, number: int, timeout_s: float = 10.0) -> list[Message]:
        async with asyncio.timeout(timeout_s):
            while len(self.messages) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.messages


async def test_everything_of_a_message_arrives(bus: Bus) -> None:
    inbox = Inbox()
    await bus.subscribe(None, inbox)
    sent = Message("risk.alert.raised", '{"text":"µ"}'.encode(), "the-id", "because", "there", None, {"x-kind": "test"})
    await bus.publish(sent)
    assert await inbox.wait_for(1) == [sent]


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 300_000])  # around RabbitMQ's frame of 131,072 bytes
async def test_bodies_of_every_size_arrive_whole(bus: Bus, size: int) -> None:
    inbox = Inbox()
    await bus.subscribe(None, inbox)
    bodies = [bytes([65 + n]) * size for n in range(3)]
    await bus.publish_all([Message("a.b", body, f"id-{n}") for n, body in enumerate(bodies)])
    assert [message.body for message in await inbox.wait_for(3)] == bodies


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("#", ["a.b.c", "a.b", "a", "b.b.c.d"]),
        ("a.*", ["a.b"]),
        ("a.#", ["a.b.c", "a.b", "a"]),
        ("*.b.#", ["a.b.c", "a.b", "b.b.c.d"]),
        ("#.c", ["a.b.c"]),
        ("a.b", ["a.b"]),
        ("a.b.c.#.c", []),
    ],
)
async def test_patterns_choose_what_a_queue_gets(bus: Bus, pattern: str, wanted: list[str]) -> None:
    inbox = Inbox()
    await bus.subscribe(None, inbox, (pattern, "end"))
    for key in ("a.b.c", "a.b", "a", "b.b.c.d", "end"):
        await bus.publish(a_message(routing_key=key))
    await inbox.wait_for(len(wanted) + 1)
    assert [message.routing_key for message in inbox.messages] == [*wanted, "end"]


async def test_order_is_kept_and_one_callback_runs_at_a_time(bus: Bus) -> None:
    running, most, seen = 0, 0, []
    done = asyncio.Event()

    async def callback(message: Message) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002 if len(seen) % 7 == 0 else 0)
        running -= 1
        seen.append(message.message_id)
        if len(seen) == 300:
            done.set()

    await bus.subscribe(name_of(bus, "orders"), callback)
    await bus.publish_all([a_message(number) for number in range(300)])
    await asyncio.wait_for(done.wait(), 10)
    assert seen == [f"id-{number}" for number in range(300)]
    assert most == 1


async def test_a_named_queue_keeps_messages_while_nobody_listens(bus: Bus) -> None:
    inbox = Inbox()
    subscription = await bus.subscribe(name_of(bus, "orders"), inbox)
    await bus.publish(a_message(1))
    await inbox.wait_for(1)
    await subscription.cancel()
    await bus.publish_all([a_message(2), a_message(3)])
    assert len(inbox.messages) == 1
    later = Inbox()
    await bus.subscribe(name_of(bus, "orders"), later)
    assert [message.message_id for message in await later.wait_for(2)] == ["id-2", "id-3"]


async def test_a_temporary_queue_goes_with_its_subscription(bus: Bus) -> None:
    inbox = Inbox()
    subscription = await bus.subscribe(None, inbox)
    await subscription.cancel()
    before = bus.unroutable
    await bus.publish(a_message())
    assert bus.unroutable == before + 1
    assert inbox.messages == []


async def test_publishing_to_nobody_succeeds_and_is_counted(bus: Bus) -> None:
    await bus.publish_all([a_message(number) for number in range(5)])
    assert bus.unroutable == 5


async def test_every_queue_gets_its_copy(bus: Bus) -> None:
    one, two = Inbox(), Inbox()
    await bus.subscribe(name_of(bus, "orders"), one)
    await bus.subscribe(name_of(bus, "all"), two)
    await bus.publish(a_message())
    assert await one.wait_for(1) == await two.wait_for(1)


async def test_a_second_subscription_of_one_queue_is_refused(bus: Bus) -> None:
    await bus.subscribe(name_of(bus, "orders"), Inbox())
    with pytest.raises(Conflict, match="orders"):
        await bus.subscribe(name_of(bus, "orders"), Inbox())


async def test_a_callback_that_recovers_is_tried_again_before_what_follows(bus: Bus) -> None:
    tries: list[str] = []
    done = asyncio.Event()

    async def callback(message: Message) -> None:
        tries.append(message.message_id)
        if tries.count("id-1") < 3:
            raise RuntimeError("not yet")
        if message.message_id == "id-2":
            done.set()

    await bus.subscribe(name_of(bus, "orders"), callback)
    await bus.publish_all([a_message(1), a_message(2)])
    await asyncio.wait_for(done.wait(), 10)
    assert tries == ["id-1", "id-1", "id-1", "id-2"]


@pytest.mark.parametrize(
    ("error", "attempts", "reason"),
    [
        (RuntimeError("the disk is full"), 3, "RuntimeError: the disk is full"),
        (InvalidRequest("sequence: 0 is not allowed"), 1, "unreadable: sequence: 0 is not allowed"),
    ],
    ids=["failing", "unreadable"],
)
async def test_what_cannot_be_handled_becomes_a_dead_letter(
    bus: Bus, error: Exception, attempts: int, reason: str
) -> None:
    tries: list[str] = []
    dead, good = Inbox(), Inbox()

    async def callback(message: Message) -> None:
        tries.append(message.message_id)
        if message.message_id == "id-1":
            raise error
        await good(message)

    queue = name_of(bus, "orders")
    await bus.subscribe(queue, callback)
    await bus.publish_all([a_message(1), a_message(2)])
    await bus.subscribe(bus.dead_letters, dead, ())
    (letter,) = await dead.wait_for(1)
    await good.wait_for(1)
    assert tries == ["id-1"] * attempts + ["id-2"]
    assert letter.body == a_message(1).body
    assert letter.message_id == "id-1"
    assert letter.headers == {
        "x-reason": reason, "x-queue": queue, "x-routing-key": "simulator.order.filled", "x-attempts": str(attempts),
    }  # fmt: skip


async def test_a_command_gets_its_answer(bus: Bus) -> None:
    answers = Inbox()
    mine = await bus.subscribe(None, answers, ())

    async def obey(command: Message) -> None:
        assert command.reply_to is not None
        await bus.publish(Message("answer", b"done", "a-1", command.correlation_id, queue=command.reply_to))

    await bus.subscribe(name_of(bus, "commands"), obey, ())
    await bus.publish(Message("place", b"{}", "c-1", "call-7", mine.queue, name_of(bus, "commands")))
    (answer,) = await answers.wait_for(1)
    assert (answer.routing_key, answer.body, answer.correlation_id) == ("answer", b"done", "call-7")


async def test_an_answer_to_a_queue_that_is_gone_is_no_error(bus: Bus) -> None:
    await bus.publish(a_message(queue="no-such-queue"))
    assert bus.unroutable == 1


async def test_cancel_from_inside_the_callback(bus: Bus) -> None:
    ended = asyncio.Event()
    cancel: Callable[[], Awaitable[None]]

    async def callback(_: Message) -> None:
        ended.set()
        await cancel()

    cancel = (await bus.subscribe(None, callback)).cancel
    await bus.publish(a_message())
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_routing_key_no_broker_carries_is_refused(bus: Bus) -> None:
    with pytest.raises(InvalidRequest, match="routing_key"):
        await bus.publish(a_message(routing_key="x" * 256))


async def test_after_close_publishing_is_refused_at_once(bus: Bus) -> None:
    other = InProcessBus() if isinstance(bus, InProcessBus) else RabbitBus(str(bus._url), prefix=bus.prefix)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        await asyncio.wait_for(other.publish(a_message()), 1)
    await other.start()
    await other.close()
    assert not other.connected
    with pytest.raises(Unavailable):
        await asyncio.wait_for(other.publish(a_message()), 1)


async def test_a_full_queue_refuses_in_time_and_a_temporary_one_drops_its_oldest() -> None:
    bus = InProcessBus(queue_limit=3)
    await bus.start()
    subscription = await bus.subscribe("orders", Inbox())
    await subscription.cancel()
    await bus.publish_all([a_message(number) for number in range(3)])
    with pytest.raises(Unavailable, match="orders"):
        await asyncio.wait_for(bus.publish(a_message(3), timeout_s=0.05), 1)
    inbox = Inbox()
    await bus.subscribe("orders", inbox)
    await bus.publish(a_message(3), timeout_s=5)  # room comes as the subscriber takes
    assert [message.message_id for message in await inbox.wait_for(4)] == ["id-0", "id-1", "id-2", "id-3"]
    await bus.delete_queue("orders")

    release, taken = asyncio.Event(), Inbox()

    async def slow(message: Message) -> None:
        await release.wait()
        await taken(message)

    await bus.subscribe(None, slow)
    for number in range(10):
        await bus.publish(a_message(number))
        await asyncio.sleep(0)
    release.set()
    last = await taken.wait_for(4)
    assert [message.message_id for message in last] == ["id-0", "id-7", "id-8", "id-9"]
    await bus.close()
