"""Every set of a sweep is the run of that set alone, bit for bit, whatever stands beside it."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import random_trader
from test_replay_kernel import PAIR, random_feed, shifted

from market_maker.backtest import sweep as sweeping
from market_maker.backtest.drive import Capacity, OutgrownError
from market_maker.backtest.engine import RunConfig, run, run_sets
from market_maker.backtest.fee_models.funding import Funding
from market_maker.backtest.result import FillModel
from market_maker.backtest.sweep import Stop, Threads, grid, sweep, trial_key
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import ContractType
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import feed_of
from market_maker.strategies.contract import Parameter, StrategyKind


def configs_on(
    feed, *, seeds=(1, 2, 3), intervals=(500,), latencies=((0, 0),), models=tuple(FillModel), balances=("100000",)
):
    return [
        RunConfig(
            PAIR, "random_trader", feed.first_ts, feed.last_ts + 1, {"seed": seed, "interval_ns": interval}, *latency,
            Decimal(balance), model, 10_000,
        )
        for seed, interval, latency, model, balance in itertools.product(seeds, intervals, latencies, models, balances)
    ]  # fmt: skip


def prepared(configs):
    return [random_trader.KIND.prepare(config.parameters) for config in configs]


def swept(configs, feed, **options):
    trials = list(sweep(configs, feed, strategies=prepared(configs), **options))
    assert sorted(trial.number for trial in trials) == list(range(len(configs)))
    return [trial.result for trial in sorted(trials, key=lambda trial: trial.number)]


def alone(configs, feed):
    return [run(config, feed, strategy) for config, strategy in zip(configs, prepared(configs), strict=True)]


def assert_same(configs, feed, **options):
    together, each = swept(configs, feed, **options), alone(configs, feed)
    assert [result.digest() for result in together] == [result.digest() for result in each]
    assert [result.to_json() for result in together] == [result.to_json() for result in each]
    assert sum(result.fills.height for result in each) > 10 * len(configs), "the feed must make the test mean something"


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_sets_of_every_kind_together_are_what_they_are_alone(seed, shift):
    feed = feed_of(random_feed(seed))
    feed = shifted(feed, seed) if shift else feed
    configs = configs_on(
        feed, intervals=(500, 333), latencies=((0, 0), (300, 700), (5000, 100)), balances=("100000", "200")
    )
    assert len(configs) == 72
    assert_same(configs, feed)


@pytest.mark.parametrize(("chunk", "threads"), [(1, 1), (5, 2), (7, 1), (64, 2)])
def test_how_sets_share_passes_changes_nothing(chunk, threads):
    feed = feed_of(random_feed(3))
    assert_same(configs_on(feed, seeds=range(1, 12)), feed, chunk=chunk, threads=threads)


def test_runs_that_cannot_share_a_pass_are_swept_all_the_same():
    feed = feed_of(random_feed(4))
    configs = configs_on(feed)
    conditions = MarketConditions.of({"volume_profile": "LOW"})
    configs += [replace(configs[0], sample_interval_ns=7_000), replace(configs[1], market_conditions=conditions)]
    assert_same(configs, feed)


@settings(max_examples=8)
@given(st.integers(10, 10**5), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), min_size=1, max_size=4))
def test_any_latencies_on_any_feed(seed, latencies):
    feed = feed_of(random_feed(seed, 700))
    configs = configs_on(feed, seeds=(seed % 1000,), latencies=latencies, intervals=(250, 500))
    together = swept(configs, feed)
    assert [result.digest() for result in together] == [result.digest() for result in alone(configs, feed)]


def test_sets_that_need_more_memory_than_usual_get_it(monkeypatch):
    feed = feed_of(random_feed(5))
    configs = configs_on(feed, latencies=((5000, 5000),))
    with pytest.raises(OutgrownError):
        run_sets(configs, feed, prepared(configs), capacity=Capacity(orders=3, in_flight=3, marks=1))
    monkeypatch.setattr(sweeping, "_USUAL", Capacity(orders=3, in_flight=3, marks=1))
    assert_same(configs, feed)
    monkeypatch.setattr(sweeping, "_AMPLE", Capacity(orders=4, in_flight=4, marks=1))
    assert_same(configs, feed)


def test_small_buffers_of_many_sets_change_nothing(monkeypatch):
    feed = feed_of(random_feed(1))
    configs = configs_on(feed)
    monkeypatch.setattr("market_maker.backtest.state.FILLS_BUFFER", 2100)
    monkeypatch.setattr("market_maker.backtest.state.SAMPLES_BUFFER", 2)
    assert_same(configs, feed)


def test_a_sweep_goes_on_where_it_stopped():
    feed = feed_of(random_feed(2))
    configs = configs_on(feed)
    everything = swept(configs, feed)
    known = {trial_key_of(config, feed) for config in configs[:4]}
    seen = []
    rest = list(sweep(configs, feed, seen.append, known=known, strategies=prepared(configs), chunk=1, threads=1))
    rest.sort(key=lambda trial: trial.number)  # results come as their chunks are done: in no promised order
    assert [trial.number for trial in rest] == [4, 5]
    assert [trial.result.digest() for trial in rest] == [result.digest() for result in everything[4:]]
    assert [(step.done, step.total) for step in seen] == [(1, 2), (2, 2)]
    assert seen[-1].left_s == 0


@pytest.fixture(autouse=True)
def _known_by_name(monkeypatch):
    monkeypatch.setattr(sweeping, "find_strategy", lambda _: random_trader.KIND)


def trial_key_of(config, feed):
    return trial_key(config, feed)


def test_a_key_is_of_everything_that_a_run_depends_on():
    feed = feed_of(random_feed(2))
    base = configs_on(feed)[0]
    changes = [
        {"parameters": {"seed": 9, "interval_ns": 500}}, {"entry_latency_ns": 1}, {"response_latency_ns": 1},
        {"balance": Decimal(1)}, {"fill_model": FillModel.NO_PARTIAL}, {"sample_interval_ns": 9_999}, {"seed": 3},
        {"start_ts": base.start_ts + 1}, {"end_ts": base.end_ts - 1},
        {"market_conditions": MarketConditions.of({"trend": "UP"})},
        {"instrument": replace(PAIR, maker_fee=Decimal("0.0003"))}, {"band": not base.band},
        {"instrument": replace(PAIR, contract_type=ContractType.INVERSE)},
        {"funding": Funding(np.array([5]), np.array([7]))}, {"funding": Funding(np.array([5]), np.array([8]))},
    ]  # fmt: skip
    keys = {trial_key(base, feed), *(trial_key(replace(base, **change), feed) for change in changes)}
    assert len(keys) == len(changes) + 1
    assert trial_key(base, feed_of(random_feed(3))) not in keys


def test_a_failing_set_is_named_as_it_is_alone():
    feed = feed_of(random_feed(1))
    interval = Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", "time between wake-ups")
    for kind, message in (
        ("fails", "IndexError"),
        ("absurd", "woken by interval: asked for an order of side 3; it is 1 or -1"),
    ):
        broken = StrategyKind(kind, "for tests", (interval,), f"random_trader:{kind}").prepare({})
        configs = [RunConfig(PAIR, kind, feed.first_ts, feed.last_ts + 1)] * 3
        with pytest.raises(InvalidRequest, match=f"{kind} .*clock {feed.first_ts + 500} ns.*{message}"):
            list(sweep(configs, feed, strategies=[broken] * 3))


def test_a_grid_has_every_combination_and_says_what_is_wrong_with_it():
    feed = feed_of(random_feed(1))
    base = configs_on(feed)[0]
    found = grid(base, {"seed": [1, 2, 3], "interval_ns": [500, 700]})
    assert [tuple(config.parameters.values()) for config in found] == [(s, i) for s in (1, 2, 3) for i in (500, 700)]
    with pytest.raises(InvalidRequest, match=r"grid\.seed"):
        grid(base, {"seed": []})
    with pytest.raises(InvalidRequest, match=r"grid\.interval_ns"):
        grid(base, {"seed": range(1001), "interval_ns": range(1000)})
    assert list(sweep([], feed)) == []


def test_a_sweep_that_is_closed_stops():
    feed = feed_of(random_feed(6))
    configs = configs_on(feed, seeds=range(1, 30))
    trials = sweep(configs, feed, strategies=prepared(configs), chunk=2, threads=2)
    first = next(trials)
    trials.close()
    assert first.result.digest() == alone(configs, feed)[first.number].digest()


def test_a_thousand_sets_fit_into_little_memory():
    from market_maker.backtest.drive import Drive, SetOfRun
    from market_maker.backtest.latency_models import constant

    feed = feed_of(random_feed(1))
    drive = Drive(feed, PAIR, [SetOfRun(10**6, constant(0, 0), True)] * 1024, capacity=sweeping._USUAL)
    arrays = [array for array in drive.state if isinstance(array, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 200 * 2**20


def test_columns_of_a_feed_are_found_once_and_forgotten_with_its_rows():
    import gc

    from market_maker.backtest import quotes

    gc.collect()  # what earlier tests have left behind is not ours to count
    before = set(quotes._kept)
    feed = feed_of(random_feed(1))
    (first, *_), (second, *_) = (
        quotes.Quotes(feed).exchange(),
        quotes.Quotes(replace(feed, end_ts=feed.end_ts + 1)).exchange(),
    )
    assert first.quotes is second.quotes
    other = replace(feed, days=shifted(feed, 1).days)
    assert next(quotes.Quotes(other).exchange()).quotes is not first.quotes
    assert len(quotes._kept.keys() - before) == 2
    del feed, other, first, second, _
    gc.collect()
    assert quotes._kept.keys() == before


def test_columns_that_are_not_kept_give_the_same_runs(monkeypatch):
    from market_maker.backtest import quotes

    feed = feed_of(random_feed(2))
    configs = configs_on(feed)
    expected = [result.digest() for result in alone(configs, feed)]
    monkeypatch.setattr(quotes, "KEEP_ROWS_MAX", 0)
    assert [result.digest() for result in swept(configs, feed)] == expected


def test_progress_moves_while_a_pass_is_under_way(monkeypatch):
    """A sweep of a few sets is one pass: its bar stood at 0 until the end."""
    monkeypatch.setattr(sweeping, "SLICE_EVENTS", 100)
    feed, told = feed_of(random_feed(1)), []
    stop = Stop(told.append)
    trials = list(sweep(configs_on(feed)[:3], feed, pool=Threads(1, stop)))
    assert len(trials) == 3
    assert len(told) > 5
    assert told[0] == 0
    assert told == sorted(told)
    assert 0 < told[len(told) // 2] < 3
    assert stop.under_way == 0
