"""The synthetic market beside slow, plain twins: the matching reference, its own interpreted form, itself cut differently."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from differential.matching_reference import MatchingReference
from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.order import Side, TimeInForce
from market_maker.matching.book import Commands, TradingRules, new_commands
from market_maker.matching.codes import Command, EngineOrderType, EventKind, LiquidityCode, Phase
from market_maker.synthetic.correlation import factor_loadings
from market_maker.synthetic.flow.parameters import NS, Conditions, FlowParameters, MarketDesign, ReferenceParameters
from market_maker.synthetic.reference.processes import Process
from market_maker.venue.market.market import SyntheticMarket, advance_all

FIELDS = (
    "sequence", "ts", "kind", "cause", "side", "liquidity", "owner", "order_id", "price_ticks", "qty_lots", "leaves_lots",
    "match_id",
)  # fmt: skip
SEED = int(os.environ.get("MM_TEST_SEED", "20261127"))
START_TS = 1_000 * NS
OWNER = 3


def a_market(seed: int = SEED, **room: Any) -> SyntheticMarket:
    design = MarketDesign(
        price_ticks=50_000, start_ts=START_TS, seed=seed, flow=FlowParameters(step_ticks=5),
        reference=ReferenceParameters(process=Process.HESTON, price_deviation=1.3e-4, step_ns=NS // 4),
    )  # fmt: skip
    return SyntheticMarket.create(design, **room)


def own_commands(market: SyntheticMarket, rng: np.random.Generator, count: int) -> Commands:
    """Return orders and cancels of one owner around the present best prices, some with chances and impact."""
    bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
    assert bid is not None
    assert ask is not None
    c = new_commands(count)
    c["kind"] = rng.choice([Command.NEW, Command.CANCEL, Command.CANCEL_ALL], count, p=[0.8, 0.15, 0.05])
    new = c["kind"] == Command.NEW
    c["owner"] = OWNER
    c["side"] = np.where(c["kind"] == Command.CANCEL_ALL, 0, rng.choice([1, -1], count))
    first = market.clock_ts
    c["order_id"] = np.where(new, first + np.arange(count), 0)
    known = np.flatnonzero(~new & (c["kind"] == Command.CANCEL))
    c["order_id"][known] = rng.integers(first - NS, first + count, len(known))
    kind = rng.choice([EngineOrderType.LIMIT, EngineOrderType.MARKET], count, p=[0.85, 0.15])
    c["order_type"] = np.where(new, kind, 0)
    c["time_in_force"] = np.where(
        new, rng.choice([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD], count), 0
    )
    limit = new & (c["order_type"] == EngineOrderType.LIMIT)
    c["price_ticks"] = np.where(limit, (bid + ask) // 2 + rng.integers(-40, 41, count), 0)
    c["qty_lots"] = np.where(new, rng.integers(1, 80, count), 0)
    c["ts"] = np.where(c["time_in_force"] == TimeInForce.GTD, first + rng.integers(1, 4 * NS, count), 0)
    c["miss_e9"] = np.where(new & (rng.random(count) < 0.2), 400_000_000, 0)
    c["impact_e9"] = np.where(new & (rng.random(count) < 0.2), 500_000, 0)
    return c


def the_reference(market: SyntheticMarket) -> MatchingReference:
    """Return the plain engine with the orders that a market has to begin with."""
    reference = MatchingReference(market.book.rules, Phase.CONTINUOUS, 1024)
    reference.clock = market.clock_ts
    open_orders = market.book.state.orders[:-1]
    for order in sorted(open_orders[open_orders["order_id"] != 0], key=lambda o: -o["order_id"]):
        c = new_commands(1)[0]
        c["kind"], c["side"] = Command.NEW, 1 if order["book"] == 0 else -1
        c["price_ticks"], c["qty_lots"] = abs(order["rank"]), order["qty_lots"]
        reference.numbered = -int(order["order_id"]) - 1
        reference.do(c)
        reference.books[int(c["side"])][-1].leaves = int(order["leaves_lots"])
        reference.books[int(c["side"])][-1].shown = int(order["leaves_lots"])
    reference.events.clear()
    head = market.book.state.head[0]
    reference.numbered, reference.placed = int(head["numbered"]), int(head["placed"])
    reference.matches, reference.last = int(head["match_id"]), int(head["last_ticks"])
    reference.volume = int(head["traded_lots"])
    return reference


def commands_of(events: np.ndarray) -> Commands:
    """Return what the flow must have asked for: time, orders and cancels, read off its own events.

    The flow's orders rest or are immediate; the latter trade or expire at once.
    """
    found = []
    immediate = set(
        events["order_id"][
            ((events["kind"] == EventKind.FILLED) & (events["liquidity"] == LiquidityCode.TAKER))
            | (events["kind"] == EventKind.EXPIRED)
        ].tolist()
    )
    clock = 0
    for event in events:
        c = new_commands(2)
        if event["ts"] > clock:
            clock = int(event["ts"])
            c[0]["kind"], c[0]["ts"] = Command.CLOCK, clock
            found.append(c[0])
        if event["owner"] != 0:
            continue
        if event["kind"] == EventKind.ACCEPTED:
            c[1]["kind"] = Command.NEW
            for name in ("side", "price_ticks", "qty_lots"):
                c[1][name] = event[name]
            c[1]["time_in_force"] = TimeInForce.IOC if int(event["order_id"]) in immediate else TimeInForce.GTC
        elif event["kind"] == EventKind.CANCELED:
            c[1]["kind"], c[1]["order_id"] = Command.CANCEL, event["order_id"]
        else:
            continue
        found.append(c[1])
    return np.array(found, new_commands(1).dtype) if found else new_commands(0)


def as_tuples(events: np.ndarray) -> list[tuple[int, ...]]:
    return list(zip(*(events[name].tolist() for name in FIELDS), strict=True))


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_flow_and_own_orders_trade_as_in_the_matching_reference(seed: int) -> None:
    market = a_market(seed)
    reference = the_reference(market)
    rng = np.random.default_rng(seed)
    seen = set()
    for second in range(1, 61):
        until = START_TS + second * NS
        told = len(reference.events)
        events = market.advance(until)
        for c in commands_of(events):
            reference.do(c)
        if reference.clock < until:
            clock = new_commands(1)[0]
            clock["kind"], clock["ts"] = Command.CLOCK, until
            reference.do(clock)
        assert as_tuples(events) == reference.events[told:], f"seed {seed}, second {second}"
        told = len(reference.events)
        commands = own_commands(market, rng, 4)
        own = market.execute(commands)
        for c in commands:
            reference.do(c)
        assert as_tuples(own) == reference.events[told:], f"seed {seed}, own orders of second {second}"
        seen |= {(int(e["owner"]), int(e["kind"]), int(e["liquidity"])) for e in (*events, *own)}
        for side in Side:
            totals: dict[int, list[int]] = {}
            for order in reference.books[int(side)]:
                level = totals.setdefault(order.price, [0, 0])
                level[0] += order.shown
                level[1] += 1
            best_first = sorted(totals.items(), key=lambda item: -int(side) * item[0])
            assert market.depth(side, 1_000).tolist() == [[price, *level] for price, level in best_first]
    market.book.check_invariants()
    # Own orders were filled by the flow and took from it.
    assert (OWNER, EventKind.FILLED, LiquidityCode.MAKER) in seen
    assert (OWNER, EventKind.FILLED, LiquidityCode.TAKER) in seen
    assert (0, EventKind.FILLED, LiquidityCode.TAKER) in seen


def a_story(market: SyntheticMarket, cuts: list[int], *, reload: bool = False) -> tuple[str, SyntheticMarket]:
    """Run a minute in which own orders come and conditions change; return a digest of everything that was told."""
    digest = hashlib.sha256()
    rng = np.random.default_rng(7)
    for part in range(6):
        begin = market.clock_ts
        for cut in [*cuts, 10 * NS]:
            digest.update(market.advance(begin + cut).tobytes())
            if reload:
                market = SyntheticMarket.load(market.dump())
        digest.update(market.execute(own_commands(market, rng, 3)).tobytes())
        if part == 2:
            market.set_conditions(Conditions(activity=2.0, limit=0.5, market=1.5, buy_bias=0.3, distance_steps=1))
        if part == 3:
            market.jump(0.003)
    digest.update(market.advance(market.clock_ts).tobytes())
    digest.update(market.dump())
    return digest.hexdigest(), market


def test_how_time_is_cut_changes_nothing() -> None:
    whole, _ = a_story(a_market(), [])
    cuts = sorted(np.random.default_rng(3).integers(0, 10 * NS, 40).tolist())
    assert a_story(a_market(), cuts)[0] == whole
    # Nor does the size of the buffer through which events leave: it stops within commands, too.
    small, _ = a_story(a_market(events=16_384), [5 * NS])
    assert small == whole


def test_quotes_are_those_at_their_instants_and_the_market_is_the_same() -> None:
    one, other = a_market(), a_market(events=9)
    quotes = one.quotes(START_TS + NS, NS // 2, 50)
    for i, (bid, ask) in enumerate(quotes.tolist()):
        other.advance(START_TS + NS + i * NS // 2)
        assert (bid, ask) == (other.book.best(Side.BUY), other.book.best(Side.SELL))
    assert one.advance(START_TS + 60 * NS).tobytes() == other.advance(START_TS + 60 * NS).tobytes()


def test_small_rooms_grow_and_change_no_event() -> None:
    digest = hashlib.sha256()
    for room in ({}, {"events": 9, "pages": 2}):
        market = a_market(**room)
        events = [market.advance(START_TS + second * NS) for second in range(0, 40, 4)]
        digest.update(np.concatenate(events).tobytes())
        if not room:
            expected = digest.copy()
            digest = hashlib.sha256()
    assert digest.hexdigest() == expected.hexdigest()


def test_a_pool_that_fills_up_is_tidied_and_grows() -> None:
    design = MarketDesign(price_ticks=50_000, seed=SEED, flow=FlowParameters(step_ticks=5), pool=8)
    digests = set()
    for cuts in (1, 50):
        market = SyntheticMarket.create(design, warm_up_s=5.0)
        parts = [market.advance(100 * NS * (i + 1) // cuts) for i in range(cuts)]
        digests.add(hashlib.sha256(b"".join([part.tobytes() for part in parts]) + market.dump()).hexdigest())
        assert 8 < int(market.flow.head["pooled"][0]) <= len(market.flow.pool)
        # Whatever stands is in the pool once: nobody else trades here.
        pooled = market.flow.pool["order_id"][: int(market.flow.head["pooled"][0])].tolist()
        standing = market.book.state.orders["order_id"][:-1]
        assert set(standing[standing != 0].tolist()) <= set(pooled)
        assert len(set(pooled)) == len(pooled)
    assert len(digests) == 1


def test_a_market_that_is_loaded_goes_on_byte_for_byte() -> None:
    uninterrupted, one = a_story(a_market(), [NS, 3 * NS])
    restarted, other = a_story(a_market(), [NS, 3 * NS], reload=True)
    assert restarted == uninterrupted
    assert one.dump() == other.dump()
    assert one.book.rules == other.book.rules


def test_damaged_bytes_are_refused() -> None:
    data = a_market().dump()
    for broken in (b"", data[:-20], data[:100] + b"x" + data[101:], b"nonsense"):
        with pytest.raises(DataError):
            SyntheticMarket.load(broken)


STORY = """
import sys
from differential.test_synthetic_market import a_market, a_story
from market_maker.synthetic.flow.parameters import NS
print(a_story(a_market(int(sys.argv[1])), [NS])[0])
"""


def test_interpreted_and_compiled_form_agree() -> None:
    """Run with Numba switched off in another process, which also shows that nothing depends on the process."""
    tests = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "src")])
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", STORY, str(SEED)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [a_story(a_market(SEED), [NS])[0]]


def test_cancels_come_at_the_rate_of_the_orders_that_stand() -> None:
    """Count them beside the integral of all standing orders' rates, order by order through every instant (compensator)."""
    flow = FlowParameters(step_ticks=1, activity_sigma=0.0)
    reference = ReferenceParameters(process=Process.CONSTANT)
    market = SyntheticMarket.create(MarketDesign(price_ticks=100_000, seed=5, flow=flow, reference=reference))
    rates = np.append(0.0, flow.cancel_rates_of_levels())
    state = market.book.state.orders[:-1]
    standing = {
        int(o["order_id"]): (1 if o["book"] == 0 else -1, int(abs(o["rank"])), int(o["leaves_lots"]))
        for o in state[state["order_id"] != 0]
    }
    events = market.advance(400 * NS)
    expected, canceled, before = 0.0, 0, 0
    limits = np.zeros(31)
    crossing = {int(i) for i in events["order_id"][(events["kind"] == EventKind.FILLED) & (events["liquidity"] == 1)]}
    for e in events:
        bid = max(price for side, price, _ in standing.values() if side == 1)
        ask = min(price for side, price, _ in standing.values() if side == -1)
        if e["ts"] > before:
            away = np.array([ask - price if side == 1 else price - bid for side, price, _ in standing.values()])
            expected += rates[np.minimum(away, 30)].sum() * (int(e["ts"]) - before) / NS
            before = int(e["ts"])
        key, side, price = int(e["order_id"]), int(e["side"]), int(e["price_ticks"])
        if e["kind"] == EventKind.ACCEPTED and key not in crossing:
            standing[key] = (side, price, int(e["qty_lots"]))
            limits[ask - price if side == 1 else price - bid] += 1
        elif e["kind"] == EventKind.CANCELED:
            canceled += 1
            del standing[key]
        elif e["kind"] == EventKind.FILLED and e["liquidity"] == LiquidityCode.MAKER and e["leaves_lots"] == 0:
            del standing[key]
    # The count less the integral is a martingale: its standard error is the root of the integral.
    assert abs(canceled - expected) < 4 * expected**0.5
    arrivals = 2 * flow.limit_rates() * 400
    assert (np.abs(limits[1:] - arrivals) < 4.5 * np.sqrt(arrivals)).all()


