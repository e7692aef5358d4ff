"""The command `market-maker`: a service with simulated markets, backtests, risk figures, and the tools around them.

It parses words, shows progress and prints; the work is done by the services.

Longer than 500 lines because it is one list: commands with their options, nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from market_maker import (
    cli_db,
    cli_doctor,
    cli_fetch,
    cli_keys,
    cli_pair,
    cli_play,
    cli_risk,
    cli_scenario,
    cli_strategy,
)
from market_maker.cli_files import file_to_write
from market_maker.domain.errors import InvalidRequest, MarketMakerError
from market_maker.domain.units import parse_decimal, parse_duration, parse_instant
from market_maker.settings import load_settings

_HELP = (__doc__ or "").partition("\n\nLonger")[0]
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=_HELP)
app.command()(cli_doctor.doctor)
app.command()(cli_keys.keys)
app.command()(cli_play.play)
app.add_typer(cli_db.app, name="db")
app.add_typer(cli_fetch.app, name="fetch")
app.add_typer(cli_strategy.app, name="strategy")
app.add_typer(cli_pair.app, name="pair")
app.add_typer(cli_scenario.app, name="scenario")
app.add_typer(cli_risk.app, name="risk")

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
RunLimits = Annotated[
    list[str] | None,
    typer.Option("--limit", help="KIND=THRESHOLD, with :REDUCE or :HALT, as MAX_LOSS=500:HALT (repeatable)"),
]
FillModel = Annotated[str, typer.Option(help="PARTIAL or NO_PARTIAL")]
QueueModel = Annotated[
    str | None, typer.Option(help="RISK_AVERSE, POWER, POWER2, POWER3, LOG, LOG2, FIFO, FRONT or BACK")
]
QueueN = Annotated[float | None, typer.Option(help="exponent of POWER, POWER2, POWER3")]
Latency = Annotated[str | None, typer.Option(help="to the venue, such as 10ms (default: execution_delay)")]
ResponseLatency = Annotated[str | None, typer.Option(help="back from it (default: the same)")]
Balance = Annotated[str | None, typer.Option(help="funds at the start (default: default_balance)")]
SEED_MAX = 2**62
"""Room for the seeds that follow a first one, in 63 bits."""
RunSeed = Annotated[
    int, typer.Option("--seed", min=0, max=SEED_MAX, help="of drawn latencies and absent counterparties")
]
Execution = Annotated[
    str | None, typer.Option(help="latency, fees, funds and queue as JSON or the name of a file with it")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, such as simulator.execution_delay=50ms")]


def main() -> None:
    """Run the command; our own errors become one clear line and exit code 2."""
    try:
        app()
    except MarketMakerError as error:
        print(f"market-maker: {error.detail}", file=sys.stderr)
        raise SystemExit(2) from None


@app.command()
def serve(
    config: Config = None,
    setting: Set = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 picks a free one")] = None,
    host: Annotated[
        str | None, typer.Option(help="address to listen on; other than loopback only with API keys")
    ] = None,
    role: Annotated[
        str | None, typer.Option(help="all (default), api, relay or worker; see docs/howto/operate.md")
    ] = None,
    standby: Annotated[bool, typer.Option("--standby", help="wait for another service to end, then take over")] = False,
) -> None:
    """Run the service: API, simulated markets, relay and workers, or with --role one of its parts."""
    from market_maker.server import run_service  # the web server is loaded by those who serve

    given = [f"port={port}"] if port is not None else []
    given += [f"host={host}"] if host is not None else []
    given += [f"role={role.upper()}"] if role is not None else []
    given += ["standby=true"] if standby else []
    run_service(load_settings(config, overrides=[*(setting or []), *given]))


@app.command()
def worker(
    config: Config = None,
    setting: Set = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run queued backtests until stopped; any number of workers, on any machine that sees database and lake."""
    from market_maker.server import work

    asyncio.run(work(load_settings(config, overrides=setting or []), parent))


