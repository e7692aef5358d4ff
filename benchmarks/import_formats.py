"""How fast files of each format come into the lake, beside polars merely parsing the same file; range reads; bytes at rest.

An import is whole: the file's checksum, exact numbers, the book rebuilt and judged, days written, synced and published. The
peer only parses the CSV into a frame (types inferred). Generated files look like a liquid pair's: clustered times, levels near
the touch, quantities of few digits. Reads: 10 million events of a prepared day into kernel arrays, checksums verified, beside
the bare sum of the same memory-mapped columns. Medians of several runs in turn; the last line is one JSON object.

Run: .venv/bin/python benchmarks/import_formats.py [--quick] [--rows N]
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import platform
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from statistics import median
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, Reading, stage
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import BOOK_SCHEMA, DAY_NS
from market_maker.market_data.service import coarsest
from market_maker.storage.lake import Lake, Table, day_of
from market_maker.storage.prepared import _seen

T0 = 19_700 * DAY_NS
Texts = dict[str, object]


def decimals(values: NDArray[np.int64], digits: int) -> pl.Series:
    """Return integers of 10**-digits as decimal text, as venues write it."""
    scale = 10**digits
    return pl.select(
        pl.concat_str(
            pl.lit(pl.Series(values // scale)).cast(pl.String), pl.lit("."),
            pl.lit(pl.Series(values % scale)).cast(pl.String).str.zfill(digits),
        )
    ).to_series()  # fmt: skip


def market(rows: int, seed: int = 7) -> dict[str, NDArray[np.int64]]:
    """Return a made-up market: times in ns, mid in ticks, sides, distances of levels, quantities in lots."""
    chance = np.random.default_rng(seed)
    gaps = np.where(chance.random(rows) < 0.25, chance.exponential(30e6, rows), 0).astype(np.int64)
    return {
        "ts": T0 + np.cumsum(gaps) // 1000 * 1000,
        "mid": 600_000 + np.cumsum(chance.integers(-1, 2, rows) * (chance.random(rows) < 0.05)),
        "side": np.where(chance.random(rows) < 0.5, 1, -1),
        "distance": 1 + (chance.exponential(12, rows)).astype(np.int64),
        "lots": (chance.lognormal(5, 1.5, rows)).astype(np.int64) + 1,
        "gone": (chance.random(rows) < 0.35).astype(np.int64),
    }


def tardis_l2(folder: Path, rows: int) -> Path:
    """Write changes of levels after a snapshot, as Tardis does."""
    m = market(rows)
    ts = m["ts"] // 1000
    # The touch stands still, so that the book is never crossed; levels around it come and go.
    price = 600_000 - m["side"] * m["distance"]
    snapshot = np.zeros(rows, bool)
    snapshot[:400] = True
    ts[:400] = ts[0]
    side = m["side"].copy()
    lots = np.where(m["gone"] & ~snapshot, 0, m["lots"])
    side[:200], side[200:400] = 1, -1
    price[:200], price[200:400] = 600_000 - 1 - np.arange(200), 600_000 + 1 + np.arange(200)
    frame = pl.DataFrame(
        {
            "exchange": pl.Series(["binance-futures"]).new_from_index(0, rows), "symbol": pl.Series(["BTCUSDT"]).new_from_index(0, rows),
            "timestamp": ts, "local_timestamp": ts + 3217, "is_snapshot": snapshot,
            "side": np.where(side > 0, "bid", "ask"), "price": decimals(price, 1), "amount": decimals(lots, 3),
        }
    )  # fmt: skip
    return gzipped(folder / "binance-futures_incremental_book_L2_2023-12-09_BTCUSDT.csv.gz", frame)


def tardis_trades(folder: Path, rows: int) -> Path:
    """Write trades as Tardis does."""
    m = market(rows)
    ts = m["ts"] // 1000
    frame = pl.DataFrame(
        {
            "exchange": pl.Series(["binance-futures"]).new_from_index(0, rows), "symbol": pl.Series(["BTCUSDT"]).new_from_index(0, rows),
            "timestamp": ts, "local_timestamp": ts + 3217, "id": 4_000_000_000 + np.arange(rows),
            "side": np.where(m["side"] > 0, "buy", "sell"), "price": decimals(m["mid"], 1), "amount": decimals(m["lots"], 3),
        }
    )  # fmt: skip
    return gzipped(folder / "binance-futures_trades_2023-12-09_BTCUSDT.csv.gz", frame)


def tardis_quotes(folder: Path, rows: int) -> Path:
    """Write best quotes as Tardis does."""
    m = market(rows)
    ts = m["ts"] // 1000
    frame = pl.DataFrame(
        {
            "exchange": pl.Series(["binance-futures"]).new_from_index(0, rows), "symbol": pl.Series(["BTCUSDT"]).new_from_index(0, rows),
            "timestamp": ts, "local_timestamp": ts + 3217, "ask_amount": decimals(m["lots"], 3), "ask_price": decimals(m["mid"] + 1, 1),
            "bid_price": decimals(m["mid"], 1), "bid_amount": decimals(m["lots"][::-1].copy(), 3),
        }
    )  # fmt: skip
    return gzipped(folder / "binance-futures_quotes_2023-12-09_BTCUSDT.csv.gz", frame)


def binance_trades(folder: Path, rows: int) -> Path:
    """Write trades as Binance's dumps have them."""
    m = market(rows)
    frame = pl.DataFrame(
        {
            "id": 4_000_000_000 + np.arange(rows), "price": decimals(m["mid"], 1), "qty": decimals(m["lots"], 3),
            "quote_qty": decimals(m["mid"] * m["lots"], 4), "time": m["ts"] // 1_000_000, "is_buyer_maker": m["side"] < 0,
        }
    )  # fmt: skip
    return zipped(folder / "BTCUSDT-trades-2023-12-09.zip", frame)


