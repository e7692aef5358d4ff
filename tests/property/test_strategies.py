"""Every shipped strategy, on any book and in a random market: limits, ticks and lots, no NaN, both forms alike."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategy_builders as builders
from market_maker.strategies.actions import OwnOrder, View, decode, make_view, new_actions
from market_maker.strategies.compilation import compiled
from market_maker.strategies.contract import SHIPPED, PreparedStrategy, find_strategy, wake

QUOTING = sorted(kind for kind in set(SHIPPED) - {"do_nothing"} if find_strategy(kind).instruments == 1)
STEPS = 150

prices = st.one_of(st.integers(1, 40), st.integers(1, 2**20))
lots = st.one_of(st.integers(1, 20), st.integers(1, 2**30))


@st.composite
def books(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Bids and asks: both sides, one or none; sometimes locked or crossed; up to four levels."""
    sides = []
    best = draw(prices)
    for outward, gap in ((-1, 0), (1, draw(st.integers(-2, 8)))):
        levels = []
        price = max(1, best + outward * gap)
        for _ in range(draw(st.integers(0, 4))):
            levels.append((price, draw(lots)))
            price += outward * draw(st.integers(1, 5))
            if price < 1:
                break
        sides.append(levels)
    return sides[0], sides[1]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Any view: also of orders and positions that no strategy here would have."""
    bids, asks = draw(books())
    around = bids[0][0] if bids else 20
    orders = []
    for order_id in range(1, draw(st.integers(0, 8)) + 1):
        quantity = draw(st.integers(1, 12))
        orders.append(
            OwnOrder(
                order_id,
                draw(st.sampled_from([1, -1])),
                draw(st.one_of(st.integers(max(1, around - 10), around + 10), prices)),
                quantity,
                draw(st.integers(1, quantity)),
                draw(st.integers(0, 2)),
                draw(st.integers(0, 1)),
                submitted_ts=10**18 - draw(st.integers(0, 10**12)),
            )
        )
    trades = draw(st.integers(0, 3))
    return make_view(
        now_ts=10**18 + draw(st.integers(0, 10**12)),
        bids=bids,
        asks=asks,
        position_lots=draw(st.one_of(st.integers(-15, 15), st.integers(-(2**45), 2**45))),
        cash_tick_lots=draw(st.integers(-(2**50), 2**50)),
        balance_tick_lots=draw(st.integers(0, 2**50)),
        last_trade_ticks=draw(prices) if trades else 0,
        bought_lots=draw(st.integers(0, 9)) if trades else 0,
        sold_lots=draw(st.integers(0, 9)) if trades else 0,
        trades=trades,
        orders=orders,
    )


@st.composite
def strategies(draw: st.DrawFn, kind: str) -> PreparedStrategy:
    """A kind with random parameters, bounds included."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return find_strategy(kind).prepare(builders.moderate_values(kind, rng))


@cache
def compiled_form(kind: str) -> Any:
    return compiled(find_strategy(kind).prepare({}))


def wake_compiled(prepared: PreparedStrategy, view: View, memory: np.ndarray) -> list[Any]:
    actions = new_actions()
    compiled_form(prepared.kind.kind)(view, prepared.vector, memory, actions)
    return decode(actions)


@pytest.mark.parametrize("kind", QUOTING)
@given(data=st.data())
@settings(max_examples=60)
def test_no_request_breaks_a_limit_whatever_is_seen(kind: str, data: st.DataObject) -> None:
    prepared, view = data.draw(strategies(kind)), data.draw(views())
    memory = builders.memories(kind)
    requests = wake(prepared, view, memory)
    two_sided = bool(view.best_bid_ticks and view.best_ask_ticks)
    if two_sided or kind != "inventory_skew":  # which leaves its orders while a side is empty
        builders.check_requests(view, requests, int(prepared.values["max_inventory_lots"]))
    if not two_sided:
        assert not [request for request in requests if not hasattr(request, "order_id")]
    assert np.isfinite(memory).all()


@pytest.mark.parametrize("kind", QUOTING)
@given(data=st.data())
@settings(max_examples=60)
def test_both_forms_ask_for_the_same(kind: str, data: st.DataObject) -> None:
    prepared, view = data.draw(strategies(kind)), data.draw(views())
    memories = builders.memories(kind), builders.memories(kind)
    assert wake(prepared, view, memories[0]) == wake_compiled(prepared, view, memories[1])
    np.testing.assert_array_equal(*memories)


def play(kind: str, seed: int) -> tuple[list[int], int]:
    """Let a strategy trade in a random market in both forms; return its positions and how much it asked for."""
    rng = np.random.default_rng(seed)
    values = dict(builders.moderate_values(kind, rng))
    if "window_samples" in values:
        values["window_samples"] = 100
    if rng.random() < 0.5:
        # As declared, apart from the quantities: what users run, and what fills.
        values = {name: values[name] for name in ("order_lots", "max_inventory_lots")}
    prepared = find_strategy(kind).prepare(values)
    limit = int(prepared.values["max_inventory_lots"])
    market = builders.Market(
        rng, volatility=float(rng.choice([0.0, 1.0, 6.0])), fill_chance=float(rng.uniform(0.1, 0.9))
    )
    memory, twin = builders.memories(kind), builders.memories(kind)
    positions, asked = [], 0
    for _ in range(STEPS):
        view = market.view()
        requests = wake(prepared, view, memory)
        assert requests == wake_compiled(prepared, view, twin)
        hangs = prepared.values.get("hanging_cancel_bps", 0) > 0  # and may then stand anywhere; the position is bounded
        if not hangs and (kind != "inventory_skew" or (view.best_bid_ticks and view.best_ask_ticks)):
            builders.check_requests(view, requests, limit)
        market.take(requests)
        positions.append(view.position_lots)
        asked += len(requests)
    np.testing.assert_array_equal(memory, twin)
    assert np.isfinite(memory).all()
    assert max(map(abs, positions)) <= limit
    return positions, asked


@pytest.mark.parametrize("kind", QUOTING)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_the_position_never_passes_the_limit_in_a_random_market(kind: str, seed: int) -> None:
    play(kind, seed)


@pytest.mark.parametrize("kind", QUOTING)
def test_the_random_market_fills_and_reaches_limits(kind: str) -> None:
    """Else the test above would say nothing: over some seeds every strategy trades both ways."""
    played = [play(kind, seed) for seed in range(12)]
    assert sum(asked for _, asked in played) > 100
    assert max(max(positions) for positions, _ in played) > 0
    assert min(min(positions) for positions, _ in played) < 0
