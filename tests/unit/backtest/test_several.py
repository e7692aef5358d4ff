"""Several instruments at once: with one it is the plain run, with two they are in step and the strategy trades both."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "differential"))

import random_trader
from test_replay_kernel import PAIR, random_feed

from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.several import run_several
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import ContractType
from market_maker.market_data.replay import feed_of
from market_maker.strategies.actions import WAKE_ORDER, cancel, place, place_on
from market_maker.strategies.contract import Parameter, StrategyKind, find_strategy

OTHER = replace(PAIR, pair_id=UUID(int=2), symbol="C-B", base="C", tick_size=Decimal("0.1"), lot_size=Decimal("0.001"))


def config(feeds, pair=PAIR, **options):
    first, last = min(feed.first_ts for feed in feeds), max(feed.last_ts for feed in feeds)
    values = {"entry_latency_ns": 300, "response_latency_ns": 700, "sample_interval_ns": 10_000} | options
    return RunConfig(pair, "random_trader", first, last + 1, {}, **values)


@pytest.mark.parametrize(
    "wakes_on", [("interval",), ("book",), ("trade",), ("order", "interval"), ("order", "book", "trade")]
)
@pytest.mark.parametrize("is_compiled", [True, False])
def test_with_one_instrument_it_is_the_plain_run(wakes_on, is_compiled):
    feed = feed_of(random_feed(4))
    kind = replace(random_trader.KIND, wakes_on=wakes_on, is_compiled=is_compiled)
    strategy = kind.prepare({"seed": 3, "interval_ns": 500})
    plain = run(config([feed]), feed, strategy)
    led = run_several([config([feed])], [feed], strategy)
    assert led.legs[0].fills.equals(plain.fills)
    assert led.legs[0].samples.equals(plain.samples)
    assert led.net_pnl == plain.summary.net_pnl
    assert plain.summary.orders > 30


SEEN: list = []


def both_sides(view, params, memory, actions):
    """Keep one order on each instrument; move them at times; note what is seen."""
    SEEN.append((view.now_ts, view.wake_reason, view.instruments.copy(), view.orders.copy()))
    held = {int(order["instrument"]) for order in view.orders}
    for j in range(2):
        shown = view.instruments[j]
        if j not in held and shown["best_bid_ticks"] > 0:
            place_on(actions, j, 1, 0, 0, 0, shown["best_bid_ticks"], 2 + j)
    for order in view.orders:
        if (view.now_ts + int(order["order_id"])) % 3 == 0:
            cancel(actions, order["order_id"])


KIND = StrategyKind(
    "both_sides", "for tests", (Parameter("interval_ns", "integer", 700, 1, 10**12, "ns", "time"),),
    f"{__name__}:both_sides", wakes_on=("interval", "order"), is_compiled=False, instruments=2,
)  # fmt: skip


def test_two_instruments_are_in_step_and_each_order_goes_to_its_own():
    feeds = [feed_of(random_feed(seed)) for seed in (5, 6)]
    configs = [config(feeds, pair) for pair in (PAIR, OTHER)]
    SEEN.clear()
    result = run_several(configs, feeds, KIND.prepare({}))
    times = [ts for ts, *_ in SEEN]
    assert times == sorted(set(times))
    assert all(len(leg.fills) > 5 for leg in result.legs)
    assert {int(lots) for lots in result.legs[1].fills["qty_lots"]} <= {1, 2, 3}
    assert any(reason & WAKE_ORDER for _, reason, *_ in SEEN)
    # Each instrument's book at a wake-up is what a replay of it alone shows then.
    for j, feed in enumerate(feeds):
        alone: list = []
        watch = replace(KIND, source=f"{__name__}:watch", wakes_on=("interval",), instruments=1)
        WATCHED.clear()
        run(replace(configs[j], start_ts=max(f.first_ts for f in feeds)), feed, watch.prepare({}))
        alone = dict(WATCHED)
        seen = {ts: tuple(shown[j][["best_bid_ticks", "best_ask_ticks"]]) for ts, _, shown, _ in SEEN}
        common = [ts for ts in seen if ts in alone]
        assert len(common) > 50
        assert all(seen[ts] == alone[ts] for ts in common)
    total = sum(leg.summary.net_pnl for leg in result.legs)
    assert result.net_pnl == total
    last = Decimal(int(result.equity["equity"][-1])) * result.equity_unit
    sampled = sum(
        Decimal(int(leg.samples["equity_half_tick_lots"][-1])) * one.instrument.tick_lot / 2
        for one, leg in zip(configs, result.legs, strict=True)
    )
    assert last == sampled


WATCHED: list = []


def watch(view, params, memory, actions):
    """Note the best prices."""
    WATCHED.append((view.now_ts, (view.best_bid_ticks, view.best_ask_ticks)))


def test_quotes_are_hedged_on_the_other_instrument():
    rng = np.random.default_rng(1)
    feeds = [feed_of(random_feed(seed)) for seed in (7, 8)]
    strategy = find_strategy("hedged_quotes").prepare(
        {"half_spread_ticks": 0, "order_lots": int(rng.integers(1, 3)), "max_inventory_lots": 20, "interval_ns": 1000}
    )
    result = run_several([config(feeds, pair) for pair in (PAIR, OTHER)], feeds, strategy)
    quoted, hedge = (leg.final_position().qty_lots for leg in result.legs)
    assert result.legs[0].summary.fills > 5
    assert result.legs[1].summary.taker_fills == result.legs[1].summary.fills > 0
    # Beyond the band of half a lot it trades; what is missing at the end is on its way or had no market.
    positions = [leg.fills["position_lots"].to_numpy() for leg in result.legs]
    assert abs(quoted + hedge) <= 4 < np.abs(positions[0]).max() + np.abs(positions[1]).max()


def test_what_does_not_go_together_is_named():
    feeds = [feed_of(random_feed(seed)) for seed in (5, 6)]
    good = config(feeds)
    inverse = config(feeds, replace(OTHER, contract_type=ContractType.INVERSE))
    for second, text in (
        (inverse, "settle in B"),
        (replace(good, sample_interval_ns=5000), "sampling clock"),
        (replace(good, response_latency_ns=0), "response_latency"),
    ):
        with pytest.raises(InvalidRequest, match=text):
            run_several([good, second], feeds, KIND.prepare({}))
    with pytest.raises(InvalidRequest, match="at least 2"):
        run_several([good], feeds[:1], KIND.prepare({}))
    with pytest.raises(InvalidRequest, match="instruments at once"):
        run(good, feeds[0], KIND.prepare({}))


def wrong(view, params, memory, actions):
    """Trade an instrument that is not there."""
    place(actions, 1, 1, 1, 0, 0, 1)
    place_on(actions, 2, 1, 1, 1, 0, 0, 1)


def test_an_instrument_that_is_not_there_is_named():
    feeds = [feed_of(random_feed(seed)) for seed in (5, 6)]
    kind = replace(KIND, source=f"{__name__}:wrong")
    with pytest.raises(InvalidRequest, match="instrument 2 of 2"):
        run_several([config(feeds), config(feeds, OTHER)], feeds, kind.prepare({}))
