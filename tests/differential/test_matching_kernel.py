"""The matching kernel and the plain reference do the same: event by event, over all commands and order types."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from differential.matching_reference import MatchingReference
from market_maker.domain.order import TimeInForce
from market_maker.matching.book import Commands, Events, OrderBook, TradingRules, new_commands
from market_maker.matching.codes import Cause, Command, EngineOrderType, EventKind, Phase, SelfTrade

OWNERS = 6
FIELDS = (
    "sequence", "ts", "kind", "cause", "side", "liquidity", "owner", "order_id", "price_ticks", "qty_lots", "leaves_lots",
    "match_id",
)  # fmt: skip
CHUNK = 250
SEED = int(os.environ.get("MM_TEST_SEED", "20261127"))
RULES = (
    TradingRules(),
    TradingRules(price_step_ticks=5, lot_step=3, qty_lots_max=90, notional_min=9_000, collar_ticks=60, seed=7),
    TradingRules(static_band_ticks=12, dynamic_band_ticks=7, volatility_auction_ns=40, seed=9),
)


def random_commands(rng: np.random.Generator, count: int, *, step: int, wild: bool) -> Commands:
    """Return commands around 1,000 ticks of every kind; `wild` makes invalid fields and far prices more frequent."""
    c = new_commands(count)
    kinds = [Command.NEW, Command.CANCEL, Command.AMEND, Command.CANCEL_ALL, Command.SUSPEND, Command.RELEASE]
    kinds += [Command.CLOCK, Command.PHASE, Command.REFERENCE]
    shares = np.array([62, 20, 11, 0.5, 0.3, 1, 3, 1.2, 1])
    c["kind"] = rng.choice(kinds, count, p=shares / shares.sum())
    new, amend = c["kind"] == Command.NEW, c["kind"] == Command.AMEND
    c["side"] = rng.choice([1, -1], count)
    c["owner"] = rng.integers(0, OWNERS, count)
    c["owner"][(c["kind"] == Command.CANCEL) & (rng.random(count) < 0.8)] = -1
    c["owner"][amend & (rng.random(count) < 0.8)] = -1
    c["order_type"] = rng.choice(EngineOrderType, count, p=[0.8, 0.06, 0.06, 0.08])
    limits = np.isin(c["order_type"], [EngineOrderType.LIMIT, EngineOrderType.STOP_LIMIT])
    c["time_in_force"] = rng.choice(TimeInForce, count, p=[0.7, 0.08, 0.08, 0.14])
    c["order_id"] = np.where(new, np.arange(1, count + 1), np.maximum(1, np.arange(count) - rng.geometric(0.02, count)))
    c["order_id"][new & (rng.random(count) < 0.1)] = 0
    spread = np.where(rng.random(count) < 0.02, 2_000, 12)
    price = 1_000 + np.round(rng.standard_normal(count) * spread - c["side"] * 4).astype(np.int64)
    c["price_ticks"] = np.where(limits | ~new, price // step * step, 0)
    c["qty_lots"] = rng.integers(1, 31, count) * 3
    c["stop_ticks"] = np.where(limits & (c["order_type"] == 0) | (c["order_type"] == 1), 0, (price + 6) // step * step)
    resting = limits & np.isin(c["time_in_force"], [TimeInForce.GTC, TimeInForce.GTD])
    c["display_lots"] = np.where(resting & (rng.random(count) < 0.2), rng.integers(1, 5, count) * 3, 0)
    c["post_only"] = resting & (rng.random(count) < 0.1)
    c["self_trade"] = rng.choice(SelfTrade, count)
    now = np.cumsum(rng.integers(0, 5, count))
    c["ts"] = np.where(c["time_in_force"] == TimeInForce.GTD, now + rng.integers(1, 400, count), 0)
    c["miss_e9"] = np.where(rng.random(count) < 0.1, rng.integers(0, 10**9, count), 0)
    c["impact_e9"] = np.where(rng.random(count) < 0.1, 1_000_000, 0)
    clock = c["kind"] == Command.CLOCK
    c["ts"][clock] = now[clock]
    phase = c["kind"] == Command.PHASE
    c["order_type"][phase] = rng.choice(Phase, phase.sum(), p=[0.15, 0.5, 0.1, 0.15, 0.07, 0.03])
    c["side"][c["kind"] == Command.CANCEL_ALL] *= rng.integers(0, 2, (c["kind"] == Command.CANCEL_ALL).sum()).astype(
        np.int8
    )
    c["owner"][(c["kind"] == Command.CANCEL_ALL) & (rng.random(count) < 0.1)] = -1
    for name in ("price_ticks", "qty_lots", "stop_ticks"):
        c[name][amend & (rng.random(count) < 0.5)] = 0
    if wild:
        for name in ("side", "order_type", "time_in_force", "post_only", "self_trade", "owner", "qty_lots", "price_ticks",
                     "stop_ticks", "display_lots", "ts", "order_id", "miss_e9", "kind"):  # fmt: skip
            odd = rng.random(count) < 0.01
            c[name][odd] = rng.integers(-3, 12, odd.sum())
        c["price_ticks"][rng.random(count) < 0.002] = 1 << 41
    reopening = np.arange(count) % 150 == 149
    c[reopening] = np.zeros(1, c.dtype)
    c["kind"][reopening], c["order_type"][reopening] = Command.PHASE, Phase.CONTINUOUS
    return c


def as_tuples(events: Events) -> list[tuple[int, ...]]:
    return list(zip(*(events[name].tolist() for name in FIELDS), strict=True))


def stream(seed: int, count: int) -> tuple[TradingRules, Phase, Commands]:
    rng = np.random.default_rng(seed)
    rules = RULES[seed % len(RULES)]
    phase = Phase.CONTINUOUS if seed % 2 else Phase.PRE_OPEN
    return rules, phase, random_commands(rng, count, step=max(1, rules.price_step_ticks), wild=seed % 4 < 2)


def anonymous_flow(seed: int, count: int) -> Commands:
    """Return commands of which most are plain limit orders of no owner and cancels of them, some with an odd field."""
    rng = np.random.default_rng(seed)
    c = random_commands(rng, count, step=1, wild=False)
    plain = (c["kind"] == Command.NEW) & (rng.random(count) < 0.9)
    c["price_ticks"][plain] = np.where(c["price_ticks"][plain] == 0, 1_000, c["price_ticks"][plain])
    for name in ("owner", "order_type", "time_in_force", "post_only", "self_trade", "stop_ticks", "display_lots", "ts", "miss_e9",
                 "impact_e9"):  # fmt: skip
        c[name][plain] = 0
    odd_values = {
        "kind": (-1, 0, 10), "side": (-128, -3, -2, 0, 2, 3, 127), "order_type": (1, -1), "time_in_force": (1, -1), "owner": (-1, 2),
        "order_id": (-5, 0, 7, 8), "price_ticks": (-1, 0, (1 << 40) + 1), "qty_lots": (-1, 0, 4, 1 << 40),
        "stop_ticks": (1, -1), "display_lots": (1, -1), "ts": (1, -1), "miss_e9": (1, -1), "impact_e9": (1, -1), "post_only": (1, 2),
        "self_trade": (1, 9),
    }  # fmt: skip
    for name, values in odd_values.items():
        odd = plain & (rng.random(count) < 0.005)
        c[name][odd] = rng.choice(values, odd.sum())
    return c


def compare(seed: int, count: int, commands: Commands | None = None) -> set[tuple[int, int]]:
    """Run both over one stream and return the kinds and causes seen."""
    rules, phase, found = stream(seed, count)
    commands = found if commands is None else commands
    # Small rooms, so that growth and full buffers are part of every test.
    book = OrderBook(rules, phase=phase, owners=OWNERS, orders=4, pages=4, events=16)
    reference = MatchingReference(rules, phase, OWNERS)
    told = 0
    for begin in range(0, count, CHUNK):
        chunk = commands[begin : begin + CHUNK]
        got = as_tuples(book.execute(chunk))
        for c in chunk:
            reference.do(c)
        expected = reference.events[told:]
        told = len(reference.events)
        if got != expected:
            at = next((i for i, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]), None)
            at = min(len(got), len(expected)) if at is None else at
            pytest.fail(
                f"seed {seed}, commands from {begin}, event {at}: {got[at - 3 : at + 2]} != {expected[at - 3 : at + 2]}"
            )
        book.check_invariants()
    assert book.matches == reference.matches
    assert book.traded_lots == reference.volume
    assert int(book.state.head["impact_e12"][0]) == reference.impact_e12
    return {(event[2], event[3]) for event in reference.events}


def test_events_are_those_of_the_reference() -> None:
    seen = set().union(*(compare(SEED + seed, 2_000) for seed in range(10)))
    assert {kind for kind, _ in seen} == set(EventKind)
    # Every cause was met: a rule that no stream reaches would not be tested.
    assert {cause for _, cause in seen} == set(range(30))


def test_events_of_plain_orders_of_no_owner_are_those_of_the_reference() -> None:
    """They have a way of their own through the kernel, by rules, phases and fields that they must not have."""
    seen = set().union(*(compare(SEED + seed, 3_000, anonymous_flow(SEED + seed, 3_000)) for seed in range(6)))
    assert {Cause.INVALID_CODE, Cause.INVALID_QTY, Cause.INVALID_PRICE, Cause.DUPLICATE_ORDER_ID} <= {
        cause for _, cause in seen
    }
    assert {Cause.PRICE_STEP, Cause.QTY_STEP, Cause.NOTIONAL_MIN, Cause.PRICE_COLLAR} <= {cause for _, cause in seen}


def test_the_largest_price_and_quantity_are_taken() -> None:
    commands = new_commands(2)
    commands["kind"], commands["side"], commands["order_id"] = Command.NEW, [1, -1], [1, 2]
    commands["price_ticks"], commands["qty_lots"] = 1 << 40, TradingRules().qty_lots_max
    events = OrderBook().execute(commands)
    assert events["kind"].tolist() == [EventKind.ACCEPTED, EventKind.ACCEPTED, EventKind.FILLED, EventKind.FILLED]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_million_commands(seed: int) -> None:
    compare(1_000 + SEED + seed, 20_000)


def test_totals_of_the_benchmark_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream's own plain matcher, the reference and the compiled loop find the same trades, volume and open orders."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    benchmark = importlib.import_module("matching")
    made = benchmark.make_stream(6_000, 400, seed=SEED)
    shares = np.bincount(made.commands["kind"][made.resting :], minlength=3)[1:] / 6_000
    # 45 % and 10 % are new orders; the standard deviation of a share of 6,000 is at most 0.65 %.
    assert np.allclose(shares, [0.55, 0.45], atol=0.03)
    reference = MatchingReference(TradingRules(), Phase.CONTINUOUS, 1)
    for c in made.commands:
        reference.do(c)
    refused = {EventKind.REJECTED, EventKind.REFUSED}
    assert not any(event[2] in refused for event in reference.events)
    expected = (reference.matches, reference.volume, sum(1 for _ in reference.open()))
    assert expected == (made.trades, made.volume_lots, made.open_orders)
    assert made.trades > 300
    # Raises if trades, volume or open orders are not those of the stream.
    _, events = benchmark.loop_seconds(made, 2)
    before = int(OrderBook().execute(made.commands[: made.resting])["sequence"][-1])
    assert events == len(reference.events) - before


DIGEST = """
import sys
from differential.test_matching_kernel import digest
print(digest(int(sys.argv[1])))
"""


def digest(seed: int) -> str:
    rules, phase, commands = stream(seed, 1_500)
    book = OrderBook(rules, phase=phase, owners=OWNERS, orders=4, pages=4, events=16)
    return hashlib.sha256(book.execute(commands).tobytes()).hexdigest()


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_interpreted_and_compiled_form_agree(seed: int) -> None:
    """Run with Numba switched off in another process, which also shows that nothing depends on the process."""
    tests = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent / "src")])
    done = subprocess.run(
        [sys.executable, "-c", DIGEST, str(seed)], env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [digest(seed)]


def test_how_commands_are_cut_into_calls_changes_nothing() -> None:
    rules, phase, commands = stream(SEED, 1_500)
    one = OrderBook(rules, phase=phase, owners=OWNERS).execute(commands)
    other = OrderBook(rules, phase=phase, owners=OWNERS, events=9)
    many = np.concatenate([other.execute(commands[i : i + 1]) for i in range(len(commands))])
    assert one.tobytes() == many.tobytes()
