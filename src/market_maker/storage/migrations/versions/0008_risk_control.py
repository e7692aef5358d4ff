"""Limits that hold orders back, kill switches that outlive a restart, the trail of what was changed, and tests of models."""

from alembic import op

revision = "0008"
down_revision = "0007"

SCHEMA = """
ALTER TABLE risk_limits
    ADD COLUMN on_breach text NOT NULL DEFAULT 'ALERT', ADD COLUMN hold text NOT NULL DEFAULT 'ACTIVE', ADD COLUMN hold_ts bigint;
CREATE TABLE risk_kill_switches (
    switch_id uuid PRIMARY KEY, scope text NOT NULL, scope_id uuid, reason text NOT NULL, engaged_ts bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (scope, scope_id)
);
CREATE TABLE risk_audit (
    audit_id uuid PRIMARY KEY, ts bigint NOT NULL, action text NOT NULL, details jsonb NOT NULL
);
CREATE TABLE risk_model_tests (
    test_id uuid PRIMARY KEY, position_id uuid NOT NULL REFERENCES positions, details jsonb NOT NULL, created_ts bigint NOT NULL
);
CREATE INDEX risk_model_tests_position ON risk_model_tests (position_id, test_id);
"""


def upgrade() -> None:
    """Add columns and tables; limits that are there already raise alerts and hold nothing back, as before."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
