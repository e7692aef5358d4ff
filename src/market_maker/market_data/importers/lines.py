"""Reading text files line by line in bounded memory, plain or gzip, with errors that name file and row."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from market_maker.domain.errors import DataError

LINE_BYTES_MAX = 4 << 20
PROGRESS_ROWS = 4096
_GZIP = b"\x1f\x8b"


def head_of(path: Path, size: int) -> bytes:
    """Return the first `size` decompressed bytes (fewer in a short or damaged file)."""
    try:
        with path.open("rb") as raw, _decompressed(raw) as stream:
            return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error


def lines_of(path: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (row from 1, line without its end); blank lines are left out.

    `progress` gets (bytes of the file read, bytes of the file). DataError for a truncated or damaged file and for a
    line of more than 4 MiB.
    """
    total, row = path.stat().st_size if path.exists() else 0, 0
    try:
        with path.open("rb") as raw, _decompressed(raw) as stream:
            while line := stream.readline(LINE_BYTES_MAX + 1):
                row += 1
                if len(line) > LINE_BYTES_MAX:
                    raise DataError(f"{path.name}, row {row}: the line is longer than {LINE_BYTES_MAX} bytes")
                if progress is not None and row % PROGRESS_ROWS == 0:
                    progress(raw.tell(), total)
                stripped = line.strip()
                if stripped:
                    yield row, stripped
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}, after row {row}: the file is damaged or cut off: {error}") from error
    if progress is not None:
        progress(total, total)


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if start == _GZIP else raw  # type: ignore[return-value]
