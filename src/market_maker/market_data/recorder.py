"""Recording a simulated session: events go to a spool of fixed-size records, and from there into the lake.

A crash loses at most what was not flushed; a torn last record is cut off when the spool is opened again. A snapshot
that is not the first says that recording was interrupted: the silence before it becomes a gap of the day. Cheap per
call: one pack into memory. Knows nothing of the market that it records.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly
from market_maker.market_data.ingest import ImportReport, Quality
from market_maker.market_data.schema import EventKind
from market_maker.storage.lake import Lake

NAME, VERSION = "session_recorder", "1"
_RECORD = struct.Struct("<qqqqbb6x")
_DTYPE = np.dtype(
    {
        "names": ["exch_ts", "local_ts", "price_ticks", "qty_lots", "kind", "side"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "i1", "i1"],
        "offsets": [0, 8, 16, 24, 32, 33],
        "itemsize": _RECORD.size,
    }
)
_HEADER_BYTES = 512
_FLUSH_BYTES = 1 << 16
_READ_RECORDS = 1 << 16


class SessionRecorder:
    """Appends the events of one session of one pair.

    Parameters
    ----------
    path : the spool file; an existing one of the same pair is continued
    instrument : the pair; its tick and lot are kept in the spool

    All rows with one `local_ts` are one message; the first row must belong to a snapshot; `local_ts` never decreases.
    `last_ts` is that of the last row, 0 without one.
    """

    def __init__(self, path: Path, instrument: Instrument) -> None:
        self.path, self.instrument = path, instrument
        self.rows = self.last_ts = 0
        self._buffer = bytearray()
        header = _header(instrument)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.stat().st_size if path.exists() else 0
        if known >= _HEADER_BYTES:
            with path.open("rb") as stream:
                if stream.read(_HEADER_BYTES) != header:
                    raise DataError(f"{path.name} is the spool of another pair or version; finish or remove it first")
            self.rows = (known - _HEADER_BYTES) // _RECORD.size
            os.truncate(path, _HEADER_BYTES + self.rows * _RECORD.size)
            self.last_ts = last_recorded_ts(path)
        else:
            path.write_bytes(header)
        self._file = path.open("ab", buffering=0)

    def record_depth(self, exch_ts: int, local_ts: int, side: int, price_ticks: int, qty_lots: int) -> None:
        """Record a level's new quantity, 0 when it is gone; `side` +1 is bid."""
        self._append(exch_ts, local_ts, price_ticks, qty_lots, EventKind.DEPTH, side)

    def record_trade(self, exch_ts: int, local_ts: int, aggressor_side: int, price_ticks: int, qty_lots: int) -> None:
        """Record a public trade."""
        self._append(exch_ts, local_ts, price_ticks, qty_lots, EventKind.TRADE, aggressor_side)

    def record_snapshot(
        self, exch_ts: int, local_ts: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]
    ) -> None:
        """Record the whole book as (price_ticks, qty_lots).

        It replaces what was known; unless it is the first, nothing is known of the time since the row before it.
        """
        for side, levels in ((1, bids), (-1, asks)):
            self._append(exch_ts, local_ts, 0, 0, EventKind.CLEAR, side)
            for price_ticks, qty_lots in levels:
                self._append(exch_ts, local_ts, price_ticks, qty_lots, EventKind.SNAPSHOT, side)

    def flush(self, sync: bool = False) -> None:
        """Hand what is buffered to the operating system; with `sync`, to the disk."""
        while self._buffer:
            # A disk that fills up takes a part; the rest must follow at the same place, or no record fits any more.
            del self._buffer[: self._file.write(self._buffer)]
        if sync:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close, keeping the spool."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def finish(
        self, lake: Lake, progress: Callable[[int, int], None] | None = None, *, keep_spool: bool = False
    ) -> ImportReport:
        """Publish the session's days and return what was published.

        The spool is removed, or kept with `keep_spool`, so that a later recording of the same day can go on in it.

        Raises
        ------
        DataError
            Nothing was recorded, the first event is not a snapshot, or the book crosses itself; the spool is kept.
        """
        self.flush(sync=True)
        self._file.close()
        assembly = Assembly(lake, self.instrument, derives_bbo=True)
        counts = {kind.name.lower(): 0 for kind in EventKind}
        digest = hashlib.sha256()
        try:
            self._replay(assembly, counts, digest.update, progress)
            if assembly.quality.crossed:
                raise DataError(f"the recorded book is crossed after {assembly.quality.crossed} messages")
            days = assembly.publish()
        finally:
            assembly.discard()
        if not keep_spool:
            self.path.unlink()
        quality = assembly.quality
        return ImportReport(
            source=self.path.name,
            source_sha256=digest.hexdigest(),
            importer=NAME,
            importer_version=VERSION,
            options={},
            days=days,
            counts={"rows": self.rows, **counts},
            quality=Quality(crossed=quality.crossed, locked=quality.locked, book_messages=quality.messages),
        )

    def _append(self, exch_ts: int, local_ts: int, price_ticks: int, qty_lots: int, kind: int, side: int) -> None:
        self._buffer += _RECORD.pack(exch_ts, local_ts, price_ticks, qty_lots, kind, side)
        self.rows += 1
        self.last_ts = local_ts
        if len(self._buffer) >= _FLUSH_BYTES:
            self.flush()

    def _replay(
        self,
        assembly: Assembly,
        counts: dict[str, int],
        digest: Callable[[bytes], None],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        spooled = _Spooled(assembly)
        done = 0
        with self.path.open("rb") as stream:
            stream.seek(_HEADER_BYTES)
            while chunk := stream.read(_READ_RECORDS * _RECORD.size):
                digest(chunk)
                for record in np.frombuffer(chunk, _DTYPE).tolist():
                    if done == 0 and record[4] != EventKind.CLEAR:
                        raise DataError(f"{self.path.name}: the first event is not a snapshot; the book is unknown")
                    done += 1
                    counts[EventKind(record[4]).name.lower()] += 1
                    spooled.take(*record)
                if progress is not None:
                    progress(done, self.rows)
        spooled.end_message()


class _Spooled:
    """Hands the records of a spool to an assembly, message by message."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._message: tuple[int, int] | None = None
        self._is_first = True

    def take(self, exch_ts: int, local_ts: int, price: int, lots: int, kind: int, side: int) -> None:
        if kind == EventKind.CLEAR:
            # A snapshot clears both sides, bids first; the pair of records is one clear of the book.
            if side > 0:
                # A crash may have torn the message before; only whole ones are judged.
                self._message = None
                self._assembly.start_book(exch_ts, local_ts, 0, after_silence=not self._is_first)
                self._is_first = False
            return
        if self._message is not None and self._message[1] != local_ts:
            self.end_message()
        if kind == EventKind.TRADE:
            self._assembly.trade(exch_ts, local_ts, side, price, lots, 0)
            return
        self._message = (exch_ts, local_ts)
        if kind == EventKind.SNAPSHOT:
            self._assembly.fill_book(exch_ts, local_ts, 0, ((side, price, lots),))
        else:
            self._assembly.depth(exch_ts, local_ts, 0, ((side, price, lots),))

    def end_message(self) -> None:
        if self._message is not None:
            self._assembly.end_message(*self._message)
            self._message = None


def last_recorded_ts(path: Path) -> int:
    """Return the receive time (ns UTC) of the last whole record of a spool, 0 without one."""
    rows = (path.stat().st_size - _HEADER_BYTES) // _RECORD.size
    if rows <= 0:
        return 0
    with path.open("rb") as stream:
        stream.seek(_HEADER_BYTES + (rows - 1) * _RECORD.size)
        return int(_RECORD.unpack(stream.read(_RECORD.size))[1])


def _header(instrument: Instrument) -> bytes:
    values = {
        "format": f"{NAME}-{VERSION}",
        "venue": instrument.venue,
        "symbol": instrument.symbol,
        "tick_size": str(instrument.tick_size),
        "lot_size": str(instrument.lot_size),
    }
    return json.dumps(values, sort_keys=True).encode().ljust(_HEADER_BYTES)
