"""From a stored result to its analysis: columns, end of the run, funding, lives of orders, market beside it, judgements.

Knows how the engine writes its columns; every figure is made in `performance`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from market_maker.backtest.execution import Execution
from market_maker.backtest.fragility import FragilityGrid
from market_maker.backtest.market_columns import MarketColumns
from market_maker.backtest.result import RunResult
from market_maker.backtest.state import FillCause, Note
from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.performance.attribution import Marks, marks_of
from market_maker.performance.capacity import CapacityCurve
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.evidence import DataEvidence, ParityEvidence, ReproducibilityEvidence
from market_maker.performance.figures import Int64
from market_maker.performance.quality import Quality, judge
from market_maker.performance.run_report import RunAnalysis, RunInputs, analyse_run
from market_maker.performance.trading import OrderCounts, OrderLives
from market_maker.performance.trial_statistics import TrialStatistics
from market_maker.performance.worth import Worth

CAUSES = {int(cause): cause.name for cause in FillCause}
NO_SAMPLES = "it has no samples"
_NEEDED = ("funding_tick_lots", "cause", "joined_front_lots")
_ENDED = {Note.CANCELED, Note.EXPIRED, Note.REJECTED}


@dataclass(frozen=True, slots=True, eq=False)
class AnalysedRun:
    """A completed run with everything that is told of it.

    Parameters
    ----------
    run_id, strategy, instrument : whose run, and the strategy's own name
    result : as stored
    columns : of which the analysis was made; None of a run without samples, with all that follows
    """

    run_id: str
    strategy: str
    instrument: Instrument
    result: RunResult
    columns: RunColumns | None
    analysis: RunAnalysis | None
    quality: Quality | None
    fragility: FragilityGrid | None
    capacity: CapacityCurve | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RunColumns:
    """Samples and fills as analysis takes them, and the end of the run.

    Parameters
    ----------
    samples, fills : cash is less the funding paid until then
    worth : of the instrument
    end_ts, end_mid_half_ticks : of the run; the mid values the last position as the summary did
    funding_ts, funding_tick_lots : payments received (negative: paid), at the samples that first show them
    """

    samples: Samples
    fills: Fills
    worth: Worth
    end_ts: int
    end_mid_half_ticks: int
    funding_ts: Int64
    funding_tick_lots: Int64

    def marks(self) -> Marks:
        """Return the instants at which the run's worth is known."""
        return marks_of(
            self.samples,
            self.fills,
            worth=self.worth,
            funding_ts=self.funding_ts,
            funding_tick_lots=self.funding_tick_lots,
            is_funding_in_cash=True,
            end_ts=self.end_ts,
            end_mid_half_ticks=self.end_mid_half_ticks,
        )


def run_columns(result: RunResult, instrument: Instrument, market: MarketColumns | None = None) -> RunColumns:
    """Return the columns of a run.

    Parameters
    ----------
    market : the recorded market beside its samples; None: it is not known

    Notes
    -----
    The summary values the last position at a mid that no column holds; it is found from its gross profit, which is cash and
    the worth of the position at that mid. Funding is in the equity but not in the cash of the columns, so it is
    taken off there. What was paid after the last sample is told by a closing sample.
    """
    samples, fills, summary = result.samples, result.fills, result.summary
    missing = [name for name in _NEEDED if name not in samples.columns and name not in fills.columns]
    if missing:
        raise DataError(
            f"the result has no column {', '.join(missing)}: an earlier version wrote it; run the backtest again"
        )
    worth = Worth.of(instrument)

    def half_units(amount: Decimal) -> int:
        return instrument.cash_units(amount, per_unit=2)

    ts = samples["ts"].to_numpy()
    fill_ts = fills["exch_ts"].to_numpy()
    is_fill_last = len(fill_ts) > 0 and (not len(ts) or fill_ts[-1] > ts[-1])
    last = (fills if is_fill_last else samples).row(-1, named=True)
    end_ts = int(last["exch_ts" if is_fill_last else "ts"])
    position, end_mid = int(last["position_lots"]), int(last["mid_half_ticks"])
    if position:
        end_mid = worth.mid_of(position, half_units(summary.gross_pnl) - 2 * int(last["cash_tick_lots"]), near=end_mid)
    paid = samples["funding_tick_lots"].to_numpy()
    late = half_units(summary.funding) // 2 - (int(paid[-1]) if len(paid) else 0)
    if late:
        closing = {
            "ts": end_ts, "position_lots": position, "cash_tick_lots": int(last["cash_tick_lots"]),
            "fees_tick_lots": int(last["fees_tick_lots"]), "funding_tick_lots": half_units(summary.funding) // 2,
            "mid_half_ticks": end_mid, "equity_half_tick_lots": half_units(summary.final_equity),
        }  # fmt: skip
        samples = pl.concat([samples, pl.DataFrame([closing]).select(samples.columns)])
        ts, paid = samples["ts"].to_numpy(), samples["funding_tick_lots"].to_numpy()
        market = None if market is None else _with_last_repeated(market)
    received = -np.diff(paid, prepend=0)
    shown = np.flatnonzero(received)
    before = np.searchsorted(ts, fill_ts, side="left")
    of_fills = np.concatenate([[0], paid])[before]
    columns: dict[str, Any] = {name: samples[name].to_numpy() for name in samples.columns}
    columns["cash_tick_lots"] = columns["cash_tick_lots"] - paid
    if market is not None:
        columns |= {name: getattr(market, name) for name in ("best_bid_ticks", "best_ask_ticks", "traded_lots")}
    filled: dict[str, Any] = {name: fills[name].to_numpy() for name in fills.columns}
    filled["cash_tick_lots"] = filled["cash_tick_lots"] - of_fills
    filled["queue_ahead_lots"] = np.maximum(filled.pop("joined_front_lots"), 0)
    if result.order_events is not None:
        filled["resting_ns"] = resting_ns(result.order_events, fills)
    return RunColumns(Samples.of(columns), Fills.of(filled), worth, end_ts, end_mid, ts[shown], received[shown])


