"""Publishes outbox rows in order, at least once, and marks them; the only publisher of events.

One relay per database works at a time: it holds an advisory lock on the connection by which it reads and
marks, so that the three live and die together. Whatever fails, it waits and goes on; nothing is raised out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import psycopg
import structlog

from market_maker.domain.clock import Clock
from market_maker.domain.errors import MarketMakerError
from market_maker.messaging.bus import Bus, Message
from market_maker.monitoring.logs import mask_secrets
from market_maker.monitoring.metrics import Metrics
from market_maker.monitoring.tracing import span
from market_maker.storage import outbox

log = structlog.get_logger(__name__)

RELAY_LOCK_KEY = 0x6D6D5F72656C6179
"""The bytes of "mm_relay": the advisory lock of the relay of a database."""

PAUSE_S_MIN, PAUSE_S_MAX = 0.05, 1.0
STANDBY_S = 1.0
DEPTH_EVERY_S = 2.0
STATEMENT_TIMEOUT_S = 15.0


class Relay:
    """Carries events from the outbox to the bus.

    Parameters
    ----------
    dsn : of the database; the relay opens one connection of its own
    bus : where to
    metrics : gets depth, lag, counts and failures
    clock : of the writers' event times, for the lag
    batch : most rows of one stream per round; a larger one is no cheaper per event and holds up the event loop longer
    poll_s : how soon rows are found that other processes wrote (`wake` finds ours at once)
    publish_timeout_s : for the confirmations of one round
    lock_key : another one only in tests
    """

    def __init__(
        self,
        dsn: str,
        bus: Bus,
        metrics: Metrics,
        *,
        clock: Clock,
        batch: int = 250,
        poll_s: float = 0.1,
        publish_timeout_s: float = 10.0,
        lock_key: int = RELAY_LOCK_KEY,
    ) -> None:
        self.active = False
        """Whether this relay holds the lock."""
        self.lag_s = 0.0
        """Age of the oldest event that awaits publication, seconds."""
        self._dsn = dsn
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._batch = batch
        self._poll_s = poll_s
        self._publish_timeout_s = publish_timeout_s
        self._lock_key = lock_key
        self._awake = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._depth_due = 0.0
        self._published = metrics.events_published

    def start(self) -> None:
        """Begin to work, in a task of its own."""
        assert self._task is None, "started twice"
        self._task = asyncio.create_task(self._run(), name="relay")

    def wake(self) -> None:
        """Tell that rows were committed; costs next to nothing."""
        self._awake.set()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Publish what is committed, at most for `timeout_s`, then end. The rest waits for the next start."""
        self._stop_asked.set()
        self._awake.set()
        task, self._task = self._task, None
        if task is None:
            return
        done, _ = await asyncio.wait([task], timeout=timeout_s)
        if not done:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            try:
                await self._serve()
                return
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._failed("database", error)
            finally:
                self.active = False
                self._metrics.relay_active.set(0)
            if self._stop_asked.is_set():
                return
            await self._rest(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _serve(self) -> None:
        """Take the lock and work until told to stop; returns then, raises when the database fails."""
        async with asyncio.timeout(STATEMENT_TIMEOUT_S):
            connection = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, connect_timeout=5, application_name="market-maker relay",
                keepalives_idle=10, keepalives_interval=5, keepalives_count=3,
            )  # fmt: skip
        try:
            # A mark lost in a crash makes events come twice, which is allowed; waiting for the disk is not worth it.
            await connection.execute("SET synchronous_commit = off")
            while not await self._take_lock(connection):
                if self._stop_asked.is_set():
                    return
                await self._rest(min(STANDBY_S, 10 * self._poll_s))
            self.active = True
            self._metrics.relay_active.set(1)
            await self._drain(connection)
        finally:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    async def _take_lock(self, connection: outbox.Connection) -> bool:
        async with asyncio.timeout(STATEMENT_TIMEOUT_S):
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._lock_key,))
            found = await cursor.fetchone()
        return found is not None and bool(found[0])

    async def _drain(self, connection: outbox.Connection) -> None:
        pause_s = PAUSE_S_MIN
        while True:
            stopping = (
                self._stop_asked.is_set()
            )  # read before the fetch: what was committed before the stop is still sent
            self._awake.clear()
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                rows = await outbox.fetch_unpublished_all(connection, self._batch)
            if not rows:
                self._show(0.0)
                self._metrics.outbox_depth.set(0)
                if stopping:
                    return
                await self._wait(self._poll_s)
                continue
            self._show(max(0.0, (self._clock.now_ns() - min(row.ts for row in rows)) / 1e9))
            if await self._publish(rows):
                pause_s = PAUSE_S_MIN
                async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                    await outbox.mark_published_all(connection, {row.stream_id: row.position for row in rows})
                self._published.inc(len(rows))
                self._metrics.outbox_depth.set(0 if len(rows) < self._batch else len(rows))
                if (
                    len(rows) < self._batch
                ):  # the rows of the next moments go together: one round costs the same for all
                    await asyncio.sleep(0.002)
            else:
                await self._show_depth(connection)
                if stopping:
                    return
                await self._rest(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)

    async def _publish(self, rows: list[outbox.OutboxRow]) -> bool:
        messages = [Message(row.type, row.body, row.event_id) for row in rows]
        try:
            # the outer limit guards against a bus that forgets its own
            with span("publish", {"events": len(messages)}):
                async with asyncio.timeout(2 * self._publish_timeout_s):
                    await self._bus.publish_all(messages, self._publish_timeout_s)
        except (MarketMakerError, OSError, TimeoutError) as error:
            self._failed("bus", error)
            return False
        return True

    async def _show_depth(self, connection: outbox.Connection) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._depth_due:
            self._depth_due = now_s + DEPTH_EVERY_S
            async with asyncio.timeout(STATEMENT_TIMEOUT_S):
                self._metrics.outbox_depth.set((await outbox.depth(connection)).rows)

    def _show(self, lag_s: float) -> None:
        self.lag_s = lag_s
        self._metrics.relay_lag_seconds.set(lag_s)
        self._metrics.bus_connected.set(self._bus.connected)
        self._metrics.events_unroutable.set(self._bus.unroutable)

    def _failed(self, dependency: str, error: BaseException) -> None:
        self._metrics.relay_failures.labels(dependency).inc()
        self._metrics.bus_connected.set(self._bus.connected)
        log.warning("relay_waits", dependency=dependency, reason=mask_secrets(f"{type(error).__name__}: {error}"))

    async def _wait(self, seconds: float) -> None:
        """Wait for `wake`, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    async def _rest(self, seconds: float) -> None:
        """Wait after a failure, with jitter; being told to stop cuts it short."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds * random.uniform(0.5, 1.0)):
                await self._stop_asked.wait()
