"""Do exceptions come in clusters? The time between them, which has no memory if the model is right."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike

from market_maker.domain.errors import InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.tails import tail_share_of
from market_maker.risk.validation.coverage import Hits, checked_hits
from market_maker.risk.validation.judgement import Judgement, chi_squared_tail

LEAST_EXCEPTIONS = 3
SHAPE_MIN, SHAPE_MAX = 0.02, 50.0


def duration_test(
    hits: ArrayLike, *, confidence: float | Decimal = 0.99, rng: np.random.Generator | None = None, draws: int = 499
) -> Judgement:
    """Return the test of durations: a Weibull law of shape b against b = 1, which has no memory.

    Parameters
    ----------
    hits : (T,) truth values, in time order; undefined with fewer than `LEAST_EXCEPTIONS`
    confidence : of value at risk, for simulated series
    rng : with it, the p-value comes from `draws` series of independent exceptions, which the chi-squared law only
        approximates when exceptions are few; without it, chi-squared with 1 degree
    draws : simulated series with as many exceptions as are needed, at least 99

    Notes
    -----
    f(d) = a^b b d^(b - 1) exp(-(a d)^b); a has a closed form given b. The stretches before the first and after the last
    exception are censored: they count with the chance of lasting longer. b < 1: clusters; b > 1: too regular. `statistic` is
    the likelihood ratio; `weibull_shape` gives b.
    Source: Christoffersen and Pelletier (2004), "Backtesting value-at-risk: a duration-based approach", J. Financial
    Econometrics 2(1); simulated p-values: Dufour (2006), J. Econometrics 133(2).
    """
    row = checked_hits(hits)
    exceptions = int(row.sum())
    method = "chi-squared, 1" if rng is None else f"{draws} simulated series"
    if exceptions < LEAST_EXCEPTIONS:
        reason = f"{exceptions} exceptions; at least {LEAST_EXCEPTIONS} are needed"
        return Judgement("duration", None, None, row.size, exceptions, method, reason)
    statistic = _ratio(row)[0]
    if rng is None:
        p_value = chi_squared_tail(statistic, 1)
    else:
        p_value = _simulated(statistic, row.size, float(tail_share_of(confidence)), rng, draws)
    return Judgement("duration", statistic, p_value, row.size, exceptions, method)


def weibull_shape(hits: ArrayLike) -> float | None:
    """Return the shape b of greatest likelihood, 1 without memory; None with fewer than `LEAST_EXCEPTIONS`."""
    row = checked_hits(hits)
    return None if int(row.sum()) < LEAST_EXCEPTIONS else _ratio(row)[1]


def _ratio(row: Hits) -> tuple[float, float]:
    """Return the likelihood ratio and the shape."""
    from scipy import optimize  # type: ignore[import-untyped]

    places = np.flatnonzero(row) + 1
    whole = np.diff(places).astype(np.float64)
    # The first exception ends a stretch whose begin was not seen unless it is the first day; the last stretch goes on.
    ends = [float(places[0])] * (not row[0]) + [float(row.size - places[-1])] * (not row[-1])
    logs, all_logs = np.log(whole), np.log(np.concatenate([whole, ends]))

    def log_likelihood(shape: float) -> float:
        return _profile(shape, logs, all_logs)

    found = optimize.minimize_scalar(
        lambda log_shape: -log_likelihood(math.exp(log_shape)),
        bounds=(math.log(SHAPE_MIN), math.log(SHAPE_MAX)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    shape = math.exp(float(found.x))
    return max(2.0 * (-float(found.fun) - log_likelihood(1.0)), 0.0), shape


def _profile(shape: float, logs: Float64, all_logs: Float64) -> float:
    """Return the log likelihood at the best a: a^b = k / sum d^b over all stretches, k those that are whole."""
    count = len(logs)
    powers = shape * all_logs
    top = float(powers.max())
    log_sum = top + math.log(float(np.exp(powers - top).sum()))
    return count * (math.log(count) - log_sum) + count * math.log(shape) + (shape - 1.0) * float(logs.sum()) - count


def _simulated(statistic: float, observations: int, tail: float, rng: np.random.Generator, draws: int) -> float:
    if draws < 99:
        raise InvalidRequest.of("draws", draws, "at least 99")
    as_large, made, tried = 0, 0, 0
    while made < draws and tried < 100 * draws:
        row: Hits = rng.random(observations) < tail
        tried += 1
        if int(row.sum()) < LEAST_EXCEPTIONS:
            continue
        made += 1
        as_large += _ratio(row)[0] >= statistic
    return (as_large + 1) / (made + 1)
