"""Reference prices of several pairs that move together: a matrix of correlations as weights of common factors.

Owns the weights. The draws of the factors are functions of the group's seed and the step's number, so that every pair makes
them by itself: pairs need no order among each other, and none waits for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import InvalidRequest

_TOLERANCE = 1e-9
GROUP_BOUNDS: dict[str, tuple[float, float]] = {"seed": (0, 1 << 62)}


@dataclass(frozen=True, slots=True)
class GroupParameters:
    """With which other markets the reference price moves.

    Parameters
    ----------
    seed : of the common factors: markets with the same one, and the same length of a step, have the same factors
    loadings : the weights of the factors in the price's moves; what their squares leave of one is the market's own. Two
        markets have the correlation sum of weight x weight: 0.8 and 0.5 of one factor give 0.4
    """

    seed: int = 0
    loadings: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        low, high = GROUP_BOUNDS["seed"]
        if not low <= self.seed <= high:
            raise InvalidRequest.of("seed", self.seed, f"a number from {low} to {high}")
        check_loadings(self.loadings)


def check_loadings(loadings: tuple[float, ...]) -> None:
    """Raise InvalidRequest for weights that would give a price more than its own deviation."""
    if not loadings or not sum(weight * weight for weight in loadings) <= 1.0 + 1e-9:
        raise InvalidRequest.of("loadings", list(loadings), "weights whose squares sum to at most one")


def factor_loadings(correlations: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Return each pair's weights of the common factors: rows whose products are the correlations (Cholesky).

    Pairs of one group need one group seed and one step length. A matrix that is only just positive semidefinite (pairs
    that are copies of each other) is allowed.

    Raises
    ------
    InvalidRequest
        for a matrix that is not square, symmetric, of unit diagonal and positive semidefinite

    Examples
    --------
    >>> factor_loadings([[1.0, 0.6], [0.6, 1.0]])
    [(1.0, 0.0), (0.6, 0.8)]
    """
    matrix = np.array(correlations, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise InvalidRequest.of("correlations", matrix.shape, "a square matrix")
    if not np.allclose(matrix, matrix.T, atol=_TOLERANCE, rtol=0.0) or not np.allclose(
        np.diag(matrix), 1.0, atol=_TOLERANCE, rtol=0.0
    ):
        raise InvalidRequest.of("correlations", matrix.tolist(), "a symmetric matrix with ones on its diagonal")
    count = len(matrix)
    rows = np.zeros((count, count))
    for i in range(count):
        for j in range(i + 1):
            left = matrix[i, j] - rows[i, :j] @ rows[j, :j]
            if i == j:
                if left < -_TOLERANCE:
                    raise InvalidRequest.of("correlations", matrix.tolist(), "a positive semidefinite matrix")
                rows[i, i] = np.sqrt(max(0.0, left))
            elif rows[j, j] > _TOLERANCE:
                rows[i, j] = left / rows[j, j]
            elif abs(left) > 1e-6:
                raise InvalidRequest.of("correlations", matrix.tolist(), "a positive semidefinite matrix")
        rows[i] /= np.linalg.norm(rows[i])
    return [tuple(round(float(value), 15) for value in row) for row in rows]
