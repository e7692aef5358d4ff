"""Which table of a recorded day a replay reads its book from, and how its levels are declared. Names alone: reads nothing."""

from __future__ import annotations

from collections.abc import Iterable

SOURCES = ("orders", "book", "bbo")
"""The tables that a book can be replayed from, the most telling one first."""
PAGE_SHIFT = 9
"""Levels are declared to the replay by pages of 2**9 ticks."""


def source_of(tables: Iterable[str]) -> str | None:
    """Return the table that the book is replayed from, None when there is no book among them."""
    known = set(tables)
    return next((table for table in SOURCES if table in known), None)
