"""Runs side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.compare import RunComparison, compare_runs
from market_maker.performance.run_report import AnalysisSettings, RunAnalysis, analyse_run
from performance_builders import PAIR, SECOND, counts_for, random_run


def analysis(seed: int, samples: int = 3000, clock_ns: int | None = None, quote: str = "USDT") -> RunAnalysis:
    from dataclasses import replace

    columns = random_run(np.random.default_rng(seed), samples=samples, fills=400)
    return analyse_run(
        *columns,
        instrument=replace(PAIR, quote=quote),
        orders=counts_for(columns[1]),
        sample_interval_ns=SECOND,
        settings=AnalysisSettings(clock_ns=clock_ns),
    )


def values(comparison: RunComparison, name: str) -> tuple[object, ...]:
    return next(figure.values for figure in comparison.figures if figure.name == name)


def best(comparison: RunComparison, name: str) -> str | None:
    return next(figure.best for figure in comparison.figures if figure.name == name)


def test_figures_side_by_side():
    runs = [("one", analysis(1)), ("two", analysis(2)), ("three", analysis(3))]
    comparison = compare_runs(runs)
    assert comparison.labels == ("one", "two", "three")
    net = {label: run.profit.net for label, run in runs}
    assert values(comparison, "net_pnl") == tuple(net.values())
    assert best(comparison, "net_pnl") == max(net, key=net.__getitem__)
    falls = {label: run.drawdowns[0].depth for label, run in runs}
    assert best(comparison, "max_drawdown") == min(falls, key=falls.__getitem__)
    assert best(comparison, "fills") is None  # neither better nor worse
    assert values(comparison, "markout_60s") == tuple(run.markouts[4].mean.estimate for _, run in runs)
    assert values(comparison, "markout_1s") == tuple(run.markouts[1].mean.estimate for _, run in runs)
    # No trials, so no deflated ratio, and no best one.
    assert values(comparison, "deflated_sharpe") == (None, None, None)
    assert best(comparison, "deflated_sharpe") is None
    json.dumps(comparison.to_json(), allow_nan=False)


def test_what_makes_it_unfair_is_said():
    assert "different times" not in " ".join(compare_runs([("a", analysis(1)), ("b", analysis(1))]).cautions)
    comparison = compare_runs([("a", analysis(1)), ("b", analysis(1, samples=2000, clock_ns=60 * SECOND))])
    assert [caution.split(",")[0] for caution in comparison.cautions] == [
        "The runs cover different times", "Ratios were sampled at 10 s",
    ]  # fmt: skip


def test_ties_go_to_the_first():
    assert best(compare_runs([("a", analysis(1)), ("b", analysis(1))]), "net_pnl") == "a"


def test_comparisons_that_are_refused():
    run = analysis(1)
    with pytest.raises(DataError, match="no runs"):
        compare_runs([])
    with pytest.raises(InvalidRequest, match="labels"):
        compare_runs([("a", run), ("a", run)])
    with pytest.raises(DataError, match="EUR, USDT"):
        compare_runs([("a", run), ("b", analysis(1, quote="EUR"))])
