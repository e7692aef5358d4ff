"""Sweeps by request: takes orders for them, keeps their state, and answers questions about them and their trials.

A sweep is a row; a job in the queue leads a worker to it; both are written in one transaction with the event that tells of
it. The work itself is in `backtest/sweep_work.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.execution import Execution
from market_maker.backtest.guard import limits_of
from market_maker.backtest.request import RunRequest, configuration_of, told_configuration
from market_maker.backtest.storage import PENDING, RUNNING, tell
from market_maker.backtest.sweep_plan import WishedGrid, check_values, count_of, grid_of
from market_maker.backtest.trials import TRIAL_COLUMNS, trial_data
from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.domain.units import NS_PER_SECOND
from market_maker.settings import BacktestSettings
from market_maker.storage.database import Database, fetch, page
from market_maker.storage.jobs import defer_sweep
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

BEST = 10
"""Trials that are told with a sweep."""
_INSERT = """
    INSERT INTO backtest_sweeps (sweep_id, strategy_id, pair_id, status, configuration, grid, total, known, done, ran, ran_ns,
        attempts, fruitless_attempts, cancel_requested, heartbeat_ts, created_ts, version)
    VALUES (%s, %s, %s, 'PENDING', %s, %s, %s, 0, 0, 0, 0, 0, 0, false, %s, %s, 1) RETURNING *
"""
_LIST = """
    SELECT * FROM backtest_sweeps
    WHERE sweep_id < %(before)s AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
    ORDER BY sweep_id DESC LIMIT %(limit)s
"""
# A set that another sweep has tried is not run again, so sets lead to trials by key. Few columns are sorted, many are told.
_SETS = """
    FROM backtest_sweep_sets AS own JOIN backtest_trials AS trial
    ON trial.strategy_id = %(strategy_id)s AND trial.trial_key = own.trial_key WHERE own.sweep_id = %(sweep_id)s
"""
_PLACE = f"SELECT own.number, trial.net_pnl {_SETS} AND trial.trial_id = %(after)s"
_COLUMNS = TRIAL_COLUMNS.replace("number", "place.number")
_BEST_FIRST = f"""
    SELECT {_COLUMNS} FROM (
        SELECT own.number, trial.net_pnl, trial.trial_id {_SETS} AND (%(number)s::integer IS NULL
            OR trial.net_pnl < %(net_pnl)s OR trial.net_pnl = %(net_pnl)s AND own.number > %(number)s)
        ORDER BY trial.net_pnl DESC, own.number LIMIT %(limit)s
    ) AS place JOIN backtest_trials USING (trial_id) ORDER BY place.net_pnl DESC, place.number
"""
_BY_NUMBER = f"""
    SELECT {_COLUMNS} FROM (
        SELECT own.number, trial.trial_id {_SETS} AND own.number > coalesce(%(number)s::integer, -1)
        ORDER BY own.number LIMIT %(limit)s
    ) AS place JOIN backtest_trials USING (trial_id) ORDER BY place.number
