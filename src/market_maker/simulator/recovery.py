"""From committed rows to a running exchange, and back to the row of its session. Start-up is recovery."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from market_maker.domain.errors import MarketMakerError, Unavailable
from market_maker.domain.events import Event, EventType
from market_maker.domain.ids import MARKET_ACCOUNT_ID
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.played import PlayableMarket, PlayedExchange, Player, load_played
from market_maker.simulator.session import Playback, Session, SessionRules
from market_maker.storage.accounts import TRANSFERRED
from market_maker.storage.database import Connection, Database, fetch, lost_server_is_unavailable
from market_maker.storage.outbox import ensure_stream
from market_maker.storage.simulation import load_market, load_open_orders, load_positions, load_session
from market_maker.venue.changes import Changes
from market_maker.venue.funds import AccountFunds
from market_maker.venue.venue import phase_name

_PAIR_LOCKS = 0x4D4D
_CONFIGURATION = (
    "price_deviation", "execution_delay_ns", "market_update_interval_ns", "initial_price_ticks", "speed", "parameters", "rules",
    "playback",
)  # fmt: skip


class RecordingLostError(Unavailable):
    """A session's recording cannot be opened."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A market to run: what is traded and, for the first start, the session as it was asked for; who opens recordings."""

    instrument: Instrument
    first: Session
    player: Player | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A restored exchange. `changes` is what has to be committed before anything else, None for nothing.

    `fault` says what of the stored market was not as it should be.
    """

    exchange: SimulatedExchange
    stream_id: int
    last_ts: int
    changes: Changes | None
    fault: str = ""


async def load_exchange(connection: Connection, row: SessionRow, funds: dict[UUID, AccountFunds]) -> Loaded:
    """Return the committed state of a pair as a running exchange; the connection then owns the pair.

    Raises
    ------
    Unavailable : the server is lost, or another service runs this pair
    """
    pair_id = row.instrument.pair_id
    async with lost_server_is_unavailable():
        await _own_pair(connection, pair_id)
        stream_id = await ensure_stream(connection, f"pair {pair_id}")
        stored = await load_session(connection, pair_id)
        orders = await load_open_orders(connection, pair_id)
        positions = await load_positions(connection, pair_id)
        checkpoint, log = (None, []) if stored is None else await load_market(connection, stored["session_id"])
        await _load_funds(connection, pair_id, funds)
    session = row.first if stored is None else to_session(stored)
    recording = None if session.playback is None else await _open(row, session)
    if session.market:
        if recording is None:
            exchange, fault = SimulatedExchange.load(row.instrument, session, funds, checkpoint=checkpoint, log=log)
        else:
            exchange, fault = load_played(row.instrument, session, funds, recording, checkpoint=checkpoint, log=log)
        for position in positions:
            exchange.venue.add_position(position)
        wrong = exchange.restore_orders(orders)
        last_ts = max(exchange.last_ts, session.updated_ts)
        if wrong and not fault:
            fault = f"{wrong} open orders and the memory of the market did not agree"
        return Loaded(exchange, stream_id, last_ts, exchange.take_changes() if fault else None, fault)
    exchange = (
        SimulatedExchange(row.instrument, session, funds)
        if recording is None
        else PlayedExchange(row.instrument, session, funds, recording)
    )
    for position in positions:
        exchange.venue.add_position(position)
    exchange.venue.session_sequence = 1
    data = {"session_id": str(session.session_id), "pair_id": str(pair_id), "mode": session.mode.value}
    started = Event(EventType.SESSION_STARTED, session.session_id, 1, session.created_ts, str(session.session_id), data)
    exchange.changes.events.append(started)
    exchange.begin()
    return Loaded(exchange, stream_id, session.created_ts, exchange.take_changes())


async def _open(row: SessionRow, session: Session) -> PlayableMarket:
    """Open the recording of a session; Unavailable when that cannot be done."""
    assert session.playback is not None
    if row.player is None:
        raise Unavailable("this service cannot play recordings")
    try:
        return await asyncio.to_thread(row.player.open, row.instrument, session.playback, session.seed)
    except MarketMakerError as error:
        raise RecordingLostError(
            f"the recording of session {session.session_id} cannot be played: {error.detail}"
        ) from error


def session_row(exchange: SimulatedExchange, ts: int) -> dict[str, Any]:
    """Return the row of table `sessions` for the present state."""
    session = exchange.session
    return {
        "session_id": session.session_id,
        "pair_id": session.pair_id,
        "mode": session.mode.value,
        "seed": session.seed,
        "state": session.state,
        "configuration": {key: getattr(session, key) for key in _CONFIGURATION},
        "market": exchange.dump_state(),
        "sequence": exchange.venue.session_sequence,
        "created_ts": session.created_ts,
        "updated_ts": ts,
    }


def to_session(row: dict[str, Any]) -> Session:
    """Return the session of a row of table `sessions`."""
    configuration = dict(row["configuration"])
    rules = SessionRules(**configuration.pop("rules", {}))
    played = configuration.pop("playback", None)
    return Session(
        session_id=row["session_id"],
        pair_id=row["pair_id"],
        mode=TestMode(row["mode"]),
        seed=row["seed"],
        state=row["state"],
        created_ts=row["created_ts"],
        updated_ts=row["updated_ts"],
        sequence=row["sequence"],
        market=row["market"],
        rules=rules,
        playback=None if played is None else msgspec.convert(played, Playback),
        **configuration,
    )


async def _own_pair(connection: Connection, pair_id: UUID) -> None:
    """Take the advisory lock that makes this connection the pair's only writer."""
    rows = await fetch(connection, "SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS mine", (_PAIR_LOCKS, str(pair_id)))
    if not rows[0]["mine"]:
        raise Unavailable("another service runs this pair on the same database; stop it first")


async def is_run_by_another(database: Database) -> bool:
    """Return whether some connection owns a pair of this database: while no loop of ours runs, that of another service."""
    query = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1"
    )
    return await database.fetch_one(query, (_PAIR_LOCKS,)) is not None


async def _load_funds(connection: Connection, pair_id: UUID, funds: dict[UUID, AccountFunds]) -> None:
    """Make sure that every account has funds, without any stake of `pair_id` left from before."""
    for account in await fetch(connection, TRANSFERRED, (MARKET_ACCOUNT_ID,)):
        key = account["account_id"]
        fresh = AccountFunds(key, account["initial_balance"], account["transferred"])
        funds.setdefault(key, fresh).pairs.pop(pair_id, None)


def session_data(exchange: SimulatedExchange) -> dict[str, Any]:
    """Return a running session as JSON values."""
    session = exchange.session
    return {
        "session_id": str(session.session_id),
        "pair_id": str(session.pair_id),
        "mode": session.mode.value,
        "seed": session.seed,
        "state": session.state,
        "price_deviation": exchange.laws.reference.price_deviation,
        "execution_delay_ns": session.execution_delay_ns,
        "market_update_interval_ns": exchange.laws.reference.step_ns,
        "created_ts": str(session.created_ts),
        "speed": session.speed,
        "parameters": session.parameters,
        "rules": session.rules,
        "phase": phase_name(exchange.market.book.phase),
        "scenarios": exchange.scenarios(),
        "step": exchange.step,
        "reference_price": str(exchange.instrument.ticks_to_price(exchange.market.reference_ticks)),
        "open_orders": len(exchange.venue.orders),
        "trades": exchange.venue.trades,
        "playback": exchange.playback_data(),
        "fault": None,
    }
