"""The table of trials as the memory of a search: each run is kept as its chunk ends, and never run again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.optimisation import Finished, Kept
from market_maker.backtest.sweep import Trial
from market_maker.backtest.trials import Plan, save_trials
from market_maker.domain.clock import Clock
from market_maker.domain.ids import new_id
from market_maker.market_data.replay import Feed
from market_maker.storage.database import Database
from market_maker.strategies.contract import PreparedStrategy

_RECALL = """
    SELECT trial_key, summary ->> 'net_pnl' AS net_pnl, summary ->> 'turnover' AS turnover, (summary ->> 'fills')::int AS fills,
        profits
    FROM backtest_trials WHERE strategy_id = %s AND trial_key = ANY(%s) AND profits IS NOT NULL
"""
# A trial that ran on a cluster has no profits yet; those of another result must not be put beside it.
_KEEP = """
    UPDATE backtest_trials SET profits = %s WHERE strategy_id = %s AND trial_key = %s AND digest = %s AND profits IS NULL
"""


class TrialMemory:
    """What is kept of one strategy's trials over one feed.

    Parameters
    ----------
    call : runs a coroutine to its end from the thread of the search
    """

    def __init__(
        self,
        database: Database,
        strategy_id: UUID,
        feed: Feed,
        clock: Clock,
        call: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        self._database, self._clock, self._call = database, clock, call
        self._configs: list[RunConfig] = []
        self._strategies: list[PreparedStrategy] = []
        self._keys: list[str] = []
        # It grows with the search: trials are numbered through.
        self._plan = Plan(new_id(), strategy_id, feed, self._configs, self._strategies, self._keys)
        self.sweep_id = self._plan.sweep_id
        self.recalled = 0

    def recall(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """Return what is kept of runs, by key."""
        rows = self._call(self._database.fetch(_RECALL, (self._plan.strategy_id, list(keys))))
        self.recalled += len(rows)
        return {
            row["trial_key"]: Kept(
                Decimal(row["net_pnl"]),
                Decimal(row["turnover"]),
                row["fills"],
                np.array(row["profits"], np.int64),
            )
            for row in rows
        }

    def keep(self, finished: Sequence[Finished]) -> None:
        """Keep runs in the table of trials, then their profits; a kill between both costs a second run."""
        trials = []
        for each in finished:
            trials.append(Trial(len(self._keys), each.result))
            self._configs.append(each.config)
            self._strategies.append(each.strategy)
            self._keys.append(each.key)
        self._call(save_trials(self._database, self._plan, trials, self._clock.now_ns()))
        self._call(self._keep_profits(finished))

    async def _keep_profits(self, finished: Sequence[Finished]) -> None:
        rows = [
            (each.profits_half_tick_lots.tolist(), self._plan.strategy_id, each.key, each.result.digest())
            for each in sorted(finished, key=lambda each: each.key)
        ]
        async with self._database.transaction() as connection, connection.cursor() as cursor:
            await cursor.executemany(_KEEP, rows)
