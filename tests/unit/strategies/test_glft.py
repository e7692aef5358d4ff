"""The closed form of Guéant, Lehalle and Fernandez-Tapia: by hand, by formula, and beside the exact solution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.strategies.contract import wake
from market_maker.strategies.glft import ask_distance, bid_distance, skew_per_lot, static_distance
from strategy_builders import flat_view, prepared, prices

GIVEN = {"volatility": 2.0, "intensity": 5.0, "intensity_decay": 0.5}


def distances(q, gamma, xi, delta, sigma, a, k):
    static, skew = static_distance(xi, delta, k), skew_per_lot(gamma, xi, delta, sigma, a, k)
    return bid_distance(q, delta, static, skew), ask_distance(q, delta, static, skew)


def test_model_b_by_hand():
    # 1/k = 2. Skew 2 sqrt(0.0736 e / (2 x 5 x 1 x 0.5)) = 2 sqrt(0.04001311) = 0.4000655 ticks per lot.
    # q = 3: bid 2 + 3.5 x 0.4000655 = 3.400229 below, ask 2 - 2.5 x 0.4000655 = 0.999836 above the mid.
    bid, ask = distances(3, 0.0736, 0.0, 1, 2.0, 5.0, 0.5)
    assert (bid, ask) == pytest.approx((3.400229, 0.999836), abs=1e-6)
    values = GIVEN | {"risk_aversion": 0.0736, "execution_risk_aversion": 0}
    requests = wake(prepared("glft", **values), flat_view(90, 110, position_lots=3))
    assert (prices(requests, 1), prices(requests, -1)) == ([96], [101])  # 96.5998 and 100.9998


def test_model_a_by_hand():
    # xi Delta = 0.5 x 2 = 1, k = 0.5: ln(3) / 1 = 1.098612. Power 3^1.5 = 5.196152.
    # Skew 2 sqrt(0.5 / (2 x 5 x 2 x 0.5) x 5.196152) = 2 sqrt(0.2598076) = 1.019427 per lot.
    # q = -2: bid 1.098612 + 0.5 (-4 + 2) x 1.019427 = 0.079185, ask 1.098612 + 0.5 (4 + 2) x 1.019427 = 4.156892.
    assert distances(-2, 0.5, 0.5, 2, 2.0, 5.0, 0.5) == pytest.approx((0.079185, 4.156892), abs=2e-6)
    values = GIVEN | {"risk_aversion": 0.5, "execution_risk_aversion": 0.5, "order_lots": 2}
    requests = wake(prepared("glft", **values), flat_view(90, 110, position_lots=-2))
    assert (prices(requests, 1), prices(requests, -1)) == ([99], [105])  # 99.9208 and 104.1569
    assert [request.qty_lots for request in requests] == [2, 2]


def test_quotes_are_equations_4_6_and_4_7(rng):
    for _ in range(500):
        q, delta = rng.integers(-50, 51), int(rng.integers(1, 20))
        gamma, xi = 10 ** rng.uniform(-6, 0), 10 ** rng.uniform(-3, 0)
        sigma, a, k = 10 ** rng.uniform(-1, 2), 10 ** rng.uniform(-1, 2), 10 ** rng.uniform(-2, 1)
        static = np.log(1 + xi * delta / k) / (xi * delta)
        root = np.sqrt(gamma * sigma**2 / (2 * a * delta * k) * (1 + xi * delta / k) ** (k / (xi * delta) + 1))
        expected = (static + (2 * q + delta) / 2 * root, static - (2 * q - delta) / 2 * root)
        assert distances(q, gamma, xi, delta, sigma, a, k) == pytest.approx(expected, abs=1e-9, rel=1e-11)


def test_model_b_is_the_limit_of_small_xi():
    for delta in (1, 7):
        limit = distances(4, 1e-3, 0.0, delta, 3.0, 2.0, 0.3)
        assert distances(4, 1e-3, 1e-10, delta, 3.0, 2.0, 0.3) == pytest.approx(limit, rel=1e-8)


def exact_distances(gamma, sigma, a, k, most):
    """Theorem of GLFT 2013, section 4: quotes by the eigenvector of the smallest eigenvalue of a tridiagonal matrix."""
    alpha = k / 2 * gamma * sigma**2
    eta = a * (1 + gamma / k) ** (-(1 + k / gamma))
    q = np.arange(-most, most + 1)
    matrix = np.diag(alpha * q**2.0) - eta * (np.eye(len(q), k=1) + np.eye(len(q), k=-1))
    f = np.abs(np.linalg.eigh(matrix)[1][:, 0])
    static = math.log(1 + gamma / k) / gamma
    return {int(q[i]): static + math.log(f[i] / f[i + 1]) / k for i in range(len(q) - 1)}


def test_the_closed_form_is_near_the_exact_solution():
    """With Delta = 1 and xi = gamma, as in 2013; the paper's own figures: sigma 0.3, A 0.9, k 0.3, gamma 0.01."""
    gamma, sigma, a, k = 0.01, 0.3, 0.9, 0.3
    exact = exact_distances(gamma, sigma, a, k, 40)
    for q in range(-5, 6):
        bid, ask = distances(q, gamma, gamma, 1, sigma, a, k)
        assert bid == pytest.approx(exact[q], rel=5e-3)
        assert ask == pytest.approx(exact[-q], rel=5e-3)  # the mirror of the bid


@pytest.mark.parametrize(
    "known", [{}, {"volatility": 2.0, "intensity": 5.0}, {"intensity": 5.0, "intensity_decay": 0.5}]
)
def test_nothing_is_quoted_before_the_market_is_known(known):
    assert wake(prepared("glft", **known), flat_view()) == []
