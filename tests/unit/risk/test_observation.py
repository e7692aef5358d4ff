"""Alerts are counted from their events, by kind of limit; tests of models are shown as they are."""

from __future__ import annotations

import asyncio
import math

from market_maker.domain.events import EventType
from market_maker.domain.ids import new_id
from market_maker.messaging.bus import InProcessBus, Message
from market_maker.messaging.topics import new_event
from market_maker.monitoring.metrics import Metrics
from market_maker.risk.observation import observe_alerts, show_models


async def test_alerts_that_are_raised_are_counted_and_cleared_ones_are_not() -> None:
    metrics, bus = Metrics(), InProcessBus()
    await bus.start()
    subscription = await observe_alerts(bus, metrics)
    kinds = {"MAX_VAR": EventType.RISK_ALERT_RAISED, "MAX_LOSS": EventType.RISK_ALERT_CLEARED}
    events = [
        new_event(type=event, aggregate_id=new_id(), sequence=1, ts=1, data={"kind": kind})
        for kind, event in kinds.items()
    ]
    events.append(events[0])
    await bus.publish_all([Message(each.type, each.body.encode(), str(each.event_id)) for each in events])

    def counted(kind: str) -> float | None:
        return metrics.registry.get_sample_value("market_maker_risk_alerts_total", {"kind": kind})

    for _ in range(100):
        if counted("MAX_VAR") == 2:
            break
        await asyncio.sleep(0.01)
    assert counted("MAX_VAR") == 2  # the bus delivers at least once; a repetition is rare enough not to be remembered
    assert counted("MAX_LOSS") == 0, "from the start, so that an increase by the first alert is seen"
    await subscription.cancel()
    await bus.close()


def test_a_model_that_could_not_be_tested_is_not_shown_as_rejected() -> None:
    metrics = Metrics()
    report = {"observations": 200, "confidence": 0.95, "exceptions": 5}
    show_models(
        metrics,
        [
            {"method": "NORMAL", **report, "adjusted_p_value": 0.25},
            {"method": "EWMA", **report, "adjusted_p_value": None},
            {"method": "GARCH", "reason": "too few observations"},
        ],
    )

    def shown(measure: str) -> float | None:
        return metrics.registry.get_sample_value("market_maker_risk_quality", {"measure": measure})

    assert shown("exceptions_normal") == 5 / (200 * (1.0 - 0.95))
    assert shown("p_value_normal") == 0.25
    unknown = shown("p_value_ewma")
    assert unknown is not None
    assert math.isnan(unknown)
    assert shown("p_value_garch") is None
