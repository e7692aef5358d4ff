"""Profit against order size: every point is a run of its own, the first one the run itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from analysis_builders import a_config, a_result, walking_feed
from market_maker.backtest.capacity_runs import SCALES, size_curve


def test_each_point_is_the_run_at_its_size(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=1200)
    config = a_config(feed)
    curve = size_curve(config, feed, public_lots=10_000)
    assert curve is not None
    assert [point.scale for point in curve.points] == list(SCALES)
    own = a_result(config, feed).summary
    assert curve.points[0].net_pnl == own.net_pnl
    assert own.fills > 0
    assert curve.points[0].volume_share == pytest.approx(float(own.volume / config.instrument.lot_size) / 10_000)
    sizes = {name: 8 * int(config.parameters[name]) for name in ("order_lots", "max_inventory_lots")}
    large = replace(config, parameters={**config.parameters, **sizes}, balance=8 * config.balance)
    assert curve.points[3].net_pnl == a_result(large, feed).summary.net_pnl
    assert curve.points[3].pnl_per_size == curve.points[3].net_pnl / Decimal(8)


def test_a_strategy_without_a_size_has_no_curve(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=50)
    config = replace(a_config(feed), strategy_kind="do_nothing", parameters={})
    assert size_curve(config, feed) is None


def test_sizes_beyond_a_bound_are_left_out(rng: np.random.Generator) -> None:
    feed = walking_feed(rng, steps=50)
    config = a_config(feed)
    config = replace(config, parameters={**config.parameters, "max_inventory_lots": 2**39})
    curve = size_curve(config, feed)
    assert curve is not None
    assert [point.scale for point in curve.points] == [1, 2]
