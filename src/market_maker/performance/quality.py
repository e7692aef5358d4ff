"""Is a backtest to be believed? Six judgements, each with its figures and reasons, and never one blended score.

A judgement passes when everything it needs is known and within bounds; the worst of its findings is its status. Takes
plain values and says what it found; knows nothing of how these were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from market_maker.performance.evidence import (
    DEFAULT_THRESHOLDS,
    DataEvidence,
    EdgeEvidence,
    FillEvidence,
    ParityEvidence,
    QualityThresholds,
    ReproducibilityEvidence,
)
from market_maker.performance.fragility import FragilityFigures

Shown = float | int | str | bool | None
"""A figure as it is shown; None was not measured."""


class Status(StrEnum):
    """PASS; WARN: look at it; FAIL: do not rely on the result; UNKNOWN: not everything needed was measured."""

    PASS = "PASS"  # noqa: S105 (no password)
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


_WORST_FIRST = (Status.FAIL, Status.WARN, Status.UNKNOWN, Status.PASS)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judgement: its status, the figures it rests on, and a sentence for everything that is not a plain pass."""

    name: str
    status: Status
    figures: Mapping[str, Shown]
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the judgement as JSON values."""
        return {"status": self.status.value, "figures": dict(self.figures), "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True)
class Quality:
    """The six judgements, side by side."""

    edge: Judgement
    data: Judgement
    fills: Judgement
    fragility: Judgement
    parity: Judgement
    reproducibility: Judgement

    def to_json(self) -> dict[str, Any]:
        """Return the judgements as JSON values; there is no total."""
        judgements = (self.edge, self.data, self.fills, self.fragility, self.parity, self.reproducibility)
        return {judgement.name: judgement.to_json() for judgement in judgements}


class _Findings:
    """Collects figures and findings of one judgement."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.figures: dict[str, Shown] = {}
        self.reasons: list[str] = []
        self.statuses = {Status.PASS}

    def add(self, status: Status, reason: str) -> None:
        self.statuses.add(status)
        self.reasons.append(reason)

    def bound(
        self,
        name: str,
        value: float | None,
        *,
        text: str,
        unit: str = "",
        least: float | None = None,
        most: float | None = None,
        fail: float | None = None,
        worse: Status = Status.WARN,
        is_needed: bool = True,
    ) -> None:
        """Record a figure that must be at least or at most a bound; beyond `fail` it fails, else it is `worse`."""
        self.figures[name] = value
        if value is None:
            if is_needed:
                self.add(Status.UNKNOWN, f"{text} was not measured")
            return
        low = least is not None
        limit = least if least is not None else most
        assert limit is not None, name
        if value >= limit if low else value <= limit:
            return
        failed = fail is not None and (value < fail if low else value > fail)
        bound = fail if failed else limit
        word = "below" if low else "above"
        self.add(Status.FAIL if failed else worse, f"{text} is {_text(value)}{unit}, {word} {_text(bound)}{unit}")

    def judgement(self) -> Judgement:
        status = next(status for status in _WORST_FIRST if status in self.statuses)
        return Judgement(self.name, status, self.figures, tuple(self.reasons))


def judge(
    *,
    edge: EdgeEvidence,
    data: DataEvidence,
    fills: FillEvidence,
    fragility: FragilityFigures | None,
    parity: ParityEvidence,
    reproducibility: ReproducibilityEvidence,
    net_pnl_without_best_day: Decimal | None = None,
    thresholds: QualityThresholds = DEFAULT_THRESHOLDS,
) -> Quality:
    """Return all six judgements of one result."""
    return Quality(
        edge=judge_edge(edge, thresholds),
        data=judge_data(data, thresholds),
        fills=judge_fills(fills, thresholds),
        fragility=judge_fragility(fragility, net_pnl_without_best_day=net_pnl_without_best_day),
        parity=judge_parity(parity, thresholds),
        reproducibility=judge_reproducibility(reproducibility),
    )


