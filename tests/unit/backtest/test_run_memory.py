"""What a run needs of a process: no library that it does not use, and memory neither for all of its day nor for the compiler."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis_builders import a_config, a_result, walking_feed
from market_maker.backtest import drive
from market_maker.backtest.quotes import Quotes
from market_maker.domain.units import DAY_NS
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import BOOK_SCHEMA
from market_maker.storage.lake import Lake, Table, day_of

T0 = 1_699_920_000_000_000_000
ROWS = 1_500_000
HEAVY = ("polars", "scipy.linalg", "pyarrow", "pydantic", "psycopg", "litestar", "market_maker.market_data.feed")

_RUN = f"""
import json, sys
from decimal import Decimal
from pathlib import Path
from uuid import UUID
from market_maker.backtest.compiled import compiled_kernel
from market_maker.backtest.engine import RunConfig, run
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import DAY_NS
from market_maker.market_data.replay import open_feed
from market_maker.storage.lake import Lake
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import find_strategy

def memory(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

def compiler_kib():
    # Resident memory of LLVM's code.
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            inside = line.endswith("libllvmlite.so") and " r-xp " in line
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found

T0 = {T0}
feed = open_feed(Lake(Path(sys.argv[1])), "v", "S", T0, T0 + DAY_NS, allow_gaps=True)
pair = Instrument(UUID(int=1), "v", "S", "A", "B", Decimal(1), Decimal(1))
config = RunConfig(pair, "fixed_spread", T0, T0 + DAY_NS, {{"interval_ns": 10**9}}, sample_interval_ns=60 * 10**9)
strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
kernel = compiled_kernel()
kernel.advance, kernel.seal, kernel.sort_fills, compiled(strategy)
before = memory("VmRSS")
# The peak is counted from here on (proc(5), clear_refs).
Path("/proc/self/clear_refs").write_text("5")
result = run(config, feed, strategy)
result.digest()
heavy = [name for name in {HEAVY!r} if name in sys.modules]
mapped = sum(path.stat().st_size for path in (Path(sys.argv[1]) / ".prepared").rglob("*.npy")) // 1024
print(json.dumps({{
    "heavy": heavy, "grown": memory("VmHWM") - before, "mapped": mapped, "orders": result.summary.orders,
    "compiler": compiler_kib(), "frames": result.fills.height == result.summary.fills and "polars" in sys.modules,
}}))
"""


def a_day(folder: Path, seed: int) -> None:
    """Publish a day of `ROWS` rows and prepare it: what is seen once is not what every run needs."""
    chance = np.random.default_rng(seed)
    side = np.where(chance.random(ROWS) < 0.5, 1, -1).astype(np.int8)
    kind = np.where(chance.random(ROWS) < 0.2, 2, 1).astype(np.int8)
    kind[:100] = 1
    ts = T0 + np.linspace(1, DAY_NS - 1, ROWS).astype(np.int64)
    frame = pl.DataFrame({
        "exch_ts": ts, "local_ts": ts, "kind": kind, "side": side, "price_ticks": 1000 - side * chance.integers(1, 50, ROWS),
        "qty_lots": chance.integers(1, 100, ROWS), "sequence": np.zeros(ROWS, np.int64),
    }, schema=BOOK_SCHEMA)  # fmt: skip
    lake = Lake(folder)
    lake.publish(
        lake.stage(
            venue="v",
            symbol="S",
            day=day_of(T0),
            tick_size=Decimal(1),
            lot_size=Decimal(1),
            tables={"book": Table(frame)},
        )
    )
    Quotes(open_feed(lake, "v", "S", T0, T0 + DAY_NS, allow_gaps=True))


def test_a_run_loads_what_it_uses_and_sees_its_day_in_parts(tmp_path: Path, seed: int) -> None:
    """80 MB of columns; 262,144 rows of them are 14 MB, and large pages of files may add 2 MiB to each of seven columns."""
    a_day(tmp_path, seed)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert found["orders"] > 0
    assert found["heavy"] == []
    assert found["frames"]
    assert found["mapped"] > 75 << 10, found
    assert found["grown"] < 45 << 10, found
    assert found["compiler"] < 10 << 10, found


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("kind", ["inventory_skew", "avellaneda_stoikov"])
def test_pauses_change_nothing(rng: np.random.Generator, kind: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = walking_feed(rng, steps=400)
    config = a_config(feed, strategy_kind=kind, parameters={"interval_ns": 200_000_000})
    whole = a_result(config, feed)
    monkeypatch.setattr(drive, "PAUSE_ROWS", rows)
    paused = a_result(config, feed)
    assert whole.summary.orders > 0
    assert paused.digest() == whole.digest()
    assert paused.order_events is not None
    assert whole.order_events is not None
    assert paused.order_events.equals(whole.order_events)
