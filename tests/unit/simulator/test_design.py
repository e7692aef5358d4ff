"""The design of a session's market: groups of pairs whose reference prices move together."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.modes import TestMode
from market_maker.simulator.design import market_design
from market_maker.simulator.session import Session
from market_maker.synthetic.flow.parameters import NS, MarketDesign
from market_maker.venue.market.market import SyntheticMarket

BEGUN = 1_700_000_000 * NS


def design_of(group: dict[str, object] | None, *, number: int, start_ts: int = BEGUN) -> MarketDesign:
    session = Session(
        session_id=UUID(int=number), pair_id=UUID(int=number), mode=TestMode.CUSTOM, seed=number, state="RUNNING", price_deviation=0.002,
        execution_delay_ns=NS // 10, market_update_interval_ns=NS, initial_price_ticks=10_000, created_ts=start_ts, updated_ts=start_ts,
        parameters={} if group is None else {"group": group},
    )  # fmt: skip
    return market_design(session, tick_lot=1.0, price_ticks=10_000, start_ts=start_ts)


def moves(design: MarketDesign) -> np.ndarray:
    """Return the moves of the reference price in each second of the second minute after BEGUN."""
    market, prices = SyntheticMarket.create(design, warm_up_s=1.0), []
    for second in range(60, 120):
        market.advance(BEGUN + second * NS + NS // 2)
        prices.append(int(market.flow.head["reference_q20"][0]))
    return np.diff(np.log(prices))


def test_sessions_of_a_group_take_the_same_steps_whenever_they_began() -> None:
    group = {"seed": 11, "loadings": [1.0]}
    first = moves(design_of(group, number=1))
    later = moves(design_of(group, number=2, start_ts=BEGUN + 17 * NS + NS // 3))
    opposed = moves(design_of({"seed": 11, "loadings": [-1.0]}, number=3))
    np.testing.assert_allclose(first, later, atol=1e-9)
    assert np.corrcoef(first, opposed)[0, 1] < -0.999
    other = moves(design_of({"seed": 12}, number=1))
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.6  # of 59 moves: a standard error of 0.13


def test_without_a_group_a_market_is_what_it_was() -> None:
    plain = design_of(None, number=1)
    assert (plain.group_seed, plain.loadings, plain.since_epoch) == (1, (1.0,), False)
    grouped = design_of({"seed": 11, "loadings": [0.6, 0.8]}, number=1)
    assert grouped == replace(plain, group_seed=11, loadings=(0.6, 0.8), since_epoch=True)


@pytest.mark.parametrize(
    "group", [{"loadings": [1.0, 0.1]}, {"loadings": []}, {"seed": -1}, {"seed": 1.5}, {"sed": 1}, 5]
)
def test_what_is_no_group_is_refused(group: object) -> None:
    with pytest.raises(InvalidRequest, match=r"parameters\.group"):
        design_of(group, number=1)  # type: ignore[arg-type]
