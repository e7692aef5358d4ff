"""Reference data: pairs, accounts and strategies, in PostgreSQL with a copy in memory.

Accounts and strategies are never changed once made, so that the copy is only ever incomplete: a miss looks into the database.
Pairs can be, seldom and by any process: whoever begins something with one asks for `refresh_pairs` before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from market_maker.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable, shorten
from market_maker.domain.ids import (
    BACKTEST_ACCOUNT_ID,
    DEFAULT_ACCOUNT_ID,
    DEFAULT_PAIR_ID,
    DEFAULT_STRATEGY_ID,
    MARKET_ACCOUNT_ID,
    new_id,
)
from market_maker.domain.instrument import ContractType, Instrument, check_steps, check_terms
from market_maker.domain.units import Money
from market_maker.storage.database import Database, fetch
from market_maker.storage.pair_changes import STEPS, changed, store_change, write_terms


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair: the instrument and, for a synthetic market, its first price."""

    instrument: Instrument
    initial_price: Decimal | None
    created_ts: int


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays: a name and a first balance in one currency."""

    account_id: UUID
    name: str
    currency: str
    initial_balance: Decimal
    created_ts: int


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy kind with parameters for one pair."""

    strategy_id: UUID
    name: str
    kind: str
    parameters: dict[str, Any]
    pair_id: UUID
    created_ts: int


