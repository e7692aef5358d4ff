"""Promise R13: whatever is sent, the service answers as it should, stays alive, small and quick, and goes on trading."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from e2e.conftest import MakeService
from e2e.hostile_corpus import NAMED_OTHERWISE, Case, Known, cases, valid_bodies
from e2e.raw_http import RawAnswer, chunked, exchange, request_bytes
from e2e.service_process import DEFAULT_PAIR, DEFAULT_STRATEGY, ServiceProcess

SLOWEST_S = 2.0
GROWTH_BYTES = 50 << 20
AT_ONCE = 4


async def test_hostile_requests(database_dsn: str, make_service: MakeService) -> None:
    service = make_service(database_dsn)
    await service.start()
    known = await _make_known(service)
    document = await service.get("/openapi")
    corpus = list(cases(document, known))
    _check_that_all_endpoints_are_there(document, corpus)
    before = psutil.Process(service.pid).memory_info().rss
    started = time.perf_counter()
    faults = await _send_all(service, corpus)
    raw = await _send_raw(service, known, faults)
    streams = await _open_hostile_streams(service, faults)
    seconds = time.perf_counter() - started
    growth = psutil.Process(service.pid).memory_info().rss - before
    print(f"{len(corpus) + raw + streams} hostile requests, {seconds:.1f} s, growth {growth / 2**20:.1f} MiB")
    assert not faults, f"{len(faults)} bad answers:\n" + "\n".join(faults[:60])
    assert len(corpus) + raw + streams >= 500
    assert growth < GROWTH_BYTES
    assert not service.faults()
    await _check_that_it_trades(service)


def _check_that_all_endpoints_are_there(document: dict[str, Any], corpus: list[Case]) -> None:
    endpoints = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert len(endpoints) > 40
    assert endpoints == {(case.method, case.template) for case in corpus}
    with_body = {key for key in endpoints if "requestBody" in document["paths"][key[1]][key[0]]}
    assert with_body == set(valid_bodies(Known(*[DEFAULT_PAIR] * 8)))


# ---------------------------------------------------------------------- decent clients with indecent wishes


async def _send_all(service: ServiceProcess, corpus: list[Case]) -> list[str]:
    faults: list[str] = []
    waiting = iter(corpus)

    async def send_some() -> None:
        for case in waiting:
            method = case.names[1:] if case.names and case.names.startswith("!") else case.method.upper()
            data = request_bytes(method, case.target, case.headers, case.body)
            try:
                answer = await exchange(service.port, data)
            except Exception as error:  # noqa: BLE001 (a fault of the service is told with its case)
                faults.append(f"{case.method} {case.template} {case.name}: {error!r}")
                continue
            why = _why_bad(case, answer)
            if why:
                faults.append(
                    f"{case.method} {case.template} {case.name}: {why}: {answer.status} {answer.body[:300]!r}"
                )

    await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))
    return faults


def _why_bad(case: Case, answer: RawAnswer) -> str:
    if answer.seconds > SLOWEST_S:
        return f"took {answer.seconds:.1f} s"
    if answer.status not in case.statuses:
        return "status"
    if len(answer.body) > 3000 and answer.status >= 400:
        return "the answer echoes the request"
    # what is not even HTTP is answered by the server below us, in plain text
    if answer.status == 400 and answer.body == b"Invalid HTTP request received.":
        return "" if "\x00" in "".join(case.headers.values()) else "not HTTP?"
    if answer.status >= 400 and not answer.is_problem:
        return "no problem document"
    if answer.status < 400 or case.names is None or case.names.startswith("!"):
        return ""
    if not answer.fields:
        return "no field"
    allowed = {case.names, *NAMED_OTHERWISE.get(case.names, ())}
    if b"\\ud" in case.body:
        allowed.add("body")  # not UTF-8: no JSON at all
    allowed |= {name.rpartition(".")[2] for name in allowed}
    if case.names and not any(named.split("[")[0] in allowed for named in answer.fields):
        return f"names {answer.fields}, not {case.names}"
    return ""


# ---------------------------------------------------------------------- clients that are not decent at all


async def _send_raw(service: ServiceProcess, known: Known, faults: list[str]) -> int:
    count = 0

    async def expect(
        name: str, statuses: set[int], asked: Awaitable[RawAnswer], *, slowest_s: float = SLOWEST_S
    ) -> None:
        nonlocal count
        count += 1
        try:
            answer = await asked
        except Exception as error:  # noqa: BLE001 (as above)
            faults.append(f"raw {name}: {error!r}")
            return
        if answer.status not in statuses or answer.seconds > slowest_s:
            faults.append(f"raw {name}: {answer.status} {answer.seconds:.1f} s {answer.body[:200]!r}")

    def ask(data: bytes, more: Any = None, *, end: bool = False) -> Awaitable[RawAnswer]:
        return exchange(service.port, data, more, end=end, timeout_s=10.0)

    def post(body: bytes, **headers: str) -> bytes:
        return request_bytes(
            "POST", "/api/v1/simulator/orders", {n.replace("_", "-"): v for n, v in headers.items()}, body
        )

    big = 50 << 20
    await expect("50 MB", {413}, ask(post(b"", Content_Length=str(big)), _parts(big)))
    await expect("50 MB, chunked", {413}, ask(post(b"", Transfer_Encoding="chunked"), chunked(big, b"[" * 65536)))
    await expect("1-byte chunks", {400}, ask(post(b"", Transfer_Encoding="chunked"), chunked(5000, b"[")))
    await expect("length of a gigabyte and nothing", {413}, ask(post(b"", Content_Length=str(1 << 30))))
    await expect("length beyond numbers", {400, 413}, ask(post(b"", Content_Length="9" * 100)))
    await expect("length negative", {400}, ask(post(b"", Content_Length="-1")))
    await expect("length no number", {400}, ask(post(b"{}", Content_Length="two")))
    await expect("length too large, closed", {0, 400}, ask(post(b"{}", Content_Length="100"), end=True))
    await expect("length too large, waiting", {408}, ask(post(b"{}", Content_Length="100")), slowest_s=6.0)
    await expect("length too small", {400}, ask(post(b'{"pair_id": "x"}', Content_Length="3")))
    await expect("two lengths", {400}, ask(post(b"{}", Content_Length="2\r\nContent-Length: 3")))
    await expect(
        "length and chunked", {400}, ask(post(b"2\r\n{}\r\n0\r\n\r\n", Content_Length="3", Transfer_Encoding="chunked"))
    )
    await expect("chunk size no number", {0, 400}, ask(post(b"zz\r\n{}\r\n", Transfer_Encoding="chunked")))
    await expect(
        "chunk size huge",
        {0, 400, 408, 413},
        ask(post(b"ffffffffffffffff0\r\n{}\r\n", Transfer_Encoding="chunked")),
        slowest_s=6.0,
    )
    await expect("encoding of another kind", {0, 400, 501}, ask(post(b"{}", Transfer_Encoding="gzip"), end=True))
    await expect("expect 100", {100, 400}, ask(post(b"{}", Expect="100-continue")))
    await expect("garbage", {400}, ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500))
    await expect("garbage text", {400}, ask(b"FROBNICATE\r\n\r\n"))
    await expect("nothing", {0}, ask(b"", end=True))
    await expect("half a request", {0, 400}, ask(b"GET /health HT", end=True))
    await expect(
        "version", {0, 200, 400, 505}, ask(b"GET /health HTTP/9.9\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    )
    await expect("version 1.0 without host", {200}, ask(b"GET /health/live HTTP/1.0\r\n\r\n"))
    await expect("absolute target", {200, 400, 404}, ask(request_bytes("GET", "http://example.com/health/live")))
    await expect("target without slash", {400, 404}, ask(request_bytes("GET", "health")))
    await expect("target star", {400, 404, 405}, ask(request_bytes("OPTIONS", "*")))
    await expect("connect", {400, 404, 405}, ask(request_bytes("CONNECT", "example.com:443")))
    await expect("long target", {400, 404, 414}, ask(request_bytes("GET", "/" + "a" * 60_000)))
    await expect("long header", {200, 400, 431}, ask(request_bytes("GET", "/health/live", {"X-Long": "a" * 60_000})))
    await expect("endless header", {0, 431}, ask(b"GET /health HTTP/1.1\r\nX: ", _parts(8 << 20)))
    await expect(
        "many headers",
        {0, 200, 400, 431},
        ask(request_bytes("GET", "/health/live", {f"X-{n}": "a" for n in range(3000)})),
    )
    await expect("header with a null", {400}, ask(request_bytes("GET", "/health/live", {"X": "a\x00b"})))
    await expect("header name", {400}, ask(request_bytes("GET", "/health/live", {"X(y)": "a", "": "b"})))
    await expect("folded header", {200, 400}, ask(request_bytes("GET", "/health/live", {"X": "a\r\n b"})))
    await expect(
        "header beyond ASCII", {200, 400}, ask(request_bytes("GET", "/health/live", {"X-Correlation-Id": "\xff\xfe"}))
    )
    await expect("host of another", {403}, ask(request_bytes("GET", "/api/v1/pairs", {"Host": "evil.example"})))
    await expect(
        "origin of another", {403}, ask(request_bytes("GET", "/api/v1/pairs", {"Origin": "http://evil.example"}))
    )
    await expect("origin null", {403}, ask(request_bytes("GET", "/api/v1/pairs", {"Origin": "null"})))
    for key in ("", " ", "a b", "\xff", "x" * 129, "'; DROP TABLE", "../../x"):
        await expect(f"key {key[:10]}", {400}, ask(post(b"{}", Idempotency_Key=key)))
    get = request_bytes("GET", "/health/live", {"Connection": "keep-alive"})
    await expect("pipelined garbage", {200, 400}, ask(get + b"\x00\xff\r\n\r\n" * 20))
    await expect("pipelined 500", {200}, ask(get * 500))
    await expect("pipelined smuggling", {400}, ask(post(b"0\r\n\r\nDELETE /api/v1/simulator/orders HTTP/1.1\r\nHost: x\r\n\r\n",
                                                       Content_Length="4")))  # fmt: skip
    order = f"/api/v1/simulator/orders/{known.order_id}"
    await expect("body of a GET", {200}, ask(request_bytes("GET", order, {}, b"[" * 1000)))
    await expect("body of a DELETE", {400}, ask(request_bytes("DELETE", order, {}, b"[" * 1000)))
    idle = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(200)]
    await expect("200 idle connections", {200}, ask(request_bytes("GET", "/health/live")))
    for _, writer in idle:
        writer.transport.abort()
    return count


async def _parts(total: int) -> Any:
    for _ in range(total >> 16):
        yield b"a" * 65536


# ---------------------------------------------------------------------- streams


async def _open_hostile_streams(service: ServiceProcess, faults: list[str]) -> int:
    address = f"ws://127.0.0.1:{service.port}/api/v1/stream"
    wishes = ["topics=..", "topics=a%00b", "topics=" + "a," * 100, "topics=(a%2B)%2B%24", "topics=" + "x" * 5000, "topics=%ff", "topics=" + "*" * 40, "topics=%23.%23.%23.x", "topics=a.b.c.d.e.f",
              "topics=A", "books=x", "books=1%27%20OR%201=1", "books=" + "0" * 32, f"books={DEFAULT_PAIR},x",
              "books=" + ",".join([f"01a20000-0000-7000-8000-{n:012}" for n in range(30)])]  # fmt: skip
    for wish in wishes:
        async with connect(f"{address}?{wish}") as socket:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(SLOWEST_S):
                    await socket.recv()
            if socket.close_code != 1008:
                faults.append(f"stream {wish[:40]}: closed with {socket.close_code}")

    frames: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "huge frame": lambda socket: socket.send("x" * (1 << 20)),
        "binary": lambda socket: socket.send(b"\x00\xff" * 100),
        "text": lambda socket: socket.send("[" * 10_000),
        "pings": lambda socket: asyncio.gather(*(socket.ping() for _ in range(100))),
        "fragments": lambda socket: socket.send(["x"] * 1000),
        "gone without a word": _abort,
        "not a frame": lambda socket: _write(socket, b"\xff" * 100),
    }
    for name, act in frames.items():
        try:
            async with asyncio.timeout(5):
                async with connect(f"{address}?topics=none") as socket:
                    with contextlib.suppress(ConnectionClosed):
                        await act(socket)
        except TimeoutError:
            faults.append(f"stream {name}: stands still")
    others = [
        ("PUT", {}),
        ("GET", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "99"}),
        ("GET", {}),
    ]
    for method, headers in others:
        answer = await exchange(service.port, request_bytes(method, "/api/v1/stream", headers))
        if not 400 <= answer.status < 500:
            faults.append(f"stream by {method} {headers}: {answer.status}")
    with pytest.raises(InvalidStatus, match="403"):
        await connect(address, additional_headers={"Origin": "http://evil.example"})
    return len(wishes) + len(frames) + len(others) + 1


async def _abort(socket: Any) -> None:
    socket.transport.abort()


async def _write(socket: Any, data: bytes) -> None:
    socket.transport.write(data)


# ---------------------------------------------------------------------- before and after


async def _make_known(service: ServiceProcess) -> Known:
    account = await service.request("POST", "/api/v1/accounts", {"name": "tester", "balance": "1000000 USDT"})
    order = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.001"}
    placed = await service.request("POST", "/api/v1/simulator/orders?wait=true", order)
    position = await service.request("POST", "/api/v1/positions", {"pair_id": DEFAULT_PAIR, "quantity": "0.5"})
    limit = await service.request("POST", "/api/v1/risk/limits", {"kind": "MAX_VAR", "threshold": "1e9"})
    run = {"strategy_id": DEFAULT_STRATEGY, "start_date": "2022-01-01", "end_date": "2022-01-02"}
    queued = await service.request("POST", "/api/v1/backtest", run)
    return Known(
        pair_id=DEFAULT_PAIR,
        strategy_id=DEFAULT_STRATEGY,
        account_id=account.content["account_id"],
        order_id=placed.content["order_id"],
        session_id=(await service.session())["session_id"],
        position_id=position.content["position_id"],
        limit_id=limit.content["limit_id"],
        run_id=queued.content["run_id"],
    )


async def _check_that_it_trades(service: ServiceProcess) -> None:
    order = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "40000", "amount": "0.001"}
    placed = await service.request("POST", "/api/v1/simulator/orders?wait=true", order)
    assert (placed.status, placed.content["status"]) == (201, "NEW")
    path = f"/api/v1/simulator/orders/{placed.content['order_id']}?wait=true"
    canceled = await service.request("DELETE", path)
    assert (canceled.status, canceled.content["status"]) == (200, "CANCELED")
    health = await service.get("/health")
    assert health["state"] == "ok", health
