"""Every metric of the service, declared once: name, kind, labels, unit and meaning.

Each `Metrics` has a registry of its own, so that several services can live in one process. Whoever counts
keeps the child that `labels` returns. Knows nothing of what the figures come from.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import version
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from market_maker.monitoring.histograms import Histogram
from market_maker.monitoring.resources import RESOURCE_HELP, WORKER_HELP, ResourceCollector

PREFIX = "market_maker_"

# a second series per counter that says when it was made: nobody asks
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

Kind = Literal["counter", "gauge", "histogram"]


class Mode(StrEnum):
    """The mode that a figure belongs to."""

    SIMULATION = "simulation"
    BACKTEST = "backtest"
    RISK = "risk"


class MetricDoc(NamedTuple):
    """One metric as the reference lists it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str


_DECLARED: dict[str, tuple[Kind, tuple[str, ...], str, str]] = {
    # the specification's monitoring items
    "simulated_orders_total": ("counter", (), "orders", "Simulated orders durably accepted."),
    "orders_total": ("counter", ("status",), "orders", "Simulated orders that reached a status (name of OrderStatus)."),
    "simulated_trades_total": ("counter", (), "trades", "Executions of simulated orders and given simulated trades."),
    "backtests_total": ("counter", ("outcome",), "runs", "Ended backtests: completed, failed (interrupted ones too), canceled."),
    "backtest_events_total": ("counter", (), "events", "Recorded market events replayed by backtests."),
    "sweeps_total": ("counter", ("outcome",), "sweeps", "Ended sweeps: completed, failed, canceled."),
    "sweep_sets_total": ("counter", (), "sets", "Parameter sets that sweeps have run, those known before left out."),
    "backtest_jobs": (
        "gauge", ("kind", "state"), "jobs", "Backtests and sweeps (kind run, sweep) that are pending in the queue or running.",
    ),
    "risk_metrics_total": ("counter", ("risk_model",), "figures", "Risk metrics computed."),
    "risk_alerts_total": ("counter", ("kind",), "alerts", "Risk alerts raised."),
    "virtual_volume_total": (
        "counter", ("mode", "currency"), "quote currency",
        "Virtual traded value: simulated fills, fills of backtests, fills behind the assessed positions.",
    ),
    "operation_seconds": ("histogram", ("mode", "operation"), "seconds", "Time that operations take."),
    "simulation_quality": (
        "gauge", ("pair", "measure"), "ratio",
        "Quality of the market simulation by measure; 1 is as configured (see the measures' page).",
    ),
    "backtest_quality": (
        "gauge", ("measure",), "ratio", "Quality of the last backtest: data coverage and others; 1 is perfect.",
    ),
    "risk_quality": (
        "gauge", ("measure",), "ratio", "Quality of the risk figures: coverage of history and others; 1 is perfect.",
    ),
    # the path of an order
    "commit_batch_orders": ("histogram", (), "commands", "Commands that one transaction of a pair's loop commits."),
    "commit_seconds": ("histogram", (), "seconds", "Time from the begin to the end of such a transaction."),
    "command_queue": ("gauge", ("pair",), "commands", "Commands that wait for a pair's loop."),
    "commands_refused_total": ("counter", ("reason",), "commands", "Commands refused before they did anything, by kind of error."),
    "book_update_seconds": ("histogram", (), "seconds", "Time to bring one market up to the present."),
    # news
    "outbox_depth": ("gauge", (), "events", "Committed events that await publication."),
    "relay_lag_seconds": ("gauge", (), "seconds", "Age of the oldest event that awaits publication."),
    "relay_active": ("gauge", (), "flag", "1 where this process holds the relay of the database."),
    "relay_failures_total": ("counter", ("dependency",), "failures", "Rounds of the relay that failed: bus, database."),
    "events_published_total": ("counter", (), "events", "Events confirmed by the bus."),
    "events_unroutable": ("gauge", (), "events", "Events published while no queue wanted them, since start."),
    "bus_connected": ("gauge", (), "flag", "1 while the bus can be published to."),
    # the doors
    "http_requests_total": ("counter", ("method", "route", "status"), "requests", "Answered HTTP requests."),
    "http_seconds": ("histogram", ("method", "route"), "seconds", "Time from request to answer."),
    "stream_clients": ("gauge", (), "clients", "Clients of the stream."),
    "stream_evictions_total": ("counter", (), "clients", "Clients of the stream sent away because they did not read."),
    # the process
    "event_loop_lag_seconds": ("histogram", (), "seconds", "How late the event loop comes back from a sleep."),
    "database_pool": ("gauge", ("state",), "connections", "Connections of the pool: size, idle; requests: waiting."),
    "health_state": ("gauge", ("check",), "state", "Result of each health check: 0 ok, 1 degraded, 2 down."),
    "build_info": ("gauge", ("version",), "flag", "1, labelled with the version of the package."),
}  # fmt: skip

