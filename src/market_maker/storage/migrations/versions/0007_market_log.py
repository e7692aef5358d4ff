"""The synthetic market survives by checkpoints and a log of commands; orders get stops, icebergs, amendments."""

from alembic import op

revision = "0007"
down_revision = "0006"

SCHEMA = """
CREATE TABLE market_checkpoints (
    session_id uuid PRIMARY KEY, number bigint NOT NULL, market_ts bigint NOT NULL, market bytea NOT NULL
);
ALTER TABLE market_checkpoints ALTER COLUMN market SET STORAGE EXTERNAL;
CREATE TABLE market_log (
    session_id uuid NOT NULL, number bigint NOT NULL, ts bigint NOT NULL, commands bytea NOT NULL,
    PRIMARY KEY (session_id, number)
);
ALTER TABLE simulated_orders
    ADD COLUMN stop_ticks bigint NOT NULL DEFAULT 0, ADD COLUMN display_lots bigint NOT NULL DEFAULT 0,
    ADD COLUMN self_trade smallint NOT NULL DEFAULT 0, ADD COLUMN triggered boolean NOT NULL DEFAULT false,
    ADD COLUMN amend_arrival_ts bigint NOT NULL DEFAULT 0, ADD COLUMN amend_price_ticks bigint NOT NULL DEFAULT 0,
    ADD COLUMN amend_qty_lots bigint NOT NULL DEFAULT 0, ADD COLUMN amend_stop_ticks bigint NOT NULL DEFAULT 0,
    ADD COLUMN amend_refusal text;
"""


def upgrade() -> None:
    """Add tables and columns; a market of the first form begins anew at its price, with its open orders."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SCHEMA)
