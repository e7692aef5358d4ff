"""Columns of a replay as memory-mapped files, made once and verified whenever they are opened. Knows no column's meaning.

Writing and verifying read and write the files piece by piece, so that neither needs memory for what they hold.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash
from numpy.lib import format as npy
from numpy.typing import NDArray

from market_maker.domain.errors import DataError

Columns = Mapping[str, NDArray[Any]]
SEEN_MAX = 100_000
PIECE_BYTES = 1 << 20
_seen: dict[tuple[str, int, int, int], str] = {}
"""Files that this process has verified, and not seen written since: a worker opens the same days again and again."""


def write_columns(folder: Path, columns: Columns) -> None:
    """Write columns into a folder that appears whole or not at all."""
    write_parts(folder, [columns])


def write_parts(folder: Path, parts: Iterable[Columns]) -> None:
    """Write columns that come in parts, each the next rows of all of them, as `write_columns` does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder.parent))
    try:
        with contextlib.ExitStack() as files:
            columns: dict[str, _Writer] = {}
            for part in parts:
                for name, values in part.items():
                    if name not in columns:
                        columns[name] = _Writer(files.enter_context((staging / f"{name}.npy").open("wb")), values)
                    columns[name].write(values)
            digests = {name: column.finish() for name, column in columns.items()}
        (staging / "columns.json").write_text(json.dumps(digests), "utf-8")
        staging.chmod(0o755)
        if not folder.exists():
            staging.rename(folder)
    except OSError:
        # Another process was first with the same content: its columns serve as well.
        if not (folder / "columns.json").exists():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_columns(folder: Path, *, writable: bool = False) -> dict[str, NDArray[Any]]:
    """Return the columns of a folder, memory-mapped; DataError when a checksum differs.

    A file is verified when this process opens it first, and again whenever it was written since.

    Parameters
    ----------
    writable : for code that is compiled for arrays which it may write to: what it wrote would be its own and never be stored
    """
    try:
        digests = json.loads((folder / "columns.json").read_text("utf-8"))
        mode: Any = "c" if writable else "r"
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode=mode, allow_pickle=False) for name in digests}
        unknown = [name for name, digest in digests.items() if _seen.get(_identity(folder, name)) != digest]
        with ThreadPoolExecutor(2) as threads:  # the hash and reading let go of the interpreter
            found = dict(
                zip(
                    unknown,
                    threads.map(lambda name: _digest_of(columns[name], folder / f"{name}.npy"), unknown),
                    strict=True,
                )
            )
        damaged = [name for name in unknown if found[name] != digests[name]]
        if not damaged:
            if len(_seen) > SEEN_MAX:
                _seen.clear()
            _seen.update((_identity(folder, name), digests[name]) for name in unknown)
            return columns
    except (OSError, ValueError, AttributeError) as error:
        damaged = [str(error)]
    raise DataError(
        f"the prepared replay form {folder.name} is damaged ({damaged[0]}); remove {folder} to build it again"
    )


def derived_columns(folder: Path, name: str, build: Callable[[], Iterable[Columns]]) -> dict[str, NDArray[Any]]:
    """Return columns that were made of those of a folder, and lie in it under a name; built by the first who wants them.

    `name` tells what they are and in which version; `build` yields their parts. They are opened as `read_columns` does,
    writable.
    """
    inside = folder / name
    if not has_columns(inside):
        write_parts(inside, build())
    return read_columns(inside, writable=True)


def has_columns(folder: Path) -> bool:
    """Return whether a folder has been written."""
    return (folder / "columns.json").exists()


def release(column: NDArray[Any], start: int, stop: int) -> None:
    """Let the system take back the memory of rows of a column as it was opened; who reads them again finds them again."""
    owner: Any = column if isinstance(column, np.memmap) else column.base
    if not isinstance(owner, np.memmap) or not len(owner):
        return
    mapping: Any = owner.base
    row = owner.nbytes // len(owner)
    begin = owner.offset + start * row
    begin -= begin % mmap.PAGESIZE
    end = min(owner.offset + stop * row, len(mapping))
    if end > begin:
        mapping.madvise(mmap.MADV_DONTNEED, begin, end - begin)


class _Writer:
    """One column on its way into a file."""

    def __init__(self, file: BinaryIO, first: NDArray[Any]) -> None:
        self._file, self._dtype, self._row = file, first.dtype, first.shape[1:]
        self._rows, self._hash = 0, xxhash.xxh3_128()
        self._begin = self._header()

    def write(self, values: NDArray[Any]) -> None:
        """Append rows."""
        if values.size:
            data = np.ascontiguousarray(values, self._dtype).view(np.uint8).reshape(-1).data
            self._file.write(data)
            self._hash.update(data)
        self._rows += len(values)

    def finish(self) -> str:
        """Write the number of rows into the header, for which it has room; return the digest."""
        self._file.seek(0)
        assert self._header() == self._begin, "the header has grown into the rows"
        return _named(self._dtype, (self._rows, *self._row), self._hash.hexdigest())

    def _header(self) -> int:
        shape = (self._rows, *self._row)
        npy.write_array_header_1_0(
            self._file, {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        )
        return self._file.tell()


def _identity(folder: Path, name: str) -> tuple[str, int, int, int]:
    """Return what changes whenever a file is written: its place, inode, size and time of writing."""
    path = folder / f"{name}.npy"
    status = path.stat()
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns


def _digest_of(column: NDArray[Any], path: Path) -> str:
    """Return the digest of a column as it lies in its file, read piece by piece."""
    digest, piece = xxhash.xxh3_128(), memoryview(bytearray(PIECE_BYTES))
    with path.open("rb", buffering=0) as file:
        file.seek(path.stat().st_size - column.nbytes)
        while read := file.readinto(piece):
            digest.update(piece[:read])
    return _named(column.dtype, column.shape, digest.hexdigest())


def _named(dtype: np.dtype[Any], shape: tuple[int, ...], content: str) -> str:
    """Return a digest: the XXH3 of a column, which finds damage at the speed of memory, as no cryptographic hash does."""
    return f"{dtype.str}{shape}{content}"
