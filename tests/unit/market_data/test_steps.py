"""From decimals to whole ticks and lots: exactly, or not at all."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from market_maker.market_data.schema import DECIMAL
from market_maker.market_data.steps import Exact, NotExact, Step, exact, in_steps
from market_maker.market_data.steps.kernel import common_divisor


def decimals(*texts):
    return pl.Series("price", [None if text is None else Decimal(text) for text in texts], DECIMAL)


@pytest.mark.parametrize(
    ("texts", "values", "digits"),
    [
        (["100", "200"], [100, 200], 0),
        (["0.5", "10.25"], [50, 1025], 2),
        (["0.00000001", "1"], [1, 100_000_000], 8),
        (["0", "0.0"], [0, 0], 0),
        (["-1.5", "2"], [-15, 20], 1),
        # 9.2e18 is still below 2**63.
        (["9.200000000000000001"], [9_200_000_000_000_000_001], 18),
    ],
)
def test_decimals_become_the_smallest_integers_that_hold_them(texts, values, digits):
    found = exact(decimals(*texts), None)
    assert (found.values.tolist(), found.digits) == (values, digits)


def test_decimals_keep_as_many_digits_as_are_known_to_be_needed():
    found = exact(decimals("1", "2"), None, digits_min=2)
    assert (found.values.tolist(), found.digits) == ([100, 200], 2)


@pytest.mark.parametrize(
    ("unit", "values", "digits"),
    [
        ("0.01", [1, 150], 2),
        ("0.25", [25, 3750], 2),
        ("1", [1, 150], 0),
        ("1e-9", [1, 150], 9),
        ("100", [100, 15_000], 0),
    ],
)
def test_integers_of_a_unit(unit, values, digits):
    found = exact(pl.Series([1, 150]), Decimal(unit))
    assert (found.values.tolist(), found.digits) == (values, digits)


@pytest.mark.parametrize(
    ("column", "unit", "at", "what"),
    [
        (decimals("1", None), None, 1, "missing"),
        (pl.Series([1, None, 2]), Decimal(1), 1, "missing"),
        (decimals("1", "10.000000000000000001"), None, 1, "too large"),
        (pl.Series([1, 2**62]), Decimal(25), 1, "too large"),
    ],
)
def test_what_cannot_be_exact_names_its_place(column, unit, at, what):
    with pytest.raises(NotExact, match=what) as caught:
        exact(column, unit)
    assert caught.value.at == at


def test_a_few_numbers_have_a_power_of_ten_as_step_and_many_their_common_divisor():
    step = Step()
    step.add(Exact(np.array([25, 50, 150]), 2))
    assert step.size() == Decimal("0.01"), "0.25, 0.50 and 1.50 are too few to say 0.25"
    step.add(Exact(25 * np.arange(1, 1000), 2))
    assert step.size() == Decimal("0.25")
    # A later number of more decimals: 0.125 makes the step 0.125.
    step.add(Exact(np.array([125]), 3))
    assert (step.size(), step.digits) == (Decimal("0.125"), 3)
    # Whole numbers after it change nothing.
    step.add(Exact(np.array([3]), 0))
    assert step.size() == Decimal("0.125")


@pytest.mark.parametrize(
    ("values", "digits", "size"),
    [([0, 0], 0, "1"), ([1000, 500], 0, "1"), ([1000, 500], 2, "1"), ([10, 500], 2, "0.1"), ([7], 3, "0.001")],
)
def test_step_of_few_numbers(values, digits, size):
    step = Step()
    step.add(Exact(np.array(values), digits))
    assert step.size() == Decimal(size)


@pytest.mark.parametrize(
    ("values", "digits", "size", "steps"),
    [
        ([100, 150], 2, "0.5", [2, 3]),
        ([1, 2], 0, "0.01", [100, 200]),
        ([1, 2], 0, "0.3", None),
        ([3, 6], 1, "0.3", [1, 2]),
        ([3, 6], 0, "0.3", [10, 20]),
        ([15, 30], 1, "0.75", [2, 4]),
        ([0], 5, "10", [0]),
        ([5], 0, "10", None),
    ],
)
def test_whole_steps(values, digits, size, steps):
    arguments = (np.array(values), digits, Decimal(size), 10**12, "tick size")
    if steps is None:
        with pytest.raises(NotExact, match=f"is not a multiple of the tick size {size}"):
            in_steps(*arguments)
    else:
        assert in_steps(*arguments).tolist() == steps


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([10, -5], "-0.5 is negative"),
        ([10, 15], "1.5 is not a multiple"),
        ([10, 10_010], "1001.0 is more than 1000 times"),
    ],
)
def test_the_first_bad_number_is_named(values, what):
    with pytest.raises(NotExact, match=what) as caught:
        in_steps(np.array(values), 1, Decimal(1), 1000, "tick size")
    assert caught.value.at == 1


@pytest.mark.parametrize("form", [common_divisor, common_divisor.py_func], ids=["compiled", "interpreted"])
@pytest.mark.parametrize(
    ("values", "start", "divisor"),
    [([12, 18], 0, 6), ([12, 18], 4, 2), ([0, 0], 0, 0), ([0, 5], 0, 5), ([-4, 6], 0, 2), ([7, 9], 0, 1)],
)
def test_common_divisor(form, values, start, divisor):
    assert form(np.array(values), start) == divisor
