"""getHistoricalData: bars of any interval of a pair, from recorded data in the lake or from virtual trading.

Recorded data comes first; a simulated pair without a recording is served from the mids that its market left.
"""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Any

from market_maker.domain.errors import DataError
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import DAY_NS, NS_PER_SECOND
from market_maker.market_data.catalogue import list_days
from market_maker.market_data.prices import Price, bars
from market_maker.market_data.schema import interval_of
from market_maker.storage.database import Database
from market_maker.storage.lake import YEARLY, Lake
from market_maker.storage.simulation import get_simulated_prices

MAX_BARS = 200_000
_INTERVALS = ((60 * NS_PER_SECOND, NS_PER_SECOND // 10), (DAY_NS // 4, NS_PER_SECOND))


async def get_historical_data(
    database: Database, lake: Lake, instrument: Instrument, start_ts: int, end_ts: int, interval_ns: int
) -> list[Price]:
    """Return the bars of [start, end), oldest first.

    Raises
    ------
    DataError : no data of the pair in the range, or more than 200,000 bars asked for
    """
    if (end_ts - start_ts) // interval_ns > MAX_BARS:
        raise DataError(
            f"{(end_ts - start_ts) // interval_ns} bars are more than {MAX_BARS}; ask for a longer interval"
        )
    days = await list_days(database, venue=instrument.venue, symbol=instrument.symbol)
    if any(day["first_ts"] < end_ts and day["last_ts"] >= start_ts for day in days):
        return await asyncio.to_thread(
            bars,
            lake,
            instrument.venue,
            instrument.symbol,
            start_ts,
            end_ts,
            interval_ns,
            (instrument.tick_size, instrument.lot_size),
        )
    mids = await get_simulated_prices(database, instrument.pair_id, start_ts, end_ts)
    if not mids:
        raise DataError(
            f"there is no price history of {instrument.venue} {instrument.symbol} in the range;"
            " import or record some, or let its simulated market run"
        )
    return _bars_of_mids(mids, interval_ns)


async def recent_history(
    database: Database, lake: Lake, instrument: Instrument, now_ts: int, *, longest_ns: int = 30 * DAY_NS
) -> tuple[list[Price], int, int, int]:
    """Return the bars of the newest history of a pair, their interval, and the window [start, end), in ns.

    Virtual trading comes before recorded data, because it is whole and up to the present. The interval is 100 ms for
    up to a minute of history, 1 s for up to six hours, else 1 minute.
    """
    row = await database.fetch_one(
        "SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM simulated_prices WHERE pair_id = %s AND ts >= %s",
        (instrument.pair_id, now_ts - longest_ns),
    )
    is_virtual = row is not None and row["first_ts"] is not None
    if is_virtual and row is not None:
        start_ts, end_ts = row["first_ts"], row["last_ts"] + 1
    else:
        days = await list_days(database, venue=instrument.venue, symbol=instrument.symbol)
        if days and all(day["kind"].startswith(YEARLY) for day in days):
            return await _stored_history(database, lake, instrument, days, longest_ns)
        books = [day for day in days if not day["kind"].startswith(YEARLY) and day["kind"] != "ticker"]
        if not books:
            raise DataError(
                f"there is no price history of {instrument.venue} {instrument.symbol}: 0 prices are there;"
                " import or record some, or let its simulated market run"
            )
        end_ts = max(day["last_ts"] for day in books) + 1
        start_ts = max(min(day["first_ts"] for day in books), end_ts - longest_ns)
    interval_ns = interval_for(end_ts - start_ts)
    start_ts -= start_ts % interval_ns
    if is_virtual:
        found = _bars_of_mids(await get_simulated_prices(database, instrument.pair_id, start_ts, end_ts), interval_ns)
    else:
        found = await get_historical_data(database, lake, instrument, start_ts, end_ts, interval_ns)
    return found, interval_ns, start_ts, end_ts


def interval_for(span_ns: int) -> int:
    """Return the interval of a history that reaches so far: 100 ms up to a minute, 1 s up to six hours, else 1 minute."""
    return next((interval for span, interval in _INTERVALS if span_ns <= span), 60 * NS_PER_SECOND)


async def _stored_history(
    database: Database, lake: Lake, instrument: Instrument, days: list[dict[str, Any]], longest_ns: int
) -> tuple[list[Price], int, int, int]:
    """Return the newest stored bars of the shortest interval: of `longest_ns`, or 1,000 of them if these reach further."""
    interval_ns = min(interval_of(day["kind"]) for day in days) * NS_PER_SECOND
    end_ts = max(day["last_ts"] for day in days) // interval_ns * interval_ns + interval_ns
    start_ts = max(
        min(day["first_ts"] for day in days) // interval_ns * interval_ns, end_ts - max(longest_ns, 1000 * interval_ns)
    )
    found = await get_historical_data(database, lake, instrument, start_ts, end_ts, interval_ns)
    return found, interval_ns, start_ts, end_ts


def _bars_of_mids(mids: list[tuple[int, int]], interval_ns: int) -> list[Price]:
    found = []
    for index, rows in groupby(mids, key=lambda row: row[0] // interval_ns):
        prices = [mid for _, mid in rows]
        found.append(
            Price(
                ts=index * interval_ns,
                open_half_ticks=prices[0],
                high_half_ticks=max(prices),
                low_half_ticks=min(prices),
                close_half_ticks=prices[-1],
                volume_lots=0,
                quotes=len(prices),
            )
        )
    return found
