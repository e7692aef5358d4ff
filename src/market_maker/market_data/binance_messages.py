"""Messages of Binance's streams and REST snapshots as types. The letters of the fields are the venue's."""

from __future__ import annotations

from typing import Annotated

import msgspec

Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Levels = list[tuple[str, str]]


class Depth(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    """An update of levels."""

    s: Symbol
    U: Number
    u: Number
    b: Levels
    a: Levels
    E: Number = 0
    T: Number = 0
    pu: int | None = None


class Quote(msgspec.Struct, gc=False):
    """A best bid and offer; of the spot market it has no time and no type."""

    s: Symbol
    u: Number
    b: str
    B: str
    a: str
    A: str
    E: Number = 0
    T: Number = 0
    e: str = ""


class Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """A trade; X is given by futures only: MARKET, or why it did not trade with the book."""

    s: Symbol
    t: Number
    p: str
    q: str
    m: bool
    E: Number = 0
    T: Number = 0
    X: str = ""


class AggregateTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """All fills of one taker order at one price."""

    s: Symbol
    a: Number
    p: str
    q: str
    m: bool
    E: Number = 0
    T: Number = 0


class Candle(msgspec.Struct, gc=False):
    """The bar inside a kline message."""

    t: Number
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the venue's name
    c: str
    v: str
    n: Number
    x: bool


class Kline(msgspec.Struct, tag_field="e", tag="kline", gc=False):
    """A bar, unfinished unless k.x."""

    s: Symbol
    k: Candle


class Snapshot(msgspec.Struct, gc=False):
    """The answer of the REST interface: a full book to some depth."""

    lastUpdateId: Number  # noqa: N815 - the venue's name
    bids: Levels
    asks: Levels
    E: Number = 0
    T: Number = 0
