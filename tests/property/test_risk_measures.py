"""What must hold of risk figures for every sample."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from market_maker.risk.history import price_history, returns_at
from market_maker.risk.measures import Convention, tail_figures

losses_lists = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=120)
confidences = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)
conventions = st.sampled_from(list(Convention))


def enough(losses: list[float], confidence: float) -> bool:
    return len(losses) * (1 - Fraction(str(confidence))) >= 1


@given(losses_lists, confidences, conventions)
def test_shortfall_lies_between_value_at_risk_and_the_worst(
    losses: list[float], confidence: float, convention: Convention
) -> None:
    assume(enough(losses, confidence))
    figures = tail_figures(losses, confidence, convention)
    assert min(losses) <= figures.value_at_risk <= figures.expected_shortfall <= max(losses)


@given(losses_lists, confidences, confidences, conventions)
def test_more_confidence_is_never_less_loss(
    losses: list[float], one: float, other: float, convention: Convention
) -> None:
    low, high = sorted((one, other))
    assume(enough(losses, high))
    smaller, larger = tail_figures(losses, low, convention), tail_figures(losses, high, convention)
    tolerance = 1e-9 * max(1.0, *map(abs, losses))
    assert smaller.value_at_risk <= larger.value_at_risk + tolerance
    assert smaller.expected_shortfall <= larger.expected_shortfall + tolerance


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=120), confidences, conventions, st.data())
def test_translation_scale_and_order(
    losses: list[int], confidence: float, convention: Convention, data: st.DataObject
) -> None:
    """Shifted losses shift the figures, scaled ones scale them, and their order does not matter."""
    assume(enough(losses, confidence))  # type: ignore[arg-type]
    shift, factor = data.draw(st.integers(-(10**6), 10**6)), data.draw(st.sampled_from([0, 1, 2, 1024]))
    figures = tail_figures(losses, confidence, convention)
    shuffled = tail_figures(data.draw(st.permutations(losses)), confidence, convention)
    assert shuffled == figures
    moved = tail_figures([loss + shift for loss in losses], confidence, convention)
    scaled = tail_figures([loss * factor for loss in losses], confidence, convention)
    for name in ("value_at_risk", "expected_shortfall"):
        value = getattr(figures, name)
        assert math.isclose(getattr(moved, name), value + shift, rel_tol=1e-12, abs_tol=1e-6)
        assert math.isclose(getattr(scaled, name), value * factor, rel_tol=1e-12, abs_tol=1e-9)


@given(st.integers(1, 80), confidences, st.integers(0, 2**32))
def test_shortfall_is_subadditive(count: int, confidence: float, seed: int) -> None:
    """The risk of two books together is at most the sum of theirs: what makes the measure coherent."""
    rng = np.random.default_rng(seed)
    one, other = rng.standard_t(3, count), rng.standard_t(3, count)
    assume(enough(list(one), confidence))
    together = tail_figures(one + other, confidence).expected_shortfall
    apart = tail_figures(one, confidence).expected_shortfall + tail_figures(other, confidence).expected_shortfall
    assert together <= apart + 1e-9


@given(st.sets(st.integers(0, 200), min_size=1, max_size=150), st.integers(1, 30))
def test_returns_are_those_of_whole_intervals(places: set[int], multiple: int) -> None:
    """Against the definition: a return for each pair of closes that are there, counted back from the last."""
    ts = sorted(places)
    closes = {place: 1000 + place * place % 97 for place in ts}
    history = price_history([place * 10 for place in ts], [closes[place] for place in ts], interval_ns=10)
    returns = returns_at(history, multiple * 10)
    expected, possible, end = [], 0, ts[-1]
    while end - multiple >= ts[0]:
        possible += 1
        if end in closes and end - multiple in closes:
            expected.append(closes[end] / closes[end - multiple] - 1.0)
        end -= multiple
    assert returns.values.tolist() == expected[::-1]
    assert returns.dropped == possible - len(expected)
