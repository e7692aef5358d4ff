"""Rolling estimates from views: by hand, against a plain recount of the window, and on markets with known figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from market_maker.strategies import market_estimates as estimates
from strategy_builders import flat_view

NS = 10**8


def views_of(mids, trades=None, *, step_ns=NS):
    """Views with these mids (whole ticks) and, per view, a last print: None or (price, bought, sold)."""
    for i, mid in enumerate(mids):
        print_of = trades[i] if trades is not None else None
        price, bought, sold = print_of or (0, 0, 0)
        yield flat_view(
            mid - 1, mid + 1, now_ts=10**18 + i * step_ns, trades=int(print_of is not None),
            last_trade_ticks=price, bought_lots=bought, sold_lots=sold,
        )  # fmt: skip


def observed(views, window=6000, step=1.0):
    memory = np.zeros(estimates.SIZE)
    for view in views:
        estimates.observe(view, memory, window, step)
    return memory


def test_volatility_by_hand():
    # 60 steps of 0.1 s that alternate +3, -1: mean square (9 + 1) / 2 = 5 in 0.1 s, sigma = sqrt(50).
    mids = [1000 + 2 * (i // 2) + 3 * (i % 2) for i in range(61)]
    assert estimates.volatility(observed(views_of(mids))) == pytest.approx(math.sqrt(50.0), rel=1e-12)


def test_nothing_is_known_before_fifty_samples():
    mids = list(range(1000, 1050))
    assert estimates.volatility(observed(views_of(mids))) == estimates.UNKNOWN  # 49 samples
    memory = observed(views_of([*mids, 1050]))
    assert estimates.volatility(memory) == pytest.approx(math.sqrt(10.0))
    assert (estimates.intensity(memory), estimates.intensity_decay(memory)) == (estimates.UNKNOWN, estimates.UNKNOWN)


def test_a_market_that_stands_still_has_no_volatility():
    assert estimates.volatility(observed(views_of([1000] * 80))) == 0.0


@pytest.mark.parametrize(
    ("print_of", "expected"),
    [
        (None, estimates.NO_ARRIVAL),
        ((1007, 5, 0), 7),  # a buyer 7 ticks above the mid seen before
        ((993, 0, 5), 7),
        ((993, 5, 0), 0),  # a buyer below that mid would have reached no ask
        ((1007, 0, 5), 0),
        ((993, 5, 5), 7),  # of both sides: by the distance
        ((5000, 5, 0), estimates.BINS - 1),
    ],
)
def test_where_an_arrival_is_counted(print_of, expected):
    (view,) = views_of([1020], [print_of])
    assert estimates.bin_of(view, 2 * 1000, 1.0) == expected
    if expected == 7:
        assert estimates.bin_of(view, 2 * 1000, 2.0) == 3


def test_an_empty_side_breaks_the_chain():
    views = list(views_of([1000] * 60 + [2000] * 60))
    memory = observed([*views[:60], flat_view(999, 1001, asks=[], now_ts=10**18 + 60 * NS), *views[60:]])
    assert memory[estimates.COUNT] == 59 + 59
    assert estimates.volatility(memory) == 0.0  # the jump of 1000 ticks is no move


def recount(views, window, step):
    """Sigma, A and k of the last `window` samples, written down again without memory or ring."""
    mids = np.array([0.5 * (view.best_bid_ticks + view.best_ask_ticks) for view in views])
    ts = np.array([view.now_ts for view in views])
    moves, times = np.diff(mids)[-window:], np.diff(ts)[-window:] / 1e9
    depths = []
    for before, view in list(zip(mids[:-1], views[1:], strict=True))[-window:]:
        if view.trades:
            away = view.last_trade_ticks - before
            one_side = 1 if view.sold_lots == 0 else -1
            depths.append(abs(away) if view.bought_lots and view.sold_lots else one_side * away)
    distances = step * np.arange(1, estimates.BINS)
    reached = np.array([sum(depth >= distance for depth in depths) for distance in distances], float)
    used = reached >= estimates.REACHED_MIN
    slope, intercept = np.polyfit(distances[used], np.log(reached[used]), 1, w=np.sqrt(reached[used]))
    return np.sqrt((moves**2).sum() / times.sum()), np.exp(intercept) / times.sum() / 2, -slope


def random_market(rng, n, *, a, k, sigma, seconds=0.1):
    """A market of the model: buys and sells of intensity `a` per second each, at exponential distances of decay `k`."""
    mids = 10**6 + np.cumsum(np.round(sigma * np.sqrt(seconds) * rng.standard_normal(n))).astype(int)
    trades = []
    for i in range(n):
        before = mids[i - 1] if i else mids[0]
        side = rng.choice([1, -1], size=rng.poisson(2 * a * seconds))
        # A distance of d ticks or more has the chance exp(-k d) on whole ticks too.
        depths = np.floor(rng.exponential(1 / k, size=len(side))).astype(int)
        trades.append(
            (int(before + side[-1] * depths[-1]), int((side > 0).sum()), int((side < 0).sum())) if len(side) else None
        )
    return list(views_of(mids.tolist(), trades, step_ns=round(seconds * 1e9)))


@pytest.mark.parametrize(("window", "step"), [(200, 1.0), (150, 0.5), (6000, 2.0)])
def test_the_window_is_what_a_plain_recount_says(rng, window, step):
    views = random_market(rng, 501, a=4.0, k=0.2, sigma=20.0)
    memory = observed(views, window, step)
    expected = recount(views, min(window, 500), step)
    found = (estimates.volatility(memory), estimates.intensity(memory), estimates.intensity_decay(memory))
    assert found == pytest.approx(expected, rel=1e-9)


def test_known_figures_are_found(rng):
    # 100 ms and one order in two seconds and side: seldom two in a sample. 6000 samples, some 600 arrivals: errors of
    # 0.7 % for sigma and 5 % for A and k; four times that is allowed.
    memory = observed(random_market(rng, 6001, a=0.5, k=0.1, sigma=30.0))
    assert estimates.volatility(memory) == pytest.approx(30.0, rel=0.03)
    assert estimates.intensity_decay(memory) == pytest.approx(0.1, rel=0.20)
    assert estimates.intensity(memory) == pytest.approx(0.5, rel=0.20)


def test_of_crowded_samples_only_the_last_print_is_seen(rng):
    """What the module says of itself: k stays, and A falls to the share (1 - exp(-x)) / x for x prints a sample."""
    memory = observed(random_market(rng, 6001, a=10.0, k=0.1, sigma=30.0))
    assert estimates.intensity_decay(memory) == pytest.approx(0.1, rel=0.1)
    assert estimates.intensity(memory) == pytest.approx(10.0 * (1 - math.exp(-2.0)) / 2.0, rel=0.1)


def test_a_fit_that_says_nothing_leaves_what_was_fitted(rng):
    memory = observed(random_market(rng, 301, a=4.0, k=0.2, sigma=5.0), 100)
    quiet = [view._replace(now_ts=view.now_ts + 301 * NS) for view in views_of([1000] * 300)]
    for view in quiet[:120]:
        estimates.observe(view, memory, 100, 1.0)
    assert not memory[estimates.HISTOGRAM : estimates.RING].any()
    before = estimates.intensity(memory), estimates.intensity_decay(memory)
    assert min(before) > 0.0
    for view in quiet[120:]:
        estimates.observe(view, memory, 100, 1.0)
    assert (estimates.intensity(memory), estimates.intensity_decay(memory)) == before


def test_the_fit_by_hand():
    # 50 samples of 0.1 s: 40 buyers reach 1 tick, 20 of them 2 and none 3. Two points: k = ln 2, A e^-k = 40 / 5 s / 2.
    trades = [None, *[(1002, 1, 0)] * 20, *[(1001, 1, 0)] * 20, *[None] * 10]
    memory = observed(views_of([1000] * 51, trades))
    assert estimates.intensity_decay(memory) == pytest.approx(math.log(2.0), rel=1e-12)
    assert estimates.intensity(memory) == pytest.approx(8.0, rel=1e-12)


@pytest.mark.parametrize(("given", "expected"), [(0.0, 7.0), (1e-300, 7.0), (2.5, 2.5)])
def test_a_given_figure_replaces_the_estimate(given, expected):
    assert estimates.given_or(given, 7.0) == expected
