"""Sweeps as jobs of the queue: their state, the key of each of their sets, and the net P&L of trials as a column to sort by."""

from alembic import op

revision = "0006"
down_revision = "0004"

# `ran`, `ran_ns`: sets that the present attempt has run, and in what time. `fruitless_attempts`: those since a trial was kept.
# `grid`: [[name, [value, ...]], ...] in the order of the grid, which an object of jsonb would lose.
SCHEMA = """
CREATE TABLE backtest_sweeps (
    sweep_id uuid PRIMARY KEY, strategy_id uuid NOT NULL REFERENCES strategies, pair_id uuid NOT NULL REFERENCES pairs,
    status text NOT NULL, configuration jsonb NOT NULL, grid jsonb NOT NULL, total integer NOT NULL, known integer NOT NULL,
    done integer NOT NULL, ran integer NOT NULL, ran_ns bigint NOT NULL, left_ns bigint, error text, attempts integer NOT NULL,
    fruitless_attempts integer NOT NULL, cancel_requested boolean NOT NULL, heartbeat_ts bigint NOT NULL,
    created_ts bigint NOT NULL, started_ts bigint, finished_ts bigint, version bigint NOT NULL
);
CREATE INDEX backtest_sweeps_strategy ON backtest_sweeps (strategy_id, sweep_id);
CREATE INDEX backtest_sweeps_open ON backtest_sweeps (status) WHERE status IN ('PENDING', 'RUNNING');
CREATE TABLE backtest_sweep_sets (
    sweep_id uuid NOT NULL REFERENCES backtest_sweeps, number integer NOT NULL, trial_key text NOT NULL,
    PRIMARY KEY (sweep_id, number)
);
ALTER TABLE backtest_trials ADD COLUMN net_pnl numeric GENERATED ALWAYS AS ((summary ->> 'net_pnl')::numeric) STORED;
"""


def upgrade() -> None:
    """Add tables and column; the trials that are kept already are written anew once."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
