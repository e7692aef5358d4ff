"""Commands by messages, on both buses: the same answers as over HTTP, once each, and nothing that gets lost in silence."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from market_maker.bootstrap import Runtime, running
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.messaging.bus import Message
from market_maker.messaging.rabbitmq import RabbitBus
from market_maker.service import AtEnd, Playback
from market_maker.settings import Settings

BID = {"pair_id": str(DEFAULT_PAIR_ID), "side": "BUY", "type": "LIMIT", "price": "30000", "amount": "0.001"}


@pytest.fixture(params=["in_process", "rabbitmq"])
async def desk(request: pytest.FixtureRequest, database_dsn: str, tmp_path: Path) -> AsyncIterator[Desk]:
    settings: dict[str, Any] = {"database_url": database_dsn, "data_dir": tmp_path}
    if request.param == "rabbitmq":
        prefix = f"test_{uuid.uuid4().hex[:12]}"
        settings |= {"rabbitmq_url": request.getfixturevalue("rabbitmq_url"), "rabbitmq_prefix": prefix}
    async with running(Settings(**settings)) as runtime:
        made = Desk(runtime)
        await made.open()
        yield made
    if request.param == "rabbitmq":  # by another connection: the service publishes until its end
        bus = RabbitBus(settings["rabbitmq_url"], prefix=settings["rabbitmq_prefix"])
        await bus.start()
        await bus.delete_queue(made.queue)
        await bus.delete_topology()
        await bus.close()


class Desk:
    """A trader at the bus: sends commands, collects answers and dead letters."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.queue = runtime.bus.dead_letters.replace(".dead", ".commands")
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        self.dead: asyncio.Queue[Message] = asyncio.Queue()
        self.reply_to = ""

    async def open(self) -> None:
        self.reply_to = (await self.runtime.bus.subscribe(None, self.answers.put, ())).queue
        await self.runtime.bus.subscribe(self.runtime.bus.dead_letters, self.dead.put, ())

    async def send(self, body: bytes | dict[str, Any], number: str, *, awaits: bool = True, call: str = "") -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply_to = self.reply_to if awaits else None
        await self.runtime.bus.publish(Message("", text, number, call or None, reply_to, self.queue))

    async def ask(self, body: bytes | dict[str, Any], number: str, **more: Any) -> tuple[int, Any]:
        await self.send(body, number, **more)
        answer = json.loads((await asyncio.wait_for(self.answers.get(), 10)).body)
        return answer["status"], answer["answer"]


async def test_an_order_is_placed_once_answered_and_canceled(desk: Desk) -> None:
    status, order = await desk.ask({"command": "place_order", "order": BID}, "m-1", call="call-7")
    assert (status, order["status"], order["price"]) == (201, "PENDING_NEW", "30000.00")
    again = await desk.ask({"command": "place_order", "order": BID}, "m-1")
    assert again == (200, order), "the first answer again"
    status, problem = await desk.ask({"command": "place_order", "order": {**BID, "amount": "0.002"}}, "m-1")
    assert (status, problem["title"]) == (409, "Conflict")
    assert len(await desk.runtime.service.directory.orders()) == 1
    await desk.send({"command": "cancel_order", "order_id": order["order_id"], "wait": True}, "m-2", call="call-8")
    answer = await asyncio.wait_for(desk.answers.get(), 10)
    assert answer.correlation_id == "call-8"
    assert json.loads(answer.body)["answer"]["status"] == "CANCELED"
    status, _ = await desk.ask({"command": "cancel_order", "order_id": order["order_id"]}, "m-3")
    assert status == 409
    assert desk.dead.empty()


async def test_an_order_is_amended_and_all_are_canceled(desk: Desk) -> None:
    _, order = await desk.ask({"command": "place_order", "order": BID, "wait": True}, "m-1")
    change = {
        "command": "amend_order",
        "order_id": order["order_id"],
        "price": "30001",
        "amount": "0.002",
        "wait": True,
    }
    status, amended = await desk.ask(change, "m-2")
    assert (status, amended["price"], amended["amount"]) == (200, "30001.00", "0.00200")
    status, problem = await desk.ask({**change, "price": "30001.001"}, "m-3")
    assert (status, problem["errors"][0]["field"]) == (400, "price")
    nobody = "01a20000-0000-7000-8000-000000000000"
    status, problem = await desk.ask({"command": "cancel_all_orders", "account_id": nobody}, "m-4")
    assert (status, problem["errors"][0]["field"]) == (404, "account_id")
    pair_id = str(DEFAULT_PAIR_ID)
    assert await desk.ask({"command": "cancel_all_orders", "pair_id": pair_id}, "m-5") == (202, {"cancel_requested": 1})
    assert await desk.ask({"command": "cancel_all_orders"}, "m-6") == (202, {"cancel_requested": 0})


