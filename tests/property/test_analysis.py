"""What must hold of an analysis for every run: exact sums, whole partitions, splits of time that do not leak."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from market_maker.performance.attribution import (
    Split,
    marks_of,
    regrouped,
    split_by_fill,
    split_by_interval,
    split_by_label,
    split_by_part,
    split_whole,
    sum_of,
)
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.curves import thinned
from market_maker.performance.drawdown import max_drawdown, relative_drawdown, time_under_water, top_drawdowns
from market_maker.performance.inventory import histogram
from market_maker.performance.markout import future_mids, markouts, mids_of
from market_maker.performance.overfitting import effective_trials, expected_maximum, probabilistic_sharpe
from market_maker.performance.splits import combinatorial_folds, walk_forward_folds
from market_maker.performance.trading import bucket_of, fills_by_group, queue_buckets
from performance_builders import ledger_run

Event = tuple[int, int, int, int, int, int]


@st.composite
def events(draw: Callable[..., object], most: int = 30, price_max: int = 2**33) -> list[Event]:
    """Draw a run: times that may repeat, fills of any size on any side of the mid, fees and rebates, samples between."""
    ts, found = 0, []
    for _ in range(draw(st.integers(1, most))):
        ts += draw(st.integers(0, 50))
        side = draw(st.sampled_from([-1, 0, 0, 1]))
        price, mid = draw(st.integers(1, price_max)), draw(st.integers(1, 2 * price_max))
        found.append((ts, side, price, draw(st.integers(1, 2**20)), draw(st.integers(-(2**30), 2**30)), mid))
    # At one instant fills come first, as in the replay.
    return sorted(found, key=lambda event: (event[0], event[1] == 0))


def run_of(told: list[Event]) -> tuple[Samples, Fills]:
    return ledger_run(told)


@given(events(), st.integers(1, 200), st.data())
def test_the_residual_is_zero_in_every_part_of_every_partition(
    told: list[Event], width: int, data: st.DataObject
) -> None:
    samples, fills = run_of(told)
    marks = marks_of(samples, fills)
    whole = split_whole(marks)
    groups = data.draw(st.integers(1, 4))
    part = np.array(data.draw(st.lists(st.integers(0, groups - 1), min_size=len(marks.ts), max_size=len(marks.ts))))
    tables = [split_by_interval(marks, width), split_by_part(marks, part, range(groups))]
    tables.append(regrouped(tables[0], lambda start: start % (3 * width)))
    if len(samples.ts):
        labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(samples.ts), max_size=len(samples.ts))))
        tables.append(split_by_label(marks, samples, labels, [2, 0, 1]))
    for table in tables:
        assert table.whole == whole
        assert all(split.residual == 0 for split in table.splits)
        assert sum(table.fills) == fills.count


@given(events())
def test_the_split_is_that_of_a_plain_loop(told: list[Event]) -> None:
    """Against going from event to event with a position in hand."""
    position, last_mid = 0, told[0][5]
    capture = inventory = fees = rebates = 0
    for _, side, price, qty, fee, mid in told:
        inventory += position * (mid - last_mid)
        last_mid = mid
        if side:
            capture += side * qty * (mid - 2 * price)
            position += side * qty
            fees += 2 * max(fee, 0)
            rebates += 2 * max(-fee, 0)
    net = capture + inventory - fees + rebates
    assert split_whole(marks_of(*run_of(told))) == Split(net, capture, inventory, fees, rebates, 0)


@given(events(), st.data())
def test_funding_and_the_end_leave_no_residual(told: list[Event], data: st.DataObject) -> None:
    samples, fills = run_of(told)
    end_ts = told[-1][0] + data.draw(st.integers(0, 50))
    paid = data.draw(st.lists(st.tuples(st.integers(0, end_ts), st.integers(-(2**40), 2**40)), max_size=5))
    marks = marks_of(
        samples,
        fills,
        end_ts=end_ts,
        end_mid_half_ticks=data.draw(st.integers(1, 2**34)),
        funding_ts=np.array([ts for ts, _ in sorted(paid)], dtype=np.int64),
        funding_tick_lots=np.array([amount for _, amount in sorted(paid)], dtype=np.int64),
    )
    whole = split_whole(marks)
    assert whole.residual == 0
    assert whole.funding == 2 * sum(amount for _, amount in paid)
    assert split_by_interval(marks, 37).whole == whole


@given(events(), st.data())
def test_sets_of_fills_add_up_to_the_run(told: list[Event], data: st.DataObject) -> None:
    samples, fills = run_of(told)
    assume(fills.count)
    end_mid = told[-1][5]
    group = np.array(data.draw(st.lists(st.integers(0, 2), min_size=fills.count, max_size=fills.count)))
    table = split_by_fill(fills, group, range(3), end_mid_half_ticks=end_mid)
    assert all(split.residual == 0 for split in table.splits)
    assert table.whole == split_whole(marks_of(samples, fills))
    named = fills_by_group(fills, group, {0: "a", 1: "b", 2: "c"}, end_mid_half_ticks=end_mid)
    assert sum_of(each.split for each in named) == table.whole
    assert sum(each.volume_lots for each in named) == int(fills.qty_lots.sum())


@given(events(), st.integers(0, 100))
def test_markouts_are_those_of_a_plain_search(told: list[Event], horizon: int) -> None:
    samples, fills = run_of(told)
    (found,) = markouts(fills, future_mids(fills, mids_of(samples, fills), [horizon]))
    expected, counted = 0, 0
    for ts, side, price, qty, _, _ in told:
        if side and ts + horizon <= told[-1][0]:
            mid = [event[5] for event in told if event[0] <= ts + horizon][-1]
            expected += side * qty * (mid - 2 * price)
            counted += 1
    assert (found.fills, found.left_out, found.half_tick_lots) == (counted, fills.count - counted, expected)


@given(events(), st.integers(1, 2**40))
def test_scaling_prices_scales_the_profit(told: list[Event], factor: int) -> None:
    """Every price, mid and fee times a factor: so is every part."""
    factor = factor % 7 + 1
    scaled = [(ts, side, price * factor, qty, fee * factor, mid * factor) for ts, side, price, qty, fee, mid in told]
    one, many = (split_whole(marks_of(*run_of(each))) for each in (told, scaled))
    assert all(getattr(many, field.name) == factor * getattr(one, field.name) for field in fields(Split))


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=60))
def test_drawdowns_are_those_of_a_plain_search(equity: list[int]) -> None:
    deepest = max(max(equity[: k + 1]) - value for k, value in enumerate(equity))
    falls = top_drawdowns(equity, 100)
    assert max_drawdown(equity).depth == deepest
    assert [fall.depth for fall in falls] == sorted((fall.depth for fall in falls), reverse=True)
    assert (falls[0] == max_drawdown(equity)) if falls else deepest == 0
    spans = sorted((fall.start, fall.start + fall.duration) for fall in falls)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    water = time_under_water(equity)
    assert water.share == sum(value < max(equity[: k + 1]) for k, value in enumerate(equity)) / len(equity)
    assert (water.episodes, water.longest) == (len(falls), max((fall.duration for fall in falls), default=0))


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_a_relative_drawdown_is_a_share(equity: list[int]) -> None:
    expected = max(1 - Fraction(value, max(equity[: k + 1])) for k, value in enumerate(equity))
    assert abs(relative_drawdown(equity) - float(expected)) < 1e-12


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 60)), min_size=4, max_size=25),
    st.integers(2, 5), st.integers(1, 4), st.integers(0, 40),
)  # fmt: skip
def test_nothing_leaks_from_test_to_train(steps: list[tuple[int, int]], blocks: int, tested: int, embargo: int) -> None:
    """No training outcome overlaps a test outcome's stretch, none begins in an embargo, and nothing else is dropped."""
    assume(blocks <= len(steps) and tested < blocks)
    start = np.cumsum([step for step, _ in steps])
    end = start + np.array([length for _, length in steps])
    for split in combinatorial_folds(start, end, blocks, test_blocks=tested, embargo_ns=embargo):
        train, test = set(split.train.tolist()), set(split.test.tolist())
        assert not train & test
        stretches: list[list[int]] = []
        for place in sorted(test):
            if stretches and stretches[-1][-1] == place - 1:
                stretches[-1].append(place)
            else:
                stretches.append([place])
        for place in range(len(start)):
            leaks = any(
                (start[place] < end[part].max() and end[place] > start[part[0]])
                or end[part].max() <= start[place] < end[part].max() + embargo
                for part in stretches
            )
            assert (place in train) == (place not in test and not leaks)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=3, max_size=25),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_walking_forward_never_looks_ahead(steps: list[tuple[int, int]], folds: int, size: int) -> None:
    assume(folds * size < len(steps))
    start = np.cumsum([step for step, _ in steps])
    end = start + np.array([length for _, length in steps])
    seen: list[int] = []
    for split in walk_forward_folds(start, end, folds, test_size=size):
        assert all(end[place] <= start[split.test[0]] for place in split.train)
        assert all(place < split.test[0] for place in split.train)
        seen += split.test.tolist()
    assert seen == list(range(len(start) - folds * size, len(start)))


