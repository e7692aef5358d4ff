"""The six judgements: what passes, and that every single fault changes the status and is told with figure and bound."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from market_maker.performance.evidence import (
    DataEvidence,
    EdgeEvidence,
    FillEvidence,
    ParityEvidence,
    QualityThresholds,
    ReproducibilityEvidence,
)
from market_maker.performance.fragility import FragilityCell, fragility_figures
from market_maker.performance.quality import (
    Quality,
    Status,
    judge,
    judge_data,
    judge_edge,
    judge_fills,
    judge_fragility,
    judge_parity,
    judge_reproducibility,
)

PASS, WARN, FAIL, UNKNOWN = Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN

EDGE = EdgeEvidence(
    observations=1000, years=2.0, probabilistic_sharpe=0.99, deflated_sharpe=0.97, trials=50, effective_trials=12,
    track_record_needed=400.0, backtest_years_needed=1.5, bootstrap_low=0.4, bootstrap_high=2.0,
    overfitting_probability=0.1, was_searched=True,
)  # fmt: skip
DATA = DataEvidence(
    events=10**6, coverage=0.999, longest_gap_ns=5 * 10**9, sequence_breaks=0, crossed_share=0.0, duplicate_share=0.0,
    out_of_order=0, trade_through_share=0.0, outlier_share=0.0, filled_share=0.0,
)  # fmt: skip
FILLS = FillEvidence(
    fills=500, maker_share=0.9, fill_ratio=0.3, volume_share=0.05, largest_volume_share=0.08,
    markout_excess_ticks=-0.1, young_profit_share=0.05,
)  # fmt: skip
PARITY = ParityEvidence(
    is_simulation_equal=True, fill_rate_ratio=1.0, matched_fill_share=0.9, tracking_error=0.1, markout_p_value=0.4
)
AGAIN = ReproducibilityEvidence(1, "0.1.0", "c0ffee", "da7a", {"numpy": "2"}, is_rerun_equal=True)

FAULTS = [
    (judge_edge, EDGE, {"probabilistic_sharpe": 0.94}, WARN, "0.94, below 0.95"),
    (judge_edge, EDGE, {"probabilistic_sharpe": 0.89}, FAIL, "0.89, below 0.9"),
    (judge_edge, EDGE, {"probabilistic_sharpe": None, "undefined": "no returns"}, UNKNOWN, "no returns"),
    (judge_edge, EDGE, {"deflated_sharpe": 0.6}, FAIL, "best of 50 trials) is 0.6, below 0.9"),
    (judge_edge, EDGE, {"trials": None, "deflated_sharpe": None}, UNKNOWN, "number of trials is not known"),
    (judge_edge, EDGE, {"overfitting_probability": 0.3}, WARN, "overfitting is 0.3, above 0.2"),
    (judge_edge, EDGE, {"overfitting_probability": 0.41}, FAIL, "overfitting is 0.41, above 0.4"),
    (judge_edge, EDGE, {"overfitting_probability": None}, UNKNOWN, "overfitting was not measured"),
    (judge_edge, EDGE, {"bootstrap_low": -0.1}, WARN, "-0.1 to 2, holds 0"),
    (judge_edge, EDGE, {"bootstrap_low": -3.0, "bootstrap_high": -0.2}, FAIL, "ends at -0.2, not above 0"),
    (judge_edge, EDGE, {"bootstrap_low": -1.0, "bootstrap_high": 0.0}, FAIL, "ends at 0, not above 0"),
    (judge_edge, EDGE, {"bootstrap_low": 0.0}, WARN, "0 to 2, holds 0"),
    (judge_edge, EDGE, {"bootstrap_low": None}, UNKNOWN, "interval of the Sharpe ratio was not measured"),
    (judge_edge, EDGE, {"observations": 399}, WARN, "399 returns were observed; this Sharpe ratio needs 400"),
    (judge_edge, EDGE, {"years": 1.4}, WARN, "covers 1.4 years; the best of 50 worthless trials"),
    (judge_data, DATA, {"events": 0}, FAIL, "no market data"),
    (judge_data, DATA, {"coverage": 0.98999}, FAIL, "0.98999, below 0.99"),
    (judge_data, DATA, {"coverage": 0.9, "is_forced": True}, WARN, "0.9, below 0.99"),
    (judge_data, DATA, {"coverage": None}, UNKNOWN, "sessions was not measured"),
    (judge_data, DATA, {"longest_gap_ns": 61 * 10**9}, WARN, "61 s, above 60 s"),
    (judge_data, DATA, {"sequence_breaks": 3}, WARN, "sequence breaks is 3, above 0"),
    (judge_data, DATA, {"out_of_order": 1}, WARN, "out of order is 1, above 0"),
    (judge_data, DATA, {"crossed_share": 0.002}, WARN, "0.002, above 0.001"),
    (judge_data, DATA, {"duplicate_share": 0.01}, WARN, "duplicates is 0.01"),
    (judge_data, DATA, {"outlier_share": 0.01}, WARN, "outliers is 0.01"),
    (judge_data, DATA, {"filled_share": 0.5}, WARN, "filled-in data is 0.5"),
    (judge_data, DATA, {"trade_through_share": 0.02}, WARN, "outside the best prices is 0.02"),
    (judge_fills, FILLS, {"fills": 99}, WARN, "fills is 99, below 100"),
    (judge_fills, FILLS, {"volume_share": 0.11}, WARN, "0.11, above 0.1"),
    (judge_fills, FILLS, {"volume_share": 0.3}, FAIL, "0.3, above 0.25"),
    (judge_fills, FILLS, {"volume_share": None}, UNKNOWN, "public volume was not measured"),
    (judge_fills, FILLS, {"largest_volume_share": 0.2}, WARN, "in a window is 0.2"),
    (judge_fills, FILLS, {"markout_excess_ticks": 0.2}, WARN, "0.2 ticks, above 0 ticks"),
    (judge_fills, FILLS, {"young_profit_share": 0.5}, WARN, "0.5, above 0.1"),
    (judge_parity, PARITY, {"is_simulation_equal": None}, UNKNOWN, "were not compared"),
    (judge_parity, PARITY, {"is_simulation_equal": False, "first_divergence": "fill 7"}, FAIL, "first at fill 7"),
    (judge_parity, PARITY, {"is_simulation_equal": False}, FAIL, "not recorded"),
    (judge_parity, PARITY, {"matched_fill_share": 0.5}, WARN, "0.5, below 0.8"),
    (judge_parity, PARITY, {"tracking_error": 0.5}, WARN, "0.5, above 0.25"),
    (judge_parity, PARITY, {"tracking_error": 1.5}, FAIL, "1.5, above 1"),
    (judge_parity, PARITY, {"markout_p_value": 0.01}, WARN, "0.01, below 0.05"),
    (judge_reproducibility, AGAIN, {"seed": None, "code_version": ""}, FAIL, "2 of 5 needed records are missing: seed, code_version"),
    (judge_reproducibility, AGAIN, {"libraries": {}}, FAIL, "missing: libraries"),
    (judge_reproducibility, AGAIN, {"is_rerun_equal": None}, UNKNOWN, "not repeated"),
    (judge_reproducibility, AGAIN, {"is_rerun_equal": False}, FAIL, "another digest"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "evidence"),
    [
        (judge_edge, EDGE),
        (judge_data, DATA),
        (judge_fills, FILLS),
        (judge_parity, PARITY),
        (judge_reproducibility, AGAIN),
    ],
    ids=["edge", "data", "fills", "parity", "reproducibility"],
)
def test_what_is_whole_passes_without_a_word(judge, evidence):
    judgement = judge(evidence)
    assert (judgement.status, judgement.reasons) == (PASS, ())
    assert judgement.to_json() == {"status": "PASS", "figures": dict(judgement.figures), "reasons": []}


@pytest.mark.parametrize(
    ("judge", "evidence", "fault", "status", "reason"),
    FAULTS,
    ids=[f"{k}-{'-'.join(f[2])}" for k, f in enumerate(FAULTS)],
)
def test_every_fault_is_told(judge, evidence, fault, status, reason):
    judgement = judge(replace(evidence, **fault))
    assert judgement.status is status
    assert any(reason in told for told in judgement.reasons), judgement.reasons


def test_seed_zero_is_a_seed():
    assert judge_reproducibility(replace(AGAIN, seed=0)).status is PASS


def test_the_worst_finding_is_the_status():
    judgement = judge_edge(replace(EDGE, trials=None, years=0.1, deflated_sharpe=None, probabilistic_sharpe=0.2))
    assert judgement.status is FAIL
    assert len(judgement.reasons) == 3
    # An unknown figure is no pass, and a warning is more than an unknown.
    assert judge_edge(replace(EDGE, trials=None, bootstrap_low=-1.0)).status is WARN


def test_a_single_run_needs_no_probability_of_overfitting():
    single = replace(EDGE, was_searched=False, overfitting_probability=None, trials=1)
    assert judge_edge(single).status is PASS


def test_thresholds_are_the_callers():
    assert judge_fills(replace(FILLS, fills=20), QualityThresholds(fills_pass=10)).status is PASS
    assert judge_data(replace(DATA, coverage=0.95), QualityThresholds(coverage_floor=0.9)).status is PASS


def grid(*profits: str) -> list[FragilityCell]:
    return [FragilityCell(float(k + 1), "RISK_AVERSE", 1.0, Decimal(profit)) for k, profit in enumerate(profits)]


@pytest.mark.parametrize(
    ("profits", "status", "reason"),
    [
        (("10", "5"), PASS, ""),
        (("10", "-5", "-7"), FAIL, "2 of 3 conservative cells do not earn; the worst, latency x3, queue RISK_AVERSE, fees x1, has -7, not above 0"),
        (("-10", "-20"), FAIL, "the run itself earned -10, not above 0"),
        (("10",), UNKNOWN, "no cell of the grid is stricter"),
    ],
)  # fmt: skip
def test_fragility(profits, status, reason):
    judgement = judge_fragility(fragility_figures(grid(*profits), queue_model="RISK_AVERSE"))
    assert judgement.status is status
    assert (reason in judgement.reasons) or not reason or any(reason in told for told in judgement.reasons)
    assert judgement.figures["net_pnl"] == profits[0]


def test_a_result_of_one_day_warns():
    figures = fragility_figures(grid("10", "5"), queue_model="RISK_AVERSE")
    judgement = judge_fragility(figures, net_pnl_without_best_day=Decimal("-1.5"))
    assert (judgement.status, judgement.reasons) == (WARN, ("without its best day the run earns -1.5, not above 0",))
    assert judge_fragility(figures, net_pnl_without_best_day=Decimal(1)).status is PASS
    assert judge_fragility(None).status is UNKNOWN


def test_there_is_no_total():
    lost = fragility_figures(grid("10", "5"), queue_model="RISK_AVERSE")
    whole = judge(
        edge=EDGE, data=DATA, fills=replace(FILLS, fills=20), fragility=lost, parity=PARITY, reproducibility=AGAIN,
        net_pnl_without_best_day=Decimal(-1), thresholds=QualityThresholds(fills_pass=10),
    )  # fmt: skip
    assert [judgement["status"] for judgement in whole.to_json().values()] == ["PASS"] * 3 + ["WARN"] + ["PASS"] * 2
    assert list(whole.to_json()) == ["edge", "data", "fills", "fragility", "parity", "reproducibility"]
    assert [field.name for field in fields(Quality)] == list(whole.to_json())
