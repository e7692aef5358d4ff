"""From a recording to a judged choice of parameters, by the commands that a user would type, and how long each takes.

Six minutes of BTCUSDT (Binance, USDⓈ-M futures, some 200,000 rows): import, calibrate, optimise with 200 trials, walk-forward
with 200 trials in each of four folds, the same again (all known), a run of the chosen set, its report. Then whether choosing
is seen through: the best of 200 trials of noise must be flagged as overfitted, and one true edge among them must not be.
The last line is one JSON object; `seconds` is all of it but the import.

Run: .venv/bin/python benchmarks/analysis.py [--quick] [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
FILE = Path("binance_collector") / "usdm" / "btcusdt_20240808.gz"
PAIR = ("binance-usdm", "BTCUSDT")
SPAN = ("2024-08-08T23:54:16Z", "2024-08-09T00:00:00Z")
RANGES = (
    "--param", "half_spread_ticks=1:200:log", "--param", "skew_ticks_per_lot=0:5:0.25", "--param", "order_lots=1:20",
)  # fmt: skip
TRIALS, PERIODS, EDGE = 200, 1000, 0.25
"""Of the noise; the edge is a Sharpe ratio per period, some eight standard errors above 0."""


class Commands:
    """Runs `market-maker` on a data folder of its own and times it."""

    def __init__(self, folder: Path) -> None:
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
        self.environment |= {"MM_DATA_DIR": str(folder), "COLUMNS": "160"}
        if "MM_KERNEL_CACHE" in os.environ:
            self.environment["MM_KERNEL_CACHE"] = os.environ["MM_KERNEL_CACHE"]
        self.seconds: dict[str, float] = {}

    def run(self, name: str, *words: str) -> str:
        """Run a command to its end, print what it says and return it; SystemExit when it fails."""
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "market_maker", *words],
            check=False, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        self.seconds[name] = time.perf_counter() - started
        print(f"== {name}: {self.seconds[name]:.1f} s\n{done.stdout.rstrip()}\n", flush=True)
        if done.returncode:
            raise SystemExit(f"market-maker {' '.join(words)}: {done.stderr.strip() or done.stdout}")
        return done.stdout


def add_strategy(commands: Commands, parameters: dict[str, float]) -> str:
    """Add an `inventory_skew` for the recorded pair and return its id."""
    values = {"max_inventory_lots": 100} | parameters
    words = [word for name, value in values.items() for word in ("--param", f"{name}={value}")]
    return commands.run("add", "strategy", "add", "benchmark", "inventory_skew", "/".join(PAIR), *words).strip()


def searched(commands: Commands, folder: Path) -> dict[str, Any]:
    """Calibrate, search, walk forward, run and report; return the figures of the reports."""
    calibration, whole, forward = (folder / f"{name}.json" for name in ("calibration", "whole", "forward"))
    pair = "/".join(PAIR)
    commands.run("calibrate", "calibrate", pair, *SPAN, "--report", str(calibration))
    strategy = add_strategy(commands, {"half_spread_ticks": 30, "order_lots": 5})
    optimise = ("optimise", strategy, *SPAN, *RANGES, "--trials", "200")
    commands.run("optimise", *optimise, "--search", "bayes", "--folds", "0", "--report", str(whole))
    walk = (*optimise, "--search", "random", "--folds", "4", "--embargo", "2s", "--report", str(forward))
    commands.run("walk_forward", *walk)
    commands.run("walk_forward_again", *walk)
    told = json.loads(forward.read_text("utf-8"))
    chosen = add_strategy(commands, told["recommended"])
    run = re.search(r"run (\S+) completed", commands.run("backtest", "backtest", chosen, *SPAN))
    assert run is not None, "the command tells the run's id"
    page = folder / "report.html"
    commands.run("report", "report", run[1], "--output", str(page))
    found = json.loads(calibration.read_text("utf-8"))
    judged, inner = told["out_of_sample"], told["in_sample"]
    return {
        "volatility": found["volatility"]["value"], "intensity": found["intensity"]["value"],
        "intensity_decay": found["intensity_decay"]["value"], "trials": told["trials_of_kind"],
        "out_of_sample_net_pnl": judged["net_pnl"], "in_sample_net_pnl_per_hour": inner["net_pnl_per_hour"],
        "out_of_sample_net_pnl_per_hour": judged["net_pnl_per_hour"], "deflated_sharpe": inner["deflated_sharpe"],
        "overfitting_probability": inner["overfitting_probability"], "report_bytes": page.stat().st_size,
    }  # fmt: skip


def seen_through(draws: int) -> dict[str, float]:
    """Return PBO and deflated Sharpe ratio of the best of noise, and of noise with one true edge; medians of draws."""
    from market_maker.performance.returns import sharpe_ratio
    from market_maker.performance.trial_statistics import edge_of, statistics_of_returns

    found: dict[str, list[float]] = {}
    for seed in range(draws):
        for name, edge in (("noise", 0.0), ("edge", EDGE)):
            returns = 1e-4 * np.random.default_rng(seed).standard_normal((TRIALS, PERIODS))
            returns[7] += 1e-4 * edge
            known = statistics_of_returns(returns, axes=("trial", "period"), periods_per_year=365.0)
            best = returns[np.argmax(returns.mean(axis=1) / returns.std(axis=1))]
            sharpe = sharpe_ratio(np.concatenate([[1.0], np.cumprod(1.0 + best)]), interval_ns=86_400 * 10**9)
            deflated = edge_of(best, sharpe, known).deflated
            assert deflated is not None
            assert deflated.probability is not None
            assert known.overfitting is not None
            found.setdefault(f"{name}_overfitting_probability", []).append(known.overfitting.probability)
            found.setdefault(f"{name}_deflated_sharpe", []).append(deflated.probability)
    return {name: round(statistics.median(values), 4) for name, values in found.items()}


def main() -> None:
    """Run everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer draws of noise; the rest takes half a minute")
    parser.add_argument(
        "folder", nargs="?", type=Path,
        default=Path(os.environ.get("MM_SAMPLE_DATA") or PROJECT.parent / "shared" / "data"),
    )  # fmt: skip
    given = parser.parse_args()
    if not (given.folder / FILE).is_file():
        raise SystemExit(f"{given.folder / FILE} is missing; name the folder of recordings, or set MM_SAMPLE_DATA")
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, numba {version('numba')},"
        f" optuna {version('optuna')}\n"
    )
    with tempfile.TemporaryDirectory(prefix="market-maker-analysis-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        commands = Commands(folder)
        commands.run("import", "import", str(given.folder / FILE), "--offset-negative-latency")
        folder.chmod(0o755)  # readable for whom the embedded database runs as
        figures = searched(commands, folder)
    seconds = {name: round(took, 2) for name, took in commands.seconds.items()}
    figures |= seen_through(3 if given.quick else 15)
    total = round(sum(took for name, took in seconds.items() if name != "import"), 2)
    print(json.dumps({"seconds": total, "seconds_by_command": seconds} | figures))


if __name__ == "__main__":
    main()
