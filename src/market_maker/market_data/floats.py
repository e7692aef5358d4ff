"""Binary floats of a file that holds nothing better, as the decimals that they were made from.

A float is taken as the decimal of few digits that it is the nearest float of. Some writers leave floats beside the nearest one
(pandas reads JSON so): a few units in the last place are forgiven, counted, and told. Anything else is refused: it is
the result of a calculation, and its decimal would be a guess.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from market_maker.market_data.source import Source

DIGITS_MAX = 15
FORGIVEN_ULPS = 4
_WHOLE_FLOATS = 2.0**53


class Floats:
    """Floats of a column (or of several with one unit) as whole multiples of 10^-digits.

    The digits are the fewest that serve every float so far, so they can become more from batch to batch.

    Attributes
    ----------
    moved : how many floats were not the nearest of their decimal
    """

    def __init__(self, source: Source, column: str) -> None:
        self.moved = 0
        self._source, self._column, self._digits = source, column, 0

    @property
    def digits(self) -> int:
        """Decimals so far."""
        return self._digits

    @property
    def unit(self) -> Decimal:
        """What the numbers of the last batch are multiples of."""
        return Decimal(1).scaleb(-self._digits)

    def whole(self, values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return floats (n,) as multiples of the unit; DataError names the row of the first that is no decimal."""
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any():
            self._refuse(values, rows, bad, "is no number from 0 on")
        never = far = np.ones(len(values), np.bool_)
        for digits in range(self._digits, DIGITS_MAX + 1):
            # Both are exact below 2^53, so that the quotient is the float nearest to the decimal.
            with np.errstate(over="ignore", invalid="ignore"):
                whole = np.rint(values * 10.0**digits)
                difference = np.abs(whole / 10.0**digits - values)
                far = ~(whole < _WHOLE_FLOATS)
                moved = difference != 0
                if moved.any():
                    far |= ~(difference <= FORGIVEN_ULPS * np.spacing(values))
            if not far.any():
                self._digits = digits
                self.moved += int(moved.sum())
                return whole.astype(np.int64)
            never = never & far
        if never.any():
            self._refuse(
                values, rows, never, "is the float of no decimal of up to 15 digits: it was calculated, and to round it would be to"
                " guess",
            )  # fmt: skip
        return self._refuse(values, rows, far, "has no room for the decimals of the others in 15 digits")

    def nearest(self, values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the floats nearest to the decimals, whose shortest text is the decimal itself."""
        return self.whole(values, rows) / 10.0**self._digits

    def told(self, what: str) -> str | None:
        """Return the sentence for the report, if there is anything to say; `what` names the numbers."""
        if not self.moved:
            return None
        return (
            f"{self._source.path.name}: {self.moved} {what} are floats beside that of a decimal, as some writers leave them; they were"
            f" taken as the nearest decimals of {self._digits} digits after the point"
        )

    def _refuse(
        self, values: NDArray[np.float64], rows: NDArray[np.int64], bad: NDArray[np.bool_], what: str
    ) -> NoReturn:
        at = int(np.argmax(bad))
        raise self._source.error(int(rows[at]), self._column, f"{float(values[at])!r} {what}")