@given(st.integers(2, 12), st.integers(5, 30), st.integers(0, 2**32), st.floats(-0.9, 0.99))
def test_clusters_are_a_partition_and_more_tolerance_joins(
    trials: int, periods: int, seed: int, correlation: float
) -> None:
    returns = np.random.default_rng(seed).standard_normal((trials, periods))
    strict = effective_trials(returns, axes=("trial", "period"), correlation=correlation)
    loose = effective_trials(returns, axes=("trial", "period"), correlation=correlation - 0.3)
    assert set(strict.members) == set(range(strict.clusters))
    assert 1 <= loose.clusters <= strict.clusters <= trials
    # What was together stays together.
    pairs = {(strict.members[k], loose.members[k]) for k in range(trials)}
    assert len(pairs) == strict.clusters


@given(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.integers(2, 5000), st.floats(-1, 1), st.floats(3, 12))
def test_probabilities_are_ordered(
    ratio: float, benchmark: float, count: int, skewness: float, kurtosis: float
) -> None:
    shape = {"observations": count, "skewness": skewness, "kurtosis": kurtosis}
    easy, hard = (probabilistic_sharpe(ratio, benchmark=bound, **shape) for bound in (benchmark, benchmark + 0.1))
    assert easy is not None
    assert hard is not None
    assert 0.0 <= hard <= easy <= 1.0
    assert (easy >= 0.5) == (ratio >= benchmark) or abs(ratio - benchmark) < 1e-12


