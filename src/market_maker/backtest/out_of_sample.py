"""What a search is worth: the chosen sets on data that the choice has not seen, and only then what they showed in training.

Makes the report of an optimisation as JSON values from its folds. Knows no database: how many trials there ever were is
handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Any

from market_maker.backtest.evaluation import Evaluation, money
from market_maker.backtest.folds import Range
from market_maker.backtest.optimisation import FoldOutcome, Search
from market_maker.backtest.searchers import Dimension
from market_maker.domain.instrument import Instrument
from market_maker.performance.evidence import DEFAULT_THRESHOLDS
from market_maker.performance.returns import simple_returns
from market_maker.performance.trial_statistics import Edge, TrialStatistics, edge_of

PASS, WARN, FAIL, UNKNOWN = "PASS", "WARN", "FAIL", "UNKNOWN"


def report_of(
    outcomes: Sequence[FoldOutcome], instrument: Instrument, search: Search, *, trials_of_kind: int
) -> dict[str, Any]:
    """Return the report of an optimisation, what was measured out of sample first; money as text in quote currency.

    Parameters
    ----------
    outcomes : of `optimise`
    trials_of_kind : every trial of this kind of strategy that is kept: the deflated Sharpe ratio counts them all

    Notes
    -----
    `out_of_sample.efficiency` is the net P&L per hour in the tests over that in training (Pardo 2008, "walk-forward
    efficiency"), None where training earned nothing. The tests are joined in the order of time, each run with the same
    funds and from a flat position.
    """
    tests = [outcome.test for outcome in outcomes if outcome.test is not None]
    joined = Evaluation.joined(tests) if tests else None
    # What was tried in this search is told apart by its returns; what was tried before counts in full.
    searched = max(trials_of_kind, *(outcome.sets for outcome in outcomes))
    return {
        "out_of_sample": None if joined is None else _judged(outcomes, tests, joined, instrument),
        "folds": [_fold(outcome, instrument, searched) for outcome in outcomes],
        "in_sample": _in_sample(outcomes, searched),
        "recommended": outcomes[-1].chosen.parameters,
        "stability": [_stability(dimension, outcomes) for dimension in search.dimensions],
        "search": {
            "kind": search.kind.value, "objective": search.objective, "trials": search.trials, "seed": search.seed,
            "parameters": [_dimension(dimension) for dimension in search.dimensions],
        },
        "trials_of_kind": trials_of_kind,
        "note": note_of(joined is not None, trials_of_kind),
    }  # fmt: skip


def note_of(has_test: bool, trials_of_kind: int) -> str:
    """Return what a reader must know of the figures."""
    counted = (
        f"All {trials_of_kind:,} trials of this kind of strategy that are kept count against the deflated Sharpe ratio."
    )
    if has_test:
        return f"In-sample figures are of the best of many sets and too high by construction. {counted}"
    return (
        "No part of the recording was held back: the figures are of the best of many sets, too high by construction, and"
        f" no evidence. {counted}"
    )


def edge_after(found: Evaluation, statistics: TrialStatistics, trials_of_kind: int) -> Edge:
    """Return how real a chosen set's Sharpe ratio in training is, all trials of its kind counted.

    Of the search at hand, sets that move together count once; the returns of the others are not at hand.
    """
    others = max(0, trials_of_kind - statistics.count)
    effective = None if statistics.effective is None else statistics.effective + others
    counted = replace(statistics, count=statistics.count + others, effective=effective)
    return edge_of(simple_returns(found.equity), found.sharpe(), counted)


def _judged(
    outcomes: Sequence[FoldOutcome], tests: Sequence[Evaluation], joined: Evaluation, instrument: Instrument
) -> dict[str, Any]:
    unchanged = Evaluation.joined([outcome.unchanged for outcome in outcomes if outcome.unchanged is not None])
    alone = TrialStatistics(1, 0.0, was_searched=False)
    edge = edge_of(simple_returns(joined.equity), joined.sharpe(), alone)
    in_training = _rate([outcome.train for outcome in outcomes])
    rate = _rate(tests)
    probability = edge.probabilistic_sharpe.value
    return _figures(joined, instrument) | {
        "probabilistic_sharpe": probability,
        "verdict": _verdict(probability),
        "efficiency": float(rate / in_training) if in_training > 0 else None,
        "folds_in_profit": sum(test.net_pnl > 0 for test in tests),
        "folds": len(tests),
        "unchanged": _figures(unchanged, instrument),
        "equity": _equity(tests, instrument),
    }


def _equity(tests: Sequence[Evaluation], instrument: Instrument) -> dict[str, list[str]]:
    """Return the equity of the tests one after the other, at the ends of periods."""
    ts, equity = [tests[0].begin_ts], [tests[0].balance]
    for test in tests:
        ts += [test.begin_ts + test.period_ns * (i + 1) for i in range(len(test.profits))]
        before = equity[-1]
        equity += [before + int(gain) for gain in test.profits.cumsum()]
    assert all(one < other for one, other in pairwise(ts)), "tests follow each other"
    return {"ts": [str(each) for each in ts], "equity": [f"{money(instrument, each):f}" for each in equity]}


def _fold(outcome: FoldOutcome, instrument: Instrument, trials_of_kind: int) -> dict[str, Any]:
    found = outcome.statistics.overfitting
    edge = edge_after(outcome.train, outcome.statistics, trials_of_kind)
    return {
        "number": outcome.fold.number,
        "test": None if outcome.fold.test is None else _range(outcome.fold.test),
        "train": [_range(part) for part in outcome.fold.train],
        "parameters": outcome.chosen.parameters,
        "out_of_sample": None if outcome.test is None else _figures(outcome.test, instrument),
        "unchanged": None if outcome.unchanged is None else _figures(outcome.unchanged, instrument),
        "in_sample": _figures(outcome.train, instrument),
        "sets": outcome.sets,
        "different_sets": outcome.statistics.effective,
        "overfitting_probability": None if found is None else found.probability,
        "deflated_sharpe": None if edge.deflated is None else edge.deflated.probability,
        "candidates": [
            {"parameters": candidate.parameters, "score": candidate.score} for candidate in outcome.candidates
        ],
    }


def _in_sample(outcomes: Sequence[FoldOutcome], trials_of_kind: int) -> dict[str, Any]:
    overfitting = [o.statistics.overfitting.probability for o in outcomes if o.statistics.overfitting is not None]
    edges = [edge_after(outcome.train, outcome.statistics, trials_of_kind) for outcome in outcomes]
    deflated = [edge.deflated.probability for edge in edges if edge.deflated is not None]
    known = [each for each in deflated if each is not None]
    mean = sum(overfitting) / len(overfitting) if overfitting else None
    middle = median(known) if known else None
    bounds = DEFAULT_THRESHOLDS
    return {
        "net_pnl_per_hour": f"{_rate([outcome.train for outcome in outcomes]):f}",
        "overfitting_probability": mean,
        "overfitting_verdict": UNKNOWN if mean is None else PASS if mean <= bounds.overfitting_pass
        else FAIL if mean > bounds.overfitting_fail else WARN,
        "deflated_sharpe": middle,
        "deflated_verdict": _verdict(middle),
    }  # fmt: skip


def _verdict(probability: float | None) -> str:
    if probability is None:
        return UNKNOWN
    if probability >= DEFAULT_THRESHOLDS.confidence_pass:
        return PASS
    return WARN if probability >= DEFAULT_THRESHOLDS.confidence_fail else FAIL


def _figures(found: Evaluation, instrument: Instrument) -> dict[str, Any]:
    return {
        "net_pnl": f"{found.net_pnl:f}",
        "net_pnl_per_hour": f"{_rate([found]):f}",
        "max_drawdown": f"{money(instrument, found.drawdown()):f}",
        "turnover": f"{found.turnover:f}",
        "sharpe": found.sharpe().ratio,
        "fills": found.fills,
        "hours": found.hours,
    }


def _rate(found: Sequence[Evaluation]) -> Decimal:
    """Return the net P&L per hour of stretches taken together, to 1e-8."""
    hours = Decimal(sum(each.hours for each in found))
    return (sum((each.net_pnl for each in found), Decimal(0)) / hours).quantize(Decimal("1e-8"))


def _stability(dimension: Dimension, outcomes: Sequence[FoldOutcome]) -> dict[str, Any]:
    """Return between which values a parameter's choice went to and fro, as a share of what was searched."""
    values = [outcome.chosen.parameters[dimension.name] for outcome in outcomes]
    width = float(dimension.high - dimension.low)
    return {
        "name": dimension.name, "values": values,
        "spread_share": (max(values) - min(values)) / width if width else 0.0,
        "at_bound": sum(value in {float(dimension.low), float(dimension.high)} for value in values) if width else 0,
    }  # fmt: skip


def _dimension(dimension: Dimension) -> dict[str, Any]:
    step = None if dimension.step is None else str(dimension.step)
    return {
        "name": dimension.name, "low": str(dimension.low), "high": str(dimension.high), "step": step,
        "log": dimension.is_log,
    }  # fmt: skip


def _range(part: Range) -> list[str]:
    return [str(part.start_ts), str(part.end_ts)]
