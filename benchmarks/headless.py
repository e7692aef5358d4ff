"""Strategies on the synthetic market without a service: simulated seconds and events per second, one core and all.

Compiled code is cached before anything is timed. The last line is JSON.

    python benchmarks/headless.py [--quick] [--output figures.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

from market_maker.cli_simulate import SimulateWish, simulation_config
from market_maker.montecarlo.engine import Simulation, play
from market_maker.montecarlo.seeds import run_seeds
from market_maker.strategies.contract import find_strategy

KINDS = ("do_nothing", "fixed_spread", "grid", "glft", "imbalance")


def one_core(kind: str, seconds: int, rounds: int) -> dict[str, float]:
    """Return medians of a run on one core: simulated seconds and events per second of the loop, and ms to begin a run."""
    strategy = find_strategy(kind).prepare({})
    config = simulation_config(strategy, SimulateWish(seconds * 10**9))
    play(Simulation(simulation_config(strategy, SimulateWish(10**9)), strategy, 1))
    found = []
    for seed in range(1, rounds + 1):
        start = time.perf_counter()
        simulation = Simulation(config, strategy, seed)
        begun = time.perf_counter()
        play(simulation)
        ended = time.perf_counter()
        found.append((seconds / (ended - begun), simulation.events / (ended - begun), 1e3 * (begun - start)))
    names = ("simulated_seconds_per_second", "events_per_second", "begin_ms")
    return dict(zip(names, (statistics.median(column) for column in zip(*found, strict=True)), strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    seconds, rounds = (600, 3) if options.quick else (3_600, 7)
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, Numba {version('numba')}"
    )
    figures: dict[str, object] = {}
    for kind in KINDS:
        found = one_core(kind, seconds, rounds)
        figures[kind] = found
        print(kind, ", ".join(f"{name} {value:,.0f}" for name, value in found.items()))
    strategy = find_strategy("fixed_spread").prepare({})
    config = simulation_config(strategy, SimulateWish(seconds * 10**9))
    for threads in (1, os.cpu_count() or 1):
        start = time.perf_counter()
        run_seeds(config, strategy, range(1, 2 * rounds + 1), threads=threads)
        speed = 2 * rounds * seconds / (time.perf_counter() - start)
        figures[f"fixed_spread_{threads}_threads"] = speed
        print(f"{2 * rounds} seeds of fixed_spread on {threads} threads: {speed:,.0f} simulated seconds per second")
    print(json.dumps(figures))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1), "utf-8")


if __name__ == "__main__":
    main()
