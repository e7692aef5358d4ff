"""Curves of a run, thinned for a plot so that no peak and no trough is lost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.performance.columns import Samples
from market_maker.performance.figures import Int64


@dataclass(frozen=True, slots=True)
class Curve:
    """Instants (ns UTC) and exact values of one curve; of equal length."""

    ts: tuple[int, ...]
    values: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class RunCurves:
    """The curves of a run.

    Parameters
    ----------
    equity, drawdown : in the currency that the instrument settles in; drawdown is the fall from the highest equity so far, not
        negative
    inventory : base currency or contracts, signed
    mid : a price, in quote currency
    """

    equity: Curve
    drawdown: Curve
    inventory: Curve
    mid: Curve


def run_curves(samples: Samples, instrument: Instrument, points: int) -> RunCurves:
    """Return the curves of a run, each of about `points` values.

    Every curve keeps its own extremes. The equity keeps also the instants of the drawdown's, and the other way round.
    """
    half_cash = EXACT.divide(instrument.tick_lot, Decimal(2))
    half_tick = EXACT.divide(instrument.tick_size, Decimal(2))
    equity = samples.equity_half_tick_lots
    fall = np.maximum.accumulate(equity) - equity if len(equity) else equity
    both = np.union1d(thinned(equity, points // 2), thinned(fall, points // 2))

    def curve(values: Int64, places: Int64, unit: Decimal) -> Curve:
        exact = tuple(EXACT.multiply(Decimal(value), unit) for value in values[places].tolist())
        return Curve(tuple(samples.ts[places].tolist()), exact)

    return RunCurves(
        equity=curve(equity, both, half_cash),
        drawdown=curve(fall, both, half_cash),
        inventory=curve(samples.position_lots, thinned(samples.position_lots, points), instrument.lot_size),
        mid=curve(samples.mid_half_ticks, thinned(samples.mid_half_ticks, points), half_tick),
    )


def thinned(values: Int64, points: int) -> Int64:
    """Return increasing indices of at most about `points` values: of each stretch the first, lowest, highest and last.

    Parameters
    ----------
    values : (n,) numbers
    points : at least 4; with n <= points all indices are returned
    """
    if points < 4:
        raise InvalidRequest.of("points", points, "4 or more")
    count = len(values)
    if count <= points:
        return np.arange(count)
    width = -(-count // (points // 4))
    whole = count // width * width
    rows = values[:whole].reshape(-1, width)
    start = np.arange(0, whole, width)
    places = [start, start + np.argmin(rows, axis=1), start + np.argmax(rows, axis=1), start + width - 1]
    if whole < count:
        rest = values[whole:]
        places.append(whole + np.array([0, int(np.argmin(rest)), int(np.argmax(rest)), len(rest) - 1]))
    return np.unique(np.concatenate(places))
