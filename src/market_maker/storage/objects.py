"""An object store behind one URL (s3://bucket/lake, gs://..., file:///mnt/lake), by fsspec. Knows no days and no tables."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from market_maker.domain.errors import DataError, InvalidRequest, Unavailable, shorten


class ObjectStore:
    """Objects under a URL; keys are relative to it.

    Parameters
    ----------
    url : of any protocol that fsspec knows; the package of the protocol (such as s3fs) must be installed

    Raises
    ------
    InvalidRequest : an unknown protocol, or its package is missing; the message names it
    """

    def __init__(self, url: str) -> None:
        import fsspec  # loaded by those who have an object store

        try:
            # A cached listing would hide what other machines have published.
            self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InvalidRequest.of("lake", url, f"a folder, or a URL that fsspec can open: {error}") from error
        self._root = str(root).rstrip("/")

    def folders(self, key: str) -> list[str]:
        """Return the names of the folders under a key."""
        try:
            found = self._call("ls", self._path(key), detail=False)
        except FileNotFoundError:
            return []
        return [str(name).rstrip("/").rpartition("/")[2] for name in found]

    def folders_with(self, key: str, name: str) -> list[str]:
        """Return the names of the folders under a key that hold an object of a name."""
        found = self._call("glob", f"{self._path(key)}/*/{name}")
        return [str(path).split("/")[-2] for path in found]

    def read(self, key: str) -> bytes:
        """Return a small object; FileNotFoundError without it."""
        content: bytes = self._call("cat_file", self._path(key))
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write a small object in one step."""
        path = self._path(key)
        self._call("makedirs", path.rpartition("/")[0], exist_ok=True)
        self._call("pipe_file", path, content)

    def upload(self, path: Path, key: str) -> None:
        """Copy a file into the store."""
        target = self._path(key)
        self._call("makedirs", target.rpartition("/")[0], exist_ok=True)
        self._call("put_file", str(path), target)

    def download(self, key: str, path: Path) -> None:
        """Copy an object to a file that appears whole; DataError when the store does not have it."""
        handle, name = tempfile.mkstemp(prefix=".staging-", dir=path.parent)
        os.close(handle)
        try:
            self._call("get_file", self._path(key), name)
            Path(name).replace(path)
        except FileNotFoundError:
            raise DataError(f"{key} is missing in the object store; import the day again") from None
        finally:
            Path(name).unlink(missing_ok=True)

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        try:
            self._call("rm_file", self._path(key))
        except FileNotFoundError:
            return

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _call(self, operation: str, *args: Any, **options: Any) -> Any:
        try:
            return getattr(self._files, operation)(*args, **options)
        except FileNotFoundError:
            raise
        except Exception as error:  # each protocol's client has errors of its own
            raise Unavailable(f"the object store of the lake failed ({operation}): {shorten(str(error))}") from error
