"""The command `sweep`: many parameter sets of one strategy over one recorded market, each kept as soon as it is done.

It reads the grid, shows progress and prints the best; the runs are `backtest.sweep`, their keeping `backtest.trials`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from market_maker.backtest.cluster import ClusterPool, Recording
from market_maker.backtest.configuration import run_config
from market_maker.backtest.engine import RunConfig
from market_maker.backtest.request import RunRequest, configuration_of
from market_maker.backtest.sweep import ChunkPool, Stop, Threads
from market_maker.backtest.sweep_plan import check_values, choices_of, count_of, number_of, plan_sweep, values_between
from market_maker.backtest.trials import Plan, best_trials, count_trials, known_keys, run_plan, save_trials
from market_maker.bootstrap import Store, open_store
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.settings import Settings
from market_maker.storage.reference import Strategy
from market_maker.strategies.contract import find_strategy

BEST = 10
_PAGE = 1000
_GRID_FORM = "NAME=FIRST:LAST:STEP (both ends included) or NAME=VALUE,VALUE,..."
_COLUMNS = (
    TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
    TimeRemainingColumn(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A plan with what is told of it: its strategy, pair and swept names."""

    plan: Plan
    recording: Recording
    strategy: Strategy
    instrument: Instrument
    names: tuple[str, ...]


def parse_grid(words: Sequence[str]) -> dict[str, list[int | float]]:
    """Return the values of each parameter; whole numbers are integers, so that `1` and `1.0` are one trial.

    Raises
    ------
    InvalidRequest
        A word of another form, a name or value given twice, or more than 100,000 combinations.
    """
    values: dict[str, list[int | float]] = {}
    for word in words:
        name, found, text = word.partition("=")
        if not (name and found and text):
            raise InvalidRequest.of("--grid", word, _GRID_FORM)
        field = f"--grid {name}"
        if name in values:
            raise InvalidRequest.of(field, text, "each parameter once")
        choices = _range(field, text) if ":" in text else [_number(field, part) for part in text.split(",")]
        values[name] = choices_of(choices, field, text)
    count_of(values, "--grid")
    return values


def _range(field: str, text: str) -> list[Decimal]:
    parts = [_number(field, part) for part in text.split(":")]
    if len(parts) not in (2, 3):
        raise InvalidRequest.of(field, text, _GRID_FORM)
    first, last, step = (*parts, Decimal(1))[:3]
    return values_between(first, last, step, field=field, given=text)