class ReferenceData:
    """Pairs, accounts and strategies by id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pairs: dict[UUID, Pair] = {}
        self._accounts: dict[UUID, Account] = {}
        self._strategies: dict[UUID, Strategy] = {}
        self._change_number = 0

    async def seed(self, default_balance: Money, ts: int) -> None:
        """Make the accounts, the pair and the strategy that a fresh database starts with."""
        pair = Instrument(DEFAULT_PAIR_ID, "simulator", "BTC-USDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"))
        parameters = {"half_spread_ticks": 300, "order_lots": 1000, "max_inventory_lots": 20_000}
        async with self._database.transaction() as connection:
            for account_id, name, amount in (
                (MARKET_ACCOUNT_ID, "market", Decimal(0)),
                (DEFAULT_ACCOUNT_ID, "default", default_balance.amount),
                (BACKTEST_ACCOUNT_ID, "backtest", default_balance.amount),
            ):
                await connection.execute(
                    "INSERT INTO accounts VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (account_id, name, default_balance.currency, amount, ts),
                )
            await connection.execute(_INSERT_PAIR + " ON CONFLICT DO NOTHING", _pair_row(pair, Decimal(50_000), ts))
            await connection.execute(
                _INSERT_STRATEGY + " ON CONFLICT DO NOTHING",
                (DEFAULT_STRATEGY_ID, "default", "inventory_skew", Jsonb(parameters), DEFAULT_PAIR_ID, ts),
            )

    async def load(self) -> None:
        """Fill the copy in memory."""
        for pair_row in await self._database.fetch("SELECT * FROM pairs ORDER BY pair_id"):
            self._take_pair(pair_row)
        for account_row in await self._database.fetch("SELECT * FROM accounts"):
            self._accounts[account_row["account_id"]] = Account(**account_row)
        for strategy_row in await self._database.fetch("SELECT * FROM strategies"):
            self._strategies[strategy_row["strategy_id"]] = Strategy(**strategy_row)

    async def refresh(self) -> None:
        """Take in what other processes, such as an import, have added; without the database the copy stays as it is."""
        with contextlib.suppress(Unavailable):
            await self.load()

    async def refresh_pairs(self) -> None:
        """Take in what other processes have changed of pairs; without the database the copy stays as it is."""
        with contextlib.suppress(Unavailable):
            query = "SELECT * FROM pairs WHERE change_number > %s"
            for row in await self._database.fetch(query, (self._change_number,)):
                self._take_pair(row)

    def _take_pair(self, row: dict[str, Any]) -> None:
        self._change_number = max(self._change_number, row.pop("change_number"))
        self._pairs[row["pair_id"]] = _to_pair(row)

    async def pair(self, pair_id: UUID, field: str = "pair_id") -> Pair:
        """Return a pair; NotFound names `field`."""
        if pair_id not in self._pairs:
            await self.load()
        if pair_id not in self._pairs:
            raise NotFound.of("pair", field, str(pair_id))
        return self._pairs[pair_id]

    def known_pair(self, pair_id: UUID) -> Pair:
        """Return a pair that some row refers to."""
        return self._pairs[pair_id]

    async def account(self, account_id: UUID) -> Account:
        """Return an account or raise NotFound."""
        if account_id not in self._accounts:
            await self.load()
        if account_id not in self._accounts:
            raise NotFound.of("account", "account_id", str(account_id))
        return self._accounts[account_id]

    async def strategy(self, strategy_id: UUID) -> Strategy:
        """Return a strategy or raise NotFound."""
        if strategy_id not in self._strategies:
            await self.load()
        if strategy_id not in self._strategies:
            raise NotFound.of("strategy", "strategy_id", str(strategy_id))
        return self._strategies[strategy_id]

    def pairs(self) -> list[Pair]:
        """Return all pairs, oldest first."""
        return [self._pairs[key] for key in sorted(self._pairs)]

    def accounts(self) -> list[Account]:
        """Return all accounts of users, oldest first."""
        return [self._accounts[key] for key in sorted(self._accounts) if key != MARKET_ACCOUNT_ID]

    def strategies(self) -> list[Strategy]:
        """Return all strategies, oldest first."""
        return [self._strategies[key] for key in sorted(self._strategies)]

    def find_pair(self, venue: str, symbol: str) -> Pair | None:
        """Return the pair of a venue by its symbol, or None."""
        wanted = (venue, symbol)
        return next((p for p in self._pairs.values() if (p.instrument.venue, p.instrument.symbol) == wanted), None)

    async def pair_named(self, text: str) -> Pair:
        """Return a pair by its id or as venue/symbol, as commands name it; InvalidRequest, NotFound."""
        venue, _, symbol = text.partition("/")
        if not symbol:
            try:
                return await self.pair(UUID(text))
            except ValueError:
                raise InvalidRequest.of("PAIR", text, "the id of a pair, or venue/symbol") from None
        found = self.find_pair(venue, symbol)
        if found is None:
            known = ", ".join(f"{pair.instrument.venue}/{pair.instrument.symbol}" for pair in self.pairs()[:20])
            raise NotFound(f"there is no pair {text}; there are {known}")
        return found

    async def strategy_named(self, text: str) -> Strategy:
        """Return a strategy by its id or its name, as commands name it; InvalidRequest when several bear it, NotFound."""
        try:
            return await self.strategy(UUID(text))
        except ValueError:
            pass
        await self.load()
        found = [strategy for strategy in self.strategies() if strategy.name == text]
        if len(found) > 1:
            ids = ", ".join(str(strategy.strategy_id) for strategy in found[:20])
            raise InvalidRequest.of("STRATEGY", text, f"an id, since {len(found)} strategies bear this name: {ids}")
        if not found:
            known = ", ".join(sorted({strategy.name for strategy in self.strategies()})[:20])
            raise NotFound(
                f"there is no strategy {shorten(text)}; there are {known}; `market-maker strategy add` makes one"
            )
        return found[0]

    async def add_pair(self, instrument: Instrument, initial_price: Decimal | None, ts: int) -> Pair:
        """Store a new pair; Conflict when the venue has that symbol."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(_INSERT_PAIR, _pair_row(instrument, initial_price, ts))
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"venue {instrument.venue} has a pair {instrument.symbol} already") from None
        pair = self._pairs[instrument.pair_id] = Pair(instrument, initial_price, ts)
        return pair

    async def change_pair(self, pair_id: UUID, changes: Mapping[str, Any], ts: int) -> Pair:
        """Give a pair other terms, see `pair_changes.store_change`; what runs keeps those it began with."""
        async with self._database.transaction() as connection:
            rows = await fetch(connection, "SELECT * FROM pairs WHERE pair_id = %s FOR UPDATE", (pair_id,))
            if not rows:
                raise NotFound.of("pair", "pair_id", str(pair_id))
            rows[0].pop("change_number")
            before = _to_pair(rows[0]).instrument
            after = changed(before, changes)
            check_terms(after)
            if set(changes) & set(STEPS):
                check_steps(after)
            await store_change(connection, before, after, ts)
        await self.refresh_pairs()
        return self._pairs[pair_id]

    async def change_steps(self, pair_id: UUID, tick_size: Decimal, lot_size: Decimal, ts: int) -> Pair:
        """Give a pair other steps; Conflict when orders, positions or a market are kept in its present ones."""
        async with self._database.transaction() as connection:
            used = await fetch(
                connection,
                "SELECT 1 FROM pairs WHERE pair_id = %(id)s AND (EXISTS (SELECT 1 FROM positions WHERE pair_id = %(id)s)"
                " OR EXISTS (SELECT 1 FROM sessions WHERE pair_id = %(id)s)"
                " OR EXISTS (SELECT 1 FROM simulated_orders WHERE pair_id = %(id)s))",
                {"id": pair_id},
            )
            if used:
                raise Conflict(
                    f"pair {pair_id} has orders, positions or a market in its present tick and lot; they stay"
                )
            before = self._pairs[pair_id].instrument
            await write_terms(connection, before, replace(before, tick_size=tick_size, lot_size=lot_size), ts)
        await self.refresh_pairs()
        return self._pairs[pair_id]

    async def add_account(self, name: str, balance: Money, ts: int) -> Account:
        """Store a new account; Conflict when the name is taken."""
        account = Account(new_id(), name, balance.currency, balance.amount, ts)
        try:
            async with self._database.transaction() as connection:
                await connection.execute(
                    "INSERT INTO accounts VALUES (%s, %s, %s, %s, %s)",
                    (account.account_id, name, balance.currency, balance.amount, ts),
                )
        except psycopg.errors.UniqueViolation:
            raise Conflict(f"an account named {name} exists already") from None
        self._accounts[account.account_id] = account
        return account

    async def add_strategy(self, name: str, kind: str, parameters: dict[str, Any], pair_id: UUID, ts: int) -> Strategy:
        """Store a new strategy."""
        strategy = Strategy(new_id(), name, kind, parameters, pair_id, ts)
        async with self._database.transaction() as connection:
            await connection.execute(
                _INSERT_STRATEGY, (strategy.strategy_id, name, kind, Jsonb(parameters), pair_id, ts)
            )
        self._strategies[strategy.strategy_id] = strategy
        return strategy


_INSERT_PAIR = """
    INSERT INTO pairs (pair_id, venue, symbol, base, quote, tick_size, lot_size, contract_type, maker_fee, taker_fee, contract_multiplier, initial_price,
        created_ts)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_STRATEGY = """
    INSERT INTO strategies (strategy_id, name, kind, parameters, pair_id, created_ts) VALUES (%s, %s, %s, %s, %s, %s)
"""


def _pair_row(instrument: Instrument, initial_price: Decimal | None, ts: int) -> tuple[Any, ...]:
    return (
        instrument.pair_id,
        instrument.venue,
        instrument.symbol,
        instrument.base,
        instrument.quote,
        instrument.tick_size,
        instrument.lot_size,
        instrument.contract_type.value,
        instrument.maker_fee,
        instrument.taker_fee,
        instrument.contract_multiplier,
        initial_price,
        ts,
    )


def _to_pair(row: dict[str, Any]) -> Pair:
    initial_price, created_ts = row.pop("initial_price"), row.pop("created_ts")
    return Pair(Instrument(**{**row, "contract_type": ContractType(row["contract_type"])}), initial_price, created_ts)
