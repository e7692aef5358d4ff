"""Where the peer is wrong, one case each: what it does, and what ours does instead. Book: bid 100 x 100, ask 101 x 100.

Every deviation that the comparison of whole feeds allows for is one of these.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from engines import Config, Outcome, peer_python, peer_rows, run_ours, run_peer, supported, write_latencies
from numba import njit
from order_rules import OURS, run_rules
from scripts import ACTION_DTYPE, GTC, GTX, IOC, MODIFY, PLACE

from market_maker.backtest.latency_models import kernel as latency_kernel
from market_maker.backtest.latency_models import recorded
from market_maker.backtest.queue_models import QueueModel
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed, feed_of
from market_maker.market_data.schema import BOOK_SCHEMA

T0 = 1_700_000_000_000_000_000
S = 1_000_000_000
END = 10 * S
DEPTH, TRADE = 1, 2
PAIR = Instrument(UUID(int=1), "test", "A-B", "A", "B", Decimal(1), Decimal(1))
# Made, at the venue, answered; the second is rejected. What is sent before the first row is like it.
LATENCIES = T0 + np.array([[S // 2, 1000, 2000], [S, -T0 - S, 2000], [2 * S, 1000, 2000], [9 * S, 1000, 2000]])
LATENCIES[:, 1:] += LATENCIES[:, :1] - T0


@dataclass(frozen=True)
class Case:
    """Rows (time, kind, side, price, lots) after the book, and actions (time, what, order, side, price, lots, tif)."""

    rows: tuple[tuple[int, ...], ...]
    actions: tuple[tuple[int, ...], ...]
    config: Config
    extra: dict[str, Any] = field(default_factory=dict)

    def feed(self) -> Feed:
        rows = [(0, DEPTH, 1, 100, 100), (0, DEPTH, -1, 101, 100), *self.rows, (END, DEPTH, 1, 50, 1)]
        frame = pl.DataFrame(
            [(T0 + t, T0 + t, kind, side, price, lots, 0) for t, kind, side, price, lots in rows],
            schema=BOOK_SCHEMA,
            orient="row",
        )
        return feed_of(frame)

    def script(self) -> Any:
        return np.array(
            [(T0 + t, what, key, side, price, lots, tif, 0) for t, what, key, side, price, lots, tif in self.actions],
            ACTION_DTYPE,
        )


def config(name: str, *, partial: bool = True, **options: Any) -> Config:
    return Config(name, partial=partial, exact=True, **options)


def buy(key: int, lots: int, price: int = 100, tif: int = GTX, at: int = 1) -> tuple[int, ...]:
    return (at, PLACE, key, 1, price, lots, tif)


def sold(at: int, lots: int, price: int = 100) -> tuple[int, ...]:
    return (at, TRADE, -1, price, lots)


def bid(at: int, lots: int) -> tuple[int, ...]:
    return (at, DEPTH, 1, 100, lots)


def ask(at: int, price: int, lots: int) -> tuple[int, ...]:
    return (at, DEPTH, -1, price, lots)


POWER = {"queue_model": QueueModel.POWER, "n": 0.5}
# 100 ahead, 200 newcomers behind, all gone: p = 200**.5 / (200**.5 + 100**.5) = 0.5858, 100 - 0.4142 x 300 = -24.3 ahead.
OVERRUN = (bid(10, 300), bid(20, 0), bid(30, 60))
CASES = {
    "partial fills": Case((sold(10, 103), sold(20, 2)), (buy(1, 10),), config("partial")),
    "exact fill": Case((sold(10, 103), sold(20, 50), sold(30, 150)), (buy(1, 3), buy(2, 20, at=15)), config("exact")),
    "crosses wholly": Case((ask(10, 100, 5), ask(20, 100, 6)), (buy(1, 10),), config("crosses")),
    "each sees all": Case((sold(10, 103),), (buy(1, 3), buy(2, 3)), config("shared", partial=False)),
    "last chunk": Case((ask(0, 102, 50),), (buy(1, 150, 102, IOC, at=5),), config("chunk")),
    "book never reduced": Case((), (buy(1, 80, 101, IOC), buy(2, 80, 101, IOC, at=2)), config("reduced")),
    "remainder at the limit": Case((), (buy(1, 150, 103, GTC),), config("remainder")),
    "front below zero": Case((*OVERRUN, sold(40, 1)), (buy(1, 50),), config("front", **POWER)),
    "sent to the back": Case((*OVERRUN, bid(40, 50), sold(50, 30)), (buy(1, 1),), config("back", partial=False, **POWER)),
    "modify": Case((sold(20, 500),), (buy(1, 10), (5, MODIFY, 1, 1, 100, 20, GTX)), config("modify", partial=False)),
    "rejection delays answers": Case(
        (sold(S + S // 2, 500),),
        (buy(1, 1, at=1), (int(1.7 * S), 1, 1, 1, 100, 0, 0), (int(2.5 * S), 1, 1, 1, 100, 0, 0)),
        config("rejection", partial=False, latencies="recorded"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    peer_python()
    folder = tmp_path_factory.mktemp("faults")
    write_latencies(folder / "latencies.npz", LATENCIES)
    files, scripts, configs = [], [], []
    for number, case in enumerate(CASES.values()):
        files.append(folder / f"feed-{number}.npz")
        np.savez(files[-1], data=peer_rows(case.feed(), 1.0, 1.0))
        scripts.append(case.script())
        chosen = case.config
        if chosen.latencies:
            chosen = Config(**{**chosen.__dict__, "latencies": str(folder / "latencies.npz")})
        configs.append(chosen)
    return dict(zip(CASES, run_peer(files, T0 + END - 1, PAIR, scripts, configs, folder), strict=True))


def ours(name: str) -> Outcome:
    case = CASES[name]
    reason = supported(case.config)
    if reason:
        pytest.skip(reason)
    return run_ours(case.feed(), PAIR, case.script(), case.config)


def fills(outcome: Outcome) -> list[tuple[int, int, int]]:
    return [(fill.order_id, fill.price_ticks, fill.lots) for fill in outcome.fills]


def test_partial_fills_reach_position_and_cash_only_here(peers: dict[str, Outcome]) -> None:
    theirs, mine = peers["partial fills"], ours("partial fills")
    assert fills(theirs) == fills(mine) == [(1, 100, 3), (1, 100, 2)]
    assert (theirs.position, theirs.balance) == (0, 0)
    assert (mine.position, mine.balance) == (5, -500)


def test_an_exact_fill_ends_the_peers_run(peers: dict[str, Outcome]) -> None:
    theirs, mine = peers["exact fill"], ours("exact fill")
    assert fills(mine) == [(1, 100, 3), (2, 100, 20)]
    assert mine.position == 23
    assert fills(theirs) == [(1, 100, 3)]
    assert not theirs.more["lasted"], "the order filled at 10 is touched again at 20, and the feed seems to be over"


def test_the_other_side_fills_what_it_displays(peers: dict[str, Outcome]) -> None:
    assert fills(peers["crosses wholly"]) == [(1, 100, 10)]
    assert fills(ours("crosses wholly")) == [(1, 100, 5), (1, 100, 1)]


def test_own_orders_share_a_trade(peers: dict[str, Outcome]) -> None:
    assert fills(peers["each sees all"]) == [(1, 100, 3), (2, 100, 3)]
    assert fills(ours("each sees all")) == [(1, 100, 3)]


def test_every_chunk_of_a_taker_counts(peers: dict[str, Outcome]) -> None:
    theirs, mine = peers["last chunk"], ours("last chunk")
    assert sorted(fills(mine)) == [(1, 101, 100), (1, 102, 50)]
    assert (mine.position, mine.balance) == (150, -15_200)
    assert fills(theirs) == [(1, 102, 50)]
    assert (theirs.position, theirs.balance) == (50, -5_100)


def test_what_an_own_order_took_is_gone(peers: dict[str, Outcome]) -> None:
    assert fills(peers["book never reduced"]) == [(1, 101, 80), (2, 101, 80)]
    assert fills(ours("book never reduced")) == [(1, 101, 80), (2, 101, 20)]


def test_nobody_sells_the_remainder_of_a_limit_order(peers: dict[str, Outcome]) -> None:
    assert fills(peers["remainder at the limit"]) == [(1, 103, 50)], "nothing was offered above 101"
    assert fills(ours("remainder at the limit")) == [(1, 101, 100)]


def rules(name: str) -> list[tuple[int, int]]:
    case = CASES[name]
    sent = [True] * len(case.actions)
    return [(f.order_id, f.lots) for f in run_rules(case.feed(), PAIR, case.script(), sent, case.config, OURS)]


def test_a_trade_of_one_fills_one(peers: dict[str, Outcome]) -> None:
    assert fills(peers["front below zero"]) == [(1, 100, 25)]
    assert rules("front below zero") == [(1, 1)]
    assert fills(ours("front below zero")) == [(1, 100, 1)]


def test_being_first_is_not_lost_by_a_cancel(peers: dict[str, Outcome]) -> None:
    assert fills(peers["sent to the back"]) == [], "a root of a negative front: the order is behind all 50"
    assert rules("sent to the back") == [(1, 1)]
    assert fills(ours("sent to the back")) == [(1, 100, 1)]


def test_the_peer_forgets_the_new_quantity_of_a_modified_order(peers: dict[str, Outcome]) -> None:
    assert fills(peers["modify"]) == [(1, 100, 10)], "asked for 20"


def test_a_rejected_request_delays_no_answer(peers: dict[str, Outcome]) -> None:
    theirs = peers["rejection delays answers"]
    assert [fill.ts - T0 for fill in theirs.fills] == [S + S // 2]
    # 0.2 s after the fill the peer's owner still does not know of it and cancels; at 2.5 s he does.
    assert theirs.sent == [True, True, False]
    state = recorded(LATENCIES)
    assert _response(state.head, T0 + S + S // 2, state.answers) == 1000


@njit
def _response(head, ts, answers):
    return latency_kernel.response_latency(head[0], ts, answers, np.int64(0))