def _number(field: str, text: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise InvalidRequest.of(field, text, _GRID_FORM) from None
    return number_of(value, field, text)


def run_sweep(
    settings: Settings,
    strategy: str,
    pair: str | None,
    wish: Callable[..., RunRequest],
    values: Mapping[str, Sequence[int | float]],
    *,
    threads: int | None,
    report: Path | None,
) -> None:
    """Try every set of the grid that was not tried before, keep each, and print the best ten.

    `strategy` by name or id, `pair` by id or as venue/symbol; `wish` makes the request of both ids.

    On the cluster of the setting `backtest.cluster_address`, or without one on `threads` of this machine. The sweep itself runs between the turns of the event loop, in the main thread, so that Ctrl-C stops it within a slice
    of a chunk; what has ended by then is kept, and the same command goes on from there.
    """
    address = settings.backtest.cluster_address
    if address and threads is not None:
        raise InvalidRequest.of("--threads", threads, f"none with the cluster {address}: its workers have their own")
    plain = Console()
    console = plain if plain.is_terminal else Console(width=250)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            store = runner.run(stack.enter_async_context(open_store(settings)))
            with console.status("reading the recorded market"):
                made = runner.run(_plan(store, settings, strategy, pair, wish, values))
            known = runner.run(known_keys(store.database, made.strategy.strategy_id, made.plan.keys))
            _run(runner, store, made, known, ClusterPool(address, made.recording) if address else threads, console)
            runner.run(_tell(store, made, console))
            if report is not None:
                runner.run(_report(store, made, report))
                console.print(f"report: {report}", markup=False)
        finally:
            runner.run(stack.aclose())


async def _plan(
    store: Store,
    settings: Settings,
    strategy_name: str,
    pair: str | None,
    make_wish: Callable[..., RunRequest],
    values: Mapping[str, Sequence[int | float]],
) -> _Sweep:
    """Return the sweep, with every set checked by the strategy's own schema before anything runs."""
    strategy = await store.reference.strategy_named(strategy_name)
    instrument = (await store.reference.pair_named(pair or str(strategy.pair_id))).instrument
    wish = make_wish(strategy_id=strategy.strategy_id, pair_id=instrument.pair_id)
    check_values(find_strategy(strategy.kind), values)
    base: RunConfig = run_config({"configuration": configuration_of(wish, settings.backtest)}, strategy, instrument)
    recording = Recording(
        str(store.lake.root.absolute()), settings.lake_url, instrument.venue, instrument.symbol, base.start_ts,
        base.end_ts, base.allow_gaps, (instrument.tick_size, instrument.lot_size),
    )  # fmt: skip
    plan = await asyncio.to_thread(plan_sweep, base, strategy.strategy_id, store.lake, values)
    return _Sweep(plan, recording, strategy, instrument, tuple(values))


def _run(
    runner: asyncio.Runner, store: Store, made: _Sweep, known: set[str], where: ChunkPool | int | None, console: Console
) -> None:
    """Run what is not known `where`: on a cluster, or on so many threads, whose passes move the bar while they are under way."""
    total = len(made.plan.keys)
    if known:
        console.print(f"{len(known):,} of {total:,} sets were tried before and are left out")
    bars, done = Progress(*_COLUMNS, console=console, transient=True), 0
    task = bars.add_task("sets", total=total - len(known))
    stop = Stop(lambda under_way: bars.update(task, completed=done + under_way))
    pool = Threads(where, stop) if where is None or isinstance(where, int) else where
    parts = run_plan(made.plan, known, pool=pool)
    try:
        with bars:
            for trials, step in parts:
                runner.run(save_trials(store.database, made.plan, trials, store.clock.now_ns()))
                done = step.done
                bars.update(task, completed=done + stop.under_way)
    except KeyboardInterrupt:
        # Asked of the database: the last chunk may have been kept in the moment of the interruption.
        kept = len(runner.run(known_keys(store.database, made.strategy.strategy_id, made.plan.keys)))
        console.print(f"stopped: {kept:,} of {total:,} sets are kept; the same command goes on from there")
        raise SystemExit(130) from None
    finally:
        parts.close()


async def _tell(store: Store, made: _Sweep, console: Console) -> None:
    best = await best_trials(store.database, made.strategy.strategy_id, made.plan.keys, BEST)
    columns = ("net P&L", "fees", "max drawdown", "Sharpe", "fills", "orders")
    table = Table("", *columns, *made.names, title=f"Best {len(best)} of {len(made.plan.keys):,} sets", box=None)
    for place, trial in enumerate(best, 1):
        summary = trial["summary"]
        ratio = summary["sharpe"]["ratio"]
        figures = [summary[name] for name in ("net_pnl", "fees", "max_drawdown")]
        counts = ["-" if ratio is None else f"{ratio:.2f}", f"{summary['fills']:,}", f"{summary['orders']:,}"]
        table.add_row(str(place), *figures, *counts, *(str(trial["parameters"][name]) for name in made.names))
    console.print(table)
    tried = await count_trials(store.database, made.strategy.kind)
    currency = made.instrument.settled_in
    console.print(f"Money in {currency}. Sweep {made.plan.sweep_id}; trials of {made.strategy.kind} so far: {tried:,}.")
    console.print(
        "The best of many trials is not evidence: some set always looks good by chance. Judge it on data that no trial has"
        f" seen, and count all {tried:,} trials.",
        markup=False,
    )


async def _report(store: Store, made: _Sweep, path: Path) -> None:
    """Write every trial in the order of the grid as JSON; a thousand at a time are in memory."""
    tried = await count_trials(store.database, made.strategy.kind)
    head = {
        "sweep_id": str(made.plan.sweep_id), "strategy_id": str(made.strategy.strategy_id), "kind": made.strategy.kind,
        "pair_id": str(made.instrument.pair_id), "sets": len(made.plan.keys), "trials_of_kind": tried,
    }  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "trials": [')
        before = "\n"
        for start in range(0, len(made.plan.keys), _PAGE):
            keys = made.plan.keys[start : start + _PAGE]
            trials = await best_trials(store.database, made.strategy.strategy_id, keys, len(keys))
            found = {trial["trial_key"]: trial for trial in trials}
            for trial in (found[key] for key in keys):
                file.write(before + json.dumps(trial))
                before = ",\n"
        file.write("\n]}\n")
