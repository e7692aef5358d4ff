"""The files of recorded events: Parquet by venue, symbol, UTC day and table, published whole or not at all.

A day is one folder whose `manifest.json` names content-addressed files; renaming the manifest into place is the
publication, so that a reader sees the old day or the new one and never a mixture. Tables of a day come and go apart.
With an object store, files are uploaded before the manifest and the local folder is a cache. Knows nothing of what
columns mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from market_maker.domain.errors import Conflict, DataError, InvalidRequest
from market_maker.storage.objects import ObjectStore
from market_maker.storage.prepared import Columns, read_columns, write_columns

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
BOOKS = ("orders", "book")
"""The tables that hold a book: their gaps are the day's."""
YEARLY = "bars_"
"""Tables with a file per year, under the year's first day."""
LOCK_TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows of a file came from: the name and sha256 of a source, and the receive times it covers, ns, both included."""

    name: str
    sha256: str
    first_ts: int
    last_ts: int


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One table of a published day; times are local_ts in ns, `name` is relative to the day's folder.

    `tick_size`, `lot_size`: the steps that its prices and quantities are whole numbers of.
    `carried_rows` leading rows repeat the book that the time before has left. `gaps` are the stretches [from, until)
    between `first_ts` and `last_ts`, ns UTC, in which the book is not known.
    """

    kind: str
    name: str
    rows: int
    bytes: int
    sha256: str
    first_ts: int
    last_ts: int
    tick_size: Decimal
    lot_size: Decimal
    carried_rows: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    origins: tuple[Origin, ...] = ()

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> PublishedFile:
        """Return the file that `asdict` has written."""
        gaps = tuple((int(a), int(b)) for a, b in values["gaps"])
        origins = tuple(Origin(**origin) for origin in values["origins"])
        steps = {name: Decimal(values[name]) for name in ("tick_size", "lot_size")}
        return cls(**{**values, **steps, "gaps": gaps, "origins": origins})

    def to_json(self) -> dict[str, Any]:
        """Return the file as plain JSON values."""
        return asdict(self) | {"tick_size": str(self.tick_size), "lot_size": str(self.lot_size)}


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """One published day of one instrument, with all its tables."""

    venue: str
    symbol: str
    day: date
    files: tuple[PublishedFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def events(self) -> tuple[PublishedFile, ...]:
        """The files of this very day; stored bars of a whole year lie in the folder of its first day."""
        return tuple(file for file in self.files if not file.kind.startswith(YEARLY))

    @property
    def first_ts(self) -> int:
        """First receive time, ns UTC."""
        return min(file.first_ts for file in self.events or self.files)

    @property
    def last_ts(self) -> int:
        """Last receive time, ns UTC."""
        return max(file.last_ts for file in self.events or self.files)

    @property
    def book(self) -> PublishedFile | None:
        """The file that holds the day's book, the one by order first."""
        return next((file for kind in BOOKS if (file := self.file(kind)) is not None), None)

    @property
    def carried_rows(self) -> int:
        """Leading rows of the book that repeat the time before."""
        return 0 if self.book is None else self.book.carried_rows

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The stretches [from, until) of the day's receive times in which the book is not known."""
        book = self.book
        if book is None:
            return ((self.first_ts, self.last_ts + 1),)
        # A book that was carried over is known before its first row of the day.
        known_from = self.first_ts if book.carried_rows else book.first_ts
        edges = ((self.first_ts, known_from), *book.gaps, (book.last_ts + 1, self.last_ts + 1))
        return tuple((a, b) for a, b in edges if a < b)

    def file(self, kind: str) -> PublishedFile | None:
        """Return the file of a table, None without one."""
        return next((file for file in self.files if file.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Return the day as plain JSON values."""
        return {
            "venue": self.venue,
            "symbol": self.symbol,
            "day": self.day.isoformat(),
            "files": [file.to_json() for file in self.files],
        }

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> PublishedDay:
        """Return the day that `to_json` has written."""
        files = tuple(PublishedFile.of_json(file) for file in values["files"])
        return cls(values["venue"], values["symbol"], date.fromisoformat(values["day"]), files)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one table of a day, in order of `local_ts`: a frame, or Arrow files to be written one after the other."""

    rows: pl.DataFrame | tuple[Path, ...]
    carried_rows: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    origins: tuple[Origin, ...] = field(default=())


class Lake:
    """A folder of recorded days.

    Parameters
    ----------
    root : the folder; made when missing
    objects : the object store that holds the days, for which the folder is a cache; None: the folder holds them
    """

    def __init__(self, root: Path, objects: ObjectStore | None = None) -> None:
        self.root = root
        self._objects = objects
        root.mkdir(parents=True, exist_ok=True)

    @property
    def is_remote(self) -> bool:
        """Whether an object store holds the files, so that the folder is a cache."""
        return self._objects is not None

    def days(self, venue: str, symbol: str) -> list[date]:
        """Return the published days in order."""
        folder = self._symbol_folder(venue, symbol)
        if self._objects is not None:
            names = self._objects.folders_with(self._key(folder), MANIFEST)
        else:
            names = [path.parent.name for path in folder.glob(f"day=*/{MANIFEST}")] if folder.is_dir() else []
        return sorted(date.fromisoformat(name.removeprefix("day=")) for name in names if name.startswith("day="))

    def describe(self, venue: str, symbol: str, day: date) -> PublishedDay:
        """Return what was published for a day; DataError when there is nothing or the manifest is damaged."""
        found = self._manifest(self.day_folder(venue, symbol, day))
        if found is None:
            raise DataError(f"no recorded data of {venue}/{symbol} for {day}; import or record it first")
        return found

    def find(self, venue: str, symbol: str, day: date) -> PublishedDay | None:
        """Return what was published for a day, None when there is nothing."""
        return self._manifest(self.day_folder(venue, symbol, day))

    def stage(
        self, *, venue: str, symbol: str, day: date, tick_size: Decimal, lot_size: Decimal, tables: Mapping[str, Table]
    ) -> PublishedDay:
        """Write and sync the files of some tables of a day without publishing them; return what would be published.

        Gaps may reach beyond the day; what lies in it is kept.
        """
        folder = self.day_folder(venue, symbol, day)
        folder.mkdir(parents=True, exist_ok=True)
        steps = (tick_size, lot_size)
        files = tuple(_write(folder, kind, table, steps) for kind, table in tables.items())
        if not files:
            raise DataError(f"{venue}/{symbol} {day}: zero events; nothing was published")
        return PublishedDay(venue, symbol, day, files)

    def publish(self, staged: PublishedDay) -> PublishedDay:
        """Make the staged tables of a day visible in a single step; other tables of the day stay as they are.

        To be called under `lock`. Publishing the same again changes nothing.
        """
        folder = self.day_folder(staged.venue, staged.symbol, staged.day)
        before = self._manifest(folder)
        kinds = {file.kind for file in staged.files}
        others = () if before is None else tuple(file for file in before.files if file.kind not in kinds)
        files = tuple(sorted((*others, *staged.files), key=lambda file: file.kind))
        whole = PublishedDay(staged.venue, staged.symbol, staged.day, files)
        content = json.dumps(whole.to_json(), indent=1).encode()
        if self._objects is not None:
            for file in staged.files:
                self._objects.upload(folder / file.name, f"{self._key(folder)}/{file.name}")
            self._objects.write(f"{self._key(folder)}/{MANIFEST}", content)
        _write_atomically(folder / MANIFEST, content)
        for name in {file.name for file in (before.files if before else ())} - {file.name for file in files}:
            (folder / name).unlink(missing_ok=True)
            if self._objects is not None:
                self._objects.remove(f"{self._key(folder)}/{name}")
        return whole

    @contextlib.contextmanager
    def lock(self, venue: str, symbol: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Let one process at a time write a symbol's days; a process that dies lets go. Conflict after the time-out."""
        folder = self._symbol_folder(venue, symbol)
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + timeout_s
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise Conflict(f"{venue}/{symbol} is being imported or recorded by another process") from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def locks(self, symbols: Iterable[tuple[str, str]], timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the locks of several (venue, symbol), taken in one order by everyone."""
        with contextlib.ExitStack() as held:
            for venue, symbol in sorted(set(symbols)):
                held.enter_context(self.lock(venue, symbol, timeout_s))
            yield

    def symbols(self) -> list[tuple[str, str]]:
        """Return every (venue, symbol) with a folder."""
        if self._objects is not None:
            venues = [name for name in self._objects.folders("") if name.startswith("venue=")]
            return sorted(
                (venue.removeprefix("venue="), name.removeprefix("symbol="))
                for venue in venues for name in self._objects.folders(venue) if name.startswith("symbol=")
            )  # fmt: skip
        folders = self.root.glob("venue=*/symbol=*")
        return sorted((f.parent.name.removeprefix("venue="), f.name.removeprefix("symbol=")) for f in folders)

    def sweep(self, venue: str, symbol: str) -> int:
        """Remove what imports that were cut off have left of a symbol; under `lock`. Return how many files that were."""
        removed = 0
        for folder in self._symbol_folder(venue, symbol).glob("day=*"):
            if not folder.is_dir():
                continue
            published = self._manifest(folder)
            kept = {MANIFEST, *(file.name for file in (published.files if published else ()))}
            for path in folder.iterdir():
                if path.name not in kept:
                    path.unlink(missing_ok=True)
                    removed += 1
            if published is None:
                with contextlib.suppress(OSError):
                    folder.rmdir()
        return removed

    def read(self, venue: str, symbol: str, day: date, kind: str) -> pl.DataFrame:
        """Return a whole table, its checksum verified; DataError when it is missing or differs."""
        described = self.describe(venue, symbol, day)
        return self.read_verified(described, kind)

    def read_verified(self, described: PublishedDay, kind: str) -> pl.DataFrame:
        """Return a whole table of a day that was described, as `read` does."""
        import polars as pl

        return pl.read_parquet(self.verified(described, kind))

    def scan(self, venue: str, symbol: str, kind: str, start_ts: int, end_ts: int) -> Iterator[pl.DataFrame]:
        """Yield the rows with start_ts <= local_ts < end_ts day by day: memory is bounded by one day."""
        import polars as pl

        chosen = pl.col("local_ts").is_between(start_ts, end_ts, closed="left")
        for day in self.days(venue, symbol):
            described = self.describe(venue, symbol, day)
            file = described.file(kind)
            if file is not None and file.last_ts >= start_ts and file.first_ts < end_ts:
                yield pl.scan_parquet(self.verified(described, kind)).filter(chosen).collect()

    def prepared(
        self, described: PublishedDay, kind: str, layout: str, build: Callable[[pl.DataFrame], Columns]
    ) -> dict[str, NDArray[Any]]:
        """Return the memory-mapped columns that `build` makes of a table; built once per checksum and layout.

        `layout` names everything that the columns depend on beside the table.
        """
        file = described.file(kind)
        if file is None:
            raise DataError(f"{described.venue}/{described.symbol} {described.day} has no {kind} data")
        folder = self.root / ".prepared" / f"{file.sha256[:32]}-{file.carried_rows}-v{layout}"
        if not (folder / "columns.json").exists():
            write_columns(folder, build(self.read_verified(described, kind)))
        return read_columns(folder)

    def verified(self, described: PublishedDay, kind: str) -> Path:
        """Return the path of a table whose checksum and steps are as published; DataError says what differs."""
        name = f"{described.venue}/{described.symbol} {described.day}"
        file = described.file(kind)
        if file is None:
            raise DataError(f"{name} has no {kind} data")
        folder = self.day_folder(described.venue, described.symbol, described.day)
        path = folder / file.name
        try:
            actual = sha256_of(path)
        except FileNotFoundError:
            actual = ""
        if actual != file.sha256 and self._objects is not None:
            # The folder is a cache: what it does not have whole comes from the store.
            folder.mkdir(parents=True, exist_ok=True)
            self._objects.download(f"{self._key(folder)}/{file.name}", path)
            actual = sha256_of(path)
        if not actual:
            raise DataError(f"{file.name} of {name} is missing; import the day again")
        if actual != file.sha256:
            raise DataError(f"{path.name}: sha256 {actual} is not the published {file.sha256}; import the day again")
        import polars as pl

        steps = pl.read_parquet_metadata(path)
        if (steps.get("tick_size"), steps.get("lot_size")) != (str(file.tick_size), str(file.lot_size)):
            raise DataError(f"{path.name}: tick and lot differ from its manifest; import the day again")
        return path

    def day_folder(self, venue: str, symbol: str, day: date) -> Path:
        """Return the folder of a day; InvalidRequest for a name that no folder may have."""
        return self._symbol_folder(venue, symbol) / f"day={day.isoformat()}"

    def _manifest(self, folder: Path) -> PublishedDay | None:
        try:
            if self._objects is not None:
                content = self._objects.read(f"{self._key(folder)}/{MANIFEST}")
            else:
                content = (folder / MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return PublishedDay.of_json(json.loads(content))
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise DataError(f"the manifest of {self._key(folder)} is damaged: {error}; import the day again") from error

    def _key(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _symbol_folder(self, venue: str, symbol: str) -> Path:
        check_name("venue", venue)
        check_name("symbol", symbol)
        return self.root / f"venue={venue}" / f"symbol={symbol}"


def check_name(field: str, value: str) -> None:
    """Raise InvalidRequest for a venue or symbol that no folder may be named by."""
    if not _NAME.fullmatch(value):
        raise InvalidRequest.of(field, value, "1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")


def day_of(ts: int) -> date:
    """Return the UTC day of an instant in ns."""
    return datetime.fromtimestamp(ts // 1_000_000_000, UTC).date()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(folder: Path, kind: str, table: Table, steps: tuple[Decimal, Decimal]) -> PublishedFile:
    import polars as pl

    metadata = {"tick_size": str(steps[0]), "lot_size": str(steps[1])}
    handle, name = tempfile.mkstemp(prefix=".staging-", suffix=".parquet", dir=folder)
    os.close(handle)
    staging = Path(name)
    try:
        if isinstance(table.rows, pl.DataFrame):
            table.rows.write_parquet(staging, compression="zstd", metadata=metadata)
            times = table.rows["local_ts"]
        else:
            pl.scan_ipc(list(table.rows)).sink_parquet(staging, compression="zstd", metadata=metadata)
            times = pl.read_parquet(staging, columns=["local_ts"])["local_ts"]
        if not times.len():
            raise DataError(f"{kind}: zero rows; nothing was published")
        if not times.is_sorted():
            raise DataError(f"{kind} rows are not in order of receive time")
        _sync(staging)
        digest = sha256_of(staging)
        final = folder / f"{kind}-{digest[:16]}.parquet"
        staging.chmod(0o644)
        staging.replace(final)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    _sync(folder)
    first, last = int(times[0]), int(times[-1])
    inside = tuple((max(a, first), min(b, last + 1)) for a, b in table.gaps if max(a, first) < min(b, last + 1))
    return PublishedFile(
        kind, final.name, times.len(), final.stat().st_size, digest, first, last, *steps, table.carried_rows, inside,
        table.origins,
    )  # fmt: skip


def _write_atomically(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".staging-", dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
