"""Balances are what the database says, whichever markets run and however often the service starts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from market_maker.bootstrap import Runtime, running
from market_maker.domain.errors import Conflict
from market_maker.domain.ids import DEFAULT_ACCOUNT_ID, DEFAULT_PAIR_ID
from market_maker.domain.order import NewOrder, OrderType, Side
from market_maker.service import PlaceOptions
from market_maker.settings import Settings


async def balances(runtime: Runtime) -> dict[str, Any]:
    (found,) = (await runtime.service.directory.account(DEFAULT_ACCOUNT_ID))["balances"]
    return {name: Decimal(found[name]) for name in ("total", "reserved", "available")}


async def trade(runtime: Runtime, side: Side) -> None:
    order = NewOrder(DEFAULT_PAIR_ID, side, OrderType.MARKET, Decimal("0.01"))
    placed = await runtime.service.submit(order, PlaceOptions(wait=True))
    assert placed.order.cum_qty_lots == placed.order.qty_lots


async def test_balances_survive_stops_of_markets_and_restarts(database_dsn: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_dsn, data_dir=tmp_path)
    async with running(settings) as runtime:
        accounts = runtime.service.parts.simulator.accounts
        await accounts.transfer(DEFAULT_ACCOUNT_ID, Decimal(500))
        await trade(runtime, Side.BUY)
        await trade(runtime, Side.SELL)
        (session,) = await runtime.service.parts.simulator.get_sessions()
        await runtime.service.parts.simulator.set_session_state(UUID(session["session_id"]), "STOPPED")
        before = await balances(runtime)
        # The spread was paid twice over, and nothing is held or ordered any more.
        assert before["total"] != 100_500
        assert (before["reserved"], before["available"]) == (0, before["total"])
    async with running(settings) as runtime:
        assert await balances(runtime) == before
        await runtime.service.parts.simulator.start_session(DEFAULT_PAIR_ID)
        assert await balances(runtime) == before
        await runtime.service.open_position(None, None, DEFAULT_PAIR_ID, Decimal("0.01"), Decimal(50_000))
        account = await runtime.service.parts.simulator.accounts.reset(DEFAULT_ACCOUNT_ID)
        assert Decimal(account["balance"]) == 100_000
    async with running(settings) as runtime:
        assert (await balances(runtime))["total"] == 100_000


async def test_money_cannot_go_out_twice(database_dsn: str, tmp_path: Path) -> None:
    async with running(Settings(database_url=database_dsn, data_dir=tmp_path)) as runtime:
        accounts = runtime.service.parts.simulator.accounts
        wishes = [accounts.transfer(DEFAULT_ACCOUNT_ID, Decimal(-60_000)) for _ in range(3)]
        done = await asyncio.gather(*wishes, return_exceptions=True)
        assert [isinstance(each, Conflict) for each in done].count(True) == 2
        assert (await balances(runtime))["total"] == 40_000


async def test_a_position_in_a_market_that_does_not_run_is_in_the_way_of_a_reset(
    database_dsn: str, tmp_path: Path
) -> None:
    async with running(Settings(database_url=database_dsn, data_dir=tmp_path)) as runtime:
        await trade(runtime, Side.BUY)
        (session,) = await runtime.service.parts.simulator.get_sessions()
        await runtime.service.parts.simulator.set_session_state(UUID(session["session_id"]), "STOPPED")
        with pytest.raises(Conflict, match="no market runs"):
            await runtime.service.parts.simulator.accounts.reset(DEFAULT_ACCOUNT_ID)
