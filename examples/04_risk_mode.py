"""The facade in risk mode: a limit refuses the order that would break it; positions come with their figures."""

import asyncio
from decimal import Decimal

from market_maker import DEFAULT_PAIR_ID, Mode, NewOrder, OrderType, Side, load_settings, open_service
from market_maker.domain.errors import DataError, LimitBreached


async def main() -> None:
    """Run into a limit, then look at the risk of what is held."""
    settings = load_settings(overrides=["simulator.execution_delay=10ms", "simulator.market_update_interval=50ms"])
    async with open_service(Mode.RISK, settings) as service:
        await service.parts.risk.add_limit("MAX_POSITION", "ALL", None, Decimal("0.5"), Decimal("0.8"))
        await asyncio.sleep(1)  # let the market invent some history
        await service.place_order(NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.MARKET, Decimal("0.4")))
        await asyncio.sleep(0.3)
        try:
            await service.place_order(NewOrder(DEFAULT_PAIR_ID, Side.BUY, OrderType.MARKET, Decimal("0.4")))
        except LimitBreached as error:
            print("refused:", error.detail)

        (held,) = await service.get_positions(pair_id=DEFAULT_PAIR_ID)
        while True:
            try:
                await service.get_position(held.position_id)  # in risk mode this brings the figures up to date
                break
            except DataError as error:
                print("wait:", error.detail)
                await asyncio.sleep(1)
        figures = (await service.parts.risk.get_risk_metrics(held.position_id, limit=1))[0]
        print(
            f"{figures['quantity']} BTC: VaR {figures['value_at_risk']}, expected shortfall {figures['expected_shortfall']}"
        )
        print(f"  at {figures['confidence_level']} over {figures['time_horizon']}: {figures['convention']}")


asyncio.run(main())
