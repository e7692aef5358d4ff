"""What a simulated run has beside the memory of a replay: its place in the market, and the tape of what happened there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from market_maker.backtest.state import FOREVER
from market_maker.matching.state import COMMAND_DTYPE

TAPE_ROWS = 1 << 17
"""Rows of the tape that are kept before the caller must take them."""

TRADER_DTYPE = np.dtype([(name, np.int64) for name in (
    # how own orders are treated: 1e9 times the chance that a counterparty is not there, 1e9 times the impact, self-trade
    # prevention (`matching.codes.SelfTrade`); whether the view and the mid count own orders; whether a tape is kept
    "miss_e9", "impact_e9", "self_trade", "shows_own", "records",
    # the instant of the market's next event; 1 once the market stands still
    "next_ts", "frozen",
    # best prices as the view shows them, 0 without one; the last empty side that the flow has served
    "bid_ticks", "ask_ticks", "refilled",
    # a stranger's order that may come to rest once it has traded: its id, side, price, quantity left
    "arrived_id", "arrived_side", "arrived_ticks", "arrived_lots", "arrived_ts",
    # rows on the tape, events of the market so far
    "tape_count", "events",
    # what a replay of the tape could not tell alike: lots that own orders took, requests that met an own order
    "taken_lots", "own_meetings",
)])  # fmt: skip

TAPE_DTYPE = np.dtype([(name, np.int64) for name in ("ts", "kind", "side", "price_ticks", "qty_lots", "order_id")])
"""What a recorder would have seen, as rows of a table of orders; see `market_data.schema.EventKind`."""


class Trader(NamedTuple):
    """Memory of the run: head (1,) TRADER_DTYPE, command (1,) of the matching engine, tape (n,) TAPE_DTYPE."""

    head: Any
    command: Any
    tape: Any


def new_trader(*, records: bool = False) -> Trader:
    """Return the memory of a run that has not begun."""
    head = np.zeros(1, TRADER_DTYPE)
    head["records"] = records
    head["next_ts"] = FOREVER
    return Trader(head, np.zeros(1, COMMAND_DTYPE), np.zeros(TAPE_ROWS if records else 1, TAPE_DTYPE))
