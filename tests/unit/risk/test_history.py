"""The grid of closes: holes, coverage, the choice of the interval, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.risk.history import PriceHistory, choose_returns, price_history, returns_at

SECOND = 1_000_000_000
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND


def test_a_return_across_a_hole_is_dropped_and_counted() -> None:
    history = price_history([0, 10, 20, 50, 60], [100, 110, 121, 200, 220], interval_ns=10)
    returns = returns_at(history, 10)
    assert returns.values == pytest.approx([0.1, 0.1, 0.1])
    assert returns.dropped == 3  # 20-30, 30-40 and 40-50 of six
    assert history.coverage == 5 / 7
    assert (history.window_start_ts, history.window_end_ts) == (0, 70)


def test_returns_of_a_longer_interval_are_counted_back_from_the_last_close() -> None:
    history = price_history([0, 10, 20, 40, 50], [100, 110, 120, 150, 180], interval_ns=10)
    # 50 <- 30 (not there) <- 10: both returns of 20 lack the close of 30
    assert returns_at(history, 20).values.size == 0
    assert returns_at(history, 20).dropped == 2
    # 50 <- 20: the hole at 30 lies between the two closes and does no harm
    assert returns_at(history, 30).values == pytest.approx([0.5])
    assert returns_at(history, 30).dropped == 0
    assert returns_at(history, 50).values == pytest.approx([0.8])


def test_coverage_counts_from_the_window_that_was_asked_for() -> None:
    history = price_history([20, 30], [5, 5], interval_ns=10, window_start_ts=0, window_end_ts=80)
    assert history.coverage == 2 / 8
    assert price_history([20], [5], interval_ns=10, window_start_ts=15, window_end_ts=30).coverage == 0.5
    assert price_history([0], [5], interval_ns=10, window_start_ts=0, window_end_ts=5).coverage == 1


def test_one_close_is_a_history_without_returns() -> None:
    returns = returns_at(price_history([0], [5], interval_ns=10), 10)
    assert (returns.values.size, returns.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("ts", "closes", "words"),
    [
        ([], [], "no prices at all"),
        ([0, 10], [1], "2 times and 1 closes"),
        ([0, 10], [1, 0], "0 half ticks at index 1"),
        ([0, 10], [-3, 4], "-3 half ticks at index 0"),
        ([0, 10], [4, 2**42], "at index 1"),
        ([0, 0], [4, 4], "index 1 comes 0 ns after"),
        ([10, 0], [4, 4], "comes -10 ns after"),
        ([0, 10, 25], [4, 4, 4], "time 25 at index 2"),
        ([0, 10], [4.0, 5.0], "close values of type float64"),
        ([0.0, 10.0], [4, 5], "time values of type float64"),
        ([[0, 10]], [[4, 5]], "shape"),
    ],
)
def test_what_is_no_history_is_refused(ts: list[int], closes: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        price_history(ts, closes, interval_ns=10)


@pytest.mark.parametrize(("start", "end"), [(5, 100), (0, 10)])
def test_closes_lie_in_the_window(start: int, end: int) -> None:
    with pytest.raises(DataError, match="leave the window"):
        price_history([0, 10], [4, 4], interval_ns=10, window_start_ts=start, window_end_ts=end)


def test_the_hash_tells_histories_apart() -> None:
    histories = [
        price_history([0, 10], [4, 5], interval_ns=10),
        price_history([0, 10], [4, 6], interval_ns=10),
        price_history([0, 20], [4, 5], interval_ns=10),
        price_history([0, 10], [4, 5], interval_ns=5),
        price_history([0], [4], interval_ns=10),
    ]
    assert len({history.data_hash for history in histories}) == len(histories)
    again = price_history(np.array([0, 10], dtype=np.uint32), [4, 5], interval_ns=10)
    assert again.data_hash == histories[0].data_hash


def a_minute_history(count: int) -> PriceHistory:
    return price_history(np.arange(count) * MINUTE, 1000 + np.arange(count) % 7, interval_ns=MINUTE)


@pytest.mark.parametrize(
    ("count", "horizon_ns", "interval_ns"),
    [
        (20 * 1440 + 1, DAY, DAY // 24),  # 480 hours, 240 of 2 h: the hour is the longest with 250
        (251, MINUTE, MINUTE),  # the horizon itself
        (250, 10 * MINUTE, MINUTE),  # 249 returns: nothing has 250, the minute has the most
        (2501, 10 * MINUTE, 10 * MINUTE),
        (2500, 10 * MINUTE, 5 * MINUTE),  # 249 of ten minutes, 499 of five
        (2501, 7 * MINUTE, 7 * MINUTE),  # a horizon that is on no ladder
    ],
)
def test_the_longest_interval_with_enough_returns(count: int, horizon_ns: int, interval_ns: int) -> None:
    history = a_minute_history(count)
    returns = choose_returns(history, horizon_ns=horizon_ns, wanted=250, least=20)
    assert returns.interval_ns == interval_ns
    assert returns.values.size == (count - 1) // (interval_ns // MINUTE)


def test_a_market_that_is_updated_each_seven_seconds() -> None:
    """Its closes lie on a grid of 1 s, and no interval in daily use is a multiple of 7 s: nothing was found."""
    history = price_history(np.arange(100) * 7 * SECOND, 1000 + np.arange(100) % 3, interval_ns=SECOND)
    returns = choose_returns(history, horizon_ns=DAY, wanted=250, least=20)
    assert (returns.interval_ns, returns.values.size, returns.dropped) == (7 * SECOND, 99, 0)


def test_too_short_a_history_says_how_much_is_needed() -> None:
    with pytest.raises(DataError, match="19 returns are too few: at least 20 are needed, from 21 closes"):
        choose_returns(a_minute_history(20), horizon_ns=DAY, wanted=250, least=20)


def test_a_horizon_shorter_than_the_interval_is_refused() -> None:
    with pytest.raises(DataError, match="horizon"):
        choose_returns(a_minute_history(100), horizon_ns=SECOND, wanted=250, least=20)
