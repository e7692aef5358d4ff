"""Profit by cause: hand-computed runs, every partition, several instruments, inverse values."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.performance.attribution import (
    Leg,
    Marks,
    Split,
    marks_of,
    money_split,
    regrouped,
    split_by_fill,
    split_by_interval,
    split_by_label,
    split_by_part,
    split_whole,
    sum_of,
)
from performance_builders import PAIR, ledger_run, random_run

HOUR, DAY = 3600 * 10**9, 86_400 * 10**9

# ts, side (0 a sample), price, quantity, fee, mid in half ticks
RUN = [
    (0, 0, 0, 0, 0, 2000),
    (10, +1, 999, 4, 3, 2001),  # capture 4 x (2001 - 1998) = 12
    (20, 0, 0, 0, 0, 2005),  # inventory 4 x (2005 - 2001) = 16
    (30, -1, 1003, 1, -2, 2004),  # inventory 4 x -1 = -4; capture 1 x (2006 - 2004) = 2
    (40, 0, 0, 0, 0, 1990),  # inventory 3 x -14 = -42
]


def test_a_run_by_hand():
    marks = marks_of(*ledger_run(RUN))
    split = split_whole(marks)
    # Fees: 3 paid, 2 received, in half tick-lots 6 and 4. Net = 12 + 2 + 16 - 4 - 42 - 6 + 4 = -18.
    assert split == Split(net=-18, spread_capture=14, inventory=-30, fees=6, rebates=4, funding=0)
    assert split.residual == 0


def test_a_part_is_open_on_the_left_and_closed_on_the_right():
    marks = marks_of(*ledger_run(RUN))
    table = split_by_interval(marks, 20)
    # (0, 20] holds the purchase and the sample at 20. The first sample, at 0, opens it, as nothing came before.
    assert table.keys == (0, 20)
    assert [split.spread_capture for split in table.splits] == [12, 2]
    assert [split.inventory for split in table.splits] == [16, -46]
    assert [split.net for split in table.splits] == [22, -40]
    assert table.fills == (1, 1)
    assert all(split.residual == 0 for split in table.splits)


def test_a_fill_that_is_missing_leaves_a_residual():
    """The ledger tells one story and the fills another: this is what the residual is for."""
    samples, fills = ledger_run(RUN)
    without_first = type(fills).of(
        {name: getattr(fills, name)[1:] for name in type(fills)._needed()}  # the sale alone
    )
    assert split_whole(marks_of(samples, without_first)).residual != 0


def test_funding_and_the_end_of_the_run():
    samples, fills = ledger_run(RUN)
    funding = {"funding_ts": np.array([15, 40]), "funding_tick_lots": np.array([-5, 2])}
    marks = marks_of(samples, fills, end_ts=55, end_mid_half_ticks=1993, **funding)
    split = split_whole(marks)
    # Funding 2 x (-5 + 2) = -6; three lots gain 3 half ticks each until the end: -30 + 9 = -21.
    assert split == Split(net=-18 - 6 + 9, spread_capture=14, inventory=-21, fees=6, rebates=4, funding=-6)
    # The payment at 15 belongs to the first mark at or after it, the sample at 20.
    assert [each.funding for each in split_by_interval(marks, 20).splits] == [-10, 4, 0]


def test_funding_that_the_cash_already_holds():
    samples, fills = ledger_run(RUN)
    # The venue paid 7 tick-lots at 35; they are in cash and equity of the last sample.
    paid = replace(samples, cash_tick_lots=samples.cash_tick_lots + np.array([0, 0, 7]))
    funding = {"funding_ts": np.array([35]), "funding_tick_lots": np.array([7])}
    split = split_whole(marks_of(paid, fills, is_funding_in_cash=True, **funding))
    assert split == Split(net=-18 + 14, spread_capture=14, inventory=-30, fees=6, rebates=4, funding=14)
    assert split_whole(marks_of(paid, fills, **funding)).residual == 14


def test_a_run_that_does_not_begin_flat():
    # Ten lots at a mid of 100 half ticks, then 103: inventory 30 and nothing else.
    samples, fills = ledger_run([(0, 0, 0, 0, 0, 100), (1, 0, 0, 0, 0, 103)])
    held = type(samples)(
        samples.ts, samples.equity_half_tick_lots, samples.position_lots + 10, samples.cash_tick_lots,
        samples.fees_tick_lots, samples.mid_half_ticks,
    )  # fmt: skip
    split = split_whole(marks_of(held, fills, initial_position_lots=10))
    assert split == Split(net=30, spread_capture=0, inventory=30, fees=0, rebates=0, funding=0)


def test_labels_hold_for_the_time_since_the_sample_before():
    samples, fills = ledger_run(RUN)
    table = split_by_label(marks_of(samples, fills), samples, np.array([7, 9, 7]), [9, 7])
    # Up to 0 and after 20: label 7; from 0 to 20: label 9.
    assert table.keys == (9, 7)
    assert [split.net for split in table.splits] == [22, -40]
    with pytest.raises(DataError, match="keys"):
        split_by_label(marks_of(samples, fills), samples, np.array([7, 9, 8]), [9, 7])
    with pytest.raises(DataError, match="labels"):
        split_by_label(marks_of(samples, fills), samples, np.array([7, 9]), [9, 7])


def test_sets_of_fills_add_up_to_the_run():
    samples, fills = ledger_run(RUN)
    table = split_by_fill(fills, np.array([1, 0]), [5, 6], end_mid_half_ticks=1990)
    # The purchase: capture 12, 4 x (1990 - 2001) = -44. The sale: capture 2, -1 x (1990 - 2004) = +14.
    assert table.splits[1] == Split(net=-38, spread_capture=12, inventory=-44, fees=6, rebates=0, funding=0)
    assert table.splits[0] == Split(net=20, spread_capture=2, inventory=14, fees=0, rebates=4, funding=0)
    assert table.whole == split_whole(marks_of(samples, fills))


def test_every_partition_of_a_long_run_has_the_same_sum(rng):
    samples, fills = random_run(rng, samples=40_000, fills=5_000, interval_ns=10 * 10**9)
    marks = marks_of(samples, fills)
    whole = split_whole(marks)
    assert whole.residual == 0
    hours = split_by_interval(marks, HOUR)
    tables = [
        hours,
        split_by_interval(marks, DAY),
        split_by_interval(marks, HOUR, of_day=True),
        split_by_part(marks, rng.integers(0, 5, len(marks.ts)), range(5)),
        regrouped(hours, lambda start: start - start % DAY),
    ]
    for table in tables:
        assert table.whole == whole
        assert sum(table.fills) == fills.count
        assert all(split.residual == 0 for split in table.splits)
    assert tables[1] == tables[4]
    assert tables[2] == regrouped(hours, lambda start: start % DAY, range(0, DAY, HOUR))
    assert len(tables[2].keys) == 24
    assert len(tables[1].keys) == 6  # 400,000 s from 22:13 on: 4.6 days that touch 6


def test_amounts_beyond_int64_stay_exact():
    samples, fills = ledger_run([(0, 0, 0, 0, 0, 2)])
    position, cash = np.array([0, 2**30]), np.array([0, -(2**30) * (2**30 - 1)])
    columns = {
        "ts": np.array([0, 2]), "equity_half_tick_lots": np.zeros(2, dtype=np.int64), "position_lots": position,
        "cash_tick_lots": cash, "fees_tick_lots": np.zeros(2, dtype=np.int64),
        "mid_half_ticks": np.array([2**31, 2**31 + 2]),
    }  # fmt: skip
    filled = {name: np.array([value]) for name, value in zip(
        type(fills)._needed(), (1, 1, 1, 0, 2**30 - 1, 2**30, 0, 2**30, cash[1], 0, 2**31), strict=True,
    )}  # fmt: skip
    split = split_whole(marks_of(type(samples).of(columns), type(fills).of(filled)))
    # 2^30 lots, one tick below the mid and then one tick up: 2 x 2^30 half tick-lots each.
    assert split == Split(net=2**32, spread_capture=2**31, inventory=2**31, fees=0, rebates=0, funding=0)


def test_an_inverse_contract_by_its_values():
    """100 contracts of 1 USD: worth 100 / price in base currency, here in units of 1e-8, each value rounded once."""

    def worth(contracts: int, price: float) -> int:
        return round(-contracts / price * 10**8)

    bought, sold, mids = 10_000.0, 10_400.0, (10_010.0, 10_390.0)
    marks = Marks(
        ts=np.array([0, 1]),
        value=np.array([worth(100, mids[0]), 0]),
        ledger=np.array([worth(100, mids[0]) - worth(100, bought), worth(100, sold) - worth(100, bought)]),
        start_value=0,
        fill_place=np.array([0, 1]),
        change=np.array([worth(100, mids[0]), -worth(100, mids[1])]),
        cash_flow=np.array([-worth(100, bought), worth(100, sold)]),
        fee=np.array([0, 0]),
        funding_place=np.zeros(0, dtype=np.int64),
        funding=np.zeros(0, dtype=np.int64),
    )
    split = split_whole(marks)
    # Net: 100 / 10,000 - 100 / 10,400 = 38,462 units. Inventory: 100/10,010 - 100/10,390 = 36,537 units.
    assert (split.net, split.inventory, split.spread_capture) == (38_462, 36_537, 1_925)
    assert split.residual == 0


def test_a_book_with_hedges():
    quoted = Split(net=90, spread_capture=100, inventory=0, fees=10, rebates=0, funding=0)
    hedge = Split(net=-7, spread_capture=-2, inventory=-4, fees=1, rebates=0, funding=0)
    book = money_split(Leg(quoted, Decimal("0.5")), [Leg(hedge, Decimal(2)), Leg(hedge, Decimal("0.01"))])
    # 90 x 0.5 - 7 x 2 - 7 x 0.01 = 30.93
    assert (book.net, book.hedging, book.spread_capture, book.residual) == (
        Decimal("30.93"), Decimal("-14.07"), Decimal(50), 0,
    )  # fmt: skip


def test_money_of_a_pair_is_exact():
    samples, fills = ledger_run(RUN)
    money = money_split(Leg(split_whole(marks_of(samples, fills)), PAIR.tick_lot / 2))
    assert money.net == Decimal(-18) * Decimal("0.00005")
    assert sum_of([]) == Split(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_ts": 5, "end_mid_half_ticks": 1}, "before its last mark"),
        ({"end_ts": 50}, "instant and its mid"),
        ({"funding_ts": np.array([1])}, "funding needs"),
        ({"funding_ts": np.array([99]), "funding_tick_lots": np.array([1])}, "after the last mark"),
    ],
)
def test_marks_that_cannot_be(changes, message):
    with pytest.raises(DataError, match=message):
        marks_of(*ledger_run(RUN), **changes)


def test_nothing_to_attribute_and_odd_widths():
    with pytest.raises(DataError, match="nothing to attribute"):
        marks_of(*ledger_run([]))
    marks = marks_of(*ledger_run(RUN))
    with pytest.raises(InvalidRequest, match="width_ns"):
        split_by_interval(marks, 0)
    with pytest.raises(InvalidRequest, match="width_ns"):
        split_by_interval(marks, 7 * HOUR, of_day=True)
