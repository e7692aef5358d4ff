"""SQL of the simulated exchange: one transaction per batch, and the reading back of it.

It owns the mapping between rows and domain values; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from market_maker.domain.errors import RejectReason
from market_maker.domain.order import Liquidity, Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce
from market_maker.domain.position import PositionState
from market_maker.domain.trade import Fill
from market_maker.storage.database import Connection, Database, fetch, lost_server_is_unavailable, page
from market_maker.storage.outbox import OutboxEvent

_encode = msgspec.json.Encoder().encode
_ORDER_COLUMNS = (
    "order_id, pair_id, account_id, strategy_id, position_id, client_order_id, side, order_type, time_in_force, post_only,"
    " price_ticks, qty_lots, execution_probability, price_impact, created_ts, arrival_ts, expire_ts,"
    " status, reject_reason, cum_qty_lots, value_tick_lots, priority, cancel_arrival_ts, updated_ts, version,"
    " stop_ticks, display_lots, self_trade, triggered, amend_arrival_ts, amend_price_ticks, amend_qty_lots,"
    " amend_stop_ticks, amend_refusal"
)
_FILL_COLUMNS = "trade_id, order_id, pair_id, account_id, strategy_id, position_id, side, liquidity, price_ticks, qty_lots, fee_tick_lots, ts"
_POSITION_COLUMNS = (
    "position_id, pair_id, account_id, strategy_id, qty_lots, cost_tick_lots, realised_tick_lots, fees_tick_lots,"
    " cash_tick_lots, volume_tick_lots, updated_ts, version"
)
_POSITION_UPDATE = """
    qty_lots = excluded.qty_lots, cost_tick_lots = excluded.cost_tick_lots, realised_tick_lots = excluded.realised_tick_lots,
    fees_tick_lots = excluded.fees_tick_lots, cash_tick_lots = excluded.cash_tick_lots,
    volume_tick_lots = excluded.volume_tick_lots, updated_ts = excluded.updated_ts, version = excluded.version
