"""Market data for the other parts: import of files, the catalogue, and price history.

It owns which pair a file belongs to; the work is in `ingest`, `catalogue` and `history`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from market_maker.domain.clock import Clock
from market_maker.domain.ids import new_id
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.market_data.catalogue import list_days, save_import
from market_maker.market_data.history import get_historical_data
from market_maker.market_data.ingest import ImportReport, Repairs, import_file, inspect_file
from market_maker.market_data.prices import Price
from market_maker.storage.database import Database
from market_maker.storage.lake import Lake
from market_maker.storage.reference import Pair, ReferenceData

_NO_REPAIRS = Repairs()
_QUOTES = ("USDT", "USDC", "USD", "BTC", "ETH", "EUR")


class MarketDataService:
    """Recorded market data.

    Parameters
    ----------
    database, reference, lake, clock : shared by the process
    """

    def __init__(self, database: Database, reference: ReferenceData, lake: Lake, clock: Clock) -> None:
        self._database = database
        self._reference = reference
        self.lake = lake
        self._clock = clock

    async def import_data(
        self, path: Path, *, repairs: Repairs = _NO_REPAIRS, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Pair, ImportReport]:
        """Import one file into the lake and the catalogue; return its pair, made when it is new, and the report.

        Raises
        ------
        DataError : the file cannot be imported as it is; names row and rule; nothing was imported
        """
        facts = await asyncio.to_thread(inspect_file, path)
        venue = f"binance-{facts.market}"
        await self._reference.load()
        pair = self._reference.find_pair(venue, facts.symbol)
        if pair is None:
            base, quote = split_symbol(facts.symbol)
            instrument = Instrument(
                new_id(),
                venue,
                facts.symbol,
                base,
                quote,
                facts.tick_size,
                facts.lot_size,
                ContractType.SPOT if facts.market == "spot" else ContractType.LINEAR,
            )
            pair = await self._reference.add_pair(instrument, None, self._clock.now_ns())
        report = await asyncio.to_thread(import_file, path, self.lake, pair.instrument, repairs, progress)
        await save_import(self._database, report, self._clock.now_ns())
        return pair, report

    async def get_catalogue(self, instrument: Instrument | None = None) -> list[dict[str, Any]]:
        """Return the recorded days (of one pair) as JSON values."""
        venue = None if instrument is None else instrument.venue
        symbol = None if instrument is None else instrument.symbol
        rows = await list_days(self._database, venue=venue, symbol=symbol)
        return [
            {
                **row,
                "day": row["day"].isoformat(),
                "import_id": str(row["import_id"]),
                "first_ts": str(row["first_ts"]),
                "last_ts": str(row["last_ts"]),
            }
            for row in rows
        ]

    async def get_historical_data(
        self, instrument: Instrument, start_ts: int, end_ts: int, interval_ns: int
    ) -> list[Price]:
        """Return the bars of a pair in [start_ts, end_ts); see `history.get_historical_data`."""
        return await get_historical_data(self._database, self.lake, instrument, start_ts, end_ts, interval_ns)


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return base and quote of a symbol such as BTCUSDT; a quote that is not known is the last three letters."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    return symbol[:-3] or symbol, symbol[-3:]
