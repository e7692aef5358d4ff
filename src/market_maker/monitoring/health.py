"""Whether the service lives and can serve: a list of checks, each with a state, a reason and what to do.

Owns how results are gathered in time; whoever owns a dependency registers the check of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psycopg

from market_maker.domain.errors import MarketMakerError
from market_maker.monitoring.logs import mask_secrets
from market_maker.monitoring.metrics import Metrics


class State(StrEnum):
    """OK; DEGRADED: serves, but somebody should look; DOWN: cannot serve."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


_RANK = {State.OK: 0, State.DEGRADED: 1, State.DOWN: 2}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: the state, why, and what to do about it."""

    state: State
    reason: str = ""
    action: str = ""


OK = CheckResult(State.OK)

Check = Callable[[], CheckResult | Awaitable[CheckResult]]


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all checks; the state is the worst of them."""

    checks: dict[str, CheckResult] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst state; OK without checks."""
        return max((result.state for result in self.checks.values()), key=_RANK.__getitem__, default=State.OK)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types; empty reasons and actions are left out."""
        checks = {}
        for name, result in self.checks.items():
            shown = {"state": str(result.state), "reason": result.reason, "action": result.action}
            checks[name] = {key: text for key, text in shown.items() if text}
        return {"state": str(self.state), "checks": checks}


@dataclass(frozen=True, slots=True)
class _Registered:
    check: Check
    timeout_s: float
    worst: State
    liveness: bool


class Health:
    """The checks of one service.

    Examples
    --------
    >>> health = Health()
    >>> health.register("loop", lambda: CheckResult(State.OK))
    >>> asyncio.run(health.readiness()).state
    <State.OK: 'ok'>
    """

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._registered: dict[str, _Registered] = {}

    def register(
        self, name: str, check: Check, *, timeout_s: float = 2.0, worst: State = State.DOWN, liveness: bool = False
    ) -> None:
        """Add a check.

        Parameters
        ----------
        name : shown in reports; given twice, the later check takes its place
        check : plain function or coroutine function; raising or taking longer than `timeout_s` counts as `worst`
        worst : DEGRADED for a dependency without which the service still serves (the broker)
        liveness : also part of liveness: DOWN then means that only a restart helps
        """
        self._registered[name] = _Registered(check, timeout_s, worst, liveness)

    async def liveness(self) -> Report:
        """Return whether the process is worth keeping; answering at all shows that its event loop turns."""
        return await self._report({name: found for name, found in self._registered.items() if found.liveness})

    async def readiness(self) -> Report:
        """Return whether requests can be served; DOWN is answered with 503."""
        return await self._report(self._registered)

    async def _report(self, wanted: dict[str, _Registered]) -> Report:
        results = await asyncio.gather(*(_run(found) for found in wanted.values()))
        report = Report(dict(zip(wanted, results, strict=True)))
        if self._metrics is not None:
            for name, result in report.checks.items():
                self._metrics.health_state.labels(name).set(_RANK[result.state])
        return report


async def _run(found: _Registered) -> CheckResult:
    try:
        async with asyncio.timeout(found.timeout_s):
            result = found.check()
            if inspect.isawaitable(result):
                result = await result
    except TimeoutError:
        return CheckResult(found.worst, f"no answer within {found.timeout_s} s")
    except Exception as error:  # noqa: BLE001 (a check that fails is a finding, not a fault of the report)
        detail = error.detail if isinstance(error, MarketMakerError) else f"{type(error).__name__}: {error}"
        return CheckResult(found.worst, mask_secrets(detail))
    if _RANK[result.state] > _RANK[found.worst]:
        return CheckResult(found.worst, result.reason, result.action)
    return result


DURABLE_SETTINGS = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
}
"""Values with which a commit that was answered survives a crash (promise R24). With synchronous standbys
`local` and `remote_write` still wait for the disk of the primary."""


async def check_durability(connection: psycopg.AsyncConnection[Any]) -> CheckResult:
    """Return DEGRADED when the database may lose what it has committed; costs one query."""
    cursor = await connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(DURABLE_SETTINGS),)
    )
    settings: dict[str, str] = {str(name): str(setting) for name, setting in await cursor.fetchall()}
    wrong = [
        f"{name} = {settings.get(name, '?')}"
        for name, good in DURABLE_SETTINGS.items()
        if settings.get(name) not in good
    ]
    if not wrong:
        return OK
    return CheckResult(
        State.DEGRADED,
        f"acknowledged orders may be lost when the database crashes: {', '.join(wrong)}",
        "set fsync, full_page_writes and synchronous_commit to on in postgresql.conf (or for the role) and reload",
    )
