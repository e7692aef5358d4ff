"""Whole numbers kept exactly in a strategy's memory of floats: instants and cash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market_maker.strategies.quoting import jitable

HALF = 2**32
"""A float holds whole numbers up to 2**53 only; an int64 is kept as two numbers of 32 bits."""


@jitable
def keep_whole(memory: NDArray[np.float64], at: int, value: int) -> None:
    """Keep an int64 in two places of memory, `at` and `at` + 1."""
    memory[at] = value // HALF
    memory[at + 1] = value % HALF


@jitable
def whole(memory: NDArray[np.float64], at: int) -> int:
    """Return the int64 that `keep_whole` left; 0 in fresh memory."""
    return int(memory[at]) * HALF + int(memory[at + 1])
