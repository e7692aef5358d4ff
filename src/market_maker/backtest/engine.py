"""One run of one strategy over one feed: configuration in, result out. Pure: no database, no wall clock.

Loads the compiled kernel on first use; a fresh cache compiles it once per machine.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import polars as pl

from market_maker.backtest.drive import Drive
from market_maker.backtest.result import FillModel, RunResult, summarise
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, ContractType, Instrument
from market_maker.market_data.replay import Feed, open_feed
from market_maker.storage.lake import Lake
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
    feed = open_feed(lake, pair.venue, pair.symbol, config.start_ts, config.end_ts, allow_gaps=config.allow_gaps)
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
        No events in the range.
    """
    _check(config)
    begin, last = max(config.start_ts, feed.first_ts), min(config.end_ts - 1, feed.last_ts)
    if last < begin:
        raise DataError(f"the feed ({feed.first_ts} to {feed.last_ts} ns) has no events in the range of the run")
    balance = _balance_tick_lots(config)
    drive = Drive(
        feed,
        config.instrument,
        balance_tick_lots=balance,
        entry_latency_ns=config.entry_latency_ns,
        response_latency_ns=config.response_latency_ns,
        partial_fill=config.fill_model is FillModel.PARTIAL,
        depth_levels=strategy.depth_levels,
        strategy=compiled(strategy),
        params=strategy.vector,
        memory=np.zeros(strategy.memory_size),
        name=strategy.kind.kind,
    )
    drive.run_until(begin - 1)
    drive.wake_every(strategy.interval_ns, after_ts=begin)
    drive.sample_every(config.sample_interval_ns, after_ts=begin, end_ts=last)
    for part in range(1, SLICES + 1):
        drive.run_until(begin + (last - begin) * part // SLICES)
        if progress is not None:
            progress(RunProgress(drive.events_done, feed.events, int(drive.head["clock_ts"])))
    if last == feed.last_ts:
        drive.finish()
    return _result(config, feed, strategy, drive, balance)


def _result(config: RunConfig, feed: Feed, strategy: PreparedStrategy, drive: Drive, balance: int) -> RunResult:
    samples = pl.DataFrame(drive.samples()).select(
        "ts",
        (2 * (balance + pl.col("cash_tick_lots") - pl.col("fees_tick_lots"))
         + pl.col("position_lots") * pl.col("mid_half_ticks")).alias("equity_half_tick_lots"),
        "position_lots",
        "cash_tick_lots",
        "fees_tick_lots",
        "mid_half_ticks",
    )  # fmt: skip
    fills = pl.DataFrame(drive.fills())
    names = ("position_lots", "cash_tick_lots", "fees_tick_lots", "last_order_id")
    counts = ("orders_rejected", "orders_canceled", "orders_expired")
    end = {name: int(drive.head[name]) for name in (*names, *counts)} | {"mid_half_ticks": drive.mid_half_ticks()}
    summary = summarise(
        instrument=config.instrument,
        balance_tick_lots=balance,
        samples=samples,
        fills=fills,
        end=end,
        sample_interval_ns=config.sample_interval_ns,
    )
    return RunResult(summary, samples, fills, _reproducibility(config, feed, strategy, drive))


def _reproducibility(config: RunConfig, feed: Feed, strategy: PreparedStrategy, drive: Drive) -> dict[str, Any]:
    pair = config.instrument
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
        },
        "data_hash": feed.data_hash,
        "coverage": feed.coverage,
        "missing": [[str(begin), str(end)] for begin, end in feed.missing],
        "events": drive.events_done,
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
