"""What a book loses in a given storm, in the worst that was, and how small a storm loses a given amount.

Books here are linear: an exposure per factor (asset), signed, in one currency. Those that are told in their own factor, as
INVERSE contracts in coins, are not. Losses are positive.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.samples import checked_sample

STABLECOINS = ("USDT", "USDC", "DAI", "FDUSD")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A storm with published numbers.

    Parameters
    ----------
    name : by which it is asked for
    shocks : relative move per factor; they go before `shock`
    shock : relative move of every other factor, above -1
    spread_factor, depth_factor : by which spreads and depths are multiplied; they make liquidation dearer
    """

    name: str
    shock: float = 0.0
    shocks: Mapping[str, float] = field(default_factory=dict)
    spread_factor: float = 1.0
    depth_factor: float = 1.0

    def __post_init__(self) -> None:
        moves = (self.shock, *self.shocks.values())
        if not (all(map(math.isfinite, moves)) and min(moves) >= -1.0):
            raise InvalidRequest.of("shock", moves, "finite relative moves of -1 or more")
        factors = (self.spread_factor, self.depth_factor)
        if not (all(map(math.isfinite, factors)) and min(factors) > 0.0):
            raise InvalidRequest.of("spread_factor", factors, "positive factors")

    def move(self, factor: str) -> float:
        """Return the relative move of a factor."""
        return self.shocks.get(factor, self.shock)


SCENARIOS = (
    *(Scenario(f"DOWN_{size}", -size / 100) for size in (10, 20, 30, 50)),
    *(Scenario(f"UP_{size}", size / 100) for size in (10, 20, 30, 50)),
    Scenario("SPREAD_X5", spread_factor=5.0),
    Scenario("DEPTH_DIV5", depth_factor=0.2),
    Scenario("STABLECOIN_DEPEG", shocks=MappingProxyType(dict.fromkeys(STABLECOINS, -0.1))),
    Scenario("CRASH", -0.3, spread_factor=5.0, depth_factor=0.2),
)
"""The fixed ones, by size of the move in percent; CRASH is DOWN_30 with SPREAD_X5 and DEPTH_DIV5."""


@dataclass(frozen=True, slots=True)
class StressLoss:
    """What one scenario does.

    Parameters
    ----------
    scenario : its name
    loss : market + liquidation
    market : by factor moves
    liquidation : extra cost of getting out
    by_factor : loss of each factor
    """

    scenario: str
    loss: float
    market: float
    liquidation: float
    by_factor: tuple[tuple[str, float], ...]


def stress(
    exposures: Mapping[str, float],
    scenarios: Sequence[Scenario] = SCENARIOS,
    *,
    spread_cost: float = 0.0,
    impact_cost: float = 0.0,
    in_coins: Collection[str] = (),
) -> list[StressLoss]:
    """Return what each scenario loses, in the order given.

    Parameters
    ----------
    exposures : value per factor, signed
    spread_cost : cost of liquidation that is proportional to the spread: x (spread factor - 1) is added
    impact_cost : cost of going through the depth: x (1 / depth factor - 1) is added
    in_coins : factors whose exposure is told in themselves: a move of r earns r / (1 + r) of it

    Notes
    -----
    Both costs are those of now, so that a scenario without a change of spread or depth adds nothing. Positions are linear
    and stay as they are.
    """
    given = (*exposures.values(), spread_cost, impact_cost)
    if not (all(map(math.isfinite, given)) and min(spread_cost, impact_cost) >= 0.0):
        raise InvalidRequest.of("exposures", given, "finite values, and costs of 0 or more")
    found = []
    for scenario in scenarios:
        losses = tuple(
            (factor, -value * (_coins_earned(factor, scenario) if factor in in_coins else scenario.move(factor)) + 0.0)
            for factor, value in exposures.items()
        )
        market = math.fsum(loss for _, loss in losses)
        liquidation = spread_cost * (scenario.spread_factor - 1.0) + impact_cost * (1.0 / scenario.depth_factor - 1.0)
        found.append(StressLoss(scenario.name, market + liquidation, market, liquidation, losses))
    return found


def _coins_earned(factor: str, scenario: Scenario) -> float:
    move = scenario.move(factor)
    if move == -1.0:
        raise InvalidRequest.of(
            "shock", move, f"a move above -1 for {factor}: of coins that are worth nothing all are lost"
        )
    return move / (1.0 + move)


@dataclass(frozen=True, slots=True)
class WorstWindow:
    """A stretch of history: observations first .. last, both included, and what they lost together."""

    first: int
    last: int
    loss: float


