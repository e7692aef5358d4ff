"""Promises R15, R17, R18 and R19: who may do what, what is never told, and that nobody's code is run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from e2e.conftest import MakeService
from e2e.http_connection import HttpConnection
from e2e.raw_http import exchange, request_bytes
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker.api.app import openapi_document
from market_maker.api.exposure import check_exposure
from market_maker.domain.errors import InvalidRequest
from market_maker.settings import Settings

KEYS = {scope: f"planted-{scope}-key-Zq7" for scope in ("read", "trade", "admin")}
API_KEYS = ",".join(f"{scope}:{hashlib.sha256(key.encode()).hexdigest()}" for scope, key in KEYS.items())

OPEN = {"/health", "/health/live", "/health/ready"}
NEEDS_TRADE = {
    ("post", "/api/v1/simulator/orders"),
    ("delete", "/api/v1/simulator/orders"),
    ("delete", "/api/v1/simulator/orders/{order_id}"),
    ("patch", "/api/v1/simulator/orders/{order_id}"),
    ("post", "/api/v1/simulator/trades"),
    ("post", "/api/v1/simulator/strategies"),
    ("delete", "/api/v1/simulator/strategies/{run_id}"),
    ("post", "/api/v1/positions"),
    ("patch", "/api/v1/positions/{position_id}"),
    ("post", "/api/v1/backtest"),
    ("post", "/api/v1/backtest/analysis"),
    ("delete", "/api/v1/backtest/runs/{run_id}"),
    ("post", "/api/v1/backtest/sweeps"),
    ("delete", "/api/v1/backtest/sweeps/{sweep_id}"),
    ("post", "/api/v1/risk/assessment"),
    ("post", "/api/v1/risk/stress"),
    ("post", "/api/v1/risk/kill-switch"),
    ("post", "/api/v1/risk/model-tests"),
}
NEEDS_ADMIN = {
    ("post", "/api/v1/simulator/sessions"),
    ("patch", "/api/v1/simulator/sessions/{session_id}"),
    ("post", "/api/v1/simulator/sessions/{session_id}/scenarios"),
    ("delete", "/api/v1/simulator/sessions/{session_id}/scenarios/{scenario_id}"),
    ("post", "/api/v1/pairs"),
    ("patch", "/api/v1/pairs/{pair_id}"),
    ("post", "/api/v1/accounts"),
    ("post", "/api/v1/accounts/{account_id}/transfers"),
    ("post", "/api/v1/accounts/{account_id}/reset"),
    ("post", "/api/v1/strategies"),
    ("post", "/api/v1/risk/limits"),
    ("delete", "/api/v1/risk/limits/{limit_id}"),
    ("post", "/api/v1/risk/limits/{limit_id}/reset"),
    ("post", "/api/v1/market-data/imports"),
}


def run_command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")} | settings
    return subprocess.run(
        [sys.executable, "-m", "market_maker", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "::ffff:10.1.2.3", "example.org", ""])
def test_public_addresses_need_keys(host: str) -> None:
    with pytest.raises(InvalidRequest, match="api_keys"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, api_keys=tuple(API_KEYS.split(","))))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_addresses_of_this_machine_need_none(host: str) -> None:
    check_exposure(Settings(host=host))


def test_public_address_without_keys_does_not_start(tmp_path: Path) -> None:
    host = "0.0.0.0"
    ended = run_command("serve", "--host", host, "--port", "0", MM_DATA_DIR=str(tmp_path))
    assert ended.returncode == 2
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1
    assert host in lines[0]
    assert "api_keys" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_wrong_key_setting_does_not_start_and_does_not_show_the_key(tmp_path: Path) -> None:
    ended = run_command("serve", "--host", "0.0.0.0", MM_DATA_DIR=str(tmp_path), MM_API_KEYS="planted-plain-key")
    assert ended.returncode == 2
    assert "api_keys" in ended.stderr
    assert "planted" not in ended.stderr + ended.stdout


async def test_scopes(database_dsn: str, make_service: MakeService) -> None:
    service = make_service(database_dsn, MM_API_KEYS=API_KEYS)
    await service.start()
    document = openapi_document()
    endpoints = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert endpoints >= NEEDS_TRADE | NEEDS_ADMIN
    unchanging = {endpoint for endpoint in endpoints if endpoint[0] == "get"}
    assert endpoints == NEEDS_TRADE | NEEDS_ADMIN | unchanging
    wrong = []
    connection = HttpConnection(service.port)
    for method, template in sorted(endpoints):
        path = template.replace("{", "").replace("}", "")
        for name in (
            "order_id",
            "session_id",
            "pair_id",
            "strategy_id",
            "position_id",
            "run_id",
            "limit_id",
            "sweep_id",
            "scenario_id",
            "account_id",
        ):
            path = path.replace(name, "01a20000-0000-7000-8000-000000000000")
        needed = 1 if (method, template) in NEEDS_TRADE else 2 if (method, template) in NEEDS_ADMIN else 0
        for given, (headers, level) in _credentials().items():
            answer = await connection.request(method.upper(), path, None, headers)
            expected = 401 if level is None else 403 if level < needed else None
            if template in OPEN:
                expected = None
            bad = answer.status in (401, 403) if expected is None else answer.status != expected
            if bad or answer.status >= 500:
                wrong.append(f"{method} {template} with {given}: {answer.status}, expected {expected}")
            if answer.status == 401 and answer.headers.get("www-authenticate") != "Bearer":
                wrong.append(f"{method} {template}: 401 without www-authenticate")
    connection.close()
    assert wrong == []
    await _check_stream(service)


def _credentials() -> dict[str, tuple[dict[str, str], int | None]]:
    return {
        "nothing": ({}, None),
        "an unknown key": ({"X_API_Key": "x" * 43}, None),
        "an empty key": ({"X_API_Key": ""}, None),
        "the hash of a key": ({"X_API_Key": hashlib.sha256(KEYS["admin"].encode()).hexdigest()}, None),
        "a basic login": ({"Authorization": "Basic YWRtaW46YWRtaW4="}, None),
        "two kinds, one wrong": ({"X_API_Key": KEYS["admin"], "Authorization": "Bearer wrong"}, None),
        "read": ({"X_API_Key": KEYS["read"]}, 0),
        "trade": ({"X_API_Key": KEYS["trade"]}, 1),
        "admin": ({"Authorization": f"Bearer {KEYS['admin']}"}, 2),
    }


async def _check_stream(service: ServiceProcess) -> None:
    address = f"ws://127.0.0.1:{service.port}/api/v1/stream"
    for headers in ({}, {"X-API-Key": "wrong"}):
        with pytest.raises(InvalidStatus, match="403"):
            await connect(address, additional_headers=headers)
    with pytest.raises(InvalidStatus, match="403"):
        await connect(f"{address}?api_key={KEYS['admin']}")
    ending = f"{address}?cancel_on_disconnect=00000000-0000-7000-8000-000000000002"
    for written in (ending, ending.replace("cancel_on", "cancel%5Fon")):
        with pytest.raises(InvalidStatus, match="403"):
            await connect(written, additional_headers={"X-API-Key": KEYS["read"]})
    async with connect(ending, additional_headers={"X-API-Key": KEYS["trade"]}):
        pass
    async with connect(f"{address}?books={DEFAULT_PAIR}", additional_headers={"X-API-Key": KEYS["read"]}) as socket:
        assert "simulator.book" in str(await socket.recv())
    protocols = ["market-maker", f"key.{base64.urlsafe_b64encode(KEYS['read'].encode()).decode().rstrip('=')}"]
    async with connect(address, subprotocols=protocols) as socket:
        assert socket.subprotocol == "market-maker", "the key is not sent back"
    with pytest.raises(InvalidStatus):
        await connect(address, subprotocols=["market-maker", "key.d3Jvbmc"])


async def test_rate_limit(database_dsn: str, make_service: MakeService) -> None:
    service = make_service(database_dsn, MM_RATE_LIMIT="20")
    await service.start()
    started = time.monotonic()
    answers = [await service.request("GET", "/api/v1/pairs") for _ in range(60)]
    admitted = sum(answer.status == 200 for answer in answers)
    assert {answer.status for answer in answers} == {200, 429}
    assert 20 <= admitted <= 21 + 20 * (time.monotonic() - started)
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.headers["retry-after"] == "1"
    assert refused.content["title"] == "Too many requests"
    await asyncio.sleep(1.1)
    assert (await service.request("GET", "/api/v1/pairs")).status == 200


async def test_no_other_site_is_let_in(database_dsn: str, make_service: MakeService) -> None:
    service = make_service(database_dsn)
    await service.start()
    for method in ("GET", "OPTIONS", "POST"):
        for origin in (
            "http://evil.example",
            "null",
            f"http://evil.example:{service.port}",
            f"https://127.0.0.1:{service.port}.evil.example",
        ):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Content-Type": "text/plain"}
            answer = await exchange(service.port, request_bytes(method, "/api/v1/simulator/orders", headers))
            assert answer.status == 403
            assert not any(name.startswith("access-control") for name in answer.headers)
    for host in ("evil.example", f"evil.example:{service.port}", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        answer = await exchange(service.port, request_bytes("GET", "/api/v1/pairs", {"Host": host}))
        assert (answer.status, answer.fields) == (403, ["host"])
    for host in ("localhost", f"LOCALHOST:{service.port}", "127.0.0.1", f"[::1]:{service.port}", "192.168.1.5:8000"):
        own = {"Host": host, "Origin": f"http://{host}"}
        assert (await exchange(service.port, request_bytes("GET", "/api/v1/pairs", own))).status == 200


async def test_secrets_are_told_to_nobody(database_dsn: str, database_server: str, make_service: MakeService) -> None:
    planted = {"database": "planted-database-Zq1", "broker": "planted-broker-Zq2", **KEYS}
    dsn = make_conninfo(database_dsn, password=planted["database"])
    service = make_service(
        dsn, MM_RABBITMQ_URL=f"amqp://user:{planted['broker']}@127.0.0.1:9/", MM_API_KEYS=API_KEYS,
        MM_LOG_LEVEL="DEBUG", MM_BACKTEST__WORKERS="1",
    )  # fmt: skip
    await service.start()
    admin = {"X_API_Key": KEYS["admin"]}
    seen = [str(await service.request("GET", path, None, **admin)) for path in ("/metrics", "/health", "/openapi")]
    order = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.001"}
    seen.append(str(await service.request("POST", "/api/v1/simulator/orders", order, **admin)))
    seen.append(
        str(
            await service.request(
                "POST", "/api/v1/simulator/orders", {"x": KEYS["trade"]}, X_API_Key="x" + KEYS["trade"]
            )
        )
    )
    lines = _command_lines(service)
    assert len(lines) > 1, "the service and its worker"
    seen += lines
    with psycopg.connect(database_server, autocommit=True) as connection:
        name = str(conninfo_to_dict(database_dsn)["dbname"])
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    for _ in range(3):
        seen.append(str(await service.request("POST", "/api/v1/simulator/orders", order, **admin)))
        seen.append(str(await service.request("GET", "/health", None, **admin)))
        await asyncio.sleep(0.5)
    assert any('"down"' in text or "'down'" in text for text in seen)
    seen += _command_lines(service)
    assert service.terminate() == 0
    seen.append(service.log.read_text(encoding="utf-8", errors="replace"))
    assert len(seen[-1]) > 1000
    told = {name for name, secret in planted.items() if any(secret in text for text in seen)}
    assert told == set()


def _command_lines(service: ServiceProcess) -> list[str]:
    processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children(recursive=True)]
    lines = []
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it may end while it is looked at
            lines.append(" ".join(process.cmdline()))
    return lines


def test_a_database_that_cannot_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    ended = run_command(
        "serve", "--port", "0", MM_DATABASE_URL="postgresql://user:planted-Zq3@127.0.0.1:9/x", MM_DATA_DIR=str(tmp_path)
    )
    assert ended.returncode != 0
    assert "planted" not in ended.stderr + ended.stdout
    assert "127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_no_code_comes_through_the_api(database_dsn: str, make_service: MakeService, tmp_path: Path) -> None:
    service = make_service(database_dsn)
    await service.start()
    marker = tmp_path / "executed"
    script = tmp_path / "evil.py"
    script.write_text(f"open({str(marker)!r}, 'w').close()\n")
    encoded = "evil:" + script.read_bytes().hex()
    kinds = [
        "x:base64", encoded, "../x", "../../evil", str(script), f"file://{script}", "os.system", "os:system", "builtins.eval",
        "evil", "inventory_skew; import os", "inventory_skew.__class__", "__import__('os').system('true')", "{{7*7}}", "${7*7}",
        "market_maker.strategies.inventory_skew", "inventory_skew\n", "INVENTORY_SKEW", " ",
    ]  # fmt: skip
    for kind in kinds:
        body = {"name": "x", "kind": kind, "pair_id": DEFAULT_PAIR}
        answer = await service.request("POST", "/api/v1/strategies", body)
        assert (answer.status, [fault["field"] for fault in answer.content["errors"]]) in [
            (400, ["kind"]),
            (404, ["kind"]),
        ], kind
    parameters: list[dict[str, Any]] = [
        {"__class__": 1}, {"order_lots": "__import__('os')"}, {"order_lots": {"$eval": "1"}}, {"half_spread_ticks": "1+1"},
        {"order_lots": [1]}, {"order_lots": True}, {"half_spread_ticks": 1e300}, {"": 1},
    ]  # fmt: skip
    for given in parameters:
        body = {"name": "x", "kind": "inventory_skew", "pair_id": DEFAULT_PAIR, "parameters": given}
        answer = await service.request("POST", "/api/v1/strategies", body)
        assert answer.status == 400, given
        assert answer.content["errors"], given
    for path in ("../evil.py", str(script), "..", ".", "a/../../x", "evil.py\x00.gz", "~", "|id", "$(id)"):
        answer = await service.request("POST", "/api/v1/market-data/imports", {"path": path})
        assert (answer.status, answer.content["errors"][0]["field"]) == (400, "path"), path
    assert not marker.exists()
    assert len((await service.get("/api/v1/strategies"))["items"]) == 1
