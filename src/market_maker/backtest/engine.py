"""One run of one strategy over one feed: configuration in, result out. Pure: no database, no wall clock.

Loads the compiled kernel on first use; a fresh cache compiles it once per machine.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.backtest.conditioned import under_conditions
from market_maker.backtest.drive import Capacity, Drive, SetOfRun
from market_maker.backtest.result import FillModel, RunResult, summarise
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, ContractType, Instrument
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import Feed, open_feed
from market_maker.storage.lake import Lake
from market_maker.strategies.actions import Records
from market_maker.strategies.compilation import cache_key, compiled
from market_maker.strategies.contract import PreparedStrategy, find_strategy

__all__ = ["FillModel", "RunConfig", "RunProgress", "RunResult", "backtest", "run"]

SLICES = 200
"""How often a run reports progress and can be cancelled."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What one run does.

    Parameters
    ----------
    instrument : the pair; its fees apply
    strategy_kind, parameters : the strategy by name and its own parameters
    start_ts, end_ts : [start, end) in ns UTC
    entry_latency_ns, response_latency_ns : us -> venue, venue -> us
    balance : funds at the start, quote currency
    fill_model : how much of a resting order an opposing quantity fills
    sample_interval_ns : the sampling clock of the equity curve
    seed : root of all randomness (recorded; nothing of the present replay is random)
    allow_gaps : run in spite of less than 0.99 coverage
    market_conditions : what to change of the recorded market; None replays it as it was
    """

    instrument: Instrument
    strategy_kind: str
    start_ts: int
    end_ts: int
    parameters: Mapping[str, object] = field(default_factory=dict)
    entry_latency_ns: int = 0
    response_latency_ns: int = 0
    balance: Decimal = Decimal(100_000)
    fill_model: FillModel = FillModel.PARTIAL
    sample_interval_ns: int = 1_000_000_000
    seed: int = 0
    allow_gaps: bool = False
    market_conditions: MarketConditions | None = None


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is; `now_ts` is simulated time."""

    events_done: int
    events_total: int
    now_ts: int


def backtest(config: RunConfig, lake: Lake, progress: Callable[[RunProgress], None] | None = None) -> RunResult:
    """Find the strategy, open the recorded market and run: `find_strategy`, `open_feed` and `run` in one."""
    strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
    pair = config.instrument
    steps = (pair.tick_size, pair.lot_size)
    span = (config.start_ts, config.end_ts)
    feed = open_feed(lake, pair.venue, pair.symbol, *span, allow_gaps=config.allow_gaps, steps=steps)
    return run(config, feed, strategy, progress)


def run(
    config: RunConfig,
    feed: Feed,
    strategy: PreparedStrategy,
    progress: Callable[[RunProgress], None] | None = None,
) -> RunResult:
    """Replay `feed` through `strategy`.

    The book is built from the first row of the feed; wake-ups and samples begin at the later of the range's start and
    the first row. Wake-ups end with the last row or the range; what is in flight then still arrives.

    Parameters
    ----------
    progress : called up to 200 times; an exception it raises ends the run and is passed on

    Raises
    ------
    InvalidRequest
        A setting out of range, or the strategy failed (names it and the time).
    DataError
        No events in the range, or market conditions that it does not allow.
    """
    return run_sets([config], feed, [strategy], progress)[0]


