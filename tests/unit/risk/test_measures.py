"""Risk figures against arithmetic done by hand, and against input that must be refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.modes import RiskModel
from market_maker.domain.position import PositionState
from market_maker.risk.assessment import assess_holdings, assess_position
from market_maker.risk.history import on_one_grid, price_history
from market_maker.risk.measures import (
    Convention,
    RiskMetrics,
    Scope,
    expected_shortfall,
    minimum_observations,
    tail_figures,
    value_at_risk,
)
from market_maker.risk.models import Model
from market_maker.risk.positions import Holding
from market_maker.risk.sections import Funds, with_sections

LOWER, UPPER, INTERPOLATED = Convention.LOWER_QUANTILE, Convention.UPPER_ORDER_STATISTIC, Convention.INTERPOLATED
TEN = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("losses", "confidence", "convention", "quantile", "shortfall"),
    [
        # k = 10 x 0.2 = 2, whole. Rank 3 is 8; rank 2 is 9; rank 1 + 9 x 0.2 = 2.8: 9 - 0.8. ES = (10 + 9) / 2
        (TEN, 0.8, LOWER, 8, 9.5),
        (TEN, 0.8, UPPER, 9, 9.5),
        (TEN, 0.8, INTERPOLATED, 8.2, 9.5),
        # k = 10 x 0.25 = 2.5. Rank 3 in both; rank 1 + 9 x 0.25 = 3.25: 8 - 0.25. ES = (10 + 9 + 0.5 x 8) / 2.5
        (TEN, 0.75, LOWER, 8, 9.2),
        (TEN, 0.75, UPPER, 8, 9.2),
        (TEN, 0.75, INTERPOLATED, 7.75, 9.2),
        # k = 10 x 0.5 = 5. Rank 6 is 5; rank 5 is 6; rank 5.5: 5.5. ES = (10 + 9 + 8 + 7 + 6) / 5
        (TEN, 0.5, LOWER, 5, 8),
        (TEN, 0.5, UPPER, 6, 8),
        (TEN, 0.5, INTERPOLATED, 5.5, 8),
        # k = 10 x 0.1 = 1: one loss in the tail
        (TEN, 0.9, LOWER, 9, 10),
        (TEN, 0.9, UPPER, 10, 10),
        (TEN, 0.9, INTERPOLATED, 9.1, 10),
        # gains everywhere: -1 is the largest loss
        ([-value for value in TEN], 0.8, LOWER, -3, -1.5),
        ([3.5], 1e-12, LOWER, 3.5, 3.5),
        ([7] * 30, 0.95, INTERPOLATED, 7, 7),
        ([0.1] * 30, 0.95, LOWER, 0.1, 0.1),  # k = 1.5: (0.1 + 0.05) / 1.5 is not 0.1 in binary
    ],
)
def test_by_hand(
    losses: list[float], confidence: float, convention: Convention, quantile: float, shortfall: float
) -> None:
    figures = tail_figures(losses, confidence, convention)
    assert figures.value_at_risk == pytest.approx(quantile, abs=1e-12)
    assert figures.expected_shortfall == pytest.approx(shortfall, abs=1e-12)
    assert figures.expected_shortfall >= figures.value_at_risk
    assert value_at_risk(losses, confidence, convention) == figures.value_at_risk
    assert expected_shortfall(losses, confidence) == pytest.approx(shortfall, abs=1e-12)


def test_rounding_cannot_put_shortfall_below_the_quantile() -> None:
    """k = 2 x 0.998 = 1.996: (0.7 + 0.996 x 0.7) / 1.996 is 0.6999999999999998 in binary, below the quantile of 0.7."""
    assert tail_figures([0.7, 0.7], 0.002).expected_shortfall == 0.7


@pytest.mark.parametrize("confidence", [0.95, Decimal("0.95"), 0.9500000000000001])
def test_the_tail_of_a_thousand_holds_fifty(confidence: float | Decimal) -> None:
    """1000 x (1 - 0.95) is 50.000000000000044 in binary; rounded up it took the 51st loss, 2 % off."""
    losses = np.arange(1, 1001)
    assert value_at_risk(losses, confidence, UPPER) == 951  # the 50th from above
    assert value_at_risk(losses, confidence, LOWER) == 950  # the 51st: 950 of 1,000 are at or below it
    assert expected_shortfall(losses, confidence) == 975.5  # mean of 951 ... 1000


@pytest.mark.parametrize("confidence", [0, 1, -0.1, 1.1, float("nan"), float("inf"), Decimal("NaN"), Decimal(1)])
def test_confidence_lies_between_0_and_1(confidence: float | Decimal) -> None:
    with pytest.raises(InvalidRequest, match="confidence_level") as caught:
        tail_figures(TEN, confidence)
    assert caught.value.errors[0].field == "confidence_level"


@pytest.mark.parametrize("confidence", [True, "0.95", None])
def test_confidence_is_a_number(confidence: object) -> None:
    with pytest.raises(InvalidRequest, match="confidence_level"):
        tail_figures(TEN, confidence)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([], "at least one number"),
        (5.0, "at least one number"),
        ([[1.0, 2.0], [3.0, 4.0]], r"shape \(2, 2\)"),
        ([1.0, float("nan"), 3.0], "nan at index 1"),
        ([1.0, 2.0, float("inf")], "inf at index 2"),
        ([float("-inf"), 2.0], "-inf at index 0"),
        ([1e308] * 30, r"1e\+308 at index 0"),
        (["a"], "type"),
        ([1 + 2j], "type complex"),
        ([True], "type bool"),
        ([None, 1.0], "type object"),
        ([[1.0], [1.0, 2.0]], "not one row"),
    ],
)
def test_what_is_no_loss_is_refused(losses: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        tail_figures(losses, 0.5)  # type: ignore[arg-type]


def test_too_few_losses_says_how_many() -> None:
    with pytest.raises(DataError, match=r"19 losses are too few for a confidence of 0\.95: at least 20 are needed"):
        tail_figures(range(19), 0.95)
    assert tail_figures(range(20), 0.95).expected_shortfall == 19  # the tail is the worst alone
    with pytest.raises(DataError, match="1 losses are too few"):
        tail_figures([1.0], 0.95)
    with pytest.raises(DataError, match="at least 1000000000 are needed"):
        tail_figures(TEN, 1 - 1e-16)


@pytest.mark.parametrize(
    ("confidence", "least"),
    [(0.5, 20), (0.9, 20), (0.95, 20), (0.96, 25), (0.975, 40), (0.99, 100), (0.999, 1000), (Decimal("0.97"), 34)],
)
def test_minimum_observations(confidence: float, least: int) -> None:
    assert minimum_observations(confidence) == least


def test_ten_million_losses() -> None:
    losses = np.arange(10_000_000, dtype=np.int64)[::-1]
    figures = tail_figures(losses, 0.9999)  # k = 1,000: rank 1,001 is 9,998,999; mean of 9,999,000 ... 9,999,999
    assert figures.value_at_risk == 9_998_999
    assert figures.expected_shortfall == 9_999_499.5


def test_the_input_is_not_changed(rng: np.random.Generator) -> None:
    losses = rng.normal(size=100)
    before = losses.copy()
    tail_figures(losses, 0.9)
    assert (losses == before).all()


# --- a position -------------------------------------------------------------------------------------------------------


def an_instrument(contract_type: ContractType = ContractType.LINEAR) -> Instrument:
    return Instrument(
        pair_id=UUID(int=1), venue="simulator", symbol="BTC-USDT", base="BTC", quote="USDT",
        tick_size=Decimal("0.1"), lot_size=Decimal("0.001"), contract_type=contract_type,
    )  # fmt: skip


def a_position(qty_lots: int) -> PositionState:
    return PositionState(UUID(int=2), UUID(int=1), UUID(int=3), None, qty_lots=qty_lots)


def steps(moves: list[int]) -> list[int]:
    return list(np.cumsum([1_000_000, *moves]))


def test_a_long_position_by_hand() -> None:
    """20 returns: 19 of 0 and one of -1 %, the last but one close being 1,000,000 half ticks = 50,000.0."""
    history = price_history(
        np.arange(21) * SECOND, [1_000_000] * 20 + [990_000], interval_ns=SECOND, window_end_ts=42 * SECOND
    )
    metrics = assess_position(
        a_position(2_000), an_instrument(), history, confidence_level=0.95, horizon_ns=4 * SECOND, as_of_ts=99
    )
    assert metrics.quantity == Decimal("2.000")
    assert metrics.mark_price == Decimal("49500.0")
    assert metrics.position_value == 99_000
    # k = 20 x 0.05 = 1: VaR is the second worst, 0; ES the worst: 99,000 x 1 % x sqrt(4 s / 1 s)
    assert metrics.value_at_risk == 0
    assert metrics.expected_shortfall == 1_980
    assert (metrics.scaling, metrics.sampling_interval_ns, metrics.observations) == (2.0, SECOND, 20)
    assert (metrics.method, metrics.convention) == ("HISTORICAL", LOWER)
    assert metrics.coverage == 0.5
    # 2 BTC x (50,000 - 49,500)
    assert metrics.drawdown == 1_000
    assert metrics.drawdown_trough_ts == 21 * SECOND
    assert metrics.drawdown_recovery_ts is None
    assert metrics.as_of_ts == 99
    assert metrics.value(RiskModel.VAR) == metrics.value_at_risk
    assert metrics.value(RiskModel.EXPECTED_SHORTFALL) == metrics.expected_shortfall


def test_a_short_position_loses_when_prices_rise() -> None:
    history = price_history(np.arange(21) * SECOND, [1_000_000] * 20 + [1_010_000], interval_ns=SECOND)
    given = {"confidence_level": 0.95, "horizon_ns": SECOND, "as_of_ts": 0}
    short = assess_position(a_position(-1_000), an_instrument(), history, **given)  # type: ignore[arg-type]
    assert short.position_value == -50_500
    assert short.expected_shortfall == 505
    assert short.drawdown == 500
    long = assess_position(a_position(1_000), an_instrument(), history, **given)  # type: ignore[arg-type]
    assert long.expected_shortfall == 0
    assert long.drawdown == 0
    assert not long.expected_shortfall.is_signed()


def test_a_flat_position_has_no_risk_but_needs_a_history() -> None:
    history = price_history(np.arange(30) * SECOND, steps([7, -3] * 14 + [5]), interval_ns=SECOND)
    metrics = assess_position(
        a_position(0), an_instrument(), history, confidence_level=0.95, horizon_ns=SECOND, as_of_ts=0
    )
    assert metrics.value_at_risk == metrics.expected_shortfall == metrics.drawdown == metrics.position_value == 0
    short_history = price_history(np.arange(5) * SECOND, [10] * 5, interval_ns=SECOND)
    with pytest.raises(DataError, match="4 returns are too few: at least 20 are needed"):
        assess_position(
            a_position(0), an_instrument(), short_history, confidence_level=0.95, horizon_ns=SECOND, as_of_ts=0
        )


def test_a_mark_of_the_caller_and_rounding() -> None:
    history = price_history(np.arange(21) * SECOND, [3] * 20 + [2], interval_ns=SECOND)
    metrics = assess_position(
        a_position(1), an_instrument(), history,
        confidence_level=0.95, horizon_ns=SECOND, as_of_ts=0, mark_half_ticks=1,
    )  # fmt: skip
    assert metrics.mark_price == Decimal("0.05")
    assert metrics.position_value == Decimal("0.00005")
    assert metrics.expected_shortfall == Decimal("0.00001667")  # 0.00005 / 3 = 0.0000166...


def test_a_position_beyond_int64_is_refused() -> None:
    history = price_history(np.arange(30) * SECOND, [2**40] * 30, interval_ns=SECOND)
    with pytest.raises(DataError, match="worth more"):
        assess_position(
            a_position(2**30), an_instrument(), history, confidence_level=0.95, horizon_ns=SECOND, as_of_ts=0
        )


def test_json_holds_everything_as_text() -> None:
    history = price_history(np.arange(21) * SECOND, [1_000_000] * 20 + [990_000], interval_ns=SECOND)
    metrics = assess_position(
        a_position(2_000), an_instrument(), history, confidence_level=0.95, horizon_ns=86_400 * SECOND, as_of_ts=7
    )
    shown = metrics.to_json()
    assert set(shown) - {"time_horizon", "sampling_interval"} == set(metrics.__slots__) - {
        "time_horizon_ns", "sampling_interval_ns", "sections",
    }  # fmt: skip
    assert shown["time_horizon"] == "1d"
    assert shown["sampling_interval"] == "1s"
    assert shown["expected_shortfall"] == f"{990 * 86_400**0.5:.8f}"
    assert shown["as_of_ts"] == "7"
    assert shown["data_hash"] == history.data_hash


def test_prices_that_stand_still_are_no_history() -> None:
    still = price_history(np.arange(40) * SECOND, [10] * 40, interval_ns=SECOND)
    with pytest.raises(DataError, match="at least two values that differ are needed"):
        assess_position(a_position(1), an_instrument(), still, confidence_level=0.95, horizon_ns=SECOND, as_of_ts=0)


def test_methods_in_time_order_use_the_newest_unbroken_stretch() -> None:
    rng = np.random.default_rng(5)
    closes = np.cumsum(rng.integers(-50, 51, 200)) + 1_000_000
    ts = np.concatenate([np.arange(80), np.arange(81, 201)]) * SECOND  # a hole after 80 closes
    history = price_history(ts, closes, interval_ns=SECOND)
    given = {"confidence_level": 0.95, "horizon_ns": SECOND, "as_of_ts": 0}
    whole = assess_position(a_position(1_000), an_instrument(), history, **given)  # type: ignore[arg-type]
    newest = assess_position(a_position(1_000), an_instrument(), history, method=Model.EWMA, **given)  # type: ignore[arg-type]
    assert (whole.observations, newest.observations) == (198, 119)
    alone = price_history(ts[80:], closes[80:], interval_ns=SECOND)
    same = assess_position(a_position(1_000), an_instrument(), alone, method=Model.EWMA, **given)  # type: ignore[arg-type]
    assert newest.value_at_risk == same.value_at_risk


def test_a_hedged_book_has_no_risk_and_components_add_up(rng: np.random.Generator) -> None:
    closes = np.cumsum(rng.integers(-50, 51, 300)) + 1_000_000
    history = price_history(np.arange(300) * SECOND, closes, interval_ns=SECOND)

    def book(*lots: int) -> RiskMetrics:
        held = [Holding(PositionState(UUID(int=9 + n), UUID(int=1), UUID(int=3), None, qty_lots=q), an_instrument(), history)
                for n, q in enumerate(lots)]  # fmt: skip
        found, observed = assess_holdings(
            held, confidence_level=0.95, horizon_ns=4 * SECOND, as_of_ts=10**18, scope=Scope.ACCOUNT
        )
        return with_sections(found, observed, Funds(Decimal(10_000), Decimal("0.05")))

    assert book(500, -500).value_at_risk == 0
    assert book(500, -500).gross_value > 0
    three = book(500, -200, 300)
    one = assess_position(
        a_position(600), an_instrument(), history, confidence_level=0.95, horizon_ns=4 * SECOND, as_of_ts=0
    )
    assert three.value_at_risk == pytest.approx(one.value_at_risk, abs=Decimal("1e-7"))
    assert three.drawdown == one.drawdown
    parts = three.sections["components"]["items"]
    total = sum(Decimal(part["component_es"]) for part in parts)
    assert total == pytest.approx(three.expected_shortfall, abs=Decimal("1e-6"))
    # 600 lots of 0.001 at a 10 % fall, and the equity that is left over 5 % of the value
    value = three.position_value
    assert Decimal(three.sections["stress"]["fixed"][0]["loss"]) == pytest.approx(value / 10, abs=Decimal("1e-6"))
    assert three.sections["margin"]["ratio"] == pytest.approx(float(Decimal(10_000) / (value / 20)))
    assert three.sections["liquidity"] == {
        "reason": "liquidity: no market of BTC-USDT runs here whose book could be walked"
    }
    assert "NaN" not in str(three.to_json())


def test_value_at_risk_of_two_pairs_uses_the_times_that_both_have(rng: np.random.Generator) -> None:
    fine, coarse = (np.cumsum(rng.integers(-50, 51, n)) + 1_000_000 for n in (600, 300))
    seconds = price_history(np.arange(600) * SECOND, fine, interval_ns=SECOND)
    pairs = price_history(np.arange(300) * 2 * SECOND, coarse, interval_ns=2 * SECOND)
    first, second = on_one_grid([seconds, pairs])
    assert np.array_equal(first.ts, second.ts)
    assert np.array_equal(first.close_half_ticks, fine[1::2]), "the last close of each two seconds"
    other = replace(an_instrument(), pair_id=UUID(int=7))
    held = [Holding(a_position(100), an_instrument(), seconds),
            Holding(PositionState(UUID(int=8), UUID(int=7), UUID(int=3), None, qty_lots=-100), other, pairs)]  # fmt: skip
    found, observed = assess_holdings(held, confidence_level=0.95, horizon_ns=2 * SECOND, as_of_ts=0, scope=Scope.BOOK)
    losses = -(observed.values @ observed.table)
    assert float(found.value_at_risk) == pytest.approx(np.sort(losses)[::-1][int(losses.size * 0.05)], abs=1e-7)
    with pytest.raises(InvalidRequest, match="valued in one currency"):
        assess_holdings(
            [held[0], Holding(held[1].position, replace(other, quote="EUR"), pairs)],
            confidence_level=0.95, horizon_ns=2 * SECOND, as_of_ts=0, scope=Scope.BOOK,
        )  # fmt: skip