_RESOURCES: dict[str, tuple[Kind, str]] = {
    "resident_memory_bytes": ("gauge", "bytes"),
    "cpu_seconds_total": ("counter", "seconds"),
    "cpu_ratio": ("gauge", "ratio"),
    "open_files": ("gauge", "files"),
    "threads": ("gauge", "threads"),
}
_WORKERS: dict[str, tuple[Kind, str]] = {
    "count": ("gauge", "processes"),
    "resident_memory_bytes": ("gauge", "bytes"),
    "cpu_seconds_total": ("counter", "seconds"),
}


class Metrics:
    """All metrics of one service.

    Examples
    --------
    >>> metrics = Metrics()
    >>> timer = metrics.operation_seconds.labels(Mode.SIMULATION, "place_order")
    >>> timer.observe(0.002)
    >>> metrics.simulated_orders.inc()
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.resources = ResourceCollector()
        self.registry.register(self.resources)
        self.simulated_orders = self._counter("simulated_orders_total")
        self.orders = self._counter("orders_total")
        self.simulated_trades = self._counter("simulated_trades_total")
        self.backtests = self._counter("backtests_total")
        self.backtest_events = self._counter("backtest_events_total")
        self.sweeps = self._counter("sweeps_total")
        self.sweep_sets = self._counter("sweep_sets_total")
        self.backtest_jobs = self._gauge("backtest_jobs")
        self.risk_metrics = self._counter("risk_metrics_total")
        self.risk_alerts = self._counter("risk_alerts_total")
        self.virtual_volume = self._counter("virtual_volume_total")
        self.operation_seconds = self._histogram("operation_seconds", SECONDS)
        self.simulation_quality = self._gauge("simulation_quality")
        self.backtest_quality = self._gauge("backtest_quality")
        self.risk_quality = self._gauge("risk_quality")
        self.commit_batch_orders = self._histogram("commit_batch_orders", SIZES)
        self.commit_seconds = self._histogram("commit_seconds", SECONDS)
        self.command_queue = self._gauge("command_queue")
        self.commands_refused = self._counter("commands_refused_total")
        self.book_update_seconds = self._histogram("book_update_seconds", SECONDS)
        self.outbox_depth = self._gauge("outbox_depth")
        self.relay_lag_seconds = self._gauge("relay_lag_seconds")
        self.relay_active = self._gauge("relay_active")
        self.relay_failures = self._counter("relay_failures_total")
        self.events_published = self._counter("events_published_total")
        self.events_unroutable = self._gauge("events_unroutable")
        self.bus_connected = self._gauge("bus_connected")
        self.http_requests = self._counter("http_requests_total")
        self.http_seconds = self._histogram("http_seconds", SECONDS)
        self.stream_clients = self._gauge("stream_clients")
        self.stream_evictions = self._counter("stream_evictions_total")
        self.event_loop_lag_seconds = self._histogram("event_loop_lag_seconds", SECONDS)
        self.database_pool = self._gauge("database_pool")
        self.health_state = self._gauge("health_state")
        self.build_info = self._gauge("build_info")
        for mode in Mode:  # an item of the specification shows from the start, at zero
            self.virtual_volume.labels(mode, "USDT")
        # Prometheus sees no increase in a series that begins with its first failure.
        self.commands_refused.labels("Unavailable")
        for dependency in ("bus", "database"):
            self.relay_failures.labels(dependency)
        self.build_info.labels(version("market-maker")).set(1)

    def render(self) -> tuple[bytes, str]:
        """Return the body of ``/metrics`` and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str) -> Counter:
        labels, text = _declaration(name, "counter")
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        labels, text = _declaration(name, "gauge")
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, bounds: tuple[float, ...]) -> Histogram:
        labels, text = _declaration(name, "histogram")
        return Histogram(PREFIX + name, text, labels, bounds, self.registry)


def documented() -> list[MetricDoc]:
    """Return every metric, for the reference page and for the test that compares it with what is exposed."""
    ours = [
        MetricDoc(PREFIX + name, kind, labels, unit, text) for name, (kind, labels, unit, text) in _DECLARED.items()
    ]
    process = [
        MetricDoc(f"{PREFIX}process_{name}", kind, (), unit, RESOURCE_HELP[name])
        for name, (kind, unit) in _RESOURCES.items()
    ]
    workers = [
        MetricDoc(f"{PREFIX}workers_{name}", kind, (), unit, WORKER_HELP[name])
        for name, (kind, unit) in _WORKERS.items()
    ]
    return ours + process + workers


def _declaration(name: str, kind: Kind) -> tuple[tuple[str, ...], str]:
    declared_kind, labels, unit, text = _DECLARED[name]
    assert declared_kind == kind, (name, declared_kind, kind)
    assert unit, name
    return labels, text
