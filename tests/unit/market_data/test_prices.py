"""Bars from whatever was recorded: best quotes, trades alone, stored bars, and days of each."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from collector_lines import DAY_MS, START_MS, bar, depth, quote, snapshot, trade, ts, write
from market_data_builders import import_files
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.prices import bars
from market_maker.storage.lake import Lake

PAIR = Instrument(UUID(int=1), "binance-usdm", "X", "A", "B", Decimal("0.1"), Decimal("0.001"))
S = 1_000_000_000
START = START_MS * 1_000_000
DAY = DAY_MS * 1_000_000
MINUTE_MS = 60_000


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def prices(lake, start=START, end=START + DAY, interval=S):
    """Return bars as (interval since the start, open, high, low, close, lots, number)."""
    found = bars(lake, "binance-usdm", "X", start, end, interval)
    return [
        ((p.ts - START) // interval, p.open_half_ticks, p.high_half_ticks, p.low_half_ticks, p.close_half_ticks, p.volume_lots, p.quotes)
        for p in found
    ]  # fmt: skip


def test_of_trades_alone(lake, tmp_path):
    lines = [trade(100, 1, "10.0"), trade(300, 2, "10.4", "0.002"), trade(700, 3, "9.8"), trade(2500, 4, "10.1"),
             trade(2600, 5, "99.0", X="INSURANCE_FUND")]  # fmt: skip
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    # Half ticks: 10.0 is 200. The liquidation is no trade of the market. Nothing happened in the second second.
    assert prices(lake) == [(0, 200, 208, 196, 196, 4, 3), (1, 196, 196, 196, 196, 0, 0), (2, 202, 202, 202, 202, 1, 1)]
    assert prices(lake, interval=60 * S) == [(0, 200, 208, 196, 202, 5, 4)]


def test_quotes_come_before_trades(lake, tmp_path):
    lines = [
        quote(0, "9.9", "10.1"),
        trade(100, 1, "10.1", "0.003"),
        quote(1000, "9.9", "10.2"),
        quote(2000, "9.9", "0"),
    ]
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    # 99 + 101 and 99 + 102 half ticks; one side alone is no price.
    assert prices(lake) == [(0, 200, 200, 200, 200, 3, 1), (1, 201, 201, 201, 201, 0, 1), (2, 201, 201, 201, 201, 0, 0)]


def test_of_a_book_its_quotes_are_derived_and_stand_over_midnight(lake, tmp_path):
    lines = [
        depth(-2000, 1, 1, 0), snapshot(-1500, 1), depth(500, 2, 2, 1, bids=[("9.7", "1.000")]),
        depth(1500, 3, 3, 2, asks=[("10.0", "1.000")]),
    ]  # fmt: skip
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    # The day begins with the book that the day before has left, although its best quotes change only later.
    assert prices(lake) == [(0, 200, 200, 200, 200, 0, 1), (1, 199, 199, 199, 199, 0, 1)]


def test_of_stored_bars(lake, tmp_path):
    days = [bar(i, START_MS + i * DAY_MS, str(10 + i), low="9", high=str(20 + i)) for i in range(3)]
    minutes = [bar(10 + i, START_MS + i * MINUTE_MS, "11", interval="1m", low="10", high="12") for i in range(4)]
    import_files([write(tmp_path / "a.gz", [*days, *minutes])], lake, PAIR)
    # Volume 5 is 5000 lots.
    assert prices(lake, end=START + 9 * DAY, interval=DAY) == [
        (0, 200, 400, 180, 200, 5000, 1), (1, 200, 420, 180, 220, 5000, 1), (2, 200, 440, 180, 240, 5000, 1),
    ]  # fmt: skip
    assert prices(lake, interval=120 * S) == [(0, 200, 240, 200, 220, 10_000, 2), (1, 200, 240, 200, 220, 10_000, 2)]
    assert prices(lake, start=START + 60 * S, end=START + 120 * S, interval=60 * S) == [
        (1, 200, 240, 200, 220, 5000, 1)
    ]
    with pytest.raises(DataError, match="stored bars are of 60s, 86400s"):
        prices(lake, interval=S)


def test_recorded_days_come_before_stored_bars(lake, tmp_path):
    stored = [bar(i, START_MS + i * DAY_MS, "50", low="10", high="60") for i in range(3)]
    import_files([write(tmp_path / "bars.gz", stored)], lake, PAIR)
    import_files([write(tmp_path / "a.gz", [trade(DAY_MS + 100, 1), trade(DAY_MS + 200, 2, "10.2")])], lake, PAIR)
    assert prices(lake, end=START + 9 * DAY, interval=DAY) == [
        (0, 200, 1200, 200, 1000, 5000, 1), (1, 200, 204, 200, 204, 2, 2), (2, 200, 1200, 200, 1000, 5000, 1),
    ]  # fmt: skip


def test_days_of_quotes_and_days_of_trades_make_one_series(lake, tmp_path):
    import_files([write(tmp_path / "a.gz", [quote(0, "9.9", "10.1"), quote(1000, "9.9", "10.1")])], lake, PAIR)
    import_files([write(tmp_path / "b.gz", [trade(DAY_MS + 1000, 1, "10.3")])], lake, PAIR)
    found = prices(lake, end=START + 2 * DAY)
    # A day between the recordings is a hole and not a quiet market.
    assert found == [(0, 200, 200, 200, 200, 0, 1), (1, 200, 200, 200, 200, 0, 1), (86_401, 206, 206, 206, 206, 1, 1)]


def test_an_interval_over_midnight_has_both_days(lake, tmp_path):
    lines = [trade(-200, 1, "10.0"), trade(-100, 2, "10.5"), trade(100, 3, "9.0", "0.004"), trade(200, 4, "10.1")]
    import_files([write(tmp_path / "a.gz", lines)], lake, PAIR)
    week = 7 * DAY
    ((_, *values),) = prices(lake, start=START - DAY, end=START + DAY, interval=week)
    assert values == [200, 210, 180, 202, 7, 4]


@pytest.mark.parametrize(
    ("start", "end", "interval", "field"),
    [
        (START, START, S, "end_date"),
        (START + 1, START, S, "end_date"),
        (START, START + DAY, 0, "interval"),
        (START, START + DAY, 1, "interval"),
    ],
)
def test_what_cannot_be_asked_for(lake, start, end, interval, field):
    with pytest.raises(InvalidRequest, match=field):
        bars(lake, "binance-usdm", "X", start, end, interval)


def test_nothing_in_the_range(lake, tmp_path):
    with pytest.raises(DataError, match="record or import some"):
        prices(lake)
    import_files([write(tmp_path / "a.gz", [trade(0, 1)])], lake, PAIR)
    with pytest.raises(DataError, match="no recorded prices"):
        prices(lake, start=ts(1), end=ts(2))
