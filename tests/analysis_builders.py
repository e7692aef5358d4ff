"""Invented markets and runs of the engine on them, for tests of the analysis and of its report."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from feed_builders import DEPTH, T0, TRADE, book
from market_maker.backtest.analyses import StoredRun
from market_maker.backtest.engine import RunConfig, run
from market_maker.backtest.fee_models.funding import Funding
from market_maker.backtest.result import RunResult
from market_maker.domain.instrument import Instrument
from market_maker.market_data.replay import Feed, feed_of
from market_maker.performance.trial_statistics import TrialStatistics
from market_maker.strategies.contract import find_strategy

SECOND = 10**9
PAIR = Instrument(
    UUID(int=1), "v", "A-B", "A", "B", Decimal("0.5"), Decimal("0.01"),
    maker_fee=Decimal("-0.0001"), taker_fee=Decimal("0.0005"),
)  # fmt: skip
PARAMETERS = {"half_spread_ticks": 1, "order_lots": 3, "max_inventory_lots": 20, "interval_ns": SECOND // 5}


def walking_feed(rng: np.random.Generator, steps: int = 4000, step_ns: int = SECOND // 10) -> Feed:
    """Return a market of two levels whose mid walks by a tick, with a trade at one of its best prices in each step."""
    rows: list[tuple[int, ...]] = []
    price = 5000

    def at(t: int, kind: int, side: int, ticks: int, lots: int) -> None:
        rows.append((t, t, int(kind), side, ticks, lots))

    at(0, DEPTH, 1, price, 5)
    at(0, DEPTH, -1, price + 2, 5)
    for k, (move, lots, side) in enumerate(
        zip(rng.integers(-1, 2, steps), rng.integers(1, 9, steps), rng.choice([-1, 1], steps), strict=True), 1
    ):
        t = k * step_ns
        at(t, TRADE, int(side), price + 2 if side > 0 else price, int(lots))
        if move > 0:
            at(t, DEPTH, -1, price + 2, 0)
            at(t, DEPTH, -1, price + 3, 5)
            at(t, DEPTH, 1, price + 1, 5)
        elif move < 0:
            at(t, DEPTH, 1, price, 0)
            at(t, DEPTH, 1, price - 1, 5)
            at(t, DEPTH, -1, price + 1, 5)
        price += int(move)
    return feed_of(book(*rows), venue="v")


def a_config(feed: Feed, **changes: Any) -> RunConfig:
    """Return the configuration of a run over the whole of a feed."""
    given: dict[str, Any] = {
        "instrument": PAIR, "strategy_kind": "inventory_skew", "parameters": PARAMETERS, "start_ts": feed.first_ts,
        "end_ts": feed.last_ts + 1, "entry_latency_ns": 1_000_000, "response_latency_ns": 1_000_000,
        "records_orders": True, "band": True,
    }  # fmt: skip
    return RunConfig(**(given | changes))


def a_result(config: RunConfig, feed: Feed) -> RunResult:
    """Return what the engine gives."""
    return run(config, feed, find_strategy(config.strategy_kind).prepare(config.parameters))


def funding_at(*seconds_and_rates: tuple[float, int]) -> Funding:
    """Return payments of so many cash units per lot, at so many seconds after the feed begins."""
    ts = [T0 + int(seconds * SECOND) for seconds, _ in seconds_and_rates]
    return Funding(np.array(ts, np.int64), np.array([rate * 10**8 for _, rate in seconds_and_rates], np.int64))


def stored(result: RunResult, config: RunConfig, number: int = 0, **changes: Any) -> StoredRun:
    """Return a run as the service hands it to the analysis."""
    known: dict[str, Any] = {"trials": TrialStatistics(10, 0.5), "surface": None}
    return StoredRun(f"run {number}", f"strategy {number}", config, result, **(known | changes))
