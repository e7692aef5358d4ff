"""From the parameters of a session to the design of its synthetic market, for any instrument."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.ids import DEFAULT_PAIR_ID
from market_maker.domain.instrument import Instrument
from market_maker.domain.units import NS_PER_SECOND
from market_maker.simulator.session import Session
from market_maker.synthetic.correlation import GroupParameters
from market_maker.synthetic.custom import parse_custom
from market_maker.synthetic.flow.parameters import (
    CONDITION_BOUNDS,
    Conditions,
    FlowParameters,
    MarketDesign,
    ReferenceParameters,
    event_rate,
    suited_step,
)
from market_maker.synthetic.reference.processes import Process

ORDER_VALUE = 5_000.0
"""Mean value of an invented order, in quote currency."""
SPEED_MIN, SPEED_MAX = 0.2, 50.0
"""Seconds of average activity in a second: some 20 to 5,000 events."""
LEAST_DEVIATION = 1e-6
ORDERS_MAX = 200_000
"""Orders of the flow in a book, on average."""
EVENTS_MAX = 500_000.0
"""Orders, cancels and trades of a market in a second of the clock: a fifth of what one core does."""


def market_design(session: Session, *, tick_lot: float, price_ticks: int, start_ts: int) -> MarketDesign:
    """Return the design of a session's market that begins at a price and an instant.

    The flow does as much in one `market_update_interval` as it does by default in a second, within bounds, and its step
    of prices is such that it moves the mid as much as the reference price moves. Parameters of mode CUSTOM win.

    Parameters
    ----------
    tick_lot : value in quote currency of one lot at a price of one tick
    price_ticks : the reference price to begin with, in ticks
    start_ts : ns UTC
    """
    custom = parse_custom(session.parameters)
    laws: dict[str, Any] = {"price_deviation": session.price_deviation, "step_ns": session.market_update_interval_ns}
    laws |= custom.get("reference", {})
    laws.setdefault("process", Process.GBM if laws["price_deviation"] else Process.CONSTANT)
    reference = ReferenceParameters(**laws)
    deviation, interval_ns = reference.price_deviation, reference.step_ns
    busy = ReferenceParameters(price_deviation=max(deviation, LEAST_DEVIATION), step_ns=interval_ns)
    # Where the tick is coarse or the interval long the market is slowed down, but it never falls asleep.
    step, speed = suited_step(price_ticks, busy, min(SPEED_MAX, max(SPEED_MIN, NS_PER_SECOND / interval_ns)))
    speed = max(SPEED_MIN, speed)
    step = max(1, min(step, price_ticks // 100))
    lots = min(1e9, max(1.0, ORDER_VALUE / (tick_lot * price_ticks)))
    flow = FlowParameters(**{"step_ticks": step, "speed": speed, "lots_mean": lots, **custom.get("flow", {})})
    design = MarketDesign(
        price_ticks=price_ticks, start_ts=start_ts, seed=session.seed, group_seed=session.seed, flow=flow,
        reference=reference,
    )  # fmt: skip
    if "group" not in custom:
        return design
    group = GroupParameters(**custom["group"])
    return replace(design, group_seed=group.seed, loadings=group.loadings, since_epoch=True)


def seed_of_pair(root: int, instrument: Instrument) -> int:
    """Return the seed of a market that names none: one of its own by venue and symbol, so that no two pairs move alike.

    The default pair has the root itself.
    """
    if instrument.pair_id == DEFAULT_PAIR_ID:
        return root
    name = f"{instrument.venue}/{instrument.symbol}".encode()
    return int.from_bytes(hashlib.sha256(root.to_bytes(8, "big") + name).digest()[:8], "big") >> 1


def base_conditions(session: Session) -> Conditions:
    """Return the conditions of a session's market itself, before any scenario."""
    return Conditions(**parse_custom(session.parameters).get("conditions", {}))


def check_design(design: MarketDesign) -> None:
    """Raise InvalidRequest for a market whose book would not fit into memory."""
    expected = float((design.flow.limit_rates() / design.flow.cancel_rates_of_levels()).sum())
    if expected > ORDERS_MAX:
        allowed = f"rates that keep up to {ORDERS_MAX} orders in the book: more cancels or fewer limit orders"
        raise InvalidRequest.of("parameters.flow.limit_rate", design.flow.limit_rate, allowed)


def bounded(conditions: Conditions, flow: FlowParameters, speed: float) -> Conditions:
    """Return conditions under which a market makes no more events in a second of the clock than one service can bear.

    Parameters
    ----------
    speed : how fast the market's time runs beside the clock
    """
    rate = event_rate(flow, conditions) * speed
    if rate <= EVENTS_MAX:
        return conditions
    least = CONDITION_BOUNDS["activity"][0]
    return replace(conditions, activity=max(least, conditions.activity * EVENTS_MAX / rate))


def warm_up_s(design: MarketDesign) -> float:
    """Return how long a new market trades before it opens: thirty seconds of average activity."""
    return min(3_600.0, 30.0 / design.flow.speed)
