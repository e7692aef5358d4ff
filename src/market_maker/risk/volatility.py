"""Volatility that changes with time: exponentially weighted, and GARCH(1,1).

Knows nothing of tails. Both take observations in time order, without holes; means are zero unless it is said.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.figures import Float64

DECAY = 0.94
"""Of RiskMetrics (1996) for days: 74 of them hold 99 % of the weight."""

GARCH_LEAST = 100
WARM_UP = 20
"""Observations before the first weighted variance that is used."""


def checked_decay(decay: float, field: str = "decay") -> float:
    """Return `decay`; InvalidRequest unless it lies between 0 and 1, both excluded."""
    if not 0.0 < decay < 1.0:
        raise InvalidRequest.of(field, decay, "a number between 0 and 1, both excluded, such as 0.94")
    return decay


def weighted_variances(returns: Float64, decay: float = DECAY) -> Float64:
    """Return (n,) exponentially weighted means of squares: the last is the forecast for the next observation.

    Element t uses observations 0 .. t with weights decay^k / (sum of them), k the age: the weights of a short history
    sum to 1 too, and no first variance has to be made up. Zero mean. Source: RiskMetrics (1996), section 5.3.

    Notes
    -----
    sum_k decay^k x_(t-k) is built by doubling: with the sums of 1, 2, 4, ... terms. O(n log(1 / (1 - decay))).
    """
    checked_decay(decay)
    sums = returns * returns
    shift, factor = 1, decay
    while shift < len(sums) and factor > 1e-18:
        sums[shift:] += factor * sums[:-shift]
        shift, factor = 2 * shift, factor * factor
    ages = np.arange(1, len(sums) + 1, dtype=np.float64)
    found: Float64 = sums * (1.0 - decay) / -np.expm1(ages * math.log(decay))
    return found


@dataclass(frozen=True, slots=True)
class Garch:
    """A GARCH(1,1) law of observations with zero mean: s2' = omega + alpha x^2 + beta s2.

    Parameters
    ----------
    omega, alpha, beta : in the square of the observations' unit
    variance : of the next observation
    degrees : of the Student t law of the standardised observations; None: normal
    """

    omega: float
    alpha: float
    beta: float
    variance: float
    degrees: float | None = None

    def variance_of(self, steps: int) -> float:
        """Return the sum of the expected variances of the next `steps` observations.

        E s2_h = V + (a + b)^(h - 1) (s2_1 - V) with V = omega / (1 - a - b), summed as a geometric series; the limit for
        a + b = 1.
        """
        persistence = self.alpha + self.beta
        if abs(1.0 - persistence) * steps < 1e-6:
            return steps * self.variance + self.omega * steps * (steps - 1) / 2.0
        level = self.omega / (1.0 - persistence)
        grown = (1.0 - persistence**steps) / (1.0 - persistence)
        return steps * level + (self.variance - level) * grown

    def filtered(self, returns: Float64, first: float) -> Float64:
        """Return (n + 1,) variances: of each observation, and of the one after the last; `first` is that of the first."""
        found = np.empty(len(returns) + 1)
        found[0] = variance = first
        for index, square in enumerate((returns * returns).tolist()):
            variance = self.omega + self.alpha * square + self.beta * variance
            found[index + 1] = variance
        return found


@dataclass(frozen=True, slots=True, eq=False)
class GarchFit:
    """A fitted law, and the variances that it gives to the observations it was fitted to, (n,)."""

    law: Garch
    variances: Float64


def fit_garch(returns: Float64, what: str, *, student: bool = False) -> GarchFit:
    """Return the GARCH(1,1) law of greatest likelihood, by the library arch.

    Parameters
    ----------
    returns : (n,) finite, varying, n >= `GARCH_LEAST`
    student : Student t innovations instead of normal ones

    Raises
    ------
    DataError
        The optimiser did not converge.

    Notes
    -----
    Observations are brought to a deviation of 10 before, as arch wants them. The import takes seconds.
    """
    from arch import arch_model

    unit = 10.0 / float(returns.std())
    model = arch_model(
        returns * unit, mean="Zero", vol="GARCH", p=1, q=1, dist="t" if student else "normal", rescale=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told by the flag below
        fitted = model.fit(disp="off", show_warning=False)
    parameters = fitted.params
    omega, alpha, beta = (float(parameters[name]) for name in ("omega", "alpha[1]", "beta[1]"))
    conditional = np.asarray(fitted.conditional_volatility, dtype=np.float64) ** 2
    if fitted.convergence_flag != 0 or not (np.isfinite(conditional).all() and np.isfinite(omega + alpha + beta)):
        raise DataError(f"{what}: GARCH(1,1) could not be fitted to {returns.size} observations; take another model")
    following = omega + alpha * float(returns[-1] * unit) ** 2 + beta * float(conditional[-1])
    degrees = float(parameters["nu"]) if student else None
    law = Garch(omega / unit**2, alpha, beta, following / unit**2, degrees)
    return GarchFit(law, conditional / unit**2)
