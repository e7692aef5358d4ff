"""The one place that picks concrete adapters and wires the services together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from market_maker.backtest.observation import count_jobs_for_ever, observe_backtests
from market_maker.backtest.service import BacktestService
from market_maker.directory import Directory, Parts
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Unavailable
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.modes import Mode
from market_maker.market_data.import_queue import ImportQueue
from market_maker.market_data.service import MarketDataService
from market_maker.messaging.bus import Bus, InProcessBus
from market_maker.messaging.relay import Relay
from market_maker.monitoring.health import CheckResult, Health, State, check_durability
from market_maker.monitoring.metrics import Metrics
from market_maker.monitoring.sampling import sample_for_ever
from market_maker.playback.player import LakePlayer
from market_maker.records import Records
from market_maker.risk.control import RiskControl
from market_maker.risk.observation import observe_alerts
from market_maker.risk.service import RiskAssessmentService
from market_maker.service import MarketMakerService
from market_maker.settings import Role, Settings, load_settings
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import Observer
from market_maker.simulator.market_realism import MarketRealism
from market_maker.simulator.recovery import is_run_by_another
from market_maker.simulator.risk_view import SimulatedMarkets
from market_maker.simulator.service import SimulatorService
from market_maker.simulator.strategy_runs.service import StrategyRuns
from market_maker.storage import schema
from market_maker.storage.database import Database
from market_maker.storage.embedded import EmbeddedDatabase, default_data_dir, start_embedded
from market_maker.storage.lake import Lake
from market_maker.storage.objects import ObjectStore
from market_maker.storage.reference import ReferenceData
from market_maker.storage.retention import prune_for_ever
from market_maker.strategies.compiling.apart import end_compiling
from market_maker.strategies.contract import add_strategy_file
from market_maker.venue.changes import Changes
from market_maker.venue.market.compiled import compiled_market

_log = structlog.get_logger("bootstrap")


@dataclass(frozen=True, slots=True)
class Runtime:
    """A running service: what the API and the command line work with."""

    settings: Settings
    dsn: str
    data_dir: Path
    database: Database
    service: MarketMakerService
    metrics: Metrics
    health: Health
    bus: Bus
    relay: Relay


@dataclass(frozen=True, slots=True)
class Store:
    """Database, reference data and lake, opened: what every role needs."""

    settings: Settings
    dsn: str
    data_dir: Path
    database: Database
    reference: ReferenceData
    lake: Lake
    clock: SystemClock


def data_dir_of(settings: Settings) -> Path:
    """Return the folder of all local state."""
    return default_data_dir() if settings.data_dir is None else settings.data_dir.expanduser().absolute()


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncIterator[str]:
    """Start or attach to the database server, the embedded one unless another is given; yield the address. No schema."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    embedded = await asyncio.to_thread(start_embedded, data_dir_of(settings))
    try:
        yield embedded.dsn
    finally:
        await asyncio.to_thread(embedded.stop)


def database_exists(settings: Settings) -> bool:
    """Return False where the embedded database has not been made yet."""
    return settings.database_url is not None or (data_dir_of(settings) / "postgres" / "data" / "PG_VERSION").exists()


def lake_of(settings: Settings) -> Lake:
    """Return the lake that the settings name."""
    objects = None if settings.lake_url is None else ObjectStore(settings.lake_url)
    return Lake(lake_root_of(settings), objects)


def lake_root_of(settings: Settings) -> Path:
    """Return the folder of the lake, or of its cache."""
    return settings.lake or data_dir_of(settings) / "lake"


@asynccontextmanager
async def open_store(settings: Settings, *, standby: bool = False) -> AsyncIterator[Store]:
    """Open the database (embedded unless a server is given), bring its schema up to date, load reference data.

    With `standby` nothing of this is done before the markets of another service have ended.
    """
    for file in settings.strategy_files:
        add_strategy_file(file)
    data_dir = data_dir_of(settings)
    embedded: EmbeddedDatabase | None = None
    dsn = settings.database_url
    if dsn is None:
        embedded = await asyncio.to_thread(start_embedded, data_dir)
        dsn = embedded.dsn
    database = Database(dsn, pool_size=settings.database_pool)
    keeper = None if embedded is None else asyncio.create_task(_keep_running(embedded))
    try:
        await database.open()
        if standby:
            await wait_for_markets(database)
        await asyncio.to_thread(schema.upgrade, dsn)
        clock = SystemClock()
        reference = ReferenceData(database)
        await reference.seed(settings.simulator.default_balance, clock.now_ns())
        await reference.load()
        yield Store(settings, dsn, data_dir, database, reference, lake_of(settings), clock)
    finally:
        await database.close()
        if embedded is not None and keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await asyncio.to_thread(embedded.stop)


