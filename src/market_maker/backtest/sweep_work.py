"""What a worker does with a sweep: plan it, run what is not known, and keep the trials of each chunk with the news of it.

A worker killed in mid-sweep loses the chunks under way and no more: the next attempt leaves out every trial that is kept.
After three attempts in a row that kept nothing the sweep is FAILED (interrupted), so that none stays RUNNING for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

import structlog

from market_maker.backtest.configuration import run_config
from market_maker.backtest.engine import RunConfig
from market_maker.backtest.storage import CANCELED, COMPLETED, FAILED, PENDING, RUNNING, tell
from market_maker.backtest.sweep import CanceledError, Stop, SweepProgress, Threads, Trial
from market_maker.backtest.sweep_plan import plan_sweep
from market_maker.backtest.sweep_runs import best_of_sweep, sweep_news
from market_maker.backtest.trials import Plan, insert_trials, known_keys, run_plan, trial_rows
from market_maker.domain.clock import Clock
from market_maker.domain.errors import DataError, MarketMakerError, Unavailable
from market_maker.domain.events import EventType
from market_maker.domain.units import NS_PER_SECOND
from market_maker.storage.database import Connection, Database, fetch
from market_maker.storage.jobs import defer_sweep
from market_maker.storage.lake import Lake
from market_maker.storage.reference import ReferenceData

HEARTBEAT_S = 0.5
ALIVE_S = 8.0
MAX_FRUITLESS = 3
_BY_USER = "canceled by the user"
_log = structlog.get_logger("backtest")
Found = TypeVar("Found")

# Whoever has begun a later attempt owns the sweep: an earlier one changes nothing any more.
_OWNED = "WHERE sweep_id = %(sweep_id)s AND status = 'RUNNING' AND attempts = %(attempts)s"
_BEGIN = """
    UPDATE backtest_sweeps SET status = 'RUNNING', attempts = attempts + 1, fruitless_attempts = fruitless_attempts + 1,
        started_ts = coalesce(started_ts, %(now)s), heartbeat_ts = %(now)s, ran = 0, ran_ns = 0, left_ns = NULL, version = version + 1
    WHERE sweep_id = %(sweep_id)s RETURNING *
"""
_BEAT = f"UPDATE backtest_sweeps SET heartbeat_ts = %(now)s {_OWNED} RETURNING cancel_requested"
_KNOW = f"UPDATE backtest_sweeps SET known = %(known)s, done = %(known)s, heartbeat_ts = %(now)s {_OWNED}"
_KEEP = f"""
    UPDATE backtest_sweeps SET done = %(done)s, ran = %(ran)s, ran_ns = %(ran_ns)s, left_ns = %(left_ns)s, fruitless_attempts = 0,
        heartbeat_ts = %(now)s, version = version + 1 {_OWNED} RETURNING *
"""
_END = """
    UPDATE backtest_sweeps SET status = %(status)s, error = %(error)s, finished_ts = %(now)s, left_ns = NULL, version = version + 1
    WHERE sweep_id = %(sweep_id)s AND status IN ('PENDING', 'RUNNING') AND attempts = %(attempts)s RETURNING *
"""
_INSERT_SETS = """
    INSERT INTO backtest_sweep_sets SELECT %s, place - 1, trial_key FROM unnest(%s::text[]) WITH ORDINALITY AS sets (trial_key, place)
"""
_SELECT_ORPHANS = """
    SELECT sweep_id FROM backtest_sweeps AS s
    WHERE status IN ('PENDING', 'RUNNING') AND heartbeat_ts < %s AND NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS j
        WHERE j.status IN ('todo', 'doing') AND j.args ->> 'sweep_id' = s.sweep_id::text
    )
    FOR UPDATE SKIP LOCKED
