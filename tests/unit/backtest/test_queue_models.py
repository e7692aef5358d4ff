"""The queue ahead under six models: by hand, against a plain twin, and what must hold for any history of a level."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_forms import compiled, interpreted
from market_maker.backtest.queue_models import EXPONENT_MAX, QueueModel, kernel, parameter_of
from market_maker.domain.errors import InvalidRequest

plain = interpreted(kernel)
on_depth, on_trade, executable = map(compiled, (kernel.on_depth, kernel.on_trade, kernel.executable_lots))
M = QueueModel
EXPONENTS = {M.POWER: 2.0, M.POWER2: 2.0, M.POWER3: 2.0}
ALL = [model for model in QueueModel if model <= M.LOG2]  # The others do not estimate: see the fill cases.


def twin_share(model, n, front, back):
    """The six formulas, written as in a paper."""
    try:
        match model:
            case M.RISK_AVERSE:
                return 1.0
            case M.POWER:
                return back**n / (back**n + front**n)
            case M.POWER2:
                return back**n / (back + front) ** n
            case M.POWER3:
                return 1 - (front / (front + back)) ** n
            case M.LOG:
                return math.log(1 + n * back) / (math.log(1 + n * back) + math.log(1 + n * front))
            case M.LOG2:
                return math.log(1 + n * back) / math.log(1 + n * (back + front))
    except ZeroDivisionError:
        return None


def twin_depth(model, n, front, cum, before, after):
    cancelled = before - after - cum
    if cancelled < 0:
        return min(front, after)
    back = before - front
    share = twin_share(model, n, front, back)
    if share is None:
        return after
    ahead = front - (1 - share) * cancelled
    if share * cancelled > back:  # more than there was behind: the rest was ahead
        ahead -= share * cancelled - back
    return min(ahead, after)


@pytest.mark.parametrize(
    ("model", "n", "share"),
    [
        # 60 ahead, 40 behind; 50 cancelled; p: share of those behind.
        (M.RISK_AVERSE, 0.0, None),
        (M.POWER, 1.0, 40 / 100),
        (M.POWER, 2.0, 1600 / (1600 + 3600)),
        (M.POWER2, 2.0, 1600 / 10_000),
        (M.POWER3, 2.0, 1 - 0.36),
        (M.LOG, 1.0, math.log(41) / (math.log(41) + math.log(61))),
        (M.LOG2, 1.0, math.log(41) / math.log(101)),
        # With lots of 0.1 the quantities are 6 and 4.
        (M.LOG, 0.1, math.log(5) / (math.log(5) + math.log(7))),
    ],
)
def test_a_cancel_of_20_with_60_ahead_and_40_behind(model, n, share):
    front, cum = on_depth(int(model), n, 60.0, 0.0, 100, 80)
    assert cum == 0.0
    assert front == pytest.approx(60.0 if share is None else 60 - (1 - share) * 20, rel=1e-15)


def test_what_traded_is_not_cancelled_once_more():
    # 100 displayed, 60 ahead. 10 trade, then the level shows 85: 10 of the 15 are the trade, 5 were cancelled.
    front, cum = on_trade(int(M.POWER), 1.0, 60.0, 0.0, 10)
    assert (front, cum) == (50.0, 10.0)
    front, cum = on_depth(int(M.POWER), 1.0, front, cum, 100, 85)
    # Behind are 100 - 50 = 50 of 100 displayed before the trade showed: p = 1/2, 2.5 go ahead of us.
    assert (front, cum) == (47.5, 0.0)


def test_a_level_that_grows_after_a_trade_leaves_the_front():
    assert on_depth(int(M.POWER), 1.0, 50.0, 10.0, 100, 95) == (50.0, 0.0)


def test_more_than_was_behind_comes_off_the_front():
    # 90 ahead, 10 behind, 80 cancelled; POWER2, n = 1: p = 0.1, so 8 behind and 72 ahead.
    assert on_depth(int(M.POWER2), 1.0, 90.0, 0.0, 100, 20) == (pytest.approx(18.0), 0.0)
    # POWER3, n = 8: p = 1 - 0.9**8 = 0.5695; 45.6 behind are asked of 10: 35.6 more come off the front.
    p = 1 - 0.9**8
    expected = 90 - (1 - p) * 80 - (p * 80 - 10)
    assert on_depth(int(M.POWER3), 8.0, 90.0, 0.0, 100, 20) == (pytest.approx(min(expected, 20)), 0.0)


@pytest.mark.parametrize("model", ALL)
def test_nobody_on_either_side_gives_what_is_displayed(model):
    assert on_depth(int(model), EXPONENTS.get(model, 1.0), 0.0, 0.0, 0, 0) == (0.0, 0.0)


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("front", [-0.4, -0.0, 0.3])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (3, 1)])
def test_a_front_that_a_trade_has_overrun_is_no_accident(model, front, before, after):
    n = 0.5 if model.has_exponent else 1.0
    found, _ = on_depth(int(model), n, front, 0.0, before, after)
    assert not math.isnan(found)
    assert found <= after
    assert plain.on_depth(int(model), n, front, 0.0, before, after)[0] == found


@pytest.mark.parametrize(
    ("front", "lots"),
    [(3.0, 0), (0.0, 0), (-0.49, 0), (-0.5, 1), (-1.49, 1), (-1.5, 2), (-2.0, 2), (-0.49999999999999994, 0)],
)
def test_lots_that_a_trade_has_reached(front, lots):
    assert executable(front) == lots
    assert plain.executable_lots(front) == lots


@pytest.mark.parametrize(("front", "lots"), [(3.0, 3), (2.1, 3), (0.0, 0), (-0.4, 0), (-7.0, 0)])
def test_what_is_shown_of_the_front(front, lots):
    assert compiled(kernel.whole_lots_ahead)(front) == plain.whole_lots_ahead(front) == lots


def test_a_story_of_one_level_by_hand():
    """POWER with n = 1; 8 displayed when we come."""
    model, n, front, cum = int(M.POWER), 1.0, 8.0, 0.0
    front, cum = on_trade(model, n, front, cum, 3)
    assert (front, executable(front)) == (5.0, 0)
    front, cum = on_depth(model, n, front, cum, 8, 9)  # 3 gone, 4 new behind us
    assert front == 5.0
    front, cum = on_depth(model, n, front, cum, 9, 6)  # 3 cancelled, 5/9 of them ahead
    assert front == pytest.approx(5 - 5 / 9 * 3)
    front, cum = on_trade(model, n, front, cum, 4)
    assert front == pytest.approx(-2 / 3)
    assert executable(front) == 1


@given(
    st.sampled_from(ALL),
    st.floats(0.01, EXPONENT_MAX),
    st.integers(0, 2**40),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2**40)), max_size=30),
    st.booleans(),
)
def test_any_history_keeps_the_rules(model, n, displayed, history, stops_at_zero):
    """Also with `stops_at_zero`, as our engine does it: nobody is ahead of the first."""
    n = n if model.has_exponent else (0.001 if model is not M.RISK_AVERSE else 0.0)
    front, cum = float(displayed), 0.0
    for is_trade, lots in history:
        before = front
        if is_trade:
            front, cum = on_trade(int(model), n, front, cum, lots)
            assert front == before - lots, "a trade comes off the front"
            if executable(front) > 0:
                front = 0.0
            continue
        values = (int(model), n, front, cum, displayed, lots)
        front, cum = on_depth(*values)
        assert (front, cum) == plain.on_depth(*values), "compiled and interpreted are the same bits"
        displayed = lots
        assert cum == 0.0
        assert front <= lots, "no more can be ahead than is displayed"
        assert not math.isnan(front)
        if stops_at_zero:
            front = max(front, 0.0)
            if before >= 0.0:
                assert front <= before, "a change of the level never puts us back"
        if model is M.RISK_AVERSE:
            assert front == min(before, lots)


def test_cancels_can_overrun_the_front():
    """The formulas share out more of the cancels than stood ahead; engines that take them as they are overfill."""
    # 10 ahead, 20 behind, all cancelled: p = 20**.5 / (20**.5 + 10**.5) = 0.5858, so 0.4142 x 30 = 12.43 of 10 ahead.
    front, _ = on_depth(int(M.POWER), 0.5, 10.0, 0.0, 30, 0)
    assert front == pytest.approx(10 - 30 * (1 - 2**0.5 / (2**0.5 + 1)))
    # A root of such a front is not a number, which means the back of the queue.
    assert on_depth(int(M.POWER), 0.5, front, 0.0, 30, 25) == (25.0, 0.0)
    assert on_depth(int(M.POWER), 0.5, max(front, 0.0), 0.0, 30, 25) == (0.0, 0.0)
    assert on_depth(int(M.POWER), 0.5, -1.0, 0.0, 5, 5) == (5.0, 0.0), "even where nothing was cancelled"
    assert on_depth(int(M.POWER), 0.5, 0.0, 0.0, 5, 5) == (0.0, 0.0)


@given(
    st.sampled_from(ALL),
    st.floats(0.1, 8.0),
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)
def test_kernel_equals_its_twin(model, n, front, back, traded, after):
    n = n if model.has_exponent else 0.5
    found, _ = on_depth(int(model), n, float(front), float(traded), front + back, after)
    assert found == pytest.approx(twin_depth(model, n, front, traded, front + back, after), rel=1e-9, abs=1e-6)


@given(st.sampled_from(ALL), st.floats(0.1, 8.0), st.integers(1, 10**6), st.integers(1, 10**6), st.data())
def test_more_cancelled_is_never_more_ahead(model, n, front, back, data):
    n = n if model.has_exponent else 0.5
    total = front + back
    less, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    few, _ = on_depth(int(model), n, float(front), 0.0, total, total - less)
    many, _ = on_depth(int(model), n, float(front), 0.0, total, total - more)
    assert many <= few + 1e-9 * total


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
def test_risk_averse_is_the_last_in_every_queue(front, back, after):
    """What the fill-assumption band rests on: no model is further behind."""
    most, _ = on_depth(int(M.RISK_AVERSE), 0.0, float(front), 0.0, front + back, after)
    for model in ALL[1:]:
        assert on_depth(int(model), EXPONENTS.get(model, 1.0), float(front), 0.0, front + back, after)[0] <= most


def test_the_parameter_of_each_model():
    lot = Decimal("0.001")
    assert parameter_of(M.POWER, 3, lot) == 3.0
    assert parameter_of(M.LOG, None, lot) == parameter_of(M.LOG2, None, lot) == 0.001
    assert parameter_of(M.RISK_AVERSE, None, lot) == 0.0
    for model, n in (
        (M.POWER, None),
        (M.POWER2, 0),
        (M.POWER3, float("nan")),
        (M.POWER, 17),
        (M.LOG, 2),
        (M.RISK_AVERSE, 1),
    ):
        with pytest.raises(InvalidRequest, match=r"queue_n"):
            parameter_of(model, n, lot)
