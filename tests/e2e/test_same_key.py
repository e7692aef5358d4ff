"""Placing is safe to repeat: a key has one order, however often and from wherever it is sent (R8)."""

from __future__ import annotations

import asyncio

import pytest

from e2e.conftest import MakeService
from e2e.http_connection import Answer
from e2e.ledger import count, faults_of_ledger
from e2e.order_load import ORDERS
from e2e.service_process import DEFAULT_PAIR, ServiceProcess

CALLERS = 12


def a_body(**changes: object) -> dict[str, object]:
    return {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.01", **changes}


async def at_once(
    service: ServiceProcess, body: dict[str, object], callers: int = CALLERS, **headers: str
) -> list[Answer]:
    return await asyncio.gather(*(service.request("POST", ORDERS, body, **headers) for _ in range(callers)))


@pytest.mark.parametrize("way", ["header", "client_order_id"])
async def test_one_key_has_one_order(make_service: MakeService, database_dsn: str, way: str) -> None:
    service = make_service(database_dsn)
    await service.start()
    headers = {"idempotency_key": "once"} if way == "header" else {}
    body = a_body() if way == "header" else a_body(client_order_id="once")
    answers = await at_once(service, body, **headers)
    assert sorted(answer.status for answer in answers) == [200] * (CALLERS - 1) + [201]
    assert len({answer.content["order_id"] for answer in answers}) == 1
    assert {answer.content["status"] for answer in answers} == {"PENDING_NEW"}

    others = await at_once(service, {**body, "amount": "0.02"}, **headers)
    assert {answer.status for answer in others} == {409}

    service.kill()
    await service.start()
    again = await at_once(service, body, 3, **headers)
    assert [answer.status for answer in again] == [200] * 3
    assert {answer.content["order_id"] for answer in again} == {answers[0].content["order_id"]}
    assert {answer.content["status"] for answer in again} == {"PENDING_NEW"}  # the first answer, not today's state
    other = await service.request("POST", ORDERS, {**body, "amount": "0.02"}, **headers)
    assert other.status == 409
    assert "once" in other.content["detail"]
    assert count(database_dsn, "SELECT count(*) FROM simulated_orders") == 1
    assert faults_of_ledger(database_dsn) == []


async def test_a_key_belongs_to_one_pair(make_service: MakeService, database_dsn: str) -> None:
    service = make_service(database_dsn)
    await service.start()
    second = await service.add_pair_with_fees()
    bodies = [a_body(client_order_id="shared"), a_body(client_order_id="shared", pair_id=second, price="2000")]
    answers = await asyncio.gather(*(service.request("POST", ORDERS, body) for body in bodies * 5))
    assert {answer.status for answer in answers} <= {200, 201, 409, 503}
    assert [answer.status for answer in answers].count(201) == 1
    assert count(database_dsn, "SELECT count(*) FROM simulated_orders") == 1
    assert service.faults() == []


async def test_a_refused_order_is_remembered_too(make_service: MakeService, database_dsn: str) -> None:
    service = make_service(database_dsn, MM_SIMULATOR__DEFAULT_BALANCE="100 USDT")
    await service.start()
    answers = await at_once(service, a_body(client_order_id="dear"), 3)
    assert sorted(answer.status for answer in answers) == [200, 200, 201]
    assert {answer.content["status"] for answer in answers} == {"REJECTED"}
    assert {answer.content["reject_reason"] for answer in answers} == {"INSUFFICIENT_BALANCE"}
    assert len({answer.content["order_id"] for answer in answers}) == 1
