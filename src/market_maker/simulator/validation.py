"""What is wrong with an order or a session before anything is done: fields that do not fit together, values out of bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import MAX_TICK_LOTS, Instrument
from market_maker.domain.order import NewOrder, OrderType, SelfTradePrevention, TimeInForce
from market_maker.domain.units import DAY_NS, format_duration, format_instant
from market_maker.matching.codes import Phase
from market_maker.simulator.design import base_conditions, check_design, market_design
from market_maker.simulator.loop import PairLoop
from market_maker.simulator.session import SPEEDS, Playback, ScenarioWish, Session, SessionRules
from market_maker.simulator.stress import Stress
from market_maker.synthetic.scenarios import FAULT_SCENARIOS, SCENARIOS


def check_speed(speed: float) -> float:
    """Return a speed of a session's market or raise InvalidRequest."""
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise InvalidRequest.of("speed", speed, f"a number from {SPEEDS[0]} to {SPEEDS[1]:.0f}")
    return speed


def check_new_session(session: Session, instrument: Instrument) -> None:
    """Raise InvalidRequest for parameters or scenarios with which a market cannot begin."""
    design = market_design(
        session,
        tick_lot=float(instrument.tick_lot),
        price_ticks=session.initial_price_ticks,
        start_ts=session.created_ts,
    )
    check_design(design)
    base_conditions(session)
    trial = Stress(session.session_id)
    for wish in session.scenarios:
        check_scenario(wish)
        trial.start(
            wish.name, wish.parameters, market_ts=0, ts=0,
            starts_in_ns=wish.starts_in_ns, repeats_every_ns=wish.repeats_every_ns,
        )  # fmt: skip


