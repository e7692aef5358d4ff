"""/api/v1/simulator: scenarios of running markets, and what mode CUSTOM takes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath

from market_maker.api.answers import AnyRequest, Service, answer, body_of
from market_maker.api.schemas import ScenarioKindList, ScenarioList, ScenarioView, StartScenario
from market_maker.domain.units import format_duration, parse_duration
from market_maker.service import ScenarioWish


class ScenarioKinds(Controller):
    """What can be started, and what can be set."""

    path = "/api/v1/simulator"
    tags = ("simulator",)

    @get("/scenarios", summary="List the scenarios that there are")
    async def find(self, service: Service) -> Response[ScenarioKindList]:
        """Return every scenario with a JSON schema of its parameters."""
        return answer(ScenarioKindList, {"items": service.parts.simulator.control.kinds()})

    @get("/custom-schema", summary="The parameters of mode CUSTOM")
    async def custom(self, service: Service) -> dict[str, Any]:
        """Return the JSON schema of `parameters` in mode CUSTOM: the sections flow, reference and conditions."""
        return service.parts.simulator.control.custom_schema()


class Scenarios(Controller):
    """Scenarios of one market."""

    path = "/api/v1/simulator/sessions/{session_id:uuid}/scenarios"
    tags = ("simulator",)

    @get(summary="List a session's scenarios")
    async def find(self, service: Service, session_id: FromPath[UUID]) -> Response[ScenarioList]:
        """Return the scenarios that are to come, under way or lately over, oldest first."""
        found = await service.parts.simulator.control.scenarios(session_id)
        return answer(ScenarioList, {"items": [scenario_view(each) for each in found]})

    @post(status_code=201, opt={"body": StartScenario}, summary="Start a scenario")
    async def start(self, request: AnyRequest, service: Service, session_id: FromPath[UUID]) -> Response[ScenarioView]:
        """Start a scenario now or later; several run at once. A session in mode NORMAL is in mode STRESS from then on."""
        wish = scenario_wish(await body_of(request, StartScenario))
        return answer(
            ScenarioView, scenario_view(await service.parts.simulator.control.start_scenario(session_id, wish)), 201
        )

    @delete("/{scenario_id:uuid}", status_code=200, summary="Stop a scenario")
    async def stop(
        self, service: Service, session_id: FromPath[UUID], scenario_id: FromPath[UUID]
    ) -> Response[ScenarioView]:
        """Stop a scenario that is to come or under way."""
        stopped = await service.parts.simulator.control.stop_scenario(session_id, scenario_id)
        return answer(ScenarioView, scenario_view(stopped))


def scenario_wish(wish: StartScenario) -> ScenarioWish:
    """Return a wish with its durations read."""
    starts_in = 0 if wish.starts_in is None else parse_duration(wish.starts_in, "starts_in")
    every = 0 if wish.repeats_every is None else parse_duration(wish.repeats_every, "repeats_every")
    return ScenarioWish(wish.name, dict(wish.parameters), starts_in, every)


def scenario_view(data: dict[str, Any]) -> dict[str, Any]:
    """Return a scenario with its durations as users write them."""
    shown = dict(data)
    every_ns = shown.pop("repeats_every_ns")
    shown["repeats_every"] = format_duration(every_ns) if every_ns else None
    return shown
