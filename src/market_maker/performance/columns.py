"""The columns of a run as analysis takes them: checked once, and summed without overflow and without rounding.

Knows units and order; knows nothing of data frames or of where the columns are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.domain.order import Liquidity
from market_maker.performance.figures import Int64

Whole = NDArray[Any]
"""Integers: int64, or Python's own where a product or a sum could leave int64."""

_SAFE = 2**60
"""Below it a few terms can be added in int64."""


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Equally long int64 columns; those with a default may be absent."""

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Self:
        """Return the columns of a mapping, such as a data frame's; DataError for a missing or malformed one.

        Further columns are ignored. Integers of any width are taken as int64.
        """
        known: dict[str, Int64] = {}
        for field in fields(cls):
            if field.name in columns:
                known[field.name] = _whole_numbers(columns[field.name], field.name)
            elif field.default is not None:
                raise DataError(f"column {field.name} is missing; needed: {', '.join(cls._needed())}")
        return cls(**known)

    @classmethod
    def _needed(cls) -> list[str]:
        return [field.name for field in fields(cls) if field.default is not None]

    def _check(self, time: str) -> None:
        instants: Int64 = getattr(self, time)
        for field in fields(self):
            column = getattr(self, field.name)
            if column is not None and column.shape != instants.shape:
                raise DataError(f"column {field.name} has shape {column.shape}, {time} has {instants.shape}")
        backwards = np.flatnonzero(np.diff(instants) < 0)
        if backwards.size:
            raise DataError(f"{time} goes backwards after row {backwards[0]}; sort the rows by time")


@dataclass(frozen=True, slots=True, eq=False)
class Samples(_Columns):
    """What a run was worth at the instants of its sampling clock; every column is (n,) int64.

    Parameters
    ----------
    ts : ns UTC, not decreasing
    equity_half_tick_lots : balance + cash - fees + worth of the position at the mid, in half units of cash (half tick-lots)
    position_lots : signed
    cash_tick_lots : sum of payments for fills (negative: paid out), fees and balance apart, in units of cash
    fees_tick_lots : sum of fees paid (a rebate is negative)
    mid_half_ticks : best bid + best ask
    best_bid_ticks, best_ask_ticks : the market's best prices, 0 where a side is empty; optional
    traded_lots : public volume since the row before; optional
    """

    ts: Int64
    equity_half_tick_lots: Int64
    position_lots: Int64
    cash_tick_lots: Int64
    fees_tick_lots: Int64
    mid_half_ticks: Int64
    best_bid_ticks: Int64 | None = None
    best_ask_ticks: Int64 | None = None
    traded_lots: Int64 | None = None

    def __post_init__(self) -> None:
        self._check("ts")


@dataclass(frozen=True, slots=True, eq=False)
class Fills(_Columns):
    """The executions of a run in the order of their happening; every column is (m,) int64.

    Parameters
    ----------
    exch_ts : ns UTC, not decreasing
    order_id : the order
    side : +1 buy, -1 sell
    liquidity : 0 maker, 1 taker
    price_ticks, qty_lots : positive quantity
    fee_tick_lots : paid for this fill; a rebate is negative
    position_lots, cash_tick_lots, fees_tick_lots : the ledger after the fill
    mid_half_ticks : best bid + best ask at the fill
    cause : code of what made it fill; optional
    queue_ahead_lots : quantity that was ahead at the price; optional
    resting_ns : how long the order had rested; optional
    """

    exch_ts: Int64
    order_id: Int64
    side: Int64
    liquidity: Int64
    price_ticks: Int64
    qty_lots: Int64
    fee_tick_lots: Int64
    position_lots: Int64
    cash_tick_lots: Int64
    fees_tick_lots: Int64
    mid_half_ticks: Int64
    cause: Int64 | None = None
    queue_ahead_lots: Int64 | None = None
    resting_ns: Int64 | None = None

    def __post_init__(self) -> None:
        self._check("exch_ts")
        wrong = np.flatnonzero((np.abs(self.side) != 1) | (self.qty_lots <= 0))
        if wrong.size:
            row = int(wrong[0])
            raise DataError(
                f"fill {row}: side {self.side[row]} and quantity {self.qty_lots[row]} are not allowed;"
                " a side is +1 or -1, a quantity positive"
            )

    @property
    def count(self) -> int:
        """Number of fills."""
        return len(self.exch_ts)

    @property
    def is_maker(self) -> NDArray[np.bool_]:
        """(m,) True where the order rested."""
        return np.equal(self.liquidity, int(Liquidity.MAKER))


def merge_places(fill_ts: Int64, sample_ts: Int64) -> tuple[Int64, Int64]:
    """Return the places of fills and of samples in the order of time; at one instant fills come first, as in a replay.

    Both times must not decrease. O(n + m) for columns that are sorted.
    """
    fills_before = np.searchsorted(fill_ts, sample_ts, side="right")
    sample_place = np.arange(len(sample_ts)) + fills_before
    is_fill = np.ones(len(fill_ts) + len(sample_ts), dtype=np.bool_)
    is_fill[sample_place] = False
    return np.flatnonzero(is_fill), sample_place


def distinct(values: Int64) -> int:
    """Return how many different values there are."""
    ordered = np.sort(values, kind="stable")
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + 1 if len(values) else 0


def products(one: Whole, other: Whole) -> Whole:
    """Return the elementwise product, in Python's integers where int64 would not hold one."""
    if largest(one) * largest(other) < _SAFE:
        return one * other
    result: Whole = one.astype(object) * other.astype(object)
    return result


def scaled(values: Whole, factor: int) -> Whole:
    """Return `values` x `factor`, in Python's integers where int64 would not hold one."""
    if largest(values) * abs(factor) < _SAFE:
        return values * factor
    result: Whole = values.astype(object) * factor
    return result


def total(values: Whole) -> int:
    """Return the exact sum."""
    if largest(values) * len(values) < _SAFE:
        return int(values.sum())
    return sum(values.tolist())


def sums_by_group(values: Whole, group: Int64, groups: int) -> list[int]:
    """Return the exact sum of each group.

    Parameters
    ----------
    values : (n,) integers
    group : (n,) int64 in [0, groups)
    groups : how many there are; one without members sums to 0

    Returns
    -------
    list of int
        One of Python's integers per group. O(n).
    """
    exact = largest(values) * len(values) < _SAFE
    sums = np.zeros(groups, dtype=np.int64 if exact else object)
    np.add.at(sums, group, values if exact else values.astype(object))
    return [int(value) for value in sums]


def running_sum(values: Whole) -> Whole:
    """Return the exact cumulative sum."""
    exact = largest(values) * len(values) < _SAFE
    result: Whole = np.cumsum(values if exact else values.astype(object))
    return result


def packed(values: list[int]) -> Whole:
    """Return integers as int64 where all of them fit, as Python's own otherwise."""
    return np.array(values, dtype=np.int64 if max(map(abs, values), default=0) < _SAFE else object)


def largest(values: Whole) -> int:
    """Return the largest size of a value, 0 of none."""
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def _whole_numbers(values: Any, name: str) -> Int64:
    try:
        column = np.ascontiguousarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {name} is not one row of integers: {error}") from error
    if column.ndim != 1 or (column.dtype.kind not in "iu" and column.size):
        raise DataError(f"column {name} has type {column.dtype} and shape {column.shape}; give one row of integers")
    return column.astype(np.int64, copy=False)
