"""The REST API by its typed client, against a service of this script's own (usually: `market-maker serve`)."""

from market_maker.client import Client, local_service
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.ids import DEFAULT_PAIR_ID

SETTINGS = {"simulator.execution_delay": "20ms", "simulator.market_update_interval": "50ms"}

with local_service(SETTINGS) as url, Client(url) as client:
    pair = client.get_pair(DEFAULT_PAIR_ID)
    print(f"{pair.symbol} on {pair.venue}: tick {pair.tick_size}, lot {pair.lot_size}")

    resting = client.place_order(pair.pair_id, "BUY", "0.01", "45000.00", wait=True)
    print(
        f"a limit order rests: {resting.status}; cancelled: {client.cancel_order(resting.order_id, wait=True).status}"
    )

    taken = client.place_order(pair.pair_id, "SELL", "0.01", wait=True)
    print(f"an order without a price goes to the market: {taken.status} at {taken.average_price}")
    for fill in client.get_trades(order_id=taken.order_id).items:
        print(f"  {fill.side} {fill.amount} at {fill.price} as {fill.liquidity}")

    once = client.place_order(pair.pair_id, "BUY", "0.01", "45000.00", client_order_id="quote-1")
    again = client.place_order(pair.pair_id, "BUY", "0.01", "45000.00", client_order_id="quote-1")
    print(f"the same client_order_id is the same order: {once.order_id == again.order_id}")

    try:
        client.place_order(pair.pair_id, "BUY", "0.01", "45000.001")
    except InvalidRequest as error:
        print(f"refused: {error.errors[0].field} {error.errors[0].value}; allowed is {error.errors[0].allowed}")
