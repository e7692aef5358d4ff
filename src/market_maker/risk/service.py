"""RiskAssessmentService: figures of a position from its price history, kept, held against limits, told.

It owns what is read and written around the pure functions of this package. A figure, the alerts it raises and
their events are one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from psycopg.types.json import Jsonb

from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, DataError, InvalidRequest, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, MARKET_ACCOUNT_ID, new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import RiskModel
from market_maker.messaging.topics import outbox_event
from market_maker.monitoring.logs import correlation_id
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.monitoring.tracing import span
from market_maker.performance.figures import Float64
from market_maker.risk.alerts import Alert
from market_maker.risk.assessment import assess_holdings, least_observations
from market_maker.risk.control import RiskControl
from market_maker.risk.history import PriceHistory, choose_returns, on_one_grid, returns_at
from market_maker.risk.limits import SCOPES, LimitScope, covers
from market_maker.risk.market_view import MarketView, NoMarkets
from market_maker.risk.measures import WANTED_OBSERVATIONS, RiskMetrics, Scope
from market_maker.risk.model_tests import DEFAULT_METHODS, judge_models, recent_forecasts
from market_maker.risk.models import DEFAULT_MODEL, Model
from market_maker.risk.observation import show_models
from market_maker.risk.prices import PriceSource
from market_maker.risk.report import risk_page
from market_maker.risk.sections import stress_section, with_sections
from market_maker.risk.storage import get_metrics, metrics_data, save_metrics
from market_maker.risk.stress import SCENARIOS, Norm, Scenario
from market_maker.risk.subjects import Subject, Subjects
from market_maker.risk.validation.forecasts import Forecasts
from market_maker.risk.validation.rolling import WINDOW
from market_maker.settings import RiskSettings
from market_maker.storage.database import Connection, Database, page
from market_maker.storage.lake import Lake
from market_maker.storage.outbox import SERVICE_STREAM, OutboxEvent, append, ensure_stream
from market_maker.storage.reference import ReferenceData
from market_maker.storage.simulation import get_positions, get_watched_positions

_log = structlog.get_logger("risk")


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
        self.control = RiskControl(database, reference, clock, markets or NoMarkets(), settings, self)
        self._subjects = Subjects(
            database, reference, self.prices, markets or NoMarkets(), clock, Decimal(str(settings.maintenance_rate))
        )

    @property
    def usual_model(self) -> RiskModel:
        """The figure of an assessment that names none."""
        allowed = self._settings.risk_models
        return RiskModel.VAR if RiskModel.VAR in allowed else allowed[0]

    async def calculate_risk_metrics(
        self,
        position_id: UUID,
        *,
        risk_model: RiskModel | None = None,
        confidence_level: Decimal | None = None,
        time_horizon_ns: int | None = None,
        method: Model | str = DEFAULT_MODEL,
        scope: Scope | str = Scope.POSITION,
        currency: str | None = None,
    ) -> tuple[UUID, RiskMetrics]:
        """Compute, save and publish the figures of a position, or of all that it is a part of; return their id and them.

        `risk_model` is the figure that is asked for: by default value at risk, or the other where that is switched off. Figures in
        another `currency` than their own are a question, and are not held against limits.

        Raises
        ------
        NotFound : no such position
        InvalidRequest : a model that is switched off, a confidence outside (0, 1), positions that cannot be added up
        DataError : too little price history (says how much is there and is needed), or one that the method does not fit
        """
        started = time.perf_counter()
        risk_model = risk_model or self.usual_model
        if risk_model not in self._settings.risk_models:
            raise InvalidRequest.of("risk_model", risk_model.value, ", ".join(self._settings.risk_models))
        scope = Scope(scope)
        subject = await self._subjects.find(position_id, scope, currency)
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
            # In a pipeline the database is waited for where something is read, not after every statement.
            async with connection.pipeline():
                events = [await self._save(connection, metrics_id, risk_model, metrics)]
                named = subject.holdings[0].position
                if currency is None and (scope is Scope.POSITION or named.account_id != BACKTEST_ACCOUNT_ID):
                    events += await self.control.hold_against(connection, subject, metrics)
                stream = await ensure_stream(connection, SERVICE_STREAM)
            await append(connection, stream, events)
        await self.control.settle()
        self._measure(risk_model, metrics, time.perf_counter() - started)
        return metrics_id, metrics

    async def assess(self, position_id: UUID, **wishes: Any) -> dict[str, Any]:
        """Do `calculate_risk_metrics` and return the saved figures as JSON values."""
        risk_model = wishes.pop("risk_model", None) or self.usual_model
        with span("assess", {"position_id": str(position_id), "risk_model": risk_model.value}):
            metrics_id, metrics = await self.calculate_risk_metrics(position_id, risk_model=risk_model, **wishes)
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
        currency: str | None = None,
    ) -> dict[str, Any]:
        """Return what storms would lose, as JSON values: given ones, the worst of the history, and reverse. Stores nothing.

        `scenarios` have the fields of `stress.Scenario`; without any the published ones are taken.

        Raises
        ------
        NotFound, InvalidRequest, DataError : as `calculate_risk_metrics`
        """
        scope = Scope(scope)
        subject = await self._subjects.find(position_id, scope, currency)
        found = await asyncio.to_thread(
            _stressed,
            subject,
            confidence_level=Decimal(str(self._settings.default_confidence_level)),
            horizon_ns=self._settings.default_time_horizon if time_horizon_ns is None else time_horizon_ns,
            scenarios=[Scenario(**each) for each in scenarios] or SCENARIOS,
            loss=None if loss is None else float(loss),
            norm=Norm(norm),
        )
        told = {"position_id": str(position_id), "scope": scope.value, "currency": subject.holdings[0].currency}
        return {**told, "as_of_ts": str(subject.as_of_ts), **found}

    async def test_models(
        self,
        position_id: UUID,
        methods: Sequence[str] = (),
        *,
        confidence_level: Decimal | None = None,
        window: int = WINDOW,
        interval_ns: int | None = None,
    ) -> dict[str, Any]:
        """Judge methods by what happened to a position's pair; keep and return the outcome as JSON values.

        Raises
        ------
        NotFound, InvalidRequest, DataError : as `model_tests.judge_models`
        """
        subject = await self._subjects.find(position_id, Scope.POSITION)
        default = Decimal(str(self._settings.default_confidence_level))
        found = await asyncio.to_thread(
            judge_models,
            subject.holdings[0],
            [Model(each) for each in methods] or DEFAULT_METHODS,
            confidence_level=default if confidence_level is None else confidence_level,
            window=window,
            interval_ns=interval_ns,
        )
        test_id, now = new_id(), self._clock.now_ns()
        data = {"test_id": str(test_id), "position_id": str(position_id), "created_ts": str(now), **found}
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO risk_model_tests VALUES (%s, %s, %s, %s)", (test_id, position_id, Jsonb(data), now)
            )
        show_models(self._metrics, found["models"])
        return data

    async def get_model_tests(
        self, position_id: UUID, *, after: UUID | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return the tests of models that were made for a position, newest first. NotFound for an unknown position."""
        if not await get_positions(self._database, position_id=position_id):
            raise NotFound.of("position", "position_id", str(position_id))
        query = """
            SELECT details FROM risk_model_tests
            WHERE position_id = %(position_id)s AND test_id < %(before)s ORDER BY test_id DESC LIMIT %(limit)s
        """
        rows = await self._database.fetch(query, {"position_id": position_id, **page(after, limit)})
        return [row["details"] for row in rows]

    async def report(self, position_id: UUID, *, scopes: Collection[str] = tuple(Scope)) -> str:
        """Return the risk page of a position, HTML: its newest saved figures with charts, limits and tests of models.

        Of figures and limits of `scopes` alone.

        Raises
        ------
        NotFound : no such position
        Conflict : it has never been assessed
        """
        saved = await self.get_risk_metrics(position_id, limit=1, scopes=scopes)
        if not saved:
            raise Conflict(f"position {position_id} has not been assessed yet; POST /api/v1/risk/assessment first")
        subject = await self._subjects.find(position_id, Scope.POSITION)
        holding = subject.holdings[0]
        covering = [
            each
            for each in await self.control.get_limits()
            if LimitScope(each["scope"]) in {SCOPES[Scope(scope)] for scope in scopes}
            and covers(LimitScope(each["scope"]), each["scope_id"] and UUID(str(each["scope_id"])), holding.position)
        ]
        raised = await self.control.get_alerts(state="RAISED", limit=1000)
        tests = await self.get_model_tests(position_id, limit=1)
        forecasts: list[Forecasts] = []
        note = ""
        try:
            forecasts = await asyncio.to_thread(
                recent_forecasts, holding, Decimal(str(self._settings.default_confidence_level))
            )
        except DataError as error:
            note = error.detail
        quantity = holding.instrument.lots_to_qty(holding.position.qty_lots)
        return risk_page(
            saved[0],
            name=f"{quantity:f} {holding.instrument.symbol}",
            limits=covering,
            alerts=[each for each in raised if each["limit_id"] in {one["limit_id"] for one in covering}],
            test=tests[0] if tests else None,
            forecasts=forecasts,
            note=note,
        )

    async def get_risk_metrics(
        self,
        position_id: UUID,
        *,
        after: UUID | None = None,
        limit: int = 100,
        scopes: Collection[str] = tuple(Scope),
    ) -> list[dict[str, Any]]:
        """Return the saved figures of a position, newest first, of `scopes` alone. NotFound for an unknown position."""
        if not await get_positions(self._database, position_id=position_id):
            raise NotFound.of("position", "position_id", str(position_id))
        return await get_metrics(self._database, position_id, after=after, limit=limit, scopes=scopes)

    async def notify_risk_alert(self, alert: Alert) -> None:
        """Save an alert and publish it: raised or cleared, by its state."""
        await self.control.notify_risk_alert(alert)

    async def add_limit(
        self,
        kind: str,
        scope: str,
        scope_id: UUID | None,
        threshold: Decimal,
        warn_share: Decimal,
        on_breach: str = "ALERT",
    ) -> dict[str, Any]:
        """Store a limit and return it. InvalidRequest names a field that is wrong."""
        return await self.control.add_limit(kind, scope, scope_id, threshold, warn_share, on_breach)

    async def reassess(self, position_ids: Iterable[UUID]) -> None:
        """Bring the figures of positions up to date, and once each those of the sums that limits bound them in.

        What has no history enough, or cannot be added up, is passed over; limits on it tell why.
        """
        done: set[tuple[Scope, UUID | None]] = set()
        for position_id in position_ids:
            found = await get_positions(self._database, position_id=position_id)
            for scope, scope_id in self.control.scopes_of(found[0]) if found else ():
                if (scope, scope_id) in done:
                    continue
                done.add((scope, scope_id))
                reason = None
                try:
                    await self.calculate_risk_metrics(position_id, scope=scope)
                except (DataError, NotFound, InvalidRequest) as error:
                    reason = error.detail
                    shown = {"position_id": str(position_id), "scope": scope.value}
                    _log.info("a position could not be assessed", **shown, reason=reason)
                self.control.note_unseen(scope, scope_id, reason)

    async def reassess_all(self) -> None:
        """Bring the figures of every position that is not flat, or has an open alert, up to date, backtests' apart."""
        await self.reassess(
            await get_watched_positions(self._database, other_than=[MARKET_ACCOUNT_ID, BACKTEST_ACCOUNT_ID])
        )

    async def scenarios(self, pairs: Sequence[Instrument]) -> dict[UUID, Float64]:
        """Return the profit of one lot of each pair in the same moments of history, scaled to the default horizon.

        Pairs without a price history, or without any in common, are left out.
        """
        histories: dict[UUID, PriceHistory] = {}
        for instrument in pairs:
            with contextlib.suppress(DataError):
                histories[instrument.pair_id] = await self.prices.history(instrument, self._clock.now_ns())
        with contextlib.suppress(DataError):
            return await asyncio.to_thread(
                _unit_profits, pairs, histories, self.control.guard.confidence, self._settings.default_time_horizon
            )
        return {}

    # ------------------------------------------------------------------ inside the transaction

    async def _save(
        self, connection: Connection, metrics_id: UUID, risk_model: RiskModel, metrics: RiskMetrics
    ) -> OutboxEvent:
        data = await save_metrics(connection, metrics_id, risk_model, metrics)
        cause = correlation_id() or str(metrics_id)
        return outbox_event(Event(EventType.RISK_ASSESSED, metrics_id, 1, metrics.as_of_ts, cause, data))

    def _measure(self, risk_model: RiskModel, metrics: RiskMetrics, seconds: float) -> None:
        self._metrics.risk_metrics.labels(risk_model.value).inc()
        self._metrics.operation_seconds.labels(Mode.RISK, "assess").observe(seconds)
        self._metrics.virtual_volume.labels(Mode.RISK, metrics.currency).inc(float(abs(metrics.position_value)))
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


def _unit_profits(
    pairs: Sequence[Instrument], histories: dict[UUID, PriceHistory], confidence: Decimal, horizon_ns: int
) -> dict[UUID, Float64]:
    known = [instrument for instrument in pairs if instrument.pair_id in histories]
    if not known:
        return {}
    grid = on_one_grid([histories[instrument.pair_id] for instrument in known])
    least = least_observations(DEFAULT_MODEL, confidence)
    chosen = choose_returns(grid[0], horizon_ns=horizon_ns, wanted=WANTED_OBSERVATIONS, least=least)
    scale = (horizon_ns / chosen.interval_ns) ** 0.5
    return {
        instrument.pair_id: returns_at(history, chosen.interval_ns).values
        * (float(instrument.tick_lot) * int(history.close_half_ticks[-1]) / 2.0 * scale)
        for instrument, history in zip(known, grid, strict=True)
    }
