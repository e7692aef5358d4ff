"""Spans cost nothing while nobody asks for them, and tell the way of a request when somebody does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from market_maker.api.guard import ApiKeys, Guard
from market_maker.domain.errors import InvalidRequest
from market_maker.monitoring import tracing
from market_maker.monitoring.metrics import Metrics


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    tracing.stop_tracing()


def test_nothing_is_traced_or_loaded_unless_asked_for() -> None:
    tracing.configure_tracing(None)
    assert not tracing.is_tracing()
    with tracing.span("commit", {"orders": 1}) as found:
        assert found is None


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(InvalidRequest, match=r"market-maker\[otel\]"):
        tracing.configure_tracing("http://127.0.0.1:4318")
    assert not tracing.is_tracing()


def test_ids_are_told_once_and_not_without_end() -> None:
    assert tracing.correlations(["a", "", "b", "a"]) == ["a", "b"]
    assert len(tracing.correlations(str(number) for number in range(100))) == tracing.CORRELATIONS_MAX


@pytest.fixture
def exporter() -> Any:
    module = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="the extra otel is not installed"
    )
    return module.InMemorySpanExporter()


def test_spans_are_named_nested_and_carry_what_ties_them_together(exporter: Any) -> None:
    tracing.configure_tracing(None, role="worker", exporter=exporter)
    assert tracing.is_tracing()
    with (
        pytest.raises(ValueError, match="no"),
        tracing.span("backtest", {"correlation_id": "r1"}),
        tracing.span("inner"),
    ):
        raise ValueError("no")
    tracing.stop_tracing()
    inner, outer = exporter.get_finished_spans()
    assert (inner.name, outer.name) == ("inner", "backtest")
    assert inner.parent.span_id == outer.context.span_id
    assert outer.attributes["correlation_id"] == "r1"
    assert outer.resource.attributes["service.name"] == "market-maker-worker"
    assert not outer.status.is_ok


async def answered(app: Any, headers: list[tuple[bytes, bytes]]) -> None:
    guard = Guard(app, keys=ApiKeys(()), rate_limit=0, metrics=Metrics())
    scope = {"type": "http", "method": "GET", "path": "/api/v1/pairs", "headers": headers, "query_string": b""}

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:
        await asyncio.sleep(0)

    await guard(scope, receive, send)


async def test_a_request_is_a_span_with_its_route_status_and_caller(exporter: Any) -> None:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["path_template"] = "/api/v1/pairs"
        with tracing.span("inside"):
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    tracing.configure_tracing(None, exporter=exporter)
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    await answered(
        app,
        [
            (b"x-correlation-id", b"abc-1"),
            (b"traceparent", f"00-{trace}-{caller}-01".encode()),
            (b"host", b"localhost"),
        ],
    )
    tracing.stop_tracing()
    inside, request = exporter.get_finished_spans()
    assert request.name == "GET /api/v1/pairs"
    assert request.attributes["correlation_id"] == "abc-1"
    assert request.attributes["http.response.status_code"] == 503
    assert not request.status.is_ok
    assert f"{request.context.trace_id:032x}" == trace
    assert f"{request.parent.span_id:016x}" == caller
    assert inside.parent.span_id == request.context.span_id
