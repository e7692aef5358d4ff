"""Compiled figures of many rows, and of a book after each fill: equal to the plain functions, compiled and interpreted."""

from __future__ import annotations

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.risk.batch import kernel
from market_maker.risk.batch.figures import batch_figures
from market_maker.risk.batch.plan import plan
from market_maker.risk.batch.scenario_book import ScenarioBook
from market_maker.risk.drawdowns import drawdown_risk
from market_maker.risk.scaling import Horizon
from market_maker.risk.tails import Convention, tail_figures
from market_maker.risk.value_at_risk.parametric import normal

ONE = Horizon(1, 1)


def tables(rng):
    """Return rows of very different shapes: fat and thin tails, ties, few values, trends, gains alone."""
    count = 401
    return np.stack(
        [
            rng.standard_normal(count),
            rng.standard_t(2, count),
            rng.standard_t(1.1, count) * 1e6,
            np.round(rng.standard_normal(count), 1),
            rng.integers(0, 2, count).astype(float),
            np.linspace(-1.0, 1.0, count),
            np.linspace(1.0, -1.0, count) ** 3,
            rng.exponential(size=count),
            -rng.exponential(size=count) * 1e-9,
            np.where(np.arange(count) == 200, -1e9, 1.0),
            np.where(np.arange(count) < 395, -5.0, 3.0),
        ]
    )


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("confidences", [(0.95, 0.99), (0.5, 0.975), (0.937,)])
def test_figures_are_those_of_the_plain_functions(convention, confidences, rng):
    rows = tables(rng)
    found = batch_figures(rows, confidences, convention=convention)
    assert found.values.shape == (len(rows), 4 + 4 * len(confidences))
    assert np.isfinite(found.values).all()
    for number, row in enumerate(rows):
        size = np.abs(row).max()
        close = {"rel": 1e-11, "abs": 1e-12 * size}
        values = dict(zip(found.names, found.values[number], strict=True))
        assert values["mean"] == pytest.approx(row.mean(), **close)
        assert values["volatility"] == pytest.approx(row.std(ddof=1), **close)
        falls = drawdown_risk(row, 0.9)
        assert values["max_drawdown"] == pytest.approx(falls.deepest, rel=1e-11, abs=1e-10 * size)
        assert values["ulcer"] == pytest.approx(falls.ulcer, rel=1e-11, abs=1e-10 * size)
        for confidence in confidences:
            tail = tail_figures(-row, confidence, convention)
            assert values[f"historical_value_at_risk_{confidence:g}"] == pytest.approx(tail.value_at_risk, **close)
            assert values[f"historical_expected_shortfall_{confidence:g}"] == pytest.approx(
                tail.expected_shortfall, **close
            )
            law = normal(row, confidence, ONE)
            assert values[f"normal_value_at_risk_{confidence:g}"] == pytest.approx(law.value_at_risk, **close)
            assert values[f"normal_expected_shortfall_{confidence:g}"] == pytest.approx(law.expected_shortfall, **close)


def test_compiled_and_interpreted_are_alike(rng, monkeypatch):
    """Every function of the kernel runs as plain Python as well, and writes the same bytes."""
    rows = tables(rng)[:, :120]
    compiled = batch_figures(rows).values
    for name in ("select", "gather", "quantile_of", "shortfall_of"):
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    chosen = plan(120, (0.95, 0.99), Convention.LOWER_QUANTILE)
    figures = np.empty_like(compiled)
    assert kernel.batch(rows, chosen.table, chosen.kept, chosen.reach, np.empty(120), figures) == -1
    np.testing.assert_array_equal(figures, compiled)

    book, found = np.zeros(120), np.empty(2)
    chosen = plan(120, (0.99,), Convention.INTERPOLATED)
    fast = ScenarioBook(rows, 0.99, convention=Convention.INTERPOLATED)
    for number, change in ((0, 3.0), (3, -2.0), (6, 0.5), (0, -3.0)):
        args = (chosen.table, chosen.kept, chosen.reach, np.empty(120), found)
        assert kernel.book_after(book, rows[number], change, *args) == 0
        after = fast.fill(number, change)
        assert found.tolist() == [after.value_at_risk, after.expected_shortfall]


@pytest.mark.parametrize("kept", [1, 2, 5, 60])
def test_selection_is_a_sort(kept, rng):
    for make in (
        lambda: rng.standard_normal(60),
        lambda: rng.integers(0, 3, 60).astype(float),
        lambda: np.zeros(60),
        lambda: np.arange(60.0),
        lambda: np.arange(60.0)[::-1].copy(),
    ):
        values = make()
        expected = np.sort(values)[::-1][:kept]
        kernel.select.py_func(values, 60, kept)
        np.testing.assert_array_equal(values[:kept], expected)


