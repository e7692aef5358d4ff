"""Trials of sweeps: kept for good as chunks end, found again by key, counted by family of strategies.

A trial is a summary with its profits by period, not a result: its columns are had by running its parameters alone. Nothing here deletes: how many
sets were tried is what makes the best one's figure readable.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.evaluation import evaluation_of
from market_maker.backtest.result import RunResult
from market_maker.backtest.sweep import CHUNK, ChunkPool, SweepProgress, Trial, sweep, trial_key
from market_maker.domain.ids import new_id
from market_maker.market_data.replay import Feed
from market_maker.storage.database import Connection, Database, page
from market_maker.strategies.contract import PreparedStrategy

TRIAL_COLUMNS = (
    "trial_id, sweep_id, number, trial_key, strategy_id, pair_id, kind, parameters, configuration, summary, digest,"
    " seed, created_ts"
)
_INSERT = (
    f"INSERT INTO backtest_trials ({TRIAL_COLUMNS}, profits)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
TrialRow = tuple[object, ...]
"""The values of one row, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep before it runs: `configs`, prepared `strategies` and `keys` by number, all of one length."""

    sweep_id: UUID
    strategy_id: UUID
    feed: Feed
    configs: Sequence[RunConfig]
    strategies: Sequence[PreparedStrategy]
    keys: Sequence[str]

    @classmethod
    def of(
        cls, strategy_id: UUID, feed: Feed, configs: Sequence[RunConfig], strategies: Sequence[PreparedStrategy]
    ) -> Plan:
        """Return the plan with an id of its own and the key of every configuration (some 30 microseconds each)."""
        keys = [trial_key(config, feed) for config in configs]
        return cls(new_id(), strategy_id, feed, configs, strategies, keys)


def run_plan(
    plan: Plan,
    known: Collection[str] = (),
    *,
    threads: int | None = None,
    chunk: int = CHUNK,
    pool: ChunkPool | None = None,
) -> Generator[tuple[list[Trial], SweepProgress], None, None]:
    """Run what is not `known` and yield the trials of each finished chunk, numbered as in the plan, to be saved at once.

    `threads`, `chunk`, `pool`: as of `sweep`.
    """
    numbers = [number for number, key in enumerate(plan.keys) if key not in known]
    steps: list[SweepProgress] = []
    trials = sweep(
        [plan.configs[number] for number in numbers], plan.feed, steps.append,
        strategies=[plan.strategies[number] for number in numbers], threads=threads, chunk=chunk,
        pool=pool,
    )  # fmt: skip
    yielded, part = 0, list[Trial]()
    try:
        for trial in trials:
            part.append(replace(trial, number=numbers[trial.number]))
            if yielded + len(part) == steps[-1].done:
                yielded += len(part)
                yield part, steps[-1]
                part = []
    finally:
        trials.close()  # type: ignore[attr-defined]  # (`sweep` is a generator; closing it stops its threads)


async def save_trials(database: Database, plan: Plan, trials: Sequence[Trial], ts: int) -> int:
    """Save trials in one transaction and return how many were new; a trial that is kept already is left as it is."""
    async with database.transaction() as connection:
        return await insert_trials(connection, trial_rows(plan, trials, ts))


def trial_rows(plan: Plan, trials: Sequence[Trial], ts: int) -> list[TrialRow]:
    """Return trials as `insert_trials` takes them; costs about a millisecond for each."""
    rows = [_row(plan, trial, ts) for trial in trials]
    # In the order of the unique key, so that two sweeps of the same sets wait for each other and never both.
    rows.sort(key=lambda row: str(row[3]))
    return rows


async def insert_trials(connection: Connection, rows: Sequence[TrialRow]) -> int:
    """Insert trials into the caller's transaction and return how many were new."""
    async with connection.cursor() as cursor:
        await cursor.executemany(_INSERT, rows)
        return int(cursor.rowcount)


async def known_keys(database: Database, strategy_id: UUID, keys: Sequence[str]) -> set[str]:
    """Return those of `keys` whose trials of this strategy are kept."""
    query = "SELECT trial_key FROM backtest_trials WHERE strategy_id = %s AND trial_key = ANY(%s)"
    return {row["trial_key"] for row in await database.fetch(query, (strategy_id, list(keys)))}


async def best_trials(database: Database, strategy_id: UUID, keys: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Return the trials of these keys with the highest net P&L, best first."""
    query = f"""
        SELECT {TRIAL_COLUMNS} FROM backtest_trials WHERE strategy_id = %s AND trial_key = ANY(%s)
        ORDER BY net_pnl DESC, trial_id LIMIT %s
    """
    return [trial_data(row) for row in await database.fetch(query, (strategy_id, list(keys), limit))]


async def list_trials(
    database: Database, strategy_id: UUID, *, after: UUID | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the trials of a strategy as JSON values, newest first."""
    query = f"""
        SELECT {TRIAL_COLUMNS} FROM backtest_trials
        WHERE strategy_id = %(strategy_id)s AND trial_id < %(before)s ORDER BY trial_id DESC LIMIT %(limit)s
    """
    rows = await database.fetch(query, {"strategy_id": strategy_id, **page(after, limit)})
    return [trial_data(row) for row in rows]


async def count_trials(database: Database, kind: str, strategy_id: UUID | None = None) -> int:
    """Return how many different trials of a kind of strategy are kept, of one strategy or of all."""
    query = """
        SELECT count(DISTINCT trial_key) AS trials FROM backtest_trials
        WHERE kind = %(kind)s AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
    """
    row = await database.fetch_one(query, {"kind": kind, "strategy_id": strategy_id})
    return 0 if row is None else int(row["trials"])


def trial_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `TRIAL_COLUMNS` as JSON values."""
    texts = {name: str(row[name]) for name in ("trial_id", "sweep_id", "strategy_id", "pair_id", "created_ts")}
    return row | texts


def _row(plan: Plan, trial: Trial, ts: int) -> TrialRow:
    config, known = plan.configs[trial.number], trial.result.reproducibility
    configuration = dict(known["configuration"])
    parameters = configuration.pop("parameters")
    configuration |= {name: known[name] for name in ("data_hash", "coverage", "code_version", "kernel_key")}
    # The columns of a trial that ran on a cluster stayed there.
    found = trial.result
    profits = evaluation_of(config, plan.feed, found).profits.tolist() if isinstance(found, RunResult) else None
    return (
        new_id(), plan.sweep_id, trial.number, plan.keys[trial.number], plan.strategy_id, config.instrument.pair_id,
        config.strategy_kind, Jsonb(parameters), Jsonb(configuration), Jsonb(trial.result.summary.to_json()),
        trial.result.digest(), config.seed, ts, profits,
    )  # fmt: skip
