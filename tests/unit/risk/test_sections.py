"""Sections of an assessment: what is said beside both figures."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.instrument import Instrument
from market_maker.domain.position import PositionState
from market_maker.risk.assessment import Holding, assess_holdings
from market_maker.risk.history import price_history
from market_maker.risk.sections import with_sections

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
