"""One-step forecasts of a model and what happened: what every test of a model is given.

A forecast carries the law of its tail, so that a test can ask what the model itself would have expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from market_maker.domain.errors import DataError
from market_maker.performance.figures import Float64, Int64
from market_maker.risk.samples import checked_sample
from market_maker.risk.tails import tail_share_of

TailLaw = Callable[[Float64, Int64], Float64]
"""(probabilities above, at most 1 - c; indices of forecasts) -> losses of the model's law with these probabilities above."""


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """Forecasts of one model beside the losses that followed; made by `rolling`, or by `checked_forecasts`.

    Parameters
    ----------
    model : its name
    confidence : in (0, 1)
    losses : (T,) that happened
    value_at_risk, expected_shortfall : (T,) as forecast one interval before
    tail_law : the losses that each forecast expected beyond its value at risk
    window : observations that each forecast was made from
    """

    model: str
    confidence: float
    losses: Float64
    value_at_risk: Float64
    expected_shortfall: Float64
    tail_law: TailLaw
    window: int

    @property
    def tail(self) -> float:
        """1 - c."""
        return float(tail_share_of(self.confidence))


def checked_forecasts(forecasts: Forecasts) -> Forecasts:
    """Return `forecasts`; DataError unless columns are finite and equally long, and no shortfall is below its quantile."""
    columns = [
        checked_sample(values, f"{forecasts.model}: {name}")
        for name, values in (
            ("losses", forecasts.losses),
            ("value at risk", forecasts.value_at_risk),
            ("expected shortfall", forecasts.expected_shortfall),
        )
    ]
    sizes = [column.size for column in columns]
    if len(set(sizes)) != 1:
        raise DataError(
            f"{forecasts.model}: columns of {sizes} values; one loss and two figures per forecast are needed"
        )
    below = columns[2] < columns[1] - 1e-9 * abs(columns[1])
    if below.any():
        raise DataError(f"{forecasts.model}: expected shortfall is below value at risk at index {int(below.argmax())}")
    return forecasts
