"""The OpenAPI document: Litestar's paths and parameters, with the exact types of `schemas` as components.

Litestar does not read our bodies (they are decoded without floats), so they are written in here, from the same types.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from market_maker.api import schemas

_REF = "#/components/schemas/{name}"
_KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "makes the request safe to repeat: the same key and body give the first answer again",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:\\-]{1,128}$"},
}
_KEY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def build(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of `app`."""
    document = app.openapi_schema.to_schema()
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(_own_components())
    document["components"]["securitySchemes"] = _KEY_SCHEMES
    document["security"] = [{}, {"key": []}, {"bearer": []}]  # none where the service has no keys
    for path, method, kind, is_keyed in _bodies(app):
        operation = document["paths"][path][method.lower()]
        schema = {"$ref": _REF.format(name=kind.__name__)}
        if is_keyed:
            operation["parameters"] = [*operation.get("parameters", []), _KEY_HEADER]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    for methods in document["paths"].values():
        for operation in methods.values():
            if isinstance(operation, dict) and "responses" in operation:
                for status, response in operation["responses"].items():
                    if status.startswith(("4", "5")):
                        response["content"] = problem
                operation["responses"]["default"] = {"description": "A problem (RFC 9457)", "content": problem}
    return document


def _own_components() -> dict[str, Any]:
    kinds = [
        kind
        for _, kind in inspect.getmembers(schemas, inspect.isclass)
        if issubclass(kind, schemas.Request | schemas.View) and kind.__module__.startswith(schemas.__name__)
    ]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    for name, component in components.items():
        kind = getattr(schemas, name)
        for schema in component.get("properties", {}).values():
            _describe_decimals(schema, accepts_numbers=issubclass(kind, schemas.Request))
    return components


def _describe_decimals(schema: dict[str, Any], *, accepts_numbers: bool) -> None:
    """Say that money comes as text or, in requests, also as a number."""
    if schema.get("format") == "decimal":
        schema.pop("format")
        schema["type"] = ["string", "number"] if accepts_numbers else "string"
        if isinstance(schema.get("default"), str):
            schema["default"] = str(schema["default"])
    for inner in schema.get("anyOf", []):
        _describe_decimals(inner, accepts_numbers=accepts_numbers)


def _bodies(app: Litestar) -> list[tuple[str, str, type[Any], bool]]:
    found: list[tuple[str, str, type[Any], bool]] = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and "body" in handler.opt:
                path = "/" + "/".join(
                    part if isinstance(part, str) else "{" + part.name + "}" for part in route.path_components
                )
                body, is_keyed = handler.opt["body"], "is_keyed" in handler.opt
                found += [(path, str(method), body, is_keyed) for method in handler.http_methods]
    return found
