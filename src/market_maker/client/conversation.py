"""One call to the service: what is asked, when it is asked again, and what the answer means.

It does no I/O. `converse` is a generator that yields what is to be done next, a request or a pause, so that the
synchronous and the asynchronous client share every rule.
"""

from __future__ import annotations

import http.client
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import NoneType
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import httpx
import msgspec

from market_maker.api.schemas import Problem, Request
from market_maker.domain.errors import (
    Conflict,
    DataError,
    FieldError,
    InvalidRequest,
    LimitBreached,
    MarketMakerError,
    NotAllowed,
    NotFound,
    Unavailable,
)

Answer = TypeVar("Answer")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_ERRORS: dict[int, type[MarketMakerError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    422: DataError,
}


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, described.

    Parameters
    ----------
    method, path : as in the OpenAPI document; `path` has its parameters in braces
    answer : the type of a success; NoneType for an empty one, str for text
    path_values, query : parameters by name; those of the query that are None are left out
    body : the JSON body
    idempotency_key : sent as header, so that a repetition does nothing twice
    is_repeatable : whether the call may be sent again when it is unknown what became of it
    also : further statuses whose body has the type `answer`
    """

    method: str
    path: str
    answer: type[Answer]
    path_values: Mapping[str, UUID | int] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    body: Request | None = None
    idempotency_key: str | None = None
    is_repeatable: bool = False
    also: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Send:
    """Wish of a conversation: send this and hand back the response, or the error that came instead."""

    method: str
    url: str
    params: dict[str, str]
    headers: dict[str, str]
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wish of a conversation: wait this long."""

    seconds: float


Outcome = httpx.Response | httpx.TransportError | None
Steps = Generator[Send | Pause, Outcome, Answer]


def converse(call: Call[Answer], attempts: int) -> Steps[Answer]:
    """Return the steps of one call of at most `attempts` requests; their value is the answer.

    A request is sent again when it surely did nothing (no connection; 429), and also when it may have done something
    (connection lost, 503) if the call is repeatable.

    Raises
    ------
    MarketMakerError : the one that the problem document describes; Unavailable when all attempts failed
    """
    send = _prepared(call)
    outcome: Outcome = None
    for attempt in range(1, attempts + 1):
        outcome = yield send
        if attempt == attempts or not _may_repeat(call, outcome):
            break
        yield Pause(_pause_s(outcome, attempt))
    if isinstance(outcome, httpx.Response):
        return read(call, outcome)
    if isinstance(outcome, httpx.ReadTimeout):
        raise Unavailable(
            f"{call.method} {call.path}: no answer in time; whether it was done is not known. The client's timeout_s can be longer"
        ) from outcome
    told = f"{type(outcome).__name__}: {outcome}"
    raise Unavailable(
        f"{call.method} {call.path}: the service cannot be reached ({told}); `market-maker serve` starts one"
    ) from outcome


def read(call: Call[Answer], response: httpx.Response) -> Answer:
    """Return the answer that a response carries, or raise the error that it describes."""
    if not (response.is_success or response.status_code in call.also):
        raise error_of(response)
    if call.answer is NoneType:
        return cast("Answer", None)
    if call.answer is str:
        return cast("Answer", response.text)
    try:
        return cast("Answer", _decoder(cast("Any", call.answer)).decode(response.content))
    except msgspec.MsgspecError as error:
        raise MarketMakerError(f"{call.method} {call.path}: the answer is not as described: {error}") from error


def error_of(response: httpx.Response) -> MarketMakerError:
    """Return the error that a problem document describes, with its field errors."""
    status = response.status_code
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem(type="", title=_phrase(status), status=status, detail=response.text[:500])
    errors = tuple(FieldError(each.field, each.value, each.allowed) for each in problem.errors)
    if status in (429, 503):
        return Unavailable(problem.detail, _retry_after_s(response) or 1)
    if status >= 500:
        return MarketMakerError(f"the service failed ({status}): {problem.detail}", errors)
    kind = LimitBreached if problem.title == "Limit breached" else _ERRORS.get(status, InvalidRequest)
    return kind(problem.detail, errors)


def _prepared(call: Call[Any]) -> Send:
    headers = {"Accept": "application/json"}
    content = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        content = msgspec.json.encode(call.body)
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    url = call.path.format_map({name: str(value) for name, value in call.path_values.items()})
    params = {name: _text(value) for name, value in call.query.items() if value is not None}
    return Send(call.method, url, params, headers, content)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _may_repeat(call: Call[Any], outcome: Outcome) -> bool:
    if isinstance(outcome, httpx.Response):
        return outcome.status_code == 429 or (
            outcome.status_code == 503 and call.is_repeatable and 503 not in call.also
        )
    return call.is_repeatable or isinstance(outcome, _NEVER_SENT)


def _pause_s(outcome: Outcome, attempt: int) -> float:
    asked = _retry_after_s(outcome) if isinstance(outcome, httpx.Response) else None
    grown: float = _FIRST_PAUSE_S * 2 ** (attempt - 1)
    return min(grown if asked is None else float(asked), _LONGEST_PAUSE_S)


def _retry_after_s(response: httpx.Response) -> int | None:
    text = response.headers.get("retry-after", "")
    return int(text) if text.isdigit() else None


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "Error")


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
