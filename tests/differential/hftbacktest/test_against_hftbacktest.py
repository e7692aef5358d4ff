"""Our engine against hftbacktest: the same scripted orders over the same feeds give the same fills and ledger.

Each configuration is compared three ways: our queue and latency models inside the peer's rules give the peer's fills;
the same rules without the peer's faults give our engine's; and the two engines agree on every order but those that a
named fault explains. Run by the Python of MM_TEST_PEER_PYTHON (default .peers/bin/python), which has hftbacktest.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import feeds
from engines import (
    Config,
    Fill,
    Outcome,
    peer_python,
    peer_rows,
    run_ours,
    run_peer,
    size_of,
    supported,
    write_latencies,
)  # fmt: skip
from order_rules import OURS, PEER, run_rules
from scripts import make_script

from market_data_builders import import_files
from market_maker.backtest.queue_models import QueueModel
from market_maker.domain.instrument import Instrument
from market_maker.market_data.ingest import ImportOptions, Repairs
from market_maker.market_data.replay import Feed, feed_of
from market_maker.storage.lake import Lake

pytestmark = pytest.mark.slow
MS = 1_000_000
M = QueueModel
CONFIGS = (
    Config("risk-averse, whole, no latency", size=2, taking=0.15),
    Config("risk-averse, whole, 10 ms", entry_ns=10 * MS, response_ns=10 * MS, size=2, taking=0.15),
    Config("risk-averse, whole, 30 and 5 ms, large", entry_ns=30 * MS, response_ns=5 * MS, size=20, taking=0.3),
    Config("risk-averse, whole, recorded", latencies="recorded", size=2, taking=0.15),
    Config("risk-averse, partial, no latency, one lot", partial=True, size=0),
    Config("risk-averse, partial, 10 ms", partial=True, entry_ns=10 * MS, response_ns=10 * MS, size=4),
    Config("risk-averse, partial, recorded, large", partial=True, latencies="recorded", size=20),
    Config("power 2, whole, 10 ms", M.POWER, 2.0, entry_ns=10 * MS, response_ns=10 * MS, size=2, taking=0.15),
    Config("power 1, partial, 10 ms", M.POWER, 1.0, partial=True, entry_ns=10 * MS, response_ns=10 * MS, size=4),
    Config("power 0.5, partial, recorded", M.POWER, 0.5, partial=True, latencies="recorded", size=4),
    Config("power2 2, partial, 1 ms", M.POWER2, 2.0, partial=True, entry_ns=MS, response_ns=MS, size=10),
    Config("power3 3, whole, 10 ms", M.POWER3, 3.0, entry_ns=10 * MS, response_ns=10 * MS, size=2, taking=0.15),
    Config("power3 2, partial, 10 ms", M.POWER3, 2.0, partial=True, entry_ns=10 * MS, response_ns=10 * MS, size=4),
    Config("log, whole, no latency", M.LOG, size=2, taking=0.15),
    Config("log, partial, recorded", M.LOG, partial=True, latencies="recorded", size=4),
    Config("log2, whole, 10 ms", M.LOG2, entry_ns=10 * MS, response_ns=10 * MS, size=2, taking=0.15),
    Config("log2, partial, 10 ms", M.LOG2, partial=True, entry_ns=10 * MS, response_ns=10 * MS, size=10),
)
FEEDS = ("seed 1", "seed 2", "binance spot", "binance usdm")
RECORDINGS = {"binance spot": ("spot", "binance-spot"), "binance usdm": ("usdm", "binance-usdm")}


@dataclass(frozen=True)
class Market:
    """One feed with a script per configuration and what the peer made of it."""

    feed: Feed
    pair: Instrument
    configs: tuple[Config, ...]
    scripts: list[NDArray[Any]]
    peers: list[Outcome]


def a_feed(name: str, request: pytest.FixtureRequest, folder: Path) -> tuple[Feed, Instrument]:
    if name in RECORDINGS:
        data = request.getfixturevalue("sample_data")
        kind, venue = RECORDINGS[name]
        lake = Lake(folder / "lake")
        # The recorder's clock was slow: every event is received before it happened.
        mend = ImportOptions(repairs=Repairs(offset_negative_latency=True))
        import_files([data / "binance_collector" / kind / "btcusdt_20240808.gz"], lake, options=mend)
        day = lake.days(venue, "BTCUSDT")[0]
        file = lake.describe(venue, "BTCUSDT", day).file("book")
        frame, tick, lot = lake.read(venue, "BTCUSDT", day, "book"), file.tick_size, file.lot_size
        assert (frame["kind"] == 4).sum() == 2000, "the snapshot is part of the comparison"
    else:
        # A lot that is a power of two: the peer's sums of quantities are then as exact as ours.
        frame, tick, lot = feeds.make_feed(150_000, seed=int(name[-1])), Decimal("0.1"), Decimal("0.0009765625")
    fees = {"maker_fee": Decimal("0.0002"), "taker_fee": Decimal("0.0005")}
    return feed_of(frame), Instrument(UUID(int=1), "test", "A-B", "A", "B", tick, lot, **fees)


def recorded_latencies(feed: Feed, seed: int) -> NDArray[np.int64]:
    """A request every 50 to 150 ms, 1 to 31 ms there, 1 to 21 ms back; 3 of 100 rejected before the venue."""
    chance = np.random.default_rng(seed)
    made = feed.first_ts + np.cumsum(chance.integers(50 * MS, 150 * MS, (feed.last_ts - feed.first_ts) // (100 * MS)))
    venue = made + MS + np.minimum(chance.exponential(5 * MS, len(made)).astype(np.int64), 30 * MS)
    answered = venue + MS + np.minimum(chance.exponential(5 * MS, len(made)).astype(np.int64), 20 * MS)
    venue[chance.random(len(made)) < 0.03] = 0
    # A rejection as the first or last row is nonsense to the peer: its own time of travel would be minus the epoch.
    venue[[0, -1]] = made[[0, -1]] + 5 * MS
    return np.stack([made, venue, answered], axis=1)


@pytest.fixture(scope="module", params=FEEDS)
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Market:
    peer_python()
    folder = tmp_path_factory.mktemp("peer")
    feed, pair = a_feed(request.param, request, folder)
    (day,) = feed.days
    traded = day.exchange.qty_lots[np.abs(day.exchange.code) == 2]
    write_latencies(folder / "latencies.npz", recorded_latencies(feed, 5))
    np.savez(folder / "feed.npz", data=peer_rows(feed, float(pair.tick_size), float(pair.lot_size)))
    configs = tuple(c if c.latencies is None else replace(c, latencies=str(folder / "latencies.npz")) for c in CONFIGS)
    scripts = [
        make_script(
            feed, pair, seed, orders=c.orders, lots=max(1, c.size * int(np.median(traded))), taking=c.taking,
            slack_ns=c.slack_ns,
        )
        for seed, c in enumerate(configs)
    ]  # fmt: skip
    files = [folder / "feed.npz"] * len(configs)
    peers = run_peer(files, feed.last_ts - 1, pair, scripts, list(configs), folder)
    return Market(feed, pair, configs, scripts, peers)


def by_order(fills: Iterable[Fill], until: int) -> dict[int, list[tuple[int, int]]]:
    """Fills of each order as (time, lots), those of one instant together, up to an instant."""
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for fill in fills:
        if fill.ts < until:
            found[fill.order_id][fill.ts] += fill.lots
    return {key: sorted(times.items()) for key, times in found.items()}


def peer_fills(market: Market, number: int, until: int) -> dict[int, list[tuple[int, int]]]:
    """As `by_order`, from how much of each order was left: answers that arrive together hide each other's size."""
    config, raw = market.configs[number], market.peers[number].more["raw"]
    fills = (
        Fill(int(f["ts"]), int(f["order_id"]), int(f["side"]), 0, size_of(f["given"], market.pair, config)) for f in raw
    )
    return by_order(fills, until)


