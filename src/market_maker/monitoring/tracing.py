"""Traces of requests, commits, publications, backtests and risk figures, for OpenTelemetry; off unless asked for.

The packages of the extra `otel` are loaded only when the setting `otlp_endpoint` is given; otherwise a span costs one
comparison. What belongs together across tasks and processes is found by the attribute `correlation_id`, which log lines
and events carry too: one commit serves many requests, so that it can be the child of none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.events import Event

Attributes = Mapping[str, str | int | float | bool | list[str]]

CORRELATIONS_MAX = 20
"""Most correlation ids that a span of many requests names."""

_NOTHING: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


class _State:
    tracer: Any = None
    provider: Any = None


def configure_tracing(endpoint: str | None, *, role: str = "service", exporter: Any = None) -> None:
    """Begin to trace, or with neither endpoint nor exporter stop it.

    Parameters
    ----------
    endpoint : of an OTLP collector over HTTP, such as http://127.0.0.1:4318
    role : service, relay or worker: part of the name under which traces are kept
    exporter : in place of the one for `endpoint`

    Raises
    ------
    InvalidRequest : the extra `otel` is not installed
    """
    stop_tracing()
    if endpoint is None and exporter is None:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=f"{str(endpoint).rstrip('/')}/v1/traces")
    except ImportError as error:
        allowed = f"none, or the extra: pip install 'market-maker[otel]' ({error.name} is missing)"
        raise InvalidRequest.of("otlp_endpoint", endpoint, allowed) from None
    resource = Resource.create({"service.name": f"market-maker-{role}", "service.version": version("market-maker")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _State.provider, _State.tracer = provider, provider.get_tracer("market_maker")


def stop_tracing() -> None:
    """Hand over what has been collected, and trace no more."""
    provider, _State.provider, _State.tracer = _State.provider, None, None
    if provider is not None:
        provider.shutdown()


def is_tracing() -> bool:
    """Return whether spans are collected."""
    return _State.tracer is not None


def span(name: str, attributes: Attributes | None = None) -> contextlib.AbstractContextManager[Any]:
    """Return a block that is one span; an exception that leaves it is noted there."""
    if _State.tracer is None:
        return _NOTHING
    block: contextlib.AbstractContextManager[Any] = _State.tracer.start_as_current_span(name, attributes=attributes)
    return block


def commit_span(pair: str, orders: int, events: Iterable[Event]) -> contextlib.AbstractContextManager[Any]:
    """Return the span of one commit of a pair's loop; the requests that it serves are named by their ids."""
    if _State.tracer is None:
        return _NOTHING
    causes = correlations(event.correlation_id for event in events)
    return span("commit", {"pair": pair, "orders": orders, "correlation_ids": causes})


def request_span(headers: Mapping[bytes, bytes]) -> contextlib.AbstractContextManager[Any]:
    """Return the span of a request, the child of the caller's where `traceparent` names one. Only while tracing."""
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
    context = TraceContextTextMapPropagator().extract(carrier)
    block: contextlib.AbstractContextManager[Any] = _State.tracer.start_as_current_span(
        "request", context=context, kind=SpanKind.SERVER
    )
    return block


def name_request(found: Any, method: str, route: str, status: int, correlation_id: str) -> None:
    """Write into the span of a request what is known once it has been answered."""
    found.update_name(f"{method} {route}")
    found.set_attributes({
        "http.request.method": method, "http.route": route, "http.response.status_code": status,
        "correlation_id": correlation_id,
    })  # fmt: skip
    if status >= 500:
        from opentelemetry.trace import Status, StatusCode

        found.set_status(Status(StatusCode.ERROR))


def correlations(found: Iterable[str]) -> list[str]:
    """Return the different ids among `found`, the first twenty."""
    return [each for each in dict.fromkeys(found) if each][:CORRELATIONS_MAX]
