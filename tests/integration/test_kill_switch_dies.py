"""A process that dies between storing a kill switch and ending orders: the switch stands, and the orders end at the start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import UUID

import pytest

from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Unavailable
from market_maker.domain.events import EventType
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID
from market_maker.risk.control import RiskControl
from market_maker.risk.limits import LimitScope
from market_maker.risk.market_view import NoMarkets
from market_maker.settings import RiskSettings, Settings
from market_maker.storage.database import Database
from market_maker.storage.reference import ReferenceData


class Markets(NoMarkets):
    """Markets that note whose orders were ended; `dies` is raised before any is."""

    def __init__(self, dies: BaseException | None = None) -> None:
        self.dies = dies
        self.ended: list[tuple[LimitScope, UUID | None]] = []

    async def end_orders(self, scope: LimitScope, scope_id: UUID | None) -> int:
        if self.dies is not None:
            raise self.dies
        self.ended.append((scope, scope_id))
        return 1


class Died(BaseException):
    """The process is no more."""


@pytest.fixture
async def database(database_dsn: str) -> AsyncIterator[Database]:
    opened = Database(database_dsn)
    await opened.open()
    await ReferenceData(opened).seed(Settings().simulator.default_balance, SystemClock().now_ns())
    yield opened
    await opened.close()


async def a_process(database: Database, markets: Markets) -> RiskControl:
    """The control of a process that has just started."""
    control = RiskControl(database, ReferenceData(database), SystemClock(), markets, RiskSettings(), None)  # type: ignore[arg-type]
    await control.reload()
    await control.end_held()
    return control


async def test_a_switch_is_stored_before_orders_end(database: Database) -> None:
    first = await a_process(database, Markets(Died()))
    with pytest.raises(Died):
        await first.engage("fingers too fat", "ACCOUNT", DEFAULT_ACCOUNT_ID)
    markets = Markets()
    second = await a_process(database, markets)
    assert [(each["scope"], each["reason"]) for each in second.switches()] == [("ACCOUNT", "fingers too fat")]
    assert second.guard.active
    assert markets.ended == [(LimitScope.ACCOUNT, DEFAULT_ACCOUNT_ID)]
    assert [each["action"] for each in await second.get_audit()] == ["KILL_SWITCH_ENGAGED"]
    rows = await database.fetch("SELECT 1 FROM events WHERE type = %s", (EventType.RISK_KILL_SWITCH_ENGAGED.value,))
    assert len(rows) == 1, "told once"


async def test_a_halt_is_finished_too(database: Database) -> None:
    first = await a_process(database, Markets())
    limit = await first.add_limit("MAX_LOSS", "PAIR", DEFAULT_PAIR_ID, Decimal(5), Decimal("0.8"), "HALT")
    async with database.transaction() as connection:
        update = "UPDATE risk_limits SET hold = 'HALTED' WHERE limit_id = %s"
        await connection.execute(update, (UUID(limit["limit_id"]),))
    markets = Markets()
    await a_process(database, markets)
    assert markets.ended == [(LimitScope.PAIR, DEFAULT_PAIR_ID)]


async def test_a_market_that_cannot_be_reached_does_not_stop_the_start(database: Database) -> None:
    first = await a_process(database, Markets())
    await first.engage("x", "ALL", None)
    again = await a_process(database, Markets(Unavailable("no market")))
    assert again.guard.active
