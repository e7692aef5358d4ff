"""Alerts outlive their limits: what was alarming once stays on record when nobody watches it any more."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Let alerts name limits that are gone."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute("ALTER TABLE risk_alerts DROP CONSTRAINT risk_alerts_limit_id_fkey")
