"""A simulated market as a window: its quotes are the book's, its trades the engine's, and every metric but one is there."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.order import Side
from market_maker.matching.codes import EventKind, LiquidityCode
from market_maker.performance.realism.kernel import WAS_CANCELED, WAS_FILLED
from market_maker.performance.realism.measure import measure
from market_maker.simulator.realism import simulated_window
from market_maker.synthetic.flow.parameters import ReferenceParameters, suited_design
from market_maker.venue.market.market import SyntheticMarket

SECOND = 1_000_000_000


def market(seed: int) -> SyntheticMarket:
    reference = ReferenceParameters(price_deviation=0.0005, step_ns=SECOND)
    return SyntheticMarket.create(
        suited_design(price_ticks=6_000_000, lot_value_ticks=1e-5, reference=reference, seed=seed)
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_window_says_what_the_engine_did(seed: int) -> None:
    told, twin = market(seed), market(seed)
    window = simulated_window(told, 150 * SECOND, "x")
    events = twin.advance(twin.clock_ts + 150 * SECOND)
    taken = events[(events["kind"] == EventKind.FILLED) & (events["liquidity"] == LiquidityCode.TAKER)]
    for name, column in (("ts", "ts"), ("price_ticks", "price_ticks"), ("lots", "qty_lots"), ("side", "side")):
        assert getattr(window.trades, name).tolist() == taken[column].tolist()
    for prices, lots, side in (
        (window.quotes.bid_ticks, window.quotes.bid_lots, Side.BUY),
        (window.quotes.ask_ticks, window.quotes.ask_lots, Side.SELL),
    ):
        assert [prices[-1], lots[-1]] == twin.depth(side, 1)[0, :2].tolist()
    # The best prices at every second are those of a market that is stopped there.
    other = market(seed)
    quotes = other.quotes(other.clock_ts + SECOND, SECOND, 150)
    place = np.searchsorted(window.quotes.ts, other.clock_ts - 150 * SECOND + SECOND * np.arange(1, 151), "right") - 1
    shown = np.stack([window.quotes.bid_ticks[place], window.quotes.ask_ticks[place]], axis=1)
    assert other.clock_ts == told.clock_ts
    assert np.array_equal(shown, quotes)


def test_lives_end_as_the_events_say() -> None:
    window = simulated_window(market(4), 200 * SECOND, "x")
    twin = market(4)
    events = twin.advance(twin.clock_ts + 200 * SECOND)
    lives = window.lives
    assert lives is not None
    accepted = set(events["order_id"][events["kind"] == EventKind.ACCEPTED].tolist())
    canceled = [key for key in events["order_id"][events["kind"] == EventKind.CANCELED].tolist() if key in accepted]
    assert int((lives.how == WAS_CANCELED).sum()) == len(canceled)
    done = (
        (events["kind"] == EventKind.FILLED)
        & (events["liquidity"] == LiquidityCode.MAKER)
        & (events["leaves_lots"] == 0)
    )
    filled = [key for key in events["order_id"][done].tolist() if key in accepted]
    assert int((lives.how == WAS_FILLED).sum()) == len(filled)
    assert len(filled) > 50


def test_every_metric_but_that_of_metaorders_is_there() -> None:
    metrics = measure(simulated_window(market(5), 4000 * SECOND, "x"))
    missing = {metric.number for metric in metrics if metric.reason is not None}
    assert missing <= {1, 19}, "300 s returns need longer, and nobody tells which orders were pieces of one"
    assert {metric.number for metric in metrics} == set(range(1, 21))


def test_a_moment_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="one second or more"):
        simulated_window(market(1), SECOND - 1, "x")
