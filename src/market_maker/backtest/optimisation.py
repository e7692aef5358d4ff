"""Searching parameters in one part of a recording and judging the choice in another: the search itself, no database.

A searcher proposes sets in batches, `sweep` runs them in shared passes over one feed, and their scores go back to it. What
must outlive the process is handed to a `Memory`, and what that remembers is not run again: an interrupted search goes on.
A batch has a size that depends on nothing but the search, so that the same seed tries the same sets on any machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

import numpy as np

from market_maker.backtest.engine import RunConfig, RunResult
from market_maker.backtest.evaluation import Evaluation, evaluation_of, objective_of, recalled
from market_maker.backtest.folds import Fold, Range
from market_maker.backtest.searchers import Dimension, Point, Searcher, SearchKind, searcher_of
from market_maker.backtest.sweep import CHUNK, SweepProgress, Trial, sweep, trial_key
from market_maker.domain.errors import InvalidRequest
from market_maker.market_data.replay import Feed
from market_maker.performance.backtest_overfitting import Performance, probability_of_overfitting
from market_maker.performance.figures import Float64, Int64
from market_maker.performance.overfitting import Axes
from market_maker.performance.trial_statistics import TrialStatistics, statistics_of_returns
from market_maker.strategies.contract import PreparedStrategy, find_strategy

TRIALS_MAX = 100_000
BATCH_LEARNING = 32
"""Sets of a batch where scores matter for the next one: more share a pass, fewer learn sooner."""
BATCH_BLIND = 2 * CHUNK
BEST = 10


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and how.

    Parameters
    ----------
    dimensions : of the searched parameters; the others are as in the strategy
    trials : sets in each fold, at most
    objective : name of `evaluation.OBJECTIVES`
    seed : of draws and of the estimator; every fold begins with it
    """

    dimensions: tuple[Dimension, ...]
    kind: SearchKind = SearchKind.RANDOM
    trials: int = 200
    objective: str = "net_pnl"
    seed: int = 0

    def searcher(self) -> Searcher:
        """Return a searcher; InvalidRequest or Unavailable as `searcher_of`, or for a number or name out of range."""
        if not 1 <= self.trials <= TRIALS_MAX:
            raise InvalidRequest.of("trials", self.trials, f"1 to {TRIALS_MAX:,}")
        objective_of(self.objective)
        return searcher_of(self.kind, self.dimensions, trials=self.trials, seed=self.seed)

    @property
    def batch(self) -> int:
        """How many sets are asked for at a time."""
        return BATCH_LEARNING if self.kind is SearchKind.BAYES else BATCH_BLIND


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A run that has ended, to be kept: how it was done and what it gave by period."""

    key: str
    config: RunConfig
    strategy: PreparedStrategy
    result: RunResult
    profits_half_tick_lots: Int64


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a memory holds of a run: money in quote currency, profits as of `Evaluation`."""

    net_pnl: Decimal
    turnover: Decimal
    fills: int
    profits_half_tick_lots: Int64


class Memory(Protocol):
    """What outlives a search."""

    def recall(self, keys: Sequence[str]) -> Mapping[str, Kept]:
        """Return what is known of runs, by key."""

    def keep(self, finished: Sequence[Finished]) -> None:
        """Keep runs; called after each chunk."""


class NoMemory:
    """Remembers nothing."""

    def recall(self, keys: Sequence[str]) -> Mapping[str, Kept]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def keep(self, finished: Sequence[Finished]) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True)
