"""Greatest common divisors of columns: the coarsest step that a column of integers fits."""

from numba import njit


@njit(cache=True, nogil=True)
def common_divisor(values, start):
    """Return the greatest common divisor of `start` and every value; 0 stands for none yet."""
    divisor = start
    for i in range(len(values)):
        value = abs(values[i])
        if divisor and value % divisor == 0:
            continue
        while value:
            divisor, value = value, divisor % value
        if divisor == 1:
            return divisor
    return divisor
