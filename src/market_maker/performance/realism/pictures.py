"""Metrics of realism as charts: one market, or a market beside its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from market_maker.performance.charts import Panel, Series, picture
from market_maker.performance.realism.metric import Metric
from market_maker.performance.realism.score import common_edges

_SHOWN = (
    "returns", "return_autocorrelation_1s", "return_autocorrelation_10s", "volatility_clustering", "signature_plot", "spread",
    "depth_profile", "imbalance", "market_order_waits", "event_waits", "trade_signs", "response_market",
    "response_market_moving", "order_flow_imbalance", "volume_per_minute", "time_to_cancel", "limit_level", "limit_distance",
)  # fmt: skip
_LOGARITHMIC = {"trade_signs", "volatility_clustering"}
_LOG_X = {"signature_plot", "response_market", "response_market_moving"}


def realism_chart(markets: Mapping[str, Sequence[Metric]]) -> str:
    """Return the metrics of one market, or of several on common scales, as an SVG document."""
    found = {name: {metric.key: metric for metric in metrics} for name, metrics in markets.items()}
    return picture([_panel(key, {name: known[key] for name, known in found.items()}) for key in _SHOWN], columns=3)


def _panel(key: str, markets: Mapping[str, Metric]) -> Panel:
    first = next(iter(markets.values()))
    title = first.title if len(first.title) <= 60 else f"{first.title[:58]}…"
    samples = {name: metric.sample for name, metric in markets.items() if metric.sample is not None}
    note = _wrapped(next((metric.reason for metric in markets.values() if metric.reason), "no data"))
    if samples:
        pooled = np.concatenate(list(samples.values()))
        # The tails would leave the middle a line: what lies outside is counted in the last bins.
        low, high = np.quantile(pooled, [0.001, 0.999])
        edges = common_edges(np.clip(pooled, low, high))
        bars = [
            Series(
                name,
                edges,
                np.histogram(np.clip(sample, low, high), edges)[0] / len(sample),
                "bars",
                _colour(markets, name),
            )
            for name, sample in samples.items()
        ]
        return Panel(title, first.unit, "share", bars)
    lines = [
        Series(name, metric.curve.xs, metric.curve.ys, "line", _colour(markets, name))
        for name, metric in markets.items()
        if metric.curve is not None
    ]
    lines += [Series("", each.xs, each.ys, "dots", each.colour) for each in lines]
    x_name = next((metric.curve.x_name for metric in markets.values() if metric.curve is not None), "")
    is_log = key in _LOGARITHMIC
    return Panel(title, x_name, first.unit, lines, x_log=is_log or key in _LOG_X, y_log=is_log, note=note)


def _colour(markets: Mapping[str, Metric], name: str) -> int:
    return list(markets).index(name)


def _wrapped(text: str) -> str:
    return text if len(text) <= 70 else f"{text[:68]}…"
