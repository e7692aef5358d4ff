"""Sessions that stop or pause leave nothing behind: no open order, nobody who waits for ever, no time turned back."""

from __future__ import annotations

import asyncio
import time

import psycopg

from e2e.conftest import MakeService
from e2e.ledger import count, faults_of_ledger
from e2e.order_load import ORDERS
from e2e.service_process import DEFAULT_PAIR, ServiceProcess

OPEN = "SELECT count(*) FROM simulated_orders WHERE status <= 2"


async def place(service: ServiceProcess, query: str = "", **changes: object) -> dict[str, object]:
    body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.01", **changes}
    answer = await service.request("POST", ORDERS + query, body)
    assert answer.status == 201, answer
    return dict(answer.content)


async def test_a_stopped_session_leaves_no_open_order(make_service: MakeService, database_dsn: str) -> None:
    """Once, an order whose cancel was still on its way stayed open for ever and came back in the next session."""
    service = make_service(database_dsn, MM_SIMULATOR__EXECUTION_DELAY="300ms")
    await service.start()
    resting, canceled, on_its_way = (
        await place(service, "?wait=true"),
        await place(service, "?wait=true"),
        await place(service),
    )
    assert (await service.request("DELETE", f"{ORDERS}/{canceled['order_id']}")).status == 202
    session = await service.session()
    path = f"/api/v1/simulator/sessions/{session['session_id']}"
    answers = await asyncio.gather(
        service.request("PATCH", path, {"state": "STOPPED"}),
        *(service.request("POST", ORDERS, {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "1", "amount": "1"}) for _ in range(20)),
    )  # fmt: skip
    assert answers[0].status == 200
    assert {answer.status for answer in answers[1:]} <= {201, 409, 503}
    assert count(database_dsn, OPEN) == 0
    for order in (resting, canceled, on_its_way):
        found = await service.get(f"{ORDERS}/{order['order_id']}")
        assert (found["status"], found["reject_reason"]) == ("CANCELED", "SESSION_STOPPED")
    assert (await service.request("POST", "/api/v1/simulator/sessions", {"pair_id": DEFAULT_PAIR})).status == 201
    service.kill()
    await service.start()
    assert (await service.session())["open_orders"] == 0
    assert faults_of_ledger(database_dsn) == []
    assert service.faults() == []


async def test_a_pair_whose_session_is_being_started_has_one_already(
    make_service: MakeService, database_dsn: str
) -> None:
    """The second of two starts at once waited for half a minute, and was told that another service ran the pair."""
    service = make_service(database_dsn)
    await service.start()
    path = f"/api/v1/simulator/sessions/{(await service.session())['session_id']}"
    assert (await service.request("PATCH", path, {"state": "STOPPED"})).status == 200
    started = time.monotonic()
    wishes = (service.request("POST", "/api/v1/simulator/sessions", {"pair_id": DEFAULT_PAIR}) for _ in range(3))
    answers = await asyncio.gather(*wishes)
    assert sorted(answer.status for answer in answers) == [201, 409, 409]
    assert time.monotonic() - started < 10.0
    assert (await service.session())["state"] == "RUNNING"


async def test_nobody_waits_for_a_paused_market(make_service: MakeService, database_dsn: str) -> None:
    service = make_service(database_dsn, MM_SIMULATOR__EXECUTION_DELAY="1s")
    await service.start()
    waiting = asyncio.create_task(place(service, "?wait=true"))
    await asyncio.sleep(0.3)
    await service.set_state("PAUSED")
    started = time.monotonic()
    assert (await waiting)["status"] == "PENDING_NEW"
    assert (await place(service, "?wait=true"))["status"] == "PENDING_NEW"
    assert time.monotonic() - started < 2.0
    await service.set_state("RUNNING")
    assert (await place(service, "?wait=true"))["status"] == "NEW"
    assert count(database_dsn, "SELECT count(*) FROM simulated_orders WHERE status = 1") == 3


async def test_a_wall_clock_set_back_between_two_starts_turns_no_time_back(
    make_service: MakeService, database_dsn: str
) -> None:
    """The clock of the second start is an hour behind what is committed (R23)."""
    service = make_service(database_dsn)
    await service.start()
    await place(service, "?wait=true")
    service.kill()
    hour_ns = 3_600 * 10**9
    with psycopg.connect(database_dsn) as connection:
        connection.execute("UPDATE sessions SET updated_ts = updated_ts + %s", (hour_ns,))
    committed = count(database_dsn, "SELECT max(updated_ts) FROM sessions")
    await service.start()
    order = await place(service, "?wait=true")
    assert int(str(order["created_ts"])) > committed
    steps = (await service.session())["step"]
    await asyncio.sleep(0.3)
    assert (await service.session())["step"] > steps
