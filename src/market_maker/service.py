"""MarketMakerService: one facade over three modes, with the specification's five operations.

It picks the service of its mode and hands over. In simulation that is SimulatorService; in backtest a replay of
recorded data, opened by `open_replay`; in risk the simulated exchange, and figures brought up to date with each look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from market_maker.backtest.service import RunRequest
from market_maker.directory import Directory, Parts, new_instrument
from market_maker.domain.book import BookSnapshot
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound
from market_maker.domain.events import Event, EventType, position_data
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, MARKET_ACCOUNT_ID, new_id
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import Mode
from market_maker.domain.order import NewOrder, OrderStatus, Placed, Side
from market_maker.domain.position import Position, PositionState, describe_position
from market_maker.matching.codes import Phase
from market_maker.messaging.bus import Message
from market_maker.messaging.topics import EVENTS_EXCHANGE, SCHEMA_VERSION, outbox_event
from market_maker.monitoring.logs import correlation_id
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.service import PlaceOptions
from market_maker.simulator.session import AtEnd, Pace, Playback, ScenarioWish, SessionRules
from market_maker.storage import simulation
from market_maker.storage.outbox import SERVICE_STREAM, append, ensure_stream

if TYPE_CHECKING:
    from market_maker.backtest.analyses import Analyses
    from market_maker.backtest.replay import Replay


class MarketMakerService:
    """The facade.

    Parameters
    ----------
    parts : the services behind it
    directory : lists, reference data and history
    mode : whose market, clock and positions the operations work on

    Examples
    --------
    ::

        async with open_service() as service:
            order = NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=Decimal("49000"))
            status = await service.place_order(order)
            await service.cancel_order(order.order_id)
    """

    def __init__(self, parts: Parts, directory: Directory, mode: Mode = Mode.SIMULATION) -> None:
        self.parts = parts
        self.directory = directory
        self.mode = mode
        self._replay: Replay | None = None

    def in_mode(self, mode: Mode) -> MarketMakerService:
        """Return the facade of another mode over the same services."""
        return MarketMakerService(self.parts, self.directory, mode)

    # ------------------------------------------------------------------ the specification's operations

    async def place_order(self, order: NewOrder) -> OrderStatus:
        """Place an order and return its status once it is durable (in backtest: once it is on its way).

        Repeating the call with the same order object does not place it twice.

        Raises
        ------
        InvalidRequest, NotFound, Conflict : the order is wrong
        LimitBreached : a limit forbids it
        Unavailable : a dependency is down
        """
        key = order.client_order_id or f"order {order.order_id}"
        placed = await self.submit(order, PlaceOptions(key=key, body_hash=order.order_id.bytes))
        return placed.order.status

    async def submit(self, order: NewOrder, options: PlaceOptions) -> Placed:
        """Place an order with options; what `place_order` and the API do."""
        if self.mode is Mode.BACKTEST:
            if order.order_type.is_stop or order.display_amount is not None:
                raise InvalidRequest.of(
                    "order_type", str(order.order_type), "LIMIT or MARKET without display_amount in backtest"
                )
            return self.replay.place_order(order)
        return await self.parts.simulator.place_simulated_order(order, options)

    async def cancel_order(self, order_id: UUID) -> None:
        """Ask for an order to be cancelled; durable on return. NotFound or Conflict when that cannot be."""
        if self.mode is Mode.BACKTEST:
            self.replay.cancel_order(order_id)
        else:
            await self.parts.simulator.cancel_simulated_order(order_id)

    async def amend_order(
        self,
        order_id: UUID,
        *,
        price: Decimal | None = None,
        amount: Decimal | None = None,
        stop_price: Decimal | None = None,
    ) -> None:
        """Ask for an order to get another price, total amount or stop price; durable on return.

        It keeps its place in the queue only if it shrinks. Not in backtest mode.

        Raises
        ------
        InvalidRequest, NotFound, Conflict : the order cannot be amended so
        """
        if self.mode is Mode.BACKTEST:
            raise Conflict("orders of a replay are not amended from outside; cancel the order and place another")
        await self.parts.simulator.amend_simulated_order(order_id, price=price, amount=amount, stop_price=stop_price)

    async def get_order_book(self, pair_id: UUID, depth: int = 20) -> BookSnapshot:
        """Return the book of a pair: of the simulated market or, in backtest, of the replay's present instant."""
        if self.mode is Mode.BACKTEST:
            return self.replay.get_order_book(pair_id, depth)
        return await self.parts.simulator.get_simulated_order_book(pair_id, depth)

    async def get_position(self, position_id: UUID) -> Position:
        """Return a position, valued at the present mid where a market runs. NotFound for an unknown id.

        In risk mode its figures are brought up to date as well; read them by `parts.risk.get_risk_metrics`.
        """
        if self.mode is Mode.BACKTEST and self._replay is not None and self._replay.position_id == position_id:
            return self._replay.position()
        await self.parts.reference.refresh_pairs()
        found = await simulation.get_positions(self.parts.database, position_id=position_id)
        if not found or found[0].account_id == MARKET_ACCOUNT_ID:
            raise NotFound.of("position", "position_id", str(position_id))
        if self.mode is Mode.RISK:
            await self.parts.risk.calculate_risk_metrics(position_id)
        return await self.describe(found[0])

    async def update_position(self, position: Position) -> None:
        """Bring a position to `position.quantity`; the difference is transferred in or out at its average price.

        Without an average price the transfer is at the present mark. `position.version` must be the present one.
        In risk mode the position is assessed afterwards, where its price history allows it.

        Raises
        ------
        NotFound : no such position
        Conflict : it has changed since it was read
        InvalidRequest : the quantity is off the lot, or no price is known
        """
        found = await simulation.get_positions(self.parts.database, position_id=position.position_id)
        if not found or found[0].account_id == MARKET_ACCOUNT_ID:
            raise NotFound.of("position", "position_id", str(position.position_id))
        await self._transfer(found[0], position)
        if self.mode is Mode.RISK:  # what cannot be assessed yet has been changed all the same
            await self.parts.risk.reassess([position.position_id])

    # ------------------------------------------------------------------ backtest mode

    @property
    def replay(self) -> Replay:
        """The open replay; Conflict when there is none."""
        if self._replay is None:
            raise Conflict("no replay is open; call open_replay(pair_id, start_ts, end_ts) first")
        return self._replay

    async def open_replay(
        self, pair_id: UUID, start_ts: int, end_ts: int, market_conditions: Mapping[str, Any] | None = None
    ) -> Replay:
        """Open recorded data of [start_ts, end_ts) for backtest mode; the replay stands at its first instant.

        `market_conditions` (volatility, trend, volume_profile, each optional) change the recorded market as in a run.
        """
        from market_maker.backtest.replay import open_replay

        pair = await self.parts.reference.pair(pair_id)
        self._replay = await open_replay(self.parts.backtests, pair.instrument, start_ts, end_ts, market_conditions)
        return self._replay

    async def analyze_backtest_results(self, run_ids: Sequence[UUID], *, fragility: bool = False) -> Analyses:
        """Return the analysis of one completed run, or the comparison of several; see `BacktestService`."""
        return await self.parts.backtests.analyze_backtest_results(run_ids, fragility=fragility)

    async def get_report(self, run_ids: Sequence[UUID], *, fragility: bool = False) -> dict[str, Any]:
        """Return what the report page shows of completed runs, as JSON values; `dashboard.report_page` makes the page."""
        return await self.parts.backtests.get_report(run_ids, fragility=fragility)

    # ------------------------------------------------------------------ positions

    async def describe(self, state: PositionState) -> Position:
        """Return a position in the units of users, valued where a market runs."""
        instrument = (await self.parts.reference.pair(state.pair_id)).instrument
        loop = self.parts.simulator.loops.get(state.pair_id)
        exchange = None if loop is None else loop.exchange
        return describe_position(state, instrument, None if exchange is None else exchange.market.reference_ticks)

    async def get_positions(self, **filters: Any) -> list[Position]:
        """Return positions of users, newest first; filters as `storage.simulation.get_positions`."""
        found = await simulation.get_positions(self.parts.database, other_than=[MARKET_ACCOUNT_ID], **filters)
        return [await self.describe(state) for state in found]

    async def open_position(
        self,
        account_id: UUID | None,
        strategy_id: UUID | None,
        pair_id: UUID,
        quantity: Decimal,
        average_price: Decimal | None,
    ) -> Position:
        """Return the position of an account, strategy and pair, made when there is none, brought to `quantity`."""
        account = await self.parts.reference.account(account_id or DEFAULT_ACCOUNT_ID)
        pair = await self.parts.reference.pair(pair_id)
        if account.account_id == MARKET_ACCOUNT_ID:
            raise NotFound.of("account", "account_id", str(account_id))
        if strategy_id is not None and (await self.parts.reference.strategy(strategy_id)).pair_id != pair_id:
            raise InvalidRequest.of("strategy_id", str(strategy_id), f"a strategy for pair {pair_id}")
        pair.instrument.signed_lots(quantity)
        state = PositionState(new_id(), pair_id, account.account_id, strategy_id)
        loop = self.parts.simulator.loops.get(pair_id)
        if loop is None:
            state = await simulation.add_position(self.parts.database, state)
        else:
            self.parts.simulator.accounts.add(account)
            state = await loop.act(lambda exchange, _: exchange.venue.position_for(account.account_id, strategy_id))
        return await self.change_position(state.position_id, quantity, average_price)

    async def change_position(
        self, position_id: UUID, quantity: Decimal, average_price: Decimal | None, version: int = 0
    ) -> Position:
        """Do `update_position` with just the fields that matter; return the position as it is then."""
        found = await self.get_positions(position_id=position_id)
        if not found:
            raise NotFound.of("position", "position_id", str(position_id))
        if found[0].quantity != quantity:
            wanted = replace(found[0], quantity=quantity, average_price=average_price, version=version)
            await self.update_position(wanted)
        return await self.get_position(position_id)

    async def _transfer(self, stored: PositionState, wanted: Position) -> None:
        instrument = (await self.parts.reference.pair(stored.pair_id)).instrument
        target_lots = instrument.signed_lots(wanted.quantity, "quantity")
        given_ticks = None
        if wanted.average_price is not None:
            given_ticks = instrument.price_to_ticks(wanted.average_price, "average_price")
        loop = self.parts.simulator.loops.get(stored.pair_id)
        if loop is None:
            await self._transfer_stored(stored, wanted, instrument, target_lots, given_ticks)
            return

        cause = correlation_id()

        def transfer(exchange: SimulatedExchange, ts: int, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
            state = exchange.venue.positions[stored.position_id]
            _check_version(state, wanted)
            price_ticks = given_ticks or exchange.market.reference_ticks
            delta = target_lots - state.qty_lots
            if delta:
                side = Side.BUY if delta > 0 else Side.SELL
                exchange.venue.transfer(state, side, price_ticks, abs(delta), ts)
                row = (new_id(), state.position_id, int(side), price_ticks, abs(delta), ts)
                statements.append((simulation.INSERT_TRANSFER, row))
                if cause is not None:
                    exchange.changes.causes[state.position_id] = cause

        await loop.act_and_record(transfer)

    async def _transfer_stored(
        self, stored: PositionState, wanted: Position, instrument: Instrument, target_lots: int, given_ticks: int | None
    ) -> None:
        """Transfer in a pair whose market does not run here: one transaction on the stored row."""
        now = self.parts.simulator.clock.now_ns()
        async with self.parts.database.transaction() as connection:
            state = await simulation.lock_position(connection, stored.position_id)
            _check_version(state, wanted)
            delta = target_lots - state.qty_lots
            if not delta:
                return
            if given_ticks is None:
                raise InvalidRequest.of("average_price", None, "a price, as no market runs that would tell one")
            side = Side.BUY if delta > 0 else Side.SELL
            state.apply_fill(side, given_ticks, abs(delta), 0, instrument)
            state.updated_ts, state.version = now, state.version + 1
            await simulation.store_position(connection, state)
            row = (new_id(), state.position_id, int(side), given_ticks, abs(delta), now)
            await connection.execute(simulation.INSERT_TRANSFER, row)
            described = await self.describe(state)
            data, key = position_data(described), state.position_id
            event = Event(EventType.POSITION_UPDATED, key, state.version, now, correlation_id() or str(key), data)
            stream = await ensure_stream(connection, SERVICE_STREAM)
            await append(connection, stream, [outbox_event(event)])
        self.parts.risk.control.note_changed([stored.position_id])
        await self.parts.simulator.accounts.load_stakes(stored.pair_id)


def _check_version(state: PositionState, wanted: Position) -> None:
    if wanted.version and wanted.version != state.version:
        raise Conflict(f"position {state.position_id} has version {state.version}, not {wanted.version}; read it again")


__all__ = [
    "EVENTS_EXCHANGE",
    "SCHEMA_VERSION",
    "AtEnd",
    "Directory",
    "MarketMakerService",
    "Message",
    "Pace",
    "Parts",
    "Phase",
    "PlaceOptions",
    "Playback",
    "RunRequest",
    "ScenarioWish",
    "SessionRules",
    "new_instrument",
]  # fmt: skip
