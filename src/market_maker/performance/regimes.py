"""In what kind of market a result was earned: labels of volatility, trend and volume for every sample.

A description after the fact, for tables; a strategy must not be given these labels, which know the whole run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.columns import Samples, sums_by_group
from market_maker.performance.figures import Float64, Int64

WINDOWS_NS = tuple(seconds * NS_PER_SECOND for seconds in (1800, 600, 300, 60, 10))
"""Windows from which one is chosen, longest first."""

WANTED_WINDOWS = 12


_NO_VOLUME = -2


class Tercile(IntEnum):
    """The lower, middle and upper third of the windows; UNKNOWN where a window has nothing to measure."""

    UNKNOWN = -1
    LOW = 0
    NORMAL = 1
    HIGH = 2


class Trend(IntEnum):
    """The sign of the mid's change over the window; UNKNOWN where it is not known."""

    UNKNOWN = -2
    DOWN = -1
    FLAT = 0
    UP = 1


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """Labels of a run's samples; every column (n,) int64.

    Parameters
    ----------
    window_ns : length of a window; all samples of one have its labels
    windows : how many
    volatility : `Tercile` of the window's realised volatility
    trend : `Trend` of the window
    volume : `Tercile` of the window's public volume; None when the samples do not know it
    volatility_bounds : the two bounds between the thirds, log return per square root of a second; None without windows
    volume_bounds : the same in lots per second
    """

    window_ns: int
    windows: int
    volatility: Int64
    trend: Int64
    volume: Int64 | None
    volatility_bounds: tuple[float, float] | None
    volume_bounds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of regimes; `volume` is None where the run does not know it."""

    volatility: Tercile
    trend: Trend
    volume: Tercile | None

    @property
    def name(self) -> str:
        """Its name, such as `HIGH/UP/LOW`."""
        parts = [self.volatility.name, self.trend.name]
        return "/".join(parts if self.volume is None else [*parts, self.volume.name])


def window_for(span_ns: int) -> int:
    """Return the longest of `WINDOWS_NS` of which the span holds 12, so that a third is 4 windows; else the shortest."""
    return next((window for window in WINDOWS_NS if span_ns >= WANTED_WINDOWS * window), WINDOWS_NS[-1])


def label_regimes(samples: Samples, window_ns: int) -> Regimes:
    """Return the labels of every sample.

    Parameters
    ----------
    samples : evenly sampled; mids that are not positive make their returns unknown
    window_ns : windows follow each other without overlap from the first sample on; the k-th holds the samples in
        (first + k window, first + (k + 1) window], and the first sample belongs to the first

    Raises
    ------
    InvalidRequest
        A window that is not positive.

    Notes
    -----
    Volatility of a window = sqrt(sum of squared log returns of the mid between samples / seconds between them). Terciles
    are over windows, with lower quantiles as bounds: of many equal values none is HIGH. With fewer than three windows all
    are UNKNOWN. O(n + windows log windows).
    """
    if window_ns <= 0:
        raise InvalidRequest.of("window_ns", window_ns, "a positive duration")
    ts, count = samples.ts, len(samples.ts)
    if not count:
        empty = np.zeros(0, dtype=np.int64)
        return Regimes(window_ns, 0, empty, empty, None if samples.traded_lots is None else empty, None, None)
    number = np.maximum((ts - ts[0] - 1) // window_ns, 0)
    first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
    place = np.cumsum(np.concatenate([[True], number[1:] != number[:-1]])) - 1
    windows = len(first)
    known = samples.mid_half_ticks > 0
    logs = np.log(np.where(known, samples.mid_half_ticks, 1))
    returns = np.diff(logs, prepend=logs[0])
    usable = known & np.concatenate([[False], known[:-1]])
    seconds = np.diff(ts, prepend=ts[0]) / NS_PER_SECOND
    squares = np.bincount(place, np.where(usable, returns**2, 0.0), windows)
    measured = np.bincount(place, np.where(usable, seconds, 0.0), windows)
    volatility = np.sqrt(np.divide(squares, measured, out=np.full(windows, np.nan), where=measured > 0))
    of_volatility, volatility_bounds = _terciles(volatility)
    volume = volume_bounds = None
    if samples.traded_lots is not None:
        lasting = np.bincount(place, seconds, windows)
        lots = np.array(sums_by_group(samples.traded_lots, place, windows), dtype=np.float64)
        rate = np.divide(lots, lasting, out=np.full(windows, np.nan), where=lasting > 0)
        of_volume, volume_bounds = _terciles(rate)
        volume = of_volume[place]
    trend = _trends(samples.mid_half_ticks, first)
    return Regimes(window_ns, windows, of_volatility[place], trend[place], volume, volatility_bounds, volume_bounds)


def joint_labels(regimes: Regimes) -> tuple[Int64, dict[int, Cell]]:
    """Return one label for the combination of all dimensions, and what each label stands for.

    Only combinations that occur have a label, in the order of volatility, trend, volume.
    """
    volume = np.full_like(regimes.trend, _NO_VOLUME) if regimes.volume is None else regimes.volume
    # Digits of a number: volatility + 1 in 0..3, trend + 2 in 0..3, volume + 2 in 0..4.
    label = ((regimes.volatility + 1) * 4 + regimes.trend + 2) * 5 + volume + 2
    cells = {}
    for key in np.flatnonzero(np.bincount(label, minlength=1)).tolist():
        digit = key % 5 - 2
        of_volume = None if digit == _NO_VOLUME else Tercile(digit)
        cells[key] = Cell(Tercile(key // 20 - 1), Trend(key // 5 % 4 - 2), of_volume)
    return label, cells


def _terciles(values: Float64) -> tuple[Int64, tuple[float, float] | None]:
    labels = np.full(len(values), int(Tercile.UNKNOWN), dtype=np.int64)
    known = np.isfinite(values)
    ordered = np.sort(values[known])
    count = len(ordered)
    if count < 3:
        return labels, None
    low, high = float(ordered[-(-count // 3) - 1]), float(ordered[-(-2 * count // 3) - 1])
    labels[known] = np.searchsorted([low, high], values[known], side="left")
    return labels, (low, high)


def _trends(mid_half_ticks: Int64, first: Int64) -> Int64:
    """Return (windows,) the trend: from the last sample before a window to its last sample."""
    last = np.append(first[1:], len(mid_half_ticks)) - 1
    start = np.maximum(first - 1, 0)
    trend = np.sign(mid_half_ticks[last] - mid_half_ticks[start])
    unknown = (mid_half_ticks[last] <= 0) | (mid_half_ticks[start] <= 0)
    return np.where(unknown, int(Trend.UNKNOWN), trend)
