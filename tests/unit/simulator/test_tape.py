"""Candles of a market's trades against the trades themselves, also when the oldest are forgotten."""

from __future__ import annotations

import random
from types import SimpleNamespace
from uuid import UUID

import pytest

from market_maker.domain.order import Side
from market_maker.domain.units import NS_PER_SECOND
from market_maker.simulator import tape as module
from market_maker.simulator.tape import MarketTape, MarketTapes
from market_maker.venue.changes import Changes, Print
from venue_builders import an_instrument

T0 = 1_700_000_000_000_000_000


def some_trades(count: int, seed: int) -> list[Print]:
    """Return trades at random distances, several to a second and seconds without any."""
    chance, ts, found = random.Random(seed), T0, []
    for number in range(count):
        ts += chance.choice([0, 1, 200_000_000, 900_000_000, 3_000_000_000])
        found.append(
            Print(UUID(int=number), ts, chance.choice(list(Side)), chance.randint(90, 110), chance.randint(1, 9))
        )
    return found


@pytest.mark.parametrize("interval_s", [1, 2, 7, 60])
@pytest.mark.parametrize("kept", [10_000, 40])
def test_bars_are_the_trades(interval_s: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_MAX", kept)
    tape, trades = MarketTape(), some_trades(400, 3)
    for trade in trades:
        tape.add(trade)
    seconds = sorted({trade.ts // NS_PER_SECOND for trade in trades})[-kept:]
    wanted: dict[int, list[Print]] = {}
    for trade in trades:
        if trade.ts // NS_PER_SECOND >= seconds[0]:
            wanted.setdefault(trade.ts // (interval_s * NS_PER_SECOND), []).append(trade)
    found = tape.bars(interval_s * NS_PER_SECOND)
    assert found["ts"].tolist() == [start * interval_s * NS_PER_SECOND for start in wanted]
    for bar, inside in zip(found, wanted.values(), strict=True):
        prices = [trade.price_ticks for trade in inside]
        assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (prices[0], max(prices), min(prices), prices[-1])
        assert bar["volume"] == sum(trade.qty_lots for trade in inside)
        assert bar["bought"] == sum(trade.qty_lots for trade in inside if trade.aggressor is Side.BUY)
        assert bar["trades"] == len(inside)


def test_only_the_last_trades_are_kept() -> None:
    tape, trades = MarketTape(), some_trades(module.TRADES_MAX + 50, 4)
    for trade in trades:
        tape.add(trade)
    assert list(tape.trades) == trades[50:]


def test_a_trade_of_an_auction_has_no_aggressor() -> None:
    tapes, instrument = MarketTapes(), an_instrument()
    exchange = SimpleNamespace(instrument=instrument)
    trades = [
        Print(UUID(int=1), T0, Side.BUY, 10_000, 5, is_auction=True),
        Print(UUID(int=2), T0 + 1, Side.BUY, 10_001, 7),
        Print(UUID(int=3), T0 + 2, Side.SELL, 10_000, 2),
    ]
    tapes.observe(exchange, Changes(prints=trades))  # type: ignore[arg-type]
    told = [(each["side"], each["auction"]) for each in tapes.get_trades(instrument, 10)]
    assert told == [("SELL", False), ("BUY", False), (None, True)]
    (bar,) = tapes.get_bars(instrument, NS_PER_SECOND, 10)
    assert (bar["volume"], bar["buy_volume"], bar["trades"]) == ("0.014", "0.007", 3)
