"""Strategies run on simulated markets: one row a run, with what a restart must find again."""

from alembic import op

revision = "0011"
down_revision = "0009"

SCHEMA = """
CREATE TABLE strategy_runs (
    run_id uuid PRIMARY KEY, strategy_id uuid NOT NULL REFERENCES strategies, account_id uuid NOT NULL REFERENCES accounts,
    pair_id uuid NOT NULL REFERENCES pairs, session_id uuid NOT NULL, name text NOT NULL, kind text NOT NULL,
    parameters jsonb NOT NULL, state text NOT NULL, error text NOT NULL, started_ts bigint NOT NULL, ended_ts bigint NOT NULL,
    updated_ts bigint NOT NULL, sequence bigint NOT NULL, progress jsonb NOT NULL, memory bytea NOT NULL,
    is_watched boolean NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX strategy_runs_watched ON strategy_runs (session_id) WHERE is_watched;
CREATE INDEX strategy_runs_strategy ON strategy_runs (strategy_id, run_id);
"""


def upgrade() -> None:
    """Add the table."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
