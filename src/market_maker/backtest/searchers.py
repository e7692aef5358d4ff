"""Where to look next: parameter sets in batches, by grid, by chance or by what the sets before have scored.

Owns what a parameter may be (`Dimension`) and the ways of searching. Knows no strategy, no market and no run: a searcher
is asked for sets and told how good they were, the higher the better. The same seed and the same scores give the same sets.
"""

from __future__ import annotations

import importlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from market_maker.domain.errors import InvalidRequest, Unavailable
from market_maker.strategies.contract import Parameter

Point = dict[str, int | float]
"""Values of the searched parameters by name."""

PLACES_MAX = 10**9
DRAWS = 200
"""Draws without a new set after which chance has found all that it will find."""


class SearchKind(StrEnum):
    """How sets are chosen."""

    GRID = "grid"
    RANDOM = "random"
    BAYES = "bayes"


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values that one parameter may have, both ends included; made by `dimension_of`.

    Parameters
    ----------
    low, high : bounds, low <= high
    step : values are low, low + step, ...; None: any value between the bounds
    is_log : each doubling is as likely as another; without a step
    is_whole : whole numbers only
    """

    name: str
    low: Decimal
    high: Decimal
    step: Decimal | None = None
    is_log: bool = False
    is_whole: bool = False

    @property
    def count(self) -> int | None:
        """How many values there are; None: they are not counted."""
        if self.step is None:
            return 1 if self.low == self.high else None
        return int((self.high - self.low) / self.step) + 1

    def value(self, place: int) -> int | float:
        """Return a value by its place, 0 the lowest; whole numbers are integers, so that `1` and `1.0` are one set."""
        return _plain(self.low + (self.step or 0) * place)

    def drawn(self, share: float) -> int | float:
        """Return the value below which a share in [0, 1) of all lie."""
        if self.count is not None:
            return self.value(int(share * self.count))
        low, high = float(self.low), float(self.high)
        if self.is_whole:
            # Half a step on either side, so that both ends are as likely as their neighbours.
            low, high = low - 0.5, high + 0.5
        drawn = low * (high / low) ** share if self.is_log else low + share * (high - low)
        bounded = min(max(drawn, float(self.low)), float(self.high))
        return round(bounded) if self.is_whole else bounded


def dimension_of(
    parameter: Parameter, low: Decimal, high: Decimal, *, step: Decimal | None = None, is_log: bool = False
) -> Dimension:
    """Return the dimension of a strategy's parameter; a whole number without step or `is_log` has the step 1.

    Raises
    ------
    InvalidRequest
        Bounds outside the parameter's own, in the wrong order, or fractions of a whole number; a step that is not
        positive, or given together with `is_log`, which needs a positive low.
    """
    field, whole = f"param.{parameter.name}", parameter.type == "integer"
    for bound in (low, high):
        parameter.check(_plain(bound), field)
    if low > high:
        raise InvalidRequest.of(field, f"{low}:{high}", "LOW not above HIGH")
    if is_log and (step is not None or low <= 0):
        raise InvalidRequest.of(field, f"{low}:{high}:log", "a LOW above 0 and no step with `log`")
    if whole and step is None and not is_log:
        step = Decimal(1)
    if step is not None and (step <= 0 or (whole and step != step.to_integral_value())):
        raise InvalidRequest.of(field, str(step), f"a {'whole ' if whole else ''}step above 0")
    if step is not None and (high - low) / step >= PLACES_MAX:
        raise InvalidRequest.of(field, f"{low}:{high}:{step}", f"{PLACES_MAX:,} values at most: a wider step or `log`")
    return Dimension(parameter.name, low, high, step, is_log, whole)


class Searcher(Protocol):
    """Chooses sets. A batch is asked for and then told before the next one is asked for."""

    def ask(self, count: int) -> list[Point]:
        """Return up to `count` sets; fewer or none when there are no more."""

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take the scores of the last batch, in its order; None: undefined, worse than every other."""


