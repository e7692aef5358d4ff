"""The facade in backtest mode: trade by hand against recorded data, with queue position and latency."""

import asyncio
from decimal import Decimal
from uuid import UUID

from market_maker import DEFAULT_PAIR_ID, Mode, NewOrder, OrderType, Side, load_settings, open_service

FAST = ["simulator.market_update_interval=20ms", "backtest.execution_delay=5ms"]


async def main() -> None:
    """Record a market, then trade in the recording."""
    async with open_service(settings=load_settings(overrides=FAST)) as service:
        session_id = UUID((await service.parts.simulator.get_sessions())[0]["session_id"])
        await service.parts.simulator.record(session_id, True)
        await asyncio.sleep(3)
        await service.parts.simulator.record(session_id, False)
        days = await service.directory.catalogue(DEFAULT_PAIR_ID)
        start_ts, end_ts = int(days[0]["first_ts"]), int(days[-1]["last_ts"])

        backtest = service.in_mode(Mode.BACKTEST)
        replay = await backtest.open_replay(DEFAULT_PAIR_ID, start_ts, end_ts)
        replay.run_until(start_ts + 500_000_000)
        book = await backtest.get_order_book(DEFAULT_PAIR_ID, depth=1)
        order = NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=book.bids[0].price)
        print(
            f"half a second in: {book.bids[0].price} / {book.asks[0].price}; {(await backtest.place_order(order)).name}"
        )
        while not replay.is_exhausted and replay.status(order.order_id).is_open:
            replay.run_until(replay.now_ts + 100_000_000)
        held = await backtest.get_position(replay.position_id)
        print(
            f"{(replay.now_ts - start_ts) / 1e9:.1f} s in: {replay.status(order.order_id).name}, {held.quantity} held"
        )


asyncio.run(main())
