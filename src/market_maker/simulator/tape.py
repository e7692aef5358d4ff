"""The public trades of running markets: the last ones, and candles of them. Kept in memory, bounded.

After a restart they are read back from the events of trades, as far as those are kept and up to a number.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.domain.units import NS_PER_SECOND, format_duration
from market_maker.simulator.exchange import SimulatedExchange
from market_maker.storage.database import Connection
from market_maker.storage.simulation import load_trades
from market_maker.venue.changes import Changes, Print

TRADES_MAX = 1_000
SECONDS_MAX = 21_600
"""Six hours with trades in every second."""
INTERVAL_NS_MAX = 3_600 * NS_PER_SECOND
BARS_MAX = 1_000
RESTORED_MAX = 10_000
"""Trades that are read back after a restart."""
_FIELDS = ("ts", "open", "high", "low", "close", "volume", "bought", "trades")
BAR_DTYPE = np.dtype([(name, np.int64) for name in _FIELDS])
"""One bar: start in ns UTC, prices in ticks, traded lots, those bought by the aggressor, number of trades."""


class _Trade(msgspec.Struct):
    trade_id: UUID
    ts: str
    aggressor: str | None
    price: str
    amount: str
    auction: bool


class _StoredTrade(msgspec.Struct):
    data: _Trade


class MarketTape:
    """The trades of one market.

    Examples
    --------
    >>> tape = MarketTape()
    >>> tape.bars(1_000_000_000).tolist()
    []
    """

    def __init__(self) -> None:
        self.trades: deque[Print] = deque(maxlen=TRADES_MAX)
        self._ring = np.empty(SECONDS_MAX, BAR_DTYPE)
        # Written to, so that a market takes its memory when it begins, not over the hours.
        self._ring.fill(0)
        self._count = 0

    def add(self, trade: Print) -> None:
        """Take in a trade; they come in order of time."""
        self.trades.append(trade)
        second = trade.ts // NS_PER_SECOND * NS_PER_SECOND
        price, lots = trade.price_ticks, trade.qty_lots
        bar = self._ring[(self._count - 1) % SECONDS_MAX]
        if not self._count or bar["ts"] < second:
            self._count += 1
            self._ring[(self._count - 1) % SECONDS_MAX] = (second, price, price, price, price, 0, 0, 0)
            bar = self._ring[(self._count - 1) % SECONDS_MAX]
        bar["high"], bar["low"], bar["close"] = max(bar["high"], price), min(bar["low"], price), price
        bar["volume"] += lots
        bar["bought"] += lots if trade.aggressor is Side.BUY and not trade.is_auction else 0
        bar["trades"] += 1

    def bars(self, interval_ns: int) -> NDArray[Any]:
        """Return bars of an interval of whole seconds, oldest first; intervals without a trade have none."""
        kept = min(self._count, SECONDS_MAX)
        seconds = (
            np.roll(self._ring, -(self._count % SECONDS_MAX))[-kept:]
            if self._count > SECONDS_MAX
            else self._ring[:kept]
        )
        if not len(seconds):
            return seconds
        start = seconds["ts"] // interval_ns * interval_ns
        first = np.flatnonzero(np.append(True, start[1:] != start[:-1]))
        last = np.append(first[1:], len(seconds)) - 1
        found = np.zeros(len(first), BAR_DTYPE)
        found["ts"], found["open"], found["close"] = start[first], seconds["open"][first], seconds["close"][last]
        found["high"] = np.maximum.reduceat(seconds["high"], first)
        found["low"] = np.minimum.reduceat(seconds["low"], first)
        for name in ("volume", "bought", "trades"):
            found[name] = np.add.reduceat(seconds[name], first)
        return found


class MarketTapes:
    """The tapes of all markets; `observe` stands among the observers of their loops, `load` among their loaders."""

    def __init__(self) -> None:
        self._tapes: dict[UUID, MarketTape] = {}

    async def load(self, connection: Connection, exchange: SimulatedExchange) -> None:
        """Begin the tape of a market with the trades that are stored."""
        tape, instrument = MarketTape(), exchange.instrument
        stream = f"pair {instrument.pair_id}"
        for body in await load_trades(connection, stream, exchange.session.session_id, RESTORED_MAX):
            told = msgspec.json.decode(body, type=_StoredTrade).data
            tape.add(
                Print(
                    told.trade_id,
                    int(told.ts),
                    Side.BUY if told.aggressor != Side.SELL.name else Side.SELL,
                    instrument.price_to_ticks(Decimal(told.price)),
                    instrument.qty_to_lots(Decimal(told.amount)),
                    told.auction,
                )
            )
        self._tapes[instrument.pair_id] = tape

    def observe(self, exchange: SimulatedExchange, changes: Changes) -> None:
        """Take in the trades of a commit."""
        if changes.prints:
            tape = self._tapes.setdefault(exchange.instrument.pair_id, MarketTape())
            for trade in changes.prints:
                tape.add(trade)

    def get_trades(self, instrument: Instrument, limit: int) -> list[dict[str, Any]]:
        """Return the last trades of a market, newest first, as JSON values."""
        trades = self._tapes.get(instrument.pair_id, MarketTape()).trades
        newest = [trades[-place] for place in range(1, min(limit, len(trades)) + 1)]
        return [
            {
                "trade_id": str(trade.trade_id),
                "ts": str(trade.ts),
                "side": trade.told_aggressor,
                "price": instrument.price_text(trade.price_ticks),
                "amount": instrument.qty_text(trade.qty_lots),
                "auction": trade.is_auction,
            }
            for trade in newest
        ]

    def get_bars(self, instrument: Instrument, interval_ns: int, limit: int) -> list[dict[str, Any]]:
        """Return the last bars of a market, oldest first, as JSON values.

        Raises
        ------
        InvalidRequest
            unless `interval_ns` is a number of whole seconds, up to an hour
        """
        if not NS_PER_SECOND <= interval_ns <= INTERVAL_NS_MAX or interval_ns % NS_PER_SECOND:
            raise InvalidRequest.of("interval", format_duration(interval_ns), "whole seconds from 1s to 1h")
        found = self._tapes.get(instrument.pair_id, MarketTape()).bars(interval_ns)[-limit:]
        return [
            {
                "ts": str(ts),
                "open": instrument.price_text(first),
                "high": instrument.price_text(high),
                "low": instrument.price_text(low),
                "close": instrument.price_text(close),
                "volume": instrument.qty_text(volume),
                "buy_volume": instrument.qty_text(bought),
                "trades": trades,
            }
            for ts, first, high, low, close, volume, bought, trades in found.tolist()
        ]
