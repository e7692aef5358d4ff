"""Recordings of every kind from file to result: imported by command, run by REST and by command, one result."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from e2e.service_process import ServiceProcess
from market_maker.domain.units import format_instant

BALANCE = Decimal(10_000_000)
DAYS_OF_NBBO = "2013-10-07"


@dataclass(frozen=True)
class Recording:
    """Files, the pair that they give, the range of the run (None: what is recorded) and what it must come to."""

    files: tuple[str, ...]
    venue: str
    symbol: str
    parameters: dict[str, Any]
    tables: tuple[str, ...]
    fills_min: int
    start: str | None = None
    end: str | None = None
    offsets: bool = False


RECORDINGS = {
    # L3 of a day of NASDAQ, asked for by its date.
    "lobster": Recording(
        ("lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip",), "nasdaq", "GOOG",
        {"half_spread_ticks": 5, "skew_ticks_per_lot": 0.01, "order_lots": 100, "max_inventory_lots": 1000},
        ("orders",), 1000, "2012-06-21", "2012-06-21",
    ),
    # L3 of two hours, of which one is the pre-opening.
    "databento": Recording(
        ("databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst",), "glbx-mdp3", "ESH4",
        {"half_spread_ticks": 1, "skew_ticks_per_lot": 0.05, "order_lots": 1, "max_inventory_lots": 10},
        ("orders",), 5, "2023-12-25T22:00:00Z",
    ),
    # L2 over midnight, in two files.
    "binance-spot": Recording(
        ("binance_collector/spot/btcusdt_20240808.gz", "binance_collector/spot/btcusdt_20240809.gz"), "binance-spot", "BTCUSDT",
        {"half_spread_ticks": 100, "skew_ticks_per_lot": 0.001, "order_lots": 5000, "max_inventory_lots": 50_000},
        ("book", "book"), 100, offsets=True,
    ),
    "binance-usdm": Recording(
        ("binance_collector/usdm/btcusdt_20240808.gz",), "binance-usdm", "BTCUSDT",
        {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}, ("book", "book"), 100,
        "2024-08-08T23:54:16Z", offsets=True,
    ),
    # Best quotes and, in a file of their own, trades without an aggressor; a session of NASDAQ given by its date.
    "lean": Recording(
        ("equity_nbbo_ticks/bac/20131007_quote.zip", "equity_nbbo_ticks/bac/20131007_trade.zip"), "us-equities", "BAC",
        {"half_spread_ticks": 0.5, "skew_ticks_per_lot": 0.0001, "order_lots": 500, "max_inventory_lots": 5000},
        ("bbo", "trades"), 200, DAYS_OF_NBBO, DAYS_OF_NBBO,
    ),
    # Ten snapshots of half a second, at one price and without trades: nothing can fill a quote beside them.
    "tardis": Recording(
        ("tardis_csv/binance-futures_book_snapshot_5_BTCUSDT.csv",), "binance-futures-sample", "BTCUSDT",
        {"half_spread_ticks": 1, "order_lots": 1, "interval_ns": 10_000_000}, ("book",), 0,
    ),
}  # fmt: skip


def command(service: ServiceProcess, *words: str) -> str:
    """Run a command on the service's database and folder; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    environment |= {
        "MM_DATABASE_URL": service.dsn, "MM_DATA_DIR": str(service.folder), "COLUMNS": "200",
        "MM_BACKTEST__DEFAULT_BALANCE": f"{BALANCE} USDT", "MM_BACKTEST__EXECUTION_DELAY": "1ms",
    }  # fmt: skip
    if "MM_KERNEL_CACHE" in os.environ:
        environment["MM_KERNEL_CACHE"] = os.environ["MM_KERNEL_CACHE"]
    done = subprocess.run(
        [sys.executable, "-m", "market_maker", *words],
        env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def served(
    _make_database: Callable[[str | None], str], _migrated_template: str, sample_data: Path
) -> Iterator[ServiceProcess]:
    """Yield a service with one worker and all recordings imported by command."""
    with tempfile.TemporaryDirectory(prefix="market-maker-recordings-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        settings = {
            "MM_BACKTEST__WORKERS": "1", "MM_BACKTEST__DEFAULT_BALANCE": f"{BALANCE} USDT",
            "MM_BACKTEST__EXECUTION_DELAY": "1ms",
        }  # fmt: skip
        service = ServiceProcess(_make_database(_migrated_template), Path(name) / "service", settings)
        try:
            asyncio.run(service.start())
            for recording in RECORDINGS.values():
                files = [str(sample_data / file) for file in recording.files]
                repair = ["--offset-negative-latency"] if recording.offsets else []
                command(service, "import", *files, "--venue", recording.venue, *repair)
            yield service
            assert service.faults() == []
        finally:
            service.close()


async def span_of(service: ServiceProcess, pair_id: str, recording: Recording) -> tuple[str, str]:
    days = (await service.get(f"/api/v1/market-data/catalogue?pair_id={pair_id}"))["items"]
    told = [day for day in days if day["kind"] in recording.tables and day["kind"] != "trades"]
    first, last = min(int(day["first_ts"]) for day in told), max(int(day["last_ts"]) for day in told)
    return recording.start or format_instant(first), recording.end or format_instant(last + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RECORDINGS))
