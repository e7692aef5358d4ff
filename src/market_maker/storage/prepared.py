"""Columns of a replay as memory-mapped files, made once and verified whenever they are opened. Knows no column's meaning."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from market_maker.domain.errors import DataError

Columns = Mapping[str, NDArray[Any]]
SEEN_MAX = 100_000
_seen: dict[tuple[str, int, int, int], str] = {}
"""Files that this process has verified, and not seen written since: a worker opens the same days again and again."""


def write_columns(folder: Path, columns: Columns) -> None:
    """Write columns into a folder that appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=folder.parent))
    try:
        digests = {}
        for name, values in columns.items():
            contiguous = np.ascontiguousarray(values)
            np.save(staging / f"{name}.npy", contiguous, allow_pickle=False)
            digests[name] = _digest(contiguous)
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


def read_columns(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a folder, memory-mapped; DataError when a checksum differs.

    A file is verified when this process opens it first, and again whenever it was written since.
    """
    try:
        digests = json.loads((folder / "columns.json").read_text("utf-8"))
        columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in digests}
        unknown = [name for name, digest in digests.items() if _seen.get(_identity(folder, name)) != digest]
        with ThreadPoolExecutor(2) as threads:  # the hash lets go of the interpreter
            found = dict(zip(unknown, threads.map(lambda name: _digest(columns[name]), unknown), strict=True))
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


def _identity(folder: Path, name: str) -> tuple[str, int, int, int]:
    """Return what changes whenever a file is written: its place, inode, size and time of writing."""
    path = folder / f"{name}.npy"
    status = path.stat()
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns


def _digest(values: NDArray[Any]) -> str:
    """Return the XXH3 of a column: damage is found at the speed of memory, which a cryptographic hash is far from."""
    data: Any = values.view(np.uint8).reshape(-1) if values.size else b""
    return f"{values.dtype.str}{values.shape}{xxhash.xxh3_128_hexdigest(data)}"
