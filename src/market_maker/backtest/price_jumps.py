"""The price jumps of a queue-reactive market: with which chances its mid moves as much as the recorded one, at every horizon.

Huang, Lehalle and Rosenbaum (2015, section 4) find theta and theta_reinit by simulation, so that volatility and mean reversion are
those of the recording; so does this. A market whose price moves by emptied queues alone moves too little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.domain.units import NS_PER_SECOND
from market_maker.synthetic.flow.parameters import FlowParameters, MarketDesign, ReferenceParameters
from market_maker.synthetic.reference.processes import Process
from market_maker.venue.market.market import SyntheticMarket

HORIZONS_S = (1, 10, 60, 300)
SIMULATED_SPANS, SIMULATED_LEAST_S = 36, 1_800
"""Each market of the grid is simulated for so many of the longest horizon: three hours of 300 s, half an hour at least."""
THETAS = tuple(round(0.1 * tenth, 1) for tenth in range(11))
REINITS = (0.0, 0.5, 0.9)
LEAST_SPANS = 30
"""A horizon is looked at when the recording is so many times as long: the deviation of fewer changes says too little."""
LEAST_S = LEAST_SPANS * HORIZONS_S[1]


@dataclass(frozen=True, slots=True)
class PriceJumps:
    """What was found.

    Parameters
    ----------
    theta, theta_reinit : see `FlowParameters`
    horizons_s : the horizons that the recording is long enough for
    recorded, simulated, without : standard deviation of the log mid's change at these horizons: of the recording, with these
        chances, and with none
    """

    theta: float
    theta_reinit: float
    horizons_s: tuple[int, ...]
    recorded: tuple[float, ...]
    simulated: tuple[float, ...]
    without: tuple[float, ...]


def fit_jumps(flow: FlowParameters, mids: NDArray[np.float64], *, price_ticks: int, seed: int = 1) -> PriceJumps:
    """Find the chances by simulation of each pair of a grid, for three hours; half an hour where the recording is short.

    Cost is some seconds, a minute or two for a market of hundreds of orders a second.

    Parameters
    ----------
    flow : a queue-reactive market
    mids : recorded mids in ticks, one a second; NaN: none
    price_ticks : where the simulated market begins

    Raises
    ------
    DataError
        for less than five minutes of mids, or mids that stand still
    """
    seconds = int(np.isfinite(mids).sum())
    if seconds < LEAST_S:
        raise DataError(
            f"the recording has {seconds} seconds with a mid, {LEAST_S} are needed to find price jumps"
            f" ({LEAST_SPANS * HORIZONS_S[-1]} for all horizons); take a longer range, or leave them out (--no-jumps)"
        )
    horizons = tuple(horizon for horizon in HORIZONS_S if seconds >= LEAST_SPANS * horizon)
    simulated_s = max(SIMULATED_LEAST_S, SIMULATED_SPANS * horizons[-1])
    recorded = deviations(mids, horizons)
    if not all(np.isfinite(recorded)) or min(recorded) <= 0.0:
        raise DataError("the mid of the recording stands still; leave price jumps out (--no-jumps)")

    def simulated(theta: float, reinit: float) -> tuple[float, ...]:
        reference = ReferenceParameters(process=Process.CONSTANT, price_deviation=0.0)
        wanted = replace(flow, theta=theta, theta_reinit=reinit)
        market = SyntheticMarket.create(
            MarketDesign(price_ticks=price_ticks, seed=seed, flow=wanted, reference=reference)
        )
        quotes = market.quotes(market.clock_ts + NS_PER_SECOND, NS_PER_SECOND, simulated_s)
        return deviations(np.where((np.abs(quotes) < 1 << 40).all(axis=1), quotes.sum(axis=1) / 2.0, np.nan), horizons)

    found = {
        (theta, reinit): simulated(theta, reinit) for theta, reinit in product(THETAS, REINITS) if theta or not reinit
    }
    best = min(found, key=lambda chances: float(np.square(np.log(np.divide(found[chances], recorded))).sum()))
    return PriceJumps(*best, horizons, recorded, found[best], found[0.0, 0.0])


def deviations(mids: NDArray[np.float64], horizons_s: tuple[int, ...] = HORIZONS_S) -> tuple[float, ...]:
    """Return the standard deviation of the log mid's change at each horizon; mids are one a second."""
    logs = np.log(mids)
    return tuple(float(np.nanstd(logs[horizon:] - logs[:-horizon])) for horizon in horizons_s)
