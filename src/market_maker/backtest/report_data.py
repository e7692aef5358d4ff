"""What the report page shows of runs, as JSON values that stay small: long columns as differences of integers.

A column of n integers is told as its first value and n - 1 differences; times in microseconds since the run's start, which a
browser's numbers hold exactly. Money, prices and quantities stay integers of half units of cash, ticks and lots, with their units
as text. The page turns them into floating point to draw, never to add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from market_maker.backtest.analysis import CAUSES, NO_SAMPLES, AnalysedRun, RunColumns
from market_maker.backtest.market_columns import MarketColumns
from market_maker.backtest.trial_counts import Surface
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.attribution import split_by_interval
from market_maker.performance.columns import Whole, merge_places
from market_maker.performance.compare import RunComparison
from market_maker.performance.curves import thinned
from market_maker.performance.figures import Int64
from market_maker.performance.json_values import json_value
from market_maker.performance.markout import Mids, mids_of
from market_maker.performance.money_tables import MoneyTables

RUNS_MAX = 12
FILLS_MAX = 20_000
"""Fills of a page, of all its runs together."""
MIDS_MAX = 16_000
CURVE_MAX = 8_000
BARS_MAX = 60
_WIDTHS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800,
    2_592_000, 31_536_000,
)  # fmt: skip


def report_data(
    runs: Sequence[AnalysedRun],
    *,
    markets: Sequence[MarketColumns | None],
    surfaces: Sequence[Surface | None],
    comparison: RunComparison | None,
    notes: Sequence[str],
    created_ts: int,
) -> dict[str, Any]:
    """Return what a page about these runs shows.

    Parameters
    ----------
    runs : at least one, at most 12, each with an analysis
    markets, surfaces : of each run, where they are known
    comparison : of several runs
    notes : what the reader must know of runs on several instruments
    created_ts : ns UTC

    Raises
    ------
    InvalidRequest
        Too many runs, or one that has no analysis.
    """
    if not 1 <= len(runs) <= RUNS_MAX:
        raise InvalidRequest.of("run_ids", f"{len(runs)} runs", f"1 to {RUNS_MAX} runs in one report")
    return {
        "created_ts": str(created_ts),
        "runs": [
            _run(run, market, surface, len(runs)) for run, market, surface in zip(runs, markets, surfaces, strict=True)
        ],
        "comparison": None if comparison is None else comparison.to_json(),
        "notes": list(notes),
    }


def _run(run: AnalysedRun, market: MarketColumns | None, surface: Surface | None, runs: int) -> dict[str, Any]:
    if run.columns is None or run.analysis is None or run.quality is None:
        allowed = f"runs that are analysed one by one; of this one, {NO_SAMPLES}. `analyze` has its totals"
        raise InvalidRequest.of("run_ids", run.run_id, allowed)
    result, pair, columns = run.result, run.instrument, run.columns
    known = result.reproducibility
    analysis = run.analysis.to_json()
    del analysis["curves"]  # Told below, finer and shorter.
    start = run.analysis.start_ts
    mids = mids_of(columns.samples, columns.fills) if market is None or not len(market.mids.ts) else market.mids
    return {
        "run_id": run.run_id,
        "strategy": {"name": run.strategy, "kind": known["configuration"]["strategy"]},
        "pair": {
            "venue": pair.venue, "symbol": pair.symbol, "base": pair.base, "quote": pair.quote,
            "currency": pair.settled_in, "cash_unit": f"{pair.tick_lot:f}", "quantity_unit": pair.counted_in,
            "tick_size": f"{pair.tick_size:f}", "lot_size": f"{pair.lot_size:f}",
            "contract_type": pair.contract_type.value, "contract_multiplier": f"{pair.contract_multiplier:f}",
        },
        "summary": result.summary.to_json(),
        "analysis": analysis,
        "quality": run.quality.to_json(),
        "fragility": None if run.fragility is None else json_value(run.fragility),
        "capacity": None if run.capacity is None else json_value(run.capacity),
        "surface": None if surface is None else json_value(surface),
        "timeline": _timeline(run),
        "curves": _curves(columns, start, CURVE_MAX // runs),
        "mids": _mids(mids, start, MIDS_MAX // runs),
        "fills": _fills(columns, start, FILLS_MAX // runs),
        "reproducibility": known,
        "digest": result.digest(),
    }  # fmt: skip


def differences(values: Whole) -> list[int]:
    """Return the first value, then what each one adds to the one before."""
    return [int(value) for value in np.diff(values, prepend=values[:0].dtype.type(0))]


def _instants(ts: Int64, start_ts: int) -> list[int]:
    return differences((ts - start_ts) // 1000)


def _curves(columns: RunColumns, start_ts: int, points: int) -> dict[str, Any]:
    """Return equity and drawdown at the same instants, and the inventory at those of samples and fills."""
    samples, fills = columns.samples, columns.fills
    equity = samples.equity_half_tick_lots
    fall = np.maximum.accumulate(equity) - equity
    places = np.union1d(thinned(equity, points // 4), thinned(fall, points // 4))
    fill_place, sample_place = merge_places(fills.exch_ts, samples.ts)
    ts, held = (np.empty(len(fill_place) + len(sample_place), np.int64) for _ in range(2))
    ts[fill_place], ts[sample_place] = fills.exch_ts, samples.ts
    held[fill_place], held[sample_place] = fills.position_lots, samples.position_lots
    kept = thinned(held, points // 2)
    return {
        "ts": _instants(samples.ts[places], start_ts),
        "equity_half_tick_lots": differences(equity[places]),
        "drawdown_half_tick_lots": differences(fall[places]),
        "inventory_ts": _instants(ts[kept], start_ts),
        "inventory_lots": differences(held[kept]),
    }


def _mids(mids: Mids, start_ts: int, points: int) -> dict[str, Any]:
    places = thinned(mids.half_ticks, points)
    return {"ts": _instants(mids.ts[places], start_ts), "half_ticks": differences(mids.half_ticks[places])}


def _fills(columns: RunColumns, start_ts: int, most: int) -> dict[str, Any]:
    """Return the fills, of too many an even choice; `kind` is cause x 4 + (buy 2, sell 0) + (taker 1, maker 0)."""
    fills = columns.fills
    places = np.arange(fills.count)
    if fills.count > most:
        places = np.linspace(0, fills.count - 1, most).round().astype(np.int64)
    cause = np.zeros(fills.count, np.int64) if fills.cause is None else fills.cause
    kind = 4 * cause + 2 * (fills.side > 0) + (~fills.is_maker)
    return {
        "count": fills.count,
        "causes": [CAUSES[code] for code in sorted(CAUSES)],
        "ts": _instants(fills.exch_ts[places], start_ts),
        "order_id": differences(fills.order_id[places]),
        "kind": kind[places].tolist(),
        "price_ticks": differences(fills.price_ticks[places]),
        "qty_lots": fills.qty_lots[places].tolist(),
        "mid_half_ticks": (fills.mid_half_ticks - 2 * fills.price_ticks)[places].tolist(),
        "position_lots": differences(fills.position_lots[places]),
    }


def _timeline(run: AnalysedRun) -> dict[str, Any]:
    """Return the profit by cause over the run, in intervals of the clock of which it has sixty at most."""
    assert run.columns is not None
    marks = run.columns.marks()
    span_s = (int(marks.ts[-1]) - int(marks.ts[0])) / NS_PER_SECOND
    width_ns = next((w for w in _WIDTHS_S if span_s / w <= BARS_MAX), _WIDTHS_S[-1]) * NS_PER_SECOND
    rows = MoneyTables(run.instrument).rows(split_by_interval(marks, width_ns), str)
    return {"width_ns": width_ns, "rows": [json_value(row) | {"key": str(row.key)} for row in rows]}
