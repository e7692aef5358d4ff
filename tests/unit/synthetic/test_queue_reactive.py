"""A market whose participants look at queues is found again in its own recording; what cannot be fitted is refused."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from market_maker.backtest.engine import RunConfig
from market_maker.backtest.market_calibration import Market, deviation_per_second
from market_maker.backtest.price_jumps import deviations, fit_jumps
from market_maker.backtest.result import FillModel
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.market_data.stretch import Rows, rows_of
from market_maker.montecarlo.engine import Simulation, SimulationConfig
from market_maker.montecarlo.recording import feed_of_tape
from market_maker.strategies.contract import find_strategy
from market_maker.synthetic.custom import parse_custom
from market_maker.synthetic.flow.parameters import NS, FlowParameters, MarketDesign, ReferenceParameters
from market_maker.synthetic.flow.state import REACTIONS
from market_maker.synthetic.queue_reactive import kernel
from market_maker.synthetic.queue_reactive.fit import QueueReactive, first_memory, fit, products
from market_maker.synthetic.reference.processes import Process
from market_maker.venue.market.market import SyntheticMarket

START_TS = 1_700_000_000 * NS
LIMIT_BEST, LIMIT_BEHIND = (0.4, 1.6, 1.2, 1.0, 0.8, 0.6), (1.5, 1.2, 1.0, 0.8)
CANCEL_BEST, MARKET_BEST = (1.0, 1.4, 1.1, 0.9, 0.7), (1.0, 1.6, 1.2, 0.9, 0.6)
LIMITS, CANCELS = (1.5, 1.2, 1.0, 0.8, 0.7, 0.6, 0.5, 0.5), (0.4, 0.3, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2)
FLOW = FlowParameters(
    levels=8, limit_levels=LIMITS, cancel_rates=CANCELS, market_rate=1.5, branching=0.0, feedback=(0.0,) * 4, metaorders=1,
    length_max=1, activity_sigma=0.0, lots_mean=10.0, lots_sigma=0.2, round_share=0.0, queue_lots=10, limit_best=LIMIT_BEST,
    limit_behind=LIMIT_BEHIND, cancel_best=CANCEL_BEST, market_best=MARKET_BEST, pull_rate=0.0, limit_pull=0.0, sign_pull=0.0,
    stale_steps=100_000,
)  # fmt: skip


@pytest.fixture(scope="module")
def recording() -> list[Rows]:
    """Return the rows of an hour and more of the market above, in which nobody else trades."""
    pair = Instrument(UUID(int=1), "made", "A-B", "A", "B", Decimal("0.01"), Decimal("0.001"))
    run = RunConfig(pair, "do_nothing", START_TS, START_TS + 5_000 * NS, {}, 0, 0, Decimal(10**9), FillModel.PARTIAL)
    design = MarketDesign(
        price_ticks=100_000, start_ts=START_TS, flow=FLOW, reference=ReferenceParameters(price_deviation=0.0)
    )
    strategy = find_strategy("do_nothing").prepare({"interval_ns": 3_600 * NS})
    simulation = Simulation(SimulationConfig(run, design), strategy, 7, records=True)
    simulation.run_until(run.end_ts - 1)
    simulation.finish()
    return list(feed_of_tape(simulation).exchange())


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `kernel.count_rows`, called from Python, call plain Python."""
    for name in (
        "length_of",
        "find_best",
        "expose",
        "note_trade",
        "traded_at",
        "is_told_again",
        "settle",
        "settle_snapshot",
    ):
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)


