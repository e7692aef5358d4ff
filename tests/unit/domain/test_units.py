"""Durations, money and instants as users write them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.units import (
    Money,
    format_duration,
    format_instant,
    parse_decimal,
    parse_duration,
    parse_instant,
    parse_money,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("100ms", 100_000_000),
        ("1s", 1_000_000_000),
        ("1d", 86_400_000_000_000),
        ("1.5h", 5_400_000_000_000),
        ("250us", 250_000),
        ("7ns", 7),
        (" 2 m ", 120_000_000_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "100", "ms", "-1s", "1 week", "1.5ns", "1e3s", "١s", "999999999999d", 5, None, "1s1s"]
)
def test_wrong_durations_are_named(text: object) -> None:
    with pytest.raises(InvalidRequest, match="interval") as error:
        parse_duration(text, "interval")
    assert error.value.errors[0].field == "interval"
    assert "100ms" in error.value.errors[0].allowed


@given(st.integers(0, 2**62))
def test_a_formatted_duration_is_read_as_the_same(nanoseconds: int) -> None:
    text = format_duration(nanoseconds)
    if len(text) <= 14:  # at most twelve digits before the unit are taken
        assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("100000 USDT", Money(Decimal(100000), "USDT")),
        ("0.5 BTC", Money(Decimal("0.5"), "BTC")),
        ("-1 EUR", Money(Decimal(-1), "EUR")),
    ],
)
def test_money(text: str, money: Money) -> None:
    assert parse_money(text) == money
    assert parse_money(str(money)) == money


@pytest.mark.parametrize("text", ["100000", "USDT", "1e5 USDT", "1,000 USDT", "NaN USDT", "1 usdt", 5, None])
def test_wrong_money_is_named(text: object) -> None:
    with pytest.raises(InvalidRequest, match="balance"):
        parse_money(text, "balance")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "one", "", "1_0_x"])
def test_only_finite_decimals(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_decimal(text, "price")


@pytest.mark.parametrize(
    ("text", "end_of_day", "shown"),
    [
        ("2022-01-01", False, "2022-01-01T00:00:00.000000000Z"),
        ("2022-01-31", True, "2022-02-01T00:00:00.000000000Z"),  # the whole last day is included
        ("2022-01-01T12:00:00Z", True, "2022-01-01T12:00:00.000000000Z"),
        ("2022-01-01 12:00:00", False, "2022-01-01T12:00:00.000000000Z"),
        ("2022-01-01T12:00:00.123456789+02:00", False, "2022-01-01T10:00:00.123456789Z"),
        ("1970-01-01", False, "1970-01-01T00:00:00.000000000Z"),
    ],
)
def test_instants(text: str, end_of_day: bool, shown: str) -> None:
    assert format_instant(parse_instant(text, "start_date", end_of_day=end_of_day)) == shown


@pytest.mark.parametrize(
    "text", ["", "2022-13-01", "2022-02-30", "01/02/2022", "1969-12-31", "2200-01-01", "2022-01-01T25:00:00Z", "x" * 41]
)
def test_wrong_instants_are_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match="start_date"):
        parse_instant(text, "start_date")


@given(st.integers(0, 7_258_118_400 * 10**9 - 1))
def test_a_formatted_instant_is_read_as_the_same(ts: int) -> None:
    assert parse_instant(format_instant(ts), "t") == ts
