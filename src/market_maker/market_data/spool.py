"""What importers deliver, kept until the steps of every instrument are known: once through a file, in bounded memory.

Prices and quantities become exact integers on the way in; faults of single numbers are told with their row. Knows no tick
of a pair and no lake.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError
from market_maker.market_data.columns import TS_MAX, TS_MIN
from market_maker.market_data.importers import Batch, Stream
from market_maker.market_data.schema import PRICES, QUANTITIES, RAW_COLUMNS, EventKind, kind_of
from market_maker.market_data.source import Source
from market_maker.market_data.steps import Exact, NotExact, Step, exact

MEMORY_BYTES = 128 << 20
"""As much is kept in memory; the rest goes to files."""
ABSURD = 100.0
_NOT_LATENCY = (int(EventKind.SNAPSHOT), int(EventKind.CLEAR))


@dataclass(frozen=True, slots=True)
class Part:
    """One batch as it is kept.

    frame : the rows, or the Arrow file that holds them
    digits : decimals of the integer columns
    file : place of its source among those of the import
    first_ts, last_ts : smallest and largest receive time, ns
    """

    frame: pl.DataFrame | Path
    digits: dict[str, int]
    file: int
    first_ts: int
    last_ts: int

    def load(self) -> pl.DataFrame:
        """Return the frame."""
        return pl.read_ipc(self.frame) if isinstance(self.frame, Path) else self.frame


@dataclass(slots=True)
class Spooled:
    """Everything of one stream, in the order of reading.

    `backward`: rows whose receive time is before that of the row before. `negative`, `stamped`: rows received before they
    happened, and rows with both times. `smallest_latency_ns`: over these; None without any. `absurd`: where the first price is
    that is more than 100 times, or less than a hundredth of, the one before; empty without one.
    `places`: by rule, the first row that breaks it.
    """

    stream: Stream
    parts: list[Part] = field(default_factory=list)
    rows: int = 0
    price_step: Step = field(default_factory=Step)
    qty_step: Step = field(default_factory=Step)
    first_ts: int = 0
    last_ts: int = 0
    backward: int = 0
    backward_exch: int = 0
    stamped: int = 0
    negative: int = 0
    smallest_latency_ns: int | None = None
    absurd: str = ""
    places: dict[str, str] = field(default_factory=dict)
    previous_price: float = 0.0
    previous_ts: int = 0
    previous_exch_ts: int = 0


class Spool:
    """The batches of an import.

    Parameters
    ----------
    folder : for what does not fit into memory; a folder of its own is made in it and removed by `close`
    """

    def __init__(self, folder: Path) -> None:
        self.streams: dict[Stream, Spooled] = {}
        self._root = folder
        self._folder: Path | None = None
        self._bytes = 0
        self._files = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything."""
        self.streams.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, source: Source, file: int, batch: Batch) -> None:
        """Keep a batch of the source numbered `file`; DataError names file, row and column of a number or time that cannot be used."""
        if not batch.frame.height:
            return
        spooled = self.streams.setdefault(batch.stream, Spooled(batch.stream))
        kind = kind_of(batch.stream.table)
        frame = batch.frame.select(RAW_COLUMNS[kind])
        digits: dict[str, int] = {}
        columns = []
        for names, unit, step in (
            (PRICES[kind], batch.price_unit, spooled.price_step),
            (QUANTITIES[kind], batch.qty_unit, spooled.qty_step),
        ):
            for name in names:
                try:
                    numbers = exact(frame[name], unit, step.digits)
                except NotExact as error:
                    raise source.error(int(frame["row"][error.at]), name, error.what) from None
                step.add(_of_book(frame, numbers))
                digits[name] = numbers.digits
                columns.append(pl.Series(name, numbers.values))
        if kind == "bars":
            volume = frame["volume"].drop_nulls()
            if volume.len():
                spooled.qty_step.add(_shortened(volume))
        frame = frame.with_columns(columns)
        self._judge_prices(source, kind, frame, digits, spooled)
        if spooled.parts and spooled.parts[-1].file != file:
            # Files may be named in any order; within one the order is judged.
            spooled.previous_ts = spooled.previous_exch_ts = 0
        self._judge_times(source, frame, spooled)
        spooled.rows += frame.height
        local = frame["local_ts"]
        first, last = int(local.min()), int(local.max())  # type: ignore[arg-type]
        spooled.parts.append(Part(self._kept(frame), digits, file, first, last))

    def _kept(self, frame: pl.DataFrame) -> pl.DataFrame | Path:
        self._bytes += int(frame.estimated_size())
        if self._bytes <= MEMORY_BYTES:
            return frame
        if self._folder is None:
            self._root.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=".importing-", dir=self._root))
        self._files += 1
        path = self._folder / f"{self._files}.arrow"
        frame.write_ipc(path, compression="uncompressed")
        return path

    def _judge_prices(
        self, source: Source, kind: str, frame: pl.DataFrame, digits: dict[str, int], spooled: Spooled
    ) -> None:
        """Find the first price that cannot stand beside its neighbour: another unit, or a wrong column."""
        name = {"trades": "price", "bars": "close", "bbo": "bid_price"}.get(kind)
        if name is None or spooled.absurd:
            return
        # In the finest decimals of all numbers so far, so that batches compare.
        exact_prices = frame[name].to_numpy() / 10.0 ** digits[name]
        rows = frame["row"].to_numpy()[exact_prices > 0]
        prices = exact_prices[exact_prices > 0]
        if not len(prices):
            return
        before = np.concatenate([[spooled.previous_price or prices[0]], prices[:-1]])
        far = (prices > ABSURD * before) | (before > ABSURD * prices)
        spooled.previous_price = float(prices[-1])
        if far.any():
            at = int(np.argmax(far))
            spooled.absurd = (
                f"{source.path.name}, row {rows[at]}, column {name}: {prices[at]:.10g} after {before[at]:.10g} is no price of one"
                " thing in one unit"
            )

    def _judge_times(self, source: Source, frame: pl.DataFrame, spooled: Spooled) -> None:
        local = frame["local_ts"].to_numpy()
        if frame["local_ts"].null_count() or local.min() < TS_MIN or local.max() > TS_MAX:
            bad = frame["local_ts"].is_between(TS_MIN, TS_MAX).fill_null(value=False)
            at = int((~bad).arg_max() or 0)
            raise source.error(
                int(frame["row"][at]), "time", f"{frame['local_ts'][at]} ns is no time between 1979 and 2096"
            )
        backward = local < np.concatenate([[spooled.previous_ts], local[:-1]])
        spooled.backward += int(backward.sum())
        _place(spooled, "receive_time_reversals", source, frame, backward)
        spooled.previous_ts = int(local[-1])
        spooled.first_ts = min(spooled.first_ts or int(local[0]), int(local.min()))
        spooled.last_ts = max(spooled.last_ts, int(local.max()))
        if "exch_ts" not in frame.columns:
            return
        exch = frame["exch_ts"].to_numpy()
        stamped = exch > 0
        if "kind" in frame.columns:
            stamped &= ~np.isin(frame["kind"].to_numpy(), _NOT_LATENCY)
        if not stamped.any():
            return
        exch = exch[stamped]
        if exch.min() < TS_MIN or exch.max() > TS_MAX:
            wrong = stamped & ((frame["exch_ts"].to_numpy() < TS_MIN) | (frame["exch_ts"].to_numpy() > TS_MAX))
            row = int(frame["row"][int(np.argmax(wrong))])
            raise source.error(row, "exchange time", "it is no time between 1979 and 2096")
        latency = local[stamped] - exch
        spooled.stamped += len(latency)
        spooled.negative += int((latency < 0).sum())
        _place(spooled, "negative_latency_share", source, frame, stamped & (frame["exch_ts"].to_numpy() > local))
        smallest = int(latency.min())
        known = spooled.smallest_latency_ns
        spooled.smallest_latency_ns = smallest if known is None else min(known, smallest)
        spooled.backward_exch += int(exch[0] < spooled.previous_exch_ts) + int((exch[1:] < exch[:-1]).sum())
        spooled.previous_exch_ts = int(exch[-1])


def _place(spooled: Spooled, rule: str, source: Source, frame: pl.DataFrame, broken: NDArray[np.bool_]) -> None:
    """Keep where a rule is broken first."""
    if rule not in spooled.places and broken.any():
        spooled.places[rule] = f"first in {source.path.name}, row {frame['row'][int(np.argmax(broken))]}"


def _of_book(frame: pl.DataFrame, numbers: Exact) -> Exact:
    """Return numbers without those of prints beside the book, which may lie between its ticks."""
    if "kind" not in frame.columns:
        return numbers
    of_book = frame["kind"].to_numpy() != int(EventKind.PRINT)
    return numbers if of_book.all() else Exact(numbers.values[of_book], numbers.digits)


def _shortened(volume: pl.Series) -> Exact:
    """Return volumes with as many of their decimals as fit into 64 bits: for a lot size, not for the values."""
    for digits in (18, 12, 8, 4, 0):
        try:
            return exact(volume.cast(pl.Decimal(38, digits)), None)
        except NotExact:
            continue
    raise DataError(f"a volume of {volume.max()!r} is too large")
