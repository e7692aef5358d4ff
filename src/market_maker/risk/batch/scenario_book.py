"""A book's scenarios kept up to date: value at risk and expected shortfall after each fill, without going over the book."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.batch.compiled import compiled_risk
from market_maker.risk.batch.plan import plan
from market_maker.risk.samples import checked_table
from market_maker.risk.tails import Convention, TailFigures, minimum_observations

REFRESH_EVERY = 1000
"""Fills after which the book's scenarios are added up anew, so that rounding does not gather."""


class ScenarioBook:
    """Positions that are linear in their quantity, each with its profit per unit in every scenario.

    Parameters
    ----------
    unit_profits : (positions, scenarios) profit of one unit (lot) of each position
    confidence : in (0, 1)
    quantities : (positions,) units held, signed; default: none
    convention : which quantile is value at risk

    Raises
    ------
    InvalidRequest, DataError
        As `tails.tail_figures`, naming the axes.

    Notes
    -----
    A fill costs O(scenarios). Between two refreshes the book's profit in a scenario is off by at most 1,000 roundings of
    the largest amount that it had: 1e-13 of it. Not safe for use by two threads at once.

    Examples
    --------
    >>> moves = np.linspace(-1.0, 1.0, 41)
    >>> book = ScenarioBook([moves, -moves], 0.95)
    >>> book.fill(0, 10).value_at_risk, book.fill(1, 10).value_at_risk  # the second hedges the first
    (9.0, 0.0)
    """

    __slots__ = ("_book", "_changed", "_found", "_kernel", "_plan", "_quantities", "_rows", "_scratch", "_table")

    def __init__(
        self,
        unit_profits: ArrayLike,
        confidence: float | Decimal,
        quantities: ArrayLike | None = None,
        *,
        convention: Convention = Convention.LOWER_QUANTILE,
    ) -> None:
        least = minimum_observations(confidence)
        table = checked_table(unit_profits, "scenario book", rows="positions", columns="scenarios", least=least)
        self._table = np.array(table, order="C")
        self._table.flags.writeable = False
        self._rows = list(self._table)
        held = np.zeros(len(table)) if quantities is None else np.array(quantities, dtype=np.float64)
        if held.shape != (len(table),) or not np.isfinite(held).all():
            raise InvalidRequest.of("quantities", held.shape, f"{len(table)} finite numbers")
        self._quantities = held
        self._plan = plan(table.shape[1], (confidence,), convention)
        self._scratch, self._found = np.empty(table.shape[1]), np.empty(2)
        self._kernel = compiled_risk().book_after
        self._book = np.empty(0)
        self._changed = 0
        self.refresh()

    @property
    def quantities(self) -> Float64:
        """Units held of each position, a copy."""
        return self._quantities.copy()

    @property
    def profits(self) -> Float64:
        """Profit of the book in each scenario, a copy."""
        return self._book.copy()

    def refresh(self) -> None:
        """Add the book's scenarios up anew. O(positions x scenarios)."""
        self._book = self._quantities @ self._table
        self._changed = 0

    def figures(self) -> TailFigures:
        """Return value at risk and expected shortfall of the book as it is."""
        return self._after(0, 0.0)

    def fill(self, position: int, change: float) -> TailFigures:
        """Return both figures after `change` units of a position were bought (negative: sold).

        Raises
        ------
        InvalidRequest
            A position that is not there, a change that is not finite. The book is as it was.
        DataError
            A book beyond all numbers; it is as it was.
        """
        self._check(position, change)
        found = self._after(position, change)
        self._quantities[position] += change
        self._changed += 1
        if self._changed >= REFRESH_EVERY:
            self.refresh()
        return found

    def with_order(self, position: int, change: float) -> TailFigures:
        """Return both figures as they would be after a fill, for a check before an order; the book stays as it is."""
        self._check(position, change)
        before = self._book.copy()
        found = self._after(position, change)
        self._book = before
        return found

    def _check(self, position: int, change: float) -> None:
        if not 0 <= position < len(self._rows):
            raise InvalidRequest.of("position", position, f"0 to {len(self._rows) - 1}")
        if not math.isfinite(change):
            raise InvalidRequest.of("change", change, "a finite number of units")

    def _after(self, position: int, change: float) -> TailFigures:
        chosen, found = self._plan, self._found
        bad = self._kernel(
            self._book, self._rows[position], change, chosen.table, chosen.kept, chosen.reach, self._scratch, found
        )
        if bad:
            self.refresh()
            raise DataError(f"scenario book: {change} units of position {position} make a book that is no number")
        return TailFigures(found.item(0), found.item(1))
