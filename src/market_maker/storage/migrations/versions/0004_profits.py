"""Profits of trials by period: statistics of overfitting compare trials in time, and a search that goes on runs none again."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Half tick-lots, one number for each period of `backtest.evaluation`.
SCHEMA = "ALTER TABLE backtest_trials ADD COLUMN profits bigint[]"


def upgrade() -> None:
    """Add the column; trials that ran on a cluster leave it empty."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
