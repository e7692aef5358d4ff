"""The ledger's arithmetic against exact fractions, where numbers are small and where their products need more than 64 bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from math import floor

import numpy as np
import pytest

from kernel_forms import compiled, interpreted
from market_maker.backtest.ledger import kernel
from market_maker.backtest.state import HEAD_DTYPE

SEED = int(os.environ.get("MM_TEST_SEED", "20261127"))
SIZES = (1, 10, kernel.SMALL - 1, kernel.SMALL, kernel.SMALL + 1, 2**40, 2**60)


@pytest.fixture(scope="module", params=["compiled", "interpreted"])
def share(request: pytest.FixtureRequest) -> Callable[..., int]:
    return compiled(kernel.share_half_up) if request.param == "compiled" else interpreted(kernel).share_half_up


@pytest.fixture(scope="module")
def affords() -> Callable[..., bool]:
    return compiled(kernel.can_afford)


@pytest.mark.parametrize("whole", SIZES)
def test_a_share_is_rounded_half_up(share: Callable[..., int], whole: int) -> None:
    rng = np.random.default_rng(SEED)
    parts = {0, whole, whole // 2, *rng.integers(0, whole, 20, endpoint=True).tolist()}
    amounts = [0, 1, -1, whole, -whole, whole + 1, *rng.integers(-(2**61), 2**61, 20).tolist()]
    for part in parts:
        for amount in amounts:
            expected = floor(Fraction(amount) * part / whole + Fraction(1, 2))
            assert int(share(np.int64(amount), np.int64(part), np.int64(whole))) == expected, (amount, part, whole)


@pytest.mark.parametrize("price", [1, kernel.SMALL - 1, kernel.SMALL, 2**35, 2**40])
@pytest.mark.parametrize("lots", [1, kernel.SMALL - 1, kernel.SMALL, 2**35, 2**40])
@pytest.mark.parametrize("leverage", [1, 3])
def test_an_order_is_paid_if_its_value_is(affords: Callable[..., bool], price: int, lots: int, leverage: int) -> None:
    value = price * lots
    head = np.zeros(1, HEAD_DTYPE)
    head["leverage"] = leverage
    for funds in (2**59, 2**61):
        head["balance_tick_lots"] = funds
        # Beyond 2**60 nothing is paid, whatever there is: sums of two such values need more than 64 bits.
        expected = value <= kernel.VALUE_MAX and -(-value // leverage) <= funds
        assert bool(affords(head[0], 0, 1, price, lots)) == expected
