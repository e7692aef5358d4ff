"""The tape of a simulated run as a recorded market by order, so that a backtest can replay it.

The tape has every stranger's order and every trade, own ones included, as a recorder in the street would have them; own
orders themselves it does not have.
"""

from __future__ import annotations

import polars as pl

from market_maker.market_data.replay import Feed, feed_of
from market_maker.market_data.schema import ORDERS_SCHEMA, EventKind
from market_maker.montecarlo.engine import Simulation


def frame_of_tape(simulation: Simulation) -> pl.DataFrame:
    """Return the tape as a table `orders`; a last row, of an order nobody will ever meet, says how long was recorded."""
    tape = simulation.tape()
    last = simulation.config.run.end_ts - 1
    names = ("kind", "side", "price_ticks", "qty_lots", "order_id")
    columns = {"exch_ts": tape["ts"], "local_ts": tape["ts"], "sequence": 0 * tape["ts"]} | {
        name: tape[name] for name in names
    }
    frame = pl.DataFrame(columns).cast(ORDERS_SCHEMA).select(list(ORDERS_SCHEMA))  # type: ignore[arg-type]
    end = (last, last, int(EventKind.ADD), 1, 1, 1, 0, 1 << 60)
    return pl.concat([frame, pl.DataFrame([end], schema=ORDERS_SCHEMA, orient="row")])


def feed_of_tape(simulation: Simulation) -> Feed:
    """Return the recorded market of a run that has ended."""
    run = simulation.config.run
    return feed_of(frame_of_tape(simulation), start_ts=run.start_ts, end_ts=run.end_ts)
