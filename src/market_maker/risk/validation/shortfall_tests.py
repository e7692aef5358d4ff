"""Is expected shortfall large enough? Z1 and Z2 of Acerbi and Szekely, with p-values from the model's own law.

Published critical values (-0.7 for Z2 at 5 %) hold for tails that are nearly normal; for fat ones they reject too often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64
from market_maker.risk.samples import checked_sample
from market_maker.risk.validation.coverage import exceptions_of
from market_maker.risk.validation.forecasts import Forecasts, TailLaw, checked_forecasts
from market_maker.risk.validation.judgement import Judgement

DRAWS = 10_000
_CELLS_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class ShortfallTests:
    """Both statistics: 0 expected, negative when expected shortfall is too small. One-sided."""

    z1: Judgement
    z2: Judgement


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedStatistics:
    """(draws,) values of both statistics when the model is right; Z1 is NaN in series without an exception."""

    z1: Float64
    z2: Float64


def z1_statistic(losses: Float64, value_at_risk: Float64, expected_shortfall: Float64) -> float | None:
    """Return 1 - mean of loss / ES over exceptions; None without any. Source: Acerbi and Szekely (2014), test 1."""
    hits = exceptions_of(losses, value_at_risk)
    shortfall = _positive(expected_shortfall)
    return 1.0 - float(np.mean(losses[hits] / shortfall[hits])) if hits.any() else None


def z2_statistic(losses: Float64, value_at_risk: Float64, expected_shortfall: Float64, tail: float) -> float:
    """Return 1 - sum of loss / ES over exceptions / (T (1 - c)). Source: Acerbi and Szekely (2014), test 2."""
    hits = exceptions_of(losses, value_at_risk)
    shortfall = _positive(expected_shortfall)
    return 1.0 - float(np.sum(losses[hits] / shortfall[hits])) / (losses.size * tail)


def acerbi_szekely(forecasts: Forecasts, rng: np.random.Generator, *, draws: int = DRAWS) -> ShortfallTests:
    """Return both tests.

    Parameters
    ----------
    forecasts : with positive expected shortfalls
    rng : source of chance
    draws : simulated series, at least 100

    Notes
    -----
    p = (1 + simulated statistics at or below the observed) / (1 + draws). For Z1, which says how deep exceptions are
    and not how many, among the series that have one.
    Source: Acerbi and Szekely (2014), "Backtesting expected shortfall", Risk 27(11).
    """
    checked_forecasts(forecasts)
    losses, quantile, shortfall = forecasts.losses, forecasts.value_at_risk, forecasts.expected_shortfall
    simulated = simulated_statistics(shortfall, forecasts.tail_law, forecasts.tail, rng, draws)
    count, hits = losses.size, int(exceptions_of(losses, quantile).sum())
    first = z1_statistic(losses, quantile, shortfall)
    second = z2_statistic(losses, quantile, shortfall, forecasts.tail)
    method = f"{draws} series of the model's own law"
    known = simulated.z1[np.isfinite(simulated.z1)]
    if first is None or not known.size:
        z1 = Judgement("acerbi_szekely_z1", first, None, count, hits, method, "no exceptions; at least 1 is needed")
    else:
        z1 = Judgement("acerbi_szekely_z1", first, _p_value(known, first), count, hits, method)
    z2 = Judgement("acerbi_szekely_z2", second, _p_value(simulated.z2, second), count, hits, method)
    return ShortfallTests(z1, z2)


def simulated_statistics(
    expected_shortfall: Float64, tail_law: TailLaw, tail: float, rng: np.random.Generator, draws: int
) -> SimulatedStatistics:
    """Return both statistics of series drawn from the model's own law.

    Notes
    -----
    A loss that is no exception counts for nothing, so that only exceptions are drawn: the steps from one to the next, over
    all series laid end to end, are geometric, and the probability above each is uniform on (0, 1 - c).
    O(draws x T x (1 - c)).
    """
    if draws < 100:
        raise InvalidRequest.of("draws", draws, "at least 100")
    shortfall = _positive(expected_shortfall)
    count = shortfall.size
    sums, hits = np.zeros(draws), np.zeros(draws, dtype=np.int64)
    step = max(1, int(_CELLS_AT_ONCE / max(count * tail, 1.0)))
    for first in range(0, draws, step):
        part = min(step, draws - first)
        places = _bernoulli_places(part * count, tail, rng)
        series, times = np.divmod(places, count)
        above = tail * (1.0 - rng.random(places.size))
        ratios = tail_law(above, times) / shortfall[times]
        sums[first : first + part] = np.bincount(series, ratios, part)
        hits[first : first + part] = np.bincount(series, minlength=part)
    z1 = np.where(hits > 0, 1.0 - sums / np.maximum(hits, 1), np.nan)
    return SimulatedStatistics(z1, 1.0 - sums / (count * tail))


def _bernoulli_places(
    cells: int, probability: float, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the rising indices, below `cells`, of independent trials that came true."""
    found, last = [], -1
    while last < cells:
        expected = (cells - last) * probability
        steps = rng.geometric(probability, int(expected + 4.0 * expected**0.5 + 16.0))
        places = last + np.cumsum(steps)
        found.append(places)
        last = int(places[-1])
    together = np.concatenate(found)
    return together[: int(np.searchsorted(together, cells))]


def _p_value(simulated: Float64, observed: float) -> float:
    return (1.0 + float(np.sum(simulated <= observed))) / (1.0 + simulated.size)


def _positive(expected_shortfall: Float64) -> Float64:
    values = checked_sample(expected_shortfall, "expected shortfall")
    if not float(values.min()) > 0.0:
        index = int(np.argmin(values))
        raise DataError(
            f"expected shortfall {values[index]} at index {index} is not positive; losses cannot be held against it"
        )
    return values
