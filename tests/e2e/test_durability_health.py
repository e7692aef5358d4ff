"""A database that may lose what it has committed is shown, not hidden (R24)."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from e2e.conftest import MakeService


@pytest.mark.parametrize(("value", "state"), [("on", "ok"), ("off", "degraded")])
async def test_health_tells_of_commits_that_do_not_wait_for_the_disk(
    make_service: MakeService, database_dsn: str, value: str, state: str
) -> None:
    name = str(conninfo_to_dict(database_dsn)["dbname"])
    with psycopg.connect(database_dsn, autocommit=True) as connection:
        setting = sql.SQL("ALTER DATABASE {} SET synchronous_commit = {}")
        connection.execute(setting.format(sql.Identifier(name), sql.Literal(value)))
    service = make_service(database_dsn)
    await service.start()
    answer = await service.request("GET", "/health")
    assert answer.status == 200
    check = answer.content["checks"]["database"]
    assert check["state"] == state
    if state == "degraded":
        assert answer.content["state"] == "degraded"
        assert "synchronous_commit = off" in check["reason"]
        assert check["action"]
