"""The exact way between Decimal and integers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import MAX_LOTS, MAX_TICKS, ContractType, check_terms, fee_tick_lots
from venue_builders import an_instrument


@given(st.integers(1, MAX_TICKS), st.integers(1, MAX_LOTS), st.integers(0, 12), st.integers(1, 9))
def test_there_and_back_is_exact(ticks: int, lots: int, decimals: int, step: int) -> None:
    size = Decimal(step).scaleb(-decimals)
    instrument = an_instrument(tick_size=size, lot_size=size)
    assert instrument.price_to_ticks(instrument.ticks_to_price(ticks)) == ticks
    assert instrument.qty_to_lots(instrument.lots_to_qty(lots)) == lots
    assert instrument.signed_lots(-instrument.lots_to_qty(lots)) == -lots
    assert instrument.cash_to_decimal(ticks * lots) == size * size * ticks * lots


@pytest.mark.parametrize("price", ["0", "-1", "0.005", "50000.001", "NaN", "Infinity", "1e40", "1E-30"])
def test_prices_off_the_tick_are_refused_not_rounded(price: str) -> None:
    with pytest.raises(InvalidRequest, match="price") as error:
        an_instrument().price_to_ticks(Decimal(price))
    assert "tick size 0.01" in error.value.errors[0].allowed


@pytest.mark.parametrize("amount", ["0", "-0.001", "0.0005", "NaN"])
def test_amounts_off_the_lot_are_refused(amount: str) -> None:
    with pytest.raises(InvalidRequest, match="amount"):
        an_instrument().qty_to_lots(Decimal(amount))


@pytest.mark.parametrize(
    ("value", "rate_e8", "fee"),
    [
        (1_000_000, 50_000, 500),  # 0.05 %: 1e6 x 5e-4
        (1_000_000, -10_000, -100),  # a rebate of 0.01 %
        (1_000, 50_000, 1),  # 0.5 is rounded away from zero
        (999, 50_000, 0),  # 0.4995 is not
        (1_000, -50_000, -1),
        (0, 50_000, 0),
    ],
)
def test_fees(value: int, rate_e8: int, fee: int) -> None:
    assert fee_tick_lots(value, rate_e8) == fee


def test_fee_rates_are_exact_integers() -> None:
    instrument = an_instrument(maker_fee=Decimal("-0.00000001"), taker_fee=Decimal("0.1"))
    assert (instrument.maker_fee_e8, instrument.taker_fee_e8) == (-1, 10_000_000)


def test_a_multiplier_is_part_of_the_unit_of_cash() -> None:
    future = an_instrument(tick_size=Decimal("0.25"), lot_size=Decimal(1), contract_multiplier=Decimal(50))
    assert future.cash_to_decimal(20_000 * 2) == 500_000  # 2 contracts at 5,000 points of 50 USD
    assert future.cash_text(1) == "12.50"
    # 3 contracts of 100 USD at 50,000.0: 0.006 coins
    coin = an_instrument(
        tick_size=Decimal("0.1"),
        lot_size=Decimal(1),
        contract_type=ContractType.INVERSE,
        contract_multiplier=Decimal(100),
    )
    assert -coin.cash_to_decimal(coin.cost(500_000, 3)) == Decimal("0.006")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"contract_multiplier": Decimal(0)}, "contract_multiplier"),
        ({"contract_multiplier": Decimal("NaN")}, "contract_multiplier"),
        ({"contract_multiplier": Decimal("1e10")}, "contract_multiplier"),
        ({"maker_fee": Decimal("0.2")}, "maker_fee"),
        ({"taker_fee": Decimal("1e-9")}, "taker_fee"),
        ({"quote": "BTC"}, "quote"),
        ({"contract_type": ContractType.INVERSE, "tick_size": Decimal("1e-12")}, "lot_size"),
    ],
)
def test_terms_that_cannot_be_are_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_terms(an_instrument(**changes))
    assert refused.value.errors[0].field == field
