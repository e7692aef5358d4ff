"""SQL of accounts: transfers, and what accounts hold in the positions of pairs. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.storage.database import Connection, Database, fetch, page


@dataclass(frozen=True, slots=True)
class AccountTransfer:
    """Money into an account (positive) or out of it; `number` counts the account's transfers from 1."""

    transfer_id: UUID
    account_id: UUID
    number: int
    amount: Decimal
    reason: str
    ts: int


async def lock_account(connection: Connection, account_id: UUID) -> int:
    """Lock an account until the end of the transaction; return the number of its last transfer."""
    await fetch(connection, "SELECT 1 FROM accounts WHERE account_id = %s FOR UPDATE", (account_id,))
    query = "SELECT coalesce(max(number), 0)::bigint AS last FROM account_transfers WHERE account_id = %s"
    return int((await fetch(connection, query, (account_id,)))[0]["last"])


async def insert_transfer(connection: Connection, transfer: AccountTransfer) -> None:
    """Write a transfer."""
    await connection.execute(
        "INSERT INTO account_transfers (account_id, number, transfer_id, amount, reason, ts) VALUES (%s, %s, %s, %s, %s, %s)",
        (transfer.account_id, transfer.number, transfer.transfer_id, transfer.amount, transfer.reason, transfer.ts),
    )


async def get_transfers(
    database: Database, account_id: UUID, *, after: UUID | None, limit: int
) -> list[AccountTransfer]:
    """Return an account's transfers, newest first, from below the id `after`."""
    query = """
        SELECT transfer_id, account_id, number, amount, reason, ts FROM account_transfers
        WHERE account_id = %(account_id)s AND transfer_id < %(before)s ORDER BY transfer_id DESC LIMIT %(limit)s
    """
    rows = await database.fetch(query, {"account_id": account_id, **page(after, limit)})
    return [AccountTransfer(**row) for row in rows]


async def get_position_transfers(
    database: Database, position_id: UUID, *, after: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """Return what was brought into a position or out of it without a trade, newest first, from below the id `after`."""
    query = """
        SELECT transfer_id, position_id, side, price_ticks, qty_lots, ts FROM position_transfers
        WHERE position_id = %(position_id)s AND transfer_id < %(before)s ORDER BY transfer_id DESC LIMIT %(limit)s
    """
    return await database.fetch(query, {"position_id": position_id, **page(after, limit)})


TRANSFERRED = """
    SELECT a.account_id, a.initial_balance, coalesce(sum(t.amount), 0) AS transferred
    FROM accounts a LEFT JOIN account_transfers t USING (account_id)
    WHERE a.account_id <> %s GROUP BY a.account_id
"""
"""Every account of users with the sum of its transfers; the parameter is the market's account."""


async def transferred(database: Database) -> dict[UUID, tuple[Decimal, Decimal]]:
    """Return by account its first balance and the sum of its transfers."""
    rows = await database.fetch(TRANSFERRED, (MARKET_ACCOUNT_ID,))
    return {row["account_id"]: (row["initial_balance"], row["transferred"]) for row in rows}


async def stakes(database: Database, pair_id: UUID | None = None) -> list[dict[str, Any]]:
    """Return by account and pair the lots held and the result in tick-lots, over all strategies."""
    query = """
        SELECT account_id, pair_id, sum(qty_lots)::bigint AS qty_lots,
               sum(realised_tick_lots - fees_tick_lots)::bigint AS result_tick_lots
        FROM positions WHERE account_id <> %(market)s AND (%(pair_id)s::uuid IS NULL OR pair_id = %(pair_id)s)
        GROUP BY account_id, pair_id
    """
    return await database.fetch(query, {"market": MARKET_ACCOUNT_ID, "pair_id": pair_id})
