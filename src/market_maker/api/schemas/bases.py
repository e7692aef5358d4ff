"""What the shapes of all subjects share: names, the bases of requests and answers, problems."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Key = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:\-]+$")]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._\-]+$")]
OrderKind = Literal["LIMIT", "MARKET", "STOP", "STOP_LIMIT"]
Prevention = Literal["NONE", "CANCEL_NEWEST", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT"]
TradingPhase = Literal["PRE_OPEN", "CONTINUOUS", "CLOSING_AUCTION", "VOLATILITY_AUCTION", "HALTED", "CLOSED"]
Status = Literal["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """Any request body."""


class View(Struct, kw_only=True):
    """Any answer."""


class FieldProblem(View):
    """One fault of one field."""

    field: str
    value: str
    allowed: str


class Problem(View):
    """An error answer: RFC 9457, media type application/problem+json."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
