"""Twelve figures of each of many positions in one pass of compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.batch.compiled import compiled_risk
from market_maker.risk.batch.plan import plan
from market_maker.risk.samples import LARGEST, checked_table
from market_maker.risk.tails import Convention

CONFIDENCES = (0.95, 0.99)
_GENERAL = ("mean", "volatility", "max_drawdown", "ulcer")
_TAILS = (
    "historical_value_at_risk",
    "historical_expected_shortfall",
    "normal_value_at_risk",
    "normal_expected_shortfall",
)


@dataclass(frozen=True, slots=True, eq=False)
class BatchFigures:
    """Figures of many rows.

    Parameters
    ----------
    names : of the columns
    values : (positions, figures), finite, in the unit of the profits
    confidences, convention, observations : what they were made with
    """

    names: tuple[str, ...]
    values: Float64
    confidences: tuple[float, ...]
    convention: Convention
    observations: int

    def column(self, name: str) -> Float64:
        """Return (positions,) of one figure; KeyError without it."""
        if name not in self.names:
            raise KeyError(name)
        found: Float64 = self.values[:, self.names.index(name)]
        return found


def batch_figures(
    profits: ArrayLike,
    confidences: Sequence[float | Decimal] = CONFIDENCES,
    *,
    convention: Convention = Convention.LOWER_QUANTILE,
) -> BatchFigures:
    """Return the figures of each row: twelve for two confidences.

    Mean, volatility (n - 1), max drawdown and Ulcer index, and for each confidence VaR and ES, historical and normal.

    Parameters
    ----------
    profits : (positions, observations) profits or returns, oldest first; float64 in C order is not copied
    confidences : each in (0, 1)
    convention : which quantile is historical value at risk

    Raises
    ------
    InvalidRequest
        A confidence outside (0, 1), none at all.
    DataError
        Too few observations, numbers that are not finite or absurd; the message tells the row.

    Notes
    -----
    Drawdowns are those of the running sum, beginning at 0. Figures are those of `tails.tail_figures`, `drawdowns` and
    `value_at_risk.parametric.normal` but for the last digits: sums are not exact here. A row that does not vary has a
    volatility of 0 and figures of minus its mean.
    """
    if not confidences:
        raise InvalidRequest.of("confidences", confidences, "one or more")
    try:
        table = np.ascontiguousarray(profits, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"batch: not a table of numbers: {error}") from error
    if table.ndim != 2 or table.shape[1] < 2:
        raise DataError(
            f"batch: shape {table.shape} is not allowed; give positions x observations, two of these at least"
        )
    count = table.shape[1]
    chosen = plan(count, confidences, convention)
    figures = np.empty((len(table), len(_GENERAL) + len(_TAILS) * len(confidences)))
    bad = compiled_risk().batch(_lent(table), chosen.table, chosen.kept, chosen.reach, np.empty(count), figures)
    if bad >= 0:
        checked_table(table[bad : bad + 1], f"batch, position {bad}", rows="positions", columns="observations")
        raise DataError(
            f"batch: the numbers of position {bad} are too large; allowed: at most {LARGEST:g} in sum and size"
        )
    names = (*_GENERAL, *(f"{name}_{confidence:g}" for confidence in confidences for name in _TAILS))
    return BatchFigures(names, figures, tuple(map(float, confidences)), convention, count)


def _lent(table: Float64) -> Float64:
    """Return a view that cannot be written to: the one type that the compiled code knows."""
    view = table.view()
    view.flags.writeable = False
    return view
