"""The compiled replay against the slow obvious one, and against its own interpreted form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import random_trader
from reference_book import Book
from reference_guard import Guard
from replay_reference import Reference

from market_maker.backtest import state
from market_maker.backtest.conditioned import under_conditions
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.execution import Execution
from market_maker.backtest.guard import limits_of
from market_maker.backtest.queue_models import QueueModel
from market_maker.backtest.result import FillModel
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import Instrument
from market_maker.market_data.conditions import MarketConditions
from market_maker.market_data.replay import Feed, ReplayDay, feed_of
from market_maker.market_data.schema import BOOK_SCHEMA
from market_maker.market_data.stretch import rows_of
from market_maker.strategies.contract import Parameter, StrategyKind

FILL_COLUMNS = (
    "exch_ts", "order_id", "side", "liquidity", "price_ticks", "qty_lots", "fee_tick_lots", "position_lots",
    "cash_tick_lots", "fees_tick_lots", "mid_half_ticks",
)  # fmt: skip
PAIR = Instrument(
    UUID(int=1), "test", "A-B", "A", "B", Decimal("0.5"), Decimal("0.01"),
    maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0007"),
)  # fmt: skip


T0 = 10**18


def ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


# What each model says of a cancelled lot: the chance that it stood behind us.
SHARES = {
    "POWER": lambda front, back: ratio(back**2, back**2 + front**2),
    "POWER2": lambda front, back: ratio(back**2, (back + front) ** 2),
    "POWER3": lambda front, back: 1 - ratio(front, front + back) ** 2,
}


def random_feed(seed: int, rows: int = 1500) -> pl.DataFrame:
    """A wild small market: thin, sometimes crossed, sometimes empty, with clears and equal times."""
    chance = np.random.default_rng(seed)
    mid = 1000 + np.cumsum(chance.choice([-1, 0, 0, 0, 1], rows))
    side = chance.choice([-1, 1], rows)
    kind = chance.choice([1, 1, 1, 1, 2, 2, 3], rows, p=[0.2, 0.2, 0.2, 0.198, 0.1, 0.1, 0.002])
    price = np.where(kind == 2, mid + chance.integers(-2, 3, rows), mid - side * chance.integers(-1, 7, rows))
    lots = chance.integers(0, 9, rows) * chance.integers(0, 2, rows)
    lots = np.where(kind == 2, chance.integers(1, 15, rows), lots)
    exch_ts = T0 + np.cumsum(chance.integers(0, 400, rows))
    local_ts = np.maximum.accumulate(exch_ts + chance.integers(0, 900, rows))
    columns = [exch_ts, local_ts, kind, side, np.where(kind == 3, 0, price), np.where(kind == 3, 0, lots), exch_ts * 0]
    shuffled = np.argsort(local_ts, kind="stable")
    return pl.DataFrame({n: c[shuffled] for n, c in zip(BOOK_SCHEMA, columns, strict=True)}, schema=BOOK_SCHEMA)


def lowest_bests(rows: list) -> dict[int, int]:
    """The bid, or without one the ask, after each instant that has rows of the book; 0 when there is neither."""
    book, found = Book(), {}
    for ts, price, lots, code in rows:
        side = 1 if code > 0 else -1
        if abs(code) == 1:
            book.set(side, price, lots)
        elif abs(code) == 3:
            book.remember()
            book.levels[side].clear()
            book.best[side] = 0
        if abs(code) != 2:
            found[ts] = book.best[1] or book.best[-1]
    return found


def shifted(feed: Feed, seed: int, every: int = 12, ticks: int = 3) -> Feed:
    """The feed with a displacement that changes at random instants, row by row: not the way the product does it."""
    chance = np.random.default_rng(seed)
    day = feed.days[0]
    rows = [tuple(map(int, row)) for row in zip(*day.exchange[:4], strict=True)]
    total, displacement = 0, {}
    for ts, lowest in lowest_bests(rows).items():
        total += int(chance.integers(-ticks, ticks + 1)) if chance.random() < 1 / every else 0
        # The product refuses conditions under which a best price falls to 0.
        total = displacement[ts] = max(total, 1 - lowest) if lowest else total

    venue, moved, now = [], [], 0
    last = {row[0]: i for i, row in enumerate(rows) if abs(row[3]) != 2}
    shifts = set()
    for i, (ts, price, lots, code) in enumerate(rows):
        book = abs(code) != 2
        if book and displacement[ts] != now:
            now = displacement[ts]
            venue.append((ts, now, 0, 4))
            shifts.add(ts)
        row = (ts, {1: price + now, 2: max(1, price + now), 3: price}[abs(code)], lots, code)
        venue.append(row)
        moved.append(row)
        if ts in shifts and last[ts] == i:
            venue.append((ts, 0, 0, -4))

    local, now = [], 0
    waiting = {is_book: [row for row in moved if (abs(row[3]) != 2) == is_book] for is_book in (True, False)}
    for ts, code in zip(day.local.ts.tolist(), day.local.code.tolist(), strict=True):
        row = waiting[abs(code) != 2].pop(0)
        if abs(code) != 2 and displacement[row[0]] != now:
            now = displacement[row[0]]
            local.append((ts, now, 0, 4))
        local.append((ts, *row[1:]))
    names = ("ts", "price_ticks", "qty_lots", "code")
    streams = [rows_of(dict(zip(names, zip(*found, strict=True), strict=True))) for found in (venue, local)]
    return replace(feed, days=(ReplayDay(*streams, 0),))


def both(
    seed: int,
    *,
    entry: int,
    response: int,
    partial: bool,
    balance: str,
    change: Callable[[Feed], Feed] = lambda f: f,
    interval: int = 500,
    queue: str = "RISK_AVERSE",
    limits: Sequence[dict] = (),
) -> tuple[list, dict, Reference]:
    feed = change(feed_of(random_feed(seed)))
    config = RunConfig(
        PAIR, "random_trader", feed.first_ts, feed.last_ts + 1, {"seed": seed, "interval_ns": interval}, entry, response,
        Decimal(balance), FillModel.PARTIAL if partial else FillModel.NO_PARTIAL, 20 * interval,
        execution=Execution(QueueModel[queue], 2.0 if queue.startswith("POWER") else None), limits=limits_of(limits),
    )  # fmt: skip
    strategy = random_trader.KIND.prepare(config.parameters)
    result = run(config, feed, strategy)
    day = feed.days[0]
    streams = [
        list(
            zip(
                *(column.tolist() for column in (rows.ts, rows.code, rows.price_ticks, rows.qty_lots)),
                rows.joined_ts.tolist() if len(rows.joined_ts) else [-1] * len(rows.ts),
                strict=True,
            )
        )
        for rows in (day.exchange, day.local)
    ]
    twin = Reference(
        *streams, random_trader.on_wake, strategy.vector, balance=int(Decimal(balance) / PAIR.tick_lot), entry=entry,
        response=response, maker=PAIR.maker_fee_e8, taker=PAIR.taker_fee_e8, partial=partial,
        queue=SHARES.get(queue, queue), guard=Guard(limits, PAIR) if limits else None,
    )  # fmt: skip
    twin.run(feed.first_ts, strategy.interval_ns, feed.last_ts)
    return [tuple(row) for row in result.fills.select(FILL_COLUMNS).iter_rows()], result.summary.to_json(), twin


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(("entry", "response"), [(0, 0), (300, 700), (5000, 100)])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_kernel_gives_the_fills_of_the_reference(seed, entry, response, partial):
    fills, summary, twin = both(seed, entry=entry, response=response, partial=partial, balance="100000")
    assert fills == twin.fills
    assert len(fills) > 30, "the feed must make the test mean something"
    assert summary["position"] == f"{PAIR.lots_to_qty(twin.ledger.qty_lots):f}"
    assert summary["orders"] == twin.last_id


@pytest.mark.parametrize("queue", ["FRONT", "BACK", "POWER", "POWER2", "POWER3"])
@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(("seed", "moved"), [(1, False), (2, False), (3, True)])
def test_kernel_gives_the_fills_of_the_reference_by_every_queue_model(seed, moved, partial, queue):
    options = {"entry": 300, "response": 700, "partial": partial, "balance": "100000"}
    if moved:
        options["change"] = lambda feed: shifted(feed, seed)
    fills, summary, twin = both(seed, **options, queue=queue)
    assert fills == twin.fills
    assert len(fills) > 30
    assert summary["orders"] == twin.last_id


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(("entry", "response"), [(0, 0), (300, 700)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kernel_gives_the_fills_of_the_reference_in_a_displaced_market(seed, entry, response, partial):
    options = {"entry": entry, "response": response, "partial": partial, "balance": "100000"}
    fills, summary, twin = both(seed, **options, change=lambda feed: shifted(feed, seed))
    assert fills == twin.fills
    assert len(fills) > 30
    assert summary["orders"] == twin.last_id
    plain, _, _ = both(seed, **options)
    assert fills != plain, "the displacement must make a difference"


@pytest.mark.parametrize("conditions", [
    {"volatility": 9.0}, {"volatility": 0.01, "trend": "UP", "volume_profile": "LOW"}, {"volume_profile": "U_SHAPED"},
    {"trend": "DOWN", "volume_profile": "HIGH"},
])  # fmt: skip
@pytest.mark.parametrize("partial", [True, False])
def test_kernel_gives_the_fills_of_the_reference_under_conditions(conditions, partial):
    def change(feed):
        """The same market, six milliseconds to the nanosecond: minutes pass in it."""
        slow = [
            rows._replace(ts=rows_of(rows._asdict() | {"ts": T0 + (rows.ts - T0) * 6_000_000}).ts)
            for rows in (feed.days[0].exchange, feed.days[0].local)
        ]
        first, last = (int(f(rows.ts[i] for rows in slow)) for f, i in ((min, 0), (max, -1)))
        slow_feed = replace(
            feed, days=(ReplayDay(*slow, 0),), start_ts=first, end_ts=last + 1, first_ts=first, last_ts=last
        )
        return under_conditions(slow_feed, MarketConditions.of(conditions), PAIR)[0]

    options = {"entry": 10**9, "response": 10**9, "partial": partial, "balance": "100000", "interval": 3 * 10**9}
    fills, _, twin = both(8, **options, change=change)
    assert fills == twin.fills
    assert len(fills) > 30


@pytest.mark.parametrize("seed", [5, 6])
def test_kernel_refuses_the_same_orders_without_funds(seed):
    fills, summary, twin = both(seed, entry=200, response=200, partial=True, balance="200")
    assert fills == twin.fills
    assert summary["orders_rejected"] > 20


# Thresholds that the random trader of `random_feed` reaches: prices near 500, lots of 0.01, orders of up to 0.5.
LIMITS = [
    {"kind": "MAX_ORDER_SIZE", "threshold": "0.2"},
    {"kind": "MAX_ORDER_NOTIONAL", "threshold": "55"},
    {"kind": "PRICE_COLLAR", "threshold": "0.0015"},
    {"kind": "MAX_MESSAGE_RATE", "threshold": "60"},
    {"kind": "MAX_REPEATED_ORDERS", "threshold": "1"},
    {"kind": "MAX_WORST_CASE_POSITION", "threshold": "0.4"},
    {"kind": "MAX_POSITION", "threshold": "0.2"},
    {"kind": "MAX_NOTIONAL", "threshold": "100"},
    {"kind": "MAX_LOSS", "threshold": "5"},
    {"kind": "MAX_DRAWDOWN", "threshold": "5"},
]


def check_limits(limits, seed, partial=True):
    """Run with limits and compare all that both forms tell; return what they told of the limits."""
    fills, summary, twin = both(seed, entry=300, response=700, partial=partial, balance="100000", limits=limits)
    assert fills == twin.fills
    assert summary["orders"] == twin.last_id
    told = {each["kind"]: each for each in summary["limits"]}
    for kind, bound in twin.guard.bounds.items():
        one = told[kind]
        counts = [one[name] for name in ("state", "evaluated", "warnings", "breaches", "refused")]
        assert counts == [bound.state, bound.evaluated, bound.warnings, bound.breaches, bound.refused], kind
        assert (bound.largest is None) == (one["largest"] is None)
        assert bound.largest is None or Decimal(one["largest"]) == bound.largest, kind
        first = None if one["breached_ts"] is None else (int(one["breached_ts"]), Fraction(one["breached_value"]))
        assert first == bound.first, kind
    return told, summary, twin


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit["kind"])
def test_kernel_refuses_what_the_reference_refuses(limit, partial):
    told, summary, twin = check_limits([limit], 2, partial)
    one = told[limit["kind"]]
    assert one["breaches"] > 0, "the limit must make a difference"
    assert one["warned_ts"] is not None, "and come through its warning"
    if limit["kind"] not in {"MAX_LOSS", "MAX_DRAWDOWN"}:
        assert one["refused"] > 3
    assert twin.refused <= summary["orders_rejected"]
    assert one["hold"] == "ACTIVE"


@pytest.mark.parametrize("action", ["REDUCE", "HALT"])
@pytest.mark.parametrize("limit", [each for each in LIMITS if each["kind"] in
                                   {"MAX_POSITION", "MAX_NOTIONAL", "MAX_LOSS", "MAX_DRAWDOWN"}],
                         ids=lambda limit: limit["kind"])  # fmt: skip
@pytest.mark.parametrize("seed", [2, 3])
def test_kernel_holds_back_what_the_reference_holds_back(limit, action, seed):
    told, summary, twin = check_limits([limit | {"on_breach": action}], seed)
    one = told[limit["kind"]]
    assert one["hold"] == {"REDUCE": "REDUCING", "HALT": "HALTED"}[action]
    assert int(one["hold_ts"]) == int(one["breached_ts"])
    assert twin.guard.hold == action
    assert summary["orders_rejected"] > 20


@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_kernel_equals_reference_under_all_limits_at_once(seed):
    wide = [each | {"threshold": str(Decimal(each["threshold"]) * Decimal("1.5"))} for each in LIMITS]
    wide[-1] |= {"on_breach": "HALT", "threshold": "4"}
    wide[-2] |= {"on_breach": "REDUCE", "threshold": "2"}
    told, _, _ = check_limits(wide, seed)
    assert sum(one["refused"] for one in told.values()) >= 10


def test_interpreted_kernel_gives_the_same_fills():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_replay_kernel as t\n"
        "import json\n"
        "print(json.dumps([t.both(7, entry=300, response=300, partial=True, balance='100000', change=change, limits=limits)[0]"
        " for change, limits in ((lambda f: f, ()), (lambda f: t.shifted(f, 7), ()), (lambda f: f, t.LIMITS))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    interpreted = [[tuple(fill) for fill in fills] for fills in json.loads(done.stdout)]
    options = {"entry": 300, "response": 300, "partial": True, "balance": "100000"}
    kinds = ((lambda f: f, ()), (lambda f: shifted(f, 7), ()), (lambda f: f, LIMITS))
    assert interpreted == [both(7, **options, change=change, limits=limits)[0] for change, limits in kinds]


def test_small_buffers_change_nothing(monkeypatch):
    expected, _, _ = both(1, entry=300, response=700, partial=True, balance="100000")
    monkeypatch.setattr(state, "FILLS_BUFFER", state.ROOM + 8)
    monkeypatch.setattr(state, "SAMPLES_BUFFER", 4)
    fills, _, _ = both(1, entry=300, response=700, partial=True, balance="100000")
    assert fills == expected
    assert len(fills) > 30


@pytest.mark.parametrize(
    ("kind", "message"),
    [("fails", "IndexError"), ("absurd", "woken by interval: asked for an order of side 3; it is 1 or -1")],
)
def test_a_failing_strategy_is_named_with_its_time(kind, message):
    feed = feed_of(random_feed(1))
    config = RunConfig(PAIR, kind, feed.first_ts, feed.last_ts + 1)
    interval = Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", "time between wake-ups")
    broken = StrategyKind(kind, "for tests", (interval,), f"random_trader:{kind}")
    with pytest.raises(InvalidRequest, match=f"{kind} .*clock {feed.first_ts + 500} ns.*{message}"):
        run(config, feed, broken.prepare({}))


def test_a_change_of_an_order_without_a_price_is_told_as_one():
    feed = feed_of(random_feed(1))
    interval = Parameter("interval_ns", "integer", 500, 1, 10**12, "ns", "time between wake-ups")
    broken = StrategyKind("changes", "for tests", (interval,), "random_trader:changes_priceless")
    config = RunConfig(PAIR, "changes", feed.first_ts, feed.last_ts + 1, entry_latency_ns=2000)
    with pytest.raises(
        InvalidRequest, match=r"asked for a change of an order without a price \(MARKET\); changes were of order 1$"
    ):
        run(config, feed, broken.prepare({}))


@settings(max_examples=15)
@given(st.integers(10, 10**5), st.booleans(), st.sampled_from([0, 1, 250, 3000]), st.sampled_from([0, 1, 400]),
       st.sampled_from([0, 2, 40]))  # fmt: skip
def test_kernel_equals_reference_on_any_feed(seed, partial, entry, response, every):
    options = {"entry": entry, "response": response, "partial": partial, "balance": "3000"}
    fills, summary, twin = both(seed, **options, change=lambda f: shifted(f, seed, every, 60) if every else f)
    assert fills == twin.fills
    end = twin.ledger
    assert end.cash_tick_lots + end.cost_tick_lots == end.realised_tick_lots
    pieces = [Decimal(summary[name]) for name in ("spread_capture", "inventory_pnl", "fees", "net_pnl")]
    assert pieces[0] + pieces[1] - pieces[2] == pieces[3]
