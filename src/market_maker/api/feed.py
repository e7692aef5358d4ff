"""The public feed of simulated markets for readers of the stream: trades, whole books, and books as snapshot and changes.

Owns what the readers of a pair's changes have been told, so that every change follows the one before without a gap. What
goes on during a gap of the feed (scenario `feed_gap`) is told to nobody.
"""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec

from market_maker.api.simulator import auction_data, levels_data
from market_maker.api.stream import Reader, StreamHub
from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.errors import MarketMakerError
from market_maker.service import MarketMakerService

INTERVAL_S = 0.1
DEPTH = 20
WHOLE_DEPTH = 1000
_encode = msgspec.json.Encoder().encode


class Feed:
    """The feed of all markets of this process.

    Parameters
    ----------
    service : whose markets they are
    hub : the readers
    """

    def __init__(self, service: MarketMakerService, hub: StreamHub) -> None:
        self._service = service
        self._hub = hub
        self._told: dict[UUID, _Told] = {}
        self._books: dict[UUID, tuple[int, bool, str]] = {}
        self._queued: set[UUID] = set()

    async def welcome(self, reader: Reader) -> None:
        """Give a new reader the present books; MarketMakerError when there is none for a pair.

        It takes part from then on: nothing can happen between the snapshot of a book and the first change.
        """
        books = [await self._service.get_order_book(pair_id, DEPTH) for pair_id in reader.books]
        whole = {pair_id: await self._service.get_order_book(pair_id, WHOLE_DEPTH) for pair_id in reader.deltas}
        for pair_id in reader.trades:
            await self._service.get_order_book(pair_id, 1)
        for book in books:
            reader.put(book_message(book))
        for pair_id, book in whole.items():
            reader.put(self._told.setdefault(pair_id, _Told(book)).snapshot())
        self._hub.join(reader)

    def on_commit(self, exchange: Any, changes: Any) -> None:
        """Tell the trades of a commit to those who watch the pair's tape."""
        pair_id = exchange.session.pair_id
        if not changes.prints or exchange.frozen is not None or not self._hub.wants("trades", pair_id):
            return
        instrument = exchange.instrument
        trades = [
            {
                "trade_id": trade.trade_id,
                "ts": str(trade.ts),
                "aggressor": trade.told_aggressor,
                "price": instrument.price_text(trade.price_ticks),
                "amount": instrument.qty_text(trade.qty_lots),
                "auction": trade.is_auction,
            }
            for trade in changes.prints
        ]
        message = {"type": "simulator.trades", "pair_id": str(pair_id), "trades": trades}
        self._hub.tell("trades", pair_id, _encode(message).decode())

    async def run(self) -> None:
        """Send each watched book when it has changed, ten times a second at most, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            for pair_id in list(self._service.parts.simulator.loops):
                try:
                    await self._tell_books(pair_id)
                except MarketMakerError:  # it stops or is being restored: later
                    continue
            for pair_id in [key for key in self._told if not self._hub.wants("deltas", key)]:
                del self._told[pair_id]

    async def _tell_books(self, pair_id: UUID) -> None:
        if self._hub.wants("books", pair_id):
            book = await self._service.get_order_book(pair_id, DEPTH)
            state = (book.sequence, book.is_stale, book.phase)
            if self._books.get(pair_id) != state:
                self._books[pair_id] = state
                self._hub.tell("books", pair_id, book_message(book))
                await self._tell_queues(pair_id)
        if self._hub.wants("deltas", pair_id):
            book = await self._service.get_order_book(pair_id, WHOLE_DEPTH)
            told = self._told.setdefault(pair_id, _Told(book))
            message = told.change_to(book)
            if message is not None:
                self._hub.tell("deltas", pair_id, message)

    async def _tell_queues(self, pair_id: UUID) -> None:
        """Tell where own orders stand; once more when the last of them has gone."""
        places = await self._service.parts.simulator.get_queue_places(pair_id)
        if places or pair_id in self._queued:
            message = {"type": "simulator.queues", "pair_id": str(pair_id), "orders": places}
            self._hub.tell_queues(pair_id, _encode(message).decode())
        (self._queued.add if places else self._queued.discard)(pair_id)


class _Told:
    """The book of a pair as its readers have it; `sequence` counts what they were told."""

    def __init__(self, book: BookSnapshot) -> None:
        self._book = book
        self._sequence = 0

    def snapshot(self) -> str:
        """Return the whole book as a message."""
        return self._message("snapshot", self._book.bids, self._book.asks)

    def change_to(self, book: BookSnapshot) -> str | None:
        """Return the change to another book as a message, None when nothing has changed."""
        bids, asks = _changes(self._book.bids, book.bids), _changes(self._book.asks, book.asks)
        is_same = (self._book.is_stale, self._book.phase) == (book.is_stale, book.phase)
        if not bids and not asks and is_same:
            return None
        self._book = book
        self._sequence += 1
        return self._message("delta", bids, asks)

    def _message(self, kind: str, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> str:
        content = {
            "type": f"simulator.book.{kind}",
            "pair_id": str(self._book.pair_id),
            "sequence": self._sequence,
            "book_sequence": self._book.sequence,
            "ts": str(self._book.ts),
            "stale": self._book.is_stale,
            "phase": self._book.phase,
            "bids": levels_data(bids),
            "asks": levels_data(asks),
        }
        return _encode(content).decode()


def _changes(before: tuple[Level, ...], now: tuple[Level, ...]) -> tuple[Level, ...]:
    """Return the levels that differ; one that is gone with quantity 0."""
    if before == now:
        return ()
    old, new = ({level.price: level.quantity for level in side} for side in (before, now))
    gone = [Level(price, quantity * 0) for price, quantity in old.items() if price not in new]
    return (*gone, *(level for level in now if old.get(level.price) != level.quantity))


def book_message(book: BookSnapshot) -> str:
    """Return a book as a message of the stream."""
    content = {
        "type": "simulator.book",
        "pair_id": str(book.pair_id),
        "ts": str(book.ts),
        "sequence": book.sequence,
        "bids": levels_data(book.bids),
        "asks": levels_data(book.asks),
        **auction_data(book),
    }
    return _encode(content).decode()
