"""Windows, their metrics and scores as JSON values, as command and API tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from market_maker.performance.json_values import json_value
from market_maker.performance.realism.measure import metrics_json
from market_maker.performance.realism.metric import Metric
from market_maker.performance.realism.score import Scores
from market_maker.performance.realism.window import Window


def realism_json(
    windows: Sequence[Window], measured: Sequence[Sequence[Metric]], scores: Scores | None
) -> dict[str, Any]:
    """Return everything as JSON values: the market first, then its reference, then the scores."""
    told = [
        {
            "name": window.name, "start_ts": str(window.start_ts), "end_ts": str(window.end_ts),
            "quotes": len(window.quotes.ts), "trades": len(window.trades.ts),
            "events": None if window.events is None else len(window.events.ts), "metrics": metrics_json(metrics),
        }
        for window, metrics in zip(windows, measured, strict=True)
    ]  # fmt: skip
    return {
        "market": told[0],
        "reference": told[1] if len(told) > 1 else None,
        "scores": None if scores is None else json_value(scores),
    }