def test_twelve_figures_by_name(rng):
    found = batch_figures(rng.standard_normal((3, 200)))
    assert len(found.names) == 12
    assert (found.column("ulcer") == found.values[:, 3]).all()
    with pytest.raises(KeyError):
        found.column("other")


def test_rows_that_do_not_vary_have_figures():
    found = batch_figures([[0.0] * 100, [2.0] * 100])
    assert found.column("volatility").tolist() == [0.0, 0.0]
    assert found.column("normal_value_at_risk_0.99").tolist() == [0.0, -2.0]
    assert found.column("historical_expected_shortfall_0.95").tolist() == [0.0, -2.0]
    assert not np.signbit(found.values[0]).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_row_that_is_no_number_is_named(bad, rng):
    rows = rng.standard_normal((5, 200))
    rows[3, 117] = bad
    with pytest.raises(DataError, match=r"batch, position 3: value .* at index 0, 117"):
        batch_figures(rows)


def test_what_else_is_refused():
    with pytest.raises(DataError, match=r"99 losses are too few for a confidence of 0\.99: at least 100"):
        batch_figures(np.zeros((2, 99)))
    with pytest.raises(DataError, match="positions x observations"):
        batch_figures(np.zeros(100))
    with pytest.raises(DataError, match="not a table of numbers"):
        batch_figures([["a"]])
    with pytest.raises(InvalidRequest, match="one or more"):
        batch_figures(np.zeros((2, 99)), ())
    for confidence in (0.0, 1.0, -1.0, 2.0, float("nan")):
        with pytest.raises(InvalidRequest, match="confidence_level"):
            batch_figures(np.zeros((2, 200)), (confidence,))
    assert batch_figures(np.zeros((0, 200))).values.shape == (0, 12)


def test_the_input_is_not_changed(rng):
    rows = rng.standard_normal((4, 150))
    before = rows.copy()
    batch_figures(rows)
    np.testing.assert_array_equal(rows, before)
    whole = np.arange(600).reshape(3, 200)[:, ::-1]
    assert batch_figures(whole).column("mean")[0] == whole[0].mean()


# --- a book after each fill ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", Convention)
@pytest.mark.parametrize("confidence", (0.9, 0.95, 0.99))
def test_a_book_is_that_of_a_full_revaluation(convention, confidence, rng):
    units = rng.standard_t(3, (9, 503))
    held = rng.integers(-20, 20, 9).astype(float)
    book = ScenarioBook(units, confidence, held, convention=convention)
    for _ in range(300):
        position, change = int(rng.integers(9)), float(rng.integers(-10, 11))
        expected_held = held.copy()
        expected_held[position] += change
        expected = tail_figures(-(expected_held @ units), confidence, convention)
        asked = book.with_order(position, change)
        np.testing.assert_array_equal(book.quantities, held)
        found = book.fill(position, change)
        held = expected_held
        assert asked == found
        assert found.value_at_risk == pytest.approx(expected.value_at_risk, abs=1e-9)
        assert found.expected_shortfall == pytest.approx(expected.expected_shortfall, abs=1e-9)
        assert book.figures() == found
    np.testing.assert_array_equal(book.quantities, held)


def test_rounding_does_not_gather(rng):
    units = rng.standard_normal((2, 200)) * 1e6
    book = ScenarioBook(units, 0.95)
    for number in range(25_000):
        book.fill(number % 2, 0.1 if number % 4 < 2 else -0.1)
    expected = tail_figures(-(book.quantities @ units), 0.95)
    assert book.figures().expected_shortfall == pytest.approx(expected.expected_shortfall, abs=1e-13 * 1e6 * 4)


def test_a_fill_that_is_refused_leaves_the_book(rng):
    book = ScenarioBook(rng.standard_normal((2, 200)), 0.95, [1.0, 2.0])
    before, profits = book.figures(), book.profits
    for position, change in ((2, 1.0), (-1, 1.0), (0, float("nan")), (0, float("inf"))):
        for ask in (book.fill, book.with_order):
            with pytest.raises(InvalidRequest):
                ask(position, change)
    with pytest.raises(DataError, match="no number"):
        book.fill(0, 1e200)
    assert book.figures() == before
    np.testing.assert_allclose(book.profits, profits, rtol=1e-13)


def test_a_book_needs_scenarios():
    with pytest.raises(DataError, match=r"50 scenarios for 2 positions are too few; at least 100"):
        ScenarioBook(np.zeros((2, 50)), 0.99)
    with pytest.raises(InvalidRequest, match="quantities"):
        ScenarioBook(np.zeros((2, 100)), 0.99, [1.0])
    with pytest.raises(DataError, match="index 1, 5"):
        ScenarioBook(np.where(np.arange(200).reshape(2, 100) == 105, np.nan, 0.0), 0.99)
    assert ScenarioBook(np.zeros((2, 100)), 0.99).figures().value_at_risk == 0.0
