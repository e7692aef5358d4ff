"""What the command says of a search."""

from __future__ import annotations

import pytest

from market_maker.cli_optimise import _money


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0.0004378129", "0.000438"), ("-0.05", "-0.0500"), ("0", "0.00"), ("12345.678", "12,345.68"), ("0.1", "0.10")],
)
def test_money_of_coins_has_digits(amount: str, shown: str) -> None:
    """What a search on an inverse contract gave was told as 0.00."""
    assert _money(amount) == shown
