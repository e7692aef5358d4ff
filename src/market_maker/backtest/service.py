"""BacktestService: takes orders for runs, keeps their state and results, and answers questions about them.

A run is a row; a job in the queue leads a worker to it; both are written in one transaction with the event that
tells of it. The work itself is in `backtest/worker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.analyses import Analyses, Note, StoredRun, analyse_runs
from market_maker.backtest.configuration import as_it_was, pair_ids_of, run_config, run_configs
from market_maker.backtest.execution import Execution
from market_maker.backtest.explain import Story, explain_run
from market_maker.backtest.guard import limits_of
from market_maker.backtest.request import RunRequest, configuration_of, told_configuration
from market_maker.backtest.result import RunResult
from market_maker.backtest.several_run import SeveralRun, check_legs, read_result
from market_maker.backtest.storage import COMPLETED, PENDING, RUNNING, get_results, report_path, tell
from market_maker.backtest.sweep_runs import Sweeps
from market_maker.backtest.trial_counts import surface, trial_statistics
from market_maker.backtest.trials import list_trials
from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import ContractType
from market_maker.settings import BacktestSettings
from market_maker.storage.database import Database, fetch, page
from market_maker.storage.jobs import defer_run
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

__all__ = ["BacktestService", "RunRequest", "run_data"]

_RUN_COLUMNS = (
    "run_id, strategy_id, pair_id, status, configuration, progress, events_per_second, eta_seconds, error, attempts,"
    " cancel_requested, created_ts, started_ts, finished_ts, version"
)


class BacktestService:
    """Backtests of strategies on recorded data.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    settings : section `backtest`

    `sweeps` are those of whole grids.
    """

    def __init__(
        self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock, settings: BacktestSettings
    ) -> None:
        self._database = database
        self._reference = reference
        self.lake = lake
        self._clock = clock
        self.settings = settings
        self.sweeps = Sweeps(database, reference, clock, settings)

    async def run_backtest(
        self, request: RunRequest, correlation_id: str = "", *, is_queued: bool = True
    ) -> dict[str, Any]:
        """Queue a run and return it; it is durable on return and a worker takes it up.

        `is_queued` False: the caller does it at once, in its own process with its own strategies and settings; a worker
        takes it up only when the caller has died.

        Raises
        ------
        InvalidRequest : a field is wrong
        NotFound : no such strategy or pair
        """
        strategy = await self._reference.strategy(request.strategy_id)
        await self._reference.refresh_pairs()
        pair = await self._reference.pair(request.pair_id or strategy.pair_id)
        kind = find_strategy(strategy.kind)
        kind.validate(strategy.parameters)
        others = [(await self._reference.pair(pair_id, "with_pairs")).instrument for pair_id in request.with_pairs]
        run_id, now = new_id(), self._clock.now_ns()
        configuration = self.configuration(request)
        check_legs(kind, [pair.instrument, *others], configuration)
        Execution.of(request.execution).fee_state(pair.instrument, request.start_ts)  # Wrong fees are told now.
        limits_of(request.limits)
        async with self._database.transaction() as connection:
            await connection.execute(
                f"INSERT INTO backtest_runs ({_RUN_COLUMNS}, heartbeat_ts)"
                " VALUES (%s, %s, %s, %s, %s, 0, NULL, NULL, NULL, 0, false, %s, NULL, NULL, 1, %s)",
                (run_id, strategy.strategy_id, pair.instrument.pair_id, PENDING, Jsonb(configuration), now, now),
            )
            if is_queued:
                await defer_run(connection, run_id)
            run = (await fetch(connection, _SELECT_RUN, (run_id,)))[0]
            await tell(connection, EventType.BACKTEST_QUEUED, (run_id, 1), now, run_data(run), correlation_id)
        return run_data(run)

    async def get_run(self, run_id: UUID) -> dict[str, Any]:
        """Return a run with its progress. NotFound when there is none."""
        row = await self._database.fetch_one(_SELECT_RUN, (run_id,))
        if row is None:
            raise NotFound.of("backtest run", "run_id", str(run_id))
        return run_data(row)

    async def get_runs(
        self, *, strategy_id: UUID | None = None, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        query = f"""
            SELECT {_RUN_COLUMNS} FROM backtest_runs
            WHERE run_id < %(before)s AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
            ORDER BY run_id DESC LIMIT %(limit)s
        """
        rows = await self._database.fetch(query, {"strategy_id": strategy_id, **page(after, limit)})
        return [run_data(row) for row in rows]

    async def cancel_run(self, run_id: UUID) -> dict[str, Any]:
        """Ask for a run to be stopped; a run that has not begun ends at once. Conflict when it has ended."""
        run = await self.get_run(run_id)
        if run["status"] not in (PENDING, RUNNING):
            raise Conflict(f"run {run_id} has ended already: {run['status']}")
        async with self._database.transaction() as connection:
            await connection.execute("UPDATE backtest_runs SET cancel_requested = true WHERE run_id = %s", (run_id,))
        return await self.get_run(run_id)

    async def get_backtest_results(
        self, strategy_id: UUID, *, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the results of a strategy's completed runs, newest first. NotFound for an unknown strategy."""
        await self._reference.strategy(strategy_id)
        found = await get_results(self._database, strategy_id, after=after, limit=limit)
        return [each | {"currency": await self._currency(each)} for each in found]

    async def _currency(self, result: dict[str, Any]) -> str:
        """Return what the money of a result is in: what its pair settled in when the run began."""
        pair = (await self._reference.pair(UUID(result["pair_id"]))).instrument
        then = result["reproducibility"]["configuration"]["pair"].get("contract_type", pair.contract_type)
        return replace(pair, contract_type=ContractType(then)).settled_in

    async def get_trials(
        self, strategy_id: UUID, *, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the trials of a strategy's sweeps, newest first. NotFound for an unknown strategy."""
        await self._reference.strategy(strategy_id)
        return await list_trials(self._database, strategy_id, after=after, limit=limit)

    async def get_result(self, run_id: UUID) -> RunResult | SeveralRun:
        """Return a run's whole result, with its equity curve and fills, or its legs. NotFound until the run has completed."""
        query = "SELECT folder FROM backtest_results WHERE run_id = %s"
        row = await self._database.fetch_one(query, (run_id,))
        if row is None:
            await self.get_run(run_id)
            raise NotFound.of("completed backtest run", "run_id", str(run_id))
        return await asyncio.to_thread(read_result, Path(row["folder"]))

    async def explain_order(self, run_id: UUID, order_id: int) -> Story:
        """Return the whole story of an order of a completed run, which is done again up to the order's end.

        Raises
        ------
        NotFound : no such run or order
        DataError : the recorded market is not the one that was run on
        InvalidRequest : the run is one of several instruments
        """
        run = await self.get_run(run_id)
        result = await self.get_result(run_id)
        if isinstance(result, SeveralRun):
            raise InvalidRequest.of("run_id", str(run_id), "a run of one instrument: only such a one is done again")
        if run["kind"] != "BACKTEST":
            raise InvalidRequest.of("run_id", str(run_id), "a backtest: a simulated run has no recording to look into")
        strategy = await self._reference.strategy(UUID(run["strategy_id"]))
        instrument = as_it_was((await self._reference.pair(UUID(run["pair_id"]))).instrument, result.reproducibility)
        row = await self._database.fetch_one(_SELECT_RUN, (run_id,))
        assert row is not None
        known = result.reproducibility
        config = run_config(row, strategy, instrument)
        # As they were then: the strategy may have changed since.
        config = replace(config, parameters=known["configuration"]["parameters"])
        return await asyncio.to_thread(explain_run, self.lake, config, known, order_id)

    async def analyze_backtest_results(
        self, run_ids: Sequence[UUID], *, fragility: bool = False, note: Note | None = None
    ) -> Analyses:
        """Return the analysis of one completed run, or the comparison of several.

        Parameters
        ----------
        run_ids : each once
        fragility : also run them again under other latencies, queue models and fees
        note : told of progress, from another thread

        Raises
        ------
        InvalidRequest : no id, or one twice; `fragility` of a run on several instruments
        NotFound : no such run, or it has not completed
        DataError : the market of a run is needed for `fragility` and is not there any more
        """
        if not run_ids or len(set(run_ids)) < len(run_ids):
            given = [str(run_id) for run_id in run_ids]
            raise InvalidRequest.of("run_ids", given, "at least one id of a completed run, each once")
        stored: list[StoredRun] = []
        notes = []
        for run_id in run_ids:
            result = await self.get_result(run_id)
            if isinstance(result, SeveralRun):
                notes.append(_apart(run_id, result))
                if fragility:
                    several = f"run {run_id} of {len(result.legs)} instruments"
                    raise InvalidRequest.of("fragility", several, "runs of one")
            stored += await self._stored(run_id, result)
        found = await asyncio.to_thread(analyse_runs, stored, self.lake, with_fragility=fragility, note=note)
        return replace(found, notes=tuple(notes))

    async def get_report(
        self, run_ids: Sequence[UUID], *, fragility: bool = False, note: Note | None = None
    ) -> dict[str, Any]:
        """Return what the report page shows of completed runs, as JSON values; arguments as `analyze_backtest_results`."""
        analyses = await self.analyze_backtest_results(run_ids, fragility=fragility, note=note)
        return await asyncio.to_thread(analyses.report_data, self._clock.now_ns())

    async def _stored(self, run_id: UUID, result: RunResult | SeveralRun) -> list[StoredRun]:
        """Return a completed run, or the legs of one on several instruments, with the trials of its kind of strategy."""
        row = await self._database.fetch_one(_SELECT_RUN, (run_id,))
        assert row is not None
        strategy = await self._reference.strategy(row["strategy_id"])
        legs = result.legs if isinstance(result, SeveralRun) else (result,)
        instruments = [
            as_it_was((await self._reference.pair(pair_id)).instrument, leg.reproducibility)
            for pair_id, leg in zip(pair_ids_of(row), legs, strict=True)
        ]
        parameters = result.reproducibility["configuration"]["parameters"]
        trials = await trial_statistics(self._database, strategy.kind, parameters)
        # As they were then: the strategy may have changed since.
        configs = [replace(each, parameters=parameters) for each in run_configs(row, strategy, instruments)]
        if isinstance(result, RunResult):
            known = await surface(self._database, strategy.strategy_id, parameters)
            return [StoredRun(str(run_id), strategy.name, configs[0], result, trials, known)]
        count = len(configs)
        return [
            StoredRun(f"{run_id}/{number}", f"{strategy.name}, leg {number} of {count}", config, leg, trials)
            for number, (config, leg) in enumerate(zip(configs, result.legs, strict=True), 1)
        ]

    def configuration(self, request: RunRequest) -> dict[str, Any]:
        """Return how a run is done: what the request says and, for the rest, the settings. InvalidRequest names a field."""
        return configuration_of(request, self.settings)


def _apart(run_id: UUID, several: SeveralRun) -> str:
    whole = several.result
    sharpe = whole.sharpe.reason if whole.sharpe.ratio is None else f"{whole.sharpe.ratio:.4g}"
    return (
        f"run {run_id} traded {len(several.legs)} instruments: each leg is analysed as a run of its own. A leg's Sharpe ratio,"
        f" drawdown and quality say nothing of the hedge between them. All together: net P&L {whole.net_pnl:f},"
        f" max drawdown {whole.max_drawdown:f}, Sharpe ratio {sharpe}"
    )


_SELECT_RUN = f"SELECT {_RUN_COLUMNS} FROM backtest_runs WHERE run_id = %s"


def run_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run as JSON values."""

    def text(key: str) -> str | None:
        return None if row[key] is None else str(row[key])

    return {
        "run_id": str(row["run_id"]),
        "strategy_id": str(row["strategy_id"]),
        "pair_id": str(row["pair_id"]),
        "kind": row["configuration"].get("kind", "BACKTEST"),
        "status": row["status"],
        "progress_percent": round(100 * row["progress"], 1),
        "events_per_second": row["events_per_second"],
        "eta_seconds": row["eta_seconds"],
        "error": row["error"],
        "attempts": row["attempts"],
        "cancel_requested": row["cancel_requested"],
        "configuration": told_configuration(row["configuration"]),
        "created_ts": text("created_ts"),
        "started_ts": text("started_ts"),
        "finished_ts": text("finished_ts"),
        "report": report_path(row["run_id"]) if row["status"] == COMPLETED else None,
        "version": row["version"],
    }