def judge_edge(evidence: EdgeEvidence, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> Judgement:
    """Return judgement A, whether the edge is real.

    Needed: probabilistic and deflated Sharpe ratio and the bootstrap interval; after a search also the probability of
    overfitting. A run shorter than the minimum track record or backtest length warns.
    """
    found = _Findings("edge")
    found.figures |= {
        "observations": evidence.observations,
        "years": evidence.years,
        "trials": evidence.trials,
        "effective_trials": evidence.effective_trials,
        "bootstrap_low": evidence.bootstrap_low,
        "bootstrap_high": evidence.bootstrap_high,
    }
    if evidence.undefined is not None:
        found.add(Status.UNKNOWN, f"there is no Sharpe ratio: {evidence.undefined}")
    probability, least = thresholds.confidence_pass, thresholds.confidence_fail
    found.bound(
        "probabilistic_sharpe", evidence.probabilistic_sharpe, least=probability, fail=least,
        text="the probability that the true Sharpe ratio exceeds 0",
    )  # fmt: skip
    if evidence.trials is None:
        found.figures["deflated_sharpe"] = None
        found.add(Status.UNKNOWN, "the number of trials is not known, so that the Sharpe ratio cannot be deflated")
    else:
        found.bound(
            "deflated_sharpe", evidence.deflated_sharpe, least=probability, fail=least,
            text=f"the deflated Sharpe ratio (best of {evidence.trials} trials)",
        )  # fmt: skip
    found.bound(
        "overfitting_probability", evidence.overfitting_probability, most=thresholds.overfitting_pass,
        fail=thresholds.overfitting_fail, text="the probability of backtest overfitting",
        is_needed=evidence.was_searched,
    )  # fmt: skip
    _judge_interval(found, evidence)
    found.figures["track_record_needed"] = evidence.track_record_needed
    if evidence.track_record_needed is not None and evidence.observations < evidence.track_record_needed:
        found.add(
            Status.WARN,
            f"{evidence.observations} returns were observed; this Sharpe ratio needs"
            f" {evidence.track_record_needed:.0f} to exceed 0 with {_text(probability)} confidence",
        )
    found.figures["backtest_years_needed"] = evidence.backtest_years_needed
    if evidence.backtest_years_needed is not None and evidence.years < evidence.backtest_years_needed:
        found.add(
            Status.WARN,
            f"the run covers {_text(evidence.years)} years; the best of {evidence.trials} worthless trials is expected"
            f" to show this Sharpe ratio in less than {_text(evidence.backtest_years_needed)}",
        )
    return found.judgement()


def _judge_interval(found: _Findings, evidence: EdgeEvidence) -> None:
    low, high = evidence.bootstrap_low, evidence.bootstrap_high
    if low is None or high is None:
        found.add(Status.UNKNOWN, "the bootstrap interval of the Sharpe ratio was not measured")
    elif high <= 0:
        found.add(Status.FAIL, f"the bootstrap interval of the Sharpe ratio ends at {_text(high)}, not above 0")
    elif low <= 0:
        found.add(Status.WARN, f"the bootstrap interval of the Sharpe ratio, {_text(low)} to {_text(high)}, holds 0")


def judge_data(evidence: DataEvidence, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> Judgement:
    """Return judgement B, whether the data is whole.

    Needed: events and coverage. No event fails; coverage below the floor fails, or warns where the run was forced.
    """
    found = _Findings("data")
    found.figures |= {"events": evidence.events, "is_forced": evidence.is_forced}
    if evidence.events <= 0:
        found.add(Status.FAIL, "no market data was replayed")
    floor = thresholds.coverage_floor
    found.bound(
        "coverage", evidence.coverage, least=floor, text="the recorded share of the sessions",
        worse=Status.WARN if evidence.is_forced else Status.FAIL,
    )  # fmt: skip
    gap = evidence.longest_gap_ns
    found.bound(
        "longest_gap_s", None if gap is None else gap / 10**9, most=thresholds.gap_ns_pass / 10**9, unit=" s",
        text="the longest gap", is_needed=False,
    )  # fmt: skip
    rows: tuple[tuple[str, float | None, float, str], ...] = (
        ("sequence_breaks", evidence.sequence_breaks, thresholds.sequence_breaks_pass, "the number of sequence breaks"),
        ("out_of_order", evidence.out_of_order, thresholds.out_of_order_pass, "the number of rows out of order"),
        ("crossed_share", evidence.crossed_share, thresholds.crossed_pass, "the share of crossed or locked books"),
        ("duplicate_share", evidence.duplicate_share, thresholds.duplicates_pass, "the share of duplicates"),
        ("outlier_share", evidence.outlier_share, thresholds.outliers_pass, "the share of outliers"),
        ("filled_share", evidence.filled_share, thresholds.filled_pass, "the share of filled-in data"),
        ("trade_through_share", evidence.trade_through_share, thresholds.trade_through_pass, "the share of trades outside the best prices"),
    )  # fmt: skip
    for name, value, most, text in rows:
        found.bound(name, value, most=most, text=text, is_needed=False)
    return found.judgement()


def judge_fills(evidence: FillEvidence, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> Judgement:
    """Return judgement C, whether the fills are real.

    Needed: the number of fills and the share of the public volume.
    """
    found = _Findings("fills")
    found.figures |= {"maker_share": evidence.maker_share, "fill_ratio": evidence.fill_ratio}
    found.bound("fills", evidence.fills, least=thresholds.fills_pass, text="the number of fills")
    for name, value, text in (
        ("volume_share", evidence.volume_share, "the share of the public volume"),
        ("largest_volume_share", evidence.largest_volume_share, "the largest share of the public volume in a window"),
    ):
        found.bound(
            name, value, most=thresholds.volume_share_pass, fail=thresholds.volume_share_fail, text=text,
            is_needed=name == "volume_share",
        )  # fmt: skip
    found.bound(
        "markout_excess_ticks", evidence.markout_excess_ticks, most=thresholds.markout_excess_ticks_pass, unit=" ticks",
        text="the markout of simulated fills over that of market trades", is_needed=False,
    )  # fmt: skip
    found.bound(
        "young_profit_share", evidence.young_profit_share, most=thresholds.young_profit_pass, is_needed=False,
        text="the share of profit from orders that had rested less than the latency",
    )  # fmt: skip
    return found.judgement()


def judge_fragility(figures: FragilityFigures | None, *, net_pnl_without_best_day: Decimal | None = None) -> Judgement:
    """Return judgement D, how fragile the result is.

    It fails when the run itself does not earn, or a conservative cell does not; it warns when one day earned it all.
    Needed: a grid with at least one cell that is stricter than the run.
    """
    found = _Findings("fragility")
    if figures is None:
        found.add(Status.UNKNOWN, "the grid of latencies, queue models and fees was not computed")
        return found.judgement()
    found.figures |= {
        "net_pnl": f"{figures.reference.net_pnl:f}",
        "worst_net_pnl": f"{figures.worst.net_pnl:f}",
        "cells": figures.cells,
        "conservative_cells": figures.conservative_cells,
        "conservative_losing": len(figures.conservative_losing),
        "break_even_latency": figures.break_even_latency.value,
        "break_even_queue": figures.break_even_queue.value,
        "break_even_fees": figures.break_even_fees.value,
        "sharpe_elasticity": figures.sharpe_elasticity.value,
    }
    if figures.reference.net_pnl <= Decimal(0):
        found.add(Status.FAIL, f"the run itself earned {figures.reference.net_pnl:f}, not above 0")
    elif figures.conservative_losing:
        worst = min(figures.conservative_losing, key=lambda cell: cell.net_pnl)
        found.add(
            Status.FAIL,
            f"{len(figures.conservative_losing)} of {figures.conservative_cells} conservative cells do not earn;"
            f" the worst, latency x{worst.latency_factor:g}, queue {worst.queue_model}, fees x{worst.fee_factor:g},"
            f" has {worst.net_pnl:f}, not above 0",
        )
    if net_pnl_without_best_day is not None:
        found.figures["net_pnl_without_best_day"] = f"{net_pnl_without_best_day:f}"
        if net_pnl_without_best_day <= 0 < figures.reference.net_pnl:
            found.add(Status.WARN, f"without its best day the run earns {net_pnl_without_best_day:f}, not above 0")
    if figures.conservative_cells < 2:
        found.add(Status.UNKNOWN, "no cell of the grid is stricter than the run; at least 1 is needed")
    return found.judgement()


def judge_parity(evidence: ParityEvidence, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> Judgement:
    """Return judgement E, whether simulation and live venue give what the backtest gave.

    Needed: the comparison with the simulation. Live figures are judged where they are known.
    """
    found = _Findings("parity")
    found.figures |= {
        "is_simulation_equal": evidence.is_simulation_equal,
        "first_divergence": evidence.first_divergence,
        "fill_rate_ratio": evidence.fill_rate_ratio,
    }
    if evidence.is_simulation_equal is None:
        found.add(Status.UNKNOWN, "simulation and backtest were not compared")
    elif not evidence.is_simulation_equal:
        where = evidence.first_divergence or "an event that was not recorded"
        found.add(Status.FAIL, f"simulation and backtest differ, first at {where}; allowed: no difference")
    found.bound(
        "matched_fill_share", evidence.matched_fill_share, least=thresholds.matched_fills_pass, is_needed=False,
        text="the share of live fills with a simulated one",
    )  # fmt: skip
    found.bound(
        "tracking_error", evidence.tracking_error, most=thresholds.tracking_pass, fail=thresholds.tracking_fail,
        text="the difference of simulated and live profit, as a share of the live one,", is_needed=False,
    )  # fmt: skip
    found.bound(
        "markout_p_value", evidence.markout_p_value, least=thresholds.markout_p_value_pass, is_needed=False,
        text="the p-value of equal simulated and live markouts",
    )  # fmt: skip
    return found.judgement()


def judge_reproducibility(evidence: ReproducibilityEvidence) -> Judgement:
    """Return judgement F, whether it can be had again.

    Needed: seed, code version, hashes of configuration and data, library versions, and a rerun. What is missing of the
    records fails, and so does a rerun with another digest.
    """
    found = _Findings("reproducibility")
    kept: tuple[tuple[str, Shown], ...] = (
        ("seed", evidence.seed),
        ("code_version", evidence.code_version),
        ("configuration_hash", evidence.configuration_hash),
        ("data_hash", evidence.data_hash),
    )
    found.figures |= dict(kept) | {"libraries": len(evidence.libraries), "is_rerun_equal": evidence.is_rerun_equal}
    missing = [name for name, value in kept if value is None or value == ""]
    if not evidence.libraries:
        missing.append("libraries")
    if missing:
        found.add(Status.FAIL, f"{len(missing)} of 5 needed records are missing: {', '.join(missing)}")
    if evidence.is_rerun_equal is None:
        found.add(Status.UNKNOWN, "the run was not repeated")
    elif not evidence.is_rerun_equal:
        found.add(Status.FAIL, "a repeated run gave another digest; allowed: no difference")
    return found.judgement()


def _text(value: float | None) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{value}"
