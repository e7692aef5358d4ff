"""Prices and quantities of a source as exact integers, and the tick and lot that all of them fit.

Owns the way from decimals (or integers of a unit) to ticks and lots; nothing here is ever rounded. Knows no table.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.instrument import EXACT
from market_maker.market_data.steps.kernel import common_divisor
from market_maker.market_data.stretch import frozen

DIGITS_MAX = 18
SAMPLE_MIN = 1000
"""With fewer numbers than this, a common divisor says little: the step is then a power of ten."""


class NotExact(Exception):
    """A number that cannot be used: `at` is its place in the column."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at, self.what = at, what


@dataclass(frozen=True, slots=True)
class Exact:
    """Integers `values` (n,) int64 of 10**-digits."""

    values: NDArray[np.int64]
    digits: int


def exact(column: pl.Series, unit: Decimal | None, digits_min: int = 0) -> Exact:
    """Return a column of Decimals, or of Int64 multiples of `unit`, as integers; NotExact for null or too large."""
    if column.null_count():
        raise NotExact(int(column.is_null().arg_max() or 0), "is missing")
    if unit is not None:
        digits = max(0, -int(unit.as_tuple().exponent))
        factor = int(unit.scaleb(digits, EXACT))
        values = column.cast(pl.Int64)
        if factor != 1:
            values = _checked(values.cast(pl.Int128) * pl.Series([factor], dtype=pl.Int128), column)
        return Exact(values.to_numpy(), digits)
    scale = column.dtype.scale  # type: ignore[attr-defined]
    units = column.to_physical()
    digits = min(digits_min, scale)
    while digits < scale and bool((units % _power(scale - digits) != 0).any()):
        digits += 1
    return Exact(_checked(units // _power(scale - digits), column).to_numpy(), digits)


def _checked(units: pl.Series, column: pl.Series) -> pl.Series:
    values = units.cast(pl.Int64, strict=False)
    if values.null_count():
        at = int(values.is_null().arg_max() or 0)
        raise NotExact(at, f"{column[at]} is too large for 64 bits in its own decimals")
    return values


def _power(digits: int) -> pl.Series:
    return pl.Series([10**digits], dtype=pl.Int128)


@dataclass(slots=True)
class Step:
    """Finds the step of a stream of numbers: the coarsest one that all fit."""

    numbers: int = 0
    digits: int = 0
    divisor: int = 0

    def add(self, numbers: Exact) -> None:
        """Take more numbers into account."""
        if numbers.digits > self.digits:
            self.divisor *= 10 ** (numbers.digits - self.digits)
            self.digits = numbers.digits
        self.numbers += len(numbers.values)
        found = int(common_divisor(frozen(numbers.values, np.int64), 0))
        self.divisor = int(np.gcd(self.divisor, found * 10 ** (self.digits - numbers.digits), dtype=object))

    def size(self) -> Decimal:
        """Return the step: the common divisor of many numbers, or a power of ten for few."""
        if not self.divisor:
            return Decimal(1)
        if self.numbers >= SAMPLE_MIN:
            return Decimal(self.divisor).scaleb(-self.digits).normalize(EXACT)
        divisor, digits = self.divisor, self.digits
        while digits and divisor % 10 == 0:
            divisor, digits = divisor // 10, digits - 1
        return Decimal(1).scaleb(-digits)


def in_steps(values: NDArray[np.int64], digits: int, step: Decimal, most: int, step_name: str) -> NDArray[np.int64]:
    """Return integers of 10**-digits in whole steps; NotExact names the first that is none, negative or above `most`."""
    ratio = Fraction(1, 10**digits) / Fraction(step)
    factor, divisor = ratio.numerator, ratio.denominator
    too_large = values > most * divisor // factor
    wrong = too_large | (values < 0)
    if divisor != 1:
        wrong = wrong | (values * (factor % divisor) % divisor != 0 if factor != 1 else values % divisor != 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        shown = Decimal(int(values[at])).scaleb(-digits)
        if values[at] < 0:
            raise NotExact(at, f"{shown:f} is negative")
        if too_large[at]:
            raise NotExact(at, f"{shown:f} is more than {most} times the {step_name} {step:f}")
        raise NotExact(at, f"{shown:f} is not a multiple of the {step_name} {step:f}")
    return (
        values // divisor if factor == 1 else values // divisor * factor if divisor == 1 else values * factor // divisor
    )
