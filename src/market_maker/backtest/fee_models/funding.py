"""Funding payments of a perpetual contract: what one lot pays at each funding instant, from the ticker table.

Owns the way from the venue's rates and mark prices to integers. Who holds what at an instant, and the booking of the
payment (`kernel.funding_payment`), is the replay's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from market_maker.backtest.fee_models import Contract
from market_maker.domain.errors import DataError, shorten
from market_maker.domain.instrument import EXACT, RATE_SCALE, Instrument

if TYPE_CHECKING:
    import polars as pl

PER_LOT_MAX = 2**62


@dataclass(frozen=True, slots=True)
class Funding:
    """Funding instants in order.

    ts : (n,) int64, ns UTC, venue time
    per_lot_e8 : (n,) int64, what one lot long pays at it, in 1e-8 cash units of the contract; negative: it receives
    without_mark : instants left out because no mark price was known yet
    """

    ts: NDArray[np.int64]
    per_lot_e8: NDArray[np.int64]
    without_mark: int = 0

    def digest(self) -> str:
        """Return a hash of the instants and what they cost."""
        return hashlib.sha256(self.ts.tobytes() + self.per_lot_e8.tobytes()).hexdigest()


def funding_of(ticker: pl.DataFrame, instrument: Instrument, contract: Contract, start_ts: int, end_ts: int) -> Funding:
    """Return the funding instants in [start_ts, end_ts) of a ticker table (TICKER_SCHEMA).

    The rate of an instant is the last one announced for it (`funding_ts`) up to the instant, the mark price the last
    one known then. An instant after the last row is left out: its rate may still have changed.

    Raises
    ------
    DataError
        A mark price of 0 or less, or a payment that is out of any range; names the instant.
    """
    import polars as pl

    rows = ticker.with_row_index("row").with_columns(
        ts=pl.when(pl.col("exch_ts") > 0).then(pl.col("exch_ts")).otherwise(pl.col("local_ts"))
    )
    if rows.height == 0:
        return Funding(np.zeros(0, np.int64), np.zeros(0, np.int64))
    last = rows["ts"].max()
    announced = rows.drop_nulls(["funding_ts", "funding_rate"]).filter(
        pl.col("funding_ts").is_between(start_ts, end_ts, closed="left")
        & (pl.col("funding_ts") <= last)
        & (pl.col("ts") <= pl.col("funding_ts"))
    )
    instants = announced.sort("ts", "row").group_by("funding_ts").agg(pl.col("funding_rate").last()).sort("funding_ts")
    marks = rows.drop_nulls("mark_price").sort("ts", "row").select("ts", "mark_price")
    found = instants.join_asof(marks, left_on="funding_ts", right_on="ts", strategy="backward", check_sortedness=False)
    known = found.drop_nulls("mark_price")
    amounts = [_per_lot(row, instrument, contract) for row in known.iter_rows(named=True)]
    return Funding(known["funding_ts"].to_numpy().copy(), np.array(amounts, np.int64), found.height - known.height)


def _per_lot(row: dict[str, Decimal | int], instrument: Instrument, contract: Contract) -> int:
    mark, rate = Decimal(row["mark_price"]), Decimal(row["funding_rate"])
    if mark <= 0:
        raise DataError(f"mark price {shorten(str(mark))} at the funding instant {row['funding_ts']}; allowed: above 0")
    ticks = EXACT.divide(mark, instrument.tick_size)
    value = EXACT.divide(Decimal(contract.inverse_scale), ticks) if contract.inverse_scale else ticks
    amount = EXACT.multiply(EXACT.multiply(value, rate), Decimal(RATE_SCALE))
    if abs(amount) >= PER_LOT_MAX:
        raise DataError(f"funding rate {shorten(str(rate))} at {row['funding_ts']} is out of range for this instrument")
    return int(amount.to_integral_value(rounding=ROUND_HALF_UP))
