"""The command `simulate`: a strategy on the synthetic market of many seeds, with intervals, alone or against another one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.result import RunResult
from market_maker.bootstrap import open_store
from market_maker.domain.errors import InvalidRequest, NotFound, shorten
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.domain.units import NS_PER_SECOND, format_duration
from market_maker.montecarlo.engine import SimulationConfig, market_json
from market_maker.montecarlo.loop.compiled import compiled_loop
from market_maker.montecarlo.seeds import SEEDS_MAX, SeedRun, run_seeds
from market_maker.montecarlo.statistics import Distribution, MonteCarlo, Paired, compare_paired, monte_carlo
from market_maker.montecarlo.storage import save_run
from market_maker.montecarlo.stress import ScenarioWish, parse_scenario
from market_maker.performance.charts import Panel, Series, picture
from market_maker.performance.figures import Figure, Interval
from market_maker.performance.json_values import json_value
from market_maker.settings import Settings
from market_maker.storage.reference import Strategy
from market_maker.strategies.contract import (
    PreparedStrategy,
    StrategyKind,
    add_strategy_file,
    find_strategy,
    strategy_names,
)
from market_maker.synthetic.custom import read_custom
from market_maker.synthetic.flow.parameters import Conditions, ReferenceParameters, suited_design
from market_maker.synthetic.reference.processes import Process

START_TS = 1_704_067_200 * NS_PER_SECOND
"""Simulated time begins on 2024-01-01; nothing depends on it but the stamps."""
DURATION_MAX = 30 * 86_400 * NS_PER_SECOND
_SHOWN = ("net_pnl", "spread_capture", "inventory_pnl", "fees", "max_drawdown", "sharpe", "fills", "orders")
_BINS = 30
_COLUMNS = (
    TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
    TimeRemainingColumn(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MarketWish:
    """The market of the command: the pair, its price and what is changed of the default flow.

    `liquidity` multiplies the rate of limit orders, `spread_steps` widens the spread by so many steps, `buy_bias` is the
    share of market orders forced to buy, `volatility` and `activity` are multipliers; see `Conditions`. `custom` are checked
    parameters by section (`synthetic.custom`), which win.
    """

    price: Decimal = Decimal(50_000)
    tick_size: Decimal = Decimal("0.01")
    lot_size: Decimal = Decimal("0.00001")
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    process: str = "GBM"
    price_deviation: float = 0.0001
    volatility: float = 1.0
    activity: float = 1.0
    liquidity: float = 1.0
    spread_steps: int = 0
    buy_bias: float = 0.0
    custom: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Simulated:
    """One strategy over all seeds."""

    strategy: PreparedStrategy
    runs: list[SeedRun]
    figures: MonteCarlo


@dataclass(frozen=True, slots=True)
class SimulateWish:
    """Everything the command was asked for beside the strategies."""

    duration_ns: int
    seeds: int = 100
    seed: int = 1
    entry_latency_ns: int = 10_000_000
    response_latency_ns: int = 10_000_000
    balance: Decimal = Decimal(100_000)
    confidence: float = 0.95
    threads: int | None = None
    market: MarketWish = field(default_factory=MarketWish)
    scenarios: tuple[ScenarioWish, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A strategy that is kept, whose pair is simulated, and where results go: those of the first `runs` seeds.

    `price` is what the market begins at, where nothing else is said.
    """

    settings: Settings
    strategy: Strategy
    instrument: Instrument
    price: Decimal | None
    runs: int


def parse_parameters(words: Sequence[str], kind: StrategyKind, option: str = "--param") -> dict[str, int | float]:
    """Return name=value words as parameters of a kind; InvalidRequest names the word or the parameter."""
    types = {parameter.name: parameter.type for parameter in kind.parameters}
    values: dict[str, int | float] = {}
    for word in words:
        name, found, text = word.partition("=")
        if not found or name in values:
            raise InvalidRequest.of(option, word, "NAME=VALUE, each name once")
        try:
            values[name] = int(text) if types.get(name) == "integer" else float(text)
        except ValueError:
            raise InvalidRequest.of(f"{option} {name}", text, "a number") from None
    return kind.validate(values, option)


