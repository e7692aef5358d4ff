"""What is held and what may come to be held, by hand."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from skfolio.measures._measures import effective_number_assets

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.order import Side
from market_maker.risk.holding import RestingOrder, concentration, hedged_share, inventory_risk, margin, worst_case

D = Decimal
SECOND = 1_000_000_000


def test_inventory_at_its_holding_time():
    found = inventory_risk(-50_000.0, 0.0001, 0.99, interval_ns=SECOND, holding_ns=90 * SECOND)
    law = stats.norm(0.0, 50_000 * 0.0001 * math.sqrt(90))
    assert found.value_at_risk == pytest.approx(law.ppf(0.99), rel=1e-9)
    assert found.expected_shortfall == pytest.approx(
        law.expect(lambda x: x, lb=law.ppf(0.99), conditional=True), rel=1e-9
    )
    assert found.basis.horizon_ns == 90 * SECOND
    for wrong in ({"volatility": -1.0}, {"holding_ns": 0}, {"interval_ns": 0}, {"value": math.nan}):
        given = {"value": 1.0, "volatility": 0.1, "interval_ns": 1, "holding_ns": 1} | wrong
        with pytest.raises(InvalidRequest):
            inventory_risk(
                given["value"],
                given["volatility"],
                0.9,
                interval_ns=given["interval_ns"],
                holding_ns=given["holding_ns"],
            )


def test_worst_case_of_resting_orders():
    orders = [
        RestingOrder(Side.BUY, D("99"), D("2")),
        RestingOrder(Side.BUY, D("98.5"), D("1")),
        RestingOrder(Side.SELL, D("101"), D("10")),
    ]
    found = worst_case(D("3"), D("100"), orders)
    assert (found.longest, found.shortest, found.largest) == (6, -7, -7)
    assert found.notional == 700
    assert found.buy_cost == D("296.5")
    assert found.sell_proceeds == 1010
    assert found.loss_after_buys == D("-3.5")  # bought 1 below the mark, and 1.5 below
    assert found.loss_after_sells == -10


def test_worst_case_without_orders_is_the_position():
    found = worst_case(D("-2"), D("10"), [])
    assert (found.longest, found.shortest, found.largest, found.notional) == (-2, -2, -2, 20)


def test_worst_case_is_the_worst_of_all_subsets(rng):
    """Every subset of eight orders may fill; none makes a larger position."""
    for _ in range(20):
        position = int(rng.integers(-20, 21))
        sides = [Side.BUY if rng.random() < 0.5 else Side.SELL for _ in range(8)]
        sizes = rng.integers(0, 10, 8).tolist()
        orders = [RestingOrder(side, D(100), D(size)) for side, size in zip(sides, sizes, strict=True)]
        reached = [
            position
            + sum(
                sides[i].value * sizes[i] if isinstance(sides[i].value, int) else 0 for i in range(8) if mask >> i & 1
            )
            for mask in range(256)
        ]
        found = worst_case(D(position), D(100), orders)
        assert (found.longest, found.shortest) == (max(reached), min(reached))
        assert abs(found.largest) == max(map(abs, reached))


@pytest.mark.parametrize(
    "order",
    [RestingOrder(Side.BUY, D(0), D(1)), RestingOrder(Side.BUY, D(1), D(-1)), RestingOrder(Side.BUY, D("NaN"), D(1))],
)
def test_worst_case_refuses(order):
    with pytest.raises(InvalidRequest, match=r"orders\[0\]"):
        worst_case(D(1), D(1), [order])
    with pytest.raises(InvalidRequest, match="mark"):
        worst_case(D(1), D(0), [])


def test_concentration(rng):
    found = concentration([3.0, -1.0])
    assert found.herfindahl.value == pytest.approx(10 / 16)
    assert found.effective_number.value == pytest.approx(1.6)
    assert (found.largest_share.value, found.largest) == (0.75, 0)
    equal = concentration([-7.0] * 8)
    assert equal.effective_number.value == pytest.approx(8.0)
    weights = rng.random(30)
    assert concentration(weights * 1e-200).effective_number.value == pytest.approx(
        effective_number_assets(weights / weights.sum()), rel=1e-12
    )


def test_concentration_of_nothing_is_undefined():
    found = concentration([0.0, 0.0])
    assert found.herfindahl.value is None
    assert "all 2 amounts are 0" in str(found.herfindahl.reason)
    with pytest.raises(DataError, match="0 observations are too few"):
        concentration([])


def test_hedged_share():
    assert hedged_share([1.0, 2.0]) == 0.0
    assert hedged_share([1.0, -1.0]) == 1.0
    assert hedged_share([3.0, -1.0]) == 0.5
    with pytest.raises(DataError, match="all 2 amounts are 0"):
        hedged_share([0.0, 0.0])


@pytest.mark.parametrize(
    ("position", "price"), [("2", "94.73684210526315789473684211"), ("-2", "104.7619047619047619047619048")]
)
def test_margin_by_hand(position, price):
    """20 of equity, 2 at 100, 5 %: maintenance 10, spare 10; a long one loses 2 x 0.95 per unit, a short one 2 x 1.05."""
    found = margin(D(20), D(position), D(100), maintenance_rate=D("0.05"), tick_size=D("0.1"), volatility=0.02)
    assert (found.maintenance, found.ratio) == (10, 2.0)
    assert found.liquidation_price == pytest.approx(D(price), rel=D("1e-26"))
    if position == "2":
        assert found.distance_ticks == 52  # 10 / 1.9 = 5.263
        assert found.distance_sigmas == pytest.approx(0.05263157894736842 / 0.02)
    else:
        assert found.distance == pytest.approx(D(10) / D("2.1"))
        assert found.distance_ticks == 47  # 4.76


def test_at_the_liquidation_price_equity_is_maintenance(rng):
    for _ in range(200):
        position = Fraction(int(rng.integers(1, 100))) * (1 if rng.random() < 0.5 else -1)
        mark, equity = int(rng.integers(1, 1000)), int(rng.integers(1, 100_000))
        rate = D(int(rng.integers(0, 50))) / 100
        found = margin(D(equity), D(int(position)), D(mark), maintenance_rate=rate, tick_size=D("0.01"))
        price = found.liquidation_price
        if price is None:
            # long, and worth more than 0 even at a price of 0
            assert position > 0
            assert equity - position * mark >= 0
        elif found.distance:
            left = Fraction(equity) + position * (Fraction(price) - mark)
            assert float(left) == pytest.approx(float(Fraction(rate) * abs(position) * Fraction(price)), abs=1e-9)
            ticks = found.distance_ticks
            for moved, alive in ((ticks, True), (ticks + 1, False)):
                at = mark - Fraction(moved, 100) * (1 if position > 0 else -1)
                spare = Fraction(equity) + position * (at - mark) - Fraction(rate) * abs(position) * at
                assert (spare >= 0) == alive
        else:
            assert equity <= float(rate) * abs(position) * mark


def test_margin_edges():
    flat = margin(D(20), D(0), D(100), maintenance_rate=D("0.05"), tick_size=D(1))
    assert (flat.ratio, flat.liquidation_price, flat.distance_ticks) == (None, None, None)
    gone = margin(D(1), D(2), D(100), maintenance_rate=D("0.05"), tick_size=D(1), volatility=0.1)
    assert (gone.distance, gone.distance_ticks, gone.distance_sigmas) == (0, 0, 0.0)
    for wrong in (
        {"mark": D(0)},
        {"maintenance_rate": D(1)},
        {"tick_size": D(0)},
        {"equity": D("Infinity")},
        {"volatility": 0.0},
    ):
        given = {"equity": D(1), "mark": D(1), "maintenance_rate": D(0), "tick_size": D(1), "volatility": None} | wrong
        with pytest.raises(InvalidRequest):
            margin(
                given["equity"], D(1), given["mark"], maintenance_rate=given["maintenance_rate"],
                tick_size=given["tick_size"], volatility=given["volatility"],
            )  # fmt: skip


def test_amounts_are_not_changed():
    given = np.array([1.0, -2.0])
    concentration(given)
    assert given.tolist() == [1.0, -2.0]
