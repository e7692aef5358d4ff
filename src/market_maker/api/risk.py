"""/api/v1/risk: assessments, limits and alerts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.params import FromPath, FromQuery

from market_maker.api.answers import After, AnyRequest, Limit, Service, answer, body_of, page
from market_maker.api.own_account import own_scopes
from market_maker.api.schemas import (
    AlertPage,
    AssessRisk,
    AuditPage,
    KillSwitchView,
    LimitList,
    LimitView,
    ModelTestPage,
    ModelTestView,
    NewLimit,
    RiskMetricsPage,
    RiskMetricsView,
    ScopeStates,
    SetKillSwitch,
    StressTest,
    StressView,
    TestModels,
)
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.modes import RiskModel
from market_maker.domain.units import parse_duration

LOSS_MAX = Decimal("1e30")
"""Of a reverse question: more than any book is worth, and within the digits that amounts are told with."""


class Risk(Controller):
    """Risk."""

    path = "/api/v1/risk"
    tags = ("risk",)

    @post("/assessment", status_code=201, opt={"body": AssessRisk}, summary="Compute risk metrics")
    async def assess(self, request: AnyRequest, service: Service) -> Response[RiskMetricsView]:
        """Compute, save and publish the figures of a position or a scope by one of ten methods; hold them against limits."""
        wish = await body_of(request, AssessRisk)
        horizon = wish.time_horizon
        data = await service.parts.risk.assess(
            wish.position_id,
            risk_model=None if wish.risk_model is None else RiskModel(wish.risk_model),
            confidence_level=wish.confidence_level,
            time_horizon_ns=None if horizon is None else parse_duration(horizon, "time_horizon"),
            method=wish.method,
            scope=wish.scope,
            currency=wish.currency,
        )
        return answer(RiskMetricsView, data, 201)

    @post("/stress", opt={"body": StressTest}, status_code=200, summary="Stress a position or a scope")
    async def stress(self, request: AnyRequest, service: Service) -> Response[StressView]:
        """Return what storms would lose; stores nothing."""
        wish = await body_of(request, StressTest)
        horizon = wish.time_horizon
        if wish.loss is not None and not 0 < wish.loss <= LOSS_MAX:
            raise InvalidRequest.of("loss", str(wish.loss), f"a positive amount of at most {LOSS_MAX}")
        data = await service.parts.risk.stress_test(
            wish.position_id,
            scope=wish.scope,
            scenarios=[msgspec.to_builtins(each) for each in wish.scenarios],
            time_horizon_ns=None if horizon is None else parse_duration(horizon, "time_horizon"),
            loss=wish.loss,
            norm=wish.norm,
            currency=wish.currency,
        )
        return answer(StressView, data)

    @post("/model-tests", opt={"body": TestModels}, status_code=201, summary="Judge risk models")
    async def test_models(self, request: AnyRequest, service: Service) -> Response[ModelTestView]:
        """Make rolling forecasts by each method, hold them against what happened, keep and return what all tests say."""
        wish = await body_of(request, TestModels)
        interval = wish.interval
        data = await service.parts.risk.test_models(
            wish.position_id,
            wish.methods,
            confidence_level=wish.confidence_level,
            window=wish.window,
            interval_ns=None if interval is None else parse_duration(interval, "interval"),
        )
        return answer(ModelTestView, data, 201)

    @get("/model-tests/{position_id:uuid}", summary="Tests of risk models")
    async def model_tests(
        self, service: Service, position_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[ModelTestPage]:
        """Return the tests of models that were made for a position, newest first."""
        items = await service.parts.risk.get_model_tests(position_id, after=after, limit=limit)
        return page(ModelTestPage, items, "test_id", limit)

    @get("/metrics/{position_id:uuid}", summary="Saved risk metrics of a position")
    async def metrics(
        self, service: Service, position_id: FromPath[UUID], after: After = None, limit: Limit = 100
    ) -> Response[RiskMetricsPage]:
        """Return the saved figures of a position, newest first."""
        items = await service.parts.risk.get_risk_metrics(position_id, after=after, limit=limit, scopes=own_scopes())
        return page(RiskMetricsPage, items, "metrics_id", limit)

    @get("/limits", summary="List limits")
    async def limits(self, service: Service) -> Response[LimitList]:
        """Return all limits with their last value and when they were last evaluated."""
        return answer(LimitList, {"items": await service.parts.risk.control.get_limits()})

    @post("/limits", status_code=201, opt={"body": NewLimit}, summary="Add a limit")
    async def add_limit(self, request: AnyRequest, service: Service) -> Response[LimitView]:
        """Add a limit."""
        wish = await body_of(request, NewLimit)
        data = await service.parts.risk.add_limit(
            wish.kind, wish.scope, wish.scope_id, wish.threshold, wish.warn_share, wish.on_breach
        )
        return answer(LimitView, data, 201)

    @delete("/limits/{limit_id:uuid}", status_code=204, summary="Remove a limit")
    async def remove_limit(self, service: Service, limit_id: FromPath[UUID]) -> None:
        """Remove a limit; what it held back is let go, and its open alerts are cleared."""
        await service.parts.risk.control.remove_limit(limit_id)

    @post("/limits/{limit_id:uuid}/reset", status_code=200, summary="Reset a limit")
    async def reset_limit(self, service: Service, limit_id: FromPath[UUID]) -> Response[LimitView]:
        """Let go what a breach holds back and clear its alerts; a breach that lasts holds back again when next seen."""
        return answer(LimitView, await service.parts.risk.control.reset_limit(limit_id))

    @get("/states", summary="What is held back")
    async def states(self, service: Service) -> Response[ScopeStates]:
        """Return the scopes that a breach or a kill switch keeps from trading freely."""
        return answer(ScopeStates, {"items": await service.parts.risk.control.get_states()})

    @get("/kill-switch", summary="Engaged kill switches")
    async def switches(self, service: Service) -> Response[KillSwitchView]:
        """Return the kill switches that are engaged."""
        return answer(KillSwitchView, _switches(service, 0))

    @post("/kill-switch", opt={"body": SetKillSwitch}, status_code=200, summary="Engage or release a kill switch")
    async def set_switch(self, request: AnyRequest, service: Service) -> Response[KillSwitchView]:
        """Refuse every new order of a scope and cancel those that are open, until it is released; survives a restart."""
        wish = await body_of(request, SetKillSwitch)
        control, ended = service.parts.risk.control, 0
        if wish.engaged:
            ended = await control.engage(wish.reason, wish.scope, wish.scope_id)
        else:
            if request.scope["state"].get("level", 2) < 2:
                raise PermissionDeniedException("releasing a kill switch needs a key of scope admin")
            await control.release(wish.reason, wish.scope, wish.scope_id)
        return answer(KillSwitchView, _switches(service, ended))

    @get("/report/{position_id:uuid}", summary="The risk page of a position", media_type="text/html")
    async def report(self, service: Service, position_id: FromPath[UUID]) -> Response[bytes]:
        """Return the newest figures of a position with charts, limits and tests of models: one HTML page without a network."""
        page_text = await service.parts.risk.report(position_id, scopes=own_scopes())
        return Response(page_text.encode(), media_type="text/html; charset=utf-8")

    @get("/audit", summary="Changes of limits and switches")
    async def audit(self, service: Service, after: After = None, limit: Limit = 100) -> Response[AuditPage]:
        """Return what was changed about limits and kill switches, newest first."""
        items = await service.parts.risk.control.get_audit(after=after, limit=limit)
        return page(AuditPage, items, "audit_id", limit)

    @get("/alerts", summary="List alerts")
    async def alerts(
        self,
        service: Service,
        alert_state: FromQuery[Literal["RAISED", "CLEARED"] | None] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response[AlertPage]:
        """Return alerts, newest first."""
        items = await service.parts.risk.control.get_alerts(state=alert_state, after=after, limit=limit)
        return page(AlertPage, items, "alert_id", limit)


def _switches(service: Service, ended: int) -> dict[str, Any]:
    items = service.parts.risk.control.switches()
    return {"engaged": bool(items), "items": items, "orders_ended": ended}