def run_sets(
    configs: Sequence[RunConfig],
    feed: Feed,
    strategies: Sequence[PreparedStrategy],
    progress: Callable[[RunProgress], None] | None = None,
    capacity: Capacity | None = None,
    slices: int = SLICES,
) -> list[RunResult]:
    """Replay `feed` once through many sets; each result is the one that `run` gives for its configuration alone.

    Parameters
    ----------
    configs, strategies : what differs between the sets; pair, range, sampling clock, conditions and kind of strategy do
        not (`sweep` groups runs by them)
    capacity : memory of each set; OutgrownError when one needs more
    slices : how often `progress` is called
    """
    first = configs[0]
    for config in configs:
        _check(config)
    begin, last = max(first.start_ts, feed.first_ts), min(first.end_ts - 1, feed.last_ts)
    if last < begin:
        raise DataError(f"the feed ({feed.first_ts} to {feed.last_ts} ns) has no events in the range of the run")
    sets = [_set_of(config, strategy) for config, strategy in zip(configs, strategies, strict=True)]
    effect = None
    if first.market_conditions is not None:
        feed, effect = under_conditions(feed, first.market_conditions, first.instrument)
    drive = Drive(
        feed,
        first.instrument,
        sets,
        depth_levels=strategies[0].depth_levels,
        strategy=compiled(strategies[0]),
        name=strategies[0].kind.kind,
        capacity=capacity,
    )
    drive.run_until(begin - 1)
    drive.wake(after_ts=begin)
    drive.sample_every(first.sample_interval_ns, after_ts=begin, end_ts=last)
    steps = 1 if progress is None else slices
    for part in range(1, steps + 1):
        drive.run_until(begin + (last - begin) * part // steps)
        if progress is not None:
            progress(RunProgress(drive.events_done, feed.events, drive.now_ts))
    if last == feed.last_ts:
        drive.finish()
    return [
        _result(config, feed, strategy, drive, k, samples, fills, effect)
        for k, (config, strategy, samples, fills) in enumerate(
            zip(configs, strategies, drive.samples(), drive.fill_columns(), strict=True)
        )
    ]


def _set_of(config: RunConfig, strategy: PreparedStrategy) -> SetOfRun:
    return SetOfRun(
        balance_tick_lots=_balance_tick_lots(config),
        entry_latency_ns=config.entry_latency_ns,
        response_latency_ns=config.response_latency_ns,
        partial_fill=config.fill_model is FillModel.PARTIAL,
        params=strategy.vector,
        memory_size=strategy.memory_size,
        interval_ns=strategy.interval_ns,
    )


def _result(
    config: RunConfig,
    feed: Feed,
    strategy: PreparedStrategy,
    drive: Drive,
    k: int,
    sampled: Records,
    filled: dict[str, NDArray[np.int64]],
    effect: dict[str, Any] | None,
) -> RunResult:
    balance = drive.sets[k].balance_tick_lots
    head = drive.head(k)
    cash, fees, position, mid = (
        np.ascontiguousarray(sampled[name])
        for name in ("cash_tick_lots", "fees_tick_lots", "position_lots", "mid_half_ticks")
    )
    samples = pl.DataFrame(
        {
            "ts": np.ascontiguousarray(sampled["ts"]),
            "equity_half_tick_lots": 2 * (balance + cash - fees) + position * mid,
            "position_lots": position,
            "cash_tick_lots": cash,
            "fees_tick_lots": fees,
            "mid_half_ticks": mid,
        }
    )
    fills = pl.DataFrame(filled)
    names = ("position_lots", "cash_tick_lots", "fees_tick_lots", "last_order_id")
    counts = ("orders_rejected", "orders_canceled", "orders_expired")
    end = {name: int(head[name]) for name in (*names, *counts)} | {"mid_half_ticks": drive.mid_half_ticks()}
    summary = summarise(
        instrument=config.instrument,
        balance_tick_lots=balance,
        samples=samples,
        fills=fills,
        end=end,
        sample_interval_ns=config.sample_interval_ns,
    )
    summary = replace(summary, market_conditions=effect)
    return RunResult(summary, samples, fills, _reproducibility(config, feed, strategy, drive))


def _reproducibility(config: RunConfig, feed: Feed, strategy: PreparedStrategy, drive: Drive) -> dict[str, Any]:
    pair = config.instrument
    # Not written when there are none: the digest of a plain replay stays what it was.
    conditions = {} if config.market_conditions is None else {"market_conditions": config.market_conditions.to_json()}
    return {
        "seed": config.seed,
        "configuration": {
            "pair": {
                "venue": pair.venue,
                "symbol": pair.symbol,
                "tick_size": str(pair.tick_size),
                "lot_size": str(pair.lot_size),
                "contract_type": pair.contract_type.value,
                "maker_fee": str(pair.maker_fee),
                "taker_fee": str(pair.taker_fee),
            },
            "strategy": strategy.kind.kind,
            "parameters": dict(strategy.values),
            "start_ts": str(config.start_ts),
            "end_ts": str(config.end_ts),
            "entry_latency_ns": config.entry_latency_ns,
            "response_latency_ns": config.response_latency_ns,
            "balance": str(config.balance),
            "fill_model": config.fill_model.value,
            "queue_model": "RISK_AVERSE",
            "sample_interval_ns": config.sample_interval_ns,
            "allow_gaps": config.allow_gaps,
        }
        | conditions,
        "data_hash": feed.data_hash,
        "tables": [dict(table) for table in feed.tables],
        "coverage": feed.coverage,
        "missing": [[str(begin), str(end)] for begin, end in feed.missing],
        "events": drive.events_done,
    } | _environment()


@cache
def _environment() -> dict[str, Any]:
    """Return versions of code and libraries, as this process has loaded them."""
    return {
        "code_version": _version("market-maker"),
        "kernel_key": cache_key(),
        "libraries": {name: _version(name) for name in ("numba", "numpy", "polars")}
        | {"python": platform.python_version()},
    }


def _check(config: RunConfig) -> None:
    if config.end_ts <= config.start_ts:
        raise InvalidRequest.of("end_date", config.end_ts, f"an instant after the start {config.start_ts}")
    if not 1_000 <= config.sample_interval_ns <= 86_400 * 10**9:
        raise InvalidRequest.of("sample_interval_ns", config.sample_interval_ns, "1 microsecond to 1 day")
    if config.instrument.contract_type is ContractType.INVERSE:
        raise InvalidRequest.of("contract_type", "INVERSE", "SPOT or LINEAR: cash of the replay is in quote currency")


def _balance_tick_lots(config: RunConfig) -> int:
    """Return the balance in whole tick-lots, rounded down: funds that cannot buy a tick-lot buy nothing."""
    if not config.balance.is_finite() or config.balance < 0:
        raise InvalidRequest.of("balance", str(config.balance), "a finite amount, 0 or more")
    return int(EXACT.divide(config.balance, config.instrument.tick_lot))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
