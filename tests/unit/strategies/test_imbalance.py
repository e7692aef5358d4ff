"""Fair prices from the book: the weighted mid by hand, Stoikov's micro-price against linear algebra written here."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.strategies import microprice
from market_maker.strategies.actions import make_view
from market_maker.strategies.contract import wake
from market_maker.strategies.imbalance import fair_price, imbalance
from strategy_builders import flat_view, prepared, prices

BIDS, ASKS = [(99, 30), (98, 10), (96, 20)], [(101, 10), (102, 10), (105, 100)]


@pytest.mark.parametrize(
    ("levels", "share"),
    [
        (1, 0.75),  # 30 of 40
        (2, 40 / 60),
        (3, 60 / 180),
        (20, 60 / 180),  # there are no more levels
    ],
)
def test_imbalance_by_hand(levels, share):
    view = make_view(now_ts=1, bids=BIDS, asks=ASKS)
    assert imbalance(view, levels) == pytest.approx(share, rel=1e-15)


def test_levels_after_the_last_do_not_count():
    """The engine fills up the levels of a thin book with zeros."""
    view = make_view(now_ts=1, bids=[*BIDS[:1], (0, 0)], asks=[*ASKS[:1], (0, 0)])
    assert imbalance(view, 5) == 0.75
    nothing = make_view(now_ts=1, bids=[(99, 0)], asks=[(101, 0)])
    assert imbalance(nothing, 5) == 0.5


def test_weight_1_is_the_weighted_mid():
    view = make_view(now_ts=1, bids=BIDS, asks=ASKS)
    assert fair_price(view, 1, 1.0) == pytest.approx(0.75 * 101 + 0.25 * 99, rel=1e-15)  # 100.5
    assert fair_price(view, 1, 0.0) == 100.0
    assert fair_price(view, 1, 4.0) == 102.0  # 100 + 4 x 1 x 0.5


def test_quotes_lean_to_the_heavier_side():
    # Fair price 100 + 2 x 1 x 0.5 = 101; two lots held at 1.5: 98. Half-spread 2: 96 and 100.
    values = {"levels": 1, "weight_half_spreads": 2, "half_spread_ticks": 2, "skew_ticks_per_lot": 1.5}
    requests = wake(prepared("imbalance", **values), make_view(now_ts=1, bids=BIDS, asks=ASKS, position_lots=2))
    assert (prices(requests, 1), prices(requests, -1)) == ([96], [100])


def thin(bid, ask, bid_lots, ask_lots):
    return make_view(now_ts=1, bids=[(bid, bid_lots)], asks=[(ask, ask_lots)])


@pytest.mark.parametrize(
    ("bid_lots", "ask_lots", "spread", "state", "mirrored"),
    [
        (0, 5, 1, 0, 8),
        (5, 0, 1, 8, 0),
        (1, 1, 1, 4, 4),  # a balanced book is its own mirror
        (0, 0, 1, 4, 4),
        (25, 75, 1, 2, 6),  # 9 x 0.25 = 2.25
        (25, 75, 2, 9 + 2, 9 + 6),
        (25, 75, 40, 18 + 2, 18 + 6),
        (25, 75, 0, 2, 6),  # locked counts as a spread of one tick
    ],
)
def test_states(bid_lots, ask_lots, spread, state, mirrored):
    assert microprice.state_of(thin(99, 99 + spread, bid_lots, ask_lots)) == state
    assert microprice.mirrored(state) == mirrored
    assert microprice.state_of(thin(99, 99 + spread, ask_lots, bid_lots)) == mirrored


def random_walk(rng, n):
    """Books whose mid follows the imbalance: a heavy bid goes up, often."""
    bid = 1000
    share = 0.5
    for _ in range(n):
        move = rng.random() < 0.3
        if move:
            bid += 1 if rng.random() < share else -1
            share = 0.5
        share = float(np.clip(share + 0.2 * rng.standard_normal(), 0.01, 0.99))
        lots = round(100 * share)
        yield thin(bid, bid + int(rng.integers(1, 4)), lots, 100 - lots)


def by_the_paper(states, mids):
    """Section 3 of the paper with matrices: Q, T and R K from counted transitions, each also mirrored."""
    n = microprice.STATES
    stayed, moved, ticks = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    for x, y, move in zip(states[:-1], states[1:], np.diff(mids), strict=True):
        for a, b, d in ((x, y, move), (microprice.mirrored(x), microprice.mirrored(y), -move)):
            (stayed if d == 0 else moved)[a, b] += 1
            ticks[a] += d
    steps = stayed.sum(1) + moved.sum(1) + 1
    inverse = np.linalg.inv(np.eye(n) - stayed / steps[:, None])
    first, after = inverse @ (ticks / steps), inverse @ (moved / steps[:, None])
    return sum(np.linalg.matrix_power(after, i) @ first for i in range(6))


def learnt(views, samples=10**6):
    memory = np.zeros(microprice.MEMORY_SIZE)
    for view in views:
        microprice.observe(view, memory, samples)
    microprice.fit(memory)
    return memory


def test_adjustments_are_those_of_the_paper(rng):
    views = list(random_walk(rng, 3000))
    expected = by_the_paper(
        [microprice.state_of(view) for view in views], [0.5 * (v.best_bid_ticks + v.best_ask_ticks) for v in views]
    )
    memory = learnt(views)
    found = memory[microprice.ADJUSTMENT : microprice.ADJUSTMENT + microprice.STATES]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # A heavy bid is worth more than the mid, its mirror as much less.
    assert found[8] > 0.2
    np.testing.assert_allclose(found[:9], -found[8::-1], atol=1e-9)


def test_a_chain_by_hand():
    # The imbalance stays in the uppermost bucket, and the mid goes up a tick at every other step: 100 moves, 100 stays.
    views = [thin(1000 + i // 2, 1001 + i // 2, 99, 1) for i in range(201)]
    memory = learnt(views)
    # With the step taken as seen: Q = T = R K = 100/201, so that G1 = B = 100/101; the sum of six terms B^i G1.
    ratio = 100 / 101
    assert memory[microprice.ADJUSTMENT + 8] == pytest.approx(sum(ratio ** (i + 1) for i in range(6)), rel=1e-12)
    assert memory[microprice.ADJUSTMENT + 4] == 0.0  # never seen


def test_the_past_fades(rng):
    views = list(random_walk(rng, 2500))
    memory = learnt(views, samples=1000)
    # 1000, halved to 500, 500 more to 1000 again: 2499 steps leave 999.
    assert memory[microprice.COUNTED] == 999
    counts = memory[microprice.STAYED_TO : microprice.COUNTS_END].sum()
    assert 0.5 * counts == pytest.approx(999, abs=1e-6)


def test_quotes_stand_around_the_microprice(rng):
    values = {"half_spread_ticks": 3, "skew_ticks_per_lot": 0}
    strategy, memory = prepared("microprice", **values), np.zeros(microprice.MEMORY_SIZE)
    memory[microprice.ADJUSTMENT + microprice.state_of(thin(998, 1002, 99, 1))] = 1.6
    requests = wake(strategy, thin(998, 1002, 99, 1), memory)
    assert (prices(requests, 1), prices(requests, -1)) == ([998], [1005])  # 1001.6 - 3 and + 3


def test_until_it_has_learnt_the_mid_is_the_price():
    requests = wake(prepared("microprice", half_spread_ticks=3, skew_ticks_per_lot=0), flat_view(998, 1002))
    assert (prices(requests, 1), prices(requests, -1)) == ([997], [1003])


def test_an_empty_side_breaks_the_chain():
    memory = np.zeros(microprice.MEMORY_SIZE)
    strategy = prepared("microprice")
    for view in (thin(99, 100, 5, 5), make_view(now_ts=2, bids=[(99, 5)]), thin(150, 151, 5, 5)):
        wake(strategy, view, memory)
    assert memory[microprice.COUNTED] == 0