def test_the_laws_of_a_market_are_found_in_its_recording(recording: list[Rows]) -> None:
    found = fit(lambda: recording, levels=8)
    assert found.queue_lots == 10
    assert found.counts.limits.sum() > 50_000
    # Multipliers are told up to one factor, which the rates have: their mean over the recording is one.
    for multipliers, truth, rates, known in (
        (found.limit[kernel.AT_BEST], LIMIT_BEST, found.limit_rates, LIMITS),
        (found.cancel[kernel.AT_BEST][1:], CANCEL_BEST[1:], found.cancel_rates, CANCELS),
        (found.market[1:], MARKET_BEST[1:], None, None),
    ):
        shape = np.asarray(multipliers[: len(truth)])
        np.testing.assert_allclose(shape / shape.mean(), np.array(truth) / np.mean(truth), rtol=0.15)
        if rates is not None:
            np.testing.assert_allclose(rates / rates.mean(), np.array(known) / np.mean(known), rtol=0.1)
    # The two classes of limit orders share the rates of the distances: their factor is the same.
    factor = found.limit[kernel.AT_BEST][1] / LIMIT_BEST[1]
    np.testing.assert_allclose(found.limit[kernel.BEHIND][:4] / factor, LIMIT_BEHIND, rtol=0.15)
    np.testing.assert_allclose(found.limit_rates * factor, LIMITS, rtol=0.1)
    assert found.market_size == pytest.approx(1.0, abs=0.05)
    assert found.lots_sigma == pytest.approx(0.2, abs=0.03)


def test_a_fitted_market_is_one_of_mode_custom_and_fits_itself_again(recording: list[Rows]) -> None:
    found = fit(lambda: recording, levels=8)
    values = parse_custom({"flow": found.flow()})["flow"]
    again = FlowParameters(**values)
    assert again.limit_rates()[:8] == pytest.approx(found.limit_rates, rel=1e-5)
    assert again.cancel_rates_of_levels()[:8] == pytest.approx(found.cancel_rates, rel=1e-5)


@pytest.mark.usefixtures("interpreted")
def test_compiled_and_interpreted_counts_are_equal(recording: list[Rows]) -> None:
    rows = recording[0].part(0, 3_000)
    compiled = fit(lambda: [rows], levels=5, step_ticks=2).counts
    arrays = {name: np.zeros_like(getattr(compiled, name)) for name in compiled.__dataclass_fields__}
    unit = fit(lambda: [rows], levels=5, step_ticks=2).queue_lots
    low = int(rows.price_ticks[np.abs(rows.code) == 1].min())
    low -= low % 2
    places = int(rows.price_ticks.max()) - low + 10
    kernel.count_rows(
        rows.ts, rows.price_ticks, rows.qty_lots, rows.code, True, low, 2, unit, np.zeros((2, places), np.int64),
        np.zeros((2, places), np.int64), first_memory(), np.full((kernel.TRADES_KEPT, 4), -1),
        *(arrays[name] for name in ("times", "orders", "market_times", "limits", "cancels", "markets", "totals")),
    )  # fmt: skip
    for name, values in arrays.items():
        np.testing.assert_allclose(values, getattr(compiled, name), rtol=1e-12, err_msg=name)


class Counted:
    """Rows counted by plain Python: price 90 is the first, levels are a tick wide and the unit is 5 lots."""

    def __init__(self, *rows: tuple[int, int, int, int], by_order: bool = False) -> None:
        table = rows_of(dict(zip(("ts", "code", "price_ticks", "qty_lots"), zip(*rows, strict=True), strict=True)))
        self.limits, self.cancels, times, orders = (np.zeros((2, 3, REACTIONS)) for _ in range(4))
        self.markets, self.totals = np.zeros(REACTIONS), np.zeros(kernel.COUNTS)
        self.ticks = np.zeros((2, 30), np.int64)
        self.memory = first_memory()
        kernel.count_rows(
            table.ts, table.price_ticks, table.qty_lots, table.code, by_order, 90, 1, 5, self.ticks, np.zeros((2, 30), np.int64),
            self.memory, np.full((kernel.TRADES_KEPT, 4), -1), times, orders, np.zeros(REACTIONS), self.limits,
            self.cancels, self.markets, self.totals,
        )  # fmt: skip


BEGIN = ((1, 1, 100, 10), (1, -1, 103, 10))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("by_order", [False, True])
def test_what_traded_was_not_canceled(by_order: bool) -> None:
    rows = ((2, 1, 101, 4), (3, -2, 101, 4), (3, 1, 101, 0), (4, 3, 0, 0), (5, -1, 104, 2))
    found = Counted(*BEGIN, *rows, by_order=by_order)
    # A bid within the spread, to an empty level two steps from the ask, and the order that took it. A clear that no level
    # follows ends the book: the ask that comes then is counted no more.
    assert found.limits.sum() == 1
    assert found.limits[kernel.AT_BEST, 1, 0] == 1
    assert found.cancels.sum() == 0
    assert found.markets[1] == 1
    assert found.markets.sum() == 1