def searcher_of(kind: SearchKind, dimensions: Sequence[Dimension], *, trials: int, seed: int) -> Searcher:
    """Return a searcher for up to `trials` sets.

    Raises
    ------
    InvalidRequest
        No dimension, one given twice, or a grid of more sets than trials or of values that are not counted.
    Unavailable
        `bayes` without the package optuna.
    """
    names = [dimension.name for dimension in dimensions]
    if not names or len(set(names)) < len(names):
        raise InvalidRequest.of("param", ", ".join(names), "one parameter or more, each once")
    if kind is SearchKind.BAYES:
        return BayesSearcher(dimensions, seed)
    if kind is SearchKind.RANDOM:
        return RandomSearcher(dimensions, seed)
    sets = _sets(dimensions)
    if sets is None:
        free = next(dimension.name for dimension in dimensions if dimension.count is None)
        raise InvalidRequest.of(f"param.{free}", "LOW:HIGH without a step", "LOW:HIGH:STEP in a grid")
    if sets > trials:
        raise InvalidRequest.of(
            "trials", trials, f"{sets:,} or more, the sets of the grid; or wider steps, or search random or bayes"
        )
    return GridSearcher(dimensions)


class GridSearcher:
    """Every combination, the last dimension varying fastest. Scores change nothing."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self._left = _combinations(dimensions)

    def ask(self, count: int) -> list[Point]:
        """Return the next combinations."""
        return list(itertools.islice(self._left, count))

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take the scores."""


class RandomSearcher:
    """Independent draws, uniform over the values or, of a logarithmic dimension, over their logarithms; no set twice."""

    def __init__(self, dimensions: Sequence[Dimension], seed: int) -> None:
        self._dimensions = dimensions
        self._chance = np.random.default_rng(seed)
        self._seen: set[tuple[int | float, ...]] = set()

    def ask(self, count: int) -> list[Point]:
        """Return new sets; fewer when `DRAWS` draws in a row brought none."""
        found: list[Point] = []
        in_vain = 0
        while len(found) < count and in_vain < DRAWS:
            shares = self._chance.random(len(self._dimensions))
            point = {d.name: d.drawn(float(share)) for d, share in zip(self._dimensions, shares, strict=True)}
            values = tuple(point.values())
            in_vain = in_vain + 1 if values in self._seen else 0
            if not in_vain:
                self._seen.add(values)
                found.append(point)
        return found

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take the scores."""


class BayesSearcher:
    """Optuna's tree-structured Parzen estimator over all dimensions together; trials are kept in memory only.

    A set of a batch counts as bad until it is told, so that the sets of one batch, which share a pass, lie apart. A set may
    come again: where few are left, the estimator returns to the best.

    Notes
    -----
    Source: Bergstra, Bardenet, Bengio and Kegl (2011), "Algorithms for hyper-parameter optimization", NeurIPS 24; for the
    batches Ginsbourger, Le Riche and Carraro (2010), "Kriging is well-suited to parallelize optimization", section 3.
    """

    def __init__(self, dimensions: Sequence[Dimension], seed: int) -> None:
        optuna = _optuna()
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self._pruned = optuna.trial.TrialState.PRUNED
        self._distributions = {name: _distribution(optuna, d) for name, d in self._dimensions.items()}
        with warnings.catch_warnings():
            # Both options have been marked experimental for years.
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[Any] = []

    def ask(self, count: int) -> list[Point]:
        """Return the sets that look best, given the scores so far."""
        assert not self._asked, "the last batch has not been told"
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [self._point(trial.params) for trial in self._asked]

    def tell(self, scores: Sequence[float | None]) -> None:
        """Take the scores."""
        for trial, score in zip(self._asked, scores, strict=True):
            if score is None:
                # One that was given up counts as worse than every finished one.
                self._study.tell(trial, state=self._pruned)
            else:
                self._study.tell(trial, score)
        self._asked = []

    def _point(self, chosen: dict[str, Any]) -> Point:
        return {
            name: d.value(chosen[name]) if d.count is not None else chosen[name] for name, d in self._dimensions.items()
        }


def _distribution(optuna: Any, dimension: Dimension) -> Any:
    """Return what Optuna searches: places of counted values, so that decimal steps stay exact, or the values themselves."""
    of = optuna.distributions
    if dimension.count is not None:
        return of.IntDistribution(0, dimension.count - 1)
    if dimension.is_whole:
        return of.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return of.FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.is_log)


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")  # 0.2 s, for those who search with it
    except ImportError as error:
        raise Unavailable("the search bayes needs the package optuna; install it: pip install optuna") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sets(dimensions: Sequence[Dimension]) -> int | None:
    counts = [dimension.count for dimension in dimensions]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[Point]:
    names = [dimension.name for dimension in dimensions]
    choices = [[d.value(place) for place in range(d.count or 0)] for d in dimensions]
    for values in itertools.product(*choices):
        yield dict(zip(names, values, strict=True))


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
