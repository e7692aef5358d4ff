"""Questions and small changes around the facade: lists, reference data, history, in JSON values for the API.

It decides nothing about orders or risk; it looks up, checks a few fields and hands over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.backtest.service import BacktestService
from market_maker.domain.book import BookSnapshot
from market_maker.domain.errors import InvalidRequest, NotFound
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import EXACT, ContractType, Instrument, check_steps, check_terms
from market_maker.domain.order import Order, Side
from market_maker.domain.trade import Fill
from market_maker.domain.units import Money, format_duration, parse_money
from market_maker.market_data import catalogue
from market_maker.market_data.import_queue import ImportQueue
from market_maker.market_data.service import MarketDataService
from market_maker.records import Records
from market_maker.risk.service import RiskAssessmentService
from market_maker.simulator.market_realism import MarketRealism, check_span
from market_maker.simulator.service import SimulatorService
from market_maker.simulator.strategy_runs.service import StrategyRuns
from market_maker.storage import simulation
from market_maker.storage.accounts import get_position_transfers
from market_maker.storage.database import Database
from market_maker.storage.pair_changes import CHANGEABLE, get_changes
from market_maker.storage.reference import Pair, ReferenceData, Strategy
from market_maker.strategies.contract import find_strategy, strategy_names


@dataclass(frozen=True, slots=True)
class Parts:
    """The services behind the facade; `bootstrap` puts them together."""

    database: Database
    reference: ReferenceData
    simulator: SimulatorService
    backtests: BacktestService
    risk: RiskAssessmentService
    market_data: MarketDataService
    imports: ImportQueue
    records: Records
    strategy_runs: StrategyRuns
    realism: MarketRealism


class Directory:
    """What there is.

    Parameters
    ----------
    parts : the services
    default_balance : of a new account
    """

    def __init__(self, parts: Parts, default_balance: Money) -> None:
        self._parts = parts
        self._reference = parts.reference
        self._default_balance = default_balance

    def instrument(self, pair_id: UUID) -> Instrument:
        """Return the instrument of a pair that is known to exist. O(1)."""
        return self._reference.known_pair(pair_id).instrument

    # ------------------------------------------------------------------ pairs, accounts, strategies

    async def pairs(self) -> list[dict[str, Any]]:
        """Return all pairs, oldest first."""
        await self._reference.refresh()
        return [self._pair_data(pair) for pair in self._reference.pairs()]

    async def pair(self, pair_id: UUID) -> dict[str, Any]:
        """Return a pair; NotFound when there is none."""
        await self._reference.refresh_pairs()
        return self._pair_data(await self._reference.pair(pair_id))

    async def add_pair(self, instrument: Instrument, initial_price: Decimal | None) -> dict[str, Any]:
        """Add a pair; with a first price a simulated market starts for it.

        Raises
        ------
        InvalidRequest : names the field
        Conflict : the venue has the symbol already
        """
        check_terms(instrument)
        check_steps(instrument)
        if initial_price is not None:
            if instrument.inverse_scale:
                raise InvalidRequest.of(
                    "initial_price", str(initial_price), "none: no market simulates an INVERSE contract"
                )
            instrument.price_to_ticks(initial_price, "initial_price")
        pair = await self._reference.add_pair(instrument, initial_price, self._parts.simulator.clock.now_ns())
        if initial_price is not None:
            await self._parts.simulator.start_session(instrument.pair_id)
        return self._pair_data(pair)

    async def change_pair(self, pair_id: UUID, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change terms of a pair; what runs keeps those it began with.

        Raises
        ------
        InvalidRequest : names the field
        Conflict : rows are kept in the units of the term
        """
        if not changes:
            raise InvalidRequest.of("body", "{}", f"at least one of {', '.join(CHANGEABLE)}")
        return self._pair_data(
            await self._reference.change_pair(pair_id, changes, self._parts.simulator.clock.now_ns())
        )

    async def pair_changes(self, pair_id: UUID, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Return what was changed of a pair, newest first; NotFound when there is none."""
        await self._reference.pair(pair_id)
        return await get_changes(self._parts.database, pair_id, after=after, limit=limit)

    async def accounts(self) -> list[dict[str, Any]]:
        """Return all accounts with their balances."""
        await self._reference.refresh()
        return [self._parts.simulator.accounts.data(account) for account in self._reference.accounts()]

    async def account(self, account_id: UUID) -> dict[str, Any]:
        """Return an account with its balances; NotFound when there is none."""
        return await self._parts.simulator.accounts.describe(account_id)

    async def position_transfers(self, position_id: UUID, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Return what was brought into a position or out of it without a trade, newest first; NotFound for no position."""
        found = await simulation.get_positions(self._parts.database, position_id=position_id)
        if not found:
            raise NotFound.of("position", "position_id", str(position_id))
        instrument = (await self._reference.pair(found[0].pair_id)).instrument
        rows = await get_position_transfers(self._parts.database, position_id, after=after, limit=limit)
        return [
            {
                "transfer_id": str(row["transfer_id"]),
                "position_id": str(position_id),
                "side": Side(row["side"]).name,
                "price": f"{instrument.ticks_to_price(row['price_ticks']):f}",
                "quantity": f"{instrument.lots_to_qty(row['qty_lots']):f}",
                "ts": str(row["ts"]),
            }
            for row in rows
        ]

    async def add_account(self, name: str, balance: str | None) -> dict[str, Any]:
        """Add an account with a first balance such as ``100000 USDT``."""
        money = self._default_balance if balance is None else parse_money(balance, "balance")
        if not 0 < money.amount < Decimal(10) ** 15:
            raise InvalidRequest.of("balance", str(money), "a positive amount below 1e15")
        account = await self._reference.add_account(name, money, self._parts.simulator.clock.now_ns())
        self._parts.simulator.accounts.add(account)
        return self._parts.simulator.accounts.data(account)

    async def strategies(self) -> list[dict[str, Any]]:
        """Return all strategies, oldest first."""
        await self._reference.refresh()
        return [_strategy_data(strategy) for strategy in self._reference.strategies()]

    def strategy_kinds(self) -> list[dict[str, Any]]:
        """Return the installed kinds with the schema of their parameters."""
        kinds = [find_strategy(name) for name in strategy_names()]
        return [{"kind": kind.kind, "summary": kind.summary, "parameters": kind.schema()} for kind in kinds]

    async def strategy(self, strategy_id: UUID) -> dict[str, Any]:
        """Return a strategy; NotFound when there is none."""
        return _strategy_data(await self._reference.strategy(strategy_id))

    async def add_strategy(self, name: str, kind: str, parameters: dict[str, Any], pair_id: UUID) -> dict[str, Any]:
        """Add a strategy of an installed kind; parameters left out have their defaults."""
        await self._reference.pair(pair_id)
        whole = find_strategy(kind).validate(parameters)
        now = self._parts.simulator.clock.now_ns()
        return _strategy_data(await self._reference.add_strategy(name, kind, dict(whole), pair_id, now))

    # ------------------------------------------------------------------ orders, trades

    async def order(self, order_id: UUID) -> Order:
        """Return an order as committed; NotFound when there is none."""
        order = await simulation.get_order(self._parts.database, order_id)
        if order is None:
            raise NotFound.of("order", "order_id", str(order_id))
        return order

    async def orders(self, **filters: Any) -> list[Order]:
        """Return orders; see `storage.simulation.get_orders`."""
        return await simulation.get_orders(self._parts.database, **filters)

    async def trades(self, **filters: Any) -> list[Fill]:
        """Return fills; see `storage.simulation.get_trades`."""
        return await simulation.get_trades(self._parts.database, **filters)

    async def tape(self, pair_id: UUID, limit: int) -> list[dict[str, Any]]:
        """Return the last public trades of a pair's running market, newest first; Conflict where none runs."""
        loop = await self._parts.simulator.running(pair_id)
        return self._parts.simulator.tapes.get_trades(loop.instrument, limit)

    async def live_bars(self, pair_id: UUID, interval_ns: int, limit: int) -> list[dict[str, Any]]:
        """Return the last candles of a pair's running market, oldest first; Conflict where none runs."""
        loop = await self._parts.simulator.running(pair_id)
        return self._parts.simulator.tapes.get_bars(loop.instrument, interval_ns, limit)

    async def live_realism(
        self,
        pair_id: UUID,
        window_ns: int,
        *,
        start_ts: int | None,
        end_ts: int | None,
        reference_pair_id: UUID | None,
        reference_start_ts: int | None,
        reference_end_ts: int | None,
    ) -> dict[str, Any]:
        """Return the stylised facts of a running market, or of a stretch that was recorded of it, scored against a reference."""
        recorded = check_span(pair_id, start_ts, end_ts, "")
        reference = check_span(reference_pair_id, reference_start_ts, reference_end_ts, "reference_")
        return await self._parts.realism.get(pair_id, least_ns=window_ns, recorded=recorded, reference=reference)

    # ------------------------------------------------------------------ market data

    async def catalogue(self, pair_id: UUID | None) -> list[dict[str, Any]]:
        """Return the recorded days (of one pair)."""
        pair = None if pair_id is None else await self._reference.pair(pair_id)
        return await self._parts.market_data.get_catalogue(None if pair is None else pair.instrument)

    async def bars(self, pair_id: UUID, start_ts: int, end_ts: int, interval_ns: int) -> list[dict[str, Any]]:
        """Return bars of mids of a pair in [start_ts, end_ts), from recorded data or virtual trading."""
        if interval_ns < 1_000_000:
            raise InvalidRequest.of("interval", format_duration(interval_ns), "at least 1ms")
        if end_ts <= start_ts:
            raise InvalidRequest.of("end", str(end_ts), "an instant after start")
        instrument = (await self._reference.pair(pair_id)).instrument
        found = await self._parts.market_data.get_historical_data(instrument, start_ts, end_ts, interval_ns)
        half_tick = EXACT.divide(instrument.tick_size, Decimal(2))

        def price(half_ticks: int) -> str:
            return str(EXACT.multiply(Decimal(half_ticks), half_tick))

        return [
            {
                "ts": str(bar.ts),
                "open": price(bar.open_half_ticks),
                "high": price(bar.high_half_ticks),
                "low": price(bar.low_half_ticks),
                "close": price(bar.close_half_ticks),
                "volume": str(instrument.lots_to_qty(bar.volume_lots)),
                "quotes": bar.quotes,
            }
            for bar in found
        ]

    async def order_book_at(self, pair_id: UUID, ts: int, depth: int) -> BookSnapshot:
        """Return the recorded book of a pair as it was received at an instant, ns UTC."""
        instrument = (await self._reference.pair(pair_id)).instrument
        return await self._parts.market_data.get_book_at(instrument, ts, depth)

    async def quality(self, pair_id: UUID, first: date | None, last: date | None) -> list[dict[str, Any]]:
        """Return the quality of the recorded days of a pair, measured now."""
        instrument = (await self._reference.pair(pair_id)).instrument
        return await self._parts.market_data.get_quality(instrument, first, last)

    async def add_import(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """Note the wish to import a file of the inbox folder and return the import."""
        return await self.import_of(await self._parts.imports.add(name, options))

    async def import_of(self, import_id: UUID) -> dict[str, Any]:
        """Return an import with its report; NotFound when there is none."""
        return catalogue.import_data(await catalogue.get_import(self._parts.database, import_id))

    async def imports(self, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Return imports, newest first."""
        rows = await catalogue.list_imports(self._parts.database, after, limit)
        return [catalogue.import_data(row) for row in rows]

    async def backtest_columns(self, run_id: UUID) -> dict[str, Any]:
        """Return the whole result of a run: summary, equity curve and fills by column."""
        result = await self._parts.backtests.get_result(run_id)
        return await asyncio.to_thread(result.to_json_with_columns)

    # ------------------------------------------------------------------ shapes

    def _pair_data(self, pair: Pair) -> dict[str, Any]:
        instrument = pair.instrument
        return {
            "pair_id": str(instrument.pair_id),
            "venue": instrument.venue,
            "symbol": instrument.symbol,
            "base": instrument.base,
            "quote": instrument.quote,
            "tick_size": f"{instrument.tick_size:f}",
            "lot_size": f"{instrument.lot_size:f}",
            "contract_type": instrument.contract_type.value,
            "maker_fee": f"{instrument.maker_fee:f}",
            "taker_fee": f"{instrument.taker_fee:f}",
            "contract_multiplier": f"{instrument.contract_multiplier:f}",
            "initial_price": None if pair.initial_price is None else f"{pair.initial_price:f}",
            "is_simulated": instrument.pair_id in self._parts.simulator.loops,
        }


def new_instrument(**fields: Any) -> Instrument:
    """Return an instrument with a fresh id; `contract_type` as text."""
    return Instrument(new_id(), **{**fields, "contract_type": ContractType(fields["contract_type"])})


def _strategy_data(strategy: Strategy) -> dict[str, Any]:
    return {
        "strategy_id": str(strategy.strategy_id),
        "name": strategy.name,
        "kind": strategy.kind,
        "pair_id": str(strategy.pair_id),
        "parameters": strategy.parameters,
    }
