"""Trials of sweeps: every parameter set that was ever tried, since statistics of overfitting need to know how many."""

from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = """
CREATE TABLE backtest_trials (
    trial_id uuid NOT NULL UNIQUE, sweep_id uuid NOT NULL, number integer NOT NULL, trial_key text NOT NULL,
    strategy_id uuid NOT NULL REFERENCES strategies, pair_id uuid NOT NULL REFERENCES pairs, kind text NOT NULL,
    parameters jsonb NOT NULL, configuration jsonb NOT NULL, summary jsonb NOT NULL, digest text NOT NULL, seed bigint NOT NULL,
    created_ts bigint NOT NULL, PRIMARY KEY (sweep_id, number)
);
CREATE UNIQUE INDEX backtest_trials_key ON backtest_trials (strategy_id, trial_key);
CREATE INDEX backtest_trials_strategy ON backtest_trials (strategy_id, trial_id);
CREATE INDEX backtest_trials_kind ON backtest_trials (kind, trial_key);
"""


def upgrade() -> None:
    """Add the table; nothing is ever deleted from it."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
