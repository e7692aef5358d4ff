"""From errors to HTTP: every failure is a problem document (RFC 9457) that names field, value and what is allowed."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from typing import Any, cast, get_args
from uuid import UUID

import msgspec
import structlog
from litestar import Response
from litestar.connection import Request
from litestar.exceptions import HTTPException

from market_maker.domain.errors import (
    Conflict,
    DataError,
    FieldError,
    InvalidRequest,
    LimitBreached,
    MarketMakerError,
    NotFound,
    Unavailable,
    shorten,
)
from market_maker.domain.units import check_decimal

PROBLEM_JSON = "application/problem+json"
_STATUS: dict[type[MarketMakerError], tuple[int, str]] = {
    InvalidRequest: (400, "Invalid request"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict"),
    LimitBreached: (422, "Limit breached"),
    DataError: (422, "Data not usable"),
    Unavailable: (503, "Temporarily unavailable"),
}
_PATH = re.compile(r" - at `(?:key in )?\$?\.?(?P<path>[^`]*)`$")
_NAMES = re.compile(rb'"([^"\\]*+)"\s*+:')
_IDS = (re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"), "the text of a UUID")
_NUMBERS = (re.compile(r"-?[0-9]{1,18}"), "a whole number")
_NOT_NUMBERS = re.compile(rb"\s*-?(NaN|Infinity)")
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "null": (type(None),), "array": (list,), "object": (dict,),
}  # fmt: skip
_ALLOWED = {"Invalid UUID": "the text of a UUID", "Invalid decimal string": "a decimal number"}
_log = structlog.get_logger("api")


def problem(
    status: int, title: str, detail: str, errors: tuple[FieldError, ...] = (), headers: dict[str, str] | None = None
) -> Response[bytes]:
    """Return a problem answer."""
    content = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": shorten(detail, 1000),
        "errors": [{"field": e.field, "value": e.value, "allowed": e.allowed} for e in errors],
    }
    return Response(msgspec.json.encode(content), status_code=status, media_type=PROBLEM_JSON, headers=headers)


def from_error(error: MarketMakerError) -> Response[bytes]:
    """Return the answer to one of our own errors."""
    status, title = _STATUS.get(type(error), (400, "Invalid request"))
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Unavailable) else None
    return problem(status, title, error.detail, error.errors, headers)


def decode(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Return a request body as its type.

    Raises
    ------
    InvalidRequest : names the field, its value and what is allowed
    """
    try:
        wish = decoder.decode(body)
        names = _NAMES.findall(body)
        if len(set(names)) < len(names) or b"\\" in body:  # perhaps: the same name may stand in two objects
            _refuse_names_given_twice(body)
    except msgspec.ValidationError as error:
        raise _invalid_field(body, str(error), decoder.type) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not_json(body, error) from None
    for name in _decimal_fields(cast("Any", type(wish))):
        value = getattr(wish, name)
        if value is not None:
            check_decimal(value, name)
    return wish


def _not_json(body: bytes, error: Exception) -> InvalidRequest:
    position = re.search(r"\(byte (\d+)\)$", str(error))
    names = list(_NAMES.finditer(body, 0, int(position[1]) + 1)) if position else []
    if names and _NOT_NUMBERS.match(body, names[-1].end()):
        field = shorten(names[-1][1].decode("utf-8", "replace"))
        return InvalidRequest.of(field, "not a number", "a value of JSON, which has no NaN or Infinity")
    return InvalidRequest(
        f"the body is not JSON: {error}",
        (FieldError("body", f"{len(body)} bytes", "one JSON object, UTF-8, no NaN or Infinity"),),
    )


