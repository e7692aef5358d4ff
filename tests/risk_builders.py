"""Builders of risk values with defaults, for tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from market_maker.risk.measures import Convention, RiskMetrics


def some_metrics(**changes: Any) -> RiskMetrics:
    """Return metrics of one bitcoin; text in `changes` becomes a Decimal."""
    given: dict[str, Any] = {
        "position_id": UUID(int=10), "pair_id": UUID(int=11), "quantity": Decimal(1), "mark_price": Decimal(50_000),
        "position_value": Decimal(50_000), "confidence_level": Decimal("0.95"), "time_horizon_ns": 86_400 * 10**9,
        "value_at_risk": Decimal(1000), "expected_shortfall": Decimal(1500), "drawdown": Decimal(200),
        "drawdown_start_ts": 1, "drawdown_trough_ts": 2, "drawdown_recovery_ts": None, "method": "HISTORICAL",
        "convention": Convention.LOWER_QUANTILE, "sampling_interval_ns": 60 * 10**9, "scaling": 37.9,
        "observations": 250, "dropped": 0, "coverage": 1.0, "window_start_ts": 0, "window_end_ts": 10**12,
        "data_hash": "00", "as_of_ts": 10**12,
    }  # fmt: skip
    given |= {name: Decimal(value) if isinstance(value, str) else value for name, value in changes.items()}
    return RiskMetrics(**given)
