"""The whole story of one order of a run: why it did or did not fill, and who stood ahead of it when.

A run is repeatable, so nothing is kept for this while it runs: the same run is done again up to the end of the order, and
this time the kernel writes down what happens to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from market_maker.backtest.conditioned import under_conditions
from market_maker.backtest.engine import RunConfig, open_drive, open_market
from market_maker.backtest.state import FillCause, Note, Reason
from market_maker.domain.errors import DataError, NotFound
from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.market_data.replay import Feed
from market_maker.storage.lake import Lake
from market_maker.strategies.actions import Records
from market_maker.strategies.contract import PreparedStrategy, find_strategy

STEPS = 64
"""Pieces in which the run is done again: it ends with the piece in which the order did."""
_ENDS = {Note.CANCELED, Note.EXPIRED, Note.REJECTED}
_FILLS = {
    FillCause.TAKEN: "it took what the book displayed",
    FillCause.TRADE_THROUGH: "a trade went through its price",
    FillCause.TRADE_AT: "a trade at its price went beyond the queue ahead",
    FillCause.CROSSED: "the other side of the book came to its price",
    FillCause.DISPLACED: "the displaced book came to its price",
}
_QUEUE = {Note.QUEUE_TRADE, Note.QUEUE_LEVEL, Note.QUEUE_MOVED, Note.QUEUE_CLEARED}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to an order; `ts` in ns UTC (the owner's clock for what he sent, else the venue's)."""

    ts: int
    what: str
    price: Decimal
    quantity: Decimal
    leaves: Decimal
    queue_ahead: Decimal
    best_bid: Decimal
    best_ask: Decimal
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to an order, in order, and a verdict in one sentence."""

    order_id: int
    side: str
    queue_model: str
    verdict: str
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the story as JSON values: money, quantities and times as text."""
        return {
            "order_id": self.order_id, "side": self.side, "queue_model": self.queue_model, "verdict": self.verdict,
            "steps": [
                {
                    "ts": str(step.ts), "what": step.what, "text": step.text,
                    **{name: f"{getattr(step, name):f}" for name in _AMOUNTS},
                }
                for step in self.steps
            ],
        }  # fmt: skip


_AMOUNTS = ("price", "quantity", "leaves", "queue_ahead", "best_bid", "best_ask")


