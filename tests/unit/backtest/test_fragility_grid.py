"""The grid of other latencies, queue models and fees: its cells are runs of their own, and one of them is the run."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from analysis_builders import PAIR, a_config, a_result, walking_feed
from market_maker.backtest.execution import Execution
from market_maker.backtest.fragility import _dearer, _slower, fragility_grid
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.sweep import SweepProgress


def test_each_cell_is_the_run_under_its_assumptions(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=1200)
    config = a_config(feed)
    steps: list[SweepProgress] = []
    grid = fragility_grid(config, feed, steps.append)
    assert len(grid.cells) == 4 * 4 * 3
    assert grid.queue_model == "RISK_AVERSE"
    assert {cell.queue_model for cell in grid.cells} == {"BACK", "RISK_AVERSE", "POWER 2", "FRONT"}
    assert steps[-1].done == steps[-1].total == len(grid.cells)
    # At least as strict in every respect: latency 1, 2, 5; queue BACK, its own; fees 1, 1.5.
    assert grid.figures.conservative_cells == 3 * 2 * 2

    def cell(latency: float, queue: str, fees: float) -> Decimal:
        (found,) = (c for c in grid.cells if (c.latency_factor, c.queue_model, c.fee_factor) == (latency, queue, fees))
        return found.net_pnl

    own = a_result(config, feed)
    assert cell(1, "RISK_AVERSE", 1) == own.summary.net_pnl
    assert grid.reference_digest == own.digest()
    slow = replace(
        config, entry_latency_ns=5_000_000, response_latency_ns=5_000_000,
        execution=Execution(queue_model=QueueModel.POWER, queue_n=2.0),
        # A fee is multiplied by the factor, a rebate is divided by it: 0.0001 / 1.5 to 8 decimals.
        instrument=replace(PAIR, maker_fee=Decimal("-0.00006667"), taker_fee=Decimal("0.00075")),
    )  # fmt: skip
    assert cell(5, "POWER 2", 1.5) == a_result(slow, feed).summary.net_pnl


def test_what_a_factor_cannot_change_is_left_out(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=300)
    free = replace(PAIR, maker_fee=Decimal(0), taker_fee=Decimal(0))
    execution = Execution(queue_model=QueueModel.BACK)
    config = a_config(feed, instrument=free, entry_latency_ns=0, response_latency_ns=0, execution=execution)
    grid = fragility_grid(config, feed)
    assert [(cell.latency_factor, cell.queue_model, cell.fee_factor) for cell in grid.cells] == [
        (1.0, "BACK", 1.0),
        (1.0, "POWER 2", 1.0),
        (1.0, "FRONT", 1.0),
    ]
    assert grid.figures.conservative_cells == 1, "nothing is stricter than the back of the queue"


@pytest.mark.parametrize(
    ("options", "slower"),
    [
        ({"model": "CONSTANT", "entry_ns": 10, "response_ns": 3}, {"model": "CONSTANT", "entry_ns": 20, "response_ns": 6}),
        (
            {"model": "GAMMA", "entry": {"mean_ns": 5, "deviation_ns": 2, "floor_ns": 1}, "response": {"mean_ns": 4, "deviation_ns": 0}},
            {"model": "GAMMA", "entry": {"mean_ns": 10, "deviation_ns": 4, "floor_ns": 2}, "response": {"mean_ns": 8, "deviation_ns": 0}},
        ),
        # There 10 - 4, back 13 - 10; one that the venue rejected: 9 - 5 there and back.
        ({"model": "RECORDED", "rows": [[4, 10, 13], [5, 0, 9]]}, {"model": "RECORDED", "rows": [[4, 16, 22], [5, 0, 13]]}),
        (
            {"model": "UNDER_LOAD", "entry_ns": 1, "response_ns": 1, "window_ns": 7, "quiet_events": 9, "ns_per_event": 2, "most_ns": 8},
            {"model": "UNDER_LOAD", "entry_ns": 2, "response_ns": 2, "window_ns": 7, "quiet_events": 9, "ns_per_event": 4, "most_ns": 16},
        ),
    ],
    ids=["constant", "drawn", "recorded", "under load"],
)  # fmt: skip
def test_every_duration_of_a_latency_model_is_multiplied(options: dict, slower: dict) -> None:
    assert _slower(options, 2.0) == slower


def test_every_rate_of_a_schedule_is_dearer() -> None:
    tiers = [{"least_volume": "0", "maker": "-0.0002", "taker": "0.0004"}]
    assert _dearer({"model": "TIERED", "tiers": tiers, "window_days": 3}, Decimal("0.5")) == {
        "model": "TIERED",
        "tiers": [{"least_volume": "0", "maker": "-0.00040000", "taker": "0.00020000"}],
        "window_days": 3,
    }
