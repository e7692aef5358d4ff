"""What commands that ask a running service are told by name: pairs, strategies and markets."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from market_maker.domain.errors import InvalidRequest, shorten

if TYPE_CHECKING:
    from market_maker.client import Client

NAMES_MAX = 20


def pair_of(client: Client, wanted: str) -> UUID:
    """Return the id of a pair named by id, symbol, or venue/symbol; InvalidRequest tells which there are."""
    pairs = client.get_pairs().items
    found = [each for each in pairs if wanted in (str(each.pair_id), each.symbol, f"{each.venue}/{each.symbol}")]
    if len(found) != 1:
        names = ", ".join(f"{each.venue}/{each.symbol}" for each in found or pairs)
        raise InvalidRequest.of("PAIR", shorten(wanted), f"one of {names}")
    return found[0].pair_id


def strategy_of(client: Client, wanted: str) -> UUID:
    """Return the id of a strategy named by id or name; InvalidRequest tells which there are."""
    strategies = client.get_strategies().items
    found = [each for each in strategies if wanted in (str(each.strategy_id), each.name)]
    if len(found) > 1:
        ids = ", ".join(str(each.strategy_id) for each in found[:NAMES_MAX])
        raise InvalidRequest.of(
            "STRATEGY", shorten(wanted), f"an id, since {len(found)} strategies bear this name: {ids}"
        )
    if not found:
        known = ", ".join(sorted({each.name for each in strategies})[:NAMES_MAX]) or "none yet"
        raise InvalidRequest.of(
            "STRATEGY", shorten(wanted), f"an id or a name of `market-maker strategy list`: {known}"
        )
    return found[0].strategy_id


def session_of(client: Client, wanted: str | None) -> UUID:
    """Return the id of the market that is named by its pair or by its session's id, or of the only one.

    Raises
    ------
    InvalidRequest
        None or several are meant; the message lists those that run.
    """
    names = {pair.pair_id: (pair.symbol, f"{pair.venue}/{pair.symbol}") for pair in client.get_pairs().items}
    sessions = client.get_sessions().items
    word = None if wanted is None else wanted.lower() if _is_id(wanted) else wanted
    found = [
        each
        for each in sessions
        if word is None or word in (str(each.session_id), str(each.pair_id), *names.get(each.pair_id, ()))
    ]
    if len(found) != 1:
        told = ", ".join(f"{names[each.pair_id][1]} ({each.session_id})" for each in (found or sessions)[:NAMES_MAX])
        allowed = f"one of the markets that run: {told}" if told else "no market runs; start one first"
        raise InvalidRequest.of("--session", "nothing" if wanted is None else shorten(wanted), allowed)
    return found[0].session_id


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
