"""Volatility and trading intensity of a recorded market, whole and by hour, and parameters that follow from them.

Reads mids and trades off a feed, as a strategy would receive them; the estimates are `strategies.calibration`. Knows no run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.quotes import Quotes
from market_maker.domain.errors import DataError
from market_maker.market_data.replay import TRADE_ROW, Feed
from market_maker.strategies.calibration import Calibration, calibrate
from market_maker.strategies.contract import find_strategy

HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Mids and trades of a recording by receive time.

    Parameters
    ----------
    mid_ts, mid_ticks : (n,) int64 ns and float64, the mid from that instant on; NaN: none, or not recorded
    trade_ts, trade_ticks, trade_side : (m,) int64, side of the aggressor (1 buys, -1 sells)
    """

    mid_ts: NDArray[np.int64]
    mid_ticks: NDArray[np.float64]
    trade_ts: NDArray[np.int64]
    trade_ticks: NDArray[np.int64]
    trade_side: NDArray[np.int64]

    def part(self, start_ts: int, end_ts: int) -> Market:
        """Return [start, end), beginning with the mid that holds at the start."""
        first, last = np.searchsorted(self.mid_ts, [start_ts, end_ts])
        first = max(0, int(first) - 1)
        trades = slice(*np.searchsorted(self.trade_ts, [start_ts, end_ts]))
        mid_ts = np.maximum(self.mid_ts[first:last], start_ts)
        mid_ticks = self.mid_ticks[first:last]
        if len(mid_ts):
            # The last mid holds until the end.
            mid_ts, mid_ticks = np.append(mid_ts, end_ts - 1), np.append(mid_ticks, mid_ticks[-1])
        return Market(mid_ts, mid_ticks, self.trade_ts[trades], self.trade_ticks[trades], self.trade_side[trades])


def market_of(feed: Feed) -> Market:
    """Return the market of a feed's range; memory is 16 bytes for each change of the mid and 24 for each trade."""
    mid_ts, mid_ticks, trades = [], [], []
    before = math.nan
    for rows in Quotes(feed).local():
        ts, quotes = np.asarray(rows.ts), np.asarray(rows.quotes)
        if not len(ts):
            continue
        has_mid = (quotes[:, 0] > 0) & (quotes[:, 1] > 0)
        mids = np.where(has_mid, quotes.sum(axis=1) / 2.0, math.nan)
        # Of the rows of one instant the last one counts.
        settled = np.append(ts[1:] != ts[:-1], True)
        at, mids = ts[settled], mids[settled]
        changes = ~_same(mids, np.concatenate([[before], mids[:-1]]))
        mid_ts.append(at[changes])
        mid_ticks.append(mids[changes])
        before = float(mids[-1])
        code = np.asarray(rows.code)
        is_trade = np.abs(code) == TRADE_ROW
        trades.append(
            np.stack([ts[is_trade], np.asarray(rows.price_ticks)[is_trade], np.sign(code[is_trade]).astype(np.int64)])
        )
    trade_ts, trade_ticks, trade_side = np.concatenate(trades or [np.zeros((3, 0), np.int64)], axis=1)
    found_ts = np.concatenate(mid_ts or [np.zeros(0, np.int64)])
    found_ticks = np.concatenate(mid_ticks or [np.zeros(0)])
    whole = Market(*_with_gaps(found_ts, found_ticks, feed.missing), trade_ts, trade_ticks, trade_side)
    return whole.part(max(feed.start_ts, feed.first_ts), min(feed.end_ts, feed.last_ts + 1))


@dataclass(frozen=True, slots=True)
class Hour:
    """A clock hour of a recording: its estimates, or why there are none."""

    start_ts: int
    trades: int
    found: Calibration | None
    reason: str | None


