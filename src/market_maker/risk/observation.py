"""Metrics of risk alerts, from their events: whoever raises one, it is counted once. And of models, from their tests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from market_maker.domain.events import EventType
from market_maker.messaging.bus import Bus, Message, Subscription
from market_maker.messaging.topics import decode, envelope_data
from market_maker.monitoring.metrics import Metrics
from market_maker.risk.limits import LimitKind


async def observe_alerts(bus: Bus, metrics: Metrics) -> Subscription:
    """Count the alerts that are raised, by kind of limit.

    All kinds are there from the start, at zero: Prometheus sees no increase in a series that begins with its first alert.
    """
    for kind in LimitKind:
        metrics.risk_alerts.labels(kind.value)

    async def on_event(message: Message) -> None:
        alert = envelope_data(decode(message.body))
        metrics.risk_alerts.labels(alert["kind"]).inc()

    return await bus.subscribe(None, on_event, (EventType.RISK_ALERT_RAISED.value,))


def show_models(metrics: Metrics, reports: Iterable[Mapping[str, Any]]) -> None:
    """Show of each model its exceptions over those expected, and its adjusted p-value; of one that was not fitted, nothing.

    NaN where no test could be made: nothing is known then, and 0 would say that the model is rejected for certain.
    """
    for report in reports:
        if "reason" in report:
            continue
        expected = report["observations"] * (1.0 - report["confidence"])
        name = report["method"].lower()
        metrics.risk_quality.labels(f"exceptions_{name}").set(report["exceptions"] / expected)
        p_value = report["adjusted_p_value"]
        metrics.risk_quality.labels(f"p_value_{name}").set(math.nan if p_value is None else p_value)
