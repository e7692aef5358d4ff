"""The Database component by the specification's names: what is kept, saved and read back one thing at a time.

For tools, notebooks and tests. The services write in batches, by the same rows and the same SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from market_maker.backtest.result import RunResult
from market_maker.backtest.storage import get_results, save_result
from market_maker.domain.clock import Clock
from market_maker.domain.errors import NotFound
from market_maker.domain.ids import new_id
from market_maker.domain.modes import RiskModel
from market_maker.domain.order import Order
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.domain.units import NS_PER_SECOND
from market_maker.market_data.history import get_historical_data
from market_maker.market_data.prices import Price
from market_maker.risk.measures import RiskMetrics
from market_maker.risk.storage import get_metrics, save_metrics
from market_maker.storage import simulation
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData

_NO_EVENTS = 0
"""The stream of a batch that carries no events: nothing is written to it."""


class Records:
    """What the database keeps.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    """

    def __init__(self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock) -> None:
        self._database = database
        self._reference = reference
        self._lake = lake
        self._clock = clock

    async def save_simulated_order(self, order: Order) -> None:
        """Store an order that is not stored yet."""
        await self._save(simulation.Batch(_NO_EVENTS, new_orders=(order,)))

    async def get_simulated_orders(self, **filters: Any) -> list[Order]:
        """Return orders, newest first; filters as `storage.simulation.get_orders`."""
        return await simulation.get_orders(self._database, **filters)

    async def save_simulated_trade(self, trade: Fill) -> None:
        """Store an execution of one of our orders."""
        await self._save(simulation.Batch(_NO_EVENTS, fills=(trade,)))

    async def get_simulated_trades(self, **filters: Any) -> list[Fill]:
        """Return executions, newest first; filters as `storage.simulation.get_trades`."""
        return await simulation.get_trades(self._database, **filters)

    async def save_position(self, position: PositionState) -> None:
        """Store a position as it stands; the market that runs its pair, if any, does not learn of it."""
        async with self._database.transaction() as connection:
            await simulation.store_position(connection, position)

    async def get_positions(self, **filters: Any) -> list[PositionState]:
        """Return positions, newest first; filters as `storage.simulation.get_positions`."""
        return await simulation.get_positions(self._database, **filters)

    async def save_backtest_results(self, run: dict[str, Any], result: RunResult, folder: Path) -> None:
        """Store the result of a run (`run_id`, `strategy_id`) whose columns lie in `folder`."""
        async with self._database.transaction() as connection:
            await save_result(connection, run, result, folder, self._clock.now_ns())

    async def get_backtest_results(self, strategy_id: UUID, limit: int = 100) -> list[dict[str, Any]]:
        """Return the results of a strategy's completed runs, newest first."""
        return await get_results(self._database, strategy_id, limit=limit)

    async def get_historical_data(
        self, pair_id: UUID, start_ts: int, end_ts: int, interval_ns: int = 60 * NS_PER_SECOND
    ) -> list[Price]:
        """Return the prices of a pair in [start_ts, end_ts), in bars of `interval_ns`, from lake or virtual trading."""
        instrument = (await self._reference.pair(pair_id)).instrument
        return await get_historical_data(self._database, self._lake, instrument, start_ts, end_ts, interval_ns)

    async def save_risk_metrics(self, metrics: RiskMetrics, risk_model: RiskModel = RiskModel.VAR) -> UUID:
        """Store figures and return their id."""
        metrics_id = new_id()
        async with self._database.transaction() as connection:
            await save_metrics(connection, metrics_id, risk_model, metrics)
        return metrics_id

    async def get_risk_metrics(self, position_id: UUID) -> dict[str, Any]:
        """Return the newest figures of a position; NotFound when there are none."""
        found = await get_metrics(self._database, position_id, limit=1)
        if not found:
            raise NotFound.of("risk metrics", "position_id", str(position_id))
        return found[0]

    async def _save(self, batch: simulation.Batch) -> None:
        async with self._database.connection() as connection:
            await simulation.commit_batch(connection, batch)
