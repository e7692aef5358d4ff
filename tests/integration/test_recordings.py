"""A recording of the running market on a real database: the database is lost, the session ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import polars as pl
import psycopg
import pytest

from market_maker import NewOrder, OrderType, Side
from market_maker.bootstrap import Runtime, running
from market_maker.domain.errors import Conflict, Unavailable
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.market_data.replay import open_feed
from market_maker.market_data.schema import EventKind
from market_maker.matching.codes import Phase
from market_maker.settings import load_settings


@contextlib.asynccontextmanager
async def a_service(dsn: str, folder: Path) -> AsyncIterator[Runtime]:
    wishes = [f"database_url={dsn}", f"data_dir={folder}", "simulator.market_update_interval=20ms",
              "simulator.execution_delay=1ms", "database_pool=4"]  # fmt: skip
    async with running(load_settings(overrides=wishes, environment={})) as runtime:
        yield runtime


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 15.0) -> None:
    for _ in range(int(timeout_s / 0.05)):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s")


async def stop_recording(runtime: Runtime, session_id: UUID) -> None:
    """Stop it again and again: connections of the pool that the loss has broken are refusals, not losses."""

    async def is_stopped() -> bool:
        with contextlib.suppress(Unavailable):
            await runtime.service.parts.simulator.record(session_id, wanted=False)
            return True
        return False

    await until(is_stopped)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_a_lost_database_leaves_a_gap_and_a_right_book(database_dsn: str, folder: Path) -> None:
    async with a_service(database_dsn, folder) as runtime:
        simulator = runtime.service.parts.simulator
        loop = simulator.loops[DEFAULT_PAIR_ID]
        session = (await simulator.get_sessions())[0]
        session_id = UUID(session["session_id"])
        await simulator.record(session_id, wanted=True)
        await asyncio.sleep(0.4)
        before = loop.exchange
        with psycopg.connect(database_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        async def is_back() -> bool:
            return loop.exchange is not None and loop.exchange is not before

        await until(is_back)
        await asyncio.sleep(0.4)
        await stop_recording(runtime, session_id)
        (day,) = (item for item in await runtime.service.directory.catalogue(DEFAULT_PAIR_ID) if item["kind"] == "book")
        ((gap_start, gap_end),) = day["quality"]["gaps"]
        assert int(day["first_ts"]) < int(gap_start) < int(gap_end) < int(day["last_ts"])
        # The market was away for a pause of the loop and a connection.
        assert 10_000_000 < int(gap_end) - int(gap_start) < 10_000_000_000
        pair = loop.instrument
        lake = runtime.service.parts.market_data.lake
        feed = open_feed(lake, pair.venue, pair.symbol, int(gap_end), int(day["last_ts"]))
        assert feed.missing == ()


async def test_an_auction_is_a_gap_that_ends_with_its_print(database_dsn: str, folder: Path) -> None:
    async with a_service(database_dsn, folder) as runtime:
        simulator = runtime.service.parts.simulator
        session_id = UUID((await simulator.get_sessions())[0]["session_id"])
        await simulator.record(session_id, wanted=True)
        await asyncio.sleep(0.4)
        await simulator.control.set_phase(session_id, Phase.CLOSING_AUCTION)
        book = await runtime.service.get_order_book(DEFAULT_PAIR_ID, 1)
        for side, price in ((Side.BUY, book.asks[0].price + 5), (Side.SELL, book.bids[0].price - 5)):
            order = NewOrder(DEFAULT_PAIR_ID, side, OrderType.LIMIT, Decimal("0.01"), price=price)
            await runtime.service.place_order(order)
        await asyncio.sleep(0.4)
        await simulator.control.set_phase(session_id, Phase.CONTINUOUS)
        await asyncio.sleep(0.4)
        await stop_recording(runtime, session_id)
        (day,) = (item for item in await runtime.service.directory.catalogue(DEFAULT_PAIR_ID) if item["kind"] == "book")
        assert day["quality"]["crossed_share"] == 0.0
        ((gap_start, gap_end),) = day["quality"]["gaps"]
        assert 300_000_000 < int(gap_end) - int(gap_start) < 10_000_000_000
        pair = runtime.service.parts.simulator.loops[DEFAULT_PAIR_ID].instrument
        rows = runtime.service.parts.market_data.lake.read(
            pair.venue, pair.symbol, date.fromisoformat(day["day"]), "book"
        )
        prints = rows.filter(pl.col("kind") == EventKind.PRINT)
        assert prints.height > 0
        assert prints["side"].unique().to_list() == [0]
        assert prints["exch_ts"].min() >= int(gap_end)


async def test_a_session_that_ends_publishes_its_recording(database_dsn: str, folder: Path) -> None:
    async with a_service(database_dsn, folder) as runtime:
        simulator = runtime.service.parts.simulator
        session_id = UUID((await simulator.get_sessions())[0]["session_id"])
        await simulator.record(session_id, wanted=True)
        # An order without luck rests where it crosses; the recorded book must not.
        book = await runtime.service.get_order_book(DEFAULT_PAIR_ID, 1)
        price = book.asks[0].price + Decimal(5)
        order = NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=price,
                         execution_probability=0.0)  # fmt: skip
        await runtime.service.place_order(order)
        await asyncio.sleep(0.4)
        state = await simulator.set_session_state(session_id, "STOPPED")
        assert state["state"] == "STOPPED"
        days = await runtime.service.directory.catalogue(DEFAULT_PAIR_ID)
        assert {day["kind"] for day in days} == {"book", "bbo"}
        assert [day["quality"]["crossed_share"] for day in days if day["kind"] == "book"] == [0.0]
        with pytest.raises(Conflict):
            await runtime.service.place_order(order)
