"""Health, metrics and the OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency

from market_maker.api.schemas import HealthView
from market_maker.monitoring.health import Health, Report, State
from market_maker.monitoring.metrics import Metrics


class Operations(Controller):
    """Operations."""

    path = "/"
    tags = ("operations",)

    @get(["/health", "/health/ready"], summary="Can it serve?")
    async def ready(self, health: NamedDependency[Health]) -> Response[HealthView]:
        """Return every check; 503 when one is down."""
        return _health(await health.readiness())

    @get("/health/live", summary="Does it live?")
    async def live(self, health: NamedDependency[Health]) -> Response[HealthView]:
        """Return 200 as long as the process answers."""
        return _health(await health.liveness())

    @get("/metrics", summary="Prometheus metrics", media_type="text/plain")
    async def metrics(self, metrics: NamedDependency[Metrics]) -> Response[bytes]:
        """Return all metrics in Prometheus' text form."""
        body, content_type = metrics.render()
        return Response(body, media_type=content_type)

    @get(["/openapi", "/openapi.json"], summary="The OpenAPI document", include_in_schema=False)
    async def openapi(self, openapi: NamedDependency[dict[str, Any]]) -> Response[bytes]:
        """Return the description of all endpoints."""
        return Response(msgspec.json.encode(openapi), media_type="application/json")


def _health(report: Report) -> Response[HealthView]:
    body: Any = report.as_dict()
    return Response(body, status_code=503 if report.state is State.DOWN else 200)
