"""Limits: what is bounded, whose figure it is, and when a figure warns, breaches and is released.

Pure functions. Knows nothing of how a figure was found, where limits are kept or who is told (alerts.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from market_maker.domain.errors import InvalidRequest
from market_maker.domain.modes import RiskModel
from market_maker.domain.position import PositionState
from market_maker.risk import rules
from market_maker.risk.measures import Scope

WARN_SHARE = Decimal("0.8")
RELEASE_SHARE = Decimal("0.05")
"""A state is left when the value has fallen this share of the threshold below where the state was entered."""


class LimitKind(StrEnum):
    """The figure that is bounded. Quantities are in base currency, amounts in quote currency.

    Of the scope of the limit: of its position, or the sum over all positions of its pair, strategy, account or of all.
    Quantities are net, and of each pair by itself (the largest counts), since those of different currencies cannot be added;
    notional is gross, the sum of the sizes of all values; figures of risk are those of all positions together.

    Of an assessment: MAX_VAR, MAX_ES, MAX_DRAWDOWN (amounts), MAX_CONCENTRATION (share of the largest position: of
    scope POSITION, that of the position in its account), MAX_STALENESS (seconds since the last price, of the oldest). Of a position, before an order and in an assessment: MAX_POSITION,
    MAX_NOTIONAL; in an assessment alone MAX_LOSS (result lost, fees included). Of an order, before it is taken: MAX_ORDER_SIZE,
    MAX_ORDER_NOTIONAL, PRICE_COLLAR (share by which its price is off the reference price), MAX_MESSAGE_RATE (orders and
    amendments in the last second), MAX_REPEATED_ORDERS (equal orders in the last second), MAX_SELF_TRADE (quantity of
    one's own that it would meet), MAX_WORST_CASE_POSITION (if all resting orders of its side fill), MAX_BOOK_VAR
    (historical, of all positions of the scope, after it has filled).
    """

    MAX_VAR = "MAX_VAR"
    MAX_ES = "MAX_ES"
    MAX_DRAWDOWN = "MAX_DRAWDOWN"
    MAX_POSITION = "MAX_POSITION"
    MAX_NOTIONAL = "MAX_NOTIONAL"
    MAX_LOSS = "MAX_LOSS"
    MAX_CONCENTRATION = "MAX_CONCENTRATION"
    MAX_STALENESS = "MAX_STALENESS"
    MAX_ORDER_SIZE = "MAX_ORDER_SIZE"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"
    PRICE_COLLAR = "PRICE_COLLAR"
    MAX_MESSAGE_RATE = "MAX_MESSAGE_RATE"
    MAX_REPEATED_ORDERS = "MAX_REPEATED_ORDERS"
    MAX_SELF_TRADE = "MAX_SELF_TRADE"
    MAX_WORST_CASE_POSITION = "MAX_WORST_CASE_POSITION"
    MAX_BOOK_VAR = "MAX_BOOK_VAR"


ASSESSED = frozenset(
    {
        LimitKind.MAX_VAR,
        LimitKind.MAX_ES,
        LimitKind.MAX_DRAWDOWN,
        LimitKind.MAX_POSITION,
        LimitKind.MAX_NOTIONAL,
        LimitKind.MAX_LOSS,
        LimitKind.MAX_CONCENTRATION,
        LimitKind.MAX_STALENESS,
    }
)
"""Kinds that an assessment holds its figures against."""

FIGURES = frozenset({LimitKind.MAX_VAR, LimitKind.MAX_ES})
"""Kinds whose figure depends on confidence, horizon and method."""


class LimitScope(StrEnum):
    """Whose figure is bounded: that of one position, or of all of a pair, a strategy, an account, the book together."""

    POSITION = "POSITION"
    PAIR = "PAIR"
    STRATEGY = "STRATEGY"
    ACCOUNT = "ACCOUNT"
    ALL = "ALL"


class OnBreach(StrEnum):
    """What a breach does beside its alert: nothing; only orders that reduce a position are taken; none is, and all end."""

    ALERT = "ALERT"
    REDUCE = "REDUCE"
    HALT = "HALT"


class Hold(StrEnum):
    """What a scope may do. Left by hand alone."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


HOLDS = {OnBreach.ALERT: Hold.ACTIVE, OnBreach.REDUCE: Hold.REDUCING, OnBreach.HALT: Hold.HALTED}


class LimitState(StrEnum):
    """OK; WARN from the warning share on; BREACHED above the threshold."""

    OK = "OK"
    WARN = "WARN"
    BREACHED = "BREACHED"


STATES = tuple(LimitState)
"""By their numbers in `rules`."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on one figure.

    Parameters
    ----------
    limit_id : identity
    kind, scope : what is bounded, and whose
    scope_id : the position, pair, strategy or account; None only for ALL
    threshold : the largest value allowed, positive
    warn_share : share of the threshold from which it warns, more than `RELEASE_SHARE` and at most 1
    on_breach : what a breach does; for kinds that an assessment evaluates
    hold : what a breach has done, until it is reset

    Raises
    ------
    InvalidRequest
        Naming the field that is not allowed.
    """

    limit_id: UUID
    kind: LimitKind
    scope: LimitScope
    scope_id: UUID | None
    threshold: Decimal
    warn_share: Decimal = WARN_SHARE
    on_breach: OnBreach = OnBreach.ALERT
    hold: Hold = Hold.ACTIVE

    def __post_init__(self) -> None:
        if not (self.threshold.is_finite() and self.threshold > 0):
            raise InvalidRequest.of("threshold", str(self.threshold), "a positive amount")
        if not (self.warn_share.is_finite() and RELEASE_SHARE < self.warn_share <= 1):
            raise InvalidRequest.of("warn_share", str(self.warn_share), f"more than {RELEASE_SHARE} and at most 1")
        if self.on_breach is not OnBreach.ALERT and self.kind not in ASSESSED:
            raise InvalidRequest.of(
                "on_breach", self.on_breach.value, "ALERT for a limit that refuses orders by itself"
            )
        if (self.scope_id is None) != (self.scope is LimitScope.ALL):
            raise InvalidRequest.of(
                "scope_id", self.scope_id, f"an id for every scope but {LimitScope.ALL}, none there"
            )

    @property
    def bounds(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """What `rules.state_of` compares with: threshold and where a breach is left, warning and where that is left."""
        release, warn_from = self.threshold * RELEASE_SHARE, self.threshold * self.warn_share
        return self.threshold, self.threshold - release, warn_from, warn_from - release


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a limit said about one value, and what it had said before."""

    limit: Limit
    value: Decimal
    state: LimitState
    previous: LimitState

    @property
    def changed(self) -> bool:
        """True when the state is another than before."""
        return self.state is not self.previous


def evaluate(limit: Limit, value: Decimal, previous: LimitState = LimitState.OK) -> Evaluation:
    """Return the state of `limit` at `value`.

    BREACHED above the threshold, until the value is at or below 95 % of it; WARN from the warning share of the
    threshold on, until the value is below that share less 5 % of the threshold. So a value that trembles on the edge
    changes the state once. A value that is not a number raises InvalidRequest: an unknown risk is not a small one.

    Examples
    --------
    >>> limit = Limit(UUID(int=1), LimitKind.MAX_VAR, LimitScope.ALL, None, Decimal(100))
    >>> evaluate(limit, Decimal(101)).state
    <LimitState.BREACHED: 'BREACHED'>
    >>> evaluate(limit, Decimal(96), LimitState.BREACHED).state
    <LimitState.BREACHED: 'BREACHED'>
    >>> evaluate(limit, Decimal(95), LimitState.BREACHED).state
    <LimitState.WARN: 'WARN'>
    """
    if not value.is_finite():
        raise InvalidRequest.of("value", str(value), "a finite number")
    found = rules.state_of(value, *limit.bounds, STATES.index(previous))
    return Evaluation(limit=limit, value=value, state=STATES[found], previous=previous)


def applies_to(limit: Limit, position: PositionState) -> bool:
    """Return whether `limit` bounds figures of `position`."""
    return covers(limit.scope, limit.scope_id, position)


def covers(scope: LimitScope, scope_id: UUID | None, position: PositionState) -> bool:
    """Return whether a scope covers `position`."""
    return scope is LimitScope.ALL or (scope_id is not None and owner_of(scope, position) == scope_id)


def owner_of(scope: LimitScope, position: PositionState) -> UUID | None:
    """Return the id by which a scope covers `position`; None for ALL, and for the strategy of a position without one."""
    match scope:
        case LimitScope.POSITION:
            return position.position_id
        case LimitScope.PAIR:
            return position.pair_id
        case LimitScope.STRATEGY:
            return position.strategy_id
        case LimitScope.ACCOUNT:
            return position.account_id
    return None


def limited_model(kind: LimitKind) -> str:
    """Return the name of the figure that a limit of `kind` bounds, as alerts show it."""
    return {LimitKind.MAX_VAR: RiskModel.VAR.value, LimitKind.MAX_ES: RiskModel.EXPECTED_SHORTFALL.value}.get(
        kind, kind.value.removeprefix("MAX_").lower()
    )


SCOPES = {
    Scope.POSITION: LimitScope.POSITION,
    Scope.PAIR: LimitScope.PAIR,
    Scope.STRATEGY: LimitScope.STRATEGY,
    Scope.ACCOUNT: LimitScope.ACCOUNT,
    Scope.BOOK: LimitScope.ALL,
}
"""The limits that an assessment of each scope is held against."""