def binance_agg_trades(folder: Path, rows: int) -> Path:
    """Write aggregated trades as Binance's dumps have them."""
    m = market(rows)
    first = 4_000_000_000 + 2 * np.arange(rows)
    frame = pl.DataFrame(
        {
            "agg_trade_id": 2_000_000_000 + np.arange(rows), "price": decimals(m["mid"], 1), "quantity": decimals(m["lots"], 3),
            "first_trade_id": first, "last_trade_id": first + 1, "transact_time": m["ts"] // 1_000_000, "is_buyer_maker": m["side"] < 0,
        }
    )  # fmt: skip
    return zipped(folder / "BTCUSDT-aggTrades-2023-12-09.zip", frame)


def binance_book_ticker(folder: Path, rows: int) -> Path:
    """Write best quotes as Binance's dumps have them."""
    m = market(rows)
    time_ms = m["ts"] // 1_000_000
    frame = pl.DataFrame(
        {
            "update_id": 3_500_000_000_000 + np.cumsum(1 + m["gone"]), "best_bid_price": decimals(m["mid"], 1),
            "best_bid_qty": decimals(m["lots"], 3), "best_ask_price": decimals(m["mid"] + 1, 1),
            "best_ask_qty": decimals(m["lots"][::-1].copy(), 3), "transaction_time": time_ms, "event_time": time_ms + 4,
        }
    )  # fmt: skip
    return zipped(folder / "BTCUSDT-bookTicker-2023-12-09.zip", frame)


