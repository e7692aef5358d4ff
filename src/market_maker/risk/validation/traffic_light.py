"""The traffic light of the Basel rules for any number of observations, and the multipliers of capital for 250 days."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from market_maker.domain.errors import InvalidRequest
from market_maker.risk.laws import binomial_cdf, binomial_upper
from market_maker.risk.tails import tail_share_of

YELLOW_FROM, RED_FROM = 0.95, 0.9999
"""Cumulative probabilities, under a right model, from which a number of exceptions is yellow and red."""

BASEL_OBSERVATIONS, BASEL_TAIL = 250, Fraction(1, 100)
PLUS_1996 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.00)
PLUS_2019 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.20, 0.26, 0.33, 0.38, 0.42, 0.50)
"""By exceptions 0 .. 9, and 10 or more; on 3 (1996) and on 1.5 (MAR99.9 of 2019)."""


class Zone(StrEnum):
    """GREEN: no reason for doubt; YELLOW: doubtful; RED: almost certainly wrong."""

    GREEN = "GREEN"
    YELLOW = "YELLOW"
    RED = "RED"


@dataclass(frozen=True, slots=True)
class TrafficLight:
    """The zone of a number of exceptions.

    Parameters
    ----------
    zone : the light
    exceptions, observations : N of T
    yellow_from, red_from : least exceptions of either zone
    cumulative : P(X <= N) under a right model
    at_least : P(X >= N): the chance to call a right model this wrong
    multiplier_1996, multiplier_2019 : of capital; None unless T is 250 and the confidence 99 %, for which they are made
    """

    zone: Zone
    exceptions: int
    observations: int
    yellow_from: int
    red_from: int
    cumulative: float
    at_least: float
    multiplier_1996: float | None
    multiplier_2019: float | None


def zones(observations: int, confidence: float | Decimal) -> tuple[int, int]:
    """Return the least exceptions of the yellow and of the red zone: the first k with P(X <= k) of 95 % and 99.99 %.

    5 and 10 for 250 observations at 99 %. Source: Basel Committee (1996), "Supervisory framework for the use of
    backtesting", table 2. O(log T).
    """
    tail = float(tail_share_of(confidence))
    if observations < 1:
        raise InvalidRequest.of("observations", observations, "1 or more")

    def first(probability: float) -> int:
        low, high = 0, observations
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if binomial_cdf(middle, observations, tail) >= probability else (middle + 1, high)
        return low

    return first(YELLOW_FROM), first(RED_FROM)


def traffic_light(exceptions: int, observations: int, confidence: float | Decimal) -> TrafficLight:
    """Return the light of `exceptions` of `observations`.

    Examples
    --------
    >>> traffic_light(5, 250, 0.99).zone, traffic_light(5, 250, 0.99).multiplier_2019
    (<Zone.YELLOW: 'YELLOW'>, 1.7)
    """
    if not 0 <= exceptions <= observations:
        raise InvalidRequest.of("exceptions", exceptions, f"0 to {observations}")
    yellow, red = zones(observations, confidence)
    zone = Zone.RED if exceptions >= red else Zone.YELLOW if exceptions >= yellow else Zone.GREEN
    tail = float(tail_share_of(confidence))
    basel = observations == BASEL_OBSERVATIONS and tail_share_of(confidence) == BASEL_TAIL
    place = min(exceptions, len(PLUS_1996) - 1)
    return TrafficLight(
        zone=zone,
        exceptions=exceptions,
        observations=observations,
        yellow_from=yellow,
        red_from=red,
        cumulative=binomial_cdf(exceptions, observations, tail),
        at_least=binomial_upper(exceptions, observations, tail),
        multiplier_1996=3.0 + PLUS_1996[place] if basel else None,
        multiplier_2019=1.5 + PLUS_2019[place] if basel else None,
    )
