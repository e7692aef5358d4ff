"""Imports as a process: state, verdict, progress, and the key by which an import that was done already is recognised."""

from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = """
ALTER TABLE imports
    ADD COLUMN state text NOT NULL DEFAULT 'COMPLETED', ADD COLUMN verdict text NOT NULL DEFAULT 'PASS',
    ADD COLUMN key text NOT NULL DEFAULT '', ADD COLUMN error text, ADD COLUMN progress real NOT NULL DEFAULT 0,
    ADD COLUMN rows bigint NOT NULL DEFAULT 0, ADD COLUMN heartbeat_ts bigint NOT NULL DEFAULT 0, ADD COLUMN finished_ts bigint,
    ADD COLUMN version bigint NOT NULL DEFAULT 0;
CREATE INDEX imports_key ON imports (key) WHERE state = 'COMPLETED';
CREATE INDEX imports_open ON imports (state) WHERE state IN ('PENDING', 'RUNNING', 'PUBLISHING');
CREATE INDEX market_data_days_import ON market_data_days (import_id);
"""


def upgrade() -> None:
    """Add the columns; imports of before are completed."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
