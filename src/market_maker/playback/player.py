"""Opens recordings of the lake as markets of sessions."""

from __future__ import annotations

from market_maker.backtest.compiling import compile_apart
from market_maker.domain.errors import InvalidRequest
from market_maker.domain.instrument import ContractType, Instrument
from market_maker.market_data.replay import open_feed
from market_maker.playback.market import PlayedMarket
from market_maker.simulator.session import Playback
from market_maker.storage.lake import Lake


class LakePlayer:
    """See `simulator.played.Player`.

    Parameters
    ----------
    lake : where the recordings are
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def open(self, instrument: Instrument, playback: Playback, seed: int) -> PlayedMarket:
        """Return a recording at the begin of its range.

        Raises
        ------
        InvalidRequest
            A range that is none, or an inverse contract: its money is not that of the simulator's accounts.
        DataError
            Nothing recorded, or not enough of the range.
        """
        if instrument.contract_type is ContractType.INVERSE:
            raise InvalidRequest.of("playback", instrument.symbol, "a pair that is no inverse contract")
        compile_apart()
        feed = open_feed(
            self._lake,
            instrument.venue,
            instrument.symbol,
            playback.start_ts,
            playback.end_ts,
            allow_gaps=playback.allow_gaps,
            steps=(instrument.tick_size, instrument.lot_size),
        )
        return PlayedMarket(feed, instrument, playback, seed)