"""


class Sweeps:
    """Sweeps of grids on recorded data.

    Parameters
    ----------
    database, reference, clock : shared by the process
    settings : section `backtest`
    """

    def __init__(self, database: Database, reference: ReferenceData, clock: Clock, settings: BacktestSettings) -> None:
        self._database = database
        self._reference = reference
        self._clock = clock
        self._settings = settings

    async def start(self, request: RunRequest, grid: WishedGrid, correlation_id: str = "") -> dict[str, Any]:
        """Queue a sweep and return it; it is durable on return and a worker takes it up.

        Parameters
        ----------
        request : what each set is run over, and how; `band` and `record_orders` do not count
        grid : values by name, or `from`, `to` and `step`; the last name varies fastest

        Raises
        ------
        InvalidRequest : a field is wrong, or a set that the strategy's schema does not allow
        NotFound : no such strategy or pair
        """
        wish = replace(request, band=False, record_orders=False)
        strategy = await self._reference.strategy(wish.strategy_id)
        instrument = (await self._reference.pair(wish.pair_id or strategy.pair_id)).instrument
        values = grid_of(grid)
        check_values(find_strategy(strategy.kind), values)
        configuration = configuration_of(wish, self._settings)
        Execution.of(wish.execution).fee_state(instrument, wish.start_ts)  # Wrong fees are told now.
        limits_of(wish.limits)
        ordered, total = [[name, list(choices)] for name, choices in values.items()], count_of(values, "grid")
        sweep_id, now = new_id(), self._clock.now_ns()
        ids = (sweep_id, strategy.strategy_id, instrument.pair_id)
        async with self._database.transaction() as connection:
            row = (await fetch(connection, _INSERT, (*ids, Jsonb(configuration), Jsonb(ordered), total, now, now)))[0]
            await defer_sweep(connection, sweep_id)
            await tell(connection, EventType.SWEEP_QUEUED, (sweep_id, 1), now, sweep_news(row), correlation_id)
        return sweep_data(row)

    async def get(self, sweep_id: UUID) -> dict[str, Any]:
        """Return a sweep with its progress and, in `best`, its best trials so far. NotFound when there is none."""
        row = await self._row(sweep_id)
        return sweep_data(row) | {"best": await best_of_sweep(self._database, row, BEST)}

    async def find(
        self, *, strategy_id: UUID | None = None, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return sweeps, newest first."""
        rows = await self._database.fetch(_LIST, {"strategy_id": strategy_id, **page(after, limit)})
        return [sweep_data(row) for row in rows]

    async def cancel(self, sweep_id: UUID) -> dict[str, Any]:
        """Ask for a sweep to be stopped; its trials stay. NotFound when there is none, Conflict when it has ended."""
        async with self._database.transaction() as connection:
            query = "UPDATE backtest_sweeps SET cancel_requested = true WHERE sweep_id = %s AND status IN (%s, %s) RETURNING *"
            rows = await fetch(connection, query, (sweep_id, PENDING, RUNNING))
        if not rows:
            raise Conflict(f"sweep {sweep_id} has ended already: {(await self._row(sweep_id))['status']}")
        return sweep_data(rows[0])

    async def trials(
        self, sweep_id: UUID, *, best_first: bool = True, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the trials of a sweep's sets, whichever sweep has run them: by net P&L, or by their place in the grid.

        Raises
        ------
        NotFound : no such sweep
        InvalidRequest : `after` is not the id of a trial of this sweep
        """
        row = await self._row(sweep_id)
        values = {
            "sweep_id": sweep_id,
            "strategy_id": row["strategy_id"],
            "number": None,
            "net_pnl": None,
            "limit": limit,
        }
        if after is not None:
            place = await self._database.fetch_one(_PLACE, values | {"after": after})
            if place is None:
                raise InvalidRequest.of("after", str(after), "the cursor `next` of a page of this sweep's trials")
            values |= place
        rows = await self._database.fetch(_BEST_FIRST if best_first else _BY_NUMBER, values)
        return [trial_data(row) for row in rows]

    async def _row(self, sweep_id: UUID) -> dict[str, Any]:
        row = await self._database.fetch_one("SELECT * FROM backtest_sweeps WHERE sweep_id = %s", (sweep_id,))
        if row is None:
            raise NotFound.of("sweep", "sweep_id", str(sweep_id))
        return row


async def best_of_sweep(database: Database, row: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Return the trials of a sweep's row with the highest net P&L, best first."""
    values = {"sweep_id": row["sweep_id"], "strategy_id": row["strategy_id"], "number": None, "net_pnl": None}
    return [trial_data(found) for found in await database.fetch(_BEST_FIRST, values | {"limit": limit})]


def sweep_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return a sweep as JSON values."""
    return sweep_news(row) | {"grid": dict(row["grid"])}


def sweep_news(row: dict[str, Any]) -> dict[str, Any]:
    """Return a sweep as its events carry it: without the grid, which may be long."""
    left_ns = row["left_ns"]
    return {
        "sweep_id": str(row["sweep_id"]),
        "strategy_id": str(row["strategy_id"]),
        "pair_id": str(row["pair_id"]),
        "status": row["status"],
        "total": row["total"],
        "done": row["done"],
        "known": row["known"],
        "progress_percent": round(100 * row["done"] / row["total"], 1),
        "sets_per_second": row["ran"] * NS_PER_SECOND / row["ran_ns"] if row["ran_ns"] else None,
        "eta_seconds": None if left_ns is None else left_ns / NS_PER_SECOND,
        "error": row["error"],
        "attempts": row["attempts"],
        "cancel_requested": row["cancel_requested"],
        "configuration": told_configuration(row["configuration"]),
        **{name: None if row[name] is None else str(row[name]) for name in ("created_ts", "started_ts", "finished_ts")},
        "version": row["version"],
    }
