"""A session's synthetic market: made, brought through its log, and told apart from others by a digest.

Owns no state; the market's own memory is in `venue.market`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from market_maker.domain.instrument import Instrument
from market_maker.matching.book import QTY_LOTS_MAX, TradingRules
from market_maker.simulator.design import market_design, warm_up_s
from market_maker.simulator.session import Session
from market_maker.venue.commands import ChangedConditions, read_log
from market_maker.venue.market.market import SyntheticMarket
from market_maker.venue.venue import OWNERS_MAX

_PASSING = frozenset({"events", "inbox"})


def new_market(instrument: Instrument, session: Session, *, price_ticks: int, start_ts: int) -> SyntheticMarket:
    """Return a new market of a session, with a book."""
    design = market_design(session, tick_lot=float(instrument.tick_lot), price_ticks=price_ticks, start_ts=start_ts)
    return SyntheticMarket.create(
        design,
        trading_rules(session),
        owners=OWNERS_MAX,
        warm_up_s=warm_up_s(design),
    )


def trading_rules(session: Session) -> TradingRules:
    """Return the rules of a session's book."""
    rules = session.rules
    return TradingRules(
        qty_lots_max=QTY_LOTS_MAX,
        notional_min=rules.notional_min,
        collar_ticks=rules.collar_ticks,
        static_band_ticks=rules.static_band_ticks,
        dynamic_band_ticks=rules.dynamic_band_ticks,
        volatility_auction_ns=rules.volatility_auction_ns,
        seed=session.seed >> 1,
    )


def replayed(market: SyntheticMarket, log: Iterable[bytes], clock_ts: int) -> SyntheticMarket:
    """Let a market do the commands of a log, each at its instant, and go on to `clock_ts`; return it."""
    for rows in log:
        for instant, command in read_log(rows):
            if instant > market.clock_ts:
                market.advance(instant)
            if isinstance(command, ChangedConditions):
                market.change_conditions(command)
            else:
                market.execute(command)
    if clock_ts > market.clock_ts:
        market.advance(clock_ts)
    return market


def market_digest(market: SyntheticMarket) -> bytes:
    """Return a digest of a market's memory; equal markets have equal ones, however time was cut into calls."""
    digest = hashlib.sha256()
    matching = market.book.state
    for name in matching._fields:
        if name not in _PASSING:
            array = getattr(matching, name)
            if name == "head":
                array = array.copy()
                array["code"] = 0
            digest.update(array.tobytes())
    for array in market.flow:
        digest.update(array.tobytes())
    return digest.digest()
