"""Invented runs for tests of the analysis: a random mid, random fills around it, and the ledger they lead to."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import numpy as np

from market_maker.domain.instrument import ContractType, Instrument
from market_maker.domain.order import Side
from market_maker.domain.position import PositionState
from market_maker.performance.columns import Fills, Samples
from market_maker.performance.trading import OrderCounts

SECOND = 10**9
PAIR = Instrument(UUID(int=1), "venue", "BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"))
BALANCE = 10**10
"""In tick-lots: 1,000,000 USDT; of `COIN` 1 BTC."""
COIN = Instrument(
    UUID(int=2), "venue", "BTC-USD", "BTC", "USD", Decimal("0.5"), Decimal(1), ContractType.INVERSE,
    contract_multiplier=Decimal(100),
)  # fmt: skip
"""Contracts of 100 USD that are paid in BTC."""


def random_run(
    rng: np.random.Generator,
    *,
    samples: int,
    fills: int,
    interval_ns: int = SECOND,
    start_ts: int = 1_700_000_000 * SECOND,
) -> tuple[Samples, Fills]:
    """Return the columns of a run whose maker fills earn a little: everything about it is consistent, nothing real."""
    span = samples * interval_ns
    ts = np.sort(np.concatenate([start_ts + np.arange(samples) * interval_ns, start_ts + rng.integers(1, span, fills)]))
    is_fill = np.ones(len(ts), dtype=bool)
    is_fill[np.searchsorted(ts, start_ts + np.arange(samples) * interval_ns, side="right") - 1] = False
    is_fill = is_fill if is_fill.sum() == fills else _last_of_each(ts, start_ts, samples, interval_ns)
    mid = 600_000 + np.cumsum(rng.integers(-3, 4, len(ts)))
    side = np.where(rng.random(len(ts)) < 0.5, 1, -1)
    # A tendency towards flat keeps the invented inventory bounded.
    side = np.where(np.arange(len(ts)) % 2 == 0, side, -np.roll(side, 1))
    qty = np.where(is_fill, rng.integers(1, 50, len(ts)), 0)
    price = (mid - side * rng.integers(-1, 5, len(ts))) // 2
    liquidity = (rng.random(len(ts)) < 0.1).astype(np.int64)
    fee = np.where(is_fill, np.where(liquidity == 1, price * qty // 2000, -(price * qty // 20000)), 0)
    position = np.cumsum(side * qty)
    cash, fees = np.cumsum(-side * price * qty), np.cumsum(fee)
    equity = 2 * (BALANCE + cash - fees) + position * mid
    at_sample = ~is_fill
    sampled = Samples(
        *(column[at_sample] for column in (ts, equity, position, cash, fees, mid)),
        best_bid_ticks=(mid[at_sample] - 1) // 2,
        best_ask_ticks=(mid[at_sample] + 2) // 2,
        traded_lots=rng.integers(0, 2000, samples),
    )
    executed = Fills(
        ts[is_fill], np.arange(fills) // 2, *(column[is_fill] for column in (side, liquidity, price, qty, fee, position, cash, fees, mid)),
        cause=rng.integers(0, 3, fills), queue_ahead_lots=rng.integers(0, 9, fills) * rng.integers(0, 100, fills),
    )  # fmt: skip
    return sampled, executed


def _last_of_each(ts: np.ndarray, start_ts: int, samples: int, interval_ns: int) -> np.ndarray:
    """Return which instants are fills when a fill and a sample share one: the sample is the last of them."""
    is_fill = np.ones(len(ts), dtype=bool)
    for instant in start_ts + np.arange(samples) * interval_ns:
        is_fill[int(np.searchsorted(ts, instant, side="right")) - 1] = False
    return is_fill


def slow_worth(pair: Instrument, position_lots: int, mid_half_ticks: int) -> int:
    """Return what a position is worth in half units of cash, by fractions; halves of a unit's half are rounded up in size."""
    if not pair.inverse_scale:
        return position_lots * mid_half_ticks
    lots_per_tick = abs(position_lots) / Fraction(mid_half_ticks, 2)
    half_units = math.floor(2 * lots_per_tick * pair.inverse_scale + Fraction(1, 2))
    return -half_units if position_lots > 0 else half_units


def ledger_run(events: list[tuple[int, int, int, int, int, int]], pair: Instrument = PAIR) -> tuple[Samples, Fills]:
    """Return the columns of a run told as events (ts, side, price, quantity, fee, mid in half ticks), side 0 a sample.

    The ledger is kept by `domain.position`, fill by fill, and not by sums over columns.
    """
    nil = UUID(int=0)
    position = PositionState(nil, nil, nil, None)
    sampled: list[tuple[int, ...]] = []
    executed: list[tuple[int, ...]] = []
    for number, (ts, side, price, qty, fee, mid) in enumerate(events):
        if side:
            position.apply_fill(Side(side), price, qty, fee, pair)
        ledger = (position.qty_lots, position.cash_tick_lots, position.fees_tick_lots)
        if side:
            executed.append((ts, number, side, 0, price, qty, fee, *ledger, mid))
        else:
            equity = 2 * (BALANCE + ledger[1] - ledger[2]) + slow_worth(pair, ledger[0], mid)
            sampled.append((ts, equity, *ledger, mid))
    return (
        Samples(*(np.array([row[k] for row in sampled], dtype=np.int64) for k in range(6))),
        Fills(*(np.array([row[k] for row in executed], dtype=np.int64) for k in range(11))),
    )


def counts_for(fills: Fills) -> OrderCounts:
    """Return counts of orders in which every second one was filled."""
    filled = len(np.unique(fills.order_id))
    return OrderCounts(placed=2 * filled, rejected=0, canceled=filled, expired=0)
