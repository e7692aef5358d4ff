"""The broker away under load: the API keeps serving, everything is published afterwards, nothing is lost (R3)."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from conftest import missing
from e2e.conftest import MakeService
from e2e.event_consumer import EventConsumer
from e2e.ledger import unpublished
from e2e.private_broker import PrivateBroker, programs_folder
from e2e.storm import Storm, new_prefix
from integration.cuttable_proxy import CuttableProxy

DRAINED_S = 60.0
Switch = Callable[[], Awaitable[None]]


def p99_ms(storm: Storm, start: float, end: float) -> float:
    """Return the 99th percentile of the answers to orders that were sent in [start, end)."""
    times = [answered - sent for sent, answered in storm.load.told.acknowledged_at if start <= sent < end]
    assert len(times) > 20
    return statistics.quantiles(times, n=100)[98] * 1e3


async def without_broker(storm: Storm, take_away: Switch, give_back: Switch, seconds: float) -> tuple[float, float]:
    """Take the broker away for some seconds; check what was promised and return p99 with and without it, in ms."""
    consumer, told = storm.consumer, storm.load.told
    assert consumer is not None
    await storm.load.acknowledged_after(time.monotonic())
    with_start = time.monotonic()
    await asyncio.sleep(max(3.0, seconds / 3))
    await take_away()
    before, start, refused = len(told.acknowledged), time.monotonic(), told.statuses[503]
    await asyncio.sleep(seconds)
    health = await storm.service.request("GET", "/health")
    end, placed = time.monotonic(), len(told.acknowledged) - before
    refused = told.statuses[503] - refused
    await give_back()
    back = time.monotonic()
    waiting = unpublished(storm.service.dsn)
    await consumer.caught_up(storm.service.dsn, DRAINED_S)  # the load goes on meanwhile
    drained_s = time.monotonic() - back
    result = await storm.end()
    with_broker_ms, without_ms = p99_ms(storm, with_start, start), p99_ms(storm, start, end)
    print(
        f"\nbroker away for {end - start:.0f} s: {placed} orders acknowledged meanwhile, {refused} refused, p99"
        f" {without_ms:.0f} ms ({with_broker_ms:.0f} ms with it); {waiting} waiting events drained in {drained_s:.1f} s;"
        f" {len(consumer.ids)} events, {consumer.repeated} repeated"
    )
    assert health.status == 200
    assert health.content["checks"]["bus"]["state"] == "degraded", health
    assert placed > 4 * seconds
    assert refused <= 0.01 * placed
    assert result.lost_answers == 0
    return with_broker_ms, without_ms


async def test_a_cut_broker_stops_nobody(
    make_service: MakeService, database_dsn: str, rabbitmq_url: str, seed: int
) -> None:
    proxy = CuttableProxy(rabbitmq_url)
    await proxy.open()
    prefix = new_prefix()
    consumer = EventConsumer(rabbitmq_url, prefix)
    service = make_service(database_dsn, MM_RABBITMQ_URL=proxy.url, MM_RABBITMQ_PREFIX=prefix)
    storm = await Storm.begin(service, seed, consumer)
    try:
        _, without_ms = await without_broker(storm, proxy.refuse, proxy.open, 5.0)
    finally:
        service.close()
        await proxy.refuse()
        await consumer.close()
    assert without_ms < 1000  # whoever waited for the broker would wait for seconds


@pytest.mark.slow
async def test_a_silent_broker_stops_nobody(
    make_service: MakeService, database_dsn: str, rabbitmq_url: str, seed: int
) -> None:
    """A broker whose packets vanish is worse than one that refuses: nothing tells that it is gone."""
    proxy = CuttableProxy(rabbitmq_url)
    await proxy.open()
    prefix = new_prefix()
    consumer = EventConsumer(rabbitmq_url, prefix)
    service = make_service(database_dsn, MM_RABBITMQ_URL=proxy.url, MM_RABBITMQ_PREFIX=prefix)
    storm = await Storm.begin(service, seed, consumer)

    async def freeze() -> None:
        proxy.freeze()

    async def thaw() -> None:
        await proxy.cut()
        proxy.thaw()

    try:
        _, without_ms = await without_broker(storm, freeze, thaw, 12.0)
    finally:
        service.close()
        await proxy.refuse()
        await consumer.close()
    assert without_ms < 1000


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_broker_stopped_for_a_minute_stops_nobody(
    make_service: MakeService, database_dsn: str, service_folder: Path, seed: int
) -> None:
    programs = programs_folder()
    if programs is None:
        missing("no rabbitmq-server on this machine: the broker cannot be stopped; install it")
    broker = PrivateBroker(programs, service_folder / "broker")
    prefix = new_prefix()
    consumer = EventConsumer(broker.url, prefix)
    service = make_service(
        database_dsn,
        MM_RABBITMQ_URL=broker.url,
        MM_RABBITMQ_PREFIX=prefix,
        MM_SIMULATOR__MARKET_UPDATE_INTERVAL="1s",  # the default: it is the users' orders that pile up here
    )

    async def take_away() -> None:
        await asyncio.to_thread(broker.control, "stop_app")

    async def give_back() -> None:
        await asyncio.to_thread(broker.control, "start_app")

    try:
        await asyncio.to_thread(broker.start)
        storm = await Storm.begin(service, seed, consumer)
        with_ms, without_ms = await without_broker(storm, take_away, give_back, 60.0)
        await consumer.close()
    finally:
        service.close()
        await asyncio.to_thread(broker.stop)
    assert without_ms <= 2 * with_ms
