"""What the market did after each fill: markouts by horizon with intervals, and the spreads they belong to.

A markout is positive when the price went the way of the fill. Averages are weighted by quantity, in ticks; sums of money
stay exact integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.order import Liquidity
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.columns import Fills, Samples, Whole, merge_places, products, total
from market_maker.performance.figures import (
    Float64,
    Int64,
    Interval,
    checked_confidence,
    normal_quantile,
    student_quantile,
)
from market_maker.performance.worth import LINEAR, Worth

HORIZONS_NS = tuple(int(tenths) * NS_PER_SECOND // 10 for tenths in (1, 10, 50, 300, 600, 3000))
"""0.1, 1, 5, 30, 60 and 300 s."""

LEAST_BLOCK_NS = 60 * NS_PER_SECOND
LEAST_BLOCKS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Mids:
    """The mid as a step function: `half_ticks[k]` from `ts[k]` on; both (n,) int64, times not decreasing."""

    ts: Int64
    half_ticks: Int64

    def __post_init__(self) -> None:
        if self.ts.shape != self.half_ticks.shape or self.ts.ndim != 1:
            raise DataError(f"mids: {self.ts.shape} times and {self.half_ticks.shape} values; give one value for each")
        if np.any(np.diff(self.ts) < 0):
            raise DataError("mids: times go backwards; sort the rows by time")


@dataclass(frozen=True, slots=True, eq=False)
class FutureMid:
    """The mid one horizon after each of m fills.

    Parameters
    ----------
    horizon_ns : from the fill
    is_known : (m,) False where the horizon runs over the end of the mids, or lies before their first
    is_seen : (m,) True where a mid later than the fill is known by then
    half_ticks : (m,) int64, without meaning where it is not known
    """

    horizon_ns: int
    is_known: NDArray[np.bool_]
    is_seen: NDArray[np.bool_]
    half_ticks: Int64


@dataclass(frozen=True, slots=True)
class Markout:
    """The markout at one horizon.

    Parameters
    ----------
    horizon_ns : from the fill
    mean : quantity-weighted mean in ticks with its interval
    fills : counted here
    left_out : fills whose horizon runs over the end of the mids
    unseen : of the counted, those for which no mid later than the fill was known at the horizon: the mids are too coarse
        for it, and these fills show the mid of the fill itself
    half_tick_lots : what the fills had earned by then, exact, in half units of cash: sum of side x (mid - price) x quantity,
        unless the contract is inverse
    """

    horizon_ns: int
    mean: Interval
    fills: int
    left_out: int
    unseen: int
    half_tick_lots: int


@dataclass(frozen=True, slots=True)
class Spreads:
    """Spreads in ticks, twice the distance to the mid; None where there is nothing to average.

    Parameters
    ----------
    quoted : mean of the market's best ask - best bid over the samples that have both
    effective_maker : quantity-weighted mean of 2 x side x (mid - price) over fills as maker: what they earn at once
    effective_taker : mean of 2 x side x (price - mid) over fills as taker: what they pay at once
    realised : (horizon, ticks) of the maker fills: twice the markout, what is left of the effective spread
    impact : (horizon, ticks) effective less realised, of the same fills: what the market took back
    """

    quoted: float | None
    effective_maker: float | None
    effective_taker: float | None
    realised: tuple[tuple[int, float | None], ...]
    impact: tuple[tuple[int, float | None], ...]


def mids_of(samples: Samples, fills: Fills) -> Mids:
    """Return the mids that a run knows: those of its samples and of its fills, merged by time. O(n + m)."""
    fill_place, sample_place = merge_places(fills.exch_ts, samples.ts)
    ts = np.empty(fills.count + len(samples.ts), dtype=np.int64)
    half_ticks = np.empty_like(ts)
    for place, instants, values in (
        (fill_place, fills.exch_ts, fills.mid_half_ticks),
        (sample_place, samples.ts, samples.mid_half_ticks),
    ):
        ts[place], half_ticks[place] = instants, values
    return Mids(ts, half_ticks)


def future_mids(fills: Fills, mids: Mids, horizons_ns: Sequence[int] = HORIZONS_NS) -> tuple[FutureMid, ...]:
    """Return the mid one horizon after each fill, for each horizon: the last known at or before that instant.

    Parameters
    ----------
    fills, mids : of one instrument
    horizons_ns : not negative; InvalidRequest otherwise

    Notes
    -----
    O(horizons x m log n).
    """
    if any(horizon < 0 for horizon in horizons_ns):
        raise InvalidRequest.of("horizons_ns", list(horizons_ns), "durations that are not negative")
    found = []
    for horizon in horizons_ns:
        then = fills.exch_ts + horizon
        place = np.searchsorted(mids.ts, then, side="right") - 1
        known: NDArray[np.bool_] = place >= 0
        if len(mids.ts):
            known &= then <= mids.ts[-1]
        place[~known] = 0
        seen = known & (mids.ts[place] > fills.exch_ts) if len(mids.ts) else known
        half_ticks = mids.half_ticks[place] if len(mids.ts) else np.zeros_like(then)
        found.append(FutureMid(horizon, known, seen, half_ticks))
    return tuple(found)


def passive_fills(*, ts: Int64, aggressor_side: Int64, price_ticks: Int64, qty_lots: Int64, mids: Mids) -> Fills:
    """Return public trades as fills of those who rested, so that their markouts can be set beside one's own.

    Parameters
    ----------
    ts, aggressor_side, price_ticks, qty_lots : (t,) int64, as `Fills`; the side is that of the taker
    mids : of the same market; a trade before the first has a mid of 0

    Notes
    -----
    A simulated maker whose markout is better than that of the market's makers at the same side was filled where it would
    not have been. Ledger columns are 0.
    """
    place = np.searchsorted(mids.ts, ts, side="right") - 1
    mid = np.where(place >= 0, mids.half_ticks[np.maximum(place, 0)], 0) if len(mids.ts) else np.zeros_like(ts)
    nothing = np.zeros_like(ts)
    return Fills(
        exch_ts=ts,
        order_id=np.arange(len(ts)),
        side=-aggressor_side,
        liquidity=np.full_like(ts, int(Liquidity.MAKER)),
        price_ticks=price_ticks,
        qty_lots=qty_lots,
        fee_tick_lots=nothing,
        position_lots=nothing,
        cash_tick_lots=nothing,
        fees_tick_lots=nothing,
        mid_half_ticks=mid,
    )


def markouts(
    fills: Fills,
    future: Sequence[FutureMid],
    *,
    where: NDArray[np.bool_] | None = None,
    confidence: float = 0.95,
    worth: Worth = LINEAR,
) -> tuple[Markout, ...]:
    """Return the markout at each horizon: side x (mid at fill + horizon - price).

    Parameters
    ----------
    fills : of one instrument
    future : their `future_mids`
    where : (m,) True for the fills to count; default all
    confidence : of the intervals, in (0, 1)
    worth : of the instrument; prices make the mean, and it the sum of money

    Notes
    -----
    Fills close in time share their future, so that they are no independent observations. The interval is clustered by
    blocks of time of max(horizon, 60 s): with weights w, mean x and e_b the sum of w (x_i - x) over block b, the variance
    is B/(B - 1) x (sum e_b^2 + 2 sum e_b e_(b+1)) / (sum w)^2. The second sum counts neighbouring blocks only, over whose
    border a horizon reaches; it is left out where it is negative. Student's quantile with B - 1 degrees.
    No interval with fewer than 10 blocks that hold fills. A fill whose horizon runs over the end is left out and counted.
    Source: for clusters Cameron, Gelbach and Miller (2008), Rev. Economics and Statistics 90(3), section II; for the
    overlap Hansen and Hodrick (1980), J. Political Economy 88(5).
    """
    checked_confidence(confidence)
    edge = -2 * fills.side * fills.price_ticks
    received, signed = worth.received(fills.side, fills.price_ticks, fills.qty_lots), fills.side * fills.qty_lots
    found = []
    for then in future:
        known = then.is_known if where is None else then.is_known & where
        half_ticks = (fills.side * then.half_ticks + edge)[known]
        weight = fills.qty_lots[known]
        block = fills.exch_ts[known] // max(then.horizon_ns, LEAST_BLOCK_NS)
        found.append(
            Markout(
                horizon_ns=then.horizon_ns,
                mean=_clustered(half_ticks / 2.0, weight, block, confidence),
                fills=len(weight),
                left_out=(fills.count if where is None else int(where.sum())) - len(weight),
                unseen=int((known & ~then.is_seen).sum()) if then.horizon_ns else 0,
                half_tick_lots=total(received[known]) + total(worth.positions(signed[known], then.half_ticks[known])),
            )
        )
    return tuple(found)


def spreads(fills: Fills, future: Sequence[FutureMid], samples: Samples) -> Spreads:
    """Return quoted, effective and realised spread; `quoted` needs the market's best prices in the samples.

    Notes
    -----
    Signed by the fill: a maker filled after the mid had passed the price has a negative effective spread, which the
    absolute distance would hide.
    Source: Huang and Stoll (1996), J. Financial Economics 41(3), section 3: effective half-spread = realised half-spread
    + price impact.
    """
    makers = fills.is_maker
    now = 2 * fills.side * (fills.mid_half_ticks - 2 * fills.price_ticks)  # in half ticks, both halves of the spread
    realised, impact = [], []
    for then in future:
        known = makers & then.is_known
        taken = (2 * fills.side * (fills.mid_half_ticks - then.half_ticks))[known]
        weight = fills.qty_lots[known]
        realised.append((then.horizon_ns, _mean_ticks(now[known] - taken, weight)))
        impact.append((then.horizon_ns, _mean_ticks(taken, weight)))
    return Spreads(
        quoted=_quoted(samples),
        effective_maker=_mean_ticks(now[makers], fills.qty_lots[makers]),
        effective_taker=_mean_ticks(-now[~makers], fills.qty_lots[~makers]),
        realised=tuple(realised),
        impact=tuple(impact),
    )


def clustered_mean(values: Float64, weights: Int64, block: Int64, confidence: float = 0.95) -> Interval:
    """Return the weighted mean of values with the clustered interval that `markouts` describes.

    Parameters
    ----------
    values, weights : (n,) numbers and positive whole weights
    block : (n,) int64, not decreasing: the block of time of each
    confidence : in (0, 1)
    """
    return _clustered(values, weights, block, checked_confidence(confidence))


def _clustered(values: Float64, weights: Int64, block: Int64, confidence: float) -> Interval:
    method = "quantity-weighted, clustered by time"
    if not len(values):
        return Interval(None, None, None, confidence, method, "no fill to count")
    share = weights / float(weights.sum())
    mean = float((share * values).sum())
    first = np.flatnonzero(np.concatenate([[True], block[1:] != block[:-1]]))
    sums = np.add.reduceat(share * (values - mean), first)
    blocks = len(first)
    if blocks < LEAST_BLOCKS:
        reason = f"fills in {blocks} blocks of time; an interval needs {LEAST_BLOCKS}"
        return Interval(mean, None, None, confidence, method, reason)
    neighbours = block[first][1:] == block[first][:-1] + 1
    overlap = max(2.0 * float((sums[1:] * sums[:-1])[neighbours].sum()), 0.0)
    variance = blocks / (blocks - 1) * (float(sums @ sums) + overlap)
    tail = 0.5 + confidence / 2.0
    quantile = student_quantile(tail, blocks - 1) if blocks <= 1000 else normal_quantile(tail)
    reach = quantile * math.sqrt(variance)
    return Interval(mean, mean - reach, mean + reach, confidence, f"{method}, {blocks} blocks")


def _mean_ticks(half_ticks: Whole, weight: Int64) -> float | None:
    return total(products(half_ticks, weight)) / (2 * int(weight.sum())) if len(weight) else None


def _quoted(samples: Samples) -> float | None:
    if samples.best_bid_ticks is None or samples.best_ask_ticks is None:
        return None
    both = (samples.best_bid_ticks > 0) & (samples.best_ask_ticks > 0)
    return float((samples.best_ask_ticks - samples.best_bid_ticks)[both].mean()) if both.any() else None
