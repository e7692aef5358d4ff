"""The stream: what happens to an order, and the book it happens in, as it happens."""

import asyncio

from market_maker.client import AsyncClient, Reconnected, StreamBook, local_service
from market_maker.domain.ids import DEFAULT_PAIR_ID

SETTINGS = {"simulator.execution_delay": "20ms", "simulator.market_update_interval": "100ms"}


async def main(url: str) -> None:
    """Place an order and listen until it is filled."""
    async with AsyncClient(url) as client, client.stream(["simulator.order.*"], books=[DEFAULT_PAIR_ID]) as stream:
        order = await client.place_order(DEFAULT_PAIR_ID, "BUY", "0.01")
        books = 0
        async for message in stream:
            if isinstance(message, Reconnected):  # what happened meanwhile is not told: read the present state
                print(
                    f"connected again ({message.reason}); the order is {(await client.get_order(order.order_id)).status}"
                )
            elif isinstance(message, StreamBook):
                books += 1
                if message.bids and message.asks:
                    print(f"book {message.sequence}: {message.bids[0].price} / {message.asks[0].price}")
            else:
                print(f"event {message.sequence} of the order: {message.type}, {message.data['status']}")
                if message.type == "simulator.order.filled" and books > 3:
                    break
            if books > 12:
                break


with local_service(SETTINGS) as service_url:
    asyncio.run(main(service_url))
