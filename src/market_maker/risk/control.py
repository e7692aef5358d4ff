"""Limits, alerts, holds and kill switches as they are kept: rows, the guard in memory, the trail of what was changed.

Every change is one transaction with its events and its line in the trail; then memory follows. Knows no figure of risk.
Longer than 500 lines because limits, alerts, holds and switches change each other within those transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from market_maker.domain.clock import Clock
from market_maker.domain.errors import InvalidRequest, MarketMakerError, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.position import PositionState
from market_maker.messaging.topics import outbox_event
from market_maker.monitoring.logs import caller, correlation_id
from market_maker.performance.figures import Float64
from market_maker.risk.alerts import Alert, AlertChanges, AlertState, Severity, alert_changes
from market_maker.risk.bounded import bounded_value
from market_maker.risk.guard import KillSwitch, OrderGuard
from market_maker.risk.limit_rows import cleared, held, limit_data, limit_terms, switch_data, text, to_alert, to_limit
from market_maker.risk.limits import (
    ASSESSED,
    FIGURES,
    HOLDS,
    SCOPES,
    Evaluation,
    Hold,
    Limit,
    LimitKind,
    LimitScope,
    LimitState,
    OnBreach,
    applies_to,
    evaluate,
    owner_of,
)
from market_maker.risk.market_view import MarketView
from market_maker.risk.measures import RiskMetrics, Scope
from market_maker.risk.models import DEFAULT_MODEL
from market_maker.risk.subjects import Subject
from market_maker.settings import RiskSettings
from market_maker.storage.database import Connection, Database, fetch, page
from market_maker.storage.outbox import SERVICE_STREAM, OutboxEvent, append, ensure_stream
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import get_positions

_STATE_OF_SEVERITY = {Severity.WARNING: LimitState.WARN, Severity.CRITICAL: LimitState.BREACHED}
_WITH_OPEN_ALERT = """
    SELECT risk_limits.*, risk_alerts.details AS open_details FROM risk_limits LEFT JOIN risk_alerts
    ON risk_alerts.limit_id = risk_limits.limit_id AND risk_alerts.state = 'RAISED'
       AND (scope <> 'POSITION' OR position_id = %s)
    WHERE