@pytest.mark.usefixtures("interpreted")
def test_levels_tell_what_came_and_went_beside_a_trade() -> None:
    """Seven lots trade and the level shows two less: five came. They counted as nothing, and spoiled the next cancel."""
    found = Counted(*BEGIN, (2, -2, 100, 7), (3, 1, 100, 8), (4, 1, 100, 3))
    assert found.totals[[kernel.C_LIMITS, kernel.C_LIMIT_LOTS]].tolist() == [1, 5]
    # Five lots are one unit, however many orders they were.
    assert found.totals[[kernel.C_CANCELS, kernel.C_CANCEL_LOTS]].tolist() == [1, 5]
    assert found.cancels.sum() == 1
    # A level that is told twice at one instant, as by a trade of two orders, is what it was last.
    twice = Counted(*BEGIN, (2, -2, 100, 4), (2, -2, 100, 6), (2, 1, 100, 6), (2, 1, 100, 0))
    assert twice.totals[[kernel.C_LIMITS, kernel.C_CANCELS]].tolist() == [0, 0]
    many = Counted(*BEGIN, (3, 1, 100, 40), (4, 1, 100, 10))
    assert many.cancels.sum() == 6
    # After a second a trade is over: its level had been told, or was never seen.
    late = Counted(*BEGIN, (2, -2, 100, 7), (2 + 2 * 10**9, 1, 100, 8))
    assert late.totals[[kernel.C_LIMITS, kernel.C_CANCEL_LOTS]].tolist() == [0, 2]
    # Of orders one by one a trade that nobody showed (a hidden order's) is none of the next cancel's.
    hidden = Counted(*BEGIN, (2, -2, 100, 7), (3, 1, 100, 8), by_order=True)
    assert hidden.totals[[kernel.C_LIMITS, kernel.C_CANCEL_LOTS]].tolist() == [0, 2]


@pytest.mark.usefixtures("interpreted")
def test_snapshots_tell_their_differences_as_far_as_both_see() -> None:
    """A feed of snapshots alone was refused as one without events."""
    shown = ((2, 3, 0, 0), (2, -3, 0, 0), (2, 1, 101, 5), (2, 1, 100, 10), (2, -1, 103, 4), (2, -1, 105, 9))
    found = Counted((1, 1, 99, 3), *BEGIN, *shown)
    # A bid at 101 came and 6 lots left 103. 99 is out of sight now, and 105 was before: neither is told to have changed.
    assert found.totals[[kernel.C_LIMITS, kernel.C_LIMIT_LOTS]].tolist() == [1, 5]
    assert found.totals[[kernel.C_CANCELS, kernel.C_CANCEL_LOTS]].tolist() == [1, 6]
    assert {int(place) + 90 for place in np.flatnonzero(found.ticks[0])} == {100, 101}
    assert {int(place) + 90 for place in np.flatnonzero(found.ticks[1])} == {103, 105}
    assert found.memory[[kernel.M_BEST_BID, kernel.M_BEST_ASK]].tolist() == [11, 13]
    # A best price that is gone in the snapshot was canceled; after a pause nothing is known of how it went.
    gone = ((2, 3, 0, 0), (2, 1, 99, 3), (2, 1, 98, 1))
    assert Counted((1, 1, 99, 3), (1, 1, 98, 1), *BEGIN, *gone).totals[kernel.C_CANCEL_LOTS] == 10
    late = tuple((row[0] + 61 * 10**9, *row[1:]) for row in gone)
    assert Counted((1, 1, 99, 3), (1, 1, 98, 1), *BEGIN, *late).totals[kernel.C_CANCEL_LOTS] == 0


