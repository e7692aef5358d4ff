"""Files that commands write: where one can be written is known before the work begins, not after an hour of it."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from market_maker.domain.errors import InvalidRequest


def file_to_write(param: typer.CallbackParam, value: Path | None) -> Path | None:
    """Return the file of an option, as its callback; InvalidRequest names the option when it could not be written."""
    if value is not None and (value.is_dir() or not os.access(value if value.exists() else value.parent, os.W_OK)):
        raise InvalidRequest.of(param.opts[0], str(value), "a file that can be written, in a folder that exists")
    return value