def bybit_trades(folder: Path, rows: int) -> Path:
    """Write trades as Bybit's dumps have them."""
    m = market(rows)
    frame = pl.DataFrame(
        {
            "timestamp": decimals(m["ts"] // 100_000, 4), "symbol": pl.Series(["BTCUSDT"]).new_from_index(0, rows),
            "side": np.where(m["side"] > 0, "Buy", "Sell"), "size": decimals(m["lots"], 3), "price": decimals(m["mid"], 1),
            "tickDirection": pl.Series(["ZeroPlusTick"]).new_from_index(0, rows), "trdMatchID": pl.Series(np.arange(rows)).cast(pl.String),
            "grossValue": m["lots"], "homeNotional": decimals(m["lots"], 3), "foreignNotional": decimals(m["lots"], 3),
        }
    )  # fmt: skip
    return gzipped(folder / "BTCUSDT2023-12-09.csv.gz", frame)


def lean_quotes(folder: Path, rows: int) -> Path:
    """Write one-sided NBBO rows as LEAN's zips have them."""
    m = market(rows)
    ms = 34_200_000 + (m["ts"] - T0) // 1_000_000 % 23_000_000
    ms.sort()
    is_bid = np.arange(rows) % 2 == 0
    price = 1_400_000 + (m["mid"] - 600_000) * 100
    lots = m["lots"] * 100
    frame = pl.DataFrame(
        {
            "ms": ms, "bid": np.where(is_bid, price, 0), "bid_size": np.where(is_bid, lots, 0),
            "ask": np.where(is_bid, 0, price + 100), "ask_size": np.where(is_bid, 0, lots),
            "exchange": pl.Series(["P"]).new_from_index(0, rows), "condition": pl.Series(["00000001"]).new_from_index(0, rows),
            "suspicious": np.zeros(rows, np.int64),
        }
    )  # fmt: skip
    return zipped(
        folder / "lean" / "bac" / "20131007_quote.zip", frame, header=False, member="20131007_bac_Tick_Quote.csv"
    )


def gzipped(path: Path, frame: pl.DataFrame) -> Path:
    """Write a frame as gzipped CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(csv_of(frame), 3))
    return path


def zipped(path: Path, frame: pl.DataFrame, *, header: bool = True, member: str = "") -> Path:
    """Write a frame as the CSV of a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        archive.writestr(member or path.with_suffix(".csv").name, csv_of(frame, header=header))
    return path


def csv_of(frame: pl.DataFrame, *, header: bool = True) -> bytes:
    """Return a frame as CSV."""
    out = io.BytesIO()
    frame.write_csv(out, include_header=header)
    return out.getvalue()


def parse(path: Path) -> int:
    """Let polars parse the file as anybody would, and return its rows."""
    has_header = "lean" not in path.parts
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return pl.read_csv(archive.read(archive.namelist()[0]), has_header=has_header).height
    return pl.read_csv(path, has_header=has_header).height


def bring_in(path: Path, root: Path) -> tuple[int, Lake]:
    """Import the file into an empty lake and return its rows; polars' peer and we read it from the same cache."""
    shutil.rmtree(root, ignore_errors=True)
    lake = Lake(root)
    reading = Reading([path], ImportOptions(), root)
    try:

        def instrument_of(stream: object) -> Instrument:
            same = [s for s in reading.streams if s.stream == stream]
            tick, lot = coarsest([s.price_step for s in same]), coarsest([s.qty_step for s in same])
            return Instrument(UUID(int=1), same[0].stream.venue, same[0].stream.symbol, "A", "B", tick, lot)

        report = stage(reading, lake, instrument_of)
        for day in report.days:
            lake.publish(day)
        return report.rows, lake
    finally:
        reading.close()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(make: Callable[[Path, int], Path], rows: int, runs: int, folder: Path) -> dict[str, float]:
    """Import and parse in turn; return rows a second of both, their ratio, and bytes a row at rest of the main table."""
    path = make(folder, rows)
    bring_in(path, folder / "lake")  # warm: kernels are loaded, the file is in the page cache
    parse(path)
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(timed(lambda: bring_in(path, folder / "lake")))
        theirs.append(timed(lambda: parse(path)))
    read, lake = bring_in(path, folder / "lake")
    files = [f for v, s in lake.symbols() for d in lake.days(v, s) for f in lake.describe(v, s, d).files]
    main = max(files, key=lambda file: file.rows)
    kept = [file for file in files if file.kind == main.kind]
    return {
        "rows": read,
        "rows_per_s": read / median(ours),
        "polars_rows_per_s": read / median(theirs),
        "ratio": median(b / a for a, b in zip(ours, theirs, strict=True)),
        "bytes_per_row": sum(f.bytes for f in kept) / sum(f.rows for f in kept),
    }


def range_read(events: int, runs: int, folder: Path) -> dict[str, float]:
    """Open a recorded day of so many events for a replay, beside summing the same columns as memory-mapped files."""
    m = market(events)
    ts = np.linspace(T0, T0 + DAY_NS - 1, events).astype(np.int64)
    side = m["side"].astype(np.int8)
    kind = np.where(np.arange(events) % 5 == 0, 2, 1).astype(np.int8)
    kind[:402] = 4
    kind[:2], side[:202], side[202:402] = 3, 1, -1
    side[1] = -1
    price = m["mid"] - m["side"] * m["distance"]
    price[2:202], price[202:402] = 600_000 - 1 - np.arange(200), 600_000 + 1 + np.arange(200)
    ts[:402] = ts[0]
    frame = pl.DataFrame(
        {
            "exch_ts": ts - 1_000_000, "local_ts": ts, "kind": kind, "side": side, "price_ticks": price, "qty_lots": m["lots"],
            "sequence": np.arange(events),
        },
        schema=BOOK_SCHEMA,
    )  # fmt: skip
    lake = Lake(folder / "range")
    steps = (Decimal("0.1"), Decimal("0.001"))
    lake.publish(
        lake.stage(
            venue="v", symbol="s", day=day_of(T0), tick_size=steps[0], lot_size=steps[1], tables={"book": Table(frame)}
        )
    )
    span = (int(ts[0]), int(ts[-1]) + 1)

    def ours() -> int:
        feed = open_feed(lake, "v", "s", *span, steps=steps)
        return sum(int(column.sum()) for rows in feed.local() for column in rows)

    ours()
    columns = next((folder / "range" / ".prepared").glob("*"))

    def raw() -> int:
        names = ("local_ts", "price_ticks", "qty_lots", "code")
        return sum(int(np.load(columns / f"{name}.npy", mmap_mode="r").sum()) for name in names)

    assert ours() == raw()
    firsts = []
    for _ in range(runs):
        _seen.clear()
        firsts.append((timed(ours), timed(raw)))
    pairs = [(timed(ours), timed(raw)) for _ in range(runs)]
    size = sum(path.stat().st_size for path in columns.glob("*.npy"))
    return {
        "events": events, "read_s": median(a for a, _ in pairs), "raw_s": median(b for _, b in pairs),
        "first_s": median(a for a, _ in firsts), "first_ratio": median(b / a for a, b in firsts),
        "ratio": median(b / a for a, b in pairs), "bytes_per_event_mapped": size / events,
    }  # fmt: skip


FORMATS = {
    "tardis_incremental_book_L2": tardis_l2, "tardis_trades": tardis_trades, "tardis_quotes": tardis_quotes,
    "binance_trades": binance_trades, "binance_aggTrades": binance_agg_trades, "binance_bookTicker": binance_book_ticker,
    "bybit_trades": bybit_trades, "lean_quotes": lean_quotes,
}  # fmt: skip


def main() -> None:
    """Measure every format, then the reads; print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller files, fewer runs: under 50 s")
    parser.add_argument("--rows", type=int, default=0, help="rows of each file")
    parser.add_argument("--only", choices=[*FORMATS, "range"], help="one format")
    options = parser.parse_args()
    rows = options.rows or (400_000 if options.quick else 3_000_000)
    runs = 3 if options.quick else 5
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {version('polars')}"
    )
    print(f"{rows:,} rows a file, {runs} runs\n")
    print(f"{'format':28} {'rows/s':>12} {'polars rows/s':>14} {'ratio':>6} {'bytes/row':>9}")
    found = {}
    for name, make in FORMATS.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="import-formats-") as folder:
                figures = found[name] = compare(make, rows, runs, Path(folder))
            print(
                f"{name:28} {figures['rows_per_s']:12,.0f} {figures['polars_rows_per_s']:14,.0f} {figures['ratio']:6.2f}"
                f" {figures['bytes_per_row']:9.2f}",
                flush=True,
            )
    result: dict[str, object] = {
        f"ratio_import_{name}_vs_polars_parse": round(f["ratio"], 3) for name, f in found.items()
    }
    result |= {f"bytes_per_row_{name}": round(f["bytes_per_row"], 2) for name, f in found.items()}
    if options.only in (None, "range"):
        with tempfile.TemporaryDirectory(prefix="import-formats-") as folder:
            read = range_read(2_000_000 if options.quick else 10_000_000, runs, Path(folder))
        print(
            f"\nrange read of {read['events']:,.0f} events: {read['first_s']:.3f} s the first time, checksums verified"
            f" (ratio {read['first_ratio']:.2f}), then {read['read_s']:.3f} s; raw memory-mapped {read['raw_s']:.3f} s;"
            f" {read['bytes_per_event_mapped']:.0f} bytes an event"
        )
        result["ratio_range_read_vs_raw_mmap"] = round(read["ratio"], 3)
        result["ratio_first_range_read_vs_raw_mmap"] = round(read["first_ratio"], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
