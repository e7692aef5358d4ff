"""BacktestService: takes orders for runs, keeps their state and results, and answers questions about them.

A run is a row; a job in the queue leads a worker to it; both are written in one transaction with the event that
tells of it. The work itself is in `backtest/worker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.analyses import Analyses, Note, StoredRun, analyse_runs
from market_maker.backtest.configuration import run_config
from market_maker.backtest.execution import Execution
from market_maker.backtest.explain import Story, explain_run
from market_maker.backtest.result import FillModel, RunResult
from market_maker.backtest.storage import get_results, report_path
from market_maker.backtest.trial_counts import surface, trial_statistics
from market_maker.backtest.trials import list_trials
from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import new_id
from market_maker.domain.units import NS_PER_SECOND, format_duration
from market_maker.market_data.conditions import MarketConditions
from market_maker.messaging.topics import outbox_event
from market_maker.settings import BacktestSettings
from market_maker.storage.database import Database, fetch, page
from market_maker.storage.jobs import defer_run
from market_maker.storage.lake import Lake
from market_maker.storage.outbox import SERVICE_STREAM, append, ensure_stream
from market_maker.storage.reference import ReferenceData
from market_maker.strategies.contract import find_strategy

PENDING, RUNNING, COMPLETED, FAILED, CANCELED = "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELED"
LATENCY_MAX_NS = 60 * NS_PER_SECOND
_RUN_COLUMNS = (
    "run_id, strategy_id, pair_id, status, configuration, progress, events_per_second, eta_seconds, error, attempts,"
    " cancel_requested, created_ts, started_ts, finished_ts, version"
)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: [start_ts, end_ts) in ns UTC, and how. Latencies None: the setting execution_delay.

    `market_conditions`: volatility, trend, volume_profile, each optional; see `market_data.conditions`. `execution`: queue
    model, latency, fees and funds, see `backtest.execution`. `band`: tell pessimistic and optimistic fills beside the run's
    own. `record_orders`: keep every decision and order event.
    """

    strategy_id: UUID
    start_ts: int
    end_ts: int
    pair_id: UUID | None = None
    market_conditions: dict[str, Any] | None = None
    entry_latency_ns: int | None = None
    response_latency_ns: int | None = None
    balance: Decimal | None = None
    fill_model: str = FillModel.PARTIAL.name
    seed: int = 0
    allow_gaps: bool = False
    execution: Mapping[str, Any] | None = None
    band: bool = True
    record_orders: bool = False


