"""Processes: the service with its web server and worker processes, and a worker alone."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn

from market_maker.api.app import create_app
from market_maker.api.exposure import check_exposure
from market_maker.api.http_protocol import BoundedHttp
from market_maker.bootstrap import Runtime, open_store, relaying, running
from market_maker.domain.errors import InvalidRequest, Unavailable
from market_maker.monitoring.logs import configure_logging
from market_maker.monitoring.tracing import configure_tracing, stop_tracing
from market_maker.settings import BacktestSettings, Role, Settings
from market_maker.storage.database import Database
from market_maker.storage.jobs import has_work
from market_maker.strategies.compiling.apart import end_compiling

_GRACE_S = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONG_LIFE_S = 0.5, 8.0, 10.0
_LOOK_S = 0.25
_M_MMAP_THRESHOLD, _BLOCK_BYTES = -3, 1 << 20
"""From malloc.h: blocks of so many bytes are the system's, and go back to it when they are freed."""
_log = structlog.get_logger("server")


def run_service(settings: Settings) -> None:
    """Do `serve` on uvloop where there is one; uvicorn picks its loop only when it runs the process itself."""
    loop_factory = None
    if sys.platform != "win32":
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Run everything until SIGTERM or SIGINT; what is acknowledged is durable at any moment.

    Raises
    ------
    InvalidRequest : a public address without API keys
    Unavailable : database or port cannot be had
    """
    check_exposure(settings)
    if settings.role in (Role.API, Role.RELAY) and settings.rabbitmq_url is None:
        allowed = "ALL or WORKER; API and RELAY meet in RabbitMQ: set rabbitmq_url"
        raise InvalidRequest.of("role", settings.role.value, allowed)
    if settings.role is Role.WORKER:
        await work(settings, None)
        return
    configure_logging(settings.log_level)
    configure_tracing(settings.otlp_endpoint, role="relay" if settings.role is Role.RELAY else "service")
    try:
        await _serve_role(settings)
    finally:
        stop_tracing()


async def _serve_role(settings: Settings) -> None:
    if settings.role is Role.RELAY:
        async with _stopped_by_signal() as stopped, relaying(settings):
            print("market-maker relays events", flush=True)  # noqa: T201
            await stopped.wait()
        return
    async with running(settings) as runtime:
        app = create_app(
            runtime.service,
            runtime.metrics,
            runtime.health,
            runtime.bus,
            api_keys=settings.api_keys,
            rate_limit=settings.rate_limit,
        )

        async def drain() -> None:
            end_compiling()  # Who waits for it is answered 503 at once.
            await app.drain()

        web = _DrainedServer(
            drain,
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
                http=BoundedHttp,
                ws_max_size=1 << 16,
            ),
        )
        async with worker_processes(runtime, 0 if settings.role is Role.API else settings.backtest.workers):
            # uvicorn ends at the first of these signals and raises it again: that must not end us before we have closed
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, signal.SIG_IGN)
            serving = asyncio.create_task(web.serve())
            while not web.started and not serving.done():  # noqa: ASYNC110  (uvicorn tells it by an attribute only)
                await asyncio.sleep(0.01)
            if web.started:
                settle_memory()
                port = web.servers[0].sockets[0].getsockname()[1]
                print(f"market-maker serves http://{settings.host}:{port} (OpenAPI: /openapi)", flush=True)  # noqa: T201
            with contextlib.suppress(SystemExit):
                await serving
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second wish is a command
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if not web.started:
            raise Unavailable(f"cannot listen on {settings.host}:{settings.port}; choose another by --port")


class _DrainedServer(uvicorn.Server):
    """Lets nothing new in before it closes: what comes over connections that are open is answered 503."""

    def __init__(self, drain: Callable[[], Awaitable[None]], config: uvicorn.Config) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close listeners and connections; what is being answered is waited for."""
        for server in self.servers:
            server.close()
        await self._drain()
        await super().shutdown(sockets)


