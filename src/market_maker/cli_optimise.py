"""The command `optimise`: search parameters on parts of a recorded market and judge the choice on the others.

It reads the ranges, shows progress and prints, what was measured out of sample first; the search is `backtest.optimisation`,
its keeping `backtest.trial_memory`, its figures `backtest.out_of_sample`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from market_maker.backtest.configuration import run_config
from market_maker.backtest.engine import RunConfig, open_market
from market_maker.backtest.folds import TRAIN_PARTS, Fold, Method, Range, folds_of
from market_maker.backtest.optimisation import OptimisationProgress, Search, optimise
from market_maker.backtest.out_of_sample import report_of
from market_maker.backtest.searchers import Dimension, SearchKind, dimension_of
from market_maker.backtest.service import BacktestService, RunRequest
from market_maker.backtest.trial_memory import TrialMemory
from market_maker.backtest.trials import count_trials
from market_maker.bootstrap import Store, open_store
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import NS_PER_SECOND, format_instant
from market_maker.market_data.replay import Feed
from market_maker.settings import Settings
from market_maker.storage.reference import Strategy
from market_maker.strategies.contract import StrategyKind, find_strategy

LEAST_SAMPLES = 10
"""Samples without which a part of a fold says nothing."""
_FORM = "NAME=LOW:HIGH, NAME=LOW:HIGH:STEP (both ends included) or NAME=LOW:HIGH:log"
_STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "UNKNOWN": "dim"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command asks for beside the run itself."""

    params: Sequence[str]
    kind: SearchKind = SearchKind.RANDOM
    method: Method = Method.WALK_FORWARD
    trials: int = 200
    objective: str = "net_pnl"
    folds: int = 4
    embargo_ns: int = 0
    train_parts: int = TRAIN_PARTS
    is_anchored: bool = False
    seed: int = 0
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class _Task:
    strategy: Strategy
    base: RunConfig
    feed: Feed
    search: Search
    folds: list[Fold]


def word_of(search: str, method: str) -> tuple[SearchKind, Method]:
    """Return the kinds of search and of folds; InvalidRequest lists them."""
    for name, word, kinds in (("--search", search, SearchKind), ("--method", method, Method)):
        if word not in set(kinds):
            raise InvalidRequest.of(name, word, ", ".join(kinds))
    return SearchKind(search), Method(method)


def parse_params(words: Sequence[str], kind: StrategyKind) -> tuple[Dimension, ...]:
    """Return what is searched of a strategy's parameters.

    Raises
    ------
    InvalidRequest
        A word of another form, a parameter that the strategy does not have, one given twice, or as `dimension_of`.
    """
    declared = {parameter.name: parameter for parameter in kind.parameters}
    found: dict[str, Dimension] = {}
    for word in words:
        name, _, text = word.partition("=")
        parts = text.split(":")
        if name not in declared or name in found:
            raise InvalidRequest.of("--param", word, f"each once of {', '.join(declared)}, as {_FORM}")
        if len(parts) not in {2, 3}:
            raise InvalidRequest.of(f"--param {name}", text, _FORM)
        is_log = parts[2:] == ["log"]
        low, high, *step = [_number(name, part) for part in parts[: 2 if is_log else 3]]
        found[name] = dimension_of(declared[name], low, high, step=step[0] if step else None, is_log=is_log)
    return tuple(found.values())


def _number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise InvalidRequest.of(f"--param {name}", text, _FORM) from None
    if not value.is_finite() or abs(value) >= Decimal(10) ** 18 or (value and abs(value) < Decimal(10) ** -12):
        raise InvalidRequest.of(f"--param {name}", text, "0, or a finite number from 1e-12 to below 1e18")
    return value


def run_optimise(
    settings: Settings,
    strategy: str,
    pair: str | None,
    request: Callable[..., RunRequest],
    wish: Wish,
    report: Path | None,
) -> None:
    """Search, judge, print, and write the report. `strategy` by name or id, `pair` by id or as venue/symbol.

    The search runs between the turns of the event loop, in the main thread, so that Ctrl-C stops it within a slice of a
    chunk; what has ended by then is kept, and the same command goes on from there.
    """
    plain = Console()
    console = plain if plain.is_terminal else Console(width=250)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            store = runner.run(stack.enter_async_context(open_store(settings)))
            with console.status("reading the recorded market"):
                task = runner.run(_task(store, settings, strategy, pair, request, wish))
            made = _run(runner, store, task, wish.threads, console)
            tell(made, task.base.instrument.settled_in, console)
            if report is not None:
                report.write_text(json.dumps(made, indent=1), "utf-8")
                console.print(f"report: {report}", markup=False)
        finally:
            runner.run(stack.aclose())


