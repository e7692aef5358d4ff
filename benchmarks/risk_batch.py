"""Figures of many positions: our compiled batch beside empyrical-reloaded's functions; and a book's figures after one fill.

10,000 positions x 1,000 returns of Student t with 4 degrees. Ours gives twelve figures of each: mean, volatility, max
drawdown, Ulcer index, and at 95 % and 99 % historical and normal VaR and ES. Theirs is a loop over positions with five:
value_at_risk, conditional_value_at_risk, annual_volatility, max_drawdown, sharpe_ratio; a share of the positions is enough to
know its pace. Both run on one core, in turns, and medians are compared. A sample of our figures is checked against the plain
functions, and both sides' volatilities against each other. Then fills of a book of 50 positions with 1,000 scenarios, VaR
and ES after each, and the models one by one. The last line is JSON; ratios above 1 say that ours is faster.

    python benchmarks/risk_batch.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

POSITIONS, RETURNS, SCENARIOS, BOOK = 10_000, 1_000, 1_000, 50
CONFIDENCES = (0.95, 0.99)
PEER_FIGURES = ("value_at_risk", "conditional_value_at_risk", "annual_volatility", "max_drawdown", "sharpe_ratio")


def seconds(work: Callable[[], Any]) -> float:
    """Return the wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peer_loop(rows: np.ndarray[Any, Any]) -> list[float]:
    """Return the volatilities of rows, having made all five figures of each with empyrical."""
    import empyrical

    found = []
    for row in rows:
        empyrical.value_at_risk(row, 0.05)
        empyrical.conditional_value_at_risk(row, 0.05)
        empyrical.max_drawdown(row)
        empyrical.sharpe_ratio(row)
        found.append(float(empyrical.annual_volatility(row)))
    return found


