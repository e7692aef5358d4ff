"""The feed of the stream: contiguous changes, readers that do not keep up, and gaps that nobody is told of."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from market_maker.api.feed import Feed
from market_maker.api.stream import _QUEUE, EVICTED, Reader, StreamHub, _serve
from market_maker.client import BookTwin, StreamDelta
from market_maker.domain.book import BookSnapshot, Level
from market_maker.domain.errors import Conflict, DataError
from market_maker.domain.order import Side
from market_maker.monitoring.metrics import Metrics
from market_maker.venue.changes import Changes, Print
from venue_builders import an_instrument

PAIR = UUID(int=1)


def a_book(sequence: int, bids: dict[int, int], asks: dict[int, int], **more: Any) -> BookSnapshot:
    def side(levels: dict[int, int], *, best_first: bool) -> tuple[Level, ...]:
        return tuple(Level(Decimal(p), Decimal(levels[p])) for p in sorted(levels, reverse=best_first))

    return BookSnapshot(PAIR, sequence, sequence, side(bids, best_first=True), side(asks, best_first=False), **more)


class OnePair:
    """A service of one pair whose book a test writes down."""

    def __init__(self) -> None:
        self.book = a_book(0, {99: 1}, {101: 1})
        self.parts = SimpleNamespace(simulator=SimpleNamespace(loops={PAIR: None}))

    async def get_order_book(self, pair_id: UUID, depth: int) -> BookSnapshot:
        if pair_id != PAIR:
            raise Conflict("no market")
        assert depth
        return self.book


def taken(reader: Reader) -> list[dict[str, Any]]:
    return [json.loads(reader.queue.get_nowait()) for _ in range(reader.queue.qsize())]


async def test_every_reader_rebuilds_the_book_whenever_he_comes() -> None:
    service, hub = OnePair(), StreamHub(Metrics())
    feed = Feed(service, hub)  # type: ignore[arg-type]
    readers, twins = [], []
    books = [
        a_book(3, {99: 2, 98: 5}, {101: 1}), a_book(4, {98: 5}, {100: 7, 101: 1}), a_book(9, {98: 4}, {}),
        a_book(10, {98: 4}, {}, is_stale=True), a_book(11, {98: 4, 97: 1}, {101: 2}),
    ]  # fmt: skip
    for book in books:
        reader = Reader([], deltas=frozenset({PAIR}))
        await feed.welcome(reader)
        readers.append(reader)
        twins.append(BookTwin())
        service.book = book
        await feed._tell_books(PAIR)
        await feed._tell_books(PAIR)
        for each, twin in zip(readers, twins, strict=True):
            for message in taken(each):
                twin.apply(msgspec.convert(message, StreamDelta, strict=False))
            assert twin.bids == {level.price: level.quantity for level in book.bids}
            assert twin.asks == {level.price: level.quantity for level in book.asks}
            assert (twin.book_sequence, twin.is_stale) == (book.sequence, book.is_stale)
    assert [twin.sequence for twin in twins] == [5] * 5
    with pytest.raises(Conflict):
        await feed.welcome(Reader([], deltas=frozenset({UUID(int=2)})))


def test_a_twin_says_that_a_change_is_missing() -> None:
    def message(kind: str, sequence: int) -> StreamDelta:
        return StreamDelta(
            type=f"simulator.book.{kind}", pair_id=PAIR, sequence=sequence, book_sequence=1, ts="0", stale=False,
            phase="CONTINUOUS", bids=[], asks=[],
        )  # fmt: skip

    twin = BookTwin()
    with pytest.raises(DataError):
        twin.apply(message("delta", 1))
    twin.apply(message("snapshot", 7))
    twin.apply(message("delta", 8))
    with pytest.raises(DataError, match="10 came after 8"):
        twin.apply(message("delta", 10))
    twin.apply(message("snapshot", 0))


async def test_trades_are_told_to_who_watches_them_and_not_in_a_gap() -> None:
    hub = StreamHub(Metrics())
    feed = Feed(OnePair(), hub)  # type: ignore[arg-type]
    watching, other = Reader([], trades=frozenset({PAIR})), Reader([], books=frozenset({PAIR}))
    hub.join(watching)
    hub.join(other)
    exchange = SimpleNamespace(session=SimpleNamespace(pair_id=PAIR), frozen=None, instrument=an_instrument())
    changes = Changes(prints=[Print(UUID(int=9), 5, Side.SELL, 10_001, 20)])
    feed.on_commit(exchange, changes)
    exchange.frozen = object()
    feed.on_commit(exchange, changes)
    (message,) = taken(watching)
    assert message["trades"] == [
        {
            "trade_id": str(UUID(int=9)),
            "ts": "5",
            "aggressor": "SELL",
            "price": "100.01",
            "amount": "0.020",
            "auction": False,
        }
    ]
    assert taken(other) == []


class StuckSocket:
    """A connection whose other end takes nothing."""

    def __init__(self) -> None:
        self.closed: tuple[int, str] | None = None

    async def send_text(self, _: str) -> None:
        await asyncio.Event().wait()

    async def receive_data(self, mode: str) -> str:
        assert mode == "text"
        await asyncio.Event().wait()
        return ""

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


async def test_a_reader_that_does_not_keep_up_is_evicted_and_never_buffered_without_bound() -> None:
    hub, socket, reader = StreamHub(Metrics()), StuckSocket(), Reader(["#"])
    hub.join(reader)
    serving = asyncio.create_task(_serve(socket, reader))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    for number in range(3 * _QUEUE):
        hub.on_event("simulator.order.filled", b"%d" % number)
    assert reader.queue.qsize() == _QUEUE
    await asyncio.wait_for(serving, 5)
    assert socket.closed is not None
    assert socket.closed[0] == EVICTED
