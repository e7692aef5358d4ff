"""All metrics of realism of a window, in the order of their numbers: the entry point of the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from market_maker.performance.json_values import json_value
from market_maker.performance.realism.book_facts import book_facts
from market_maker.performance.realism.flow_facts import flow_facts
from market_maker.performance.realism.metric import Metric
from market_maker.performance.realism.price_facts import price_facts
from market_maker.performance.realism.window import Window

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def measure(window: Window) -> tuple[Metric, ...]:
    """Return every metric of a window; those that its data cannot give say why.

    O(n log n) in quotes, trades and events.
    """
    found = [*price_facts(window), *book_facts(window), *flow_facts(window)]
    return tuple(sorted(found, key=lambda metric: metric.number))


def metrics_json(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return metrics as JSON values: figures, curves, and of samples their number and quantiles."""
    return [_metric_json(metric) for metric in metrics]


def _metric_json(metric: Metric) -> dict[str, Any]:
    told = {
        "key": metric.key, "number": metric.number, "title": metric.title, "unit": metric.unit, "expected": metric.expected,
        "is_informational": metric.is_informational, "reason": metric.reason, "notes": metric.notes,
        "figures": metric.figures, "sample": None, "curve": None,
    }  # fmt: skip
    if metric.sample is not None:
        values = np.quantile(metric.sample, QUANTILES).tolist()
        quantiles = {f"{share:g}": value for share, value in zip(QUANTILES, values, strict=True)}
        told["sample"] = {"count": len(metric.sample), "quantiles": quantiles}
    if metric.curve is not None:
        curve = metric.curve
        told["curve"] = {"x_name": curve.x_name, "xs": curve.xs.tolist(), "ys": curve.ys.tolist()}
    found: dict[str, Any] = json_value(told)
    return found
