"""Small pieces that all endpoints share: typed answers, bodies, pages, durations in answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from market_maker.api.problems import decode
from market_maker.api.schemas import View
from market_maker.service import MarketMakerService

AnyRequest = Request[Any, Any, Any]
Service = NamedDependency[MarketMakerService]
Body = TypeVar("Body", bound=msgspec.Struct)
Answer = TypeVar("Answer", bound=View)

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="most rows of the page")]
After = Annotated[UUID | None, QueryParameter(description="the cursor `next` of the page before")]
Wait = Annotated[bool, QueryParameter(description="answer with the outcome instead of the durable acceptance")]


_encode = msgspec.json.Encoder().encode


@cache
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


async def body_of(request: AnyRequest, kind: type[Body]) -> Body:
    """Return the request's body as `kind`, decimals exact; InvalidRequest names the field that is wrong."""
    return decoded(await raw_body(request), kind)


def decoded(body: bytes, kind: type[Body]) -> Body:
    """Return `body` as `kind`, decimals exact; InvalidRequest names the field that is wrong."""
    return cast("Body", decode(body, _decoder(kind)))


async def raw_body(request: AnyRequest) -> bytes:
    """Return the request's body as it came; the guard has read it already."""
    body = request.scope["state"].get("body")
    return await request.body() if body is None else cast("bytes", body)


class Written(Response[Answer]):
    """An answer that is written already: nothing is left to be looked up, converted or composed.

    Parameters
    ----------
    body : JSON
    status, headers : of the answer
    """

    def __init__(self, body: bytes, status: int, headers: dict[str, str] | None = None) -> None:
        # The framework's own set-up of cookies, background tasks and media types is what is saved here.
        self.content = cast("Answer", body)
        self.status_code = status
        self.headers = headers or {}
        self.media_type = "application/json"

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return what sends the answer."""
        return self._send

    async def _send(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send_written(send, self)


async def send_written(send: Any, response: Response[Any]) -> None:
    """Send an answer whose content is bytes already as the two messages of ASGI."""
    body: bytes = response.content
    head = [(b"content-type", str(response.media_type).encode()), (b"content-length", b"%d" % len(body))]
    head += [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def answer(
    kind: type[Answer],  # noqa: ARG001 (names the shape for the reader and the type checker)
    data: object,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response[Answer]:
    """Return `data`, which has the shape of `kind`, as JSON."""
    return Written(_encode(data), status, headers)


def page(kind: type[Answer], items: Sequence[Any], id_field: str, limit: int) -> Response[Answer]:
    """Return a page with the cursor of the next one."""
    cursor = None
    if len(items) >= limit:
        last = items[-1]
        cursor = last[id_field] if isinstance(last, dict) else getattr(last, id_field)
    return answer(kind, {"items": items, "next": cursor})


def correlation_of(request: AnyRequest) -> str:
    """Return the id that ties log lines and events to this request."""
    return cast("str", request.scope["state"]["correlation_id"])
