"""Splits of profit as tables in the currency that the instrument settles in: by day, hour, regime, cause and queue ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.units import NS_PER_SECOND
from market_maker.performance.attribution import (
    Leg,
    Marks,
    MoneySplit,
    Split,
    SplitTable,
    money_split,
    regrouped,
    split_by_label,
)
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.figures import Int64
from market_maker.performance.regimes import Cell, Regimes, Tercile, Trend, joint_labels
from market_maker.performance.trading import bucket_names, bucket_of, fills_by_group, queue_buckets
from market_maker.performance.worth import Worth


@dataclass(frozen=True, slots=True)
class SplitRow:
    """The profit of one part of a run by cause.

    Parameters
    ----------
    key : an instant (ns UTC), a time of day (ns) or a code
    label : its name
    fills : how many
    samples : of a regime, how many samples it lasted; None of other parts
    volume : traded quantity of a group of fills; None of parts of time
    profit : in the settlement currency
    """

    key: int
    label: str
    fills: int
    samples: int | None
    volume: Decimal | None
    profit: MoneySplit


@dataclass(frozen=True, slots=True)
class RegimeTables:
    """Profit by regime: of each dimension, and of the combinations that occur; `volume` is empty where it is not known.

    Bounds are those between the thirds, as `Regimes` has them.
    """

    window_ns: int
    windows: int
    volatility_bounds: tuple[float, float] | None
    volume_bounds: tuple[float, float] | None
    volatility: tuple[SplitRow, ...]
    trend: tuple[SplitRow, ...]
    volume: tuple[SplitRow, ...]
    joint: tuple[SplitRow, ...]


class MoneyTables:
    """Turns half units of cash of one instrument into tables of its settlement currency."""

    def __init__(self, instrument: Instrument) -> None:
        self.unit = EXACT.divide(instrument.tick_lot, Decimal(2))
        self.worth = Worth.of(instrument)
        self._instrument = instrument

    def of(self, half_tick_lots: int) -> Decimal:
        """Return an amount in the settlement currency."""
        return EXACT.multiply(Decimal(half_tick_lots), self.unit)

    def rows(
        self, table: SplitTable, name: Callable[[int], str], samples: Sequence[int] | None = None
    ) -> tuple[SplitRow, ...]:
        """Return a row for each part; `name` makes its label from its key, `samples` counts the samples in it."""
        return tuple(
            SplitRow(key, name(key), fills, None if samples is None else samples[k], None, self._money(split))
            for k, (key, split, fills) in enumerate(zip(table.keys, table.splits, table.fills, strict=True))
        )

    def regimes(self, marks: Marks, samples: Samples, regimes: Regimes) -> RegimeTables:
        """Return the tables of a run's regimes; their rows add up to the run in each table."""
        labels, cells = joint_labels(regimes)
        joint = split_by_label(marks, samples, labels, list(cells))
        counts = {key: int((labels == key).sum()) for key in cells}

        def table(of: Callable[[Cell], int], named: Mapping[int, str]) -> tuple[SplitRow, ...]:
            rows = regrouped(joint, lambda key: of(cells[key]), list(named))
            lasted = [sum(counts[key] for key in cells if of(cells[key]) == code) for code in named]
            return self.rows(rows, named.__getitem__, lasted)

        terciles = {int(tercile): tercile.name for tercile in Tercile}
        return RegimeTables(
            window_ns=regimes.window_ns,
            windows=regimes.windows,
            volatility_bounds=regimes.volatility_bounds,
            volume_bounds=regimes.volume_bounds,
            volatility=table(lambda cell: cell.volatility, terciles),
            trend=table(lambda cell: cell.trend, {int(trend): trend.name for trend in Trend}),
            volume=()
            if regimes.volume is None
            else table(lambda cell: Tercile.UNKNOWN if cell.volume is None else cell.volume, terciles),
            joint=self.rows(joint, lambda key: cells[key].name, list(counts.values())),
        )

    def by_cause(
        self, fills: Fills, names: Mapping[int, str] | None, end_mid_half_ticks: int
    ) -> tuple[SplitRow, ...] | None:
        """Return the fills by cause; None without causes or their names."""
        if fills.cause is None or names is None:
            return None
        return self._groups(fills, fills.cause, names, end_mid_half_ticks)

    def by_queue(self, fills: Fills, end_mid_half_ticks: int) -> tuple[SplitRow, ...] | None:
        """Return the fills by the queue that was ahead, in lots; None where it is not known."""
        if fills.queue_ahead_lots is None:
            return None
        bounds = queue_buckets(fills.queue_ahead_lots)
        bucket, names = bucket_of(fills.queue_ahead_lots, bounds), bucket_names(bounds)
        return self._groups(fills, bucket, names, end_mid_half_ticks)

    def _groups(
        self, fills: Fills, code: Int64, names: Mapping[int, str], end_mid_half_ticks: int
    ) -> tuple[SplitRow, ...]:
        groups = fills_by_group(fills, code, names, end_mid_half_ticks=end_mid_half_ticks, worth=self.worth)
        return tuple(
            SplitRow(
                group.key,
                group.name,
                group.fills,
                None,
                self._instrument.lots_to_qty(group.volume_lots),
                self._money(group.split),
            )
            for group in groups
        )

    def _money(self, split: Split) -> MoneySplit:
        return money_split(Leg(split, self.unit))


def day_name(start_ts: int) -> str:
    """Return the UTC date of an instant."""
    return str(np.datetime64(start_ts, "ns").astype("datetime64[D]"))


def hour_name(of_day_ns: int) -> str:
    """Return a time of day as hour and minute."""
    minutes = of_day_ns // (60 * NS_PER_SECOND)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
