"""How a run traded: turnover, orders and fills, fills by group and by queue ahead, time at the best price.

Counts and whole quantities are exact; shares are floats. Knows nothing of the meaning of a cause, which its caller names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.order import Side
from market_maker.performance.attribution import Split, split_by_fill
from market_maker.performance.columns import Fills, Samples, distinct, sums_by_group, total
from market_maker.performance.figures import Int64
from market_maker.performance.worth import LINEAR, Worth


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """What became of a run's orders, as the venue counted them."""

    placed: int
    rejected: int
    canceled: int
    expired: int


@dataclass(frozen=True, slots=True)
class TradingFigures:
    """How a run traded; a share is None where it would divide by nothing.

    Parameters
    ----------
    fills, orders, orders_filled : counts; an order with at least one fill counts once as filled
    turnover_half_tick_lots : traded value, in half units of cash
    volume_lots : traded quantity
    maker_share : fills as maker / fills
    maker_volume_share : the same by quantity
    fill_ratio : orders with a fill / orders placed
    cancels_per_fill : cancelled orders / fills
    orders_per_fill : orders placed / fills
    """

    fills: int
    orders: int
    orders_filled: int
    orders_rejected: int
    orders_canceled: int
    orders_expired: int
    turnover_half_tick_lots: int
    volume_lots: int
    maker_share: float | None
    maker_volume_share: float | None
    fill_ratio: float | None
    cancels_per_fill: float | None
    orders_per_fill: float | None


def trading_figures(fills: Fills, orders: OrderCounts, worth: Worth = LINEAR) -> TradingFigures:
    """Return the counts and shares of a run; DataError when more orders were filled than placed."""
    filled = distinct(fills.order_id)
    if filled > orders.placed:
        raise DataError(f"{filled} orders have fills, {orders.placed} were placed")
    volume, makers = total(fills.qty_lots), fills.is_maker
    return TradingFigures(
        fills=fills.count,
        orders=orders.placed,
        orders_filled=filled,
        orders_rejected=orders.rejected,
        orders_canceled=orders.canceled,
        orders_expired=orders.expired,
        turnover_half_tick_lots=total(worth.traded(fills.price_ticks, fills.qty_lots)),
        volume_lots=volume,
        maker_share=_share(int(makers.sum()), fills.count),
        maker_volume_share=_share(total(fills.qty_lots[makers]), volume),
        fill_ratio=_share(filled, orders.placed),
        cancels_per_fill=_share(orders.canceled, fills.count),
        orders_per_fill=_share(orders.placed, fills.count),
    )


@dataclass(frozen=True, slots=True)
class FillGroup:
    """The fills of one group: how many, what share of all by number, how much, and what they earned up to the end."""

    key: int
    name: str
    fills: int
    share: float | None
    volume_lots: int
    split: Split


def fills_by_group(
    fills: Fills, group: Int64, names: Mapping[int, str], *, end_mid_half_ticks: int, worth: Worth = LINEAR
) -> tuple[FillGroup, ...]:
    """Return the fills by a code, such as their cause.

    Parameters
    ----------
    group : (m,) int64, a code for each fill
    names : name of each code, in the order of the answer; a code without fills is listed with 0
    end_mid_half_ticks, worth : mid at which what the fills brought is valued, and how, see `split_by_fill`

    Raises
    ------
    DataError
        A code without a name, or not one code for each fill.
    """
    if len(group) != fills.count:
        raise DataError(f"{len(group)} codes for {fills.count} fills; give one for each")
    keys = list(names)
    part = np.full(fills.count, -1, dtype=np.int64)
    for place, key in enumerate(keys):
        part[group == key] = place
    if np.any(part < 0):
        raise DataError(f"code {int(group[part < 0][0])} of a fill has no name; named: {keys}")
    table = split_by_fill(fills, part, keys, end_mid_half_ticks=end_mid_half_ticks, worth=worth)
    volumes = sums_by_group(fills.qty_lots, part, len(keys))
    return tuple(
        FillGroup(key, names[key], count, _share(count, fills.count), volume, split)
        for key, count, volume, split in zip(keys, table.fills, volumes, table.splits, strict=True)
    )