@app.command("import")
def import_files(
    paths: Annotated[list[Path], typer.Argument(help="files, or folders with files; formats are detected by content")],
    config: Config = None,
    setting: Set = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="name of the importer, where detection cannot tell")
    ] = None,
    venue: Annotated[str | None, typer.Option(help="venue in the lake, where the file does not say it")] = None,
    symbol: Annotated[str | None, typer.Option(help="symbol in the lake, where the file does not say it")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="of a file with many instruments: import this one (repeatable)")
    ] = None,
    date: Annotated[
        str | None, typer.Option(help="day of a file that holds times of day only, such as 2024-08-08")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="mapping file (YAML) of a CSV or Parquet table")] = None,
    tick_size: Annotated[str | None, typer.Option(help="tick of a new pair; default: found in the data")] = None,
    lot_size: Annotated[str | None, typer.Option(help="lot of a new pair; default: found in the data")] = None,
    contract_type: Annotated[
        str | None, typer.Option(help="SPOT, LINEAR or INVERSE, of a new pair; default: as the data says, else SPOT")
    ] = None,
    contract_multiplier: Annotated[
        str | None,
        typer.Option(help="what one unit of quantity of a new pair stands for, such as 50 for ES; default: 1"),
    ] = None,
    maker_fee: Annotated[str | None, typer.Option(help="fraction of the value, of a new pair, such as 0.0002")] = None,
    taker_fee: Annotated[str | None, typer.Option(help="fraction of the value, of a new pair, such as 0.0005")] = None,
    offset_negative_latency: Annotated[
        bool, typer.Option(help="repair: move the receive clock of a recording whose events arrive before they happen")
    ] = False,
    offset_ns: Annotated[int, typer.Option(help="repair: move the receive clock by so many ns")] = 0,
    sort: Annotated[
        bool, typer.Option(help="repair: order rows by receive time, then by the venue's sequence")
    ] = False,
    drop_off_book: Annotated[
        bool, typer.Option(help="repair: leave out prints that did not trade with the book")
    ] = False,
    force: Annotated[bool, typer.Option(help="import although a rule of quality fails; kept in the catalogue")] = False,
    replace: Annotated[bool, typer.Option(help="take the place of days that other files have given")] = False,
    together: Annotated[bool, typer.Option(help="read all files as one recording")] = False,
    again: Annotated[bool, typer.Option(help="import although the same files were imported before")] = False,
    report: Annotated[
        Path | None, typer.Option(help="write the reports to this file (.json or .html)", callback=file_to_write)
    ] = None,
) -> None:
    """Import recorded market data into the lake: whole or not at all, with a report of its quality; resumes when called again."""
    from market_maker.cli_import import run_import  # data frames are loaded by those who need them
    from market_maker.market_data.import_queue import options_of

    options = options_of(
        {
            "format": format_name, "venue": venue, "symbol": symbol, "symbols": only or [], "date": date, "tick_size": tick_size,
            "lot_size": lot_size, "offset_negative_latency": offset_negative_latency, "offset_ns": offset_ns, "sort": sort,
            "drop_off_book": drop_off_book, "force": force, "replace": replace, "contract_type": contract_type,
            "contract_multiplier": contract_multiplier, "maker_fee": maker_fee, "taker_fee": taker_fee,
        },
        mapping,
    )  # fmt: skip
    settings = load_settings(config, overrides=setting or [])
    if asyncio.run(run_import(settings, paths, options, together=together, again=again, report=report)):
        raise SystemExit(2)


