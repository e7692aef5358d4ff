"""What a caller names its request is in the answer, in the log, in the event and in the database."""

from __future__ import annotations

import asyncio
import json

import psycopg
from websockets.asyncio.client import connect

from e2e.conftest import MakeService
from e2e.service_process import DEFAULT_PAIR


async def test_one_id_leads_from_the_request_to_the_event(make_service: MakeService, database_dsn: str) -> None:
    service = make_service(database_dsn, MM_LOG_LEVEL="DEBUG")
    await service.start()
    body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.01"}
    async with connect(f"ws://127.0.0.1:{service.port}/api/v1/stream?topics=simulator.order.received") as reader:
        placed = await service.request("POST", "/api/v1/simulator/orders", body, X_Correlation_Id="desk-7.42")
        event = json.loads(await asyncio.wait_for(reader.recv(), 10))
    assert placed.headers["x-correlation-id"] == event["correlation_id"] == "desk-7.42"
    cancelled = await service.request(
        "DELETE", f"/api/v1/simulator/orders/{placed.content['order_id']}", None, X_Correlation_Id="desk-7.43"
    )
    assert cancelled.status == 202
    stopped = {"engaged": True, "reason": "a drill"}
    await service.request("POST", "/api/v1/risk/kill-switch", stopped, X_Correlation_Id="desk-7.44")
    trail = (await service.request("GET", "/api/v1/risk/audit", None)).content["items"]
    assert [each["details"]["correlation_id"] for each in trail] == ["desk-7.44"]
    held = {"pair_id": DEFAULT_PAIR, "quantity": "0.01"}
    opened = await service.request("POST", "/api/v1/positions", held, X_Correlation_Id="desk-7.45")
    account = opened.content["account_id"]
    await service.request(
        "POST", f"/api/v1/accounts/{account}/transfers", {"amount": "5"}, X_Correlation_Id="desk-7.46"
    )
    await service.request("POST", f"/api/v1/accounts/{account}/reset", None, X_Correlation_Id="desk-7.47")
    evil = await service.request("GET", "/health/live", None, X_Correlation_Id='x" "level": "error')
    assert '"' not in evil.headers["x-correlation-id"]
    with psycopg.connect(database_dsn) as connection:
        rows = connection.execute(
            "SELECT type, body::json ->> 'correlation_id' FROM events WHERE aggregate_id = %s ORDER BY sequence",
            (placed.content["order_id"],),
        ).fetchall()
        changed = connection.execute(
            "SELECT type, body::json ->> 'correlation_id' FROM events"
            " WHERE type IN ('simulator.position.updated', 'simulator.account.transferred')"
            " AND aggregate_id::text <> body::json ->> 'correlation_id' ORDER BY ts"  # one that is made with its order
        ).fetchall()
        of_risk = connection.execute("SELECT body::json ->> 'correlation_id' FROM events WHERE type LIKE 'risk.%'")
        assert of_risk.fetchall() == [("desk-7.44",)]
    assert changed == [
        ("simulator.position.updated", "desk-7.45"),
        ("simulator.account.transferred", "desk-7.46"),
        ("simulator.position.updated", "desk-7.47"),
        ("simulator.account.transferred", "desk-7.47"),
    ]
    assert ("simulator.order.received", "desk-7.42") in rows
    assert ("simulator.order.cancel_requested", "desk-7.43") in rows
    assert service.terminate() == 0
    lines = [json.loads(line) for line in service.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    requests = {line["correlation_id"]: line for line in lines if line["event"] == "request"}
    assert requests["desk-7.42"]["route"] == "/api/v1/simulator/orders"
    assert (requests["desk-7.43"]["method"], requests["desk-7.43"]["status"]) == ("DELETE", 202)
    assert all(line["time"].endswith("Z") and line["level"] for line in lines)
