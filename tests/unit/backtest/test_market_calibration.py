"""The market that a calibration reads off a feed: mids, trades, gaps, hours; and the parameters that follow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from feed_builders import BUY, DEPTH, SELL, T0, TRADE, book
from market_maker.backtest.market_calibration import (
    HOUR_NS,
    Market,
    calibrate_market,
    figures_of,
    market_of,
    suggestions,
)
from market_maker.domain.errors import DataError
from market_maker.market_data.replay import feed_of
from market_maker.strategies import avellaneda_stoikov, glft
from market_maker.strategies.calibration import Calibration, calibrate

S = 10**9
BUYS, SELLS = int(np.sign(BUY)), int(np.sign(SELL))


def test_mids_and_trades_are_those_of_the_rows_as_received() -> None:
    feed = feed_of(
        book(
            (1, 10, DEPTH, 1, 100, 5),
            (2, 20, DEPTH, -1, 103, 5),  # the first mid: 101.5
            (3, 30, TRADE, BUYS, 103, 2),
            (4, 40, DEPTH, 1, 101, 5),  # 102
            (4, 40, DEPTH, 1, 102, 5),  # at the same instant: 102.5
            (5, 50, DEPTH, -1, 104, 7),  # the best ask stays
            (6, 60, TRADE, SELLS, 100, 1),
            (7, 70, DEPTH, -1, 103, 0),  # 103
        )
    )
    found = market_of(feed)
    mids = {int(ts) - T0: mid for ts, mid in zip(found.mid_ts, found.mid_ticks, strict=True) if not math.isnan(mid)}
    assert {ts: mid for ts, mid in mids.items() if ts < 71} == {20: 101.5, 40: 102.5, 70: 103.0}
    trades = zip(found.trade_ts - T0, found.trade_ticks, found.trade_side, strict=True)
    assert [tuple(map(int, trade)) for trade in trades] == [(30, 103, 1), (60, 100, -1)]
    # Unrecorded from 35 to 45: no mid from 35 until the next change.
    holed = market_of(replace(feed, missing=((T0 + 35, T0 + 38),)))
    at = holed.mid_ticks[np.searchsorted(holed.mid_ts, [T0 + 34, T0 + 36, T0 + 41], side="right") - 1]
    assert at[0] == 101.5
    assert math.isnan(at[1])
    assert at[2] == 102.5
    cut = found.part(T0 + 50, T0 + 65)
    assert (int(cut.mid_ts[0]) - T0, cut.mid_ticks[0], len(cut.trade_ts)) == (50, 102.5, 1)


def invented(seconds: int, seed: int = 3) -> Market:
    """Return a walk of 20 ticks per root second, with two orders a second that reach 10 ticks on average."""
    chance = np.random.default_rng(seed)
    mid_ts = T0 // HOUR_NS * HOUR_NS + np.arange(10 * seconds) * (S // 10)
    mid_ticks = 50_000 + np.cumsum(20 * math.sqrt(0.1) * chance.standard_normal(len(mid_ts)))
    trade_ts = np.sort(chance.integers(mid_ts[0] + 1, mid_ts[-1], 4 * seconds))
    side = chance.choice([-1, 1], len(trade_ts))
    before = mid_ticks[np.searchsorted(mid_ts, trade_ts) - 1]
    ticks = np.round(before + side * chance.exponential(10, len(trade_ts))).astype(np.int64)
    return Market(mid_ts, mid_ticks, trade_ts, ticks, side)


def test_the_whole_and_its_hours() -> None:
    market = invented(2 * 3600 + 5)
    whole, hours = calibrate_market(market, interval_ns=S // 10, depth_step_ticks=1.0)
    assert abs(whole.volatility - 20) < 4 * whole.volatility_error
    assert abs(whole.intensity_decay - 0.1) < 0.01
    assert [hour.start_ts - hours[0].start_ts for hour in hours] == [0, HOUR_NS, 2 * HOUR_NS]
    assert sum(hour.trades for hour in hours) == len(market.trade_ts)
    first, second, rest = (hour.found for hour in hours)
    assert first is not None
    assert second is not None
    assert first.intervals + second.intervals == pytest.approx(2 * 36_000, abs=2)
    alone = market.part(int(market.mid_ts[0]), int(market.mid_ts[0]) + HOUR_NS)
    same = calibrate(
        mid_ts=alone.mid_ts, mid_ticks=alone.mid_ticks, trade_ts=alone.trade_ts, trade_ticks=alone.trade_ticks,
        trade_side=alone.trade_side,
    )  # fmt: skip
    assert same.volatility == first.volatility
    # Five seconds are 50 intervals.
    assert rest is None
    assert "100 are needed" in str(hours[2].reason)
    with pytest.raises(DataError, match="100 are needed"):
        calibrate_market(invented(5), interval_ns=S // 10, depth_step_ticks=1.0)
    assert figures_of(whole)["intensity"]["error"] == whole.intensity_error


def known(sigma: float, intensity: float, k: float) -> Calibration:
    nothing = np.zeros(0)
    return Calibration(sigma, 0.1, intensity, 0.1, k, 0.1, 1000, 100, nothing, nothing)


def test_suggested_risk_aversion_shifts_a_full_inventory_by_one_over_k() -> None:
    sigma, intensity, k, most = 20.0, 2.0, 0.125, 10
    found = suggestions(
        known(sigma, intensity, k), max_inventory_lots=most, horizon_ns=600 * S, depth_step_ticks=1.0
    )  # fmt: skip
    first, second = found["avellaneda_stoikov"], found["glft"]
    assert (first["volatility"], first["intensity_decay"], second["intensity"]) == (20.0, 0.125, 2.0)
    # In the middle of a session, 300 s before its end; gamma has three digits.
    shift = -avellaneda_stoikov.reservation_price(0.0, most, first["risk_aversion"], sigma, 300.0)
    assert shift == pytest.approx(1 / k, rel=0.005)
    gamma = second["risk_aversion"]
    shift = most * glft.skew_per_lot(gamma, second["execution_risk_aversion"], 1.0, sigma, intensity, k)
    assert shift == pytest.approx(1 / k, rel=0.01)
    assert suggestions(known(0.0, 1, 1), max_inventory_lots=1, horizon_ns=S, depth_step_ticks=1.0) == {}
