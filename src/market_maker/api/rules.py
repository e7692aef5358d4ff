"""Trading rules and phases of a market: between what users write and what the service works with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from market_maker.api.schemas import TradingPhase, TradingRules
from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.order import SelfTradePrevention
from market_maker.domain.units import format_duration, parse_duration
from market_maker.service import Phase, SessionRules


def phase_of(name: TradingPhase) -> Phase:
    """Return a phase by the name that users have for it."""
    return Phase.HALT if name == "HALTED" else Phase[name]


def rules_wish(rules: TradingRules) -> dict[str, Any]:
    """Return rules with their words read; prices stay in quote currency."""
    wait = rules.volatility_auction
    return {
        "price_collar": rules.price_collar,
        "min_notional": rules.min_notional,
        "static_band": rules.static_band,
        "dynamic_band": rules.dynamic_band,
        "volatility_auction_ns": None if wait is None else parse_duration(wait, "rules.volatility_auction"),
        "self_trade_prevention": SelfTradePrevention[rules.self_trade_prevention],
    }


def rules_view(rules: SessionRules, instrument: Instrument) -> dict[str, Any]:
    """Return rules in the units of users; what is switched off is null."""

    def price(ticks: int) -> str | None:
        return instrument.price_text(ticks) if ticks else None

    least = EXACT.multiply(Decimal(rules.notional_min), instrument.tick_lot)
    return {
        "price_collar": price(rules.collar_ticks),
        "min_notional": f"{least:f}" if rules.notional_min else None,
        "static_band": price(rules.static_band_ticks),
        "dynamic_band": price(rules.dynamic_band_ticks),
        "volatility_auction": format_duration(rules.volatility_auction_ns) if rules.volatility_auction_ns else None,
        "self_trade_prevention": SelfTradePrevention(rules.self_trade).name,
    }
