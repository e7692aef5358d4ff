"""A strategy's run on a simulated market: its row, and what of it a restart must find again."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from market_maker.domain.instrument import EXACT, Instrument
from market_maker.domain.units import format_duration
from market_maker.simulator.strategy_runs.score import Score

RUNNING, STOPPED, FAILED = "RUNNING", "STOPPED", "FAILED"


@dataclass(slots=True)
class Progress:
    """Where a run stands, written with every commit in which it was awake.

    Instants are the market's, in ns. `numbers` are its open orders with the numbers that the strategy knows them by,
    `known` their versions, instants of placing and lots ahead as last told. `reasons` wake it at its next look.
    """

    next_wake_ts: int = 0
    last_wake_ts: int = 0
    wakes: int = 0
    wakes_at_once: int = 0
    reasons: int = 0
    last_order: int = 0
    numbers: dict[UUID, int] = field(default_factory=dict)
    known: dict[UUID, tuple[int, int, int]] = field(default_factory=dict)
    best_bid_ticks: int = 0
    best_ask_ticks: int = 0
    refilled: int = 0
    last_trade_ticks: int = 0
    bought_lots: int = 0
    sold_lots: int = 0
    trades: int = 0
    placed: int = 0
    rejected: int = 0
    refused: int = 0
    last_refusal: str = ""
    position_lots: int = 0
    quotes: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
    score: Score = field(default_factory=Score)

    def packed(self) -> str:
        """Return it as JSON text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def unpacked(cls, value: Any) -> Progress:
        """Return what `packed` wrote, parsed as JSON already."""
        return msgspec.convert(value, cls)


@dataclass(slots=True)
class Run:
    """A run: which strategy trades for which account on which market.

    `state` is RUNNING, STOPPED or FAILED; `error` says why it failed, or why it was stopped by something else than a user.
    """

    run_id: UUID
    strategy_id: UUID
    account_id: UUID
    pair_id: UUID
    session_id: UUID
    name: str
    kind: str
    parameters: dict[str, Any]
    state: str
    error: str
    started_ts: int
    ended_ts: int
    updated_ts: int
    sequence: int
    progress: Progress = field(default_factory=Progress)


def run_data(run: Run) -> dict[str, Any]:
    """Return what names a run and tells how it ended, as JSON values: the content of its events."""
    return {
        "run_id": str(run.run_id),
        "strategy_id": str(run.strategy_id),
        "account_id": str(run.account_id),
        "pair_id": str(run.pair_id),
        "session_id": str(run.session_id),
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "error": run.error or None,
        "started_ts": str(run.started_ts),
        "ended_ts": str(run.ended_ts) if run.ended_ts else None,
    }


def run_view(run: Run, instrument: Instrument) -> dict[str, Any]:
    """Return a run with quotes, inventory, result and markouts in the units of users."""
    progress, score = run.progress, run.progress.score
    half = EXACT.divide(instrument.tick_lot, Decimal(2))

    def cash(half_tick_lots: int) -> str:
        return f"{EXACT.multiply(Decimal(half_tick_lots), half):f}"

    def quote(level: tuple[int, int] | None) -> dict[str, str] | None:
        if level is None:
            return None
        return {"price": instrument.price_text(level[0]), "quantity": instrument.qty_text(level[1])}

    bid, ask = progress.quotes
    mid = EXACT.multiply(Decimal(score.mid_half), EXACT.divide(instrument.tick_size, Decimal(2)))
    return run_data(run) | {
        "parameters": run.parameters,
        "updated_ts": str(run.updated_ts),
        "wakes": progress.wakes,
        "orders_placed": progress.placed,
        "orders_rejected": progress.rejected,
        "orders_refused": progress.refused,
        "last_refusal": progress.last_refusal or None,
        "open_orders": len(progress.numbers),
        "quotes": {"bid": quote(bid), "ask": quote(ask)},
        "inventory": f"{instrument.lots_to_qty(progress.position_lots):f}",
        "mid_price": f"{mid:f}" if score.mid_half else None,
        "fills": score.fills,
        "maker_fills": score.maker_fills,
        "turnover": instrument.cash_text(score.volume_tick_lots),
        "pnl": {
            "net": cash(score.net_half),
            "spread": cash(score.spread_half),
            "inventory": cash(score.inventory_half),
            "fees": instrument.cash_text(score.fees_tick_lots),
        },
        "markouts": [
            {
                "horizon": format_duration(each.horizon_ns),
                "mean": None if not each.lots else each.sum_half / (2 * each.lots) * float(instrument.tick_size),
                "fills": each.fills,
                "left_out": each.left_out,
            }
            for each in score.horizons
        ],
    }