async def _task(
    store: Store, settings: Settings, name: str, pair: str | None, request: Callable[..., RunRequest], wish: Wish
) -> _Task:
    """Return what is to be done, checked before anything runs."""
    strategy = await store.reference.strategy_named(name)
    instrument = (await store.reference.pair_named(pair or str(strategy.pair_id))).instrument
    dimensions = parse_params(wish.params, find_strategy(strategy.kind))
    search = Search(dimensions, wish.kind, wish.trials, wish.objective, wish.seed)
    search.searcher()
    service = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
    config = run_config(
        {"configuration": service.configuration(request(strategy_id=strategy.strategy_id, pair_id=instrument.pair_id))},
        strategy,
        instrument,
    )
    base, feed = await asyncio.to_thread(open_market, config, store.lake)
    whole = Range(max(base.start_ts, feed.first_ts), min(base.end_ts, feed.last_ts + 1))
    folds = folds_of(
        whole, wish.folds, method=wish.method, embargo_ns=wish.embargo_ns, train_parts=wish.train_parts,
        is_anchored=wish.is_anchored, least_ns=LEAST_SAMPLES * base.sample_interval_ns,
    )  # fmt: skip
    return _Task(strategy, base, feed, search, folds)


def _run(runner: asyncio.Runner, store: Store, task: _Task, threads: int | None, console: Console) -> dict[str, Any]:
    strategy = task.strategy
    memory = TrialMemory(store.database, strategy.strategy_id, task.feed, store.clock, runner.run)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("searching", total=None, left="")

        def show(step: OptimisationProgress) -> None:
            best = "" if step.best is None else f", best {step.best:,.6g}"
            left = "" if step.left_s is None else f"{step.left_s:,.0f} s left"
            place = f"fold {step.fold + 1} of {step.folds}{best}"
            bars.update(bar, completed=step.done, total=step.total, description=place, left=left)

        try:
            outcomes = optimise(
                task.base, task.feed, task.search, task.folds, memory=memory, progress=show, threads=threads
            )
        except KeyboardInterrupt:
            console.print("stopped: what has ended is kept; the same command goes on from there")
            raise SystemExit(130) from None
    if memory.recalled:
        console.print(f"{memory.recalled:,} runs were known and are not run again")
    tried = runner.run(count_trials(store.database, strategy.kind))
    head = {"strategy_id": str(strategy.strategy_id), "kind": strategy.kind, "sweep_id": str(memory.sweep_id)}
    pair = {"pair_id": str(task.base.instrument.pair_id), "data_hash": task.feed.data_hash}
    return report_of(outcomes, task.base.instrument, task.search, trials_of_kind=tried) | head | pair


def tell(made: dict[str, Any], currency: str, console: Console) -> None:
    """Print a report: out of sample, the folds, in sample, and what may be used from now on."""
    judged = made["out_of_sample"]
    if judged is not None:
        own = judged["unchanged"]
        table = Table("", "net P&L", "per hour", "max drawdown", "Sharpe", "fills", box=None, title="Out of sample")
        for name, found in (("chosen in training", judged), ("the strategy as it is", own)):
            table.add_row(name, *_figures(found))
        console.print(table)
        console.print(
            f"Folds in profit: {judged['folds_in_profit']} of {judged['folds']}; efficiency (earned per hour, of what training"
            f" earned): {_text(judged['efficiency'])}; probability that the Sharpe ratio is above 0:"
            f" {_text(judged['probabilistic_sharpe'])} {_verdict(judged['verdict'])}"
        )
    names = [each["name"] for each in made["stability"]]
    ratios = ("PBO", "deflated Sharpe")
    heads = ("test from", "out of sample", "in sample", "sets", *ratios, *names)
    table = Table(*heads, box=None, title="Folds, net P&L per hour")
    for fold in made["folds"]:
        tested = fold["out_of_sample"]
        table.add_row(
            "-" if fold["test"] is None else format_instant(int(fold["test"][0]) // NS_PER_SECOND * NS_PER_SECOND)[:19],
            "-" if tested is None else _money(tested["net_pnl_per_hour"]),
            _money(fold["in_sample"]["net_pnl_per_hour"]),
            f"{fold['sets']:,}",
            _text(fold["overfitting_probability"]),
            _text(fold["deflated_sharpe"]),
            *(f"{fold['parameters'][name]:.6g}" for name in names),
        )
    console.print(table)
    inner = made["in_sample"]
    console.print(
        f"In sample: {_money(inner['net_pnl_per_hour'])} per hour; probability of overfitting (PBO, mean):"
        f" {_text(inner['overfitting_probability'])} {_verdict(inner['overfitting_verdict'])}; deflated Sharpe (median):"
        f" {_text(inner['deflated_sharpe'])} {_verdict(inner['deflated_verdict'])}"
    )
    chosen = ", ".join(f"{name} {value:.6g}" for name, value in made["recommended"].items())
    console.print(f"Chosen by the last fold: {chosen}", markup=False)
    for each in made["stability"]:
        if each["at_bound"]:
            console.print(f"{each['name']}: chosen at a bound in {each['at_bound']} of {len(each['values'])} folds")
    console.print(f"Money in {currency}. {made['note']}", markup=False)


def _figures(found: dict[str, Any]) -> list[str]:
    amounts = [_money(found[name]) for name in ("net_pnl", "net_pnl_per_hour", "max_drawdown")]
    return [*amounts, _text(found["sharpe"]), f"{found['fills']:,}"]


def _money(text: str) -> str:
    """Return an amount with two decimals, or with three digits where it is below 0.1: one of coins."""
    amount = Decimal(text)
    places = 2 - amount.adjusted() if amount and abs(amount) < Decimal("0.1") else 2
    return f"{amount:,.{places}f}"


def _text(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.2f}"


def _verdict(word: str) -> str:
    return f"[{_STYLES[word]}]{word}[/]"