@app.command()
def quality(
    pair: Annotated[str, typer.Argument(help="id of a pair, or venue/symbol")],
    first: Annotated[str | None, typer.Option("--from", help="first UTC day")] = None,
    last: Annotated[str | None, typer.Option("--to", help="last UTC day")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write the figures to this file (.json or .html)", callback=file_to_write)
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Measure the recorded days of a pair anew, checksums included; exit code 1 when a table fails."""
    from market_maker.cli_import import run_quality

    if asyncio.run(run_quality(load_settings(config, overrides=setting or []), pair, first, last, report)):
        raise SystemExit(1)


@app.command()
def backtest(
    strategy: Annotated[str, typer.Argument(help="name or id of the strategy; see `market-maker strategy list`")],
    start: Annotated[str, typer.Argument(help="first UTC date or timestamp")],
    end: Annotated[str, typer.Argument(help="last UTC date (included) or timestamp")],
    pair: Annotated[
        str | None, typer.Option(help="id of the pair, or venue/symbol; default: the strategy's own")
    ] = None,
    allow_gaps: Annotated[bool, typer.Option(help="run although the data do not cover the range")] = False,
    volatility: Annotated[
        float | None, typer.Option(help="scale the history to this standard deviation of daily log returns")
    ] = None,
    trend: Annotated[str | None, typer.Option(help="let the history end UP, DOWN or SIDEWAYS")] = None,
    volume_profile: Annotated[
        str | None, typer.Option(help="quantities of the history: LOW, NORMAL, HIGH or U_SHAPED")
    ] = None,
    fill_model: FillModel = "PARTIAL",
    queue_model: QueueModel = None,
    queue_n: QueueN = None,
    latency: Latency = None,
    response_latency: ResponseLatency = None,
    balance: Balance = None,
    seed: RunSeed = 0,
    execution: Execution = None,
    band: Annotated[bool, typer.Option(help="tell pessimistic and optimistic fills as well")] = True,
    record_orders: Annotated[bool, typer.Option(help="keep every decision and order event")] = False,
    limit: RunLimits = None,
    with_pairs: Annotated[
        list[str] | None,
        typer.Option("--with", help="a pair that the strategy trades at once: id, or venue/symbol (repeatable)"),
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Run a backtest here and now, with a progress bar; its result is kept like any other."""
    from market_maker.cli_backtest import assumptions_of, limits_of, run_backtest  # loads the engine
    from market_maker.market_data.conditions import MarketConditions
    from market_maker.service import RunRequest

    conditions = {"volatility": volatility, "trend": trend, "volume_profile": volume_profile}
    MarketConditions.of(conditions)
    wish = partial(
        RunRequest,
        start_ts=parse_instant(start, "start"),
        end_ts=parse_instant(end, "end", end_of_day=True),
        market_conditions=conditions,
        seed=seed,
        allow_gaps=allow_gaps,
        band=band,
        record_orders=record_orders,
        limits=limits_of(limit),
        **assumptions_of(
            execution, queue_model, queue_n, fill_model=fill_model, latency=latency, response_latency=response_latency,
            balance=balance,
        ),
    )  # fmt: skip
    asyncio.run(run_backtest(load_settings(config, overrides=setting or []), strategy, pair, wish, with_pairs or []))


@app.command()
def explain(
    run: Annotated[UUID, typer.Argument(help="id of a completed run")],
    order: Annotated[int, typer.Argument(help="id of an order of it, as in its fills")],
    config: Config = None,
    setting: Set = None,
) -> None:
    """Tell the whole story of one order of a backtest: the queue ahead, what moved it, why it did or did not fill."""
    from market_maker.cli_backtest import run_explain

    asyncio.run(run_explain(load_settings(config, overrides=setting or []), run, order))


@app.command()
def sweep(
    strategy: Annotated[str, typer.Argument(help="name or id of the strategy; what the grid leaves out is as in it")],
    start: Annotated[str, typer.Argument(help="first UTC date or timestamp")],
    end: Annotated[str, typer.Argument(help="last UTC date (included) or timestamp")],
    grid: Annotated[
        list[str], typer.Option(help="NAME=FIRST:LAST:STEP or NAME=VALUE,VALUE,... (repeatable; all combinations)")
    ],
    pair: Annotated[
        str | None, typer.Option(help="id of the pair, or venue/symbol; default: the strategy's own")
    ] = None,
    allow_gaps: Annotated[bool, typer.Option(help="run although the data do not cover the range")] = False,
    volatility: Annotated[
        float | None, typer.Option(help="scale the history to this standard deviation of daily log returns")
    ] = None,
    trend: Annotated[str | None, typer.Option(help="let the history end UP, DOWN or SIDEWAYS")] = None,
    volume_profile: Annotated[
        str | None, typer.Option(help="quantities of the history: LOW, NORMAL, HIGH or U_SHAPED")
    ] = None,
    fill_model: FillModel = "PARTIAL",
    queue_model: QueueModel = None,
    queue_n: QueueN = None,
    latency: Latency = None,
    response_latency: ResponseLatency = None,
    balance: Balance = None,
    seed: RunSeed = 0,
    execution: Execution = None,
    threads: Annotated[int | None, typer.Option(min=1, help="default: one for each processor")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786 (default: backtest.cluster_address)")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="write every trial to this file (.json)", callback=file_to_write)
    ] = None,
    limit: RunLimits = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Try many parameter sets in shared passes over one market; each is kept, and the same command goes on after a stop."""
    from market_maker.cli_backtest import assumptions_of, limits_of
    from market_maker.cli_sweep import parse_grid, run_sweep  # the engine is loaded by those who need it
    from market_maker.market_data.conditions import MarketConditions
    from market_maker.service import RunRequest

    conditions = {"volatility": volatility, "trend": trend, "volume_profile": volume_profile}
    MarketConditions.of(conditions)
    wish = partial(
        RunRequest, start_ts=parse_instant(start, "start"), end_ts=parse_instant(end, "end", end_of_day=True),
        market_conditions=conditions, seed=seed, allow_gaps=allow_gaps, band=False, limits=limits_of(limit),
        **assumptions_of(
            execution, queue_model, queue_n, fill_model=fill_model, latency=latency, response_latency=response_latency,
            balance=balance,
        ),
    )  # fmt: skip
    overrides = [*(setting or []), *([] if cluster is None else [f"backtest.cluster_address={cluster}"])]
    sweep_settings = load_settings(config, overrides=overrides)
    run_sweep(sweep_settings, strategy, pair, wish, parse_grid(grid), threads=threads, report=report)


@app.command()
def report(
    runs: Annotated[list[UUID], typer.Argument(help="ids of completed runs; several are set side by side")],
    output: Annotated[
        Path | None, typer.Option(help="file of the page (default: report-RUN.html here)", callback=file_to_write)
    ] = None,
    fragility: Annotated[
        bool, typer.Option("--fragility", help="also run them under other latencies, queue models and fees")
    ] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Write a report of runs: one HTML page that opens without a network."""
    from market_maker.cli_report import run_report  # statistics are loaded by those who need them

    asyncio.run(run_report(load_settings(config, overrides=setting or []), runs, output, fragility=fragility))


@app.command()
def analyze(
    runs: Annotated[list[UUID], typer.Argument(help="ids of completed runs; several are set side by side")],
    output: Annotated[
        Path | None, typer.Option(help="write every figure to this file (.json)", callback=file_to_write)
    ] = None,
    fragility: Annotated[
        bool, typer.Option("--fragility", help="also run them under other latencies, queue models and fees")
    ] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Print what runs earned, why, and whether to believe it."""
    from market_maker.cli_report import run_analysis

    asyncio.run(run_analysis(load_settings(config, overrides=setting or []), runs, output, fragility=fragility))


@app.command()
def optimise(
    strategy: Annotated[str, typer.Argument(help="name or id of the strategy; what is not searched is as in it")],
    start: Annotated[str, typer.Argument(help="first UTC date or timestamp")],
    end: Annotated[str, typer.Argument(help="last UTC date (included) or timestamp")],
    param: Annotated[
        list[str], typer.Option(help="NAME=LOW:HIGH, NAME=LOW:HIGH:STEP or NAME=LOW:HIGH:log (repeatable)")
    ],
    search: Annotated[str, typer.Option(help="grid, random or bayes")] = "random",
    trials: Annotated[int, typer.Option(min=1, help="sets in each fold, at most")] = 200,
    objective: Annotated[
        str, typer.Option(help="net_pnl, sharpe, sortino, pnl_over_drawdown or pnl_per_turnover")
    ] = "net_pnl",
    folds: Annotated[int, typer.Option(min=0, help="0: nothing is held back, and nothing proved")] = 4,
    method: Annotated[str, typer.Option(help="walk-forward or purged")] = "walk-forward",
    train_parts: Annotated[int, typer.Option(min=1, help="walk-forward: how many tests a training part is long")] = 3,
    anchored: Annotated[bool, typer.Option(help="walk-forward: every training part begins with the range")] = False,
    embargo: Annotated[str, typer.Option(help="left out between training and test, such as 30s")] = "0s",
    seed: Annotated[
        int, typer.Option(min=0, max=SEED_MAX, help="of the search; the same seed tries the same sets")
    ] = 0,
    pair: Annotated[
        str | None, typer.Option(help="id of the pair, or venue/symbol; default: the strategy's own")
    ] = None,
    allow_gaps: Annotated[bool, typer.Option(help="run although the data do not cover the range")] = False,
    fill_model: FillModel = "PARTIAL",
    queue_model: QueueModel = None,
    queue_n: QueueN = None,
    latency: Latency = None,
    response_latency: ResponseLatency = None,
    balance: Balance = None,
    execution: Execution = None,
    limit: RunLimits = None,
    threads: Annotated[int | None, typer.Option(min=1, help="default: one for each processor")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write folds, equity and figures to this file (.json)", callback=file_to_write)
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Search parameters on parts of a recording and judge the choice on the others, which is shown first; goes on after a stop."""
    from market_maker.cli_backtest import assumptions_of, limits_of
    from market_maker.cli_optimise import Wish, run_optimise, word_of  # the engine is loaded by those who need it
    from market_maker.service import RunRequest

    request = partial(
        RunRequest, start_ts=parse_instant(start, "start"), end_ts=parse_instant(end, "end", end_of_day=True),
        allow_gaps=allow_gaps, band=False, limits=limits_of(limit),
        **assumptions_of(
            execution, queue_model, queue_n, fill_model=fill_model, latency=latency, response_latency=response_latency,
            balance=balance,
        ),
    )  # fmt: skip
    wish = Wish(
        param, *word_of(search, method), trials=trials, objective=objective, folds=folds,
        embargo_ns=parse_duration(embargo, "--embargo"), train_parts=train_parts, is_anchored=anchored, seed=seed,
        threads=threads,
    )  # fmt: skip
    run_optimise(load_settings(config, overrides=setting or []), strategy, pair, request, wish, report)


@app.command()
def calibrate(
    pair: Annotated[str, typer.Argument(help="id of a pair, or venue/symbol")],
    start: Annotated[str, typer.Argument(help="first UTC date or timestamp")],
    end: Annotated[str, typer.Argument(help="last UTC date (included) or timestamp")],
    model: Annotated[str, typer.Option(help="intensity, or queue-reactive: a market for mode CUSTOM")] = "intensity",
    levels: Annotated[int, typer.Option(help="queue-reactive: distances from the other side's best price")] = 20,
    step_ticks: Annotated[int, typer.Option(help="queue-reactive: ticks that a level is wide")] = 1,
    jumps: Annotated[
        bool,
        typer.Option(help="queue-reactive: find theta and theta_reinit, so that the price moves as much as it did"),
    ] = True,
    parameters: Annotated[
        Path | None,
        typer.Option(
            help="queue-reactive: write the market's parameters to this file (.yaml or .json)", callback=file_to_write
        ),
    ] = None,
    interval: Annotated[str, typer.Option(help="for how long a quote would stand")] = "100ms",
    depth_step: Annotated[float, typer.Option(help="ticks between the distances of the fit")] = 1.0,
    max_inventory: Annotated[int, typer.Option(min=1, help="lots, for the suggested risk aversion")] = 10,
    horizon: Annotated[str, typer.Option(help="session of avellaneda_stoikov, for its risk aversion")] = "10m",
    allow_gaps: Annotated[bool, typer.Option(help="estimate although the data do not cover the range")] = False,
    report: Annotated[
        Path | None, typer.Option(help="write the figures to this file (.json)", callback=file_to_write)
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Estimate volatility and trading intensity (sigma, A, k) of a recorded market, with standard errors, by hour too.

    With --model queue-reactive: rates of orders by the queue that they meet, as a synthetic market of mode CUSTOM.
    """
    from market_maker.cli_calibrate import QueueWish, run_calibrate, run_queue_reactive  # loads data frames

    if model == "queue-reactive":
        run_queue_reactive(
            load_settings(config, overrides=setting or []), pair, parse_instant(start, "start"),
            parse_instant(end, "end", end_of_day=True), allow_gaps=allow_gaps,
            wish=QueueWish(levels, step_ticks, parameters, report, jumps=jumps),
        )  # fmt: skip
        return
    if model != "intensity":
        raise InvalidRequest.of("--model", model, "intensity, queue-reactive")
    run_calibrate(
        load_settings(config, overrides=setting or []), pair, parse_instant(start, "start"),
        parse_instant(end, "end", end_of_day=True), allow_gaps=allow_gaps,
        interval_ns=parse_duration(interval, "--interval"), depth_step_ticks=depth_step, max_inventory_lots=max_inventory,
        horizon_ns=parse_duration(horizon, "--horizon"), report=report,
    )  # fmt: skip


@app.command("avellaneda-stoikov")
def avellaneda_stoikov(
    gamma: Annotated[float, typer.Option(help="risk aversion; the paper has tables for 0.1, 0.01 and 1")] = 0.1,
    paths: Annotated[int, typer.Option(min=2, help="simulated sessions")] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="the same seed gives the same table")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="draw a path and the profits into this file (.svg)", callback=file_to_write)
    ] = None,
) -> None:
    """Reproduce the tables of Avellaneda and Stoikov (2008) with the shipped strategy, beside the paper's figures."""
    from market_maker.cli_avellaneda import run_avellaneda  # kernels are loaded by those who need them

    run_avellaneda(gamma=gamma, paths=paths, seed=seed, plot=plot)


@app.command()
def realism(
    market: Annotated[str, typer.Argument(help="id of a pair, venue/symbol, or `synthetic`")],
    start_date: Annotated[str | None, typer.Option(help="first UTC date or timestamp")] = None,
    end_date: Annotated[str | None, typer.Option(help="last UTC date (included) or timestamp")] = None,
    duration: Annotated[str, typer.Option(help="of the synthetic market")] = "6h",
    market_seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="of the synthetic market")] = 1,
    custom: Annotated[
        Path | None,
        typer.Option(help="of the synthetic market: parameters of mode CUSTOM (YAML), such as `calibrate` writes"),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="pair to score against: id, or venue/symbol")] = None,
    reference_start: Annotated[str | None, typer.Option(help="of the reference (default: start date)")] = None,
    reference_end: Annotated[str | None, typer.Option(help="of the reference (default: end date)")] = None,
    allow_gaps: Annotated[bool, typer.Option(help="measure although the data do not cover the range")] = False,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="of the intervals of scores")] = 0,
    json: Annotated[
        Path | None, typer.Option(help="write figures, curves and scores to this file (.json)", callback=file_to_write)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw the metrics into this file (.svg)", callback=file_to_write)
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Measure twenty stylised facts of a recorded or the synthetic market, and how far they are from a reference's."""
    from market_maker.cli_realism import Span, Synthetic, run_realism  # statistics are loaded by those who need them

    def span(of: str, start: str | None, end: str | None) -> Span:
        if start is None or end is None:
            raise InvalidRequest.of("--start-date, --end-date", "none", f"both, for the recorded market {of}")
        return Span(of, parse_instant(start, "start_date"), parse_instant(end, "end_date", end_of_day=True))

    is_synthetic = market == "synthetic"
    if custom is not None and not is_synthetic:
        raise InvalidRequest.of("--custom", str(custom), "none for a recorded market")
    simulated = Synthetic(parse_duration(duration, "--duration"), market_seed, custom)
    run_realism(
        load_settings(config, overrides=setting or []),
        simulated if is_synthetic else span(market, start_date, end_date),
        reference=None if reference is None else span(reference, reference_start or start_date, reference_end or end_date),
        allow_gaps=allow_gaps, seed=seed, json_path=json, plot=plot,
    )  # fmt: skip


@app.command()
def simulate(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help="kind of strategy, see `market-maker strategy kinds`; or id or name of one that is kept, whose results are kept, too",
        ),
    ],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE (repeatable); the others have defaults")] = None,
    mode: Annotated[
        str, typer.Option(help="NORMAL, STRESS (with scenarios) or CUSTOM (with parameters of a file)")
    ] = "NORMAL",
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="NAME[:PARAMETER=VALUE,starts_in=10m,repeats_every=1h] of mode STRESS (repeatable)"),
    ] = None,
    custom: Annotated[
        Path | None, typer.Option(help="YAML file of mode CUSTOM with the sections flow, reference, conditions")
    ] = None,
    duration: Annotated[str, typer.Option(help="of each seed")] = "1h",
    seeds: Annotated[int, typer.Option(min=1, help="how many markets")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="the first one")] = 1,
    latency: Annotated[str, typer.Option(help="one way, there and back")] = "10ms",
    balance: Annotated[str, typer.Option(help="funds at the start, in quote currency")] = "100000",
    process: Annotated[str, typer.Option(help="of the reference price, such as GBM or HESTON")] = "GBM",
    volatility: Annotated[float, typer.Option(help="multiplier of the reference price's deviation")] = 1.0,
    activity: Annotated[float, typer.Option(help="multiplier of all rates")] = 1.0,
    liquidity: Annotated[float, typer.Option(help="multiplier of the rate of limit orders")] = 1.0,
    spread_steps: Annotated[int, typer.Option(min=0, help="how many levels farther away all quotes are")] = 0,
    buy_bias: Annotated[float, typer.Option(help="share of market orders forced to buy; negative: to sell")] = 0.0,
    price: Annotated[
        str | None, typer.Option(help="the market begins at (default: the pair's first price, or 50000)")
    ] = None,
    price_deviation: Annotated[float, typer.Option(help="of the reference price in a second, relative")] = 0.0001,
    tick_size: Annotated[str, typer.Option(help="of a kind; a kept strategy has its pair's")] = "0.01",
    lot_size: Annotated[str, typer.Option(help="of a kind; a kept strategy has its pair's")] = "0.00001",
    maker_fee: Annotated[str, typer.Option(help="share of the value; negative is a rebate")] = "0",
    taker_fee: Annotated[str, typer.Option(help="share of the value")] = "0",
    keep_runs: Annotated[
        int, typer.Option(min=0, max=1000, help="of so many seeds the results of a kept strategy are kept")
    ] = 10,
    against: Annotated[str | None, typer.Option(help="a second kind of strategy, on the same seeds")] = None,
    against_param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the second (repeatable)")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="default: one for each processor")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write all figures to this file (.json)", callback=file_to_write)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw paths and results into this file (.svg)", callback=file_to_write)
    ] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Test a strategy on many simulated markets, as fast as possible: results with confidence intervals."""
    # Kernels are loaded by those who need them.
    from market_maker.cli_simulate import MarketWish, SimulateWish, find_kept, mode_options, run_simulate

    wait_ns = parse_duration(latency, "--latency")
    scenarios, parameters = mode_options(mode, scenario or [], custom)
    settings = load_settings(config, overrides=setting or [])
    kept = find_kept(settings, kind, keep_runs)
    begins_at = "50000" if kept is None or kept.price is None else f"{kept.price:f}"
    market = MarketWish(
        price=parse_decimal(price or begins_at, "--price"), tick_size=parse_decimal(tick_size, "--tick-size"),
        lot_size=parse_decimal(lot_size, "--lot-size"), maker_fee=parse_decimal(maker_fee, "--maker-fee"),
        taker_fee=parse_decimal(taker_fee, "--taker-fee"), process=process, price_deviation=price_deviation,
        volatility=volatility, activity=activity, liquidity=liquidity, spread_steps=spread_steps, buy_bias=buy_bias,
        custom=parameters,
    )  # fmt: skip
    wish = SimulateWish(
        parse_duration(duration, "--duration"), seeds, seed, wait_ns, wait_ns, parse_decimal(balance, "--balance"),
        threads=threads, market=market, scenarios=scenarios,
    )  # fmt: skip
    run_simulate(
        kind if kept is None else kept.strategy.kind, param or [], wish, against=against,
        against_parameters=against_param or [], kept=kept, report=report, plot=plot,
    )  # fmt: skip


@app.command("compile")
def compile_kernels(
    every: Annotated[
        bool, typer.Option("--all", help="also what only `simulate` and batches of risk figures use")
    ] = False,
    part: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compile the kernels into the cache; done by `make setup`, and by workers when a source has changed."""
    from market_maker.warm_up import PARTS, USUAL, compile_part, compile_side_by_side

    if part is not None:
        compile_part(part)
    else:
        compile_side_by_side(tuple(PARTS) if every else USUAL)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="a recording of your own to backtest on")] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Show the whole thing: a market, orders, a recording, a backtest and a risk figure."""
    from market_maker.demo import run

    run(load_settings(config, overrides=setting or []), data)