async def test_a_recording_takes_the_same_commands(desk: Desk) -> None:
    simulator = desk.runtime.service.parts.simulator
    session_id = UUID((await simulator.get_sessions())[0]["session_id"])
    await simulator.record(session_id, True)
    begin = time.time_ns()
    await asyncio.sleep(2.5)
    await simulator.record(session_id, False)
    await simulator.set_session_state(session_id, "STOPPED")
    # A tenth of the clock's pace: 2.5 s of recording are more than this needs.
    played = Playback(begin, time.time_ns(), at_end=AtEnd.PAUSE, allow_gaps=True)
    await simulator.start_session(DEFAULT_PAIR_ID, playback=played, speed=0.1, execution_delay_ns=1_000_000)
    status, order = await desk.ask({"command": "place_order", "order": BID, "wait": True}, "m-1")
    assert (status, order["status"]) == (201, "NEW")
    change = {"command": "amend_order", "order_id": order["order_id"], "price": "30001", "wait": True}
    status, amended = await desk.ask(change, "m-2")
    assert (status, amended["status"], amended["price"]) == (200, "NEW", "30001.00")
    cancel = {"command": "cancel_order", "order_id": order["order_id"], "wait": True}
    assert [(status, found["status"]) for status, found in [await desk.ask(cancel, "m-3")]] == [(200, "CANCELED")]
    taker = {key: value for key, value in BID.items() if key != "price"} | {"type": "MARKET"}
    _, filled = await desk.ask({"command": "place_order", "order": taker, "wait": True}, "m-4")
    assert (filled["status"], filled["cum_qty"]) == ("FILLED", "0.00100")
    stop = {**taker, "type": "STOP", "stop_price": "60000"}
    status, problem = await desk.ask({"command": "place_order", "order": stop}, "m-5")
    assert (status, problem["errors"][0]["field"]) == (400, "type")


async def test_the_key_of_an_order_counts_before_that_of_the_message(desk: Desk) -> None:
    named = {"command": "place_order", "order": {**BID, "client_order_id": "mine"}, "wait": True}
    first = await desk.ask(named, "m-1")
    second = await desk.ask(named, "m-2")
    assert (first[0], second[0], first[1]["order_id"]) == (201, 200, second[1]["order_id"])
    await desk.send({"command": "place_order", "order": BID}, "m-1", awaits=False)
    for _ in range(100):
        if len(await desk.runtime.service.directory.orders()) == 2:
            break
        await asyncio.sleep(0.05)
    assert len(await desk.runtime.service.directory.orders()) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"command": "place_order", "order": {**BID, "price": "30000.001"}}, "price"),
        ({"command": "place_order", "order": {**BID, "side": "HOLD"}}, "side"),
        ({"command": "place_order", "order": {**BID, "user": 1}}, "user"),
        ({"command": "place_order", "order": {**BID, "pair_id": "01a20000-0000-7000-8000-000000000000"}}, "pair_id"),
        ({"command": "cancel_order", "order_id": "01a20000-0000-7000-8000-000000000000"}, "order_id"),
    ],
)
async def test_what_is_refused_is_answered_as_over_http_or_a_dead_letter(
    desk: Desk, body: dict[str, Any], field: str
) -> None:
    status, problem = await desk.ask(body, "m-1")
    assert status in (400, 404)
    assert problem["errors"][0]["field"] == field
    assert desk.dead.empty()
    await desk.send(body, "m-2", awaits=False)
    letter = await asyncio.wait_for(desk.dead.get(), 10)
    assert letter.message_id == "m-2"
    assert letter.headers is not None
    assert field in letter.headers["x-reason"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"command": "sell_everything"}', b'{"command": "cancel_order"}', b"\xff\xfe", b"[" * 5000,
        b'{"command": "cancel_order", "order_id": "x"}', b'{"order": {}}',
        b'{"command": "cancel_order", "order_id": "01a20000-0000-7000-8000-000000000000", "force": 1}',
    ],
)  # fmt: skip
async def test_what_is_no_command_is_a_dead_letter_with_the_reason_and_does_not_stop_the_queue(
    desk: Desk, body: bytes
) -> None:
    status, problem = await desk.ask(body, "m-1")
    assert (status, bool(problem["detail"])) == (400, True)
    letter = await asyncio.wait_for(desk.dead.get(), 10)
    assert (letter.body, letter.message_id) == (body, "m-1")
    assert letter.headers is not None
    assert letter.headers["x-reason"].startswith("unreadable: ")
    assert letter.headers["x-attempts"] == "1"
    assert (await desk.ask({"command": "place_order", "order": BID}, "m-2"))[0] == 201


async def test_a_message_without_an_id_is_refused(desk: Desk) -> None:
    status, problem = await desk.ask({"command": "place_order", "order": BID}, "not one!")
    assert (status, problem["errors"][0]["field"]) == (400, "message_id")
    assert await desk.runtime.service.directory.orders() == []
