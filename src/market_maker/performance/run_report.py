"""The analysis of one run: every figure of this package from its columns, as one value that can be shown or sent.

Money is Decimal in the currency that the instrument settles in: its quote, or the base of an inverse contract. Knows nothing of
where columns come from; a figure whose input is absent is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import DAY_NS, NS_PER_SECOND
from market_maker.performance.attribution import (
    Leg,
    MoneySplit,
    marks_of,
    money_split,
    regrouped,
    split_by_interval,
)
from market_maker.performance.columns import Fills, Samples, scaled
from market_maker.performance.curves import RunCurves, run_curves
from market_maker.performance.drawdown import UnderWater, time_under_water, top_drawdowns
from market_maker.performance.evidence import EdgeEvidence, FillEvidence
from market_maker.performance.figures import Int64, Interval
from market_maker.performance.inventory import InventoryFigures, inventory_figures
from market_maker.performance.json_values import json_value
from market_maker.performance.markout import (
    HORIZONS_NS,
    Markout,
    Mids,
    Spreads,
    future_mids,
    markouts,
    mids_of,
    spreads,
)
from market_maker.performance.money_tables import MoneyTables, RegimeTables, SplitRow, day_name, hour_name
from market_maker.performance.regimes import label_regimes, window_for
from market_maker.performance.returns import ReturnFigures, on_clock, return_figures, sampling_clock_ns, simple_returns
from market_maker.performance.sharpe_interval import BootstrapInterval, bootstrap_interval, hac_interval
from market_maker.performance.trading import (
    OrderCounts,
    OrderLives,
    TimeAtBest,
    TradingFigures,
    time_at_best,
    trading_figures,
    volume_share,
    young_profit_share,
)
from market_maker.performance.trial_statistics import Edge, TrialStatistics, edge_evidence, edge_of
from market_maker.performance.worth import Worth

HOUR_NS = 3600 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """How a run is analysed; stored with the result.

    Parameters
    ----------
    clock_ns : sampling clock of the ratios; None chooses, see `sampling_clock_ns`
    confidence : of all intervals
    bootstrap_draws, seed : of the block bootstrap
    horizons_ns : of the markouts
    regime_window_ns : window of the regimes; None chooses, see `window_for`
    volume_window_ns : window of the largest share of public volume
    drawdowns : how many
    plot_points : about so many values per curve
    """

    clock_ns: int | None = None
    confidence: float = 0.95
    bootstrap_draws: int = 2000
    seed: int = 0
    horizons_ns: tuple[int, ...] = HORIZONS_NS
    regime_window_ns: int | None = None
    volume_window_ns: int = HOUR_NS
    drawdowns: int = 5
    plot_points: int = 2000


@dataclass(frozen=True, slots=True, eq=False)
class RunInputs:
    """What is known of a run beside samples and fills; whatever is None leaves its figures out.

    Parameters
    ----------
    end_ts, end_mid_half_ticks : the end of the run, where it lies after the last sample
    funding_ts, funding_tick_lots, is_funding_in_cash : payments received, see `marks_of`
    hedges : splits of other instruments of the same book, as `Leg`
    mids : the mid more often than it was sampled, for short markouts
    order_lives : when own orders rested; time at best also needs the market's best prices in the samples
    cause_names : name of every code in the fills' `cause`
    latency_ns : order latency, for the profit of orders that had rested less; also needs `resting_ns` of the fills
    trials : those among which the run was chosen
    """

    end_ts: int | None = None
    end_mid_half_ticks: int | None = None
    funding_ts: Int64 | None = None
    funding_tick_lots: Int64 | None = None
    is_funding_in_cash: bool = False
    hedges: Sequence[Leg] = ()
    mids: Mids | None = None
    order_lives: OrderLives | None = None
    cause_names: Mapping[int, str] | None = None
    latency_ns: int | None = None
    trials: TrialStatistics | None = None


@dataclass(frozen=True, slots=True)
class DrawdownRow:
    """One fall of the sampled equity: depth in settlement currency, instants in ns UTC."""

    depth: Decimal
    start_ts: int
    trough_ts: int
    recovery_ts: int | None
    duration_ns: int


@dataclass(frozen=True, slots=True)
class RunAnalysis:
    """The analysis of one run; money in `currency`, instants in ns UTC. Made by `analyse_run`.

    Parameters
    ----------
    currency : what the instrument settles in, of all money here
    quote : the currency of prices
    start_ts, end_ts, samples, sample_interval_ns : first and last instant, and the run's sampling
    initial_balance, final_equity, turnover, volume : final equity and turnover with the profit of hedges left out
    turnover_per_day : turnover / initial balance / days; None without a balance or time
    profit : of the whole run by cause
    by_day, by_hour_of_day : by UTC day and by hour of the UTC day
    net_pnl_without_best_day : None with fewer than two days
    volume_share, largest_volume_share : of the public volume; None where it is not known
    young_profit_share : see the function of this name; None where it is not known
    time_at_best, fills_by_cause, fills_by_queue : None where their columns are absent
    """

    settings: AnalysisSettings
    currency: str
    quote: str
    start_ts: int
    end_ts: int
    samples: int
    sample_interval_ns: int
    initial_balance: Decimal
    final_equity: Decimal
    turnover: Decimal
    turnover_per_day: float | None
    volume: Decimal
    profit: MoneySplit
    by_day: tuple[SplitRow, ...]
    by_hour_of_day: tuple[SplitRow, ...]
    net_pnl_without_best_day: Decimal | None
    regimes: RegimeTables
    returns: ReturnFigures
    sharpe_hac: Interval
    sharpe_bootstrap: BootstrapInterval
    edge: Edge
    edge_evidence: EdgeEvidence
    drawdowns: tuple[DrawdownRow, ...]
    under_water: UnderWater
    trading: TradingFigures
    inventory: InventoryFigures
    spreads: Spreads
    markouts: tuple[Markout, ...]
    maker_markouts: tuple[Markout, ...]
    time_at_best: TimeAtBest | None
    volume_share: float | None
    largest_volume_share: float | None
    young_profit_share: float | None
    fills_by_cause: tuple[SplitRow, ...] | None
    fills_by_queue: tuple[SplitRow, ...] | None
    curves: RunCurves

    def fill_evidence(self, markout_excess_ticks: float | None = None) -> FillEvidence:
        """Return what judgement C rests on.

        `markout_excess_ticks` is the mean markout of the run's maker fills less that of public trades (`passive_fills`),
        which the run itself does not know.
        """
        return FillEvidence(
            fills=self.trading.fills,
            maker_share=self.trading.maker_share,
            fill_ratio=self.trading.fill_ratio,
            volume_share=self.volume_share,
            largest_volume_share=self.largest_volume_share,
            markout_excess_ticks=markout_excess_ticks,
            young_profit_share=self.young_profit_share,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as JSON values: money and instants as text, curves thinned."""
        values: dict[str, Any] = json_value(self)
        values["profit"]["residual"] = json_value(self.profit.residual)
        return values