def explain_order(config: RunConfig, feed: Feed, strategy: PreparedStrategy, order_id: int) -> Story:
    """Return the story of an order of a run without market conditions; those are put on the feed before.

    Raises
    ------
    NotFound
        The run sent no order with this id.
    """
    if not 0 < order_id < 2**63:
        raise NotFound.of("order of this run", "order_id", order_id)
    config = replace(config, band=False, records_orders=False)
    drive = open_drive([config], feed, [strategy], explained_id=order_id)
    begin, last = max(config.start_ts, feed.first_ts), min(config.end_ts - 1, feed.last_ts)
    drive.run_until(begin - 1)
    drive.wake(after_ts=begin)
    for part in range(1, STEPS + 1):
        drive.run_until(begin + (last - begin) * part // STEPS)
        if _has_ended(drive.log()):
            break
    else:
        if last == feed.last_ts:
            drive.finish()
    log = drive.log()
    if not len(log):
        raise NotFound.of("order of this run", "order_id", order_id)
    steps = tuple(_step(entry, config.instrument) for entry in log)
    side = Side(int(log[0]["side"])).name
    return Story(order_id, side, drive.sets[0].queue_model.name, _verdict(log, config.instrument), steps)


def explain_run(lake: Lake, config: RunConfig, known: Mapping[str, Any], order_id: int) -> Story:
    """Return the story of an order of a run that was done on recorded data.

    `known` : the run's `reproducibility`. DataError when its recorded market, or its strategy's file, has changed since.
    """
    strategy = find_strategy(config.strategy_kind).prepare(config.parameters)
    if known.get("strategy_source") not in {None, strategy.kind.source_hash()}:
        raise DataError(
            f"the file of strategy {config.strategy_kind} has changed since the run; run the backtest again"
        )
    config, feed = open_market(config, lake)
    if feed.data_hash != known["data_hash"]:
        raise DataError("the recorded market has changed since the run; run the backtest again")
    if config.market_conditions is not None:
        feed, _ = under_conditions(feed, config.market_conditions, config.instrument)
    return explain_order(config, feed, strategy, order_id)


def _has_ended(log: Records) -> bool:
    if not len(log):
        return False
    last = log[-1]
    note = Note(int(last["note"]))
    return note in _ENDS or (note is Note.FILLED and int(last["leaves_lots"]) == 0) or _was_lost(log)


def _was_lost(log: Records) -> bool:
    """Return whether the order itself never reached the venue."""
    return len(log) > 1 and Note(int(log[1]["note"])) is Note.LOST and Note(int(log[0]["note"])) is Note.NEW_SENT


def _step(entry: Any, pair: Instrument) -> Step:
    return Step(
        ts=int(entry["ts"]),
        what=Note(int(entry["note"])).name,
        price=pair.ticks_to_price(int(entry["price_ticks"])),
        quantity=pair.lots_to_qty(int(entry["qty_lots"])),
        leaves=pair.lots_to_qty(int(entry["leaves_lots"])),
        queue_ahead=pair.lots_to_qty(int(entry["queue_ahead_lots"])),
        best_bid=pair.ticks_to_price(int(entry["best_bid_ticks"])),
        best_ask=pair.ticks_to_price(int(entry["best_ask_ticks"])),
        text=_text(entry, pair),
    )


def _text(entry: Any, pair: Instrument) -> str:
    note = Note(int(entry["note"]))
    price = f"{pair.ticks_to_price(int(entry['price_ticks'])):f}"
    quantity = f"{pair.lots_to_qty(int(entry['qty_lots'])):f}"
    ahead = f"{pair.lots_to_qty(int(entry['queue_ahead_lots'])):f} ahead"
    if note is Note.FILLED:
        return f"{quantity} filled at {price}: {_FILLS[FillCause(int(entry['reason']))]}"
    reason = Reason(int(entry["reason"]))
    because = "" if reason is Reason.NONE else f": {reason.name}"
    if reason >= Reason.MAX_ORDER_SIZE:
        because = f" by the run's limits before it left: {reason.name}"
    return {
        Note.NEW_SENT: f"sent: {quantity} at {price}",
        Note.CANCEL_SENT: f"cancel sent with {quantity} open",
        Note.AMEND_SENT: f"change sent: {quantity} at {price}",
        Note.RESTED: f"rests at {price}, {ahead}",
        Note.AMENDED: f"changed to {quantity} open at {price}, {ahead}",
        Note.CANCELED: f"canceled with {quantity} open, {ahead}",
        Note.EXPIRED: f"expired with {quantity} open{because}",
        Note.REJECTED: f"rejected{because}",
        Note.REFUSED: f"change to {quantity} at {price} refused{because}; it stays as it was",
        Note.LOST: "lost on the way to the venue",
        Note.MISSED: "it could have filled, but by execution_probability nobody was there",
        Note.QUEUE_TRADE: f"a trade of {quantity} at its price, {ahead}",
        Note.QUEUE_LEVEL: f"its level displays {quantity}, {ahead}",
        Note.QUEUE_MOVED: f"the book moved; its level displays {quantity}, {ahead}",
        Note.QUEUE_CLEARED: f"the feed cleared its side, {ahead}",
    }[note]


def _verdict(log: Records, pair: Instrument) -> str:
    """Say in one sentence why an order did or did not fill."""
    notes = log["note"]
    fills = log[notes == Note.FILLED]
    if len(fills):
        filled = pair.lots_to_qty(int(fills["qty_lots"].sum()))
        causes = [_FILLS[FillCause(int(cause))] for cause in np.unique(fills["reason"])]
        left = pair.lots_to_qty(int(fills[-1]["leaves_lots"]))
        return f"filled {filled:f} because {' and '.join(causes)}" + (f"; {left:f} were left" if left else "")
    last = log[-1]
    if Note(int(notes[-1])) in {Note.REJECTED, Note.EXPIRED} and not (notes == Note.RESTED).any():
        return f"not filled: {_text(last, pair)}"
    if _was_lost(log):
        return "not filled: it never reached the venue"
    if not (notes == Note.RESTED).any():
        return "not filled: it had not reached the venue when the run ended"
    queued = log[np.isin(notes, [Note.RESTED, *_QUEUE])]
    traded = pair.lots_to_qty(int(log[notes == Note.QUEUE_TRADE]["qty_lots"].sum()))
    first, least = (
        pair.lots_to_qty(int(queued["queue_ahead_lots"][at])) for at in (0, queued["queue_ahead_lots"].argmin())
    )
    missed = int((notes == Note.MISSED).sum())
    chance = f", {missed} times nobody was there by execution_probability" if missed else ""
    how = _text(last, pair) if Note(int(notes[-1])) in _ENDS else "it still rested when the run ended"
    return (
        f"not filled: {first:f} stood ahead when it came, {traded:f} traded at its price, at least {least:f} stayed ahead"
        f"{chance}; {how}"
    )
