"""Sigma, A and k of invented recordings whose figures are known, and whether the stated errors are true ones."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.strategies.calibration import calibrate

NS = 10**9
T0 = 1_700_000_000 * NS


def recording(rng, *, seconds=600, sigma=20.0, a=2.0, k=0.15, heavy=False, step_ns=NS // 10):
    """A market of the model: the mid moves at each step, then buyers and sellers come at exponential distances."""
    n = seconds * NS // step_ns
    steps = step_ns / NS
    shocks = rng.standard_t(5, n) * np.sqrt(3 / 5) if heavy else rng.standard_normal(n)
    mids = 1e6 + np.cumsum(sigma * np.sqrt(steps) * shocks)
    mid_ts = T0 + np.arange(n) * step_ns
    count = rng.poisson(2 * a * seconds)
    ts = np.sort(rng.integers(T0 + 1, T0 + (n - 1) * step_ns, count))
    before = mids[np.searchsorted(mid_ts, ts, side="left") - 1]
    side = rng.choice([-1, 1], count)
    # Prices are whole ticks; mids here are not, so the distance is rounded away from the mid as a level would be.
    price = before + side * rng.exponential(1 / k, count)
    return {"mid_ts": mid_ts, "mid_ticks": mids, "trade_ts": ts, "trade_ticks": price, "trade_side": side}


def test_known_figures_are_found_within_their_errors(rng):
    found = calibrate(**recording(rng, seconds=3600))
    assert found.volatility == pytest.approx(20.0, abs=4 * found.volatility_error)
    assert found.intensity == pytest.approx(2.0, abs=4 * found.intensity_error)
    assert found.intensity_decay == pytest.approx(0.15, abs=4 * found.intensity_decay_error)
    # 36,000 moves: 20 / sqrt(72,000) = 0.0745. Some 14,400 orders: about 1 % for A and k.
    assert found.volatility_error == pytest.approx(0.0745, rel=0.05)
    assert found.intensity_error < 0.05
    assert found.intensity_decay_error < 0.004
    assert found.intervals == 35_999
    rates = 2.0 * np.exp(-0.15 * found.distances_ticks)
    near = found.distances_ticks < 15
    np.testing.assert_allclose(found.rates_per_s[near], rates[near], rtol=0.1)


@pytest.mark.parametrize(("heavy", "a"), [(False, 2.0), (True, 20.0)])
def test_stated_errors_are_the_scatter_of_estimates(rng, heavy, a):
    """Over 150 recordings the estimates scatter as each of them said; at 20 orders a second intervals are crowded."""
    runs = [calibrate(**recording(rng, seconds=120, heavy=heavy, a=a)) for _ in range(150)]
    for name in ("volatility", "intensity", "intensity_decay"):
        scatter = np.std([getattr(run, name) for run in runs], ddof=1)
        stated = np.mean([getattr(run, f"{name}_error") for run in runs])
        # 150 draws know a standard deviation to about 6 %.
        assert stated == pytest.approx(scatter, rel=0.25), name


def test_crowded_intervals_do_not_hide_orders(rng):
    """At 40 orders a second and side nearly every interval has one: counting intervals alone would find under 10."""
    found = calibrate(**recording(rng, seconds=1200, a=40.0, k=0.3))
    assert found.intensity == pytest.approx(40.0, rel=0.1)
    assert found.arrivals / found.intervals > 1.9


def test_volatility_by_hand():
    # Steps of +3 and -1 in turn each 0.1 s: mean square 5 in 0.1 s.
    n = 201
    moves = np.where(np.arange(n - 1) % 2 == 0, 3.0, -1.0)
    mids = 1000 + np.concatenate([[0.0], np.cumsum(moves)])
    mid_ts = T0 + np.arange(n) * (NS // 10)
    trades = {"trade_ts": mid_ts[1:] - 1, "trade_side": np.ones(n - 1, np.int64)}
    found = calibrate(
        mid_ts=mid_ts, mid_ticks=mids, trade_ticks=mids[:-1] + np.arange(n - 1) % 8, reached_min=5, **trades
    )
    assert found.volatility == pytest.approx(np.sqrt(50.0), rel=1e-12)
    # Distances 0 to 7 in turn, 25 each, buyers only: of 400 intervals and sides 175 reached 1, 150 reached 2, ...
    np.testing.assert_array_equal(found.distances_ticks, [1, 2, 3, 4, 5, 6, 7])
    shares = np.array([175, 150, 125, 100, 75, 50, 25]) / 400
    np.testing.assert_allclose(found.rates_per_s, -np.log(1 - shares) / 0.1, rtol=1e-12)
    assert found.arrivals == 200


def test_intervals_without_a_mid_are_left_out(rng):
    market = recording(rng, seconds=60)
    whole = calibrate(**market)
    market["mid_ticks"][200:260] = np.nan
    holed = calibrate(**market)
    # 60 edges have no mid: 61 intervals touch one.
    assert whole.intervals - holed.intervals == 61
    assert np.isfinite([holed.volatility, holed.intensity, holed.intensity_decay]).all()


def test_a_trade_at_an_edge_belongs_to_the_interval_before():
    """The mid of that instant knows of the trade already: it is no distance that a quote had to be reached at."""
    n = 121
    mid_ts = T0 + np.arange(n) * (NS // 10)
    mids = 1000.0 + 50.0 * np.arange(n)
    distances = 1 + np.arange(n - 1) % 6
    trades = {"trade_ts": mid_ts[1:], "trade_ticks": mids[:-1] + distances, "trade_side": np.ones(n - 1, np.int64)}
    found = calibrate(mid_ts=mid_ts, mid_ticks=mids, **trades)
    np.testing.assert_array_equal(found.distances_ticks, [1, 2, 3, 4, 5, 6])
    assert found.arrivals == 120


def test_a_mid_that_never_moves_has_no_volatility(rng):
    market = recording(rng, seconds=120, sigma=0.0)
    found = calibrate(**market)
    assert (found.volatility, found.volatility_error) == (0.0, 0.0)
    assert found.intensity_decay > 0


def test_few_far_distances_are_left_out_of_the_fit(rng):
    found = calibrate(**recording(rng, seconds=600), reached_min=50)
    share = 1 - np.exp(-found.rates_per_s[-1] * 0.1)
    assert share * 2 * found.intervals >= 49.5
    one_more = calibrate(**recording(rng, seconds=600), reached_min=5)
    assert len(one_more.distances_ticks) > len(found.distances_ticks)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"interval_ns": 0}, InvalidRequest, "interval_ns"),
        ({"depth_step_ticks": 0.0}, InvalidRequest, "depth_step_ticks"),
        ({"depth_step_ticks": float("nan")}, InvalidRequest, "depth_step_ticks"),
        ({"reached_min": 0}, InvalidRequest, "reached_min"),
        ({"mid_ticks": np.ones(3)}, InvalidRequest, "mid_ticks.*as many as mid_ts"),
        ({"trade_side": np.ones(3, np.int64)}, InvalidRequest, "trade_side.*as many as trade_ts"),
        ({"interval_ns": 10 * NS}, DataError, "intervals of 10000000000 ns.*100 are needed"),
        ({"depth_step_ticks": 100.0}, DataError, "smaller steps"),
    ],
)
def test_what_cannot_be_calibrated_is_named(rng, changes, error, text):
    with pytest.raises(error, match=text):
        calibrate(**(recording(rng, seconds=60) | changes))


def test_times_must_not_go_backwards(rng):
    market = recording(rng, seconds=60)
    with pytest.raises(InvalidRequest, match=r"trade_ts.*backwards"):
        calibrate(**(market | {"trade_ts": market["trade_ts"][::-1]}))
    nothing = np.zeros(0, np.int64)
    with pytest.raises(DataError, match="two-sided"):
        calibrate(**(market | {"mid_ts": nothing, "mid_ticks": nothing.astype(float)}))
