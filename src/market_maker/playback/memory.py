"""A played recording's memory as bytes and back: the state of its replay, compressed.

Owns the form of such bytes. What only passes through (fills and log that have been handed out, messages, why somebody wakes)
is left out, so that equal markets give equal bytes however time was cut into calls and whoever watched.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from market_maker.backtest.state import FOREVER, ReplayState
from market_maker.domain.errors import DataError

FORM = 1
_PASSING = frozenset({
    "requests", "responses", "fills", "fill_sets", "samples", "log", "log_sets", "reasons", "recorded_requests",
    "recorded_answers", "view_bids", "view_asks", "view_orders", "view_instruments", "actions", "exchange", "local",
})  # fmt: skip
_LADDER = ("best", "quantity", "occupied", "extent")
_AWAKE = {
    "wakes_on": 0, "market_reasons": 0, "market_ts": 0, "last_wake_ts": 0, "wakes_at_once": 0, "local_event": 0,
    "next_answer_ts": FOREVER,
}  # fmt: skip
_LARGEST = 1 << 34


def kept_arrays(state: ReplayState) -> list[tuple[str, NDArray[Any]]]:
    """Return the arrays that make up a replay at rest, by name; those of a ladder but for the places that the feed names."""
    found = [(name, getattr(state, name)) for name in ReplayState._fields if name not in _PASSING]
    for side in ("exchange", "local"):
        found += [(f"{side}.{name}", getattr(getattr(state, side), name)) for name in _LADDER]
    return found


def calm(clock: NDArray[Any]) -> NDArray[Any]:
    """Return a clock of nobody who watches."""
    found = clock.copy()
    for name, value in _AWAKE.items():
        found[name] = value
    return found


def dump_state(state: ReplayState, header: dict[str, Any]) -> bytes:
    """Return the bytes of a replay at rest with a header of JSON values."""
    arrays = kept_arrays(state)
    told = header | {"form": FORM, "layout": _layout(arrays)}
    parts = [json.dumps(told, sort_keys=True).encode(), b"\n"]
    parts += [(calm(array) if name == "clock" else array).tobytes() for name, array in arrays]
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b"".join(parts))


def read_state(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return header and content of what `dump_state` wrote; DataError for damaged bytes or those of another version."""
    try:
        whole = zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST)
        text, _, _ = whole.partition(b"\n")
        header = json.loads(text)
        form = header["form"]
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"these bytes are no market of a recording: {error}") from error
    if form != FORM:
        raise DataError(f"the market of a recording is in form {form}, this version reads {FORM}")
    return header, memoryview(whole)[len(text) + 1 :]


def fill_state(state: ReplayState, header: dict[str, Any], content: memoryview) -> None:
    """Bring a new state over the same feed to the one that was written; DataError when it has other records or sizes."""
    arrays = kept_arrays(state)
    if header["layout"] != _layout(arrays) or len(content) != sum(array.nbytes for _, array in arrays):
        raise DataError(
            "the market of a recording was written by a version with other records, or of another recording"
        )
    at = 0
    for _, array in arrays:
        array[...] = np.frombuffer(content[at : at + array.nbytes], array.dtype).reshape(array.shape)
        at += array.nbytes


def state_digest(state: ReplayState) -> bytes:
    """Return a digest of a replay at rest."""
    digest = hashlib.sha256()
    for name, array in kept_arrays(state):
        digest.update((calm(array) if name == "clock" else array).tobytes())
    return digest.digest()


def _layout(arrays: list[tuple[str, NDArray[Any]]]) -> str:
    text = ";".join(f"{name}:{array.dtype}:{array.shape}" for name, array in arrays)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
