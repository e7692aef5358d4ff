"""What wakes a strategy, plain Python beside compiled, and what happens when it fails or never lets time pass."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "differential"))

import random_trader
from reference_book import Book
from test_replay_kernel import PAIR, random_feed

from market_maker.backtest.engine import RunConfig, run, run_sets
from market_maker.backtest.faults import failure
from market_maker.backtest.result import RunResult
from market_maker.domain.errors import InvalidRequest
from market_maker.market_data.replay import Feed, feed_of
from market_maker.strategies.actions import (
    WAKE_BOOK,
    WAKE_ORDER,
    WAKE_TIMER,
    WAKE_TRADE,
    decode,
    new_actions,
    place,
)
from market_maker.strategies.contract import Parameter, PreparedStrategy, StrategyKind

EVERY = ("interval", "book", "trade", "order")


@pytest.fixture(scope="module")
def feed() -> Feed:
    return feed_of(random_feed(3))


def config(feed: Feed, **options) -> RunConfig:
    values = {"entry_latency_ns": 300, "response_latency_ns": 700, "sample_interval_ns": 10_000} | options
    return RunConfig(PAIR, "random_trader", feed.first_ts, feed.last_ts + 1, {}, **values)


def strategy(
    *wakes_on: str, source: str = "random_trader:on_wake", is_compiled: bool = True, **values
) -> PreparedStrategy:
    kind = replace(random_trader.KIND, wakes_on=wakes_on, source=source, is_compiled=is_compiled)
    return kind.prepare({"seed": 7, "interval_ns": 500} | values)


def same(one: RunResult, other: RunResult) -> bool:
    return one.fills.equals(other.fills) and one.samples.equals(other.samples) and one.summary == other.summary


@pytest.mark.parametrize("wakes_on", [("interval",), ("book",), ("trade",), ("order", "interval"), EVERY])
def test_plain_python_gives_what_compiled_code_gives(feed, wakes_on):
    compiled = run(config(feed), feed, strategy(*wakes_on))
    plain = run(config(feed), feed, strategy(*wakes_on, is_compiled=False))
    assert same(compiled, plain)
    assert compiled.summary.orders > 50


def test_what_wakes_makes_a_difference(feed):
    found = {name: run(config(feed), feed, strategy(name)).summary.orders for name in ("interval", "book", "trade")}
    assert len(set(found.values())) == 3


def test_sets_that_share_a_pass_are_woken_as_they_are_alone(feed):
    prepared = [strategy(*EVERY, seed=seed, interval_ns=interval) for seed, interval in ((1, 500), (2, 500), (3, 900))]
    together = run_sets([config(feed)] * 3, feed, prepared)
    for own, result in zip(prepared, together, strict=True):
        assert same(run(config(feed), feed, own), result)


SEEN: list[tuple[int, int]] = []


def watches(view, params, memory, actions):
    """Note every wake-up; send one order at the first of them."""
    SEEN.append((view.now_ts, view.wake_reason))
    if len(SEEN) == 1:
        place(actions, 1, 0, 0, 0, max(1, view.best_ask_ticks), 3)


def watched(feed: Feed, *wakes_on: str) -> list[tuple[int, int]]:
    SEEN.clear()
    kind = StrategyKind(
        "watches", "for tests", (Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", "time"),),
        f"{__name__}:watches", wakes_on=wakes_on, is_compiled=False,
    )  # fmt: skip
    run(config(feed), feed, kind.prepare({}))
    return list(SEEN)


def expected(feed: Feed) -> tuple[dict[int, int], list[int]]:
    """Instants of the receiver's stream with why they wake, found row by row; and those of the timer."""
    book, reasons = Book(), {}
    for ts, price, lots, code, *_ in zip(*(column.tolist() for column in feed.days[0].local[:4]), strict=True):
        before = dict(book.best)
        side = 1 if code > 0 else -1
        if abs(code) == 1:
            book.set(side, price, lots)
        elif abs(code) == 3:
            book.remember()
            book.levels[side].clear()
            book.best[side] = 0
        reason = WAKE_TRADE if abs(code) == 2 else WAKE_BOOK if book.best != before else 0
        if ts >= feed.first_ts:
            reasons[ts] = reasons.get(ts, 0) | reason
    return {ts: reason for ts, reason in reasons.items() if reason}, list(
        range(feed.first_ts + 500, feed.last_ts + 1, 500)
    )


def test_wake_ups_are_at_the_instants_of_their_causes(feed):
    market, timer = expected(feed)
    first = feed.first_ts
    market = {ts: reason for ts, reason in market.items() if ts >= first}
    assert watched(feed, "interval") == [(ts, WAKE_TIMER) for ts in timer]
    assert watched(feed, "trade") == [(ts, WAKE_TRADE) for ts, reason in market.items() if reason & WAKE_TRADE]
    assert watched(feed, "book") == [(ts, WAKE_BOOK) for ts, reason in market.items() if reason & WAKE_BOOK]
    both = {**dict.fromkeys(sorted([*market, *timer]), 0)}
    for ts, reason in market.items():
        both[ts] |= reason
    for ts in timer:
        both[ts] |= WAKE_TIMER
    assert watched(feed, "interval", "book", "trade") == list(both.items())


