"""The worker: takes runs and sweeps from the queue, replays, and writes result, position and news in one transaction.

A worker killed in mid-run is found by its heartbeat: the job goes back into the queue and the run begins again,
three times at most, then it is FAILED (interrupted). No run stays RUNNING for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import procrastinate
import structlog
from procrastinate.exceptions import ConnectorException

from market_maker.backtest.compiling import compile_here
from market_maker.backtest.configuration import pair_ids_of, run_configs
from market_maker.backtest.engine import RunConfig, RunProgress, backtest
from market_maker.backtest.pace import Pace
from market_maker.backtest.result import RunResult
from market_maker.backtest.service import run_data
from market_maker.backtest.several_run import SeveralRun, backtest_several
from market_maker.backtest.storage import CANCELED, COMPLETED, FAILED, PENDING, RUNNING, save_result, tell
from market_maker.backtest.sweep_work import SweepWork
from market_maker.domain.clock import Clock
from market_maker.domain.errors import MarketMakerError, Unavailable
from market_maker.domain.events import EventType
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import NS_PER_SECOND
from market_maker.monitoring.logs import bind_correlation, reset_correlation
from market_maker.monitoring.tracing import span
from market_maker.storage.database import Connection, Database, fetch
from market_maker.storage.jobs import QUEUE, SWEEP_TASK, TASK, defer_run, has_work
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData, Strategy
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import find_strategy, strategy_names

HEARTBEAT_S = 2.0
STALLED_S = 8.0
ALIVE_S = 5.0
MAX_ATTEMPTS = 3
_log = structlog.get_logger("backtest")


_SELECT_ORPHANS = """
    SELECT run_id FROM backtest_runs AS r
    WHERE status IN ('PENDING', 'RUNNING') AND heartbeat_ts < %s AND NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS j
        WHERE j.status IN ('todo', 'doing') AND j.args ->> 'run_id' = r.run_id::text
    )
    FOR UPDATE SKIP LOCKED