def analyse_run(
    samples: Samples,
    fills: Fills,
    *,
    instrument: Instrument,
    orders: OrderCounts,
    sample_interval_ns: int,
    inputs: RunInputs | None = None,
    settings: AnalysisSettings | None = None,
) -> RunAnalysis:
    """Return the analysis of one run.

    Parameters
    ----------
    samples, fills : its columns; at least one sample
    instrument : gives the value of ticks and lots
    orders : what became of its orders
    sample_interval_ns : the clock of the samples
    inputs : what else is known
    settings : how to analyse

    Raises
    ------
    InvalidRequest
        A setting out of range.
    DataError
        No samples, or columns that contradict each other.

    Notes
    -----
    The same columns and settings give the same analysis, digit by digit. Ratios, drawdowns and curves are those of the
    equity in the samples: hedges, and funding that is not in its cash, are in `profit` alone. The run begins flat. O((n + m) log (n + m)).
    """
    given, how = inputs or RunInputs(), settings or AnalysisSettings()
    if not len(samples.ts):
        raise DataError("a run without samples cannot be analysed; sample its equity at least once")
    money = MoneyTables(instrument)
    worth = money.worth
    balance = _initial_half_tick_lots(samples, worth)
    marks = marks_of(
        samples,
        fills,
        worth=worth,
        funding_ts=given.funding_ts,
        funding_tick_lots=given.funding_tick_lots,
        is_funding_in_cash=given.is_funding_in_cash,
        end_ts=given.end_ts,
        end_mid_half_ticks=given.end_mid_half_ticks,
    )
    hours = split_by_interval(marks, HOUR_NS)
    days = regrouped(hours, lambda start: start - start % DAY_NS)
    whole = hours.whole
    end_mid = _last_mid(samples, fills) if given.end_mid_half_ticks is None else given.end_mid_half_ticks
    mids = mids_of(samples, fills) if given.mids is None else given.mids
    future = future_mids(fills, mids, how.horizons_ns)
    trading = trading_figures(fills, orders, worth)
    span_ns = int(marks.ts[-1]) - int(marks.ts[0])
    clock_ns = how.clock_ns or sampling_clock_ns(span_ns, sample_interval_ns)
    equity = on_clock(samples.ts, samples.equity_half_tick_lots, clock_ns)
    figures, returns = return_figures(equity, interval_ns=clock_ns), simple_returns(equity)
    row, periods = np.zeros(0) if returns is None else returns, figures.sharpe.periods_per_year
    bootstrap = bootstrap_interval(
        row, periods, np.random.default_rng(how.seed), confidence=how.confidence, draws=how.bootstrap_draws
    )
    edge = edge_of(returns, figures.sharpe, given.trials)
    shares = (None, None) if samples.traded_lots is None else volume_share(fills, samples, how.volume_window_ns)
    return RunAnalysis(
        settings=how,
        currency=instrument.settled_in,
        quote=instrument.quote,
        start_ts=int(marks.ts[0]),
        end_ts=int(marks.ts[-1]),
        samples=len(samples.ts),
        sample_interval_ns=sample_interval_ns,
        initial_balance=money.of(balance),
        final_equity=money.of(balance + whole.net),
        turnover=money.of(trading.turnover_half_tick_lots),
        turnover_per_day=trading.turnover_half_tick_lots / balance * DAY_NS / span_ns if balance and span_ns else None,
        volume=instrument.lots_to_qty(trading.volume_lots),
        profit=money_split(Leg(whole, money.unit), given.hedges),
        by_day=money.rows(days, day_name),
        by_hour_of_day=money.rows(regrouped(hours, lambda start: start % DAY_NS, range(0, DAY_NS, HOUR_NS)), hour_name),
        net_pnl_without_best_day=money.of(whole.net - max(split.net for split in days.splits))
        if len(days.splits) > 1
        else None,
        regimes=money.regimes(marks, samples, label_regimes(samples, how.regime_window_ns or window_for(span_ns))),
        returns=figures,
        sharpe_hac=hac_interval(row, periods, confidence=how.confidence),
        sharpe_bootstrap=bootstrap,
        edge=edge,
        edge_evidence=edge_evidence(edge, figures.sharpe, bootstrap, given.trials),
        drawdowns=_drawdowns(samples, how.drawdowns, money),
        under_water=time_under_water(samples.equity_half_tick_lots),
        trading=trading,
        inventory=inventory_figures(samples.position_lots, sample_interval_ns),
        spreads=spreads(fills, future, samples),
        markouts=markouts(fills, future, confidence=how.confidence, worth=worth),
        maker_markouts=markouts(fills, future, where=fills.is_maker, confidence=how.confidence, worth=worth),
        time_at_best=_time_at_best(samples, given.order_lives),
        volume_share=shares[0],
        largest_volume_share=shares[1],
        young_profit_share=None
        if fills.resting_ns is None or given.latency_ns is None
        else young_profit_share(fills, given.latency_ns, end_mid_half_ticks=end_mid, worth=worth),
        fills_by_cause=money.by_cause(fills, given.cause_names, end_mid),
        fills_by_queue=money.by_queue(fills, end_mid),
        curves=run_curves(samples, instrument, how.plot_points),
    )


