"""A file as users have it (plain, gz, xz, bz2, zst, or inside a zip) as decompressed bytes, in bounded memory.

Owns compression, archive members, rows and bounds; errors name file and row. Knows no format. Nothing is ever unpacked
to disk, so that no name inside an archive can lead anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar

import numpy as np
import zstandard

from market_maker.domain.errors import DataError, shorten

HEAD_BYTES = 1 << 16
BLOCK_BYTES = 8 << 20
LINE_BYTES_MAX = 16 << 20
EXPANSION_MAX = 300
"""A file that expands beyond 64 MiB may not be more than this many times its size: recorded markets reach about 50."""
_EXPANSION_FREE = 64 << 20
_MEMBERS_MAX = 10_000
_LINE_END = np.uint8(ord("\n"))
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)
_UNREADABLE = re.compile("encrypted|compression")
"""What the zip library says, as an error of the run, of members that it cannot read."""
_SUFFIXES = (".gz", ".xz", ".bz2", ".zst", ".zip")

Item = TypeVar("Item")
Progress = Callable[[int, int], None]


class Source:
    """One file to import.

    Parameters
    ----------
    path : the file
    progress : called with (bytes of the file read, bytes of the file) while it is read

    Attributes
    ----------
    members : names of the files inside a zip; empty for anything else
    name : the file's own name without its compression: of the only member of a zip, else of the path
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self._progress = progress
        try:
            self.size = path.stat().st_size
            with path.open("rb") as raw:
                magic = raw.read(6)
        except (OSError, ValueError) as error:
            raise DataError(f"{shorten(path.name)}: cannot be read: {error}") from error
        self._is_zip = magic.startswith(b"PK")
        self._magic = magic
        self.members: tuple[str, ...] = self._member_names() if self._is_zip else ()
        name = PurePosixPath(self.members[0]).name if len(self.members) == 1 else path.name
        while name.lower().endswith(_SUFFIXES):
            name = name.rpartition(".")[0]
        self.name = name

    def head(self, member: str | None = None, size: int = HEAD_BYTES) -> bytes:
        """Return the first decompressed bytes; fewer of a short or damaged file."""
        if self._is_zip and member is None and len(self.members) != 1:
            return b""
        try:
            with self.open(member) as stream:
                return stream.read(size)
        except DataError:
            return b""

    def check(self) -> None:
        """Read the first bytes; DataError when the file (or a member) is damaged there."""
        for member in self.members[:1] if self._is_zip else (None,):
            with self.open(member) as stream:
                stream.read(HEAD_BYTES)

    def first_line(self, member: str | None = None) -> str:
        """Return the first line that is not blank, as text without its end; bytes that are no UTF-8 are replaced."""
        for line in self.head(member).splitlines():
            if line.strip():
                return line.decode("utf-8", "replace").strip().removeprefix("\ufeff")
        return ""

    @contextmanager
    def open(self, member: str | None = None) -> Iterator[IO[bytes]]:
        """Yield the decompressed bytes of the file, or of a member of a zip (its only one by default).

        What breaks in it while it is open is raised as DataError.
        """
        with self.open_raw(member) as (inner, raw):
            yield io.BufferedReader(_Watched(inner, raw, self))  # type: ignore[type-var]

    @contextmanager
    def open_raw(self, member: str | None = None) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Yield the decompressed bytes and the file below them, whose position tells the progress; `note` it."""
        try:
            with self.path.open("rb") as raw:
                if self._is_zip:
                    with zipfile.ZipFile(raw) as archive, archive.open(self._member(member)) as inner:
                        yield inner, raw
                else:
                    with self._decompressed(raw) as inner:
                        yield inner, raw
        except (*_DAMAGE, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _UNREADABLE.search(str(error)):
                raise
            raise DataError(f"{self.path.name}: the file is damaged or cut off: {shorten(str(error))}") from error

    def blocks(self, member: str | None = None, size: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
        """Yield (row of its first line, from 1; whole lines): never a part of a line but at the file's very end.

        The next block is read and decompressed while one is worked on.
        """
        return ahead(self._blocks(member, size))

    def _blocks(self, member: str | None, size: int) -> Iterator[tuple[int, bytes]]:
        row, rest = 1, b""
        with self.open_raw(member) as (stream, raw):
            given = 0
            try:
                while data := stream.read(size):
                    given += len(data)
                    self.note(raw.tell(), given)
                    end = data.rfind(b"\n") + 1
                    if not end:
                        rest += data
                        if len(rest) > LINE_BYTES_MAX:
                            raise self.error(row, None, f"a line of more than {LINE_BYTES_MAX} bytes")
                        continue
                    block, rest = rest + data[:end] if rest else data[:end], data[end:]
                    yield row, block
                    row += lines_in(block)
            except _DAMAGE as error:
                raise self.error(
                    row, None, f"the file is damaged or cut off after it: {shorten(str(error))}"
                ) from error
        if rest:
            yield row, rest

    def lines(self, member: str | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (row from 1, line without its end); blank lines are left out."""
        for first, block in self.blocks(member):
            for row, line in enumerate(block.split(b"\n"), first):
                if stripped := line.strip():
                    yield row, stripped

    def error(self, row: int | None, column: str | None, what: str) -> DataError:
        """Return the error for content of this file: `file, row 3, column price: 'x' is not a number`."""
        place = self.path.name if row is None else f"{self.path.name}, row {row}"
        return DataError(f"{place}: {what}" if column is None else f"{place}, column {column}: {what}")

    def _member(self, member: str | None) -> str:
        if member is None:
            if len(self.members) != 1:
                raise DataError(f"{self.path.name}: the archive holds {len(self.members)} files; one is needed")
            return self.members[0]
        return member

    def _member_names(self) -> tuple[str, ...]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                found = [info for info in archive.infolist() if not info.is_dir()]
        except _DAMAGE as error:
            raise DataError(f"{self.path.name}: the archive is damaged or cut off: {error}") from error
        if len(found) > _MEMBERS_MAX:
            raise DataError(f"{self.path.name}: the archive holds more than {_MEMBERS_MAX} files")
        for info in found:
            parts = PurePosixPath(info.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in info.filename or "\x00" in info.filename:
                raise DataError(
                    f"{self.path.name}: the archive holds a file named {shorten(info.filename)}, which leads outside"
                )
            if info.flag_bits & 1:
                raise DataError(f"{self.path.name}: the archive is encrypted")
        documents = [info for info in found if "readme" in info.filename.lower()]
        return tuple(info.filename for info in found if info not in documents)

    def _decompressed(self, raw: IO[bytes]) -> IO[bytes]:
        if self._magic.startswith(b"\x1f\x8b"):
            return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
        if self._magic.startswith(b"\xfd7zXZ\x00"):
            return lzma.LZMAFile(raw)
        if self._magic.startswith(b"BZh"):
            return bz2.BZ2File(raw)
        if self._magic.startswith(b"\x28\xb5\x2f\xfd"):
            return io.BufferedReader(_Zstandard(raw), 1 << 20)  # type: ignore[type-var]
        return raw

    def note(self, position: int, expanded: int) -> None:
        """Report progress, and refuse a file that grows without measure."""
        if expanded > max(_EXPANSION_FREE, EXPANSION_MAX * self.size):
            raise DataError(
                f"{self.path.name}: it expands to more than {EXPANSION_MAX} times its {self.size} bytes; no recording does"
            )
        if self._progress is not None:
            self._progress(min(position, self.size), self.size)


def lines_in(block: bytes) -> int:
    """Return the number of line ends; by NumPy, which lets other threads work meanwhile."""
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == _LINE_END))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items of a generator, the next one being made in a thread while one is worked on."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        try:
            while (item := coming.result()) is not end:
                coming = thread.submit(next, items, end)
                yield item
        finally:
            wait([coming])
            items.close()  # type: ignore[attr-defined]


class _Zstandard(io.RawIOBase):
    """Frames of zstandard, one after the other; the library's own reader takes a file that is cut off for a whole one."""

    _READ_BYTES = 4096  # a malicious block expands 32,768 times

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._input, self._output = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._output:
            data = self._input or self._raw.read(self._READ_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("its last zstandard frame has no end")
                return 0
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._output = memoryview(frame.decompress(data))
            self._frame, self._input = (None, frame.unused_data) if frame.eof else (frame, b"")
        given = min(len(buffer), len(self._output))
        buffer[:given] = self._output[:given]
        self._output = self._output[given:]
        return given


class _Watched(io.RawIOBase):
    """A decompressed stream that counts what it gives."""

    def __init__(self, inner: IO[bytes], raw: IO[bytes], source: Source) -> None:
        self._inner, self._raw, self._source = inner, raw, source
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._inner.read(min(len(buffer), 1 << 20))
        buffer[: len(data)] = data
        self._given += len(data)
        self._source.note(self._raw.tell(), self._given)
        return len(data)
