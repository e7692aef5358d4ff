"""The story of an order, by hand: bid 100 x 100, ask 101 x 100 lots; a strategy that sends what a test wrote down."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import polars as pl
import pytest

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.execution import Execution
from market_maker.backtest.explain import explain_order
from market_maker.domain.errors import NotFound
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import feed_of
from market_maker.market_data.schema import BOOK_SCHEMA
from market_maker.strategies.actions import cancel, place
from market_maker.strategies.contract import Parameter, StrategyKind

T0 = 1_700_000_000_000_000_000
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal("0.5"), Decimal("0.1"))
DEPTH, TRADE = 1, 2
KIND = StrategyKind(
    "written", "for tests", (Parameter("interval_ns", "integer", 10, 1, 10**12, "ns", "time"),), f"{__name__}:on_wake",
    is_compiled=False,
)  # fmt: skip
PLAN: dict[int, list] = {}


def on_wake(view, params, memory, actions):
    """Do what the plan says for this instant."""
    for do, *values in PLAN.get(view.now_ts - T0, []):
        do(actions, *values)


def story(rows, plan, order_id=1, **execution):
    PLAN.clear()
    PLAN.update(plan)
    full = [(0, DEPTH, 1, 100, 100), (0, DEPTH, -1, 101, 100), *rows, (200, DEPTH, 1, 50, 1)]
    frame = pl.DataFrame([(T0 + t, T0 + t, *row, 0) for t, *row in full], schema=BOOK_SCHEMA, orient="row")
    feed = feed_of(frame)
    config = RunConfig(
        PAIR, "written", T0, T0 + 300, {}, 5, 5, sample_interval_ns=1000, execution=Execution(**execution)
    )
    return explain_order(config, feed, KIND.prepare({}), order_id)


def test_an_order_that_filled_tells_what_stood_ahead_and_what_reached_it():
    rows = [(30, DEPTH, 1, 100, 70), (40, TRADE, -1, 100, 75), (50, DEPTH, 1, 100, 0)]
    found = story(rows, {10: [(place, 1, 0, 0, 1, 100, 3)], 20: [(place, 1, 0, 0, 1, 99, 3)]})
    assert [(step.ts - T0, step.what) for step in found.steps] == [
        (10, "NEW_SENT"), (15, "RESTED"), (30, "QUEUE_LEVEL"), (40, "QUEUE_TRADE"), (40, "FILLED"),
    ]  # fmt: skip
    assert [step.queue_ahead for step in found.steps] == [Decimal(text) for text in ("0", "10", "7", "0", "0")]
    assert found.steps[1].text == "rests at 50.0, 10.0 ahead"
    assert found.verdict == "filled 0.3 because a trade at its price went beyond the queue ahead"
    assert found.side == "BUY"
    assert found.queue_model == "RISK_AVERSE"


def test_an_order_that_did_not_fill_tells_why():
    rows = [(40, TRADE, -1, 100, 25), (60, TRADE, -1, 100, 25)]
    plan = {10: [(place, 1, 0, 0, 1, 100, 3)], 80: [(cancel, 1)]}
    found = story(rows, plan)
    assert found.verdict == (
        "not filled: 10.0 stood ahead when it came, 5.0 traded at its price, at least 5.0 stayed ahead; "
        "canceled with 0.3 open, 5.0 ahead"
    )
    refused = story([], {10: [(place, 1, 0, 0, 1, 101, 3)]})
    assert refused.verdict == "not filled: rejected: POST_ONLY_WOULD_TAKE"
    missed = story([(40, TRADE, -1, 99, 9)], {10: [(place, 1, 0, 0, 1, 100, 3)]}, execution_probability=0.0)
    assert "1 times nobody was there by execution_probability; it still rested when the run ended" in missed.verdict


def test_each_order_has_its_own_story_and_one_that_was_never_sent_has_none():
    plan = {10: [(place, 1, 0, 0, 1, 100, 3), (place, -1, 0, 0, 1, 101, 4)]}
    assert story([], plan, 2).side == "SELL"
    for nobodys in (3, 0, -1, 2**63, 10**20):
        with pytest.raises(NotFound):
            story([], plan, nobodys)


def test_the_story_as_json_has_amounts_as_text():
    found = story([], {10: [(place, 1, 0, 0, 1, 100, 3)]}).to_json()
    assert found["steps"][1] == {
        "ts": str(T0 + 15), "what": "RESTED", "text": "rests at 50.0, 10.0 ahead", "price": "50.0", "quantity": "0.3",
        "leaves": "0.3", "queue_ahead": "10.0", "best_bid": "50.0", "best_ask": "50.5",
    }  # fmt: skip
