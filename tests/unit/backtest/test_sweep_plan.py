"""What a grid means: exact steps, whole numbers as integers, the same for the API and for the command."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from market_maker.backtest.sweep_plan import SETS_MAX, check_values, count_of, grid_of
from market_maker.cli_sweep import parse_grid
from market_maker.domain.errors import InvalidRequest
from market_maker.strategies.contract import find_strategy


@pytest.mark.parametrize(
    ("given", "word", "values"),
    [
        ([1, Decimal("2.0"), 3.5], "a=1,2.0,3.5", [1, 2, 3.5]),
        ({"from": 1, "to": 3}, "a=1:3", [1, 2, 3]),
        # 0.1 + 0.1 + 0.1 is 0.3, also when the steps came as floats.
        ({"from": 0.1, "to": 0.3, "step": 0.1}, "a=0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ({"from": Decimal(-2), "to": 2, "step": Decimal(2)}, "a=-2:2:2", [-2, 0, 2]),
        ({"from": 1, "to": 10, "step": 4}, "a=1:10:4", [1, 5, 9]),
        ({"from": 5, "to": 5}, "a=5:5", [5]),
    ],
)
def test_a_grid_of_a_request_is_the_one_of_the_command(given: Any, word: str, values: list[float]) -> None:
    found = grid_of({"a": given})
    assert found == {"a": values} == parse_grid([word])
    assert [type(value) for value in found["a"]] == [type(value) for value in values]


def test_names_keep_their_order_and_sets_are_counted() -> None:
    found = grid_of({"b": [1, 2], "a": {"from": 1, "to": 50_000}})
    assert list(found) == ["b", "a"]
    assert count_of(found, "grid") == SETS_MAX
    with pytest.raises(InvalidRequest, match="grid: 150,000 sets is not allowed"):
        grid_of({"b": [1, 2, 3], "a": {"from": 1, "to": 50_000}})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "one value or more"),
        ([1, 1], "each value once"),
        ([Decimal("NaN")], "a finite number"),
        ([Decimal("sNaN")], "a finite number"),
        ([float("inf")], "a finite number"),
        ([Decimal("1e999999999")], "a finite number"),
        ([Decimal("1e-999999999")], "a finite number"),
        ({"from": 1, "to": 2, "step": 0}, "a STEP above 0"),
        ({"from": 2, "to": 1}, "FIRST not above LAST"),
        ({"from": 0, "to": 1, "step": Decimal("1e-12")}, "100,000 values at most"),
        ({"from": Decimal("-Infinity"), "to": 1}, "a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_its_parameter(given: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"grid\.a: .*" + text) as caught:
        grid_of({"a": given})
    assert caught.value.errors[0].field == "grid.a"


def test_values_are_held_against_the_schema_of_the_strategy() -> None:
    check_values(find_strategy("inventory_skew"), {"order_lots": [1, 2]})
    with pytest.raises(InvalidRequest, match=r"grid\.order_lots: 1\.5 is not allowed; allowed: a whole number"):
        check_values(find_strategy("inventory_skew"), {"order_lots": [1, 1.5]})
    with pytest.raises(InvalidRequest, match=r"strategy_id: hedged_quotes .* a strategy of one instrument"):
        check_values(find_strategy("hedged_quotes"), {"order_lots": [1]})
