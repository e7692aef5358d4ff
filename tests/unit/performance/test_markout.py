"""Markouts and spreads by hand, their intervals against a walk whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.figures import student_quantile
from market_maker.performance.markout import (
    HORIZONS_NS,
    Mids,
    clustered_mean,
    future_mids,
    markouts,
    mids_of,
    passive_fills,
    spreads,
)
from performance_builders import ledger_run, random_run

SECOND = 10**9
# A purchase of 2 at 10 (mid 20.5 half ticks = 10.25) at 5, a sale of 6 at 13 at 8; mids change at 5, 8, 10 and 20.
RUN = [(0, 0, 0, 0, 0, 20), (5, 1, 10, 2, 0, 21), (8, -1, 13, 6, 0, 24), (10, 0, 0, 0, 0, 23), (20, 0, 0, 0, 0, 30)]


def test_markouts_by_hand():
    samples, fills = ledger_run(RUN)
    mids = mids_of(samples, fills)
    assert mids.ts.tolist() == [0, 5, 8, 10, 20]
    found = {each.horizon_ns: each for each in markouts(fills, future_mids(fills, mids, [0, 1, 4, 5, 12, 15]))}
    # At once: +(21 - 20) x 2 and -(24 - 26) x 6 half ticks: 14, over 2 x 8: 0.875 ticks.
    assert (found[0].half_tick_lots, found[0].mean.estimate, found[0].unseen) == (14, 0.875, 0)
    # After 1: no new mid at 6 nor at 9, so both show the mid of the fill.
    assert (found[1].half_tick_lots, found[1].unseen) == (14, 2)
    # After 4: 24 at 9, 23 at 12: 2 x 4 + 6 x 3 = 26.
    assert (found[4].half_tick_lots, found[4].unseen, found[4].left_out) == (26, 0, 0)
    # After 12: 23 at 17, 30 at 20: 2 x 3 - 6 x 4 = -18. After 15 the sale's horizon is over the end: 2 x 10 = 20.
    assert found[12].half_tick_lots == -18
    assert (found[15].half_tick_lots, found[15].fills, found[15].left_out) == (20, 1, 1)
    assert found[15].mean.estimate == 5.0


def test_the_mid_of_an_instant_counts_at_that_instant():
    samples, fills = ledger_run(RUN)
    (after,) = markouts(fills, future_mids(fills, mids_of(samples, fills), [3]))
    # The purchase at 5 sees the mid of 8, which the sale at 8 left: 24; the sale at 11 sees 23.
    assert after.half_tick_lots == 2 * 4 + 6 * 3


def test_some_fills_only():
    samples, fills = ledger_run(RUN)
    future = future_mids(fills, mids_of(samples, fills), [4, 15])
    short, long = markouts(fills, future, where=np.array([False, True]))
    assert (short.half_tick_lots, short.fills) == (18, 1)
    assert (long.fills, long.left_out, long.mean.estimate) == (0, 1, None)
    assert long.mean.reason == "no fill to count"


def test_spreads_by_hand():
    samples, fills = ledger_run(RUN)
    columns = {name: getattr(samples, name) for name in Samples._needed()}
    # Best prices with a side missing once: spreads 2 and 4.
    samples = Samples.of(columns | {"best_bid_ticks": [9, 0, 11], "best_ask_ticks": [11, 12, 15]})
    fills = Fills.of({name: getattr(fills, name) for name in Fills._needed()} | {"liquidity": [0, 1]})
    found = spreads(fills, future_mids(fills, mids_of(samples, fills), [4, 30]), samples)
    assert found.quoted == 3.0
    # The maker: 2 x (21 - 20) half ticks = 1 tick; four later 2 x (24 - 20) = 4 ticks: the market went its way by 3.
    assert (found.effective_maker, dict(found.realised)[4], dict(found.impact)[4]) == (1.0, 4.0, -3.0)
    # The taker sold at 13 with the mid at 12: it was paid 2 ticks rather than paying.
    assert found.effective_taker == -2.0
    assert dict(found.realised)[30] is None
    nothing = spreads(ledger_run([])[1], (), ledger_run([(0, 0, 0, 0, 0, 2)])[0])
    assert (nothing.quoted, nothing.effective_maker, nothing.realised) == (None, None, ())


def test_effective_is_realised_and_impact(rng):
    samples, fills = random_run(rng, samples=4000, fills=700)
    future = future_mids(fills, mids_of(samples, fills))
    found = spreads(fills, future, samples)
    effective = {
        then.horizon_ns: spreads(
            Fills.of({name: getattr(fills, name)[then.is_known] for name in Fills._needed()}), (), samples
        ).effective_maker
        for then in future
    }
    for (horizon, realised), (_, impact) in zip(found.realised, found.impact, strict=True):
        assert realised + impact == pytest.approx(effective[horizon])
    makers = markouts(fills, future, where=fills.is_maker)
    assert [2 * each.mean.estimate for each in makers] == pytest.approx([value for _, value in found.realised])


def test_clusters_by_hand():
    # Ten blocks of two equal values 0 .. 9, weight 1: mean 4.5, e_b = 2 (b - 4.5) / 20; neighbours only where adjacent.
    values, block = np.repeat(np.arange(10.0), 2), np.repeat(np.arange(10) * 2, 2)
    interval = clustered_mean(values, np.ones(20, dtype=np.int64), block)
    variance = 10 / 9 * 82.5 / 100
    assert interval.estimate == 4.5
    assert interval.high - 4.5 == pytest.approx(student_quantile(0.975, 9) * variance**0.5)
    # In adjacent blocks the trend of the values adds 2 x sum (b - 4.5)(b - 3.5) = 2 x 62.25 to the 82.5... by 100.
    adjacent = clustered_mean(values, np.ones(20, dtype=np.int64), block // 2)
    overlap = 2 * sum((b - 4.5) * (b - 3.5) for b in range(9))
    assert adjacent.high - 4.5 == pytest.approx(student_quantile(0.975, 9) * (10 / 9 * (82.5 + overlap) / 100) ** 0.5)
    assert clustered_mean(values[:18], np.ones(18, dtype=np.int64), block[:18]).low is None


@pytest.mark.parametrize("horizon_s", [1, 60, 300])
def test_intervals_cover_the_truth_on_a_random_walk(rng, horizon_s):
    """Fills a tick from the mid of a walk without drift: the true markout is one tick, whatever the horizon."""
    held, rounds, seconds = 0, 120, 12_000
    for _ in range(rounds):
        walk = 2 * np.cumsum(rng.integers(-1, 2, seconds)) + 100_000
        at = np.sort(rng.choice(seconds, 1500, replace=False))
        # Runs of fills on one side, as a market maker has them.
        side = np.repeat(rng.choice([-1, 1], 50), 30)
        price = walk[at] // 2 - side
        columns = [at * SECOND, at, side, at * 0, price, rng.integers(1, 5, 1500), *[at * 0] * 4, walk[at]]
        mids = Mids(np.arange(seconds) * SECOND, walk)
        fills = Fills(*columns)
        (found,) = markouts(fills, future_mids(fills, mids, [horizon_s * SECOND]))
        held += found.mean.low <= 1.0 <= found.mean.high
    assert 0.88 <= held / rounds <= 0.995


def test_the_default_horizons():
    assert [horizon / SECOND for horizon in HORIZONS_NS] == [0.1, 1.0, 5.0, 30.0, 60.0, 300.0]


def test_public_trades_are_fills_of_those_who_rested():
    mids = Mids(np.array([10, 20, 30]), np.array([200, 204, 190]))
    columns = {"ts": [5, 10, 25], "aggressor_side": [1, 1, -1], "price_ticks": [101, 101, 101], "qty_lots": [1, 2, 4]}
    passive = passive_fills(**{name: np.array(column) for name, column in columns.items()}, mids=mids)
    assert passive.side.tolist() == [-1, -1, 1]
    assert passive.mid_half_ticks.tolist() == [0, 200, 204]
    assert passive.is_maker.all()
    # Sold at 101 to buyers; 10 later the mid is 100 and 102 (one and two lots); the buyer's horizon is over the end.
    (found,) = markouts(passive, future_mids(passive, mids, [10]))
    assert (found.half_tick_lots, found.fills, found.left_out) == (1 * (202 - 200) + 2 * (202 - 204), 2, 1)
    nothing = np.zeros(0, dtype=np.int64)
    early = passive_fills(
        ts=np.array([1]), aggressor_side=np.array([1]), price_ticks=np.array([1]), qty_lots=np.array([1]),
        mids=Mids(nothing, nothing),
    )  # fmt: skip
    assert early.mid_half_ticks.tolist() == [0]


def test_without_mids_everything_is_left_out():
    _, fills = ledger_run(RUN)
    nothing = np.zeros(0, dtype=np.int64)
    (found,) = markouts(fills, future_mids(fills, Mids(nothing, nothing), [1]))
    assert (found.fills, found.left_out, found.mean.estimate) == (0, 2, None)


def test_bad_arguments():
    samples, fills = ledger_run(RUN)
    with pytest.raises(InvalidRequest, match="horizons_ns"):
        future_mids(fills, mids_of(samples, fills), [-1])
    with pytest.raises(DataError, match="backwards"):
        Mids(np.array([2, 1]), np.array([1, 1]))
    with pytest.raises(DataError, match="one value for each"):
        Mids(np.array([2, 3]), np.array([1]))
