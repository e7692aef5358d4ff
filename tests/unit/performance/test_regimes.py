"""Labels of regimes: windows, terciles, trends and what is not known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.columns import Samples
from market_maker.performance.regimes import Cell, Regimes, Tercile, Trend, joint_labels, label_regimes, window_for
from performance_builders import ledger_run

SECOND = 10**9


def sampled(mids: list[int], traded: list[int] | None = None) -> Samples:
    samples, _ = ledger_run([(k * SECOND, 0, 0, 0, 0, mid) for k, mid in enumerate(mids)])
    columns = {name: getattr(samples, name) for name in Samples._needed()}
    return Samples.of(columns if traded is None else columns | {"traded_lots": traded})


# Windows of 2 s: the first holds the samples 0, 1, 2, then two each.
MIDS = [100, 100, 102, 104, 108, 108, 108, 100, 80]


def test_windows_terciles_and_trends():
    regimes = label_regimes(sampled(MIDS, [9, 1, 1, 0, 1, 5, 5, 1, 2]), 2 * SECOND)
    assert regimes.windows == 4
    # Sums of squared log returns: ln(102/100)^2, ln(104/102)^2 + ln(108/104)^2, 0, ln(100/108)^2 + ln(80/100)^2.
    # In order: window 2, 0, 1, 3; the bounds are the 2nd and the 3rd of 4.
    assert regimes.volatility.tolist() == [0, 0, 0, 1, 1, 0, 0, 2, 2]
    low = math.log(1.02) / math.sqrt(2)
    high = math.sqrt((math.log(104 / 102) ** 2 + math.log(108 / 104) ** 2) / 2)
    assert regimes.volatility_bounds == pytest.approx((low, high))
    assert regimes.trend.tolist() == [1, 1, 1, 1, 1, 0, 0, -1, -1]
    # Volume per second: 11/2, 1/2, 10/2, 3/2: in order windows 1, 3, 2, 0.
    assert regimes.volume.tolist() == [2, 2, 2, 0, 0, 1, 1, 0, 0]
    assert regimes.volume_bounds == (1.5, 5.0)


def test_joint_labels_name_what_occurs():
    regimes = label_regimes(sampled(MIDS, [9, 1, 1, 0, 1, 5, 5, 1, 2]), 2 * SECOND)
    labels, cells = joint_labels(regimes)
    assert [cells[label].name for label in labels[[0, 3, 5, 7]].tolist()] == [
        "LOW/UP/HIGH", "NORMAL/UP/LOW", "LOW/FLAT/NORMAL", "HIGH/DOWN/LOW",
    ]  # fmt: skip
    assert set(labels.tolist()) == set(cells)
    without, cells = joint_labels(label_regimes(sampled(MIDS), 2 * SECOND))
    assert {cell.name for cell in cells.values()} == {"LOW/UP", "NORMAL/UP", "LOW/FLAT", "HIGH/DOWN"}
    assert set(without.tolist()) == set(cells)


def test_a_label_stands_for_its_combination():
    combinations = list(itertools.product(Tercile, Trend, Tercile))
    volatility, trend, volume = (np.array(column) for column in zip(*combinations, strict=True))
    labels, cells = joint_labels(Regimes(1, 1, volatility, trend, volume, None, None))
    assert [cells[label] for label in labels.tolist()] == [Cell(*combination) for combination in combinations]
    labels, cells = joint_labels(Regimes(1, 1, volatility, trend, None, None, None))
    assert [cells[label] for label in labels.tolist()] == [Cell(*pair, None) for *pair, _ in combinations]


def test_too_few_windows_are_unknown():
    regimes = label_regimes(sampled(MIDS), 5 * SECOND)
    assert regimes.windows == 2
    assert set(regimes.volatility.tolist()) == {Tercile.UNKNOWN}
    assert regimes.volatility_bounds is None
    assert (regimes.volume, regimes.volume_bounds) == (None, None)
    assert regimes.trend.tolist() == [1] * 6 + [-1] * 3


def test_mids_that_are_not_there_make_returns_unknown():
    regimes = label_regimes(sampled([0, 100, 101, 0, 102, 102, 102, 103, 104]), 2 * SECOND)
    # The first window starts without a mid: its trend is not known, its volatility is that of 100 -> 101.
    assert regimes.trend.tolist()[:3] == [Trend.UNKNOWN] * 3
    # The second has no return at all: 101 -> 0 -> 102.
    assert regimes.volatility.tolist()[3:5] == [Tercile.UNKNOWN] * 2
    assert regimes.volatility_bounds is not None


def test_a_market_that_stands_still_is_low_everywhere():
    regimes = label_regimes(sampled([100] * 9), 2 * SECOND)
    assert set(regimes.volatility.tolist()) == {Tercile.LOW}
    assert set(regimes.trend.tolist()) == {Trend.FLAT}


@pytest.mark.parametrize(("span_s", "window_s"), [(21_600, 1800), (21_599, 600), (344, 10), (720, 60), (5, 10)])
def test_the_window_is_the_longest_of_which_there_are_twelve(span_s, window_s):
    assert window_for(span_s * SECOND) == window_s * SECOND


def test_no_samples_and_bad_windows():
    assert label_regimes(sampled([]), SECOND).windows == 0
    assert label_regimes(sampled([], []), SECOND).volume.tolist() == []
    assert joint_labels(label_regimes(sampled([]), SECOND))[1] == {}
    with pytest.raises(InvalidRequest, match="window_ns"):
        label_regimes(sampled([1]), 0)


def test_terciles_are_thirds(rng):
    mids = (100_000 + np.cumsum(rng.integers(-50, 51, 3001))).tolist()
    regimes = label_regimes(sampled(mids), 10 * SECOND)
    assert regimes.windows == 300
    counts = np.bincount(regimes.volatility[1:], minlength=3)
    assert counts.tolist() == [1000, 1000, 1000]
