"""The inventory of a run as its samples saw it: how it is distributed, and how fast it is worked off.

A sample stands for its interval, so that shares of samples are shares of time. Statistics; lots, never money.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.columns import largest
from market_maker.performance.figures import Figure, Int64, checked_row

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Samples by bins of whole lots: bin k holds edges[k] <= q < edges[k + 1], the edges being whole lots."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InventoryFigures:
    """The distribution of the position over time, in lots; None without samples.

    Parameters
    ----------
    samples : how many
    mean, deviation : of the signed position; deviation with 1/n
    mean_absolute : of its size
    largest_long, largest_short : extremes, neither negative
    quantiles : (share, lots) of the signed position, lower quantiles
    long_share, flat_share, short_share : of the samples
    half_life_ns : see `half_life`
    """

    samples: int
    mean: float | None
    deviation: float | None
    mean_absolute: float | None
    largest_long: int
    largest_short: int
    quantiles: tuple[tuple[float, int], ...]
    long_share: float | None
    flat_share: float | None
    short_share: float | None
    half_life_ns: Figure
    histogram: Histogram


def inventory_figures(position_lots: Int64, interval_ns: int, bins: int = 40) -> InventoryFigures:
    """Return the distribution of an evenly sampled position.

    Parameters
    ----------
    position_lots : (n,) int64, signed, one per interval
    interval_ns : the sampling clock
    bins : about so many in the histogram
    """
    count = len(position_lots)
    if not count:
        nothing = Figure(None, "no samples")
        return InventoryFigures(0, None, None, None, 0, 0, (), None, None, None, nothing, Histogram((), ()))
    ordered = np.sort(position_lots)
    places = [max(math.ceil(round(count * share, 9)) - 1, 0) for share in QUANTILES]
    return InventoryFigures(
        samples=count,
        mean=float(position_lots.mean()),
        deviation=float(position_lots.std()),
        mean_absolute=float(np.abs(position_lots).mean()),
        largest_long=max(int(ordered[-1]), 0),
        largest_short=max(-int(ordered[0]), 0),
        quantiles=tuple((share, int(ordered[place])) for share, place in zip(QUANTILES, places, strict=True)),
        long_share=int((position_lots > 0).sum()) / count,
        flat_share=int((position_lots == 0).sum()) / count,
        short_share=int((position_lots < 0).sum()) / count,
        half_life_ns=half_life(position_lots, interval_ns),
        histogram=histogram(position_lots, bins),
    )


def half_life(position_lots: Int64, interval_ns: int) -> Figure:
    """Return the time in which half of a deviation of the inventory is worked off, in ns.

    Parameters
    ----------
    position_lots : (n,) evenly sampled
    interval_ns : positive

    Notes
    -----
    Least squares of q(t + 1) = a + b q(t); half-life = interval x ln(1/2) / ln(b). The estimate of b is biased downward,
    by about (1 + 3 b) / n (Kendall 1954): a half-life close to the length of the run is not to be trusted. Undefined:
    fewer than 20 samples, a position that never changes, b >= 1 (it does not revert) or b <= 0 (it reverts within one
    interval).
    Source: for the regression Hamilton (1994), "Time Series Analysis", section 8.2.
    """
    if interval_ns <= 0:
        raise InvalidRequest.of("interval_ns", interval_ns, "a positive interval")
    count = len(position_lots)
    if count < 20:
        return Figure(None, f"{count} samples; at least 20 are needed")
    row = checked_row(position_lots, "half-life")
    before, after = row[:-1] - row[:-1].mean(), row[1:] - row[1:].mean()
    spread = float(before @ before)
    if spread == 0.0:
        return Figure(None, "the position never changes")
    slope = float(before @ after) / spread
    if slope >= 1.0:
        return Figure(None, f"the position does not revert (its autoregression has a slope of {slope:.4g})")
    if slope <= 0.0:
        return Figure(None, f"the position reverts within one sampling interval (slope {slope:.4g})")
    return Figure(interval_ns * math.log(0.5) / math.log(slope))


def histogram(values: Int64, bins: int) -> Histogram:
    """Return counts of whole numbers by bins of one whole width, of which one begins at 0; empty of no values.

    At most `bins` + 1 of them, because the first may begin below the smallest value. InvalidRequest unless bins >= 1.
    """
    if bins < 1:
        raise InvalidRequest.of("bins", bins, "1 or more")
    if not len(values):
        return Histogram((), ())
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // bins)
    start = low // width * width
    used = (high - start) // width + 1
    assert largest(values) < 2**62
    counts = np.bincount((values - start) // width, minlength=used)
    return Histogram(tuple(start + k * width for k in range(used + 1)), tuple(counts.tolist()))
