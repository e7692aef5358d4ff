"""Metrics of risk alerts, from their events: whoever raises one, it is counted once."""

from __future__ import annotations

from market_maker.domain.events import EventType
from market_maker.messaging.bus import Bus, Message, Subscription
from market_maker.messaging.topics import decode, envelope_data
from market_maker.monitoring.metrics import Metrics


async def observe_alerts(bus: Bus, metrics: Metrics) -> Subscription:
    """Count the alerts that are raised, by kind of limit."""

    async def on_event(message: Message) -> None:
        alert = envelope_data(decode(message.body))
        metrics.risk_alerts.labels(alert["kind"]).inc()

    return await bus.subscribe(None, on_event, (EventType.RISK_ALERT_RAISED.value,))