class OptimisationProgress:
    """How far a search is over all folds, in runs; `left_s` None before the first one has ended."""

    done: int
    total: int
    fold: int
    folds: int
    best: float | None
    elapsed_s: float
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set with its score in training; None: undefined."""

    parameters: Point
    score: float | None


@dataclass(frozen=True, slots=True, eq=False)
class FoldOutcome:
    """What was chosen in a fold's training part, and how it did there and in the test part.

    Parameters
    ----------
    candidates : the best `BEST` sets of the training part, the chosen one first
    sets : different sets that were tried in training
    train : of the chosen set
    test : of the chosen set; None without a test part
    unchanged : of the strategy's own parameters in the test part
    statistics : of the training returns of all sets
    """

    fold: Fold
    candidates: tuple[Candidate, ...]
    sets: int
    train: Evaluation
    test: Evaluation | None
    unchanged: Evaluation | None
    statistics: TrialStatistics

    @property
    def chosen(self) -> Candidate:
        """The best set."""
        return self.candidates[0]


def optimise(
    base: RunConfig,
    feed: Feed,
    search: Search,
    folds: Sequence[Fold],
    *,
    memory: Memory | None = None,
    progress: Callable[[OptimisationProgress], None] | None = None,
    threads: int | None = None,
) -> list[FoldOutcome]:
    """Search in every fold's training part and run the best set of each, and the strategy's own, on its test part.

    Parameters
    ----------
    base : how runs are done; its parameters hold where the search leaves them
    feed : of the whole recording; every run replays it from its first row, so that the book is right
    folds : of `folds_of`
    memory : None: nothing is remembered
    progress : called after each chunk; an exception that it raises ends the search and is passed on
    threads : None: one for each processor

    Raises
    ------
    InvalidRequest, DataError
        As `Search.searcher` and `engine.run`; the runs that are done have been kept.
    """
    search.searcher()
    bench = _Bench(base, feed, search, folds, memory or NoMemory(), progress, threads)
    return [bench.fold(fold) for fold in folds]


class _Bench:
    """Runs sets, from memory where they are known, and counts how far the whole is."""

    def __init__(
        self,
        base: RunConfig,
        feed: Feed,
        search: Search,
        folds: Sequence[Fold],
        memory: Memory,
        progress: Callable[[OptimisationProgress], None] | None,
        threads: int | None,
    ) -> None:
        self._base, self._feed, self._search, self._memory = base, feed, search, memory
        self._progress = progress
        self._threads = threads or os.cpu_count() or 1
        self._kind = find_strategy(base.strategy_kind)
        self._planned = [search.trials * len(fold.train) + 2 * (fold.test is not None) for fold in folds]
        self._folds, self._place = len(folds), 0
        self._done = self._ran = 0
        self._best: float | None = None
        self._started = time.perf_counter()

    def fold(self, fold: Fold) -> FoldOutcome:
        """Search in the training part and judge in the test part."""
        self._best = None
        tried = self._searched(fold)
        scored = [(point, self._score(found), found) for point, found in tried]
        # The first of equals: chance has no say in what is chosen. An undefined score is behind all.
        ranked = sorted(scored, key=lambda each: (each[1] is None, -(each[1] or 0.0)))
        chosen, _, train = ranked[0]
        test = unchanged = None
        if fold.test is not None:
            test, unchanged = self._evaluate([chosen, {}], (fold.test,))
        self._place += 1
        returns = np.array([found.profits / max(1, found.balance) for _, found in tried])
        return FoldOutcome(
            fold=fold,
            candidates=tuple(Candidate(point, score) for point, score, _ in ranked[:BEST]),
            sets=len(tried),
            train=train,
            test=test,
            unchanged=unchanged,
            statistics=self._statistics(returns, train.periods_per_year),
        )

    def _statistics(self, returns: Float64, periods_per_year: float) -> TrialStatistics:
        """Return the statistics of (sets, periods) returns, overfitting by what chooses here: the mean, or else the ratio."""
        axes: Axes = ("trial", "period")
        found = statistics_of_returns(returns, axes=axes, periods_per_year=periods_per_year)
        if found.overfitting is None or self._search.objective != "net_pnl":
            return found
        return replace(found, overfitting=probability_of_overfitting(returns, axes=axes, performance=Performance.MEAN))

    def _searched(self, fold: Fold) -> list[tuple[Point, Evaluation]]:
        """Return the different sets that were tried in a training part, in their order."""
        searcher, asked = self._search.searcher(), 0
        tried: dict[tuple[int | float, ...], tuple[Point, Evaluation]] = {}
        while asked < self._search.trials:
            points = searcher.ask(min(self._search.batch, self._search.trials - asked))
            if not points:
                break
            asked += len(points)
            found = self._evaluate(points, fold.train)
            scores = [self._score(each) for each in found]
            searcher.tell(scores)
            self._best = max((score for score in (self._best, *scores) if score is not None), default=None)
            for point, each in zip(points, found, strict=True):
                tried.setdefault(tuple(point.values()), (point, each))
        # What is not tried because there is no more of it is not waited for.
        self._planned[self._place] -= (self._search.trials - asked) * len(fold.train)
        return list(tried.values())

    def _score(self, found: Evaluation) -> float | None:
        return objective_of(self._search.objective)(found)

    def _evaluate(self, points: Sequence[Mapping[str, object]], ranges: Sequence[Range]) -> list[Evaluation]:
        """Return what each set gave over all ranges together."""
        base = self._base
        configs = [
            replace(base, parameters={**base.parameters, **point}, start_ts=part.start_ts, end_ts=part.end_ts)
            for point in points
            for part in ranges
        ]
        strategies = [self._kind.prepare(config.parameters) for config in configs]
        keys = [trial_key(config, self._feed) for config in configs]
        found: dict[str, Evaluation] = {}
        kept = self._memory.recall(list(dict.fromkeys(keys)))
        for key, config in zip(keys, configs, strict=True):
            if key in kept:
                known = recalled(
                    config, self._feed, net_pnl=kept[key].net_pnl, turnover=kept[key].turnover, fills=kept[key].fills,
                    profits=kept[key].profits_half_tick_lots,
                )  # fmt: skip
                if known is not None:
                    found[key] = known
        first = {key: number for number, key in reversed(list(enumerate(keys))) if key not in found}
        missing = sorted(first.values())
        self._told(len(configs) - len(missing))
        for trials in self._run([configs[i] for i in missing], [strategies[i] for i in missing]):
            finished = []
            for trial in trials:
                i = missing[trial.number]
                assert isinstance(trial.result, RunResult), "threads bring the columns home"
                found[keys[i]] = evaluation_of(configs[i], self._feed, trial.result)
                finished.append(Finished(keys[i], configs[i], strategies[i], trial.result, found[keys[i]].profits))
            self._memory.keep(finished)
            self._ran += len(finished)
            self._told(len(finished))
        parts = [found[key] for key in keys]
        return [Evaluation.joined(parts[i : i + len(ranges)]) for i in range(0, len(parts), len(ranges))]

    def _run(self, configs: Sequence[RunConfig], strategies: Sequence[PreparedStrategy]) -> Iterator[list[Trial]]:
        """Yield the trials of each chunk; chunks are small enough for all threads to have one."""
        steps: list[SweepProgress] = []
        chunk = min(CHUNK, max(1, -(-len(configs) // self._threads)))
        trials = sweep(configs, self._feed, steps.append, strategies=strategies, threads=self._threads, chunk=chunk)
        yielded, part = 0, list[Trial]()
        try:
            for trial in trials:
                part.append(trial)
                if yielded + len(part) == steps[-1].done:
                    yielded += len(part)
                    yield part
                    part = []
        finally:
            trials.close()  # type: ignore[attr-defined]  # (a generator; closing it stops its threads)

    def _told(self, done: int) -> None:
        self._done += done
        if self._progress is None:
            return
        elapsed = time.perf_counter() - self._started
        total = sum(self._planned)
        left = elapsed * (total - self._done) / self._ran if self._ran else None
        self._progress(OptimisationProgress(self._done, total, self._place, self._folds, self._best, elapsed, left))
