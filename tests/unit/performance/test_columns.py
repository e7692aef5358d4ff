"""Columns of a run: what is refused, and sums that no width of integer can spoil."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError
from market_maker.performance.columns import (
    Fills,
    Samples,
    distinct,
    packed,
    products,
    running_sum,
    scaled,
    sums_by_group,
    total,
)
from performance_builders import ledger_run, random_run


def as_mapping(columns: Samples | Fills) -> dict[str, np.ndarray]:
    return {name: getattr(columns, name) for name in type(columns)._needed()}


def test_columns_of_a_mapping(rng):
    samples, fills = random_run(rng, samples=50, fills=9)
    again = Samples.of(as_mapping(samples) | {"something else": np.zeros(3)})
    assert np.array_equal(again.ts, samples.ts)
    assert again.traded_lots is None
    narrow = Fills.of(as_mapping(fills) | {"side": fills.side.astype(np.int8)})
    assert narrow.side.dtype == np.int64
    assert narrow.count == 9


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ts", [3, 2, 1], "backwards after row 0"),
        ("position_lots", [1, 2], "shape"),
        ("position_lots", [1.0, 2.0, 3.0], "integers"),
        ("position_lots", [[1], [2], [3]], "integers"),
        ("position_lots", [[1], [2, 3]], "integers"),
    ],
)
def test_bad_samples(name, value, message):
    columns = as_mapping(ledger_run([(k, 0, 0, 0, 0, 10) for k in range(3)])[0])
    with pytest.raises(DataError, match=message):
        Samples.of(columns | {name: value})


def test_a_missing_column_is_named(rng):
    columns = as_mapping(random_run(rng, samples=5, fills=2)[0])
    del columns["cash_tick_lots"]
    with pytest.raises(DataError, match="cash_tick_lots is missing"):
        Samples.of(columns)


@pytest.mark.parametrize(("side", "qty"), [(0, 1), (2, 1), (1, 0), (-1, -3)])
def test_impossible_fills(side, qty):
    _, fills = ledger_run([(0, 1, 10, 1, 0, 20)])
    with pytest.raises(DataError, match="fill 0"):
        Fills.of(as_mapping(fills) | {"side": [side], "qty_lots": [qty]})


@pytest.mark.parametrize(("value", "count"), [(2**61, 3), (2**59, 40), (-(2**59), 40)])
def test_sums_leave_int64_when_they_must(value, count):
    values = np.full(count, value)
    assert total(values) == count * value
    assert sums_by_group(values, np.arange(count) // 2, count) == [
        value * min(2, max(count - 2 * group, 0)) for group in range(count)
    ]
    assert sums_by_group(values, np.zeros(count, dtype=np.int64), 1) == [count * value]
    assert running_sum(values)[-1] == count * value
    assert products(values, values)[0] == value * value
    assert scaled(values, 40)[2] == 40 * value
    assert packed([value * count, 1]).tolist() == [value * count, 1]


def test_sums_of_small_numbers_stay_int64():
    values = np.array([1, -2, 3])
    assert products(values, values).dtype == np.int64
    assert running_sum(values).dtype == np.int64
    assert total(values) == 2
    assert distinct(np.array([3, 1, 3, 2])) == 3
    assert distinct(np.array([], dtype=np.int64)) == 0
