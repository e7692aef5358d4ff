"""Alerts: the notice that a limit warns or is breached, and that it does so no more.

Decides which alerts a change of state raises and clears. Knows nothing of databases and buses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from market_maker.risk.limits import Evaluation, LimitKind, LimitScope, LimitState, limited_model


class Severity(StrEnum):
    """WARNING: nearing the threshold; CRITICAL: beyond it."""

    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class AlertState(StrEnum):
    """RAISED until the limit's state is another, then CLEARED for good."""

    RAISED = "RAISED"
    CLEARED = "CLEARED"


@dataclass(frozen=True, slots=True)
class Alert:
    """One notice about one limit: of its position, or of the sum that its scope names.

    `position_id` is that position, or the one whose order, fill or assessment showed the sum to be so. `value` is the figure when the alert was raised, `cleared_value` the one that cleared it. `model` names the figure
    (`VaR`). Instants are ns UTC.
    """

    alert_id: UUID
    limit_id: UUID
    kind: LimitKind
    position_id: UUID
    severity: Severity
    state: AlertState
    model: str
    value: Decimal
    threshold: Decimal
    raised_ts: int
    cleared_ts: int | None = None
    cleared_value: Decimal | None = None
    scope: LimitScope = LimitScope.POSITION
    scope_id: UUID | None = None

    @property
    def dedupe_key(self) -> str:
        """What two alerts about the same thing share: at most one alert per key is open."""
        about = self.position_id if self.scope is LimitScope.POSITION else self.scope
        return f"{self.limit_id}:{about}:{self.severity}"

    @property
    def message(self) -> str:
        """One line for people: what, how much, what is allowed."""
        what = "is above" if self.severity is Severity.CRITICAL else "nears"
        of_whom = {LimitScope.POSITION: f"position {self.position_id}", LimitScope.ALL: "the whole book"}.get(
            self.scope, f"{self.scope.value.lower()} {self.scope_id}"
        )
        return f"{self.model} {self.value:f} of {of_whom} {what} its limit of {self.threshold:f}"

    def to_json(self) -> dict[str, Any]:
        """Return the alert as JSON values: amounts and instants (ns) as text."""
        return {
            "alert_id": str(self.alert_id),
            "limit_id": str(self.limit_id),
            "kind": self.kind.value,
            "scope": self.scope.value,
            "scope_id": None if self.scope_id is None else str(self.scope_id),
            "position_id": str(self.position_id),
            "severity": self.severity.value,
            "state": self.state.value,
            "model": self.model,
            "value": f"{self.value:f}",
            "threshold": f"{self.threshold:f}",
            "raised_ts": str(self.raised_ts),
            "cleared_ts": None if self.cleared_ts is None else str(self.cleared_ts),
            "cleared_value": None if self.cleared_value is None else f"{self.cleared_value:f}",
            "dedupe_key": self.dedupe_key,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class AlertChanges:
    """What one evaluation did: the alert that it cleared, the alert that it raised, either, both or neither."""

    cleared: Alert | None = None
    raised: Alert | None = None


def alert_changes(
    evaluation: Evaluation, open_alert: Alert | None, *, position_id: UUID, ts: int, alert_id: UUID
) -> AlertChanges:
    """Return the alerts to clear and to raise after an evaluation.

    One alert at most is open per limit of a position, and per limit of any other scope. It stays as it is while the severity is the same, whatever the
    value does; another severity clears it and raises a new one, OK clears it. Asking twice changes nothing.

    Parameters
    ----------
    evaluation : what the limit said
    open_alert : the raised alert of this limit (and, of scope POSITION, of this position), if there is one
    position_id : the position that was looked at
    ts : now, ns UTC
    alert_id : the id of the alert that may be raised
    """
    assert open_alert is None or (
        open_alert.state is AlertState.RAISED
        and open_alert.limit_id == evaluation.limit.limit_id
        and (evaluation.limit.scope is not LimitScope.POSITION or open_alert.position_id == position_id)
    ), open_alert
    severity = _SEVERITIES[evaluation.state]
    if open_alert is not None and open_alert.severity is severity:
        return AlertChanges()
    cleared = raised = None
    if open_alert is not None:
        cleared = replace(open_alert, state=AlertState.CLEARED, cleared_ts=ts, cleared_value=evaluation.value)
    if severity is not None:
        raised = Alert(
            alert_id=alert_id,
            limit_id=evaluation.limit.limit_id,
            kind=evaluation.limit.kind,
            position_id=position_id,
            severity=severity,
            state=AlertState.RAISED,
            model=limited_model(evaluation.limit.kind),
            value=evaluation.value,
            threshold=evaluation.limit.threshold,
            raised_ts=ts,
            scope=evaluation.limit.scope,
            scope_id=evaluation.limit.scope_id,
        )
    return AlertChanges(cleared=cleared, raised=raised)


_SEVERITIES: dict[LimitState, Severity | None] = {
    LimitState.OK: None,
    LimitState.WARN: Severity.WARNING,
    LimitState.BREACHED: Severity.CRITICAL,
}
