"""Clears of a book among its rows: before a snapshot, and where messages are missing. Knows no source format."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market_maker.market_data.schema import EventKind


def with_clears(
    rows: pl.DataFrame, at: NDArray[np.int64], whole: NDArray[np.bool_], sequence: NDArray[np.int64] | None = None
) -> pl.DataFrame:
    """Return rows of a book (raw form) with a clear of the bids and one of the asks before each of the places `at`.

    The clears have the times and the row of what they precede.

    Parameters
    ----------
    rows : prices and quantities of any one type
    at : (k,), ascending
    whole : (k,), whether the message ends with the clears: the book is unknown, and no snapshot follows at once
    sequence : (k,), numbers of the clears; None: those of the rows that they precede
    """
    if not len(at):
        return rows
    order = np.sort(np.concatenate([np.arange(rows.height), at, at]), kind="stable")
    bids = at + 2 * np.arange(len(at))
    asks = bids + 1
    picked = rows.select("exch_ts", "local_ts", "row")[order]
    columns = {name: rows[name].to_numpy()[order] for name in ("kind", "side", "sequence", "last")}
    columns["kind"][bids] = columns["kind"][asks] = int(EventKind.CLEAR)
    columns["side"][bids], columns["side"][asks] = 1, -1
    columns["last"][bids], columns["last"][asks] = False, whole
    if sequence is not None:
        columns["sequence"][bids] = columns["sequence"][asks] = sequence
    # A zero behind the numbers is what the clears pick.
    order[bids] = order[asks] = rows.height
    numbers = [
        pl.concat([rows[name], pl.Series(name, [0], rows[name].dtype)]).gather(order) for name in ("price", "qty")
    ]
    return picked.with_columns(*numbers, **{name: pl.Series(values) for name, values in columns.items()}).select(
        rows.columns
    )
