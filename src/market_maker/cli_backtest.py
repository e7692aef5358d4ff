"""The commands `backtest` and `explain`: a run here and now with a progress bar, and the story of one of its orders."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from market_maker.backtest.service import BacktestService, RunRequest
from market_maker.backtest.worker import Worker
from market_maker.bootstrap import open_store
from market_maker.domain.errors import Conflict, InvalidRequest
from market_maker.domain.units import NS_PER_SECOND, format_instant, parse_decimal, parse_duration
from market_maker.settings import Settings

_MONEY = frozenset({
    "net_pnl", "gross_pnl", "fees", "funding", "spread_capture", "inventory_pnl", "initial_balance", "final_equity",
    "max_drawdown", "turnover",
})  # fmt: skip
_BAND = {"pessimistic": "back of the queue", "queue": "by the queue model", "optimistic": "front of the queue"}


def execution_of(text: str | None, queue_model: str | None, queue_n: float | None) -> dict[str, Any] | None:
    """Return the options `execution` of the command line: JSON, or a file of it, with the queue model put over it.

    Raises
    ------
    InvalidRequest
        Neither a file nor JSON, or JSON that is no object.
    """
    options: Any = {}
    if text is not None:
        path = Path(text)
        try:
            is_file = not text.lstrip().startswith("{") and path.is_file()
            options = json.loads(path.read_text("utf-8") if is_file else text)
        except (ValueError, OSError) as error:
            raise InvalidRequest.of("--execution", text, f"JSON or the name of a file with it ({error})") from None
        if not isinstance(options, dict):
            raise InvalidRequest.of("--execution", text, 'an object such as {"queue_model": "POWER", "queue_n": 3}')
    given = {"queue_model": queue_model, "queue_n": queue_n}
    options |= {name: value for name, value in given.items() if value is not None}
    return options or None


def assumptions_of(
    execution: str | None,
    queue_model: str | None,
    queue_n: float | None,
    *,
    fill_model: str,
    latency: str | None,
    response_latency: str | None,
    balance: str | None,
) -> dict[str, Any]:
    """Return the fields of a `RunRequest` about fills, latency and funds; InvalidRequest names the option that is wrong."""
    back = None if response_latency is None else parse_duration(response_latency, "--response-latency")
    return {
        "execution": execution_of(execution, queue_model, queue_n),
        "fill_model": fill_model,
        "entry_latency_ns": None if latency is None else parse_duration(latency, "--latency"),
        "response_latency_ns": back,
        "balance": None if balance is None else parse_decimal(balance, "--balance"),
    }


def limits_of(words: Sequence[str] | None) -> list[dict[str, str]]:
    """Return the limits of the command line, `KIND=THRESHOLD` or `KIND=THRESHOLD:ON_BREACH`; the run checks them."""
    found = []
    for word in words or ():
        kind, is_given, rest = word.partition("=")
        threshold, _, on_breach = rest.partition(":")
        if not (kind and is_given and threshold):
            raise InvalidRequest.of("--limit", word, "KIND=THRESHOLD, or with :REDUCE or :HALT, as MAX_LOSS=500:HALT")
        found.append({"kind": kind, "threshold": threshold} | ({"on_breach": on_breach} if on_breach else {}))
    return found


def _left(run: dict[str, Any]) -> str:
    """Return in words how long a run still takes, as its worker tells it."""
    seconds = run["eta_seconds"]
    if run["status"] in ("PENDING", "RUNNING"):
        return "opening the recording" if seconds is None else f"{timedelta(seconds=round(seconds))} left"
    return ""


async def run_backtest(
    settings: Settings, strategy: str, pair: str | None, wish: Callable[..., RunRequest], others: Sequence[str] = ()
) -> None:
    """Queue a run, do it here and tell its figures, the band of assumptions first; InvalidRequest when it fails.

    `strategy` : its name or id. `pair`, `others` : that it trades, and those it trades at once, by id or as venue/symbol.
    `wish` : makes the request of the two ids and the rest
    """
    console = _console()
    async with open_store(settings) as store:
        named = [(await store.reference.pair_named(other)).instrument.pair_id for other in others]
        request = wish(
            strategy_id=(await store.reference.strategy_named(strategy)).strategy_id,
            pair_id=None if pair is None else (await store.reference.pair_named(pair)).instrument.pair_id,
            with_pairs=tuple(named),
        )
        backtests = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
        run = await backtests.run_backtest(request, is_queued=False)
        run_id = UUID(run["run_id"])
        one = Worker(store.database, store.reference, store.lake, store.clock, store.data_dir / "results")
        work = asyncio.create_task(one.run_now(run_id))
        try:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}"),
            )
            with Progress(*columns, console=console) as bars:
                task = bars.add_task("replay", total=100, left="opening the recording")
                while run["status"] in ("PENDING", "RUNNING"):
                    await asyncio.sleep(0.1)
                    if work.done():
                        await work
                    run = await backtests.get_run(run_id)
                    bars.update(task, completed=run["progress_percent"], left=_left(run))
                await work
        except asyncio.CancelledError:  # Ctrl-C
            with contextlib.suppress(Conflict):  # It has just ended.
                await backtests.cancel_run(run_id)
            await work
            console.print(f"stopped: run {run_id} is {(await backtests.get_run(run_id))['status']}")
            raise SystemExit(130) from None
        if run["status"] != "COMPLETED":
            raise InvalidRequest(f"run {run_id}: {run['status']}: {run['error']}")
        result = await backtests.get_result(run_id)
        currency = (await store.reference.pair(UUID(run["pair_id"]))).instrument.settled_in
    told = result.to_json()
    print(f"run {run_id} completed; digest {told['digest']}")
    _tell(told["summary"], currency, console)
    summary = told["summary"]
    if 2 * summary["orders_rejected"] > summary["orders"]:
        rejected = f"{summary['orders_rejected']:,} of {summary['orders']:,} orders were rejected"
        print(
            f"{rejected}, for lack of funds, by a limit, or post-only where they would have taken; `explain` tells which"
        )
    if not named:
        print(f"why an order did or did not fill: market-maker explain {run_id} ORDER")
    print(f"a page about the run: market-maker report {run_id}")


def _console() -> Console:
    """Return a console whose lines are not cut where nobody looks at them."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=250)


