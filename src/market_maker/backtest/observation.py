"""Metrics of backtests, from their events: the work is done in other processes, whose counters nobody scrapes."""

from __future__ import annotations

from decimal import Decimal

from market_maker.domain.events import EventType
from market_maker.messaging.bus import Bus, Message, Subscription
from market_maker.messaging.topics import decode, envelope_data
from market_maker.monitoring.metrics import Metrics, Mode

_OUTCOMES = {
    EventType.BACKTEST_COMPLETED: "completed",
    EventType.BACKTEST_FAILED: "failed",
    EventType.BACKTEST_CANCELED: "canceled",
}


async def observe_backtests(bus: Bus, metrics: Metrics) -> Subscription:
    """Count finished runs, their volume and duration, and show the quality of the last completed one."""

    async def on_event(message: Message) -> None:
        envelope = decode(message.body)
        outcome = next((name for kind, name in _OUTCOMES.items() if kind.value == envelope.type), None)
        if outcome is None:
            return
        metrics.backtests.labels(outcome).inc()
        run = envelope_data(envelope)
        if run["started_ts"] and run["finished_ts"]:
            seconds = (int(run["finished_ts"]) - int(run["started_ts"])) / 1e9
            metrics.operation_seconds.labels(Mode.BACKTEST, "run").observe(seconds)
        if outcome == "completed":
            summary = run["summary"]
            metrics.backtest_events.inc(run.get("events", 0))  # a worker of an older version does not tell
            metrics.virtual_volume.labels(Mode.BACKTEST, run["quote"]).inc(float(Decimal(summary["turnover"])))
            metrics.backtest_quality.labels("coverage").set(run["coverage"])
            metrics.backtest_quality.labels("maker_share").set(summary["maker_share"] or 0.0)

    return await bus.subscribe(None, on_event, ("backtest.#",))
