"""Commands of the matching engine as bytes: one record that is filled in over and over, and the rows of a market's log.

Owns the layout of `matching.state.COMMAND_DTYPE` as Python packs it, and of a log row: the market's instant, the command. A
row may also say what the conditions of the flow became, which scenarios change.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from market_maker.domain.errors import DataError, InvalidRequest
from market_maker.domain.order import Order, OrderType, Side, TimeInForce
from market_maker.matching.book import Commands
from market_maker.matching.codes import EVERYONE, Command, Phase
from market_maker.matching.state import COMMAND_DTYPE, MISS_SCALE
from market_maker.synthetic.flow.parameters import Conditions

_LAYOUT = struct.Struct("<bbbbiqqqqqqiibbhi")
_CONDITIONS_LAYOUT = struct.Struct("<bbhi7dq")
_CONDITIONS_KIND = 100
"""A row that is no command of the engine: what the flow's conditions became, and a jump of the reference price."""
_INSTANT = struct.Struct("<q")
ROW_BYTES = _INSTANT.size + _LAYOUT.size
_ENDS_AT_VENUE = {TimeInForce.GTD: TimeInForce.GTC}
"""Orders with an end are canceled by the venue: their end is an instant of the caller's clock, not of the market's."""
assert _LAYOUT.size == _CONDITIONS_LAYOUT.size == COMMAND_DTYPE.itemsize


@dataclass(frozen=True, slots=True)
class ChangedConditions:
    """Conditions of the flow from an instant on, with a jump of the reference price in units of 2^-40."""

    conditions: Conditions
    jump_q40: int


class CommandWriter:
    """One command record; `row` is what the engine takes, filled in by the other methods.

    Examples
    --------
    >>> writer = CommandWriter()
    >>> writer.cancel(7)
    >>> int(writer.row["order_id"][0])
    7
    """

    def __init__(self) -> None:
        self._bytes = bytearray(_LAYOUT.size)
        self.row: Commands = np.frombuffer(self._bytes, COMMAND_DTYPE)

    def place(self, order: Order, owner: int, qty_lots: int, *, display_lots: int, post_only: bool) -> None:
        """Write the placing of an order under its number, or of what is left of one that is placed again."""
        kind = order.order_type
        if order.triggered:
            kind = OrderType.LIMIT if kind is OrderType.STOP_LIMIT else OrderType.MARKET
        force = _ENDS_AT_VENUE.get(order.time_in_force, order.time_in_force)
        chances = (
            MISS_SCALE - round(order.execution_probability * MISS_SCALE),
            round(order.price_impact * MISS_SCALE),
        )
        _LAYOUT.pack_into(
            self._bytes, 0, Command.NEW, order.side, kind, force, owner, order.priority, order.price_ticks, qty_lots,
            order.stop_ticks if kind.is_stop else 0, display_lots, 0, *chances, post_only, order.self_trade, 0, 0,
        )  # fmt: skip

    def place_as_market(self, side: Side, price_ticks: int, qty_lots: int, force: TimeInForce) -> None:
        """Write a limit order of nobody in particular; the engine numbers it."""
        _LAYOUT.pack_into(
            self._bytes, 0, Command.NEW, side, OrderType.LIMIT, force, 0, 0, price_ticks, qty_lots, *(0,) * 9
        )

    def cancel(self, number: int) -> None:
        """Write the cancel of an order."""
        _LAYOUT.pack_into(self._bytes, 0, Command.CANCEL, 0, 0, 0, EVERYONE, number, *(0,) * 11)

    def amend(self, number: int, price_ticks: int, qty_lots: int, stop_ticks: int) -> None:
        """Write an amendment; 0 leaves a value as it is."""
        _LAYOUT.pack_into(
            self._bytes, 0, Command.AMEND, 0, 0, 0, EVERYONE, number, price_ticks, qty_lots, stop_ticks, *(0,) * 8
        )

    def enter_phase(self, phase: Phase) -> None:
        """Write that a trading phase begins."""
        _LAYOUT.pack_into(self._bytes, 0, Command.PHASE, 0, phase, 0, EVERYONE, *(0,) * 12)

    def set_reference(self, price_ticks: int) -> None:
        """Write the reference price of collar and static band."""
        _LAYOUT.pack_into(self._bytes, 0, Command.REFERENCE, 0, 0, 0, EVERYONE, 0, price_ticks, *(0,) * 10)

    def log_row(self, market_ts: int) -> bytes:
        """Return the command as a row of the log."""
        return _INSTANT.pack(market_ts) + self._bytes


def conditions_row(market_ts: int, changed: ChangedConditions) -> bytes:
    """Return changed conditions as a row of the log."""
    told = changed.conditions
    return _INSTANT.pack(market_ts) + _CONDITIONS_LAYOUT.pack(
        _CONDITIONS_KIND, 0, told.levels_max, told.distance_steps, told.activity, told.limit, told.cancel, told.market,
        told.size, told.buy_bias, told.volatility, changed.jump_q40,
    )  # fmt: skip


def read_log(rows: bytes) -> Iterator[tuple[int, Commands | ChangedConditions]]:
    """Return the commands of a log, each with the market's instant at which it was done.

    Raises
    ------
    DataError
        for a row of conditions that no market can have
    """
    for start in range(0, len(rows), ROW_BYTES):
        (instant,) = _INSTANT.unpack_from(rows, start)
        row = bytearray(rows[start + _INSTANT.size : start + ROW_BYTES])
        if row and row[0] == _CONDITIONS_KIND:
            yield instant, _read_conditions(row)
        else:
            yield instant, np.frombuffer(row, COMMAND_DTYPE)


def _read_conditions(row: bytearray) -> ChangedConditions:
    _, _, levels, distance, activity, limit, cancel, market, size, bias, volatility, jump = _CONDITIONS_LAYOUT.unpack(
        row
    )
    try:
        conditions = Conditions(activity, limit, cancel, market, size, distance, levels, bias, volatility)
    except InvalidRequest as error:
        raise DataError(f"the log of the market is damaged: {error.detail}") from None
    return ChangedConditions(conditions, jump)
