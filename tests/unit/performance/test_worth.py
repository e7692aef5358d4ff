"""What quantities are worth: columns against fractions, at any size; and the price at which a position has a worth."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from market_maker.performance.worth import LINEAR, Worth
from performance_builders import COIN, PAIR, slow_worth

# A tick of 0.3 makes a unit of cash that is no finite decimal; one of 1e-6 units beyond int64.
COINS = (COIN, replace(COIN, tick_size=Decimal("0.3")), replace(COIN, tick_size=Decimal("0.000001")))


@pytest.mark.parametrize("pair", [PAIR, *COINS], ids=["linear", "inverse", "unit without end", "beyond int64"])
def test_positions_are_worth_what_fractions_say(rng: np.random.Generator, pair) -> None:
    positions = rng.integers(-10_000, 10_000, 500)
    half_ticks = rng.integers(1, 400_000, 500)
    worth = Worth.of(pair)
    found = worth.positions(positions, half_ticks)
    assert found.tolist() == [
        slow_worth(pair, q, h) for q, h in zip(positions.tolist(), half_ticks.tolist(), strict=True)
    ]
    assert worth.position(int(positions[0]), int(half_ticks[0])) == found[0]
    # Where there is no price yet, nothing is worth anything.
    assert worth.position(5, 0) == 0


@pytest.mark.parametrize("pair", [PAIR, *COINS])
def test_fills_bring_what_the_ledger_books(rng: np.random.Generator, pair) -> None:
    side, price, lots = rng.choice([-1, 1], 300), rng.integers(1, 300_000, 300), rng.integers(1, 5000, 300)
    received = Worth.of(pair).received(side, price, lots)
    rows = zip(side.tolist(), price.tolist(), lots.tolist(), strict=True)
    assert received.tolist() == [-2 * s * pair.cost(p, q) for s, p, q in rows]
    assert Worth.of(pair).traded(price, lots).tolist() == [
        2 * abs(pair.cost(p, q)) for p, q in zip(price.tolist(), lots.tolist(), strict=True)
    ]


@pytest.mark.parametrize("pair", [PAIR, *COINS])
def test_a_round_trip_earns_the_difference_of_the_inverse_prices(pair) -> None:
    """n contracts of m from p0 to p1: n x m x (1/p0 - 1/p1); of a linear one n x m x (p1 - p0)."""
    lots, ticks = 30, (90_000, 120_000)
    received = Worth.of(pair).received(np.array([1, -1]), np.array(ticks), np.array([lots, lots]))
    many = Fraction(lots) * Fraction(pair.lot_size) * Fraction(pair.contract_multiplier)
    p0, p1 = (Fraction(each) * Fraction(pair.tick_size) for each in ticks)
    expected = many * (1 / p0 - 1 / p1) if pair.inverse_scale else many * (p1 - p0)
    unit = Fraction(pair.tick_lot)
    assert abs(int(received.sum()) * unit / 2 - expected) <= (unit if pair.inverse_scale else 0)
    assert expected > 0


@pytest.mark.parametrize("pair", [PAIR, *COINS])
def test_the_price_of_a_worth_gives_that_worth(rng: np.random.Generator, pair) -> None:
    worth = Worth.of(pair)
    for position, half_ticks in zip(rng.choice([-700, -1, 1, 3, 900], 200), rng.integers(1, 400_000, 200), strict=True):
        value = worth.position(int(position), int(half_ticks))
        for near in (1, int(half_ticks) + 40, 10**9):
            found = worth.mid_of(int(position), value, near=near)
            assert worth.position(int(position), found) == value
        assert worth.mid_of(int(position), value, near=int(half_ticks)) == half_ticks
    assert worth.mid_of(3, 0, near=17) == 0


def test_small_numbers_stay_int64_and_large_ones_are_exact() -> None:
    assert LINEAR.positions(np.array([3]), np.array([5])).dtype == np.int64
    assert Worth.of(COIN).positions(np.array([3]), np.array([5])).dtype == np.int64
    beyond = Worth.of(COIN).positions(np.array([2**40]), np.array([3]))
    assert beyond.tolist() == [slow_worth(COIN, 2**40, 3)]
    assert abs(beyond[0]) > 2**63
    assert Worth.of(COINS[2]).positions(np.array([0]), np.array([3])).tolist() == [0]
