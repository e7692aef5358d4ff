"""What venue and symbol say of a contract: where it is certain, all of it; else nothing."""

from __future__ import annotations

import pytest

from market_maker.market_data.contracts import contract_facts


@pytest.mark.parametrize(
    ("venue", "symbol", "facts"),
    [
        ("bitmex", "XBTUSD", ("INVERSE", "XBT", "USD", "1")),
        ("bitmex", "XBTM21", ("INVERSE", "XBT", "USD", "1")),
        ("bitmex", "XBTEUR", ("INVERSE", "XBT", "EUR", "1")),
        ("bitmex", "ADAUSDT", ("LINEAR", "ADA", "USDT", None)),
        ("deribit", "BTC-PERPETUAL", ("INVERSE", "BTC", "USD", "1")),
        ("deribit", "ETH-25JUN21", ("INVERSE", "ETH", "USD", "1")),
        ("deribit", "SOL_USDC-PERPETUAL", ("LINEAR", "SOL", "USDC", "1")),
        ("binance-delivery", "BTCUSD_PERP", ("INVERSE", "BTC", "USD", "100")),
        ("binance-delivery", "ethusd_210625", ("INVERSE", "ETH", "USD", "10")),
        ("binance-futures", "BTCUSDT_210625", ("LINEAR", "BTC", "USDT", "1")),
        ("okex-swap", "BTC-USD-SWAP", ("INVERSE", "BTC", "USD", "100")),
        ("okex-swap", "ETH-USDT-SWAP", ("LINEAR", "ETH", "USDT", None)),
        ("huobi-dm-swap", "BTC-USD", ("INVERSE", "BTC", "USD", "100")),
        ("huobi-dm", "ETH210625", ("INVERSE", "ETH", "USD", "10")),
        ("cryptofacilities", "PI_XBTUSD", ("INVERSE", "XBT", "USD", "1")),
        ("bybit", "BTCUSD", ("INVERSE", "BTC", "USD", "1")),
        ("bybit", "BTCUSDT", ("LINEAR", "BTC", "USDT", "1")),
        ("bybit", "BTCPERP", ("LINEAR", "BTC", "USDC", "1")),
    ],
)
def test_symbols_that_say_it(venue: str, symbol: str, facts: tuple[str, str, str, str | None]) -> None:
    names = ("contract_type", "base", "quote", "multiplier")
    assert contract_facts(venue, symbol) == {
        name: fact for name, fact in zip(names, facts, strict=True) if fact is not None
    }


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [
        ("bitmex", "ETHUSD"),  # quanto: settled in bitcoin
        ("bitmex", "XBT_USDT"),  # spot, or not: nobody says
        ("deribit", "BTC-25JUN21-40000-C"),  # an option
        ("deribit", "A/USD"),
        ("ftx", "BTC-PERP"),
        ("nowhere", "XBTUSD"),
    ],
)
def test_what_is_not_certain_is_left_out(venue: str, symbol: str) -> None:
    assert contract_facts(venue, symbol) == {}


def test_a_venue_of_spot_pairs_alone() -> None:
    assert contract_facts("coinbase", "BTC-USD") == {"contract_type": "SPOT"}
