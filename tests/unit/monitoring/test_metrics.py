"""Metrics: what is declared is exposed, what is observed is counted."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as TheirHistogram
from prometheus_client.parser import text_string_to_metric_families

from market_maker.monitoring.histograms import PENDING_MAX, Histogram
from market_maker.monitoring.metrics import Metrics, Mode, documented


def exposed(metrics: Metrics) -> dict[str, tuple[str, str]]:
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation)
        for family in families
    }


def test_every_documented_metric_is_exposed_and_the_other_way_round() -> None:
    assert exposed(Metrics()) == {doc.name: (doc.kind, doc.help) for doc in documented()}


@pytest.mark.parametrize(
    "item",
    [
        "market_maker_simulated_orders_total", "market_maker_backtests_total", "market_maker_risk_metrics_total",
        "market_maker_virtual_volume_total", "market_maker_operation_seconds",
        "market_maker_process_resident_memory_bytes", "market_maker_process_cpu_ratio",
        "market_maker_simulation_quality", "market_maker_backtest_quality", "market_maker_risk_quality",
    ],
)  # fmt: skip
def test_the_monitoring_items_of_the_specification_are_there(item: str) -> None:
    assert item in exposed(Metrics())


def test_virtual_volume_shows_for_each_mode_from_the_start() -> None:
    metrics = Metrics()
    for mode in Mode:
        labels = {"mode": str(mode), "currency": "USDT"}
        assert metrics.registry.get_sample_value("market_maker_virtual_volume_total", labels) == 0


def test_two_services_do_not_share_figures() -> None:
    one, two = Metrics(), Metrics()
    one.simulated_orders.inc(3)
    assert one.registry.get_sample_value("market_maker_simulated_orders_total") == 3
    assert two.registry.get_sample_value("market_maker_simulated_orders_total") == 0


def test_resources_are_those_of_this_process() -> None:
    metrics = Metrics()
    resources = metrics.resources.sample()
    assert 10_000_000 < resources.rss_bytes < 100_000_000_000
    assert resources.cpu_seconds > 0
    assert resources.threads >= 1
    assert metrics.registry.get_sample_value("market_maker_process_threads") == resources.threads


BOUNDS = (0.1, 1.0, 10.0)


@given(st.lists(st.floats(0, 100) | st.sampled_from(BOUNDS), max_size=50))
def test_the_histogram_counts_as_the_librarys_does(values: list[float]) -> None:
    ours_registry, theirs_registry = CollectorRegistry(), CollectorRegistry()
    ours = Histogram("h_seconds", "help", ("a",), BOUNDS, ours_registry).labels("x")
    theirs = TheirHistogram("h_seconds", "help", ("a",), buckets=BOUNDS, registry=theirs_registry).labels("x")
    for value in values:
        ours.observe(value)
        theirs.observe(value)

    buckets = [("_bucket", {"a": "x", "le": le}) for le in ("0.1", "1.0", "10.0", "+Inf")]
    for suffix, labels in [("_count", {"a": "x"}), ("_sum", {"a": "x"}), *buckets]:
        mine = ours_registry.get_sample_value("h_seconds" + suffix, labels)
        assert mine == pytest.approx(theirs_registry.get_sample_value("h_seconds" + suffix, labels))


def test_nothing_is_lost_between_threads_and_pending_stays_bounded() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "help", (), BOUNDS, registry)
    each, threads = 3 * PENDING_MAX, 4

    def work() -> None:
        for _ in range(each):
            histogram.observe(0.5)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    while any(thread.is_alive() for thread in running):
        registry.get_sample_value("h_count")
    for thread in running:
        thread.join()
    assert registry.get_sample_value("h_count") == each * threads
    assert registry.get_sample_value("h_bucket", {"le": "1.0"}) == each * threads
    assert len(histogram.labels()._pending) < PENDING_MAX
