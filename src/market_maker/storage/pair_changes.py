"""Changes of pairs that are there: which terms may be changed and when, and the trail of who changed what.

Owns the statements. What is kept in whole ticks, lots or units of cash stays readable: a term that such rows depend on is changed
only while there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.domain.errors import Conflict, InvalidRequest
from market_maker.domain.ids import BACKTEST_ACCOUNT_ID, new_id
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.monitoring.logs import caller, correlation_id
from market_maker.storage.database import Connection, Database, fetch

FEES = ("maker_fee", "taker_fee")
STEPS = ("tick_size", "lot_size")
TERMS = ("contract_type", "contract_multiplier", "base", "quote")
CHANGEABLE = (*FEES, *TERMS, *STEPS)


def changed(instrument: Instrument, changes: Mapping[str, Any]) -> Instrument:
    """Return a pair with other terms; InvalidRequest for one that stays or a contract type that is none."""
    for name, value in changes.items():
        if name not in CHANGEABLE:
            raise InvalidRequest.of(name, str(value), ", ".join(CHANGEABLE))
    values = dict(changes)
    if "contract_type" in values:
        try:
            values["contract_type"] = ContractType(values["contract_type"])
        except ValueError:
            allowed = ", ".join(ContractType)
            raise InvalidRequest.of("contract_type", str(values["contract_type"]), allowed) from None
    return replace(instrument, **values)


async def store_change(connection: Connection, before: Instrument, after: Instrument, ts: int) -> None:
    """Store a pair's new terms, whose row is locked, with a line of the trail; nothing when nothing is new.

    Fees: never while a market of the pair runs, which took them when it began. Contract, currencies and steps: never while rows
    are kept in their units (orders, markets, positions but those that backtests left, which go) or a run is on its way. Steps:
    never when days are recorded.

    Raises
    ------
    Conflict
        Names what stands against the change.
    """
    names = [name for name in CHANGEABLE if getattr(before, name) != getattr(after, name)]
    if not names:
        return
    known = {"pair_id": before.pair_id, "backtest": BACKTEST_ACCOUNT_ID, "venue": before.venue, "symbol": before.symbol}
    obstacles = _FEE_OBSTACLES if set(names) <= set(FEES) else {**_TERM_OBSTACLES}
    if set(names) & set(STEPS):
        obstacles = obstacles | _STEP_OBSTACLES
    for why, query in obstacles.items():
        if await fetch(connection, query, known):
            raise Conflict(f"{', '.join(names)} of {before.venue}/{before.symbol} cannot be changed: {why}")
    if obstacles is not _FEE_OBSTACLES:
        await _forget_positions(connection, known)
    await write_terms(connection, before, after, ts)


async def write_terms(connection: Connection, before: Instrument, after: Instrument, ts: int) -> None:
    """Write a pair's new terms and a line of the trail, whatever is kept in the old ones."""
    values = {name: _plain(getattr(after, name)) for name in CHANGEABLE} | {"pair_id": before.pair_id}
    await connection.execute(_UPDATE_TERMS, values)
    details: dict[str, Any] = {
        "changes": {
            name: {"from": _text(getattr(before, name)), "to": _text(getattr(after, name))}
            for name in CHANGEABLE
            if getattr(before, name) != getattr(after, name)
        }
    }
    causes = {"by": caller(), "correlation_id": correlation_id()}
    details |= {name: cause for name, cause in causes.items() if cause is not None}
    await connection.execute(
        "INSERT INTO pair_changes VALUES (%s, %s, %s, %s)", (new_id(), before.pair_id, ts, Jsonb(details))
    )


async def get_changes(
    database: Database, pair_id: UUID, *, after: UUID | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return the changes of a pair as JSON values, newest first."""
    rows = await database.fetch(
        "SELECT * FROM pair_changes WHERE pair_id = %(pair_id)s AND change_id < %(before)s ORDER BY change_id DESC LIMIT %(limit)s",
        {"pair_id": pair_id, "before": after or UUID(int=2**128 - 1), "limit": limit},
    )
    return [
        {
            "change_id": str(row["change_id"]),
            "ts": str(row["ts"]),
            "changes": row["details"]["changes"],
            "by": row["details"].get("by"),
            "correlation_id": row["details"].get("correlation_id"),
        }
        for row in rows
    ]


async def _forget_positions(connection: Connection, known: dict[str, Any]) -> None:
    """Remove what backtests left in a pair, figures of it included: it is in units that are no more."""
    for statement in _FORGET_POSITIONS:
        await connection.execute(statement, known)


def _plain(value: object) -> object:
    return value.value if isinstance(value, ContractType) else value


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


_UPDATE_TERMS = """
    UPDATE pairs SET maker_fee = %(maker_fee)s, taker_fee = %(taker_fee)s, contract_type = %(contract_type)s,
        contract_multiplier = %(contract_multiplier)s, base = %(base)s, quote = %(quote)s, tick_size = %(tick_size)s,
        lot_size = %(lot_size)s, change_number = nextval('pair_change_numbers')
    WHERE pair_id = %(pair_id)s
"""
_LEFT_BY_RUNS = "(SELECT position_id FROM positions WHERE pair_id = %(pair_id)s AND account_id = %(backtest)s)"
_FORGET_POSITIONS = (
    f"DELETE FROM risk_metrics WHERE position_id IN {_LEFT_BY_RUNS}",
    f"DELETE FROM risk_model_tests WHERE position_id IN {_LEFT_BY_RUNS}",
    f"DELETE FROM position_transfers WHERE position_id IN {_LEFT_BY_RUNS}",
    f"DELETE FROM positions WHERE position_id IN {_LEFT_BY_RUNS}",
)
_FEE_OBSTACLES = {
    "a simulated market of it runs, which took its fees when it began; stop the session first": (
        "SELECT 1 FROM sessions WHERE pair_id = %(pair_id)s AND state <> 'STOPPED' LIMIT 1"
    ),
}
_TERM_OBSTACLES = {
    "a simulated market or its orders are kept in the present ones; add a pair of another symbol": (
        "SELECT 1 FROM sessions WHERE pair_id = %(pair_id)s UNION ALL"
        " SELECT 1 FROM simulated_orders WHERE pair_id = %(pair_id)s LIMIT 1"
    ),
    "positions of accounts are kept in the present ones; add a pair of another symbol": (
        "SELECT 1 FROM positions WHERE pair_id = %(pair_id)s AND account_id <> %(backtest)s LIMIT 1"
    ),
    "a backtest of it is on its way; wait for it, or cancel it": (
        "SELECT 1 FROM backtest_runs WHERE status = 'RUNNING' AND (pair_id = %(pair_id)s"
        " OR configuration -> 'with_pairs' ? %(pair_id)s::text) LIMIT 1"
    ),
}
_STEP_OBSTACLES = {
    "days are recorded in the present ones; an import with --tick-size or --lot-size makes them finer": (
        "SELECT 1 FROM market_data_days WHERE venue = %(venue)s AND symbol = %(symbol)s LIMIT 1"
    ),
}