def test_pairs_run_by_threads_are_those_run_one_by_one() -> None:
    loadings = factor_loadings([[1.0, 0.7], [0.7, 1.0]])

    def pair() -> list[SyntheticMarket]:
        designs = [
            MarketDesign(price_ticks=80_000, seed=i, group_seed=4, loadings=weights, flow=FlowParameters(step_ticks=8))
            for i, weights in enumerate(loadings)
        ]
        return [SyntheticMarket.create(design) for design in designs]

    serial, threaded = pair(), pair()
    for until in (NS, 100 * NS):
        one, other = advance_all(serial, until, threads=1), advance_all(threaded, until, threads=2)
        assert [a.tobytes() for a in one] == [b.tobytes() for b in other]
    assert [m.dump() for m in serial] == [m.dump() for m in threaded]
    assert serial[0].dump() != serial[1].dump()


def test_what_is_not_the_callers_is_refused() -> None:
    market = a_market()
    with pytest.raises(InvalidRequest, match="until_ts"):
        market.advance(START_TS - 1)
    with pytest.raises(InvalidRequest, match="owner"):
        market.submit(Side.BUY, qty_lots=1, price_ticks=5)
    clock = new_commands(1)
    clock["kind"] = Command.CLOCK
    with pytest.raises(InvalidRequest, match="CLOCK"):
        market.execute(clock)
    assert TradingRules(seed=SEED) == market.book.rules