"""
# Locked first, in a statement of its own: one that waits for a row would go on with the alerts of before it waited.
_LOCK_LIMITS_OF = (
    "SELECT 1 FROM risk_limits WHERE scope = %s AND scope_id IS NOT DISTINCT FROM %s ORDER BY limit_id FOR UPDATE"
)
_LIMITS_OF = _WITH_OPEN_ALERT + " scope = %s AND scope_id IS NOT DISTINCT FROM %s ORDER BY limit_id"
_LOCK_LIMIT = "SELECT 1 FROM risk_limits WHERE limit_id = %s FOR UPDATE"
_LIMIT_BY_ID = _WITH_OPEN_ALERT + " risk_limits.limit_id = %s"
_PAUSE_S = 0.2
"""Changes of positions and refusals that come within this time are looked at together."""
_AGAIN_S = 1.0
"""How long after a failure, such as a database that is away, they are looked at again."""
_log = structlog.get_logger("risk")


class Assessor(Protocol):
    """What brings figures up to date; `service.RiskAssessmentService` is one."""

    async def reassess(self, position_ids: Iterable[UUID]) -> None:
        """Bring the figures of positions up to date."""

    async def reassess_all(self) -> None:
        """Bring the figures of all positions up to date."""

    async def scenarios(self, pairs: Sequence[Instrument]) -> dict[UUID, Float64]:
        """Return the profit of one lot of each pair in the same moments of history."""


class RiskControl:
    """Keeps limits and switches, and holds orders and figures against them.

    Parameters
    ----------
    database, reference, clock : shared by the process
    markets : those that run, to end orders there
    settings : section `risk`
    assessor : brings figures up to date after a position has changed and on schedule
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        clock: Clock,
        markets: MarketView,
        settings: RiskSettings,
        assessor: Assessor,
    ) -> None:
        self._database = database
        self._reference = reference
        self._clock = clock
        self._markets = markets
        self._settings = settings
        self._assessor = assessor
        self._woken = asyncio.Event()
        self.guard = OrderGuard(self._woken.set, markets.venues)
        self.guard.confidence = Decimal(str(settings.default_confidence_level))
        self._assessed: list[Limit] = []
        self._changed: set[UUID] = set()
        self._to_halt: list[Limit] = []
        self._stale = False
        self._unseen: dict[tuple[LimitScope, UUID | None], str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Read limits and switches, so that no order is taken before they stand; begin to watch."""
        await self.reload()
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._keep_schedule())]

    async def stop(self) -> None:
        """End the watch."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> None:
        """Bring memory to what is stored."""
        limits = [to_limit(row) for row in await self._database.fetch("SELECT * FROM risk_limits ORDER BY limit_id")]
        self._assessed = [limit for limit in limits if limit.kind in ASSESSED]
        self.guard.set_limits(limits)
        rows = await self._database.fetch("SELECT * FROM risk_kill_switches ORDER BY switch_id")
        self.guard.set_switches(
            KillSwitch(row["switch_id"], LimitScope(row["scope"]), row["scope_id"], row["reason"], row["engaged_ts"])
            for row in rows
        )
        if self.guard.needs_scenarios:
            await self._refresh_scenarios()

    def note_changed(self, position_ids: Iterable[UUID]) -> None:
        """Take note that positions have changed: they are assessed soon, where a limit asks for it."""
        if self._assessed:
            self._changed.update(position_ids)
            self._woken.set()

    async def _refresh_scenarios(self) -> None:
        pairs = [
            pair.instrument
            for pair in self._reference.pairs()
            if self._markets.reference_ticks(pair.instrument.pair_id)
        ]
        self.guard.scenarios = await self._assessor.scenarios(pairs)

    async def _watch(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(_PAUSE_S)
            changed: set[UUID] = set()
            try:
                await self.flush()
                changed, self._changed = self._changed, set()
                await self._assessor.reassess(changed)
            except MarketMakerError as error:
                _log.warning("risk limits could not be looked at", reason=error.detail)
                # Not forgotten: they are looked at again.
                self._changed |= changed
                await asyncio.sleep(_AGAIN_S)
                self._woken.set()

    async def _keep_schedule(self) -> None:
        interval_s = self._settings.assessment_interval / 1e9
        while interval_s:
            await asyncio.sleep(interval_s)
            try:
                if self.guard.needs_scenarios:
                    await self._refresh_scenarios()
                await self._assessor.reassess_all()
            except MarketMakerError as error:
                _log.warning("positions could not be assessed", reason=error.detail)

    # ------------------------------------------------------------------ limits

    async def add_limit(
        self,
        kind: str,
        scope: str,
        scope_id: UUID | None,
        threshold: Decimal,
        warn_share: Decimal,
        on_breach: str = OnBreach.ALERT.value,
    ) -> dict[str, Any]:
        """Store a limit and return it. InvalidRequest names a field that is wrong."""
        limit = Limit(
            new_id(), LimitKind(kind), LimitScope(scope), scope_id, threshold, warn_share, OnBreach(on_breach)
        )
        await self._check_scope(limit.scope, scope_id)
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO risk_limits (limit_id, kind, scope, scope_id, threshold, warn_share, state, created_ts, version, on_breach)"
                " VALUES (%s, %s, %s, %s, %s, %s, 'OK', %s, 0, %s)",
                (limit.limit_id, kind, scope, scope_id, threshold, warn_share, self._clock.now_ns(), on_breach),
            )
            await self._note_down(connection, "LIMIT_ADDED", limit_terms(limit))
        await self.reload()
        return (await self.get_limits(limit.limit_id))[0]

    async def _check_scope(self, scope: LimitScope, scope_id: UUID | None) -> None:
        """Raise NotFound when what a limit or a switch is about does not exist."""
        if (scope_id is None) != (scope is LimitScope.ALL):
            raise InvalidRequest.of("scope_id", scope_id, f"an id for every scope but {LimitScope.ALL}, none there")
        if scope_id is None:
            return
        try:
            match scope:
                case LimitScope.PAIR:
                    await self._reference.pair(scope_id)
                case LimitScope.STRATEGY:
                    await self._reference.strategy(scope_id)
                case LimitScope.ACCOUNT:
                    await self._reference.account(scope_id)
                case LimitScope.POSITION if not await get_positions(self._database, position_id=scope_id):
                    raise NotFound("no such position")
        except NotFound:
            raise NotFound.of(scope.value.lower(), "scope_id", str(scope_id)) from None

    async def get_limits(self, limit_id: UUID | None = None) -> list[dict[str, Any]]:
        """Return all limits (or one) with their last value and when they were last evaluated."""
        query = "SELECT * FROM risk_limits WHERE (%(id)s::uuid IS NULL OR limit_id = %(id)s) ORDER BY limit_id"
        rows = await self._database.fetch(query, {"id": limit_id})
        if limit_id is not None and not rows:
            raise NotFound.of("limit", "limit_id", str(limit_id))
        return [
            limit_data(
                row,
                self.guard.noted.get(row["limit_id"]),
                self._unseen.get((LimitScope(row["scope"]), row["scope_id"])),
            )
            for row in rows
        ]

    def note_unseen(self, scope: Scope, scope_id: UUID | None, reason: str | None) -> None:
        """Take note why what the limits of a scope bound could not be assessed; None when it could."""
        key = (SCOPES[scope], scope_id)
        if reason is not None:
            self._unseen[key] = reason
        else:
            self._unseen.pop(key, None)

    async def remove_limit(self, limit_id: UUID) -> None:
        """Delete a limit; its alerts stay, and those that are open are cleared. NotFound when there is none."""
        async with self._database.transaction() as connection:
            before = await self._locked(connection, limit_id)
            events = await self._clear_alerts(connection, limit_id)
            await connection.execute("DELETE FROM risk_limits WHERE limit_id = %s", (limit_id,))
            # With the limit goes what it held back.
            shown = limit_terms(to_limit(before)) | {"state": before["state"], "hold": before["hold"]}
            await self._note_down(connection, "LIMIT_REMOVED", shown)
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), events)
        self.guard.noted.pop(limit_id, None)
        await self.reload()

    async def _locked(self, connection: Connection, limit_id: UUID) -> dict[str, Any]:
        """Return the row of a limit, for this transaction alone; NotFound when there is none."""
        rows = await fetch(connection, "SELECT * FROM risk_limits WHERE limit_id = %s FOR UPDATE", (limit_id,))
        if not rows:
            raise NotFound.of("limit", "limit_id", str(limit_id))
        return rows[0]

    async def _clear_alerts(self, connection: Connection, limit_id: UUID) -> list[OutboxEvent]:
        """Clear what is open of a limit; return the events that tell it."""
        opened = await fetch(
            connection, "SELECT details FROM risk_alerts WHERE limit_id = %s AND state = 'RAISED'", (limit_id,)
        )
        now = self._clock.now_ns()
        return [await self._save_alert(connection, cleared(row["details"], now)) for row in opened]

    async def reset_limit(self, limit_id: UUID) -> dict[str, Any]:
        """Let go what a breach holds back, and begin anew at OK; a breach that lasts holds back again when next seen.

        Open alerts are cleared. NotFound when there is no such limit.
        """
        async with self._database.transaction() as connection:
            before = await self._locked(connection, limit_id)
            await connection.execute(
                "UPDATE risk_limits SET state = 'OK', hold = 'ACTIVE', hold_ts = NULL, version = version + 1 WHERE limit_id = %s",
                (limit_id,),
            )
            events = await self._clear_alerts(connection, limit_id)
            shown = {"limit_id": str(limit_id), "state": before["state"], "hold": before["hold"]}
            await self._note_down(connection, "LIMIT_RESET", shown)
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), events)
        self.guard.noted.pop(limit_id, None)
        await self.reload()
        return (await self.get_limits(limit_id))[0]

    async def get_alerts(
        self, *, state: str | None = None, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return alerts, newest first."""
        query = """
            SELECT details FROM risk_alerts
            WHERE alert_id < %(before)s AND (%(state)s::text IS NULL OR state = %(state)s)
            ORDER BY alert_id DESC LIMIT %(limit)s
        """
        rows = await self._database.fetch(query, {"state": state, **page(after, limit)})
        return [row["details"] for row in rows]

    async def get_states(self) -> list[dict[str, Any]]:
        """Return what is held back now: scopes that a breach or a kill switch keeps from trading freely."""
        rows = await self._database.fetch("SELECT * FROM risk_limits WHERE hold <> 'ACTIVE' ORDER BY limit_id")
        holds = [
            held(row["scope"], row["scope_id"], row["hold"], row["hold_ts"], row["limit_id"], row["kind"])
            for row in rows
        ]
        switches = [
            held(each.scope.value, each.scope_id, Hold.HALTED.value, each.engaged_ts, None, each.reason)
            for each in self.guard.switches
        ]
        return switches + holds

    async def get_audit(self, *, after: UUID | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return what was changed about limits and switches, newest first."""
        query = "SELECT * FROM risk_audit WHERE audit_id < %(before)s ORDER BY audit_id DESC LIMIT %(limit)s"
        rows = await self._database.fetch(query, page(after, limit))
        return [
            {"audit_id": str(row["audit_id"]), "ts": str(row["ts"]), "action": row["action"], "details": row["details"]}
            for row in rows
        ]

    # ------------------------------------------------------------------ kill switches

    async def engage(self, reason: str, scope: str, scope_id: UUID | None) -> int:
        """Take no order of a scope any more, and end those that are open; return how many were.

        In memory first: whatever becomes of the database, nothing more is taken. Then stored, and orders end after that: a
        process that dies between finds the switch when it starts again, and ends them then (`end_held`). Engaged again,
        the reason is the new one.
        """
        given = LimitScope(scope)
        await self._check_scope(given, scope_id)
        switch = KillSwitch(new_id(), given, scope_id, reason, self._clock.now_ns())
        others = [each for each in self.guard.switches if (each.scope, each.scope_id) != (given, scope_id)]
        self.guard.set_switches([*others, switch])
        shown = {"scope": scope, "scope_id": text(scope_id), "reason": reason}
        async with self._database.transaction() as connection:
            await connection.execute(
                "DELETE FROM risk_kill_switches WHERE scope = %s AND scope_id IS NOT DISTINCT FROM %s",
                (scope, scope_id),
            )
            await connection.execute(
                "INSERT INTO risk_kill_switches VALUES (%s, %s, %s, %s, %s)",
                (switch.switch_id, scope, scope_id, reason, switch.engaged_ts),
            )
            await self._note_down(connection, "KILL_SWITCH_ENGAGED", shown)
            await self._publish(connection, EventType.RISK_KILL_SWITCH_ENGAGED, switch.switch_id, 1, shown)
        return await self._markets.end_orders(given, scope_id)

    async def end_held(self) -> None:
        """End the orders of every scope that a stored switch or a halt holds back: what a process that died had left to do."""
        halted = await self._database.fetch("SELECT scope, scope_id FROM risk_limits WHERE hold = 'HALTED'")
        scopes = {(LimitScope(row["scope"]), row["scope_id"]) for row in halted}
        for scope, scope_id in scopes | {(each.scope, each.scope_id) for each in self.guard.switches}:
            shown = {"scope": scope.value, "scope_id": text(scope_id)}
            try:
                ended = await self._markets.end_orders(scope, scope_id)
            except MarketMakerError as error:
                _log.error("orders of a scope that is held back could not be ended", **shown, reason=error.detail)
                continue
            if ended:
                _log.warning("orders of a scope that is held back were ended", **shown, orders_ended=ended)

    async def release(self, reason: str, scope: str, scope_id: UUID | None) -> None:
        """Let a scope trade again. NotFound when no switch is engaged for it."""
        await self._check_scope(LimitScope(scope), scope_id)
        found = [each for each in self.guard.switches if (each.scope.value, each.scope_id) == (scope, scope_id)]
        if not found:
            raise NotFound.of("engaged kill switch", "scope", f"{scope} {scope_id or ''}".strip())
        shown = {"scope": scope, "scope_id": text(scope_id), "reason": reason}
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM risk_kill_switches WHERE switch_id = %s", (found[0].switch_id,))
            await self._note_down(connection, "KILL_SWITCH_RELEASED", shown)
            await self._publish(connection, EventType.RISK_KILL_SWITCH_RELEASED, found[0].switch_id, 2, shown)
        await self.reload()

    def switches(self) -> list[dict[str, Any]]:
        """Return the switches that are engaged, as JSON values."""
        return [switch_data(each) for each in self.guard.switches]

    # ------------------------------------------------------------------ held against limits

    async def hold_against(self, connection: Connection, subject: Subject, metrics: RiskMetrics) -> list[OutboxEvent]:
        """Hold an assessment against the limits of its scope, in its transaction; return the events.

        VaR and ES are held against them only as the schedule finds them: what somebody asks at another confidence, horizon or
        by another method is a question, which neither breaches a limit nor clears its alert.
        """
        position, scope = subject.holdings[0].position, SCOPES[metrics.scope]
        if not any(limit.scope is scope and applies_to(limit, position) for limit in self._assessed):
            return []
        wanted = (DEFAULT_MODEL.value, self.guard.confidence, self._settings.default_time_horizon)
        usual = (metrics.method, metrics.confidence_level, metrics.time_horizon_ns) == wanted
        events: list[OutboxEvent] = []
        whose = (scope.value, owner_of(scope, position))
        await connection.execute(_LOCK_LIMITS_OF, whose)
        for row in await fetch(connection, _LIMITS_OF, (position.position_id, *whose)):
            limit = to_limit(row)
            if limit.kind in ASSESSED and (usual or limit.kind not in FIGURES):
                value = bounded_value(limit.kind, subject, metrics)
                events += await self._evaluate(connection, row, value, position.position_id, metrics.as_of_ts)
        return events

    def scopes_of(self, position: PositionState) -> dict[tuple[Scope, UUID | None], None]:
        """Return what is to be assessed for a position: itself, and once each of the sums that a limit bounds it in."""
        found: dict[tuple[Scope, UUID | None], None] = {(Scope.POSITION, position.position_id): None}
        for scope, of_limits in SCOPES.items():
            for limit in self._assessed:
                if limit.scope is of_limits and applies_to(limit, position):
                    found[(scope, limit.scope_id)] = None
        return found

    async def flush(self) -> None:
        """Write what the guard has noted, with its alerts."""
        noted = dict(self.guard.noted)
        if not noted:
            return
        async with self._database.transaction() as connection:
            events: list[OutboxEvent] = []
            for limit_id, found in sorted(noted.items()):
                await connection.execute(_LOCK_LIMIT, (limit_id,))
                for row in await fetch(connection, _LIMIT_BY_ID, (found.position_id, limit_id)):
                    if found.ts == row["evaluated_ts"]:
                        continue
                    events += await self._evaluate(
                        connection, row, found.value, found.position_id, found.ts, state=found.state
                    )
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), events)
        await self.settle()

    async def settle(self) -> None:
        """Let memory follow what a transaction has changed, and end the orders of scopes that it halted."""
        if self._stale:
            self._stale = False
            await self.reload()
        halted, self._to_halt = self._to_halt, []
        for limit in halted:
            await self._markets.end_orders(limit.scope, limit.scope_id)

    async def _evaluate(
        self,
        connection: Connection,
        row: dict[str, Any],
        value: Decimal,
        position_id: UUID,
        ts: int,
        *,
        state: LimitState | None = None,
    ) -> list[OutboxEvent]:
        limit = to_limit(row)
        open_alert = None if row["open_details"] is None else to_alert(row["open_details"])
        previous = LimitState.OK if open_alert is None else _STATE_OF_SEVERITY[open_alert.severity]
        evaluation = evaluate(limit, value, previous)
        if state is not None:
            evaluation = Evaluation(limit, value, state, previous)
        changes = alert_changes(evaluation, open_alert, position_id=position_id, ts=ts, alert_id=new_id())
        events = await self._note(connection, evaluation, changes, row["version"], ts)
        wanted = HOLDS[limit.on_breach]
        if evaluation.state is LimitState.BREACHED and limit.hold is Hold.ACTIVE and wanted is not Hold.ACTIVE:
            await connection.execute(
                "UPDATE risk_limits SET hold = %s, hold_ts = %s WHERE limit_id = %s", (wanted.value, ts, limit.limit_id)
            )
            shown = {"limit_id": str(limit.limit_id), "hold": wanted.value, "value": f"{value:f}"}
            await self._note_down(connection, "HOLD", shown)
            self._stale = True
            if wanted is Hold.HALTED:
                self._to_halt.append(limit)
        return events

    async def _note(
        self, connection: Connection, evaluation: Evaluation, changes: AlertChanges, version: int, ts: int
    ) -> list[OutboxEvent]:
        """Write what an evaluation changed; return its events."""
        limit = evaluation.limit
        changed = [alert for alert in (changes.cleared, changes.raised) if alert is not None]
        events = [await self._save_alert(connection, alert) for alert in changed]
        if evaluation.changed and evaluation.state is LimitState.BREACHED and changes.raised is not None:
            version += 1
            data = changes.raised.to_json()
            cause = correlation_id() or str(limit.limit_id)
            breach = Event(EventType.RISK_LIMIT_BREACHED, limit.limit_id, version, ts, cause, data)
            events.append(outbox_event(breach))
        await connection.execute(
            "UPDATE risk_limits SET state = %s, value = %s, evaluated_ts = %s, version = %s WHERE limit_id = %s",
            (evaluation.state.value, evaluation.value, ts, version, limit.limit_id),
        )
        return events

    # ------------------------------------------------------------------ alerts

    async def notify_risk_alert(self, alert: Alert) -> None:
        """Save an alert and publish it: raised or cleared, by its state."""
        async with self._database.transaction() as connection:
            event = await self._save_alert(connection, alert)
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), [event])

    async def _save_alert(self, connection: Connection, alert: Alert) -> OutboxEvent:
        details = alert.to_json()
        await connection.execute(
            "INSERT INTO risk_alerts VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (alert_id) DO UPDATE SET state = excluded.state, details = excluded.details, cleared_ts = excluded.cleared_ts",
            (
                alert.alert_id,
                alert.limit_id,
                alert.position_id,
                alert.severity.value,
                alert.state.value,
                alert.value,
                alert.threshold,
                Jsonb(details),
                alert.raised_ts,
                alert.cleared_ts,
            ),
        )
        is_raised = alert.state is AlertState.RAISED
        kind, sequence = (EventType.RISK_ALERT_RAISED, 1) if is_raised else (EventType.RISK_ALERT_CLEARED, 2)
        ts = alert.raised_ts if alert.cleared_ts is None else alert.cleared_ts
        cause = correlation_id() or str(alert.alert_id)
        return outbox_event(Event(kind, alert.alert_id, sequence, ts, cause, details))

    async def _note_down(self, connection: Connection, action: str, details: dict[str, Any]) -> None:
        """Write a line of the trail, with the key and the request that caused it; a breach on schedule has neither."""
        causes = {"by": caller(), "correlation_id": correlation_id()}
        whole = details | {name: cause for name, cause in causes.items() if cause is not None}
        await connection.execute(
            "INSERT INTO risk_audit VALUES (%s, %s, %s, %s)", (new_id(), self._clock.now_ns(), action, Jsonb(whole))
        )

    async def _publish(
        self, connection: Connection, kind: EventType, key: UUID, sequence: int, data: dict[str, Any]
    ) -> None:
        cause = correlation_id() or str(key)
        event = outbox_event(Event(kind, key, sequence, self._clock.now_ns(), cause, data))
        await append(connection, await ensure_stream(connection, SERVICE_STREAM), [event])