def horizon(market: Market, config: Config) -> int:
    """What happens later may still be unknown to its owner when the feed ends."""
    return market.feed.last_ts - 1 - 2 * max(config.slack_ns, MS)


def differing(a: dict[int, Any], b: dict[int, Any]) -> set[int]:
    return {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}


def differing_from_peer(a: dict[int, list[tuple[int, int]]], peer: dict[int, list[tuple[int, int]]]) -> set[int]:
    """As `differing`; of answers that reach its owner at one instant the peer shows the last, with the sum of all."""
    found = set()
    for key in a.keys() | peer.keys():
        ours, theirs = _sums(a.get(key, [])), _sums(peer.get(key, []))
        if ours[-1:] != theirs[-1:] or not set(theirs) <= set(ours):
            found.add(key)
    return found


def _sums(fills: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(ts, sum(lots for _, lots in fills[: i + 1])) for i, (ts, _) in enumerate(fills)]


@pytest.fixture(params=range(len(CONFIGS)), ids=[config.name for config in CONFIGS])
def number(request: pytest.FixtureRequest) -> int:
    return request.param


def test_our_models_inside_the_peers_rules_give_its_fills(market: Market, number: int) -> None:
    config, script, peer = market.configs[number], market.scripts[number], market.peers[number]
    until = horizon(market, config)
    theirs = peer_fills(market, number, until)
    same = by_order(run_rules(market.feed, market.pair, script, peer.sent, config, PEER), until)
    assert differing_from_peer(same, theirs) == set()
    assert len(theirs) > 100, "the feed must make the test mean something"


