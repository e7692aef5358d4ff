"""Fees, values and funding to the last unit: by hand, and against Decimal twins that know nothing of int64."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from kernel_forms import compiled, interpreted
from market_maker.backtest.fee_models import Contract, Tier, flat, kernel, per_quantity, per_value, tiered
from market_maker.backtest.fee_models.funding import funding_of
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import ContractType, Instrument, fee_tick_lots
from market_maker.domain.order import Liquidity
from market_maker.market_data.schema import TICKER_SCHEMA

plain = interpreted(kernel)
MAKER, TAKER = int(Liquidity.MAKER), int(Liquidity.TAKER)
DAY = 86_400 * 10**9
T0 = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp()) * 10**9
D = Decimal


def an_instrument(tick="0.1", lot="0.001", kind=ContractType.LINEAR):
    return Instrument(UUID(int=1), "test", "A-B", "A", "B", D(tick), D(lot), kind)


LINEAR = Contract.of(an_instrument())
SPOT = Contract.of(an_instrument(kind=ContractType.SPOT))
# A contract of 1 USD on a coin: 100 USD a lot, tick 0.5.
INVERSE = Contract.of(an_instrument("0.5", "100", ContractType.INVERSE))


@njit
def fee(head, tiers, volumes, ts, liquidity, value, lots, is_first):
    return kernel.fill_fee(head[0], tiers, volumes, ts, liquidity, value, lots, is_first)


def charge(state, liquidity, value, lots=1, *, is_first=True, ts=T0):
    return int(fee(state.head, state.tiers, state.volumes, ts, liquidity, value, lots, is_first))


def half_away(value):
    with localcontext() as context:
        context.prec = 120
        return int(D(value).to_integral_value(rounding=ROUND_HALF_UP))


def exact(*factors, divisor=1):
    with localcontext() as context:
        context.prec = 120
        product = D(1)
        for factor in factors:
            product *= D(factor)
        return half_away(product / D(divisor))


# --- arithmetic -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(1, 2**62 - 1))
def test_a_product_is_divided_without_overflow(amount, factor, divisor):
    expected = (2 * amount * factor + divisor) // (2 * divisor)
    if expected < 2**62:
        assert compiled_scaled(amount, factor, divisor) == plain.scaled(amount, factor, divisor) == expected


compiled_scaled, rate_fee = compiled(kernel.scaled), compiled(kernel.rate_fee)
value_of, cash_change, payment = map(compiled, (kernel.value_of, kernel.cash_change, kernel.funding_payment))


@given(st.integers(0, 2**61), st.integers(-(10**8), 10**8))
def test_fee_on_a_value_equals_the_domains_and_the_decimal_one(value, rate):
    found = rate_fee(value, rate)
    assert found == plain.rate_fee(value, rate) == fee_tick_lots(value, rate) == exact(value, rate, divisor=10**8)


@given(st.integers(0, 10**9), st.integers(-(2**40), 2**40))
def test_large_rates_do_not_overflow(amount, rate):
    assert rate_fee(amount, rate) == plain.rate_fee(amount, rate) == exact(amount, rate, divisor=10**8)


@pytest.mark.parametrize(
    ("value", "rate", "expected"),
    [(1, 50_000_000, 1), (1, -50_000_000, -1), (1, 49_999_999, 0), (3, 50_000_000, 2), (0, 10**8, 0), (10**8, 1, 1)],
)
def test_halves_go_away_from_zero(value, rate, expected):
    assert rate_fee(value, rate) == expected


def test_halves_of_a_quotient_go_up():
    assert [compiled_scaled(n, 1, 2) for n in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert [compiled_scaled(1, n, 4) for n in (1, 2, 3, 6)] == [0, 1, 1, 2]
    assert payment(-1, 50_000_000) == -payment(1, 50_000_000) == -1


# --- contracts --------------------------------------------------------------------------------------------------------


def test_linear_and_spot_are_worth_price_times_quantity():
    for contract in (LINEAR, SPOT):
        assert (contract.inverse_scale, contract.cash_unit) == (0, D("0.0001"))
        assert contract.value(600_000, 5) == value_of(0, 600_000, 5) == 3_000_000


def test_an_inverse_contract_is_worth_quantity_over_price():
    # 3 lots of 100 USD at 50,000: 300 / 50,000 = 0.006 coins.
    value = value_of(INVERSE.inverse_scale, 100_000, 3)
    assert value == INVERSE.value(100_000, 3)
    assert value * INVERSE.cash_unit == pytest.approx(D("0.006"), abs=D("1e-10"))
    assert D("1e-10") / 2 <= INVERSE.cash_unit <= D("1e-10")


@given(st.integers(1, 2**40), st.integers(1, 2**20))
def test_inverse_values_round_to_the_nearest_unit(price, lots):
    expected = exact(lots, INVERSE.inverse_scale, divisor=price)
    assert value_of(INVERSE.inverse_scale, price, lots) == INVERSE.value(price, lots) == expected
    assert plain.value_of(INVERSE.inverse_scale, price, lots) == expected


@pytest.mark.parametrize("side", [1, -1])
def test_a_round_trip_earns_what_the_contract_says(side):
    # 10 lots from 50,000 to 60,000: linear 10 x 20,000 ticks; inverse 1,000 / 50,000 - 1,000 / 60,000 = 1/300 coin.
    linear = sum(cash_change(0, s, value_of(0, p, 10)) for s, p in ((side, 100_000), (-side, 120_000)))
    assert linear == side * 10 * 20_000
    scale = INVERSE.inverse_scale
    inverse = sum(cash_change(scale, s, value_of(scale, p, 10)) for s, p in ((side, 100_000), (-side, 120_000)))
    assert inverse * INVERSE.cash_unit == pytest.approx(side * D(1) / D(300), abs=D("2e-10"))


# --- schedules --------------------------------------------------------------------------------------------------------


def test_per_value():
    # 5 lots at 600,000 ticks: 3,000,000 tick-lots; -0.01 % and 0.05 %.
    state = per_value(LINEAR, D("-0.0001"), D("0.0005"))
    assert (charge(state, MAKER, 3_000_000), charge(state, TAKER, 3_000_000)) == (-300, 1500)


def test_per_quantity():
    # 0.85 USD per contract and side, a rebate of 0.2; ES: tick 0.25 x 50, so a tick-lot is 12.5 USD ... of lots of 1.
    pair = an_instrument("12.5", "1")
    state = per_quantity(Contract.of(pair), D(1), D("-0.2"), D("0.85"))
    # 100 contracts: 85 USD are 6.8 tick-lots, -20 USD are -1.6.
    assert (charge(state, TAKER, 0, 100), charge(state, MAKER, 0, 100)) == (7, -2)


def test_flat():
    state = flat(LINEAR, D("0.01"), D("1.00005"))
    assert (charge(state, MAKER, 5), charge(state, TAKER, 5, is_first=False)) == (100, 10_001)
    state = flat(LINEAR, D("0.01"), D(1), per_order=True)
    assert [charge(state, TAKER, 5, is_first=first) for first in (True, False)] == [10_000, 0]


TIERS = (
    Tier(D(0), D("0.001"), D("0.002")),
    Tier(D(100), D("0.0005"), D("0.001")),
    Tier(D(1000), D("-0.0001"), D("0.0005")),
)
UNIT = 10_000  # cash units in one of quote currency


def test_tiers_within_a_day_change_with_the_next_fill():
    state = tiered(LINEAR, TIERS, at_midnight=False, start_ts=T0)
    fees = [charge(state, TAKER, value * UNIT, ts=T0 + i) for i, value in enumerate((99, 1, 900, 50))]
    # 99 at 0.2 %; 1 at 0.2 %, which reaches 100; 900 at 0.1 %, which reaches 1,000; 50 at 0.05 %.
    assert fees == [1980, 20, 9000, 250]
    assert charge(state, MAKER, 10 * UNIT, ts=T0 + 9) == -10


def test_tiers_at_midnight_wait_for_the_next_day():
    state = tiered(LINEAR, TIERS, start_ts=T0 + 5)
    assert charge(state, TAKER, 5000 * UNIT, ts=T0 + 6) == 100_000
    assert charge(state, TAKER, UNIT, ts=T0 + DAY - 1) == 20
    assert charge(state, TAKER, UNIT, ts=T0 + DAY) == 5


def test_a_day_leaves_the_window():
    state = tiered(LINEAR, TIERS, window_days=3, start_ts=T0)
    charge(state, TAKER, 2000 * UNIT, ts=T0)
    # Days 0, 1, 2 are a window of three; on day 3 the first is gone and 101 are left.
    assert charge(state, TAKER, 100 * UNIT, ts=T0 + DAY) == 500
    assert charge(state, TAKER, 1 * UNIT, ts=T0 + 2 * DAY) == 5
    assert charge(state, TAKER, 1 * UNIT, ts=T0 + 3 * DAY) == 10
    # A long pause forgets everything.
    assert charge(state, TAKER, 1 * UNIT, ts=T0 + 1000 * DAY) == 20
    assert int(state.head[0]["volume"]) == UNIT == int(state.volumes.sum())


def test_volume_before_the_run_counts():
    state = tiered(LINEAR, TIERS, volume_before=D(1500), start_ts=T0)
    assert charge(state, TAKER, UNIT, ts=T0) == 5
    assert charge(state, TAKER, UNIT, ts=T0 + 28 * DAY) == 5
    assert charge(state, TAKER, UNIT, ts=T0 + 30 * DAY) == 20


@given(
    st.lists(st.tuples(st.integers(0, 3 * DAY), st.booleans(), st.integers(0, 500 * UNIT)), max_size=40),
    st.integers(1, 5),
    st.booleans(),
)
def test_tiers_equal_their_twin(fills, window, at_midnight):
    state, other = (tiered(LINEAR, TIERS, window_days=window, at_midnight=at_midnight, start_ts=T0) for _ in range(2))
    done, ts = [], T0
    for gap, is_maker, value in fills:
        ts += gap
        liquidity = MAKER if is_maker else TAKER
        day = ts // DAY
        counted = sum(v for d, v in done if day - window < d and (not at_midnight or d < day))
        tier = [t for t in TIERS if t.least_volume * UNIT <= counted][-1]
        expected = exact(value, tier.maker if is_maker else tier.taker)
        assert charge(state, liquidity, value, ts=ts) == expected
        assert plain.fill_fee(other.head[0], other.tiers, other.volumes, ts, liquidity, value, 1, True) == expected
        done.append((day, value))


@pytest.mark.parametrize(
    "make",
    [
        lambda: per_value(LINEAR, D("NaN"), D(0)),
        lambda: per_value(LINEAR, D(0), D(20_000)),
        lambda: flat(LINEAR, D("1e30"), D(0)),
        lambda: tiered(LINEAR, ()),
        lambda: tiered(LINEAR, TIERS[1:]),
        lambda: tiered(LINEAR, (TIERS[0], TIERS[2], TIERS[1])),
        lambda: tiered(LINEAR, TIERS, window_days=0),
        lambda: tiered(LINEAR, TIERS, volume_before=D(-1)),
        lambda: Contract.of(an_instrument("1e-10", "1", ContractType.INVERSE)),
    ],
    ids=["nan", "rate", "flat", "no tier", "no first tier", "falling", "window", "negative volume", "unit"],
)
def test_impossible_schedules_are_refused(make):
    with pytest.raises(InvalidRequest):
        make()


# --- funding ----------------------------------------------------------------------------------------------------------


def a_ticker(*rows):
    """Rows of (time, mark, rate, instant)."""
    return pl.DataFrame(
        [
            {
                "exch_ts": ts, "local_ts": ts + 5, "mark_price": None if mark is None else D(mark),
                "funding_rate": None if rate is None else D(rate), "funding_ts": instant,
            }
            for ts, mark, rate, instant in rows
        ],
        schema={name: TICKER_SCHEMA[name] for name in ("exch_ts", "local_ts", "mark_price", "funding_rate", "funding_ts")},
    )  # fmt: skip


F1, F2 = T0 + 8 * 3600 * 10**9, T0 + 16 * 3600 * 10**9


def test_funding_takes_the_last_rate_and_mark_known_at_the_instant():
    ticker = a_ticker(
        (T0, "60000", "0.0003", F1),
        (F1 - 10, "60100.05", None, None),
        (F1 - 5, None, "0.0001", F1),
        (F1 + 1, "70000", "0.0009", F1),  # late: announced after the instant
        (F1 + 2, "61000", "-0.0002", F2),
        (F2, "62000", "-0.00025", F2),
        (F2 + 1, "1", None, None),
    )
    found = funding_of(ticker, an_instrument(), LINEAR, T0, T0 + DAY)
    assert found.ts.tolist() == [F1, F2]
    # A lot long is worth 601,000.5 ticks at F1: x 0.0001 = 60.10005 tick-lots; at F2 620,000 x -0.00025 = -155.
    assert found.per_lot_e8.tolist() == [6_010_005_000, -15_500_000_000]
    assert funding_of(ticker, an_instrument(), LINEAR, F1 + 1, F2).ts.tolist() == []
    assert payment(10, 6_010_005_000) == 601
    assert payment(-10, 6_010_005_000) == -601
    assert payment(10, -15_500_000_000) == -1550


def test_funding_of_an_inverse_contract_is_paid_in_coins():
    ticker = a_ticker((T0, "50000", "0.0001", F1), (F1, None, None, None))
    contract = INVERSE
    found = funding_of(ticker, an_instrument("0.5", "100", ContractType.INVERSE), contract, T0, T0 + DAY)
    # 1,000 lots of 100 USD are 2 coins: 0.0002 coins.
    assert payment(1000, int(found.per_lot_e8[0])) * contract.cash_unit == pytest.approx(D("0.0002"), abs=D("1e-10"))


def test_instants_without_a_mark_or_after_the_last_row_are_left_out():
    ticker = a_ticker((T0, None, "0.0001", F1), (F1 + 1, "5", "0.1", F2))
    found = funding_of(ticker, an_instrument(), LINEAR, T0, T0 + DAY)
    assert (found.ts.tolist(), found.without_mark) == ([], 1)
    assert len(funding_of(a_ticker(), an_instrument(), LINEAR, T0, T0 + DAY).ts) == 0


def test_absurd_marks_are_named():
    with pytest.raises(DataError, match="mark price 0"):
        funding_of(a_ticker((T0, "0", "0.1", F1), (F1, None, None, None)), an_instrument(), LINEAR, T0, T0 + DAY)
    with pytest.raises(DataError, match="out of range"):
        funding_of(a_ticker((T0, "1e12", "1000000", F1), (F1, None, None, None)), an_instrument(), LINEAR, T0, T0 + DAY)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**50), 2**50))
def test_payments_are_exact_and_antisymmetric(position, per_lot):
    expected = exact(position, per_lot, divisor=10**8)
    if abs(expected) < 2**62:
        assert payment(position, per_lot) == plain.funding_payment(position, per_lot) == expected
        assert payment(-position, per_lot) == -expected


# A unit of cash of a future of 50 USD a point: 0.25 points x 1 contract x 50.
FUTURE = Contract.of(
    Instrument(UUID(int=1), "test", "A-B", "A", "B", D("0.25"), D(1), contract_multiplier=D(50))
)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "of_each"),
    [
        (lambda: per_quantity(FUTURE, D(1), D("-0.25"), D("1.25")), (D("-0.25"), D("1.25"))),
        (lambda: flat(FUTURE, D("-0.25"), D("1.25")), (D("-0.25"), D("1.25"))),
        # 4,800 points x 50 = 240,000 USD at 0.1 and -0.02 of a hundred thousandth
        (lambda: per_value(FUTURE, D("-0.0000002"), D("0.000001")), (D("-0.048"), D("0.24"))),
        (lambda: tiered(FUTURE, (Tier(D(0), D("-0.0000002"), D("0.000001")),)), (D("-0.048"), D("0.24"))),
    ],
    ids=["per quantity", "flat", "per value", "tiered"],
)
def test_fees_below_a_unit_of_cash_add_up(make, of_each, rng):
    """A fee of 1.25 USD a contract was rounded to none, as a unit of cash is 12.5 USD."""
    compiled_state, plain_state, exact_sum, total = make(), make(), D(0), 0
    for is_taker in rng.integers(0, 2, 500).tolist():
        liquidity = Liquidity.TAKER if is_taker else Liquidity.MAKER
        found = charge(compiled_state, liquidity, 19_200)
        args = (plain_state.head[0], plain_state.tiers, plain_state.volumes, T0, liquidity, 19_200, 1, True)
        assert plain.fill_fee(*args) == found
        total += found
        exact_sum += of_each[is_taker]
        assert abs(total * FUTURE.cash_unit - exact_sum) <= FUTURE.cash_unit / 2


def test_large_fees_of_a_future_are_what_they_are():
    state = flat(FUTURE, D(0), D(12_500))  # 1,000 units: beyond what carries
    assert charge(state, Liquidity.TAKER, 1) == 1000
    state = per_value(FUTURE, D(0), D("0.1"))
    assert charge(state, Liquidity.TAKER, 2**60) == rate_fee(2**60, 10_000_000)
