"""Rules of stored bars that several formats share: names of intervals, bars told twice. Knows no source format."""

from __future__ import annotations

import re

import polars as pl

from market_maker.market_data.columns import refuse_where
from market_maker.market_data.source import Source

_INTERVAL = re.compile("([1-9][0-9]{0,2})(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def interval_s_of(name: str) -> int | None:
    """Return the seconds of an interval as venues name it (`5m`, `1h`, `1d`, `1w`); None when it has no one length."""
    found = _INTERVAL.fullmatch(name)
    return int(found[1]) * _UNITS_S[found[2]] if found else None


def without_repeats(source: Source, frame: pl.DataFrame, before: pl.DataFrame | None, time: str) -> pl.DataFrame:
    """Leave out bars that repeat the one before exactly; one that only begins with it is an error.

    Parameters
    ----------
    before : the last bar of the frame before
    time : the column of the beginning
    """
    whole = frame if before is None else pl.concat([before, frame])
    repeated = (whole[time].diff() == 0).fill_null(value=False)
    if not repeated.any():
        return frame
    bars = whole.drop("row")
    alike = bars.select(pl.all_horizontal(pl.all().eq_missing(pl.all().shift(1)))).to_series()
    refuse_where(source, whole, time, repeated & ~alike, "begins a second bar that differs from the row before")
    kept = whole.filter(~(repeated & alike))
    return kept if before is None else kept.filter(pl.col("row") > before["row"][0])
