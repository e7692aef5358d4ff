"""What fills do to a position, exactly."""

from __future__ import annotations

from dataclasses import astuple
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.instrument import ContractType
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState, describe_position
from venue_builders import ACCOUNT, PAIR, SESSION, an_instrument

BUY, SELL = Side.BUY, Side.SELL


def a_position() -> PositionState:
    return PositionState(SESSION, PAIR, ACCOUNT, None)


@pytest.mark.parametrize(
    ("fills", "qty", "cost", "realised", "cash"),
    [
        ([(BUY, 100, 2)], 2, 200, 0, -200),
        ([(BUY, 100, 2), (BUY, 110, 2)], 4, 420, 0, -420),
        ([(BUY, 100, 2), (SELL, 110, 1)], 1, 100, 10, -90),  # half of the cost leaves: 110 - 100
        ([(BUY, 100, 2), (SELL, 110, 2)], 0, 0, 20, 20),
        ([(BUY, 100, 2), (SELL, 110, 3)], -1, -110, 20, 130),  # through zero: two closed, one opened at 110
        ([(SELL, 100, 3), (BUY, 90, 5)], 2, 180, 30, -150),
        ([(SELL, 100, 3), (BUY, 120, 3)], 0, 0, -60, -60),
        ([(BUY, 10, 1), (BUY, 11, 2), (SELL, 10, 1)], 2, 21, -1, -22),  # 32 / 3 = 10.67 leaves as 11
    ],
)
def test_average_cost(fills: list[tuple[Side, int, int]], qty: int, cost: int, realised: int, cash: int) -> None:
    position = a_position()
    for side, price, lots in fills:
        position.apply_fill(side, price, lots, 0)
    assert (position.qty_lots, position.cost_tick_lots, position.realised_tick_lots, position.cash_tick_lots) == (
        qty, cost, realised, cash,
    )  # fmt: skip


FILLS = st.lists(
    st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 10**7), st.integers(1, 10**6), st.integers(-1000, 1000)),
    max_size=60,
)


@given(FILLS)
def test_cash_and_cost_are_the_result_whatever_happens(fills: list[tuple[Side, int, int, int]]) -> None:
    position = a_position()
    for side, price, lots, fee in fills:
        position.apply_fill(side, price, lots, fee)
        assert position.cash_tick_lots + position.cost_tick_lots == position.realised_tick_lots
        assert position.qty_lots * position.cost_tick_lots >= 0
        if position.qty_lots == 0:
            assert position.cost_tick_lots == 0
        prices = [each[1] for each in fills]
        if position.qty_lots:
            average = Decimal(position.cost_tick_lots) / position.qty_lots
            assert min(prices) - 1 <= average <= max(prices) + 1
    assert position.qty_lots == sum(side * lots for side, _, lots, _ in fills)
    assert position.cash_tick_lots == -sum(side * price * lots for side, price, lots, _ in fills)
    assert position.fees_tick_lots == sum(fee for *_, fee in fills)
    assert position.volume_tick_lots == sum(price * lots for _, price, lots, _ in fills)


@given(FILLS, st.integers(1, 10**7))
def test_total_result_at_a_mark_is_cash_and_value(fills: list[tuple[Side, int, int, int]], mark: int) -> None:
    position = a_position()
    for side, price, lots, fee in fills:
        position.apply_fill(side, price, lots, fee)
    total = position.realised_tick_lots + position.unrealised_tick_lots(mark)
    assert total == position.cash_tick_lots + mark * position.qty_lots


def test_the_mirror_of_every_fill_is_the_mirrored_position() -> None:
    ours, theirs = a_position(), a_position()
    for side, price, lots in [(BUY, 10, 3), (SELL, 12, 5), (BUY, 9, 7)]:
        ours.apply_fill(side, price, lots, 0)
        theirs.apply_fill(Side(-side), price, lots, 0)
    assert theirs.qty_lots == -ours.qty_lots
    assert theirs.cash_tick_lots == -ours.cash_tick_lots


