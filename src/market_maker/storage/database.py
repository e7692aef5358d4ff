"""The Database component: a pool of PostgreSQL connections and the operations the specification names.

The SQL lives in the modules beside this one, by subject. Any loss of the server is `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from market_maker.domain.errors import Unavailable

Connection = psycopg.AsyncConnection[Any]

_LOST = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed)


@asynccontextmanager
async def lost_server_is_unavailable() -> AsyncIterator[None]:
    """Turn every sign of a lost PostgreSQL server into `Unavailable`."""
    try:
        yield
    except _LOST as error:
        raise Unavailable(
            "PostgreSQL cannot be reached; a change that was under way may have been made: repeat it by the same key"
        ) from error


class Database:
    """PostgreSQL: `connection()` for reading, `transaction()` for changing.

    Parameters
    ----------
    dsn : as libpq takes it
    pool_size : most connections kept
    """

    def __init__(self, dsn: str, *, pool_size: int = 10) -> None:
        self.dsn = dsn
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=3.0,
            # its pause between attempts doubles without end; given up, each request makes a new attempt instead
            reconnect_timeout=0.5,
            kwargs={"autocommit": True, "connect_timeout": 3},
            name="market-maker",
        )
        self._mending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect; raises Unavailable, with the reason, when the server is not there."""
        try:
            await self._pool.open(wait=True, timeout=10.0)
        except _LOST as error:
            advice = "start it, or correct database_url (`market-maker doctor` looks closer)"
            raise Unavailable(f"PostgreSQL cannot be reached: {await self._refusal()}; {advice}") from error

    async def _refusal(self) -> str:
        """Return what the server, or the way to it, says to a connection."""
        try:
            await (await psycopg.AsyncConnection.connect(self.dsn, connect_timeout=3)).close()
        except psycopg.Error as error:
            return " ".join(str(error).split())
        return "it gives no connection in time"

    async def close(self) -> None:
        """Give all connections back to the server."""
        if self._mending is not None:
            self._mending.cancel()
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit mode."""
        try:
            async with lost_server_is_unavailable(), self._pool.connection() as connection:
                yield connection
        except Unavailable:
            self._mend()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction, committed at the end of the block."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def connect(self) -> Connection:
        """Return a connection of the caller's own, outside the pool."""
        async with lost_server_is_unavailable():
            return await psycopg.AsyncConnection.connect(self.dsn, autocommit=True, connect_timeout=3)

    def statistics(self) -> dict[str, int]:
        """Return the pool's figures: size, idle, waiting."""
        figures = self._pool.get_stats()
        return {
            "size": figures.get("pool_size", 0),
            "idle": figures.get("pool_available", 0),
            "waiting": figures.get("requests_waiting", 0),
        }

    async def fetch(self, query: str, parameters: dict[str, Any] | tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Return the rows of one query as mappings."""
        async with self.connection() as connection:
            return await fetch(connection, query, parameters)

    async def fetch_one(self, query: str, parameters: dict[str, Any] | tuple[Any, ...] = ()) -> dict[str, Any] | None:
        """Return the first row of one query, or None."""
        rows = await self.fetch(query, parameters)
        return rows[0] if rows else None

    def _mend(self) -> None:
        """Throw out the connections that a restart of the server has broken, without making anyone wait."""
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._check_pool())

    async def _check_pool(self) -> None:
        try:
            await self._pool.check()
        except _LOST:
            return


async def fetch(
    connection: Connection, query: str, parameters: dict[str, Any] | tuple[Any, ...] = ()
) -> list[dict[str, Any]]:
    """Return the rows of one query on `connection` as mappings."""
    cursor = await connection.execute(query, parameters)
    rows = await cursor.fetchall()  # first: in a pipeline the answer is here only now
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


def page(after: UUID | None, limit: int) -> dict[str, Any]:
    """Return the parameters of a list that is paged by the id of its last row, newest first."""
    return {"before": after or UUID(int=2**128 - 1), "limit": limit}
