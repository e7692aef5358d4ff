"""The closed forms of Avellaneda and Stoikov: by hand, against formulas written here, and against their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.strategies.avellaneda_stoikov import optimal_spread, reservation_price, time_left_s
from market_maker.strategies.avellaneda_stoikov_infinite import optimal_distance, reservation_ask, reservation_bid
from market_maker.strategies.contract import wake
from strategy_builders import flat_view, prepared, prices

PAPER = {"risk_aversion": 0.1, "volatility": 2.0, "intensity_decay": 1.5, "horizon_ns": 10**9}
"""The figures of the paper's section 3.3: gamma 0.1, sigma 2, k 1.5, T 1, around a mid of 100."""


def test_the_papers_example_by_hand():
    # 0.1 x 2^2 x 1 + 2/0.1 x ln(1 + 0.1/1.5) = 0.4 + 20 x 0.0645385 = 1.690770; half of it: 0.845385.
    assert optimal_spread(0.1, 2.0, 1.5, 1.0) == pytest.approx(1.690770, abs=5e-7)
    # Two orders held: 100 - 2 x 0.1 x 4 x 1 = 99.2.
    assert reservation_price(100.0, 2, 0.1, 2.0, 1.0) == pytest.approx(99.2, abs=1e-12)
    flat = wake(prepared("avellaneda_stoikov", **PAPER), flat_view(99, 101))
    assert (prices(flat, 1), prices(flat, -1)) == ([99], [101])  # 99.15 and 100.85
    # In lots of 2 four lots are two orders: 99.2 +- 0.845 = 98.35 and 100.05.
    held = wake(prepared("avellaneda_stoikov", order_lots=2, **PAPER), flat_view(99, 101, position_lots=4))
    assert (prices(held, 1), prices(held, -1)) == ([98], [101])
    # Four short in single lots: 100 + 4 x 0.4 = 101.6, bid 100.75, ask 102.45.
    short = wake(prepared("avellaneda_stoikov", **PAPER), flat_view(99, 101, position_lots=-4))
    assert (prices(short, 1), prices(short, -1)) == ([100], [103])


