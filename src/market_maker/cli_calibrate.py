"""The command `calibrate`: what a recorded market says about volatility and trading intensity, as a table and as JSON.

And, with another model, a synthetic market fitted to it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from market_maker.backtest.market_calibration import (
    calibrate_market,
    deviation_per_second,
    figures_of,
    market_of,
    mids_per_second,
    suggestions,
)
from market_maker.backtest.price_jumps import HORIZONS_S, LEAST_SPANS, PriceJumps, fit_jumps
from market_maker.bootstrap import Store, open_store
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import format_instant
from market_maker.market_data.replay import open_feed
from market_maker.settings import Settings
from market_maker.strategies.calibration import Calibration
from market_maker.synthetic.custom import parse_custom
from market_maker.synthetic.flow.parameters import FlowParameters
from market_maker.synthetic.queue_reactive import kernel
from market_maker.synthetic.queue_reactive.fit import QueueReactive, fit

IMBALANCE = 1.25
"""A market that loses so many times what comes to it is fitted to too small a part of the book."""
_NAMES = {"volatility": "volatility (sigma)", "intensity": "intensity (A)", "intensity_decay": "intensity decay (k)"}


def run_calibrate(
    settings: Settings,
    pair: str,
    start_ts: int,
    end_ts: int,
    *,
    allow_gaps: bool,
    interval_ns: int,
    depth_step_ticks: float,
    max_inventory_lots: int,
    horizon_ns: int,
    report: Path | None,
) -> None:
    """Estimate over [start_ts, end_ts) and by hour, print it with suggested parameters, and write the report."""
    plain = Console()
    console = plain if plain.is_terminal else Console(width=250)
    if max_inventory_lots < 1 or horizon_ns < 10**9:
        raise InvalidRequest.of(
            "--max-inventory", (max_inventory_lots, horizon_ns), "1 or more, and a horizon of 1s or more"
        )

    async def estimated() -> dict[str, Any]:
        async with open_store(settings) as store:
            instrument = (await store.reference.pair_named(pair)).instrument
            with console.status("calibrating"):
                return await asyncio.to_thread(estimate, store, instrument)

    def estimate(store: Store, instrument: Instrument) -> dict[str, Any]:
        steps = (instrument.tick_size, instrument.lot_size)
        feed = open_feed(
            store.lake, instrument.venue, instrument.symbol, start_ts, end_ts, allow_gaps=allow_gaps, steps=steps
        )
        market = market_of(feed)
        found, hours = calibrate_market(market, interval_ns=interval_ns, depth_step_ticks=depth_step_ticks)
        return {
            "pair_id": str(instrument.pair_id), "venue": instrument.venue, "symbol": instrument.symbol,
            "tick_size": str(instrument.tick_size), "quote": instrument.quote, "start_ts": str(market.mid_ts[0]),
            "end_ts": str(market.mid_ts[-1]), "data_hash": feed.data_hash, "interval_ns": interval_ns,
            "trades": len(market.trade_ts),
        } | figures_of(found) | {
            "suggestions": suggestions(
                found, max_inventory_lots=max_inventory_lots, horizon_ns=horizon_ns, depth_step_ticks=depth_step_ticks
            ),
            "hours": [
                {"start_ts": str(hour.start_ts), "trades": hour.trades, "reason": hour.reason}
                | _short(hour.found) for hour in hours
            ],
        }  # fmt: skip

    made = asyncio.run(estimated())
    _tell(made, console)
    if report is not None:
        report.write_text(json.dumps(made, indent=1), "utf-8")
        console.print(f"report: {report}", markup=False)


@dataclass(frozen=True, slots=True)
class QueueWish:
    """How a queue-reactive market is fitted, and where its parameters and its tables are written.

    `jumps`: find the chances of price jumps by simulation; else the price follows a GBM of the recorded volatility.
    """

    levels: int
    step_ticks: int
    parameters: Path | None
    report: Path | None
    jumps: bool = True


def run_queue_reactive(
    settings: Settings, pair: str, start_ts: int, end_ts: int, *, allow_gaps: bool, wish: QueueWish
) -> None:
    """Fit a queue-reactive market to [start_ts, end_ts), print its tables, and write it for mode CUSTOM."""
    plain = Console()
    console = plain if plain.is_terminal else Console(width=160)
    if wish.parameters is not None and wish.parameters.suffix not in {".yaml", ".yml", ".json"}:
        raise InvalidRequest.of("--parameters", wish.parameters.name, "a file that ends in .yaml or .json")

    async def fitted() -> tuple[QueueReactive, float, PriceJumps | None, Instrument]:
        async with open_store(settings) as store:
            instrument = (await store.reference.pair_named(pair)).instrument
            with console.status("fitting"):
                return *await asyncio.to_thread(estimate, store, instrument), instrument

    def estimate(store: Store, instrument: Instrument) -> tuple[QueueReactive, float, PriceJumps | None]:
        steps = (instrument.tick_size, instrument.lot_size)
        feed = open_feed(
            store.lake, instrument.venue, instrument.symbol, start_ts, end_ts, allow_gaps=allow_gaps, steps=steps
        )
        found = fit(feed.exchange, levels=wish.levels, step_ticks=wish.step_ticks)
        market = market_of(feed)
        jumps = None
        if wish.jumps:
            mids = mids_per_second(market)
            flow = FlowParameters(**parse_custom({"flow": found.flow()})["flow"])
            jumps = fit_jumps(flow, mids, price_ticks=round(float(mids[np.isfinite(mids)][0])))
        return found, deviation_per_second(market), jumps

    found, deviation, jumps, instrument = asyncio.run(fitted())
    made: dict[str, Any] = {"flow": found.flow()}
    if jumps is None:
        made["reference"] = {"process": "GBM", "price_deviation": float(f"{deviation:.6g}")}
    else:
        made["flow"] |= {"theta": jumps.theta, "theta_reinit": jumps.theta_reinit}
        made["reference"] = {"process": "CONSTANT", "price_deviation": 0.0}
    parse_custom(made)  # what is written is what mode CUSTOM takes
    _tell_queues(found, instrument, console)
    if jumps is not None:
        _tell_jumps(jumps, console)
    if wish.parameters is not None:
        dump = (
            yaml.safe_dump(made, sort_keys=False) if wish.parameters.suffix != ".json" else json.dumps(made, indent=1)
        )
        wish.parameters.write_text(dump, "utf-8")
        console.print(f"market: {wish.parameters}", markup=False)
    if wish.report is not None:
        counts = {name: getattr(found.counts, name).tolist() for name in ("limits", "cancels", "markets", "times")}
        wish.report.write_text(json.dumps(made | {"counts": counts}, indent=1), "utf-8")
        console.print(f"report: {wish.report}", markup=False)


def _tell_queues(found: QueueReactive, instrument: Instrument, console: Console) -> None:
    counts = found.counts
    rates = Table("steps away", "limit orders, 1/s", "cancels of an order, 1/s", box=None,
                  title=f"{instrument.venue}/{instrument.symbol}: by distance from the other side's best price")  # fmt: skip
    for away, (limits, cancels) in enumerate(zip(found.limit_rates, found.cancel_rates, strict=True), 1):
        rates.add_row(str(away), f"{limits:.4g}", f"{cancels:.4g}")
    console.print(rates)
    lengths = Table("queue", "limit, best", "limit, behind", "cancel, best", "cancel, behind", "market orders", box=None,
                    title=f"Multipliers by length of the queue, in mean orders of {found.queue_lots} lots")  # fmt: skip
    last = int(np.flatnonzero(counts.times.sum(axis=(0, 1)))[-1])
    for n in range(last + 1):
        columns = (found.limit[0], found.limit[1], found.cancel[0], found.cancel[1], found.market)
        lengths.add_row(str(n), *(f"{column[n]:.3g}" for column in columns))
    console.print(lengths)
    seconds = counts.totals[kernel.C_SECONDS]
    console.print(
        f"{counts.totals[kernel.C_LIMITS]:,.0f} limit orders, {counts.totals[kernel.C_CANCELS]:,.0f} cancels,"
        f" {counts.totals[kernel.C_MARKETS]:,.0f} market orders in {seconds:,.0f} s with a known book"
        f" ({found.market_rate:.3g} a second, {found.market_size:.3g} mean limit orders large); a level is"
        f" {found.step_ticks} ticks",
        markup=False,
    )
    if not found.by_order:
        console.print(
            "The recording tells levels, not orders: what came and went between two updates of a level is not seen, and what"
            " came together counts as one order. What traded at a level is no cancel.",
            markup=False,
        )
    gone, come = (
        counts.totals[kernel.C_CANCEL_LOTS] + counts.totals[kernel.C_MARKET_LOTS],
        counts.totals[kernel.C_LIMIT_LOTS],
    )
    if gone > IMBALANCE * come:
        console.print(
            f"Within these levels {gone / seconds:,.0f} lots a second went and {come / seconds:,.0f} came: what the price moves to"
            " was placed out of sight, and the fitted market is too thin. Take wider levels (--step-ticks) or more of them"
            " (--levels).",
            markup=False,
        )


def _tell_jumps(jumps: PriceJumps, console: Console) -> None:
    table = Table("horizon", "recorded", "simulated", "without jumps", box=None,
                  title=f"Volatility, basis points; theta {jumps.theta}, theta_reinit {jumps.theta_reinit}")  # fmt: skip
    for horizon, *values in zip(jumps.horizons_s, jumps.recorded, jumps.simulated, jumps.without, strict=True):
        table.add_row(f"{horizon}s", *(f"{1e4 * value:.3g}" for value in values))
    console.print(table)
    missing = HORIZONS_S[len(jumps.horizons_s) :]
    if missing:
        told = ", ".join(f"{horizon * LEAST_SPANS}s for {horizon}s" for horizon in missing)
        console.print(f"The recording is too short for longer horizons: it takes {told}.", markup=False)


def _short(found: Calibration | None) -> dict[str, Any]:
    if found is None:
        return dict.fromkeys(_NAMES)
    figures = figures_of(found)
    return {name: {key: figures[name][key] for key in ("value", "error")} for name in _NAMES}


def _tell(made: dict[str, Any], console: Console) -> None:
    table = Table("", "estimate", "standard error", "unit", box=None, title=f"{made['venue']}/{made['symbol']}")
    for name, shown in _NAMES.items():
        each = made[name]
        table.add_row(shown, f"{each['value']:.6g}", f"{each['error']:.2g}", each["unit"])
    console.print(table)
    tick, k = Decimal(made["tick_size"]), made["intensity_decay"]["value"]
    console.print(
        f"{made['intervals']:,} intervals, {made['arrivals']:,} with a market order, {made['trades']:,} trades; a tick is"
        f" {tick} {made['quote']}; quotes without risk aversion stand 1/k = {_distance(k)} ticks from the mid",
        markup=False,
    )
    hours = Table("hour", "trades", "sigma", "A", "k", box=None, title="By hour (UTC), with standard errors")
    for hour in made["hours"]:
        cells = [_cell(hour[name]) for name in _NAMES]
        hours.add_row(format_instant(int(hour["start_ts"]))[:16], f"{hour['trades']:,}", *cells)
    console.print(hours)
    for kind, values in made["suggestions"].items():
        console.print(f"{kind}: {', '.join(f'{name} {value:g}' for name, value in values.items())}", markup=False)
    console.print(
        "The risk aversions are a rule of thumb (a full inventory shifts quotes by 1/k): begin a search around them.",
        markup=False,
    )


def _distance(k: float) -> str:
    return f"{1 / k:,.1f}" if k > 0 else "no number of"


def _cell(figure: dict[str, float] | None) -> str:
    return "-" if figure is None else f"{figure['value']:.4g} ± {figure['error']:.2g}"
