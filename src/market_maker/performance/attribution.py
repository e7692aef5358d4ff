"""Where the profit came from: spread capture, inventory, fees and rebates, funding, and hedges, without a residual.

Integers throughout. The parts are computed from fills and mids, the net from the ledger; that they agree to the last
unit is a finding, not an arrangement. Knows nothing of currencies but the value of one unit.

Source: the split of Hasbrouck and Sofianos (1993), "The trades of market makers", Journal of Finance 48(5), section II,
with the position valued at the mid and not at a later trade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, localcontext

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.instrument import EXACT
from market_maker.performance.columns import (
    Fills,
    Samples,
    Whole,
    merge_places,
    packed,
    running_sum,
    scaled,
    sums_by_group,
)
from market_maker.performance.figures import Int64
from market_maker.performance.worth import LINEAR, Worth


@dataclass(frozen=True, slots=True)
class Split:
    """Profit by cause, exact integers of one unit: half units of cash.

    Parameters
    ----------
    net : change of the ledger's net worth
    spread_capture : what trading away from the mid earned
    inventory : what the mid did to the position held
    fees : fees paid, not negative
    rebates : rebates received, not negative
    funding : funding received less paid
    """

    net: int
    spread_capture: int
    inventory: int
    fees: int
    rebates: int
    funding: int

    @property
    def residual(self) -> int:
        """Net less its parts: 0, or the columns do not tell one story."""
        return self.net - (self.spread_capture + self.inventory - self.fees + self.rebates + self.funding)


@dataclass(frozen=True, slots=True)
class SplitTable:
    """Splits of the parts of a run; `keys` name the parts, `fills` counts the fills in each. All of one length."""

    keys: tuple[int, ...]
    splits: tuple[Split, ...]
    fills: tuple[int, ...]

    @property
    def whole(self) -> Split:
        """The sum over all parts."""
        return sum_of(self.splits)


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """The instants at which a book's worth is known, in order of time, and what happened in them; integers of one unit.

    Parameters
    ----------
    ts : (k,) ns UTC
    value : (k,) worth of the position at this instant's mid, after what happened in it
    ledger : (k,) net worth by the ledger, after what happened in it
    start_value : worth of the initial position at the first mark's mid; the ledger began with it
    fill_place : (m,) int64, the mark of each fill, increasing
    change : (m,) what the fill added to the worth of the position, at its own mid
    cash_flow : (m,) received for it (negative: paid), fees apart
    fee : (m,) paid for it; a rebate is negative
    funding_place, funding : (p,) mark and amount of funding received; negative where it was paid

    Notes
    -----
    The value of a position may be any function of quantity and mid: price x quantity, or quantity / price for an
    inverse contract, rounded to a unit of cash once per value. Sums telescope over values, so that rounding leaves no
    residual.
    """

    ts: Int64
    value: Whole
    ledger: Whole
    start_value: int
    fill_place: Int64
    change: Whole
    cash_flow: Whole
    fee: Whole
    funding_place: Int64
    funding: Whole


def marks_of(
    samples: Samples,
    fills: Fills,
    *,
    worth: Worth = LINEAR,
    initial_position_lots: int = 0,
    funding_ts: Int64 | None = None,
    funding_tick_lots: Int64 | None = None,
    is_funding_in_cash: bool = False,
    end_ts: int | None = None,
    end_mid_half_ticks: int | None = None,
) -> Marks:
    """Return the marks of one instrument: its fills and samples, merged by time, in half units of cash.

    Parameters
    ----------
    samples, fills : of one run; at one instant fills come first, as in the replay
    worth : of the instrument
    initial_position_lots : held before the first of them
    funding_ts, funding_tick_lots : (p,) int64, payments received (negative: paid); each belongs to the first mark at or
        after it
    is_funding_in_cash : True when the ledger's cash already holds them
    end_ts, end_mid_half_ticks : the end of the run, where it is known to lie after the last sample

    Raises
    ------
    DataError
        Nothing to mark, an end before the last mark, only one of two columns or figures that belong together, or
        funding after the last mark.

    Notes
    -----
    The position is counted up from side and quantity; cash, fees and position of the ledger come from their own
    columns. O(n + m).
    """
    fill_place, sample_place = merge_places(fills.exch_ts, samples.ts)
    size = len(fill_place) + len(sample_place)
    if not size:
        raise DataError("a run without samples and fills has nothing to attribute")

    def merged(of_fills: Whole, of_samples: Whole) -> Whole:
        column = np.empty(size, dtype=np.result_type(of_fills, of_samples))
        column[fill_place], column[sample_place] = of_fills, of_samples
        return column

    traded = fills.side * fills.qty_lots
    held = np.concatenate([[initial_position_lots], initial_position_lots + running_sum(traded)])
    held_at_sample = held[sample_place - np.arange(len(sample_place))]
    ts = merged(fills.exch_ts, samples.ts)
    value = merged(
        worth.positions(held[1:], fills.mid_half_ticks), worth.positions(held_at_sample, samples.mid_half_ticks)
    )
    ledger = merged(_ledger(fills, worth), _ledger(samples, worth))
    first_mid = fills.mid_half_ticks[0] if len(fill_place) and fill_place[0] == 0 else samples.mid_half_ticks[0]
    if (end_ts is None) != (end_mid_half_ticks is None):
        raise DataError("the end of a run needs its instant and its mid")
    if end_ts is not None and end_mid_half_ticks is not None:
        if end_ts < ts[-1]:
            raise DataError(f"the end of the run ({end_ts} ns) lies before its last mark ({ts[-1]} ns)")
        last: Fills | Samples = fills if len(fill_place) and fill_place[-1] == size - 1 else samples
        cash = 2 * (int(last.cash_tick_lots[-1]) - int(last.fees_tick_lots[-1]))
        ts = np.append(ts, end_ts)
        value = np.append(value, packed([worth.position(int(held[-1]), end_mid_half_ticks)]))
        ledger = np.append(ledger, packed([cash + worth.position(int(last.position_lots[-1]), end_mid_half_ticks)]))
    funding_place, funding = _funding(ts, funding_ts, funding_tick_lots)
    if len(funding) and not is_funding_in_cash:
        ledger = ledger + running_sum(packed(sums_by_group(funding, funding_place, len(ts))))
    return Marks(
        ts=ts,
        value=value,
        ledger=ledger,
        start_value=worth.position(initial_position_lots, int(first_mid)),
        fill_place=fill_place,
        change=worth.positions(traded, fills.mid_half_ticks),
        cash_flow=worth.received(fills.side, fills.price_ticks, fills.qty_lots),
        fee=scaled(fills.fee_tick_lots, 2),
        funding_place=funding_place,
        funding=funding,
    )


def split_by_part(marks: Marks, part: Int64, keys: Sequence[int]) -> SplitTable:
    """Return the split of every part of time.

    Parameters
    ----------
    marks : k marks
    part : (k,) int64 in [0, len(keys)), the part of each mark; what happened since the mark before belongs to it too,
        so that parts of time are open on the left and closed on the right. A part need not be in one piece.
    keys : name of each part

    Returns
    -------
    SplitTable
        Its `whole` is the split of the run, whatever the parts are.

    Notes
    -----
    Inventory of a stretch of time = change of the position's worth less what fills added to it. O(k).
    """
    groups = len(keys)
    last = np.append(np.flatnonzero(part[1:] != part[:-1]), len(part) - 1)
    stretch = part[last]
    net = np.diff(marks.ledger[last], prepend=marks.start_value)
    worth = np.diff(marks.value[last], prepend=marks.start_value)
    of_fill, of_funding = part[marks.fill_place], part[marks.funding_place]
    added = sums_by_group(marks.change, of_fill, groups)
    moved = [whole - part_ for whole, part_ in zip(sums_by_group(worth, stretch, groups), added, strict=True)]
    columns = (
        sums_by_group(net, stretch, groups),
        sums_by_group(marks.cash_flow + marks.change, of_fill, groups),
        moved,
        sums_by_group(np.maximum(marks.fee, 0), of_fill, groups),
        sums_by_group(np.maximum(-marks.fee, 0), of_fill, groups),
        sums_by_group(marks.funding, of_funding, groups),
    )
    splits = tuple(Split(*row) for row in zip(*columns, strict=True))
    return SplitTable(tuple(keys), splits, tuple(np.bincount(of_fill, minlength=groups).tolist()))


def split_whole(marks: Marks) -> Split:
    """Return the split of the whole run."""
    return split_by_part(marks, np.zeros(len(marks.ts), dtype=np.int64), (0,)).splits[0]


def split_by_interval(marks: Marks, width_ns: int, *, of_day: bool = False) -> SplitTable:
    """Return the split by intervals of the UTC clock, such as hours and days.

    Parameters
    ----------
    width_ns : length of an interval; the k-th holds (k width, (k + 1) width], so that a mark at midnight, which tells
        what the day before came to, belongs to that day. A run that begins at midnight has no such day
    of_day : True joins the same interval of all days; a whole number of intervals must then make a day

    Returns
    -------
    SplitTable
        Keys are the starts of the intervals, ns UTC; with `of_day` ns since midnight, every interval of a day.

    Raises
    ------
    InvalidRequest
        A width that is not positive, or that does not divide a day where it must.
    """
    if width_ns <= 0 or (of_day and _DAY_NS % width_ns):
        raise InvalidRequest.of("width_ns", width_ns, "a positive duration; by time of day one that divides a day")
    number = (marks.ts - 1) // width_ns
    if len(marks.fill_place) == 0 or marks.fill_place[0] > 0:
        # Nothing came before the first mark: it opens the interval it stands at, and makes no empty one before it.
        number[0] = min(int(value) for value in (marks.ts[0] // width_ns, *number[1:2]))
    if of_day:
        count = _DAY_NS // width_ns
        return split_by_part(marks, number % count, [k * width_ns for k in range(count)])
    starts = np.concatenate([[True], number[1:] != number[:-1]])
    part = np.cumsum(starts) - 1
    return split_by_part(marks, part, [int(value) * width_ns for value in number[starts]])


def split_by_label(marks: Marks, samples: Samples, labels: Int64, keys: Sequence[int]) -> SplitTable:
    """Return the split by a label of the samples, such as a regime.

    Parameters
    ----------
    labels : (n,) int64, a value of `keys` for each sample; it holds for the time since the sample before, and marks
        after the last sample have the last label
    keys : all labels

    Raises
    ------
    DataError
        Another number of labels than samples, no sample, or a label that is no key.
    """
    if len(labels) != len(samples.ts) or not len(labels):
        raise DataError(f"{len(labels)} labels for {len(samples.ts)} samples; give one for each of at least one sample")
    places = np.searchsorted(samples.ts, marks.ts, side="left")
    order = np.argsort(np.asarray(keys), kind="stable")
    part = order[np.minimum(np.searchsorted(np.asarray(keys)[order], labels), len(keys) - 1)]
    if np.any(np.asarray(keys)[part] != labels):
        raise DataError(f"labels must be among the keys {list(keys)}")
    return split_by_part(marks, part[np.minimum(places, len(labels) - 1)], keys)


def split_by_fill(
    fills: Fills, group: Int64, keys: Sequence[int], *, end_mid_half_ticks: int, worth: Worth = LINEAR
) -> SplitTable:
    """Return what each set of fills earned up to the end: for any set of fills, such as those of one cause.

    Parameters
    ----------
    group : (m,) int64 in [0, len(keys)), the set of each fill
    keys : name of each set
    end_mid_half_ticks : mid at which what a fill bought or sold is valued
    worth : of the instrument

    Returns
    -------
    SplitTable
        In half units of cash. The inventory of a fill is what it brought at the end mid less what that was worth at the mid
        of the fill: side x quantity x (end mid - mid at the fill) unless the contract is inverse. Over all fills, of a run
        that began flat, the sum is the split of the run without funding.

    Notes
    -----
    What a fill brought is the worth of the position with it less that without it, so that roundings add up to that of the
    position.
    """
    groups = len(keys)
    signed = fills.side * fills.qty_lots
    brought = worth.positions(signed, fills.mid_half_ticks)
    received = worth.received(fills.side, fills.price_ticks, fills.qty_lots)
    held = worth.positions(running_sum(signed), np.full(fills.count, end_mid_half_ticks))
    at_end = np.diff(held, prepend=0)
    capture, inventory = received + brought, at_end - brought
    net = received + at_end - scaled(fills.fee_tick_lots, 2)
    columns = (
        sums_by_group(net, group, groups),
        sums_by_group(capture, group, groups),
        sums_by_group(inventory, group, groups),
        sums_by_group(2 * np.maximum(fills.fee_tick_lots, 0), group, groups),
        sums_by_group(2 * np.maximum(-fills.fee_tick_lots, 0), group, groups),
        [0] * groups,
    )
    splits = tuple(Split(*row) for row in zip(*columns, strict=True))
    return SplitTable(tuple(keys), splits, tuple(sums_by_group(np.ones_like(signed), group, groups)))


def regrouped(table: SplitTable, group: Callable[[int], int], keys: Sequence[int] | None = None) -> SplitTable:
    """Return a coarser table: parts whose keys `group` maps to one key are added up.

    Parameters
    ----------
    group : key of the coarse part from that of the fine one
    keys : keys of the coarse table; default those that occur, in the order of their first part
    """
    of = [group(key) for key in table.keys]
    wanted = list(dict.fromkeys(of)) if keys is None else list(keys)
    parts: dict[int, list[int]] = {key: [] for key in wanted}
    for place, key in enumerate(of):
        parts[key].append(place)
    return SplitTable(
        tuple(wanted),
        tuple(sum_of(table.splits[place] for place in places) for places in parts.values()),
        tuple(sum(table.fills[place] for place in places) for places in parts.values()),
    )


def sum_of(splits: Iterable[Split]) -> Split:
    """Return the sum of splits in one unit."""
    given = list(splits)
    return Split(*(sum(getattr(split, field.name) for split in given) for field in fields(Split)))


@dataclass(frozen=True, slots=True)
class Leg:
    """The split of one instrument, and the value of one of its units in the currency of the book."""

    split: Split
    unit: Decimal


@dataclass(frozen=True, slots=True)
class MoneySplit:
    """Profit by cause in one currency, exact; `hedging` is the net of all hedging legs, 0 without any."""

    net: Decimal
    spread_capture: Decimal
    inventory: Decimal
    fees: Decimal
    rebates: Decimal
    funding: Decimal
    hedging: Decimal

    @property
    def residual(self) -> Decimal:
        """Net less its parts; 0."""
        with localcontext(EXACT):
            parts = self.spread_capture + self.inventory - self.fees + self.rebates + self.funding + self.hedging
            return self.net - parts


def money_split(quoted: Leg, hedges: Sequence[Leg] = ()) -> MoneySplit:
    """Return the split of a book that quotes one instrument and hedges with others.

    What a hedging leg earned, fees and all, is one cause: `hedging`. (Its own split says more.)
    """
    parts = {field.name: _worth(getattr(quoted.split, field.name), quoted.unit) for field in fields(Split)}
    hedging = sum((_worth(leg.split.net, leg.unit) for leg in hedges), Decimal(0))
    return MoneySplit(**(parts | {"net": EXACT.add(parts["net"], hedging)}), hedging=hedging)


_DAY_NS = 86_400 * 10**9


def _worth(amount: int, unit: Decimal) -> Decimal:
    return EXACT.multiply(Decimal(amount), unit)


def _ledger(columns: Fills | Samples, worth: Worth) -> Whole:
    """Return net worth by the ledger, without balance and funding, in half units of cash."""
    cash = scaled(columns.cash_tick_lots - columns.fees_tick_lots, 2)
    return cash + worth.positions(columns.position_lots, columns.mid_half_ticks)


def _funding(ts: Int64, funding_ts: Int64 | None, amounts: Int64 | None) -> tuple[Int64, Whole]:
    """Return mark and amount, in half units of cash, of each payment."""
    if funding_ts is None and amounts is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if funding_ts is None or amounts is None or len(funding_ts) != len(amounts):
        raise DataError("funding needs an instant and an amount for each payment")
    places = np.searchsorted(ts, funding_ts, side="left")
    if len(places) and int(places.max()) >= len(ts):
        raise DataError(f"funding at {int(funding_ts.max())} ns comes after the last mark at {int(ts[-1])} ns")
    return places, scaled(amounts, 2)
