"""PostgreSQL stopped like a crash, under load: honest answers, prompt recovery, nothing lost (R2).

The server is one of our own, so that nobody else's is stopped.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from e2e.conftest import MakeService
from e2e.ledger import slow_down_commits
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from e2e.storm import Storm
from market_maker.storage.embedded import start_embedded

SLOWEST_ANSWER_S = 5.0
SERVING_AGAIN_S = 5.0


async def slowest_question(service: ServiceProcess, seconds: float) -> float:
    """Ask all kinds of questions for some seconds; return how long the slowest answer took."""
    until = time.monotonic() + seconds
    paths = (
        "/api/v1/simulator/orders",
        f"/api/v1/simulator/orderbook/{DEFAULT_PAIR}",
        "/api/v1/positions",
        "/health",
        "/api/v1/simulator/trades",
        "/api/v1/simulator/sessions",
    )

    async def ask(path: str) -> float:
        slowest = 0.0
        while time.monotonic() < until:
            started = time.monotonic()
            answer = await service.request("GET", path)
            slowest = max(slowest, time.monotonic() - started)
            assert answer.status in (200, 503), (path, answer)
            if answer.status == 503 and path != "/health":
                assert answer.headers["retry-after"].isdigit(), (path, answer)
            await asyncio.sleep(0.05)
        return slowest

    return max(await asyncio.gather(*(ask(path) for path in paths)))


async def serving_again(service: ServiceProcess, since: float) -> float:
    """Return the seconds from `since` until every question is answered as if nothing had been."""
    paths = ("/api/v1/simulator/orders", f"/api/v1/simulator/orderbook/{DEFAULT_PAIR}", "/health/ready")
    while time.monotonic() < since + 60:
        answers = [await service.request("GET", path) for path in paths * 4]
        if all(answer.status == 200 for answer in answers):
            return time.monotonic() - since
        await asyncio.sleep(0.05)
    raise AssertionError("the service does not come back")


async def stops(make_service: MakeService, folder: Path, seed: int, pauses_s: list[float]) -> None:
    chance = random.Random(seed)
    database = await asyncio.to_thread(start_embedded, folder / "database")
    service = make_service(database.dsn)
    try:
        storm = await Storm.begin(service, seed)
        slow_down_commits(database.dsn, 0.02)
        pid, orders_again, questions_again, slowest = service.pid, [], [], 0.0
        for pause_s in pauses_s:
            await storm.load.acknowledged_after(time.monotonic())
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            await asyncio.to_thread(database.stop_server, "immediate")
            slowest = max(slowest, await slowest_question(service, pause_s))
            await asyncio.to_thread(database.ensure_running)
            up = time.monotonic()
            orders_again.append(await storm.load.acknowledged_after(up))
            questions_again.append(await serving_again(service, up))
        await asyncio.sleep(0.5)
        print(f"\norders again after {orders_again} s, questions after {questions_again} s")
        told = await storm.end()
        assert service.pid == pid
        assert service.is_alive
    finally:
        service.close()
        database.stop()
    print(
        f"\n{len(pauses_s)} stops: {len(told.acknowledged)} orders acknowledged, answers {dict(told.statuses)},"
        f" slowest order {told.slowest_s:.2f} s, slowest question {slowest:.2f} s;"
        f" orders again after {max(orders_again):.2f} s, questions after {max(questions_again):.2f} s"
    )
    assert set(told.statuses) <= {200, 201, 202, 409, 503}
    assert told.statuses[503] > 0
    assert told.lost_answers == 0
    assert max(told.slowest_s, slowest) <= SLOWEST_ANSWER_S
    assert max(*orders_again, *questions_again) <= SERVING_AGAIN_S


async def test_a_stop_of_postgresql_loses_nothing(make_service: MakeService, service_folder: Path, seed: int) -> None:
    await stops(make_service, service_folder, seed, [1.0, 4.0])


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_five_stops_of_postgresql_lose_nothing(
    make_service: MakeService, service_folder: Path, seed: int
) -> None:
    await stops(make_service, service_folder, seed, [0.5, 2.0, 5.0, 15.0, 60.0])
