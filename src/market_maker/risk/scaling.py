"""From observations of one interval to a horizon: by the square root of time, or by adding observations up.

Owns the rule of how much history a horizon needs. Knows nothing of models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.units import format_duration
from market_maker.performance.figures import Float64
from market_maker.risk.results import ScalingRule
from market_maker.risk.samples import checked_sample
from market_maker.risk.tails import LEAST_OBSERVATIONS, minimum_observations

HORIZON_MAX_NS = 366 * 86_400 * 1_000_000_000
RULES = (ScalingRule.SQUARE_ROOT, ScalingRule.NON_OVERLAPPING, ScalingRule.OVERLAPPING)
"""Those that may be asked for; the others follow from the horizon or the model."""


class Growth(StrEnum):
    """How observations add up: COMPOUND for simple returns, ADD for profits and log returns."""

    COMPOUND = "COMPOUND"
    ADD = "ADD"


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a figure is about, and how its observations are brought there.

    Parameters
    ----------
    horizon_ns : from `interval_ns` to 366 days
    interval_ns : of each observation, positive
    rule : one of `RULES`; without effect when the horizon is the interval
    growth : for the rules that add observations up
    drift : whether means grow with time by `SQUARE_ROOT`. False leaves them out beyond the interval: over n intervals the error
        of a mean is sqrt(ratio / n) deviations of the horizon, which for a day of seconds is more than the figure itself

    Raises
    ------
    InvalidRequest
        Naming the field that is not allowed.

    Examples
    --------
    >>> Horizon(4_000_000_000, 1_000_000_000).ratio  # 4 s from returns of 1 s
    4.0
    """

    horizon_ns: int
    interval_ns: int
    rule: ScalingRule = ScalingRule.SQUARE_ROOT
    growth: Growth = Growth.COMPOUND
    drift: bool = True

    def __post_init__(self) -> None:
        if self.interval_ns <= 0:
            raise InvalidRequest.of("interval_ns", self.interval_ns, "a positive interval")
        if not self.interval_ns <= self.horizon_ns <= HORIZON_MAX_NS:
            allowed = f"{format_duration(self.interval_ns)} (the interval of the observations) to 366d"
            raise InvalidRequest.of("horizon_ns", format_duration(max(self.horizon_ns, 0)), allowed)
        if self.rule not in RULES:
            raise InvalidRequest.of("rule", self.rule.value, ", ".join(rule.value for rule in RULES))

    @property
    def ratio(self) -> float:
        """Intervals in the horizon."""
        return self.horizon_ns / self.interval_ns

    @property
    def mean_growth(self) -> float:
        """Factor of means by the square root of time."""
        return self.ratio if self.drift or self.horizon_ns == self.interval_ns else 0.0

    @property
    def steps(self) -> int:
        """Intervals in the horizon; InvalidRequest unless that is a whole number."""
        steps, rest = divmod(self.horizon_ns, self.interval_ns)
        if rest:
            allowed = f"a whole number of intervals of {format_duration(self.interval_ns)}"
            raise InvalidRequest.of("horizon_ns", format_duration(self.horizon_ns), allowed)
        return steps


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Observations ready for a model.

    Parameters
    ----------
    values : (n,) of the interval, or of the horizon where they were added up
    rule : as it was applied
    scale : factor of deviations, 1 unless `SQUARE_ROOT`
    time : factor of means: scale squared, or 0 without drift
    """

    values: Float64
    rule: ScalingRule
    scale: float
    time: float


def prepare(returns: ArrayLike, horizon: Horizon, confidence: float | Decimal, what: str, least: int = 0) -> Prepared:
    """Return observations for a model, brought to the horizon where the rule adds them up.

    Parameters
    ----------
    returns : (n,) finite, oldest first, of neighbouring intervals where the rule adds them up (`checked_times`)
    horizon : with the rule
    confidence : in (0, 1): the tail has to hold a whole observation of the horizon
    what : the figure, for errors
    least : as many are needed at least, beside `minimum_observations`

    Raises
    ------
    DataError
        Too few observations. Where they are added up, `LEAST_OBSERVATIONS` stretches that do not overlap are needed
        too: overlapping ones share their data and only look like more.
    """
    needed = max(minimum_observations(confidence), least)
    if horizon.horizon_ns == horizon.interval_ns:
        return Prepared(checked_sample(returns, what, needed), ScalingRule.NONE, 1.0, 1.0)
    if horizon.rule is ScalingRule.SQUARE_ROOT:
        values = checked_sample(returns, what, needed)
        return Prepared(values, horizon.rule, math.sqrt(horizon.ratio), horizon.mean_growth)
    values, steps = checked_sample(returns, what), horizon.steps
    overlapping = horizon.rule is ScalingRule.OVERLAPPING
    wanted = max(LEAST_OBSERVATIONS * steps, needed + steps - 1) if overlapping else needed * steps
    if values.size < wanted:
        raise DataError(
            f"{what}: {values.size} observations of {format_duration(horizon.interval_ns)} are too few for a horizon of"
            f" {format_duration(horizon.horizon_ns)} by {horizon.rule}; at least {wanted} are needed"
        )
    return Prepared(aggregate(values, steps, overlapping=overlapping, growth=horizon.growth), horizon.rule, 1.0, 1.0)


def aggregate(returns: Float64, steps: int, *, overlapping: bool, growth: Growth) -> Float64:
    """Return observations of `steps` intervals each, oldest first.

    Without overlap they are counted back from the last; the oldest that do not fill one are left out. With overlap there
    are n - steps + 1. O(n).

    Examples
    --------
    >>> aggregate(np.array([1.0, 2.0, 3.0]), 2, overlapping=False, growth=Growth.ADD)
    array([5.])
    """
    assert steps >= 1, steps
    used = returns if overlapping else returns[len(returns) % steps :]
    if growth is Growth.COMPOUND:
        if used.size and float(used.min()) < -1.0:
            raise DataError(f"a return of {float(used.min()):.6g} loses more than all and cannot be compounded; add up")
        with np.errstate(divide="ignore"):
            logs = np.log1p(used)
        grown: Float64 = np.expm1(_added(logs, steps, overlapping=overlapping))
        return grown
    return _added(used, steps, overlapping=overlapping)


def _added(values: Float64, steps: int, *, overlapping: bool) -> Float64:
    if not overlapping:
        added: Float64 = values.reshape(-1, steps).sum(axis=1)
        return added
    # Sums of 1, 2, 4, ... neighbours, put together by the binary digits of `steps`: differences of running sums would
    # carry the rounding of all that came before.
    count = len(values) - steps + 1
    found, block, width, start = np.zeros(count), values, 1, 0
    while width <= steps:
        if steps & width:
            found += block[start : start + count]
            start += width
        if 2 * width <= steps:
            block = block[:-width] + block[width:]
        width *= 2
    return found
