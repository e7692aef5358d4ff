"""StrategyRuns: starts strategies on running markets, stops them, tells how they do, and finds them again after a restart."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import numpy as np
import structlog

from market_maker.domain.errors import Conflict, InvalidRequest, MarketMakerError, NotFound
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, MARKET_ACCOUNT_ID, new_id
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import PairLoop
from market_maker.simulator.service import SimulatorService
from market_maker.simulator.strategy_runs.live import Guard, LiveStrategy
from market_maker.simulator.strategy_runs.state import RUNNING, Progress, Run, run_view
from market_maker.storage import strategy_runs
from market_maker.storage.database import Connection
from market_maker.strategies.contract import PreparedStrategy, find_strategy

RUNS_MAX = 32
"""Strategies that run on one market at a time."""
_log = structlog.get_logger("simulator")


class StrategyRuns:
    """Strategies on the running markets of a simulator.

    Parameters
    ----------
    simulator : whose markets they run on
    guard : what each of their orders must pass before it is accepted; None for nothing
    """

    def __init__(self, simulator: SimulatorService, guard: Guard | None = None) -> None:
        self._simulator = simulator
        self.guard = guard
        simulator.loaders.append(self.load)

    async def start(self, strategy_id: UUID, account_id: UUID | None = None) -> dict[str, Any]:
        """Let a strategy trade for an account on its pair's market from now on; return the run once it is durable.

        Raises
        ------
        NotFound : no such strategy or account
        InvalidRequest : its kind asks for more than one instrument, or cannot be compiled
        Conflict : no market runs for its pair, or it runs for this account already
        """
        simulator, reference = self._simulator, self._simulator.reference
        strategy = await reference.strategy(strategy_id)
        account = await reference.account(account_id or DEFAULT_ACCOUNT_ID)
        if account.account_id == MARKET_ACCOUNT_ID:
            raise NotFound.of("account", "account_id", str(account_id))
        loop = await simulator.running(strategy.pair_id)
        kind = find_strategy(strategy.kind)
        if kind.instruments > 1:
            raise InvalidRequest.of("strategy_id", str(strategy_id), "a strategy of one instrument")
        prepared = kind.prepare(strategy.parameters)
        run = Run(
            run_id=new_id(), strategy_id=strategy_id, account_id=account.account_id, pair_id=strategy.pair_id,
            session_id=new_id(), name=strategy.name, kind=strategy.kind, parameters=dict(prepared.values),
            state=RUNNING, error="", started_ts=0, ended_ts=0, updated_ts=0, sequence=0,
        )  # fmt: skip
        live = await asyncio.to_thread(self._made, run, prepared, None)
        if account.account_id not in simulator.funds:
            simulator.accounts.add(account)

        def begin(exchange: SimulatedExchange, ts: int) -> None:
            if exchange.session.state == "STOPPED":
                raise Conflict("the market has just been stopped; start one by POST /api/v1/simulator/sessions")
            running = [each.run for each in _lives(exchange) if each.run.state == RUNNING]
            if any((each.strategy_id, each.account_id) == (run.strategy_id, run.account_id) for each in running):
                raise Conflict(f"strategy {strategy_id} runs for account {run.account_id} already")
            if len(running) >= RUNS_MAX:
                raise Conflict(f"{RUNS_MAX} strategies run on this market already; stop one first")
            run.session_id, run.started_ts = exchange.session.session_id, ts
            live.begin(exchange)

        await loop.act(begin)
        return run_view(run, loop.instrument)

    async def stop(self, run_id: UUID) -> dict[str, Any]:
        """Stop a run and cancel its orders; return it once that is durable.

        Raises
        ------
        NotFound : no such run
        Conflict : it has ended already
        """
        found = self._running(run_id)
        if found is None:
            stored = await self.get(run_id)
            raise Conflict(f"run {run_id} has ended already: {stored['state']}")
        loop, live = found

        def end(exchange: SimulatedExchange, _: int) -> None:
            if live not in exchange.agents or live.run.state != RUNNING:
                raise Conflict(f"run {run_id} has just ended: {live.run.state}")
            live.stop(exchange)

        await loop.act(end)
        return run_view(live.run, loop.instrument)

    async def get(self, run_id: UUID) -> dict[str, Any]:
        """Return a run as it stands; NotFound when there is none."""
        found = await strategy_runs.get_runs(self._simulator.database, run_id=run_id)
        if not found:
            raise NotFound.of("run of a strategy", "run_id", str(run_id))
        return await self._view(found[0])

    async def find(
        self, *, strategy_id: UUID | None = None, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        rows = await strategy_runs.get_runs(self._simulator.database, strategy_id=strategy_id, after=after, limit=limit)
        return [await self._view(row) for row in rows]

    async def load(self, connection: Connection, exchange: SimulatedExchange) -> None:
        """Let the strategies that ran on a market which was just read back go on, from where they were."""
        for row in await strategy_runs.load_watched(connection, exchange.session.session_id):
            memory = np.frombuffer(bytes(row.pop("memory")), np.float64).copy()
            run = _to_run(row)
            failure = ""
            try:
                prepared = find_strategy(run.kind).prepare(run.parameters)
                if len(memory) != prepared.memory_size:
                    failure = f"strategy {run.name} ({run.kind}) keeps other things than it did before the restart"
                    memory = np.zeros(prepared.memory_size)
                live = await asyncio.to_thread(self._made, run, prepared, memory)
            except MarketMakerError as error:
                failure = f"strategy {run.name} ({run.kind}) could not go on after a restart: {error.detail}"
                live = self._made(run, find_strategy("do_nothing").prepare({}), None)
            live.begin(exchange)
            if failure and run.state == RUNNING:
                live.stop(exchange, failure=failure)
            _log.info("a strategy goes on", run=str(run.run_id), strategy=run.name, failure=failure or None)

    def _made(self, run: Run, prepared: PreparedStrategy, memory: Any) -> LiveStrategy:
        try:
            return LiveStrategy(run, prepared, memory, self.guard)
        except MarketMakerError:
            raise
        except Exception as error:
            raise InvalidRequest.of("strategy_id", run.kind, f"a strategy that can be compiled ({error})") from error

    def _running(self, run_id: UUID) -> tuple[PairLoop, LiveStrategy] | None:
        """Return a run that is at work, and its loop."""
        for loop in self._simulator.loops.values():
            for live in [] if loop.exchange is None else _lives(loop.exchange):
                if live.run.run_id == run_id and live.run.state == RUNNING:
                    return loop, live
        return None

    async def _view(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a stored run, or what has become of it since while it is at work."""
        instrument = (await self._simulator.reference.pair(row["pair_id"])).instrument
        loop = self._simulator.loops.get(row["pair_id"])
        if loop is not None and loop.exchange is not None:
            for live in _lives(await loop.committed()):
                if live.run.run_id == row["run_id"]:
                    return run_view(live.run, instrument)
        return run_view(_to_run(row), instrument)


def _lives(exchange: SimulatedExchange) -> list[LiveStrategy]:
    return [agent for agent in exchange.agents if isinstance(agent, LiveStrategy)]


def _to_run(row: dict[str, Any]) -> Run:
    return Run(**{**row, "progress": Progress.unpacked(row["progress"])})