async def _keep_running(embedded: EmbeddedDatabase) -> None:
    """Start the embedded server again should it die; those who use it see an outage of a second."""
    while True:
        await asyncio.sleep(1.0)
        try:
            if await asyncio.to_thread(embedded.ensure_running):
                _log.warning("the embedded PostgreSQL had died and was started again")
        except Unavailable as error:
            _log.warning("the embedded PostgreSQL cannot be started", reason=error.detail)


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Runtime]:
    """Run everything but HTTP and workers for the length of the block."""
    from market_maker.api.commands import CommandListener  # workers open the store alone, without the web's shapes

    settings = load_settings() if settings is None else settings
    async with open_store(settings, standby=settings.standby) as store:
        metrics = Metrics()
        bus = make_bus(settings)
        relay = Relay(store.dsn, bus, metrics, clock=store.clock)
        simulator = SimulatorService(
            store.database,
            store.reference,
            metrics,
            store.clock,
            settings.simulator,
            lake=store.lake,
            spool=store.data_dir / "spool",
            after_commit=relay.wake,
            player=LakePlayer(store.lake),
        )
        backtests = BacktestService(store.database, store.reference, store.lake, store.clock, settings.backtest)
        risk = RiskAssessmentService(
            store.database,
            store.reference,
            store.lake,
            metrics,
            store.clock,
            settings.risk,
            SimulatedMarkets(simulator),
        )
        simulator.guard = risk.control.guard
        simulator.observers.append(_tell_changes(risk.control))
        market_data = MarketDataService(store.database, store.reference, store.lake, store.clock)
        imports = ImportQueue(market_data, settings.inbox or store.data_dir / "inbox", store.clock)
        records = Records(store.database, store.reference, store.lake, store.clock)
        strategy_runs = StrategyRuns(simulator, risk.control.guard)
        realism = MarketRealism(
            simulator,
            store.lake,
            events_max=settings.simulator.realism_events,
            interval_ns=settings.simulator.realism_interval,
        )
        parts = Parts(
            store.database, store.reference, simulator, backtests, risk, market_data, imports, records, strategy_runs, realism
        )  # fmt: skip
        directory = Directory(parts, settings.simulator.default_balance)
        health = make_health(store.database, bus, simulator, metrics)
        await bus.start()
        if settings.role is not Role.API:
            relay.start()
        background = [
            asyncio.create_task(prune_for_ever(store.database, store.clock, settings.event_retention)),
            asyncio.create_task(sample_for_ever(metrics, store.database.statistics, health.readiness)),
            asyncio.create_task(count_jobs_for_ever(store.database, metrics)),
        ]
        observations = [await observe_backtests(bus, metrics), await observe_alerts(bus, metrics)]
        try:
            await _start_trading(simulator, risk.control)
            await imports.start()
            await realism.start()
            service = MarketMakerService(parts, directory)
            commands = CommandListener(service, bus)
            await commands.start()
            try:
                yield Runtime(settings, store.dsn, store.data_dir, store.database, service, metrics, health, bus, relay)
            finally:
                await commands.stop()
        finally:
            end_compiling()
            await realism.stop()
            await imports.stop()
            await risk.control.stop()
            await simulator.stop()
            await relay.stop()
            for task in background:
                task.cancel()
            for observation in observations:
                await observation.cancel()
            await bus.close()


async def wait_for_markets(database: Database, poll_s: float = 0.1) -> None:
    """Wait until no other service runs markets on this database; what takes long at a start is done meanwhile."""
    if not await is_run_by_another(database):
        return
    _log.info("standing by: another service runs markets on this database")
    await asyncio.to_thread(compiled_market)
    while await is_run_by_another(database):  # noqa: ASYNC110  (it is another process that ends)
        await asyncio.sleep(poll_s)


@asynccontextmanager
async def relaying(settings: Settings) -> AsyncIterator[Relay]:
    """Run the relay alone for the length of the block."""
    async with open_store(settings) as store:
        bus = make_bus(settings)
        relay = Relay(store.dsn, bus, Metrics(), clock=store.clock)
        await bus.start()
        relay.start()
        try:
            yield relay
        finally:
            await relay.stop()
            await bus.close()


async def _start_trading(simulator: SimulatorService, control: RiskControl) -> None:
    """Let the markets run, with what holds them back standing before the first order."""
    await control.start()
    await simulator.start()
    await control.end_held()


def _tell_changes(control: RiskControl) -> Observer:
    """Return what tells risk whose positions a commit has changed: by fills and by transfers."""

    def tell(_: SimulatedExchange, changes: Changes) -> None:
        changed = {key for key, state in changes.positions.items() if state.account_id != MARKET_ACCOUNT_ID}
        if changed:
            control.note_changed(changed)

    return tell


def make_bus(settings: Settings) -> Bus:
    """Return the bus that the settings ask for: RabbitMQ when a server is given, else the one in the process."""
    if settings.rabbitmq_url is None:
        return InProcessBus()
    from market_maker.messaging.rabbitmq import RabbitBus

    return RabbitBus(settings.rabbitmq_url, prefix=settings.rabbitmq_prefix)


def make_health(database: Database, bus: Bus, simulator: SimulatorService, metrics: Metrics) -> Health:
    """Return the checks behind /health."""
    health = Health(metrics)

    async def check_database() -> CheckResult:
        async with database.connection() as connection:
            return await check_durability(connection)

    def check_bus() -> CheckResult:
        if bus.connected:
            return CheckResult(State.OK)
        return CheckResult(
            State.DEGRADED, "the broker cannot be reached", "events are kept and published when it is back"
        )

    def check_markets() -> CheckResult:
        broken = [loop.failure for loop in simulator.loops.values() if loop.exchange is None]
        return (
            CheckResult(State.DEGRADED, "; ".join(broken), "they start again by themselves")
            if broken
            else CheckResult(State.OK)
        )

    health.register("database", check_database)
    health.register("bus", check_bus, worst=State.DEGRADED)
    health.register("markets", check_markets)
    return health


@asynccontextmanager
async def open_service(
    mode: Mode = Mode.SIMULATION, settings: Settings | None = None
) -> AsyncIterator[MarketMakerService]:
    """Run the whole service inside this process, without HTTP, for the length of the block; return its facade."""
    async with running(settings) as runtime:
        yield runtime.service.in_mode(mode)
