"""What a parameter set gave over one stretch or several, and the objectives by which a search ranks sets.

Owns the periods on which the runs of one recording are compared: profits are exact, half units of cash as in the samples of a
run, and add up to its net P&L. Knows no search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from market_maker.backtest.engine import RunConfig, RunResult
from market_maker.backtest.fee_models import Contract
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.market_data.replay import Feed
from market_maker.performance.drawdown import max_drawdown
from market_maker.performance.figures import Int64
from market_maker.performance.returns import YEAR_NS, Sharpe, sharpe_ratio, simple_returns, sortino_ratio

PERIODS_MAX = 2048
"""Periods of a recording at most: 16 kB of each run are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What one parameter set gave.

    Parameters
    ----------
    net_pnl, turnover : quote currency (INVERSE: base currency)
    balance : funds at the start, half cash units
    profits : (n,) int64, change of the equity in each period, half cash units; the last one of a stretch may be shorter
    period_ns : of all stretches
    begin_ts : start of the first period
    """

    net_pnl: Decimal
    turnover: Decimal
    fills: int
    balance: int
    profits: Int64
    period_ns: int
    begin_ts: int

    @property
    def periods_per_year(self) -> float:
        """Periods in 365 days."""
        return YEAR_NS / self.period_ns

    @property
    def hours(self) -> float:
        """How long it lasted."""
        return len(self.profits) * self.period_ns / 3.6e12

    @property
    def equity(self) -> Int64:
        """(n + 1,) int64, funds at the start and after each period, half cash units."""
        return np.concatenate([[self.balance], self.balance + np.cumsum(self.profits)])

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Return stretches one after the other, as if each had gone on with what the one before had left.

        Funds are those at the start of the first: every stretch was run with the same.
        """
        if len(parts) == 1:
            return parts[0]
        return cls(
            net_pnl=sum((part.net_pnl for part in parts), Decimal(0)),
            turnover=sum((part.turnover for part in parts), Decimal(0)),
            fills=sum(part.fills for part in parts),
            balance=parts[0].balance,
            profits=np.concatenate([part.profits for part in parts]),
            period_ns=parts[0].period_ns,
            begin_ts=parts[0].begin_ts,
        )

    def sharpe(self) -> Sharpe:
        """Return the annual Sharpe ratio of the periods' returns."""
        return sharpe_ratio(self.equity, interval_ns=self.period_ns)

    def drawdown(self) -> int:
        """Return the deepest fall of the equity between ends of periods, half cash units."""
        return int(max_drawdown(self.equity).depth)


def period_ns(config: RunConfig, feed: Feed) -> int:
    """Return the period of all runs over a recording: the fewest sampling intervals that make `PERIODS_MAX` of it or fewer."""
    intervals = -(-(feed.last_ts - feed.first_ts + 1) // config.sample_interval_ns)
    return config.sample_interval_ns * max(1, -(-intervals // PERIODS_MAX))


def evaluation_of(config: RunConfig, feed: Feed, result: RunResult) -> Evaluation:
    """Return what a run gave, by period."""
    begin, count, period = _periods(config, feed)
    balance = _half_units(config.instrument, result.summary.initial_balance)
    edges = begin + period * np.arange(1, count, dtype=np.int64)
    place = np.searchsorted(result.samples["ts"].to_numpy(), edges, side="right")
    sampled = np.concatenate([[balance], result.samples["equity_half_tick_lots"].to_numpy()])
    # The last sample may be before the end: what came after it counts, too.
    last = balance + _half_units(config.instrument, result.summary.net_pnl)
    profits = np.diff(np.concatenate([[balance], sampled[place], [last]])).astype(np.int64)
    summary = result.summary
    return Evaluation(summary.net_pnl, summary.turnover, summary.fills, balance, profits, period, begin)


def recalled(
    config: RunConfig, feed: Feed, *, net_pnl: Decimal, turnover: Decimal, fills: int, profits: Int64
) -> Evaluation | None:
    """Return what a run gave that was kept, None when its periods are not those of today."""
    begin, count, period = _periods(config, feed)
    if len(profits) != count or int(profits.sum()) != _half_units(config.instrument, net_pnl):
        return None
    # As the engine has it: whole cash units, rounded down.
    balance = 2 * int(EXACT.divide(config.balance, Contract.of(config.instrument).cash_unit))
    return Evaluation(net_pnl, turnover, fills, balance, profits, period, begin)


def money(instrument: Instrument, half_units: int) -> Decimal:
    """Return half cash units in quote currency (INVERSE: base currency)."""
    return EXACT.divide(EXACT.multiply(Decimal(half_units), Contract.of(instrument).cash_unit), Decimal(2))


def _periods(config: RunConfig, feed: Feed) -> tuple[int, int, int]:
    """Return where the first period of a run begins, how many there are and how long they are."""
    begin, end = max(config.start_ts, feed.first_ts), min(config.end_ts, feed.last_ts + 1)
    period = period_ns(config, feed)
    return begin, max(1, -(-(end - begin) // period)), period


def _half_units(instrument: Instrument, amount: Decimal) -> int:
    return instrument.cash_units(amount, per_unit=2)


# --- objectives -------------------------------------------------------------------------------------------------------


def _net_pnl(found: Evaluation) -> float:
    return float(found.net_pnl)


def _sharpe(found: Evaluation) -> float | None:
    return found.sharpe().ratio


def _sortino(found: Evaluation) -> float | None:
    returns = simple_returns(found.equity)
    return None if returns is None else sortino_ratio(returns, found.periods_per_year).value


def _pnl_over_drawdown(found: Evaluation) -> float | None:
    fall = found.drawdown()
    return int(found.profits.sum()) / fall if fall else None


def _pnl_per_turnover(found: Evaluation) -> float | None:
    return float(found.net_pnl / found.turnover) if found.turnover else None


OBJECTIVES: dict[str, Callable[[Evaluation], float | None]] = {
    "net_pnl": _net_pnl,
    "sharpe": _sharpe,
    "sortino": _sortino,
    "pnl_over_drawdown": _pnl_over_drawdown,
    "pnl_per_turnover": _pnl_per_turnover,
}
"""What a search makes as high as it can; None where it is undefined, such as the Sharpe ratio of a set that never traded."""


def objective_of(name: str) -> Callable[[Evaluation], float | None]:
    """Return an objective by its name; InvalidRequest lists them."""
    if name not in OBJECTIVES:
        raise InvalidRequest.of("objective", name, ", ".join(OBJECTIVES))
    return OBJECTIVES[name]
