"""The synthetic market: events per second on one core, growth with the number of pairs, threads, and how real it looks.

An event is what leaves the market (accepted, filled, canceled, expired), the book included. The default market is measured:
once with its events thrown away (the loop alone), once with all of them handed out as arrays. The realism table has one row
per seed; docs/concepts/synthetic_market.md says what the columns mean. Compiled code is cached before anything is timed.
The last line is JSON.

    python benchmarks/synthetic_market.py [--quick] [--output figures.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from market_maker.matching.codes import EventKind, LiquidityCode
from market_maker.synthetic.correlation import factor_loadings
from market_maker.synthetic.flow.parameters import NS, FlowParameters, MarketDesign, ReferenceParameters, suited_step
from market_maker.venue.market.market import SyntheticMarket, advance_all

PRICE_TICKS = 100_000
REFERENCE = ReferenceParameters(price_deviation=1.33e-4, step_ns=NS)
Floats = NDArray[np.float64]
HORIZONS = (1, 10, 60, 300)
SIGN_LAGS = (1, 2, 5, 10, 20, 50, 100)


def a_market(seed: int, loadings: tuple[float, ...] = (1.0,)) -> SyntheticMarket:
    """Return a market with the default parameters."""
    step, speed = suited_step(PRICE_TICKS, REFERENCE)
    flow = FlowParameters(step_ticks=step, speed=speed)
    design = MarketDesign(
        price_ticks=PRICE_TICKS, seed=seed, group_seed=seed, flow=flow, reference=REFERENCE, loadings=loadings
    )
    return SyntheticMarket.create(design)


def counts(market: SyntheticMarket) -> tuple[int, int]:
    """Return events so far and orders, cancels and market orders of the flow so far."""
    head = market.flow.head[0]
    return int(market.book.state.head["sequence"][0]), int(head["limits"] + head["cancels"] + head["markets"])


def loop_speed(seconds: int, rounds: int) -> dict[str, float]:
    """Return events and flow commands per second of the loop, and events per second handed out as arrays: medians."""
    market = a_market(1)
    events, commands, handed = [], [], []
    for _ in range(rounds):
        before, begin = counts(market), time.perf_counter()
        market.quotes(market.clock_ts, NS, seconds)
        took = time.perf_counter() - begin
        after = counts(market)
        events.append((after[0] - before[0]) / took)
        commands.append((after[1] - before[1]) / took)
        total, begin = 0, time.perf_counter()
        for _ in range(seconds // 100):
            total += len(market.advance(market.clock_ts + 100 * NS))
        handed.append(total / (time.perf_counter() - begin))
    return {
        "events_per_s": statistics.median(events),
        "flow_commands_per_s": statistics.median(commands),
        "events_handed_out_per_s": statistics.median(handed),
    }


def pairs_speed(seconds: int, rounds: int) -> dict[str, float]:
    """Return seconds per pair of one thread for several pairs, in that of one, and how much faster two threads are."""
    took: dict[tuple[int, int], list[float]] = {}
    for _ in range(rounds):
        for pairs, threads in ((1, 1), (4, 1), (16, 1), (16, 2)):
            matrix = np.full((pairs, pairs), 0.5) + 0.5 * np.eye(pairs)
            markets = [a_market(seed, weights) for seed, weights in enumerate(factor_loadings(matrix.tolist()))]
            before, begin = sum(counts(market)[0] for market in markets), time.perf_counter()
            advance_all(markets, seconds * NS, threads=threads)
            spent = time.perf_counter() - begin
            done = sum(counts(market)[0] for market in markets) - before
            took.setdefault((pairs, threads), []).append(spent / done)
    median = {key: statistics.median(values) for key, values in took.items()}
    return {
        "cost_per_event_4_pairs_vs_1": median[4, 1] / median[1, 1],
        "cost_per_event_16_pairs_vs_1": median[16, 1] / median[1, 1],
        "ratio_two_threads_vs_one": median[16, 1] / median[16, 2],
    }


def survival_cost(rounds: int) -> dict[str, float]:
    """Return milliseconds to dump and to load a market, and its bytes: medians."""
    market = a_market(1)
    market.quotes(0, NS, 1_000)
    dumps, loads = [], []
    data = b""
    for _ in range(rounds):
        begin = time.perf_counter()
        data = market.dump()
        dumps.append(1e3 * (time.perf_counter() - begin))
        begin = time.perf_counter()
        SyntheticMarket.load(data)
        loads.append(1e3 * (time.perf_counter() - begin))
    return {"dump_ms": statistics.median(dumps), "load_ms": statistics.median(loads), "dump_bytes": float(len(data))}


def autocorrelation(values: Floats, lag: int) -> float:
    """Return the autocorrelation of a row at a lag."""
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred * centred).mean())


def realism(seed: int, seconds: int) -> dict[str, float]:
    """Return the facts of one seed: from the mid every second, and from the sides of all market orders."""
    market = a_market(seed)
    mids, sides = [], []
    for second in range(1, seconds + 1):
        events = market.advance(second * NS)
        depth = [int(rank) for rank in market.book.state.best[:2]]
        mids.append((depth[1] - depth[0]) / 2)
        taken = events[(events["kind"] == EventKind.FILLED) & (events["liquidity"] == LiquidityCode.TAKER)]
        if len(taken):
            # One row per market order, however many it met.
            sides.append(taken["side"][np.append(True, taken["order_id"][1:] != taken["order_id"][:-1])])
    mid = np.log(np.array(mids))
    signs = np.concatenate(sides).astype(np.float64)
    found: dict[str, float] = {}
    for horizon in HORIZONS:
        returns = np.diff(mid[::horizon])
        centred = returns - returns.mean()
        found[f"excess_kurtosis_{horizon}s"] = float((centred**4).mean() / (centred**2).mean() ** 2 - 3.0)
    for horizon in HORIZONS:
        found[f"acf_returns_{horizon}s"] = autocorrelation(np.diff(mid[::horizon]), 1)
    sizes = np.abs(np.diff(mid))
    found["acf_abs_1s_lag_1"], found["acf_abs_1s_lag_10"] = autocorrelation(sizes, 1), autocorrelation(sizes, 10)
    found["acf_abs_10s_lag_1"] = autocorrelation(np.abs(np.diff(mid[::10])), 1)
    variances = [np.diff(mid[::horizon]).var() / horizon for horizon in HORIZONS]
    found |= {f"signature_{h}s": float(v / variances[0]) for h, v in zip(HORIZONS, variances, strict=True)}
    memory = [autocorrelation(signs, lag) for lag in SIGN_LAGS]
    found["acf_sign_1"], found["acf_sign_10"], found["acf_sign_100"] = memory[0], memory[3], memory[6]
    found["sign_exponent"] = float(np.polyfit(np.log(SIGN_LAGS), np.log(np.maximum(memory, 1e-4)), 1)[0])
    return found


def print_table(rows: list[dict[str, float]]) -> dict[str, float]:
    """Print one line per fact with its mean and its value for each seed; return the means."""
    means = {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}
    for name, mean in means.items():
        print(f"  {name:22} {mean:8.3f}   " + " ".join(f"{row[name]:7.3f}" for row in rows))
    return means


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything, below 50 s")
    parser.add_argument("--output", type=Path, help="also write the last line to this file")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"numba {version('numba')}, numpy {version('numpy')}")  # fmt: skip
    begin = time.perf_counter()
    a_market(0).advance(NS)
    print(f"first market, compiled or read from the cache: {time.perf_counter() - begin:.1f} s")
    figures = loop_speed(5_000 if options.quick else 20_000, 5)
    figures |= pairs_speed(1_000 if options.quick else 3_000, 3)
    figures |= survival_cost(21)
    for name, value in figures.items():
        print(f"{name:32} {value:14,.3f}")
    seeds, seconds = (4, 20_000) if options.quick else (16, 40_000)
    print(f"realism of the default market, {seeds} seeds of {seconds:,} s; the mean, then each seed:")
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(lambda seed: realism(seed, seconds), range(seeds)))
    figures |= print_table(rows)
    text = json.dumps(
        {"benchmark": "synthetic_market", "quick": options.quick, **{k: round(v, 4) for k, v in figures.items()}}
    )
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
