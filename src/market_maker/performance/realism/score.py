"""How far a market is from another one, metric by metric: 0 is the same, 1 disjoint; with intervals.

Distributions are pooled and z-scored. W1 is the Wasserstein-1 distance, in pooled standard deviations; L1 is half the sum of
|p - q| over common bins of a histogram. Curves have one number: the mean |difference| over the sum of their mean sizes.

Source: Nagy et al. (2025), "LOB-Bench", arXiv 2502.09172, section 4 (distances, bootstrap of 100 resamples, 99 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_maker.performance.figures import Float64, Int64, Interval
from market_maker.performance.realism.metric import Curve, Metric

RESAMPLES = 100
CONFIDENCE = 0.99
SAMPLE_MAX = 20_000
"""Observations of a sample that are compared: of more, those of so many evenly spaced ranks."""
BINS_MAX = 500
_METHOD = f"bootstrap, {RESAMPLES} resamples, percentiles"


@dataclass(frozen=True, slots=True)
class Score:
    """A metric held against the reference's.

    Parameters
    ----------
    key, number, title : of the metric
    w1 : of distributions, in standard deviations of both pooled; 0 is the same
    l1 : of distributions, 0 the same and 1 disjoint; of curves their relative difference, 0 to 1
    difference : of curves, mean |difference| in the metric's unit
    reason : why there is none
    is_informational : no part of the means
    """

    key: str
    number: int
    title: str
    w1: Interval | None = None
    l1: Interval | None = None
    difference: float | None = None
    reason: str | None = None
    is_informational: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """All metrics, and the means of those that have the distance; None without any."""

    scores: tuple[Score, ...]
    mean_w1: float | None
    mean_l1: float | None


def compare(metrics: Sequence[Metric], reference: Sequence[Metric], *, seed: int = 0) -> Scores:
    """Return the distances of metrics from those of a reference, by key; the same seed gives the same intervals.

    Parameters
    ----------
    metrics, reference : as `measure` returns them
    seed : of resampling
    """
    known = {metric.key: metric for metric in reference}
    scores = []
    for place, metric in enumerate(metrics):
        # Of its own stream, so that a metric's interval does not depend on which others could be had.
        rng = np.random.default_rng([seed, place])
        scores.append(_score(metric, known.get(metric.key), rng))
    w1 = [score.w1.estimate for score in scores if score.w1 is not None and not score.is_informational]
    l1 = [score.l1.estimate for score in scores if score.l1 is not None and not score.is_informational]
    return Scores(tuple(scores), _mean(w1), _mean(l1))


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _score(metric: Metric, other: Metric | None, rng: np.random.Generator) -> Score:
    def told(reason: str) -> Score:
        return Score(metric.key, metric.number, metric.title, reason=reason, is_informational=metric.is_informational)

    if other is None or metric.reason is not None or other.reason is not None:
        missing = other.reason if other is not None else "the reference does not have it"
        return told(f"here: {metric.reason}" if metric.reason is not None else f"reference: {missing}")
    if metric.sample is not None and other.sample is not None:
        w1, l1 = distances(metric.sample, other.sample, rng)
        return Score(metric.key, metric.number, metric.title, w1, l1, is_informational=metric.is_informational)
    if metric.curve is not None and other.curve is not None:
        if metric.curve.x_name != other.curve.x_name:
            return told(f"the curves count different things: {metric.curve.x_name}; {other.curve.x_name}")
        found = curve_distance(metric.curve, other.curve, rng)
        if found is None:
            return told("the curves have no point in common")
        return Score(
            metric.key, metric.number, metric.title, None, *found, is_informational=metric.is_informational
        )  # fmt: skip
    return told("too few observations for a distribution or a curve in one of the windows")


def distances(sample: Float64, other: Float64, rng: np.random.Generator) -> tuple[Interval, Interval]:
    """Return W1 and L1 of two samples, with bootstrap intervals.

    Parameters
    ----------
    sample, other : (n,), (m,), not empty; thinned to SAMPLE_MAX
    rng : source of chance

    Notes
    -----
    Both samples are resampled; the scale and the bins stay those of the pooled original. Dependence between observations is
    not kept: of dependent ones intervals are too narrow. A distance of resamples is never below 0: where two samples are the
    same, the interval begins at 0 and shows how far chance alone would move them apart.
    """
    a, b = _thinned(sample), _thinned(other)
    pooled = np.concatenate([a, b])
    deviation = float(pooled.std())
    if deviation <= 1e-12 * max(1.0, float(np.abs(pooled).max())):
        same = Interval(0.0, 0.0, 0.0, CONFIDENCE, _METHOD)
        return same, same
    scaled = (pooled - pooled.mean()) / deviation
    support, place = np.unique(scaled, return_inverse=True)
    edges = common_edges(scaled)
    bins = np.clip(np.searchsorted(edges, support, side="right") - 1, 0, len(edges) - 2)
    gaps = np.diff(support)
    rows = (place[: len(a)], place[len(a) :])

    def both(chosen: Sequence[Int64]) -> tuple[float, float]:
        p, q = (np.bincount(each, minlength=len(support)) / len(each) for each in chosen)
        w1 = float(np.abs(np.cumsum(p - q))[:-1] @ gaps)
        return w1, min(1.0, 0.5 * float(np.abs(np.bincount(bins, weights=p - q)).sum()))

    draws = np.array([both([each[rng.integers(0, len(each), len(each))] for each in rows]) for _ in range(RESAMPLES)])
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    w1, l1 = (Interval(value, float(low[i]), float(high[i]), CONFIDENCE, _METHOD) for i, value in enumerate(both(rows)))
    return w1, l1


def common_edges(pooled: Float64) -> Float64:
    """Return edges of bins by numpy's `auto` rule, at most BINS_MAX of them."""
    # The rule's own count first: of heavy tails it would make an array of millions of edges.
    spread = float(np.ptp(pooled))
    quarter = float(np.subtract(*np.quantile(pooled, [0.75, 0.25])))
    width = 2.0 * quarter / len(pooled) ** (1 / 3)
    if width > 0.0 and spread / width > BINS_MAX:
        return np.histogram_bin_edges(pooled, BINS_MAX)
    return np.histogram_bin_edges(pooled, "auto")


