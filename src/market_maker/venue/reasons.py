"""Why the matching engine refused or ended an order, in the words that users are told."""

from __future__ import annotations

from market_maker.domain.errors import RejectReason
from market_maker.matching.codes import Cause

_REASONS: dict[int, RejectReason | None] = {
    Cause.NONE: None,
    Cause.REQUESTED: None,
    Cause.MASS_CANCEL: RejectReason.SESSION_STOPPED,
    Cause.POST_ONLY_WOULD_TAKE: RejectReason.POST_ONLY_WOULD_TAKE,
    Cause.QTY_EXECUTED: RejectReason.QTY_EXECUTED,
    Cause.SELF_TRADE: RejectReason.SELF_TRADE,
    # What an immediate order could not trade was not in the book at its price.
    Cause.TIME_IN_FORCE: RejectReason.NO_LIQUIDITY,
    Cause.NO_LIQUIDITY: RejectReason.NO_LIQUIDITY,
    Cause.CANNOT_FILL_COMPLETELY: RejectReason.CANNOT_FILL_COMPLETELY,
    Cause.NOT_THERE: RejectReason.NOT_THERE,
    Cause.WRONG_PHASE: RejectReason.WRONG_PHASE,
    Cause.NOTIONAL_MIN: RejectReason.NOTIONAL_MIN,
    Cause.PRICE_COLLAR: RejectReason.PRICE_COLLAR,
    Cause.VOLATILITY: RejectReason.VOLATILITY,
}


def reason_of(cause: int) -> RejectReason | None:
    """Return the reason for a `Cause`; None for a wish of the caller's own."""
    return _REASONS.get(cause, RejectReason.REFUSED_BY_VENUE)
