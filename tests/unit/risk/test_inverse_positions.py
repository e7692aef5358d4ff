"""Risk of INVERSE contracts, against the coins and the dollars that each move of the price would have brought, one by one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.risk.assessment import assess_holdings, observe
from market_maker.risk.history import PriceHistory, price_history
from market_maker.risk.measures import RiskMetrics
from market_maker.risk.model_tests import judge_models
from market_maker.risk.models import Model
from market_maker.risk.positions import Holding, in_one_currency
from market_maker.risk.sections import Funds, with_sections

SECOND = 10**9
COIN = Instrument(
    UUID(int=1), "v", "XBTUSD", "XBT", "USD", Decimal("0.5"), Decimal(1), ContractType.INVERSE,
    contract_multiplier=Decimal(100),
)  # fmt: skip
SPOT = Instrument(UUID(int=2), "v", "ETH-USD", "ETH", "USD", Decimal("0.01"), Decimal("0.001"))
CROSS = Instrument(UUID(int=3), "v", "ETH-XBT", "ETH", "XBT", Decimal("0.00001"), Decimal("0.001"))
LATE = 2 * 10**18


def a_history(rng: np.random.Generator, count: int = 400, start: int = 80_000, swing: int = 2_000) -> PriceHistory:
    """Closes of a market whose moves are so large that 1/p is far from a line."""
    closes = np.clip(start + np.cumsum(rng.integers(-swing, swing + 1, count)), start // 4, start * 4)
    return price_history(np.arange(count) * SECOND, closes, interval_ns=SECOND)


def a_holding(pair: Instrument, history: PriceHistory, lots: int) -> Holding:
    """Return a position that was bought, or sold, at 40,000 ticks, for a fee of 7 units."""
    state = PositionState(UUID(int=9), pair.pair_id, UUID(int=3), None)
    state.apply_fill(Side.BUY if lots > 0 else Side.SELL, 40_000, abs(lots), 7, pair)
    return Holding(state, pair, history)


def assessed(*holdings: Holding, method: Model = Model.HISTORICAL, funds: Funds | None = None) -> RiskMetrics:
    """Return the figures of one interval at 95 %, with all sections."""
    metrics, observed = assess_holdings(
        holdings, confidence_level=Decimal("0.95"), horizon_ns=SECOND, as_of_ts=LATE, method=method
    )
    return with_sections(metrics, observed, funds)


def usd(pair: Instrument, half_ticks: int) -> Fraction:
    return Fraction(int(half_ticks), 2) * Fraction(pair.tick_size)


def tail(losses: list[Fraction]) -> tuple[Fraction, Fraction]:
    """Return VaR and ES at 95 %: the lower quantile, and the mean of the worst 5 % with a part of the one at the border."""
    ordered, share = sorted(losses), Fraction(5, 100) * len(losses)
    var = ordered[ceil(Fraction(95, 100) * len(losses)) - 1]
    whole = int(share)
    worst = sum(ordered[len(losses) - whole :], Fraction(0)) + (share - whole) * ordered[len(losses) - whole - 1]
    return var, worst / share


@pytest.mark.parametrize("lots", [700, -700])
def test_coins_are_what_each_move_would_have_brought(rng: np.random.Generator, lots: int) -> None:
    history = a_history(rng)
    metrics = assessed(a_holding(COIN, history, lots))
    closes = history.close_half_ticks.tolist()
    mark = usd(COIN, closes[-1])
    losses = []
    for before, after in pairwise(closes):
        then = mark * Fraction(after, before)
        losses.append(-lots * 100 * (1 / mark - 1 / then))
    expected = tail(losses)
    assert metrics.currency == "XBT"
    assert float(metrics.value_at_risk) == pytest.approx(float(expected[0]), rel=1e-6)
    assert float(metrics.expected_shortfall) == pytest.approx(float(expected[1]), rel=1e-6)
    assert abs(Fraction(metrics.position_value) - lots * 100 / mark) < Fraction(1, 10**9)
    assert metrics.gross_value == abs(metrics.position_value)
    # A position of inverse contracts loses more coins by a fall than it gains by a rise: a line is wrong by a percent or so here.
    linear = tail([-lots * 100 / mark * (Fraction(after, before) - 1) for before, after in pairwise(closes)])
    assert abs(float(expected[1] / linear[1]) - 1) > 0.003


@pytest.mark.parametrize("lots", [700, -700])
def test_the_fall_is_that_of_the_coins(rng: np.random.Generator, lots: int) -> None:
    history = a_history(rng)
    worth = [-lots * 100 / usd(COIN, each) for each in history.close_half_ticks.tolist()]
    falls = [max(worth[: k + 1]) - value for k, value in enumerate(worth)]
    assert abs(Fraction(assessed(a_holding(COIN, history, lots)).drawdown) - max(falls)) < Fraction(1, 10**9)


def test_in_dollars_a_fixed_amount_moves_as_a_line(rng: np.random.Generator) -> None:
    """n x m x (1/p0 - 1/p1) coins are n x m x (p1/p0 - 1) dollars at p1."""
    history = a_history(rng)
    (holding,) = in_one_currency([a_holding(COIN, history, 700)], "USD")
    metrics = assessed(holding)
    closes = history.close_half_ticks.tolist()
    expected = tail([-70_000 * (Fraction(after, before) - 1) for before, after in pairwise(closes)])
    assert (metrics.currency, metrics.position_value, metrics.gross_value) == ("USD", 70_000, 70_000)
    assert float(metrics.value_at_risk) == pytest.approx(float(expected[0]), rel=1e-9)
    assert float(metrics.expected_shortfall) == pytest.approx(float(expected[1]), rel=1e-9)
    worth = 70_000 * history.close_half_ticks / closes[-1]
    assert float(metrics.drawdown) == pytest.approx(float(np.max(np.maximum.accumulate(worth) - worth)))
    assert metrics.sections["stress"]["fixed"][0]["loss"] == "7000.00000000"


def test_results_are_coins_less_fees_or_dollars_at_the_mark(rng: np.random.Generator) -> None:
    holding = a_holding(COIN, a_history(rng), -700)
    mark = usd(COIN, holding.mark)
    coins = -700 * 100 * (1 / Fraction(20_000) - 1 / mark) - 7 * Fraction(COIN.tick_lot)
    assert abs(Fraction(holding.result) - coins) < Fraction(2, 10**10)
    (dollars,) = in_one_currency([holding], "USD")
    assert abs(Fraction(dollars.result) - coins * mark) < 2 * mark / 10**10


def test_pairs_of_one_quote_are_added_up_in_it_and_of_one_settlement_in_that(rng: np.random.Generator) -> None:
    coin, spot = a_holding(COIN, a_history(rng), 500), a_holding(SPOT, a_history(rng, start=400_000), 9_000)
    both = assessed(coin, spot)
    assert (both.currency, both.positions) == ("USD", 2)
    assert both.position_value == 50_000 + spot.value
    cross = a_holding(CROSS, a_history(rng), 4_000)
    in_coins = assessed(coin, cross)
    assert in_coins.currency == "XBT"
    assert in_coins.position_value == pytest.approx(coin.value + cross.value, abs=Decimal("1e-8"))
    # What both would have earned together, move by move.
    observed = observe([coin, cross], method=Model.HISTORICAL, confidence_level=0.95, horizon_ns=SECOND)
    moves = [each.history.close_half_ticks[1:] / each.history.close_half_ticks[:-1] - 1 for each in (coin, cross)]
    earned = float(coin.value) * (1 - 1 / (1 + moves[0])) + float(cross.value) * moves[1]
    assert observed.profits == pytest.approx(earned)
    with pytest.raises(
        InvalidRequest, match="scope: USD, XBT is not allowed; allowed: positions that are all valued in one"
    ):
        assessed(coin, spot, cross)
    with pytest.raises(
        InvalidRequest, match="currency: EUR is not allowed; allowed: XBT or USD, which a position in XBTUSD"
    ):
        in_one_currency([coin], "EUR")
    with pytest.raises(InvalidRequest, match="allowed: USD, which a position in ETH-USD"):
        in_one_currency([spot], "XBT")


@pytest.mark.parametrize("lots", [700, -700])
def test_storms_cost_the_coins_that_their_price_would(rng: np.random.Generator, lots: int) -> None:
    holding = a_holding(COIN, a_history(rng), lots)
    stress = assessed(holding, funds=Funds(Decimal(100_000), Decimal("0.05"))).sections["stress"]
    mark = usd(COIN, holding.mark)
    for name, move in (("DOWN_50", Fraction(-1, 2)), ("UP_50", Fraction(1, 2)), ("DOWN_10", Fraction(-1, 10))):
        found = next(each for each in stress["fixed"] if each["scenario"] == name)
        coins = -lots * 100 * (1 / mark - 1 / (mark * (1 + move)))
        assert abs(Fraction(found["loss"]) - coins) < Fraction(1, 10**7), name
    assert stress["reverse"]["reason"].startswith("reverse stress: the figures are in XBT")


@pytest.mark.parametrize("lots", [700, -700])
def test_the_smallest_move_that_loses_an_amount_loses_it(rng: np.random.Generator, lots: int) -> None:
    from market_maker.risk.sections import stress_section

    holding = a_holding(COIN, a_history(rng), lots)
    metrics, observed = assess_holdings([holding], confidence_level=0.95, horizon_ns=SECOND, as_of_ts=LATE)
    loss = float(abs(holding.value)) / 3
    found = stress_section(metrics, observed, None, loss=loss)["reverse"]
    (move,) = found["moves"]
    mark = float(usd(COIN, holding.mark))
    assert -lots * 100 * (1 / mark - 1 / (mark * (1 + move["move"]))) == pytest.approx(loss)
    more = stress_section(metrics, observed, None, loss=4 * loss)["reverse"]
    if lots > 0:
        assert more["moves"][0]["move"] == pytest.approx(1 / (1 + 4 / 3) - 1)
    else:
        assert "no rise of XBT loses" in more["reason"]


def test_sections_are_in_coins_or_say_why_not(rng: np.random.Generator) -> None:
    holding, funds = a_holding(COIN, a_history(rng), 700), Funds(Decimal(100_000), Decimal("0.05"))
    metrics = assessed(holding, funds=funds)
    sections: dict[str, Any] = metrics.sections
    assert Decimal(sections["worst_case"]["notional"]) == pytest.approx(metrics.position_value, abs=Decimal("1e-8"))
    assert sections["worst_case"]["share_of_gross_value"] == pytest.approx(1.0)
    assert Decimal(sections["components"]["expected_shortfall"]) == pytest.approx(
        metrics.expected_shortfall, abs=Decimal("1e-7")
    )
    assert "ask for them in USD" in sections["margin"]["reason"]
    assert "no market of XBTUSD runs here" in sections["liquidity"]["reason"]
    (dollars,) = in_one_currency([holding], "USD")
    margin = assessed(dollars, funds=funds).sections["margin"]
    assert margin["maintenance"] == "3500.00000000"
    # 70,000 dollars of contracts lose (100,000 - 3,500) / (70,000 x 0.95) of the price: more than all of it.
    assert margin["liquidation_price"] is None
    small = Funds(Decimal(10_000), Decimal("0.05"))
    price = Decimal(assessed(dollars, funds=small).sections["margin"]["liquidation_price"])
    assert price / dollars.mark_price == pytest.approx(1 - Decimal(6_500) / 66_500, rel=Decimal("1e-9"))


@pytest.mark.parametrize("method", list(Model))
def test_every_method_takes_them(method: Model) -> None:
    moves = np.random.default_rng(5).standard_normal(2_500) * 60
    closes = 80_000 + np.cumsum(np.rint(moves)).astype(np.int64)
    holding = a_holding(COIN, price_history(np.arange(2_500) * SECOND, closes, interval_ns=SECOND), 700)
    metrics = assessed(holding, method=method)
    assert metrics.currency == "XBT"
    assert 0 < metrics.value_at_risk <= metrics.expected_shortfall < metrics.gross_value


def test_models_are_judged_by_coins(rng: np.random.Generator) -> None:
    holding = a_holding(COIN, a_history(rng, count=700), 700)
    found = judge_models(holding, [Model.HISTORICAL], confidence_level=Decimal("0.95"), window=250)
    flipped = replace(COIN, contract_type=ContractType.LINEAR)
    other = judge_models(
        replace(holding, instrument=flipped), [Model.HISTORICAL], confidence_level=Decimal("0.95"), window=250
    )
    assert found["observations"] == other["observations"]
    assert found["models"] != other["models"]
