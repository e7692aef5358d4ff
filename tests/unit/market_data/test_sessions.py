"""Sessions of venues by their timetables, in winter and in summer; instants are written in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from market_maker.market_data.sessions import (
    SessionState,
    session_minutes_per_day,
    session_shares,
    session_states,
    session_stretches,
)


def ts_of(*texts: str) -> np.ndarray:
    return np.array([int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9 for text in texts])


def states(venue: str, *texts: str) -> list[str]:
    return [list(SessionState)[code].value for code in session_states(venue, ts_of(*texts))]


@pytest.mark.parametrize("venue", ["nasdaq", "us-equities", "xnas-itch"])
def test_new_york_is_five_hours_behind_in_winter_and_four_in_summer(venue: str) -> None:
    winter = ["08:59:59", "09:00", "14:29:59", "14:30", "20:59:59", "21:00", "00:59:59", "01:00"]
    wanted = ["CLOSED", "EXTENDED", "EXTENDED", "CONTINUOUS", "CONTINUOUS", "EXTENDED", "EXTENDED", "CLOSED"]
    assert states(venue, *(f"2024-01-16T{time}" for time in winter)) == wanted
    assert states(venue, "2024-07-16T13:29:59", "2024-07-16T13:30", "2024-07-16T20:00") == [
        "EXTENDED", "CONTINUOUS", "EXTENDED",
    ]  # fmt: skip


def test_globex_collects_orders_for_an_hour_before_it_opens() -> None:
    # 16:00 and 17:00 in Chicago are 22:00 and 23:00 UTC in winter, 21:00 and 22:00 in summer.
    assert states("glbx-mdp3", "2024-01-16T21:59:59", "2024-01-16T22:00", "2024-01-16T22:59:59", "2024-01-16T23:00") == [
        "CONTINUOUS", "PRE_OPEN", "PRE_OPEN", "CONTINUOUS",
    ]  # fmt: skip
    assert states("glbx-mdp3", "2024-07-16T21:30", "2024-07-16T22:00") == ["PRE_OPEN", "CONTINUOUS"]


def test_a_venue_without_a_timetable_never_closes() -> None:
    assert states("binance-usdm", "2024-01-16T03:00", "2024-01-20T22:30") == ["CONTINUOUS", "CONTINUOUS"]
    assert session_states("nasdaq", ts_of()).tolist() == []
    assert session_shares("nasdaq", ts_of()).tolist() == []


@pytest.mark.parametrize(("venue", "minutes"), [
    ("binance-spot", 24 * 60),
    ("nasdaq", 390),  # 9:30 to 16:00
    ("glbx-mdp3", 23 * 60),  # all but the hour from 16:00 to 17:00
])  # fmt: skip
def test_minutes_of_a_day(venue: str, minutes: int) -> None:
    assert session_minutes_per_day(venue) == minutes


def test_share_of_the_session_that_has_passed() -> None:
    assert session_shares("binance-spot", ts_of("2024-01-16", "2024-01-16T18:00")).tolist() == [0.0, 0.75]
    # 9:30, 12:45 and 15:59 in New York: 0, 195 and 389 of 390 minutes; before and after it is none.
    shares = session_shares(
        "nasdaq",
        ts_of("2024-01-16T14:29", "2024-01-16T14:30", "2024-01-16T17:45", "2024-01-16T20:59", "2024-01-16T21:00"),
    )
    assert np.array_equal(shares, [np.nan, 0.0, 0.5, 389 / 390, np.nan], equal_nan=True)
    # Globex opens at 17:00 of the day before: 23:00 UTC; 10:30 UTC is 690 of 1380 minutes later, over midnight.
    shares = session_shares("glbx-mdp3", ts_of("2024-01-15T23:00", "2024-01-16T10:30", "2024-01-16T22:30"))
    assert np.array_equal(shares, [0.0, 0.5, np.nan], equal_nan=True)


def test_weekends_are_closed() -> None:
    # 2024-01-20 was a Saturday. Globex closes on Friday at 16:00 in Chicago and collects orders from Sunday 16:00 on.
    assert states("nasdaq", "2024-01-19T18:00", "2024-01-20T18:00", "2024-01-21T18:00", "2024-01-22T18:00") == [
        "CONTINUOUS", "CLOSED", "CLOSED", "CONTINUOUS",
    ]  # fmt: skip
    assert states(
        "glbx-mdp3", "2024-01-19T21:59", "2024-01-19T22:00", "2024-01-20T12:00", "2024-01-21T21:59", "2024-01-21T22:00",
        "2024-01-21T23:00",
    ) == ["CONTINUOUS", "CLOSED", "CLOSED", "CLOSED", "PRE_OPEN", "CONTINUOUS"]  # fmt: skip


def test_stretches_of_sessions_in_a_range() -> None:
    start, end = ts_of("2024-03-08T15:00:30", "2024-03-11T14:00").tolist()
    # Friday's session in winter has begun; Monday's, in summer time, goes on: 13:30 UTC.
    assert session_stretches("nasdaq", start, end).tolist() == [
        [start, *ts_of("2024-03-08T21:00")], [*ts_of("2024-03-11T13:30"), end],
    ]  # fmt: skip
    assert session_stretches("binance-spot", start, end).tolist() == [[start, end]]
    assert session_stretches("binance-spot", start, end, (SessionState.PRE_OPEN,)).shape == (0, 2)
    assert session_stretches("nasdaq", *ts_of("2024-03-09", "2024-03-10").tolist()).shape == (0, 2)
    assert session_stretches(
        "glbx-mdp3", *ts_of("2024-01-16", "2024-01-17").tolist(), (SessionState.PRE_OPEN,)
    ).tolist() == [ts_of("2024-01-16T22:00", "2024-01-16T23:00").tolist()]