def test_users_see_quote_currency() -> None:
    position = a_position()
    position.apply_fill(BUY, 10_000, 2, 7)
    shown = describe_position(position, an_instrument(), 10_100)
    assert (shown.quantity, shown.average_price) == (Decimal("0.002"), Decimal("100.00"))
    assert shown.unrealised_pnl == Decimal("0.002")  # 100 ticks x 2 lots x 0.01 x 0.001
    assert shown.fees == Decimal("0.00007")
    flat = describe_position(a_position(), an_instrument(), None)
    assert (flat.average_price, flat.unrealised_pnl) == (None, None)
    assert astuple(flat)[4] == 0


# 1 contract is 1 USD of a coin: lots of 100, ticks of 0.5, as BitMEX's XBTUSD. One tick is worth 200 coins a lot.
PERPETUAL = an_instrument(
    base="BTC", quote="USD", tick_size=Decimal("0.5"), lot_size=Decimal(100), contract_type=ContractType.INVERSE
)


def test_an_inverse_contract_earns_in_its_base_currency() -> None:
    """Positions of runs were kept as price x quantity: a gain of 0.018 BTC was told as one of 50 million."""
    position = a_position()
    position.apply_fill(BUY, 100_000, 100, 12, PERPETUAL)  # 10,000 USD at 50,000
    shown = describe_position(position, PERPETUAL, 110_000)  # marked at 55,000
    assert (shown.quantity, shown.average_price, shown.currency) == (10_000, Decimal("50000.0"), "BTC")
    gain = Decimal(10_000) / 50_000 - Decimal(10_000) / 55_000
    assert shown.unrealised_pnl == pytest.approx(gain, abs=Decimal("2e-10"))
    assert shown.fees == 12 * PERPETUAL.tick_lot == Decimal("12e-10")
    position.apply_fill(SELL, 110_000, 40, 0, PERPETUAL)
    shown = describe_position(position, PERPETUAL, 110_000)
    assert shown.realised_pnl == pytest.approx(gain * 4 / 10, abs=Decimal("2e-10"))
    assert shown.average_price == pytest.approx(Decimal(50_000), abs=Decimal("0.001"))
    position.apply_fill(SELL, 110_000, 160, 0, PERPETUAL)  # through zero: short 10,000 USD at 55,000
    shown = describe_position(position, PERPETUAL, 100_000)
    assert shown.realised_pnl == pytest.approx(gain, abs=Decimal("2e-10"))
    assert (shown.quantity, shown.average_price) == (-10_000, pytest.approx(Decimal(55_000), abs=Decimal("0.001")))
    assert shown.unrealised_pnl == pytest.approx(
        gain, abs=Decimal("2e-10")
    )  # bought back at 50,000 it gains as much again


@given(FILLS, st.integers(1, 10**7))
def test_cash_and_cost_of_an_inverse_contract(fills: list[tuple[Side, int, int, int]], mark: int) -> None:
    position = a_position()
    for side, price, lots, fee in fills:
        position.apply_fill(side, price, lots, fee, PERPETUAL)
        assert position.cash_tick_lots + position.cost_tick_lots == position.realised_tick_lots
        assert position.qty_lots * position.cost_tick_lots <= 0
    total = position.realised_tick_lots + position.unrealised_tick_lots(mark, PERPETUAL)
    worth = PERPETUAL.cost(mark, abs(position.qty_lots)) * (1 if position.qty_lots > 0 else -1)
    assert total == position.cash_tick_lots + worth


def test_a_multiplier_makes_money_of_points() -> None:
    future = an_instrument(tick_size=Decimal("0.25"), lot_size=Decimal(1), contract_multiplier=Decimal(50))
    position = a_position()
    position.apply_fill(BUY, 20_000, 2, 3, future)  # 2 contracts at 5,000 points
    shown = describe_position(position, future, 20_008)
    assert (shown.average_price, shown.quantity) == (5_000, 2)
    assert shown.unrealised_pnl == 200  # 2 points x 2 contracts x 50 USD
    assert shown.fees == Decimal("37.5")
