"""A queue-reactive market from a recording: rates of limit orders, cancels and market orders by distance and queue.

Within a model of products, rate = rate of the distance x multiplier of the queue's length, both are estimated by greatest
likelihood: what happened over what was exposed to it, in turns until neither changes (Huang, Lehalle, Rosenbaum 2015, "Simulating
and analyzing order book data: the queue-reactive model", JASA 110(509), section 2.3; the rates there are one for each pair).
Where the recording tells little of a length, its multiplier is drawn to one. Owns the estimate; knows no files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.market_data.stretch import Rows
from market_maker.synthetic.flow.state import DECAYS, LEVELS_MAX, REACTIONS
from market_maker.synthetic.queue_reactive import kernel
from market_maker.synthetic.queue_reactive.compiled import compiled_count

STEPS_MAX = 1 << 26
"""Ticks of the range of prices that are looked at, at most: 1 GB of memory."""
EVENTS_MIN = 1_000
"""Limit orders, cancels and market orders together, below which nothing is estimated."""
PRIOR_EVENTS = 5.0
"""Events of multiplier one that each length is given in advance."""
ROUNDS = 200
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What happened and what was exposed to it; shapes as in `kernel.count_rows`."""

    times: Array
    orders: Array
    market_times: Array
    limits: Array
    cancels: Array
    markets: Array
    totals: Array


@dataclass(frozen=True, slots=True, eq=False)
class QueueReactive:
    """An estimated market.

    Parameters
    ----------
    step_ticks, queue_lots : width of a level in ticks, and the unit of queues: the mean limit order in whole lots
    lots_mean : the mean limit order
    limit_rates, cancel_rates (levels,) : limit orders per second on one side, and cancels per second of one order, by distance
        from the other side's best price
    market_rate : market orders per second, of both sides
    limit, cancel (2, REACTIONS), market (REACTIONS,) : multipliers by the length of the queue, at the best price and behind it
    lots_sigma, market_size : standard deviation of the log size of limit orders; mean market order in mean limit orders
    by_order : whether the recording told orders one by one, not levels alone
    counts : what it was estimated from
    """

    step_ticks: int
    queue_lots: int
    lots_mean: float
    limit_rates: Array
    cancel_rates: Array
    market_rate: float
    limit: Array
    cancel: Array
    market: Array
    lots_sigma: float
    market_size: float
    by_order: bool
    counts: Counts

    def flow(self) -> dict[str, Any]:
        """Return the section `flow` of mode CUSTOM: Poisson given the book, no memory of past orders, every hour alike."""

        def numbers(values: Array) -> list[float]:
            return [float(f"{value:.6g}") for value in values]

        def reaction(values: Array) -> list[float]:
            told = numbers(values)
            while len(told) > 1 and told[-1] == told[-2]:
                told.pop()
            return told

        return {
            # Its rates are those of a recorded second, whatever pace would suit the volatility.
            "speed": 1.0, "step_ticks": self.step_ticks, "levels": max(2, len(self.limit_rates)), "limit_levels": numbers(self.limit_rates),
            "cancel_rates": numbers(self.cancel_rates), "cancel_exponent": 0.0, "market_rate": float(f"{self.market_rate:.6g}"),
            "branching": 0.0, "feedback": [0.0] * DECAYS, "metaorders": 1, "length_max": 1, "activity_sigma": 0.0,
            "lots_mean": float(f"{self.lots_mean:.6g}"), "lots_sigma": float(f"{self.lots_sigma:.4g}"), "round_share": 0.0,
            "market_size": float(f"{self.market_size:.4g}"), "queue_lots": self.queue_lots,
            "limit_best": reaction(self.limit[kernel.AT_BEST]), "limit_behind": reaction(self.limit[kernel.BEHIND]),
            "cancel_best": reaction(self.cancel[kernel.AT_BEST]), "cancel_behind": reaction(self.cancel[kernel.BEHIND]),
            "market_best": reaction(self.market),
        }  # fmt: skip


