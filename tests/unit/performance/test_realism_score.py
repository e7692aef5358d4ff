"""Distances between markets: against scipy and numpy, at both ends of the scale, repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from market_maker.performance.realism import score
from market_maker.performance.realism.metric import Curve, Told
from market_maker.performance.realism.score import common_edges, compare, curve_distance, distances

TOLD = Told("spread", 11, "spread", "ticks")


def curve(ys, parts=None, xs=None):
    ys = np.asarray(ys, float)
    return Curve(
        "lag",
        np.arange(1.0, len(ys) + 1) if xs is None else np.asarray(xs, float),
        ys,
        np.zeros((0, len(ys))) if parts is None else np.asarray(parts, float),
    )


def chance():
    return np.random.default_rng(0)


@pytest.mark.parametrize("is_discrete", [False, True])
def test_distances_are_those_of_scipy_and_numpy(rng, is_discrete):
    a, b = rng.standard_t(4, 700), 0.3 + 1.4 * rng.standard_normal(900)
    a, b = (np.round(a * 2), np.round(b * 2)) if is_discrete else (a, b)
    w1, l1 = distances(a, b, chance())
    pooled = np.concatenate([a, b])
    scaled = [(each - pooled.mean()) / pooled.std() for each in (a, b)]
    assert w1.estimate == pytest.approx(wasserstein_distance(*scaled), rel=1e-9)
    edges = np.histogram_bin_edges(np.concatenate(scaled), "auto")
    p, q = (np.histogram(each, edges)[0] / len(each) for each in scaled)
    # A value on an edge may fall to either side of it by rounding.
    assert l1.estimate == pytest.approx(0.5 * np.abs(p - q).sum(), abs=0.01)
    for interval in (w1, l1):
        assert interval.low <= interval.estimate <= interval.high
        assert interval.confidence == 0.99


def test_the_same_is_0_and_disjoint_is_1(rng):
    sample = rng.standard_normal(500)
    w1, l1 = distances(sample, sample.copy(), chance())
    assert (w1.estimate, l1.estimate) == (0.0, 0.0)
    w1, l1 = distances(sample, sample + 1000.0, chance())
    # Two lumps: each is one pooled deviation from the middle, so they are two apart.
    assert (w1.estimate, l1.estimate) == (pytest.approx(2.0, abs=1e-4), 1.0)
    # More than are compared: of the same sample the same are taken.
    many = rng.standard_normal(3 * score.SAMPLE_MAX + 17)
    assert distances(many, rng.permutation(many), chance())[1].estimate == 0.0
    constant = np.full(50, 3.0)
    assert distances(constant, constant, chance())[0].estimate == 0.0


def test_intervals_hold_the_distance_of_laws():
    """Normal laws one deviation apart, pooled deviation sqrt(1.25): in 100 experiments 99 % intervals should seldom miss."""
    rng = np.random.default_rng(4)
    true = 1.0 / np.sqrt(1.25)
    held = 0
    for _ in range(60):
        w1, _ = distances(rng.standard_normal(400), 1.0 + rng.standard_normal(400), rng)
        held += w1.low <= true <= w1.high
    assert held >= 55


def test_heavy_tails_do_not_make_endless_bins(rng):
    assert len(common_edges(np.append(rng.standard_normal(1000), 1e9))) == score.BINS_MAX + 1


def test_curves_by_hand():
    # |1 - 2| and |3 - 3|: mean 0.5; mean sizes 2 and 2.5.
    found = curve_distance(curve([1, 3]), curve([2, 3]), chance())
    assert found is not None
    interval, difference = found
    assert (interval.estimate, difference) == (pytest.approx(0.5 / 4.5), 0.5)
    assert interval.low is None
    assert "too short" in interval.reason
    assert curve_distance(curve([1, 3]), curve([-1, -3]), chance())[0].estimate == 1.0
    assert curve_distance(curve([1, 3]), curve([1, 3]), chance())[0].estimate == 0.0
    # Points that only one has are left out.
    found = curve_distance(curve([1, 3, 9]), curve([3], xs=[2]), chance())
    assert found[1] == 0.0
    assert curve_distance(curve([1]), curve([1], xs=[7]), chance()) is None


def test_curves_with_parts_have_intervals(rng):
    parts = rng.normal(1.0, 0.2, (8, 5))
    interval, _ = curve_distance(
        curve(parts.mean(axis=0), parts), curve(np.full(5, 2.0), np.full((8, 5), 2.0)), chance()
    )
    assert interval.low < interval.estimate < interval.high


def test_curves_that_count_different_things_are_not_compared():
    one = TOLD.measured({}, curve=curve([1, 2]))
    other = TOLD.measured({}, curve=curve([1, 2])._replace(x_name="lag, events"))
    assert "different things" in compare([one], [other]).scores[0].reason


def test_scores_skip_what_is_missing_and_say_so(rng):
    a, b = rng.standard_normal(100), rng.standard_normal(100) + 50.0
    here = [
        TOLD.measured({}, sample=a), TOLD._replace(key="signs").missing("no trades"), TOLD._replace(key="other").measured({}, sample=a),
        TOLD._replace(key="told", is_informational=True).measured({}, sample=a), TOLD._replace(key="acf").measured({}, curve=curve([1, 3])),
        TOLD._replace(key="figures").measured({"mean": 1.0}), TOLD._replace(key="new").measured({}, sample=a),
    ]  # fmt: skip
    reference = [
        TOLD.measured({}, sample=b), TOLD._replace(key="signs").measured({}, sample=b), TOLD._replace(key="other").missing("no depth"),
        TOLD._replace(key="told", is_informational=True).measured({}, sample=a),
        TOLD._replace(key="acf").measured({}, curve=curve([1, 3])), TOLD._replace(key="figures").measured({"mean": 1.0}),
    ]  # fmt: skip
    found = compare(here, reference)
    scores = {each.key: each for each in found.scores}
    assert scores["signs"].reason == "here: no trades"
    assert scores["other"].reason == "reference: no depth"
    assert scores["new"].reason == "reference: the reference does not have it"
    assert "too few" in scores["figures"].reason
    assert found.mean_w1 == scores["spread"].w1.estimate
    assert found.mean_l1 == pytest.approx(0.5)  # 1 of the samples, 0 of the curve; the informational one does not count
    assert compare(here, reference) == found
    assert compare(here, reference, seed=1).scores[0].w1.estimate == found.scores[0].w1.estimate
    assert compare(here[1:2], reference).mean_l1 is None
