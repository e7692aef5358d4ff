"""The command `realism`: stylised facts of a recorded or the synthetic market, and how far they are from a recorded one's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from market_maker.bootstrap import open_store
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import NS_PER_SECOND, format_instant
from market_maker.performance.figures import Figure, Interval
from market_maker.performance.realism.measure import measure
from market_maker.performance.realism.metric import Metric
from market_maker.performance.realism.pictures import realism_chart
from market_maker.performance.realism.recorded import recorded_window
from market_maker.performance.realism.score import Scores, compare
from market_maker.performance.realism.told import realism_json
from market_maker.performance.realism.window import Window
from market_maker.settings import Settings
from market_maker.simulator.realism import simulated_window
from market_maker.synthetic.custom import read_custom
from market_maker.synthetic.flow.parameters import Conditions, ReferenceParameters, suited_design
from market_maker.venue.market.market import SyntheticMarket

_DEFAULT_PRICE_TICKS, _DEFAULT_LOT_VALUE, _LEAST_MIDS = 6_000_000, 1e-5, 60


class Span(NamedTuple):
    """A stretch of a recorded market: a pair by id or venue/symbol, and [start, end) ns."""

    pair: str
    start_ts: int
    end_ts: int


class Synthetic(NamedTuple):
    """The synthetic market: for how long, by which seed, and a file of parameters of mode CUSTOM, such as `calibrate` writes."""

    duration_ns: int
    seed: int
    custom: Path | None = None


def run_realism(
    settings: Settings,
    market: Span | Synthetic,
    *,
    reference: Span | None = None,
    allow_gaps: bool = False,
    seed: int = 0,
    json_path: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Measure a market, score it against a recorded reference if there is one, print both, and write what is asked for.

    Raises
    ------
    InvalidRequest
        A pair that is not there, a range that is empty or too long, a file that cannot be written.
    DataError
        Nothing recorded, or not enough of it.
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise InvalidRequest.of("--plot", str(plot), "a file that ends in .svg")
    plain = Console()
    console = plain if plain.is_terminal else Console(width=200)

    async def read() -> list[tuple[Instrument, Window]]:
        async with open_store(settings) as store:
            found = []
            for each in (market, reference):
                if isinstance(each, Span):
                    instrument = (await store.reference.pair_named(each.pair)).instrument
                    with console.status(f"reading {each.pair}"):
                        found.append(
                            (
                                instrument,
                                await asyncio.to_thread(
                                    recorded_window,
                                    store.lake,
                                    instrument,
                                    each.start_ts,
                                    each.end_ts,
                                    allow_gaps=allow_gaps,
                                ),
                            )
                        )
            return found

    known = asyncio.run(read()) if isinstance(market, Span) or reference is not None else []
    windows = [window for _, window in known]
    if isinstance(market, Synthetic):
        windows.insert(0, _simulated(settings, market, known[0] if known else None, console))
    with console.status("measuring"):
        measured = [measure(window) for window in windows]
        scores = compare(measured[0], measured[1], seed=seed) if len(measured) > 1 else None
    for window, metrics in zip(windows, measured, strict=True):
        tell_metrics(window, metrics, console)
    if scores is not None:
        tell_scores(scores, console)
    if json_path is not None:
        _write(json_path, json.dumps(realism_json(windows, measured, scores), indent=1), "--json", console)
    if plot is not None:
        names = [window.name for window in windows]
        shown = [name if names.count(name) == 1 else f"{name} {i}" for i, name in enumerate(names, 1)]
        _write(plot, realism_chart(dict(zip(shown, measured, strict=True))), "--plot", console)


def _simulated(
    settings: Settings, wish: Synthetic, reference: tuple[Instrument, Window] | None, console: Console
) -> Window:
    """Return the synthetic market, with price, tick and volatility of the reference; without one, those of the settings."""
    price_ticks, lot_value_ticks = _DEFAULT_PRICE_TICKS, _DEFAULT_LOT_VALUE
    process = ReferenceParameters(
        price_deviation=settings.simulator.price_deviation, step_ns=settings.simulator.market_update_interval
    )
    if reference is not None:
        instrument, window = reference
        lot_value_ticks = float(instrument.tick_lot)
        mids = window.mids(NS_PER_SECOND)
        mids = mids[np.isfinite(mids)]
        if len(mids) < _LEAST_MIDS:
            raise DataError(
                f"{window.name}: {len(mids)} seconds have a price; {_LEAST_MIDS} are needed for its volatility"
            )
        price_ticks = max(1, round(float(np.exp(mids[0]))))
        process = ReferenceParameters(price_deviation=float(np.std(np.diff(mids))) or 1e-6, step_ns=NS_PER_SECOND)
    custom = {} if wish.custom is None else read_custom(wish.custom)
    process = replace(process, **custom.get("reference", {}))
    design = suited_design(price_ticks=price_ticks, lot_value_ticks=lot_value_ticks, reference=process, seed=wish.seed)
    design = replace(design, flow=replace(design.flow, **custom.get("flow", {})))
    market = SyntheticMarket.create(design)
    market.set_conditions(Conditions(**custom.get("conditions", {})))
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("simulating", total=wish.duration_ns)
        return simulated_window(
            market, wish.duration_ns, f"synthetic, seed {wish.seed}",
            lambda done, _: bars.update(task, completed=done),
        )  # fmt: skip


def tell_metrics(window: Window, metrics: Sequence[Metric], console: Console) -> None:
    """Print a window's metrics."""
    title = f"{window.name}, {format_instant(window.start_ts)[:19]} to {format_instant(window.end_ts)[:19]}"
    table = Table("#", "metric", "figures", "real markets", box=None, title=title, title_justify="left")
    for metric in metrics:
        if metric.reason is not None:
            shown = f"not available: {metric.reason}"
        else:
            shown = ", ".join(f"{name} {_figure(figure)}" for name, figure in metric.figures.items())
        notes = "".join(f"\n! {note}" for note in metric.notes)
        unit = f", {metric.unit}" if metric.unit else ""
        table.add_row(str(metric.number), f"{metric.title}{unit}", shown + notes, metric.expected)
    console.print(table, markup=False)
    events = "-" if window.events is None else f"{len(window.events.ts):,}"
    console.print(
        f"{len(window.quotes.ts):,} changes of the best quotes, {len(window.trades.ts):,} trades, {events} events",
        markup=False,
    )


