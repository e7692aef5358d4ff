"""A real recording from file to result: import, bars, backtest, the same digest in two processes."""

import os
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from market_data_builders import import_files
from market_maker.backtest.engine import RunConfig, backtest
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.prices import bars
from market_maker.performance.report import analyse
from market_maker.storage.lake import Lake

PAIR = Instrument(
    UUID(int=1), "binance-usdm", "BTCUSDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"),
    maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"),
)  # fmt: skip


@pytest.fixture(scope="module")
def imported(tmp_path_factory, request):
    return {"lake": Lake(tmp_path_factory.mktemp("recorded") / "lake")}


@pytest.fixture
def market(imported, sample_data):
    if "report" not in imported:
        path = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
        repaired = ImportOptions(repairs=Repairs(offset_negative_latency=True))
        imported["report"] = import_files([path], imported["lake"], PAIR, repaired)
    return imported["lake"], imported["report"]


def configured(report, **changes):
    values = {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}
    latency = {"entry_latency_ns": 10_000_000, "response_latency_ns": 10_000_000}
    span = {"start_ts": report.days[0].first_ts, "end_ts": report.days[-1].last_ts}
    return RunConfig(PAIR, "inventory_skew", **({"parameters": values} | latency | span | changes))


def test_counts_are_those_of_the_recording(market):
    _, report = market
    book, quotes = report.streams
    assert (report.counts["lines"], report.rows) == (93_954, book.rows + 66_089)
    assert {name: book.counts[name] for name in ("depth", "bookTicker", "trade", "snapshot")} == {
        "depth": 6_551, "bookTicker": 66_089, "trade": 21_313, "snapshot": 1,
    }  # fmt: skip
    assert "sequence_gaps" not in book.counts
    assert (book.figures["negative_latency_share"], book.figures["receive_time_reversals"]) == (1.0, 0)
    # The recorder's clock was slow: all latencies were between -1277 and -1215 ms, and one offset makes the smallest 1 ms.
    assert -1_277_000_000 < book.figures["smallest_latency_ns"] < -1_215_000_000
    assert report.offset_ns == 1_000_000 - min(stream.figures["smallest_latency_ns"] for stream in (book, quotes))
    figures = book.days[0][0].figures
    assert figures["crossed_share"] == 0.0
    # The largest is that of updates which were applied again after the late snapshot.
    assert 1_000_000 <= figures["latency_ns"]["min"] < figures["latency_ns"]["median"] < 63_000_000
    day = book.days[0][0].day
    assert day.file("book").bytes / day.file("book").rows < 12


def test_a_run_earns_and_loses_exactly(market):
    lake, report = market
    result = backtest(configured(report), lake)
    summary = result.summary
    assert summary.fills > 100
    assert summary.net_pnl == summary.spread_capture + summary.inventory_pnl - summary.fees
    assert summary.final_equity - summary.initial_balance == summary.net_pnl
    fills = result.fills
    assert int((fills["side"] * fills["qty_lots"]).sum()) == fills["position_lots"][-1]
    assert -int((fills["side"] * fills["qty_lots"] * fills["price_ticks"]).sum()) == fills["cash_tick_lots"][-1]
    position = result.final_position()
    assert (position.qty_lots, position.cash_tick_lots) == (fills["position_lots"][-1], fills["cash_tick_lots"][-1])
    assert int(fills["fee_tick_lots"].sum()) == fills["fees_tick_lots"][-1]
    assert analyse([result, result]).residual == 0


def test_two_processes_give_one_digest(market, tmp_path):
    lake, report = market
    here = backtest(configured(report), lake)
    program = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/..']\n"
        "import pathlib, test_recorded_market as t\n"
        "from types import SimpleNamespace as S\n"
        "a, b = int(sys.argv[3]), int(sys.argv[4])\n"
        "report = S(days=[S(first_ts=a, last_ts=b)])\n"
        "print(t.backtest(t.configured(report), t.Lake(pathlib.Path(sys.argv[2]))).digest())"
    )
    days = report.days
    arguments = [str(Path(__file__).parent), str(lake.root), str(days[0].first_ts), str(days[-1].last_ts)]
    there = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert there.stdout.strip() == here.digest()
    files = here.write(tmp_path / "run")
    assert [file["rows"] for file in files] == [here.samples.height, here.fills.height]
    again = type(here).read(tmp_path / "run")
    assert (again.digest(), again.summary) == (here.digest(), here.summary)
    columns = again.to_json_with_columns()
    assert Decimal(columns["fills"]["position"][-1]) == here.summary.position
    (tmp_path / "run" / "fills.parquet").write_bytes((tmp_path / "run" / "samples.parquet").read_bytes())
    with pytest.raises(DataError, match="run the backtest again"):
        type(here).read(tmp_path / "run")


def test_a_short_range_builds_the_book_from_the_days_beginning(market):
    lake, report = market
    start = report.days[0].first_ts + 60_000_000_000
    result = backtest(configured(report, start_ts=start, end_ts=start + 30_000_000_000), lake)
    assert result.samples["ts"][0] == start
    assert result.summary.orders > 0
    with pytest.raises(DataError, match="missing"):
        backtest(configured(report, start_ts=start, end_ts=start + 3_600_000_000_000), lake)


def test_progress_can_end_a_run(market):
    lake, report = market
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backtest(configured(report), lake, stop)
    assert 0 < seen[-1].events_done < seen[-1].events_total


def test_bad_configurations_are_named(market):
    lake, report = market
    with pytest.raises(InvalidRequest, match="balance"):
        backtest(configured(report, balance=Decimal("NaN")), lake)
    with pytest.raises(InvalidRequest, match="entry_latency_ns"):
        backtest(configured(report, entry_latency_ns=-1), lake)
    with pytest.raises(InvalidRequest, match="end_date"):
        backtest(configured(report, end_ts=1), lake)


def test_bars_of_the_recording(market):
    lake, _ = market
    # The quotes begin before the book is known; the offset has moved the end over midnight.
    days = [lake.describe("binance-usdm", "BTCUSDT", day) for day in lake.days("binance-usdm", "BTCUSDT")]
    start, end = days[0].first_ts, days[-1].last_ts
    series = bars(lake, "binance-usdm", "BTCUSDT", start, end, 1_000_000_000)
    assert len(series) == 346
    steps = {b.ts - a.ts for a, b in pairwise(series)}
    assert steps == {1_000_000_000}
    assert all(p.low_half_ticks <= p.close_half_ticks <= p.high_half_ticks for p in series)