def simulation_config(
    strategy: PreparedStrategy, wish: SimulateWish, instrument: Instrument | None = None
) -> SimulationConfig:
    """Return what runs, on an instrument or on that of the wish; InvalidRequest names what is out of range."""
    market = wish.market
    if not NS_PER_SECOND <= wish.duration_ns <= DURATION_MAX:
        raise InvalidRequest.of("--duration", format_duration(wish.duration_ns), "1s to 30d")
    if market.process not in Process.__members__:
        raise InvalidRequest.of("--process", market.process, ", ".join(Process.__members__))
    instrument = instrument or Instrument(
        UUID(int=0), "synthetic", "BASE-QUOTE", "BASE", "QUOTE", market.tick_size, market.lot_size,
        maker_fee=market.maker_fee, taker_fee=market.taker_fee,
    )  # fmt: skip
    given = {"process": Process[market.process], "price_deviation": market.price_deviation}
    reference = ReferenceParameters(**(given | dict(market.custom.get("reference", {}))))
    design = suited_design(
        price_ticks=instrument.price_to_ticks(market.price, "--price"), lot_value_ticks=float(instrument.tick_lot),
        reference=reference, start_ts=START_TS,
    )  # fmt: skip
    design = replace(design, flow=replace(design.flow, **market.custom.get("flow", {})))
    changed = {
        "activity": market.activity, "limit": market.liquidity, "distance_steps": market.spread_steps,
        "buy_bias": market.buy_bias, "volatility": market.volatility,
    }  # fmt: skip
    conditions = Conditions(**(changed | dict(market.custom.get("conditions", {}))))
    run = RunConfig(
        instrument, strategy.kind.kind, START_TS, START_TS + wish.duration_ns, strategy.values,
        entry_latency_ns=wish.entry_latency_ns, response_latency_ns=wish.response_latency_ns, balance=wish.balance,
        sample_interval_ns=max(NS_PER_SECOND, wish.duration_ns // 3_600),
    )  # fmt: skip
    return SimulationConfig(run, design, conditions, scenarios=wish.scenarios)


def run_simulate(
    kind: str,
    parameters: Sequence[str],
    wish: SimulateWish,
    *,
    against: str | None = None,
    against_parameters: Sequence[str] = (),
    kept: Kept | None = None,
    report: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Simulate, print the figures with their intervals, and write what is asked for.

    With `kept` the first strategy is that one, `parameters` change its own, and its results are kept like a backtest's.

    Raises
    ------
    InvalidRequest
        A strategy, a parameter or an option that is not allowed, or a file that cannot be written.
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise InvalidRequest.of("--plot", str(plot), "a file that ends in .svg")
    if not 1 <= wish.seeds <= SEEDS_MAX:
        raise InvalidRequest.of("--seeds", wish.seeds, f"1 to {SEEDS_MAX:,}")
    plain = Console()
    console = plain if plain.is_terminal else Console(width=160)
    chosen = [(kind, parameters, "--param")]
    if against is not None:
        chosen.append((against, against_parameters, "--against-param"))
    prepared: list[PreparedStrategy] = []
    for name, words, option in chosen:
        found = find_strategy(name)
        values = parse_parameters(words, found, option)
        if kept is not None and not prepared:
            named = {word.partition("=")[0] for word in words}
            values = found.validate({**kept.strategy.parameters, **{key: values[key] for key in named}}, option)
        prepared.append(found.prepare(values, option))
    instrument = None if kept is None else kept.instrument
    with console.status("compiling what is not in the cache"):
        compiled_loop()
    seeds = range(wish.seed, wish.seed + wish.seeds)
    rng = np.random.default_rng(wish.seed)
    done = []
    results: dict[int, RunResult] = {}
    for strategy in prepared:
        config = simulation_config(strategy, wish, instrument)
        keep = None
        if kept is not None and strategy is prepared[0]:
            keep = _keeper(results, frozenset(seeds[: kept.runs]))
        runs, seconds = _run(config, strategy, seeds, wish.threads, console, keep)
        figures = monte_carlo([run.summary for run in runs], rng, confidence=wish.confidence)
        done.append(Simulated(strategy, runs, figures))
        _tell(done[-1], wish, seconds, console)
    paired = None
    if len(done) > 1:
        one, other = ([run.summary for run in each.runs] for each in done)
        paired = compare_paired(one, other, rng, confidence=wish.confidence)
        _tell_paired(paired, done, console)
    if kept is not None:
        _save(kept, simulation_config(prepared[0], wish, instrument), results, console)
    if report is not None:
        told = report_json(done, paired, wish, instrument)
        _write(report, json.dumps(told, indent=1), "--report", console)
    if plot is not None:
        _write(plot, chart(done, paired), "--plot", console)


def _run(
    config: SimulationConfig,
    strategy: PreparedStrategy,
    seeds: Sequence[int],
    threads: int | None,
    console: Console,
    keep: Callable[[int, RunResult], None] | None = None,
) -> tuple[list[SeedRun], float]:
    begin = time.perf_counter()
    with Progress(*_COLUMNS, console=console, transient=True) as bars:
        task = bars.add_task(strategy.kind.kind, total=len(seeds))
        runs = run_seeds(config, strategy, seeds, lambda _: bars.advance(task), threads=threads, keep=keep)
    return runs, time.perf_counter() - begin


def _keeper(results: dict[int, RunResult], wanted: frozenset[int]) -> Callable[[int, RunResult], None]:
    """Return what keeps whole results of the wanted seeds."""

    def keep(seed: int, result: RunResult) -> None:
        if seed in wanted:
            results[seed] = result

    return keep


def mode_options(
    mode: str, scenarios: Sequence[str], custom: Path | None
) -> tuple[tuple[ScenarioWish, ...], dict[str, dict[str, Any]]]:
    """Return the scenarios of mode STRESS and the parameters of mode CUSTOM; InvalidRequest where option and mode differ."""
    if mode not in TestMode.__members__:
        raise InvalidRequest.of("--mode", mode, ", ".join(TestMode.__members__))
    for option, given, wanted in (
        ("--scenario", bool(scenarios), "STRESS"),
        ("--custom", custom is not None, "CUSTOM"),
    ):
        if given != (mode == wanted):
            raise InvalidRequest.of(
                option, ", ".join(scenarios) or str(custom), f"with mode {wanted}, and only with it"
            )
    return tuple(parse_scenario(text) for text in scenarios), {} if custom is None else read_custom(custom)


def find_kept(settings: Settings, text: str, runs: int) -> Kept | None:
    """Return a strategy that is kept, by its id or name, and its pair; None for a kind, which comes before a name.

    Raises
    ------
    NotFound
        Neither.
    InvalidRequest
        The pair is an INVERSE contract, of which there is no simulated market.
    """
    for file in settings.strategy_files:
        add_strategy_file(file)
    if text in strategy_names():
        return None

    async def find() -> Kept:
        async with open_store(settings) as store:
            try:
                strategy = await store.reference.strategy_named(text)
            except NotFound as error:
                kinds = ", ".join(strategy_names())
                raise NotFound(
                    f"{shorten(text)} is no kind of strategy ({kinds}) and none that is kept: {error.detail}"
                ) from None
            pair = await store.reference.pair(strategy.pair_id)
            if pair.instrument.inverse_scale:
                name = f"{pair.instrument.venue}/{pair.instrument.symbol}"
                raise InvalidRequest.of("STRATEGY", shorten(text), f"one of a SPOT or LINEAR pair; {name} is INVERSE")
            return Kept(settings, strategy, pair.instrument, pair.initial_price, runs)

    return asyncio.run(find())


def _save(kept: Kept, config: SimulationConfig, results: Mapping[int, RunResult], console: Console) -> None:
    """Keep results as runs of the strategy, and say how they are shown."""

    async def save() -> list[UUID]:
        async with open_store(kept.settings) as store:
            found = []
            for seed, result in sorted(results.items()):
                async with store.database.transaction() as connection:
                    root, now = store.data_dir / "results", store.clock.now_ns()
                    found.append(await save_run(connection, kept.strategy, config, seed, result, root, now))
            return found

    for seed, run_id in zip(sorted(results), asyncio.run(save()), strict=True):
        console.print(
            f"seed {seed} is kept as run {run_id} (market-maker report {run_id})", markup=False, soft_wrap=True
        )


def report_json(
    done: Sequence[Simulated], paired: Paired | None, wish: SimulateWish, instrument: Instrument | None = None
) -> dict[str, Any]:
    """Return everything as JSON values; amounts of single seeds are text, statistics are numbers."""
    config = simulation_config(done[0].strategy, wish, instrument)
    return {
        "duration": format_duration(wish.duration_ns), "seeds": wish.seeds, "seed": wish.seed,
        "entry_latency": format_duration(wish.entry_latency_ns),
        "response_latency": format_duration(wish.response_latency_ns), "balance": f"{wish.balance:f}",
        "market": market_json(config, config.design),
        "strategies": [
            {
                "kind": each.strategy.kind.kind, "parameters": dict(each.strategy.values), "all": json_value(each.figures),
                "runs": [
                    {"seed": str(run.seed), "digest": run.digest, "events": run.events, "summary": run.summary.to_json()}
                    for run in each.runs
                ],
            }
            for each in done
        ],
        "paired": None if paired is None else json_value(paired),
    }  # fmt: skip


def chart(done: Sequence[Simulated], paired: Paired | None) -> str:
    """Return histograms of the net results, their distribution functions, and the results of both strategies by seed."""
    results = {f"{i} {each.strategy.kind.kind}": _net(each) for i, each in enumerate(done, 1)}
    edges = np.histogram_bin_edges(np.concatenate(list(results.values())), _BINS)
    bars = [
        Series(name, edges, np.histogram(row, edges)[0], "bars", i) for i, (name, row) in enumerate(results.items())
    ]
    steps = [
        Series(name, np.sort(row), np.arange(1, len(row) + 1) / len(row), "steps", i)
        for i, (name, row) in enumerate(results.items())
    ]
    panels = [
        Panel("Net result of a seed", "quote currency", "seeds", bars),
        Panel("Share of seeds with at most this result", "quote currency", "share", steps),
    ]
    if paired is not None:
        one, other = results.values()
        panels.append(Panel("Both on the same seed", "second", "first", [Series("", other, one, "dots", 2)]))
        difference = one - other
        cuts = np.histogram_bin_edges(difference, _BINS)
        counted = Series("", cuts, np.histogram(difference, cuts)[0], "bars", 3)
        panels.append(Panel("First less second, same seed", "quote currency", "seeds", [counted]))
    return picture(panels)


def _net(each: Simulated) -> Any:
    return np.array([float(run.summary.net_pnl) for run in each.runs])


def _tell(each: Simulated, wish: SimulateWish, seconds: float, console: Console) -> None:
    kind, figures = each.strategy.kind.kind, each.figures
    title = f"{kind}, {len(each.runs):,} seeds of {format_duration(wish.duration_ns)}, from seed {wish.seed}"
    level = f"{wish.confidence:.0%}"
    table = Table(
        "figure", "mean", "std. error", f"{level} t", f"{level} bootstrap", "5 %", "median", "95 %", box=None, title=title,
        title_justify="left",
    )  # fmt: skip
    for name in _SHOWN:
        table.add_row(name, *_cells(figures.figures[name]))
    console.print(table)
    console.print(
        f"probability of a loss {_share(figures.loss_probability)}; VaR {figures.tail_confidence:.0%} "
        f"{_figure(figures.value_at_risk)}, ES {_figure(figures.expected_shortfall)}",
        markup=False,
    )
    simulated = len(each.runs) * wish.duration_ns / NS_PER_SECOND
    events = sum(run.events for run in each.runs)
    console.print(
        f"{simulated:,.0f} simulated seconds in {seconds:.1f} s: {simulated / seconds:,.0f} per second, "
        f"{events / seconds:,.0f} events/s",
        markup=False,
    )


def _tell_paired(paired: Paired, done: Sequence[Simulated], console: Console) -> None:
    first, second = (each.strategy.kind.kind for each in done)
    mean, boot = paired.difference.mean, paired.difference.bootstrap
    ratio = "-" if paired.variance_ratio is None else f"{paired.variance_ratio:.2f}"
    console.print(
        f"net result of {first} less {second}, same seeds: {_number(mean.estimate)}, {_range(mean)} (t), "
        f"{_range(boot)} (bootstrap); better in {_share(paired.better_share)}; variance {ratio} of independent seeds'",
        markup=False,
    )


def _cells(figure: Distribution) -> tuple[str, ...]:
    quantiles: Mapping[str, float] = figure.quantiles
    tails = [_number(quantiles.get(name)) for name in ("0.05", "0.5", "0.95")]
    error = _number(figure.standard_error)
    return _number(figure.mean.estimate), error, _range(figure.mean), _range(figure.bootstrap), *tails


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.5g}"


def _range(interval: Interval) -> str:
    return "-" if interval.low is None else f"{_number(interval.low)} to {_number(interval.high)}"


def _share(interval: Interval) -> str:
    if interval.estimate is None or interval.low is None or interval.high is None:
        return "-"
    return f"{interval.estimate:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _figure(figure: Figure) -> str:
    return _number(figure.value) if figure.reason is None else f"- ({figure.reason})"


def _write(path: Path, text: str, option: str, console: Console) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest.of(option, str(path), f"a file that can be written ({error.strerror})") from error
    console.print(f"{option.removeprefix('--')}: {path}", markup=False, soft_wrap=True)
