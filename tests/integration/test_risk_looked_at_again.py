"""Positions that changed while their risk could not be assessed: they are not forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Unavailable
from market_maker.domain.ids import new_id
from market_maker.risk.control import RiskControl
from market_maker.risk.market_view import NoMarkets
from market_maker.settings import RiskSettings
from market_maker.storage.database import Database
from market_maker.storage.reference import ReferenceData


class Failing:
    """An assessor that cannot do its work the first time that it has any."""

    def __init__(self) -> None:
        self.asked: list[list[UUID]] = []
        self.again = asyncio.Event()

    async def reassess(self, position_ids: Iterable[UUID]) -> None:
        if positions := list(position_ids):
            self.asked.append(positions)
            if len(self.asked) == 1:
                raise Unavailable("the database is away")
            self.again.set()


async def test_changed_positions_are_looked_at_again_after_a_failure(database_dsn: str) -> None:
    database = Database(database_dsn)
    await database.open()
    assessor, position_id = Failing(), new_id()
    settings = RiskSettings(assessment_interval=0)
    control = RiskControl(database, ReferenceData(database), SystemClock(), NoMarkets(), settings, assessor)  # type: ignore[arg-type]
    await control.start()
    try:
        await control.add_limit("MAX_LOSS", "ALL", None, Decimal(1), Decimal("0.8"))
        control.note_changed([position_id])
        async with asyncio.timeout(20):
            await assessor.again.wait()
        assert assessor.asked == [[position_id], [position_id]]
    finally:
        await control.stop()
        await database.close()
