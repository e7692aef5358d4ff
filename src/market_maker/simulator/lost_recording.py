"""What stands in for a recording that cannot be opened, so that its session can be read and stopped.

It stands still at the instant that was committed last and shows no book. It knows nothing of why the recording is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from market_maker.domain.instrument import Instrument
from market_maker.domain.order import Side
from market_maker.matching.book import Commands, Events
from market_maker.matching.codes import Phase
from market_maker.matching.state import EVENT_DTYPE, ORDER_DTYPE
from market_maker.simulator.played import PlayedExchange
from market_maker.simulator.session import Playback, Session

_NOTHING = np.zeros(0, EVENT_DTYPE)


@dataclass(frozen=True, slots=True)
class EmptyBook:
    """A book without orders."""

    phase: Phase = Phase.CONTINUOUS

    def best(self, side: Side) -> int | None:  # noqa: ARG002  (as of a book)
        """Return None: there is no best price."""
        return None


class LostRecording:
    """See `simulator.played.PlayableMarket`. `stored`: the state of the session as it was committed."""

    is_lost = True

    def __init__(self, playback: Playback, stored: dict[str, Any]) -> None:
        self.span = (playback.start_ts, max(playback.start_ts, playback.end_ts - 1))
        self.clock_ts = max(self.span[0], int(stored.get("clock_ts", 0)))
        self.reference_ticks = max(1, int(stored.get("reference_ticks", 1)))
        self.book = EmptyBook()
        self.passes = self.sequence = self.refilled = self.last_trade_ticks = 0
        self.ended = False
        self._dumped = b""

    @property
    def recorded_ts(self) -> int:
        """The recorded instant; of a recording that was played again the last one."""
        return min(self.clock_ts, self.span[1])

    def watch(self, *, wanted: bool) -> None:
        """Do nothing."""

    def advance(self, until_ts: int) -> Events:
        """Go on to an instant; nothing happens."""
        self.clock_ts = max(self.clock_ts, until_ts)
        return _NOTHING

    def execute(self, commands: Commands) -> Events:  # noqa: ARG002  (as of a market)
        """Do nothing."""
        return _NOTHING

    def others(self, side: Side, levels: int) -> list[tuple[int, int]]:  # noqa: ARG002  (as of a market)
        """Return no levels."""
        return []

    def depth(self, side: Side, levels: int) -> NDArray[np.int64]:  # noqa: ARG002  (as of a market)
        """Return no levels."""
        return np.zeros((0, 3), np.int64)

    def lots_ahead(self, number: int) -> int:  # noqa: ARG002  (as of a market)
        """Return 0: nobody knows."""
        return 0

    def places(self) -> list[tuple[int, Side, int, int, int, int]]:
        """Return no places."""
        return []

    def traded(self) -> tuple[int, int, int]:
        """Return that nothing was traded."""
        return 0, 0, 0

    def open_orders(self) -> NDArray[Any]:
        """Return no orders."""
        return np.zeros(0, ORDER_DTYPE)

    def dump(self) -> bytes:
        """Return the memory of the recording as it was kept."""
        return self._dumped

    def restore(self, data: bytes) -> None:
        """Keep the memory of the recording."""
        self._dumped = data

    def restart(self, ts: int) -> None:
        """Go on to an instant."""
        self.clock_ts = max(self.clock_ts, ts)

    def digest(self) -> bytes:
        """Return the memory of the recording as it was kept."""
        return self._dumped


class LostPlayer:
    """Opens for a session what stands in for its recording; see `simulator.played.Player`."""

    def __init__(self, stored: dict[str, Any]) -> None:
        self._stored = stored

    def open(self, instrument: Instrument, playback: Playback, seed: int) -> LostRecording:  # noqa: ARG002  (as of a player)
        """Return what stands in for a recording."""
        return LostRecording(playback, self._stored)


def kept_exchange(instrument: Instrument, session: Session) -> PlayedExchange:
    """Return the market of a stored session without its recording, orders and positions; for reading only."""
    assert session.playback is not None
    stored = msgspec.json.decode(session.market)
    exchange = PlayedExchange(instrument, session, dict[UUID, Any](), LostRecording(session.playback, stored))
    exchange.take_over(stored, is_new_market=False)
    return exchange
