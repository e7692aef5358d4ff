"""From a grid to what a sweep runs: one place for the command, the API and the worker, so that all try the same sets.

Numbers of a grid are decimals until they are taken: 0.1 + 0.1 + 0.1 is 0.3, and both ends of a range are reached.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from market_maker.backtest.engine import RunConfig, open_market
from market_maker.backtest.sweep import grid
from market_maker.backtest.trials import Plan
from market_maker.domain.errors import InvalidRequest
from market_maker.storage.lake import Lake
from market_maker.strategies.contract import StrategyKind, find_strategy

SETS_MAX = 100_000
Grid = Mapping[str, Sequence[int | float]]
"""The values of each swept parameter; the last name varies fastest."""
Number = int | float | Decimal
WishedGrid = Mapping[str, Sequence[Number] | Mapping[str, Number]]
"""A grid as users write it: for each name its values, or `from`, `to` and `step` (default 1)."""


def grid_of(wished: WishedGrid) -> Grid:
    """Return the values that a user's grid means; InvalidRequest names ``grid.<name>``."""
    values = {}
    for name, given in wished.items():
        field = f"grid.{name}"
        if isinstance(given, Mapping):
            text = ", ".join(f"{end} {value}" for end, value in given.items())
            ends = [number_of(_decimal(given.get(end, 1)), field, text) for end in ("from", "to", "step")]
            choices, shown = values_between(*ends, field=field, given=text), text
        else:
            shown = ", ".join(map(str, given))
            choices = [number_of(_decimal(value), field, str(value)) for value in given]
        values[name] = choices_of(choices, field, shown)
    count_of(values, "grid")
    return values


def number_of(value: Decimal, field: str, given: object) -> Decimal:
    """Return a number that fits a parameter; InvalidRequest tells what was `given` in `field`."""
    size = value.copy_abs()
    if not value.is_finite() or size >= Decimal(10) ** 18 or (value and size < Decimal(10) ** -12):
        raise InvalidRequest.of(field, given, "0, or a finite number from 1e-12 to below 1e18")
    return value


def values_between(first: Decimal, last: Decimal, step: Decimal, *, field: str, given: object) -> list[Decimal]:
    """Return first, first + step, ... up to `last`, both ends included; InvalidRequest tells what was `given` in `field`."""
    if step <= 0 or last < first:
        raise InvalidRequest.of(field, given, "FIRST not above LAST, and a STEP above 0")
    if (last - first) / step >= SETS_MAX:
        raise InvalidRequest.of(field, given, f"{SETS_MAX:,} values at most")
    return [first + step * i for i in range(int((last - first) / step) + 1)]


def choices_of(values: Sequence[Decimal], field: str, given: object) -> list[int | float]:
    """Return the values of one parameter; whole numbers are integers, so that `1` and `1.0` are one trial.

    Raises
    ------
    InvalidRequest
        No value, or one twice; tells what was `given` in `field`.
    """
    plain = [int(value) if value == value.to_integral_value() else float(value) for value in values]
    if not plain or len(set(plain)) < len(plain):
        raise InvalidRequest.of(field, given, "each value once" if plain else "one value or more")
    return plain


def count_of(values: Grid, field: str) -> int:
    """Return how many sets a grid has; InvalidRequest names `field` where there are none, or more than 100,000."""
    sets = math.prod(map(len, values.values()))
    if not values or not 0 < sets <= SETS_MAX:
        raise InvalidRequest.of(field, f"{sets:,} sets", f"one parameter or more, {SETS_MAX:,} sets at most")
    return sets


def check_values(kind: StrategyKind, values: Grid) -> None:
    """Refuse a value that the strategy's own schema does not allow, and a strategy that one instrument is not enough for."""
    if kind.instruments > 1:
        raise InvalidRequest.of("strategy_id", kind.kind, "a strategy of one instrument: sets share the pass over one")
    for name, choices in values.items():
        for choice in choices:
            kind.validate({name: choice}, "grid")


def plan_sweep(base: RunConfig, strategy_id: UUID, lake: Lake, values: Grid) -> Plan:
    """Open the recorded market and return every set that is to be run over it, numbered in the order of the grid.

    Raises
    ------
    InvalidRequest
        A set that the strategy's schema does not allow.
    DataError
        No recorded market, or not enough of it.
    """
    kind = find_strategy(base.strategy_kind)
    base, feed = open_market(base, lake)
    configs = grid(base, values)
    return Plan.of(strategy_id, feed, configs, [kind.prepare(config.parameters) for config in configs])


def _decimal(value: Number) -> Decimal:
    """Return a number exactly, a float as it is written: 0.1 is one tenth."""
    return value if isinstance(value, Decimal) else Decimal(str(value))
