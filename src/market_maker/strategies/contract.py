"""What a strategy must offer so that one source serves backtest, live simulation and a unit test.

A strategy is one module with `KIND` (name, parameters, where its function is) and a plain function
`on_wake(view, params, memory, actions)` in the Numba subset. Found by shipped name, by entry point or in a file that its
owner names in the settings, never by code that a request carries. This module imports no Numba: names and schemas are cheap, code is loaded when prepared.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest, shorten

WAKES = {"interval": 1, "book": 2, "trade": 4, "order": 8}
"""What may wake a strategy, with its bit in `View.wake_reason`; the bits are `actions.WAKE_*`."""
ENTRY_POINT_GROUP = "market_maker.strategies"
SHIPPED = {
    name: f"market_maker.strategies.{name}"
    for name in (
        "avellaneda_stoikov",
        "avellaneda_stoikov_infinite",
        "do_nothing",
        "fixed_spread",
        "glft",
        "grid",
        "hedged_quotes",
        "imbalance",
        "inventory_skew",
        "microprice",
    )
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy.

    `type` is "integer" or "number"; `default`, `minimum`, `maximum` (both inclusive) and the value are in `unit`.
    """

    name: str
    type: str
    default: int | float
    minimum: int | float
    maximum: int | float
    unit: str
    description: str

    def check(self, value: object, path: str) -> int | float:
        """Return `value` as this parameter's type; InvalidRequest names `path`."""
        whole = self.type == "integer"
        allowed = f"{'a whole number' if whole else 'a number'} from {self.minimum} to {self.maximum} {self.unit}"
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise InvalidRequest.of(path, value, allowed)
        if not (math.isfinite(value) and self.minimum <= value <= self.maximum):
            raise InvalidRequest.of(path, value, allowed)
        return value


@dataclass(frozen=True, slots=True)
class PreparedStrategy:
    """A strategy with its parameters fixed, ready for any of the three runtimes.

    `vector` holds the parameters in declared order, `interval_ns` the time between wake-ups, `memory_size` the
    floats of state it owns, `depth_levels` the levels per side of the book it looks at.
    """

    kind: StrategyKind
    values: Mapping[str, int | float]
    vector: NDArray[np.float64]
    interval_ns: int
    memory_size: int
    depth_levels: int

    def function(self) -> Callable[..., None]:
        """Return the plain Python function."""
        return self.kind.load()


