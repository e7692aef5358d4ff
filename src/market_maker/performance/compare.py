"""Runs side by side: the same figures of each, which run is best in which, and what makes the comparison unfair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.json_values import json_value
from market_maker.performance.run_report import RunAnalysis

Value = Decimal | float | int | None


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of all runs.

    Parameters
    ----------
    name, unit : such as `net_pnl` and `USDT`
    values : one for each run; None where undefined
    best : label of the best run (ties: the first); None where more is neither better nor worse, or none is defined
    """

    name: str
    unit: str
    values: tuple[Value, ...]
    best: str | None


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs side by side; `cautions` say, in sentences, in what they cannot be compared."""

    labels: tuple[str, ...]
    figures: tuple[ComparedFigure, ...]
    cautions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values, money as text."""
        values: dict[str, Any] = json_value(self)
        return values


def _markout(horizon_ns: int) -> Callable[[RunAnalysis], Value]:
    def of(run: RunAnalysis) -> Value:
        return next((each.mean.estimate for each in run.markouts if each.horizon_ns == horizon_ns), None)

    return of


_MONEY = ""
"""Unit of what is told in the currency of the runs."""
_FIGURES: tuple[tuple[str, str, int, Callable[[RunAnalysis], Value]], ...] = (
    ("net_pnl", _MONEY, 1, lambda run: run.profit.net),
    ("spread_capture", _MONEY, 0, lambda run: run.profit.spread_capture),
    ("inventory", _MONEY, 0, lambda run: run.profit.inventory),
    ("fees", _MONEY, 0, lambda run: run.profit.fees),
    ("rebates", _MONEY, 0, lambda run: run.profit.rebates),
    ("funding", _MONEY, 0, lambda run: run.profit.funding),
    ("hedging", _MONEY, 0, lambda run: run.profit.hedging),
    ("sharpe", "annual", 1, lambda run: run.returns.sharpe.ratio),
    ("sharpe_low", "annual", 1, lambda run: run.sharpe_bootstrap.interval.low),
    ("sortino", "annual", 1, lambda run: run.returns.sortino.value),
    ("calmar", "annual", 1, lambda run: run.returns.calmar.value),
    ("probabilistic_sharpe", "probability", 1, lambda run: run.edge.probabilistic_sharpe.value),
    ("deflated_sharpe", "probability", 1, lambda run: run.edge.deflated.probability if run.edge.deflated else None),
    ("max_drawdown", _MONEY, -1, lambda run: run.drawdowns[0].depth if run.drawdowns else Decimal(0)),
    ("time_under_water", "share", -1, lambda run: run.under_water.share),
    ("turnover", _MONEY, 0, lambda run: run.turnover),
    ("fills", "count", 0, lambda run: run.trading.fills),
    ("fill_ratio", "share", 0, lambda run: run.trading.fill_ratio),
    ("maker_share", "share", 0, lambda run: run.trading.maker_share),
    ("mean_absolute_inventory", "lots", -1, lambda run: run.inventory.mean_absolute),
    ("inventory_half_life", "ns", -1, lambda run: run.inventory.half_life_ns.value),
    ("markout_1s", "ticks", 1, _markout(10**9)),
    ("markout_60s", "ticks", 1, _markout(60 * 10**9)),
    ("volume_share", "share", 0, lambda run: run.volume_share),
)


def compare_runs(runs: Sequence[tuple[str, RunAnalysis]]) -> RunComparison:
    """Return the runs side by side.

    Parameters
    ----------
    runs : label and analysis; at least one, labels that differ, one currency that they settle in

    Raises
    ------
    DataError
        No runs, or runs in several currencies.
    InvalidRequest
        A label that comes twice.
    """
    labels = tuple(label for label, _ in runs)
    if not runs:
        raise DataError("no runs to compare; analyse at least one")
    if len(set(labels)) != len(labels):
        raise InvalidRequest.of("labels", list(labels), "each once")
    currencies = sorted({run.currency for _, run in runs})
    if len(currencies) > 1:
        raise DataError(f"runs in {', '.join(currencies)} cannot be compared; choose runs that settle in one currency")
    figures = []
    for name, unit, direction, read in _FIGURES:
        values = tuple(read(run) for _, run in runs)
        figures.append(ComparedFigure(name, unit or currencies[0], values, _best(labels, values, direction)))
    return RunComparison(labels, tuple(figures), _cautions([run for _, run in runs]))


def _best(labels: Sequence[str], values: Sequence[Value], direction: int) -> str | None:
    best: tuple[Decimal, str] | None = None
    for label, value in zip(labels, values, strict=True):
        if value is not None and direction:
            rated = direction * Decimal(value)
            if best is None or rated > best[0]:
                best = (rated, label)
    return None if best is None else best[1]


def _cautions(runs: Sequence[RunAnalysis]) -> tuple[str, ...]:
    found = []
    if len({(run.start_ts, run.end_ts) for run in runs}) > 1:
        found.append("The runs cover different times, so that profits and drawdowns are of different markets.")
    clocks = sorted({run.returns.sharpe.interval_ns for run in runs})
    if len(clocks) > 1:
        found.append(
            f"Ratios were sampled at {', '.join(f'{clock / 1e9:g} s' for clock in clocks)}; choose one clock for all."
        )
    if len({run.initial_balance for run in runs}) > 1:
        found.append("The runs began with different balances, so that ratios of returns are of different leverage.")
    return tuple(found)
