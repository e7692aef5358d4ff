"""The accounts of the simulated exchange: balances, transfers, and a fresh start.

Owns the funds that all markets share. What an order reserves and a fill earns is booked by `venue`; here money goes in and out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from market_maker.domain.clock import SystemClock
from market_maker.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, MARKET_ACCOUNT_ID, new_id
from market_maker.domain.instrument import EXACT
from market_maker.domain.order import Side
from market_maker.messaging.topics import outbox_event
from market_maker.monitoring.logs import correlation_id
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import PairLoop
from market_maker.storage import accounts as stored
from market_maker.storage.accounts import AccountTransfer
from market_maker.storage.database import Database
from market_maker.storage.outbox import SERVICE_STREAM, append, ensure_stream
from market_maker.storage.reference import Account, ReferenceData
from market_maker.storage.simulation import INSERT_TRANSFER
from market_maker.venue.funds import AccountFunds, PairExposure

AMOUNT_MAX = Decimal(10) ** 15
DECIMALS_MAX = 12
_AMOUNTS = "an amount other than 0, below 1e15, of at most 12 decimals"


class Accounts:
    """Funds by account, and what may be done with them.

    Parameters
    ----------
    database, reference, clock : shared by the process
    loops : pair id -> the loop of its market
    after_commit : called after each commit that wrote events
    """

    def __init__(
        self,
        database: Database,
        reference: ReferenceData,
        clock: SystemClock,
        loops: Mapping[UUID, PairLoop],
        after_commit: Callable[[], None],
    ) -> None:
        self.funds: dict[UUID, AccountFunds] = {}
        self._database = database
        self._reference = reference
        self._clock = clock
        self._loops = loops
        self._after_commit = after_commit
        self._busy = asyncio.Lock()

    # ------------------------------------------------------------------ memory

    async def load(self) -> None:
        """Bring balances of all accounts into memory, with what they hold in pairs whose market does not run."""
        for account_id in await stored.transferred(self._database):
            await self._refresh(account_id)
        await self.load_stakes()

    async def load_stakes(self, pair_id: UUID | None = None) -> None:
        """Bring what accounts hold in pairs (one, or all) into memory, unless the market runs, which books it itself.

        What is held of an INVERSE contract is left out: it is settled in another currency than the account's.
        """
        for row in await stored.stakes(self._database, pair_id):
            if row["pair_id"] in self._loops or row["account_id"] not in self.funds:
                continue
            instrument = (await self._reference.pair(row["pair_id"])).instrument
            if instrument.inverse_scale:
                continue
            stake = PairExposure(instrument.tick_lot, row["qty_lots"], result_tick_lots=row["result_tick_lots"])
            self.funds[row["account_id"]].pairs[row["pair_id"]] = stake

    def add(self, account: Account) -> AccountFunds:
        """Let an account trade; one that is known already stays as it is."""
        return self.funds.setdefault(account.account_id, AccountFunds(account.account_id, account.initial_balance))

    async def _refresh(self, account_id: UUID) -> None:
        """Read the sum of an account's transfers: after a commit of which nobody knows whether it was done, too."""
        initial, transferred = (await stored.transferred(self._database))[account_id]
        known = self.funds.setdefault(account_id, AccountFunds(account_id, initial))
        known.transferred = transferred

    # ------------------------------------------------------------------ for users

    async def describe(self, account_id: UUID) -> dict[str, Any]:
        """Return an account with its balances, as JSON values; NotFound for none of users."""
        return self.data(await self._account(account_id))

    def data(self, account: Account) -> dict[str, Any]:
        """Return an account with its balances, as JSON values.

        `reserved` is the notional of its worst case, over all pairs: what it holds and its open orders on one side filled.
        """
        funds = self.funds.get(account.account_id) or AccountFunds(account.account_id, account.initial_balance)
        for pair_id, loop in self._loops.items():
            if loop.exchange is not None:
                funds.marks[pair_id] = loop.exchange.market.reference_ticks
        total, reserved = funds.balance(), funds.reserved()
        texts = {"total": total, "reserved": reserved, "available": EXACT.subtract(total, reserved)}
        return {
            "account_id": str(account.account_id),
            "name": account.name,
            "currency": account.currency,
            "initial_balance": f"{account.initial_balance:f}",
            "transferred": f"{funds.transferred:f}",
            "balance": f"{total:f}",
            "balances": [{"currency": account.currency, **{name: f"{value:f}" for name, value in texts.items()}}],
        }

    async def transfer(self, account_id: UUID, amount: Decimal, currency: str | None = None) -> dict[str, Any]:
        """Bring money into an account, or out of it what is available; durable on return, which tells it as JSON values.

        Raises
        ------
        InvalidRequest : an amount that cannot be, or another currency than the account's
        NotFound : no such account
        Conflict : more is to go out than is available
        Unavailable : the database is down; whether the transfer was made shows in the balance
        """
        account = await self._account(account_id)
        if currency is not None and currency != account.currency:
            raise InvalidRequest.of("currency", currency, account.currency)
        if not amount.is_finite() or not 0 < abs(amount) < AMOUNT_MAX or int(amount.as_tuple()[2]) < -DECIMALS_MAX:
            raise InvalidRequest.of("amount", str(amount), _AMOUNTS)
        async with self._busy:
            if amount < 0:
                available = Decimal(self.data(account)["balances"][0]["available"])
                if -amount > available:
                    raise Conflict(f"{-amount:f} {account.currency} are to go out, {available:f} are available")
            return transfer_data(await self._book(account, amount, "TRANSFER"), account.currency)

    async def transfers(self, account_id: UUID, *, after: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Return what went into an account and out of it, resets as well, newest first; NotFound for none of users."""
        account = await self._account(account_id)
        found = await stored.get_transfers(self._database, account_id, after=after, limit=limit)
        return [transfer_data(each, account.currency) for each in found]

    async def reset(self, account_id: UUID) -> dict[str, Any]:
        """Give an account a fresh start: no open orders, no positions, the balance it began with. Return it.

        Orders are canceled and positions go to the market at the reference price, at once in each pair; then the balance is
        brought to the first one by a transfer. Repeated after a crash it goes on where it was.

        Raises
        ------
        Conflict : it holds a position in a pair whose market does not run
        """
        account = await self._account(account_id)
        async with self._busy:
            for stake in await stored.stakes(self._database):
                held = stake["account_id"] == account_id and stake["qty_lots"] and stake["pair_id"] not in self._loops
                if held:
                    raise Conflict(f"no market runs for pair {stake['pair_id']}, in which the account has a position")
            for loop in list(self._loops.values()):
                await loop.act_and_record(partial(_clear, account_id=account_id, cause=correlation_id()))
            missing = EXACT.subtract(account.initial_balance, self.add(account).balance())
            if missing:
                await self._book(account, missing, "RESET")
        return self.data(account)

    async def _account(self, account_id: UUID) -> Account:
        account = await self._reference.account(account_id)
        if account_id in (MARKET_ACCOUNT_ID, BACKTEST_ACCOUNT_ID):
            raise NotFound.of("account of users", "account_id", str(account_id))
        return account

    async def _book(self, account: Account, amount: Decimal, reason: str) -> AccountTransfer:
        """Write a transfer with its event. What goes out is gone for orders before it is written, what comes in after it."""
        funds, now = self.add(account), self._clock.now_ns()
        before = min(amount, Decimal(0))
        funds.transferred += before
        try:
            async with self._database.transaction() as connection:
                number = await stored.lock_account(connection, account.account_id) + 1
                made = AccountTransfer(new_id(), account.account_id, number, amount, reason, now)
                await stored.insert_transfer(connection, made)
                data = {
                    "transfer_id": str(made.transfer_id),
                    "account_id": str(account.account_id),
                    "amount": f"{amount:f}",
                    "currency": account.currency,
                    "reason": reason,
                }
                key = account.account_id
                event = Event(
                    EventType.ACCOUNT_TRANSFERRED, key, number, now, correlation_id() or str(made.transfer_id), data
                )
                stream = await ensure_stream(connection, SERVICE_STREAM)
                await append(connection, stream, [outbox_event(event)])
        except BaseException:
            with contextlib.suppress(Unavailable):
                await self._refresh(account.account_id)
            raise
        funds.transferred += amount - before
        self._after_commit()
        return made


def transfer_data(transfer: AccountTransfer, currency: str) -> dict[str, Any]:
    """Return a transfer as JSON values."""
    return {
        "transfer_id": str(transfer.transfer_id),
        "account_id": str(transfer.account_id),
        "number": transfer.number,
        "amount": f"{transfer.amount:f}",
        "currency": currency,
        "reason": transfer.reason,
        "ts": str(transfer.ts),
    }


def _clear(
    exchange: SimulatedExchange,
    ts: int,
    statements: list[tuple[str, tuple[Any, ...]]],
    *,
    account_id: UUID,
    cause: str | None,
) -> None:
    """End an account's orders in a market and bring its positions there to zero at the reference price."""
    venue = exchange.venue
    for order in [each for each in venue.orders.values() if each.account_id == account_id]:
        venue.cancel_now(order, ts)
    price_ticks = exchange.market.reference_ticks
    for position in [each for each in venue.positions.values() if each.account_id == account_id and each.qty_lots]:
        side, lots = (Side.SELL if position.qty_lots > 0 else Side.BUY), abs(position.qty_lots)
        venue.transfer(position, side, price_ticks, lots, ts)
        statements.append((INSERT_TRANSFER, (new_id(), position.position_id, int(side), price_ticks, lots, ts)))
        if cause is not None:
            exchange.changes.causes[position.position_id] = cause
