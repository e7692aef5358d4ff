"""Recordings that sessions play, in the words of users."""

from __future__ import annotations

from typing import Any

from market_maker.api.schemas import PlayRecording
from market_maker.domain.units import format_instant, parse_instant
from market_maker.service import AtEnd, Pace, Playback


def playback_wish(wish: PlayRecording) -> Playback:
    """Return what is to be played; a date as `end` includes that day."""
    return Playback(
        parse_instant(wish.start, "playback.start"),
        parse_instant(wish.end, "playback.end", end_of_day=True),
        Pace(wish.pace),
        AtEnd(wish.at_end),
        wish.allow_gaps,
    )


def playback_view(data: dict[str, Any]) -> dict[str, Any]:
    """Return what is played with its instants as users write them."""
    names = {"start_ts": "start", "end_ts": "end", "first_ts": "first", "last_ts": "last", "recorded_ts": "now"}
    return {
        names.get(name, name): format_instant(int(value)) if name in names else value for name, value in data.items()
    }
