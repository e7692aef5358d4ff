"""Identifiers: UUID version 7, so that ids sort by the time they were made."""

from __future__ import annotations

import hashlib
import os
import time
from uuid import UUID

_VERSION_AND_VARIANT_CLEAR = ~((0xF << 76) | (0x3 << 62))
_VERSION_AND_VARIANT_SET = (0x7 << 76) | (0x2 << 62)


def new_id() -> UUID:
    """Return a fresh UUIDv7: 48 bits of Unix milliseconds, then 74 random bits.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = time.time_ns() // 1_000_000
    try:
        random_bits = _random_bits.pop()
    except IndexError:
        random_bits = _more_random_bits()
    value = (milliseconds << 80) | random_bits
    return UUID(int=(value & _VERSION_AND_VARIANT_CLEAR) | _VERSION_AND_VARIANT_SET)


_random_bits: list[int] = []
"""Random numbers of 80 bits fetched ahead, so that not every id asks the system. Popping is atomic."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_bits.clear)


def _more_random_bits() -> int:
    """Fetch 256 numbers and return one of them."""
    source = os.urandom(2560)
    _random_bits.extend(int.from_bytes(source[start : start + 10], "big") for start in range(10, 2560, 10))
    return int.from_bytes(source[:10], "big")


def derived_id(ts: int, root: UUID, counter: int) -> UUID:
    """Return the UUIDv7 of instant `ts` (ns) whose other bits follow from `root` and `counter`.

    The same arguments give the same id, so that a repeated session makes the same trades.
    """
    digest = hashlib.blake2b(root.bytes + counter.to_bytes(8, "big"), digest_size=10).digest()
    value = ((ts // 1_000_000) << 80) | int.from_bytes(digest, "big")
    return UUID(int=(value & _VERSION_AND_VARIANT_CLEAR) | _VERSION_AND_VARIANT_SET)


MARKET_ACCOUNT_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The account of the invented participants: the other side of our fills, so that the ledger sums to zero."""

DEFAULT_ACCOUNT_ID = UUID("00000000-0000-7000-8000-000000000002")
"""The account that pays for an order that names none."""

BACKTEST_ACCOUNT_ID = UUID("00000000-0000-7000-8000-000000000003")
"""The account that holds what backtests end with."""

DEFAULT_PAIR_ID = UUID("00000000-0000-7000-8000-000000000010")
"""The pair of a fresh database: BTC-USDT on the simulator."""

DEFAULT_STRATEGY_ID = UUID("00000000-0000-7000-8000-000000000020")
"""The strategy of a fresh database: inventory_skew on the default pair."""
