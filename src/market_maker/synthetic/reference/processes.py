"""The processes of the reference price, by number."""

from __future__ import annotations

from enum import IntEnum


class Process(IntEnum):
    """How the reference price moves; JUMPS is GBM with Merton's jumps."""

    GBM = 0
    CONSTANT = 1
    ORNSTEIN_UHLENBECK = 2
    JUMPS = 3
    HESTON = 4
