"""Dashboards and alert rules name what the service shows, in well-formed expressions, and say what to do."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.promql import NotPromQL, Reader
from market_maker.monitoring.metrics import documented

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").rglob("*.json"))}
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
OF_PROMETHEUS = {"job", "instance"}
EXPRESSIONS = {f"alert {name}": rule["expr"] for name, rule in RULES.items()} | {
    f"{name} {panel['title']} {target['refId']}": target["expr"]
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel["targets"]
}


def exposed() -> dict[str, set[str]]:
    """Return the labels of every series that Prometheus finds."""
    series = {"up": set[str]()}
    for metric in documented():
        labels = set(metric.labels)
        names = [f"{metric.name}_{end}" for end in ("count", "sum")] if metric.kind == "histogram" else [metric.name]
        series |= dict.fromkeys(names, labels)
        if metric.kind == "histogram":
            series[f"{metric.name}_bucket"] = labels | {"le"}
    return series


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_names_metrics_and_labels_that_exist(name: str) -> None:
    read, series = Reader(EXPRESSIONS[name]), exposed()
    assert read.selectors
    for selector in read.selectors:
        assert selector.metric in series
        assert selector.labels | read.grouped <= series[selector.metric] | OF_PROMETHEUS


@pytest.mark.parametrize(
    "text",
    [
        "sum(rate(a[5m])", "rate(a)", "a >", "sum by le (a)", "a{b=c}", "a{b}", "frobnicate(a)", "a b", "", "a[5x]", "a{b==\"c\"}",
    ],
)  # fmt: skip
def test_what_is_not_promql_is_found(text: str) -> None:
    with pytest.raises(NotPromQL):
        Reader(text)


def test_a_metric_or_label_that_does_not_exist_is_found() -> None:
    read = Reader('sum by (pair) (rate(market_maker_no_such_total{mode="x"}[5m])) / 2 > 1')
    assert [selector.metric for selector in read.selectors] == ["market_maker_no_such_total"]
    assert read.selectors[0].labels | read.grouped == {"mode", "pair"}


def test_there_is_a_dashboard_for_each_mode_and_for_the_system() -> None:
    assert set(DASHBOARDS) == {"simulation", "backtest", "risk", "system"}
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == 4


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_say_what_they_show_and_do_not_overlap(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_monitoring_item_of_the_specification_is_on_a_dashboard() -> None:
    items = [
        "simulated_orders_total", "backtests_total", "risk_metrics_total", "virtual_volume_total", "operation_seconds_bucket",
        "process_resident_memory_bytes", "process_cpu_seconds_total", "workers_resident_memory_bytes",
        "workers_cpu_seconds_total", "simulation_quality", "backtest_quality", "risk_quality",
    ]  # fmt: skip
    shown = " ".join(EXPRESSIONS[name] for name in EXPRESSIONS if not name.startswith("alert"))
    assert [item for item in items if f"market_maker_{item}" not in shown] == []


@pytest.mark.parametrize("name", RULES)
def test_every_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = RULES[name]
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = re.split(r"^### ", (PROJECT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = next(section.splitlines() for section in sections if section.splitlines()[0] == name)
    assert anchor == name.lower()
    assert any(len(line) > 20 for line in lines[1:])


def test_every_runbook_belongs_to_an_alert() -> None:
    headings = re.findall(r"^### (.+)$", (PROJECT / "docs" / "howto" / "alerts.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(RULES)


@pytest.mark.parametrize("name", RULES)
def test_texts_of_alerts_use_labels_that_the_expression_leaves(name: str) -> None:
    read, series = Reader(RULES[name]["expr"]), exposed()
    left = read.grouped or set().union(*(series[each.metric] | OF_PROMETHEUS for each in read.selectors))
    if read.grouped == set() and RULES[name]["expr"].startswith("sum("):
        left = set()
    used = set(re.findall(r"\$labels\.(\w+)", RULES[name]["annotations"]["summary"]))
    assert used <= left


def test_prometheus_reads_the_rules_and_scrapes_the_service() -> None:
    assert [(DEPLOY / "prometheus" / name).is_file() for name in PROMETHEUS["rule_files"]] == [True]
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    assert "market-maker" in jobs
    job_names = set(re.findall(r'job="([^"]+)"', " ".join(EXPRESSIONS.values())))
    assert job_names <= set(jobs)


def test_grafana_finds_source_and_dashboards() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    assert source["type"] == "prometheus"
    provider = yaml.safe_load((provisioning / "dashboards" / "market_maker.yaml").read_text())["providers"][0]
    assert provider["options"]["path"].startswith("/var/lib/grafana/")
