"""What every test may ask for: real market data, a database of its own, the broker, a seed that is printed.

In continuous integration (env CI set) a missing server or data folder is a failure, never a skip.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PROJECT = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))
DEFAULT_DATABASE_URL = "postgresql://postgres@127.0.0.1:5432/postgres"
DEFAULT_RABBITMQ_URL = "amqp://guest:guest@127.0.0.1:5672/"

# No deadline per example: machines are shared. `derandomize` makes the choice of examples part of the code.
settings.register_profile(
    "default", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("MM_TEST_HYPOTHESIS_PROFILE", "default"))


def missing(reason: str) -> NoReturn:
    """Fail in continuous integration, skip elsewhere; both with `reason`."""
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


# --- chance -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return this test's seed: its own, always the same, or that of env MM_TEST_SEED. A failing test prints it."""
    given = os.environ.get("MM_TEST_SEED")
    value = int(given) if given else zlib.crc32(request.node.nodeid.encode())
    request.node.user_properties.append(("seed", value))
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """Return a generator made from the test's seed."""
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def _fixed_global_chance() -> None:
    """Make a library that draws from the interpreter's generator repeatable too."""
    random.seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Print the seed that repeats a failure."""
    report = yield
    seeds = [value for name, value in item.user_properties if name == "seed"]
    if report.failed and seeds:
        report.sections.append(("seed", f"repeat with MM_TEST_SEED={seeds[0]}"))
    return report


# --- real market data -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Return the folder of recorded market data: env MM_SAMPLE_DATA, default ../shared/data beside the project."""
    folder = Path(os.environ.get("MM_SAMPLE_DATA") or PROJECT.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"no recorded market data in {folder}; name the folder in MM_SAMPLE_DATA")
    return folder


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """Yield the address of a PostgreSQL where databases can be made.

    Env MM_TEST_DATABASE_URL names a real server; continuous integration needs one. Elsewhere it is the embedded one.
    """
    url = os.environ.get("MM_TEST_DATABASE_URL") or (DEFAULT_DATABASE_URL if IN_CI else None)
    if url is not None:
        try:
            psycopg.connect(url, connect_timeout=10).close()
        except psycopg.OperationalError as error:
            pytest.fail(f"MM_TEST_DATABASE_URL={_masked(url)} cannot be used: {error}", pytrace=False)
        yield url
        return
    from market_maker.storage.embedded import start_embedded

    # Not pytest's folder: the server refuses data below private folders when it is started by root.
    folder = Path(tempfile.mkdtemp(prefix="market-maker-tests-"))
    folder.chmod(0o755)
    database = start_embedded(folder / "data")
    try:
        yield database.dsn
    finally:
        database.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _make_database(database_server: str) -> Iterator[Callable[[str | None], str]]:
    """Yield a maker of databases (from a template, or empty); those still there at the end are dropped."""
    made: list[str] = []
    number = count(1)
    with psycopg.connect(database_server, autocommit=True) as connection:

        def make(template: str | None) -> str:
            name = f"mm_test_{os.getpid()}_{next(number)}"
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'").format(
                    sql.Identifier(name), sql.Identifier(template or "template0")
                )
            )
            made.append(name)
            return make_conninfo(database_server, dbname=name)

        yield make
        for name in made:
            _drop_database(connection, name)


@pytest.fixture
def empty_database_dsn(_make_database: Callable[[str | None], str], database_server: str) -> Iterator[str]:
    """Yield the address of a fresh database without any table, dropped after the test."""
    dsn = _make_database(None)
    yield dsn
    _drop(database_server, dsn)


@pytest.fixture(scope="session")
def _migrated_template(_make_database: Callable[[str | None], str]) -> str:
    """Return the name of a database in which all migrations ran, to be copied."""
    from market_maker.storage.schema import upgrade

    dsn = _make_database(None)
    outcome = upgrade(dsn)
    if inspect.iscoroutine(outcome):
        asyncio.run(outcome)
    return str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def database_dsn(
    _migrated_template: str, _make_database: Callable[[str | None], str], database_server: str
) -> Iterator[str]:
    """Yield the address of a fresh, migrated database, dropped after the test."""
    dsn = _make_database(_migrated_template)
    yield dsn
    _drop(database_server, dsn)


def _drop(server: str, dsn: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        _drop_database(connection, str(conninfo_to_dict(dsn)["dbname"]))


def _drop_database(connection: psycopg.Connection, name: str) -> None:
    with contextlib.suppress(psycopg.OperationalError):  # a test may have stopped the server
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


# --- RabbitMQ ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """Return the address of a RabbitMQ that listens: env MM_TEST_RABBITMQ_URL."""
    url = os.environ.get("MM_TEST_RABBITMQ_URL") or DEFAULT_RABBITMQ_URL
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 5672)
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        missing(
            f"RabbitMQ does not answer at {address[0]}:{address[1]} ({error}); start it: rabbitmq-server -detached,"
            " or name another in MM_TEST_RABBITMQ_URL"
        )
    return url


def _masked(url: str) -> str:
    password = urlsplit(url).password if "://" in url else None
    return url.replace(f":{password}@", ":***@") if password else url
