"""Every recording of the sample folder, imported: rows, seconds, verdict and what was found, as the table of the documentation.

Imports each file alone into an empty lake, with the option that its description asks for. The last line is one JSON object.

Run: .venv/bin/python benchmarks/import_samples.py [--quick] [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.importers import ReadOptions
from market_maker.market_data.ingest import ImportOptions, ImportReport, Reading, Repairs, stage
from market_maker.market_data.service import coarsest
from market_maker.storage.lake import Lake

PROJECT = Path(__file__).resolve().parents[1]
MAPPINGS = {
    "btcusdt-quotes.parquet": "binance_quotes_parquet", "btcusdt-trades.parquet": "binance_trades_parquet",
    "eurusd_histdata_ticks.csv": "eurusd_histdata_ticks", "arch_nasdaq.csv.gz": "nasdaq_daily_bars",
    "btc-perp-20211231-20220201_1m.csv.gz": "perpetual_minute_bars", "skfolio_sp500_dataset.csv.gz": "stock_closes_wide",
}  # fmt: skip
"""Tables of no format of the trade, and the mapping file of each."""


def options_of(path: Path) -> Iterator[tuple[str, ImportOptions]]:
    """Yield what to try with a file, and how that is told: as it is, then with the repair of a slow clock."""
    if path.name in MAPPINGS:
        mapping = PROJECT / "examples" / "mappings" / f"{MAPPINGS[path.name]}.yaml"
        yield f"--mapping {mapping.name}", ImportOptions(read=ReadOptions(mapping=mapping))
        return
    if path.suffix == ".feather":
        yield "--venue binance", ImportOptions(read=ReadOptions(venue="binance"))
        return
    yield "", ImportOptions()
    yield "--offset-negative-latency", ImportOptions(repairs=Repairs(offset_negative_latency=True))


def bring_in(path: Path, options: ImportOptions, root: Path) -> ImportReport:
    """Import a file into a new lake, all pairs new."""
    lake = Lake(root)
    reading = Reading([path], options, root)
    try:

        def instrument_of(stream: object) -> Instrument:
            same = [s for s in reading.streams if s.stream == stream]
            tick, lot = coarsest([s.price_step for s in same]), coarsest([s.qty_step for s in same])
            return Instrument(
                UUID(int=1), same[0].stream.venue, same[0].stream.symbol, "A", "B", tick or Decimal(1), lot
            )

        report = stage(reading, lake, instrument_of)
        for day in report.days:
            lake.publish(day)
        return report
    finally:
        reading.close()


def told(report: ImportReport) -> str:
    """Return the rules that did not pass."""
    found = [f for s in report.streams for f in [*s.findings, *(f for _, findings in s.days for f in findings)]]
    return ", ".join(sorted({finding.rule for finding in found}))


def main() -> None:
    """Import everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the same: it takes a few seconds")
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(os.environ.get("MM_SAMPLE_DATA") or PROJECT.parent / "shared" / "data"),
    )
    folder = parser.parse_args().folder
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {version('polars')}\n"
    )
    print("| file | rows | seconds | verdict | what it warns of |\n| --- | --- | ---: | --- | --- |")
    rows, seconds, files = 0, 0.0, 0
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md" and "SUMS" not in p.name):
        name = path.relative_to(folder)
        refusal = ""
        for words, options in options_of(path):
            with tempfile.TemporaryDirectory(prefix="import-samples-") as root:
                started = time.perf_counter()
                try:
                    report = bring_in(path, options, Path(root))
                except DataError as error:
                    refusal = refusal or error.detail.removeprefix(f"{path.name}: ").partition(";")[0][:90]
                    continue
                took = time.perf_counter() - started
            tables: dict[str, int] = {}
            for stream in report.streams:
                tables[stream.stream.table] = tables.get(stream.stream.table, 0) + stream.rows
            shown = ", ".join(f"{table} {count:,}" for table, count in tables.items())
            asked = f" (`{words}`)" if words else ""
            print(f"| {name}{asked} | {shown} | {took:.2f} | {report.verdict.value} | {told(report)} |", flush=True)
            rows, seconds, files = rows + report.rows, seconds + took, files + 1
            break
        else:
            print(f"| {name} | – | – | refused | {refusal} |", flush=True)
    print(json.dumps({"files": files, "rows": rows, "seconds": round(seconds, 2), "rows_per_s": round(rows / seconds)}))


if __name__ == "__main__":
    main()
