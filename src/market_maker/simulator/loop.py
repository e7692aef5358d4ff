"""The single writer of one pair: drain commands, step the exchange, one transaction, then answer everyone.

It owns time, the queue and durability of its pair. An answer is given only after the commit. Whatever goes
wrong with a commit, memory is thrown away and read back from the database: start-up and recovery are one path.

Longer than 500 lines because a batch's way from the queue to its answers is read in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, MarketMakerError, Unavailable
from market_maker.domain.events import Event, EventType, position_data
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.order import Order, OrderStatus, Placed
from market_maker.domain.position import describe_position
from market_maker.domain.units import NS_PER_SECOND
from market_maker.messaging.topics import outbox_event
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.monitoring.tracing import commit_span
from market_maker.risk.guard import OrderGuard
from market_maker.simulator.books import Books
from market_maker.simulator.commands import ActionCommand, PlaceCommand
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.played import Player
from market_maker.simulator.recovery import RecordingLostError, SessionRow, load_exchange, session_row
from market_maker.storage.database import Connection, Database
from market_maker.storage.simulation import (
    PRUNE_LOG,
    SAVE_CHECKPOINT,
    WRITER_SETTINGS,
    Batch,
    IdempotencyKey,
    LogRow,
    commit_batch,
    find_keys,
    get_order,
)
from market_maker.venue.changes import Changes
from market_maker.venue.funds import AccountFunds

_REMEMBERED_KEYS = 50_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0
CHECKPOINT_NS = 10 * NS_PER_SECOND
CHECKPOINT_COMMANDS = 20_000
"""The market is written whole after so much time of the clock or so many commands: what a restart has to do again."""
_STOP_S = 10.0

Observer = Callable[[SimulatedExchange, Changes], None]
"""Called after each commit with what changed; must be quick and never raise."""
Loader = Callable[[Connection, SimulatedExchange], Awaitable[None]]
"""Called with an exchange that was just read back: puts those who act on it back in their places."""


class PairLoop:
    """Runs one pair's simulated market.

    Parameters
    ----------
    database, metrics, clock : shared by the process
    session : the market to run; its instrument comes with it
    funds : account id -> its funds, shared by all pairs of the process
    batch_max : most commands of one commit
    queue_max : commands waiting beyond which new ones are refused with Unavailable
    after_commit : called after each commit that wrote events (wakes the relay)
    """

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        clock: SystemClock,
        session: SessionRow,
        funds: dict[UUID, AccountFunds],
        *,
        batch_max: int,
        queue_max: int,
        after_commit: Callable[[], None],
    ) -> None:
        self.database = database
        self.metrics = metrics
        self.clock = clock
        self.session = session
        self.instrument = session.instrument
        self.funds = funds
        self.observers: list[Observer] = []
        self.loaders: list[Loader] = []
        self.guard: OrderGuard | None = None
        self.books = Books()
        self.exchange: SimulatedExchange | None = None
        self.failure = "the market is starting"
        self.recording_is_lost = False
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._after_commit = after_commit
        self._queue: deque[PlaceCommand | ActionCommand] = deque()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._waiting: dict[UUID, list[tuple[PlaceCommand, Placed]]] = {}
        self._keys: OrderedDict[tuple[UUID, str], tuple[bytes, UUID]] = OrderedDict()
        self._connection: Connection | None = None
        self._stream_id = 0
        self._last_ts = 0
        self._checkpoint_ts = 0
        self._logged = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("simulator").bind(pair=self.instrument.symbol)
        self._commit_seconds = metrics.commit_seconds
        self._queue_gauge = metrics.command_queue.labels(self.instrument.symbol)

    # ------------------------------------------------------------------ for the service

    async def start(self, wait_s: float = 30.0) -> None:
        """Load the committed state and begin; returns when the market runs, raises Unavailable after `wait_s`."""
        self._task = asyncio.create_task(self._run(), name=f"pair {self.instrument.symbol}")
        try:
            await asyncio.wait_for(self._ready.wait(), wait_s)
        except TimeoutError:
            raise Unavailable(self.failure) from None

    async def stop(self) -> None:
        """End after the commit in progress and write the market whole; what waits in the queue is refused."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            if self.exchange is not None:
                await asyncio.wait([self._task], timeout=_STOP_S)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._refuse_all(Unavailable("the service is stopping"))
        if self._connection is not None:
            await self._connection.close()

    async def end_unopened(self, player: Player) -> SimulatedExchange:
        """End a session whose recording cannot be opened, and return its exchange: orders are cancelled, the rest is kept.

        Parameters
        ----------
        player : opens what stands in for the recording

        When that fails the loop goes on trying to open the recording.
        """
        await self.stop()
        row, self.session = self.session, replace(self.session, player=player)
        try:
            await self._load()
            assert self.exchange is not None
            self.exchange.end_session(self._next_ts())
            await self._commit(self.exchange.take_changes(), [], [])
        except MarketMakerError as error:
            self._lose(error if isinstance(error, Unavailable) else Unavailable(error.detail))
            self.session, self._stopping = row, False
            self._task = asyncio.create_task(self._run(), name=f"pair {self.instrument.symbol}")
            raise
        return self.exchange

    def place(self, command: PlaceCommand) -> None:
        """Queue an order; its answer comes through the command's future."""
        self._enqueue(command)

    async def act(self, action: Callable[[SimulatedExchange, int], Any]) -> Any:
        """Run `action(exchange, ts)` between two steps and return its result once it is durable."""
        command = ActionCommand(action, asyncio.get_running_loop().create_future())
        self._enqueue(command)
        return await command.answer

    async def act_and_record(
        self, action: Callable[[SimulatedExchange, int, list[tuple[str, tuple[Any, ...]]]], Any]
    ) -> Any:
        """As `act`, for actions that add SQL statements of their own to the transaction."""
        command = ActionCommand(lambda *_: None, asyncio.get_running_loop().create_future())
        command.action = lambda exchange, ts: action(exchange, ts, command.statements)
        self._enqueue(command)
        return await command.answer

    async def committed(self) -> SimulatedExchange:
        """Return the exchange at an instant when all of its state is durable; for reading only, at once."""
        while not self._settled.is_set():
            await self._settled.wait()
        if self.exchange is None:
            raise Unavailable(self.failure)
        return self.exchange

    def _enqueue(self, command: PlaceCommand | ActionCommand) -> None:
        if self.exchange is None or len(self._queue) >= self._queue_max:
            self.metrics.commands_refused.labels(Unavailable.__name__).inc()
            full = f"{len(self._queue)} commands wait for this pair already; try again"
            raise Unavailable(self.failure if self.exchange is None else full)
        self._queue.append(command)
        self._wake.set()

    # ------------------------------------------------------------------ the loop

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await self._load()
                pause = _FIRST_PAUSE_S
                while not self._stopping:
                    await self._wait_for_work()
                    if not self._stopping:
                        await self._step()
                await self._commit(Changes(), [], [], checkpoint=True)
                return
            except Unavailable as error:
                self._lose(error)
                self._log.warning("market interrupted", reason=error.detail)
            except Exception as error:  # noqa: BLE001  (whatever it was, memory is not to be trusted any more)
                self._lose(Unavailable("the market is being restored after an internal fault"))
                self._log.exception("market fault; state is read back", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _load(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        self._connection = await self.database.connect()
        await self._connection.execute(WRITER_SETTINGS)
        loaded = await load_exchange(self._connection, self.session, self.funds)
        self._stream_id = loaded.stream_id
        self._keys.clear()
        self._last_ts = loaded.last_ts
        self.clock.not_before(loaded.last_ts)
        for load in self.loaders:
            await load(self._connection, loaded.exchange)
        self.exchange = loaded.exchange
        self.exchange.stand_still()
        self._checkpoint_ts, self._logged = loaded.last_ts, 0
        if loaded.fault:
            self._log.warning("the market was not as it had been committed; it goes on", reason=loaded.fault)
        if loaded.changes is not None:
            await self._commit(loaded.changes, [], [], checkpoint=True)
        self._ready.set()

    def _lose(self, error: Unavailable) -> None:
        self.exchange = None
        self.failure = error.detail
        self.recording_is_lost = isinstance(error, RecordingLostError)
        self._refuse_all(error)
        self._settled.set()

    def _refuse_all(self, error: Unavailable) -> None:
        answers = [command.answer for command in self._queue]
        answers += [command.answer for waiting in self._waiting.values() for command, _ in waiting]
        self._queue.clear()
        self._waiting.clear()
        for answer in answers:
            if not answer.done():
                self.metrics.commands_refused.labels(type(error).__name__).inc()
                answer.set_exception(error)

    async def _wait_for_work(self) -> None:
        """Sleep until a command comes or something is due."""
        assert self.exchange is not None
        if self._queue:
            return
        self._wake.clear()
        if self._stopping:
            return
        timer = None
        if self.exchange.session.state == "RUNNING":
            delay = max(0, self.exchange.next_due_ts() - self.clock.now_ns()) / 1e9
            timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        await self._wake.wait()
        if timer is not None:
            timer.cancel()

    async def _step(self) -> None:
        """Take one batch from the queue to its answers."""
        assert self.exchange is not None and self._connection is not None
        exchange = self.exchange
        commands = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_max))]
        self._queue_gauge.set(len(self._queue))
        answers: list[tuple[PlaceCommand | ActionCommand, Any]] = []
        try:
            await self._recall_keys(commands)
            self._settled.clear()
            now = self._next_ts()
            if exchange.session.state == "RUNNING":
                started = time.perf_counter()
                exchange.advance_to(now)
                self.metrics.book_update_seconds.observe(time.perf_counter() - started)
            keys: list[IdempotencyKey] = []
            statements: list[tuple[str, tuple[Any, ...]]] = []
            for command in commands:
                try:
                    result = await self._apply(command, exchange, keys)
                except MarketMakerError as error:
                    self.metrics.commands_refused.labels(type(error).__name__).inc()
                    if not command.answer.done():
                        command.answer.set_exception(error)
                    continue
                if isinstance(command, ActionCommand):
                    statements += command.statements
                answers.append((command, result))
            changes = exchange.take_changes()
            if not changes.is_empty() or statements:
                await self._commit(changes, keys, statements)
        except BaseException as error:
            refusal = error if isinstance(error, Unavailable) else Unavailable("the market is being restored")
            for command in commands:
                if not command.answer.done():
                    command.answer.set_exception(refusal)
            raise
        self._settled.set()
        self._answer(answers, changes)
        # Whoever was answered, or waits for a settled market, looks at it now: the next step changes the same objects.
        await asyncio.sleep(0)

    async def _apply(
        self, command: PlaceCommand | ActionCommand, exchange: SimulatedExchange, keys: list[IdempotencyKey]
    ) -> Any:
        ts = self._next_ts()
        if isinstance(command, ActionCommand):
            return command.action(exchange, ts)
        if command.key is not None:
            known = self._keys.get((command.account_id, command.key))
            if known is not None:
                return await self._first_answer(command, *known)
        if exchange.session.state == "STOPPED":
            raise Conflict("the market has just been stopped; start one by POST /api/v1/simulator/sessions")
        if self.guard is not None and self.guard.active:
            self.guard.check(command, exchange.venue, ts)
        order = self._new_order(command, exchange, ts)
        exchange.venue.accept(order, command.correlation_id)
        if command.key is not None:
            self._remember(command.account_id, command.key, command.body_hash, order.order_id)
            keys.append(IdempotencyKey(command.account_id, command.key, command.body_hash, order.order_id, ts))
        return Placed(order, created=True, first_status=order.status)

    def _new_order(self, command: PlaceCommand, exchange: SimulatedExchange, ts: int) -> Order:
        position = exchange.venue.position_for(command.account_id, command.strategy_id)
        return Order(
            order_id=command.order_id,
            pair_id=self.instrument.pair_id,
            account_id=command.account_id,
            strategy_id=command.strategy_id,
            position_id=position.position_id,
            client_order_id=command.client_order_id,
            side=command.side,
            order_type=command.order_type,
            time_in_force=command.time_in_force,
            post_only=command.post_only,
            price_ticks=command.price_ticks,
            qty_lots=command.qty_lots,
            execution_probability=command.execution_probability,
            price_impact=command.price_impact,
            created_ts=ts,
            arrival_ts=exchange.arrival_ts(ts),
            expire_ts=command.expire_ts,
            stop_ticks=command.stop_ticks,
            display_lots=command.display_lots,
            self_trade=command.self_trade,
        )

    def _next_ts(self) -> int:
        """Return an instant later than all before: every command has a time of its own, so arrival is FIFO."""
        self._last_ts = max(self.clock.now_ns(), self._last_ts + 1)
        return self._last_ts

    # ------------------------------------------------------------------ idempotency

    async def _recall_keys(self, commands: list[PlaceCommand | ActionCommand]) -> None:
        """Bring the stored keys of this batch into memory."""
        unknown = [
            (command.account_id, command.key)
            for command in commands
            if isinstance(command, PlaceCommand)
            and command.key is not None
            and (command.account_id, command.key) not in self._keys
        ]
        if unknown:
            assert self._connection is not None
            for found in await find_keys(self._connection, unknown):
                self._remember(found["account_id"], found["key"], found["body_hash"], found["order_id"])

    def _remember(self, account_id: UUID, key: str, body_hash: bytes, order_id: UUID) -> None:
        self._keys[(account_id, key)] = (body_hash, order_id)
        while len(self._keys) > _REMEMBERED_KEYS + self._batch_max:
            self._keys.popitem(last=False)

    async def _first_answer(self, command: PlaceCommand, body_hash: bytes, order_id: UUID) -> Placed:
        if body_hash != command.body_hash:
            raise Conflict(f"the key {command.key} was used before with another order ({order_id})")
        assert self.exchange is not None
        order = self.exchange.venue.orders.get(order_id) or self._in_batch(order_id)
        if order is None:
            order = await get_order(self.database, order_id)
        if order is None:
            raise Unavailable("the first order of this key is still being written; try again")
        first = OrderStatus.REJECTED if order.arrival_ts == 0 else OrderStatus.PENDING_NEW
        return Placed(order, created=False, first_status=first)

    def _in_batch(self, order_id: UUID) -> Order | None:
        assert self.exchange is not None
        changes = self.exchange.changes
        recent = changes.changed_orders.get(order_id)
        return recent or next((order for order in changes.new_orders if order.order_id == order_id), None)

    # ------------------------------------------------------------------ commit and answers

    async def _commit(
        self,
        changes: Changes,
        keys: list[IdempotencyKey],
        statements: list[tuple[str, tuple[Any, ...]]],
        *,
        checkpoint: bool = False,
    ) -> None:
        assert self.exchange is not None and self._connection is not None
        exchange = self.exchange
        self._settled.clear()
        started = time.perf_counter()
        statements = statements + changes.statements
        log = self._log_rows(exchange, changes)
        checkpoint = checkpoint or changes.is_rewritten or self._logged >= CHECKPOINT_COMMANDS
        if checkpoint or self._last_ts - self._checkpoint_ts >= CHECKPOINT_NS:
            statements = statements + self._checkpoint(exchange)
        is_new = {order.order_id for order in changes.new_orders}
        positions = [self._position_event(exchange, key, changes.causes.get(key)) for key in changes.positions]
        events = changes.events + positions
        batch = Batch(
            stream_id=self._stream_id,
            new_orders=changes.new_orders,
            changed_orders=[
                order
                for key, order in changes.changed_orders.items()
                if key not in is_new and key not in changes.reshaped
            ],
            reshaped_orders=[
                order for key, order in changes.changed_orders.items() if key in changes.reshaped and key not in is_new
            ],
            fills=changes.fills,
            positions=list(changes.positions.values()),
            keys=keys,
            prices=[(self.instrument.pair_id, ts, mid) for ts, mid in changes.mids],
            events=[outbox_event(event) for event in events if event is not None],
            session=session_row(exchange, self._last_ts),
            log=log,
            statements=statements,
        )
        with commit_span(self.instrument.symbol, len(changes.new_orders), changes.events):
            await commit_batch(self._connection, batch)
        self._settled.set()
        self._measure(changes, time.perf_counter() - started)
        self._after_commit()
        for observer in self.observers:
            observer(exchange, changes)

    def _log_rows(self, exchange: SimulatedExchange, changes: Changes) -> list[LogRow]:
        if not changes.commands:
            return []
        exchange.log_number += 1
        self._logged += len(changes.commands)
        packed = b"".join(changes.commands)
        return [LogRow(exchange.session.session_id, exchange.log_number, exchange.last_ts, packed)]

    def _checkpoint(self, exchange: SimulatedExchange) -> list[tuple[str, tuple[Any, ...]]]:
        """Return the statements that write the market whole, and drop the log that it makes superfluous.

        They are done before the batch's own rows: of the log up to the last commit nothing is left, and of this one's row,
        which the checkpoint contains already, no restart takes notice.
        """
        self._checkpoint_ts, self._logged = self._last_ts, 0
        session_id, number = exchange.session.session_id, exchange.log_number
        market = exchange.market
        return [
            (SAVE_CHECKPOINT, (session_id, number, market.clock_ts, market.dump())),
            (PRUNE_LOG, (session_id, number)),
        ]

    def _position_event(self, exchange: SimulatedExchange, position_id: UUID, cause: str | None) -> Event | None:
        state = exchange.venue.positions[position_id]
        if state.account_id == MARKET_ACCOUNT_ID:
            return None
        state.updated_ts = self._last_ts
        position = describe_position(state, self.instrument, exchange.market.reference_ticks)
        return Event(
            EventType.POSITION_UPDATED,
            position_id,
            state.version,
            self._last_ts,
            cause or str(position_id),
            position_data(position),
        )

    def _measure(self, changes: Changes, seconds: float) -> None:
        self._commit_seconds.observe(seconds)
        if changes.new_orders:
            self.metrics.commit_batch_orders.observe(len(changes.new_orders))
            self.metrics.simulated_orders.inc(len(changes.new_orders))
        statuses = Counter([order.status for order in (*changes.new_orders, *changes.changed_orders.values())])
        for status, count in statuses.items():
            self.metrics.orders.labels(status.name).inc(count)
        if changes.fills:
            self.metrics.simulated_trades.inc(len(changes.fills))
            value = sum(fill.price_ticks * fill.qty_lots for fill in changes.fills)
            volume = self.metrics.virtual_volume.labels(Mode.SIMULATION, self.instrument.quote)
            volume.inc(float(self.instrument.cash_to_decimal(value)))

    def _answer(self, answers: list[tuple[PlaceCommand | ActionCommand, Any]], changes: Changes) -> None:
        for command, result in answers:
            if command.answer.done():
                continue
            if isinstance(command, PlaceCommand) and command.wait and result.order.status is OrderStatus.PENDING_NEW:
                self._waiting.setdefault(result.order.order_id, []).append((command, result))
            else:
                command.answer.set_result(result)
        if self._waiting:
            assert self.exchange is not None
            if self.exchange.session.state != "RUNNING":  # nothing will become of them for now: they are told so
                for command, placed in [each for waiting in self._waiting.values() for each in waiting]:
                    if not command.answer.done():
                        command.answer.set_result(placed)
                self._waiting.clear()
            for order in changes.changed_orders.values():
                if order.status is not OrderStatus.PENDING_NEW:
                    for command, placed in self._waiting.pop(order.order_id, ()):
                        if not command.answer.done():
                            command.answer.set_result(replace(placed, order=order))
