"""SIGTERM under load, and a second service that takes over: nothing acknowledged is lost, nobody is left hanging."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from e2e.conftest import MakeService
from e2e.http_connection import HttpConnection
from e2e.order_load import OrderLoad, Wish
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from e2e.storm import Storm
from e2e.test_access import run_command

STOP_S = 10.0


async def stopped(service: ServiceProcess) -> tuple[int, float]:
    """Ask a service to end and return its exit code and the seconds it took."""
    started = time.monotonic()
    code = await asyncio.to_thread(service.terminate, 2 * STOP_S)
    return code, time.monotonic() - started


async def test_a_stop_under_load_answers_what_it_took_and_says_goodbye(
    make_service: MakeService, database_dsn: str, seed: int
) -> None:
    service = make_service(database_dsn)
    storm = await Storm.begin(service, seed)
    address = f"ws://127.0.0.1:{service.port}/api/v1/stream?books={DEFAULT_PAIR}"
    async with connect(address) as reading, connect(address) as idle:
        await storm.load.acknowledged_after(service.started_at)
        waiting = HttpConnection(service.port)
        body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "LIMIT", "price": "45000", "amount": "0.001"}
        await asyncio.sleep(0.3)
        # It may be durable and its outcome untold: the ledger takes it for one whose answer was lost.
        storm.load.told.wishes.append(Wish(b"", {}, has_key=False))
        in_flight = asyncio.create_task(waiting.request("POST", "/api/v1/simulator/orders?wait=true", body))
        stopping = asyncio.create_task(stopped(service))
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(reading.recv(), STOP_S)
        assert reading.close_code == 1001
        code, seconds = await stopping
        assert (code, seconds < STOP_S) == (0, True), (code, seconds)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            assert (await in_flight).status in (201, 503)
        waiting.close()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(idle.recv(), 1)
        assert idle.close_code == 1001
    print(f"\nstopped in {seconds:.2f} s under load; {dict(storm.load.told.statuses)}")
    await service.start()
    await storm.load.acknowledged_after(service.started_at)
    told = await storm.end()
    assert set(told.statuses) <= {200, 201, 202, 404, 409, 503}
    assert len(told.acknowledged) > 20


async def test_a_service_that_stands_by_takes_over(make_service: MakeService, database_dsn: str, seed: int) -> None:
    first = make_service(database_dsn)
    storm = await Storm.begin(first, seed)
    second = make_service(database_dsn, MM_STANDBY="true")
    second.port = first.port
    second.spawn()
    for _ in range(600):
        if "standing by" in second.log.read_text(encoding="utf-8"):
            break
        await asyncio.sleep(0.1)
    assert second.is_alive
    assert "serves" not in second.log.read_text(encoding="utf-8")
    await asyncio.sleep(3.0)  # for what is made ready while it stands by
    last = storm.load.told.acknowledged_at[-1][1]
    code, seconds = await stopped(first)
    assert code == 0
    ended = time.monotonic()
    gap = await storm.load.acknowledged_after(ended)
    before = max(answered for _, answered in storm.load.told.acknowledged_at if answered <= ended)
    assert before >= last
    print(f"\nstopped in {seconds:.2f} s; the next acknowledgement {gap:.2f} s later")
    assert gap < 10
    storm.service = second
    told = await storm.end()
    assert len(told.acknowledged) > 20
    assert len((await second.get("/api/v1/simulator/sessions"))["items"]) == 2


@pytest.mark.parametrize("role", ["api", "relay"])
def test_roles_apart_need_a_broker(role: str, tmp_path: object) -> None:
    ended = run_command("serve", "--role", role, "--port", "0", MM_DATA_DIR=str(tmp_path))
    assert ended.returncode == 2
    assert "rabbitmq_url" in ended.stderr
    wrong = run_command("serve", "--role", "chef", MM_DATA_DIR=str(tmp_path))
    assert (wrong.returncode, "role" in wrong.stderr) == (2, True)


async def test_api_and_relay_in_processes_of_their_own(
    make_service: MakeService, database_dsn: str, rabbitmq_url: str, seed: int
) -> None:
    broker = {"MM_RABBITMQ_URL": rabbitmq_url, "MM_RABBITMQ_PREFIX": f"mm_test_{seed % 10**9}"}
    api = make_service(database_dsn, MM_ROLE="API", **broker)
    await api.start()
    relay = make_service(database_dsn, MM_ROLE="RELAY", **broker)
    async with connect(f"ws://127.0.0.1:{api.port}/api/v1/stream?topics=simulator.order.*") as reader:
        load = OrderLoad(api.port, {DEFAULT_PAIR: (50_000.0, 0.0002)}, seed, users=2)
        load.start()
        await load.acknowledged_after(api.started_at)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.recv(), 1.0)  # nobody relays yet
        relay.spawn()
        assert "simulator.order" in str(await asyncio.wait_for(reader.recv(), 40))
        await load.stop()
    relay._process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
    assert await asyncio.to_thread(relay._process.wait, 20) == 0  # type: ignore[union-attr]
    assert "market-maker relays events" in relay.log.read_text(encoding="utf-8")
