"""What the judgements of a backtest rest on: evidence as plain values, and the bounds it is held against.

Whoever measured a figure puts it here; None says that nobody did. Knows nothing of how a judgement is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """Bounds of the judgements; a `_pass` bound is met or it warns, a `_fail` bound is met or it fails.

    Parameters
    ----------
    confidence_pass, confidence_fail : probabilistic and deflated Sharpe ratio
    overfitting_pass, overfitting_fail : probability of backtest overfitting, at most
    coverage_floor : share of the sessions that is recorded, at least; below it fails, forced runs warn
    gap_ns_pass : longest gap, at most
    crossed_pass, outliers_pass, duplicates_pass, filled_pass : share of rows, at most
    trade_through_pass : share of the public trades outside the best prices, at most
    sequence_breaks_pass, out_of_order_pass : rows, at most
    volume_share_pass, volume_share_fail : own fills / public volume, at most
    fills_pass : fills, at least: with fewer no rate can be told
    young_profit_pass : share of the profit from orders that had rested less than the latency, at most
    markout_excess_ticks_pass : simulated fills' markout less that of market trades at the same side, at most
    tracking_pass, tracking_fail : |simulated - live profit| / |live profit|, at most
    matched_fills_pass : share of live fills that have a simulated one, at least
    markout_p_value_pass : p-value of the comparison of simulated with live markouts, at least
    """

    confidence_pass: float = 0.95
    confidence_fail: float = 0.90
    overfitting_pass: float = 0.20
    overfitting_fail: float = 0.40
    coverage_floor: float = 0.99
    gap_ns_pass: int = 60 * 10**9
    crossed_pass: float = 0.001
    outliers_pass: float = 0.0001
    duplicates_pass: float = 0.001
    filled_pass: float = 0.0
    trade_through_pass: float = 0.01
    sequence_breaks_pass: int = 0
    out_of_order_pass: int = 0
    volume_share_pass: float = 0.10
    volume_share_fail: float = 0.25
    fills_pass: int = 100
    young_profit_pass: float = 0.10
    markout_excess_ticks_pass: float = 0.0
    tracking_pass: float = 0.25
    tracking_fail: float = 1.0
    matched_fills_pass: float = 0.80
    markout_p_value_pass: float = 0.05


DEFAULT_THRESHOLDS = QualityThresholds()


@dataclass(frozen=True, slots=True)
class EdgeEvidence:
    """What is known of the edge; None was not measured.

    Parameters
    ----------
    observations : returns on the sampling clock
    years : length of the run
    probabilistic_sharpe, deflated_sharpe : probabilities, against 0 and against the best of `trials` worthless trials
    trials : how many were tried of this family of strategies; None when nobody counted
    effective_trials : of these, how many differ
    track_record_needed : observations needed, see `minimum_track_record`
    backtest_years_needed : see `minimum_backtest_years`
    bootstrap_low, bootstrap_high : block-bootstrap interval of the annual Sharpe ratio
    overfitting_probability : by symmetric cross-validation of the search
    was_searched : True when the parameters came out of a search, whose overfitting must then be known
    undefined : why there is no Sharpe ratio at all
    """

    observations: int
    years: float
    probabilistic_sharpe: float | None = None
    deflated_sharpe: float | None = None
    trials: int | None = None
    effective_trials: int | None = None
    track_record_needed: float | None = None
    backtest_years_needed: float | None = None
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    overfitting_probability: float | None = None
    was_searched: bool = False
    undefined: str | None = None


@dataclass(frozen=True, slots=True)
class DataEvidence:
    """What is known of the market data; shares are in [0, 1], None was not measured."""

    events: int
    coverage: float | None
    is_forced: bool = False
    longest_gap_ns: int | None = None
    sequence_breaks: int | None = None
    crossed_share: float | None = None
    duplicate_share: float | None = None
    out_of_order: int | None = None
    trade_through_share: float | None = None
    outlier_share: float | None = None
    filled_share: float | None = None


@dataclass(frozen=True, slots=True)
class FillEvidence:
    """What is known of the fills; None was not measured.

    Parameters
    ----------
    fills : how many
    maker_share, fill_ratio : shares, for the record
    volume_share : own fills / public volume of the run
    largest_volume_share : the same of the window with the largest
    markout_excess_ticks : mean markout of simulated maker fills less that of market trades at the same side and horizon
    young_profit_share : profit of orders that had rested less than the latency / profit
    """

    fills: int
    maker_share: float | None = None
    fill_ratio: float | None = None
    volume_share: float | None = None
    largest_volume_share: float | None = None
    markout_excess_ticks: float | None = None
    young_profit_share: float | None = None


@dataclass(frozen=True, slots=True)
class ParityEvidence:
    """How the simulation and the live venue compare with the backtest; None was not measured.

    Parameters
    ----------
    is_simulation_equal : True when simulation and backtest gave the same orders and fills, bit by bit
    first_divergence : what differed first
    fill_rate_ratio : simulated fills / live fills
    matched_fill_share : live fills with a simulated one near in time and price / live fills
    tracking_error : |simulated - live profit| / |live profit|
    markout_p_value : of a two-sample test of simulated against live markouts
    """

    is_simulation_equal: bool | None = None
    first_divergence: str | None = None
    fill_rate_ratio: float | None = None
    matched_fill_share: float | None = None
    tracking_error: float | None = None
    markout_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class ReproducibilityEvidence:
    """What is kept to run it again, and whether that was done; None or "" is missing."""

    seed: int | None
    code_version: str | None
    configuration_hash: str | None
    data_hash: str | None
    libraries: Mapping[str, str] = field(default_factory=dict)
    is_rerun_equal: bool | None = None
