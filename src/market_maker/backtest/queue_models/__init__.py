"""Where we stand in the queue of a price level: the names of the models and their one parameter.

A feed of levels does not show who cancelled. The models differ in where they think that cancelled quantity stood:
behind us, or shared out between those ahead and those behind. The arithmetic is in `kernel`.
"""

from __future__ import annotations

import math
from decimal import Decimal
from enum import IntEnum

from market_maker.domain.errors import InvalidRequest

EXPONENT_MAX = 16.0
"""Larger exponents say nothing more, and the largest quantity (2**40 lots) to this power is still a float."""


class QueueModel(IntEnum):
    """How a falling level moves us forward.

    With `front` lots ahead of us, `back` lots behind and a level that fell by `c` lots which were not traded, a model
    gives the probability p that a cancelled lot stood behind; the queue ahead shrinks by (1 - p) c. Trades at the level
    always come off the front, and the front is never longer than what the level displays.

    Source of POWER..LOG2: R. Rigtorp, "Estimating order queue position", 2013; the six formulas as in hftbacktest 2.4.4,
    against which they are tested (tests/differential/hftbacktest).
    """

    RISK_AVERSE = 0
    """p = 1: every cancel happens behind us; only trades and the displayed quantity shorten the queue. No parameter."""

    POWER = 1
    """p = back**n / (back**n + front**n); n = 1: cancels fall evenly on all lots, larger n: on the longer part."""

    POWER2 = 2
    """p = back**n / (back + front)**n; n > 1 moves us faster than POWER, the two parts do not add up to 1."""

    POWER3 = 3
    """p = 1 - (front / (front + back))**n; n > 1: cancels behind us are likelier than an even share."""

    LOG = 4
    """p = ln(1 + back) / (ln(1 + back) + ln(1 + front)); the quantity of the "1" is one unit, see `parameter_of`."""

    LOG2 = 5
    """p = ln(1 + back) / ln(1 + back + front)."""

    FIFO = 6
    """Nothing is guessed: the feed tells when each order took its place, so a cancel moves us just when it stood ahead,
    and the execution of an order behind us would have been ours. For feeds of orders (L3) alone. No parameter."""

    FRONT = 7
    """Optimistic: nobody is ahead of us, every trade at our price fills us up to its quantity. No parameter."""

    BACK = 8
    """Pessimistic: everybody is ahead of us for ever; only a trade through our price, or the other side coming to it,
    fills us. No parameter."""

    @property
    def has_exponent(self) -> bool:
        """True for the models whose formula has an n."""
        return self in {QueueModel.POWER, QueueModel.POWER2, QueueModel.POWER3}


def parameter_of(model: QueueModel, n: float | None, lot_size: Decimal) -> float:
    """Return the number that the kernel takes as `n`.

    For POWER, POWER2 and POWER3 it is the exponent. The logarithms are not free of units: "1 +" is one whole unit of
    quantity (one coin, one contract), so they need the size of a lot. RISK_AVERSE needs nothing.

    Raises
    ------
    InvalidRequest
        An exponent that is missing, not above 0 or above 16, or one for a model without.
    """
    if model.has_exponent:
        if n is None or not math.isfinite(n) or not 0 < n <= EXPONENT_MAX:
            raise InvalidRequest.of("queue_n", n, f"a number above 0, at most {EXPONENT_MAX:g}, for {model.name}")
        return float(n)
    if n is not None:
        raise InvalidRequest.of("queue_n", n, f"nothing: {model.name} has no exponent")
    return 0.0 if model is QueueModel.RISK_AVERSE else float(lot_size)
