import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from market_maker.backtest.compiled import ENTRY_POINTS
from market_maker.domain.errors import InvalidRequest
from market_maker.strategies import compilation
from market_maker.strategies.actions import Cancel, OwnOrder, Place, make_view
from market_maker.strategies.contract import find_strategy, strategy_names, wake


def quotes(parameters=(), **view):
    prepared = find_strategy("inventory_skew").prepare(dict(parameters))
    return wake(prepared, make_view(now_ts=1, bids=[(99, 5)], asks=[(101, 5)], **view))


def test_quotes_around_the_mid_by_hand():
    # mid 100, half-spread 5, no inventory: 95 and 105, post-only.
    bid, ask = quotes()
    assert (bid.side, bid.price_ticks, bid.qty_lots, bid.post_only) == (1, 95, 1, True)
    assert (ask.side, ask.price_ticks) == (-1, 105)


def test_inventory_shifts_both_quotes_down():
    # 4 lots x 1.5 ticks = 6 below: reservation 94, quotes 89 and 99; the ask may not cross the bid of 99: 100.
    bid, ask = quotes({"skew_ticks_per_lot": 1.5}, position_lots=4)
    assert (bid.price_ticks, ask.price_ticks) == (89, 100)


def test_no_quote_that_could_exceed_the_inventory():
    assert [action.side for action in quotes(position_lots=10)] == [-1]
    assert [action.side for action in quotes(position_lots=-10)] == [1]


def test_orders_in_place_are_left_and_others_are_moved():
    kept = OwnOrder(7, 1, 95, 1, 1)
    moved = OwnOrder(8, -1, 104, 1, 1)
    actions = quotes(orders=[kept, moved])
    assert actions[0] == Cancel(8)
    assert isinstance(actions[1], Place)
    assert (actions[1].side, len(actions)) == (-1, 2)
    assert quotes({"refresh_tolerance_ticks": 1}, orders=[kept, moved]) == []


def test_empty_side_of_the_book_gives_no_quote():
    prepared = find_strategy("inventory_skew").prepare({})
    assert wake(prepared, make_view(now_ts=1, bids=[(99, 5)])) == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"half_spread_ticks": -1}, "parameters.half_spread_ticks"),
        ({"half_spread_ticks": float("nan")}, "parameters.half_spread_ticks"),
        ({"order_lots": 1.5}, "parameters.order_lots"),
        ({"order_lots": True}, "parameters.order_lots"),
        ({"order_lots": "1"}, "parameters.order_lots"),
        ({"interval_ns": 0}, "parameters.interval_ns"),
        ({"halfspread": 1}, "parameters.halfspread"),
    ],
)
def test_bad_parameters_are_named(values, field):
    with pytest.raises(InvalidRequest) as caught:
        find_strategy("inventory_skew").prepare(values)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize("kind", ["nope", "../x", "os.system", "x:aW1wb3J0", ""])
def test_unknown_kinds_are_refused_with_the_list(kind):
    with pytest.raises(InvalidRequest, match="inventory_skew"):
        find_strategy(kind)


def test_schema_describes_every_parameter():
    schema = find_strategy("inventory_skew").schema()
    assert schema["additionalProperties"] is False
    assert schema["properties"]["order_lots"] == {
        "type": "integer",
        "default": 1,
        "minimum": 1,
        "maximum": 2**40,
        "unit": "lots",
        "description": "quantity of each quote",
    }
    assert "inventory_skew" in strategy_names()


def test_a_changed_kernel_source_changes_the_cache_key(tmp_path):
    package = Path(compilation.__file__).parent.parent
    shutil.copytree(package, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    before = compilation.cache_key(tmp_path / "copy")
    assert before == compilation.cache_key(package)
    for name in ("backtest/kernel.py", "backtest/ladder/kernel.py", "backtest/state.py", "strategies/actions.py"):
        path = tmp_path / "copy" / name
        path.write_text(path.read_text() + "\n")
        after = compilation.cache_key(tmp_path / "copy")
        assert after != before, name
        before = after


def test_a_second_process_reads_everything_from_the_cache():
    # In the cache that the first process fills where nobody has done so before: to compile it all takes most of a minute.
    program = (
        "from numba.core.caching import Cache\n"
        "from market_maker.backtest.compiled import ENTRY_POINTS, compiled_kernel\n"
        "from market_maker.strategies.compilation import compiled\n"
        "from market_maker.strategies.contract import find_strategy\n"
        "load = Cache.load_overload\n"
        "def told(self, *values):\n"
        "    found = load(self, *values)\n"
        "    print(found is not None)\n"
        "    return found\n"
        "Cache.load_overload = told\n"
        "kernel = compiled_kernel()\n"
        "for name in ENTRY_POINTS: getattr(kernel, name)\n"
        "compiled(find_strategy('inventory_skew').prepare({}))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"}}
    command = [sys.executable, "-c", program]
    for _ in range(2):
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) > len(ENTRY_POINTS)
    assert set(told) == {"True"}