def fit(stretches: Callable[[], Iterable[Rows]], *, levels: int = 20, step_ticks: int = 1) -> QueueReactive:
    """Estimate a queue-reactive market.

    Parameters
    ----------
    stretches : yields the rows of the venue's stream, each time it is called
    levels : distances from the other side's best price, in steps
    step_ticks : ticks that one level of the synthetic market is wide

    Raises
    ------
    InvalidRequest
        for levels or steps out of bounds
    DataError
        where the recording has too few events, or prices too far apart
    """
    if not 2 <= levels <= min(64, LEVELS_MAX):
        raise InvalidRequest.of("levels", levels, f"2 to {min(64, LEVELS_MAX)}")
    if not 1 <= step_ticks <= 1 << 20:
        raise InvalidRequest.of("step_ticks", step_ticks, "1 to 1048576 ticks")
    low, high, by_order = _range(stretches())
    unit = 1
    sizes = _count(stretches(), low, high, unit=1, levels=levels, step_ticks=step_ticks)
    limits = float(sizes.totals[kernel.C_LIMITS])
    happened = limits + float(sizes.totals[kernel.C_MARKETS] + sizes.totals[kernel.C_CANCELS])
    if happened < EVENTS_MIN or not limits or not sizes.totals[kernel.C_MARKETS]:
        raise DataError(
            f"the recording has {happened:,.0f} events within {levels} levels of {step_ticks} ticks, {EVENTS_MIN:,} with limit"
            " and market orders among them are needed; take a longer range, or wider levels"
        )
    lots_mean = float(sizes.totals[kernel.C_LIMIT_LOTS]) / limits
    unit = max(1, round(lots_mean))
    counts = _count(stretches(), low, high, unit=unit, levels=levels, step_ticks=step_ticks)
    totals = counts.totals
    limit_rates, limit = products(counts.limits, counts.times)
    cancel_rates, cancel = products(counts.cancels, counts.orders)
    # Each side's best queue is exposed all the time.
    market_rate = float(counts.markets.sum()) / float(totals[kernel.C_SECONDS])
    market = _multipliers(counts.markets, counts.market_times * (market_rate / 2.0))
    spread = float(totals[kernel.C_LOG_SQUARED]) / limits - (float(totals[kernel.C_LOG]) / limits) ** 2
    return QueueReactive(
        step_ticks=step_ticks, queue_lots=unit, lots_mean=lots_mean, limit_rates=limit_rates, cancel_rates=np.maximum(cancel_rates, 1e-6),
        market_rate=market_rate, limit=limit, cancel=cancel, market=market, lots_sigma=min(3.0, math.sqrt(max(0.0, spread))),
        market_size=float(totals[kernel.C_MARKET_LOTS] / totals[kernel.C_MARKETS]) / lots_mean, by_order=by_order, counts=counts,
    )  # fmt: skip


def products(events: Array, exposure: Array) -> tuple[Array, Array]:
    """Return rates by distance (levels,) and multipliers (2, lengths) of events (2, levels, lengths) over their exposure.

    The multipliers' mean over all exposure, weighted by the rates, is one.
    """
    levels = events.shape[1]
    multipliers = np.ones((2, events.shape[2]))
    rates = np.zeros(levels)
    for _ in range(ROUNDS):
        before = rates
        exposed = (exposure * multipliers[:, None, :]).sum(axis=(0, 2))
        rates = np.divide(events.sum(axis=(0, 2)), exposed, out=np.zeros(levels), where=exposed > 0.0)
        expected = (exposure * rates[None, :, None]).sum(axis=1)
        multipliers = _multipliers(events.sum(axis=1), expected)
        if np.allclose(rates, before, rtol=1e-9, atol=0.0):
            break
    return rates, multipliers


def _multipliers(events: Array, expected: Array) -> Array:
    """Return events over what multiplier one lets expect, drawn to one where little is expected; their mean is one."""
    found: Array = (events + PRIOR_EVENTS) / (expected + PRIOR_EVENTS)
    total = float(expected.sum())
    return found if total == 0.0 else found * (total / float((found * expected).sum()))


def is_by_order(rows: Rows) -> bool:
    """Return whether rows tell of orders one by one, not of levels alone."""
    return len(rows.joined_ts) > 0


def first_memory() -> NDArray[np.int64]:
    """Return what a count remembers before the first row: no book."""
    memory = np.full(kernel.MEMORY, -1, np.int64)
    memory[[kernel.M_TS, kernel.M_TRADES]] = 0
    return memory


def _range(stretches: Iterable[Rows]) -> tuple[int, int, bool]:
    """Return the ticks that are looked at, around the middle of where levels were, without stub quotes; whether by order."""
    middles, by_order = [], True
    for rows in stretches:
        shown = np.asarray(rows.price_ticks)[np.abs(rows.code) == kernel.LEVEL_ROW]
        if len(shown):
            by_order &= is_by_order(rows)
            middles.append((float(np.median(shown)), int(shown.min()), int(shown.max())))
    if not middles:
        raise DataError("the recording shows no levels of a book; a table `book` or `orders` is needed")
    low = max(min(each[1] for each in middles), round(0.5 * min(each[0] for each in middles)))
    high = min(max(each[2] for each in middles), round(2.0 * max(each[0] for each in middles)))
    if high - low >= STEPS_MAX:
        raise DataError(
            f"prices from {low} to {high} ticks are more than {STEPS_MAX:,} ticks apart; take a shorter range"
        )
    return low, high, by_order


def _count(stretches: Iterable[Rows], low: int, high: int, *, unit: int, levels: int, step_ticks: int) -> Counts:
    # Steps begin at whole multiples, as those of the synthetic market do.
    low -= low % step_ticks
    places = high - low + step_ticks + 1
    ticks = np.zeros((2, places), np.int64)
    queues = np.zeros((2, places // step_ticks + 2), np.int64)
    memory = first_memory()
    trades = np.full((kernel.TRADES_KEPT, 4), -1, np.int64)
    cubes = {name: np.zeros((2, levels, REACTIONS)) for name in ("times", "orders", "limits", "cancels")}
    counts = Counts(
        market_times=np.zeros(REACTIONS), markets=np.zeros(REACTIONS), totals=np.zeros(kernel.COUNTS), **cubes
    )
    count = compiled_count()
    for rows in stretches:
        count(
            rows.ts, rows.price_ticks, rows.qty_lots, rows.code, is_by_order(rows), low, step_ticks, unit, ticks, queues, memory, trades,
            counts.times, counts.orders, counts.market_times, counts.limits, counts.cancels, counts.markets, counts.totals,
        )  # fmt: skip
    return counts