def test_levels_give_the_market_that_its_orders_give(recording: list[Rows]) -> None:
    """The same hour by order, by level at each change, by level ten times a second, and as snapshots of eight levels."""
    by_order = fit(lambda: recording, levels=8)
    assert by_order.by_order
    whole = Rows(*(np.concatenate([getattr(rows, name) for rows in recording]) for name in Rows._fields))
    changes = rows_of({name: getattr(whole, name) for name in ("ts", "price_ticks", "qty_lots", "code")})
    seen = {
        "changes": (fit(lambda: [changes], levels=8), 0.02), "batches": (fit(lambda: [batched(whole)], levels=8), 0.15),
        "snapshots": (fit(lambda: [batched(whole, snapshots=True)], levels=8), 0.15),
    }  # fmt: skip
    for name, (found, tolerance) in seen.items():
        assert not found.by_order
        # What comes behind the last level that a snapshot shows is out of its sight.
        sight = 7 if name == "snapshots" else 8
        np.testing.assert_allclose(came(found)[:sight], came(by_order)[:sight], rtol=tolerance, err_msg=name)
        np.testing.assert_allclose(left(found), left(by_order), rtol=tolerance, err_msg=name)
        assert found.market_rate * found.market_size * found.lots_mean == pytest.approx(
            by_order.market_rate * by_order.market_size * by_order.lots_mean, rel=0.001
        )


def came(found: QueueReactive) -> Any:
    """Return lots of limit orders a second by distance, which no choice of units changes."""
    return found.counts.limits.sum(axis=(0, 2)) * found.lots_mean / found.counts.totals[kernel.C_SECONDS]


def left(found: QueueReactive) -> Any:
    """Return cancels of a lot a second by distance."""
    return found.counts.cancels.sum(axis=(0, 2)) / found.counts.orders.sum(axis=(0, 2))


