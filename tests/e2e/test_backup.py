"""A backup of a running service goes on as the same market in another database."""

from __future__ import annotations

import asyncio
from pathlib import Path

from e2e.conftest import MakeService
from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker import maintenance
from market_maker.settings import load_settings


async def open_orders(service: ServiceProcess) -> list[dict[str, object]]:
    orders = await service.get("/api/v1/simulator/orders?limit=500")
    return sorted((dict(order) for order in orders["items"]), key=lambda order: str(order["order_id"]))


async def test_the_market_of_a_backup_has_the_same_state_hash(
    make_service: MakeService, database_dsn: str, empty_database_dsn: str, tmp_path: Path
) -> None:
    service = make_service(database_dsn)
    await service.start()
    for number in range(20):
        body = {"pair_id": DEFAULT_PAIR, "side": "BUY" if number % 2 else "SELL", "type": "LIMIT",
                "price": str(49000 + 100 * number), "amount": "0.01"}  # fmt: skip
        assert (await service.request("POST", "/api/v1/simulator/orders", body)).status == 201
    await asyncio.sleep(0.3)
    await service.set_state("PAUSED")
    session, orders = await service.session(), await open_orders(service)
    assert len(orders) == 20
    file = tmp_path / "kept.zip"
    one = load_settings(None, overrides=[f"database_url={database_dsn}", f"data_dir={tmp_path}"], environment={})
    two = load_settings(None, overrides=[f"database_url={empty_database_dsn}", f"data_dir={tmp_path}"], environment={})
    await maintenance.back_up(one, file, with_files=False)  # while the service runs
    await maintenance.restore(two, file, replace=False)
    other = make_service(empty_database_dsn)
    await other.start()
    assert (await other.session())["state_hash"] == session["state_hash"]
    assert await open_orders(other) == orders
    await other.set_state("RUNNING")
    body = {"pair_id": DEFAULT_PAIR, "side": "BUY", "type": "MARKET", "amount": "0.01"}
    placed = await other.request("POST", "/api/v1/simulator/orders?wait=true", body)
    assert (placed.status, placed.content["status"]) == (201, "FILLED")
