"""Calibrate sigma, A and k on an invented recording, then see what two strategies quote at several inventories."""

import numpy as np

from market_maker.strategies.actions import make_view
from market_maker.strategies.calibration import calibrate
from market_maker.strategies.contract import find_strategy, wake

# Ten minutes: a mid of 25 ticks per root second, two market orders a second and side, half of them beyond 7 ticks.
rng = np.random.default_rng(7)
mid_ts = 1_700_000_000 * 10**9 + np.arange(6000) * 100_000_000
mid_ticks = 500_000 + np.cumsum(25 * np.sqrt(0.1) * rng.standard_normal(6000))
trade_ts = np.sort(rng.integers(mid_ts[0] + 1, mid_ts[-1], 2400))
side = rng.choice([-1, 1], 2400)
before = mid_ticks[np.searchsorted(mid_ts, trade_ts) - 1]
trade_ticks = np.round(before + side * rng.exponential(10, 2400)).astype(np.int64)

found = calibrate(
    mid_ts=mid_ts, mid_ticks=mid_ticks, trade_ts=trade_ts, trade_ticks=trade_ticks, trade_side=side
)  # fmt: skip
for name in ("volatility", "intensity", "intensity_decay"):
    print(f"{name:16} {getattr(found, name):8.4f} +- {getattr(found, name + '_error'):.4f}")

known = {"volatility": found.volatility, "intensity_decay": found.intensity_decay, "max_inventory_lots": 20}
strategies = {
    "avellaneda_stoikov": known | {"risk_aversion": 1e-4, "horizon_ns": 60 * 10**9},
    "glft": known | {"risk_aversion": 1e-4, "intensity": found.intensity},
}
for kind, parameters in strategies.items():
    strategy = find_strategy(kind).prepare(parameters)
    for position in (-10, 0, 10):
        view = make_view(now_ts=0, bids=[(499_990, 5)], asks=[(500_010, 5)], position_lots=position)
        bid, ask = wake(strategy, view)
        print(f"{kind:20} holding {position:3}: bid {bid.price_ticks - 500_000:+5} ask {ask.price_ticks - 500_000:+5}")
