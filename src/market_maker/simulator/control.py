"""What is changed of markets while they run: scenarios, phase, rules, pace, mode, parameters. Each change is part of the market's log.

Owns the rules of modes. It knows how to reach the loop of a session, and nothing of orders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from market_maker.domain.errors import Conflict, InvalidRequest
from market_maker.domain.modes import TestMode
from market_maker.domain.units import NS_PER_SECOND, format_duration
from market_maker.matching.codes import Phase
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import PairLoop
from market_maker.simulator.session import ScenarioWish, SessionRules
from market_maker.simulator.validation import check_played_scenario, check_scenario, check_speed, session_rules
from market_maker.synthetic.custom import custom_schema, parse_custom
from market_maker.synthetic.scenarios import SCENARIOS

STEP_NS_MAX = 60 * NS_PER_SECOND


class MarketControl:
    """Changes of running markets.

    Parameters
    ----------
    find_loop : session id -> its loop; raises NotFound
    modes : the modes that the settings allow
    """

    def __init__(self, find_loop: Callable[[UUID], PairLoop], modes: Sequence[TestMode]) -> None:
        self._find_loop = find_loop
        self._modes = modes

    # ------------------------------------------------------------------ scenarios

    @staticmethod
    def kinds() -> list[dict[str, Any]]:
        """Return the scenarios that there are, with a JSON schema of their parameters."""
        return [
            {"name": each.name, "summary": each.summary, "parameters": each.schema()} for each in SCENARIOS.values()
        ]

    @staticmethod
    def custom_schema() -> dict[str, Any]:
        """Return the JSON schema of the parameters of mode CUSTOM."""
        return custom_schema()

    async def start_scenario(self, session_id: UUID, wish: ScenarioWish) -> dict[str, Any]:
        """Start a scenario in a session, now or later; a session in mode NORMAL is in mode STRESS from then on.

        Raises
        ------
        InvalidRequest : a wrong name, parameter or schedule, or too many at once
        Conflict : the settings do not allow mode STRESS
        """
        check_scenario(wish)

        def start(exchange: SimulatedExchange, ts: int) -> dict[str, Any]:
            session = exchange.session
            if exchange.is_played:
                check_played_scenario(wish)
            if session.mode is TestMode.NORMAL and TestMode.STRESS not in self._modes:
                raise Conflict(f"mode STRESS is not among the test modes of this service: {', '.join(self._modes)}")
            made = exchange.start_scenario(wish, ts)
            if session.mode is TestMode.NORMAL:
                session.mode = TestMode.STRESS
                exchange.tell_session(ts)
            return made

        made: dict[str, Any] = await self._find_loop(session_id).act(start)
        return made

    async def stop_scenario(self, session_id: UUID, scenario_id: UUID) -> dict[str, Any]:
        """Stop a scenario that is to come or under way and return it; NotFound when there is none."""

        def stop(exchange: SimulatedExchange, ts: int) -> dict[str, Any]:
            return exchange.stop_scenario(scenario_id, ts)

        stopped: dict[str, Any] = await self._find_loop(session_id).act(stop)
        return stopped

    async def scenarios(self, session_id: UUID) -> list[dict[str, Any]]:
        """Return the scenarios of a session that are to come, under way or lately over, oldest first."""
        return (await self._find_loop(session_id).committed()).scenarios()

    # ------------------------------------------------------------------ phases and rules

    async def set_phase(self, session_id: UUID, phase: Phase) -> None:
        """Let a trading phase begin; entering CONTINUOUS or CLOSED from another one holds the auction."""

        def enter(exchange: SimulatedExchange, ts: int) -> None:
            if exchange.is_played:
                raise Conflict("the market is a recording: it has no trading phases")
            exchange.venue.enter_phase(phase, ts)

        await self._find_loop(session_id).act(enter)

    def read_rules(self, session_id: UUID, wish: Mapping[str, Any]) -> SessionRules:
        """Return the rules that users wish for a session's market; see `validation.session_rules`."""
        return session_rules(wish, self._find_loop(session_id).instrument)

    async def set_rules(self, session_id: UUID, rules: SessionRules) -> None:
        """Replace the rules of a market."""

        def change(exchange: SimulatedExchange, ts: int) -> None:
            exchange.set_rules(rules)
            exchange.tell_session(ts)

        await self._find_loop(session_id).act(change)

    # ------------------------------------------------------------------ time

    async def set_speed(self, session_id: UUID, speed: float) -> None:
        """Let a session's market run `speed` times as fast as the clock from now on; InvalidRequest out of bounds."""
        check_speed(speed)

        def change(exchange: SimulatedExchange, _: int) -> None:
            exchange.set_speed(speed)
            exchange.changes.session_changed = True

        await self._find_loop(session_id).act(change)

    async def step(self, session_id: UUID, duration_ns: int) -> None:
        """Let a paused session go on by a duration of its market's time, at once.

        Raises
        ------
        InvalidRequest : a duration that is not positive or too long
        Conflict : the session is not paused
        """
        if not 0 < duration_ns <= STEP_NS_MAX:
            raise InvalidRequest.of("step", format_duration(duration_ns), f"1ns to {STEP_NS_MAX // NS_PER_SECOND}s")

        def step(exchange: SimulatedExchange, ts: int) -> None:
            if exchange.session.state != "PAUSED":
                raise Conflict(f"session {session_id} is {exchange.session.state}; only a paused one is stepped")
            exchange.step_by(duration_ns, ts)
            exchange.changes.session_changed = True

        await self._find_loop(session_id).act(step)

    # ------------------------------------------------------------------ modes

    async def set_mode(self, session_id: UUID, mode: TestMode | None, parameters: dict[str, Any] | None) -> None:
        """Bring a session into a mode, or give one in mode CUSTOM other parameters, which replace those it has.

        NORMAL stops all scenarios; NORMAL and STRESS have the parameters of the session's start.

        Raises
        ------
        InvalidRequest : a mode that the settings do not allow, wrong parameters, or parameters without CUSTOM
        Conflict : parameters that a market keeps for life (levels, metaorders, another group)
        """
        if mode is not None and mode not in self._modes:
            raise InvalidRequest.of("mode", mode.value, ", ".join(self._modes))
        if parameters is not None:
            parse_custom(parameters)

        def change(exchange: SimulatedExchange, ts: int) -> None:
            session = exchange.session
            wanted = mode or session.mode
            if parameters and wanted is not TestMode.CUSTOM:
                raise InvalidRequest.of(
                    "parameters", ", ".join(parameters), f"none in mode {wanted.value}, only in CUSTOM"
                )
            laws = session.parameters if parameters is None and wanted is TestMode.CUSTOM else parameters or {}
            if "group" in session.parameters:
                laws = {"group": session.parameters["group"], **laws}
            if laws != session.parameters:
                _change_parameters(exchange, laws, ts)
            if wanted is TestMode.NORMAL:
                exchange.stop_scenarios(ts)
            session.mode = wanted
            exchange.tell_session(ts)

        await self._find_loop(session_id).act(change)


def _change_parameters(exchange: SimulatedExchange, parameters: dict[str, Any], ts: int) -> None:
    try:
        exchange.change_parameters(parameters, ts)
    except InvalidRequest as error:
        fault = error.errors[0]
        if fault.field in ("levels", "metaorders"):
            raise Conflict(
                f"parameters.flow.{fault.field}: a market that runs keeps {fault.allowed}; start a new session",
                error.errors,
            ) from None
        if fault.field == "group":
            raise Conflict(
                "parameters.group: a market that runs keeps the group that it began with; start a new session",
                error.errors,
            ) from None
        raise
