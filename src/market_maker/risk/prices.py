"""The newest price history of each pair, kept in memory: only what has come since the last question is fetched.

Owns no rule of what a return is (`history`), nor where prices come from (`market_data.history`).
"""

from __future__ import annotations

import time
from uuid import UUID

import numpy as np

from market_maker.domain.instrument import Instrument
from market_maker.domain.units import DAY_NS
from market_maker.market_data.history import interval_for, recent_history
from market_maker.performance.figures import Int64
from market_maker.risk.history import PriceHistory, price_history
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.simulation import get_simulated_prices

LONGEST_NS = 30 * DAY_NS
RECORDED_KEPT_S = 30.0
"""How long a history from the lake is used before it is read again."""


class _Mids:
    """Mids of one simulated pair, oldest first, in arrays that grow."""

    def __init__(self) -> None:
        self._ts, self._mids, self._first, self._end = np.empty(1024, np.int64), np.empty(1024, np.int64), 0, 0
        self.made: PriceHistory | None = None

    @property
    def last_ts(self) -> int:
        return int(self._ts[self._end - 1]) if self._end else -1

    @property
    def ts(self) -> Int64:
        return self._ts[self._first : self._end]

    @property
    def mids(self) -> Int64:
        return self._mids[self._first : self._end]

    def add(self, rows: list[tuple[int, int]], oldest_ts: int) -> None:
        """Append rows and forget those before `oldest_ts`."""
        if rows:
            self.made = None
            new = np.array(rows, dtype=np.int64)
            if self._end + len(new) > len(self._ts):
                room = 2 * (self._end - self._first + len(new))
                ts, mids = np.empty(room, np.int64), np.empty(room, np.int64)
                kept = self._end - self._first
                ts[:kept], mids[:kept] = self.ts, self.mids
                self._ts, self._mids, self._first, self._end = ts, mids, 0, kept
            self._ts[self._end : self._end + len(new)] = new[:, 0]
            self._mids[self._end : self._end + len(new)] = new[:, 1]
            self._end += len(new)
        self._first += int(np.searchsorted(self.ts, oldest_ts))


class PriceSource:
    """Price histories of pairs, for risk figures.

    Parameters
    ----------
    database, lake : where virtual trading and recorded data are kept
    """

    def __init__(self, database: Database, lake: Lake) -> None:
        self._database = database
        self._lake = lake
        self._virtual: dict[UUID, _Mids] = {}
        self._recorded: dict[UUID, tuple[float, PriceHistory]] = {}

    async def history(self, instrument: Instrument, now_ts: int) -> PriceHistory:
        """Return the newest history of a pair, of virtual trading before recorded data; DataError when there is none."""
        kept = self._virtual.setdefault(instrument.pair_id, _Mids())
        first_ts = max(kept.last_ts + 1, now_ts - LONGEST_NS)
        rows = await get_simulated_prices(self._database, instrument.pair_id, first_ts, 2**62)
        # Someone else may have asked meanwhile.
        kept.add([row for row in rows if row[0] > kept.last_ts], now_ts - LONGEST_NS)
        if not kept.ts.size:
            return await self._from_the_lake(instrument, now_ts)
        if kept.made is None:
            kept.made = _closes(kept.ts, kept.mids)
        return kept.made

    async def _from_the_lake(self, instrument: Instrument, now_ts: int) -> PriceHistory:
        known = self._recorded.get(instrument.pair_id)
        if known is not None and time.monotonic() - known[0] < RECORDED_KEPT_S:
            return known[1]
        prices, interval_ns, start_ts, end_ts = await recent_history(self._database, self._lake, instrument, now_ts)
        found = price_history(
            [price.ts for price in prices],
            [price.close_half_ticks for price in prices],
            interval_ns=interval_ns,
            window_start_ts=start_ts,
            window_end_ts=end_ts,
        )
        self._recorded[instrument.pair_id] = (time.monotonic(), found)
        return found


def _closes(ts: Int64, mids: Int64) -> PriceHistory:
    """Return the history of closes: the last mid of each interval that has one."""
    end_ts = int(ts[-1]) + 1
    interval_ns = interval_for(end_ts - int(ts[0]))
    place = ts // interval_ns
    last = np.append(np.flatnonzero(np.diff(place)), place.size - 1)
    return price_history(
        place[last] * interval_ns,
        mids[last],
        interval_ns=interval_ns,
        window_start_ts=int(place[0]) * interval_ns,
        window_end_ts=end_ts,
    )