def test_our_engine_gives_the_same_fills(market: Market, number: int) -> None:
    config, script, peer = market.configs[number], market.scripts[number], market.peers[number]
    reason = supported(config)
    if reason:
        pytest.skip(reason)
    until = horizon(market, config)
    ours = run_ours(market.feed, market.pair, script, config)
    theirs, mine = peer_fills(market, number, until), by_order(ours.fills, until)
    # A cancel goes out or not by what its sender believes, and an owner of the peer believes in fills that ours does not.
    right, wrong = (
        by_order(run_rules(market.feed, market.pair, script, sent, config, faults), until)
        for sent, faults in ((ours.sent, OURS), (peer.sent, PEER))
    )
    assert differing(mine, right) == set(), "our engine against its rules"
    explained = differing_from_peer(right, theirs)
    assert explained <= differing(right, wrong)
    assert differing_from_peer(mine, theirs) == explained, "every other order must be the same"
    if not explained:
        check_prices(ours, peer, until)
        check_ledger(market, config, ours, peer)
    # Without partial fills and with whole fronts only orders that came to rest at one price by chance can differ.
    most = 0.25 if config.partial or config.queue_model is not QueueModel.RISK_AVERSE else 0.01
    assert len(explained) <= most * len(script), "a comparison of exceptions compares nothing"


def check_prices(ours: Outcome, peer: Outcome, until: int) -> None:
    def prices(outcome: Outcome) -> set[tuple[int, ...]]:
        return {(f.ts, f.order_id, f.side, f.price_ticks) for f in outcome.fills if f.ts < until}

    assert prices(ours) == prices(peer)


def check_ledger(market: Market, config: Config, ours: Outcome, peer: Outcome) -> None:
    """Position, balance and fee as the owner knows them at the end."""
    if config.partial:
        # Fills that do not end their order never reach the peer's ledger (test_named_faults), and its last chunks are
        # 0.3 lots short (`peer_size`).
        return
    pair = market.pair
    assert ours.position == pytest.approx(peer.position, abs=float(pair.lot_size) / 1000)
    assert ours.balance == pytest.approx(peer.balance, rel=1e-9, abs=float(pair.tick_lot) / 1000)
    # Ours rounds each fee to a tick-lot, halves away from zero; the peer rounds none.
    rounding = float(pair.tick_lot) * 0.5 * max(1, len(ours.fills))
    assert abs(ours.fee - peer.fee) <= rounding
