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

from market_maker.backtest.conditioned import under_conditions
from market_maker.backtest.drive import Capacity, Drive, SetOfRun
from market_maker.backtest.execution import Execution, is_of_orders, queue_model_of
from market_maker.backtest.fee_models import Contract
from market_maker.backtest.fee_models.funding import Funding, funding_of
from market_maker.backtest.guard import limits_json, outcomes
from market_maker.backtest.queue_models import QueueModel, parameter_of
from market_maker.backtest.result import Assumed, Columns, FillModel, RunResult, columns_of, summarise
from market_maker.backtest.state import CHANCE_SCALE, IMPACT_SCALE
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT, ContractType, Instrument
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import Feed, open_feed
from market_maker.performance.worth import Worth
from market_maker.risk.limits import Limit
from market_maker.storage.lake import Lake, day_of
from market_maker.strategies.compilation import cache_key, compiled
from market_maker.strategies.contract import PreparedStrategy, find_strategy

__all__ = ["FillModel", "RunConfig", "RunProgress", "RunResult", "backtest", "run"]

ASSUMPTIONS = {"pessimistic": QueueModel.BACK, "optimistic": QueueModel.FRONT}
"""Queue models of a run's band beside its own."""
SAMPLED = (
    "ts", "equity_half_tick_lots", "position_lots", "cash_tick_lots", "fees_tick_lots", "funding_tick_lots", "mid_half_ticks",
)  # fmt: skip
"""Columns of a result's samples."""
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
    balance : funds at the start, quote currency (INVERSE: base currency)
    fill_model : how much of a resting order an opposing quantity fills
    sample_interval_ns : the sampling clock of the equity curve
    seed : root of all randomness: drawn latencies and counterparties that are not there
    allow_gaps : run in spite of less than 0.99 coverage
    market_conditions : what to change of the recorded market; None replays it as it was
    execution : how orders travel, wait, meet and pay
    band : also run under pessimistic and optimistic fills, in the same pass, and tell all three
    records_orders : keep every decision and order event (`RunResult.order_events`)
    funding : funding instants of the range; None: there are none
    limits : what stands before its orders and is looked at before each wake-up, see `guard`
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
    execution: Execution = field(default_factory=Execution)
    band: bool = False
    records_orders: bool = False
    funding: Funding | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is, in events of its range; `now_ts` is simulated time."""

    events_done: int
    events_total: int
    now_ts: int


def backtest(config: RunConfig, lake: Lake, progress: Callable[[RunProgress], None] | None = None) -> RunResult:
    """Find the strategy, open the recorded market and run: `find_strategy`, `open_feed` and `run` in one."""
    strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
    config, feed = open_market(config, lake)
    return run(config, feed, strategy, progress)


def open_market(config: RunConfig, lake: Lake) -> tuple[RunConfig, Feed]:
    """Return the recorded market of a run, and its configuration with the funding instants that were recorded."""
    pair = config.instrument
    span = (config.start_ts, config.end_ts)
    steps = (pair.tick_size, pair.lot_size)
    feed = open_feed(lake, pair.venue, pair.symbol, *span, allow_gaps=config.allow_gaps, steps=steps)
    if config.funding is None and config.execution.funding and pair.contract_type is not ContractType.SPOT:
        config = replace(config, funding=recorded_funding(lake, pair, *span))
    return config, feed


def recorded_funding(lake: Lake, pair: Instrument, start_ts: int, end_ts: int) -> Funding | None:
    """Return the funding instants that the recording tells of, None without any."""
    days = [day for day in lake.days(pair.venue, pair.symbol) if day_of(start_ts) <= day <= day_of(end_ts - 1)]
    described = [lake.describe(pair.venue, pair.symbol, day) for day in days]
    frames = [lake.read_verified(day, "ticker") for day in described if day.file("ticker") is not None]
    if not frames:
        return None
    import polars as pl

    found = funding_of(pl.concat(frames), pair, Contract.of(pair), start_ts, end_ts)
    return found if len(found.ts) else None


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
    progress : called at the begin and up to 200 times more; an exception it raises ends the run and is passed on

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
        check_config(config)
    if any(config.execution.price_impact for config in configs) and (len(configs) > 1 or first.band):
        return _run_apart(configs, feed, strategies, progress, slices)
    begin, last = max(first.start_ts, feed.first_ts), min(first.end_ts - 1, feed.last_ts)
    if last < begin:
        raise DataError(f"the feed ({feed.first_ts} to {feed.last_ts} ns) has no events in the range of the run")
    effect = None
    if first.market_conditions is not None:
        feed, effect = under_conditions(feed, first.market_conditions, first.instrument)
    drive = open_drive(configs, feed, strategies, capacity)
    drive.run_until(begin - 1)
    drive.wake(after_ts=begin)
    drive.sample_every(first.sample_interval_ns, after_ts=begin, end_ts=last)
    steps = 1 if progress is None else slices
    # The rows before the range, which only build the book, are no part of it.
    before = drive.events_done
    if progress is not None:
        progress(RunProgress(0, feed.events, drive.now_ts))
    for part in range(1, steps + 1):
        drive.run_until(begin + (last - begin) * part // steps)
        if progress is not None:
            progress(RunProgress(drive.events_done - before, feed.events, drive.now_ts))
    if last == feed.last_ts:
        drive.finish()
    results = [
        result_of(config, feed, strategy, drive, k, samples, fills, effect)
        for k, ((config, strategy), samples, fills) in enumerate(
            zip(_with_bands(configs, strategies), drive.samples(), drive.fills(), strict=True)
        )
    ]
    return _banded(configs, results)


def _run_apart(
    configs: Sequence[RunConfig],
    feed: Feed,
    strategies: Sequence[PreparedStrategy],
    progress: Callable[[RunProgress], None] | None,
    slices: int,
) -> list[RunResult]:
    """Run each set in a pass of its own: orders that move the market see a market that no other set sees."""
    results = []
    passes = _with_bands(configs, strategies)
    for number, (config, strategy) in enumerate(passes):
        alone = replace(config, band=False)
        note = None if progress is None else _part_of(progress, number, len(passes))
        results += run_sets([alone], feed, [strategy], note, None, slices)
    return _banded(configs, results)


def _part_of(progress: Callable[[RunProgress], None], number: int, passes: int) -> Callable[[RunProgress], None]:
    """Return what tells the progress of one of several passes as that of all."""

    def note(one: RunProgress) -> None:
        progress(RunProgress(number * one.events_total + one.events_done, passes * one.events_total, one.now_ts))

    return note


def open_drive(
    configs: Sequence[RunConfig],
    feed: Feed,
    strategies: Sequence[PreparedStrategy],
    capacity: Capacity | None = None,
    explained_id: int | None = None,
    *,
    is_led: bool = False,
) -> Drive:
    """Return the drive of runs that share a pass, before its first row.

    `explained_id`: an order of the first run whose whole story is to be logged. `is_led`: somebody else wakes the strategy.
    """
    first, kind = configs[0], strategies[0].kind
    if kind.instruments > 1 and not is_led:
        raise InvalidRequest.of("strategy", kind.kind, f"{kind.instruments} instruments at once: `run_several`")
    of_orders = is_of_orders(feed)
    sets = [_set_of(config, strategy, of_orders=of_orders) for config, strategy in _with_bands(configs, strategies)]
    logs = int(any(config.records_orders for config in configs)) if explained_id is None else 2
    return Drive(
        feed,
        first.instrument,
        sets,
        depth_levels=strategies[0].depth_levels,
        strategy=None if is_led else compiled(strategies[0]) if kind.is_compiled else strategies[0].function(),
        is_compiled=is_led or kind.is_compiled,
        wakes_on=kind.wake_bits,
        name=kind.kind,
        capacity=capacity,
        funding=first.funding if first.execution.funding else None,
        logs=logs,
        explained_id=explained_id or 0,
    )


def _with_bands(
    configs: Sequence[RunConfig], strategies: Sequence[PreparedStrategy]
) -> list[tuple[RunConfig, PreparedStrategy]]:
    """Return what runs, each run with its pessimistic and optimistic twins when it wants them."""
    found = []
    for config, strategy in zip(configs, strategies, strict=True):
        for model in (None, *ASSUMPTIONS.values()) if config.band else (None,):
            execution = config.execution
            if model is not None:
                execution = replace(execution, queue_model=model, queue_n=None)
            found.append((replace(config, execution=execution), strategy))
    return found


def _banded(configs: Sequence[RunConfig], results: list[RunResult]) -> list[RunResult]:
    """Return one result for each configuration; one with a band tells the figures of all three assumptions."""
    found, ahead = [], iter(results)
    for config in configs:
        result = next(ahead)
        if config.band:
            twins = {name: next(ahead).summary for name in ASSUMPTIONS}
            band = {name: Assumed.of(summary) for name, summary in (twins | {"queue": result.summary}).items()}
            result = replace(result, summary=replace(result.summary, band=band))
        found.append(result)
    return found


def _set_of(config: RunConfig, strategy: PreparedStrategy, *, of_orders: bool) -> SetOfRun:
    execution = config.execution
    model = queue_model_of(execution.queue_model, of_orders=of_orders)
    return SetOfRun(
        balance_tick_lots=_balance_tick_lots(config),
        latency=execution.latency_state(config.entry_latency_ns, config.response_latency_ns, seed=config.seed),
        partial_fill=config.fill_model is FillModel.PARTIAL,
        params=strategy.vector,
        memory_size=strategy.memory_size,
        interval_ns=strategy.interval_ns,
        queue_model=model,
        queue_n=parameter_of(model, execution.queue_n, config.instrument.lot_size),
        fees=execution.fee_state(config.instrument, config.start_ts),
        leverage=execution.leverage,
        cash_account=execution.cash_account,
        seed=config.seed,
        chance_e9=round(execution.execution_probability * CHANCE_SCALE),
        impact_e9=round(execution.price_impact * IMPACT_SCALE),
        impact_half_life_ns=execution.impact_half_life_ns,
        limits=config.limits,
    )


def result_of(
    config: RunConfig,
    feed: Feed,
    strategy: PreparedStrategy,
    drive: Drive,
    k: int,
    sampled: Columns,
    fills: Columns,
    effect: dict[str, Any] | None,
) -> RunResult:
    """Return the result of a set of a drive that has ended: its samples, fills and the effect of market conditions."""
    balance = drive.sets[k].balance_tick_lots
    head = drive.head(k)
    pair = config.instrument
    money = balance + sampled["cash_tick_lots"] - sampled["fees_tick_lots"] - sampled["funding_tick_lots"]
    worth = Worth.of(pair).positions(sampled["position_lots"], sampled["mid_half_ticks"])
    columns = {"equity_half_tick_lots": 2 * money + np.asarray(worth, np.int64), **sampled}
    samples = {name: columns[name] for name in SAMPLED}
    names = ("position_lots", "cash_tick_lots", "fees_tick_lots", "funding_tick_lots", "last_order_id")
    counts = ("orders_rejected", "orders_canceled", "orders_expired")
    end = {name: int(head[name]) for name in (*names, *counts)} | {"mid_half_ticks": drive.mid_half_ticks()}
    summary = summarise(
        instrument=pair,
        balance_tick_lots=balance,
        samples=samples,
        fills=fills,
        end=end,
        sample_interval_ns=config.sample_interval_ns,
    )
    told = outcomes(config.limits, drive.state.limits[k], drive.state.guard[k], pair) if config.limits else None
    summary = replace(summary, market_conditions=effect, limits=told)
    events = columns_of(drive.log(k)) if config.records_orders else None
    return RunResult(summary, samples, fills, _reproducibility(config, feed, strategy, drive, k), events)


def _reproducibility(config: RunConfig, feed: Feed, strategy: PreparedStrategy, drive: Drive, k: int) -> dict[str, Any]:
    pair = config.instrument
    # Not written when there are none: the digest of a plain replay stays what it was.
    more: dict[str, Any] = {"limits": limits_json(config.limits)} if config.limits else {}
    if config.market_conditions is not None:
        more["market_conditions"] = config.market_conditions.to_json()
    multiplier = {} if pair.contract_multiplier == 1 else {"contract_multiplier": str(pair.contract_multiplier)}
    text = strategy.kind.source_hash()
    return (
        {
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
                }
                | multiplier,
                "strategy": strategy.kind.kind,
                "parameters": dict(strategy.values),
                "start_ts": str(config.start_ts),
                "end_ts": str(config.end_ts),
                "entry_latency_ns": config.entry_latency_ns,
                "response_latency_ns": config.response_latency_ns,
                "balance": str(config.balance),
                "fill_model": config.fill_model.value,
                "queue_model": drive.sets[k].queue_model.name,
                "execution": config.execution.to_json(),
                "sample_interval_ns": config.sample_interval_ns,
                "allow_gaps": config.allow_gaps,
            }
            | more,
            "data_hash": feed.data_hash,
            "tables": [dict(table) for table in feed.tables],
            "coverage": feed.coverage,
            "missing": [[str(begin), str(end)] for begin, end in feed.missing],
            "events": drive.events_done,
        }
        | ({} if text is None else {"strategy_source": text})
        | _environment()
    )


@cache
def _environment() -> dict[str, Any]:
    """Return versions of code and libraries, as this process has loaded them."""
    return {
        "code_version": _version("market-maker"),
        "kernel_key": cache_key(),
        "libraries": {name: _version(name) for name in ("numba", "numpy", "polars")}
        | {"python": platform.python_version()},
    }


def check_config(config: RunConfig) -> None:
    if config.end_ts <= config.start_ts:
        raise InvalidRequest.of("end_date", config.end_ts, f"an instant after the start {config.start_ts}")
    if not 1_000 <= config.sample_interval_ns <= 86_400 * 10**9:
        raise InvalidRequest.of("sample_interval_ns", config.sample_interval_ns, "1 microsecond to 1 day")
    for field_name in ("entry_latency_ns", "response_latency_ns"):
        latency = getattr(config, field_name)
        if not 0 <= latency < 86_400 * 10**9:
            raise InvalidRequest.of(field_name, latency, "0 ns to one day")


def _balance_tick_lots(config: RunConfig) -> int:
    """Return the balance in whole cash units (tick-lots, see `Contract`), rounded down."""
    if not config.balance.is_finite() or config.balance < 0:
        raise InvalidRequest.of("balance", str(config.balance), "a finite amount, 0 or more")
    return int(EXACT.divide(config.balance, Contract.of(config.instrument).cash_unit))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
