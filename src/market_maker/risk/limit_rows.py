"""Rows of limits, alerts and holds: one place that reads them into values and shows them as JSON values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.risk.alerts import Alert, AlertState, Severity
from market_maker.risk.guard import GUARDED, KillSwitch, Noted
from market_maker.risk.limits import ASSESSED, Hold, Limit, LimitKind, LimitScope, OnBreach


def limit_data(row: dict[str, Any], noted: Noted | None = None, unseen: str | None = None) -> dict[str, Any]:
    """Return a limit as JSON values; what the guard has noted since the last writing goes before the row.

    `unseen` is why what it bounds could not be assessed; it is told of kinds that an assessment evaluates.
    """
    state, value, evaluated_ts = row["state"], row["value"], row["evaluated_ts"]
    if noted is not None and row["kind"] in GUARDED and noted.ts > (evaluated_ts or 0):
        state, value, evaluated_ts = noted.state.value, noted.value, noted.ts
    return {
        "limit_id": str(row["limit_id"]),
        "kind": row["kind"],
        "scope": row["scope"],
        "scope_id": text(row["scope_id"]),
        "threshold": f"{row['threshold']:f}",
        "warn_share": f"{row['warn_share']:f}",
        "state": state,
        "value": None if value is None else f"{value:f}",
        "evaluated_ts": text(evaluated_ts),
        "on_breach": row["on_breach"],
        "hold": row["hold"],
        "hold_ts": text(row["hold_ts"]),
        "not_evaluated": unseen if row["kind"] in ASSESSED else None,
    }


def limit_terms(limit: Limit) -> dict[str, Any]:
    """Return what was agreed with a limit, as JSON values, for the trail of changes."""
    return {
        "limit_id": str(limit.limit_id),
        "kind": limit.kind.value,
        "scope": limit.scope.value,
        "scope_id": text(limit.scope_id),
        "threshold": f"{limit.threshold:f}",
        "warn_share": f"{limit.warn_share:f}",
        "on_breach": limit.on_breach.value,
    }


def held(
    scope: str, scope_id: UUID | None, state: str, since_ts: int | None, limit_id: UUID | None, why: str
) -> dict[str, Any]:
    """Return one entry of what is held back, as JSON values."""
    return {
        "scope": scope,
        "scope_id": text(scope_id),
        "state": state,
        "since_ts": text(since_ts),
        "limit_id": text(limit_id),
        "reason": why,
    }


def switch_data(switch: KillSwitch) -> dict[str, Any]:
    """Return a kill switch as JSON values."""
    return {
        "switch_id": str(switch.switch_id),
        "scope": switch.scope.value,
        "scope_id": text(switch.scope_id),
        "reason": switch.reason,
        "engaged_ts": str(switch.engaged_ts),
    }


def text(value: UUID | int | None) -> str | None:
    """Return an id or a number as text; None stays None."""
    return None if value is None else str(value)


def cleared(details: dict[str, Any], ts: int) -> Alert:
    """Return a stored alert as one that was cleared by hand."""
    alert = to_alert(details)
    return Alert(
        **{
            **{name: getattr(alert, name) for name in alert.__slots__},
            "state": AlertState.CLEARED,
            "cleared_ts": ts,
            "cleared_value": alert.value,
        }
    )


def to_limit(row: dict[str, Any]) -> Limit:
    """Return the limit of a row."""
    return Limit(
        row["limit_id"],
        LimitKind(row["kind"]),
        LimitScope(row["scope"]),
        row["scope_id"],
        row["threshold"],
        row["warn_share"],
        OnBreach(row["on_breach"]),
        Hold(row["hold"]),
    )


def to_alert(details: dict[str, Any]) -> Alert:
    """Return the alert that its stored JSON values tell."""
    return Alert(
        alert_id=UUID(details["alert_id"]),
        limit_id=UUID(details["limit_id"]),
        kind=LimitKind(details["kind"]),
        position_id=UUID(details["position_id"]),
        severity=Severity(details["severity"]),
        state=AlertState(details["state"]),
        model=details["model"],
        value=Decimal(details["value"]),
        threshold=Decimal(details["threshold"]),
        raised_ts=int(details["raised_ts"]),
        # Alerts of old were all about positions.
        scope=LimitScope(details.get("scope", LimitScope.POSITION.value)),
        scope_id=None if details.get("scope_id") is None else UUID(details["scope_id"]),
    )
