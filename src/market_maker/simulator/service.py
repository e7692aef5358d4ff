"""SimulatorService: the exchange of our own, by the specification's operations.

It owns the loops of all pairs, sessions and recordings; it turns Decimal into ticks and lots. What happens to an
order is decided in `venue`, what is written in `loop`.

Longer than 500 lines because the specification gives these operations to one component.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog

from market_maker.domain.book import BookSnapshot
from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, new_id
from market_maker.domain.modes import TestMode
from market_maker.domain.order import NewOrder, Order, Placed, SelfTradePrevention, Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.matching.codes import Phase
from market_maker.matching.compiled import compiled_matching
from market_maker.monitoring.metrics import Metrics, Mode
from market_maker.risk.guard import OrderGuard
from market_maker.settings import SimulatorSettings
from market_maker.simulator.accounts import Accounts
from market_maker.simulator.commands import PlaceCommand
from market_maker.simulator.control import MarketControl
from market_maker.simulator.design import seed_of_pair
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import Loader, Observer, PairLoop
from market_maker.simulator.lost_recording import LostPlayer, kept_exchange
from market_maker.simulator.played import Player
from market_maker.simulator.quality import MarketQuality
from market_maker.simulator.recording import Recordings
from market_maker.simulator.recovery import SessionRow, session_data, to_session
from market_maker.simulator.session import Playback, Session
from market_maker.simulator.tape import MarketTapes
from market_maker.simulator.validation import (
    check_new_session,
    check_order,
    check_playable_order,
    check_playback,
    check_speed,
    check_value,
    display_lots_of,
    session_rules,
)
from market_maker.storage import simulation
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import Pair, ReferenceData
from market_maker.strategies.compiling.apart import compile_apart, note_compiled
from market_maker.venue.changes import Changes
from market_maker.venue.market.compiled import compiled_market

MAX_DEPTH = 1000
START_S, PLAYED_START_S = 30.0, 5.0
"""How long a market may take to start, and how long the service's start waits for one that plays a recording."""
_MARK = "market.compiled"
_log = structlog.get_logger("simulator")


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
    player : opens recordings for sessions that play them; None: there are no such sessions
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
        player: Player | None = None,
    ) -> None:
        self.database = database
        self.reference = reference
        self.metrics = metrics
        self.clock = clock
        self.settings = settings
        self.loops: dict[UUID, PairLoop] = {}
        self.accounts = Accounts(database, reference, clock, self.loops, after_commit)
        self.funds = self.accounts.funds
        self.player = player
        self.guard: OrderGuard | None = None
        self.observers: list[Observer] = []
        self.recordings = Recordings(database, lake, spool, clock)
        self.control = MarketControl(self.session_loop, settings.test_modes)
        self.watchers: list[Observer] = []
        self.tapes = MarketTapes()
        self.loaders: list[Loader] = [self.tapes.load]
        self._after_commit = after_commit
        self._retiring: set[asyncio.Task[None]] = set()
        self._placing: dict[tuple[UUID, str], UUID] = {}
        self._starting: set[UUID] = set()
        self._place_seconds = metrics.operation_seconds.labels(Mode.SIMULATION, "place_order")
        self._cancel_seconds = metrics.operation_seconds.labels(Mode.SIMULATION, "cancel_order")

    async def start(self) -> None:
        """Restore every session that was not stopped; the default pair's is made when it has none."""
        await self.accounts.load()
        rows = await self.database.fetch(
            "SELECT pair_id, session_id, configuration ->> 'playback' IS NOT NULL AS is_played FROM sessions"
            " WHERE state <> 'STOPPED'"
        )
        stored = {row["pair_id"]: row["session_id"] for row in rows}
        wanted = set(stored)
        played = {row["pair_id"] for row in rows if row["is_played"]}
        if not wanted and not await self.database.fetch("SELECT 1 FROM sessions LIMIT 1"):
            wanted = {pair.instrument.pair_id for pair in self.reference.pairs() if pair.initial_price is not None}
        for pair_id in sorted(wanted):
            pair = await self.reference.pair(pair_id)
            # Of a market that is restored nothing but its id is used, so that any price will do.
            price = pair.initial_price or pair.instrument.tick_size
            first = self._first_session(pair, {"initial_price": price})
            first.session_id = stored.get(pair_id, first.session_id)
            # A recording that is gone, or slow to come, keeps nobody from anything but its own session.
            await self._start_loop(pair, first, wait_s=PLAYED_START_S if pair_id in played else START_S)

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
        loop = await self._loop_of(order_id)

        def cancel(exchange: SimulatedExchange, ts: int) -> Order:
            order = exchange.venue.orders.get(order_id)
            if order is None:
                raise Conflict(f"order {order_id} has ended already")
            exchange.venue.request_cancel(order, ts, exchange.arrival_ts(ts), correlation_id)
            return order

        started = time.perf_counter()
        order: Order = await loop.act(cancel)
        self._cancel_seconds.observe(time.perf_counter() - started)
        return await self._outcome(loop, order, "cancel_arrival_ts") if wait else order

    async def _loop_of(self, order_id: UUID) -> PairLoop:
        """Return the loop of an open order's pair."""
        loop = next((each for each in self.loops.values() if self._has(each, order_id)), None)
        if loop is None:
            stored = await simulation.get_order(self.database, order_id)
            if stored is None:
                raise NotFound.of("order", "order_id", str(order_id))
            if not stored.status.is_open:
                raise Conflict(f"order {order_id} has ended already: {stored.status.name}")
            loop = await self._loop(stored.pair_id)
        return loop

    async def _outcome(self, loop: PairLoop, order: Order, wish: str) -> Order:
        """Return an order once a wish for it was carried out, or as it is when it was not a second after it was due.

        `wish` : the field of the order that tells when it is due, and 0 when it was carried out
        """
        due_ts = self.clock.now_ns() + (0 if loop.exchange is None else loop.exchange.delay_ns)
        deadline_ts = due_ts + NS_PER_SECOND
        while self.clock.now_ns() < deadline_ts and self._has(loop, order.order_id):
            if not getattr(order, wish):
                break
            until_due_s = (due_ts - self.clock.now_ns()) / NS_PER_SECOND
            await asyncio.sleep(max(0.002, until_due_s))
        await loop.committed()
        stored = await simulation.get_order(self.database, order.order_id)
        return order if stored is None else stored

    async def amend_simulated_order(
        self,
        order_id: UUID,
        *,
        price: Decimal | None = None,
        amount: Decimal | None = None,
        stop_price: Decimal | None = None,
        wait: bool = False,
        correlation_id: str = "",
    ) -> Order:
        """Ask for an order to get another price, total amount or stop price; durable on return, with `wait` also decided.

        It keeps its place in the queue only if it shrinks. What the venue makes of it is told by events and by
        `amend_refusal` of the order.

        Raises
        ------
        InvalidRequest : nothing is named, or a field is wrong
        NotFound : no such order
        Conflict : the order has ended or is being amended already, or the account cannot afford the change
        """
        if price is None and amount is None and stop_price is None:
            raise InvalidRequest.of("price", None, "a price, an amount or a stop_price")
        loop = await self._loop_of(order_id)
        instrument = loop.instrument
        price_ticks = 0 if price is None else instrument.price_to_ticks(price)
        qty_lots = 0 if amount is None else instrument.qty_to_lots(amount)
        stop_ticks = 0 if stop_price is None else instrument.price_to_ticks(stop_price, "stop_price")

        def amend(exchange: SimulatedExchange, ts: int) -> Order:
            order = exchange.venue.orders.get(order_id)
            if order is None:
                raise Conflict(f"order {order_id} has ended already")
            if price_ticks and not order.order_type.has_price:
                raise InvalidRequest.of("price", str(price), f"no price for a {order.order_type} order")
            if stop_ticks and (not order.order_type.is_stop or order.triggered):
                raise InvalidRequest.of("stop_price", str(stop_price), "none for an order that waits for no stop price")
            if qty_lots and qty_lots < order.display_lots:
                raise InvalidRequest.of("amount", str(amount), "no less than the order displays")
            check_value(price_ticks or exchange.venue.order_price(order), qty_lots or order.qty_lots)
            if self.guard is not None and self.guard.active:
                self.guard.check_amended(order, exchange.venue, ts, price=price_ticks, lots=qty_lots, stop=stop_ticks)
            exchange.venue.request_amend(
                order, ts, exchange.arrival_ts(ts), correlation_id, price=price_ticks, lots=qty_lots, stop=stop_ticks
            )
            return order

        order: Order = await loop.act(amend)
        return await self._outcome(loop, order, "amend_arrival_ts") if wait else order

    async def cancel_all(
        self, pair_id: UUID | None, *, account_id: UUID | None = None, correlation_id: str = ""
    ) -> int:
        """Ask for all open orders (of one pair, of one account) to be cancelled; return how many wishes were noted."""

        def cancel(exchange: SimulatedExchange, ts: int) -> int:
            arrival_ts = exchange.arrival_ts(ts)
            orders = [order for order in exchange.venue.orders.values() if not order.cancel_arrival_ts]
            wanted = [order for order in orders if account_id is None or order.account_id == account_id]
            for order in wanted:
                exchange.venue.request_cancel(order, ts, arrival_ts, correlation_id)
            return len(wanted)

        loops = list(self.loops.values()) if pair_id is None else [await self._loop(pair_id)]
        count, unavailable = 0, list[Unavailable]()
        for loop in loops:
            try:
                count += await loop.act(cancel)
            except Unavailable as error:  # It must not keep the orders of other pairs from being cancelled.
                unavailable.append(error)
        if unavailable:
            raise unavailable[0]
        return count

    async def get_simulated_order_book(self, pair_id: UUID, depth: int = 20) -> BookSnapshot:
        """Return the committed book of a pair, `depth` levels a side (1 to 1000)."""
        if not 1 <= depth <= MAX_DEPTH:
            raise InvalidRequest.of("depth", depth, f"a whole number from 1 to {MAX_DEPTH}")
        loop = await self._loop(pair_id)
        exchange = await loop.committed()
        return loop.books.get(exchange, depth)

    async def get_queue_places(self, pair_id: UUID) -> list[dict[str, str]]:
        """Return where our resting orders of a pair stand in their queues, in the units of users."""
        loop = await self._loop(pair_id)
        exchange = await loop.committed()
        return [place.data(loop.instrument) for place in exchange.queue_places()]

    async def execute_simulated_trade(
        self, pair_id: UUID, aggressor: Side, price: Decimal, amount: Decimal
    ) -> list[str]:
        """Make a trade of the market happen; return the ids of its prints.

        Resting orders at `price` or better are filled first; what is left is printed at `price`.
        """
        loop = await self._loop(pair_id)
        price_ticks = loop.instrument.price_to_ticks(price)
        qty_lots = loop.instrument.qty_to_lots(amount)
        check_value(price_ticks, qty_lots)

        def execute(exchange: SimulatedExchange, ts: int) -> list[str]:
            before = len(exchange.changes.prints)
            exchange.execute_trade(aggressor, price_ticks, qty_lots, ts)
            return [str(trade.trade_id) for trade in exchange.changes.prints[before:]]

        trades: list[str] = await loop.act(execute)
        return trades

    # ------------------------------------------------------------------ sessions

    async def get_sessions(self, *, with_hash: bool = False) -> list[dict[str, Any]]:
        """Return all sessions that run or pause; with the hashes of their states, which take a second per 100,000 orders.

        One that is being restored is left out until it is there again, unless its recording cannot be opened.
        """
        found = []
        for loop in list(self.loops.values()):
            with contextlib.suppress(Unavailable):
                found.append(await self._told(loop, with_hash))
        return found

    async def get_session(self, session_id: UUID, *, with_hash: bool = False) -> dict[str, Any]:
        """Return a session that runs or pauses; NotFound for any other, Unavailable while it is being restored.

        One whose recording cannot be opened is returned as it was committed, with the reason as its `fault`.
        """
        return await self._told(self.session_loop(session_id), with_hash)

    async def _told(self, loop: PairLoop, with_hash: bool) -> dict[str, Any]:
        try:
            return self._session_data(await loop.committed(), with_hash)
        except Unavailable as error:
            session = await self._unopened(loop)
            if session is None:
                raise
            data = self._session_data(kept_exchange(loop.instrument, session), with_hash=False)
            open_orders = await simulation.count_open_orders(self.database, session.pair_id)
            return {**data, "open_orders": open_orders, "fault": error.detail}

    async def _unopened(self, loop: PairLoop) -> Session | None:
        """Return the stored session of a loop that cannot open its recording; None for any other."""
        # Of one that was lost for another reason nobody asks: the database may be down, and has been waited for once.
        if loop.exchange is not None or not loop.recording_is_lost:
            return None
        row = await simulation.find_session(self.database, loop.session.first.session_id)
        session = None if row is None else to_session(row)
        return session if session is not None and session.playback is not None and session.market else None

    async def start_session(self, pair_id: UUID, **wishes: Any) -> dict[str, Any]:
        """Start a market for a pair that has none and return it. `wishes` that are not None override the settings."""
        await self.reference.refresh_pairs()
        pair = await self.reference.pair(pair_id)
        if pair.instrument.inverse_scale:
            allowed = "a SPOT or LINEAR pair: money of a simulated market is in quote currency"
            raise InvalidRequest.of("pair_id", str(pair_id), allowed)
        plays = wishes.get("playback") is not None
        if plays and wishes.get("initial_price") is None:
            first = self._first_session(
                pair, wishes | {"initial_price": pair.instrument.tick_size}
            )  # until the recording tells
        else:
            first = self._first_session(pair, wishes)
        if plays:
            check_playback(wishes)
        for _ in range(500):
            if pair_id not in self.loops or not self._has_stopped(self.loops[pair_id]):
                break
            await asyncio.sleep(0.01)  # It is told as stopped a moment before it is gone.
        if pair_id in self.loops or pair_id in self._starting:
            raise Conflict(f"a session runs for pair {pair_id} already, or is being started")
        self._starting.add(pair_id)
        try:
            if first.playback is not None:
                first.initial_price_ticks = await self._first_price(pair, first.playback, first.seed)
            loop = await self._start_loop(pair, first)
        finally:
            self._starting.discard(pair_id)
        return self._session_data(await loop.committed())

    async def record(self, session_id: UUID, wanted: bool) -> None:
        """Begin to record a session, or end its recording and publish it to the lake."""
        loop = self.session_loop(session_id)
        if wanted:
            await self.recordings.start(loop)
        else:
            await self.recordings.stop(loop)

    def _session_data(self, exchange: SimulatedExchange, with_hash: bool = False) -> dict[str, Any]:
        session_id = exchange.session.session_id
        return {
            **session_data(exchange),
            "state_hash": exchange.state_hash() if with_hash else None,
            "recording": self.recordings.is_active(session_id),
            "recorded_events": self.recordings.rows(session_id),
        }

    async def set_session_state(self, session_id: UUID, state: str) -> dict[str, Any]:
        """Set a session RUNNING or PAUSED, or STOPPED for good (open orders are cancelled); return it."""
        loop = self.session_loop(session_id)

        def change(exchange: SimulatedExchange, ts: int) -> None:
            if state == "STOPPED":
                exchange.end_session(ts)
                return
            exchange.session.state = state
            exchange.stand_still()
            exchange.tell_session(ts)

        unopened = await self._unopened(loop) if state == "STOPPED" else None
        if unopened is not None:
            exchange = await loop.end_unopened(LostPlayer(msgspec.json.decode(unopened.market)))
        else:
            await loop.act(change)
            exchange = await loop.committed()
        data = self._session_data(exchange)
        if state == "STOPPED":
            try:
                if self.recordings.is_active(session_id):
                    await self.recordings.stop(loop)
            finally:
                await loop.stop()
                self.loops.pop(loop.instrument.pair_id, None)
        return data

    def _has_stopped(self, loop: PairLoop) -> bool:
        """Tell whether a market has been stopped for good."""
        return loop.exchange is not None and loop.exchange.session.state == "STOPPED"

    def session_loop(self, session_id: UUID) -> PairLoop:
        """Return the loop that runs a session or raise NotFound."""
        for loop in self.loops.values():
            if loop.session.first.session_id == session_id:
                return loop
        raise NotFound.of("running session", "session_id", str(session_id))

    async def _start_loop(self, pair: Pair, first: Session, *, wait_s: float = START_S) -> PairLoop:
        """Start a market; with a wait of PLAYED_START_S it may still be on its way, and goes on trying."""
        if first.playback is None:
            await _compile_market()
        loop = PairLoop(
            self.database,
            self.metrics,
            self.clock,
            SessionRow(pair.instrument, first, self.player),
            self.funds,
            batch_max=self.settings.commit_batch_max,
            queue_max=self.settings.queue_max,
            after_commit=self._after_commit,
        )
        loop.loaders += self.loaders
        loop.guard = self.guard
        loop.observers += self.observers
        try:
            await loop.start(wait_s)
        except Unavailable as error:
            if wait_s != PLAYED_START_S:
                await loop.stop()
                raise
            _log.warning("a recording is not played yet", pair=pair.instrument.symbol, reason=error.detail)
        self.loops[pair.instrument.pair_id] = loop
        loop.observers += [
            MarketQuality(self.metrics, pair.instrument.symbol).observe,
            self.tapes.observe,
            self._tell_watchers,
            self._retire,
        ]
        self.recordings.resume(loop)
        return loop

    async def _first_price(self, pair: Pair, playback: Playback, seed: int) -> int:
        """Open the recording of a session that is to come, or raise what is wrong with it; return its first mid in ticks."""
        if self.player is None:
            raise Unavailable("this service cannot play recordings")
        recording = await asyncio.to_thread(self.player.open, pair.instrument, playback, seed)
        recording.advance(recording.clock_ts)
        return recording.reference_ticks

    def _retire(self, exchange: SimulatedExchange, _: Changes) -> None:
        """Let go of the loop of a session that has stopped by itself: its recording has ended."""
        loop = self.loops.get(exchange.instrument.pair_id)
        if loop is not None and exchange.session.state == "STOPPED" and exchange.has_ended:
            del self.loops[exchange.instrument.pair_id]
            task = asyncio.create_task(loop.stop())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _tell_watchers(self, exchange: SimulatedExchange, changes: Changes) -> None:
        """Hand what a commit changed to everyone who watches all markets."""
        for watch in self.watchers:
            watch(exchange, changes)

    def _first_session(self, pair: Pair, wishes: dict[str, Any]) -> Session:
        mode = wishes.get("mode") or TestMode.NORMAL
        if mode not in self.settings.test_modes:
            raise InvalidRequest.of("mode", mode.value, ", ".join(self.settings.test_modes))
        parameters, scenarios = wishes.get("parameters") or {}, tuple(wishes.get("scenarios") or ())
        if parameters and mode is not TestMode.CUSTOM:
            raise InvalidRequest.of("parameters", ", ".join(parameters), f"none in mode {mode.value}, only in CUSTOM")
        if scenarios and mode is TestMode.NORMAL:
            raise InvalidRequest.of("scenarios", scenarios[0].name, "none in mode NORMAL, only in STRESS and CUSTOM")
        price = wishes.get("initial_price") or pair.initial_price
        if price is None:
            raise InvalidRequest.of("initial_price", None, "a price, as the pair has none of its own")
        deviation = wishes.get("price_deviation")
        delay, interval = wishes.get("execution_delay_ns"), wishes.get("market_update_interval_ns")
        seed = wishes.get("seed")
        now = self.clock.now_ns()
        session = Session(
            session_id=new_id(),
            pair_id=pair.instrument.pair_id,
            mode=mode,
            seed=seed_of_pair(self.settings.seed, pair.instrument) if seed is None else seed,
            state=wishes.get("state") or "RUNNING",
            price_deviation=self.settings.price_deviation if deviation is None else deviation,
            execution_delay_ns=self.settings.execution_delay if delay is None else delay,
            market_update_interval_ns=self.settings.market_update_interval if interval is None else interval,
            initial_price_ticks=pair.instrument.price_to_ticks(price, "initial_price"),
            created_ts=now,
            updated_ts=now,
            speed=1.0 if wishes.get("speed") is None else check_speed(wishes["speed"]),
            parameters=parameters,
            scenarios=scenarios,
            first_phase=wishes.get("phase", Phase.CONTINUOUS),
            rules=session_rules(wishes.get("rules") or {}, pair.instrument),
            playback=wishes.get("playback"),
        )
        check_new_session(session, pair.instrument)
        return session

    async def running(self, pair_id: UUID) -> PairLoop:
        """Return the loop of a pair's market; NotFound without the pair, Conflict where no market runs."""
        return await self._loop(pair_id)

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

    @staticmethod
    def _prevention(order: NewOrder, loop: PairLoop) -> SelfTradePrevention:
        if order.self_trade_prevention is not None:
            return order.self_trade_prevention
        session = loop.session.first if loop.exchange is None else loop.exchange.session
        return SelfTradePrevention(session.rules.self_trade)

    async def _command(self, order: NewOrder, options: PlaceOptions, loop: PairLoop) -> PlaceCommand:
        if order.strategy_id is not None:
            strategy = await self.reference.strategy(order.strategy_id)
            if strategy.pair_id != order.pair_id:
                raise InvalidRequest.of("strategy_id", str(order.strategy_id), f"a strategy for pair {order.pair_id}")
        account_id = order.account_id or DEFAULT_ACCOUNT_ID
        if account_id not in self.funds:
            self.accounts.add(await self.reference.account(account_id))
        if loop.exchange is not None and loop.exchange.is_played:
            check_playable_order(order)
        price_ticks, stop_ticks = check_order(order, loop)
        qty_lots = loop.instrument.qty_to_lots(order.amount)
        check_value(price_ticks or stop_ticks, qty_lots)
        display_lots = display_lots_of(order, loop, qty_lots)
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
            stop_ticks=stop_ticks,
            display_lots=display_lots,
            self_trade=self._prevention(order, loop),
            key=options.key,
            body_hash=options.body_hash,
            correlation_id=options.correlation_id,
            wait=options.wait,
            answer=asyncio.get_running_loop().create_future(),
        )


async def _compile_market() -> None:
    """Compile what a market runs, or read it from the cache; say so when that takes its time."""

    def work() -> None:
        compile_apart(
            _MARK,
            f"from {__name__} import compile_market; compile_market()",
            begin=lambda: _log.info("the kernels of the market are compiled; once, it takes a minute or two"),
        )
        compile_market()

    await asyncio.to_thread(work)


def compile_market() -> None:
    """Compile what a market runs in this process, or read it from the cache."""
    compiled_matching()
    compiled_market()
    note_compiled(_MARK)
