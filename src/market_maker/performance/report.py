"""The analysis of several runs: totals, best and worst, one row per run, profit split by cause.

Takes summaries as they are; money is Decimal and every split adds up exactly. Knows nothing of where runs are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from typing import Any, Protocol

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.performance.returns import Sharpe


class RunFigures(Protocol):
    """What is read of a run's summary; money in the currency that it settles in."""

    @property
    def net_pnl(self) -> Decimal:
        """Profit after fees and funding."""

    @property
    def gross_pnl(self) -> Decimal:
        """Profit before fees and funding."""

    @property
    def fees(self) -> Decimal:
        """Fees paid."""

    @property
    def funding(self) -> Decimal:
        """Funding paid; negative: received."""

    @property
    def spread_capture(self) -> Decimal:
        """Profit of trading away from the mid."""

    @property
    def inventory_pnl(self) -> Decimal:
        """Profit of the positions held."""

    @property
    def max_drawdown(self) -> Decimal:
        """Deepest fall of the equity."""

    @property
    def turnover(self) -> Decimal:
        """Traded value."""

    @property
    def fills(self) -> int:
        """Number of fills."""

    @property
    def maker_fills(self) -> int:
        """Fills that gave liquidity."""

    @property
    def orders(self) -> int:
        """Orders placed."""

    @property
    def sharpe(self) -> Sharpe:
        """Sharpe ratio of the sampled equity."""


class Run(Protocol):
    """A finished run."""

    @property
    def summary(self) -> RunFigures:
        """Its figures."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in the table; `residual` is net_pnl - spread_capture - inventory_pnl + fees + funding and must be 0."""

    label: str
    net_pnl: Decimal
    spread_capture: Decimal
    inventory_pnl: Decimal
    fees: Decimal
    funding: Decimal
    residual: Decimal
    max_drawdown: Decimal
    turnover: Decimal
    sharpe: float | None
    fills: int
    orders: int


@dataclass(frozen=True, slots=True)
class AnalysisReport:
    """The analysis; money in the currency that the runs settle in. `best` and `worst` are labels by net profit (ties: the first)."""

    runs: int
    profitable_runs: int
    net_pnl: Decimal
    mean_net_pnl: Decimal
    spread_capture: Decimal
    inventory_pnl: Decimal
    fees: Decimal
    funding: Decimal
    residual: Decimal
    turnover: Decimal
    worst_drawdown: Decimal
    fills: int
    orders: int
    maker_share: float | None
    best: str
    worst: str
    rows: tuple[RunRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, money as text."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def analyse(results: Sequence[Run], labels: Sequence[str] | None = None) -> AnalysisReport:
    """Return the analysis of finished runs.

    Parameters
    ----------
    results : runs that settle in one currency
    labels : a name for each; default "1", "2", ...

    Raises
    ------
    DataError
        No runs.
    InvalidRequest
        As many labels as runs are needed.
    """
    runs = [result.summary for result in results]
    if not runs:
        raise DataError("no results to analyse; run at least one backtest")
    names = [str(i + 1) for i in range(len(runs))] if labels is None else list(labels)
    if len(names) != len(runs):
        raise InvalidRequest.of("labels", len(names), f"one for each of the {len(runs)} runs")
    rows = tuple(_row(name, run) for name, run in zip(names, runs, strict=True))
    fills = sum(run.fills for run in runs)
    net = _added(row.net_pnl for row in rows)
    return AnalysisReport(
        runs=len(rows),
        profitable_runs=sum(row.net_pnl > 0 for row in rows),
        net_pnl=net,
        mean_net_pnl=net / len(rows),
        spread_capture=_added(row.spread_capture for row in rows),
        inventory_pnl=_added(row.inventory_pnl for row in rows),
        fees=_added(row.fees for row in rows),
        funding=_added(row.funding for row in rows),
        residual=_added(row.residual for row in rows),
        turnover=_added(row.turnover for row in rows),
        worst_drawdown=max(row.max_drawdown for row in rows),
        fills=fills,
        orders=sum(row.orders for row in rows),
        maker_share=sum(run.maker_fills for run in runs) / fills if fills else None,
        best=max(rows, key=lambda row: row.net_pnl).label,
        worst=min(rows, key=lambda row: row.net_pnl).label,
        rows=rows,
    )


def _row(label: str, run: RunFigures) -> RunRow:
    return RunRow(
        label=label,
        net_pnl=run.net_pnl,
        spread_capture=run.spread_capture,
        inventory_pnl=run.inventory_pnl,
        fees=run.fees,
        funding=run.funding,
        residual=_added((run.net_pnl, -run.spread_capture, -run.inventory_pnl, run.fees, run.funding)),
        max_drawdown=run.max_drawdown,
        turnover=run.turnover,
        sharpe=run.sharpe.ratio,
        fills=run.fills,
        orders=run.orders,
    )


def _added(amounts: Iterable[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(amounts, Decimal(0))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