def check_playback(wishes: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for wishes that do not go with a recording, which is as it was."""
    playback: Playback = wishes["playback"]
    if playback.end_ts <= playback.start_ts:
        raise InvalidRequest.of("playback.end", format_instant(playback.end_ts), "an instant after playback.start")
    for name in ("initial_price", "price_deviation", "parameters"):
        if wishes.get(name):
            raise InvalidRequest.of(name, str(wishes[name]), "none with a playback")
    if wishes.get("phase", Phase.CONTINUOUS) is not Phase.CONTINUOUS:
        raise InvalidRequest.of("phase", wishes["phase"].name, "CONTINUOUS with a playback")
    for name, value in (wishes.get("rules") or {}).items():
        if name != "self_trade_prevention" and value is not None:
            raise InvalidRequest.of(f"rules.{name}", str(value), "none with a playback")
    for wish in wishes.get("scenarios") or ():
        check_scenario(wish)
        check_played_scenario(wish)


def check_played_scenario(wish: ScenarioWish) -> None:
    """Raise InvalidRequest for a scenario that would change the flow: a recording has none that could change."""
    if wish.name not in FAULT_SCENARIOS:
        raise InvalidRequest.of("name", wish.name, f"one of {', '.join(FAULT_SCENARIOS)}: the market is a recording")


def check_playable_order(order: NewOrder) -> None:
    """Raise InvalidRequest for an order that a recording cannot fill: the rules of a backtest know no such orders."""
    if order.order_type.is_stop:
        raise InvalidRequest.of("type", str(order.order_type), "LIMIT or MARKET: the market is a recording")
    if order.display_amount is not None:
        raise InvalidRequest.of("display_amount", str(order.display_amount), "none: the market is a recording")


def session_rules(wish: Mapping[str, Any], instrument: Instrument) -> SessionRules:
    """Return the rules of a market from what users write, left out what is switched off.

    Parameters
    ----------
    wish : of price_collar, min_notional, static_band, dynamic_band (Decimal, quote currency), volatility_auction_ns,
        self_trade_prevention

    Raises
    ------
    InvalidRequest : names the field as `rules.price_collar`
    """

    def ticks(name: str) -> int:
        value = wish.get(name)
        return 0 if value is None else instrument.price_to_ticks(value, f"rules.{name}")

    least, auction_ns = wish.get("min_notional"), wish.get("volatility_auction_ns") or 0
    if least is not None and not (least.is_finite() and 0 < least < 10**15 and least.as_tuple()[2] >= -18):
        raise InvalidRequest.of("rules.min_notional", str(least), "an amount below 1e15 of at most 18 decimals")
    if not 0 <= auction_ns <= DAY_NS:
        raise InvalidRequest.of("rules.volatility_auction", format_duration(auction_ns), "0s to 1d")
    notional = 0 if least is None else math.ceil(Fraction(least) / Fraction(instrument.tick_lot))
    if notional > MAX_TICK_LOTS:
        raise InvalidRequest.of("rules.min_notional", str(least), "an amount below 2**62 tick-lots")
    prevention = wish.get("self_trade_prevention") or SelfTradePrevention.CANCEL_NEWEST
    return SessionRules(
        collar_ticks=ticks("price_collar"),
        notional_min=notional,
        static_band_ticks=ticks("static_band"),
        dynamic_band_ticks=ticks("dynamic_band"),
        volatility_auction_ns=auction_ns,
        self_trade=int(prevention),
    )


def check_scenario(wish: ScenarioWish) -> None:
    """Raise InvalidRequest for the name of no scenario."""
    if wish.name not in SCENARIOS:
        raise InvalidRequest.of("name", wish.name, ", ".join(SCENARIOS))


def check_order(order: NewOrder, loop: PairLoop) -> tuple[int, int]:
    """Return price and stop price in ticks (0: none) of an order whose fields fit together, else raise InvalidRequest."""
    if not 0.0 <= order.execution_probability <= 1.0:
        raise InvalidRequest.of(
            "simulation_params.execution_probability", order.execution_probability, "a number from 0 to 1"
        )
    if not 0.0 <= order.price_impact <= 0.5:
        raise InvalidRequest.of("simulation_params.price_impact", order.price_impact, "a number from 0 to 0.5")
    if (order.time_in_force is TimeInForce.GTD) != (order.expire_ts > 0):
        given = format_instant(order.expire_ts) if order.expire_ts else None
        raise InvalidRequest.of("expire_time", given, "an instant for GTD, and only for GTD")
    kind, stop_ticks = order.order_type, 0
    if kind.is_stop != (order.stop_price is not None):
        wanted = None if order.stop_price is None else str(order.stop_price)
        raise InvalidRequest.of("stop_price", wanted, "a price for STOP and STOP_LIMIT, and only for these")
    if order.stop_price is not None:
        stop_ticks = loop.instrument.price_to_ticks(order.stop_price, "stop_price")
    if not kind.has_price:
        if order.price is not None:
            raise InvalidRequest.of("price", str(order.price), f"no price for a {kind} order")
        if order.post_only or (kind is OrderType.MARKET and order.time_in_force is TimeInForce.GTD):
            raise InvalidRequest.of("type", str(kind), "LIMIT with GTD or post_only")
        return 0, stop_ticks
    if order.price is None:
        raise InvalidRequest.of("price", None, f"a price for a {kind} order")
    if order.post_only and order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        raise InvalidRequest.of("post_only", True, "false for IOC and FOK")
    return loop.instrument.price_to_ticks(order.price), stop_ticks


def display_lots_of(order: NewOrder, loop: PairLoop, qty_lots: int) -> int:
    """Return what an order shows, in lots; 0 for all of it."""
    if order.display_amount is None:
        return 0
    lots = loop.instrument.qty_to_lots(order.display_amount, "display_amount")
    if not order.order_type.has_price or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        raise InvalidRequest.of("display_amount", str(order.display_amount), "none for an order that cannot rest")
    if lots > qty_lots:
        raise InvalidRequest.of("display_amount", str(order.display_amount), f"at most the amount {order.amount}")
    return lots


def check_value(price_ticks: int, qty_lots: int) -> None:
    """Raise InvalidRequest for an order of more than 2**62 tick-lots."""
    if price_ticks * qty_lots > MAX_TICK_LOTS:
        raise InvalidRequest.of("amount", qty_lots, "an order whose price times amount is below 2**62 tick-lots")
