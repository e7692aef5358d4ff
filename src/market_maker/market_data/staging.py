"""One stream on its way into staged days: in ticks and lots, in order, together with what the lake holds of its days.

Owns how files continue each other and the lake. Knows no format and no verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl

from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.instrument import MAX_LOTS, MAX_TICKS, Instrument
from market_maker.market_data.assembly import DERIVED, Assembly, StagedTable, with_message_ends
from market_maker.market_data.book import Book
from market_maker.market_data.intake import Reading
from market_maker.market_data.reading import read_table
from market_maker.market_data.schema import PRICES, QUANTITIES, EventKind, kind_of
from market_maker.market_data.spool import Part, Spooled
from market_maker.market_data.steps import NotExact, in_steps
from market_maker.storage.lake import Lake, Origin, PublishedDay, day_of


@dataclass(frozen=True, slots=True)
class Kept:
    """What the lake holds of a day from one earlier source; `is_lost`: the book was not known just before it."""

    origin: Origin
    rows: pl.DataFrame
    carried_rows: int
    is_lost: bool


class StreamStaging:
    """The way of one stream into staged days, together with what the lake holds of them."""

    def __init__(self, reading: Reading, lake: Lake, spooled: Spooled, instrument: Instrument, offset_ns: int) -> None:
        self._reading, self._lake, self._spooled = reading, lake, spooled
        self._instrument, self._offset_ns = instrument, offset_ns
        self._table = spooled.stream.table
        self._is_book = self._table in {"book", "orders"}
        self._first_ts, self._last_ts = spooled.first_ts + offset_ns, spooled.last_ts + offset_ns
        self._names = {source.name for source in reading.sources}
        self.left_out: Counter[str] = Counter()

    def run(self, *, derives_bbo: bool) -> list[StagedTable]:
        """Stage every day of the stream and return them."""
        before, after = self._kept()
        origins = [kept.origin for kept in (*before, *after)]
        origins += [
            Origin(s.name, s.sha256, *self._range(i)) for i, s in enumerate(self._reading.sources) if self._range(i)[1]
        ]
        origins.sort(key=lambda origin: origin.first_ts)
        derives_bbo = derives_bbo and not self._has_own_quotes()
        assembly = Assembly(self._lake, self._instrument, self._table, origins, derives_bbo=derives_bbo)
        try:
            for kept in before:
                if kept.is_lost:
                    assembly.lose_book()
                assembly.add(kept.rows, kept.carried_rows)
            if not before and self._is_book:
                self._continue_from_lake(assembly)
            for seam, frame in self._frames():
                if seam is not None and not (assembly.book and assembly.book.last_sequence == seam and seam):
                    assembly.lose_book()
                assembly.add(frame)
            for kept in after:
                if kept.is_lost or kept is after[0]:
                    assembly.lose_book()
                assembly.add(kept.rows)
            return assembly.finish()
        finally:
            assembly.close()

    def _frames(self) -> Iterator[tuple[int | None, pl.DataFrame]]:
        """Yield rows in order: with a seam (what its file continues, 0: nothing) where another file begins."""
        groups: dict[int, list[Part]] = {}
        for part in self._spooled.parts:
            groups.setdefault(part.file, []).append(part)
        spans = {
            file: (min(p.first_ts for p in parts), max(p.last_ts for p in parts)) for file, parts in groups.items()
        }
        files = sorted(groups, key=lambda file: spans[file])
        overlap = any(spans[b][0] < spans[a][1] for a, b in pairwise(files))
        if overlap or self._reading.options.repairs.sort:
            whole = pl.concat([self._normal(part) for file in files for part in groups[file]])
            keys = ["local_ts", "sequence"] if "sequence" in whole.columns and not self._is_book else ["local_ts"]
            if overlap and self._is_book and not self._reading.options.repairs.sort:
                # Snapshots and changes in files of their own: the venue's numbers order them.
                keys = ["sequence"]
            whole = whole.sort(keys, maintain_order=True)
            yield self._seam(files[0]), with_message_ends(whole) if self._is_book else whole
            return
        for file in files:
            seam: int | None = self._seam(file)
            for part in groups[file]:
                yield seam, self._normal(part)
                seam = None

    def _seam(self, file: int) -> int:
        return self._reading.notes[file].continues.get(self._spooled.stream.symbol, 0)

    def _normal(self, part: Part) -> pl.DataFrame:
        """Return a part in ticks and lots; DataError names file and row of what does not fit."""
        frame, kind, pair = self._on_tick(part, self._in_range(part)), kind_of(self._table), self._instrument
        columns = []
        for names, step, most, suffix, called in (
            (PRICES[kind], pair.tick_size, MAX_TICKS, "ticks", "tick size"),
            (QUANTITIES[kind], pair.lot_size, MAX_LOTS, "lots", "lot size"),
        ):
            for name in names:
                try:
                    steps = in_steps(frame[name].to_numpy(), part.digits[name], step, most, called)
                except NotExact as error:
                    source = self._reading.sources[part.file].name
                    raise DataError(
                        f"{source}, row {frame['row'][error.at]}, column {name}: {error.what} of {pair.venue} {pair.symbol}"
                    ) from None
                columns.append(pl.Series(f"{name}_{suffix}", steps))
        columns.append((frame["local_ts"] + self._offset_ns).alias("local_ts"))
        frame = frame.with_columns(columns)
        if self._reading.options.repairs.drop_off_book and "kind" in frame.columns:
            frame = frame.filter(pl.col("kind") != int(EventKind.PRINT))
        return frame

    def _on_tick(self, part: Part, frame: pl.DataFrame) -> pl.DataFrame:
        """Return rows without prints between two ticks: they did not trade with the book, whose tick the pair's is."""
        if "kind" not in frame.columns:
            return frame
        prints = np.flatnonzero(frame["kind"].to_numpy() == int(EventKind.PRINT))
        ratio = Fraction(1, 10 ** part.digits["price"]) / Fraction(self._instrument.tick_size)
        off = (
            prints[frame["price"].to_numpy()[prints] * ratio.numerator % ratio.denominator != 0]
            if len(prints)
            else prints
        )
        if not len(off):
            return frame
        self.left_out["off_tick_prints"] += len(off)
        kept = np.ones(frame.height, np.bool_)
        kept[off] = False
        return frame.filter(pl.Series(kept))

    def _in_range(self, part: Part) -> pl.DataFrame:
        """Return the rows of a part; levels too far away for whole ticks of 64 bits (they rest there for a joke) are counted."""
        frame = part.load()
        if self._table != "book":
            return frame
        most = int((self._instrument.tick_size * MAX_TICKS).scaleb(part.digits["price"]))
        is_level = pl.col("kind").is_in([int(EventKind.DEPTH), int(EventKind.SNAPSHOT)])
        near = frame.filter(~is_level | (pl.col("price") <= most))
        if near.height < frame.height:
            self.left_out["levels_out_of_range"] += frame.height - near.height
            if not bool(near["last"][-1]):
                near = near.with_columns(last=pl.col("last") | (pl.int_range(pl.len()) == pl.len() - 1))
        return near

    def _range(self, file: int) -> tuple[int, int]:
        parts = [part for part in self._spooled.parts if part.file == file]
        if not parts:
            return 0, 0
        return min(p.first_ts for p in parts) + self._offset_ns, max(p.last_ts for p in parts) + self._offset_ns

    def _has_own_quotes(self) -> bool:
        """Return whether a day of the stream has best quotes of another source, which are better than derived ones."""
        for day in self._days():
            quotes = None if day is None else day.file("bbo")
            if quotes is not None and any(origin.name != DERIVED for origin in quotes.origins):
                return True
        return False

    def _days(self) -> list[PublishedDay | None]:
        pair = self._instrument
        recorded = self._lake.days(pair.venue, pair.symbol)
        first, last = day_of(self._first_ts), day_of(self._last_ts)
        if kind_of(self._table) == "bars":
            first = first.replace(month=1, day=1)
        return [self._lake.find(pair.venue, pair.symbol, day) for day in recorded if first <= day <= last]

    def _kept(self) -> tuple[list[Kept], list[Kept]]:
        """Return what the lake holds of the stream's days from other files, in order: before this stream, and after it.

        Conflict when it overlaps.
        """
        before: list[Kept] = []
        after: list[Kept] = []
        for day in self._days():
            file = None if day is None else day.file(self._table)
            if day is None or file is None or self._reading.options.replace:
                continue
            origins = sorted(file.origins, key=lambda origin: origin.first_ts)
            if all(origin.name == DERIVED or self._is_reissued(origin) for origin in origins):
                continue
            frame = read_table(self._lake, self._instrument, day, self._table)
            for i, origin in enumerate(origins):
                if origin.name == DERIVED or self._is_reissued(origin):
                    continue
                if origin.first_ts <= self._last_ts and origin.last_ts >= self._first_ts:
                    raise Conflict(
                        f"{self._table} of {day.venue} {day.symbol} {day.day} is there from {origin.name} for the same time;"
                        " --replace puts this import in its place, --together reads files that belong together as one"
                    )
                begin = file.first_ts if i == 0 else origin.first_ts
                rows = frame.filter(pl.col("local_ts").is_between(begin, origin.last_ts))
                if not rows.height:
                    continue
                is_before = origin.last_ts < self._first_ts
                # Between two files the book is lost unless the second one continued the first.
                end = origins[i - 1].last_ts + 1
                is_lost = i > 0 and (self._is_reissued(origins[i - 1]) or any(a <= end < b for a, b in file.gaps))
                kept = Kept(
                    origin, with_message_ends(rows) if self._is_book else rows,
                    file.carried_rows if i == 0 and is_before else 0, is_lost,
                )  # fmt: skip
                (before if is_before else after).append(kept)
        return before, after

    def _is_reissued(self, origin: Origin) -> bool:
        """Return whether this import brings an earlier source again: of the same name, for the same time."""
        return origin.name in self._names and origin.first_ts <= self._last_ts and origin.last_ts >= self._first_ts

    def _continue_from_lake(self, assembly: Assembly) -> None:
        """Begin with the book that the day before has left, when the first file says that it continues it."""
        first = min(self._spooled.parts, key=lambda part: part.first_ts)
        sequence = self._seam(first.file)
        pair, day = self._instrument, day_of(self._first_ts)
        before = self._lake.find(pair.venue, pair.symbol, day - timedelta(1)) if sequence else None
        if before is None or before.file(self._table) is None:
            return
        book = Book(by_order=self._table == "orders")
        book.apply(with_message_ends(read_table(self._lake, pair, before, self._table)))
        if book.known and book.last_sequence == sequence:
            assembly.continue_from(book)
