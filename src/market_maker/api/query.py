"""Parameters in the address of a request: a name that is not known, or stands there twice, is refused like a field of a body.

A filter that is spelled wrong would be left out in silence: more orders would be cancelled than were meant.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

from litestar import Request
from litestar.datastructures import MultiDict

from market_maker.domain.errors import InvalidRequest, shorten

_CHECKED = "/api/v1/"


def check_names(query: MultiDict[Any], known: Collection[str]) -> None:
    """Raise InvalidRequest for a parameter that is not known, or that is given twice."""
    for name in query:
        if name not in known:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidRequest.of(shorten(name), shorten(query[name]), f"a known parameter: {allowed}")
        if len(query.getall(name)) > 1:
            raise InvalidRequest.of(name, "given twice", "every name once")


def query_check(document: dict[str, Any]) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Return what looks at the parameters of each request by the OpenAPI document, which is filled later."""

    async def check(request: Request[Any, Any, Any]) -> None:
        if not request.scope["query_string"] or not request.url.path.startswith(_CHECKED):
            return
        described = document.get("paths", {}).get(request.scope["path_template"], {})
        operation = described.get(request.method.lower(), {})
        known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
        check_names(request.query_params, known)

    return check
