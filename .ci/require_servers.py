"""Fail early, with the reason, unless the PostgreSQL and RabbitMQ servers that the tests need answer."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable
from urllib.parse import urlsplit, urlunsplit

TIMEOUT_S = 10


async def ask_postgresql(url: str) -> str:
    """Log in and return the server's version."""
    import psycopg

    async with await psycopg.AsyncConnection.connect(url, connect_timeout=TIMEOUT_S) as connection:
        return f"PostgreSQL {connection.info.server_version}"


async def ask_rabbitmq(url: str) -> str:
    """Log in, open a channel and say that it worked."""
    import aio_pika

    connection = await aio_pika.connect(url, timeout=TIMEOUT_S)
    async with connection:
        await connection.channel()
    return "RabbitMQ"


async def answers(variable: str, start: str, question: Awaitable[str]) -> bool:
    """Await `question`; print what answered, or the variable, the cause and how to start the server."""
    try:
        print(f"{await asyncio.wait_for(question, TIMEOUT_S)} answers at {masked(os.environ[variable])}")
    except Exception as error:  # whatever the client library raises is the reason to show
        print(f"{variable}={masked(os.environ[variable])} cannot be used: {error!r}. {start}", file=sys.stderr)
        return False
    return True


def masked(url: str) -> str:
    """Return `url` without its password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


async def main() -> int:
    """Ask both servers; return the exit status."""
    found = [
        await answers(
            "MM_TEST_DATABASE_URL",
            "Start it: pg_ctlcluster <version> main start",
            ask_postgresql(os.environ["MM_TEST_DATABASE_URL"]),
        ),
        await answers(
            "MM_TEST_RABBITMQ_URL",
            "Start it: rabbitmq-server -detached",
            ask_rabbitmq(os.environ["MM_TEST_RABBITMQ_URL"]),
        ),
    ]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