async def test_a_recording_runs_by_rest_and_by_command_with_one_result(served: ServiceProcess, name: str) -> None:
    recording = RECORDINGS[name]
    pairs = (await served.get("/api/v1/pairs"))["items"]
    (pair,) = (p for p in pairs if (p["venue"], p["symbol"]) == (recording.venue, recording.symbol))
    span = await span_of(served, pair["pair_id"], recording)
    wish = {"name": name, "kind": "inventory_skew", "pair_id": pair["pair_id"], "parameters": recording.parameters}
    strategy = (await served.request("POST", "/api/v1/strategies", wish)).content["strategy_id"]

    run = {"strategy_id": strategy, "start_date": span[0], "end_date": span[1]}
    answer = await served.request("POST", "/api/v1/backtest", run)
    assert answer.status == 202, answer
    run_id = answer.content["run_id"]
    deadline = time.monotonic() + 120
    state: dict[str, Any] = {}
    while state.get("status") not in ("COMPLETED", "FAILED") and time.monotonic() < deadline:
        state = await served.get(f"/api/v1/backtest/runs/{run_id}")
        await asyncio.sleep(0.1)
    assert state["status"] == "COMPLETED", state
    printed = await asyncio.to_thread(command, served, "backtest", strategy, *span)
    by_command, by_rest = (await served.get(f"/api/v1/backtest/results/{strategy}"))["items"]
    assert by_rest["run_id"] == run_id
    assert by_command["digest"] == by_rest["digest"]
    assert by_rest["digest"] in printed

    whole = await served.get(f"/api/v1/backtest/runs/{run_id}/result")
    assert whole["reproducibility"]["coverage"] >= 0.99
    # The service's engine may tell the tables of the feed, see `Feed.tables`.
    tables = whole["reproducibility"].get("tables")
    assert tables is None or tuple(table["table"] for table in tables) == recording.tables
    assert whole["summary"]["fills"] >= recording.fills_min
    the_ledger_is_exact(whole)


def the_ledger_is_exact(whole: dict[str, Any]) -> None:
    """Cash, fees and inventory of the fills, valued at the last mid, are the final equity to the last digit."""
    summary, fills, equity = whole["summary"], whole["fills"], whole["equity"]
    cash, fees, position = Decimal(0), Decimal(0), Decimal(0)
    columns = ("side", "price", "quantity", "fee", "position")
    for side, price, quantity, fee, after in zip(*(fills[column] for column in columns), strict=True):
        signed = Decimal(quantity) * (1 if side == "BUY" else -1)
        assert signed != 0
        cash -= signed * Decimal(price)
        fees += Decimal(fee)
        position += signed
        assert position == Decimal(after)
    assert len(fills["price"]) == summary["fills"]
    assert Decimal(summary["position"]) == position
    assert Decimal(summary["fees"]) == fees
    if not fills["ts"] or int(fills["ts"][-1]) <= int(equity["ts"][-1]):
        worth = BALANCE + cash - fees + position * Decimal(equity["mid"][-1] if position else 0)
        assert Decimal(equity["equity"][-1]) == worth
    net = Decimal(summary["spread_capture"]) + Decimal(summary["inventory_pnl"]) - Decimal(summary["fees"])
    assert Decimal(summary["net_pnl"]) == net


_REPEAT = """
import json, sys
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psutil
from market_data_builders import import_files
from market_maker.backtest.engine import RunConfig, backtest
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import parse_instant
from market_maker.storage.lake import Lake

lake = Lake(Path(sys.argv[2]))
import_files([Path(sys.argv[1])], lake)
pair = Instrument(UUID(int=1), "nasdaq", "GOOG", "GOOG", "USD", Decimal("0.01"), Decimal(1))
parameters = {"half_spread_ticks": 5, "skew_ticks_per_lot": 0.01, "order_lots": 100, "max_inventory_lots": 1000}
start, end = parse_instant("2012-06-21", "start"), parse_instant("2012-06-21", "end", end_of_day=True)
config = RunConfig(pair, "inventory_skew", start, end, parameters, 1_000_000, 1_000_000, balance=Decimal(10_000_000))
process, rss, digests = psutil.Process(), [], set()
for _ in range(100):
    digests.add(backtest(config, lake).digest())
    rss.append(process.memory_info().rss)
print(json.dumps({"rss": rss, "digests": sorted(digests)}))
"""


@pytest.mark.slow
def test_a_hundred_runs_in_one_process_leave_its_memory_flat(sample_data: Path, tmp_path: Path) -> None:
    path = sample_data / "lobster" / "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", _REPEAT, str(path), str(tmp_path / "lake")],
        env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["digests"]) == 1
    grown = max(told["rss"][50:]) - max(told["rss"][10:20])
    assert grown < 8 << 20, [value >> 20 for value in told["rss"]]
