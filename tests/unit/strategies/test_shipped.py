"""What holds for every shipped strategy by its declaration."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

from market_maker.strategies.actions import Cancel, OwnOrder, decode, make_view, new_actions
from market_maker.strategies.contract import SHIPPED, find_strategy, strategy_names, wake
from strategy_builders import Market, flat_view, memories, prepared

KINDS = sorted(SHIPPED)
ALONE = [kind for kind in KINDS if find_strategy(kind).instruments == 1]
"""Those of one instrument; the others have tests of their own."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_declaration_is_whole(kind):
    found = find_strategy(kind)
    module = importlib.import_module(SHIPPED[kind])
    assert (found.kind, found.source) == (kind, f"{SHIPPED[kind]}:on_wake")
    assert found.summary.endswith(".")
    assert found.load() is module.on_wake
    assert kind in strategy_names()
    assert len(inspect.getsource(module).splitlines()) < 250
    for parameter in found.parameters:
        assert parameter.unit
        assert parameter.description
        assert parameter.check(parameter.default, parameter.name) == parameter.default
        assert parameter.name.isidentifier()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"do_nothing"}))
def test_every_file_names_its_source(kind):
    assert "Source: " in inspect.getdoc(importlib.import_module(SHIPPED[kind]))


class Noted(np.ndarray):
    """Parameters that note which of them were read."""

    read: set[int]

    def __getitem__(self, index):
        self.read.add(index)
        return float(np.asarray(self)[index])


@pytest.mark.parametrize("kind", ALONE)
def test_every_parameter_is_read(kind, rng):
    """A parameter that nothing reads is a promise that is not kept."""
    strategy = prepared(
        kind, **({"hanging_cancel_bps": 50, "max_order_age_ns": 10**9} if kind == "fixed_spread" else {})
    )
    noted = strategy.vector.view(Noted)
    noted.read = set()
    memory, market = memories(kind), Market(rng)
    for _ in range(120):
        actions = new_actions()
        strategy.function()(market.view(), noted, memory, actions)
        market.take(decode(actions))
    names = [parameter.name for parameter in strategy.kind.parameters]
    assert {names[index] for index in noted.read} == set(names) - {"interval_ns"}


def test_nothing_is_what_do_nothing_does():
    for view in (flat_view(position_lots=7), make_view(now_ts=1)):
        assert wake(prepared("do_nothing"), view) == []


@pytest.mark.parametrize("kind", sorted(set(ALONE) - {"do_nothing", "inventory_skew"}))
@pytest.mark.parametrize("empty", [{"bids": []}, {"asks": []}, {"bids": [], "asks": []}])
def test_without_two_sides_nothing_is_left_standing(kind, empty):
    orders = [OwnOrder(1, 1, 95, 1, 1), OwnOrder(2, -1, 105, 1, 1, cancel_pending=1)]
    assert wake(prepared(kind), flat_view(orders=orders, **empty)) == [Cancel(1)]