"""
_SAVE_POSITION = f"""
INSERT INTO positions ({_POSITION_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (position_id) DO UPDATE SET {_POSITION_UPDATE}
"""
_SESSION_COLUMNS = "session_id, pair_id, mode, seed, state, configuration, market, sequence, created_ts, updated_ts"
INSERT_TRANSFER = """
    INSERT INTO position_transfers (transfer_id, position_id, side, price_ticks, qty_lots, ts) VALUES (%s, %s, %s, %s, %s, %s)
"""
_COMMIT = f"""
WITH new_orders AS (
    INSERT INTO simulated_orders ({_ORDER_COLUMNS})
    SELECT {_ORDER_COLUMNS} FROM json_populate_recordset(NULL::simulated_orders, %s::json)
), changed_orders AS (
    UPDATE simulated_orders AS o SET
        status = u.status, reject_reason = u.reject_reason, cum_qty_lots = u.cum_qty_lots, value_tick_lots = u.value_tick_lots,
        priority = u.priority, cancel_arrival_ts = u.cancel_arrival_ts, updated_ts = u.updated_ts, version = u.version
    FROM json_to_recordset(%s::json) AS u(order_id uuid, status smallint, reject_reason text, cum_qty_lots bigint,
        value_tick_lots numeric, priority bigint, cancel_arrival_ts bigint, updated_ts bigint, version bigint)
    WHERE o.order_id = u.order_id
), reshaped_orders AS (
    UPDATE simulated_orders AS o SET
        status = u.status, reject_reason = u.reject_reason, cum_qty_lots = u.cum_qty_lots, value_tick_lots = u.value_tick_lots,
        priority = u.priority, cancel_arrival_ts = u.cancel_arrival_ts, updated_ts = u.updated_ts, version = u.version,
        price_ticks = u.price_ticks, qty_lots = u.qty_lots, stop_ticks = u.stop_ticks, triggered = u.triggered,
        amend_arrival_ts = u.amend_arrival_ts, amend_price_ticks = u.amend_price_ticks,
        amend_qty_lots = u.amend_qty_lots, amend_stop_ticks = u.amend_stop_ticks, amend_refusal = u.amend_refusal
    FROM json_to_recordset(%s::json) AS u(order_id uuid, status smallint, reject_reason text, cum_qty_lots bigint,
        value_tick_lots numeric, priority bigint, cancel_arrival_ts bigint, updated_ts bigint, version bigint,
        price_ticks bigint, qty_lots bigint, stop_ticks bigint, triggered boolean, amend_arrival_ts bigint,
        amend_price_ticks bigint, amend_qty_lots bigint, amend_stop_ticks bigint, amend_refusal text)
    WHERE o.order_id = u.order_id
), keys AS (
    INSERT INTO idempotency_keys (account_id, key, body_hash, order_id, created_ts)
    SELECT account_id, key, decode(body_hash, 'base64'), order_id, created_ts FROM json_to_recordset(%s::json)
        AS k(account_id uuid, key text, body_hash text, order_id uuid, created_ts bigint)
), positions AS (
    INSERT INTO positions ({_POSITION_COLUMNS})
    SELECT {_POSITION_COLUMNS} FROM json_populate_recordset(NULL::positions, %s::json)
    ON CONFLICT (position_id) DO UPDATE SET {_POSITION_UPDATE}
), fills AS (
    INSERT INTO simulated_trades ({_FILL_COLUMNS})
    SELECT {_FILL_COLUMNS} FROM json_populate_recordset(NULL::simulated_trades, %s::json)
), prices AS (
    INSERT INTO simulated_prices (pair_id, ts, mid_half_ticks)
    SELECT pair_id, ts, mid_half_ticks FROM json_populate_recordset(NULL::simulated_prices, %s::json)
), session AS (
    INSERT INTO sessions ({_SESSION_COLUMNS})
    SELECT {_SESSION_COLUMNS} FROM json_populate_recordset(NULL::sessions, %s::json)
    ON CONFLICT (session_id) DO UPDATE SET
        mode = excluded.mode, state = excluded.state, configuration = excluded.configuration, market = excluded.market,
        sequence = excluded.sequence, updated_ts = excluded.updated_ts
), log AS (
    INSERT INTO market_log (session_id, number, ts, commands)
    SELECT session_id, number, ts, decode(commands, 'base64') FROM json_to_recordset(%s::json)
        AS l(session_id uuid, number bigint, ts bigint, commands text)
)
INSERT INTO events (stream_id, event_id, aggregate_id, sequence, type, ts, body)
SELECT %s::integer, e.event_id, e.aggregate_id, e.sequence, e.type, e.ts, e.body
FROM ROWS FROM (
    json_to_recordset(%s::json) AS (event_id uuid, aggregate_id uuid, sequence bigint, type text, ts bigint),
    string_to_table(%s::text, E'\n')
) AS e(event_id, aggregate_id, sequence, type, ts, body)
"""
"""A whole batch in one statement, which is one transaction and one round trip. Rows travel as JSON, which
msgspec writes without a step of Python per column; bodies of events by line, as JSON text has no line breaks of its own."""

SAVE_CHECKPOINT = """
    INSERT INTO market_checkpoints (session_id, number, market_ts, market) VALUES (%s, %s, %s, %s)
    ON CONFLICT (session_id) DO UPDATE SET number = excluded.number, market_ts = excluded.market_ts, market = excluded.market
"""
PRUNE_LOG = "DELETE FROM market_log WHERE session_id = %s AND number <= %s"
"""What a checkpoint contains needs no log; both in the transaction that brings the state of the checkpoint."""

WRITER_SETTINGS = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""For the connection of a pair's loop: a plan made while the tables were empty must not scan them once they are full."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key for placing an order: the same key and body give the first answer again."""

    account_id: UUID
    key: str
    body_hash: bytes
    order_id: UUID
    created_ts: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """Commands that one commit gave to a session's market, packed; `number` counts such commits."""

    session_id: UUID
    number: int
    ts: int
    commands: bytes


@dataclass(slots=True)
class Batch:
    """The rows of one transaction. `events` go to the outbox stream `stream_id`; `session` is the row of table `sessions`.

    `reshaped_orders` are changed ones whose price, quantity, stop or amendment changed, which most never do. `log` are commands of
    the market; `prices` are (pair, ns UTC, mid in half ticks); `statements` are further SQL with parameters.
    """

    stream_id: int
    new_orders: Sequence[Order] = ()
    changed_orders: Sequence[Order] = ()
    reshaped_orders: Sequence[Order] = ()
    fills: Sequence[Fill] = ()
    positions: Sequence[PositionState] = ()
    keys: Sequence[IdempotencyKey] = ()
    prices: Sequence[tuple[UUID, int, int]] = ()
    events: Sequence[OutboxEvent] = ()
    session: dict[str, Any] | None = None
    log: Sequence[LogRow] = ()
    statements: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)


class _EventHead(msgspec.Struct, gc=False):
    event_id: UUID
    aggregate_id: UUID
    sequence: int
    type: str
    ts: int


async def commit_batch(connection: Connection, batch: Batch) -> None:
    """Write a batch in one transaction; on return it is durable. Raises Unavailable when the server is lost.

    After Unavailable the batch may or may not have been committed: the caller reads the truth back.
    """
    parameters = _commit_parameters(batch)
    async with lost_server_is_unavailable():
        if not batch.statements:
            await connection.execute(_COMMIT, parameters, prepare=True)
            return
        # All of them on one way there and back, however many there are.
        async with connection.pipeline(), connection.transaction():
            for statement, values in batch.statements:
                await connection.execute(statement, values)
            await connection.execute(_COMMIT, parameters, prepare=True)


def _commit_parameters(batch: Batch) -> tuple[Any, ...]:
    prices = [{"pair_id": pair_id, "ts": ts, "mid_half_ticks": mid} for pair_id, ts, mid in batch.prices]
    heads = [_EventHead(e.event_id, e.aggregate_id, e.sequence, e.type, e.ts) for e in batch.events]
    return (
        _rows(batch.new_orders),
        _rows(batch.changed_orders),
        _rows(batch.reshaped_orders),
        _rows(batch.keys),
        _rows(batch.positions),
        _rows(batch.fills),
        _rows(prices),
        _rows(() if batch.session is None else (batch.session,)),
        _rows(batch.log),
        batch.stream_id,
        _rows(heads),
        "\n".join([event.body for event in batch.events]),
    )


def _rows(rows: Sequence[Any]) -> str:
    """Return values whose fields are named as the columns, as JSON text."""
    return _encode(rows).decode() if rows else "[]"


def _position_row(position: PositionState) -> tuple[Any, ...]:
    return (
        position.position_id,
        position.pair_id,
        position.account_id,
        position.strategy_id,
        position.qty_lots,
        position.cost_tick_lots,
        position.realised_tick_lots,
        position.fees_tick_lots,
        position.cash_tick_lots,
        position.volume_tick_lots,
        position.updated_ts,
        position.version,
    )


def _to_order(row: dict[str, Any]) -> Order:
    reason, refusal = row.pop("reject_reason"), row.pop("amend_refusal")
    return Order(
        side=Side(row.pop("side")),
        order_type=OrderType(row.pop("order_type")),
        time_in_force=TimeInForce(row.pop("time_in_force")),
        status=OrderStatus(row.pop("status")),
        reject_reason=None if reason is None else RejectReason(reason),
        value_tick_lots=int(row.pop("value_tick_lots")),
        self_trade=SelfTradePrevention(row.pop("self_trade")),
        amend_refusal=None if refusal is None else RejectReason(refusal),
        **row,
    )


def _to_fill(row: dict[str, Any]) -> Fill:
    return Fill(side=Side(row.pop("side")), liquidity=Liquidity(row.pop("liquidity")), **row)


def _to_position(row: dict[str, Any]) -> PositionState:
    return PositionState(volume_tick_lots=int(row.pop("volume_tick_lots")), **row)


async def load_open_orders(connection: Connection, pair_id: UUID) -> list[Order]:
    """Return the open orders of a pair."""
    query = f"SELECT {_ORDER_COLUMNS} FROM simulated_orders WHERE pair_id = %s AND status <= 2"
    return [_to_order(row) for row in await fetch(connection, query, (pair_id,))]


async def count_open_orders(database: Database, pair_id: UUID) -> int:
    """Return how many orders of a pair are open."""
    found = await database.fetch_one(
        "SELECT count(*) AS open FROM simulated_orders WHERE pair_id = %s AND status <= 2", (pair_id,)
    )
    return 0 if found is None else int(found["open"])


async def load_positions(connection: Connection, pair_id: UUID) -> list[PositionState]:
    """Return the positions in a pair."""
    query = f"SELECT {_POSITION_COLUMNS} FROM positions WHERE pair_id = %s"
    return [_to_position(row) for row in await fetch(connection, query, (pair_id,))]


async def load_session(connection: Connection, pair_id: UUID) -> dict[str, Any] | None:
    """Return the row of the pair's session that is not stopped, if there is one."""
    rows = await fetch(connection, "SELECT * FROM sessions WHERE pair_id = %s AND state <> 'STOPPED'", (pair_id,))
    return rows[0] if rows else None


async def find_session(database: Database, session_id: UUID) -> dict[str, Any] | None:
    """Return the row of a session that is not stopped, or None."""
    return await database.fetch_one(
        "SELECT * FROM sessions WHERE session_id = %s AND state <> 'STOPPED'", (session_id,)
    )


async def load_market(connection: Connection, session_id: UUID) -> tuple[bytes | None, list[bytes]]:
    """Return the last checkpoint of a session's market, if there is one, and the log of commands since."""
    found = await fetch(
        connection, "SELECT number, market FROM market_checkpoints WHERE session_id = %s", (session_id,)
    )
    if not found:
        return None, []
    query = "SELECT commands FROM market_log WHERE session_id = %s AND number > %s ORDER BY number"
    rows = await fetch(connection, query, (session_id, found[0]["number"]))
    return bytes(found[0]["market"]), [bytes(row["commands"]) for row in rows]


async def find_keys(connection: Connection, keys: Sequence[tuple[UUID, str]]) -> list[dict[str, Any]]:
    """Return the stored idempotency keys among `keys`, with the order that each named. Raises Unavailable."""
    query = """
        SELECT k.account_id, k.key, k.body_hash, k.order_id FROM idempotency_keys AS k
        JOIN unnest(%s::uuid[], %s::text[]) AS wanted(account_id, key) USING (account_id, key)
    """
    async with lost_server_is_unavailable():
        return await fetch(connection, query, ([account for account, _ in keys], [key for _, key in keys]))


async def get_order(database: Database, order_id: UUID) -> Order | None:
    """Return an order as committed."""
    row = await database.fetch_one(f"SELECT {_ORDER_COLUMNS} FROM simulated_orders WHERE order_id = %s", (order_id,))
    return None if row is None else _to_order(row)


_FIND_ORDERS = f"""
    SELECT {_ORDER_COLUMNS} FROM simulated_orders
    WHERE order_id < %(before)s
      AND (%(pair_id)s::uuid IS NULL OR pair_id = %(pair_id)s)
      AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
      AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
      AND (%(is_open)s::boolean IS NULL OR (status <= 2) = %(is_open)s)
"""
_NAMED_BY_CLIENT = """
      AND client_order_id = %(client_order_id)s AND order_id IN (
          SELECT order_id FROM idempotency_keys JOIN accounts USING (account_id)
          WHERE key = 'client_order_id:' || %(client_order_id)s::text
          UNION ALL SELECT order_id FROM simulated_orders WHERE status <= 2 AND client_order_id = %(client_order_id)s)
"""
"""Keys and open orders have indices, all orders of all time have none for this."""
_NEWEST_FIRST = " ORDER BY order_id DESC LIMIT %(limit)s"


async def get_orders(
    database: Database,
    *,
    pair_id: UUID | None = None,
    strategy_id: UUID | None = None,
    account_id: UUID | None = None,
    is_open: bool | None = None,
    client_order_id: str | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Order]:
    """Return orders, newest first, from below the id `after`.

    By `client_order_id` those that are open, and those whose key is kept (two days), are found.
    """
    query = _FIND_ORDERS + ("" if client_order_id is None else _NAMED_BY_CLIENT) + _NEWEST_FIRST
    parameters = {
        "pair_id": pair_id, "strategy_id": strategy_id, "account_id": account_id, "is_open": is_open,
        "client_order_id": client_order_id, **page(after, limit),
    }  # fmt: skip
    return [_to_order(row) for row in await database.fetch(query, parameters)]


async def get_trades(
    database: Database,
    *,
    pair_id: UUID | None = None,
    order_id: UUID | None = None,
    account_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Fill]:
    """Return our fills, newest first, from below the trade id `after`.

    The two fills of a trade between two of our orders are never parted, so that the last trade's id is where the next page
    begins: then a page has one fill more than `limit`.
    """
    query = f"""
        SELECT {_FILL_COLUMNS} FROM simulated_trades
        WHERE trade_id < %(before)s
          AND (%(pair_id)s::uuid IS NULL OR pair_id = %(pair_id)s)
          AND (%(order_id)s::uuid IS NULL OR order_id = %(order_id)s)
          AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
        ORDER BY trade_id DESC FETCH FIRST %(limit)s ROWS WITH TIES
    """
    parameters = {"pair_id": pair_id, "order_id": order_id, "account_id": account_id, **page(after, limit)}
    return [_to_fill(row) for row in await database.fetch(query, parameters)]


async def get_positions(
    database: Database,
    *,
    position_id: UUID | None = None,
    pair_id: UUID | None = None,
    account_id: UUID | None = None,
    strategy_id: UUID | None = None,
    other_than: Collection[UUID] = (),
    after: UUID | None = None,
    limit: int = 100,
) -> list[PositionState]:
    """Return positions, newest first, from below the id `after`; none of the accounts `other_than`."""
    query = f"""
        SELECT {_POSITION_COLUMNS} FROM positions
        WHERE position_id < %(before)s
          AND (%(position_id)s::uuid IS NULL OR position_id = %(position_id)s)
          AND (%(pair_id)s::uuid IS NULL OR pair_id = %(pair_id)s)
          AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
          AND (%(strategy_id)s::uuid IS NULL OR strategy_id = %(strategy_id)s)
          AND account_id <> ALL(%(other_than)s::uuid[])
        ORDER BY position_id DESC LIMIT %(limit)s
    """
    parameters = {
        "position_id": position_id, "pair_id": pair_id, "account_id": account_id, "strategy_id": strategy_id,
        "other_than": list(other_than), **page(after, limit),
    }  # fmt: skip
    return [_to_position(row) for row in await database.fetch(query, parameters)]


async def get_watched_positions(database: Database, other_than: Collection[UUID]) -> list[UUID]:
    """Return all positions that are not flat, and those of open alerts; none of the accounts `other_than`."""
    query = """
        SELECT position_id FROM positions
        WHERE account_id <> ALL(%(other_than)s::uuid[])
          AND (qty_lots <> 0 OR position_id IN (SELECT position_id FROM risk_alerts WHERE state = 'RAISED'))
        ORDER BY position_id DESC
    """
    return [row["position_id"] for row in await database.fetch(query, {"other_than": list(other_than)})]


async def get_positions_beside(database: Database, position_id: UUID, limit: int) -> list[PositionState]:
    """Return a position and then the others of its account, newest first; nothing for an unknown one."""
    query = f"""
        SELECT {_POSITION_COLUMNS} FROM positions
        WHERE account_id = (SELECT account_id FROM positions WHERE position_id = %(position_id)s)
        ORDER BY position_id = %(position_id)s DESC, position_id DESC LIMIT %(limit)s
    """
    rows = await database.fetch(query, {"position_id": position_id, "limit": limit})
    return [_to_position(row) for row in rows]


async def get_simulated_prices(
    database: Database, pair_id: UUID, start_ts: int, end_ts: int, limit: int = 1_000_000
) -> list[tuple[int, int]]:
    """Return (ns UTC, mid in half ticks) of a simulated pair in [start, end), the newest `limit`, oldest first."""
    query = """
        SELECT ts, mid_half_ticks FROM simulated_prices
        WHERE pair_id = %s AND ts >= %s AND ts < %s ORDER BY ts DESC LIMIT %s
    """
    async with database.connection() as connection:
        cursor = await connection.execute(query, (pair_id, start_ts, end_ts, limit))
        rows: list[tuple[int, int]] = await cursor.fetchall()
    return rows[::-1]


async def add_position(database: Database, state: PositionState) -> PositionState:
    """Store a flat position unless its owner has one in the pair; return the one that is there."""
    async with database.transaction() as connection:
        await connection.execute(
            f"INSERT INTO positions ({_POSITION_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (account_id, pair_id, strategy_id) DO NOTHING",
            _position_row(state),
        )
        rows = await fetch(
            connection,
            f"SELECT {_POSITION_COLUMNS} FROM positions WHERE account_id = %s AND pair_id = %s"
            " AND strategy_id IS NOT DISTINCT FROM %s",
            (state.account_id, state.pair_id, state.strategy_id),
        )
    return _to_position(rows[0])


async def lock_position(connection: Connection, position_id: UUID) -> PositionState:
    """Return an existing position, locked until the end of the transaction."""
    query = f"SELECT {_POSITION_COLUMNS} FROM positions WHERE position_id = %s FOR UPDATE"
    return _to_position((await fetch(connection, query, (position_id,)))[0])


async def store_position(connection: Connection, state: PositionState) -> None:
    """Write a position's present state."""
    await connection.execute(_SAVE_POSITION, _position_row(state))


_TRADES = (
    "SELECT body FROM (SELECT position, body, type, aggregate_id FROM events"
    " WHERE stream_id = (SELECT stream_id FROM event_streams WHERE name = %(stream)s)"
    " ORDER BY position DESC LIMIT %(rows)s) recent"
    " WHERE type = 'simulator.trade.executed' AND aggregate_id = %(session_id)s ORDER BY position DESC LIMIT %(trades)s"
)
"""Among the stream's last rows, so that a stream of other events costs no more than these."""
_ROWS_PER_TRADE = 3


async def load_trades(connection: Connection, stream: str, session_id: UUID, most: int) -> list[str]:
    """Return the stored events of a session's last public trades as JSON text, oldest first."""
    wanted = {"stream": stream, "session_id": session_id, "trades": most, "rows": _ROWS_PER_TRADE * most}
    return [row["body"] for row in reversed(await fetch(connection, _TRADES, wanted))]
