"""The files of the live dashboard as they are sent: whole, packed, with a tag; read once, and again after a new build.

Knows nothing of requests. A name that is none of the built files is None, so that no path leads out of the folder.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

BUILT = Path(__file__).parent / "built"
_NAME = re.compile(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)+")
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the dashboard; `packed` is the same by gzip, `tag` tells one build from another."""

    body: bytes
    packed: bytes
    media_type: str
    tag: str


def start_page(folder: Path = BUILT) -> PageFile | None:
    """Return the page that loads everything else, None before `make setup` has built it."""
    return _found(folder / "index.html")


def asset(name: str, folder: Path = BUILT) -> PageFile | None:
    """Return a part of the page; its name holds a hash of its content, so that it may be kept for ever."""
    return _found(folder / "assets" / name) if _NAME.fullmatch(name) else None


def _found(path: Path) -> PageFile | None:
    media_type = _TYPES.get(path.suffix)
    if media_type is None or not path.is_file():
        return None
    return _read(path, path.stat().st_mtime_ns, media_type)


@lru_cache(64)
def _read(path: Path, _changed_ns: int, media_type: str) -> PageFile:
    body = path.read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return PageFile(body, gzip.compress(body, 9, mtime=0), media_type, tag)
