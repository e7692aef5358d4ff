"""Rows of risk figures: one place that writes them and reads them back."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from market_maker.domain.modes import RiskModel
from market_maker.risk.measures import RiskMetrics, Scope
from market_maker.storage.database import Connection, Database, page


async def save_metrics(
    connection: Connection, metrics_id: UUID, risk_model: RiskModel, metrics: RiskMetrics
) -> dict[str, Any]:
    """Write figures into the caller's transaction; return them as JSON values."""
    details = metrics.to_json()
    value = metrics.value(risk_model)
    await connection.execute(
        "INSERT INTO risk_metrics VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            metrics_id,
            metrics.position_id,
            risk_model.value,
            metrics.method,
            metrics.confidence_level,
            metrics.time_horizon_ns,
            value,
            Jsonb(details),
            metrics.as_of_ts,
        ),
    )
    return metrics_data(metrics_id, risk_model.value, value, details)


async def get_metrics(
    database: Database,
    position_id: UUID,
    *,
    after: UUID | None = None,
    limit: int = 100,
    scopes: Collection[str] = tuple(Scope),
) -> list[dict[str, Any]]:
    """Return the saved figures of a position as JSON values, newest first; of `scopes` alone."""
    query = """
        SELECT metrics_id, risk_model, value, details FROM risk_metrics
        WHERE position_id = %(position_id)s AND metrics_id < %(before)s
          AND coalesce(details ->> 'scope', 'POSITION') = ANY(%(scopes)s)
        ORDER BY metrics_id DESC LIMIT %(limit)s
    """
    wanted = {"position_id": position_id, "scopes": [str(each) for each in scopes], **page(after, limit)}
    rows = await database.fetch(query, wanted)
    return [metrics_data(row["metrics_id"], row["risk_model"], row["value"], row["details"]) for row in rows]


def metrics_data(metrics_id: UUID, risk_model: str, value: Decimal, details: dict[str, Any]) -> dict[str, Any]:
    """Return saved figures as JSON values: the figure that was asked for first, then all of them."""
    return {"metrics_id": str(metrics_id), "risk_model": risk_model, "value": f"{value:f}", **details}
