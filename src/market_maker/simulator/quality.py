"""First figures of the quality of a simulated market, as gauges: whether it is what was asked for.

Measured on the last 256 steps. The full set of realism metrics has its own place later; these three say at once
when a market is broken.
"""

from __future__ import annotations

import math
from collections import deque

from market_maker.domain.order import Side
from market_maker.monitoring.metrics import Metrics
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.venue.changes import Changes

_STEPS = 256


class MarketQuality:
    """Watches one market.

    Gauges: `volatility_ratio`, standard deviation of the mid's change per step over `price_deviation` (1 is right);
    `two_sided_share`, steps that left bids and asks; `spread_ticks`, the best ask less the best bid.
    """

    def __init__(self, metrics: Metrics, symbol: str) -> None:
        self._gauge = {
            measure: metrics.simulation_quality.labels(symbol, measure)
            for measure in ("volatility_ratio", "two_sided_share", "spread_ticks")
        }
        self._returns: deque[float] = deque(maxlen=_STEPS)
        self._last_mid = 0
        self._last_step = 0

    def observe(self, exchange: SimulatedExchange, changes: Changes) -> None:
        """Take in what a commit changed."""
        if not changes.mids:
            return
        for _, mid in changes.mids:
            if self._last_mid:
                self._returns.append(mid / self._last_mid - 1.0)
            self._last_mid = mid
        steps = exchange.step - self._last_step
        self._gauge["two_sided_share"].set(min(1.0, len(changes.mids) / steps) if self._last_step and steps else 1.0)
        self._last_step = exchange.step
        wanted = exchange.laws.reference.price_deviation
        if self._returns and wanted:
            deviation = math.sqrt(sum(value * value for value in self._returns) / len(self._returns))
            self._gauge["volatility_ratio"].set(deviation / wanted)
        bid, ask = exchange.market.book.best(Side.BUY), exchange.market.book.best(Side.SELL)
        if bid is not None and ask is not None:
            self._gauge["spread_ticks"].set(ask - bid)
