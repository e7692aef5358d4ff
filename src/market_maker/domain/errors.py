"""The one tree of errors that callers see, and the coded reasons of refused orders.

An error says what was wrong, the value, and what is allowed. A refused order is not an error but an
event that carries a `RejectReason`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one field of a request.

    Parameters
    ----------
    field : the path of the field, such as ``simulation_params.price_impact``
    value : what was given (shortened text; never more than 100 characters)
    allowed : what would have been accepted, in words
    """

    field: str
    value: str
    allowed: str


def shorten(value: Any, limit: int = 100) -> str:
    """Return `value` as text of at most `limit` characters that UTF-8 can carry."""
    text = str(value) if isinstance(value, str | UUID) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"


class MarketMakerError(Exception):
    """The root of every error that this package raises on purpose."""

    def __init__(self, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class InvalidRequest(MarketMakerError):
    """A request whose content is wrong; nothing was done."""

    @classmethod
    def of(cls, field: str, value: Any, allowed: str) -> InvalidRequest:
        """Return the error for one bad field."""
        shown = shorten(value)
        return cls(f"{field}: {shown} is not allowed; allowed: {allowed}", (FieldError(field, shown, allowed),))


class NotFound(MarketMakerError):
    """The thing named does not exist."""

    @classmethod
    def of(cls, what: str, field: str, value: Any) -> NotFound:
        """Return the error for a missing thing, for example ``NotFound.of("pair", "pair_id", id)``."""
        shown = shorten(value)
        return cls(f"no {what} with {field} {shown}", (FieldError(field, shown, f"the id of an existing {what}"),))


class Conflict(MarketMakerError):
    """The request contradicts the state of the thing, or a key was used with another body."""


class NotAllowed(MarketMakerError):
    """The caller gave no API key, an unknown one, or one whose scope is too small."""


class LimitBreached(MarketMakerError):
    """A risk limit forbids the request."""


class DataError(MarketMakerError):
    """Market data that is missing, broken or too little for what was asked."""


class Unavailable(MarketMakerError):
    """A dependency is down; the same request may be sent again after `retry_after_s` seconds."""

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class RejectReason(StrEnum):
    """Why an order was refused or why it ended without being wholly filled."""

    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    NO_LIQUIDITY = "NO_LIQUIDITY"
    POST_ONLY_WOULD_TAKE = "POST_ONLY_WOULD_TAKE"
    CANNOT_FILL_COMPLETELY = "CANNOT_FILL_COMPLETELY"
    NOT_THERE = "NOT_THERE"
    TIME_IN_FORCE = "TIME_IN_FORCE"
    LIMIT_BREACHED = "LIMIT_BREACHED"
    KILL_SWITCH = "KILL_SWITCH"
    SESSION_STOPPED = "SESSION_STOPPED"
    LOST_ON_THE_WAY = "LOST_ON_THE_WAY"
    SELF_TRADE = "SELF_TRADE"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    QTY_EXECUTED = "QTY_EXECUTED"
    REFUSED_BY_VENUE = "REFUSED_BY_VENUE"
    REJECTED_BY_CHANCE = "REJECTED_BY_CHANCE"
    OUTAGE = "OUTAGE"
    WRONG_PHASE = "WRONG_PHASE"
    NOTIONAL_MIN = "NOTIONAL_MIN"
    PRICE_COLLAR = "PRICE_COLLAR"
    VOLATILITY = "VOLATILITY"