def _tell(summary: Mapping[str, Any], currency: str, console: Console) -> None:
    figures = dict(summary)
    band = figures.pop("band", None)
    if band is not None:
        table = Table("fills", f"net P&L, {currency}", "fills", "volume", "max drawdown", "Sharpe", box=None)
        for name, words in _BAND.items():
            one = band[name]
            ratio = "-" if one["sharpe"] is None else f"{one['sharpe']:.2f}"
            row = (one["net_pnl"], f"{one['fills']:,}", one["volume"], one["max_drawdown"], ratio)
            table.add_row(f"{name} ({words})", *row)
        console.print(table)
    if "limits" in figures:
        _tell_limits(figures.pop("limits"), console)
    if "legs" in figures:
        _tell_legs(figures.pop("legs"), currency, console)
    sharpe = figures.pop("sharpe")
    figures["sharpe"] = f"{sharpe['ratio']:.4f}" if sharpe["reason"] is None else sharpe["reason"]
    if "max_drawdown_duration_ns" in figures:
        figures["max_drawdown_duration"] = timedelta(seconds=figures.pop("max_drawdown_duration_ns") / NS_PER_SECOND)
    for part, values in (figures.pop("market_conditions", None) or {}).items():
        figures |= {f"{part} {name}": value for name, value in values.items()}
    for name, value in figures.items():
        print(f"  {name:30} {'-' if value is None else value}{f' {currency}' if name in _MONEY else ''}")


def _tell_legs(legs: Sequence[Mapping[str, Any]], currency: str, console: Console) -> None:
    table = Table("leg", f"net P&L, {currency}", "fees", "fills", "position", "max drawdown", box=None)
    for leg in legs:
        one = leg["summary"]
        figures = (one["net_pnl"], one["fees"], f"{one['fills']:,}", one["position"], one["max_drawdown"])
        table.add_row(f"{leg['venue']}/{leg['symbol']}", *figures)
    console.print(table)
    print("all together:")


def _tell_limits(limits: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table("limit", "threshold", "largest", "warned at", "breached at", "refused", "then", box=None)
    for one in limits:
        first = [
            "-" if one[f"{what}_ts"] is None else f"{format_instant(int(one[f'{what}_ts']))}: {one[f'{what}_value']}"
            for what in ("warned", "breached")
        ]
        then = one["state"] if one["hold_ts"] is None else f"{one['hold']} from {format_instant(int(one['hold_ts']))}"
        table.add_row(one["kind"], one["threshold"], one["largest"] or "-", *first, f"{one['refused']:,}", then)
    console.print(table)


async def run_explain(settings: Settings, run_id: UUID, order_id: int) -> None:
    """Print the story of an order of a completed run."""
    console = _console()
    async with open_store(settings) as store:
        backtests = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
        with console.status("doing the run again up to the end of the order"):
            story = await backtests.explain_order(run_id, order_id)
    table = Table("time", "best bid", "best ask", "what happened", box=None)
    for step in story.steps:
        table.add_row(format_instant(step.ts), f"{step.best_bid:f}", f"{step.best_ask:f}", step.text)
    console.print(f"order {order_id}, {story.side}, queue model {story.queue_model}", markup=False)
    console.print(table)
    console.print(story.verdict, markup=False)
