"""SimulatorService: the exchange of our own, by the specification's operations.

It owns the loops of all pairs, sessions and recordings; it turns Decimal into ticks and lots. What happens to an
order is decided in `venue`, what is written in `loop`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from market_maker.domain.book import BookSnapshot
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, new_id
from market_maker.domain.instrument import MAX_TICK_LOTS
from market_maker.domain.modes import TestMode
from market_maker.domain.order import NewOrder, Order, OrderType, Placed, Side, TimeInForce
from market_maker.domain.units import NS_PER_SECOND
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.settings import SimulatorSettings
from market_maker.simulator.commands import PlaceCommand
from market_maker.simulator.exchange import Session, SimulatedExchange
from market_maker.simulator.loop import PairLoop
from market_maker.simulator.quality import MarketQuality
from market_maker.simulator.recording import Recordings
from market_maker.simulator.recovery import SessionRow, session_data
from market_maker.storage import simulation
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import Account, Pair, ReferenceData
from market_maker.venue.funds import AccountFunds

MAX_DEPTH = 1000


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """How an order is placed: the key that makes it repeatable, who asked, and whether to wait for the outcome."""

    key: str | None = None
    body_hash: bytes = b""
    correlation_id: str = ""
    wait: bool = False


class SimulatorService:
    """The simulated exchange.

    Parameters
    ----------
    database, reference, metrics, clock : shared by the process
    settings : section `simulator`
    lake, spool : where recordings are published, and where they grow until then
    after_commit : called after each commit that wrote events
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        metrics: Metrics,
        clock: SystemClock,
        settings: SimulatorSettings,
        *,
        lake: Lake,
        spool: Path,
        after_commit: Callable[[], None],
    ) -> None:
        self.database = database
        self.reference = reference
        self.metrics = metrics
        self.clock = clock
        self.settings = settings
        self.funds: dict[UUID, AccountFunds] = {}
        self.loops: dict[UUID, PairLoop] = {}
        self.recordings = Recordings(database, lake, spool, clock)
        self._after_commit = after_commit
        self._placing: dict[tuple[UUID, str], UUID] = {}
        self._place_seconds = metrics.operation_seconds.labels(Mode.SIMULATION, "place_order")
        self._cancel_seconds = metrics.operation_seconds.labels(Mode.SIMULATION, "cancel_order")

    async def start(self) -> None:
        """Restore every session that was not stopped; the default pair's is made when it has none."""
        rows = await self.database.fetch("SELECT pair_id FROM sessions WHERE state <> 'STOPPED'")
        wanted = {row["pair_id"] for row in rows}
        if not wanted and not await self.database.fetch("SELECT 1 FROM sessions LIMIT 1"):
            wanted = {pair.instrument.pair_id for pair in self.reference.pairs() if pair.initial_price is not None}
        for pair_id in sorted(wanted):
            await self._start_loop(await self.reference.pair(pair_id), {})

    async def stop(self) -> None:
        """Stop all loops after their commits in progress; recordings stay to be gone on with."""
        await asyncio.gather(*(loop.stop() for loop in self.loops.values()))
        self.recordings.suspend()

    # ------------------------------------------------------------------ the specification's operations

    async def place_simulated_order(self, order: NewOrder, options: PlaceOptions = PlaceOptions()) -> Placed:
        """Place an order; returns once it is durable, or with `wait` once the venue has handled it.

        Raises
        ------
        InvalidRequest : a field is wrong
        NotFound : pair, strategy or account does not exist
        Conflict : the key was used with another order, or no market runs for the pair
        Unavailable : the database is down or the queue is full; nothing is known to have been done
        """
        loop = await self._loop(order.pair_id)
        command = await self._command(order, options, loop)
        key = None if command.key is None else (command.account_id, command.key)
        if key is not None and self._placing.setdefault(key, order.pair_id) != order.pair_id:
            raise Conflict(f"the key {command.key} is being used with an order for another pair")
        started = time.perf_counter()
        try:
            loop.place(command)
            placed: Placed = await command.answer
            self._place_seconds.observe(time.perf_counter() - started)
            return placed
        finally:
            if key is not None:
                self._placing.pop(key, None)

    async def cancel_simulated_order(self, order_id: UUID, *, wait: bool = False, correlation_id: str = "") -> Order:
        """Ask for an order to be cancelled; durable on return, with `wait` also carried out.

        Raises
        ------
        NotFound : no such order
        Conflict : the order has ended already
        """
        loop = next((each for each in self.loops.values() if self._has(each, order_id)), None)
        if loop is None:
            stored = await simulation.get_order(self.database, order_id)
            if stored is None:
                raise NotFound.of("order", "order_id", str(order_id))
            if not stored.status.is_open:
                raise Conflict(f"order {order_id} has ended already: {stored.status.name}")
            loop = await self._loop(stored.pair_id)

        def cancel(exchange: SimulatedExchange, ts: int) -> Order:
            order = exchange.venue.orders.get(order_id)
            if order is None:
                raise Conflict(f"order {order_id} has ended already")
            arrival_ts = ts + exchange.session.execution_delay_ns
            exchange.venue.request_cancel(order, ts, arrival_ts, correlation_id)
            return order

        started = time.perf_counter()
        order: Order = await loop.act(cancel)
        self._cancel_seconds.observe(time.perf_counter() - started)
        return await self._outcome(loop, order) if wait else order

    async def _outcome(self, loop: PairLoop, order: Order) -> Order:
        """Return an order once it has ended, or as it is when it has not a second after its cancel was due."""
        deadline_ts = order.cancel_arrival_ts + NS_PER_SECOND
        while self.clock.now_ns() < deadline_ts and self._has(loop, order.order_id):
            until_due_s = (order.cancel_arrival_ts - self.clock.now_ns()) / NS_PER_SECOND
            await asyncio.sleep(max(0.002, until_due_s))
        await loop.committed()
        stored = await simulation.get_order(self.database, order.order_id)
        return order if stored is None else stored

    async def cancel_all(self, pair_id: UUID | None, *, correlation_id: str = "") -> int:
        """Ask for all open orders (of one pair) to be cancelled; return how many wishes were noted."""

        def cancel(exchange: SimulatedExchange, ts: int) -> int:
            arrival_ts = ts + exchange.session.execution_delay_ns
            wanted = [order for order in exchange.venue.orders.values() if not order.cancel_arrival_ts]
            for order in wanted:
                exchange.venue.request_cancel(order, ts, arrival_ts, correlation_id)
            return len(wanted)

        loops = list(self.loops.values()) if pair_id is None else [await self._loop(pair_id)]
        return sum([await loop.act(cancel) for loop in loops])

    async def get_simulated_order_book(self, pair_id: UUID, depth: int = 20) -> BookSnapshot:
        """Return the committed book of a pair, `depth` levels a side (1 to 1000)."""
        if not 1 <= depth <= MAX_DEPTH:
            raise InvalidRequest.of("depth", depth, f"a whole number from 1 to {MAX_DEPTH}")
        loop = await self._loop(pair_id)
        exchange = await loop.committed()
        return loop.books.get(exchange, depth)

    async def execute_simulated_trade(
        self, pair_id: UUID, aggressor: Side, price: Decimal, amount: Decimal
    ) -> list[str]:
        """Make a trade of the market happen; return the ids of its prints.

        Resting orders at `price` or better are filled first; what is left is printed at `price`.
        """
        loop = await self._loop(pair_id)
        price_ticks = loop.instrument.price_to_ticks(price)
        qty_lots = loop.instrument.qty_to_lots(amount)
        _check_value(price_ticks, qty_lots)

        def execute(exchange: SimulatedExchange, ts: int) -> list[str]:
            before = len(exchange.changes.prints)
            exchange.execute_trade(aggressor, price_ticks, qty_lots, ts)
            return [str(trade.trade_id) for trade in exchange.changes.prints[before:]]

        trades: list[str] = await loop.act(execute)
        return trades

    # ------------------------------------------------------------------ sessions

    async def get_sessions(self) -> list[dict[str, Any]]:
        """Return all sessions that run or pause."""
        return [self._session_data(await loop.committed()) for loop in list(self.loops.values())]

    async def get_session(self, session_id: UUID) -> dict[str, Any]:
        """Return a session that runs or pauses; NotFound for any other."""
        return self._session_data(await self.session_loop(session_id).committed())

    async def start_session(self, pair_id: UUID, **wishes: Any) -> dict[str, Any]:
        """Start a market for a pair that has none and return it. `wishes` that are not None override the settings."""
        pair = await self.reference.pair(pair_id)
        if pair_id in self.loops:
            raise Conflict(f"a session runs for pair {pair_id} already")
        loop = await self._start_loop(pair, wishes)
        return self._session_data(await loop.committed())

    async def record(self, session_id: UUID, wanted: bool) -> None:
        """Begin to record a session, or end its recording and publish it to the lake."""
        loop = self.session_loop(session_id)
        if wanted:
            await self.recordings.start(loop)
        else:
            await self.recordings.stop(loop)

    def _session_data(self, exchange: SimulatedExchange) -> dict[str, Any]:
        session_id = exchange.session.session_id
        return {
            **session_data(exchange),
            "recording": self.recordings.is_active(session_id),
            "recorded_events": self.recordings.rows(session_id),
        }

    async def set_session_state(self, session_id: UUID, state: str) -> dict[str, Any]:
        """Set a session RUNNING or PAUSED, or STOPPED for good (open orders are cancelled); return it."""
        loop = self.session_loop(session_id)

        def change(exchange: SimulatedExchange, ts: int) -> None:
            venue = exchange.venue
            if state == "STOPPED":
                venue.end_all(ts)
            exchange.session.state = state
            venue.session_sequence += 1
            data = {"session_id": str(session_id), "state": state}
            event = Event(EventType.SESSION_CHANGED, session_id, venue.session_sequence, ts, str(session_id), data)
            exchange.changes.events.append(event)
            exchange.changes.session_changed = True

        await loop.act(change)
        exchange = await loop.committed()
        data = self._session_data(exchange)
        if state == "STOPPED":
            try:
                if self.recordings.is_active(session_id):
                    await self.recordings.stop(loop)
            finally:
                await loop.stop()
                del self.loops[loop.instrument.pair_id]
        return data

    def session_loop(self, session_id: UUID) -> PairLoop:
        """Return the loop that runs a session or raise NotFound."""
        for loop in self.loops.values():
            if loop.exchange is not None and loop.exchange.session.session_id == session_id:
                return loop
        raise NotFound.of("running session", "session_id", str(session_id))

    async def _start_loop(self, pair: Pair, wishes: dict[str, Any]) -> PairLoop:
        loop = PairLoop(
            self.database,
            self.metrics,
            self.clock,
            SessionRow(pair.instrument, self._first_session(pair, wishes)),
            self.funds,
            batch_max=self.settings.commit_batch_max,
            queue_max=self.settings.queue_max,
            after_commit=self._after_commit,
        )
        await loop.start()
        self.loops[pair.instrument.pair_id] = loop
        assert loop.exchange is not None
        loop.observers.append(MarketQuality(self.metrics, pair.instrument.symbol).observe)
        self.recordings.resume(loop)
        return loop

    def _first_session(self, pair: Pair, wishes: dict[str, Any]) -> Session:
        mode = wishes.get("mode") or TestMode.NORMAL
        if mode not in self.settings.test_modes:
            raise InvalidRequest.of("mode", mode.value, ", ".join(self.settings.test_modes))
        if mode is TestMode.STRESS:
            raise InvalidRequest.of("mode", mode.value, "NORMAL or CUSTOM; scenarios of stress are not available yet")
        price = wishes.get("initial_price") or pair.initial_price
        if price is None:
            raise InvalidRequest.of("initial_price", None, "a price, as the pair has none of its own")
        deviation = wishes.get("price_deviation")
        delay, interval = wishes.get("execution_delay_ns"), wishes.get("market_update_interval_ns")
        seed = wishes.get("seed")
        now = self.clock.now_ns()
        return Session(
            session_id=new_id(),
            pair_id=pair.instrument.pair_id,
            mode=mode,
            seed=self.settings.seed if seed is None else seed,
            state="RUNNING",
            price_deviation=self.settings.price_deviation if deviation is None else deviation,
            execution_delay_ns=self.settings.execution_delay if delay is None else delay,
            market_update_interval_ns=self.settings.market_update_interval if interval is None else interval,
            initial_price_ticks=pair.instrument.price_to_ticks(price, "initial_price"),
            created_ts=now,
            updated_ts=now,
        )

    # ------------------------------------------------------------------ accounts

    def add_account(self, account: Account) -> None:
        """Let a new account trade."""
        self.funds[account.account_id] = AccountFunds(account.account_id, account.initial_balance)

    # ------------------------------------------------------------------ validation

    async def _loop(self, pair_id: UUID) -> PairLoop:
        loop = self.loops.get(pair_id)
        if loop is None:
            pair = await self.reference.pair(pair_id)
            raise Conflict(
                f"no simulated market runs for {pair.instrument.symbol}; start one by POST /api/v1/simulator/sessions"
            )
        return loop

    @staticmethod
    def _has(loop: PairLoop, order_id: UUID) -> bool:
        return loop.exchange is not None and order_id in loop.exchange.venue.orders

    async def _command(self, order: NewOrder, options: PlaceOptions, loop: PairLoop) -> PlaceCommand:
        if order.strategy_id is not None:
            strategy = await self.reference.strategy(order.strategy_id)
            if strategy.pair_id != order.pair_id:
                raise InvalidRequest.of("strategy_id", str(order.strategy_id), f"a strategy for pair {order.pair_id}")
        account_id = order.account_id or DEFAULT_ACCOUNT_ID
        if account_id not in self.funds:
            self.add_account(await self.reference.account(account_id))
        price_ticks = check_order(order, loop)
        qty_lots = loop.instrument.qty_to_lots(order.amount)
        _check_value(price_ticks, qty_lots)
        return PlaceCommand(
            order_id=order.order_id,
            account_id=account_id,
            strategy_id=order.strategy_id,
            client_order_id=order.client_order_id,
            side=order.side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            post_only=order.post_only,
            price_ticks=price_ticks,
            qty_lots=qty_lots,
            execution_probability=order.execution_probability,
            price_impact=order.price_impact,
            expire_ts=order.expire_ts,
            key=options.key,
            body_hash=options.body_hash,
            correlation_id=options.correlation_id,
            wait=options.wait,
            answer=asyncio.get_running_loop().create_future(),
        )