def _with_last_repeated(market: MarketColumns) -> MarketColumns:
    return replace(
        market,
        best_bid_ticks=np.append(market.best_bid_ticks, market.best_bid_ticks[-1:]),
        best_ask_ticks=np.append(market.best_ask_ticks, market.best_ask_ticks[-1:]),
        traded_lots=np.append(market.traded_lots, 0),
    )


def resting_ns(order_events: pl.DataFrame, fills: pl.DataFrame) -> Int64:
    """Return (m,) how long the order of each fill had rested since it first came to rest; 0 of one that never did."""
    rested = (
        order_events.filter(pl.col("note") == int(Note.RESTED))
        .group_by("order_id")
        .agg(pl.col("ts").min().alias("rested_ts"))
    )
    joined = fills.select("order_id", "exch_ts").join(rested, on="order_id", how="left", maintain_order="left")
    since = (pl.col("exch_ts") - pl.col("rested_ts")).fill_null(0).clip(lower_bound=0)
    return joined.select(since.alias("ns"))["ns"].to_numpy()


def order_lives(order_events: pl.DataFrame, end_ts: int) -> OrderLives:
    """Return when each order rested, at which price; one that changed its price lives anew.

    `end_ts`: what still rests then ends an instant later.
    """
    begins = {int(Note.RESTED), int(Note.AMENDED)}
    ends = {int(note) for note in _ENDED}
    open_lives: dict[int, tuple[int, int, int]] = {}
    lives: list[tuple[int, int, int, int]] = []
    names = ("ts", "order_id", "note", "side", "price_ticks", "leaves_lots")
    for ts, order_id, note, side, price_ticks, leaves in order_events.select(names).iter_rows():
        is_begin = note in begins
        if is_begin or note in ends or (note == Note.FILLED and leaves == 0):
            life = open_lives.pop(order_id, None)
            if life is not None:
                lives.append((life[0], ts, life[1], life[2]))
            if is_begin:
                open_lives[order_id] = (ts, side, price_ticks)
    lives += [(start, max(start, end_ts + 1), side, ticks) for start, side, ticks in open_lives.values()]
    table = np.array(lives, np.int64).reshape(-1, 4)
    return OrderLives(*(np.ascontiguousarray(table[:, k]) for k in range(4)))


def analysed(
    result: RunResult,
    instrument: Instrument,
    *,
    run_id: str,
    strategy: str,
    market: MarketColumns | None = None,
    trials: TrialStatistics | None = None,
    fragility: FragilityGrid | None = None,
    capacity: CapacityCurve | None = None,
) -> AnalysedRun:
    """Return a run with its analysis and its six judgements.

    Parameters
    ----------
    result, instrument : of the run; one without samples has no analysis
    run_id, strategy : names
    market : the recorded market beside it; without it no share of volume, no time at the best price and no markout below the
        sampling clock is known
    trials : those among which it was chosen
    fragility, capacity : the grid and the curve of sizes, where they were computed
    """
    if not result.samples.height:
        return AnalysedRun(run_id, strategy, instrument, result, None, None, None, fragility, capacity)
    columns = run_columns(result, instrument, market)
    summary, known = result.summary, result.reproducibility
    configuration, events = known["configuration"], result.order_events
    analysis = analyse_run(
        columns.samples,
        columns.fills,
        instrument=instrument,
        orders=OrderCounts(summary.orders, summary.orders_rejected, summary.orders_canceled, summary.orders_expired),
        sample_interval_ns=configuration["sample_interval_ns"],
        inputs=RunInputs(
            end_ts=columns.end_ts,
            end_mid_half_ticks=columns.end_mid_half_ticks,
            funding_ts=columns.funding_ts,
            funding_tick_lots=columns.funding_tick_lots,
            is_funding_in_cash=True,
            mids=market.mids if market is not None and len(market.mids.ts) else None,
            order_lives=None if events is None else order_lives(events, columns.end_ts),
            cause_names=CAUSES,
            latency_ns=Execution.of(configuration.get("execution")).usual_entry_ns(configuration["entry_latency_ns"]),
            trials=trials,
        ),
    )
    return AnalysedRun(
        run_id,
        strategy,
        instrument,
        result,
        columns,
        analysis,
        _quality(result, analysis, fragility),
        fragility,
        capacity,
    )


def _quality(result: RunResult, analysis: RunAnalysis, fragility: FragilityGrid | None) -> Quality:
    known = result.reproducibility
    configuration = known["configuration"]
    gaps = [int(end) - int(begin) for begin, end in known["missing"]]
    return judge(
        edge=analysis.edge_evidence,
        data=DataEvidence(
            events=known["events"],
            coverage=known["coverage"],
            is_forced=configuration["allow_gaps"],
            longest_gap_ns=max(gaps, default=0),
        ),
        fills=analysis.fill_evidence(),
        fragility=None if fragility is None else fragility.figures,
        parity=ParityEvidence(),
        reproducibility=ReproducibilityEvidence(
            seed=known["seed"],
            code_version=known["code_version"],
            configuration_hash=hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest(),
            data_hash=known["data_hash"],
            libraries=known["libraries"],
            is_rerun_equal=None if fragility is None else fragility.reference_digest == result.digest(),
        ),
        net_pnl_without_best_day=analysis.net_pnl_without_best_day,
    )
