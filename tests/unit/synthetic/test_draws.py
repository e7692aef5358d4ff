"""Draws follow their laws, interpreted and compiled alike, and products of prices and changes are exact."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest
from scipy import stats

from kernel_forms import compiled
from market_maker.synthetic.draws import kernel


def many(function: object, count: int, seed: int) -> np.ndarray:
    @numba.njit
    def fill(found: np.ndarray) -> None:
        for i in range(len(found)):
            found[i] = function(seed, i)  # type: ignore[operator]

    found = np.zeros(count)
    fill(found)
    return found


def test_bits_are_the_same_in_both_forms() -> None:
    bits = compiled(kernel.bits_of)
    rng = np.random.default_rng(5)
    for seed, counter in rng.integers(0, 1 << 62, (200, 2)).tolist():
        assert bits(seed, counter) == kernel.bits_of(seed, counter)
        assert 0 <= kernel.bits_of(seed, counter) < 1 << 63


@pytest.mark.parametrize("seed", [0, 1, 1 << 61])
def test_uniform_and_normal_draws(seed: int) -> None:
    uniform = many(kernel.uniform, 200_000, seed)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(uniform[1:], uniform[:-1])[0, 1]) < 0.01
    normal = many(kernel.normal, 200_000, seed)
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal[1:], normal[:-1])[0, 1]) < 0.01


def test_streams_of_neighbouring_seeds_are_strangers() -> None:
    one, other = many(kernel.normal, 100_000, 7), many(kernel.normal, 100_000, 8)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.015


def test_a_changed_price_is_the_exact_product_rounded_down() -> None:
    changed = compiled(kernel.changed)
    rng = np.random.default_rng(9)
    prices = [1 << 20, 1 << 60, (1 << 60) - 1, *rng.integers(1 << 20, 1 << 60, 300).tolist()]
    for price in prices:
        for change in (kernel.ONE, -kernel.ONE, 1, -1, 0, int(rng.integers(-kernel.ONE, kernel.ONE))):
            exact = price + price * change // kernel.ONE
            assert changed(price, change) == exact
            assert kernel.changed.py_func(price, change) == exact


def test_quanta() -> None:
    of_e12 = compiled(kernel.quantum_of_e12)
    for change in (0, 1, -1, 10**9, -(10**9), 10**12, -(10**12), 333_333_333_333, 10**13):
        bounded = max(-(10**12), min(10**12, change))
        exact = Fraction(bounded * kernel.ONE, 10**12)
        assert of_e12(change) == exact.numerator // exact.denominator
    quantum = compiled(kernel.quantum)
    assert [quantum(x) for x in (0.0, 0.5, -0.25, 3.0, -7.0)] == [0, 1 << 39, -(1 << 38), kernel.ONE, -kernel.ONE]