def check_order(order: NewOrder, loop: PairLoop) -> int:
    """Return the price in ticks (0 for MARKET) of an order whose fields fit together, else raise InvalidRequest."""
    if not 0.0 <= order.execution_probability <= 1.0:
        raise InvalidRequest.of(
            "simulation_params.execution_probability", order.execution_probability, "a number from 0 to 1"
        )
    if not 0.0 <= order.price_impact <= 0.5:
        raise InvalidRequest.of("simulation_params.price_impact", order.price_impact, "a number from 0 to 0.5")
    if (order.time_in_force is TimeInForce.GTD) != (order.expire_ts > 0):
        raise InvalidRequest.of("expire_time", order.expire_ts or None, "an instant for GTD, and only for GTD")
    if order.order_type is OrderType.MARKET:
        if order.price is not None:
            raise InvalidRequest.of("price", str(order.price), "no price for a MARKET order")
        if order.time_in_force is TimeInForce.GTD or order.post_only:
            raise InvalidRequest.of("type", "MARKET", "LIMIT with GTD or post_only")
        return 0
    if order.price is None:
        raise InvalidRequest.of("price", None, "a price for a LIMIT order")
    if order.post_only and order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        raise InvalidRequest.of("post_only", True, "false for IOC and FOK")
    return loop.instrument.price_to_ticks(order.price)


def _check_value(price_ticks: int, qty_lots: int) -> None:
    if price_ticks * qty_lots > MAX_TICK_LOTS:
        raise InvalidRequest.of("amount", qty_lots, "an order whose price times amount is below 2**62 tick-lots")