def tell_scores(scores: Scores, console: Console) -> None:
    """Print the distances from the reference."""
    title = "distance from the reference: 0 the same, 1 disjoint (99 % intervals)"
    table = Table("#", "metric", "W1", "L1", "", box=None, title=title, title_justify="left")
    for score in scores.scores:
        remark = "informational" if score.is_informational else ""
        if score.difference is not None:
            remark = f"curve, mean |difference| {score.difference:.3g}{', ' * bool(remark)}{remark}"
        if score.reason is not None:
            remark = f"not available: {score.reason}"
        table.add_row(str(score.number), score.title, _interval(score.w1), _interval(score.l1), remark)
    table.add_row("", "mean", _plain(scores.mean_w1), _plain(scores.mean_l1), "")
    console.print(table, markup=False)


def _figure(figure: Figure) -> str:
    return "-" if figure.value is None else f"{figure.value:.4g}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(interval: Interval | None) -> str:
    if interval is None or interval.estimate is None:
        return "-"
    text = f"{interval.estimate:.3f}"
    return text if interval.low is None else f"{text} ({interval.low:.3f} to {interval.high:.3f})"


def _write(path: Path, content: str, option: str, console: Console) -> None:
    try:
        path.write_text(content, "utf-8")
    except OSError as error:
        raise InvalidRequest.of(option, str(path), f"a file that can be written ({error.strerror})") from error
    console.print(f"{option.removeprefix('--')}: {path}", markup=False, soft_wrap=True)