class BacktestService:
    """Backtests of strategies on recorded data.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    settings : section `backtest`
    """

    def __init__(
        self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock, settings: BacktestSettings
    ) -> None:
        self._database = database
        self._reference = reference
        self.lake = lake
        self._clock = clock
        self.settings = settings

    async def run_backtest(self, request: RunRequest, correlation_id: str = "") -> dict[str, Any]:
        """Queue a run and return it; it is durable on return and a worker takes it up.

        Raises
        ------
        InvalidRequest : a field is wrong
        NotFound : no such strategy or pair
        """
        strategy = await self._reference.strategy(request.strategy_id)
        pair = await self._reference.pair(request.pair_id or strategy.pair_id)
        find_strategy(strategy.kind).validate(strategy.parameters)
        if request.end_ts <= request.start_ts:
            raise InvalidRequest.of("end_date", str(request.end_ts), "an instant after start_date")
        run_id, now = new_id(), self._clock.now_ns()
        configuration = self.configuration(request)
        Execution.of(request.execution).fee_state(pair.instrument, request.start_ts)  # Wrong fees are told now.
        async with self._database.transaction() as connection:
            await connection.execute(
                f"INSERT INTO backtest_runs ({_RUN_COLUMNS}, heartbeat_ts)"
                " VALUES (%s, %s, %s, %s, %s, 0, NULL, NULL, NULL, 0, false, %s, NULL, NULL, 1, %s)",
                (run_id, strategy.strategy_id, pair.instrument.pair_id, PENDING, Jsonb(configuration), now, now),
            )
            await defer_run(connection, run_id)
            run = (await fetch(connection, _SELECT_RUN, (run_id,)))[0]
            stream = await ensure_stream(connection, SERVICE_STREAM)
            event = Event(EventType.BACKTEST_QUEUED, run_id, 1, now, correlation_id or str(run_id), run_data(run))
            await append(connection, stream, [outbox_event(event)])
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
        return await get_results(self._database, strategy_id, after=after, limit=limit)

    async def get_trials(
        self, strategy_id: UUID, *, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the trials of a strategy's sweeps, newest first. NotFound for an unknown strategy."""
        await self._reference.strategy(strategy_id)
        return await list_trials(self._database, strategy_id, after=after, limit=limit)

    async def get_result(self, run_id: UUID) -> RunResult:
        """Return a run's whole result, with its equity curve and fills. NotFound until the run has completed."""
        query = "SELECT folder FROM backtest_results WHERE run_id = %s"
        row = await self._database.fetch_one(query, (run_id,))
        if row is None:
            await self.get_run(run_id)
            raise NotFound.of("completed backtest run", "run_id", str(run_id))
        return await asyncio.to_thread(RunResult.read, Path(row["folder"]))

    async def explain_order(self, run_id: UUID, order_id: int) -> Story:
        """Return the whole story of an order of a completed run, which is done again up to the order's end.

        Raises
        ------
        NotFound : no such run or order
        DataError : the recorded market is not the one that was run on
        """
        run = await self.get_run(run_id)
        result = await self.get_result(run_id)
        strategy = await self._reference.strategy(UUID(run["strategy_id"]))
        instrument = (await self._reference.pair(UUID(run["pair_id"]))).instrument
        row = await self._database.fetch_one(_SELECT_RUN, (run_id,))
        assert row is not None
        known = result.reproducibility
        config = run_config(row, strategy, instrument)
        # As they were then: the strategy may have changed since.
        config = replace(config, parameters=known["configuration"]["parameters"])
        return await asyncio.to_thread(explain_run, self.lake, config, known["data_hash"], order_id)

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
        InvalidRequest : no id, or one twice
        NotFound : no such run, or it has not completed
        DataError : the market of a run is needed for `fragility` and is not there any more
        """
        if not run_ids or len(set(run_ids)) < len(run_ids):
            given = [str(run_id) for run_id in run_ids]
            raise InvalidRequest.of("run_ids", given, "at least one id of a completed run, each once")
        stored = [await self._stored(run_id) for run_id in run_ids]
        return await asyncio.to_thread(analyse_runs, stored, self.lake, with_fragility=fragility, note=note)

    async def get_report(
        self, run_ids: Sequence[UUID], *, fragility: bool = False, note: Note | None = None
    ) -> dict[str, Any]:
        """Return what the report page shows of completed runs, as JSON values; arguments as `analyze_backtest_results`."""
        analyses = await self.analyze_backtest_results(run_ids, fragility=fragility, note=note)
        return await asyncio.to_thread(analyses.report_data, self._clock.now_ns())

    async def _stored(self, run_id: UUID) -> StoredRun:
        """Return a completed run with the trials of its kind of strategy."""
        result = await self.get_result(run_id)
        row = await self._database.fetch_one(_SELECT_RUN, (run_id,))
        assert row is not None
        strategy = await self._reference.strategy(row["strategy_id"])
        instrument = (await self._reference.pair(row["pair_id"])).instrument
        parameters = result.reproducibility["configuration"]["parameters"]
        return StoredRun(
            run_id=str(run_id),
            strategy=strategy.name,
            # As they were then: the strategy may have changed since.
            config=replace(run_config(row, strategy, instrument), parameters=parameters),
            result=result,
            trials=await trial_statistics(self._database, strategy.kind, parameters),
            surface=await surface(self._database, strategy.strategy_id, parameters),
        )

    def configuration(self, request: RunRequest) -> dict[str, Any]:
        """Return how a run is done: what the request says and, for the rest, the settings. InvalidRequest names a field."""
        settings = self.settings
        entry = settings.execution_delay if request.entry_latency_ns is None else request.entry_latency_ns
        response = entry if request.response_latency_ns is None else request.response_latency_ns
        if request.fill_model not in FillModel.__members__:
            raise InvalidRequest.of("fill_model", request.fill_model, ", ".join(FillModel.__members__))
        balance = settings.default_balance.amount if request.balance is None else request.balance
        for field, latency in (("entry_latency", entry), ("response_latency", response)):
            if not 0 <= latency <= LATENCY_MAX_NS:
                raise InvalidRequest.of(field, format_duration(latency), f"0 to {format_duration(LATENCY_MAX_NS)}")
        if not (balance.is_finite() and 0 < balance < Decimal(10) ** 15):
            raise InvalidRequest.of("balance", str(balance), "a positive amount below 1e15")
        conditions = MarketConditions.of(request.market_conditions)
        return {
            "start_ts": str(request.start_ts),
            "end_ts": str(request.end_ts),
            "entry_latency_ns": entry,
            "response_latency_ns": response,
            "balance": str(balance),
            "fill_model": request.fill_model,
            "sample_interval_ns": settings.market_update_interval,
            "seed": request.seed,
            "allow_gaps": request.allow_gaps,
            "execution": Execution.of(request.execution).to_json(),
            "band": request.band,
            "record_orders": request.record_orders,
        } | ({} if conditions is None else {"market_conditions": conditions.to_json()})


_SELECT_RUN = f"SELECT {_RUN_COLUMNS} FROM backtest_runs WHERE run_id = %s"


def run_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return a run as JSON values."""
    configuration = dict(row["configuration"])
    for key in ("entry_latency_ns", "response_latency_ns", "sample_interval_ns"):
        configuration[key.removesuffix("_ns")] = format_duration(configuration.pop(key))

    def text(key: str) -> str | None:
        return None if row[key] is None else str(row[key])

    return {
        "run_id": str(row["run_id"]),
        "strategy_id": str(row["strategy_id"]),
        "pair_id": str(row["pair_id"]),
        "status": row["status"],
        "progress_percent": round(100 * row["progress"], 1),
        "events_per_second": row["events_per_second"],
        "eta_seconds": row["eta_seconds"],
        "error": row["error"],
        "attempts": row["attempts"],
        "cancel_requested": row["cancel_requested"],
        "configuration": configuration,
        "created_ts": text("created_ts"),
        "started_ts": text("started_ts"),
        "finished_ts": text("finished_ts"),
        "report": report_path(row["run_id"]) if row["status"] == COMPLETED else None,
        "version": row["version"],
    }
