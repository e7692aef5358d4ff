"""Record a stretch of a simulated market, then backtest a strategy on the recording, all over REST."""

import time

from market_maker.client import Client, local_service
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.units import format_instant

SETTINGS = {
    "simulator.execution_delay": "5ms",
    "simulator.market_update_interval": "20ms",
    "backtest.execution_delay": "5ms",
}

with local_service(SETTINGS) as url, Client(url) as client:
    session = client.get_sessions().items[0]
    client.change_session(session.session_id, recording=True)
    time.sleep(3)
    client.change_session(session.session_id, recording=False)
    days = client.get_catalogue(pair_id=DEFAULT_PAIR_ID).items
    start, end = (format_instant(int(edge)) for edge in (days[0].first_ts, days[-1].last_ts))
    print(f"recorded {sum(day.rows for day in days)} events from {start} to {end}")

    parameters = {"half_spread_ticks": 300, "order_lots": 1000, "max_inventory_lots": 20_000}
    strategy = client.add_strategy("example", "inventory_skew", DEFAULT_PAIR_ID, parameters)
    run = client.wait_for_run(client.run_backtest(strategy.strategy_id, start, end).run_id, timeout_s=60)
    print(f"run {run.status}, {run.events_per_second or 0:,.0f} events/s {run.error or ''}")

    result = client.get_backtest_results(strategy.strategy_id).items[0]
    for name in ("orders", "fills", "net_pnl", "max_drawdown"):
        print(f"  {name}: {result.summary[name]}")
    print(f"  the same data, parameters and seed give this digest anywhere: {result.digest[:16]}")