def checked(rows: np.ndarray[Any, Any], found: Any) -> float:
    """Return the largest difference, relative, between the batch and the plain functions over a sample of positions."""
    from market_maker.risk.drawdowns import drawdown_risk
    from market_maker.risk.scaling import Horizon
    from market_maker.risk.tails import tail_figures
    from market_maker.risk.value_at_risk.parametric import normal

    largest = 0.0
    for index in range(0, len(rows), max(1, len(rows) // 50)):
        row, expected = rows[index], {}
        expected["mean"], expected["volatility"] = row.mean(), row.std(ddof=1)
        falls = drawdown_risk(row, 0.95)
        expected["max_drawdown"], expected["ulcer"] = falls.deepest, falls.ulcer
        for confidence in CONFIDENCES:
            for name, figures in (
                ("historical", tail_figures(-row, confidence)), ("normal", normal(row, confidence, Horizon(1, 1))),
            ):  # fmt: skip
                expected[f"{name}_value_at_risk_{confidence:g}"] = figures.value_at_risk
                expected[f"{name}_expected_shortfall_{confidence:g}"] = figures.expected_shortfall
        assert set(expected) == set(found.names)
        for name, value in expected.items():
            difference = abs(found.column(name)[index] - value) / max(abs(value), 1e-6)
            largest = max(largest, float(difference))
    return largest


def beside_empyrical(turns: int, peers: int) -> dict[str, Any]:
    """Run both sides in turns and print them side by side."""
    from market_maker.risk.batch.figures import batch_figures

    rows = 0.01 * np.random.default_rng(1).standard_t(4, (POSITIONS, RETURNS))
    first_s = seconds(lambda: batch_figures(rows, CONFIDENCES))
    peer_loop(rows[:5])
    ours, theirs = [], []
    for _ in range(turns):
        theirs.append(seconds(lambda: peer_loop(rows[:peers])) / peers)
        ours += [seconds(lambda: batch_figures(rows, CONFIDENCES)) / POSITIONS for _ in range(5)]
    found = batch_figures(rows, CONFIDENCES)
    difference = checked(rows, found)
    volatilities = np.array(peer_loop(rows[:20])) / 252**0.5
    same = bool(np.allclose(volatilities, found.column("volatility")[:20], rtol=1e-9))
    our, their = statistics.median(ours), statistics.median(theirs)
    print(f"\n{POSITIONS:,} positions x {RETURNS:,} returns           empyrical         ours     ratio")
    print(f"  {'figures of each position':36} {len(PEER_FIGURES):12} {len(found.names):12}")
    print(f"  {'microseconds a position (median)':36} {their * 1e6:12.2f} {our * 1e6:12.2f} {their / our:9.1f}")
    print(f"  {'positions/s (median)':36} {1 / their:12,.0f} {1 / our:12,.0f} {their / our:9.1f}")
    print(
        f"  first call, with loading the compiled code: {first_s:.2f} s; largest relative difference from the plain functions"
        f" {difference:.1e}; volatilities {'the same' if same else 'DIFFERENT'} as empyrical's", flush=True,
    )  # fmt: skip
    return {
        "positions": POSITIONS, "returns": RETURNS, "figures": list(found.names), "peer_figures": list(PEER_FIGURES),
        "positions_per_s": 1 / our, "empyrical_positions_per_s": 1 / their, "ratio_batch_vs_empyrical": their / our,
        "first_call_s": first_s, "largest_relative_difference": difference, "same_volatilities": same,
    }  # fmt: skip


def fills(turns: int, count: int) -> dict[str, Any]:
    """Time VaR and ES of a book after each of many fills, beside adding the book up anew each time."""
    from market_maker.risk.batch.scenario_book import ScenarioBook
    from market_maker.risk.tails import tail_figures

    rng = np.random.default_rng(2)
    units = rng.standard_t(4, (BOOK, SCENARIOS))
    positions, changes = rng.integers(0, BOOK, count).tolist(), rng.integers(-5, 6, count).astype(float).tolist()
    incremental, anew = [], []
    book = ScenarioBook(units, 0.975)
    for _ in range(turns):

        def follow() -> None:
            for position, change in zip(positions, changes, strict=True):
                book.fill(position, change)

        def recompute() -> None:
            held = book.quantities
            for position, change in zip(positions[:200], changes[:200], strict=True):
                held[position] += change
                tail_figures(-(held @ units), 0.975)

        incremental.append(seconds(follow) / count)
        anew.append(seconds(recompute) / 200)
    kept, whole = book.figures(), tail_figures(-(book.quantities @ units), 0.975)
    difference = abs(kept.expected_shortfall / whole.expected_shortfall - 1.0)
    one, other = statistics.median(incremental), statistics.median(anew)
    print(
        f"\nVaR + ES of a book of {BOOK} positions, {SCENARIOS:,} scenarios, after one fill: {one * 1e6:.2f} us;"
        f" added up anew, by the plain function: {other * 1e6:.1f} us; relative difference {difference:.1e}", flush=True,
    )  # fmt: skip
    return {
        "fill_us": one * 1e6, "fill_anew_us": other * 1e6, "ratio_fill_vs_anew": other / one,
        "fill_relative_difference": difference,
    }  # fmt: skip


def models(turns: int) -> dict[str, Any]:
    """Time each model on one series of 1,000 returns."""
    from market_maker.risk.models import Model, estimate
    from market_maker.risk.scaling import Horizon

    returns = 0.01 * np.random.default_rng(3).standard_t(6, RETURNS)
    print(f"\none series of {RETURNS:,} returns, VaR + ES at 97.5 %, ms (median)")
    found = {}
    for model in Model:

        def work(model: Model = model) -> None:
            estimate(returns, 0.975, Horizon(1, 1), model, rng=np.random.default_rng(1))

        work()
        found[model.value.lower()] = statistics.median(seconds(work) for _ in range(turns)) * 1e3
        print(f"  {model.value.lower():24} {found[model.value.lower()]:9.3f}", flush=True)
    return {"model_ms": found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns: under 50 s")
    quick = parser.parse_args().quick
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core
    print(
        f"{platform.platform()}, one of {os.cpu_count()} cores, Python {platform.python_version()}, numba {version('numba')},"
        f" numpy {version('numpy')}, empyrical-reloaded {version('empyrical-reloaded')}", flush=True,
    )  # fmt: skip
    figures = beside_empyrical(3 if quick else 9, 400 if quick else 2_000)
    figures |= fills(5 if quick else 15, 20_000)
    figures |= models(5 if quick else 21)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