def _last_mid(samples: Samples, fills: Fills) -> int:
    """Return the mid of the last mark: what is in flight at the end of a run may fill after the last sample."""
    is_fill_last = fills.count > 0 and fills.exch_ts[-1] > samples.ts[-1]
    return int((fills if is_fill_last else samples).mid_half_ticks[-1])


def _initial_half_tick_lots(samples: Samples, worth: Worth) -> int:
    """Return equity less what the run earned until then, which must be the same at every sample."""
    earned = scaled(samples.cash_tick_lots - samples.fees_tick_lots, 2)
    start = samples.equity_half_tick_lots - earned - worth.positions(samples.position_lots, samples.mid_half_ticks)
    differs = np.flatnonzero(start != start[0])
    if differs.size:
        row = int(differs[0])
        raise DataError(
            f"sample {row}: equity {samples.equity_half_tick_lots[row]} is not that of its cash, fees and position;"
            f" balance {start[row]}, at first {start[0]} half units of cash"
        )
    return int(start[0])


def _drawdowns(samples: Samples, count: int, money: MoneyTables) -> tuple[DrawdownRow, ...]:
    rows = []
    for fall in top_drawdowns(samples.equity_half_tick_lots, count):
        start_ts, last = int(samples.ts[fall.start]), fall.start + fall.duration
        rows.append(
            DrawdownRow(
                depth=money.of(int(fall.depth)),
                start_ts=start_ts,
                trough_ts=int(samples.ts[fall.trough]),
                recovery_ts=None if fall.recovery is None else int(samples.ts[fall.recovery]),
                duration_ns=int(samples.ts[last]) - start_ts,
            )
        )
    return tuple(rows)


def _time_at_best(samples: Samples, lives: OrderLives | None) -> TimeAtBest | None:
    if lives is None or samples.best_bid_ticks is None or samples.best_ask_ticks is None:
        return None
    return time_at_best(samples, lives)
