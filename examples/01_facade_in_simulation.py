"""The facade in this process: place an order, look at the book, cancel, trade, see what is held. No HTTP."""

import asyncio
from decimal import Decimal

from market_maker import DEFAULT_PAIR_ID, NewOrder, OrderType, Side, load_settings, open_service


async def main() -> None:
    """Trade a little."""
    settings = load_settings(overrides=["simulator.execution_delay=10ms", "simulator.market_update_interval=50ms"])
    async with open_service(settings=settings) as service:
        book = await service.get_order_book(DEFAULT_PAIR_ID, depth=3)
        while not book.bids:  # the market has just begun
            await asyncio.sleep(0.05)
            book = await service.get_order_book(DEFAULT_PAIR_ID, depth=3)
        best_bid, best_ask = book.bids[0].price, book.asks[0].price
        print(f"best bid {best_bid}, best ask {best_ask}")

        quote = NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.LIMIT, Decimal("0.01"), price=best_bid - 500)
        print(
            "placed:",
            (await service.place_order(quote)).name,
            "and placed again:",
            (await service.place_order(quote)).name,
        )
        await service.cancel_order(quote.order_id)

        await service.place_order(NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.MARKET, Decimal("0.01")))
        await asyncio.sleep(0.2)  # execution_delay: the order travels to the venue
        for position in await service.get_positions(pair_id=DEFAULT_PAIR_ID):
            held = await service.get_position(position.position_id)
            print(f"held: {held.quantity} at {held.average_price}, unrealised {held.unrealised_pnl}")


asyncio.run(main())
