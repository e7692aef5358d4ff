"""Counts, shares, groups of fills and time at the best price, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.trading import (
    OrderCounts,
    OrderLives,
    QueueFillRatio,
    TimeAtBest,
    bucket_names,
    bucket_of,
    fill_ratio_by_queue,
    fills_by_group,
    queue_buckets,
    time_at_best,
    trading_figures,
    volume_share,
    young_profit_share,
)
from performance_builders import ledger_run, random_run


def three_fills(order_ids: list[int], liquidity: list[int]) -> Fills:
    _, fills = ledger_run([(1, 1, 10, 2, 0, 21), (2, 1, 11, 3, 0, 23), (3, -1, 12, 5, 0, 23)])
    columns = {name: getattr(fills, name) for name in Fills._needed()}
    return Fills.of(columns | {"order_id": order_ids, "liquidity": liquidity})


def test_counts_and_shares():
    figures = trading_figures(
        three_fills([7, 7, 9], [0, 1, 0]), OrderCounts(placed=8, rejected=1, canceled=6, expired=0)
    )
    # Traded value 20 + 33 + 60 = 113 tick-lots; two orders filled of eight; six cancels for three fills.
    assert (figures.fills, figures.orders_filled, figures.turnover_half_tick_lots, figures.volume_lots) == (
        3,
        2,
        226,
        10,
    )
    assert (figures.maker_share, figures.maker_volume_share) == (2 / 3, 0.7)
    assert (figures.fill_ratio, figures.cancels_per_fill, figures.orders_per_fill) == (0.25, 2.0, 8 / 3)


def test_a_run_without_fills_has_no_shares():
    figures = trading_figures(ledger_run([])[1], OrderCounts(3, 0, 3, 0))
    assert (figures.maker_share, figures.maker_volume_share, figures.cancels_per_fill) == (None, None, None)
    assert (figures.fill_ratio, figures.turnover_half_tick_lots) == (0.0, 0)


def test_more_orders_filled_than_placed_is_a_contradiction():
    with pytest.raises(DataError, match="3 orders have fills, 2 were placed"):
        trading_figures(three_fills([1, 2, 3], [0, 0, 0]), OrderCounts(2, 0, 0, 0))


def test_fills_by_cause():
    fills = three_fills([1, 2, 3], [0, 0, 0])
    groups = fills_by_group(fills, np.array([4, 2, 4]), {2: "through", 4: "queue", 5: "cross"}, end_mid_half_ticks=24)
    by_name = {group.name: group for group in groups}
    assert [group.key for group in groups] == [2, 4, 5]
    assert (by_name["queue"].fills, by_name["queue"].volume_lots, by_name["queue"].share) == (2, 7, 2 / 3)
    # Capture 2 x (21 - 20) and 5 x (24 - 23); inventory 2 x (24 - 21) and -5 x (24 - 23).
    assert (by_name["queue"].split.spread_capture, by_name["queue"].split.inventory) == (7, 1)
    assert (by_name["cross"].fills, by_name["cross"].split.net) == (0, 0)
    assert all(group.split.residual == 0 for group in groups)
    with pytest.raises(DataError, match="code 4 of a fill has no name"):
        fills_by_group(fills, np.array([4, 2, 4]), {2: "through"}, end_mid_half_ticks=24)
    with pytest.raises(DataError, match="2 codes for 3 fills"):
        fills_by_group(fills, np.array([4, 2]), {}, end_mid_half_ticks=24)


def test_buckets_of_the_queue_ahead():
    queue = np.array([0, 0, 5, 1, 2, 8, 40, 3, 3, 9])
    # Positive values in order: 1 2 3 3 5 8 9 40; their quarters end with the 2nd, 4th, 6th and 8th.
    bounds = queue_buckets(queue)
    assert bounds == [0, 2, 3, 8, 40]
    assert bucket_of(queue, bounds).tolist() == [0, 0, 3, 1, 1, 3, 4, 2, 2, 4]
    assert list(bucket_names(bounds).values()) == ["0", "1..2", "3", "4..8", "9..40"]
    assert bucket_of(np.array([99]), bounds).tolist() == [4]
    assert queue_buckets(np.array([0, 0])) == [0]
    assert queue_buckets(np.array([7])) == [0, 7]
    with pytest.raises(DataError, match="-1 lots"):
        queue_buckets(np.array([-1]))


def test_fill_ratio_by_queue():
    ratios = fill_ratio_by_queue(np.array([0, 3, 4, 9]), np.array([True, True, False, False]), [0, 4, 9])
    assert ratios == (
        QueueFillRatio("0", 1, 1, 1.0),
        QueueFillRatio("1..4", 2, 1, 0.5),
        QueueFillRatio("5..9", 1, 0, 0.0),
    )


def market(bids: list[int], asks: list[int]) -> Samples:
    samples, _ = ledger_run([(k, 0, 0, 0, 0, 20) for k in range(len(bids))])
    columns = {name: getattr(samples, name) for name in Samples._needed()}
    return Samples.of(columns | {"best_bid_ticks": bids, "best_ask_ticks": asks, "traded_lots": [4] * len(bids)})


def test_time_at_best():
    samples = market([10, 10, 10, 10, 0], [12, 12, 12, 0, 12])
    lives = OrderLives(
        start_ts=np.array([0, 1, 2, 0]),
        end_ts=np.array([2, 9, 3, 4]),
        side=np.array([1, 1, 1, -1]),
        price_ticks=np.array([10, 9, 11, 12]),
    )
    # Own bids: 10, 10, 11 (better than 9), 9, 9 against 10, 10, 10, 10, none: at the best at 0, 1, 2 and 4.
    # Own asks: 12 at 0..3, at the best there (at 3 no one else offers); none at 4.
    assert time_at_best(samples, lives) == TimeAtBest(5, 0.8, 0.8, 0.6, 1.0, 0.8)


def test_time_at_best_without_orders_or_prices():
    samples = market([10], [12])
    nothing = np.zeros(0, dtype=np.int64)
    assert time_at_best(samples, OrderLives(nothing, nothing, nothing, nothing)) == TimeAtBest(
        1, 0.0, 0.0, 0.0, 0.0, 0.0
    )
    with pytest.raises(DataError, match="best_bid_ticks"):
        time_at_best(ledger_run([(0, 0, 0, 0, 0, 2)])[0], OrderLives(nothing, nothing, nothing, nothing))


@pytest.mark.parametrize("bad", [{"end_ts": [-1]}, {"price_ticks": [0]}, {"side": [1, 1]}])
def test_impossible_order_lives(bad):
    columns = {"start_ts": [0], "end_ts": [1], "side": [1], "price_ticks": [5]} | bad
    with pytest.raises(DataError, match="order li"):
        OrderLives(**{name: np.array(column) for name, column in columns.items()})


def test_own_best_is_that_of_a_plain_search(rng):
    """Against asking every order at every instant."""
    samples = market([50] * 60, [52] * 60)
    start = rng.integers(0, 60, 80)
    lives = OrderLives(start, start + rng.integers(0, 20, 80), rng.choice([-1, 1], 80), rng.integers(45, 56, 80))
    found = time_at_best(samples, lives)
    at_best = [0, 0]
    for instant in range(60):
        open_ = (lives.start_ts <= instant) & (instant < lives.end_ts)
        bids, asks = lives.price_ticks[open_ & (lives.side == 1)], lives.price_ticks[open_ & (lives.side == -1)]
        at_best[0] += bool(len(bids)) and bids.max() >= 50
        at_best[1] += bool(len(asks)) and asks.min() <= 52
    assert (found.bid_at_best, found.ask_at_best) == (at_best[0] / 60, at_best[1] / 60)


def test_profit_of_orders_that_had_hardly_rested():
    columns = {name: getattr(three_fills([1, 2, 3], [0, 0, 1]), name) for name in Fills._needed()}
    fills = Fills.of(columns | {"resting_ns": [5, 50, 5]})
    # At an end mid of 26: 2 x (26 - 20) = 12 young, 3 x (26 - 22) = 12 older, -5 x (26 - 24) = -10 of the taker.
    assert young_profit_share(fills, 6, end_mid_half_ticks=26) == 12 / 14
    assert young_profit_share(fills, 5, end_mid_half_ticks=26) == 0.0
    # At 0 the purchases are worth nothing: 2 x (0 - 20) + 3 x (0 - 22) + 5 x 24 = 14, of which -40 young.
    assert young_profit_share(fills, 6, end_mid_half_ticks=0) == -40 / 14
    # Had all three bought, they would have lost all of it.
    bought = Fills.of(columns | {"resting_ns": [5, 50, 5], "side": [1, 1, 1]})
    assert young_profit_share(bought, 6, end_mid_half_ticks=0) is None
    with pytest.raises(DataError, match="resting_ns"):
        young_profit_share(Fills.of(columns), 6, end_mid_half_ticks=26)


def test_share_of_the_public_volume():
    samples = market([1] * 5, [3] * 5)  # 4 lots before each of the instants 0..4
    _, fills = ledger_run([(1, 1, 1, 3, 0, 4), (2, 1, 1, 2, 0, 4), (4, 1, 1, 1, 0, 4)])
    # Windows (0, 2] and (2, 4]; what came up to 0 is in the first: 5 of 12 and 1 of 8.
    assert volume_share(fills, samples, 2) == (6 / 20, 5 / 12)
    assert volume_share(fills, market([], []), 2) == (None, None)
    with pytest.raises(InvalidRequest):
        volume_share(fills, samples, 0)
    with pytest.raises(DataError, match="traded_lots"):
        volume_share(fills, ledger_run([(0, 0, 0, 0, 0, 2)])[0], 2)


def test_shares_of_a_long_run_are_consistent(rng):
    samples, fills = random_run(rng, samples=5000, fills=900)
    whole, largest = volume_share(fills, samples, 10**11)
    assert whole == pytest.approx(fills.qty_lots.sum() / samples.traded_lots.sum())
    assert largest > whole
