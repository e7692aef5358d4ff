"""Draws as pure functions of a seed and a counter, and products of large integers.

Owns the generator. Knows nothing of what is drawn for. A counter is all there is to keep: the same seed and counter give
the same draw in every process. Interpreted and compiled form are the same code.
"""

import math

import numpy as np
from numba import njit
from numba.extending import overload

inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False)
"""For functions that only compiled code calls, with arrays that their caller holds: neither wrappers for Python nor
counted references."""
inlined = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, error_model="numpy", _nrt=False, forceinline=True)
"""For the few that are called for every event."""

MASK = (1 << 64) - 1
UNIT = 2.0**-53
TURN = 2.0 * math.pi
SHIFT = 20
"""Prices are kept in 2^-20 ticks, relative changes in 2^-40."""
ONE = 1 << 40
LOW = (1 << SHIFT) - 1


def bits_of(seed, counter):
    """Return 63 random bits of draw number `counter` of a seed.

    Source: SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator.
    """
    z = (int(seed) * 0xD1342543DE82EF95 + int(counter) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (z ^ (z >> 31)) >> 1


@overload(bits_of, jit_options={"_nrt": False, "forceinline": True})
def _bits_of(seed, counter):
    def compiled(seed, counter):
        z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(1))

    return compiled


@inlined
def nth(index):
    """Return an index that is not negative such that Numba need not look whether it is."""
    return np.uint64(index)


@inlined
def uniform(seed, counter):
    """Return a draw in [0, 1) with 53 random bits."""
    return float(bits_of(seed, counter) >> 10) * UNIT


@inner
def normal(seed, counter):
    """Return a standard normal draw (Box and Muller 1958)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(seed, 2 * counter)))
    return radius * math.cos(TURN * uniform(seed, 2 * counter + 1))


@inlined
def quantum(relative):
    """Return a relative change in units of 2^-40, at least -1 and at most +1."""
    return np.int64(math.floor(min(1.0, max(-1.0, relative)) * ONE + 0.5))


@inner
def changed(price_q20, change_q40):
    """Return a price of at most 2^60 after a relative change of at most one, in whole numbers, rounded down.

    The product has up to 101 bits: (a 2^20 + b) (c 2^20 + d) / 2^40 = a c + (a d + b c + (b d >> 20)) / 2^20.
    """
    a, b = price_q20 >> SHIFT, price_q20 & LOW
    c, d = change_q40 >> SHIFT, change_q40 & LOW
    return price_q20 + a * c + ((a * d + b * c + ((b * d) >> SHIFT)) >> SHIFT)


@inner
def quantum_of_e12(change_e12):
    """Return a relative change of 1e-12 in units of 2^-40; it is bounded by -1 and +1 first. Long division."""
    change = min(1_000_000_000_000, max(-1_000_000_000_000, np.int64(change_e12)))
    high = change << SHIFT
    whole = high // 1_000_000_000_000
    rest = high - whole * 1_000_000_000_000
    return (whole << SHIFT) + (rest << SHIFT) // 1_000_000_000_000