def _thinned(sample: Float64) -> Float64:
    """Return at most SAMPLE_MAX observations: those of evenly spaced ranks, so that the same sample is the same again."""
    if len(sample) <= SAMPLE_MAX:
        return sample
    ranks = ((np.arange(SAMPLE_MAX) + 0.5) * (len(sample) / SAMPLE_MAX)).astype(np.int64)
    return np.sort(sample)[ranks]


def curve_distance(one: Curve, other: Curve, rng: np.random.Generator) -> tuple[Interval, float] | None:
    """Return the relative distance of two curves at their common points, and the mean |difference|; None without a point.

    Notes
    -----
    Mean |a - b| / (mean |a| + mean |b|): 0 for the same curve, 1 for opposite ones or where one is 0. The interval moves the
    estimate by what resampling the parts of both windows moves it; without parts it is missing.
    """
    _, here, there = np.intersect1d(one.xs, other.xs, return_indices=True)
    if not len(here):
        return None
    estimate = _relative(one.ys[here], other.ys[there])
    difference = float(np.abs(one.ys[here] - other.ys[there]).mean())
    a, b = one.parts[:, here], other.parts[:, there]
    if len(a) < 2 or len(b) < 2:
        why = "the windows are too short to be cut into parts"
        return Interval(estimate, None, None, CONFIDENCE, _METHOD, why), difference
    middle = _relative(a.mean(axis=0), b.mean(axis=0))
    draws = [
        _relative(a[rng.integers(0, len(a), len(a))].mean(axis=0), b[rng.integers(0, len(b), len(b))].mean(axis=0))
        - middle
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # An interval holds its estimate.
    low, high = min(0.0, float(low)), max(0.0, float(high))
    interval = Interval(estimate, max(0.0, estimate + low), min(1.0, estimate + high), CONFIDENCE, _METHOD)
    return interval, difference


def _relative(ys: Float64, others: Float64) -> float:
    size = float(np.abs(ys).mean() + np.abs(others).mean())
    return float(np.abs(ys - others).mean()) / size if size > 0.0 else 0.0
