"""A strategy live on a session that plays a recording against the same strategy in a backtest: the same orders and fills.

The recordings are real ones: two and a half minutes of futures with the feed's own delays, and a morning of a share by orders.
Equal are, however the session's time is cut and paced: every order with side, price and quantity, what happened to it, every
fill with price, quantity, liquidity, fee, and inventory, fees and net result. Answers take no time in either.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from differential.test_live_parity import ACCOUNT, NOTES, SESSION, a_run
from differential.test_parity import EVERYTHING, kind_of, restless
from market_data_builders import import_files
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.state import Note
from market_maker.domain.errors import Conflict
from market_maker.domain.events import EventType
from market_maker.domain.instrument import Instrument
from market_maker.domain.modes import TestMode
from market_maker.domain.order import OrderStatus, Side
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.replay import Feed, open_feed
from market_maker.playback.player import LakePlayer
from market_maker.simulator.played import PlayedExchange, load_played
from market_maker.simulator.session import AtEnd, Pace, Playback, Session
from market_maker.simulator.strategy_runs.live import LiveStrategy
from market_maker.simulator.strategy_runs.state import RUNNING, Progress
from market_maker.storage.lake import Lake
from market_maker.strategies.contract import PreparedStrategy, find_strategy
from market_maker.venue.funds import AccountFunds

SECOND = 10**9
DELAY = 10_000_000
MONEY = Decimal(1_000_000_000)
FUTURES = Instrument(
    UUID(int=1), "binance-usdm", "BTCUSDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"),
    maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"),
)  # fmt: skip
SHARE = Instrument(
    UUID(int=2), "nasdaq", "GOOG", "GOOG", "USD", Decimal("0.01"), Decimal(1), maker_fee=Decimal("-0.0001"),
    taker_fee=Decimal("0.0003"),
)  # fmt: skip


@dataclass(frozen=True)
class Market:
    """A recorded market and a stretch of it."""

    pair: Instrument
    lake: Lake
    start_ts: int
    end_ts: int

    def feed(self) -> Feed:
        steps = (self.pair.tick_size, self.pair.lot_size)
        return open_feed(self.lake, self.pair.venue, self.pair.symbol, self.start_ts, self.end_ts, steps=steps)


@pytest.fixture(scope="module")
def markets(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> dict[str, Market]:
    lake = Lake(tmp_path_factory.mktemp("played") / "lake")
    repaired = ImportOptions(repairs=Repairs(offset_negative_latency=True))
    days = import_files(
        [sample_data / "binance_collector" / "usdm" / "btcusdt_20240808.gz"], lake, FUTURES, repaired
    ).days
    first = days[0].first_ts + 20 * SECOND
    share = import_files([sample_data / "lobster" / "LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"], lake, SHARE).days
    morning = share[0].first_ts + 600 * SECOND
    return {
        "futures": Market(FUTURES, lake, first, first + 150 * SECOND),
        "share": Market(SHARE, lake, morning, morning + 900 * SECOND),
    }


def a_session(market: Market, *, speed: float = 1.0, **played: Any) -> Session:
    playback = Playback(market.start_ts, market.end_ts, **played)
    return Session(
        session_id=SESSION, pair_id=market.pair.pair_id, mode=TestMode.NORMAL, seed=7, state="RUNNING",
        price_deviation=0.0, execution_delay_ns=DELAY, market_update_interval_ns=SECOND, initial_price_ticks=1,
        created_ts=market.start_ts, updated_ts=market.start_ts, speed=speed, playback=playback,
    )  # fmt: skip


def an_exchange(market: Market, **session: Any) -> PlayedExchange:
    made = a_session(market, **session)
    assert made.playback is not None
    recording = LakePlayer(market.lake).open(market.pair, made.playback, made.seed)
    return PlayedExchange(market.pair, made, {ACCOUNT: AccountFunds(ACCOUNT, MONEY)}, recording)


class Played:
    """What a live strategy did and met."""

    def __init__(self, exchange: PlayedExchange, strategy: PreparedStrategy, steps: Any) -> None:
        self.exchange, self.pair = exchange, exchange.instrument
        run_of_it = a_run(strategy.kind.kind)
        run_of_it.pair_id = self.pair.pair_id
        self.live = LiveStrategy(run_of_it, strategy)
        self.live.begin(exchange)
        self.numbers: dict[UUID, int] = {}
        self.notes: list[tuple[int, int, str | None, str]] = []
        self.fills: list[tuple[int, ...]] = []
        self.tape = 0
        ts = exchange.last_ts
        while exchange.session.state == "RUNNING":
            ts += steps()
            exchange.advance_to(ts)
            self.take()

    def take(self) -> None:
        changes = self.exchange.take_changes()
        for order in changes.new_orders:
            self.numbers[order.order_id] = len(self.numbers) + 1
        for event in changes.events:
            if event.type in NOTES:
                number = self.numbers[event.data.order_id]
                self.notes.append((number, NOTES[event.type], event.data.price, event.data.leaves_qty))
        self.fills += [
            (self.numbers[fill.order_id], int(fill.side), int(fill.liquidity), fill.price_ticks, fill.qty_lots,
             fill.fee_tick_lots)
            for fill in changes.fills
        ]  # fmt: skip
        self.tape += len(changes.prints)


def headless(market: Market, strategy: PreparedStrategy) -> Any:
    """Return the backtest of a strategy on a stretch."""
    config = RunConfig(
        market.pair, strategy.kind.kind, market.start_ts, market.end_ts, entry_latency_ns=DELAY, balance=MONEY,
        records_orders=True, seed=7,
    )  # fmt: skip
    return run(config, market.feed(), strategy)


def check_equal(result: Any, played: Played) -> None:
    """Fail unless orders, what happened to them and fills are the same."""
    names = ("order_id", "side", "liquidity", "price_ticks", "qty_lots", "fee_tick_lots")
    theirs_of_fills = result.fills.select(names).rows()
    # What is on its way at the end still arrives headless.
    assert len(theirs_of_fills) - len(played.fills) in range(3)
    assert played.fills == theirs_of_fills[: len(played.fills)]
    pair, ended = played.pair, {Note.CANCELED, Note.EXPIRED, Note.REJECTED}
    mine: dict[int, list[Any]] = {}
    for number, note, price, leaves in played.notes:
        price_ticks = 0 if price is None else pair.price_to_ticks(Decimal(price))
        lots = 0 if note in ended else pair.signed_lots(Decimal(leaves))
        mine.setdefault(number, []).append((note, price_ticks, lots))
    theirs: dict[int, list[Any]] = {}
    for number, note, price_ticks, leaves in sorted(
        result.order_events.select("order_id", "note", "price_ticks", "leaves_lots").rows(), key=lambda row: row[0]
    ):
        theirs.setdefault(number, []).append((note, price_ticks, 0 if note in ended else leaves))
    assert len(mine) == len(theirs) > 10
    cut = 0
    for number, story in theirs.items():
        found = mine[number]
        cut += len(found) < len(story)
        assert len(found) <= len(story), (number, found, story)
        for one, other in zip(found, story, strict=False):
            if one[0] not in {Note.AMEND_SENT, Note.REFUSED}:  # Told with the order as it is, headless with the wish.
                assert one[0] == other[0], (number, found, story)
                assert one[0] == Note.FILLED or one[1:] == other[1:], (number, found, story)
    assert cut <= 16, "more than what was on its way at the end"


def steps_of(seed: int) -> Any:
    chance = random.Random(seed)
    return lambda: chance.choice([1_000_000, 37_000_000, 100_000_000, 2_500_000_000])


SHIPPED: list[tuple[str, str, dict[str, float]]] = [
    ("futures", "fixed_spread", {"bid_spread_bps": 0.5, "ask_spread_bps": 0.5, "order_lots": 5, "max_inventory_lots": 50,
                                 "order_levels": 3, "level_spacing_bps": 0.3}),
    ("futures", "inventory_skew", {"half_spread_ticks": 3, "order_lots": 5, "max_inventory_lots": 50}),
    ("futures", "glft", {"order_lots": 5, "max_inventory_lots": 50, "window_samples": 200}),
    ("futures", "microprice", {"order_lots": 5, "max_inventory_lots": 50, "half_spread_ticks": 10,
                               "skew_ticks_per_lot": 0.5, "interval_ns": 10_000_000}),
    ("share", "inventory_skew", {"half_spread_ticks": 5, "skew_ticks_per_lot": 0.01, "order_lots": 100,
                                 "max_inventory_lots": 1000}),
    ("share", "avellaneda_stoikov", {"order_lots": 100, "max_inventory_lots": 1000}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "parameters"), SHIPPED, ids=[f"{name}-{kind}" for name, kind, _ in SHIPPED])
def test_shipped_strategies_are_equal(
    markets: dict[str, Market], name: str, kind: str, parameters: dict[str, float]
) -> None:
    strategy = find_strategy(kind).prepare(parameters)
    result = headless(markets[name], strategy)
    played = Played(an_exchange(markets[name], pace=Pace.FASTEST), strategy, lambda: 50_000_000)
    check_equal(result, played)
    assert played.live.run.state == RUNNING, played.live.run.error
    assert played.exchange.session.state == "PAUSED"
    assert result.summary.fills > 5
    score = played.live.run.progress.score
    if score.fills == result.summary.fills:
        assert score.qty_lots == played.pair.signed_lots(result.summary.position)
        assert played.pair.cash_to_decimal(score.fees_tick_lots) == result.summary.fees


@pytest.mark.parametrize("name", ["futures", "share"])
@pytest.mark.parametrize(
    "wakes",
    [
        EVERYTHING,
        ("interval",),
        pytest.param(("book",), marks=pytest.mark.slow),
        pytest.param(("trade", "order"), marks=pytest.mark.slow),
    ],
)
def test_every_request_and_every_wake_up_is_equal(
    markets: dict[str, Market], name: str, wakes: tuple[str, ...]
) -> None:
    market = markets[name]
    market = replace(market, end_ts=market.start_ts + 15 * SECOND)
    strategy = kind_of(restless, "restless", wakes).prepare({"interval_ns": 130_000_000})
    result = headless(market, strategy)
    for speed, pace in ((1.0, Pace.CLOCK), (7.0, Pace.CLOCK), (1.0, Pace.FASTEST)):
        played = Played(an_exchange(market, speed=speed, pace=pace), strategy, steps_of(len(wakes)))
        check_equal(result, played)
        assert played.live.run.state == RUNNING, played.live.run.error
        assert played.tape > 3
    assert result.summary.fills > 0


def reopened(exchange: PlayedExchange, market: Market, checkpoint: bytes, log: list[bytes]) -> PlayedExchange:
    """Return the exchange as a restart makes it of what was written."""
    session = replace(exchange.session, market=exchange.dump_state(), sequence=exchange.venue.session_sequence)
    assert session.playback is not None
    recording = LakePlayer(market.lake).open(market.pair, session.playback, session.seed)
    funds = {ACCOUNT: AccountFunds(ACCOUNT, MONEY)}
    again, fault = load_played(market.pair, session, funds, recording, checkpoint=checkpoint, log=log)
    assert not fault
    for position in exchange.venue.positions.values():
        again.venue.add_position(position)
    assert again.restore_orders(list(exchange.venue.orders.values())) == 0
    return again


@pytest.mark.parametrize("at_end", [AtEnd.STOP, AtEnd.LOOP])
def test_a_restart_in_between_changes_nothing(markets: dict[str, Market], at_end: AtEnd) -> None:
    market = replace(markets["futures"], end_ts=markets["futures"].start_ts + 6 * SECOND)
    strategy = kind_of(restless, "restless", EVERYTHING, is_compiled=False).prepare({"interval_ns": 130_000_000})
    whole, cut = (an_exchange(market, at_end=at_end) for _ in range(2))
    for exchange in (whole, cut):
        run_of_it = a_run("restless")
        run_of_it.pair_id = market.pair.pair_id
        LiveStrategy(run_of_it, strategy).begin(exchange)
    checkpoint, log = cut.recording.dump(), list[bytes]()
    for turn in range(1, 40):
        for exchange in (whole, cut):
            exchange.advance_to(market.start_ts + turn * 250_000_000)
        whole.take_changes()
        changes = cut.take_changes()
        log.append(b"".join(changes.commands))
        if cut.session.state == "STOPPED":
            break
        agent = cut.agents.pop()
        assert isinstance(agent, LiveStrategy)
        if turn % 5 == 0:
            checkpoint, log = cut.recording.dump(), []
        _, values = changes.statements[-1]
        run_of_it = agent.run
        run_of_it.progress = Progress.unpacked(json.loads(values[14]))
        cut = reopened(cut, market, checkpoint, log)
        LiveStrategy(run_of_it, strategy, np.frombuffer(values[15]).copy()).begin(cut)
        assert whole.recording.digest() == cut.recording.digest(), turn
    assert whole.recording.digest() == cut.recording.digest()
    assert (whole.session.state, cut.session.state) == (("STOPPED",) * 2 if at_end is AtEnd.STOP else ("RUNNING",) * 2)
    assert whole.recording.passes == (0 if at_end is AtEnd.STOP else 1)
    first, second = (exchange.venue.position_for(ACCOUNT, a_run("restless").strategy_id) for exchange in (whole, cut))
    assert (first.qty_lots, first.cash_tick_lots) == (second.qty_lots, second.cash_tick_lots)
    assert whole.venue.trades == cut.venue.trades > 0


def test_the_end_says_so_and_ends_what_is_open(markets: dict[str, Market]) -> None:
    market = replace(markets["share"], end_ts=markets["share"].start_ts + 5 * SECOND)
    strategy = find_strategy("inventory_skew").prepare(
        {"half_spread_ticks": 300, "order_lots": 100, "max_inventory_lots": 1000}
    )
    exchange = an_exchange(market, at_end=AtEnd.STOP)
    run_of_it = a_run("inventory_skew")
    run_of_it.pair_id = market.pair.pair_id
    live = LiveStrategy(run_of_it, strategy)
    live.begin(exchange)
    exchange.advance_to(market.start_ts + 2 * SECOND)
    assert exchange.venue.orders
    ts = market.start_ts + 2 * SECOND
    while exchange.session.state == "RUNNING":
        ts += SECOND
        exchange.advance_to(ts)
    changes = exchange.take_changes()
    assert exchange.session.state == "STOPPED"
    assert exchange.has_ended
    assert not exchange.venue.orders
    assert live.run.state == "STOPPED"
    told = [event for event in changes.events if event.type == EventType.SESSION_CHANGED]
    assert [(event.data["state"], event.data["ended"]) for event in told] == [("STOPPED", True)]
    ended = [order for order in changes.changed_orders.values() if order.status is OrderStatus.CANCELED]
    assert ended


def test_the_book_is_the_recorded_one_with_our_orders_in_it(markets: dict[str, Market]) -> None:
    market = markets["share"]
    exchange = an_exchange(market)
    recording = exchange.recording
    exchange.advance_to(market.start_ts + SECOND)
    plain = {side: exchange.market.depth(side, 10).tolist() for side in Side}
    for side, levels in plain.items():
        assert [(price, lots) for price, lots, _ in levels] == recording.others(side, 10)
        assert len(levels) == 10
        assert all(-int(side) * (after[0] - before[0]) > 0 for before, after in pairwise(levels))
    bid, ask = plain[Side.BUY][0][0], plain[Side.SELL][0][0]
    assert bid < ask
    with pytest.raises(Conflict, match="recording"):
        exchange.execute_trade(Side.BUY, ask, 1, exchange.last_ts)
