"""RiskAssessmentService: figures of a position from its price history, kept, held against limits, told.

It owns what is read and written around the pure functions of this package. A figure, the alerts it raises and
their events are one transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.domain.clock import Clock
from market_maker.domain.errors import InvalidRequest, LimitBreached, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import new_id
from market_maker.domain.modes import RiskModel
from market_maker.domain.order import NewOrder, OrderType
from market_maker.domain.position import PositionState
from market_maker.messaging.topics import outbox_event
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.risk.alerts import Alert, AlertChanges, AlertState, Severity, alert_changes
from market_maker.risk.assessment import assess_holdings
from market_maker.risk.limits import (
    Evaluation,
    Limit,
    LimitKind,
    LimitScope,
    LimitState,
    applies_to,
    evaluate,
    limited_value,
)
from market_maker.risk.market_view import MarketView, NoMarkets
from market_maker.risk.measures import RiskMetrics, Scope
from market_maker.risk.models import DEFAULT_MODEL, Model
from market_maker.risk.prices import PriceSource
from market_maker.risk.sections import stress_section, with_sections
from market_maker.risk.storage import get_metrics, metrics_data, save_metrics
from market_maker.risk.stress import SCENARIOS, Norm, Scenario
from market_maker.risk.subjects import Subject, Subjects
from market_maker.settings import RiskSettings
from market_maker.storage.database import Connection, Database, fetch, page
from market_maker.storage.lake import Lake
from market_maker.storage.outbox import SERVICE_STREAM, OutboxEvent, append, ensure_stream
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import get_positions

_STATE_OF_SEVERITY = {Severity.WARNING: LimitState.WARN, Severity.CRITICAL: LimitState.BREACHED}


class RiskAssessmentService:
    """Risk figures, limits and alerts.

    Parameters
    ----------
    database, reference, lake, metrics, clock : shared by the process
    settings : section `risk`
    markets : those that run, for books, resting orders and balances; default: none
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        lake: Lake,
        metrics: Metrics,
        clock: Clock,
        settings: RiskSettings,
        markets: MarketView | None = None,
    ) -> None:
        self._database = database
        self._reference = reference
        self._lake = lake
        self._metrics = metrics
        self._clock = clock
        self._settings = settings
        self.prices = PriceSource(database, lake)
        self._subjects = Subjects(
            database, reference, self.prices, markets or NoMarkets(), clock, Decimal(str(settings.maintenance_rate))
        )

    async def calculate_risk_metrics(
        self,
        position_id: UUID,
        *,
        risk_model: RiskModel = RiskModel.VAR,
        confidence_level: Decimal | None = None,
        time_horizon_ns: int | None = None,
        method: Model | str = DEFAULT_MODEL,
        scope: Scope | str = Scope.POSITION,
    ) -> tuple[UUID, RiskMetrics]:
        """Compute, save and publish the figures of a position, or of all that it is a part of; return their id and them.

        Raises
        ------
        NotFound : no such position
        InvalidRequest : a model that is switched off, a confidence outside (0, 1), positions that cannot be added up
        DataError : too little price history (says how much is there and is needed), or one that the method does not fit
        """
        started = time.perf_counter()
        if risk_model not in self._settings.risk_models:
            raise InvalidRequest.of("risk_model", risk_model.value, ", ".join(self._settings.risk_models))
        scope = Scope(scope)
        subject = await self._subjects.find(position_id, scope)
        default = Decimal(str(self._settings.default_confidence_level))
        metrics = await asyncio.to_thread(
            _assessed,
            subject,
            confidence_level=default if confidence_level is None else confidence_level,
            horizon_ns=self._settings.default_time_horizon if time_horizon_ns is None else time_horizon_ns,
            method=Model(method),
        )
        metrics_id = new_id()
        async with self._database.transaction() as connection:
            events = [await self._save(connection, metrics_id, risk_model, metrics)]
            if scope is Scope.POSITION:
                events += await self._hold_against_limits(connection, subject.holdings[0].position, metrics)
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), events)
        self._measure(risk_model, metrics, subject.holdings[0].instrument.quote, time.perf_counter() - started)
        return metrics_id, metrics

    async def assess(self, position_id: UUID, **wishes: Any) -> dict[str, Any]:
        """Do `calculate_risk_metrics` and return the saved figures as JSON values."""
        metrics_id, metrics = await self.calculate_risk_metrics(position_id, **wishes)
        risk_model = wishes.get("risk_model", RiskModel.VAR)
        return metrics_data(metrics_id, risk_model.value, metrics.value(risk_model), metrics.to_json())

    async def stress_test(
        self,
        position_id: UUID,
        *,
        scope: Scope | str = Scope.POSITION,
        scenarios: Sequence[dict[str, Any]] = (),
        time_horizon_ns: int | None = None,
        loss: Decimal | None = None,
        norm: Norm | str = Norm.LIKELIHOOD,
    ) -> dict[str, Any]:
        """Return what storms would lose, as JSON values: given ones, the worst of the history, and reverse. Stores nothing.

        `scenarios` have the fields of `stress.Scenario`; without any the published ones are taken.

        Raises
        ------
        NotFound, InvalidRequest, DataError : as `calculate_risk_metrics`
        """
        scope = Scope(scope)
        subject = await self._subjects.find(position_id, scope)
        found = await asyncio.to_thread(
            _stressed,
            subject,
            confidence_level=Decimal(str(self._settings.default_confidence_level)),
            horizon_ns=self._settings.default_time_horizon if time_horizon_ns is None else time_horizon_ns,
            scenarios=[Scenario(**each) for each in scenarios] or SCENARIOS,
            loss=None if loss is None else float(loss),
            norm=Norm(norm),
        )
        return {"position_id": str(position_id), "scope": scope.value, "as_of_ts": str(subject.as_of_ts), **found}

    async def get_risk_metrics(
        self, position_id: UUID, *, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the saved figures of a position, newest first. NotFound for an unknown position."""
        if not await get_positions(self._database, position_id=position_id):
            raise NotFound.of("position", "position_id", str(position_id))
        return await get_metrics(self._database, position_id, after=after, limit=limit)

    async def notify_risk_alert(self, alert: Alert) -> None:
        """Save an alert and publish it: raised or cleared, by its state."""
        async with self._database.transaction() as connection:
            event = await self._save_alert(connection, alert)
            await append(connection, await ensure_stream(connection, SERVICE_STREAM), [event])

    # ------------------------------------------------------------------ limits

    async def add_limit(
        self, kind: str, scope: str, scope_id: UUID | None, threshold: Decimal, warn_share: Decimal
    ) -> dict[str, Any]:
        """Store a limit and return it. InvalidRequest names a field that is wrong."""
        limit = Limit(new_id(), LimitKind(kind), LimitScope(scope), scope_id, threshold, warn_share)
        if scope_id is not None:
            await self._check_scope(limit, scope_id)
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO risk_limits (limit_id, kind, scope, scope_id, threshold, warn_share, state, created_ts, version)"
                " VALUES (%s, %s, %s, %s, %s, %s, 'OK', %s, 0)",
                (limit.limit_id, kind, scope, scope_id, threshold, warn_share, self._clock.now_ns()),
            )
        return (await self.get_limits(limit.limit_id))[0]

    async def _check_scope(self, limit: Limit, scope_id: UUID) -> None:
        """Raise NotFound when what the limit is about does not exist."""
        try:
            match limit.scope:
                case LimitScope.PAIR:
                    await self._reference.pair(scope_id)
                case LimitScope.STRATEGY:
                    await self._reference.strategy(scope_id)
                case LimitScope.ACCOUNT:
                    await self._reference.account(scope_id)
                case LimitScope.POSITION if not await get_positions(self._database, position_id=scope_id):
                    raise NotFound("no such position")
        except NotFound:
            raise NotFound.of(limit.scope.value.lower(), "scope_id", str(scope_id)) from None

    async def get_limits(self, limit_id: UUID | None = None) -> list[dict[str, Any]]:
        """Return all limits (or one) with their last value and when they were last evaluated."""
        query = "SELECT * FROM risk_limits WHERE (%(id)s::uuid IS NULL OR limit_id = %(id)s) ORDER BY limit_id"
        rows = await self._database.fetch(query, {"id": limit_id})
        if limit_id is not None and not rows:
            raise NotFound.of("limit", "limit_id", str(limit_id))
        return [limit_data(row) for row in rows]

    async def remove_limit(self, limit_id: UUID) -> None:
        """Delete a limit with its alerts. NotFound when there is none."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute("DELETE FROM risk_limits WHERE limit_id = %s", (limit_id,))
        if not cursor.rowcount:
            raise NotFound.of("limit", "limit_id", str(limit_id))

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

    async def check_order(self, order: NewOrder, positions: list[PositionState]) -> None:
        """Refuse an order that would take a position of its pair beyond a MAX_POSITION or MAX_NOTIONAL limit.

        `positions` are those of the order's account and pair. Raises LimitBreached naming limit and value.
        """
        instrument = (await self._reference.pair(order.pair_id)).instrument
        own = next((each for each in positions if each.strategy_id == order.strategy_id), None)
        held = instrument.lots_to_qty(own.qty_lots) if own else Decimal(0)
        after = abs(held + int(order.side) * order.amount)
        if after <= abs(held):
            return
        price = order.price
        if order.order_type is OrderType.MARKET or price is None:
            history = await self.prices.history(instrument, self._clock.now_ns())
            price = instrument.ticks_to_price(int(history.close_half_ticks[-1])) / 2
        for row in await self._database.fetch("SELECT * FROM risk_limits ORDER BY limit_id"):
            limit = _to_limit(row)
            matches = applies_to(limit, own) if own is not None else _would_apply(limit, order)
            value = {LimitKind.MAX_POSITION: after, LimitKind.MAX_NOTIONAL: after * price}.get(limit.kind)
            if matches and value is not None and value > limit.threshold:
                raise LimitBreached(
                    f"the order would take the position to {limit.kind} {value:f}, beyond the limit of"
                    f" {limit.threshold:f} (limit {limit.limit_id})"
                )

    # ------------------------------------------------------------------ inside the transaction

    async def _save(
        self, connection: Connection, metrics_id: UUID, risk_model: RiskModel, metrics: RiskMetrics
    ) -> OutboxEvent:
        data = await save_metrics(connection, metrics_id, risk_model, metrics)
        return outbox_event(Event(EventType.RISK_ASSESSED, metrics_id, 1, metrics.as_of_ts, str(metrics_id), data))

    async def _hold_against_limits(
        self, connection: Connection, position: PositionState, metrics: RiskMetrics
    ) -> list[OutboxEvent]:
        events: list[OutboxEvent] = []
        rows = await fetch(connection, "SELECT * FROM risk_limits ORDER BY limit_id FOR UPDATE")
        for row in rows:
            limit = _to_limit(row)
            if not applies_to(limit, position):
                continue
            open_alert = await self._open_alert(connection, limit, position.position_id)
            previous = LimitState.OK if open_alert is None else _STATE_OF_SEVERITY[open_alert.severity]
            evaluation = evaluate(limit, limited_value(limit.kind, metrics), previous)
            changes = alert_changes(
                evaluation, open_alert, position_id=position.position_id, ts=metrics.as_of_ts, alert_id=new_id()
            )
            events += await self._note(connection, evaluation, changes, row["version"], metrics.as_of_ts)
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
            breach = Event(EventType.RISK_LIMIT_BREACHED, limit.limit_id, version, ts, str(limit.limit_id), data)
            events.append(outbox_event(breach))
        await connection.execute(
            "UPDATE risk_limits SET state = %s, value = %s, evaluated_ts = %s, version = %s WHERE limit_id = %s",
            (evaluation.state.value, evaluation.value, ts, version, limit.limit_id),
        )
        return events

    async def _open_alert(self, connection: Connection, limit: Limit, position_id: UUID) -> Alert | None:
        query = "SELECT details FROM risk_alerts WHERE limit_id = %s AND position_id = %s AND state = 'RAISED'"
        rows = await fetch(connection, query, (limit.limit_id, position_id))
        return _to_alert(rows[0]["details"]) if rows else None

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
        return outbox_event(Event(kind, alert.alert_id, sequence, ts, str(alert.alert_id), details))

    def _measure(self, risk_model: RiskModel, metrics: RiskMetrics, quote: str, seconds: float) -> None:
        self._metrics.risk_metrics.labels(risk_model.value).inc()
        self._metrics.operation_seconds.labels(Mode.RISK, "assess").observe(seconds)
        self._metrics.virtual_volume.labels(Mode.RISK, quote).inc(float(abs(metrics.position_value)))
        self._metrics.risk_quality.labels("coverage").set(metrics.coverage)
        self._metrics.risk_quality.labels("observations").set(metrics.observations)


def _assessed(subject: Subject, *, confidence_level: Decimal, horizon_ns: int, method: Model) -> RiskMetrics:
    """Return the whole assessment: what a thread does beside the event loop."""
    metrics, observed = assess_holdings(
        subject.holdings, confidence_level=confidence_level, horizon_ns=horizon_ns, as_of_ts=subject.as_of_ts,
        method=method, scope=subject.scope,
    )  # fmt: skip
    return with_sections(metrics, observed, subject.funds)


def _stressed(
    subject: Subject,
    *,
    confidence_level: Decimal,
    horizon_ns: int,
    scenarios: Sequence[Scenario],
    loss: float | None,
    norm: Norm,
) -> dict[str, Any]:
    metrics, observed = assess_holdings(
        subject.holdings, confidence_level=confidence_level, horizon_ns=horizon_ns, as_of_ts=subject.as_of_ts,
        scope=subject.scope,
    )  # fmt: skip
    return stress_section(metrics, observed, subject.funds, scenarios, loss=loss, norm=norm)


def limit_data(row: dict[str, Any]) -> dict[str, Any]:
    """Return a limit as JSON values."""
    return {
        "limit_id": str(row["limit_id"]),
        "kind": row["kind"],
        "scope": row["scope"],
        "scope_id": None if row["scope_id"] is None else str(row["scope_id"]),
        "threshold": f"{row['threshold']:f}",
        "warn_share": f"{row['warn_share']:f}",
        "state": row["state"],
        "value": None if row["value"] is None else f"{row['value']:f}",
        "evaluated_ts": None if row["evaluated_ts"] is None else str(row["evaluated_ts"]),
    }


def _to_limit(row: dict[str, Any]) -> Limit:
    return Limit(
        row["limit_id"],
        LimitKind(row["kind"]),
        LimitScope(row["scope"]),
        row["scope_id"],
        row["threshold"],
        row["warn_share"],
    )


def _to_alert(details: dict[str, Any]) -> Alert:
    return Alert(
        alert_id=UUID(details["alert_id"]),
        limit_id=UUID(details["limit_id"]),
        kind=LimitKind(details["kind"]),
        position_id=UUID(details["position_id"]),
        severity=Severity(details["severity"]),
        state=AlertState(details["state"]),
        model=details["model"],
        value=Decimal(details["value"]),
        threshold=Decimal(details["threshold"]),
        raised_ts=int(details["raised_ts"]),
    )


def _would_apply(limit: Limit, order: NewOrder) -> bool:
    """As `applies_to`, for an order whose position does not exist yet."""
    owner = {
        LimitScope.PAIR: order.pair_id,
        LimitScope.STRATEGY: order.strategy_id,
        LimitScope.ACCOUNT: order.account_id,
    }
    return limit.scope is LimitScope.ALL or owner.get(limit.scope) == limit.scope_id