def test_time_left_counts_down_and_begins_anew():
    day = 86_400 * 10**9
    midnight = 19_943 * day
    assert time_left_s(midnight, day, 0) == 86_400.0
    assert time_left_s(midnight + day // 4, day, 0) == 64_800.0
    assert time_left_s(midnight + day - 1, day, 0) == pytest.approx(1e-9)
    # Sessions that begin at 20:00: four hours later 20 are left.
    assert time_left_s(midnight, day, 20 * 3600 * 10**9) == 20 * 3600.0


def test_inventory_moves_quotes_less_near_the_end():
    strategy = prepared("avellaneda_stoikov", **PAPER)
    early = wake(strategy, flat_view(90, 110, position_lots=9))
    late = wake(strategy, flat_view(90, 110, position_lots=9, now_ts=10**18 + 9 * 10**8))
    # 100 - 9 x 0.4 = 96.4 and 100 - 9 x 0.04 = 99.64; half-spreads 0.845385 and 0.5 (0.04 + 1.290770) = 0.665385.
    assert (prices(early, 1), prices(early, -1)) == ([95], [98])
    assert (prices(late, 1), prices(late, -1)) == ([98], [101])


def test_finite_quotes_are_the_closed_form(rng):
    for _ in range(500):
        s, q = rng.uniform(50, 1e6), rng.integers(-50, 51)
        gamma, sigma = 10 ** rng.uniform(-7, 0), 10 ** rng.uniform(-2, 2)
        k, left = 10 ** rng.uniform(-3, 2), 10 ** rng.uniform(-3, 4)
        r = s - q * gamma * np.power(sigma, 2) * left
        spread = gamma * np.power(sigma, 2) * left + np.log((gamma + k) / k) * 2 / gamma
        assert reservation_price(s, q, gamma, sigma, left) == pytest.approx(r, abs=1e-9, rel=1e-12)
        # Where gamma/k is tiny ln(1 + x) of the plain formula loses digits: 2/gamma times 1e-16.
        assert optimal_spread(gamma, sigma, k, left) == pytest.approx(spread, abs=1e-9 + 4e-16 / gamma, rel=1e-12)


def value(x, s, q, gamma, sigma, omega):
    """Equation of section 2.3: the value of holding x in cash and q of the asset for ever, log of minus it."""
    return -gamma * (x + q * s) - math.log(omega - 0.5 * gamma**2 * q**2 * sigma**2)


def test_reservation_prices_leave_the_value_unchanged(rng):
    """What the prices are by definition: v(x - bid, q + 1) = v(x, q) = v(x + ask, q - 1)."""
    for _ in range(200):
        q_max = int(rng.integers(1, 30))
        q = int(rng.integers(-q_max + 1, q_max))
        s, gamma, sigma = rng.uniform(-5, 5), 10 ** rng.uniform(-2, 0), 10 ** rng.uniform(-1, 1)
        omega = 0.5 * gamma**2 * sigma**2 * (q_max + 1) ** 2
        bid, ask = reservation_bid(s, q, q_max, gamma), reservation_ask(s, q, q_max, gamma)
        here = value(0.0, s, q, gamma, sigma, omega)
        assert value(-bid, s, q + 1, gamma, sigma, omega) == pytest.approx(here, abs=1e-9)
        assert value(ask, s, q - 1, gamma, sigma, omega) == pytest.approx(here, abs=1e-9)


def test_infinite_prices_are_the_closed_form(rng):
    for _ in range(500):
        q_max = float(rng.integers(1, 40))
        q = rng.uniform(-q_max, q_max)
        s, gamma, sigma, k = (
            rng.uniform(50, 1e5),
            10 ** rng.uniform(-4, 0),
            rng.uniform(0.1, 50),
            10 ** rng.uniform(-2, 1),
        )
        omega = 0.5 * (gamma * sigma * (q_max + 1)) ** 2
        change = (gamma * sigma) ** 2 / (2 * omega - (gamma * sigma * q) ** 2)
        assert reservation_bid(s, q, q_max, gamma) == pytest.approx(
            s + np.log(1 + (-1 - 2 * q) * change) / gamma, abs=1e-9
        )
        assert reservation_ask(s, q, q_max, gamma) == pytest.approx(
            s - np.log(1 - (1 - 2 * q) * change) / gamma, abs=1e-9
        )
        assert optimal_distance(gamma, k) == pytest.approx(np.log(1 + gamma / k) / gamma, abs=1e-9)


def test_infinite_horizon_by_hand():
    # q_max 2, flat: D = 9. Bid s + 10 ln(1 - 1/9) = s - 1.177830; beyond it 10 ln(1 + 0.1/1.5) = 0.645385: 98.1768.
    values = {"risk_aversion": 0.1, "intensity_decay": 1.5, "max_inventory_lots": 2}
    flat = wake(prepared("avellaneda_stoikov_infinite", **values), flat_view(99, 101))
    assert (prices(flat, 1), prices(flat, -1)) == ([98], [102])
    # One held: D = 8. Bid 100 + 10 ln(5/8) - 0.645 = 94.655; ask 100 - 10 ln(1 + 1/8) + 0.645 = 99.4676.
    held = wake(prepared("avellaneda_stoikov_infinite", **values), flat_view(90, 110, position_lots=1))
    assert (prices(held, 1), prices(held, -1)) == ([94], [100])


def test_at_the_bound_no_price_is_low_enough_to_buy():
    assert reservation_bid(100.0, 5.0, 5.0, 0.1) == -math.inf
    assert reservation_ask(100.0, -5.0, 5.0, 0.1) == math.inf
    # D = 36 - 25 = 11: ask 100 - 10 ln(1 + 9/11) = 94.0216.
    assert reservation_ask(100.0, 5.0, 5.0, 0.1) == pytest.approx(94.02163, abs=1e-5)
    values = {"risk_aversion": 0.1, "intensity_decay": 1.5, "max_inventory_lots": 5}
    full = wake(prepared("avellaneda_stoikov_infinite", **values), flat_view(90, 110, position_lots=5))
    assert (prices(full, 1), prices(full, -1)) == ([], [95])  # 94.02 + 0.65


@pytest.mark.parametrize("kind", ["avellaneda_stoikov", "avellaneda_stoikov_infinite"])
def test_nothing_is_quoted_before_the_market_is_known(kind):
    assert wake(prepared(kind), flat_view()) == []


def test_zero_volatility_leaves_the_spread_of_the_intensity():
    values = PAPER | {"volatility": 0.0, "window_samples": 100}
    strategy, memory = prepared("avellaneda_stoikov", **values), np.zeros(prepared("avellaneda_stoikov").memory_size)
    for i in range(60):
        requests = wake(strategy, flat_view(90, 110, now_ts=10**18 + i * 10**8, position_lots=5), memory)
    # sigma is estimated as 0: no inventory term, 0.645385 on either side of 100.
    assert (prices(requests, 1), prices(requests, -1)) == ([99], [101])
