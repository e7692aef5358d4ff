"""A market's memory as bytes and back: all arrays of the matching engine and of the flow, compressed.

Owns the form of such bytes. What is only passing through (events that have been handed out, the command in hand) is left
out, so that equal markets give equal bytes however time was cut into calls.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import zstandard

from market_maker.domain.errors import DataError
from market_maker.matching.state import MatchingState
from market_maker.synthetic.flow.state import FlowState, new_state

FORM = 1
_PASSING = ("events", "inbox")
_LARGEST = 1 << 34


def _layout(arrays: list[tuple[str, Any]]) -> str:
    """Return a digest of names and record layouts, so that bytes of another version are refused."""
    text = ";".join(f"{name}:{array.dtype}:{array.ndim}" for name, array in arrays)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _kept(matching: MatchingState, flow: FlowState) -> list[tuple[str, Any]]:
    found = [(f"matching.{name}", getattr(matching, name)) for name in MatchingState._fields if name not in _PASSING]
    return found + [(f"flow.{name}", getattr(flow, name)) for name in FlowState._fields]


def sizes_of(matching: MatchingState) -> dict[str, int]:
    """Return the arguments with which `matching.state.new_state` makes arrays of the same shapes."""
    return {
        "orders": len(matching.free_orders),
        "owners": len(matching.owners),
        "pages": len(matching.page_keys),
        "events": len(matching.events),
    }


def dump_market(matching: MatchingState, flow: FlowState) -> bytes:
    """Return the bytes of a market between two calls; cost is that of copying its arrays."""
    arrays = _kept(matching, flow)
    head = matching.head.copy()
    head["code"] = 0
    header = {
        "form": FORM,
        "layout": _layout(arrays),
        "sizes": sizes_of(matching),
        "shapes": {name: list(array.shape) for name, array in arrays},
    }
    parts = [json.dumps(header, sort_keys=True).encode(), b"\n"]
    parts += [(head if name == "matching.head" else array).tobytes() for name, array in arrays]
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b"".join(parts))


def read_header(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header of a market's bytes and what follows it.

    Raises
    ------
    DataError
        for bytes that are damaged or were not made by `dump_market`
    """
    try:
        whole = zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST)
        text, _, _ = whole.partition(b"\n")
        header = json.loads(text)
        form = header["form"]
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"these bytes are no market: {error}") from error
    if form != FORM:
        raise DataError(f"the market is in form {form}, this version reads {FORM}")
    return header, memoryview(whole)[len(text) + 1 :]


def load_arrays(header: dict[str, Any], content: memoryview, matching: MatchingState) -> FlowState:
    """Fill a new engine of the same sizes and return the flow.

    Raises
    ------
    DataError
        for arrays of other layouts or shapes
    """
    arrays = _kept(matching, new_state(levels=2, metaorders=1, pool=1, factors=1))
    if header["layout"] != _layout(arrays):
        raise DataError("the market was written by a version with other records")
    at, loaded = 0, {}
    for name, array in arrays:
        shape = tuple(header["shapes"][name])
        size = int(np.prod(shape)) * array.dtype.itemsize
        values = np.frombuffer(content[at : at + size], array.dtype).reshape(shape)
        at += size
        owner, _, field = name.partition(".")
        if owner == "flow":
            loaded[field] = values.copy()
        elif shape != array.shape:
            raise DataError(f"{name} has shape {shape}, {array.shape} is needed")
        else:
            array[...] = values
    if at != len(content):
        raise DataError(f"{len(content) - at} bytes are left over")
    return FlowState(**loaded)
