"""kill -9 of the service under load: nothing acknowledged is lost, undone or doubled (R1, R4, R5, R8, R9)."""

from __future__ import annotations

import asyncio
import random
import statistics

import pytest

from e2e.conftest import MakeService
from e2e.event_consumer import EventConsumer
from e2e.ledger import slow_down_commits
from e2e.storm import Storm, new_prefix

SECONDS_TO_FIRST_ORDER = (3.0, 10.0)  # R5: median, worst


async def kills(make_service: MakeService, dsn: str, rabbitmq_url: str, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    slow_down_commits(dsn, 0.02)
    prefix = new_prefix()
    consumer = EventConsumer(rabbitmq_url, prefix)
    service = make_service(dsn, MM_RABBITMQ_URL=rabbitmq_url, MM_RABBITMQ_PREFIX=prefix)
    storm = await Storm.begin(service, seed, consumer)
    try:
        recovered = []
        for _ in range(rounds):
            await storm.load.acknowledged_after(service.started_at)
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            service.kill()
            service.spawn()
            recovered.append(await storm.load.acknowledged_after(service.started_at))
        await asyncio.sleep(0.5)
        told = await storm.end()
    finally:
        await consumer.close()
    print(
        f"\n{rounds} kills: {len(told.acknowledged)} orders and {len(told.cancels)} cancels acknowledged,"
        f" {told.repeated} sent again, {told.lost_answers} answers lost, {len(consumer.ids)} events"
        f" ({consumer.repeated} repeated); first order after {statistics.median(recovered):.2f} s,"
        f" at worst {max(recovered):.2f} s; {dict(told.statuses)}"
    )
    assert len(told.acknowledged) > 50 * rounds
    assert told.repeated > 0
    if rounds >= 20:  # seconds say little beside whatever else a machine does during `make test`
        assert statistics.median(recovered) <= SECONDS_TO_FIRST_ORDER[0]
        assert max(recovered) <= SECONDS_TO_FIRST_ORDER[1]


async def test_three_kills_lose_nothing(
    make_service: MakeService, database_dsn: str, rabbitmq_url: str, seed: int
) -> None:
    await kills(make_service, database_dsn, rabbitmq_url, seed, rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_twenty_kills_lose_nothing(
    make_service: MakeService, database_dsn: str, rabbitmq_url: str, seed: int
) -> None:
    await kills(make_service, database_dsn, rabbitmq_url, seed, rounds=20)