def batched(rows: Rows, *, snapshots: bool = False) -> Rows:
    """Return levels ten times a second, those that changed or the best thirty of each side; trades at their own times."""
    out: list[tuple[int, int, int, int]] = []
    book: dict[tuple[int, int], int] = {}
    changed: dict[tuple[int, int], int] = {}
    edge = 0

    def tell() -> None:
        if snapshots and changed:
            out.extend([(edge, 0, 0, 3), (edge, 0, 0, -3)])
            for side in (1, -1):
                shown = sorted((key for key, lots in book.items() if key[0] == side and lots), reverse=side > 0)
                out.extend((edge, price, book[code, price], code) for code, price in shown[:30])
        else:
            out.extend((edge, price, lots, code) for (code, price), lots in changed.items())
        changed.clear()

    for ts, price, lots, code in zip(*(column.tolist() for column in rows[:4]), strict=True):
        if ts >= edge:
            tell()
            edge = (ts // 10**8 + 1) * 10**8
        if abs(code) == kernel.LEVEL_ROW:
            book[code, price] = changed[code, price] = lots
        else:
            out.append((ts, price, lots, code))
    return rows_of(dict(zip(("ts", "price_ticks", "qty_lots", "code"), zip(*out, strict=True), strict=True)))


def test_products_recover_rates_and_multipliers() -> None:
    rng = np.random.default_rng(5)
    exposure = rng.random((2, 4, 6)) * 1e6
    rates, multipliers = rng.random(4) + 0.2, rng.random((2, 6)) + 0.2
    found, by_queue = products(exposure * rates[None, :, None] * multipliers[:, None, :], exposure)
    np.testing.assert_allclose(found[:, None, None] * by_queue, rates[:, None, None] * multipliers, rtol=1e-4)


def test_bad_input_is_refused(recording: list[Rows]) -> None:
    with pytest.raises(InvalidRequest, match="levels"):
        fit(lambda: recording, levels=1)
    with pytest.raises(InvalidRequest, match="step_ticks"):
        fit(lambda: recording, step_ticks=0)
    with pytest.raises(DataError, match="events within"):
        fit(lambda: [recording[0].part(0, 100)])
    with pytest.raises(DataError, match="no levels"):
        fit(list)
    for values in (
        {"limit_best": (0.0,)},
        {"market_best": (1.0,) * 33},
        {"limit_levels": (0.0, 0.0)},
        {"queue_lots": -1},
    ):
        with pytest.raises(InvalidRequest, match=next(iter(values))):
            FlowParameters(**values)


def test_the_deviation_of_a_second() -> None:
    ts = np.arange(0, 1_000 * NS, NS // 2, dtype=np.int64)
    steps = np.random.default_rng(2).normal(0.0, 1e-4, len(ts))
    market = Market(ts, np.exp(np.cumsum(steps)) * 1e5, *(np.zeros(0, np.int64) for _ in range(3)))
    assert deviation_per_second(market) == pytest.approx(1e-4 * np.sqrt(2.0), rel=0.1)


def test_emptied_prices_that_the_other_side_takes_make_the_price_move() -> None:
    """Huang, Lehalle, Rosenbaum 2015: the price of a market without jumps reverts; theta makes its moves last."""
    found = {
        theta: deviations(_mids(FlowParameters(**(_plain() | {"theta": theta, "theta_reinit": 0.9}))))
        for theta in (0.0, 0.5, 1.0)
    }
    at_300_s = [found[theta][3] for theta in (0.0, 0.5, 1.0)]
    assert at_300_s[0] * 1.5 < at_300_s[1] < at_300_s[2]


def test_the_chance_of_jumps_is_found_again() -> None:
    mids = _mids(FlowParameters(**(_plain() | {"theta": 0.6, "theta_reinit": 0.9})), seed=5)
    jumps = fit_jumps(FlowParameters(**_plain()), mids, price_ticks=100_000)
    assert abs(jumps.theta - 0.6) <= 0.25
    np.testing.assert_allclose(jumps.simulated, jumps.recorded, rtol=0.25)
    assert jumps.without[3] < 0.8 * jumps.recorded[3]
    assert jumps.horizons_s == (1, 10, 60, 300)
    # Six minutes tell seconds, not minutes.
    short = fit_jumps(FlowParameters(**_plain()), mids[:360], price_ticks=100_000)
    assert short.horizons_s == (1, 10)
    assert len(short.recorded) == len(short.simulated) == 2
    for few, why in ((mids[:299], "299 seconds with a mid, 300 are needed"), (np.full(400, 1e5), "stands still")):
        with pytest.raises(DataError, match=why):
            fit_jumps(FlowParameters(**_plain()), few, price_ticks=100_000)


def test_how_time_is_cut_changes_nothing_with_jumps() -> None:
    flow = FlowParameters(**(_plain() | {"theta": 0.7, "theta_reinit": 0.5}))
    design = MarketDesign(price_ticks=100_000, start_ts=START_TS, flow=flow, reference=CALM)
    whole, cut = SyntheticMarket.create(design), SyntheticMarket.create(design, events=64)
    chance = np.random.default_rng(3)
    told = whole.advance(START_TS + 300 * NS)
    parts, ts = [], START_TS
    while ts < START_TS + 300 * NS:
        ts = min(START_TS + 300 * NS, ts + int(chance.integers(1, 2 * NS)))
        parts.append(cut.advance(ts))
        if len(parts) % 20 == 0:
            cut = SyntheticMarket.load(cut.dump())
    assert np.concatenate(parts).tobytes() == told.tobytes()
    best = whole.book.best(Side.BUY), whole.book.best(Side.SELL)
    assert best[0] < best[1]


CALM = ReferenceParameters(process=Process.CONSTANT, price_deviation=0.0)


THIN: dict[str, Any] = {
    "limit_levels": (0.1, 0.15, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2), "cancel_rates": (0.4,) * 8, "market_rate": 0.5,
}  # fmt: skip
"""A book whose best prices are emptied often."""


def _plain() -> dict[str, Any]:
    return {each.name: getattr(FLOW, each.name) for each in fields(FLOW)} | THIN


def _mids(flow: FlowParameters, seed: int = 1) -> np.ndarray:
    market = SyntheticMarket.create(
        MarketDesign(price_ticks=100_000, start_ts=START_TS, seed=seed, flow=flow, reference=CALM)
    )
    return market.quotes(START_TS + NS, NS, 10_800).sum(axis=1) / 2.0
