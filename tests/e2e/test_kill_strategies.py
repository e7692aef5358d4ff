"""A strategy that runs on a simulated market survives a kill of the service, and goes on from where it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from e2e.conftest import MakeService
from e2e.service_process import DEFAULT_STRATEGY, ServiceProcess

RUNS = "/api/v1/simulator/strategies"


async def until(what: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := await what()):
        assert time.monotonic() < deadline, "it does not come to pass"
        await asyncio.sleep(0.05)
    return answer


async def the_run(service: ServiceProcess, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await service.get(f"{RUNS}/{run_id}")
    return found


async def test_a_killed_service_goes_on_with_its_strategies(make_service: MakeService, database_dsn: str) -> None:
    service = make_service(database_dsn)
    await service.start()
    begun = (await service.request("POST", RUNS, {"strategy_id": DEFAULT_STRATEGY})).content
    run_id = begun["run_id"]
    before = await until(lambda: _more_wakes(service, run_id, 5))
    service.kill()
    await service.start()
    after = await until(lambda: _more_wakes(service, run_id, before["wakes"]))
    assert after["state"] == "RUNNING"
    assert after["started_ts"] == before["started_ts"]
    assert after["orders_placed"] >= before["orders_placed"] > 0
    assert after["fills"] >= before["fills"]
    # What it has open it still knows: no order is left that nobody would ever cancel.
    listed = (await service.get(f"/api/v1/simulator/orders?strategy_id={DEFAULT_STRATEGY}&is_open=true"))["items"]
    assert len(listed) <= 4
    await service.request("DELETE", f"{RUNS}/{run_id}")
    service.kill()
    await service.start()

    async def all_gone() -> bool:
        query = f"/api/v1/simulator/orders?strategy_id={DEFAULT_STRATEGY}&is_open=true"
        return not (await service.get(query))["items"]

    await until(all_gone)
    ended = await the_run(service, run_id)
    assert ended["state"] == "STOPPED"


async def _more_wakes(service: ServiceProcess, run_id: str, than: int) -> dict[str, Any] | None:
    found = await the_run(service, run_id)
    return found if found["wakes"] > than and found["orders_placed"] else None
