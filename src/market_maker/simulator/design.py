"""From the parameters of a session to the design of its synthetic market, for any instrument."""

from __future__ import annotations

from market_maker.domain.units import NS_PER_SECOND
from market_maker.simulator.session import Session
from market_maker.synthetic.flow.parameters import FlowParameters, MarketDesign, ReferenceParameters, suited_step
from market_maker.synthetic.reference.processes import Process

ORDER_VALUE = 5_000.0
"""Mean value of an invented order, in quote currency."""
SPEED_MIN, SPEED_MAX = 0.2, 50.0
"""Seconds of average activity in a second: some 20 to 5,000 events."""
LEAST_DEVIATION = 1e-6


def market_design(session: Session, *, tick_lot: float, price_ticks: int, start_ts: int) -> MarketDesign:
    """Return the design of a session's market that begins at a price and an instant.

    The flow does as much in one `market_update_interval` as it does by default in a second, within bounds, and its step
    of prices is such that it moves the mid as much as the reference price moves.

    Parameters
    ----------
    tick_lot : value in quote currency of one lot at a price of one tick
    price_ticks : the reference price to begin with, in ticks
    start_ts : ns UTC
    """
    deviation, interval_ns = session.price_deviation, session.market_update_interval_ns
    reference = ReferenceParameters(
        process=Process.GBM if deviation else Process.CONSTANT, price_deviation=deviation, step_ns=interval_ns
    )
    busy = ReferenceParameters(price_deviation=max(deviation, LEAST_DEVIATION), step_ns=interval_ns)
    # Where the tick is coarse or the interval long the market is slowed down, but it never falls asleep.
    step, speed = suited_step(price_ticks, busy, min(SPEED_MAX, max(SPEED_MIN, NS_PER_SECOND / interval_ns)))
    speed = max(SPEED_MIN, speed)
    step = max(1, min(step, price_ticks // 100))
    lots = min(1e9, max(1.0, ORDER_VALUE / (tick_lot * price_ticks)))
    flow = FlowParameters(step_ticks=step, speed=speed, lots_mean=lots)
    return MarketDesign(
        price_ticks=price_ticks, start_ts=start_ts, seed=session.seed, group_seed=session.seed, flow=flow,
        reference=reference,
    )  # fmt: skip


def warm_up_s(design: MarketDesign) -> float:
    """Return how long a new market trades before it opens: thirty seconds of average activity."""
    return min(3_600.0, 30.0 / design.flow.speed)
