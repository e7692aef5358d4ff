"""Turns the rows of one stream into staged days: builds the book, judges it, cuts by UTC day, carries the book over.

Shared by the import of files and the recorder of live sessions. Each day but the first begins with the full book left by
the day before, so that any day can be replayed alone. Stretches without a known book are the day's gaps. Nothing is
visible in the lake before the staged days are published. Memory is bounded: what a day outgrows goes to Arrow files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.market_data.book import Applied, Book
from market_maker.market_data.quality import Meter
from market_maker.market_data.schema import BBO_SCHEMA, DAY_NS, SCHEMAS, EventKind, kind_of
from market_maker.storage.lake import Lake, Origin, PublishedDay, Table, day_of

DERIVED = "derived"
"""The origin of best quotes that were taken from a book; a source's own take their place."""
MEMORY_BYTES = 256 << 20
_YEARLY = "bars"
_PRINTS = (int(EventKind.TRADE), int(EventKind.PRINT))


@dataclass(slots=True)
class StagedTable:
    """A staged day of one table, with what was measured of it."""

    day: PublishedDay
    figures: dict[str, Any]


@dataclass(slots=True)
class _Pile:
    """Rows of one table of one day."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    rows: int = 0
    carried_rows: int = 0


class Assembly:
    """The rows of one stream, in order of receive time.

    Parameters
    ----------
    instrument : names venue and symbol in the lake and gives tick and lot
    table : what the rows are
    origins : the sources of the rows, as kept with every day
    derives_bbo : also write the best quotes of the built book as table `bbo`
    """

    def __init__(
        self,
        lake: Lake,
        instrument: Instrument,
        table: str,
        origins: Sequence[Origin] = (),
        *,
        derives_bbo: bool = False,
    ) -> None:
        self.staged: list[StagedTable] = []
        self._lake, self._instrument, self._table, self._kind = lake, instrument, table, kind_of(table)
        self._origins, self._derives_bbo = tuple(origins), derives_bbo
        self._columns = list(SCHEMAS[self._kind])
        self._book = Book(by_order=table == "orders") if self._kind in {"book", "orders"} else None
        self._piles: dict[str, _Pile] = {}
        self._folder: Path | None = None
        self._bytes = 0
        self._last_ts = 0
        self._lost = False
        self._period_end = 0
        self._meter: Meter | None = None

    @property
    def book(self) -> Book | None:
        """The book as it stands, of a stream that has one."""
        return self._book

    def continue_from(self, book: Book) -> None:
        """Begin with a book that is known: the first day starts with it."""
        self._book = book

    def add(self, frame: pl.DataFrame, carried_rows: int = 0) -> None:
        """Add rows of the normal form (a book's with `last`); the first `carried_rows` repeat the time before."""
        if not frame.height:
            return
        if self._lost:
            # What stands in the book would go on standing there for a replay; a snapshot clears it by itself.
            self._lost = False
            if frame["kind"][0] != EventKind.CLEAR:
                self.add(self._clears())
        local = frame["local_ts"].to_numpy()
        if local[0] < self._last_ts or not bool(np.all(local[1:] >= local[:-1])):
            raise DataError(f"{self._table}: rows are not in order of receive time")
        start = 0
        while start < frame.height:
            if local[start] >= self._period_end:
                self._begin_period(int(local[start]), int(frame["exch_ts"][start]) if "exch_ts" in frame.columns else 0)
            end = int(np.searchsorted(local, self._period_end))
            self._add_within(frame.slice(start, end - start), carried_rows if start == 0 else 0)
            self._last_ts = int(local[end - 1])
            start = end

    def lose_book(self) -> None:
        """Say that messages may be missing after the last row: the book is unknown until the next snapshot."""
        if self._book is not None and self._book.known:
            self._book.lose(self._last_ts + 1)
            self._lost = True

    def finish(self) -> list[StagedTable]:
        """Stage the last day and return all that were staged; none when not one row could be used."""
        self._end_period()
        return self.staged

    def close(self) -> None:
        """Remove what was written on the way."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _clears(self) -> pl.DataFrame:
        columns = {
            "exch_ts": [0, 0], "local_ts": [self._last_ts + 1] * 2, "kind": [int(EventKind.CLEAR)] * 2, "side": [1, -1],
            "price_ticks": [0, 0], "qty_lots": [0, 0], "sequence": [0, 0], "order_id": [0, 0], "last": [False, True],
        }  # fmt: skip
        schema = {**SCHEMAS[self._kind], "last": pl.Boolean}
        return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)

    def _begin_period(self, ts: int, exch_ts: int) -> None:
        carried = None
        if self._book is not None and self._book.known:
            # A book that comes from before this period begins it.
            carried = self._book.snapshot(exch_ts, ts)
        self._end_period()
        first_day = day_of(ts)
        if self._kind == _YEARLY:
            first_day = first_day.replace(month=1, day=1)
        start = DAY_NS * (first_day - day_of(0)).days
        days = (first_day.replace(year=first_day.year + 1) - first_day).days if self._kind == _YEARLY else 1
        self._period_end = start + days * DAY_NS
        self._meter = Meter(self._instrument.venue, self._table, start)
        if self._book is not None:
            self._book = self._rebegun(self._book, ts)
        if carried is not None:
            self._carry(carried)

    @staticmethod
    def _rebegun(book: Book, ts: int) -> Book:
        """Return an empty book of the same kind, so that a day's gaps are its own."""
        return Book(by_order=book.by_order, first_ts=ts)

    def _carry(self, rows: pl.DataFrame) -> None:
        """Begin with the book that the time before has left: its quotes stand from here on, and nothing of it is measured."""
        assert self._book is not None
        applied = self._book.apply(rows.with_columns(last=pl.int_range(pl.len()) == pl.len() - 1))
        self._pile(self._table, rows.select(self._columns), rows.height)
        if self._derives_bbo and len(applied.quote_rows):
            self._pile("bbo", _quotes(rows, applied))

    def _add_within(self, frame: pl.DataFrame, carried_rows: int) -> None:
        assert self._meter is not None
        if self._book is None:
            self._meter.add(frame)
            self._pile(self._table, frame.select(self._columns))
            return
        if carried_rows:
            self._carry(frame.head(carried_rows))
            frame = frame.slice(carried_rows)
        applied = self._book.apply(frame)
        self._meter.add(frame, applied)
        kept = frame if not applied.dropped.any() else frame.filter(pl.Series(~applied.dropped))
        self._pile(self._table, kept.select(self._columns))
        if self._derives_bbo and len(applied.quote_rows):
            self._pile("bbo", _quotes(frame, applied))

    def _pile(self, table: str, frame: pl.DataFrame, carried_rows: int = 0) -> None:
        if not frame.height:
            return
        pile = self._piles.setdefault(table, _Pile())
        if not pile.rows:
            pile.carried_rows = carried_rows
        pile.frames.append(frame)
        pile.rows += frame.height
        self._bytes += int(frame.estimated_size())
        if self._bytes > MEMORY_BYTES:
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=".assembling-", dir=self._lake.root))
        for pile in self._piles.values():
            if pile.frames:
                path = self._folder / f"{id(pile)}-{len(pile.files)}.arrow"
                pl.concat(pile.frames).write_ipc(path)
                pile.files.append(path)
                pile.frames.clear()
        self._bytes = 0

    def _end_period(self) -> None:
        if self._meter is None or not self._piles:
            return
        gaps = [] if self._book is None else self._book.gaps(self._last_ts + 1)
        never = len(gaps) == 1 and gaps[0][0] <= self._meter.first_ts and gaps[0][1] > self._last_ts
        known = self._book is None or not never
        if any(pile.files for pile in self._piles.values()):
            self._spill()
        tables: dict[str, Table] = {}
        figures = self._meter.figures(gaps)
        for name, pile in self._piles.items():
            rows = tuple(pile.files) if pile.files else pl.concat(pile.frames, rechunk=False)
            origins = self._origins
            if name == self._table and self._kind == "book" and not known:
                # Without any known book only prints are left: these need none.
                tables["trades"] = Table(rows, origins=origins)
            elif name == self._table:
                tables[name] = Table(rows, pile.carried_rows, tuple(gaps), origins)
            else:
                marked = tuple(Origin(DERIVED, o.sha256, o.first_ts, o.last_ts) for o in origins)
                tables[name] = Table(rows, origins=marked or (Origin(DERIVED, "", 0, 0),))
        if not known and self._kind == "book":
            tables = self._only_prints(tables)
        pair, day = (
            self._instrument,
            day_of(self._period_end - 1 if self._kind != _YEARLY else self._meter.day_start_ts),
        )
        if tables:
            staged = self._lake.stage(
                venue=pair.venue,
                symbol=pair.symbol,
                day=day,
                tick_size=pair.tick_size,
                lot_size=pair.lot_size,
                tables=tables,
            )
            self.staged.append(StagedTable(staged, figures))
        for pile in self._piles.values():
            for path in pile.files:
                path.unlink(missing_ok=True)
        self._piles, self._bytes, self._meter = {}, 0, None

    @staticmethod
    def _only_prints(tables: dict[str, Table]) -> dict[str, Table]:
        found = tables["trades"]
        if isinstance(found.rows, pl.DataFrame):
            frame = found.rows
        else:
            frame = pl.concat([pl.read_ipc(path) for path in found.rows])
        prints = frame.filter(pl.col("kind").is_in(_PRINTS))
        return {"trades": Table(prints, origins=found.origins)} if prints.height else {}


def with_message_ends(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a book as they lie in the lake with `last`: all rows of one receive time are one message there."""
    local = frame["local_ts"].to_numpy()
    last = np.ones(len(local), np.bool_)
    last[:-1] = local[1:] != local[:-1]
    return frame.with_columns(last=pl.Series(last))


def _quotes(frame: pl.DataFrame, applied: Applied) -> pl.DataFrame:
    rows = applied.quote_rows
    return pl.DataFrame(
        {
            "exch_ts": frame["exch_ts"].to_numpy()[rows],
            "local_ts": frame["local_ts"].to_numpy()[rows],
            "bid_price_ticks": applied.quotes[:, 0],
            "bid_qty_lots": applied.quotes[:, 1],
            "ask_price_ticks": applied.quotes[:, 2],
            "ask_qty_lots": applied.quotes[:, 3],
            "sequence": frame["sequence"].to_numpy()[rows],
        },
        schema=BBO_SCHEMA,
    )


__all__ = ["DERIVED", "Assembly", "StagedTable", "with_message_ends"]
