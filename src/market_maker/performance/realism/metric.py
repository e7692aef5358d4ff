"""What a metric of realism is: figures, and a sample or a curve that can be held against those of another market."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from market_maker.performance.figures import Figure, Float64, Int64

PARTS = 8
"""Parts of a window from which the uncertainty of a curve is drawn."""


class Curve(NamedTuple):
    """A curve over m points.

    xs, ys : (m,); NaN is not in them
    parts : (parts, m), the same of parts of the window, of which some may be missing; (0, m): none could be had
    """

    x_name: str
    xs: Float64
    ys: Float64
    parts: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric of one window.

    Parameters
    ----------
    key : its name, the same in every window
    number : of the list of stylised facts in docs/concepts/realism.md
    title, unit : in words
    figures : by name
    sample : (n,) what is compared as a distribution; None: there is none
    curve : what is compared as a curve, where there is no sample
    reason : why it is not available: then there is neither figure nor sample nor curve
    expected : what real markets show, in words
    is_informational : told, but no part of the mean score
    is_log : the sample is of logarithms of base 10
    notes : warnings, in words
    """

    key: str
    number: int
    title: str
    unit: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    sample: Float64 | None = None
    curve: Curve | None = None
    reason: str | None = None
    expected: str = ""
    is_informational: bool = False
    is_log: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_available(self) -> bool:
        """True when it could be measured."""
        return self.reason is None


class Told(NamedTuple):
    """Who a metric is, before it is measured; fields as of a `Metric`."""

    key: str
    number: int
    title: str
    unit: str
    expected: str = ""
    is_informational: bool = False

    def missing(self, reason: str) -> Metric:
        """Return the metric as not available."""
        return Metric(
            self.key, self.number, self.title, self.unit, reason=reason, expected=self.expected,
            is_informational=self.is_informational,
        )  # fmt: skip

    def measured(
        self,
        figures: Mapping[str, float | None],
        *,
        why: str = "too few observations",
        sample: Float64 | None = None,
        curve: Curve | None = None,
        is_log: bool = False,
        notes: tuple[str, ...] = (),
    ) -> Metric:
        """Return the metric; figures of None have the reason `why`. Not available when there is nothing at all."""
        if sample is not None and not len(sample):
            sample = None
        if sample is None and curve is None and all(value is None for value in figures.values()):
            return self.missing(why)
        shown = {name: Figure(value, why if value is None else None) for name, value in figures.items()}
        return Metric(
            self.key, self.number, self.title, self.unit, shown, sample, curve, None, self.expected, self.is_informational,
            is_log, notes,
        )  # fmt: skip


def curve_of(
    x_name: str, xs: Int64 | Float64, series: Float64, measure: Callable[[Float64], Float64 | None]
) -> Curve | None:
    """Return the curve that `measure` finds in a series, and in each of PARTS equal parts of it; None when it finds none."""
    ys = measure(series)
    if ys is None:
        return None
    found = [part for each in np.array_split(series, PARTS) if (part := measure(each)) is not None]
    parts = np.array(found) if len(found) == PARTS else np.zeros((0, len(ys)))
    return Curve(x_name, np.asarray(xs, np.float64), ys, parts)
