"""A restart gives the same market: book with queues, open orders, positions (R7)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg
import pytest

from e2e.conftest import MakeService
from e2e.service_process import ServiceProcess
from e2e.storm import Storm


async def hashes(service: ServiceProcess) -> dict[str, str]:
    sessions = (await service.get("/api/v1/simulator/sessions?state_hash=true"))["items"]
    return {session["session_id"]: session["state_hash"] for session in sessions}


SCENARIOS: tuple[dict[str, Any], ...] = (
    {"name": "flash_crash", "parameters": {"fall_s": 2, "hold_s": 1, "recovery_s": 2}, "repeats_every": "6s"},
    {"name": "latency_spike", "parameters": {"duration_s": 1}, "repeats_every": "2s"},
    {"name": "feed_gap", "parameters": {"duration_s": 600}},
    {"name": "partial_outage", "parameters": {"duration_s": 1}, "starts_in": "700ms"},
)


async def told_scenarios(service: ServiceProcess, session_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await service.get(f"/api/v1/simulator/sessions/{session_id}/scenarios"))["items"]
    return items


async def restarts(
    make_service: MakeService, dsn: str, seed: int, rounds: int, scenarios: tuple[dict[str, Any], ...] = ()
) -> None:
    chance = random.Random(seed)
    service = make_service(dsn)
    storm = await Storm.begin(service, seed)
    for key in await hashes(service):
        for scenario in scenarios:
            answer = await service.request("POST", f"/api/v1/simulator/sessions/{key}/scenarios", scenario)
            assert answer.status == 201, answer
    seen = set()
    for _ in range(rounds):
        await storm.load.acknowledged_after(service.started_at)
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        paused = await service.set_state("PAUSED")
        assert [session["state"] for session in paused] == ["PAUSED", "PAUSED"]
        await storm.load.acknowledged_after(asyncio.get_running_loop().time())  # orders still come in
        storm.load.hold()
        await asyncio.sleep(0.3)
        before = await hashes(service)
        told = [await told_scenarios(service, key) for key in before]
        service.kill()
        await service.start()
        assert await hashes(service) == before
        assert [await told_scenarios(service, key) for key in before] == told
        assert all(len(each) == len(scenarios) for each in told)
        seen.add(tuple(before.values()))
        await service.set_state("RUNNING")
        storm.load.release()
    assert len(seen) == rounds
    await storm.end()


async def test_a_paused_market_survives_a_kill_unchanged(
    make_service: MakeService, database_dsn: str, seed: int
) -> None:
    await restarts(make_service, database_dsn, seed, 1)


async def test_a_paused_market_under_stress_survives_kills_unchanged(
    make_service: MakeService, database_dsn: str, seed: int
) -> None:
    await restarts(make_service, database_dsn, seed, 2, SCENARIOS)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_twenty_paused_markets_survive_kills_unchanged(
    make_service: MakeService, database_dsn: str, seed: int
) -> None:
    await restarts(make_service, database_dsn, seed, 20)


async def test_what_a_kill_under_load_left_is_read_the_same_every_time(
    make_service: MakeService, database_dsn: str, seed: int
) -> None:
    service = make_service(database_dsn)
    storm = await Storm.begin(service, seed)
    await asyncio.sleep(1.0 + random.Random(seed).random())
    service.kill()
    storm.load.hold()
    with psycopg.connect(database_dsn) as connection:
        # what the kill left is kept still, so that two starts can be compared
        connection.execute("UPDATE sessions SET state = 'PAUSED'")
    first, second = [], []
    for found in (first, second):
        await service.start()
        found.append(await hashes(service))
        service.kill()
    assert first == second
    await service.start()
    await service.set_state("RUNNING")
    storm.load.release()
    await storm.load.acknowledged_after(service.started_at)
    await storm.end()