def calibrate_market(market: Market, *, interval_ns: int, depth_step_ticks: float) -> tuple[Calibration, list[Hour]]:
    """Return the estimates of the whole and of each UTC hour with a mid.

    Raises
    ------
    InvalidRequest, DataError
        As `calibrate` for the whole; an hour with too little data tells so in its place.
    """

    def estimate(part: Market) -> Calibration:
        return calibrate(
            mid_ts=part.mid_ts, mid_ticks=part.mid_ticks, trade_ts=part.trade_ts, trade_ticks=part.trade_ticks,
            trade_side=part.trade_side, interval_ns=interval_ns, depth_step_ticks=depth_step_ticks,
        )  # fmt: skip

    whole = estimate(market)
    hours = []
    begin, end = int(market.mid_ts[0]), int(market.mid_ts[-1]) + 1
    for start in range(begin // HOUR_NS * HOUR_NS, end, HOUR_NS):
        part = market.part(max(start, begin), min(start + HOUR_NS, end))
        try:
            hours.append(Hour(start, len(part.trade_ts), estimate(part), None))
        except DataError as error:
            hours.append(Hour(start, len(part.trade_ts), None, error.detail))
    return whole, hours


def suggestions(
    found: Calibration, *, max_inventory_lots: int, horizon_ns: int, depth_step_ticks: float
) -> dict[str, dict[str, int | float]]:
    """Return parameters of `avellaneda_stoikov` and `glft` for orders of one lot, empty where the market did not move.

    sigma, A and k are the estimates. The risk aversion is a start for a search, by a rule of thumb of ours: a full inventory
    shifts the quotes by 1/k, the distance at which quotes stand without any risk aversion. With Q the largest inventory:
    gamma = 1 / (k Q sigma^2 T / 2) for Avellaneda and Stoikov, at the middle of a session of T seconds, and
    gamma = 2 A / (e k Q^2 sigma^2) for the closed form with xi = gamma.
    """
    sigma, intensity, k = found.volatility, found.intensity, found.intensity_decay
    if sigma <= 0.0 or intensity <= 0.0 or k <= 0.0:
        return {}
    most = max_inventory_lots
    session_s = horizon_ns / 1e9
    gamma = 2.0 / (k * most * sigma**2 * session_s)
    gamma_closed = 2.0 * intensity / (math.e * k * most**2 * sigma**2)
    common = {
        "volatility": _rounded(sigma), "intensity_decay": _rounded(k), "order_lots": 1, "max_inventory_lots": most,
        "depth_step_ticks": depth_step_ticks,
    }  # fmt: skip
    found_parameters: dict[str, dict[str, int | float]] = {
        "avellaneda_stoikov": {"risk_aversion": _rounded(gamma), "horizon_ns": horizon_ns} | common,
        "glft": {
            "risk_aversion": _rounded(gamma_closed), "execution_risk_aversion": _rounded(gamma_closed),
            "intensity": _rounded(intensity),
        } | common,
    }  # fmt: skip
    for kind, values in found_parameters.items():
        find_strategy(kind).validate(values)
    return found_parameters


def figures_of(found: Calibration) -> dict[str, Any]:
    """Return estimates as JSON values, with the points of the fit."""
    return {
        "volatility": {
            "value": found.volatility,
            "error": found.volatility_error,
            "unit": "ticks per square root of a second",
        },
        "intensity": {"value": found.intensity, "error": found.intensity_error, "unit": "1 per second and side"},
        "intensity_decay": {"value": found.intensity_decay, "error": found.intensity_decay_error, "unit": "1 per tick"},
        "intervals": found.intervals,
        "arrivals": found.arrivals,
        "fit": {"distances_ticks": found.distances_ticks.tolist(), "rates_per_s": found.rates_per_s.tolist()},
    }


def _with_gaps(
    mid_ts: NDArray[np.int64], mid_ticks: NDArray[np.float64], missing: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the mids with none from where nothing is recorded until the next change."""
    begins = np.array([begin for begin, _ in missing if len(mid_ts) and begin > mid_ts[0]], np.int64)
    place = np.searchsorted(mid_ts, begins)
    return np.insert(mid_ts, place, begins), np.insert(mid_ticks, place, math.nan)


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (one == other) | (np.isnan(one) & np.isnan(other))
    return same


def _rounded(value: float) -> float:
    """Return three significant digits: more would look like knowledge."""
    return float(f"{value:.3g}")


def deviation_per_second(market: Market) -> float:
    """Return the standard deviation of the log mid's change in a second; 0 for less than two seconds of mids."""
    mids = mids_per_second(market)
    changes = np.diff(np.log(mids))
    changes = changes[np.isfinite(changes)]
    return float(changes.std()) if len(changes) > 1 else 0.0


def mids_per_second(market: Market) -> NDArray[np.float64]:
    """Return the mid in ticks at each second from the first one on; NaN: none."""
    instants = np.arange(market.mid_ts[0], market.mid_ts[-1], 10**9, dtype=np.int64)
    return market.mid_ticks[np.searchsorted(market.mid_ts, instants, side="right") - 1]
