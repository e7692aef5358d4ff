"""Recording a simulated session: events go to a spool of fixed-size records, and from there into the lake.

A crash loses at most what was not flushed; a torn last record is cut off when the spool is opened again. A snapshot
that is not the first says that recording was interrupted: the silence before it becomes a gap of the day. Cheap per
call: one pack into memory. Knows nothing of the market that it records.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.assembly import Assembly, with_message_ends
from market_maker.market_data.importers import Stream
from market_maker.market_data.ingest import ImportReport, SourceFile, StreamReport
from market_maker.market_data.quality import judge
from market_maker.market_data.schema import BOOK_SCHEMA, NO_LEVEL, EventKind
from market_maker.storage.lake import Lake, Origin

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
_RECORDED = (EventKind.DEPTH, EventKind.TRADE, EventKind.CLEAR, EventKind.SNAPSHOT, EventKind.PRINT)


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

    def record_print(self, exch_ts: int, local_ts: int, price_ticks: int, qty_lots: int) -> None:
        """Record a trade outside of the continuous book, such as an auction's: it has no aggressor."""
        self._append(exch_ts, local_ts, price_ticks, qty_lots, EventKind.PRINT, 0)

    def record_snapshot(
        self, exch_ts: int, local_ts: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]
    ) -> None:
        """Record the whole book as (price_ticks, qty_lots).

        It replaces what was known; unless it is the first, nothing is known of the time since the row before it.
        """
        for side in (1, -1):
            self._append(exch_ts, local_ts, 0, 0, EventKind.CLEAR, side)
        rows = [(side, *level) for side, levels in ((1, bids), (-1, asks)) for level in levels]
        for side, price_ticks, qty_lots in rows or [NO_LEVEL]:
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
        """Stage the session's days and return the report of what can be published, under the lake's lock.

        The spool is removed, or kept with `keep_spool`, so that a later recording of the same day can go on in it.

        Raises
        ------
        DataError
            Nothing was recorded, the first event is not a snapshot, or the book crosses itself; the spool is kept.
        """
        self.flush(sync=True)
        self._file.close()
        counts = {kind.name.lower(): 0 for kind in _RECORDED}
        digest = hashlib.sha256()
        first_ts = _first_ts(self.path)
        origin = Origin(self.path.name, "", first_ts, self.last_ts)
        assembly = Assembly(lake, self.instrument, "book", [origin], derives_bbo=True)
        try:
            self._replay(assembly, counts, digest.update, progress)
            days = [(staged, judge(staged.figures)) for staged in assembly.finish()]
            if not days:
                raise DataError(f"{self.path.name}: zero events; nothing was recorded")
        finally:
            assembly.close()
        crossed = [f for _, findings in days for f in findings if f.rule == "crossed_share"]
        if crossed:
            raise DataError(f"the recorded book is crossed: {crossed[0].text}")
        if not keep_spool:
            self.path.unlink()
        stream = Stream(self.instrument.venue, self.instrument.symbol, "book")
        report = StreamReport(stream, self.instrument, self.rows, {"rows": self.rows, **counts}, {}, [], days)
        source = SourceFile(self.path.name, digest.hexdigest(), _HEADER_BYTES + self.rows * _RECORD.size)
        return ImportReport((source,), NAME, VERSION, {}, [report])

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
        done = 0
        with self.path.open("rb") as stream:
            stream.seek(_HEADER_BYTES)
            rest = np.empty(0, _DTYPE)
            while chunk := stream.read(_READ_RECORDS * _RECORD.size):
                digest(chunk)
                records = np.frombuffer(chunk, _DTYPE)
                if done == 0 and records["kind"][0] != EventKind.CLEAR:
                    raise DataError(f"{self.path.name}: the first event is not a snapshot; the book is unknown")
                for kind, count in zip(*np.unique(records["kind"], return_counts=True), strict=True):
                    counts[EventKind(kind).name.lower()] += int(count)
                done += len(records)
                # The last message of a chunk may go on in the next one.
                records = np.concatenate([rest, records])
                whole = (
                    len(records)
                    if done >= self.rows
                    else int(np.searchsorted(records["local_ts"], records["local_ts"][-1]))
                )
                _assemble(assembly, records[:whole])
                rest = records[whole:]
                if progress is not None:
                    progress(done, self.rows)


def _assemble(assembly: Assembly, records: NDArray[Any]) -> None:
    """Add records, all rows of one receive time being one message; a snapshot that is not the first follows a silence."""
    begins = np.flatnonzero((records["kind"] == EventKind.CLEAR) & (records["side"] > 0))
    edges = [0, *begins[begins > 0].tolist(), len(records)]
    for start, end in itertools.pairwise(edges):
        part = records[start:end]
        if not len(part):
            continue
        frame = with_message_ends(
            pl.DataFrame({name: part[name] for name in BOOK_SCHEMA if name != "sequence"}, schema_overrides=BOOK_SCHEMA)
            .with_columns(sequence=pl.lit(0, pl.Int64))
            .select(list(BOOK_SCHEMA))
        )
        if end < len(records):
            # A crash may have torn the last message of a part; only whole ones are judged.
            frame = frame.with_columns(last=pl.col("last") & (pl.int_range(pl.len()) < pl.len() - 1))
        if part["kind"][0] == EventKind.CLEAR:
            assembly.lose_book()
        assembly.add(frame)


def _first_ts(path: Path) -> int:
    with path.open("rb") as stream:
        stream.seek(_HEADER_BYTES)
        record = stream.read(_RECORD.size)
    return int(_RECORD.unpack(record)[1]) if len(record) == _RECORD.size else 0


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