def worst_windows(profits: ArrayLike, length: int, count: int = 5) -> list[WorstWindow]:
    """Return the stretches of history that would have lost the book most, worst first, not overlapping.

    Parameters
    ----------
    profits : (n,) of the present book in each interval of history, oldest first
    length : of a stretch, 1 to n
    count : at most so many, 1 or more; of equally bad ones the earlier

    Notes
    -----
    Chosen greedily: the worst, then the worst of those that do not overlap it. O(n x count).
    """
    row = checked_sample(profits, "worst windows")
    if not 1 <= length <= row.size:
        raise DataError(f"worst windows: {row.size} observations hold no stretch of {length}; {length} are needed")
    if count < 1:
        raise InvalidRequest.of("count", count, "1 or more")
    sums = np.concatenate([[0.0], np.cumsum(row)])
    losses = -(sums[length:] - sums[:-length])
    found: list[WorstWindow] = []
    while len(found) < count:
        first = int(np.argmax(losses))
        if losses[first] == -math.inf:
            break
        found.append(WorstWindow(first, first + length - 1, -math.fsum(row[first : first + length].tolist())))
        losses[max(0, first - length + 1) : first + length] = -math.inf
    return found


class Norm(StrEnum):
    """How the size of a joint move is measured.

    LARGEST: the largest single move; EUCLID: root of the sum of squares; SUM: sum of sizes;
    LIKELIHOOD: in standard deviations of the factors' joint law (Mahalanobis): the most likely way to the loss.
    """

    LARGEST = "LARGEST"
    EUCLID = "EUCLID"
    SUM = "SUM"
    LIKELIHOOD = "LIKELIHOOD"


@dataclass(frozen=True, slots=True, eq=False)
class ReverseStress:
    """The smallest move that loses an amount: (f,) relative moves, and its size in the norm."""

    moves: Float64
    size: float
    norm: Norm


def reverse_stress(
    exposures: ArrayLike, loss: float, norm: Norm = Norm.EUCLID, *, covariance: ArrayLike | None = None
) -> ReverseStress:
    """Return the smallest joint move of the factors that loses `loss`.

    Parameters
    ----------
    exposures : (f,) value per factor, signed, not all 0
    loss : positive
    norm : how moves are measured
    covariance : (f, f) of the factors' returns, for LIKELIHOOD

    Raises
    ------
    InvalidRequest
        A loss that is not positive, no exposure, or no covariance that makes the loss possible.

    Notes
    -----
    Of all x with -w.x = L the smallest is, by Hoelder's inequality: -L w / |w|_2^2 (EUCLID), -L sign(w) / |w|_1 (LARGEST),
    -L / w_k on the largest exposure k alone (SUM, the first of equal ones), -L C w / (w'C w) (LIKELIHOOD, of size
    L / sqrt(w'C w)). A move below -1 is more than a price can fall: no single fall of that size loses the amount.
    """
    weights = checked_sample(exposures, "reverse stress")
    if not (math.isfinite(loss) and loss > 0.0):
        raise InvalidRequest.of("loss", loss, "a positive amount")
    if not np.any(weights != 0.0):
        raise InvalidRequest.of("exposures", 0.0, "at least one that is not 0")
    if norm is Norm.LIKELIHOOD:
        matrix = np.asarray(covariance if covariance is not None else np.empty((0, 0)), dtype=np.float64)
        if matrix.shape != (weights.size, weights.size) or not np.isfinite(matrix).all():
            raise InvalidRequest.of("covariance", matrix.shape, f"a finite matrix {weights.size} x {weights.size}")
        tilted = matrix @ weights
        variance = float(weights @ tilted)
        if not variance > 0.0:
            raise InvalidRequest.of("covariance", variance, "one in which the book has a positive variance")
        return ReverseStress(-loss / variance * tilted, loss / math.sqrt(variance), norm)
    sizes = np.abs(weights)
    if norm is Norm.EUCLID:
        length = float(np.linalg.norm(weights))
        return ReverseStress(-loss / length * (weights / length), loss / length, norm)
    if norm is Norm.LARGEST:
        size = loss / math.fsum(sizes.tolist())
        return ReverseStress(-size * np.sign(weights) + 0.0, size, norm)
    largest = int(np.argmax(sizes))
    moves = np.zeros(weights.size)
    moves[largest] = -loss / weights[largest]
    return ReverseStress(moves, float(abs(moves[largest])), norm)