"""


class SweepCanceled(Exception):
    """The user asked for the sweep to stop."""


class TakenOver(Exception):
    """Another worker is at the sweep: it took this one for dead."""


class SweepWork:
    """Does sweeps, one at a time.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    threads : of this machine; None: one for each processor
    """

    def __init__(
        self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock, threads: int | None = None
    ) -> None:
        self._database = database
        self._reference = reference
        self._lake = lake
        self._clock = clock
        self._threads = threads

    async def run(self, sweep_id: UUID) -> None:
        """Do a sweep to its end, unless it has ended or another worker is at it."""
        sweep = await self._begin(sweep_id)
        if sweep is None:
            return
        try:
            await self._sweep(sweep)
            await self._end(sweep, COMPLETED, None, EventType.SWEEP_COMPLETED)
        except SweepCanceled:
            await self._end(sweep, CANCELED, _BY_USER, EventType.SWEEP_CANCELED)
        except TakenOver:
            _log.warning("another worker has taken over the sweep", sweep_id=str(sweep_id))
        except Unavailable:
            raise
        except MarketMakerError as error:
            await self._end(sweep, FAILED, error.detail, EventType.SWEEP_FAILED)
        except Exception as error:  # noqa: BLE001  (told to the user as the sweep's error, and logged whole)
            _log.exception("sweep failed", sweep_id=str(sweep_id))
            text = f"internal fault: {type(error).__name__}: {error}"
            await self._end(sweep, FAILED, text, EventType.SWEEP_FAILED)

    async def queue_orphans(self, connection: Connection, before_ts: int) -> None:
        """Give every open sweep that no job leads to, and that showed no life since `before_ts`, a job of its own."""
        for row in await fetch(connection, _SELECT_ORPHANS, (before_ts,)):
            await defer_sweep(connection, row["sweep_id"])

    async def _begin(self, sweep_id: UUID) -> dict[str, Any] | None:
        """Set a sweep RUNNING and return it; None when there is nothing to do any more, or another worker is at it."""
        async with self._database.transaction() as connection:
            rows = await fetch(connection, "SELECT * FROM backtest_sweeps WHERE sweep_id = %s FOR UPDATE", (sweep_id,))
            if not rows or rows[0]["status"] not in (PENDING, RUNNING):
                return None
            sweep, now = rows[0], self._clock.now_ns()
            if sweep["status"] == RUNNING and now - sweep["heartbeat_ts"] < ALIVE_S * NS_PER_SECOND:
                return None
            if not sweep["cancel_requested"] and sweep["fruitless_attempts"] < MAX_FRUITLESS:
                begun = (await fetch(connection, _BEGIN, {"sweep_id": sweep_id, "now": now}))[0]
                await self._tell(connection, begun, EventType.SWEEP_STARTED)
                return begun
        if sweep["cancel_requested"]:
            await self._end(sweep, CANCELED, _BY_USER, EventType.SWEEP_CANCELED)
        else:
            text = f"interrupted: its worker died {MAX_FRUITLESS} times without a finished chunk"
            await self._end(sweep, FAILED, text, EventType.SWEEP_FAILED)
        return None

    async def _sweep(self, sweep: dict[str, Any]) -> None:
        strategy = await self._reference.strategy(sweep["strategy_id"])
        instrument = (await self._reference.pair(sweep["pair_id"])).instrument
        base: RunConfig = run_config(sweep, strategy, instrument)
        stop = Stop()
        opening = asyncio.to_thread(plan_sweep, base, strategy.strategy_id, self._lake, dict(sweep["grid"]))
        plan = replace(await self._watched(sweep, stop, opening), sweep_id=sweep["sweep_id"])
        known = await self._know(sweep, plan)
        parts = run_plan(plan, known, pool=Threads(self._threads, stop))
        started = time.perf_counter()
        try:
            while part := await self._watched(sweep, stop, asyncio.to_thread(next, parts, None)):
                await self._keep(sweep, plan, len(known), part, time.perf_counter() - started)
        finally:
            stop.set()
            with contextlib.suppress(ValueError):  # (told to end while it is at work: it does so by itself)
                await asyncio.to_thread(parts.close)

    async def _know(self, sweep: dict[str, Any], plan: Plan) -> set[str]:
        """Write down the key of each set, and return those whose trials are kept already."""
        sweep_id = sweep["sweep_id"]
        async with self._database.transaction() as connection:
            query = "SELECT trial_key FROM backtest_sweep_sets WHERE sweep_id = %s ORDER BY number"
            before = [row["trial_key"] for row in await fetch(connection, query, (sweep_id,))]
            if not before:
                await connection.execute(_INSERT_SETS, (sweep_id, list(plan.keys)))
            elif before != list(plan.keys):
                raise DataError("the recorded market has changed since the sweep began; ask for the sweep again")
        known = await known_keys(self._database, plan.strategy_id, plan.keys)
        async with self._database.transaction() as connection:
            await connection.execute(_KNOW, self._owner(sweep) | {"known": len(known)})
        return known

    async def _watched(self, sweep: dict[str, Any], stop: Stop, work: Coroutine[Any, Any, Found]) -> Found:
        """Wait for work in a thread, show life meanwhile, and stop it when the user wants that or another worker is at it."""
        task = asyncio.create_task(work)
        ending: Exception | None = None
        try:
            while not (await asyncio.wait([task], timeout=HEARTBEAT_S))[0]:
                ending = ending or await self._beat(sweep)
                if ending is not None:
                    stop.set()
        finally:
            if not task.done():
                stop.set()
        if ending is not None:
            with contextlib.suppress(CanceledError):
                task.result()
            raise ending
        return task.result()

    async def _beat(self, sweep: dict[str, Any]) -> Exception | None:
        """Show that this worker lives, and return why it should stop."""
        try:
            async with self._database.transaction() as connection:
                rows = await fetch(connection, _BEAT, self._owner(sweep))
        except Unavailable:
            return None
        if not rows:
            return TakenOver()
        return SweepCanceled() if rows[0]["cancel_requested"] else None

    async def _keep(
        self, sweep: dict[str, Any], plan: Plan, known: int, part: tuple[list[Trial], SweepProgress], seconds: float
    ) -> None:
        """Keep the trials of a chunk, how far the sweep is, and the news of it, in one transaction."""
        trials, step = part
        rows = await asyncio.to_thread(trial_rows, plan, trials, self._clock.now_ns())
        values = {
            "done": known + step.done,
            "ran": step.done,
            "ran_ns": round(seconds * NS_PER_SECOND),
            "left_ns": None if step.left_s is None else round(step.left_s * NS_PER_SECOND),
        }
        async with self._database.transaction() as connection:
            await insert_trials(connection, rows)
            found = await fetch(connection, _KEEP, self._owner(sweep) | values)
            if found:
                await self._tell(connection, found[0], EventType.SWEEP_PROGRESS)
        if not found:
            raise TakenOver
        if found[0]["cancel_requested"]:
            raise SweepCanceled

    async def _end(self, sweep: dict[str, Any], status: str, error: str | None, kind: EventType) -> None:
        best = await best_of_sweep(self._database, sweep, 1)
        told = ("trial_id", "number", "parameters", "digest")
        extra = {"best": [{name: one[name] for name in told} | {"net_pnl": one["summary"]["net_pnl"]} for one in best]}
        async with self._database.transaction() as connection:
            rows = await fetch(connection, _END, self._owner(sweep) | {"status": status, "error": error})
            if rows:
                await self._tell(connection, rows[0], kind, extra)

    def _owner(self, sweep: dict[str, Any]) -> dict[str, Any]:
        return {"sweep_id": sweep["sweep_id"], "attempts": sweep["attempts"], "now": self._clock.now_ns()}

    async def _tell(
        self, connection: Connection, sweep: dict[str, Any], kind: EventType, extra: dict[str, Any] | None = None
    ) -> None:
        data = sweep_news(sweep) | (extra or {})
        await tell(connection, kind, (sweep["sweep_id"], sweep["version"]), self._clock.now_ns(), data)
