"""The feed of a run under market conditions: follows the recorded book with the replay's own ladder, then changes it.

The mid that is conditioned is thereby the mid that the replay has. Formulas and rows are in `market_data.conditions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.ladder.kernel import EMPTY_SIDE
from market_maker.backtest.quotes import Quotes
from market_maker.domain.instrument import Instrument
from market_maker.market_data.conditions import MarketConditions, Trace, conditioned_feed
from market_maker.market_data.replay import Feed


def trace(feed: Feed) -> list[Trace]:
    """Return mid and best price after each row of the venue's stream, by stretch of `feed.exchange()`."""
    slices = (stretch.quotes for stretch in Quotes(feed).exchange())
    traces = []
    for rows in feed.exchange():
        parts: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
        while sum(map(len, parts)) < len(rows.ts):
            parts.append(next(slices))
        bid, ask = np.concatenate(parts).T
        mids = np.where((bid > 0) & (ask > 0), bid + ask, np.minimum(bid, ask) + EMPTY_SIDE)
        traces.append(Trace(mids, np.where(bid > 0, bid, np.maximum(ask, 0))))
    return traces


def under_conditions(feed: Feed, conditions: MarketConditions, instrument: Instrument) -> tuple[Feed, dict[str, Any]]:
    """Return the feed under conditions and what they did, as `conditioned_feed` tells it."""
    return conditioned_feed(feed, conditions, instrument, trace(feed))
