"""The command `market-maker`: serve, worker, import, backtest, compile, keys, demo.

It parses words, shows progress and prints; the work is done by the services.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from market_maker.domain.errors import InvalidRequest, MarketMakerError
from market_maker.domain.units import parse_instant
from market_maker.settings import Settings, load_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Config = Annotated[Path | None, typer.Option("--config", help="YAML file of settings (default: MM_CONFIG)")]
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
) -> None:
    """Run the service: API, simulated markets, relay and workers."""
    from market_maker.server import run_service  # the web server is loaded by those who serve

    given = [f"port={port}"] if port is not None else []
    given += [f"host={host}"] if host is not None else []
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
    paths: Annotated[list[Path], typer.Argument(help="files to import; the format is detected")],
    config: Config = None,
    setting: Set = None,
    offset_negative_latency: Annotated[
        bool, typer.Option(help="move the receive clock of a recording whose events arrive before they happen")
    ] = False,
) -> None:
    """Import recorded market data into the lake."""
    asyncio.run(_import(load_settings(config, overrides=setting or []), paths, offset_negative_latency))


@app.command()
def backtest(
    strategy: Annotated[UUID, typer.Argument(help="id of the strategy; see GET /api/v1/strategies")],
    start: Annotated[str, typer.Argument(help="first UTC date or timestamp")],
    end: Annotated[str, typer.Argument(help="last UTC date (included) or timestamp")],
    pair: Annotated[UUID | None, typer.Option(help="id of the pair; default: the strategy's own")] = None,
    allow_gaps: Annotated[bool, typer.Option(help="run although the data do not cover the range")] = False,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Run a backtest here and now, with a progress bar; its result is kept like any other."""
    asyncio.run(
        _backtest(
            load_settings(config, overrides=setting or []),
            {
                "strategy_id": strategy,
                "start_ts": parse_instant(start, "start"),
                "end_ts": parse_instant(end, "end", end_of_day=True),
                "pair_id": pair,
                "allow_gaps": allow_gaps,
            },
        )
    )


@app.command("compile")
def compile_kernels() -> None:
    """Compile the kernels into the cache; done by `make setup`, and by workers when a source has changed."""
    from market_maker.backtest.worker import warm_up

    warm_up()


@app.command()
def keys(
    scope: Annotated[str, typer.Argument(help="read, trade or admin")] = "trade",
) -> None:
    """Make an API key: prints it once, and the line for `api_keys` in the settings."""
    if scope not in ("read", "trade", "admin"):
        raise InvalidRequest.of("scope", scope, "read, trade or admin")
    key = secrets.token_urlsafe(32)
    print(f"key (kept by the caller, shown only now): {key}")
    print(f"setting: api_keys: [{scope}:{hashlib.sha256(key.encode()).hexdigest()}]")


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="a recording of your own to backtest on")] = None,
    config: Config = None,
    setting: Set = None,
) -> None:
    """Show the whole thing: a market, orders, a recording, a backtest and a risk figure."""
    from market_maker.demo import run

    run(load_settings(config, overrides=setting or []), data)


async def _import(settings: Settings, paths: list[Path], offset_negative_latency: bool) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from market_maker.bootstrap import open_store
    from market_maker.market_data.ingest import Repairs
    from market_maker.market_data.service import MarketDataService

    async with open_store(settings) as store:
        service = MarketDataService(store.database, store.reference, store.lake, store.clock)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        for path in paths:
            with Progress(*columns) as bars:
                task = bars.add_task(path.name, total=None)

                def note(done: int, total: int, task: Any = task, bars: Progress = bars) -> None:
                    bars.update(task, completed=done, total=total)

                repairs = Repairs(offset_negative_latency=offset_negative_latency)
                pair, report = await service.import_data(path, repairs=repairs, progress=note)
            days = ", ".join(f"{day.day} ({day.rows} rows)" for day in report.days)
            print(
                f"{path.name}: {pair.instrument.venue} {pair.instrument.symbol}, pair {pair.instrument.pair_id}: {days}"
            )


async def _backtest(settings: Settings, wish: dict[str, Any]) -> None:
    from rich.progress import Progress

    from market_maker.backtest.service import BacktestService, RunRequest
    from market_maker.backtest.worker import Worker
    from market_maker.bootstrap import open_store

    async with open_store(settings) as store:
        backtests = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
        run = await backtests.run_backtest(RunRequest(**wish))
        run_id = UUID(run["run_id"])
        one = Worker(store.database, store.reference, store.lake, store.clock, store.data_dir / "results")
        work = asyncio.create_task(one.run_now(run_id))
        with Progress() as bars:
            task = bars.add_task("replay", total=100)
            while run["status"] in ("PENDING", "RUNNING"):  # a worker of a running service may have been quicker
                await asyncio.sleep(0.1)
                if work.done():
                    await work
                run = await backtests.get_run(run_id)
                bars.update(task, completed=run["progress_percent"])
            await work
        if run["status"] != "COMPLETED":
            raise InvalidRequest(f"run {run_id}: {run['status']}: {run['error']}")
        results = await backtests.get_backtest_results(UUID(run["strategy_id"]), limit=1)
        print(f"run {run_id} completed; digest {results[0]['digest']}")
        for name, value in results[0]["summary"].items():
            print(f"  {name:26} {value}")
