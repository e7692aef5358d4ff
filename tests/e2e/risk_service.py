"""A service for tests of limits, and what a trader asks of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from e2e.service_process import DEFAULT_PAIR, ServiceProcess
from market_maker.client import Client
from market_maker.domain.errors import DataError

TICK = Decimal("0.01")
"""Of the default pair."""


@pytest.fixture(scope="module")
def service(_migrated_template: str, _make_database: Callable[[str | None], str]) -> Iterator[ServiceProcess]:
    folder = Path(tempfile.mkdtemp(prefix="market-maker-e2e-"))
    folder.chmod(0o755)
    settings = {"MM_BACKTEST__WORKERS": "0", "MM_SIMULATOR__MARKET_UPDATE_INTERVAL": "100ms",
                "MM_SIMULATOR__EXECUTION_DELAY": "10ms"}  # fmt: skip
    process = ServiceProcess(_make_database(_migrated_template), folder, settings)
    asyncio.run(process.start())
    yield process
    process.close()
    faults = process.faults()
    shutil.rmtree(folder, ignore_errors=True)
    assert not faults


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{service.port}") as made:
        yield made


@pytest.fixture
def account(client: Client) -> UUID:
    return client.add_account(f"trader-{time.time_ns()}", "1000000 USDT").account_id


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.05)
    return answer


def the_limit(client: Client, limit_id: UUID) -> Any:
    return next(each for each in client.get_limits().items if each.limit_id == limit_id)


def alerts_of(client: Client, limit_id: UUID) -> list[tuple[str, str]]:
    """Return (severity, state) of a limit's alerts, oldest first."""
    found = [each for each in client.get_alerts(limit=1000).items if each.limit_id == limit_id]
    return [(each.severity, each.state) for each in reversed(found)]


def price_of(client: Client) -> Decimal:
    (session,) = [each for each in client.get_sessions().items if str(each.pair_id) == DEFAULT_PAIR]
    return session.reference_price


@pytest.fixture
def paused(client: Client) -> Iterator[Callable[[], None]]:
    """A function that lets the market stand still until the test is over: figures move by what is held alone."""
    (session,) = [each for each in client.get_sessions().items if str(each.pair_id) == DEFAULT_PAIR]
    yield lambda: client.change_session(session.session_id, state="PAUSED") and None
    client.change_session(session.session_id, state="RUNNING")


def is_assessed(client: Client, position_id: UUID, scope: Any = "POSITION") -> bool:
    try:
        client.assess_risk(position_id, scope=scope)
    except DataError:
        return False
    return True
