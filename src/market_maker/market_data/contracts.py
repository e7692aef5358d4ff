"""What a venue and a symbol alone say of a contract: its type, its currencies, what one unit of quantity stands for.

Owns the rules of venues that name their contracts so that nothing is left to guess. What is not certain is left out, and the
user is told how to say it.
Source: the contract specifications of BitMEX, Deribit, Binance, OKX, Huobi, Kraken and Bybit.
"""

from __future__ import annotations

import re

_MONTH, _DATE = "[FGHJKMNQUVXZ][0-9]{2}", "[0-9]{1,2}[A-Z]{3}[0-9]{2}"
_USD_OF_CONTRACT = "100 or 10"
_DASHED = ("okex-swap", "okex-futures", "huobi-dm-swap", "huobi-dm", "huobi-dm-linear-swap")
_RULES = tuple((venues, re.compile(pattern), contract, multiplier) for venues, pattern, contract, multiplier in (
    (("bitmex",), "(?P<base>XBT)(USD|(?P<quote>EUR))", "INVERSE", "1"),
    (("bitmex",), f"(?P<base>XBT){_MONTH}", "INVERSE", "1"),
    # Its spot pairs have an underscore.
    (("bitmex",), "(?P<base>[A-Z0-9]+?)(?P<quote>USDT)([FGHJKMNQUVXZ][0-9]{2})?", "LINEAR", None),
    # Quantities of Deribit are in USD, whatever a contract is; those of Bybit's inverse contracts too.
    (("deribit",), f"(?P<base>BTC|ETH)-(PERPETUAL|{_DATE})", "INVERSE", "1"),
    (("deribit",), f"(?P<base>[A-Z0-9]+)_(?P<quote>USDC|USDT)-(PERPETUAL|{_DATE})", "LINEAR", "1"),
    (("binance-delivery",), "(?P<base>[A-Z0-9]+)USD_(PERP|[0-9]{6})", "INVERSE", _USD_OF_CONTRACT),
    (("binance-futures",), "(?P<base>[A-Z0-9]+?)(?P<quote>USDT|USDC|BUSD)(_[0-9]{6})?", "LINEAR", "1"),
    # A linear contract of OKX or Huobi is of so many coins that no symbol tells.
    (_DASHED, "(?P<base>[A-Z0-9]+)-(?P<quote>USDT|USDC)(-(SWAP|[0-9]{6}))?", "LINEAR", None),
    (_DASHED, "(?P<base>[A-Z0-9]+)-USD(-(SWAP|[0-9]{6}))?", "INVERSE", _USD_OF_CONTRACT),
    (("huobi-dm",), "(?P<base>[A-Z0-9]+?)([0-9]{6}|_(CW|NW|CQ|NQ))", "INVERSE", _USD_OF_CONTRACT),
    (("cryptofacilities",), "(PI|FI)_(?P<base>[A-Z]+)USD(_[0-9]{6})?", "INVERSE", "1"),
    # BTCPERP is a pair with USDC.
    (("bybit",), "(?P<base>[A-Z0-9]+?)((?P<quote>USDT|USDC)(-.*)?|(?P<usdc>PERP))", "LINEAR", "1"),
    (("bybit",), f"(?P<base>[A-Z0-9]+?)USD({_MONTH})?", "INVERSE", "1"),
))  # fmt: skip
_SPOT_VENUES = frozenset({
    "binance", "binance-us", "bitstamp", "bybit-spot", "coinbase", "gemini", "huobi", "kraken", "okex",
})  # fmt: skip


def contract_facts(venue: str, symbol: str) -> dict[str, str]:
    """Return contract_type, base, quote and multiplier, as far as they are certain.

    Parameters
    ----------
    venue : as Tardis names exchanges: `binance-delivery`, `okex-swap`, `cryptofacilities` (Kraken's futures), ...
    symbol : the venue's own, in capitals

    Examples
    --------
    >>> contract_facts("bitmex", "XBTUSD")
    {'contract_type': 'INVERSE', 'base': 'XBT', 'quote': 'USD', 'multiplier': '1'}
    """
    if venue in _SPOT_VENUES:
        return {"contract_type": "SPOT"}
    for venues, pattern, contract, multiplier in _RULES:
        if venue not in venues or (found := pattern.fullmatch(symbol.upper())) is None:
            continue
        named = found.groupdict()
        quote = "USDC" if named.get("usdc") else named.get("quote") or "USD"
        facts = {"contract_type": contract, "base": named["base"], "quote": quote}
        if multiplier is not None:
            facts["multiplier"] = _usd_of(named["base"]) if multiplier is _USD_OF_CONTRACT else multiplier
        return facts
    return {"contract_type": "LINEAR", "multiplier": "1"} if venue == "binance-futures" else {}


def coin_margined_multiplier(base: str) -> str:
    """Return how many USD a contract of Binance's COIN-M market is of: 100 of Bitcoin, 10 of all others."""
    return _usd_of(base)


def _usd_of(base: str) -> str:
    return "100" if base == "BTC" else "10"