@cache
def _decimal_fields(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields that hold money, quantities or other decimals."""
    fields = msgspec.structs.fields(kind)
    return tuple(field.name for field in fields if Decimal in (field.type, *get_args(field.type)))


def _refuse_names_given_twice(body: bytes) -> None:
    """Refuse objects in which a name stands twice: readers differ in which of the values counts (RFC 8259, 4)."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        if len(seen) < len(pairs):
            name = next(name for name in seen if sum(name == each for each, _ in pairs) > 1)
            raise InvalidRequest.of(shorten(name), "given twice", "every name once")
        return seen

    json.loads(body, object_pairs_hook=check, parse_int=str, parse_float=str)


def _invalid_field(body: bytes, message: str, kind: Any) -> InvalidRequest:
    match = _PATH.search(message)
    path = match["path"] if match else ""
    reason = message[: match.start()] if match else message
    if reason.startswith("Invalid enum value"):
        reason = "Expected one of " + ", ".join(_choices(kind, path))
    unknown = re.search(r"unknown field `(.*)`", reason)
    missing = re.search(r"missing required field `(.*)`", reason)
    for named in (unknown, missing):
        if named:
            path = f"{path}.{named[1]}" if path else named[1]
    path = _named(body, path, reason)
    value = "" if missing else _as_written(_value_at(body, path))
    if unknown:
        names = ", ".join(_fields_at(kind, path, body))
        allowed = f"a known field: {names}" if names else "a known field"
    elif reason.startswith("Invalid value") and path and (tags := _tags(kind)):
        allowed = ", ".join(tags)
        reason = f"Expected one of {allowed}"
    else:
        allowed = "this field is required" if missing else _in_words(reason)
    return InvalidRequest(
        f"{shorten(path) or 'body'}: {shorten(reason, 300)}", (FieldError(shorten(path) or "body", value, allowed),)
    )


def _named(body: bytes, path: str, reason: str) -> str:
    """Return a path whose last part is a name: of a value in an object of any names the decoder tells only its type."""
    got = re.search(r", got `(.*)`$", reason)
    around = _value_at(body, path.removesuffix("[...]")) if path.endswith("[...]") and got else None
    if got and isinstance(around, dict):
        name = next((name for name, value in around.items() if isinstance(value, _JSON_TYPES.get(got[1], ()))), None)
        return path if name is None else f"{path.removesuffix('[...]')}.{name}"
    return path


def _value_at(body: bytes, path: str) -> Any:
    try:
        value = msgspec.json.decode(body)
        for part in re.findall(r"[^.\[\]]+", path):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (msgspec.DecodeError, KeyError, IndexError, ValueError, TypeError, RecursionError):
        return ""
    return value


def _in_words(reason: str) -> str:
    expected = re.match(r"Expected `(.*?)`(?:, got .*)?$", reason)
    if reason.startswith("Expected one of "):
        return reason.removeprefix("Expected ")
    return f"a value of type {expected[1]}" if expected else _ALLOWED.get(reason, shorten(reason, 300))


def _as_written(value: Any) -> str:
    """Return a value of a body as it may have been written: text bare, all else as JSON."""
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _structs_of(kind: Any) -> list[Any]:
    """Return the structs that a type of a field may be, or hold as items."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [found for inner in get_args(kind) for found in _structs_of(inner)]


def _tags(kind: Any) -> list[str]:
    return sorted(str(each.__struct_config__.tag) for each in _structs_of(kind) if each.__struct_config__.tag)


def _fields_at(kind: Any, path: str, body: bytes) -> list[str]:
    """Return the fields of the object in which the last name of `path` stands; none when that is not certain."""
    *parents, _ = path.split(".")
    options = _structs_of(kind)
    for name in parents:
        bare = name.split("[")[0]
        found = [field.type for each in options for field in msgspec.structs.fields(each) if field.encode_name == bare]
        options = [each for inner in found for each in _structs_of(inner)]
    if len(options) > 1:
        whole = _value_at(body, ".".join(parents)) if parents else _value_at(body, "")
        config = options[0].__struct_config__
        tag = whole.get(config.tag_field) if isinstance(whole, dict) and config.tag_field else None
        options = [each for each in options if each.__struct_config__.tag == tag]
    return [field.encode_name for field in msgspec.structs.fields(options[0])] if len(options) == 1 else []


def _choices(kind: Any, path: str) -> list[str]:
    """Return the texts that the field at `path` of a request type may have."""
    for name in path.split("."):
        fields = msgspec.structs.fields(kind) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else ()
        found = next((field.type for field in fields if field.name == name), None)
        kind = next(
            (option for option in get_args(found) if isinstance(option, type) and issubclass(option, msgspec.Struct)),
            found,
        )
    options = [inner for option in (kind, *get_args(kind)) for inner in get_args(option)] + list(get_args(kind))
    return sorted({option for option in options if isinstance(option, str)})


def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception; the unexpected is logged and told without details."""
    if isinstance(error, MarketMakerError):
        return from_error(error)
    if isinstance(error, HTTPException):
        return _from_framework(error, request)
    _log.exception("unexpected fault", path=request.url.path, method=request.method, exc_info=error)
    return problem(500, "Internal fault", "the request could not be handled; the fault is in the log")


def _from_framework(error: HTTPException, request: Request[Any, Any, Any]) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    faults = tuple(_fault_of_query(request, item) for item in extra if isinstance(item, dict))
    if error.status_code == 404:
        faults = _misspelt_ids(request)
    titles = {
        400: "Invalid request",
        401: "Not authenticated",
        403: "Not allowed",
        404: "Not found",
        405: "Method not allowed",
    }
    detail = "; ".join(f"{fault.field}: {fault.allowed}" for fault in faults) or error.detail
    return problem(error.status_code, titles.get(error.status_code, "Error"), detail, faults, dict(error.headers or {}))


def _fault_of_query(request: Request[Any, Any, Any], item: dict[str, Any]) -> FieldError:
    """Return what the framework says of a parameter, with its value."""
    name = str(item.get("key", "request"))
    given, told = request.query_params.get(name, ""), str(item.get("message", ""))
    return FieldError(shorten(name), shorten(given), _in_words(told))


def _misspelt_ids(request: Request[Any, Any, Any]) -> tuple[FieldError, ...]:
    """Return the fault of an address that would be one of ours if only its ids were ids."""
    given = request.scope["path"].strip("/").split("/")
    for route in request.app.routes:
        parts = getattr(route, "path_components", ())
        if len(parts) == len(given) and all(
            not isinstance(part, str) or part == text for part, text in zip(parts, given, strict=True)
        ):
            pairs = [(part, text) for part, text in zip(parts, given, strict=True) if not isinstance(part, str)]
            return tuple(
                FieldError(part.name, shorten(text), allowed)
                for part, text in pairs
                for pattern, allowed in (_IDS if part.type is UUID else _NUMBERS,)
                if not pattern.fullmatch(text)
            )
    return ()