@given(st.floats(1, 1e6), st.floats(1, 1e6))
def test_more_trials_are_never_expected_to_do_worse(one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert 0.0 <= expected_maximum(few) <= expected_maximum(many) + 1e-12


@given(st.lists(st.integers(0, 10**6), max_size=80))
def test_every_queue_has_its_bucket(queue: list[int]) -> None:
    ahead = np.array(queue, dtype=np.int64)
    bounds = queue_buckets(ahead)
    assert bounds == sorted(set(bounds))
    for value, bucket in zip(queue, bucket_of(ahead, bounds).tolist(), strict=True):
        assert value <= bounds[bucket]
        assert bucket == 0 or value > bounds[bucket - 1]


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=80), st.integers(1, 30))
def test_a_histogram_has_every_value_once(values: list[int], bins: int) -> None:
    found = histogram(np.array(values), bins)
    expected = [
        sum(low <= value < high for value in values) for low, high in zip(found.edges, found.edges[1:], strict=False)
    ]
    assert list(found.counts) == expected
    assert sum(expected) == len(values)
    assert found.edges[0] % (found.edges[1] - found.edges[0]) == 0


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=300), st.integers(4, 60))
def test_thinning_loses_no_extreme(values: list[int], points: int) -> None:
    kept = np.array(values)[thinned(np.array(values), points)]
    assert (kept.max(), kept.min(), kept[0], kept[-1]) == (max(values), min(values), values[0], values[-1])
    assert len(kept) <= points + 4
