"""The files of recorded events: Parquet by venue, symbol and UTC day, published whole or not at all.

A day is one folder whose `manifest.json` names content-addressed files; renaming the manifest into place is the
publication, so that a reader sees the old day or the new one and never a mixture. Knows nothing of what the
columns mean. The replay form is cached beside the days, keyed by checksum and layout version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.domain.errors import DataError, InvalidRequest

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a published day; times are local_ts in ns, `name` is relative to the day's folder."""

    kind: str
    name: str
    rows: int
    bytes: int
    sha256: str
    first_ts: int
    last_ts: int


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """One published day of one instrument.

    `carried_rows` leading rows repeat the book of the day before. `gaps` are the stretches [from, until) between
    `first_ts` and `last_ts`, ns UTC, in which the book is not known.
    """

    venue: str
    symbol: str
    day: date
    tick_size: Decimal
    lot_size: Decimal
    carried_rows: int
    files: tuple[PublishedFile, ...]
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def first_ts(self) -> int:
        """First receive time, ns UTC."""
        return min(file.first_ts for file in self.files)

    @property
    def last_ts(self) -> int:
        """Last receive time, ns UTC."""
        return max(file.last_ts for file in self.files)

    def file(self, kind: str) -> PublishedFile | None:
        """Return the file of a kind, None without one."""
        return next((file for file in self.files if file.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return the day as plain JSON values."""
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "day": self.day.isoformat(),
            "tick_size": str(self.tick_size),
            "lot_size": str(self.lot_size),
            "carried_rows": self.carried_rows,
            "files": [asdict(file) for file in self.files],
            "gaps": [list(gap) for gap in self.gaps],
        }


@dataclass(frozen=True, slots=True)
class StagedDay:
    """A day whose files are written and synced but not yet visible."""

    day: PublishedDay
    folder: Path


class Lake:
    """A folder of recorded days.

    Parameters
    ----------
    root : the folder; made when missing
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def days(self, venue: str, symbol: str) -> list[date]:
        """Return the published days in order."""
        folder = self._symbol_folder(venue, symbol)
        found = folder.glob(f"day=*/{MANIFEST}") if folder.is_dir() else iter(())
        return sorted(date.fromisoformat(path.parent.name.removeprefix("day=")) for path in found)

    def describe(self, venue: str, symbol: str, day: date) -> PublishedDay:
        """Return what was published for a day; DataError when there is nothing or the manifest is damaged."""
        path = self._day_folder(venue, symbol, day) / MANIFEST
        try:
            values = json.loads(path.read_text("utf-8"))
            return PublishedDay(
                venue=venue,
                symbol=symbol,
                day=day,
                tick_size=Decimal(values["tick_size"]),
                lot_size=Decimal(values["lot_size"]),
                carried_rows=values["carried_rows"],
                files=tuple(PublishedFile(**file) for file in values["files"]),
                gaps=tuple((int(start), int(end)) for start, end in values["gaps"]),
            )
        except FileNotFoundError:
            raise DataError(f"no recorded data of {venue}/{symbol} for {day}; import or record it first") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the manifest of {venue}/{symbol} {day} is damaged: {error}; import the day again"
            ) from error

    def stage(
        self,
        *,
        venue: str,
        symbol: str,
        day: date,
        tick_size: Decimal,
        lot_size: Decimal,
        frames: Mapping[str, pl.DataFrame],
        carried_rows: int = 0,
        gaps: Sequence[tuple[int, int]] = (),
    ) -> StagedDay:
        """Write and sync the files of a day without publishing them.

        `frames` maps the kind ("book", "bbo") to a frame with a column `local_ts` that never decreases. `gaps` may
        reach beyond the day; what lies in it is kept.
        """
        folder = self._day_folder(venue, symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        steps = {"tick_size": str(tick_size), "lot_size": str(lot_size)}
        files = tuple(_write(folder, kind, frame, steps) for kind, frame in frames.items() if frame.height)
        if not files:
            raise DataError(f"{venue}/{symbol} {day}: zero events; nothing was published")
        first, end = min(file.first_ts for file in files), max(file.last_ts for file in files) + 1
        inside = tuple((max(a, first), min(b, end)) for a, b in gaps if max(a, first) < min(b, end))
        return StagedDay(PublishedDay(venue, symbol, day, tick_size, lot_size, carried_rows, files, inside), folder)

    def publish(self, staged: StagedDay) -> PublishedDay:
        """Make a staged day visible, replacing an earlier one in a single step."""
        before = _names_in(staged.folder / MANIFEST)
        _write_atomically(staged.folder / MANIFEST, json.dumps(staged.day.to_json(), indent=1).encode())
        for name in before - {file.name for file in staged.day.files}:
            (staged.folder / name).unlink(missing_ok=True)
        return staged.day

    def discard(self, staged: StagedDay) -> None:
        """Remove the files of a staged day that is not going to be published."""
        keep = _names_in(staged.folder / MANIFEST)
        for file in staged.day.files:
            if file.name not in keep:
                (staged.folder / file.name).unlink(missing_ok=True)

    def read(self, venue: str, symbol: str, day: date, kind: str) -> pl.DataFrame:
        """Return a whole file, its checksum verified; DataError when it is missing or differs."""
        described = self.describe(venue, symbol, day)
        file = described.file(kind)
        if file is None:
            raise DataError(f"{venue}/{symbol} {day} has no {kind} data")
        return pl.read_parquet(self._verified(described, file))

    def scan(self, venue: str, symbol: str, kind: str, start_ts: int, end_ts: int) -> Iterator[pl.DataFrame]:
        """Yield the rows with start_ts <= local_ts < end_ts day by day: memory is bounded by one day."""
        for day in self.days(venue, symbol):
            described = self.describe(venue, symbol, day)
            file = described.file(kind)
            if file is None or file.last_ts < start_ts or file.first_ts >= end_ts:
                continue
            path = self._verified(described, file)
            chosen = pl.col("local_ts").is_between(start_ts, end_ts, closed="left")
            yield pl.scan_parquet(path).filter(chosen).collect()

    def prepared(
        self, described: PublishedDay, kind: str, layout: int, build: Callable[[pl.DataFrame], Columns]
    ) -> dict[str, NDArray[Any]]:
        """Return the memory-mapped columns that `build` makes of a file; built once per checksum and layout."""
        file = described.file(kind)
        if file is None:
            raise DataError(f"{described.venue}/{described.symbol} {described.day} has no {kind} data")
        folder = self.root / ".prepared" / f"{file.sha256[:32]}-{described.carried_rows}-v{layout}"
        if not (folder / "columns.json").exists():
            frame = pl.read_parquet(self._verified(described, file))
            _write_columns(folder, build(frame))
        return _read_columns(folder)

    def _verified(self, described: PublishedDay, file: PublishedFile) -> Path:
        path = self._day_folder(described.venue, described.symbol, described.day) / file.name
        try:
            actual = sha256_of(path)
        except FileNotFoundError:
            raise DataError(f"{file.name} of {described.venue}/{described.symbol} {described.day} is missing") from None
        if actual != file.sha256:
            raise DataError(f"{path.name}: sha256 {actual} is not the published {file.sha256}; import the day again")
        steps = pl.read_parquet_metadata(path)
        if (steps.get("tick_size"), steps.get("lot_size")) != (str(described.tick_size), str(described.lot_size)):
            raise DataError(f"{path.name}: tick and lot differ from its manifest; import the day again")
        return path

    def _symbol_folder(self, venue: str, symbol: str) -> Path:
        for field, name in (("venue", venue), ("symbol", symbol)):
            if not _NAME.fullmatch(name):
                raise InvalidRequest.of(
                    field, name, "1 to 64 letters, digits, '.', '_' or '-', a letter or digit first"
                )
        return self.root / f"venue={venue}" / f"symbol={symbol}"

    def _day_folder(self, venue: str, symbol: str, day: date) -> Path:
        return self._symbol_folder(venue, symbol) / f"day={day.isoformat()}"


def day_of(ts: int) -> date:
    """Return the UTC day of an instant in ns."""
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).date()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(folder: Path, kind: str, frame: pl.DataFrame, steps: dict[str, str]) -> PublishedFile:
    times = frame["local_ts"]
    if not times.is_sorted():
        raise DataError(f"{kind} rows are not in order of receive time")
    handle, name = tempfile.mkstemp(prefix=".staging-", suffix=".parquet", dir=folder)
    os.close(handle)
    staging = Path(name)
    try:
        frame.write_parquet(staging, compression="zstd", metadata=steps)
        _sync(staging)
        digest = sha256_of(staging)
        final = folder / f"{kind}-{digest[:16]}.parquet"
        staging.replace(final)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    _sync(folder)
    return PublishedFile(kind, final.name, frame.height, final.stat().st_size, digest, int(times[0]), int(times[-1]))


def _names_in(manifest: Path) -> set[str]:
    try:
        return {file["name"] for file in json.loads(manifest.read_text("utf-8"))["files"]}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()


def _write_atomically(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".staging-", dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_columns(folder: Path, columns: Columns) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder.parent))
    try:
        digests = {}
        for name, values in columns.items():
            np.save(staging / f"{name}.npy", values, allow_pickle=False)
            digests[name] = sha256_of(staging / f"{name}.npy")
        (staging / "columns.json").write_text(json.dumps(digests), "utf-8")
        if not folder.exists():
            staging.rename(folder)
    except OSError:
        # Another process was first with the same content: its columns serve as well.
        if not (folder / "columns.json").exists():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _read_columns(folder: Path) -> dict[str, NDArray[Any]]:
    try:
        digests = json.loads((folder / "columns.json").read_text("utf-8"))
        damaged = [name for name, digest in digests.items() if sha256_of(folder / f"{name}.npy") != digest]
        if not damaged:
            return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in digests}
    except (OSError, ValueError, AttributeError) as error:
        damaged = [str(error)]
    raise DataError(
        f"the prepared replay form {folder.name} is damaged ({damaged[0]}); remove {folder} to build it again"
    )
