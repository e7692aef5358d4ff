"""The durability check against a real server (promise R24)."""

from __future__ import annotations

import psycopg

from market_maker.monitoring.health import OK, State, check_durability


async def test_a_durable_database_is_ok(empty_database_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database_dsn) as connection:
        assert await check_durability(connection) == OK


async def test_a_database_that_may_lose_commits_is_degraded(empty_database_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database_dsn) as connection:
        await connection.execute("SET synchronous_commit = off")
        result = await check_durability(connection)
    assert result.state is State.DEGRADED
    assert "synchronous_commit = off" in result.reason
    assert "postgresql.conf" in result.action
