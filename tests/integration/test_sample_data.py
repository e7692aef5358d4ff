"""Every real recording comes in with the counts that its description states, or is refused for the reason it leads to expect."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from market_data_builders import import_files
from market_maker.domain.errors import DataError
from market_maker.market_data.book import Book
from market_maker.market_data.importers import ReadOptions
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.storage.lake import Lake

MAPPINGS = Path(__file__).resolve().parents[2] / "examples" / "mappings"
OFFSET = ImportOptions(repairs=Repairs(offset_negative_latency=True))
CCXT = ImportOptions(read=ReadOptions(venue="binance"))


def mapped(name: str) -> ImportOptions:
    return ImportOptions(read=ReadOptions(mapping=MAPPINGS / f"{name}.yaml"))


# file: options, {table: rows as read, over all symbols}, symbols, {count: number}
RECORDINGS = {
    "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip": (None, {"orders": 164_758}, 1, {"unknown_references": 2_831 + 532}),
    "lobster/LOBSTER_SampleFile_AAPL_2012-06-21_1.zip": (None, {"orders": 175_706}, 1, {"unknown_references": 14_980}),
    # 8,725 snapshot rows and the clear before them (two sides); 60,067 live rows of which fills and empty ones do not change the book.
    "databento/esh4-glbx-mdp3-20231224.mbo.dbn.zst": (None, {"orders": 8_727}, 1, {}),
    "databento/esh4-glbx-mdp3-20231225.mbo.dbn.zst": (None, {"orders": 62_423}, 1, {}),
    "databento/futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst": (None, {"trades": 120, "bbo": 2_168}, 1, {}),
    "databento/futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst": (None, {"trades": 120}, 1, {}),
    "databento/futures_ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst": (None, {"bars_60s": 60}, 2, {}),
    "binance_collector/usdm/btcusdt_20240808.gz": (
        OFFSET, {"book": 466_905, "bbo": 66_089}, 1, {"depth": 6_551, "bookTicker": 66_089, "trade": 21_313, "snapshot": 1},
    ),
    "binance_collector/spot/btcusdt_20240808.gz": (OFFSET, {"book": 135_865, "bbo": 28_040}, 1, {"snapshot": 1}),
    "binance_collector/spot/btcusdt_20240809.gz": (OFFSET, {"book": 184_168, "bbo": 45_134}, 1, {}),
    "equity_nbbo_ticks/bac/20131007_quote.zip": (None, {"bbo": 476_855}, 1, {}),
    "equity_nbbo_ticks/bac/20131008_quote.zip": (None, {"bbo": 576_096}, 1, {}),
    "equity_nbbo_ticks/ibm/20131007_quote.zip": (None, {"bbo": 109_067 - 1}, 1, {"suspicious": 1}),
    "equity_nbbo_ticks/ibm/20131008_quote.zip": (None, {"bbo": 125_750 - 1}, 1, {"suspicious": 1}),
    "equity_nbbo_ticks/bac/20131007_trade.zip": (None, {"trades": 88_172}, 1, {}),
    "equity_nbbo_ticks/bac/20131008_trade.zip": (None, {"trades": 125_872}, 1, {}),
    "equity_nbbo_ticks/ibm/20131007_trade.zip": (None, {"trades": 24_293}, 1, {}),
    "equity_nbbo_ticks/ibm/20131008_trade.zip": (None, {"trades": 33_381}, 1, {}),
    "tardis_csv/binance-futures_book_snapshot_5_BTCUSDT.csv": (None, {"book": 10 * (2 + 10)}, 1, {}),
    "tardis_csv/deribit_incremental_book_L2_BTC-PERPETUAL.csv": (None, {"book": 15 + 2}, 1, {}),
    "tardis_csv/bitmex_trades_XBTUSD.csv": (None, {"trades": 10}, 1, {}),
    "tardis_csv/huobi-dm-swap_quotes_BTC-USD.csv": (None, {"bbo": 10}, 1, {}),
    "binance_dumps/ADABTC-1m-2021-11-27.csv": (None, {"bars_60s": 10}, 1, {}),
    "binance_dumps/btcusdt-depth-snap.csv": (None, {"book": 102}, 1, {}),
    "venue_raw_ws/COINBASE.ws.28.0.gz": (OFFSET, {"book": 18_198}, 10, {"snapshots": 10, "updates": 9_719}),
    "venue_raw_ws/BITMEX.ws.1.0.gz": (None, {"book": 14_370, "bbo": 436}, 10, {}),
    "venue_raw_ws/BINANCE_FUTURES.ws.1.0.gz": (None, {"book": 6_388, "bbo": 613, "bars_60s": 4}, 4, {}),
    "nautilus_catalog/quotes.parquet": (None, {"bbo": 9_500}, 1, {}),
    "nautilus_catalog/bars.parquet": (None, {"bars_60s": 10}, 1, {}),
    "nautilus_catalog/btcusdt-quotes.parquet": (mapped("binance_quotes_parquet"), {"bbo": 451}, 1, {}),
    "nautilus_catalog/btcusdt-trades.parquet": (mapped("binance_trades_parquet"), {"trades": 2_001}, 1, {}),
    "fx_ticks/eurusd_histdata_ticks.csv": (mapped("eurusd_histdata_ticks"), {"bbo": 9_500}, 1, {}),
    "ohlcv/skfolio_sp500_dataset.csv.gz": (mapped("stock_closes_wide"), {"bars_86400s": 8_313 * 20}, 20, {}),
    "ohlcv/arch_nasdaq.csv.gz": (mapped("nasdaq_daily_bars"), {"bars_86400s": 5_031}, 1, {}),
    "ohlcv/btc-perp-20211231-20220201_1m.csv.gz": (mapped("perpetual_minute_bars"), {"bars_60s": 45_031}, 1, {}),
    "ohlcv/ETH_BTC-5m.feather": (CCXT, {"bars_300s": 5_760}, 1, {}),
    "ohlcv/LTC_BTC-5m.feather": (CCXT, {"bars_300s": 5_760}, 1, {}),
    "ohlcv/XLM_BTC-5m.feather": (CCXT, {"bars_300s": 5_760}, 1, {}),
    "ohlcv/spy.zip": (None, {"bars_86400s": 5_849}, 1, {}),
    "ohlcv/ibm.zip": (None, {"bars_86400s": 5_849}, 1, {}),
    "ohlcv/aig.zip": (None, {"bars_86400s": 5_849}, 1, {}),
    "ohlcv/bac.zip": (None, {"bars_86400s": 5_849}, 1, {}),
    "ohlcv/aapl.zip": (None, {"bars_86400s": 5_849}, 1, {}),
    "ohlcv/iwm.zip": (None, {"bars_86400s": 5_244}, 1, {}),
    "ohlcv/hour/spy.zip": (None, {"bars_3600s": 40_832}, 1, {}),
}  # fmt: skip
REFUSED = {
    # A continuation alone: its snapshots are in the other file, so that not one row can be used.
    "binance_dumps/btcusdt-depth-update.csv": "begins without a snapshot",
    "lobster/LOBSTER_SampleFiles_ReadMe.txt": "of no known format",
}
NOT_DATA = {"README.md", "formats.md", "SHA256SUMS"}
SPLITS = {
    "ohlcv/aapl.zip": "2014-06-09", "ohlcv/aig.zip": "2009-07-01", "ohlcv/bac.zip": "2004-08-30",
    "ohlcv/ibm.zip": "1999-05-27", "ohlcv/iwm.zip": "2005-06-09",
}  # fmt: skip


def rules(report) -> set[str]:
    found = [f for s in report.streams for f in [*s.findings, *(f for _, findings in s.days for f in findings)]]
    return {finding.rule for finding in found}


def figures(report, table: str) -> list[dict]:
    return [staged.figures for s in report.streams if s.stream.table == table for staged, _ in s.days]


@pytest.mark.parametrize("name", list(RECORDINGS))
def test_a_recording_comes_in_with_its_counts(sample_data, tmp_path, name):
    options, tables, symbols, counts = RECORDINGS[name]
    report = import_files([sample_data / name], Lake(tmp_path), None, options or ImportOptions())
    found: dict[str, int] = {}
    for stream in report.streams:
        found[stream.stream.table] = found.get(stream.stream.table, 0) + stream.rows
    assert found == tables
    assert len({(s.stream.venue, s.stream.symbol) for s in report.streams}) == symbols
    for count, number in counts.items():
        assert sum({s.stream.symbol: s.counts.get(count, 0) for s in report.streams}.values()) == number, count
    assert report.verdict != "FAIL"
    assert not report.forced
    for stream in report.streams:
        assert stream.figures.get("sequence_gaps", 0) == 0


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_cannot_be_used_is_refused(sample_data, tmp_path, name):
    with pytest.raises(DataError, match=REFUSED[name]):
        import_files([sample_data / name], Lake(tmp_path))
    assert not list(tmp_path.rglob("*.parquet"))


def test_every_file_is_accounted_for(sample_data):
    there = {str(p.relative_to(sample_data)) for p in sample_data.rglob("*") if p.is_file() and p.name not in NOT_DATA}
    assert there == RECORDINGS.keys() | REFUSED.keys()


@pytest.mark.parametrize("name", [n for n, (options, *_) in RECORDINGS.items() if options is OFFSET])
def test_a_slow_clock_is_refused_until_the_repair_is_asked_for(sample_data, tmp_path, name):
    with pytest.raises(DataError, match=r"negative_latency_share.*--offset-negative-latency"):
        import_files([sample_data / name], Lake(tmp_path))


def test_the_two_spot_files_are_one_recording_without_a_gap(sample_data, tmp_path):
    """0 sequence gaps across the midnight change of files; the second file holds no snapshot."""
    folder = sample_data / "binance_collector" / "spot"
    lake = Lake(tmp_path)
    options = ImportOptions(repairs=Repairs(offset_ns=1_278_000_000))
    for name in ("btcusdt_20240808.gz", "btcusdt_20240809.gz"):
        report = import_files([folder / name], lake, None, options)
    second = lake.describe("binance-spot", "BTCUSDT", report.days[0].day)
    assert second.gaps == ()
    assert second.carried_rows > 2_000
    assert [len(day["gaps"]) for day in figures(report, "book")] == [0]
    assert all(day["crossed_share"] == 0 for day in figures(report, "book"))
    assert len(second.file("book").origins) == 2, "the end of the first file reaches over midnight"


def test_snapshots_and_updates_in_files_of_their_own_are_read_together(sample_data, tmp_path):
    folder = sample_data / "binance_dumps"
    paths = [folder / "btcusdt-depth-update.csv", folder / "btcusdt-depth-snap.csv"]
    report = import_files(paths, Lake(tmp_path))
    assert sum(s.rows for s in report.streams) == 202
    assert "crossed_share" not in rules(report)


def test_the_pre_open_of_the_future_may_be_crossed(sample_data, tmp_path):
    """891 of 47,022 whole states are crossed, all before 23:00 UTC, when orders are collected and do not match."""
    report = import_files([sample_data / "databento" / "esh4-glbx-mdp3-20231225.mbo.dbn.zst"], Lake(tmp_path))
    (day,) = figures(report, "orders")
    assert day["states"]["PRE_OPEN"]["crossed"] == 891
    assert day["crossed_share"] == 0
    assert report.verdict == "PASS"


def test_the_nbbo_is_one_bid_and_one_ask(sample_data, tmp_path):
    """Keeping the last quote per exchange, as the column suggests, would leave 99 % crossed."""
    report = import_files([sample_data / "equity_nbbo_ticks" / "bac" / "20131007_quote.zip"], Lake(tmp_path))
    assert all(day["crossed_share"] < 0.001 for day in figures(report, "bbo"))


def test_off_exchange_prints_do_not_consume_a_queue(sample_data, tmp_path):
    """43 % of the trades of BAC on that day were reported by exchange D."""
    report = import_files([sample_data / "equity_nbbo_ticks" / "bac" / "20131007_trade.zip"], Lake(tmp_path))
    (stream,) = report.streams
    # Those between two ticks are counted and left out: they would be no whole ticks of the pair.
    prints = sum(day["off_book_prints"] for day in figures(report, "trades")) + stream.counts.get("off_tick_prints", 0)
    assert prints / 88_172 == pytest.approx(0.43, abs=0.01)


@pytest.mark.parametrize("name", list(SPLITS))
def test_splits_of_unadjusted_bars_are_found(sample_data, tmp_path, name):
    report = import_files([sample_data / name], Lake(tmp_path))
    assert "split_like_jumps" in rules(report)
    seen = {pl.from_epoch(pl.Series([int(j["ts"])]), "ns").dt.date()[0].isoformat()
            for day in figures(report, "bars_86400s") for j in day.get("jumps_seen", [])}  # fmt: skip
    assert SPLITS[name] in seen


def test_a_clean_series_of_bars_passes(sample_data, tmp_path):
    report = import_files([sample_data / "ohlcv" / "spy.zip"], Lake(tmp_path))
    assert (report.verdict, rules(report)) == ("PASS", set())


def test_l2_at_rest_takes_less_than_twelve_bytes_an_event(sample_data, tmp_path):
    path = sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"
    report = import_files([path], Lake(tmp_path), None, OFFSET)
    files = [file for day in report.days for file in day.files if file.kind == "book" and file.rows > 100_000]
    assert [round(file.bytes / file.rows) for file in files] == [4]


def test_the_late_snapshot_gives_a_book_that_is_never_crossed(sample_data, tmp_path):
    """The snapshot line comes after newer updates; taken as a plain reset it leaves 562 of 649 samples crossed."""
    lake = Lake(tmp_path)
    path = sample_data / "binance_collector" / "spot" / "btcusdt_20240808.gz"
    report = import_files([path], lake, None, OFFSET)
    rows = lake.read("binance-spot", "BTCUSDT", report.days[0].day, "book")
    book = Book(by_order=False)
    applied = book.apply(rows.with_columns(last=pl.lit(value=True)))
    quotes = applied.quotes[(applied.quotes[:, 0] > 0) & (applied.quotes[:, 2] > 0)]
    assert len(quotes) > 1_000
    assert (quotes[-1][0] < quotes[-1][2]).all()
