"""Risk figures against independent code: numpy's quantile methods, and a slow twin in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from market_maker.risk.measures import Convention, tail_figures

NUMPY_METHODS = {
    Convention.LOWER_QUANTILE: "inverted_cdf",  # type 1
    Convention.INTERPOLATED: "linear",  # type 7
}
# numpy counts in binary: only confidences whose product with the count is exact can be compared at whole k.
EXACT_CONFIDENCES = (0.5, 0.75, 0.875, 0.9375, 0.96875)


@pytest.mark.parametrize("convention", NUMPY_METHODS)
@pytest.mark.parametrize("confidence", EXACT_CONFIDENCES)
def test_quantiles_are_those_of_numpy(convention: Convention, confidence: float, rng: np.random.Generator) -> None:
    for count in (32, 33, 64, 100, 127, 1000, 1024):
        losses = rng.standard_t(3, count)
        ours = tail_figures(losses, confidence, convention).value_at_risk
        theirs = np.quantile(losses, confidence, method=NUMPY_METHODS[convention])
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-15), (count, confidence)


def twin(losses: list[Fraction], confidence: Fraction, convention: Convention) -> tuple[Fraction, Fraction]:
    """Return both figures from their definitions, by looking at every loss, without any float."""
    count = len(losses)

    def share_at_or_below(loss: Fraction) -> Fraction:
        return Fraction(sum(1 for other in losses if other <= loss), count)

    if convention is Convention.LOWER_QUANTILE:
        quantile = min(loss for loss in losses if share_at_or_below(loss) >= confidence)
    elif convention is Convention.UPPER_ORDER_STATISTIC:
        quantile = min(loss for loss in losses if share_at_or_below(loss) > confidence)
    else:
        rising = sorted(losses)
        place = (count - 1) * confidence
        below = int(place)
        above = min(below + 1, count - 1)
        quantile = rising[below] + (place - below) * (rising[above] - rising[below])
    # Expected shortfall as the mean of the quantile function over (c, 1): each loss fills 1/n of the axis.
    shortfall = Fraction(0)
    for place, loss in enumerate(sorted(losses)):
        start, end = Fraction(place, count), Fraction(place + 1, count)
        shortfall += loss * max(Fraction(0), end - max(start, confidence))
    return quantile, shortfall / (1 - confidence)


@pytest.mark.parametrize("convention", Convention)
def test_figures_are_those_of_the_slow_twin(convention: Convention, rng: np.random.Generator) -> None:
    for _ in range(150):
        count = int(rng.integers(1, 121))
        thousandths = int(rng.integers(1, 1000))
        if rng.random() < 0.5:
            thousandths = int(rng.choice([500, 800, 900, 950, 975, 990]))
        confidence = Fraction(thousandths, 1000)
        if count * (1 - confidence) < 1:
            continue
        losses = [int(loss) for loss in rng.integers(-20, 20, count)]  # many ties
        figures = tail_figures(losses, thousandths / 1000, convention)
        quantile, shortfall = twin([Fraction(loss) for loss in losses], confidence, convention)
        assert figures.value_at_risk == pytest.approx(float(quantile), abs=1e-12), (count, thousandths)
        assert figures.expected_shortfall == pytest.approx(float(shortfall), abs=1e-12), (count, thousandths)
