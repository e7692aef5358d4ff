"""What can be written as JSON, and how."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.json_values import json_value
from market_maker.performance.quality import Status


@dataclass(frozen=True, slots=True)
class Row:
    start_ts: int
    ts: tuple[int, ...]
    count: int
    money: Decimal
    status: Status
    share: float | None


def test_a_dataclass():
    row = Row(2**60, (1, 2), 3, Decimal("1E+3"), Status.WARN, None)
    assert json_value(row) == {
        "start_ts": str(2**60), "ts": ["1", "2"], "count": 3, "money": "1000", "status": "WARN", "share": None,
    }  # fmt: skip
    assert json_value({1: True, "ts": None}) == {"1": True, "ts": None}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), object(), b"x"])
def test_what_has_no_json_form(value):
    with pytest.raises(DataError, match="share"):
        json_value({"share": value})
