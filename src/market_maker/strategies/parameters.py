"""Parameters that several strategies declare, in one wording; those of one strategy alone stand in its file."""

from __future__ import annotations

from market_maker.strategies.contract import Parameter

ORDER_LOTS = Parameter("order_lots", "integer", 1, 1, 2**40, "lots", "quantity of each quote")
MAX_INVENTORY = Parameter(
    "max_inventory_lots", "integer", 10, 1, 2**40, "lots", "bound of the position either way, counting all open orders"
)
TOLERANCE = Parameter(
    "refresh_tolerance_ticks", "integer", 0, 0, 10**9, "ticks", "a quote this near to its place is left"
)
INTERVAL = Parameter("interval_ns", "integer", 100_000_000, 1_000, 86_400 * 10**9, "ns", "time between wake-ups")
HALF_SPREAD = Parameter(
    "half_spread_ticks", "number", 5, 0, 1e9, "ticks", "distance of each quote from the reservation price"
)
SKEW = Parameter("skew_ticks_per_lot", "number", 0.1, 0, 1e9, "ticks per lot", "shift of both quotes per lot held")

VOLATILITY = Parameter(
    "volatility", "number", 0, 0, 1e9, "ticks per square root of a second",
    "standard deviation of the mid's moves, sigma; 0: estimated from the feed",
)  # fmt: skip
DECAY = Parameter(
    "intensity_decay", "number", 0, 0, 1e6, "1 per tick",
    "k of the intensity A exp(-k x distance) of market orders that reach a distance from the mid; 0: estimated",
)  # fmt: skip
INTENSITY = Parameter(
    "intensity", "number", 0, 0, 1e9, "1 per second", "A of that intensity, of one side; 0: estimated from the feed"
)
WINDOW = Parameter(
    "window_samples", "integer", 6000, 100, 6000, "wake-ups", "how far back estimates look (6000 of 100 ms: 10 minutes)"
)
DEPTH_STEP = Parameter(
    "depth_step_ticks", "number", 1, 0.5, 1e6, "ticks", "distances at which the intensity is counted: 1 to 127 steps"
)

QUOTE = (ORDER_LOTS, MAX_INVENTORY, TOLERANCE)
"""What every strategy of one bid and one ask declares."""
ESTIMATION = (WINDOW, DEPTH_STEP)
"""What every strategy that estimates the market declares."""