def test_answers_about_own_orders_wake_when_they_arrive(feed):
    seen = watched(feed, "interval", "order")
    told = [ts for ts, reason in seen if reason & WAKE_ORDER]
    # Sent at the first wake-up, at the venue 300 ns later, answered 700 ns after that; fills tell 700 ns later as well.
    assert told[0] == seen[0][0] + 1000
    plain = [ts for ts, reason in seen if reason & WAKE_TIMER]
    assert plain == [ts for ts, _ in watched(feed, "interval")]


def fails(view, params, memory, actions):
    """Fail at the first trade."""
    if view.wake_reason & WAKE_TRADE:
        raise KeyError("no such thing")


def leaves(view, params, memory, actions):
    """End the process, as a script would."""
    sys.exit("I give up")


def never_stops(view, params, memory, actions):
    """Answer every answer with another order, at once."""
    place(actions, 1, 0, 1, 0, 1, 1)


def test_a_failure_names_strategy_time_and_what_it_was_woken_by(feed):
    with pytest.raises(
        InvalidRequest,
        match=r"strategy random_trader failed at clock \d+ ns, woken by trade: KeyError: 'no such thing' "
        r"\(test_wakes.py, line \d+\)",
    ):
        run(config(feed), feed, strategy("trade", source=f"{__name__}:fails", is_compiled=False))


def test_a_strategy_cannot_end_the_process(feed):
    with pytest.raises(InvalidRequest, match="woken by trade: SystemExit: I give up"):
        run(config(feed), feed, strategy("trade", source=f"{__name__}:leaves", is_compiled=False))


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(
    ("which", "what"),
    [
        (0, "an order with a post_only of 257; it is 0 or 1"),  # it was kept in eight bits: 1
        (1, "an order with a post_only of 256; it is 0 or 1"),  # and this was 0
        (2, "post-only on an order that may not rest"),
        (3, "an order of time in force 9; it is one of 0 (GTC), 1 (IOC)"),
        (4, "an order of 0 lots; it is 1 to 2^40"),
        (5, "an order of type 2; it is 0 (LIMIT) or 1 (MARKET)"),
        (6, "a price of -7 ticks; it is 1 to 2^40"),
    ],
)
def test_an_order_that_cannot_be_is_told_with_strategy_time_and_event(feed, which, what, is_compiled):
    parameters = (
        Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", ""),
        Parameter("which", "integer", 0, 0, 9, "", ""),
    )
    kind = StrategyKind(
        "asker", "for tests", parameters, "random_trader:asks_wrongly", is_compiled=is_compiled, wakes_on=("trade",)
    )
    with pytest.raises(InvalidRequest) as caught:
        run(config(feed), feed, kind.prepare({"which": which}))
    assert re.fullmatch(r"strategy asker at clock \d+ ns, woken by trade: asked for .*", caught.value.detail)
    assert what in caught.value.detail


def test_a_decoded_request_has_a_post_only_of_0_or_1():
    """What a live strategy asked for, and a unit test of one, took everything but 0 for 1."""
    actions = new_actions()
    place(actions, 1, 0, 0, 257, 100, 1)
    with pytest.raises(ValueError, match="post_only of 257; it is 0 or 1"):
        decode(actions)


def test_what_a_compiler_says_of_a_failure_is_shortened():
    error = failure(TypeError("\x1b[1mno implementation" + " of it" * 1000), "mine", "clock 1 ns", WAKE_BOOK)
    assert error.detail.startswith("strategy mine failed at clock 1 ns, woken by book: TypeError: no implementation of")
    assert len(error.detail) < 500


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_strategy_that_never_lets_time_pass_is_stopped(feed, is_compiled):
    source = f"{__name__}:never_stops"
    with pytest.raises(InvalidRequest, match="again and again at one instant"):
        run(
            config(feed, entry_latency_ns=0, response_latency_ns=0),
            feed,
            strategy("order", "interval", source=source, is_compiled=is_compiled),
        )


def test_a_strategy_of_any_library_runs(feed):
    """Plain Python may do what no compiled strategy can: keep objects, call libraries, print."""
    result = run(config(feed), feed, strategy("interval", source=f"{__name__}:with_library", is_compiled=False))
    assert result.summary.orders > 0
    assert Decimal(result.summary.volume) >= 0


def with_library(view, params, memory, actions):
    """Quote at a quantile of recent mids, by NumPy."""
    HISTORY.append(view.best_bid_ticks + view.best_ask_ticks)
    level = int(np.quantile(HISTORY[-20:], 0.4)) // 2
    if len(view.orders) < 3 and level > 0:
        place(actions, 1, 0, 0, 1, level, 1)


HISTORY: list[int] = []