@dataclass(frozen=True, slots=True)
class StrategyKind:
    """A kind of strategy: what the API lists, and where its code is (`source`: "module:function").

    The parameter `interval_ns` is obligatory: it is the time between wake-ups. `wakes_on`: "interval", "book" (a best price
    changed), "trade" (a public one), "order" (an answer about an own order arrived). `is_compiled` False: plain Python
    with any library, called by the engine at each wake-up. `instruments`: how many it needs at least.
    """

    kind: str
    summary: str
    parameters: tuple[Parameter, ...]
    source: str
    memory_size: int = 0
    depth_levels: int = 0
    wakes_on: tuple[str, ...] = field(default=("interval",))
    is_compiled: bool = True
    instruments: int = 1

    @property
    def wake_bits(self) -> int:
        """Return what wakes it as a sum of `actions.WAKE_*`."""
        return sum(WAKES[name] for name in self.wakes_on)

    def schema(self) -> dict[str, Any]:
        """Return the parameters as a JSON schema object."""
        properties = {
            parameter.name: {
                "type": parameter.type,
                "default": parameter.default,
                "minimum": parameter.minimum,
                "maximum": parameter.maximum,
                "unit": parameter.unit,
                "description": parameter.description,
            }
            for parameter in self.parameters
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def validate(self, values: Mapping[str, object], path: str = "parameters") -> dict[str, int | float]:
        """Return all parameters with defaults filled in.

        Raises
        ------
        InvalidRequest
            An unknown name, a wrong type or a value out of range; the field is ``<path>.<name>``.
        """
        names = [parameter.name for parameter in self.parameters]
        for name in values:
            if name not in names:
                raise InvalidRequest.of(f"{path}.{name}", values[name], f"only the parameters {', '.join(names)}")
        return {
            parameter.name: parameter.check(values.get(parameter.name, parameter.default), f"{path}.{parameter.name}")
            for parameter in self.parameters
        }

    def prepare(self, values: Mapping[str, object], path: str = "parameters") -> PreparedStrategy:
        """Return the strategy with `values` (validated) fixed."""
        checked = self.validate(values, path)
        vector = np.array([float(value) for value in checked.values()], dtype=np.float64)
        return PreparedStrategy(
            self, checked, vector, int(checked["interval_ns"]), max(1, self.memory_size), self.depth_levels
        )

    def load(self) -> Callable[..., None]:
        """Import and return the strategy's plain function."""
        module, _, name = self.source.partition(":")
        function: Callable[..., None] = getattr(importlib.import_module(module), name)
        return function

    def source_hash(self) -> str | None:
        """Return the sha256 of the file that a strategy of a user's own is in, None of a shipped one.

        The versions of the code tell what a shipped strategy does; of another, its results are those of this text alone.
        """
        return None if self.kind in SHIPPED else _hash_of_module(self.source.partition(":")[0])


@cache
def _hash_of_module(name: str) -> str | None:
    """Return the sha256 of a module's file; once in a process, as its code is loaded once."""
    path = getattr(importlib.import_module(name), "__file__", None)
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


_FROM_FILES: dict[str, StrategyKind] = {}


def add_strategy_file(path: Path) -> StrategyKind:
    """Make the strategy of a Python file known in this process and return its kind.

    The file is the one module of the strategy: it has `KIND`, whose `source` names the file's own stem, such as
    "touch_maker:on_wake" in touch_maker.py. It is run here: only its owner names it, by the setting `strategy_files`.

    Raises
    ------
    InvalidRequest
        The file cannot be imported, has no such `KIND`, or its name or that of its kind is taken.
    """

    def refused(allowed: str) -> InvalidRequest:
        return InvalidRequest.of("strategy_files", str(path), allowed)

    name, whole = path.stem, path.resolve()
    if path.suffix != ".py" or not name.isidentifier() or not whole.is_file():
        raise refused("a Python file whose name is an identifier, such as touch_maker.py")
    known = sys.modules.get(name)
    if known is None:
        other = importlib.util.find_spec(name)
        # `python -m` looks for modules in the present folder, where the file itself may lie.
        if other is not None and not _is_file(other.origin, whole):
            raise refused(f"another file name: there is a module {name} already")
        spec = importlib.util.spec_from_file_location(name, whole)
        assert spec is not None and spec.loader is not None, "it ends in .py"
        known = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(known)
        except Exception as error:
            del sys.modules[name]
            text = shorten(f"{type(error).__name__}: {error}", 200)
            raise refused(f"a file that Python can import ({text})") from error
    elif not _is_file(getattr(known, "__file__", None), whole):
        raise refused(f"another file name: there is a module {name} already")
    kind = getattr(known, "KIND", None)
    if not isinstance(kind, StrategyKind) or kind.source.partition(":")[0] != name:
        raise refused(f'a file with KIND, a StrategyKind whose source is "{name}:" and the name of its function')
    if kind.kind not in _FROM_FILES and kind.kind in strategy_names():
        raise refused(f"another name of the kind: there is a strategy {kind.kind} already")
    _FROM_FILES[kind.kind] = kind
    return kind


def _is_file(origin: str | None, whole: Path) -> bool:
    return origin is not None and Path(origin).resolve() == whole


def strategy_names() -> tuple[str, ...]:
    """Return every kind that can be found: shipped ones, those of installed entry points and of files."""
    installed = (point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    return tuple(sorted({*SHIPPED, *installed, *_FROM_FILES}))


@cache
def find_strategy(kind: str) -> StrategyKind:
    """Return the kind of this name.

    Raises
    ------
    InvalidRequest
        No strategy that is shipped, installed or of a file has this name; the message lists those that exist.
    """
    if kind in SHIPPED:
        found: StrategyKind = importlib.import_module(SHIPPED[kind]).KIND
        return found
    if kind in _FROM_FILES:
        return _FROM_FILES[kind]
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == kind:
            loaded: StrategyKind = point.load()
            return loaded
    raise InvalidRequest.of("kind", kind, f"one of {', '.join(strategy_names())}")


def wake(prepared: PreparedStrategy, view: Any, memory: NDArray[np.float64] | None = None) -> list[Any]:
    """Call the strategy once, uncompiled, and return its requests: for a unit test or a debugger.

    `view` comes from `actions.make_view`; `memory` is kept by the caller between calls.
    """
    from market_maker.strategies.actions import decode, new_actions

    actions = new_actions()
    state = np.zeros(prepared.memory_size) if memory is None else memory
    prepared.function()(view, prepared.vector, state, actions)
    return decode(actions)
