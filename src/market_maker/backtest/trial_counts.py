"""What the kept trials say about one run: how many were tried, how far apart they are, and how profit lies over parameters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb

from market_maker.performance.backtest_overfitting import BLOCKS, Overfitting, probability_of_overfitting
from market_maker.performance.trial_statistics import TrialStatistics
from market_maker.storage.database import Database

SURFACE_MAX = 5_000
"""Trials of a surface at most; of a larger sweep the first so many by number."""
OVERFITTING_MAX = 2_000
"""Trials among which overfitting is measured at most."""
# A search over folds has trials of many ranges, which do not compare: those of its most frequent one are told.
_OF_ONE_SPAN = """
    WITH trial AS (
        SELECT *, configuration ->> 'start_ts' AS first, configuration ->> 'end_ts' AS last
        FROM backtest_trials WHERE sweep_id = %s
    ), span AS (SELECT first, last FROM trial GROUP BY first, last ORDER BY count(*) DESC, first, last LIMIT 1)
"""
_SELECT_SURFACE = f"""
    {_OF_ONE_SPAN}
    SELECT parameters, summary ->> 'net_pnl' AS net_pnl, (summary -> 'sharpe' ->> 'ratio')::double precision AS ratio,
        count(*) OVER () AS trials
    FROM trial JOIN span USING (first, last) ORDER BY number LIMIT %s
"""
_SELECT_PROFITS = f"""
    {_OF_ONE_SPAN}
    SELECT profits FROM trial JOIN span USING (first, last) WHERE profits IS NOT NULL ORDER BY number LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class SurfacePoint:
    """One trial: the values of the swept parameters in the order of `names`, and its figures; money is decimal text."""

    values: tuple[float, ...]
    net_pnl: str
    sharpe: float | None


@dataclass(frozen=True, slots=True)
class Surface:
    """The trials of the newest sweep of a strategy over two or more parameters.

    Parameters
    ----------
    sweep_id : of the sweep
    names : the parameters that differ between its trials
    own : their values in the run; None where the run has one that is no number
    trials : how many the sweep has over that range
    points : as many as are told
    """

    sweep_id: str
    names: tuple[str, ...]
    own: tuple[float | None, ...]
    trials: int
    points: tuple[SurfacePoint, ...]


async def trial_statistics(database: Database, kind: str, parameters: Mapping[str, Any]) -> TrialStatistics:
    """Return how many different trials of a kind of strategy are kept, the run itself counted once, and how far apart their ratios are.

    Parameters
    ----------
    kind, parameters : of the run; parameters that a trial had as well came out of a search

    Notes
    -----
    A trial without a Sharpe ratio counts as one of 0: it was tried, and it earned nothing. Overfitting is that of the newest
    search which tried these parameters, over its most frequent range; None where its profits by period are not kept.
    """
    query = """
        SELECT count(*) AS trials, coalesce(bool_or(is_own), false) AS was_searched,
            coalesce(stddev_samp(ratio), 0) AS deviation
        FROM (
            SELECT DISTINCT ON (trial_key) parameters = %(parameters)s AS is_own,
                coalesce((summary -> 'sharpe' ->> 'ratio')::double precision, 0) AS ratio
            FROM backtest_trials WHERE kind = %(kind)s ORDER BY trial_key
        ) AS tried
    """
    row = await database.fetch_one(query, {"kind": kind, "parameters": Jsonb(dict(parameters))})
    assert row is not None
    was_searched = bool(row["was_searched"])
    count = int(row["trials"]) + (0 if was_searched else 1)
    overfitting = await _overfitting(database, kind, parameters) if was_searched else None
    return TrialStatistics(count, float(row["deviation"]), overfitting=overfitting, was_searched=was_searched)


async def _overfitting(database: Database, kind: str, parameters: Mapping[str, Any]) -> Overfitting | None:
    own = await database.fetch_one(
        "SELECT sweep_id FROM backtest_trials WHERE kind = %s AND parameters = %s ORDER BY trial_id DESC LIMIT 1",
        (kind, Jsonb(dict(parameters))),
    )
    if own is None:
        return None
    rows = await database.fetch(_SELECT_PROFITS, (own["sweep_id"], OVERFITTING_MAX))
    periods = {len(row["profits"]) for row in rows}
    if len(rows) < 2 or len(periods) > 1 or periods.pop() < 2 * BLOCKS:
        return None
    profits = np.array([row["profits"] for row in rows], np.float64)
    return await asyncio.to_thread(probability_of_overfitting, profits, axes=("trial", "period"))


async def surface(database: Database, strategy_id: UUID, parameters: Mapping[str, Any]) -> Surface | None:
    """Return the newest sweep of a strategy as a surface; None without a sweep over two or more numbers.

    `parameters` : of the run, to be marked on it
    """
    newest = await database.fetch_one(
        "SELECT sweep_id FROM backtest_trials WHERE strategy_id = %s ORDER BY trial_id DESC LIMIT 1", (strategy_id,)
    )
    if newest is None:
        return None
    rows = await database.fetch(_SELECT_SURFACE, (newest["sweep_id"], SURFACE_MAX))
    names = swept_names([row["parameters"] for row in rows])
    if len(names) < 2:
        return None
    return Surface(
        sweep_id=str(newest["sweep_id"]),
        names=names,
        own=tuple(_number(parameters.get(name)) for name in names),
        trials=int(rows[0]["trials"]),
        points=tuple(
            SurfacePoint(tuple(float(row["parameters"][name]) for name in names), row["net_pnl"], row["ratio"])
            for row in rows
        ),
    )


def swept_names(sets: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of numbers that differ between sets of parameters, in the order of their names."""
    if not sets:
        return ()
    return tuple(
        name
        for name in sorted(sets[0])
        if all(_is_number(each.get(name)) for each in sets) and len({each[name] for each in sets}) > 1
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_number(value: object) -> bool:
    return _number(value) is not None
