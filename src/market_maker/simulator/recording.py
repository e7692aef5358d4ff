"""Recordings of running sessions: the public feed of a market, written into the lake like any other history.

A recording grows in a spool file of its pair; stopping it publishes the whole days at once. After a crash the session
goes on recording into the same spool. A finished spool is kept until its day is over: a second recording of the day
goes on in it, because a day in the lake is replaced as a whole. Each interruption ends with a snapshot of the book; what
nobody can trade with is one: a halt, and orders that wait for an auction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from market_maker.domain.clock import Clock
from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.domain.units import DAY_NS
from market_maker.market_data.catalogue import publish_import
from market_maker.market_data.ingest import ImportReport
from market_maker.market_data.recorder import SessionRecorder, last_recorded_ts
from market_maker.matching.codes import Phase
from market_maker.simulator.books import public_levels
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.simulator.loop import PairLoop
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.venue.changes import Changes, Print

_KEPT = ".kept"
_OPEN = (Phase.CONTINUOUS, Phase.CLOSED)
"""Phases whose book is recorded: in the others orders may cross, or wait."""
_log = structlog.get_logger("simulator")


@dataclass(slots=True)
class Recording:
    """One session being recorded: the spool, the exchange that is watched and its levels as last written.

    `failure` says why a recording ended by itself, such as a full disk: the market goes on without it.
    """

    recorder: SessionRecorder
    exchange: SimulatedExchange | None = None
    levels: dict[Side, dict[int, int]] = field(default_factory=dict)
    failure: str = ""

    def begin(self, exchange: SimulatedExchange, ts: int) -> None:
        """Write the whole book as it stands at `ts`, ns UTC; what happened since the last row is not known.

        Where there is no book to trade with, nothing yet.
        """
        if not _is_seen(exchange):
            return
        self.exchange = exchange
        self.levels = {side: public_levels(exchange, side) for side in Side}
        bids, asks = (list(self.levels[side].items()) for side in (Side.BUY, Side.SELL))
        ts = max(ts, exchange.last_ts, self.recorder.last_ts + 1)
        self.recorder.record_snapshot(ts, ts, bids, asks)
        self.recorder.flush()

    def observe(self, exchange: SimulatedExchange, changes: Changes) -> None:
        """Write what a commit changed; after the market was read back from the database, its whole book."""
        if self.failure:
            return
        if not _is_seen(exchange):
            self.exchange = None
            return
        try:
            if exchange is self.exchange:
                self._write(exchange, changes)
            else:
                self.begin(exchange, exchange.last_ts)
                self._write_prints([trade for trade in changes.prints if trade.is_auction])
        except OSError as error:
            self.failure = f"the recording ended at {self.recorder.last_ts} ns: {error}"
            _log.error("recording failed; the market goes on", spool=str(self.recorder.path), reason=str(error))

    def _write(self, exchange: SimulatedExchange, changes: Changes) -> None:
        """Write the trades of a commit, then the levels that differ."""
        self._write_prints(changes.prints)
        if changes.book_changed:
            ts = max(exchange.last_ts, self.recorder.last_ts)
            for side in Side:
                before, now = self.levels[side], public_levels(exchange, side)
                for price in before.keys() - now.keys():
                    self.recorder.record_depth(ts, ts, side, price, 0)
                for price, quantity in now.items():
                    if before.get(price) != quantity:
                        self.recorder.record_depth(ts, ts, side, price, quantity)
                self.levels[side] = now
        self.recorder.flush()

    def _write_prints(self, trades: Sequence[Print]) -> None:
        for trade in trades:
            # A snapshot may bear a later time than the market had reached.
            ts = max(trade.ts, self.recorder.last_ts)
            if trade.is_auction:
                self.recorder.record_print(ts, ts, trade.price_ticks, trade.qty_lots)
            else:
                self.recorder.record_trade(ts, ts, trade.aggressor, trade.price_ticks, trade.qty_lots)


def _is_seen(exchange: SimulatedExchange) -> bool:
    """Tell whether there is a book to trade with, and people are told of it."""
    return exchange.frozen is None and exchange.market.book.phase in _OPEN


class Recordings:
    """All recordings in progress.

    Parameters
    ----------
    database, lake : where a finished recording is catalogued and published
    spool : folder of the growing files
    """

    def __init__(self, database: Database, lake: Lake, spool: Path, clock: Clock) -> None:
        self._database = database
        self._lake = lake
        self._spool = spool
        self._clock = clock
        self._active: dict[UUID, Recording] = {}
        self._publishing: set[UUID] = set()

    def is_active(self, session_id: UUID) -> bool:
        """Tell whether a session is being recorded."""
        return session_id in self._active and not self._active[session_id].failure

    def rows(self, session_id: UUID) -> int:
        """Return the number of events recorded so far."""
        return self._active[session_id].recorder.rows if session_id in self._active else 0

    async def start(self, loop: PairLoop) -> None:
        """Begin to record a session; Conflict when it is being recorded or published already."""
        exchange = await loop.committed()
        session_id = exchange.session.session_id
        if exchange.is_played:
            raise Conflict("the market is a recording already: it is not recorded again")
        if session_id in self._publishing:
            raise Conflict(f"the recording of session {session_id} is being published; try again")
        if self.is_active(session_id):
            raise Conflict(f"session {session_id} is being recorded already")
        failed = self._active.pop(session_id, None)
        if failed is not None:
            self._leave(loop, failed)
        self._begin(loop, exchange)

    def resume(self, loop: PairLoop) -> None:
        """Go on with a recording that a stop or a crash of the service interrupted."""
        if loop.exchange is not None and self._growing(loop).exists():
            self._begin(loop, loop.exchange)

    async def stop(self, loop: PairLoop) -> ImportReport:
        """End a recording and publish it.

        Raises
        ------
        Conflict : the session is not being recorded
        DataError : what was recorded cannot be published; its spool is set aside for inspection
        Unavailable : the catalogue cannot be written; the spool stays, so that `stop` can be called again
        """
        session_id = (await loop.committed()).session.session_id
        if session_id in self._publishing:
            raise Conflict(f"the recording of session {session_id} is being published already")
        recording = self._active.pop(session_id, None)
        if recording is not None:
            self._leave(loop, recording)
        growing = self._growing(loop)
        if not growing.exists():
            raise Conflict(f"session {session_id} is not being recorded")
        self._publishing.add(session_id)
        try:
            pair = loop.instrument
            lock = self._lake.lock(pair.venue, pair.symbol)
            await asyncio.to_thread(lock.__enter__)
            try:
                report = await asyncio.to_thread(self._stage, growing, pair)
                await publish_import(self._database, self._lake, report, self._clock.now_ns())
            finally:
                lock.__exit__(None, None, None)
            growing.replace(growing.with_suffix(_KEPT))
        finally:
            self._publishing.discard(session_id)
        return report

    def suspend(self) -> None:
        """Make the spools durable before the service ends."""
        for recording in self._active.values():
            with contextlib.suppress(OSError):
                recording.recorder.flush(sync=True)
                recording.recorder.close()
        self._active.clear()

    def _stage(self, spool: Path, instrument: Instrument) -> ImportReport:
        try:
            return SessionRecorder(spool, instrument).finish(self._lake, keep_spool=True)
        except DataError as error:
            damaged = spool.with_suffix(f".damaged-{self._clock.now_ns()}")
            spool.replace(damaged)
            raise DataError(f"{error.detail}; nothing was published, the spool is kept as {damaged.name}") from error

    def _begin(self, loop: PairLoop, exchange: SimulatedExchange) -> None:
        self._spool.mkdir(parents=True, exist_ok=True)
        growing = self._growing(loop)
        kept = growing.with_suffix(_KEPT)
        now = self._clock.now_ns()
        if kept.exists() and not growing.exists():
            if last_recorded_ts(kept) // DAY_NS == now // DAY_NS:
                kept.replace(growing)
            else:
                kept.unlink()
        recording = Recording(SessionRecorder(growing, loop.instrument))
        recording.begin(exchange, now)
        self._active[exchange.session.session_id] = recording
        loop.observers.append(recording.observe)

    def _leave(self, loop: PairLoop, recording: Recording) -> None:
        loop.observers.remove(recording.observe)
        with contextlib.suppress(OSError):
            recording.recorder.close()

    def _growing(self, loop: PairLoop) -> Path:
        return self._spool / f"{loop.instrument.pair_id}.spool"
