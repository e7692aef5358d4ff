"""Sections of an assessment: what is said beside both figures."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.risk.assessment import assess_holdings
from market_maker.risk.history import price_history
from market_maker.risk.holding import RestingOrder
from market_maker.risk.positions import Holding
from market_maker.risk.sections import Funds, with_sections

SECOND = 1_000_000_000
BORN_MS = 1_700_000_000_000
INSTRUMENT = Instrument(UUID(int=1), "simulator", "BTC-USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"))


@pytest.mark.parametrize(
    ("volume", "holding_time", "found_from"),
    [
        (100 * 10**6, "3600s", "HORIZON"),  # transferred in, and held: it has not been worked off at any pace
        (500 * 10**6, "25s", "TURNOVER"),  # 400 of 500 beyond what is held, in 100 s: a hundred take 25 s
    ],
)
def test_the_pace_of_an_inventory_is_what_was_traded_beyond_it(volume: int, holding_time: str, found_from: str) -> None:
    """A position that had been transferred in three seconds ago was said to be worked off in three seconds."""
    closes = 2 * 10**6 + np.random.default_rng(3).integers(-100, 100, 300)
    closes[-1] = 2 * 10**6  # marked at its cost
    history = price_history(np.arange(300) * SECOND, closes, interval_ns=SECOND)
    state = PositionState(UUID(int=BORN_MS << 80), UUID(int=1), UUID(int=3), None, qty_lots=100)
    state.cost_tick_lots, state.volume_tick_lots = 100 * 10**6, volume
    as_of_ts = (BORN_MS + 100_000) * 10**6
    metrics, observed = assess_holdings(
        [Holding(state, INSTRUMENT, history)],
        confidence_level=Decimal("0.95"), horizon_ns=3600 * SECOND, as_of_ts=as_of_ts,
    )  # fmt: skip
    inventory = with_sections(metrics, observed, None).sections["inventory"]
    assert inventory["holding_time_from"] == found_from
    assert inventory["holding_time"] in (holding_time, {"3600s": "1h"}.get(holding_time))


def sections_of(instrument: Instrument, equity: int) -> tuple[Any, dict[str, Any]]:
    """Return the figures of 0.1 held long at 20,000, with a book and an order beside."""
    closes = 4 * 10**6 + np.random.default_rng(3).integers(-1000, 1000, 300)
    history = price_history(np.arange(300) * SECOND, closes, interval_ns=SECOND)
    state = PositionState(UUID(int=BORN_MS << 80), UUID(int=1), UUID(int=3), None, qty_lots=100)
    state.cost_tick_lots = state.volume_tick_lots = 100 * 2 * 10**6
    quarter = Decimal("0.05")
    bids = tuple(Level(Decimal(19_999 - step), quarter) for step in range(4))
    asks = tuple(Level(Decimal(20_001 + step), quarter) for step in range(4))
    book = BookSnapshot(UUID(int=1), 1, 1, bids, asks)
    order = RestingOrder(Side.BUY, Decimal(19_999), Decimal("0.2"))
    metrics, observed = assess_holdings(
        [Holding(state, instrument, history, None, book, (order,))],
        confidence_level=Decimal("0.95"), horizon_ns=3600 * SECOND, as_of_ts=(BORN_MS + 100_000) * 10**6,
    )  # fmt: skip
    return metrics, with_sections(metrics, observed, Funds(Decimal(equity), Decimal("0.05"))).sections


def test_a_multiplier_multiplies_all_money_of_an_assessment() -> None:
    """Cost of liquidation, worst case and margin of a future of 50 USD a point were told in points."""
    points, plain = sections_of(INSTRUMENT, 1000)
    dollars, future = sections_of(replace(INSTRUMENT, contract_multiplier=Decimal(50)), 50_000)
    for name in ("value_at_risk", "expected_shortfall", "position_value", "gross_value", "drawdown"):
        assert getattr(dollars, name) == pytest.approx(50 * getattr(points, name), abs=Decimal("1e-6")), name
    assert (dollars.mark_price, dollars.quantity) == (points.mark_price, points.quantity)
    money = {
        "liquidity": ("cost", "liquidity_adjusted_var", "over_time_value_at_risk"),
        "worst_case": ("notional",),
        "margin": ("maintenance", "equity"),
        "inventory": ("value_at_risk",),
        "components": ("value_at_risk",),
    }
    for section, names in money.items():
        for name in names:
            found, expected = Decimal(future[section][name]), 50 * Decimal(plain[section][name])
            assert found == pytest.approx(expected, rel=Decimal("1e-6"), abs=Decimal("1e-5")), (section, name)
            assert found, (section, name)
    assert future["liquidity"]["items"][0]["worst_price"] == plain["liquidity"]["items"][0]["worst_price"]
    for name in ("notional", "loss_after_buys"):
        found, expected = (Decimal(each["worst_case"]["items"][0][name]) for each in (future, plain))
        assert found == pytest.approx(50 * expected, rel=Decimal("1e-6")), name
    # What it costs to get out in a storm was told in points, too.
    for one, other in zip(future["stress"]["fixed"], plain["stress"]["fixed"], strict=True):
        found, expected = Decimal(one["liquidation"]), 50 * Decimal(other["liquidation"])
        assert found == pytest.approx(expected, rel=Decimal("1e-6")), one["scenario"]
    assert Decimal(future["stress"]["fixed"][-1]["liquidation"]) > 0
    # Fifty times the money behind fifty times the value: liquidated at the same price.
    for name in ("ratio", "liquidation_price", "distance_ticks", "distance_sigmas"):
        assert future["margin"][name] == (
            plain["margin"][name] if isinstance(plain["margin"][name], str) else pytest.approx(plain["margin"][name])
        ), name
