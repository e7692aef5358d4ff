"""The words of the matching engine: commands, events, phases, reasons. Numbers alone, no rules."""

from __future__ import annotations

from enum import IntEnum


class Command(IntEnum):
    """What a command asks for.

    NEW places an order; CANCEL and AMEND change one. CANCEL_ALL ends an owner's orders (EVERYONE: all orders), of one
    side if `side` is not 0. SUSPEND does the same for an owner and refuses his orders until RELEASE. CLOCK lets time
    pass to `ts`. PHASE enters the phase in `order_type`. REFERENCE sets the reference price of collar and band.
    """

    NEW = 1
    CANCEL = 2
    AMEND = 3
    CANCEL_ALL = 4
    SUSPEND = 5
    RELEASE = 6
    CLOCK = 7
    PHASE = 8
    REFERENCE = 9


class EventKind(IntEnum):
    """What happened to an order; PHASE_CHANGED is the one event without one.

    REFUSED: a request to cancel or amend was not done and the order is as it was. RESTATED: the venue changed an order
    that lives on (a new display quantity, or a quantity that self-trade prevention took).
    """

    ACCEPTED = 1
    REJECTED = 2
    FILLED = 3
    CANCELED = 4
    AMENDED = 5
    EXPIRED = 6
    TRIGGERED = 7
    REFUSED = 8
    RESTATED = 9
    PHASE_CHANGED = 10


class Cause(IntEnum):
    """Why an order was refused, ended or restated."""

    NONE = 0
    # Why a new order or a request is refused; checked in this order.
    INVALID_CODE = 1
    UNKNOWN_OWNER = 2
    INVALID_ORDER_ID = 3
    DUPLICATE_ORDER_ID = 4
    UNKNOWN_ORDER = 5
    OWNER_SUSPENDED = 6
    WRONG_PHASE = 7
    INVALID_QTY = 8
    QTY_STEP = 9
    INVALID_PRICE = 10
    PRICE_STEP = 11
    INVALID_STOP = 12
    INVALID_DISPLAY = 13
    INVALID_EXPIRY = 14
    NOTIONAL_MIN = 15
    PRICE_COLLAR = 16
    POST_ONLY_WOULD_TAKE = 17
    QTY_EXECUTED = 18
    INVALID_TIME = 19
    # Why an order ended or was restated.
    REQUESTED = 20
    MASS_CANCEL = 21
    SELF_TRADE = 22
    TIME_IN_FORCE = 23
    CANNOT_FILL_COMPLETELY = 24
    NO_LIQUIDITY = 25
    NOT_THERE = 26
    VOLATILITY = 27
    EXPIRE_TIME = 28
    DISPLAY_REFRESH = 29


class Phase(IntEnum):
    """Trading phases.

    PRE_OPEN, CLOSING_AUCTION and VOLATILITY_AUCTION collect orders and trade nothing. HALT and CLOSED take cancels alone.
    """

    PRE_OPEN = 0
    CONTINUOUS = 1
    CLOSING_AUCTION = 2
    VOLATILITY_AUCTION = 3
    HALT = 4
    CLOSED = 5


class EngineOrderType(IntEnum):
    """Types of order in commands; the first two as `domain.order.OrderType`. A triggered STOP acts as MARKET."""

    LIMIT = 0
    MARKET = 1
    STOP = 2
    STOP_LIMIT = 3


class SelfTrade(IntEnum):
    """What happens when an order would trade with another of its owner; the incoming order's choice counts.

    DECREMENT takes the smaller quantity off both, without a trade.
    """

    NONE = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class LiquidityCode(IntEnum):
    """How an order took part in a trade; the first two as `domain.order.Liquidity`."""

    MAKER = 0
    TAKER = 1
    AUCTION = 2


class Progress(IntEnum):
    """What one call of the kernel came back with."""

    DONE = 0
    EVENTS_FULL = 1
    """Empty the events and call again: the engine goes on where it stopped."""
    NEEDS_ORDERS = 2
    NEEDS_PAGES = 3


class Stage(IntEnum):
    """What a command that was stopped by a full event buffer goes on with."""

    IDLE = 0
    TAKING = 1
    TRIGGERING = 2
    UNCROSSING = 3
    CANCELING = 4
    EXPIRING = 5


EVERYONE = -1
"""Owner of a command that speaks for the venue: it may cancel any order."""
