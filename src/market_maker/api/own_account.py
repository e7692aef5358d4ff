"""What a key that is bound to one account may do: market data, and what is of its account; everything else is refused.

Another account's order or position is answered as one that does not exist. A route that nobody has thought about here is
refused to such keys (403), so that a new one never leaks by itself. Keys without an account pass by all of this.
"""

from __future__ import annotations

import contextvars
import re
from typing import Any
from uuid import UUID

import msgspec

from market_maker.domain.errors import NotFound
from market_maker.service import MarketMakerService

_bound: contextvars.ContextVar[UUID | None] = contextvars.ContextVar("bound_account", default=None)

_ID = r"(?P<id>[0-9a-fA-F-]{32,36})"
_EVERYBODYS = re.compile(
    r"/openapi(\.json)?|/api/v1/(pairs|strategies|market-data|simulator/(orderbook|sessions|scenarios|custom-schema|tape|bars|realism))(/.*)?"
)
"""Read by every key: it belongs to no account."""
_LISTS = re.compile(r"/api/v1/(simulator/orders|simulator/trades|positions|accounts|stream)/?")
"""Handlers show their own account's part of these, by `account_of`."""
_PLACED = re.compile(r"/api/v1/(simulator/orders|positions)/?")
_ORDER = re.compile(rf"/api/v1/simulator/orders/{_ID}/?")
_POSITION = re.compile(rf"/api/v1/(positions|risk/metrics|risk/report)/{_ID}/?")
_ACCOUNT = re.compile(rf"/api/v1/accounts/{_ID}/?")
_ACCOUNT_TRANSFERS = re.compile(rf"/api/v1/accounts/{_ID}/transfers/?")
_POSITION_TRANSFERS = re.compile(rf"/api/v1/positions/{_ID}/transfers/?")
_ASSESSMENT = re.compile(r"/api/v1/risk/assessment/?")
OWN_SCOPES = ("POSITION", "ACCOUNT")
ALL_SCOPES = (*OWN_SCOPES, "PAIR", "STRATEGY", "BOOK")


class OutOfBounds(Exception):
    """The key is bound to an account, and this is not of it."""


def bind(account_id: UUID | None) -> None:
    """Let the present request act for one account only, or for all."""
    _bound.set(account_id)


def bound_account() -> UUID | None:
    """Return the account that the present request is bound to, None when it may act for all."""
    return _bound.get()


def own_scopes() -> tuple[str, ...]:
    """Return the scopes of risk figures that the present request may see: sums over other accounts are not a bound one's."""
    return ALL_SCOPES if _bound.get() is None else OWN_SCOPES


def account_of(wished: UUID | None) -> UUID | None:
    """Return the account to act for: the bound one, or what is wished.

    Raises
    ------
    NotFound : another account than the bound one is wished
    """
    own = _bound.get()
    if own is None or wished in (own, None):
        return own or wished
    raise NotFound.of("account", "account_id", str(wished))


async def check_bounds(service: MarketMakerService, scope: Any) -> None:
    """Let a request of a bound key pass, or raise.

    Raises
    ------
    OutOfBounds : such a key may not do this at all
    NotFound : what is named does not exist for this account
    """
    path, method = scope["path"], scope.get("method", "GET")
    reads = method in ("GET", "HEAD")
    if (reads and (_EVERYBODYS.fullmatch(path) or _LISTS.fullmatch(path))) or (
        method == "POST" and _PLACED.fullmatch(path)
    ):
        return
    if found := _ORDER.fullmatch(path):
        await _check_order(service, found["id"])
    elif (found := _POSITION.fullmatch(path)) or (reads and (found := _POSITION_TRANSFERS.fullmatch(path))):
        await _check_position(service, found["id"])
    elif reads and (found := _ACCOUNT.fullmatch(path) or _ACCOUNT_TRANSFERS.fullmatch(path)):
        account_of(_uuid(found["id"]))
    elif method == "POST" and _ASSESSMENT.fullmatch(path):
        await _check_position(service, _position_in(scope["state"].get("body", b"")))
    else:
        raise OutOfBounds


async def _check_order(service: MarketMakerService, text: str) -> None:
    order_id = _uuid(text)
    if order_id is not None and (await service.directory.order(order_id)).account_id != _bound.get():
        raise NotFound.of("order", "order_id", text)


async def _check_position(service: MarketMakerService, text: str) -> None:
    position_id = _uuid(text)
    if position_id is not None and (await service.get_position(position_id)).account_id != _bound.get():
        raise NotFound.of("position", "position_id", text)


def _position_in(body: bytes) -> str:
    """Return the position that a body names; whatever else is wrong with it, the handler will say."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    if isinstance(content, dict) and (
        set(content) & {"account_id", "strategy_id"} or content.get("scope", OWN_SCOPES[0]) not in OWN_SCOPES
    ):
        raise OutOfBounds
    return str(content.get("position_id", "")) if isinstance(content, dict) else ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
