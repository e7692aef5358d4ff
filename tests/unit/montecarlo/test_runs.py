"""Runs over seeds: repeatable, the same on any number of threads, and refused where an option has no meaning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from market_maker.backtest.execution import Execution
from market_maker.cli_simulate import MarketWish, SimulateWish, parse_parameters, run_simulate, simulation_config
from market_maker.domain.errors import InvalidRequest
from market_maker.montecarlo.engine import simulate
from market_maker.montecarlo.seeds import run_seeds
from market_maker.strategies.contract import find_strategy

WISH = SimulateWish(30 * 10**9, seeds=3)


def test_threads_and_slices_change_nothing():
    strategy = find_strategy("inventory_skew").prepare({})
    config = simulation_config(strategy, WISH)
    one, two = (run_seeds(config, strategy, (5, 6, 7), threads=threads) for threads in (1, 2))
    assert one == two
    passed: list[int] = []
    whole = simulate(config, strategy, 5, passed.append)
    assert whole.digest() == one[0].digest
    assert len(passed) == 20
    assert len({run.digest for run in one}) == 3


def test_wrong_options_are_refused():
    strategy = find_strategy("do_nothing").prepare({})
    config = simulation_config(strategy, WISH)
    for run in (
        replace(config.run, band=True),
        replace(config.run, execution=Execution(impact_half_life_ns=5)),
        replace(config.run, start_ts=config.run.start_ts + 1),
    ):
        with pytest.raises(InvalidRequest):
            replace(config, run=run)
    with pytest.raises(InvalidRequest, match="each once"):
        run_seeds(config, strategy, (1, 1))
    with pytest.raises(InvalidRequest, match="process"):
        simulation_config(strategy, replace(WISH, market=MarketWish(process="NONE")))
    with pytest.raises(InvalidRequest, match="NAME=VALUE"):
        parse_parameters(["a"], strategy.kind)


def test_the_command_writes_report_and_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    report, plot = tmp_path / "r.json", tmp_path / "r.svg"
    run_simulate("inventory_skew", ["order_lots=2"], WISH, against="do_nothing", report=report, plot=plot)
    found = json.loads(report.read_text())
    assert [each["kind"] for each in found["strategies"]] == ["inventory_skew", "do_nothing"]
    assert len(found["strategies"][0]["runs"]) == 3
    first = found["strategies"][0]["runs"]
    mean = sum(float(run["summary"]["net_pnl"]) for run in first) / 3
    assert found["paired"]["difference"]["mean"]["estimate"] == pytest.approx(mean)
    assert plot.read_text().startswith("<svg")
    assert "events/s" in capsys.readouterr().out


PROGRAM = """
from market_maker.cli_simulate import SimulateWish, simulation_config
from market_maker.montecarlo.engine import simulate
from market_maker.strategies.contract import find_strategy
strategy = find_strategy("inventory_skew").prepare({"order_lots": 500, "max_inventory_lots": 5000})
result = simulate(simulation_config(strategy, SimulateWish(20 * 10**9)), strategy, 4)
print(result.summary.fills, result.digest())
"""


def test_interpreted_and_compiled_form_are_equal():
    found = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"NUMBA_DISABLE_JIT": off},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert found[0] == found[1]
    assert int(found[0].split()[0]) > 0