"""


class RunCanceled(Exception):
    """The user asked for the run to stop."""


class Worker:
    """Runs queued backtests and sweeps, one at a time.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    results : folder under which each run writes its columns
    sweep_threads : with which a sweep is done; None: one for each processor
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        lake: Lake,
        clock: Clock,
        results: Path,
        *,
        sweep_threads: int | None = None,
    ) -> None:
        self._database = database
        self._reference = reference
        self._lake = lake
        self._clock = clock
        self._results = results
        self._app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=database.dsn, min_size=1, max_size=4)
        )
        self._sweeps = SweepWork(database, reference, lake, clock, sweep_threads)
        self._has_idled = False
        self._app.task(name=TASK, queue=QUEUE, pass_context=False)(self._run_job)
        self._app.task(name=SWEEP_TASK, queue=QUEUE, pass_context=False)(self._sweep_job)

    async def serve(self, *, parent_pid: int | None = None, idle_s: float | None = None) -> None:
        """Work until told to stop; with `parent_pid`, until that process is gone; until nothing was to do for `idle_s`."""
        while not self._has_idled:
            try:
                async with self._app.open_async():
                    helpers = [asyncio.create_task(self._rescue_stalled())]
                    warming = asyncio.create_task(asyncio.to_thread(warm_up))
                    worker = asyncio.create_task(self._work())
                    if parent_pid is not None:
                        helpers.append(asyncio.create_task(_leave_with(parent_pid)))
                    if idle_s is not None:
                        helpers.append(asyncio.create_task(self._idle(idle_s)))
                    try:
                        await asyncio.wait([worker, *helpers], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for task in (worker, warming, *helpers):
                            task.cancel()
                        await asyncio.gather(worker, *helpers, return_exceptions=True)
                if parent_pid is not None and os.getppid() != parent_pid:
                    return
            except ConnectorException as error:
                _log.warning("the job queue cannot be reached", reason=str(error))
            await asyncio.sleep(1.0)

    async def _idle(self, idle_s: float) -> None:
        """Return when there was nothing to do for so long; a job that comes at that moment is the next worker's."""
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < idle_s:
            await asyncio.sleep(min(1.0, idle_s))
            with contextlib.suppress(Unavailable):
                if await has_work(self._database):
                    idle_since = time.monotonic()
        self._has_idled = True

    async def run_now(self, run_id: UUID) -> None:
        """Do one run in this process, whatever the queue says; its job then finds nothing to do."""
        await self._run_job(str(run_id))

    async def _sweep_job(self, sweep_id: str) -> None:
        await self._reference.refresh_pairs()
        await self._sweeps.run(UUID(sweep_id))

    async def _work(self) -> None:
        await self._app.run_worker_async(
            queues=[QUEUE],
            concurrency=1,
            install_signal_handlers=False,
            fetch_job_polling_interval=1.0,
            update_heartbeat_interval=HEARTBEAT_S,
            stalled_worker_timeout=STALLED_S,
            delete_jobs="successful",
        )

    async def _rescue_stalled(self) -> None:
        """Put the jobs of dead workers back into the queue, for ever."""
        while True:
            jobs = await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_S)
            for job in jobs:
                _log.warning("a worker died in mid-run; the run begins again", job=job.id)
                await self._app.job_manager.retry_job(job)
            with contextlib.suppress(Unavailable):
                await self._queue_orphans()
            await asyncio.sleep(HEARTBEAT_S)

    async def _queue_orphans(self) -> None:
        """Give every open run or sweep that no job leads to, and that shows no life, a job of its own."""
        before_ts = self._clock.now_ns() - int(STALLED_S * NS_PER_SECOND)
        async with self._database.transaction() as connection:
            rows = await fetch(connection, _SELECT_ORPHANS, (before_ts,))
            for row in rows:
                await defer_run(connection, row["run_id"])
            await self._sweeps.queue_orphans(connection, before_ts)

    # ------------------------------------------------------------------ one run

    async def _run_job(self, run_id: str) -> None:
        token = bind_correlation(run_id)
        try:
            with span("backtest", {"correlation_id": run_id}):
                await self._do_run(run_id)
        finally:
            reset_correlation(token)

    async def _do_run(self, run_id: str) -> None:
        run = await self._begin(UUID(run_id))
        if run is None:
            return
        started = time.perf_counter()
        try:
            strategy = await self._reference.strategy(run["strategy_id"])
            await self._reference.refresh_pairs()
            instruments = [(await self._reference.pair(pair_id)).instrument for pair_id in pair_ids_of(run)]
            pace = Pace()
            result = await self._replay(run, run_configs(run, strategy, instruments), pace)
            rate = pace.events_per_second or result.reproducibility["events"] / (time.perf_counter() - started)
            await self._complete(run, strategy, instruments, result, rate)
        except RunCanceled:
            await self._end(run, CANCELED, "canceled by the user", EventType.BACKTEST_CANCELED)
        except Unavailable:
            raise
        except MarketMakerError as error:
            await self._end(run, FAILED, error.detail, EventType.BACKTEST_FAILED)
        except Exception as error:  # noqa: BLE001  (told to the user as the run's error, and logged whole)
            _log.exception("run failed", run_id=run_id)
            await self._end(run, FAILED, f"internal fault: {type(error).__name__}: {error}", EventType.BACKTEST_FAILED)

    async def _begin(self, run_id: UUID) -> dict[str, Any] | None:
        """Set a run RUNNING and return it; None when there is nothing to do any more, or another worker is at it."""
        ending = None
        async with self._database.transaction() as connection:
            rows = await fetch(connection, "SELECT * FROM backtest_runs WHERE run_id = %s FOR UPDATE", (run_id,))
            if not rows or rows[0]["status"] not in (PENDING, RUNNING):
                return None
            run, now = rows[0], self._clock.now_ns()
            if run["status"] == RUNNING and now - run["heartbeat_ts"] < ALIVE_S * NS_PER_SECOND:
                return None
            if run["cancel_requested"]:
                ending = (CANCELED, "canceled by the user", EventType.BACKTEST_CANCELED)
            elif run["attempts"] >= MAX_ATTEMPTS:
                text = f"interrupted: its worker died {MAX_ATTEMPTS} times"
                ending = (FAILED, text, EventType.BACKTEST_FAILED)
            else:
                rows = await fetch(
                    connection,
                    "UPDATE backtest_runs SET status = %s, attempts = attempts + 1, started_ts = %s, heartbeat_ts = %s,"
                    " progress = 0, version = version + 1 WHERE run_id = %s RETURNING *",
                    (RUNNING, now, now, run_id),
                )
                await self._tell(connection, rows[0], EventType.BACKTEST_STARTED)
                return rows[0]
        await self._end(run, *ending)
        return None

    async def _replay(self, run: dict[str, Any], configs: Sequence[RunConfig], pace: Pace) -> RunResult | SeveralRun:
        """Replay in a thread while this one writes progress and watches for a wish to cancel."""
        canceled = False

        def note(progress: RunProgress) -> None:
            pace.note(progress, time.perf_counter())
            if canceled:
                raise RunCanceled

        def replay() -> RunResult | SeveralRun:
            several = len(configs) > 1
            return backtest_several(configs, self._lake, note) if several else backtest(configs[0], self._lake, note)

        work = asyncio.create_task(asyncio.to_thread(replay))
        while True:
            done, _ = await asyncio.wait([work], timeout=0.5)
            if done:
                return work.result()
            canceled = await self._note_progress(run, pace) or canceled

    async def _note_progress(self, run: dict[str, Any], pace: Pace) -> bool:
        """Write how far a run is; return whether the user wants it to stop."""
        left = pace.left_s(time.perf_counter())
        with contextlib.suppress(Unavailable):
            async with self._database.transaction() as connection:
                rows = await fetch(
                    connection,
                    "UPDATE backtest_runs SET progress = %s, events_per_second = %s, eta_seconds = %s, heartbeat_ts = %s,"
                    " version = version + 1 WHERE run_id = %s AND status = 'RUNNING' AND attempts = %s RETURNING *",
                    (pace.share, pace.events_per_second, left, self._clock.now_ns(), run["run_id"], run["attempts"]),
                )
                if not rows:
                    return True  # this worker was taken for dead
                await self._tell(connection, rows[0], EventType.BACKTEST_PROGRESS)
                return bool(rows[0]["cancel_requested"])
        return False

    async def _complete(
        self,
        run: dict[str, Any],
        strategy: Strategy,
        instruments: Sequence[Instrument],
        result: RunResult | SeveralRun,
        events_per_second: float,
    ) -> None:
        folder = self._results / str(run["run_id"])
        now = self._clock.now_ns()
        async with self._database.transaction() as connection:
            rows = await fetch(
                connection,
                "UPDATE backtest_runs SET status = %s, progress = 1, eta_seconds = 0, finished_ts = %s, heartbeat_ts = %s,"
                " events_per_second = %s, version = version + 1"
                " WHERE run_id = %s AND status = 'RUNNING' AND attempts = %s RETURNING *",
                (
                    COMPLETED,
                    now,
                    now,
                    events_per_second,
                    run["run_id"],
                    run["attempts"],
                ),
            )
            if not rows:
                return  # this worker was taken for dead and another one has done the run
            content = await save_result(connection, run, result, folder, now)
            legs = result.legs if isinstance(result, SeveralRun) else (result,)
            position_ids = [
                str(await self._save_position(connection, strategy, instrument, leg, now))
                for instrument, leg in zip(instruments, legs, strict=True)
            ]
            extra = {
                "summary": content["summary"],
                "digest": result.digest(),
                "coverage": content["reproducibility"]["coverage"],
                "events": result.reproducibility["events"],
                "quote": instruments[0].settled_in,
                "position_id": position_ids[0],
                "position_ids": position_ids,
                "result": f"/api/v1/backtest/runs/{run['run_id']}/result",
            }
            await self._tell(connection, rows[0], EventType.BACKTEST_COMPLETED, extra)

    async def _save_position(
        self, connection: Connection, strategy: Strategy, instrument: Instrument, result: RunResult, now: int
    ) -> UUID:
        """Save what the run ended with as the strategy's virtual position in the account of backtests."""
        final = result.final_position()
        rows = await fetch(
            connection,
            "INSERT INTO positions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1)"
            " ON CONFLICT (account_id, pair_id, strategy_id) DO UPDATE SET qty_lots = excluded.qty_lots,"
            " cost_tick_lots = excluded.cost_tick_lots, realised_tick_lots = excluded.realised_tick_lots,"
            " fees_tick_lots = excluded.fees_tick_lots, cash_tick_lots = excluded.cash_tick_lots,"
            " volume_tick_lots = excluded.volume_tick_lots, updated_ts = excluded.updated_ts, version = positions.version + 1"
            " RETURNING position_id",
            (
                new_id(),
                instrument.pair_id,
                BACKTEST_ACCOUNT_ID,
                strategy.strategy_id,
                final.qty_lots,
                final.cost_tick_lots,
                final.realised_tick_lots,
                final.fees_tick_lots,
                final.cash_tick_lots,
                final.volume_tick_lots,
                now,
            ),
        )
        position_id: UUID = rows[0]["position_id"]
        return position_id

    async def _end(self, run: dict[str, Any], status: str, error: str, kind: EventType) -> None:
        now = self._clock.now_ns()
        async with self._database.transaction() as connection:
            rows = await fetch(
                connection,
                "UPDATE backtest_runs SET status = %s, error = %s, finished_ts = %s, version = version + 1"
                " WHERE run_id = %s AND status IN ('PENDING', 'RUNNING') AND attempts = %s RETURNING *",
                (status, error, now, run["run_id"], run["attempts"]),
            )
            if rows:
                await self._tell(connection, rows[0], kind)

    async def _tell(
        self, connection: Connection, run: dict[str, Any], kind: EventType, extra: dict[str, Any] | None = None
    ) -> None:
        data = {**run_data(run), **(extra or {})}
        await tell(connection, kind, (run["run_id"], run["version"]), self._clock.now_ns(), data)


def warm_up() -> None:
    """Compile the kernel and the shipped strategies, or read them from the cache; takes up to 20 s in an empty one."""
    compile_here()
    for name in strategy_names():
        compiled(find_strategy(name).prepare({}))


async def _leave_with(parent_pid: int) -> None:
    """Return when the parent process is gone."""
    while os.getppid() == parent_pid:  # noqa: ASYNC110  (no event tells that a parent is gone)
        await asyncio.sleep(0.5)