@asynccontextmanager
async def _stopped_by_signal() -> AsyncIterator[asyncio.Event]:
    """Yield what SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    yield stopped


def settle_memory() -> None:
    """Take what start-up made out of garbage collection, and collect the rest less often; give large blocks back.

    Open orders live long; looking through them again and again finds nothing and holds up the event loop. glibc would keep
    ever larger blocks that are freed, and long-lived things between them keep them from going back.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def work(settings: Settings, parent_pid: int | None) -> None:
    """Run queued backtests until SIGTERM or, started by `serve`, until that process is gone or nothing is to do for long."""
    from market_maker.backtest.worker import Worker  # the job queue and the compiler are loaded by those who work

    configure_logging(settings.log_level)
    configure_tracing(settings.otlp_endpoint, role="worker")
    async with _stopped_by_signal() as stopped, open_store(settings) as store:
        worker = Worker(
            store.database, store.reference, store.lake, store.clock, store.data_dir / "results",
            sweep_threads=sweep_threads(settings.backtest, processors()),
        )  # fmt: skip
        idle_s = settings.backtest.worker_idle / 1e9 if parent_pid is not None else 0
        serving = asyncio.create_task(worker.serve(parent_pid=parent_pid, idle_s=idle_s or None))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
    stop_tracing()


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def sweep_threads(settings: BacktestSettings, processors: int) -> int:
    """Return with how many threads each worker does a sweep: without a setting, one processor is left to the service."""
    return settings.sweep_threads or max(1, (processors - 1) // max(1, settings.workers))


@asynccontextmanager
async def worker_processes(runtime: Runtime, count: int) -> AsyncIterator[None]:
    """Keep `count` worker processes alive for the length of the block."""
    keepers = [asyncio.create_task(_keep_worker(runtime)) for _ in range(count)]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


async def _keep_worker(runtime: Runtime) -> None:
    """Start a worker, and another one whenever it ends: soon after a long life, later and later after short ones.

    One that ended because there was nothing to do (exit code 0) is missed only when there is something again.
    """
    settings = runtime.settings
    environment = {
        **{
            name: value for name, value in os.environ.items() if not name.startswith("MM_") or name == "MM_KERNEL_CACHE"
        },
        "MM_DATABASE_URL": runtime.dsn,
        "MM_DATA_DIR": str(runtime.data_dir),
        "MM_LOG_LEVEL": settings.log_level,
        "MM_SIMULATOR__DEFAULT_BALANCE": str(settings.simulator.default_balance),
        "MM_BACKTEST__WORKER_IDLE": f"{settings.backtest.worker_idle}ns",
        "MM_BACKTEST__WORKERS": str(settings.backtest.workers),
        "MM_BACKTEST__SWEEP_THREADS": str(settings.backtest.sweep_threads),
    }
    if settings.lake is not None:
        environment["MM_LAKE"] = str(settings.lake)
    if settings.lake_url is not None:
        environment["MM_LAKE_URL"] = settings.lake_url
    if settings.otlp_endpoint is not None:
        environment["MM_OTLP_ENDPOINT"] = settings.otlp_endpoint
    if settings.strategy_files:
        environment["MM_STRATEGY_FILES"] = ",".join(str(path.absolute()) for path in settings.strategy_files)
    pause_s = _FIRST_PAUSE_S
    while True:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "market_maker", "worker", "--parent", str(os.getpid()), env=environment
        )
        runtime.metrics.resources.watch_worker(process.pid)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _GRACE_S)
            if process.returncode is None:
                process.kill()
            raise
        finally:
            runtime.metrics.resources.forget_worker(process.pid)
        if code == 0:
            await _work_arrives(runtime.database)
            continue
        _log.warning("a worker ended; another is started", exit_code=code)
        long_life = time.monotonic() - started > _LONG_LIFE_S
        pause_s = _FIRST_PAUSE_S if long_life else min(2 * pause_s, _LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)


async def _work_arrives(database: Database) -> None:
    """Return when a run or a sweep is queued."""
    while True:
        with contextlib.suppress(Unavailable):
            if await has_work(database):
                return
        await asyncio.sleep(_LOOK_S)
