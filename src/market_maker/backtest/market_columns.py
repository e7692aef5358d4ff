"""What the recorded market did beside a run: best prices and public volume at its samples, and the mid in between.

A run keeps its own columns only. These are read from the same rows afterwards, for figures that set the run against the
market: time at the best price, share of the public volume, markouts below the sampling clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.quotes import Quotes
from market_maker.market_data.replay import TRADE_ROW, Feed
from market_maker.performance.markout import Mids

MIDS_EVERY_NS = 10_000_000
"""Of every 10 ms the last mid is kept: a tenth of the shortest horizon of a markout."""


@dataclass(frozen=True, slots=True, eq=False)
class MarketColumns:
    """The market beside a run.

    Parameters
    ----------
    best_bid_ticks, best_ask_ticks : (n,) int64 at the samples, 0 where a side is empty
    traded_lots : (n,) int64, public volume since the sample before; 0 at the first
    mids : the mid from the first sample on, where both sides are there
    """

    best_bid_ticks: NDArray[np.int64]
    best_ask_ticks: NDArray[np.int64]
    traded_lots: NDArray[np.int64]
    mids: Mids


def market_columns(feed: Feed, sample_ts: NDArray[np.int64]) -> MarketColumns:
    """Return the market beside samples.

    Parameters
    ----------
    feed : without market conditions: displaced prices are not in its rows
    sample_ts : (n,) int64, ns UTC, increasing; at least one

    Notes
    -----
    A row at the instant of a sample counts as before it, as in the replay. O(rows + n); memory is that of a stretch
    and of 16 bytes per 10 ms.
    """
    count = len(sample_ts)
    bids, asks, traded = (np.zeros(count, np.int64) for _ in range(3))
    mid_ts, mid_half_ticks = [], []
    volume, begun = 0, int(sample_ts[0])
    before = np.array([0, 0], np.int64)
    done = 0
    for rows in Quotes(feed).exchange():
        ts = np.asarray(rows.ts)
        if not len(ts):
            continue
        quotes = np.maximum(np.asarray(rows.quotes), 0)
        is_trade = np.abs(np.asarray(rows.code)) == TRADE_ROW
        volumes = volume + np.cumsum(np.where(is_trade, np.asarray(rows.qty_lots), 0))
        # Samples up to the last row but one instant are settled: rows of one instant may go on in the next stretch.
        end = max(done, int(np.searchsorted(sample_ts, ts[-1], side="left")))
        place = np.searchsorted(ts, sample_ts[done:end], side="right") - 1
        known = place >= 0
        at = np.where(known, place, 0)
        bids[done:end] = np.where(known, quotes[at, 0], before[0])
        asks[done:end] = np.where(known, quotes[at, 1], before[1])
        traded[done:end] = np.where(known, volumes[at], volume)
        done, volume, before = end, int(volumes[-1]), quotes[-1]
        has_mid = (quotes[:, 0] > 0) & (quotes[:, 1] > 0) & (ts >= begun)
        kept = np.flatnonzero(has_mid)
        if len(kept):
            stretch = ts[kept] // MIDS_EVERY_NS
            kept = kept[np.append(stretch[1:] != stretch[:-1], True)]
            mid_ts.append(ts[kept])
            mid_half_ticks.append(quotes[kept].sum(axis=1))
    bids[done:], asks[done:], traded[done:] = before[0], before[1], volume
    nothing = [np.zeros(0, np.int64)]
    return MarketColumns(
        best_bid_ticks=bids,
        best_ask_ticks=asks,
        traded_lots=np.diff(traded, prepend=traded[:1]),
        mids=Mids(np.concatenate(mid_ts or nothing), np.concatenate(mid_half_ticks or nothing)),
    )
