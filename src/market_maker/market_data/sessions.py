"""What state a venue's market is in at an instant, by its published timetable: crossed books are sound in some of them.

Regular hours and weekends only: holidays and early closes are not known here, and a venue without a timetable trades all
the time.
Sources: CME Globex trading hours (pre-open before the 17:00 Chicago open); NASDAQ and NYSE hours, Eastern time.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.units import DAY_NS


class SessionState(StrEnum):
    """PRE_OPEN: orders are collected and do not match, so that bids may stand above asks."""

    CONTINUOUS = "CONTINUOUS"
    PRE_OPEN = "PRE_OPEN"
    EXTENDED = "EXTENDED"
    CLOSED = "CLOSED"


_STATES = tuple(SessionState)
_OPEN = SessionState.CONTINUOUS
_MINUTE_NS = 60_000_000_000
_MINUTES = {
    # (time zone, [(first minute of the local day, state), ...])
    "glbx-mdp3": ("America/Chicago", [(0, "CONTINUOUS"), (16 * 60, "PRE_OPEN"), (17 * 60, "CONTINUOUS")]),
    "nasdaq": (
        "America/New_York",
        [(0, "CLOSED"), (240, "EXTENDED"), (570, "CONTINUOUS"), (960, "EXTENDED"), (1200, "CLOSED")],
    ),
}
_MINUTES["us-equities"] = _MINUTES["xnas-itch"] = _MINUTES["nasdaq"]
_DAY_MINUTES = 1440
_WEEKENDS = {
    # Minutes of the local week, from Monday 00:00, in which a venue is closed.
    "glbx-mdp3": (4 * _DAY_MINUTES + 16 * 60, 6 * _DAY_MINUTES + 16 * 60),
    "nasdaq": (5 * _DAY_MINUTES, 7 * _DAY_MINUTES),
}
_WEEKENDS["us-equities"] = _WEEKENDS["xnas-itch"] = _WEEKENDS["nasdaq"]


def session_states(venue: str, ts: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the state at each instant (n,), as places in `SessionState`."""
    timetable = _MINUTES.get(venue)
    if timetable is None or not len(ts):
        return np.zeros(len(ts), np.int8)
    import polars as pl

    zone, steps = timetable
    local = pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone)
    minute = (local.dt.hour().cast(pl.Int32) * 60 + local.dt.minute()).to_numpy()
    starts = np.array([start for start, _ in steps])
    codes = np.array([_STATES.index(SessionState(state)) for _, state in steps], np.int8)
    states: NDArray[np.int8] = codes[np.searchsorted(starts, minute, side="right") - 1]
    begin, end = _WEEKENDS[venue]
    of_week = (local.dt.weekday().cast(pl.Int32).to_numpy() - 1) * _DAY_MINUTES + minute
    states[(of_week >= begin) & (of_week < end)] = _STATES.index(SessionState.CLOSED)
    return states


def session_stretches(
    venue: str, start_ts: int, end_ts: int, states: tuple[SessionState, ...] = (_OPEN,)
) -> NDArray[np.int64]:
    """Return the stretches (k, 2), [from, until) ns, of [start_ts, end_ts) in which the market is in one of `states`."""
    if venue not in _MINUTES:
        whole = [[start_ts, end_ts]] if _OPEN in states and start_ts < end_ts else []
        return np.array(whole, np.int64).reshape(-1, 2)
    # Timetables change at whole minutes.
    edges = np.arange(start_ts // _MINUTE_NS, -(-end_ts // _MINUTE_NS), dtype=np.int64) * _MINUTE_NS
    inside = np.isin(session_states(venue, edges), [_STATES.index(state) for state in states])
    turns = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    bounds: NDArray[np.int64] = np.clip(np.append(edges, end_ts)[turns], start_ts, end_ts)
    return bounds.reshape(-1, 2)


def session_minutes_per_day(venue: str) -> int:
    """Return the minutes of continuous trading in a full day: 1440 for a venue without a timetable."""
    timetable = _MINUTES.get(venue)
    if timetable is None:
        return 1440
    ends = [start for start, _ in timetable[1][1:]] + [1440]
    return sum(end - start for (start, state), end in zip(timetable[1], ends, strict=True) if state == "CONTINUOUS")


def session_shares(venue: str, ts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how much of the day's continuous session has passed at each instant (n,), 0 to 1, NaN outside of it.

    A venue without a timetable: the share of the UTC day.
    """
    timetable = _MINUTES.get(venue)
    if timetable is None or not len(ts):
        return (ts % DAY_NS) / DAY_NS
    import polars as pl

    zone, steps = timetable
    before = [steps[-1], *steps[:-1]]
    opens = next(start for (start, state), (_, last) in zip(steps, before, strict=True) if state == _OPEN != last)
    local = pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone).dt.time().cast(pl.Int64).to_numpy()
    share = (local - opens * _MINUTE_NS) % DAY_NS / (session_minutes_per_day(venue) * _MINUTE_NS)
    is_open = session_states(venue, ts) == _STATES.index(SessionState.CONTINUOUS)
    return np.where(is_open, share, np.nan)
