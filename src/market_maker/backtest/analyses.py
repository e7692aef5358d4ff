"""The analysis of completed runs: what is read for it, in which order, and the answer as JSON.

Reads the recorded market beside each run where it is still the one that was run on; computes outside the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from market_maker.backtest.analysis import AnalysedRun, analysed
from market_maker.backtest.capacity_runs import size_curve
from market_maker.backtest.engine import RunConfig, open_market
from market_maker.backtest.fragility import FragilityGrid, fragility_grid
from market_maker.backtest.market_columns import MarketColumns, market_columns
from market_maker.backtest.report_data import report_data
from market_maker.backtest.result import RunResult
from market_maker.backtest.sweep import SweepProgress
from market_maker.backtest.trial_counts import Surface
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.replay import Feed
from market_maker.performance.capacity import CapacityCurve
from market_maker.performance.compare import RunComparison, compare_runs
from market_maker.performance.json_values import json_value
from market_maker.performance.report import AnalysisReport, analyse
from market_maker.performance.trial_statistics import TrialStatistics
from market_maker.storage.lake import Lake

COMPARED_MAX = 50
"""Runs that are analysed one by one; more are told by their totals."""
Note = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredRun:
    """A completed run as it was kept; `config` does it again, `strategy` is its name, `surface` None without a sweep."""

    run_id: str
    strategy: str
    config: RunConfig
    result: RunResult
    trials: TrialStatistics
    surface: Surface | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Analyses:
    """The analysis of one or several runs.

    Parameters
    ----------
    totals : of all of them
    runs : each with its analysis; empty of more than 50
    comparison : of several; None of one, and with `reason` where they cannot be compared
    stored, markets : what they were made from
    notes : what the reader must know of runs on several instruments
    """

    totals: AnalysisReport
    runs: tuple[AnalysedRun, ...]
    comparison: RunComparison | None
    reason: str | None
    stored: tuple[StoredRun, ...]
    markets: tuple[MarketColumns | None, ...]
    notes: tuple[str, ...] = ()

    @property
    def currency(self) -> str:
        """What all of them settle in, and all money is in: the quote of their pairs, or the base of inverse contracts."""
        return self.stored[0].config.instrument.settled_in

    def to_json(self) -> dict[str, Any]:
        """Return totals, then `analysis` of one run or `comparison` of several, `quality`, `fragility`, `capacity` by run id."""
        values = self.totals.to_json()
        one = self.runs[0].analysis if len(self.runs) == 1 else None
        values["analysis"] = None if one is None else one.to_json()
        values["comparison"] = None if self.comparison is None else self.comparison.to_json()
        values["reason"] = self.reason
        values["currency"] = self.currency
        values["notes"] = list(self.notes)
        values["quality"] = {run.run_id: None if run.quality is None else run.quality.to_json() for run in self.runs}
        values["fragility"] = {
            run.run_id: None if run.fragility is None else json_value(run.fragility) for run in self.runs
        }
        values["capacity"] = {
            run.run_id: None if run.capacity is None else json_value(run.capacity) for run in self.runs
        }
        return values

    def report_data(self, created_ts: int) -> dict[str, Any]:
        """Return what the report page shows of these runs."""
        return report_data(
            self.runs,
            markets=self.markets,
            surfaces=[stored.surface for stored in self.stored],
            comparison=self.comparison,
            notes=self.notes,
            created_ts=created_ts,
        )


def analyse_runs(
    stored: Sequence[StoredRun], lake: Lake, *, with_fragility: bool = False, note: Note | None = None
) -> Analyses:
    """Return the analysis of completed runs.

    Parameters
    ----------
    stored : at least one
    lake : where the recorded markets are
    with_fragility : compute the grid of latencies, queue models and fees of each run, and its curve of sizes
    note : told of progress

    Raises
    ------
    DataError
        The grid was asked for, and a recorded market is not there or not the one that was run on.
    InvalidRequest
        Runs that settle in several currencies, or the grid of more runs than are analysed one by one.
    """
    told = note or _silent
    currencies = sorted({run.config.instrument.settled_in for run in stored})
    if len(currencies) > 1:
        raise InvalidRequest.of(
            "run_ids", f"runs in {', '.join(currencies)}", "runs in one currency: money of several does not add up"
        )
    totals = analyse([run.result for run in stored], [run.run_id for run in stored])
    if len(stored) > COMPARED_MAX:
        if with_fragility:
            raise InvalidRequest.of("fragility", f"{len(stored)} runs", f"{COMPARED_MAX} runs at most")
        many = f"{len(stored)} runs are told by their totals; {COMPARED_MAX} at most are analysed one by one"
        return Analyses(totals, (), None, many, tuple(stored), ())
    runs, markets = [], []
    for number, run in enumerate(stored):
        told(f"run {number + 1} of {len(stored)}: the market beside it", number, len(stored))
        opened = _market(run, lake, is_needed=with_fragility)
        grid, sizes, market = None, None, None
        if opened is not None:
            config, feed = opened
            # Displaced prices are not in the rows of a feed.
            if config.market_conditions is None and run.result.samples.height:
                market = market_columns(feed, run.result.samples["ts"].to_numpy())
            if with_fragility:
                grid = _grid(config, feed, told)
                sizes = _sizes(config, feed, market, told)
        told(f"run {number + 1} of {len(stored)}: the figures", number, len(stored))
        runs.append(
            analysed(
                run.result,
                run.config.instrument,
                run_id=run.run_id,
                strategy=run.strategy,
                market=market,
                trials=run.trials,
                fragility=grid,
                capacity=sizes,
            )
        )
        markets.append(market)
    comparison, reason = _comparison(runs)
    told("the analysis is done", len(stored), len(stored))
    return Analyses(totals, tuple(runs), comparison, reason, tuple(stored), tuple(markets))


def _silent(*_: object) -> None:
    """Tell nobody."""


def _grid(config: RunConfig, feed: Feed, told: Note) -> FragilityGrid:
    def note(progress: SweepProgress) -> None:
        told("other latencies, queue models and fees", progress.done, progress.total)

    return fragility_grid(config, feed, note)


def _sizes(config: RunConfig, feed: Feed, market: MarketColumns | None, told: Note) -> CapacityCurve | None:
    def note(progress: SweepProgress) -> None:
        told("larger orders", progress.done, progress.total)

    return size_curve(config, feed, None if market is None else int(market.traded_lots.sum()), note)


def _market(run: StoredRun, lake: Lake, *, is_needed: bool) -> tuple[RunConfig, Feed] | None:
    """Return the recorded market of a run; None where it is gone or has changed and can be done without."""
    try:
        config, feed = open_market(run.config, lake)
        if feed.data_hash != run.result.reproducibility["data_hash"]:
            raise DataError(f"the recorded market of run {run.run_id} has changed since; run the backtest again")
    except DataError:
        if is_needed:
            raise
        return None
    return config, feed


def _comparison(runs: Sequence[AnalysedRun]) -> tuple[RunComparison | None, str | None]:
    known = [(run.run_id, run.analysis) for run in runs if run.analysis is not None]
    if len(known) < len(runs):
        return None, "no run has samples" if not known else "a run has no samples"
    if len(runs) < 2:
        return None, None
    try:
        return compare_runs(known), None
    except (DataError, InvalidRequest) as error:
        return None, error.detail