def queue_buckets(queue_ahead_lots: Int64, count: int = 4) -> list[int]:
    """Return bounds of buckets of the queue ahead: 0, then the quantiles of what is above 0.

    Parameters
    ----------
    queue_ahead_lots : (m,) int64, not negative
    count : how many buckets hold the positive values

    Returns
    -------
    list of int
        Increasing, from 0 to the largest value; equal quantiles are joined. Bucket k holds what is above bound k - 1 and
        at most bound k; the first holds exactly 0.

    Raises
    ------
    DataError
        A negative queue.
    """
    if len(queue_ahead_lots) and int(queue_ahead_lots.min()) < 0:
        raise DataError(f"a queue ahead of {queue_ahead_lots.min()} lots is not allowed; 0 is the front")
    positive = np.sort(queue_ahead_lots[queue_ahead_lots > 0])
    if not len(positive):
        return [0]
    places = [-(-len(positive) * k // count) - 1 for k in range(1, count + 1)]  # type 1 quantiles, in integers
    return [0, *sorted({int(positive[max(place, 0)]) for place in places})]


def bucket_of(queue_ahead_lots: Int64, bounds: Sequence[int]) -> Int64:
    """Return (m,) the bucket of each value, as `queue_buckets` bounds them; what is above the last is in the last."""
    found = np.searchsorted(np.asarray(bounds, dtype=np.int64), queue_ahead_lots, side="left")
    return np.minimum(found, len(bounds) - 1).astype(np.int64)


def bucket_names(bounds: Sequence[int]) -> dict[int, str]:
    """Return the name of each bucket, in lots: `0`, `1..5`, `6..40`."""
    lower = [0, *(bound + 1 for bound in bounds[:-1])]
    return {
        k: f"{low}" if low == high else f"{low}..{high}"
        for k, (low, high) in enumerate(zip(lower, bounds, strict=True))
    }


@dataclass(frozen=True, slots=True)
class QueueFillRatio:
    """Of the orders that joined with a queue ahead in this bucket: how many, how many filled, and the share."""

    name: str
    orders: int
    filled: int
    fill_ratio: float | None


def fill_ratio_by_queue(
    queue_ahead_lots: Int64, is_filled: NDArray[np.bool_], bounds: Sequence[int]
) -> tuple[QueueFillRatio, ...]:
    """Return the share of orders that filled by the queue they joined.

    Parameters
    ----------
    queue_ahead_lots : (k,) int64, quantity ahead when the order came to rest
    is_filled : (k,) True for an order with at least one fill
    bounds : as `queue_buckets`
    """
    bucket = bucket_of(queue_ahead_lots, bounds)
    orders = np.bincount(bucket, minlength=len(bounds))
    filled = np.bincount(bucket[is_filled], minlength=len(bounds))
    return tuple(
        QueueFillRatio(name, int(orders[k]), int(filled[k]), _share(int(filled[k]), int(orders[k])))
        for k, name in bucket_names(bounds).items()
    )


@dataclass(frozen=True, slots=True, eq=False)
class OrderLives:
    """When each order rested at the venue; all columns (k,) int64.

    Parameters
    ----------
    start_ts, end_ts : it rests in [start, end), ns UTC; an order that never ended has an end beyond the run
    side : +1 buy, -1 sell
    price_ticks : positive
    """

    start_ts: Int64
    end_ts: Int64
    side: Int64
    price_ticks: Int64

    def __post_init__(self) -> None:
        sizes = {len(column) for column in (self.start_ts, self.end_ts, self.side, self.price_ticks)}
        if len(sizes) != 1:
            raise DataError(f"columns of order lives differ in length: {sorted(sizes)}")
        if len(self.start_ts) and (np.any(self.end_ts < self.start_ts) or int(self.price_ticks.min()) <= 0):
            raise DataError("an order life must not end before it starts, and its price must be positive")


@dataclass(frozen=True, slots=True)
class TimeAtBest:
    """Shares of the samples; at the best means at the market's best price of that side or better.

    `quoting` is any own order resting, `two_sided` one on each side, `both_best` both at the best.
    """

    samples: int
    bid_at_best: float | None
    ask_at_best: float | None
    both_best: float | None
    quoting: float | None
    two_sided: float | None


def time_at_best(samples: Samples, lives: OrderLives) -> TimeAtBest:
    """Return how much of the time own orders stood at the market's best price, seen at the sampling clock.

    Parameters
    ----------
    samples : with `best_bid_ticks` and `best_ask_ticks`; a side that is empty (0) is beaten by any order
    lives : own orders

    Raises
    ------
    DataError
        Samples without the market's best prices.

    Notes
    -----
    A sample stands for its interval: an order that lives between two samples is not seen. O(n + orders x their samples).
    """
    if samples.best_bid_ticks is None or samples.best_ask_ticks is None:
        raise DataError("time at best needs best_bid_ticks and best_ask_ticks of the samples")
    count = len(samples.ts)
    own_bid, own_ask = (_own_best(samples.ts, lives, side) for side in (Side.BUY, Side.SELL))
    has_bid, has_ask = own_bid > 0, own_ask > 0
    bid_best = has_bid & (own_bid >= samples.best_bid_ticks)
    ask_best = has_ask & ((own_ask <= samples.best_ask_ticks) | (samples.best_ask_ticks == 0))
    masks = (bid_best, ask_best, bid_best & ask_best, has_bid | has_ask, has_bid & has_ask)
    return TimeAtBest(count, *(_share(int(mask.sum()), count) for mask in masks))


def volume_share(fills: Fills, samples: Samples, window_ns: int) -> tuple[float | None, float | None]:
    """Return own traded quantity / public traded quantity, of the run and of the window with the largest share.

    Parameters
    ----------
    samples : with `traded_lots`
    window_ns : length of a window, positive; windows without public volume are left out

    Raises
    ------
    DataError
        Samples without public volume.
    InvalidRequest
        A window that is not positive.

    Notes
    -----
    Simulated fills add to no public volume, so that a share can exceed 1: the fills were then not to be had.
    """
    if samples.traded_lots is None:
        raise DataError("a share of volume needs traded_lots of the samples")
    if window_ns <= 0:
        raise InvalidRequest.of("window_ns", window_ns, "a positive duration")
    if not len(samples.ts):
        return None, None
    # A sample tells what was traded up to its instant, so windows are closed on the right.
    origin = int(samples.ts[0])
    windows = max(1, -(-(int(samples.ts[-1]) - origin) // window_ns))
    public = sums_by_group(samples.traded_lots, _window(samples.ts, origin, window_ns, windows), windows)
    own = sums_by_group(fills.qty_lots, _window(fills.exch_ts, origin, window_ns, windows), windows)
    shares = [mine / all_ for mine, all_ in zip(own, public, strict=True) if all_]
    return _share(sum(own), sum(public)), max(shares, default=None)


def young_profit_share(
    fills: Fills, latency_ns: int, *, end_mid_half_ticks: int, worth: Worth = LINEAR
) -> float | None:
    """Return the part of the profit that came from orders that had rested less than the latency when they filled.

    Parameters
    ----------
    fills : with `resting_ns`; takers do not rest and count among the others
    latency_ns : order latency of the run
    end_mid_half_ticks, worth : mid at which what the fills brought is valued, and how, see `split_by_fill`

    Returns
    -------
    float or None
        Above 1 where the others lost; None of a run whose fills earned nothing.

    Raises
    ------
    DataError
        Fills without `resting_ns`.

    Notes
    -----
    Their owner could not yet have known that they rest: profit of such fills is that of a guess about the next instant.
    """
    if fills.resting_ns is None:
        raise DataError("profit by the time an order rested needs resting_ns of the fills")
    young = (fills.is_maker & (fills.resting_ns < latency_ns)).astype(np.int64)
    older, younger = split_by_fill(fills, young, (0, 1), end_mid_half_ticks=end_mid_half_ticks, worth=worth).splits
    whole = older.net + younger.net
    return younger.net / whole if whole > 0 else None


def _window(ts: Int64, origin: int, window_ns: int, windows: int) -> Int64:
    return np.clip((ts - origin - 1) // window_ns, 0, windows - 1)


def _own_best(ts: Int64, lives: OrderLives, side: Side) -> Int64:
    """Return (n,) the best own price of a side at each instant, 0 without an order."""
    mine = lives.side == int(side)
    start, end, price = lives.start_ts[mine], lives.end_ts[mine], lives.price_ticks[mine]
    first, last = np.searchsorted(ts, start, side="left"), np.searchsorted(ts, end, side="left")
    best = np.zeros(len(ts), dtype=np.int64)
    # Worst price first, so that a better one overwrites it.
    order = np.argsort(int(side) * price, kind="stable")
    order = order[last[order] > first[order]]
    for begin, stop, ticks in zip(first[order].tolist(), last[order].tolist(), price[order].tolist(), strict=True):
        best[begin:stop] = ticks
    return best


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
